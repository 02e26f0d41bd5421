/*
 * MQTT: the words that every part of the codec shares, and the fixed header.
 *
 * lib/mqtt turns bytes into packets and packets into bytes, for MQTT 3.1 (MQIsdp), 3.1.1 and 5.0 and for both
 * ends of a connection. It has no I/O, no allocation, no globals that change, and needs only libc.
 *
 * Who may call it: any thread, at the same time; every function works on its arguments alone.
 * Who owns the memory: the caller, always. A decoded packet points into the caller's bytes (struct mqtt_span) and
 * is good for as long as those bytes are. Encoders write into a buffer of the size that the `_size` function of the
 * same packet returned, and return the first byte after what they wrote.
 *
 * How to read a stream:
 *
 *     switch (error = mqtt_header_decode(bytes, n, max_packet_size, &header)) {
 *     case MQTT_INCOMPLETE: wait for more bytes;
 *     case MQTT_OK:         if (n < header.length + header.remaining_length) wait for more bytes;
 *                           else mqtt_publish_decode(version, sender, &header, bytes + header.length, &publish) ...
 *     default:              count `error`, close with mqtt_error_reason(error);
 *     }
 *
 * A body decoder reads exactly `remaining_length` contiguous bytes, never one more, and checks them in full:
 * whatever it accepted needs no further check of form. What depends on the session (an alias above the negotiated
 * maximum, an unknown packet identifier, access) is the session's to check.
 *
 * References such as [MQTT-3.3.1-4] are conformance statements of the OASIS standards MQTT 5.0 and MQTT 3.1.1.
 */
#ifndef LIB_MQTT_MQTT_H
#define LIB_MQTT_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the caller. `data` may be NULL only where `length` is 0. */
struct mqtt_span {
    const uint8_t *data;
    uint32_t length; /* bytes */
};

/* A span over a string literal. */
#define MQTT_SPAN(literal) ((struct mqtt_span){(const uint8_t *)(literal), sizeof(literal) - 1})

/* The protocol level of CONNECT. Every decoder and encoder but CONNECT's takes it from the connection. */
enum mqtt_version {
    MQTT_V31 = 3,  /* "MQIsdp" */
    MQTT_V311 = 4, /* "MQTT" */
    MQTT_V5 = 5,   /* "MQTT" */
};

/* Control packet types, section 2.1.2. MQTT_WILL is no packet: it names the will's property set inside CONNECT. */
enum mqtt_type {
    MQTT_WILL = 0,
    MQTT_CONNECT = 1,
    MQTT_CONNACK = 2,
    MQTT_PUBLISH = 3,
    MQTT_PUBACK = 4,
    MQTT_PUBREC = 5,
    MQTT_PUBREL = 6,
    MQTT_PUBCOMP = 7,
    MQTT_SUBSCRIBE = 8,
    MQTT_SUBACK = 9,
    MQTT_UNSUBSCRIBE = 10,
    MQTT_UNSUBACK = 11,
    MQTT_PINGREQ = 12,
    MQTT_PINGRESP = 13,
    MQTT_DISCONNECT = 14,
    MQTT_AUTH = 15,
};

/* Who sent the packet that is decoded: some fields are allowed in one direction only. */
enum mqtt_sender {
    MQTT_FROM_CLIENT,
    MQTT_FROM_SERVER,
};

/* Bounds of the wire format. */
#define MQTT_REMAINING_LENGTH_MAX 268435455u /* largest variable byte integer, section 1.5.5 */
#define MQTT_STRING_MAX 65535u               /* bytes of a string or of binary data, section 1.5.4 */
#define MQTT_HEADER_MAX 5u                   /* type and flags, and up to four bytes of remaining length */

/* Reason codes of MQTT 5.0, section 2.4: MQTT_REASON_<NAME>, listed in reasons.def. */
enum mqtt_reason {
#define MQTT_REASON(name, value, text, packets) MQTT_REASON_##name = value,
#include "lib/mqtt/reasons.def"
#undef MQTT_REASON
    /* Three more names of 0x00, for the packets where the specification calls it so. */
    MQTT_REASON_NORMAL_DISCONNECTION = 0x00,
    MQTT_REASON_GRANTED_QOS_0 = 0x00,
};

/*
 * What a decoder found. Every malformed case has a name of its own (errors.def), so that the dataplane counts each
 * one: a counter per value below MQTT_ERROR_COUNT. MQTT_INCOMPLETE is returned by mqtt_header_decode only.
 */
enum mqtt_error {
    MQTT_OK = 0,
    MQTT_INCOMPLETE = 1,
#define MQTT_ERROR(name, reason, text, reference) MQTT_ERROR_##name,
#include "lib/mqtt/errors.def"
#undef MQTT_ERROR
    MQTT_ERROR_COUNT
};

/* The reason code that tells the peer: 0x81 Malformed Packet, 0x82 Protocol Error, 0x95 Packet too large, ... */
uint8_t mqtt_error_reason(enum mqtt_error error);

/* For people and counters: "PUBLISH_QOS_3", one sentence, and the statement of the specification it breaks. */
const char *mqtt_error_name(enum mqtt_error error);
const char *mqtt_error_text(enum mqtt_error error);
const char *mqtt_error_reference(enum mqtt_error error);

/* "Quota exceeded" for 0x97; "Unknown reason code" for a value that MQTT 5.0 does not define. */
const char *mqtt_reason_text(uint8_t reason);

/* "PUBLISH" for MQTT_PUBLISH. */
const char *mqtt_type_name(enum mqtt_type type);

/* Whether a packet of `type` may carry `reason` when `sender` sends it (the tables of section 3.x.2.1 each). */
bool mqtt_reason_allowed(enum mqtt_type type, enum mqtt_sender sender, uint8_t reason);

/* The CONNACK return code of MQTT 3.1 and 3.1.1 (0 to 5) that comes nearest to a reason code of MQTT 5.0. */
uint8_t mqtt_reason_to_return_code(uint8_t reason);

/* The fixed header, section 2.1. */
struct mqtt_header {
    uint8_t type;              /* enum mqtt_type, 1 to 15 */
    uint8_t flags;             /* low four bits of the first byte */
    uint8_t length;            /* bytes of the fixed header itself, 2 to 5 */
    bool padded;               /* the length used more bytes than it needs: malformed in 5.0, allowed before */
    uint32_t remaining_length; /* bytes of the body */
};

enum mqtt_error mqtt_header_decode_long(const uint8_t *bytes, size_t n, uint32_t max_packet_size,
                                        struct mqtt_header *header);

/* A PUBLISH without DUP, and QoS not 3: what traffic is made of, and right in every version. */
static inline bool mqtt_header_is_plain_publish(uint8_t first)
{
    return (first & 0xf8) == 0x30 && (first & 0x06) != 0x06;
}

/*
 * Reads the fixed header from the first of `n` bytes. `max_packet_size` bounds the whole packet, fixed header
 * included, in bytes (MQTT 5.0 section 3.1.2.11.4); pass UINT32_MAX for no bound. A bad type, flag or length is found
 * as soon as its byte is there.
 *
 * Returns MQTT_OK with `header` filled, MQTT_INCOMPLETE when more bytes are needed, or what is wrong.
 */
static inline enum mqtt_error mqtt_header_decode(const uint8_t *bytes, size_t n, uint32_t max_packet_size,
                                                 struct mqtt_header *header)
{
    if (n >= 2 && bytes[1] < 0x80 && bytes[1] + 2u <= max_packet_size && mqtt_header_is_plain_publish(bytes[0])) {
        header->type = MQTT_PUBLISH;
        header->flags = bytes[0] & 0x0f;
        header->length = 2;
        header->padded = false;
        header->remaining_length = bytes[1];
        return MQTT_OK;
    }
    return mqtt_header_decode_long(bytes, n, max_packet_size, header);
}

/* Bytes that a variable byte integer takes, 1 to 4 (section 1.5.5). `value` is at most MQTT_REMAINING_LENGTH_MAX. */
static inline uint32_t mqtt_varint_size(uint32_t value)
{
    return 1 + (value > 127) + (value > 16383) + (value > 2097151);
}

/* Writes a variable byte integer in its shortest form; returns the byte after it. */
static inline uint8_t *mqtt_varint_encode(uint8_t *dst, uint32_t value)
{
    while (value > 127) {
        *dst++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *dst++ = (uint8_t)value;
    return dst;
}

#endif

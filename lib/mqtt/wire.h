/*
 * Reading and writing the primitive types of the wire format (section 1.5) within given bounds.
 *
 * Internal to lib/mqtt. A reader never goes beyond `end`; whoever writes has computed the size before.
 */
#ifndef LIB_MQTT_WIRE_H
#define LIB_MQTT_WIRE_H

#include <string.h>

#include "lib/mqtt/mqtt.h"
#include "lib/mqtt/properties.h"
#include "lib/mqtt/utf8.h"

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* Leaves the calling decoder with the error, if there is one. */
#define WIRE_TRY(decoding)                        \
    do {                                          \
        enum mqtt_error wire_error_ = (decoding); \
        if (wire_error_ != MQTT_OK)               \
            return wire_error_;                   \
    } while (0)

static inline size_t wire_left(const struct wire_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static inline enum mqtt_error wire_read_byte(struct wire_reader *reader, uint8_t *value)
{
    if (wire_left(reader) < 1)
        return MQTT_ERROR_INTEGER_TRUNCATED;
    *value = *reader->at++;
    return MQTT_OK;
}

static inline enum mqtt_error wire_read_two(struct wire_reader *reader, uint16_t *value)
{
    if (wire_left(reader) < 2)
        return MQTT_ERROR_INTEGER_TRUNCATED;
    *value = (uint16_t)(reader->at[0] << 8 | reader->at[1]);
    reader->at += 2;
    return MQTT_OK;
}

static inline enum mqtt_error wire_read_four(struct wire_reader *reader, uint32_t *value)
{
    if (wire_left(reader) < 4)
        return MQTT_ERROR_INTEGER_TRUNCATED;
    *value =
        (uint32_t)reader->at[0] << 24 | (uint32_t)reader->at[1] << 16 | (uint32_t)reader->at[2] << 8 | reader->at[3];
    reader->at += 4;
    return MQTT_OK;
}

/* REQ MQTT-5 [MQTT-1.5.5-1]: a variable byte integer has its shortest form [test: primitives/varint] */
static inline enum mqtt_error wire_read_varint(struct wire_reader *reader, uint32_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 28; shift += 7) {
        if (reader->at == reader->end)
            return MQTT_ERROR_INTEGER_TRUNCATED;
        uint8_t byte = *reader->at++;
        *value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return byte == 0 && shift > 0 ? MQTT_ERROR_VARINT_PADDED : MQTT_OK;
    }
    return MQTT_ERROR_VARINT_TOO_LONG;
}

static inline enum mqtt_error wire_read_binary(struct wire_reader *reader, struct mqtt_span *span)
{
    uint16_t length;
    WIRE_TRY(wire_read_two(reader, &length));
    if (wire_left(reader) < length)
        return MQTT_ERROR_STRING_TRUNCATED;
    *span = (struct mqtt_span){reader->at, length};
    reader->at += length;
    return MQTT_OK;
}

/* REQ MQTT-5 [MQTT-4.7.3-3]: a length of two bytes says no more [test: reason_codes/longest_topic] */
/* REQ MQTT-3.1.1 [MQTT-4.7.3-3]: a length of two bytes says no more [test: reason_codes/longest_topic] */
static inline enum mqtt_error wire_read_string(struct wire_reader *reader, struct mqtt_span *span)
{
    WIRE_TRY(wire_read_binary(reader, span));
    return mqtt_utf8_check(*span);
}

/* REQ MQTT-5 [MQTT-2.2.1-3]: a packet identifier is not zero [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-2.3.1-1]: a packet identifier is not zero [test: malformed/every_case] */
static inline enum mqtt_error wire_read_packet_id(struct wire_reader *reader, uint16_t *packet_id)
{
    WIRE_TRY(wire_read_two(reader, packet_id));
    return *packet_id == 0 ? MQTT_ERROR_PACKET_IDENTIFIER_ZERO : MQTT_OK;
}

/* Reads the length and the properties behind it; before MQTT 5.0 there are none. */
static inline enum mqtt_error wire_read_properties(struct wire_reader *reader, enum mqtt_version version,
                                                   enum mqtt_type type, struct mqtt_properties *properties)
{
    uint32_t length;
    properties->present = 0;
    if (version != MQTT_V5)
        return MQTT_OK;
    WIRE_TRY(wire_read_varint(reader, &length));
    if (length > wire_left(reader))
        return MQTT_ERROR_PROPERTIES_TRUNCATED;
    const uint8_t *bytes = reader->at;
    reader->at += length;
    return length == 0 ? MQTT_OK : mqtt_properties_decode(type, bytes, length, properties);
}

static inline enum mqtt_error wire_read_end(const struct wire_reader *reader)
{
    return reader->at == reader->end ? MQTT_OK : MQTT_ERROR_TRAILING_BYTES;
}

/*
 * Starts reading a body, and checks what the fixed header could not without knowing the version: 5.0 wants the
 * remaining length in its shortest form, and only 3.1 knows DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE.
 */
static inline enum mqtt_error wire_open(enum mqtt_version version, const struct mqtt_header *header,
                                        const uint8_t *body, struct wire_reader *reader)
{
    *reader = (struct wire_reader){body, body + header->remaining_length};
    if (header->padded && version == MQTT_V5)
        return MQTT_ERROR_REMAINING_LENGTH_PADDED;
    if ((header->flags & 0x08) && header->type != MQTT_PUBLISH && version != MQTT_V31)
        return MQTT_ERROR_FLAGS_RESERVED;
    return MQTT_OK;
}

/* ---- Sizes and writing ---- */

/* More than any packet may have: a sum with this in it has no encoding. */
#define WIRE_TOO_LONG (UINT64_C(1) << 32)

static inline uint64_t wire_string_size(struct mqtt_span span)
{
    return span.length <= MQTT_STRING_MAX ? 2 + (uint64_t)span.length : WIRE_TOO_LONG;
}

/* Length field and properties; `length` is what the properties take. */
static inline uint64_t wire_properties_size(enum mqtt_version version, uint64_t length)
{
    if (version != MQTT_V5)
        return 0;
    return length <= MQTT_REMAINING_LENGTH_MAX ? mqtt_varint_size((uint32_t)length) + length : WIRE_TOO_LONG;
}

/* The whole packet around a body; 0 if there is no such packet. */
static inline size_t wire_packet_size(uint64_t body)
{
    return body <= MQTT_REMAINING_LENGTH_MAX ? 1 + mqtt_varint_size((uint32_t)body) + (size_t)body : 0;
}

static inline uint8_t *wire_write_byte(uint8_t *dst, uint8_t value)
{
    *dst = value;
    return dst + 1;
}

static inline uint8_t *wire_write_two(uint8_t *dst, uint16_t value)
{
    dst[0] = (uint8_t)(value >> 8);
    dst[1] = (uint8_t)value;
    return dst + 2;
}

static inline uint8_t *wire_write_four(uint8_t *dst, uint32_t value)
{
    return wire_write_two(wire_write_two(dst, (uint16_t)(value >> 16)), (uint16_t)value);
}

static inline uint8_t *wire_write_bytes(uint8_t *dst, struct mqtt_span span)
{
    if (span.length > 0) /* `data` may be NULL then, which memcpy does not take */
        memcpy(dst, span.data, span.length);
    return dst + span.length;
}

static inline uint8_t *wire_write_string(uint8_t *dst, struct mqtt_span span)
{
    return wire_write_bytes(wire_write_two(dst, (uint16_t)span.length), span);
}

/* REQ MQTT-5 [MQTT-2.2.2-1]: no properties are written as a property length of zero [test: packets/encode] */
static inline uint8_t *wire_write_properties(uint8_t *dst, enum mqtt_version version,
                                             const struct mqtt_properties *properties)
{
    if (version != MQTT_V5)
        return dst;
    return mqtt_properties_encode(mqtt_varint_encode(dst, (uint32_t)mqtt_properties_size(properties)), properties);
}

static inline uint8_t *wire_write_header(uint8_t *dst, uint8_t type, uint8_t flags, uint64_t body)
{
    return mqtt_varint_encode(wire_write_byte(dst, (uint8_t)(type << 4 | flags)), (uint32_t)body);
}

/* properties.c: like mqtt_properties_size() and _encode(), for a chosen part of the present properties. */
uint64_t wire_properties_part_size(const struct mqtt_properties *properties, uint64_t part);
uint8_t *wire_properties_part_encode(uint8_t *dst, const struct mqtt_properties *properties, uint64_t part);

#endif

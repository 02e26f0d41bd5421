/*
 * PUBLISH (MQTT 5.0 section 3.3): the hot path of a router.
 *
 * Decoding is inline for what makes up the bulk of traffic, QoS 0 without properties, and leaves the rest to
 * mqtt_publish_decode_long(). Encoding comes in two forms: whole (mqtt_publish_encode), and split for fan-out. In the
 * split form everything that all subscribers of one protocol version share is built once, the tail; each subscriber
 * gets a head of its own in front of it:
 *
 *     head: fixed header, topic, packet identifier, property length, properties of this subscriber | tail: the other
 *     properties, payload
 *
 * The tail of a message without properties is its payload, in place, for every version: nothing is built at all.
 *
 * Any thread; the caller owns all memory.
 */
#ifndef LIB_MQTT_PUBLISH_H
#define LIB_MQTT_PUBLISH_H

#include "lib/mqtt/mqtt.h"
#include "lib/mqtt/properties.h"

struct mqtt_publish {
    uint8_t qos; /* 0, 1, 2 */
    bool retain;
    bool duplicate;         /* DUP */
    uint16_t packet_id;     /* 1 and up at QoS 1 and 2, 0 at QoS 0 */
    struct mqtt_span topic; /* empty only with a topic alias */
    struct mqtt_span payload;
    struct mqtt_properties properties; /* MQTT 5.0; `present` is 0 before */
};

enum mqtt_error mqtt_publish_decode_long(enum mqtt_version version, enum mqtt_sender sender,
                                         const struct mqtt_header *header, const uint8_t *body,
                                         struct mqtt_publish *publish);

/* Whether `n` (at least 8) bytes are all ASCII and none of them is 0, '+' or '#': a topic name that is surely valid. */
static inline bool mqtt_publish_topic_is_plain(const uint8_t *bytes, uint32_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t found = 0;
    /* The last word overlaps the one before it, so that nothing beyond the topic is read. */
    for (uint32_t at = 0;; at = at + 16 <= n ? at + 8 : n - 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes + at, 8);
        uint64_t plus = word ^ (ones * '+'), hash = word ^ (ones * '#');
        /* x - 1 borrows into the top bit where x is 0. A false alarm only costs the slow path. */
        found |= word | (word - ones) | (plus - ones) | (hash - ones);
        if (at + 8 == n)
            return (found & highs) == 0;
    }
}

/*
 * Decodes the body of a PUBLISH. `header` is the one that mqtt_header_decode() filled; `body` has
 * header->remaining_length bytes. At an error `publish` is undefined.
 */
static inline enum mqtt_error mqtt_publish_decode(enum mqtt_version version, enum mqtt_sender sender,
                                                  const struct mqtt_header *header, const uint8_t *body,
                                                  struct mqtt_publish *publish)
{
    uint32_t n = header->remaining_length;
    uint32_t no_properties = version == MQTT_V5;
    if (header->flags <= 1 && !header->padded && n >= 10 + no_properties) {
        uint32_t length = (uint32_t)body[0] << 8 | body[1];
        uint32_t end = 2 + length + no_properties;
        if (length >= 8 && end <= n && (!no_properties || body[end - 1] == 0) &&
            mqtt_publish_topic_is_plain(body + 2, length)) {
            publish->qos = 0;
            publish->retain = header->flags;
            publish->duplicate = false;
            publish->packet_id = 0;
            publish->topic = (struct mqtt_span){body + 2, length};
            publish->payload = (struct mqtt_span){body + end, n - end};
            publish->properties.present = 0;
            return MQTT_OK;
        }
    }
    return mqtt_publish_decode_long(version, sender, header, body, publish);
}

/* Bytes of the whole packet, fixed header included; 0 if it has no encoding (longer than the format allows). */
size_t mqtt_publish_size(enum mqtt_version version, const struct mqtt_publish *publish);

/* Writes the whole packet, exactly mqtt_publish_size() bytes; returns the byte after it. */
uint8_t *mqtt_publish_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_publish *publish);

/* ---- Split form ---- */

/* What all subscribers of one version share. */
struct mqtt_publish_shared {
    struct mqtt_span topic;     /* copied into each head */
    struct mqtt_span tail;      /* shared properties (MQTT 5.0), then payload */
    uint32_t properties_length; /* bytes of `tail` that are properties; 0 for versions before 5.0 */
};

/* What is this subscriber's own. Zero means absent. */
struct mqtt_publish_own {
    uint8_t qos;
    bool retain;
    bool duplicate;
    bool topic_omitted;         /* MQTT 5.0: the alias alone, which the subscriber knows already */
    uint16_t packet_id;         /* at QoS 1 and 2 */
    uint16_t topic_alias;       /* MQTT 5.0; 0 none */
    bool has_expiry;            /* MQTT 5.0: the message expiry interval below is sent */
    uint32_t expiry;            /* seconds that are left */
    uint32_t identifiers;       /* number of subscription identifiers */
    const uint32_t *identifier; /* each 1 to 268,435,455 */
};

/*
 * Bytes of the shared properties of a message: all but topic alias, subscription identifiers and message expiry
 * interval, which belong to the head. 0 for versions before 5.0: then no tail has to be built.
 */
uint64_t mqtt_publish_shared_properties_size(enum mqtt_version version, const struct mqtt_publish *publish);

/* Writes the shared properties; returns the byte after them, where the caller puts the payload. */
uint8_t *mqtt_publish_shared_properties_encode(uint8_t *dst, const struct mqtt_publish *publish);

/* Bytes of the head; 0 if head and tail together have no encoding. The packet has head + tail.length bytes. */
size_t mqtt_publish_head_size(enum mqtt_version version, const struct mqtt_publish_shared *shared,
                              const struct mqtt_publish_own *own);

/* Writes the head, exactly mqtt_publish_head_size() bytes; returns the byte after it, where the tail goes. */
uint8_t *mqtt_publish_head_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_publish_shared *shared,
                                  const struct mqtt_publish_own *own);

#endif

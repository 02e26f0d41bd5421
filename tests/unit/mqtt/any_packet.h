/*
 * One packet of whatever type: decoding and encoding by the type in the header, for tests and fuzzing.
 */
#ifndef TESTS_UNIT_MQTT_ANY_PACKET_H
#define TESTS_UNIT_MQTT_ANY_PACKET_H

#include "lib/mqtt/packets.h"
#include "lib/mqtt/publish.h"

struct any_packet {
    enum mqtt_version version;
    enum mqtt_type type;
    union {
        struct mqtt_connect connect;
        struct mqtt_connack connack;
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe;
        struct mqtt_suback suback;
        struct mqtt_disconnect disconnect;
    };
};

/*
 * Decodes the packet at the start of `bytes`, as a stream with no limit of size. `version` is the connection's; a
 * CONNECT has its own. `length` becomes the bytes that the packet takes; MQTT_INCOMPLETE if they are not all there.
 */
enum mqtt_error any_packet_decode(enum mqtt_version version, enum mqtt_sender sender, const uint8_t *bytes, size_t n,
                                  size_t *length, struct any_packet *packet);

size_t any_packet_size(const struct any_packet *packet);
uint8_t *any_packet_encode(uint8_t *dst, const struct any_packet *packet);

#endif

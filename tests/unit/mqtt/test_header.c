/* The fixed header alone: flags of every type, lengths, the maximum packet size. */
#include <criterion/criterion.h>

#include "lib/mqtt/packets.h"
#include "lib/mqtt/publish.h"
#include "tests/unit/mqtt/notation.h"

Test(header, reserved_flags)
{
    for (unsigned first = 0; first < 256; first++) {
        const uint8_t bytes[2] = {(uint8_t)first, 0};
        struct mqtt_header header;
        enum mqtt_error error = mqtt_header_decode(bytes, 2, UINT32_MAX, &header);
        unsigned type = first >> 4, flags = first & 15;
        bool two = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE;
        bool good = type == MQTT_PUBLISH ? (flags & 6) != 6 && (flags & 14) != 8
                    : two                ? flags == 2 || flags == 10 /* DUP in MQTT 3.1, refused later in others */
                                         : type != 0 && flags == 0;
        cr_expect_eq(error == MQTT_OK, good, "%02x", first);
        cr_expect(!good || (header.type == type && header.flags == flags && header.length == 2));
    }
}

Test(header, duplicate_flag_of_3_1)
{
    const struct mqtt_header header = {.type = MQTT_PUBREL, .flags = 10, .length = 2, .remaining_length = 2};
    const uint8_t body[2] = {0, 1};
    struct mqtt_ack ack;
    cr_expect_eq(mqtt_ack_decode(MQTT_V31, &header, body, &ack), MQTT_OK);
    cr_expect_eq(mqtt_ack_decode(MQTT_V311, &header, body, &ack), MQTT_ERROR_FLAGS_RESERVED);
    cr_expect_eq(mqtt_ack_decode(MQTT_V5, &header, body, &ack), MQTT_ERROR_FLAGS_RESERVED);
}

Test(header, lengths)
{
    static const uint32_t lengths[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152, MQTT_REMAINING_LENGTH_MAX};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t bytes[MQTT_HEADER_MAX] = {0x30};
        size_t n = (size_t)(mqtt_varint_encode(bytes + 1, lengths[i]) - bytes);
        struct mqtt_header header;
        cr_expect_eq(n, 1 + mqtt_varint_size(lengths[i]));
        for (size_t cut = 0; cut < n; cut++)
            cr_expect_eq(mqtt_header_decode(bytes, cut, UINT32_MAX, &header), MQTT_INCOMPLETE);
        cr_expect_eq(mqtt_header_decode(bytes, n, UINT32_MAX, &header), MQTT_OK);
        cr_expect_eq(header.remaining_length, lengths[i]);
        cr_expect_eq(header.length, n);
        cr_expect(!header.padded);
    }
}

/* Versions before 5.0 do not ask for the shortest form, and clients exist that always write four bytes. */
Test(header, padded_length_before_5)
{
    static uint8_t bytes[64];
    size_t n = notation_parse("30 84808000 {'a'} '!'", bytes);
    struct mqtt_header header;
    struct mqtt_publish publish;
    cr_assert_eq(mqtt_header_decode(bytes, n, UINT32_MAX, &header), MQTT_OK);
    cr_assert(header.padded);
    cr_assert_eq(header.length, 5);
    cr_expect_eq(mqtt_publish_decode(MQTT_V311, MQTT_FROM_CLIENT, &header, bytes + 5, &publish), MQTT_OK);
    cr_expect_eq(mqtt_publish_decode(MQTT_V5, MQTT_FROM_CLIENT, &header, bytes + 5, &publish),
                 MQTT_ERROR_REMAINING_LENGTH_PADDED);
}

Test(header, maximum_packet_size)
{
    const uint8_t small[] = {0x30, 10}, large[] = {0x40, 0x80, 0x01};
    struct mqtt_header header;
    cr_expect_eq(mqtt_header_decode(small, 2, 12, &header), MQTT_OK);
    cr_expect_eq(mqtt_header_decode(small, 2, 11, &header), MQTT_ERROR_PACKET_TOO_LARGE);
    cr_expect_eq(mqtt_header_decode(large, 3, 131, &header), MQTT_OK);
    cr_expect_eq(mqtt_header_decode(large, 3, 130, &header), MQTT_ERROR_PACKET_TOO_LARGE);
}

/* What is wrong is said as soon as its byte is there. */
Test(header, early_refusal)
{
    struct mqtt_header header;
    cr_expect_eq(mqtt_header_decode((const uint8_t[]){0x00}, 1, UINT32_MAX, &header), MQTT_ERROR_TYPE_RESERVED);
    cr_expect_eq(mqtt_header_decode((const uint8_t[]){0x36}, 1, UINT32_MAX, &header), MQTT_ERROR_PUBLISH_QOS_3);
    cr_expect_eq(mqtt_header_decode((const uint8_t[]){0x81}, 1, UINT32_MAX, &header), MQTT_ERROR_FLAGS_RESERVED);
}

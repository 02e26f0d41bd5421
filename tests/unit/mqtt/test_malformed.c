/* Every malformed case comes out with its own cause, and tells the peer what the specification says. */
#include <criterion/criterion.h>

#include "tests/unit/mqtt/any_packet.h"
#include "tests/unit/mqtt/notation.h"

#define CLIENT MQTT_FROM_CLIENT
#define SERVER MQTT_FROM_SERVER

static const struct {
    enum mqtt_version version;
    enum mqtt_sender sender;
    const char *notation;
    enum mqtt_error error;
} malformed[] = {
#define MALFORMED(version, sender, notation, error) {MQTT_##version, sender, notation, MQTT_ERROR_##error},
#include "tests/unit/mqtt/malformed.def"
};

#define MALFORMED_COUNT (sizeof(malformed) / sizeof(malformed[0]))

static uint8_t bytes[NOTATION_MAX];

Test(malformed, every_case)
{
    for (size_t i = 0; i < MALFORMED_COUNT; i++) {
        struct any_packet packet;
        size_t length, n = notation_parse(malformed[i].notation, bytes);
        enum mqtt_error error = any_packet_decode(malformed[i].version, malformed[i].sender, notation_guarded(bytes, n),
                                                  n, &length, &packet);
        cr_expect_eq(error, malformed[i].error, "%s: %s instead of %s", malformed[i].notation, mqtt_error_name(error),
                     mqtt_error_name(malformed[i].error));
    }
}

Test(malformed, every_error_has_a_case)
{
    for (enum mqtt_error error = MQTT_INCOMPLETE + 1; error < MQTT_ERROR_COUNT; error++) {
        bool found = error == MQTT_ERROR_PACKET_TOO_LARGE; /* test header/maximum_packet_size */
        for (size_t i = 0; i < MALFORMED_COUNT; i++)
            found |= malformed[i].error == error;
        cr_expect(found, "no packet for %s", mqtt_error_name(error));
    }
}

Test(malformed, texts)
{
    for (enum mqtt_error error = MQTT_INCOMPLETE + 1; error < MQTT_ERROR_COUNT; error++) {
        cr_expect_geq(mqtt_error_reason(error), 0x80, "%s", mqtt_error_name(error));
        cr_expect_str_not_empty(mqtt_error_text(error));
        cr_expect_str_not_empty(mqtt_error_reference(error));
    }
    cr_expect_str_eq(mqtt_error_name(MQTT_ERROR_PUBLISH_QOS_3), "PUBLISH_QOS_3");
    cr_expect_str_eq(mqtt_reason_text(0x97), "Quota exceeded");
    cr_expect_str_eq(mqtt_reason_text(0x03), "Unknown reason code");
    cr_expect_str_eq(mqtt_type_name(MQTT_AUTH), "AUTH");
}

Test(malformed, reason_codes_for_the_peer)
{
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_UTF8_NUL), 0x81);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_PROPERTY_DUPLICATE), 0x82);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_PROTOCOL_VERSION), 0x84);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_CLIENT_IDENTIFIER_EMPTY), 0x85);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_FILTER_EMPTY), 0x8f);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_TOPIC_WILDCARD), 0x90);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_TOPIC_ALIAS_ZERO), 0x94);
    cr_expect_eq(mqtt_error_reason(MQTT_ERROR_PACKET_TOO_LARGE), 0x95);
}

Test(malformed, return_codes_before_5)
{
    static const uint8_t pairs[][2] = {{0x00, 0}, {0x84, 1}, {0x85, 2}, {0x88, 3}, {0x89, 3},
                                       {0x97, 3}, {0x86, 4}, {0x87, 5}, {0x8a, 5}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        cr_expect_eq(mqtt_reason_to_return_code(pairs[i][0]), pairs[i][1], "%x", pairs[i][0]);
}

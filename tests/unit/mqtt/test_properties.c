/* Properties: values that come out, what may be in which packet, order of user properties. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lib/mqtt/properties.h"
#include "tests/unit/mqtt/notation.h"

static uint8_t bytes[NOTATION_MAX], again[NOTATION_MAX];

static enum mqtt_error decode(enum mqtt_type type, const char *notation, struct mqtt_properties *properties)
{
    size_t n = notation_parse(notation, bytes);
    return mqtt_properties_decode(type, notation_guarded(bytes, n), (uint32_t)n, properties);
}

/* One valid occurrence of each property, by identifier. */
static const struct {
    uint8_t identifier;
    const char *notation;
    uint32_t packets; /* from table 2-4 of the specification, by hand */
} each[] = {
#define T(type) (1u << MQTT_##type)
    {0x01, "01 01", T(PUBLISH) | T(WILL)},
    {0x02, "02 00000001", T(PUBLISH) | T(WILL)},
    {0x03, "03{'t'}", T(PUBLISH) | T(WILL)},
    {0x08, "08{'t'}", T(PUBLISH) | T(WILL)},
    {0x09, "09{00}", T(PUBLISH) | T(WILL)},
    {0x0b, "0b 01", T(PUBLISH) | T(SUBSCRIBE)},
    {0x11, "11 00000001", T(CONNECT) | T(CONNACK) | T(DISCONNECT)},
    {0x12, "12{'c'}", T(CONNACK)},
    {0x13, "13 0001", T(CONNACK)},
    {0x15, "15{'m'}", T(CONNECT) | T(CONNACK) | T(AUTH)},
    {0x16, "15{'m'} 16{00}", T(CONNECT) | T(CONNACK) | T(AUTH)},
    {0x17, "17 00", T(CONNECT)},
    {0x18, "18 00000001", T(WILL)},
    {0x19, "19 00", T(CONNECT)},
    {0x1a, "1a{'r'}", T(CONNACK)},
    {0x1c, "1c{'s'}", T(CONNACK) | T(DISCONNECT)},
    {0x1f, "1f{'r'}",
     T(CONNACK) | T(PUBACK) | T(PUBREC) | T(PUBREL) | T(PUBCOMP) | T(SUBACK) | T(UNSUBACK) | T(DISCONNECT) | T(AUTH)},
    {0x21, "21 0001", T(CONNECT) | T(CONNACK)},
    {0x22, "22 0001", T(CONNECT) | T(CONNACK)},
    {0x23, "23 0001", T(PUBLISH)},
    {0x24, "24 00", T(CONNACK)},
    {0x25, "25 00", T(CONNACK)},
    {0x26, "26{'k'}{'v'}", 0xffff & ~(T(PINGREQ) | T(PINGRESP))},
    {0x27, "27 00000001", T(CONNECT) | T(CONNACK)},
    {0x28, "28 00", T(CONNACK)},
    {0x29, "29 00", T(CONNACK)},
    {0x2a, "2a 00", T(CONNACK)},
};

#define EACH_COUNT (sizeof(each) / sizeof(each[0]))

Test(properties, allowed_packets)
{
    for (size_t i = 0; i < EACH_COUNT; i++)
        for (enum mqtt_type type = MQTT_WILL; type <= MQTT_AUTH; type++) {
            struct mqtt_properties properties;
            enum mqtt_error error = decode(type, each[i].notation, &properties);
            bool allowed = each[i].packets >> type & 1;
            cr_expect_eq(error, allowed ? MQTT_OK : MQTT_ERROR_PROPERTY_NOT_ALLOWED, "%02x in %s: %s",
                         each[i].identifier, mqtt_type_name(type), mqtt_error_name(error));
            cr_expect(!allowed || mqtt_property_is_present(&properties, each[i].identifier));
        }
}

/* No identifier beside those is known. */
Test(properties, unknown)
{
    for (unsigned identifier = 0; identifier < 256; identifier++) {
        bool known = false;
        for (size_t i = 0; i < EACH_COUNT; i++)
            known |= each[i].identifier == identifier;
        uint8_t one = (uint8_t)identifier;
        struct mqtt_properties properties;
        enum mqtt_error error = mqtt_properties_decode(MQTT_CONNECT, &one, 1, &properties);
        cr_expect_eq(error == MQTT_ERROR_PROPERTY_UNKNOWN, !known, "%02x", identifier);
    }
}

Test(properties, duplicates)
{
    for (size_t i = 0; i < EACH_COUNT; i++) {
        char twice[100];
        struct mqtt_properties properties;
        enum mqtt_type type = (enum mqtt_type)__builtin_ctz(each[i].packets);
        snprintf(twice, sizeof(twice), "%s %s", each[i].notation, each[i].notation);
        enum mqtt_error expected = each[i].identifier == 0x26 || (each[i].identifier == 0x0b && type == MQTT_PUBLISH)
                                       ? MQTT_OK
                                       : MQTT_ERROR_PROPERTY_DUPLICATE;
        cr_expect_eq(decode(type, twice, &properties), expected, "%s", twice);
    }
}

/* Cut anywhere, no property is read beyond its end. */
Test(properties, malformed)
{
    for (size_t i = 0; i < EACH_COUNT; i++) {
        size_t n = notation_parse(each[i].notation, bytes);
        for (size_t cut = 1; cut < n; cut++) {
            struct mqtt_properties properties;
            enum mqtt_type type = (enum mqtt_type)__builtin_ctz(each[i].packets);
            enum mqtt_error error =
                mqtt_properties_decode(type, notation_guarded(bytes, cut), (uint32_t)cut, &properties);
            bool whole = each[i].identifier == 0x16 && cut == 4; /* the method alone is well-formed */
            cr_expect_eq(error == MQTT_OK, whole, "%s cut at %zu", each[i].notation, cut);
        }
    }
    struct mqtt_properties properties;
    cr_expect_eq(decode(MQTT_PUBLISH, "08{'a/#'}", &properties), MQTT_ERROR_RESPONSE_TOPIC_WILDCARD);
    cr_expect_eq(decode(MQTT_PUBLISH, "08{ff}", &properties), MQTT_ERROR_UTF8_INVALID);
    cr_expect_eq(decode(MQTT_PUBLISH, "23 0000", &properties), MQTT_ERROR_TOPIC_ALIAS_ZERO);
    cr_expect_eq(decode(MQTT_PUBLISH, "26{'k'}{ff}", &properties), MQTT_ERROR_UTF8_INVALID);
    cr_expect_eq(decode(MQTT_PUBLISH, "26{ff}{'v'}", &properties), MQTT_ERROR_UTF8_INVALID);
}

Test(properties, user_properties)
{
    static const char *const expected[][2] = {{"b", "1"}, {"a", "2"}, {"b", ""}, {"", "3"}};
    struct mqtt_properties properties;
    cr_assert_eq(decode(MQTT_PUBLISH,
                        "26{'b'}{'1'} 01 01 26{'a'}{'2'} 03{'text'} 26{'b'}{} 02 00000001 26{}{'3'} 23 0001",
                        &properties),
                 MQTT_OK);
    struct mqtt_span rest = properties.user_properties;
    struct mqtt_property_value value;
    for (size_t i = 0; i < 4; i++) {
        cr_assert(mqtt_property_next(&rest, MQTT_PROPERTY_USER_PROPERTY, &value));
        cr_assert(value.name.length == strlen(expected[i][0]) &&
                  !memcmp(value.name.data, expected[i][0], value.name.length));
        cr_assert(value.value.length == strlen(expected[i][1]) &&
                  !memcmp(value.value.data, expected[i][1], value.value.length));
    }
    cr_assert(!mqtt_property_next(&rest, MQTT_PROPERTY_USER_PROPERTY, &value));

    /* Written again: in their order, at their identifier's place among the others. */
    size_t n =
        notation_parse("01 01 02 00000001 03{'text'} 23 0001 26{'b'}{'1'} 26{'a'}{'2'} 26{'b'}{} 26{}{'3'}", bytes);
    cr_assert_eq(mqtt_properties_size(&properties), n);
    mqtt_properties_encode(again, &properties);
    cr_assert_eq(memcmp(again, bytes, n), 0);
}

Test(properties, subscription_identifiers)
{
    static const uint32_t expected[] = {1, 16383, 268435455};
    struct mqtt_properties properties;
    cr_assert_eq(decode(MQTT_PUBLISH, "0b 01 26{'k'}{'v'} 0b ff7f 0b ffffff7f", &properties), MQTT_OK);
    cr_assert_eq(properties.subscription_identifier, 1);
    struct mqtt_span rest = properties.subscription_identifiers;
    struct mqtt_property_value value;
    for (size_t i = 0; i < 3; i++) {
        cr_assert(mqtt_property_next(&rest, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, &value));
        cr_assert_eq(value.number, expected[i]);
    }
    cr_assert(!mqtt_property_next(&rest, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, &value));
}

/* A caller's own properties. */
Test(properties, made)
{
    struct mqtt_properties properties = {0};
    properties.subscription_identifier = 300;
    mqtt_property_set(&properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER);
    uint8_t user[100], *end = mqtt_user_property_append(user, MQTT_SPAN("k"), MQTT_SPAN("v"));
    end = mqtt_user_property_append(end, MQTT_SPAN("k"), MQTT_SPAN("w"));
    properties.user_properties = (struct mqtt_span){user, (uint32_t)(end - user)};
    mqtt_property_set(&properties, MQTT_PROPERTY_USER_PROPERTY);
    size_t n = notation_parse("0b ac02 26{'k'}{'v'} 26{'k'}{'w'}", bytes);
    cr_assert_eq(mqtt_properties_size(&properties), n);
    mqtt_properties_encode(again, &properties);
    cr_assert_eq(memcmp(again, bytes, n), 0);

    mqtt_property_clear(&properties, MQTT_PROPERTY_USER_PROPERTY);
    cr_assert_eq(mqtt_properties_size(&properties), 3);

    properties.reason_string = (struct mqtt_span){bytes, 65536};
    mqtt_property_set(&properties, MQTT_PROPERTY_REASON_STRING);
    cr_assert_gt(mqtt_properties_size(&properties), MQTT_REMAINING_LENGTH_MAX);
}

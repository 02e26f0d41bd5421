/* UTF-8, variable byte integers, topic names and filters. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/mqtt/topic_name.h"
#include "lib/mqtt/utf8.h"
#include "lib/mqtt/wire.h"
#include "tests/unit/mqtt/notation.h"

static struct mqtt_span span_of(const char *text)
{
    return (struct mqtt_span){(const uint8_t *)text, (uint32_t)strlen(text)};
}

/* Encodes any value below 0x200000 as UTF-8 would, surrogates and what is beyond U+10FFFF too. */
static uint32_t utf8_encode(uint32_t value, uint8_t *dst)
{
    if (value < 0x80) {
        dst[0] = (uint8_t)value;
        return 1;
    }
    uint32_t length = value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    for (uint32_t at = length; at-- > 1; value >>= 6)
        dst[at] = (uint8_t)(0x80 | (value & 0x3f));
    dst[0] = (uint8_t)((0xf00 >> length & 0xff) | value);
    return length;
}

Test(primitives, utf8)
{
    uint8_t bytes[4];
    for (uint32_t value = 0; value < 0x200000; value++) {
        struct mqtt_span text = {bytes, utf8_encode(value, bytes)};
        enum mqtt_error expected = value == 0                           ? MQTT_ERROR_UTF8_NUL
                                   : value >= 0xd800 && value <= 0xdfff ? MQTT_ERROR_UTF8_SURROGATE
                                   : value > 0x10ffff                   ? MQTT_ERROR_UTF8_INVALID
                                                                        : MQTT_OK;
        cr_assert_eq(mqtt_utf8_check(text), expected, "U+%X", value);
    }
    cr_assert_eq(mqtt_utf8_check(MQTT_SPAN("\xef\xbb\xbf"
                                           "bom")),
                 MQTT_OK);
}

Test(primitives, utf8_ill_formed)
{
    static const char *const texts[] = {
        "\x80",
        "\xbf",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xc3",
        "\xc3(",
        "\xe0\x80\xaf",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xe2(\xa1",
        "\xf0\x80\x80\xaf",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x8c",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        /* At every place in a text, so that words, their ends and their overlaps are all tried. */
        for (uint32_t before = 0; before < 20; before++) {
            uint8_t bytes[64];
            uint32_t n = (uint32_t)strlen(texts[i]);
            memset(bytes, 'a', sizeof(bytes));
            memcpy(bytes + before, texts[i], n);
            for (uint32_t after = 0; after < 20; after++) {
                struct mqtt_span text = {notation_guarded(bytes, before + n + after), before + n + after};
                cr_assert_eq(mqtt_utf8_check(text), MQTT_ERROR_UTF8_INVALID, "%zu at %u of %u", i, before, text.length);
            }
        }
    }
}

Test(primitives, utf8_discouraged)
{
    cr_expect(!mqtt_utf8_is_discouraged(MQTT_SPAN("text \xc3\xa9 \xf0\x9f\x8c\xa1")));
    cr_expect(mqtt_utf8_is_discouraged(MQTT_SPAN("line\n")));
    cr_expect(mqtt_utf8_is_discouraged(MQTT_SPAN("\x7f")));
    cr_expect(mqtt_utf8_is_discouraged(MQTT_SPAN("\xc2\x9f")));
    cr_expect(mqtt_utf8_is_discouraged(MQTT_SPAN("\xef\xb7\x90")));
    cr_expect(mqtt_utf8_is_discouraged(MQTT_SPAN("\xef\xbf\xbf")));
    cr_expect(mqtt_utf8_is_discouraged(MQTT_SPAN("\xf4\x8f\xbf\xbe")));
    cr_expect(!mqtt_utf8_is_discouraged(MQTT_SPAN("\xef\xbb\xbf")));
}

Test(primitives, varint)
{
    static const uint32_t values[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152, MQTT_REMAINING_LENGTH_MAX};
    uint8_t bytes[8];
    uint32_t value;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint8_t *end = mqtt_varint_encode(bytes, values[i]);
        struct wire_reader reader = {bytes, end};
        cr_assert_eq((uint32_t)(end - bytes), mqtt_varint_size(values[i]));
        cr_assert_eq(wire_read_varint(&reader, &value), MQTT_OK);
        cr_assert(value == values[i] && reader.at == end);
        reader = (struct wire_reader){bytes, end - 1};
        cr_assert_eq(wire_read_varint(&reader, &value), MQTT_ERROR_INTEGER_TRUNCATED);
    }
    const uint8_t padded[] = {0x80, 0x00}, longer[] = {0xff, 0xff, 0xff, 0xff, 0x00};
    struct wire_reader reader = {padded, padded + 2};
    cr_assert_eq(wire_read_varint(&reader, &value), MQTT_ERROR_VARINT_PADDED);
    reader = (struct wire_reader){longer, longer + 5};
    cr_assert_eq(wire_read_varint(&reader, &value), MQTT_ERROR_VARINT_TOO_LONG);
}

Test(topics, names)
{
    static const struct {
        const char *name;
        enum mqtt_error error;
    } names[] = {
        {"a", MQTT_OK},
        {"/", MQTT_OK},
        {"//", MQTT_OK},
        {"a/b/c", MQTT_OK},
        {" ", MQTT_OK},
        {"$SYS/broker", MQTT_OK},
        {"", MQTT_ERROR_TOPIC_EMPTY},
        {"#", MQTT_ERROR_TOPIC_WILDCARD},
        {"a/+", MQTT_ERROR_TOPIC_WILDCARD},
        {"a+b", MQTT_ERROR_TOPIC_WILDCARD},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_expect_eq(mqtt_topic_name_check(span_of(names[i].name)), names[i].error, "%s", names[i].name);
}

Test(topics, filters)
{
    static const struct {
        const char *filter;
        enum mqtt_error error;
    } filters[] = {
        {"a", MQTT_OK},
        {"#", MQTT_OK},
        {"+", MQTT_OK},
        {"/", MQTT_OK},
        {"/#", MQTT_OK},
        {"/+", MQTT_OK},
        {"+/", MQTT_OK},
        {"+/+/#", MQTT_OK},
        {"a/+/b", MQTT_OK},
        {"a/b/#", MQTT_OK},
        {"$SYS/#", MQTT_OK},
        {"", MQTT_ERROR_FILTER_EMPTY},
        {"a#", MQTT_ERROR_FILTER_MULTI_LEVEL},
        {"a/b#", MQTT_ERROR_FILTER_MULTI_LEVEL},
        {"#/", MQTT_ERROR_FILTER_MULTI_LEVEL},
        {"a/#/b", MQTT_ERROR_FILTER_MULTI_LEVEL},
        {"##", MQTT_ERROR_FILTER_MULTI_LEVEL},
        {"+a", MQTT_ERROR_FILTER_SINGLE_LEVEL},
        {"a+", MQTT_ERROR_FILTER_SINGLE_LEVEL},
        {"a/+b/c", MQTT_ERROR_FILTER_SINGLE_LEVEL},
        {"++", MQTT_ERROR_FILTER_SINGLE_LEVEL},
        {"a/++", MQTT_ERROR_FILTER_SINGLE_LEVEL},
    };
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
        cr_expect_eq(mqtt_topic_filter_check(span_of(filters[i].filter)), filters[i].error, "%s", filters[i].filter);
}

Test(topics, shares)
{
    static const struct {
        const char *filter, *group, *rest;
        enum mqtt_error error;
    } shares[] = {
        {"a/b", "", "a/b", MQTT_OK},
        {"$share", "", "$share", MQTT_OK},
        {"$shared/g/a", "", "$shared/g/a", MQTT_OK},
        {"$share/g/a", "g", "a", MQTT_OK},
        {"$share/group/a/+/#", "group", "a/+/#", MQTT_OK},
        {"$share/g//", "g", "/", MQTT_OK},
        {"$share/", NULL, NULL, MQTT_ERROR_SHARE_NAME_INVALID},
        {"$share//a", NULL, NULL, MQTT_ERROR_SHARE_NAME_INVALID},
        {"$share/#/a", NULL, NULL, MQTT_ERROR_SHARE_NAME_INVALID},
        {"$share/g+/a", NULL, NULL, MQTT_ERROR_SHARE_NAME_INVALID},
        {"$share/g", NULL, NULL, MQTT_ERROR_SHARE_FILTER_MISSING},
        {"$share/g/", NULL, NULL, MQTT_ERROR_SHARE_FILTER_MISSING},
    };
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        struct mqtt_span group, rest;
        cr_expect_eq(mqtt_topic_share_split(span_of(shares[i].filter), &group, &rest), shares[i].error, "%s",
                     shares[i].filter);
        if (shares[i].error != MQTT_OK)
            continue;
        cr_expect(group.length == strlen(shares[i].group) &&
                  !memcmp(group.data ? (const char *)group.data : "", shares[i].group, group.length));
        cr_expect(rest.length == strlen(shares[i].rest) && !memcmp(rest.data, shares[i].rest, rest.length));
    }
}

Test(topics, levels)
{
    cr_expect_eq(mqtt_topic_levels(MQTT_SPAN("a")), 1);
    cr_expect_eq(mqtt_topic_levels(MQTT_SPAN("a/b/c")), 3);
    cr_expect_eq(mqtt_topic_levels(MQTT_SPAN("/")), 2);
    cr_expect(mqtt_topic_has_wildcard(MQTT_SPAN("a/+/b")));
    cr_expect(mqtt_topic_has_wildcard(MQTT_SPAN("a/#")));
    cr_expect(!mqtt_topic_has_wildcard(MQTT_SPAN("a/b")));
}

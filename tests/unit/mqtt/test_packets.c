/* Well-formed packets: byte-exact both ways, whatever the segmentation, and the fields that come out. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/mqtt/any_packet.h"
#include "tests/unit/mqtt/notation.h"

#define CLIENT MQTT_FROM_CLIENT
#define SERVER MQTT_FROM_SERVER

static const struct {
    enum mqtt_version version;
    enum mqtt_sender sender;
    const char *notation;
} good[] = {
#define GOOD(version, sender, notation) {MQTT_##version, sender, notation},
#include "tests/unit/mqtt/good.def"
};

#define GOOD_COUNT (sizeof(good) / sizeof(good[0]))

static uint8_t bytes[NOTATION_MAX], again[NOTATION_MAX];

/* Parses and decodes a packet that must be good; it lies before memory that cannot be touched. */
static void decode(enum mqtt_version version, enum mqtt_sender sender, const char *notation, struct any_packet *packet)
{
    size_t length, n = notation_parse(notation, bytes);
    enum mqtt_error error = any_packet_decode(version, sender, notation_guarded(bytes, n), n, &length, packet);
    cr_assert_eq(error, MQTT_OK, "%s: %s", notation, mqtt_error_text(error));
    cr_assert_eq(length, n, "%s", notation);
}

static void assert_span(struct mqtt_span span, const char *text)
{
    cr_assert_eq(span.length, strlen(text), "%.*s is not %s", (int)span.length, span.data, text);
    cr_assert_eq(memcmp(span.data, text, span.length), 0, "%.*s is not %s", (int)span.length, span.data, text);
}

Test(packets, encode)
{
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        struct any_packet packet;
        decode(good[i].version, good[i].sender, good[i].notation, &packet);
        size_t n = notation_parse(good[i].notation, bytes);
        cr_assert_eq(packet.version, good[i].version, "%s", good[i].notation);
        cr_assert_eq(any_packet_size(&packet), n, "%s: size", good[i].notation);
        cr_assert_eq((size_t)(any_packet_encode(again, &packet) - again), n, "%s: encoded size", good[i].notation);
        cr_assert_eq(memcmp(again, bytes, n), 0, "%s: bytes", good[i].notation);
    }
}

/* Every packet, cut at every byte: incomplete, and nothing beyond the cut is read. */
Test(packets, segmentation)
{
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        size_t length, n = notation_parse(good[i].notation, bytes);
        struct any_packet packet;
        for (size_t cut = 0; cut < n; cut += cut < 64 ? 1 : 997) {
            enum mqtt_error error =
                any_packet_decode(good[i].version, good[i].sender, notation_guarded(bytes, cut), cut, &length, &packet);
            cr_assert_eq(error, MQTT_INCOMPLETE, "%s cut at %zu", good[i].notation, cut);
        }
    }
}

/* A body that is shorter than its fields is never accepted as what the whole was, and never read beyond. */
Test(packets, truncated_bodies)
{
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        size_t n = notation_parse(good[i].notation, bytes);
        struct mqtt_header header;
        mqtt_header_decode(bytes, n, UINT32_MAX, &header);
        size_t body = header.remaining_length < 400 ? header.remaining_length : 400;
        for (uint32_t cut = 0; cut < body; cut++) {
            uint8_t *end = mqtt_varint_encode(again + 1, cut);
            again[0] = bytes[0];
            memcpy(end, bytes + header.length, cut);
            size_t length, total = (size_t)(end - again) + cut;
            struct any_packet packet;
            enum mqtt_error error = any_packet_decode(good[i].version, good[i].sender, notation_guarded(again, total),
                                                      total, &length, &packet);
            cr_assert(error == MQTT_OK ? any_packet_size(&packet) <= total : error != MQTT_INCOMPLETE, "%s cut to %u",
                      good[i].notation, cut);
        }
    }
}

Test(packets, connect)
{
    struct any_packet packet;
    const struct mqtt_connect *connect = &packet.connect;
    decode(MQTT_V311, CLIENT, "10 ( {'MQTT'} 04 f6 012c {'client'} {'will/topic'} {'bye'} {'user'} {'secret'} )",
           &packet);
    cr_assert_eq(connect->version, MQTT_V311);
    cr_assert(connect->clean_start && connect->has_will && connect->will_retain);
    cr_assert(connect->has_user_name && connect->has_password);
    cr_assert_eq(connect->will_qos, 2);
    cr_assert_eq(connect->keep_alive, 300);
    assert_span(connect->client_id, "client");
    assert_span(connect->will_topic, "will/topic");
    assert_span(connect->will_payload, "bye");
    assert_span(connect->user_name, "user");
    assert_span(connect->password, "secret");
    cr_assert_eq(connect->properties.present, 0);
    cr_assert_eq(connect->will_properties.present, 0);

    decode(MQTT_V5, CLIENT, "10 ( {'MQTT'} 05 06 0000 (21 0014 27 00010000) {'c'} (18 0000003c) {'w'} {} )", &packet);
    cr_assert_eq(connect->properties.receive_maximum, 20);
    cr_assert_eq(connect->properties.maximum_packet_size, 65536);
    cr_assert_eq(connect->will_properties.will_delay_interval, 60);
    cr_assert(mqtt_property_is_present(&connect->will_properties, MQTT_PROPERTY_WILL_DELAY_INTERVAL));
    cr_assert(!connect->has_user_name && connect->user_name.length == 0 && connect->password.length == 0);
}

/* Of the first bytes of a connection, however many of them are here. */
Test(packets, client_id_of_a_connect)
{
    static const struct {
        const char *notation;
        const char *id; /* NULL: none is found */
    } cases[] = {
        {"10 ( {'MQTT'} 04 f6 012c {'client'} {'will/topic'} {'bye'} {'user'} {'secret'} )", "client"},
        {"10 ( {'MQTT'} 05 02 0000 (21 0014 27 00010000) {'five'} )", "five"},
        {"10 ( {'MQIsdp'} 03 02 003c {'old'} )", "old"},
        {"10 ( {'MQTT'} 05 02 0000 (21 0014) {} )", ""},
        {"10 ( {'HTTP'} 04 02 0000 {'x'} )", NULL},
        {"30 ( {'MQTT'} 'client' )", NULL},
        {"c0 00", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = notation_parse(cases[i].notation, bytes);
        struct mqtt_span id;
        bool found = mqtt_connect_find_client_id(notation_guarded(bytes, n), n, &id);
        cr_assert_eq(found, cases[i].id != NULL, "%s", cases[i].notation);
        if (found)
            assert_span(id, cases[i].id);
        /* Cut anywhere: it is found as soon as it is there, and nothing is read beyond. */
        for (size_t cut = 0; cut < n; cut++) {
            if (mqtt_connect_find_client_id(notation_guarded(bytes, cut), cut, &id) && cases[i].id)
                assert_span(id, cases[i].id);
        }
    }
}

/* What the caller answers in, when a CONNECT fails. */
Test(packets, connect_version_at_errors)
{
    static const struct {
        const char *notation;
        uint8_t version;
    } cases[] = {
        {"10 ( {'HTTP'} 04 02 0000 {} )", 0},
        {"10 ( {'MQTT'} 03 02 0000 {} )", MQTT_V311},
        {"10 ( {'MQTT'} 06 02 0000 {} )", MQTT_V5},
        {"10 ( {'MQTT'} 84 02 0000 {} )", MQTT_V311},
        {"10 ( {'MQTT'} 05 02 0000 (21 0000) {} )", MQTT_V5},
        {"10 ( {'MQIsdp'} 03 02 0000 {} )", MQTT_V31},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct any_packet packet;
        size_t length, n = notation_parse(cases[i].notation, bytes);
        cr_assert_neq(any_packet_decode(MQTT_V311, CLIENT, bytes, n, &length, &packet), MQTT_OK);
        cr_assert_eq(packet.connect.version, cases[i].version, "%s: %u", cases[i].notation, packet.connect.version);
    }
}

Test(packets, publish)
{
    struct any_packet packet;
    const struct mqtt_publish *publish = &packet.publish;
    decode(MQTT_V311, CLIENT, "3d ( {'sensors/1/temperature'} 1234 '21.5' )", &packet);
    cr_assert_eq(publish->qos, 2);
    cr_assert(publish->retain && publish->duplicate);
    cr_assert_eq(publish->packet_id, 0x1234);
    assert_span(publish->topic, "sensors/1/temperature");
    assert_span(publish->payload, "21.5");

    decode(MQTT_V5, CLIENT, "31 ( {'sensors/1/temperature'} () '21.5' )", &packet);
    cr_assert_eq(publish->qos, 0);
    cr_assert_eq(publish->packet_id, 0);
    cr_assert(publish->retain && !publish->duplicate);
    assert_span(publish->topic, "sensors/1/temperature");
    assert_span(publish->payload, "21.5");
    cr_assert_eq(publish->properties.present, 0);
}

/* The inline path and the long one agree, for all that the inline path takes and what is next to it. */
Test(packets, publish_paths_agree)
{
    for (unsigned value = 0; value < 256; value++) {
        for (size_t topic = 1; topic < 40; topic++) {
            char notation[100];
            snprintf(notation, sizeof(notation), "30 ( {[%zx 61]} 00 'payload' )", topic);
            size_t n = notation_parse(notation, bytes);
            bytes[4 + value % topic] = (uint8_t)value;
            uint8_t *guarded = notation_guarded(bytes, n);
            struct mqtt_header header;
            struct mqtt_publish one, two;
            cr_assert_eq(mqtt_header_decode(guarded, n, UINT32_MAX, &header), MQTT_OK);
            for (enum mqtt_version version = MQTT_V311; version <= MQTT_V5; version++) {
                enum mqtt_error error = mqtt_publish_decode(version, CLIENT, &header, guarded + 2, &one);
                cr_assert_eq(error, mqtt_publish_decode_long(version, CLIENT, &header, guarded + 2, &two),
                             "byte %x in %zu", value, topic);
                cr_assert(error != MQTT_OK ||
                          (one.topic.length == two.topic.length && one.payload.data == two.payload.data &&
                           one.payload.length == two.payload.length));
            }
        }
    }
}

Test(packets, subscribe)
{
    struct any_packet packet;
    decode(MQTT_V5, CLIENT, "82 ( 000a (0b 05) {'a/b'} 0e {'$share/g/c/+'} 29 )", &packet);
    cr_assert_eq(packet.subscribe.packet_id, 10);
    cr_assert_eq(packet.subscribe.filter_count, 2);
    cr_assert_eq(packet.subscribe.properties.subscription_identifier, 5);

    struct mqtt_span rest = packet.subscribe.filters;
    struct mqtt_subscription subscription;
    cr_assert(mqtt_subscription_next(&rest, &subscription));
    assert_span(subscription.filter, "a/b");
    cr_assert(subscription.qos == 2 && subscription.no_local && subscription.retain_as_published);
    cr_assert_eq(subscription.retain_handling, 0);
    cr_assert(mqtt_subscription_next(&rest, &subscription));
    assert_span(subscription.filter, "$share/g/c/+");
    cr_assert(subscription.qos == 1 && !subscription.no_local && subscription.retain_as_published);
    cr_assert_eq(subscription.retain_handling, 2);
    cr_assert(!mqtt_subscription_next(&rest, &subscription));
}

/* What clients make of the parts, and what a server reads of it. */
Test(packets, subscribe_made)
{
    uint8_t payload[100], *end = payload;
    const struct mqtt_subscription subscriptions[] = {
        {.filter = MQTT_SPAN("a"), .qos = 1, .no_local = true},
        {.filter = MQTT_SPAN("b/#"), .qos = 2, .retain_as_published = true, .retain_handling = 1},
    };
    for (int i = 0; i < 2; i++)
        end = mqtt_subscription_append(end, &subscriptions[i]);
    struct mqtt_subscribe subscribe = {.packet_id = 3, .filters = {payload, (uint32_t)(end - payload)}};
    size_t n = notation_parse("82 ( 0003 () {'a'} 05 {'b/#'} 1a )", bytes);
    cr_assert_eq(mqtt_subscribe_size(MQTT_V5, &subscribe), n);
    mqtt_subscribe_encode(again, MQTT_V5, &subscribe);
    cr_assert_eq(memcmp(again, bytes, n), 0);

    end = mqtt_filter_append(mqtt_filter_append(payload, MQTT_SPAN("a")), MQTT_SPAN("b/#"));
    subscribe.filters = (struct mqtt_span){payload, (uint32_t)(end - payload)};
    n = notation_parse("a2 ( 0003 {'a'} {'b/#'} )", bytes);
    cr_assert_eq(mqtt_unsubscribe_size(MQTT_V311, &subscribe), n);
    mqtt_unsubscribe_encode(again, MQTT_V311, &subscribe);
    cr_assert_eq(memcmp(again, bytes, n), 0);

    struct mqtt_span rest = subscribe.filters, filter;
    cr_assert(mqtt_filter_next(&rest, &filter));
    assert_span(filter, "a");
    cr_assert(mqtt_filter_next(&rest, &filter));
    assert_span(filter, "b/#");
    cr_assert(!mqtt_filter_next(&rest, &filter));
}

Test(packets, acknowledgements)
{
    struct any_packet packet;
    decode(MQTT_V5, SERVER, "40 ( 0102 97 (1f{'full'}) )", &packet);
    cr_assert_eq(packet.ack.packet_id, 0x102);
    cr_assert_eq(packet.ack.reason, MQTT_REASON_QUOTA_EXCEEDED);
    assert_span(packet.ack.properties.reason_string, "full");
    decode(MQTT_V5, SERVER, "62 ( 0102 )", &packet);
    cr_assert_eq(packet.ack.reason, MQTT_REASON_SUCCESS);
    cr_assert_eq(packet.ack.properties.present, 0);
    decode(MQTT_V5, SERVER, "90 ( 0001 () 00 87 )", &packet);
    cr_assert_eq(packet.suback.reasons.length, 2);
    cr_assert_eq(packet.suback.reasons.data[1], MQTT_REASON_NOT_AUTHORIZED);
    cr_assert_eq(mqtt_ack_encode_success(again, MQTT_PUBREL, 0x102) - again, 4);
    cr_assert_eq(memcmp(again, "\x62\x02\x01\x02", 4), 0);
}

/* What the format cannot hold has size 0 instead of a wrong packet. */
Test(packets, too_long_to_encode)
{
    struct mqtt_publish publish = {.topic = {bytes, 65536}, .payload = {bytes, 0}};
    cr_assert_eq(mqtt_publish_size(MQTT_V311, &publish), 0);
    publish.topic.length = 1;
    publish.payload.length = MQTT_REMAINING_LENGTH_MAX - 3;
    cr_assert_eq(mqtt_publish_size(MQTT_V311, &publish), (size_t)MQTT_REMAINING_LENGTH_MAX + 5);
    publish.payload.length++;
    cr_assert_eq(mqtt_publish_size(MQTT_V311, &publish), 0);
    struct mqtt_publish_shared shared = {.topic = {bytes, 1}, .tail = publish.payload};
    struct mqtt_publish_own own = {.qos = 0};
    cr_assert_eq(mqtt_publish_head_size(MQTT_V311, &shared, &own), 0);
    struct mqtt_connect connect = {.version = MQTT_V311, .client_id = {bytes, 65536}};
    cr_assert_eq(mqtt_connect_size(&connect), 0);
}

/* dataplane/run.h: which packets make a run, and what its messages are. */
#include <string.h>

#include "dataplane/run.h"
#include "tests/unit/dataplane/support.h"

/* PUBLISH packets of "t" with a payload of `size` bytes each, all `fill`, one behind the other. */
struct stream {
    uint8_t bytes[2048];
    uint32_t length;
};

static void append(struct stream *stream, uint8_t first, uint8_t topic, bool properties, uint32_t size, uint8_t fill)
{
    uint8_t *packet = stream->bytes + stream->length;
    uint32_t at = 0;
    packet[at++] = first;
    packet[at++] = (uint8_t)(3 + properties + size);
    packet[at++] = 0;
    packet[at++] = 1;
    packet[at++] = topic;
    if (properties) {
        packet[at++] = 0;
    }
    memset(packet + at, fill, size);
    stream->length += at + size;
}

static uint32_t count_of(const struct stream *stream, enum mqtt_version version, uint32_t left, uint32_t max)
{
    struct mqtt_header header;
    cr_assert_eq(mqtt_header_decode(stream->bytes, left, UINT32_MAX, &header), MQTT_OK);
    return run_count(version, &header, stream->bytes, left, max);
}

Test(run, counts_packets_that_differ_in_payload_alone)
{
    struct stream stream = {.length = 0};
    for (uint8_t i = 0; i < 10; i++) {
        append(&stream, 0x30, 't', false, 20, i);
    }
    cr_expect_eq(count_of(&stream, MQTT_V311, stream.length, RUN_MAX), 10);
    cr_expect_eq(count_of(&stream, MQTT_V311, stream.length - 1, RUN_MAX), 9, "the last has not arrived whole");
    cr_expect_eq(count_of(&stream, MQTT_V311, stream.length, 4), 4, "the bound");
    cr_expect_eq(count_of(&stream, MQTT_V311, 25, RUN_MAX), 1);
    cr_expect_eq(count_of(&stream, MQTT_V5, stream.length, RUN_MAX), 1, "in 5.0 the payload begins with properties");
}

Test(run, ends_where_anything_else_changes)
{
    static const struct {
        uint8_t first, topic;
        uint32_t size;
        const char *what;
    } ends[] = {{0x31, 't', 20, "retained"},      {0x32, 't', 20, "QoS 1"},    {0x38, 't', 20, "DUP"},
                {0x30, 'u', 20, "another topic"}, {0x30, 't', 21, "a length"}, {0xc0, 't', 20, "another type"}};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct stream stream = {.length = 0};
        append(&stream, 0x30, 't', false, 20, 1);
        append(&stream, 0x30, 't', false, 20, 2);
        append(&stream, ends[i].first, ends[i].topic, false, ends[i].size, 3);
        append(&stream, 0x30, 't', false, 20, 4);
        cr_expect_eq(count_of(&stream, MQTT_V311, stream.length, RUN_MAX), 2, "%s", ends[i].what);
    }
}

Test(run, never_begins_with_what_is_more_than_a_plain_message)
{
    static const uint8_t firsts[] = {0x31, 0x32, 0x34, 0x38, 0xc0};
    for (size_t i = 0; i < sizeof(firsts); i++) {
        struct stream stream = {.length = 0};
        append(&stream, firsts[i], 't', false, 20, 1);
        append(&stream, firsts[i], 't', false, 20, 2);
        const struct mqtt_header header = {
            .type = firsts[i] >> 4, .flags = firsts[i] & 15, .length = 2, .remaining_length = 23};
        cr_expect_eq(run_count(MQTT_V311, &header, stream.bytes, stream.length, RUN_MAX), 1, "0x%02x", firsts[i]);
    }
}

Test(run, of_version_5_has_no_properties)
{
    struct stream stream = {.length = 0};
    append(&stream, 0x30, 't', true, 20, 1);
    append(&stream, 0x30, 't', true, 20, 2);
    cr_expect_eq(count_of(&stream, MQTT_V5, stream.length, RUN_MAX), 2);
    stream.bytes[5] = 2; /* property length */
    stream.bytes[stream.length / 2 + 5] = 2;
    cr_expect_eq(count_of(&stream, MQTT_V5, stream.length, RUN_MAX), 1);
}

Test(run, is_unpacked_into_its_messages_once)
{
    struct mem_region *memory = region_open();
    static struct publication_run run;
    struct stream stream = {.length = 0};
    for (uint8_t i = 0; i < 5; i++) {
        append(&stream, 0x30, 't', false, 20, i);
    }
    struct publication publication = {
        .topic = {stream.bytes + 4, 1}, .payload = {stream.bytes + 5, 20}, .packet = {stream.bytes, 25}};
    run_begin(&run, &publication, 1);
    cr_expect_eq(publication_count(&publication), 1);
    run_begin(&run, &publication, 5);
    cr_expect_eq(publication_count(&publication), 5);
    struct publication *each = run_unpack(&publication);
    for (uint8_t i = 0; i < 5; i++) {
        cr_expect_eq(publication_count(&each[i]), 1);
        cr_expect_eq(each[i].payload.data[0], i);
        cr_expect_eq(each[i].packet.data, stream.bytes + i * 25);
    }
    struct message *kept = publication_keep(&each[3], memory);
    cr_expect_eq(run_unpack(&publication), each);
    cr_expect_eq(each[3].kept, kept, "what was kept is shared by all subscribers");
    message_release(kept, memory);
    run_end(&publication, memory);
    cr_expect_eq(region_objects(memory), 0);
}

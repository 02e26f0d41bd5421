/* What a capture is asked to be, and the blocks of its file. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/capture_plan.h"
#include "control/pcapng.h"

TestSuite(capture_plan, .timeout = 10);
TestSuite(pcapng, .timeout = 10);

static const struct shm_capture_config config = {.buffer = 1 << 20,
                                                 .bytes = 64 << 20,
                                                 .max_bytes = 1 << 30,
                                                 .packets = 1000,
                                                 .max_packets = 5000,
                                                 .time_s = 60,
                                                 .max_time_s = 600,
                                                 .snap_length = 256,
                                                 .max_snap_length = 1000};
static struct capture_plan plan;
static struct shm_error error;

static int read_plan(const char *text)
{
    json_t *request = json_loads(text, 0, NULL);
    cr_assert(request, "%s", text);
    error.text[0] = '\0';
    int result = capture_plan_read(request, &config, &plan, &error);
    json_decref(request);
    return result;
}

Test(capture_plan, without_a_word_it_is_what_the_configuration_says)
{
    cr_assert_eq(read_plan("{}"), 0);
    cr_expect_eq(plan.bytes, 64 << 20);
    cr_expect_eq(plan.packets, 1000);
    cr_expect_eq(plan.seconds, 60);
    cr_expect_eq(plan.arguments.snap_length, 256);
    cr_expect_eq(plan.arguments.direction, SHM_CAPTURE_BOTH);
    cr_expect_gt(plan.arguments.time_s, plan.seconds);
    cr_expect_eq(plan.arguments.address.family, 0);
    cr_expect_str_eq(plan.filter, "all packets");
    struct shm_request request = {.id = 1, .type = SHM_REQUEST_CAPTURE, .limit = 1, .capture = plan.arguments};
    cr_expect_eq(shm_request_check(&request, NULL), 0);
}

Test(capture_plan, everything_can_be_combined)
{
    cr_assert_eq(read_plan("{\"client\": \"dev-1\", \"address\": \"2001:db8::/32\", \"port\": 1883, \"direction\": "
                           "\"out\", \"bytes\": \"10MiB\", \"packets\": 5000, \"seconds\": \"2m\", \"snap-length\": "
                           "128}"),
                 0, "%s", error.text);
    cr_expect_eq(plan.arguments.id_length, 5);
    cr_expect_eq(memcmp(plan.arguments.id, "dev-1", 5), 0);
    cr_expect_eq(plan.arguments.address.family, 6);
    cr_expect_eq(plan.arguments.address.prefix, 32);
    cr_expect_eq(plan.arguments.port, 1883);
    cr_expect_eq(plan.arguments.direction, SHM_CAPTURE_OUT);
    cr_expect_eq(plan.bytes, 10 << 20);
    cr_expect_eq(plan.packets, 5000);
    cr_expect_eq(plan.seconds, 120);
    cr_expect_eq(plan.arguments.snap_length, 128);
    cr_expect_str_eq(plan.filter, "client dev-1, address 2001:db8::/32, port 1883, direction out");
    cr_assert_eq(read_plan("{\"address\": \"198.18.0.2\"}"), 0);
    cr_expect_eq(plan.arguments.address.prefix, 32);
    cr_assert_eq(read_plan("{\"address\": \"2001:db8::7\"}"), 0);
    cr_expect_eq(plan.arguments.address.prefix, 128);
}

Test(capture_plan, what_is_wrong_says_what_to_write)
{
    static const char *const cases[][2] = {
        {"{\"address\": \"1.2.3\"}", "write one such as"},
        {"{\"address\": \"1.2.3.4/33\"}", "write one such as"},
        {"{\"address\": \"::/129\"}", "write one such as"},
        {"{\"address\": 7}", "write one such as"},
        {"{\"port\": 0}", "1 to 65535"},
        {"{\"port\": 65536}", "1 to 65535"},
        {"{\"port\": \"mqtt\"}", "1 to 65535"},
        {"{\"direction\": \"up\"}", "in (to the router), out or both"},
        {"{\"client\": \"\"}", "1 to 256 bytes"},
        {"{\"client\": 5}", "1 to 256 bytes"},
        {"{\"bytes\": \"2GiB\"}", "--bytes: 2GiB is more than capture.max-bytes of the configuration allows (1GiB)"},
        {"{\"bytes\": \"x\"}", "--bytes: 'x' is not allowed; allowed: 4KiB.."},
        {"{\"bytes\": true}", "--bytes: "},
        {"{\"packets\": 5001}", "capture.max-packets"},
        {"{\"packets\": 0}", "--packets: '0' is not allowed"},
        {"{\"packets\": -1}", "--packets: '-1' is not allowed"},
        {"{\"seconds\": \"1h\"}", "--seconds: 1h is more than capture.max-time of the configuration allows (10m)"},
        {"{\"snap-length\": 1001}", "capture.max-snap-length"},
        {"{\"snap-length\": 13}", "--snap-length: '13' is not allowed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(read_plan(cases[i][0]), -1, "%s", cases[i][0]);
        cr_expect(strstr(error.text, cases[i][1]), "%s: %s", cases[i][0], error.text);
    }
}

static uint32_t four(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* Each block has its length at both ends. Returns how many there are; `types` gets theirs. */
static uint32_t walk(const struct pcapng *file, uint32_t *types, uint32_t room)
{
    uint32_t count = 0;
    for (size_t at = 0; at < file->length; count++) {
        const uint32_t length = four(file->bytes + at + 4);
        cr_assert_lt(count, room);
        cr_assert(length % 4 == 0 && length >= 12 && at + length <= file->length);
        cr_assert_eq(four(file->bytes + at + length - 4), length);
        types[count] = four(file->bytes + at);
        at += length;
    }
    return count;
}

Test(pcapng, a_file_of_every_block)
{
    static const uint8_t frame[61] = {1, 2, 3};
    struct pcapng file = {0};
    uint32_t types[8];
    pcapng_section(&file, "test", "filter: all packets");
    pcapng_interface(&file, "lan0", "worker 0", 61);
    const size_t before = file.length;
    const struct pcapng_packet packet = {.time_ns = UINT64_C(1767225600123456789),
                                         .bytes = frame,
                                         .captured = sizeof frame,
                                         .length = 1514,
                                         .outbound = true,
                                         .dropped = 3,
                                         .comment = "client a",
                                         .comment_length = 8};
    pcapng_packet(&file, &packet);
    cr_expect_eq(file.length - before, pcapng_packet_size(&packet));
    const uint8_t *block = file.bytes + before;
    cr_expect_eq((uint64_t)four(block + 12) << 32 | four(block + 16), packet.time_ns);
    cr_expect_eq(four(block + 20), 61);
    cr_expect_eq(four(block + 24), 1514);
    cr_expect_eq(memcmp(block + 28, frame, sizeof frame), 0);
    const size_t statistics = file.length;
    pcapng_statistics(&file, 0, 1, 2, 10, 3);
    cr_expect_leq(file.length - statistics, PCAPNG_STATISTICS_SIZE);
    cr_assert_eq(walk(&file, types, 8), 4);
    cr_expect_eq(types[0], 0x0a0d0d0a);
    cr_expect_eq(types[1], 1);
    cr_expect_eq(types[2], 6);
    cr_expect_eq(types[3], 5);
    pcapng_free(&file);
}

Test(pcapng, packets_of_all_lengths_are_padded)
{
    static const uint8_t bytes[65535];
    struct pcapng file = {0};
    uint32_t types[70];
    pcapng_section(&file, "test", "");
    for (uint32_t length = 0; length < 64; length++) {
        const struct pcapng_packet packet = {.bytes = bytes,
                                             .captured = length == 63 ? 65535 : length,
                                             .length = 65535,
                                             .comment = "xxxxxxx",
                                             .comment_length = length % 8};
        const size_t before = file.length;
        pcapng_packet(&file, &packet);
        cr_assert_eq(file.length - before, pcapng_packet_size(&packet));
    }
    cr_expect_eq(walk(&file, types, 70), 65);
    pcapng_free(&file);
}

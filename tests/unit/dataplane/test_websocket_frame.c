/* dataplane/websocket_frame.h: what comes out of frames wherever they are cut, and what is no frame. */
#include <stdio.h>
#include <string.h>

#include "dataplane/websocket_frame.h"
#include "tests/unit/dataplane/support.h"

struct stream {
    uint8_t bytes[1 << 18];
    uint32_t length;
};

/* A frame of a client, its payload masked. `first` is the first byte: FIN, reserved bits, opcode. */
static void frame(struct stream *stream, uint8_t first, const void *payload, uint32_t length)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t *at = stream->bytes + stream->length, *second = at + 1;
    at = websocket_header_write(at, WEBSOCKET_BINARY, length);
    second[-1] = first;
    *second |= 0x80;
    memcpy(at, mask, sizeof(mask));
    at += sizeof(mask);
    for (uint32_t i = 0; i < length; i++) {
        *at++ = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    }
    stream->length = (uint32_t)(at - stream->bytes);
}

static void fill(uint8_t *bytes, uint32_t length, uint8_t seed)
{
    for (uint32_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(i * 7 + seed);
    }
}

/* Reads bytes cut into runs of `run`, each copied to memory of its own; returns the payload's length. */
static uint32_t read_cut(struct websocket_reader *reader, const uint8_t *bytes, uint32_t length, uint32_t run,
                         uint8_t *payload)
{
    static uint8_t piece[1 << 18];
    uint32_t kept = 0;
    for (uint32_t at = 0; at < length; at += run) {
        const uint32_t here = length - at < run ? length - at : run;
        memcpy(piece, bytes + at, here);
        const uint32_t n = websocket_read(reader, piece, here);
        cr_assert_leq(n, here);
        memcpy(payload + kept, piece, n);
        kept += n;
    }
    return kept;
}

static enum websocket_fault fault_of(const uint8_t *bytes, uint32_t length)
{
    struct websocket_reader reader = {.left = 0};
    uint8_t copy[64];
    memcpy(copy, bytes, length);
    cr_expect_eq(websocket_read(&reader, copy, length), 0);
    cr_expect_eq(reader.ended, reader.fault != WEBSOCKET_FAULT_NONE);
    return reader.fault;
}

/* Every form of length, fragments, control frames between them, empty frames. */
static void everything(struct stream *stream, uint8_t *payload, uint32_t *length)
{
    static const uint32_t lengths[] = {1, 3, 125, 126, 127, 0, 1000, 65535, 65536, 2};
    *length = 0;
    stream->length = 0;
    for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        fill(payload + *length, lengths[i], (uint8_t)i);
        frame(stream, 0x82, payload + *length, lengths[i]);
        *length += lengths[i];
        frame(stream, 0x8a, "unasked", 7);
    }
    fill(payload + *length, 900, 99);
    frame(stream, 0x02, payload + *length, 300);
    frame(stream, 0x89, "between", 7);
    frame(stream, 0x00, payload + *length + 300, 0);
    frame(stream, 0x00, payload + *length + 300, 300);
    frame(stream, 0x8a, "", 0);
    frame(stream, 0x80, payload + *length + 600, 300);
    *length += 900;
    frame(stream, 0x82, "end", 3);
    memcpy(payload + *length, "end", 3);
    *length += 3;
}

Test(websocket_frame, payload_is_the_same_wherever_it_is_cut)
{
    static struct stream stream;
    static uint8_t wanted[1 << 18], payload[1 << 18];
    static const uint32_t runs[] = {1, 2, 3, 5, 7, 13, 16, 17, 64, 1448, 9000, 1 << 18};
    uint32_t length;
    everything(&stream, wanted, &length);
    for (uint32_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        struct websocket_reader reader = {.left = 0};
        cr_expect_eq(read_cut(&reader, stream.bytes, stream.length, runs[i], payload), length, "runs of %u", runs[i]);
        cr_expect_eq(memcmp(payload, wanted, length), 0, "runs of %u", runs[i]);
        cr_expect(!reader.ended && reader.pong_due);
        cr_expect(reader.control_length == 7 && memcmp(reader.control, "between", 7) == 0);
    }
}

Test(websocket_frame, two_runs_cut_at_every_byte)
{
    static struct stream stream;
    uint8_t wanted[400], payload[400];
    fill(wanted, sizeof(wanted), 1);
    frame(&stream, 0x02, wanted, 100);
    frame(&stream, 0x89, "ping", 4);
    frame(&stream, 0x80, wanted + 100, 300);
    for (uint32_t cut = 1; cut < stream.length; cut++) {
        struct websocket_reader reader = {.left = 0};
        uint32_t kept = read_cut(&reader, stream.bytes, cut, cut, payload);
        kept += read_cut(&reader, stream.bytes + cut, stream.length - cut, stream.length, payload + kept);
        cr_expect(kept == 400 && memcmp(payload, wanted, 400) == 0 && reader.pong_due, "cut at %u", cut);
    }
}

Test(websocket_frame, faults)
{
    static const struct {
        uint8_t bytes[16];
        uint32_t length;
        enum websocket_fault fault;
        uint16_t code;
    } cases[] = {
        {{0x82, 0x01, 'x'}, 3, WEBSOCKET_FAULT_unmasked, 1002},
        {{0x89, 0x00}, 2, WEBSOCKET_FAULT_unmasked, 1002},
        {{0x81, 0x80}, 2, WEBSOCKET_FAULT_text, 1003},
        {{0xc2, 0x80}, 2, WEBSOCKET_FAULT_reserved, 1002},
        {{0xa2, 0x80}, 2, WEBSOCKET_FAULT_reserved, 1002},
        {{0x92, 0x80}, 2, WEBSOCKET_FAULT_reserved, 1002},
        {{0x83, 0x80}, 2, WEBSOCKET_FAULT_opcode, 1002},
        {{0x8b, 0x80}, 2, WEBSOCKET_FAULT_opcode, 1002},
        {{0x80, 0x80}, 2, WEBSOCKET_FAULT_fragment, 1002}, /* continues nothing */
        {{0x02, 0x80, 1, 2, 3, 4, 0x82, 0x80}, 8, WEBSOCKET_FAULT_fragment, 1002},
        {{0x09, 0x80}, 2, WEBSOCKET_FAULT_control, 1002},         /* fragmented */
        {{0x89, 0xfe, 0, 126}, 4, WEBSOCKET_FAULT_control, 1002}, /* too large */
        {{0x88, 0x81, 0, 0, 0, 0, 3}, 7, WEBSOCKET_FAULT_control, 1002},
        {{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed}, 8, WEBSOCKET_FAULT_control, 1002}, /* 1005 is never sent */
        {{0x82, 0xfe, 0, 125, 1, 2, 3, 4}, 8, WEBSOCKET_FAULT_length, 1002},
        {{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}, 14, WEBSOCKET_FAULT_length, 1002},
        {{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 14, WEBSOCKET_FAULT_length, 1002},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(fault_of(cases[i].bytes, cases[i].length), cases[i].fault, "case %u", i);
        cr_expect_eq(websocket_fault_code(cases[i].fault), cases[i].code, "case %u", i);
        cr_expect_gt(strlen(websocket_fault_text(cases[i].fault)), 10);
        cr_expect_leq(strlen(websocket_fault_text(cases[i].fault)), WEBSOCKET_CONTROL_MAX - 2);
    }
}

Test(websocket_frame, what_came_before_a_fault_counts_and_what_follows_does_not)
{
    static struct stream stream;
    uint8_t payload[64];
    struct websocket_reader reader = {.left = 0};
    frame(&stream, 0x82, "good", 4);
    frame(&stream, 0x81, "text", 4);
    frame(&stream, 0x82, "late", 4);
    cr_expect_eq(read_cut(&reader, stream.bytes, stream.length, stream.length, payload), 4);
    cr_expect_eq(memcmp(payload, "good", 4), 0);
    cr_expect_eq(reader.fault, WEBSOCKET_FAULT_text);
    cr_expect_eq(read_cut(&reader, stream.bytes, stream.length, 1, payload), 0, "it has ended");
}

Test(websocket_frame, the_last_ping_is_answered)
{
    static struct stream stream;
    uint8_t payload[8];
    struct websocket_reader reader = {.left = 0};
    frame(&stream, 0x89, "first", 5);
    frame(&stream, 0x8a, "a pong is nothing to answer", 27);
    read_cut(&reader, stream.bytes, stream.length, 1, payload);
    cr_expect(reader.pong_due && reader.control_length == 5 && memcmp(reader.control, "first", 5) == 0);
    frame(&stream, 0x89, "", 0);
    struct websocket_reader other = {.left = 0};
    read_cut(&other, stream.bytes, stream.length, 3, payload);
    cr_expect(other.pong_due && other.control_length == 0);
}

static uint16_t close_answer(const void *payload, uint32_t length)
{
    static struct stream room, *stream = &room;
    uint8_t kept[8];
    struct websocket_reader reader = {.left = 0};
    stream->length = 0;
    frame(stream, 0x88, payload, length);
    read_cut(&reader, stream->bytes, stream->length, 1, kept);
    cr_expect(reader.ended && reader.fault == WEBSOCKET_FAULT_NONE);

    return websocket_close_answer(&reader);
}

Test(websocket_frame, a_close_frame_is_answered_with_its_code)
{
    cr_expect_eq(close_answer("", 0), 1000);
    cr_expect_eq(close_answer("\x03\xe8", 2), 1000);
    cr_expect_eq(close_answer("\x03\xe9going away", 12), 1001);
    cr_expect_eq(close_answer("\x0f\xa0", 2), 4000);
}

Test(websocket_frame, headers_have_the_shortest_length)
{
    uint8_t header[WEBSOCKET_HEADER_MAX];
    static const struct {
        uint64_t payload;
        uint32_t size;
        uint8_t bytes[10];
    } cases[] = {{0, 2, {0x82, 0}},
                 {125, 2, {0x82, 125}},
                 {126, 4, {0x82, 126, 0, 126}},
                 {65535, 4, {0x82, 126, 0xff, 0xff}},
                 {65536, 10, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}}};
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(websocket_header_size(cases[i].payload), cases[i].size);
        cr_expect_eq(websocket_header_write(header, WEBSOCKET_BINARY, cases[i].payload) - header, cases[i].size);
        cr_expect_eq(memcmp(header, cases[i].bytes, cases[i].size), 0, "case %u", i);
    }
}

/* WebSocket frames. See websocket_frame.h. */
#include "dataplane/websocket_frame.h"

#include <string.h>

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f, LENGTH_16 = 126, LENGTH_64 = 127 };

/* ---- Faults ----------------------------------------------------------------------------------------------------- */

uint16_t websocket_fault_code(enum websocket_fault fault)
{
    static const uint16_t codes[] = {
        [WEBSOCKET_FAULT_NONE] = 1000,
#define WEBSOCKET_FAULT(name, code, text) [WEBSOCKET_FAULT_##name] = code,
#include "dataplane/websocket_faults.def"
#undef WEBSOCKET_FAULT
    };
    return codes[fault];
}

const char *websocket_fault_text(enum websocket_fault fault)
{
    static const char *const texts[] = {
        [WEBSOCKET_FAULT_NONE] = "",
#define WEBSOCKET_FAULT(name, code, text) [WEBSOCKET_FAULT_##name] = text,
#include "dataplane/websocket_faults.def"
#undef WEBSOCKET_FAULT
    };
    return texts[fault];
}

static void fail(struct websocket_reader *reader, enum websocket_fault fault)
{
    reader->fault = (uint8_t)fault;
    reader->ended = true;
}

/* ---- Payload ---------------------------------------------------------------------------------------------------- */

/* Payload to its place at or before where it came. Forward, so that it may lie over itself. */
static void unmask(uint8_t *to, const uint8_t *from, uint32_t length, const uint8_t mask[4])
{
    typedef uint32_t block __attribute__((vector_size(16)));
    uint32_t word, i = 0;
    memcpy(&word, mask, sizeof(word));
    const block key = {word, word, word, word};
    for (; i + sizeof(block) <= length; i += sizeof(block)) {
        block bytes;
        memcpy(&bytes, from + i, sizeof(bytes));
        bytes ^= key;
        memcpy(to + i, &bytes, sizeof(bytes));
    }
    for (; i < length; i++) {
        to[i] = from[i] ^ mask[i & 3];
    }
}

static void mask_turn(struct websocket_reader *reader, uint32_t by)
{
    uint8_t turned[4];
    for (uint32_t i = 0; i < 4; i++) {
        turned[i] = reader->mask[(i + by) & 3];
    }
    memcpy(reader->mask, turned, sizeof(turned));
}

/* ---- Control frames --------------------------------------------------------------------------------------------- */

static uint16_t close_code(const struct websocket_reader *reader)
{
    return (uint16_t)(reader->control[0] << 8 | reader->control[1]);
}

/* Codes that may stand in a close frame (section 7.4 and IANA's registry). */
static bool close_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

uint16_t websocket_close_answer(const struct websocket_reader *reader)
{
    return reader->control_length >= 2 ? close_code(reader) : 1000;
}

static void control_received(struct websocket_reader *reader)
{
    if (reader->opcode == WEBSOCKET_PING) {
        reader->pong_due = true;
    } else if (reader->opcode == WEBSOCKET_CLOSE) {
        reader->ended = true;
        if (reader->control_length == 1 || (reader->control_length > 1 && !close_code_is_valid(close_code(reader)))) {
            fail(reader, WEBSOCKET_FAULT_control);
        }
    } /* a pong answers nothing: the router sends no pings */
}

static void control_payload(struct websocket_reader *reader, const uint8_t *from, uint32_t length)
{
    if (reader->opcode != WEBSOCKET_PONG) {
        unmask(reader->control + reader->control_length, from, length, reader->mask);
        reader->control_length = (uint8_t)(reader->control_length + length);
    }
}

/* ---- Headers ---------------------------------------------------------------------------------------------------- */

/* What its first two bytes say. */
/* REQ MQTT-5 [MQTT-6.0.0-1]: other than binary frames close with 1003 [test: websocket_frame/faults, websocket/fault] */
/* REQ MQTT-3.1.1 [MQTT-6.0.0-1]: other than binary frames close with 1003 [test: websocket_frame/faults, websocket/fault] */
static enum websocket_fault header_fault(const struct websocket_reader *reader)
{
    const uint8_t first = reader->header[0], second = reader->header[1], opcode = first & OPCODE;
    if (first & RESERVED) {
        return WEBSOCKET_FAULT_reserved;
    }
    if (!(second & MASKED)) {
        return WEBSOCKET_FAULT_unmasked;
    }
    switch (opcode) {
    case WEBSOCKET_CONTINUATION:
        return reader->in_message ? WEBSOCKET_FAULT_NONE : WEBSOCKET_FAULT_fragment;
    case WEBSOCKET_BINARY:
        return reader->in_message ? WEBSOCKET_FAULT_fragment : WEBSOCKET_FAULT_NONE;
    case WEBSOCKET_TEXT:
        return WEBSOCKET_FAULT_text;
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        return !(first & FIN) || (second & LENGTH) > WEBSOCKET_CONTROL_MAX ? WEBSOCKET_FAULT_control
                                                                           : WEBSOCKET_FAULT_NONE;
    default:
        return WEBSOCKET_FAULT_opcode;
    }
}

static uint32_t length_bytes(uint8_t second)
{
    const uint8_t length = second & LENGTH;
    return length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0;
}

/* Takes what is missing of the header up to `wanted` bytes. */
static uint32_t header_take(struct websocket_reader *reader, const uint8_t *from, uint32_t length, uint32_t wanted)
{
    const uint32_t missing = wanted - reader->header_length;
    const uint32_t taken = length < missing ? length : missing;
    memcpy(reader->header + reader->header_length, from, taken);
    reader->header_length = (uint8_t)(reader->header_length + taken);
    return taken;
}

static void frame_end(struct websocket_reader *reader)
{
    reader->header_length = 0;
    if (reader->opcode >= WEBSOCKET_CLOSE) {
        control_received(reader);
    }
}

/* The header is whole. */
static void frame_begin(struct websocket_reader *reader)
{
    const uint32_t extension = length_bytes(reader->header[1]);
    uint64_t length = extension == 0 ? reader->header[1] & LENGTH : 0;
    for (uint32_t i = 0; i < extension; i++) {
        length = length << 8 | reader->header[2 + i];
    }
    if (websocket_header_size(length) != 2 + extension || length > INT64_MAX) {
        fail(reader, WEBSOCKET_FAULT_length);
        return;
    }
    reader->left = length;
    reader->opcode = reader->header[0] & OPCODE;
    memcpy(reader->mask, reader->header + 2 + extension, sizeof(reader->mask));
    if (reader->opcode < WEBSOCKET_CLOSE) {
        reader->in_message = !(reader->header[0] & FIN);
    } else if (reader->opcode != WEBSOCKET_PONG) {
        reader->control_length = 0;
        reader->pong_due = false;
    }
    if (length == 0) {
        frame_end(reader);
    }
}

static uint32_t header_read(struct websocket_reader *reader, const uint8_t *from, uint32_t length)
{
    uint32_t taken = 0;
    if (reader->header_length < 2) {
        taken = header_take(reader, from, length, 2);
        if (reader->header_length < 2) {
            return taken;
        }
        const enum websocket_fault fault = header_fault(reader);
        if (fault != WEBSOCKET_FAULT_NONE) {
            fail(reader, fault);
            return taken;
        }
    }
    const uint32_t whole = 2 + length_bytes(reader->header[1]) + (uint32_t)sizeof(reader->mask);
    taken += header_take(reader, from + taken, length - taken, whole);
    if (reader->header_length == whole) {
        frame_begin(reader);
    }
    return taken;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

uint32_t websocket_read(struct websocket_reader *reader, uint8_t *bytes, uint32_t length)
{
    uint8_t *to = bytes;
    const uint8_t *from = bytes, *end = bytes + length;
    while (from < end && !reader->ended) {
        const uint32_t have = (uint32_t)(end - from);
        if (reader->left == 0) {
            from += header_read(reader, from, have);
            continue;
        }
        const uint32_t part = reader->left < have ? (uint32_t)reader->left : have;
        if (reader->opcode >= WEBSOCKET_CLOSE) {
            control_payload(reader, from, part);
        } else {
            unmask(to, from, part, reader->mask);
            to += part;
        }
        mask_turn(reader, part);
        from += part;
        reader->left -= part;
        if (reader->left == 0) {
            frame_end(reader);
        }
    }
    return (uint32_t)(to - bytes);
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

uint8_t *websocket_header_write(uint8_t *to, enum websocket_opcode opcode, uint64_t payload)
{
    const uint32_t extension = websocket_header_size(payload) - 2;
    *to++ = (uint8_t)(FIN | opcode);
    *to++ = (uint8_t)(extension == 0 ? payload : extension == 2 ? LENGTH_16 : LENGTH_64);
    for (uint32_t i = extension; i > 0; i--) {
        *to++ = (uint8_t)(payload >> (8 * (i - 1)));
    }
    return to;
}

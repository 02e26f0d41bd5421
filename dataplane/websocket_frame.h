/*
 * WebSocket frames (RFC 6455 section 5): a client's are taken off its bytes, in place, wherever segments cut them; the
 * headers of the router's are written.
 *
 * Nothing is allocated, and nothing grows with the length of a frame or message: payload is passed on as it comes. Only
 * control frames are kept until they are whole, 125 bytes at most.
 *
 * The worker that owns the connection calls; a reader belongs to its connection.
 */
#ifndef POLLUX_DATAPLANE_WEBSOCKET_FRAME_H
#define POLLUX_DATAPLANE_WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stdint.h>

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum {
    WEBSOCKET_HEADER_MAX = 14, /* bytes of a client's frame header; of the router's, without a mask: 10 */
    WEBSOCKET_CONTROL_MAX = 125,
};

enum websocket_fault {
    WEBSOCKET_FAULT_NONE,
#define WEBSOCKET_FAULT(name, code, text) WEBSOCKET_FAULT_##name,
#include "dataplane/websocket_faults.def"
#undef WEBSOCKET_FAULT
};

/* All zero: at the start of the first frame. */
struct websocket_reader {
    uint64_t left; /* bytes of the frame's payload that have not come yet */
    uint8_t header[WEBSOCKET_HEADER_MAX];
    uint8_t header_length; /* as far as it has come */
    uint8_t opcode;        /* of the frame whose payload comes */
    uint8_t mask[4];       /* as the next byte of payload meets it */
    bool in_message;       /* the next data frame continues a message */
    bool pong_due;         /* for the ping in `control` */
    bool ended;            /* by a close frame, which is in `control`, or by a fault; what follows is thrown away */
    uint8_t fault;         /* enum websocket_fault */
    uint8_t control_length;
    uint8_t control[WEBSOCKET_CONTROL_MAX];
};

/*
 * Takes `length` received bytes and leaves the payload of data frames among them, unmasked, at their beginning; returns
 * how many bytes that is. A ping that was not answered when the next one comes need not be any more (section 5.5.3).
 */
uint32_t websocket_read(struct websocket_reader *reader, uint8_t *bytes, uint32_t length);

/* The close code and text of a fault. */
uint16_t websocket_fault_code(enum websocket_fault fault);
const char *websocket_fault_text(enum websocket_fault fault);

/* The code to answer the close frame in `reader` with: its own, or 1000 if it has none. */
uint16_t websocket_close_answer(const struct websocket_reader *reader);

/* Bytes of the header that the router writes before this much payload. */
static inline uint32_t websocket_header_size(uint64_t payload)
{
    return payload < 126 ? 2 : payload <= UINT16_MAX ? 4 : 10;
}

/* Writes the header of an unfragmented frame; returns its end. */
uint8_t *websocket_header_write(uint8_t *to, enum websocket_opcode opcode, uint64_t payload);

#endif

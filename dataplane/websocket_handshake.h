/*
 * The HTTP request with which a WebSocket begins, and its answer (RFC 6455 section 4): the request is read where it
 * lies, the answer is written to the caller's memory. Nothing is kept.
 *
 * The worker that owns the connection calls.
 */
#ifndef POLLUX_DATAPLANE_WEBSOCKET_HANDSHAKE_H
#define POLLUX_DATAPLANE_WEBSOCKET_HANDSHAKE_H

#include <stdint.h>

#include "lib/shm/config.h"

enum { WEBSOCKET_ANSWER_MAX = 768 }; /* bytes of an answer */

enum websocket_answer {
    WEBSOCKET_INCOMPLETE, /* the request goes on */
    WEBSOCKET_ACCEPTED,
#define WEBSOCKET_REFUSAL(name, status, headers, text) WEBSOCKET_REFUSED_##name,
#include "dataplane/websocket_refusals.def"
#undef WEBSOCKET_REFUSAL
    WEBSOCKET_ANSWERS
};

/* What is needed of an accepted request. `key` points into it. */
struct websocket_request {
    uint32_t length; /* bytes of the request: what follows is a frame's */
    const char *key; /* 24 characters */
    const char *subprotocol;
};

/*
 * Reads the `length` bytes that have come so far. `bound`: bytes that the request may have. Fills `request` if the
 * answer is WEBSOCKET_ACCEPTED.
 */
enum websocket_answer websocket_request_read(const struct shm_listener *listener, const char *bytes, uint32_t length,
                                             uint32_t bound, struct websocket_request *request);

/* Writes what to send; `request` is that of an accepted one. Returns its length. */
uint32_t websocket_answer_write(char to[WEBSOCKET_ANSWER_MAX], enum websocket_answer answer,
                                const struct shm_listener *listener, const struct websocket_request *request);

#endif

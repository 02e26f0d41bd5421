/*
 * MQTT over WebSocket (MQTT 5.0 section 6): what stands between a client and its TCP connection on a listener with
 * transport: websocket. A client on TCP has none of it; what it costs there is a look at client->over_websocket.
 *
 * Receiving: frames are taken off in place, in TCP's queue of unread bytes, before client.c looks at it. What it finds
 * there is MQTT as it comes over TCP, so packets begin and end in frames wherever they like.
 *
 * Sending: room for a packet is asked for and committed as with TCP, and a frame's header comes before it. As long as
 * the segment at the end of the stream takes more, packets join the frame that was begun in it: a segment full of
 * messages is one frame.
 *
 * The worker that owns the connection calls; memory is from its region.
 */
#ifndef POLLUX_DATAPLANE_WEBSOCKET_H
#define POLLUX_DATAPLANE_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/websocket_frame.h"
#include "lib/net/tcp.h"

struct client;
struct worker;

enum {
    WEBSOCKET_JOIN_ROOM = 4, /* bytes that a packet which fits a segment may need for a header */
    WEBSOCKET_SEND_ROOM = 10 /* and any other */
};

/* All zero: at its beginning. */
struct websocket {
    uint8_t *frame;     /* header of the frame at the end of the send stream */
    uint8_t *frame_end; /* where a packet that joins it begins; NULL: none can */
    uint32_t unframed;  /* bytes at the beginning of TCP's unread bytes that are MQTT */
    bool open;          /* the handshake is done */
    bool closed;        /* a close frame was sent: nothing may follow */
    struct websocket_reader reader;
};

/*
 * Goes on with the handshake, then takes the frames off what has come and answers pings. True: MQTT may be read. False:
 * not yet, or the client was refused and is gone.
 */
bool websocket_receive(struct worker *worker, struct client *client);

/* Everything that came before the end has been handled: if there was an end, closes and returns true. */
bool websocket_finish(struct worker *worker, struct client *client);

/* Answers the last ping if there is room, and no packet is half sent. */
void websocket_pong(struct client *client);

/* The close frame, before tcp_close; or, before the handshake is done, the answer that the time for it is up. */
void websocket_close(struct worker *worker, struct client *client, uint16_t code, const char *text);

/* The close code for an MQTT reason code. */
uint16_t websocket_close_code(uint8_t reason);

/*
 * As tcp_reserve and tcp_commit, for a packet, or several: with a header before them. `length` is the same in both, and
 * at most websocket_reserve_max.
 */
uint8_t *websocket_reserve(struct websocket *websocket, struct tcp_connection *tcp, uint32_t length);
void websocket_commit(struct websocket *websocket, struct tcp_connection *tcp, uint32_t length);

/*
 * The header before a packet that is sent in pieces, in the caller's memory; the packet has to follow it before
 * anything else is sent. Returns its end.
 */
uint8_t *websocket_frame_begin(struct websocket *websocket, uint8_t *to, uint32_t length);

#endif

/*
 * Clients: MQTT on one TCP connection, over WebSocket or not, from its acceptance to its end. Reads packets off the
 * connection, hands each to its handler, and closes the connection when the peer breaks the rules.
 *
 * Packets are handled in place, in the received segment. One that spans segments is put together in the worker's
 * scratch buffer when it has arrived in full; only one too large for that gets memory of its own as its bytes arrive.
 *
 * A handler that cannot go on (no room in a mailbox, no memory, the client does not read its answers) changes nothing
 * and returns PACKET_WAIT: the packet stays unread and is handled again later. What is not read closes TCP's window, so
 * the client is slowed down, and nobody else.
 *
 * The worker that owns the connection calls; memory is from its region.
 */
#ifndef POLLUX_DATAPLANE_CLIENT_H
#define POLLUX_DATAPLANE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/websocket.h"
#include "lib/mqtt/mqtt.h"
#include "lib/net/tcp.h"
#include "lib/timer/timer.h"

struct login;
struct session;
struct worker;
struct message;
struct listener;

enum packet_result {
    PACKET_DONE,
    PACKET_WAIT,   /* nothing was changed; handle the packet again later */
    PACKET_CLOSED, /* the connection is closed or moved; the client object may be gone */
};

enum client_state {
    CLIENT_NEW,        /* no CONNECT yet, or one that is to be handled (again) */
    CLIENT_ASKED,      /* waits for control, which looks at its login */
    CLIENT_CHALLENGED, /* was asked for the next step of its login: AUTH comes next */
    CLIENT_CLAIMING,   /* waits for the directory */
    CLIENT_CONNECTED,  /* has a session */
    CLIENT_CLOSING,    /* nothing is read any more */
};

/* A packet larger than the scratch buffer, as far as it has arrived. */
struct partial_packet {
    uint32_t length; /* of the whole packet */
    uint32_t have;
    uint8_t bytes[];
};

/* Topic aliases that the client has set, MQTT 5.0 section 3.3.2.3.4: alias n is topics[n - 1]. */
struct topic_aliases {
    uint16_t count;
    struct mqtt_span topics[];
};

struct client {
    struct tcp_connection *tcp;
    struct session *session;  /* in CLIENT_CONNECTED */
    uint64_t last_received;   /* microseconds */
    uint8_t state;            /* enum client_state */
    uint8_t version;          /* enum mqtt_version */
    bool answers_blocked : 1; /* waits for room to answer: tried again when the connection is writable */
    bool over_websocket : 1;  /* else over TCP itself */
    bool will_unwanted : 1;   /* DISCONNECT with normal disconnection came */
    uint8_t doom; /* 0, or the reason code of a disconnection that waits until nobody iterates over sessions */
    bool claim_granted : 1; /* holds a claim and this worker owns the client id: CONNECT may go on (directory.h) */
    uint8_t moved_from;     /* 0, or 1 + the worker that its packets arrive on */
    uint8_t listener;       /* whose connection it is: its index */
    bool wants_reasons : 1; /* asked for problem information: gets reason strings */
    uint16_t keepalive_s;
    uint16_t unreleased;          /* QoS 2 messages that came on this connection and wait for PUBREL */
    uint32_t maximum_packet_size; /* the client's */
    uint32_t answers_owed;        /* bytes of SUBACKs that are still to be sent */
    uint32_t stream_left;         /* bytes at the end of `stream` that are still to be sent */
    struct message *stream; /* a PUBLISH that did not fit the send buffer: nothing else may be sent before it ends */
    struct client *next_waiting;  /* in the worker's list of clients to try again */
    struct client **waiting_link; /* what points to it there; NULL: it does not wait */
    struct partial_packet *partial;
    struct subscribe_pending *subscribing; /* a SUBSCRIBE or UNSUBSCRIBE of which filters are left */
    struct topic_aliases *aliases;         /* that the client has set */
    struct limits *limits;                 /* NULL: none */
    struct alias_table *aliases_out;       /* that the router has set; NULL: none are used */
    struct login *login;                   /* how it has logged in, or is about to; NULL: not at all, or by password */
    struct timer timer;                    /* CONNECT timeout, then keepalive */
    struct websocket websocket[];          /* one, or none */
};

/* ---- Callbacks of the TCP stack; `worker` is a struct worker. */
void client_accepted(void *worker, struct tcp_connection *tcp, void *listener);
void client_readable(void *worker, struct tcp_connection *tcp);
void client_upcoming(void *worker, struct tcp_connection *tcp); /* changes nothing: asks for memory */
void client_writable(void *worker, struct tcp_connection *tcp);
void client_peer_closed(void *worker, struct tcp_connection *tcp);
void client_closed(void *worker, struct tcp_connection *tcp, enum tcp_close_reason reason);

/* Timer handler: no CONNECT in time, or the keepalive time has passed. */
void client_timer(void *worker, struct timer *timer, uint64_t now);

/* A client for an established connection, or for one that has moved here. NULL: a bound is reached, and the connection
 * is being reset. */
struct client *client_create(struct worker *worker, struct tcp_connection *tcp, struct listener *listener, bool moved);

/* Frees a client whose connection has left this worker. */
void client_forget(struct worker *worker, struct client *client);

/* Handles what is readable. Also called when a reason to wait has gone. */
void client_read(struct worker *worker, struct client *client);

/* Tries the clients again that waited for the worker's resources; once per iteration. */
void clients_retry(struct worker *worker);

/* Puts the client on that list and returns PACKET_WAIT. */
enum packet_result client_wait(struct worker *worker, struct client *client);

/*
 * Room for answers of `length` bytes in all? False: the client does not read what it is sent, and is not read either
 * until it does.
 */
bool client_can_answer(struct worker *worker, struct client *client, uint32_t length);

/*
 * Sends a packet of at most what client_can_answer promised. One that is larger than the client takes is not sent: the
 * client is disconnected in the next iteration.
 */
void client_send(struct worker *worker, struct client *client, const uint8_t *packet, size_t length);

/* Sends one of the four-byte acknowledgements, with a reason code in MQTT 5.0. */
void client_send_ack(struct worker *worker, struct client *client, enum mqtt_type type, uint16_t packet_id,
                     uint8_t reason);

/*
 * Closes the connection after a DISCONNECT with `reason` (MQTT 5.0; before, just closes). The session is told; the will
 * is published unless `will_unwanted`. Returns PACKET_CLOSED.
 */
enum packet_result client_disconnect(struct worker *worker, struct client *client, uint8_t reason);

/* The same with a Server Reference, where to go instead. */
enum packet_result client_redirect(struct worker *worker, struct client *client, uint8_t reason,
                                   struct mqtt_span reference);

/* The same, later in this iteration: for callers that are in the middle of a list of sessions. */
void client_doom(struct worker *worker, struct client *client, uint8_t reason);

/* The client broke the rules of the codec: counts, answers and closes. Returns PACKET_CLOSED. */
enum packet_result client_malformed(struct worker *worker, struct client *client, enum mqtt_error error);

/* The client did what the session does not allow; `cause` is one of the violated_ counters. Returns PACKET_CLOSED. */
enum packet_result client_violation(struct worker *worker, struct client *client, uint64_t *cause, uint8_t reason);

/*
 * Closes without a word of MQTT, for the reason that WebSocket's close frame is to give (MQTT_REASON_SUCCESS: none).
 * Returns PACKET_CLOSED.
 */
enum packet_result client_drop(struct worker *worker, struct client *client, uint8_t reason);

/*
 * ---- The send stream, as lib/net/tcp.h has it, for packets: over WebSocket each, or several, get a frame's header.
 * What is committed has the length that was reserved. A packet larger than client_reserve_max is sent in pieces: first
 * client_frame_size bytes that client_frame_begin writes, then the packet, with tcp_send.
 */
static inline uint8_t *client_reserve(struct client *client, uint32_t length)
{
    return !client->over_websocket ? tcp_reserve(client->tcp, length)
                                   : websocket_reserve(client->websocket, client->tcp, length);
}

static inline void client_commit(struct client *client, uint32_t length)
{
    if (!client->over_websocket) {
        tcp_commit(client->tcp, length);
    } else {
        websocket_commit(client->websocket, client->tcp, length);
    }
}

static inline uint32_t client_reserve_max(const struct client *client)
{
    return tcp_reserve_max(client->tcp) - (!client->over_websocket ? 0 : WEBSOCKET_JOIN_ROOM);
}

/* How much of what was reserved there is room for: as much as asked for, or more. */
static inline uint32_t client_reserved_room(const struct client *client)
{
    return tcp_reserved_room(client->tcp) - (!client->over_websocket ? 0 : WEBSOCKET_JOIN_ROOM);
}

/* Bytes of one packet that the connection's bound still admits. */
static inline uint32_t client_send_room(const struct client *client)
{
    const uint32_t room = tcp_send_room(client->tcp), header = !client->over_websocket ? 0 : WEBSOCKET_SEND_ROOM;
    return room > header ? room - header : 0;
}

static inline uint32_t client_frame_size(const struct client *client, uint32_t length)
{
    return !client->over_websocket ? 0 : websocket_header_size(length);
}

static inline uint8_t *client_frame_begin(struct client *client, uint8_t *to, uint32_t length)
{
    return !client->over_websocket ? to : websocket_frame_begin(client->websocket, to, length);
}

/* Sends the beginning of a packet, for which there is room. False: the connection is aborted. */
bool client_send_part(struct worker *worker, struct client *client, const uint8_t *bytes, size_t length);

/* Parts client and session, which then has no client; the session is told nothing. */
void client_release_session(struct worker *worker, struct client *client);

/* Starts or moves on the keepalive timer. */
void client_keepalive_start(struct worker *worker, struct client *client);

#endif

/*
 * Sessions: what the router remembers of an MQTT client, connected or not (MQTT 5.0 section 4.1).
 *
 * A session belongs to one worker, from its first CONNECT to its end; only that worker's thread touches it. When its
 * client comes back on a connection that another worker received, the connection moves, not the session (directory.h).
 * Memory is from the worker's region.
 *
 * Outgoing messages are in one of two lists. `inflight`: sent at QoS 1 or 2 and not acknowledged, in the order sent,
 * which is the order in which they are sent again [MQTT-4.6.0-1]. `queue`: waiting for room in the window or in the
 * connection, or for the client to come back; bounded by mqtt.max-queued-messages and mqtt.max-queued-bytes.
 */
#ifndef POLLUX_DATAPLANE_SESSION_H
#define POLLUX_DATAPLANE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/message.h"
#include "dataplane/packet_ids.h"
#include "lib/timer/timer.h"
#include "lib/topic/subscribers.h"

struct client;
struct worker;

enum outgoing_state {
    OUTGOING_QUEUED,
    OUTGOING_PUBLISHED, /* waits for PUBACK or PUBREC */
    OUTGOING_RELEASED,  /* PUBREL sent, waits for PUBCOMP; the message is gone */
};

/* One message on its way to one session. */
struct outgoing {
    struct outgoing *next, *previous;
    struct message *message; /* one reference; NULL once released */
    uint16_t packet_id;
    uint8_t state; /* enum outgoing_state */
    uint8_t qos;
    bool retain;
    bool outstanding; /* sent on the present connection: counts against the client's Receive Maximum */
    uint8_t reserved[2];
    uint32_t identifiers; /* subscription identifiers that matched [MQTT-3.3.4-3] */
    uint32_t identifier[];
};

struct outgoing_list {
    struct outgoing *first, *last;
    uint64_t count : 27; /* as many as mqtt.max-queued-messages may be */
    uint64_t bytes : 37; /* of topic, properties and payload; as many as mqtt.max-queued-bytes may be */
};

/* A million of these are idle most of the time: with an identifier of 19 bytes one takes 256 B. */
struct session {
    struct client *client; /* NULL: offline */
    uint64_t handle;       /* names the session to other threads: worker, slot and generation; never 0 */
    uint64_t route_mark;   /* of the last routed message that matched: overlapping subscriptions give one copy */
    uint32_t route_slot;   /* where that match stands in the worker's list */
    uint16_t next_packet_id;
    uint16_t window;      /* QoS 1 and 2 messages that the client takes unacknowledged */
    uint16_t outstanding; /* how many it has of them on this connection */
    uint16_t slot_mask;
    uint16_t user_name_length;
    uint16_t client_id_length;
    union {
        struct outgoing *resend_next; /* in `inflight`: to be sent again before anything else; NULL: done */
        struct session *next_ended;   /* of the worker's sessions that have ended */
    };
    struct outgoing_list inflight;
    struct outgoing_list queue;
    struct outgoing **slots;     /* inflight by packet id: slots[id & slot_mask] */
    struct packet_ids *received; /* QoS 2 from the client, not released yet */
    struct topic_session subscriptions;
    struct timer timer;   /* offline: the will's delay or the end of the session, whichever is first */
    struct message *will; /* NULL: none. Offline, it is due will_delay_s after `since` */
    uint64_t since;       /* microseconds: connected or offline since */
    uint64_t dropped;
    uint64_t messages_in, messages_out;
    uint64_t bytes_in, bytes_out;
    uint8_t *user_name; /* NULL: none */
    uint64_t id_hash;   /* of the client identifier: for the table, and who published (message.h); never 0 */
    uint32_t will_delay_s;
    uint32_t expiry_interval_s; /* offline, the session ends so long after `since`; UINT32_MAX: never */
    uint32_t claims;            /* that clients have brought here (directory.h) */
    uint8_t version : 3;        /* enum mqtt_version */
    bool clean_start : 1;
    bool retained_turn : 1; /* another worker may send it retained messages now (retained.h) */
    bool ended : 1;         /* only its subscriptions are left, on their way out */
    uint8_t client_id[];
};

_Static_assert(offsetof(struct session, client_id) <= 237, "the size that is said above");

/* ---- The table of a worker's sessions -------------------------------------------------------------------------- */

struct session_table;

/* At start-up, on the main lcore. `memory` is the worker's, for what grows with the sessions. NULL: there is none. */
struct session_table *session_table_create(uint32_t worker, struct mem_region *memory, uint32_t max_sessions,
                                           const struct topic_seed *seed);
void session_table_destroy(struct session_table *table);

uint32_t session_count(const struct session_table *table);

struct session *session_find(const struct session_table *table, struct mqtt_span client_id);

/* The worker that a handle names. */
static inline uint32_t session_handle_worker(uint64_t handle)
{
    return (uint32_t)(handle >> 56);
}

/* The session with that handle, or NULL when it has ended. */
struct session *session_by_handle(const struct session_table *table, uint64_t handle);

/* Gives the session its slot and handle. False: the table or the region is full. */
bool session_table_add(struct session_table *table, struct session *session);
void session_table_remove(struct session_table *table, struct session *session);

/* The first session at or after slot `*cursor`, which is moved behind it; NULL at the end. */
struct session *session_next(const struct session_table *table, uint32_t *cursor);

/* A new session without a client. NULL: the table or the region is full. */
struct session *session_create(struct worker *worker, struct mqtt_span client_id);

/*
 * Ends a session that has no client: queues and identifiers go, its directory entry is given up, and nothing is
 * delivered to it any more. A will that still waits is published first [MQTT-3.1.3-9]. Subscriptions go with it as far
 * as this iteration may remove some, the rest and the object in the next ones.
 */
void session_end(struct worker *worker, struct session *session);

/* Goes on with sessions that have ended; once per iteration. Returns how much was done. */
uint32_t sessions_end_progress(struct worker *worker);

/*
 * The connection is gone. `publish_will`: the will is due [MQTT-3.1.2-8], now or after its delay. The session ends now
 * or when its expiry interval has passed.
 */
void session_disconnected(struct worker *worker, struct session *session, bool publish_will);

/*
 * A newer connection takes the session of one that is still there. The will of the older one is published, unless its
 * delay gives the newer one time to be back and the session goes on [MQTT-3.1.3-9].
 */
void session_taken_over(struct worker *worker, struct session *session, bool session_ends);

/* The client is back: neither the expiry nor the delayed will happen. */
void session_resumed(struct worker *worker, struct session *session);

/* Timer handler of sessions: the will's delay or the expiry interval has passed. */
void session_timer(void *worker, struct timer *timer, uint64_t now);

/* ---- Outgoing messages ------------------------------------------------------------------------------------------ */

void outgoing_prepend(struct outgoing_list *list, struct outgoing *outgoing);
void outgoing_append(struct outgoing_list *list, struct outgoing *outgoing);
void outgoing_remove(struct outgoing_list *list, struct outgoing *outgoing);
void outgoing_free(struct worker *worker, struct outgoing *outgoing);

/* Gives the message a free packet identifier and moves it from nowhere to `inflight`. False: no memory. */
bool inflight_add(struct worker *worker, struct session *session, struct outgoing *outgoing);

/* The unacknowledged message with that identifier, or NULL. */
struct outgoing *inflight_find(const struct session *session, uint16_t packet_id);

void inflight_remove(struct session *session, struct outgoing *outgoing);

#endif

/* The dataplane, as control sees it.
 *
 * Job: find the dataplane, hand it the configuration, take its segments, carry requests to it and replies back, notice
 * its death, and take the next one in. Statistics of the last one stay readable.
 *
 * Who calls: control's event loop; single-threaded. Callbacks run inside peer_tick or an event, never inside
 * peer_request, so the caller's state is settled when they come. */
#ifndef POLLUX_CONTROL_DATAPLANE_PEER_H
#define POLLUX_CONTROL_DATAPLANE_PEER_H

#include "control/loop.h"
#include "lib/shm/capture.h"
#include "lib/shm/link.h"
#include "lib/shm/login.h"
#include "lib/shm/messages.h"
#include "lib/stats/stats.h"

enum peer_state {
    PEER_DOWN,     /* no dataplane answers at the socket */
    PEER_GREETING, /* connected, HELLO under way */
    PEER_STARTING, /* it has the configuration and sets ports and workers up */
    PEER_RUNNING,  /* it routes, requests are possible */
    PEER_FAILED,   /* it refused to start; it is asked again when it comes back */
};

/* What people call a state. */
const char *peer_state_name(enum peer_state state);

struct dataplane_peer;

/* `config` and `run_dir` stay the caller's and must live as long as the peer. NULL when memory is out. */
struct dataplane_peer *peer_create(struct loop *loop, const char *run_dir, const struct shm_config *config);
void peer_free(struct dataplane_peer *peer);

/* Look for a dataplane when there is none, and end requests that took too long. Call it a few times a second. */
void peer_tick(struct dataplane_peer *peer, uint64_t now);

/* Gets each record, then exactly one end: reply->status is SHM_REPLY_RECORD, then _END or _ERROR. A reply that the
 * dataplane owes for PEER_TIMEOUT_US, or that it can not give any more, is ended with _ERROR and a text. The reply has
 * been checked; it is the callee's for the time of the call. */
typedef void (*peer_reply_handler)(void *argument, const struct shm_reply *reply);

#define PEER_TIMEOUT_US 5000000u
#define PEER_REQUESTS_MAX 64u /* under way at the same time */

/* Send a request; its id is filled in here. Returns the id, or 0 with the reason in `error`: no callback will come. */
uint32_t peer_request(struct dataplane_peer *peer, const struct shm_request *request, peer_reply_handler handler,
                      void *argument, struct shm_error *error);

/* The asker is gone: no further callback for this id. */
void peer_cancel(struct dataplane_peer *peer, uint32_t id);

/* Gets each question of the dataplane about a login. It has been checked; it is the callee's for the time of the call.
 */
typedef void (*peer_question_handler)(void *argument, const struct shm_login_question *question);
void peer_set_question_handler(struct dataplane_peer *peer, peer_question_handler handler, void *argument);

/* Answers one. False: there is no dataplane, or it does not take answers; the login times out there. */
bool peer_verdict(struct dataplane_peer *peer, const struct shm_login_verdict *verdict);

/* Take the packets of a capture that has just been started: `record` is the dataplane's answer. 0, or -1: it does not
 * fit the segment. */
int peer_capture_open(struct dataplane_peer *peer, const struct shm_capture_record *record, struct shm_error *error);

/* The next slot of a worker's packets: SHM_RING_EMPTY also when the dataplane is gone. */
enum shm_ring_result peer_capture_pop(struct dataplane_peer *peer, uint32_t worker, struct shm_capture_slot *slot);

/* It does not keep to the protocol: the link is closed, and taken up again later. */
void peer_refuse(struct dataplane_peer *peer, const struct shm_error *error);

/* ---- what is known about it ------------------------------------------------------------------------------------ */

struct peer_info {
    enum peer_state state;
    int64_t since;       /* wall clock, seconds: of this state */
    uint32_t pid;        /* of the last one seen; 0: none yet */
    uint64_t generation; /* of the configuration it runs; 0: not known */
    bool same_config;    /* it runs what control would hand it */
    int64_t started;     /* wall clock, seconds */
    uint32_t seen;       /* dataplanes taken in since control started */
    char build_id[LINK_BUILD_ID_SIZE];
    char text[LINK_TEXT_SIZE]; /* why it is not running; empty when it is */
};

void peer_describe(const struct dataplane_peer *peer, struct peer_info *info);

/* Statistics of the dataplane, or of the last one that lived; NULL when there never was one. Call stats_reader_refresh
 * before reading. */
struct stats_reader *peer_statistics(struct dataplane_peer *peer);

#endif

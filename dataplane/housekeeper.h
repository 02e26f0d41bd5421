/*
 * The housekeeper: what the main lcore does while the workers run. Never blocks, and nothing waits for it but SUBACKs
 * of several workers and the operator.
 *
 *  - the one writer of the shared topic table: applies the workers' changes in batches, reclaims what readers have left
 *  - the dataplane's end of the link to control: hands the segments to each new control, notices when it dies
 *  - relays the operator's requests to the workers and their answers back
 *  - relays logins to control and its verdicts back
 */
#ifndef POLLUX_DATAPLANE_HOUSEKEEPER_H
#define POLLUX_DATAPLANE_HOUSEKEEPER_H

#include <signal.h>

#include "dataplane/dataplane.h"
#include "dataplane/login_relay.h"
#include "lib/shm/link.h"
#include "lib/shm/messages.h"
#include "lib/shm/ring.h"

enum { HOUSEKEEPER_REQUESTS = 32 }; /* of the operator, at the same time */

/* A request in progress: a walk over the workers, a page of one worker at a time. */
struct housekeeper_request {
    struct shm_request request;                              /* id 0: free */
    uint32_t worker;                                         /* whose answer is next */
    uint32_t cursor;                                         /* in that worker */
    uint32_t sent;                                           /* records of this page so far */
    bool asked;                                              /* the worker's slot holds this request */
    bool abandoned;                                          /* nobody waits for it any more */
    struct shm_listener_record listeners[SHM_LISTENERS_MAX]; /* LISTENERS: sums over the workers */
    uint64_t kicked;                                         /* KICK: likewise */
    struct shm_drain_record drain;                           /* DRAIN: likewise */
    struct shm_capture_record capture;                       /* CAPTURE: likewise */
};

/* A worker's figures at the last WORKERS request, to report on the time since. */
struct housekeeper_interval {
    uint64_t at; /* microseconds */
    uint64_t busy_cycles, idle_cycles, sleep_cycles;
};

struct housekeeper {
    struct dataplane *dataplane;
    struct link_listener *listener;
    struct link link;
    struct shm_segment requests_segment, replies_segment;
    struct shm_ring_consumer requests;
    struct shm_ring_producer replies;
    int reply_event;
    struct login_relay logins;
    bool replied; /* something was pushed in this iteration: control is woken once */
    struct housekeeper_request active[HOUSEKEEPER_REQUESTS];
    struct housekeeper_interval intervals[SHM_WORKERS_MAX];
    uint64_t started; /* microseconds */
};

/* Creates the segments. `link`: the control that has configured this dataplane; taken over. 0, or -1 with the reason.
 */
int housekeeper_create(struct housekeeper *housekeeper, struct dataplane *dataplane, struct link_listener *listener,
                       struct link *link, struct shm_error *error);

/*
 * One round of being the shared topic table's writer: applies what the workers have sent, reclaims what they have left.
 * Returns how much was done. For housekeeper_run and for tests in virtual time.
 */
uint32_t housekeeper_serve_topics(struct dataplane *dataplane, uint64_t now);

/* Runs until `*stop` is set. */
void housekeeper_run(struct housekeeper *housekeeper, const volatile sig_atomic_t *stop);

void housekeeper_destroy(struct housekeeper *housekeeper);

#endif

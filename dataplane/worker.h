/*
 * A worker: one thread on one core, with everything it owns. See docs/explanation/architecture.md for the poll
 * iteration.
 *
 * Nothing in here is touched by another thread, with these exceptions, each a single-producer single-consumer
 * structure: mailboxes (mailbox.h), packet exchanges (exchange.h), the query slot (query.h), the doorbell, and the
 * plain counters in `runtime` that the housekeeper may read.
 */
#ifndef POLLUX_DATAPLANE_WORKER_H
#define POLLUX_DATAPLANE_WORKER_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/capture.h"
#include "dataplane/client.h"
#include "dataplane/dataplane.h"
#include "dataplane/directory.h"
#include "dataplane/drain.h"
#include "dataplane/doorbell.h"
#include "dataplane/exchange.h"
#include "dataplane/idle.h"
#include "dataplane/login_desk.h"
#include "dataplane/mailbox.h"
#include "dataplane/query.h"
#include "dataplane/retained.h"
#include "dataplane/route.h"
#include "dataplane/run.h"
#include "dataplane/session.h"
#include "dataplane/share_backlog.h"
#include "dataplane/stages.h"
#include "dataplane/subscribe.h"
#include "dataplane/sys_topics.h"
#include "lib/mem/mem.h"
#include "lib/net/net.h"
#include "lib/stats/histogram.h"
#include "lib/timer/timer.h"
#include "lib/topic/cache.h"
#include "lib/topic/reclaim.h"
#include "lib/topic/retained.h"
#include "lib/topic/subscribers.h"

/* Kinds of timers on a worker's wheel. */
enum {
    TIMER_KIND_NET = 0, /* NET_TIMER_KINDS of them */
    TIMER_KIND_CLIENT = NET_TIMER_KINDS,
    TIMER_KIND_SESSION,
    TIMER_KIND_SYS,
    TIMER_KIND_LOGIN,
    TIMER_KIND_RETAINED,
};

/* The counters of counters.def. */
struct dataplane_counters {
#define DATAPLANE_COUNTER(name, unit, help) uint64_t name;
#include "dataplane/counters.def"
#undef DATAPLANE_COUNTER
};

/* A listener as one worker has it. */
struct listener {
    const struct shm_listener *config;
    uint32_t index;
    uint32_t open; /* connections on this worker; dataplane.h has those of all together */
    uint64_t accepted;
    uint64_t refused;
};

/* What the loop counts of itself. */
struct worker_runtime {
#define DATAPLANE_RUNTIME(name, unit, help) uint64_t name;
#include "dataplane/runtime.def"
#undef DATAPLANE_RUNTIME
};

/* What it holds, as of its last publication of counters. */
struct worker_gauges {
#define DATAPLANE_GAUGE(name, unit, help) uint64_t name;
#include "dataplane/gauges.def"
#undef DATAPLANE_GAUGE
};

struct worker {
    /* Read in every iteration, for every packet and message. */
    uint64_t now; /* microseconds; set by the loop, passed down as an argument of lib calls */
    uint32_t index;
    uint32_t count; /* of workers */
    struct net_stack *net;
    struct mem_region *memory;
    struct topic_cache *routes;
    const struct shm_config *config;
    struct dataplane *dataplane;
    bool capturing;      /* packets are looked at: capture.h */
    uint32_t send_limit; /* bytes of PUBLISH packets that may wait in a connection; answers have some more */
    uint8_t share_last[SHARE_PLACES]; /* by group: worker that got the last message of a shared subscription */
    uint64_t route_mark;
    uint32_t run_max; /* messages of a run: what mailboxes can take */
    struct route_match *route_matches;
    uint32_t route_match_count, route_match_capacity;
    uint32_t *route_identifiers;
    uint32_t route_identifier_capacity;

    struct client *waiting; /* clients to try again in the next iteration */
    struct subscribe_pending *pending_first, *pending_last;
    uint32_t filters_left;          /* that may still be subscribed or unsubscribed in this iteration */
    struct session *sessions_ended; /* whose subscriptions are being removed */
    struct retained_walk_job *retained_walks;
    struct retained_ticket *retained_tickets;
    bool presence_failed;
    uint64_t farewell;   /* microseconds: until then it goes on after the dataplane was stopped; 0: it was not */
    uint64_t busy_until; /* microseconds: after an iteration that took too long nobody new is let in */

    struct topic_subscribers *subscribers;
    struct topic_retained *retained;
    struct topic_reader *reader;
    struct session_table *sessions;
    struct directory *directory;
    uint64_t assigned_ids;
    uint32_t clients; /* objects; a session may outlive its client and a client may come before its session */
    uint32_t connected_clients;

    struct mailbox *to[SHM_WORKERS_MAX];   /* where this worker is the sender */
    struct mailbox *from[SHM_WORKERS_MAX]; /* where it is the receiver */
    struct mailbox *to_housekeeper;        /* NULL with one worker */
    struct exchange exchange;
    struct sys_topics *sys; /* on worker 0, if mqtt.sys-interval says so */
    struct query_slot query;
    struct capture capture;
    struct drain drain;        /* its clients are sent to another server */
    struct login_desk *logins; /* NULL: control knows no users, nothing is asked */

    void *region_base; /* of `memory` */
    uint8_t *scratch;  /* a packet that spans segments is put together here */
    uint32_t scratch_size;
    uint32_t listener_count;
    struct listener listeners[SHM_LISTENERS_MAX];
    struct idle idle;
    struct doorbell bell; /* others ring it while this worker sleeps */

    struct dataplane_counters counters;
    uint64_t codec_errors[MQTT_ERROR_COUNT];
    struct stages stages;
    struct worker_runtime runtime;
    struct worker_gauges gauges;
    struct histogram loop_time; /* nanoseconds of iterations that found work */
    uint64_t next_publication;  /* microseconds: of the counters */

    struct publication_run run;            /* of the packets at hand */
    alignas(64) struct share_board shares; /* read by other workers, with mqtt.shared-strategy least-backlog */
    alignas(64) struct share_guess (*share_guesses)[SHARE_PLACES]; /* of each worker; NULL: another strategy */
    struct topic_name topic;                                       /* for what is looked up beside the match cache */
    struct timer_wheel wheel;
};

/*
 * Everything a worker owns, made on the main lcore before the worker starts. 0, or -1 with a text for the operator.
 */
int worker_create(struct worker *worker, struct dataplane *dataplane, uint32_t index, uint64_t now,
                  struct shm_error *error);

/* On the main lcore, after the worker has stopped. */
void worker_destroy(struct worker *worker);

/* The loop; returns when the dataplane stops. For rte_eal_remote_launch. */
int worker_run(void *worker);

/*
 * One poll iteration at time worker->now, without the clock: for the loop and for tests in virtual time. Returns how
 * much was done; 0: there was nothing to do.
 */
uint32_t worker_iterate(struct worker *worker);

#endif

/*
 * The dataplane as a whole: what the main lcore sets up and all workers share. Read-only once the workers run, but for
 * what says otherwise.
 */
#ifndef POLLUX_DATAPLANE_DATAPLANE_H
#define POLLUX_DATAPLANE_DATAPLANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/clock.h"
#include "dataplane/doorbell.h"
#include "dataplane/port.h"
#include "lib/shm/config.h"
#include "lib/stats/stats.h"
#include "lib/topic/name.h"

struct worker;
struct topic_shared;

struct dataplane {
    struct shm_config config;
    struct clock clock;
    struct topic_seed seed;
    struct topic_limits topic_limits;
    uint32_t filters_max;     /* different topic filters, per worker and in the shared table */
    struct rte_mempool *pool; /* packet buffers */
    uint32_t port_count;
    struct port ports[SHM_PORTS_MAX];
    uint32_t worker_count;
    struct worker *workers[SHM_WORKERS_MAX];
    uint32_t lcores[SHM_WORKERS_MAX]; /* of each worker */
    uint8_t steering[128];            /* worker of each hash bucket, see exchange.h */
    uint32_t mailbox_slots;           /* of each mailbox, a power of two */
    uint32_t look_ahead_from;         /* topics in use from which on workers read ahead (look_ahead.h) */
    struct topic_shared *shared;      /* written by the main lcore; NULL with one worker */
    struct doorbell housekeeper_bell; /* of the main lcore */
    uint64_t overload_cycles;         /* of an iteration that is too long; UINT64_MAX: none is */
    struct shm_segment capture_segment;
    uint32_t capture_slots;          /* of each worker's ring in it */
    uint64_t captured_flag;          /* of an mbuf: capture.h */
    _Atomic uint32_t capture_token;  /* of the capture under way, of the main lcore's choice; 0: there is none */
    _Atomic uint64_t wall_offset_ns; /* wall clock less clock_nanoseconds; kept by the main lcore */
    struct stats_segment stats;
    struct {
        uint32_t net, mqtt, codec, runtime, match_cache, stages, loop_time, gauges;
    } stats_offset;
    _Atomic uint32_t listener_open[SHM_LISTENERS_MAX]; /* connections of each listener, in all workers; client.c's */
    _Atomic uint32_t client_ids; /* in the directories of all workers, at most mqtt.max_sessions; kept by directory.c */
    _Atomic uint64_t moments;    /* counts new subscriptions: retained.h */
    _Atomic bool stop;           /* set by the main lcore or a signal, read by all */
};

/*
 * The two inner halves of dataplane_start, for it and for tests that drive the workers in virtual time: DPDK runs
 * already, `pool` and `ports` are the caller's, and worker_iterate is called instead of worker_run.
 *
 *     dataplane_describe(&dataplane, &config);
 *     ... dataplane.clock, dataplane.pool, dataplane.ports, dataplane.port_count ...
 *     dataplane_create_workers(&dataplane, now, &error);
 *     ... worker_iterate(dataplane.workers[i]) for each, housekeeper_serve_topics(&dataplane, now) ...
 *     dataplane_destroy_workers(&dataplane);
 */
void dataplane_describe(struct dataplane *dataplane, const struct shm_config *config);
int dataplane_create_workers(struct dataplane *dataplane, uint64_t now, struct shm_error *error);
void dataplane_destroy_workers(struct dataplane *dataplane);

/* Starts DPDK, ports and workers by this (validated) configuration. 0, or -1 with a text for the operator. */
int dataplane_start(struct dataplane *dataplane, const struct shm_config *config, struct shm_error *error);

/* Stops the workers and gives everything back. */
void dataplane_stop(struct dataplane *dataplane);

#endif

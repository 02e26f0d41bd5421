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
    struct topic_shared *shared;      /* written by the main lcore; NULL with one worker */
    struct stats_segment stats;
    struct {
        uint32_t net, mqtt, codec, runtime, loop_time, gauges;
    } stats_offset;
    _Atomic bool stop; /* set by the main lcore or a signal, read by all */
};

/* Starts DPDK, ports and workers by this (validated) configuration. 0, or -1 with a text for the operator. */
int dataplane_start(struct dataplane *dataplane, const struct shm_config *config, struct shm_error *error);

/* Stops the workers and gives everything back. */
void dataplane_stop(struct dataplane *dataplane);

#endif

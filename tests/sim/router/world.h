/*
 * The whole router in virtual time: the workers of dataplane/ in one thread, driven by worker_iterate(), and one client
 * stack of lib/net that all simulated clients share, joined by a link with delay, loss, reordering and duplication.
 *
 * Frames reach the workers through a port of DPDK rings, so that steering, exchange rings and backlogs are the real
 * ones. The housekeeper's part is a step like a worker's iteration. Which worker runs when, and for how long one does
 * not run at all, follows from the seed like everything else: a failing seed replays.
 */
#ifndef TESTS_SIM_ROUTER_WORLD_H
#define TESTS_SIM_ROUTER_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/dataplane.h"
#include "lib/stats/histogram.h"
#include "lib/net/net.h"

enum { WORLD_PORT = 1883, WORLD_WEBSOCKET_PORT = 8083, WORLD_PORTS_CUT = 256 };

struct world_frame;
struct device;
struct rte_ring;
struct threads;

/* Both directions of the link. Probabilities in parts per million. */
struct world_link {
    uint64_t delay_us;
    uint64_t jitter_us; /* uniform extra delay: reorders */
    uint32_t loss_ppm;
    uint32_t duplicate_ppm;
};

struct world {
    uint64_t seed, random, now;
    struct world_link link;
    struct shm_config config;   /* change it between world_init and world_begin */
    uint32_t websocket_percent; /* of devices that connect over WebSocket */
    uint32_t mailbox_slots;
    uint64_t weaken;     /* bits of every topic's hash to clear, as in struct topic_seed */
    uint32_t queues;     /* of the port, 1 to workers */
    uint32_t freeze_ppm; /* how often a worker stops for a while, per step */
    uint64_t freeze_us;  /* at most */
    struct dataplane dataplane;
    uint64_t frozen_until[SHM_WORKERS_MAX];
    uint64_t memory_objects[SHM_WORKERS_MAX]; /* of each worker's region, before any client came */
    struct net_stack *stack;                  /* the clients' */
    struct timer_wheel wheel;
    struct world_frame **heap; /* on the way, by arrival */
    uint32_t heap_count, heap_room;
    uint64_t frames;
    uint64_t steps;
    uint8_t cut[65536 / 8];  /* client ports whose frames are all lost, both ways */
    uint16_t traced_port;    /* whose segments are printed; 0: none */
    struct device **devices; /* in the order of their creation; of device.c */
    uint32_t device_count;
    uint64_t poll_at; /* the scenario's next turn; UINT64_MAX: none */
    void (*poll)(struct world *world);
    void *scenario;
    bool failed;
    bool verbose;
    bool clocks_differ;      /* workers have read theirs some time before they handle what others send */
    bool wants_threads;      /* parts of scenarios run on real threads: threads.h */
    struct threads *threads; /* they do now */
    /*
     * Where it is set, iterations take the time that this CPU needs for them, workers running side by side: each is
     * recorded, in nanoseconds, and virtual time goes on by the longest. Such a run does not repeat exactly.
     */
    struct histogram *iteration_times;
    uint64_t iteration_us; /* the longest of this step */
};

/* The operations of the buffer pools; NULL: DPDK's default. */
extern const char *world_pool_operations;

/* EAL, pools and the ring device, once per process. Exits when it cannot start. */
void world_environment(uint32_t workers_max);

/* Defaults for this number of workers. */
void world_init(struct world *world, uint64_t seed, uint32_t workers, uint32_t loss_percent);
void world_begin(struct world *world);

/* Frees everything; false, with a text, if packet buffers are missing. */
bool world_end(struct world *world);

/* Goes on until `done` says so. False: `limit_us` passed first. */
bool world_run(struct world *world, bool (*done)(struct world *world), uint64_t limit_us);
void world_run_for(struct world *world, uint64_t us);

/* Says what is wrong; the seed has failed. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t world_random(struct world *world);
uint32_t world_below(struct world *world, uint32_t bound); /* uniform in [0, bound) */
bool world_chance(struct world *world, uint32_t percent);

/* A client port whose connections to the router's port `to` arrive on `worker`. */
uint16_t world_port_for(struct world *world, uint16_t to, uint32_t worker);

/* From now on nothing passes to or from this client port (until it is chosen again). */
void world_cut(struct world *world, uint16_t port);

struct net_address world_router_address(void);

/* Frames to and from the router's port, by queue. */
struct rte_ring *world_rx_ring(uint32_t queue);
struct rte_ring *world_tx_ring(uint32_t queue);

/* After everybody has left: is nothing left in any worker? Names what is. */
bool world_census(struct world *world);

/* The sum of one of the dataplane's counters over the workers. */
#define world_counter(world, name)                                          \
    ({                                                                      \
        uint64_t sum_ = 0;                                                  \
        for (uint32_t w_ = 0; w_ < (world)->dataplane.worker_count; w_++) { \
            sum_ += (world)->dataplane.workers[w_]->counters.name;          \
        }                                                                   \
        sum_;                                                               \
    })

#endif

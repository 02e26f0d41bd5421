/*
 * The simulated network: two stacks in one process, joined by a link with delay, bandwidth, queue and faults, in
 * virtual time.
 *
 * Everything that happens follows from the seed, so a failure is replayed by running the same seed again. One thread.
 * The simulation copies each frame out of the sender's mbuf and into one of the receiver's, and holds the sender's mbuf
 * for a while as a port does, so that retransmissions meet buffers that are still in use.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "lib/net/net.h"

#include <stdbool.h>
#include <stdint.h>

enum { SIM_HOSTS = 2, SIM_CLIENT = 0, SIM_SERVER = 1, SIM_PORT = 1883 };

/* One direction of the link. Probabilities in parts per million. */
struct sim_link {
    uint64_t delay_us;
    uint64_t jitter_us;       /* uniform extra delay; larger than the spacing of packets it reorders */
    uint64_t bits_per_second; /* 0: no limit */
    uint32_t queue_bytes;     /* tail drop beyond it, with a bandwidth; 0: no limit */
    uint32_t loss_ppm;
    uint32_t duplicate_ppm;
    uint32_t reorder_ppm; /* delayed by up to reorder_us more */
    uint64_t reorder_us;
    uint32_t corrupt_ppm;     /* one bit of an IP packet */
    const uint8_t *loss_mask; /* exact: TCP segment i with payload is dropped when byte i is 1; NULL: none */
    uint32_t loss_mask_length;
    uint64_t busy_until; /* below: the link's own */
    uint32_t segments;
};

/* Options a middlebox removes from SYNs, so that paths without them are walked too. */
enum sim_strip { SIM_STRIP_SACK = 1, SIM_STRIP_TIMESTAMPS = 2, SIM_STRIP_SCALE = 4 };

struct sim;

struct sim_host {
    struct sim *sim;
    unsigned index;
    struct net_stack *stack;
    struct timer_wheel *wheel;
    struct rte_mempool *pool;
    struct net_config config;
    struct rte_mbuf *held[64]; /* what the port has not finished with */
    unsigned held_count;
    uint64_t frames_sent;
    uint64_t bytes_sent;
};

struct sim_frame;

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now;
    struct sim_host hosts[SIM_HOSTS];
    struct sim_link links[SIM_HOSTS]; /* [i]: from host i to the other */
    unsigned strip;
    unsigned hold;           /* mbufs a port holds back, 0..64 */
    struct sim_frame **heap; /* frames on the way, by arrival */
    uint32_t heap_count, heap_room;
    uint64_t order;
    /* Sees each frame put on the link; true: dropped. For scripts. */
    bool (*tap)(struct sim *sim, unsigned from, const uint8_t *frame, uint32_t length);
    void (*poll)(struct sim *sim); /* the applications' turn, once per step */
    uint64_t poll_at;              /* a step happens at this time even if nothing else does; set by poll */
    void *user;
};

/* EAL, once per process: no huge pages, nothing shared. Exits when it cannot start. */
void sim_environment(void);

/* Addresses of host i: 198.18.0.(1 + i) and 2001:db8:18::(1 + i). */
struct net_address sim_address(unsigned host, bool ip6);

/* Clean link, default configurations; change both, then sim_begin(). */
void sim_init(struct sim *sim, uint64_t seed);
void sim_begin(struct sim *sim);
/* Frees the stacks; returns the mbufs that are missing from the pools. */
unsigned sim_end(struct sim *sim);

/* Go on until `deadline` (virtual us) or until nothing will ever happen again. Returns false in the latter case. */
bool sim_step(struct sim *sim, uint64_t deadline);
void sim_run(struct sim *sim, uint64_t deadline);

/* A frame arrives at `host` after `delay_us`. */
void sim_inject(struct sim *sim, unsigned host, const uint8_t *frame, uint32_t length, uint64_t delay_us);

uint64_t sim_random(struct sim *sim);
/* Uniform in [0, bound). */
uint32_t sim_random_below(struct sim *sim, uint32_t bound);

/* Is every count of the census zero (listeners aside)? Prints what is not. */
bool sim_census_empty(const struct sim_host *host);

#endif

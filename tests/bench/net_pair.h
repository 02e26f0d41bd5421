/*
 * Two stacks in one process, back to back in memory: what the benchmarks of lib/net alone run on. One thread.
 */
#ifndef TESTS_BENCH_NET_PAIR_H
#define TESTS_BENCH_NET_PAIR_H

#include "lib/net/net.h"

enum { PAIR_HOSTS = 2, PAIR_QUEUE = 1 << 16, PAIR_PER_PORT = 30000 /* of 32,768 ephemeral ports to one port */ };

struct pair_host {
    unsigned index;
    struct net_stack *stack;
    struct timer_wheel *wheel;
    struct rte_mbuf *queue[PAIR_QUEUE]; /* frames for this host */
    unsigned head, tail;
    uint64_t requests;
    unsigned connected;
    bool gateway; /* what comes for 198.19.0.0/16 goes out into the world, and ends there */
};

extern struct pair_host pair_hosts[PAIR_HOSTS];
extern struct rte_mempool *pair_pool;

/* EAL without huge pages, and the buffer pool. False: it does not start. */
bool pair_environment(const char *name, unsigned megabytes, unsigned mbufs);
/* 198.18.0.1 listens (0), 198.18.0.2 opens (1). */
struct net_address pair_address(unsigned index);
/* Both stacks, room for so many connections; host 0 listens on as many ports from 1883 on as that takes. */
void pair_create(unsigned connections, bool prefault, const struct tcp_callbacks *callbacks);
/* One iteration of a host: at most 32 frames. */
void pair_iterate(struct pair_host *host, uint64_t now);
/* The n-th connection of host 1. */
struct tcp_connection *pair_connect(unsigned n);
uint64_t pair_now(void);

#endif

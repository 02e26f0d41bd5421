/*
 * A TCP/IP stack of lib/net on a device, with the poll loop's one iteration. What runs on it (the backend of the load
 * generator, the echo programs) sees lib/net's connections through the callbacks it gave.
 *
 * One thread: the one that called station_create().
 */
#ifndef PERF_STATION_H
#define PERF_STATION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/net/net.h"
#include "perf/device.h"

struct rte_mbuf;

enum {
    STATION_BACKLOG_MIN = 8192, /* frames */
    STATION_CONGESTED = 1024,   /* of them */
};

struct station_config {
    const struct device *device;
    const struct net_prefix *addresses;
    uint32_t address_count;
    struct net_address gateway; /* NET_ADDRESS_ANY: everything is on the link */
    uint32_t max_connections;
    uint32_t send_buffer, receive_buffer; /* bytes of a connection */
    struct tcp_callbacks callbacks;
    void *arg; /* of the callbacks */
};

struct station {
    struct net_stack *stack;
    struct timer_wheel wheel;
    const struct device *device;
    struct tcp_callbacks callbacks;
    void *arg;
    uint64_t now;       /* us, of this iteration */
    uint64_t us_scale;  /* us in 2^32 cycles */
    uint64_t origin;    /* cycles */
    uint64_t last_poll; /* cycles, when the last iteration ended */
    uint64_t busy;      /* cycles between polls of which the later had packets to handle */
    bool registered;    /* this thread with DPDK */
    /* Frames that the device had no room for, in a ring: one for each connection, since all may answer at once. */
    uint32_t backlog_head, backlog_count, backlog_mask;
    struct rte_mbuf **backlog;
};

/* NULL and a sentence in `*reason` at failure. */
struct station *station_create(const struct station_config *config, const char **reason);
void station_destroy(struct station *station);

/* Receives, calls the callbacks, sends. Never waits. */
void station_poll(struct station *station);

/* The other side takes frames more slowly than they are made: send nothing new. */
static inline bool station_is_congested(const struct station *station)
{
    return station->backlog_count > STATION_CONGESTED;
}

/* ns that the station was busy since it was made. */
uint64_t station_busy_time(const struct station *station);

#endif

/*
 * Exchange: how packets get between ports and workers when the number of queues is not the number of workers.
 *
 * Receiving. A flow belongs to the worker that the Toeplitz hash of its addresses and ports points to, through a table
 * of 128 entries as network devices use it. A device with usable RSS delivers each packet to the right queue; otherwise
 * (virtio, AF_XDP, TAP) whoever receives a packet computes the hash and passes it on through a ring. ARP and neighbour
 * discovery go to every worker.
 *
 * Sending. Worker w uses transmit queue w; without one, it passes packets to worker w modulo the number of queues,
 * through a ring for each port, so that a port that takes nothing holds up no other. What a device does not take at
 * once waits in a bounded backlog, so a full queue does not cost a retransmission, and what other workers pass on waits
 * in its ring meanwhile. A packet that a device refuses for EXCHANGE_STUCK_US is dropped, so that it cannot hold up the
 * others for ever.
 *
 * Rings have one producer and one consumer (rte_ring). A full ring drops the packet and counts; TCP repairs it.
 */
#ifndef POLLUX_DATAPLANE_EXCHANGE_H
#define POLLUX_DATAPLANE_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "lib/shm/config.h"
#include "lib/shm/error.h"

struct dataplane;
struct worker;

#define EXCHANGE_BURST 32u
#define EXCHANGE_BACKLOG 16384u /* a message to thousands of subscribers leaves in one iteration */
#define EXCHANGE_STUCK_US 100000u

/* Packets of one port that wait for room in its transmit queue. */
struct exchange_backlog {
    uint32_t count;
    uint64_t moved_at; /* microseconds: when the device last took one, or the first came */
    struct rte_mbuf *packets[EXCHANGE_BACKLOG];
};

/* What another worker passes on to be sent by this one. */
struct exchange_inlet {
    struct rte_ring *ring;
    uint32_t from; /* the other worker */
    uint32_t interface;
};

/* A worker's part. A port has a backlog here, or, without a transmit queue, a ring to the worker that sends for it. */
struct exchange {
    struct rte_ring *received_to[SHM_WORKERS_MAX]; /* packets for another worker's stack, by worker */
    struct rte_ring *received_from[SHM_WORKERS_MAX];
    struct exchange_backlog *backlogs[SHM_PORTS_MAX];
    struct rte_ring *sent[SHM_PORTS_MAX];
    struct exchange_inlet *inlets; /* the other ends of the rings into this worker */
    uint32_t inlet_count;
    uint32_t next_inlet;
};

/* All rings between all workers. 0, or -1 with the reason. On the main lcore. */
int exchange_create(struct dataplane *dataplane, struct shm_error *error);

/* Frees rings and the packets in them. On the main lcore, after all workers have stopped. */
void exchange_destroy(struct dataplane *dataplane);

/* The worker that a flow belongs to: lib/net's flow_owner. */
unsigned exchange_flow_owner(void *worker, uint32_t hash);

/* Receives from all queues and rings of this worker, into its stack. Returns packets. */
uint32_t exchange_receive(struct worker *worker);

/* Sends what other workers passed on, and what waited for room. Returns packets. */
uint32_t exchange_send(struct worker *worker);

/* Is there a packet that the worker `from` has passed on? From the thread of either. */
bool exchange_has_input(const struct worker *worker, uint32_t from);

/* lib/net's ready: has the port sent, or its worker taken over, what it was given before? */
bool exchange_ready(void *worker, unsigned interface);

/* lib/net's transmit: takes all packets. */
uint16_t exchange_transmit(void *worker, unsigned interface, struct rte_mbuf **packets, uint16_t count);

/* lib/net's redirect: a packet for another worker's stack. */
void exchange_redirect(void *worker, unsigned to, unsigned interface, struct rte_mbuf *packet);

#endif

/*
 * A worker's part in a capture: copies of the packets that match a filter, written to the ring that control reads
 * (lib/shm/capture.h). Off, it costs the worker one branch a burst, on a word (worker->capturing) that the loop has in
 * its cache anyway. On, it costs what it copies; it never waits: what finds no room in the ring is counted and missing
 * from the capture.
 *
 * A packet is seen once: on its way in by the worker whose stack it is for, which knows its client; on its way out by
 * the worker that made it, before offloads. What all workers get a copy of, or a stack passes on although it was for
 * it, is marked in the packet (mbuf), so that the next one leaves it.
 *
 * By client: packets of the connection on which that client id has a session, from its CONNECT on. The connection is
 * remembered until another client has it, so its end is seen although the session is gone by then.
 *
 * It ends by itself: with control (the main lcore takes the token away), and after its time.
 */
#ifndef POLLUX_DATAPLANE_CAPTURE_H
#define POLLUX_DATAPLANE_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/net/address.h"
#include "lib/shm/messages.h"

struct dataplane;
struct rte_mbuf;
struct worker;

enum { CAPTURE_FLOWS = 32 }; /* connections of the client that are remembered; the oldest gives way */

struct capture {
    uint32_t token;   /* of the capture, see struct dataplane */
    uint64_t ends_at; /* microseconds */
    struct shm_capture_arguments filter;
    struct shm_ring_producer ring;
    uint64_t packets;       /* written */
    uint64_t dropped;       /* no room */
    uint64_t dropped_since; /* of those: since the last that was written */
    uint32_t flow_count, flow_next;
    struct net_flow flows[CAPTURE_FLOWS];
};

/* The segment with a ring for each worker, and the mark; on the main lcore, before the workers run. 0, or -1 with the
 * reason. */
int capture_create(struct dataplane *dataplane, struct shm_error *error);
void capture_destroy(struct dataplane *dataplane);

/* Answers the operator's request: starts or stops this worker's part. `token`: the request's id. */
void capture_request(struct worker *worker, const struct shm_capture_arguments *arguments, uint32_t token,
                     struct shm_capture_record *record);

/* Where packets are looked at. */
enum capture_point {
    CAPTURE_RECEIVED,  /* just from a port, for the stack of this worker */
    CAPTURE_PASSED_ON, /* received by another worker, for the stack of this one */
    CAPTURE_SENT,      /* on their way to a port */
};

/* Only while worker->capturing. */
void capture_packets(struct worker *worker, uint32_t interface, struct rte_mbuf **packets, uint32_t count,
                     enum capture_point point);

#endif

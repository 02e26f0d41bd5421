/*
 * Runs: PUBLISH packets of one client that lie one behind the other and differ in the payload alone, as a client sends
 * them that has more than one message for a topic. Such packets are routed once, and copied to each subscriber
 * together.
 *
 * All are QoS 0, not retained, without properties, of one length. A publication with a run stands for all of its
 * messages: session_deliver copies them as they lie there to who can take them so, and unpacks the run for others.
 *
 * The worker that received the packets calls. A run lives while they are handled; a worker has one at a time.
 */
#ifndef POLLUX_DATAPLANE_RUN_H
#define POLLUX_DATAPLANE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/message.h"
#include "lib/mqtt/mqtt.h"

enum { RUN_MAX = 64 }; /* messages */

struct publication_run {
    uint32_t count;
    bool unpacked;
    struct publication publications[RUN_MAX]; /* of each message, once unpacked */
};

/*
 * How many packets, `max` at most, make a run with the first of `left` bytes, the PUBLISH that `header` was read from?
 * 1: it stands alone. Every packet counted is as valid as the first.
 */
uint32_t run_count(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *packet, uint32_t left,
                   uint32_t max);

/* Makes `publication`, of the first packet, stand for `count` messages; for 1 it stays as it is. */
void run_begin(struct publication_run *run, struct publication *publication, uint32_t count);

/* The messages one by one, publication->run->count of them; each may be kept. */
struct publication *run_unpack(struct publication *publication);

/* Ends what run_begin and run_unpack began. */
void run_end(struct publication *publication, struct mem_region *memory);

/* How many messages it stands for. */
static inline uint32_t publication_count(const struct publication *publication)
{
    return publication->run == NULL ? 1 : publication->run->count;
}

#endif

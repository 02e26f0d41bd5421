/*
 * Draining: a router that sends its clients to another server, before it is stopped or to take load off it (MQTT 5.0
 * sections 4.11 and 3.2.2.3.16).
 *
 * While it drains, every CONNECT is refused with 0x9C (use another server) or 0x9D (server moved) and a Server
 * Reference, and connected clients are disconnected with the same, at a rate that spares the other server a storm.
 * Before MQTT 5.0 there is no such word: return code 3, or the end of the connection. Sessions stay as their clients
 * asked.
 *
 * Each worker drains its own clients at its share of the rate. The worker that owns the sessions calls; the operator's
 * request comes through query.h.
 */
#ifndef POLLUX_DATAPLANE_DRAIN_H
#define POLLUX_DATAPLANE_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mqtt/mqtt.h"
#include "lib/shm/messages.h"

struct worker;

struct drain {
    bool active;
    bool permanent; /* 0x9D, else 0x9C */
    uint16_t reference_length;
    uint32_t rate;        /* clients a second, of all workers together */
    uint32_t interval_us; /* between two of this worker's */
    uint32_t cursor;      /* in its sessions */
    uint64_t next;        /* microseconds: when the next one goes */
    uint64_t since;       /* microseconds */
    uint64_t disconnected, refused;
    uint8_t reference[SHM_REFERENCE_MAX];
};

/* Starts, changes or stops draining, or does nothing, as the operator asked, and tells how it stands in this worker. */
void drain_request(struct worker *worker, const struct shm_drain_arguments *arguments, struct shm_drain_record *record);

/* While it is active, once per iteration. Returns how many clients went. */
uint32_t drain_progress(struct worker *worker);

/* The reason code that clients get while it is active. */
static inline uint8_t drain_reason(const struct drain *drain)
{
    return drain->permanent ? MQTT_REASON_SERVER_MOVED : MQTT_REASON_USE_ANOTHER_SERVER;
}

static inline struct mqtt_span drain_reference(const struct drain *drain)
{
    return (struct mqtt_span){drain->reference, drain->reference_length};
}

#endif

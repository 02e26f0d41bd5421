/*
 * A set of packet identifiers: those of QoS 2 messages that a client has published and not yet released
 * [MQTT-4.3.3-10]. A session without QoS 2 traffic pays for a pointer: NULL is the empty set. A few identifiers are in
 * a small hash table (open addressing, linear probing); more are in a bitmap of all that there are, so nothing takes
 * longer however many a client holds, and whichever it chooses. The bitmap goes with the last of them.
 *
 * The worker that owns the session calls; the memory is from its region.
 */
#ifndef POLLUX_DATAPLANE_PACKET_IDS_H
#define POLLUX_DATAPLANE_PACKET_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mem/mem.h"

struct packet_ids {
    uint32_t mask; /* of the slots; 0: it is the bitmap */
    uint32_t count;
    uint64_t bits[]; /* one for each identifier; or slots of 16 bits: see packet_ids.c */
};

static inline uint32_t packet_ids_count(const struct packet_ids *ids)
{
    return ids == NULL ? 0 : ids->count;
}

bool packet_ids_contain(const struct packet_ids *ids, uint16_t id);

/* Adds an identifier that is not in the set. False: no memory, nothing changed. */
bool packet_ids_add(struct packet_ids **ids, uint16_t id, struct mem_region *memory);

/* Removes an identifier; false if it was not in the set. */
bool packet_ids_remove(struct packet_ids **ids, uint16_t id, struct mem_region *memory);

/* Empties the set. */
void packet_ids_free(struct packet_ids **ids, struct mem_region *memory);

#endif

/* The set of packet identifiers; see packet_ids.h. */
#include "dataplane/packet_ids.h"

enum { PACKET_IDS_FIRST_SIZE = 16 };

/* Clients count upwards, so the identifier itself spreads well. Returns the slot that holds `id`, or a free one. */
static uint32_t slot_of(const struct packet_ids *ids, uint16_t id)
{
    uint32_t slot = id & ids->mask;
    while (ids->slots[slot] != 0 && ids->slots[slot] != id) {
        slot = (slot + 1) & ids->mask;
    }
    return slot;
}

bool packet_ids_contain(const struct packet_ids *ids, uint16_t id)
{
    return packet_ids_count(ids) > 0 && ids->slots[slot_of(ids, id)] == id;
}

static bool packet_ids_grow(struct packet_ids **ids, struct mem_region *memory)
{
    const struct packet_ids *old = *ids;
    const uint32_t size = old == NULL ? PACKET_IDS_FIRST_SIZE : 2 * (old->mask + 1);
    struct packet_ids *grown = mem_alloc_zero(memory, sizeof(*grown) + size * sizeof(grown->slots[0]));
    if (grown == NULL) {
        return false;
    }
    grown->mask = size - 1;
    grown->count = packet_ids_count(old);
    for (uint32_t i = 0; old != NULL && i <= old->mask; i++) {
        if (old->slots[i] != 0) {
            grown->slots[slot_of(grown, old->slots[i])] = old->slots[i];
        }
    }
    packet_ids_free(ids, memory);
    *ids = grown;
    return true;
}

bool packet_ids_add(struct packet_ids **ids, uint16_t id, struct mem_region *memory)
{
    if ((*ids == NULL || (*ids)->count > (*ids)->mask / 2) && !packet_ids_grow(ids, memory)) {
        return false;
    }
    (*ids)->slots[slot_of(*ids, id)] = id;
    (*ids)->count++;
    return true;
}

bool packet_ids_remove(struct packet_ids *ids, uint16_t id)
{
    if (!packet_ids_contain(ids, id)) {
        return false;
    }
    uint32_t hole = slot_of(ids, id);
    /* Close the gap: move back what would no longer be found behind it. */
    for (uint32_t next = (hole + 1) & ids->mask; ids->slots[next] != 0; next = (next + 1) & ids->mask) {
        const uint32_t home = ids->slots[next] & ids->mask;
        if (((next - home) & ids->mask) >= ((next - hole) & ids->mask)) {
            ids->slots[hole] = ids->slots[next];
            hole = next;
        }
    }
    ids->slots[hole] = 0;
    ids->count--;
    return true;
}

void packet_ids_free(struct packet_ids **ids, struct mem_region *memory)
{
    mem_free(memory, *ids);
    *ids = NULL;
}

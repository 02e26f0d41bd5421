/* The set of packet identifiers; see packet_ids.h. */
#include "dataplane/packet_ids.h"

#include <string.h>

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
    return ids->count > 0 && ids->slots[slot_of(ids, id)] == id;
}

static bool packet_ids_grow(struct packet_ids *ids, struct mem_region *memory)
{
    const uint32_t size = ids->slots == NULL ? PACKET_IDS_FIRST_SIZE : 2 * (ids->mask + 1);
    struct packet_ids grown = {.slots = mem_alloc(memory, size * sizeof(uint16_t)), .mask = size - 1};
    if (grown.slots == NULL) {
        return false;
    }
    memset(grown.slots, 0, size * sizeof(uint16_t));
    for (uint32_t i = 0; ids->slots != NULL && i <= ids->mask; i++) {
        if (ids->slots[i] != 0) {
            grown.slots[slot_of(&grown, ids->slots[i])] = ids->slots[i];
        }
    }
    grown.count = ids->count;
    packet_ids_free(ids, memory);
    *ids = grown;
    return true;
}

bool packet_ids_add(struct packet_ids *ids, uint16_t id, struct mem_region *memory)
{
    if ((ids->slots == NULL || ids->count > ids->mask / 2) && !packet_ids_grow(ids, memory)) {
        return false;
    }
    ids->slots[slot_of(ids, id)] = id;
    ids->count++;
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

void packet_ids_free(struct packet_ids *ids, struct mem_region *memory)
{
    if (ids->slots != NULL) {
        mem_free(memory, ids->slots);
    }
    *ids = (struct packet_ids){0};
}

/* The set of packet identifiers; see packet_ids.h. */
#include "dataplane/packet_ids.h"

#include <stddef.h>

enum {
    SLOTS_FIRST = 16,
    SLOTS_MAX = 64,             /* half of them in use at most; above comes the bitmap */
    BITMAP_SIZE = (1 << 16) / 8 /* bytes */
};

/* ---- The bitmap ------------------------------------------------------------------------------------------------- */

static bool is_bitmap(const struct packet_ids *ids)
{
    return ids->mask == 0;
}

static uint64_t bit_of(uint16_t id)
{
    return UINT64_C(1) << (id % 64);
}

/* ---- The table -------------------------------------------------------------------------------------------------- */

/* 0: free. */
static uint16_t *slots_of(const struct packet_ids *ids)
{
    return (uint16_t *)(uintptr_t)ids->bits;
}

/* Clients count upwards, so the identifier itself spreads well. Returns the slot that holds `id`, or a free one. */
static uint32_t slot_of(const struct packet_ids *ids, uint16_t id)
{
    const uint16_t *slots = slots_of(ids);
    uint32_t slot = id & ids->mask;
    while (slots[slot] != 0 && slots[slot] != id) {
        slot = (slot + 1) & ids->mask;
    }
    return slot;
}

static void table_remove(struct packet_ids *ids, uint16_t id)
{
    uint16_t *slots = slots_of(ids);
    uint32_t hole = slot_of(ids, id);
    /* Close the gap: move back what would no longer be found behind it. */
    for (uint32_t next = (hole + 1) & ids->mask; slots[next] != 0; next = (next + 1) & ids->mask) {
        const uint32_t home = slots[next] & ids->mask;
        if (((next - home) & ids->mask) >= ((next - hole) & ids->mask)) {
            slots[hole] = slots[next];
            hole = next;
        }
    }
    slots[hole] = 0;
}

/* ---- The set ---------------------------------------------------------------------------------------------------- */

bool packet_ids_contain(const struct packet_ids *ids, uint16_t id)
{
    if (packet_ids_count(ids) == 0) {
        return false;
    }
    return is_bitmap(ids) ? (ids->bits[id / 64] & bit_of(id)) != 0 : slots_of(ids)[slot_of(ids, id)] == id;
}

/* There is room for one that is not in the set. */
static void put(struct packet_ids *ids, uint16_t id)
{
    if (is_bitmap(ids)) {
        ids->bits[id / 64] |= bit_of(id);
    } else {
        slots_of(ids)[slot_of(ids, id)] = id;
    }
    ids->count++;
}

static bool has_room(const struct packet_ids *ids)
{
    return ids != NULL && (is_bitmap(ids) || ids->count <= ids->mask / 2);
}

/* A larger table, or the bitmap. */
static bool grow(struct packet_ids **ids, struct mem_region *memory)
{
    const uint32_t slots = *ids == NULL ? 0 : (*ids)->mask + 1;
    const uint32_t wanted = slots == 0 ? SLOTS_FIRST : slots == SLOTS_MAX ? 0 : 2 * slots;
    const size_t size = wanted == 0 ? BITMAP_SIZE : wanted * sizeof(uint16_t);
    struct packet_ids *grown = mem_alloc_zero(memory, sizeof(*grown) + size);
    if (grown == NULL) {
        return false;
    }
    grown->mask = wanted == 0 ? 0 : wanted - 1;
    for (uint32_t i = 0; i < slots; i++) {
        if (slots_of(*ids)[i] != 0) {
            put(grown, slots_of(*ids)[i]);
        }
    }
    packet_ids_free(ids, memory);
    *ids = grown;
    return true;
}

bool packet_ids_add(struct packet_ids **ids, uint16_t id, struct mem_region *memory)
{
    if (!has_room(*ids) && !grow(ids, memory)) {
        return false;
    }
    put(*ids, id);
    return true;
}

bool packet_ids_remove(struct packet_ids **ids, uint16_t id, struct mem_region *memory)
{
    if (!packet_ids_contain(*ids, id)) {
        return false;
    }
    (*ids)->count--;
    if (!is_bitmap(*ids)) {
        table_remove(*ids, id);
    } else if ((*ids)->count == 0) {
        packet_ids_free(ids, memory);
    } else {
        (*ids)->bits[id / 64] &= ~bit_of(id);
    }
    return true;
}

void packet_ids_free(struct packet_ids **ids, struct mem_region *memory)
{
    mem_free(memory, *ids);
    *ids = NULL;
}

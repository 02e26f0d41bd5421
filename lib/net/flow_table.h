/*
 * The flow table: four-tuple -> record, for all four kinds of record (connection, half-open, TIME-WAIT, moved), so that
 * a segment costs one lookup whatever it belongs to. Private to lib/net; owner: the stack's thread.
 *
 * Open addressing, linear probing, sized at creation for at most two thirds load: it is never rehashed, so filling it
 * has no slow iteration. A slot is the 32-bit hash and a reference; comparing the hash first means that a miss touches
 * no record. Removal shifts back (no tombstones), which needs nothing but the hashes.
 */
#ifndef LIB_NET_FLOW_TABLE_H
#define LIB_NET_FLOW_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A reference: kind in the two upper bits, index + 1 below; 0 is "none". */
enum flow_kind { FLOW_CONNECTION, FLOW_HALF_OPEN, FLOW_TIME_WAIT, FLOW_MOVED };

struct flow_slot {
    uint32_t hash;
    uint32_t reference;
};

struct flow_table {
    struct flow_slot *slots;
    uint32_t mask;
    uint32_t count;
};

static inline uint32_t flow_reference(enum flow_kind kind, uint32_t index)
{
    return (uint32_t)kind << 30 | (index + 1);
}

static inline enum flow_kind flow_reference_kind(uint32_t reference)
{
    return (enum flow_kind)(reference >> 30);
}

static inline uint32_t flow_reference_index(uint32_t reference)
{
    return (reference & 0x3fffffff) - 1;
}

/* Slots for `records` records: a power of two. */
uint32_t flow_table_slots(uint64_t records);

void flow_table_insert(struct flow_table *table, uint32_t hash, uint32_t reference);
void flow_table_remove(struct flow_table *table, uint32_t hash, uint32_t reference);

static inline void flow_table_prefetch(const struct flow_table *table, uint32_t hash)
{
    __builtin_prefetch(&table->slots[hash & table->mask]);
}

/*
 * Walk the candidates of `hash`: start with *position = hash, call until it returns 0. The caller compares the flow.
 */
static inline uint32_t flow_table_candidate(const struct flow_table *table, uint32_t hash, uint32_t *position)
{
    for (;;) {
        const struct flow_slot *slot = &table->slots[*position & table->mask];
        if (slot->reference == 0)
            return 0;
        ++*position;
        if (slot->hash == hash)
            return slot->reference;
    }
}

#endif

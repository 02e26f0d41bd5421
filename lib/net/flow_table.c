/* The flow table's writing half. Job, ownership: flow_table.h. */
#include "lib/net/flow_table.h"

uint32_t flow_table_slots(uint64_t records)
{
    uint64_t slots = 64;

    while (slots * 2 < records * 3)
        slots *= 2;
    return (uint32_t)slots;
}

void flow_table_insert(struct flow_table *table, uint32_t hash, uint32_t reference)
{
    uint32_t at = hash & table->mask;

    while (table->slots[at].reference)
        at = (at + 1) & table->mask;
    table->slots[at] = (struct flow_slot){hash, reference};
    table->count++;
}

static struct flow_slot *slot_find(struct flow_table *table, uint32_t hash, uint32_t reference)
{
    uint32_t at = hash & table->mask;

    while (table->slots[at].reference && table->slots[at].reference != reference)
        at = (at + 1) & table->mask;
    return table->slots[at].reference ? &table->slots[at] : NULL;
}

void flow_table_remove(struct flow_table *table, uint32_t hash, uint32_t reference)
{
    struct flow_slot *found = slot_find(table, hash, reference);

    if (!found)
        return;
    uint32_t hole = (uint32_t)(found - table->slots);
    for (uint32_t at = (hole + 1) & table->mask; table->slots[at].reference; at = (at + 1) & table->mask) {
        /* An entry may move into the hole unless its home lies behind the hole, going round. */
        uint32_t home = table->slots[at].hash & table->mask;
        if (((at - home) & table->mask) >= ((at - hole) & table->mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole].reference = 0;
    table->count--;
}

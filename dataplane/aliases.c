/* Topic aliases towards clients. See aliases.h. */
#include "dataplane/aliases.h"

#include <string.h>

struct alias_table *alias_table_create(struct mem_region *memory, uint32_t count)
{
    struct alias_table *table = mem_alloc_zero(memory, sizeof(*table) + count * sizeof(table->entries[0]));
    if (table != NULL) {
        table->count = count;
    }
    return table;
}

void alias_table_free(struct alias_table *table, struct mem_region *memory)
{
    if (table != NULL) {
        for (uint32_t i = 0; i < table->count; i++) {
            mem_free(memory, (void *)(uintptr_t)table->entries[i].topic.data);
        }
        mem_free(memory, table);
    }
}

/* FNV-1a. A collision costs a comparison: whoever steers one gains nothing. */
static uint32_t topic_hash_small(struct mqtt_span topic)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < topic.length; i++) {
        hash = (hash ^ topic.data[i]) * 16777619u;
    }
    return hash == 0 ? 1 : hash;
}

static bool alias_is(const struct alias *alias, struct mqtt_span topic, uint32_t hash)
{
    return alias->hash == hash && alias->topic.length == topic.length &&
           memcmp(alias->topic.data, topic.data, topic.length) == 0;
}

struct alias_choice alias_choose(struct alias_table *table, struct mem_region *memory, struct mqtt_span topic)
{
    struct alias_choice choice = {0};
    if (topic.length < ALIAS_TOPIC_MIN || topic.length > ALIAS_TOPIC_MAX) {
        return choice;
    }
    uint32_t oldest = 0;
    choice.hash = topic_hash_small(topic);
    for (uint32_t i = 0; i < table->count; i++) {
        if (alias_is(&table->entries[i], topic, choice.hash)) {
            choice.known = true;
            choice.number = (uint16_t)(i + 1);
            return choice;
        }
        /* Free ones were never used. Differences, since the clock goes round. */
        if (table->clock - table->entries[i].last_used > table->clock - table->entries[oldest].last_used) {
            oldest = i;
        }
    }
    /* Before it is sent: an alias that was sent and could not be remembered would stand for the wrong topic later. */
    choice.copy = mem_alloc(memory, topic.length);
    if (choice.copy != NULL) {
        memcpy(choice.copy, topic.data, topic.length);
        choice.number = (uint16_t)(oldest + 1);
    }
    return choice;
}

void alias_confirm(struct alias_table *table, struct mem_region *memory, const struct alias_choice *choice,
                   uint32_t topic_length, bool sent)
{
    if (choice->number == 0 || !sent) {
        mem_free(memory, choice->copy);
        return;
    }
    struct alias *alias = &table->entries[choice->number - 1];
    alias->last_used = ++table->clock;
    if (!choice->known) {
        mem_free(memory, (void *)(uintptr_t)alias->topic.data);
        alias->topic = (struct mqtt_span){choice->copy, topic_length};
        alias->hash = choice->hash;
    }
}

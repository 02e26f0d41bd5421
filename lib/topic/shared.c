/*
 * The shared table: two filter indexes, one for ordinary and one for shared subscriptions. See shared.h.
 *
 * Payload of an ordinary filter: the bitmap of workers. Payload of a filter with groups: a list of shares, linked and
 * unlinked under RCU like everything else. Most routers have few shared subscriptions, and keeping them apart leaves 8
 * B of payload for all others. Every change is followed by its generation, in this order, so that a cache that has seen
 * the new generation has matched the changed table.
 */
#include "lib/topic/shared.h"

#include <string.h>

struct share {
    _Atomic(struct share *) next;
    uint64_t group;
    _Atomic uint64_t workers;
};

struct topic_shared {
    struct topic_index *filters;
    struct topic_index *groups;
    struct topic_reclaim *reclaim;
    struct topic_seed seed;
    struct mem_allocator allocator;
    struct topic_generations generations;
};

static void retire(void *arg, void *object, size_t size)
{
    topic_reclaim_retire(arg, object, size);
}

struct topic_shared *topic_shared_create(const struct topic_shared_config *config)
{
    struct topic_shared *table = config->allocator.alloc(config->allocator.arg, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    *table = (struct topic_shared){.seed = config->seed, .allocator = config->allocator};
    table->reclaim = topic_reclaim_create(config->allocator, config->reclaim_capacity);
    struct topic_index_config index = {
        .seed = config->seed,
        .allocator = config->allocator,
        .retire = retire,
        .retire_arg = table->reclaim,
        .filters_max = config->filters_max,
        .payload_size = sizeof(uint64_t),
    };
    if (table->reclaim != NULL) {
        table->filters = topic_index_create(&index);
        table->groups = topic_index_create(&index);
    }
    /* Below that, one update could find no room even with nothing else waiting. */
    if (table->filters == NULL || table->groups == NULL ||
        config->reclaim_capacity < topic_index_retire_max(table->filters) + 1) {
        topic_shared_destroy(table);
        return NULL;
    }
    return table;
}

static _Atomic(struct share *) *entry_shares(const struct topic_entry *entry)
{
    return topic_entry_payload(entry);
}

static _Atomic uint64_t *entry_workers(const struct topic_entry *entry)
{
    return topic_entry_payload(entry);
}

static void shares_free(void *arg, struct topic_entry *entry)
{
    struct topic_shared *table = arg;
    struct share *share = atomic_load_explicit(entry_shares(entry), memory_order_relaxed);
    while (share != NULL) {
        struct share *next = atomic_load_explicit(&share->next, memory_order_relaxed);
        table->allocator.free(table->allocator.arg, share, sizeof(*share));
        share = next;
    }
}

void topic_shared_destroy(struct topic_shared *table)
{
    if (table == NULL) {
        return;
    }
    if (table->groups != NULL) {
        topic_index_each(table->groups, shares_free, table);
    }
    topic_index_destroy(table->groups);
    topic_index_destroy(table->filters);
    topic_reclaim_destroy(table->reclaim);
    table->allocator.free(table->allocator.arg, table, sizeof(*table));
}

/* ---- writer ---- */

/* Set or clear a bit; false when it was so already. One writer, so load and store need not be one operation. */
static bool bitmap_change(_Atomic uint64_t *bitmap, unsigned worker, bool present)
{
    uint64_t before = atomic_load_explicit(bitmap, memory_order_relaxed);
    uint64_t after = present ? before | 1ull << worker : before & ~(1ull << worker);
    /* Release is not needed for the bits themselves; the generation that follows carries them. */
    atomic_store_explicit(bitmap, after, memory_order_relaxed);
    return after != before;
}

static enum topic_status filter_add(struct topic_shared *table, const struct topic_shared_update *update, bool *changed)
{
    bool created;
    enum topic_status status;
    struct topic_entry *entry = topic_index_add(table->filters, &update->filter, &created, &status);
    if (entry != NULL) {
        *changed = bitmap_change(entry_workers(entry), update->worker, true);
    }
    return status;
}

static enum topic_status filter_remove(struct topic_shared *table, const struct topic_shared_update *update,
                                       bool *changed)
{
    struct topic_entry *entry = topic_index_find(table->filters, &update->filter);
    if (entry == NULL || !bitmap_change(entry_workers(entry), update->worker, false)) {
        return TOPIC_NOT_FOUND;
    }
    if (atomic_load_explicit(entry_workers(entry), memory_order_relaxed) == 0) {
        topic_index_remove(table->filters, entry);
    }
    *changed = true;
    return TOPIC_OK;
}

/* The link that points to the share of a group; the link at the end when there is none. */
static _Atomic(struct share *) *share_link(struct topic_entry *entry, uint64_t group)
{
    _Atomic(struct share *) *link = entry_shares(entry);
    for (struct share *share; (share = atomic_load_explicit(link, memory_order_relaxed)) != NULL; link = &share->next) {
        if (share->group == group) {
            break;
        }
    }
    return link;
}

static enum topic_status share_add(struct topic_shared *table, const struct topic_shared_update *update, bool *changed)
{
    uint64_t group = topic_group_id(&table->seed, &update->filter);
    bool created;
    enum topic_status status;
    struct topic_entry *entry = topic_index_add(table->groups, &update->filter, &created, &status);
    if (entry == NULL) {
        return status;
    }
    _Atomic(struct share *) *link = share_link(entry, group);
    struct share *share = atomic_load_explicit(link, memory_order_relaxed);
    if (share != NULL) {
        *changed = bitmap_change(&share->workers, update->worker, true);
        return TOPIC_OK;
    }
    share = table->allocator.alloc(table->allocator.arg, sizeof(*share));
    if (share == NULL) {
        if (created) {
            topic_index_remove(table->groups, entry);
        }
        return TOPIC_NO_MEMORY;
    }
    *share = (struct share){.group = group, .workers = 1ull << update->worker};
    atomic_store_explicit(link, share, memory_order_release);
    *changed = true;
    return TOPIC_OK;
}

static enum topic_status share_remove(struct topic_shared *table, const struct topic_shared_update *update,
                                      bool *changed)
{
    struct topic_entry *entry = topic_index_find(table->groups, &update->filter);
    if (entry == NULL) {
        return TOPIC_NOT_FOUND;
    }
    _Atomic(struct share *) *link = share_link(entry, topic_group_id(&table->seed, &update->filter));
    struct share *share = atomic_load_explicit(link, memory_order_relaxed);
    if (share == NULL || !bitmap_change(&share->workers, update->worker, false)) {
        return TOPIC_NOT_FOUND;
    }
    *changed = true;
    if (atomic_load_explicit(&share->workers, memory_order_relaxed) == 0) {
        /* Release: a reader that takes this link finds the next share as complete as we did. */
        atomic_store_explicit(link, atomic_load_explicit(&share->next, memory_order_relaxed), memory_order_release);
        topic_reclaim_retire(table->reclaim, share, sizeof(*share));
    }
    if (atomic_load_explicit(entry_shares(entry), memory_order_relaxed) == NULL) {
        topic_index_remove(table->groups, entry);
    }
    return TOPIC_OK;
}

static enum topic_status update_apply(struct topic_shared *table, const struct topic_shared_update *update)
{
    bool changed = false;
    enum topic_status status;
    if (update->worker >= 64) {
        return TOPIC_INVALID;
    }
    if (update->filter.group_length > 0) {
        status = update->present ? share_add(table, update, &changed) : share_remove(table, update, &changed);
    } else {
        status = update->present ? filter_add(table, update, &changed) : filter_remove(table, update, &changed);
    }
    if (changed) {
        topic_generations_bump(&table->generations, topic_filter_stripe(&table->seed, &update->filter));
    }
    return status;
}

uint32_t topic_shared_apply(struct topic_shared *table, struct topic_shared_update *updates, uint32_t count)
{
    uint32_t worst = topic_index_retire_max(table->filters) + 1;
    for (uint32_t i = 0; i < count; i++) {
        if (topic_reclaim_room(table->reclaim) < worst) {
            return i;
        }
        updates[i].status = update_apply(table, &updates[i]);
    }
    return count;
}

uint32_t topic_shared_poll(struct topic_shared *table, uint64_t now, uint32_t budget)
{
    return topic_reclaim_poll(table->reclaim, now, budget);
}

struct topic_reclaim *topic_shared_reclaim(struct topic_shared *table)
{
    return table->reclaim;
}

uint32_t topic_shared_count(const struct topic_shared *table)
{
    return topic_index_count(table->filters);
}

uint32_t topic_shared_group_filters(const struct topic_shared *table)
{
    return topic_index_count(table->groups);
}

/* ---- readers ---- */

topic_outline topic_shared_outline(const struct topic_shared *table, unsigned stripe)
{
    return topic_outline_join(topic_index_outline(table->filters, stripe), topic_index_outline(table->groups, stripe));
}

uint64_t topic_shared_generation(const struct topic_shared *table, unsigned stripe)
{
    return topic_generations_read(&table->generations, stripe);
}

void topic_shared_result_init(struct topic_shared_result *result, struct mem_allocator allocator)
{
    *result = (struct topic_shared_result){0};
    topic_matches_init(&result->filters, allocator);
    topic_matches_init(&result->groups, allocator);
}

void topic_shared_result_free(struct topic_shared_result *result)
{
    struct mem_allocator allocator = result->filters.allocator;
    if (result->shares != NULL) {
        allocator.free(allocator.arg, result->shares, result->share_capacity * sizeof(result->shares[0]));
    }
    topic_matches_free(&result->filters);
    topic_matches_free(&result->groups);
    topic_shared_result_init(result, allocator);
}

static bool result_append(struct topic_shared_result *result, struct topic_share share)
{
    if (result->share_count == result->share_capacity) {
        struct mem_allocator allocator = result->filters.allocator;
        uint32_t capacity = result->share_capacity == 0 ? 16 : result->share_capacity * 2;
        struct topic_share *shares = allocator.alloc(allocator.arg, capacity * sizeof(shares[0]));
        if (shares == NULL) {
            return false;
        }
        if (result->shares != NULL) {
            memcpy(shares, result->shares, result->share_count * sizeof(shares[0]));
            allocator.free(allocator.arg, result->shares, result->share_capacity * sizeof(shares[0]));
        }
        result->shares = shares;
        result->share_capacity = capacity;
    }
    result->shares[result->share_count++] = share;
    return true;
}

static bool result_append_shares(struct topic_shared_result *result, const struct topic_entry *entry)
{
    bool complete = true;
    /* Acquire pairs with the release in share_add. */
    struct share *share = atomic_load_explicit(entry_shares(entry), memory_order_acquire);
    for (; share != NULL; share = atomic_load_explicit(&share->next, memory_order_acquire)) {
        uint64_t workers = atomic_load_explicit(&share->workers, memory_order_relaxed);
        if (workers != 0) {
            complete &= result_append(result, (struct topic_share){share->group, workers});
        }
    }
    return complete;
}

void topic_shared_search(const struct topic_shared *table, struct topic_name *name, struct topic_shared_result *result,
                         struct topic_search searches[2])
{
    result->filters.count = 0;
    result->groups.count = 0;
    searches[0] = (struct topic_search){.index = table->filters, .name = name, .matches = &result->filters};
    searches[1] = (struct topic_search){.index = table->groups, .name = name, .matches = &result->groups};
}

bool topic_shared_sum(struct topic_shared_result *result)
{
    bool complete = true;
    result->workers = 0;
    result->share_count = 0;
    for (uint32_t i = 0; i < result->filters.count; i++) {
        result->workers |= atomic_load_explicit(entry_workers(result->filters.entries[i]), memory_order_relaxed);
    }
    for (uint32_t i = 0; i < result->groups.count; i++) {
        complete &= result_append_shares(result, result->groups.entries[i]);
    }
    return complete;
}

/*
 * The shared table: which workers have subscribers of a topic?
 *
 * Job:     filter -> set of workers, and for shared subscriptions (filter, group) -> set of workers.
 * Callers: the housekeeper writes, in batches that workers sent it through rings; every worker reads.
 * Threads: _create, _destroy, _apply and _poll are the writer's; _match and _generation may run on any thread whose
 *          topic_reader is online, and what they return is a copy, not a reference.
 * Owner:   the table owns its memory through the allocator, which is the writer's (its own mem_region, or the heap).
 *
 * A worker's bit is set by the first and cleared by the last subscriber of a filter on that worker, so the table
 * changes rarely. A SUBACK may leave once topic_shared_apply has returned for its update: every match that begins later
 * sees it.
 */
#ifndef POLLUX_LIB_TOPIC_SHARED_H
#define POLLUX_LIB_TOPIC_SHARED_H

#include "lib/topic/generation.h"
#include "lib/topic/index.h"
#include "lib/topic/reclaim.h"

struct topic_shared;

struct topic_shared_config {
    struct topic_seed seed;
    struct mem_allocator allocator;
    uint32_t filters_max;      /* bound on different filters, over all workers */
    uint32_t reclaim_capacity; /* bound on removed objects that wait for readers; at least 1,024 */
};

struct topic_shared_update {
    struct topic_filter_name filter; /* group_length > 0: a shared subscription group */
    uint8_t worker;                  /* 0 .. 63 */
    bool present;                    /* true: first subscriber came; false: last one left */
    enum topic_status status;        /* out, by topic_shared_apply */
};

/* A shared subscription group that matched: exactly one of these workers is to deliver, to one member. */
struct topic_share {
    uint64_t group;   /* topic_group_id */
    uint64_t workers; /* bitmap of workers with members */
};

struct topic_shared_result {
    uint64_t workers; /* bitmap of workers with ordinary subscribers */
    struct topic_share *shares;
    uint32_t share_count;
    uint32_t share_capacity;
    struct topic_matches filters; /* scratch */
    struct topic_matches groups;  /* scratch */
};

struct topic_shared *topic_shared_create(const struct topic_shared_config *config);

/* All readers offline. */
void topic_shared_destroy(struct topic_shared *table);

/*
 * Apply updates in order. Returns how many were applied (each with its status); fewer than `count` when the reclamation
 * backlog is full: keep the rest and call again after topic_shared_poll has made room. An update that changes nothing
 * is TOPIC_OK (present) or TOPIC_NOT_FOUND (absent).
 */
uint32_t topic_shared_apply(struct topic_shared *table, struct topic_shared_update *updates, uint32_t count);

/* Reclaim at most `budget` objects. Once a loop of the housekeeper. `now` in microseconds. */
uint32_t topic_shared_poll(struct topic_shared *table, uint64_t now, uint32_t budget);

/* A worker died or is drained: the reader slots and figures of the table's reclaimer. */
struct topic_reclaim *topic_shared_reclaim(struct topic_shared *table);

/*
 * Workers that a message on a topic concerns, in two steps: the searches to run (topic_index_match), beside others;
 * then their sum, which fills workers and shares. False when the result could not grow, with what was found so far: the
 * caller counts and drops or delivers in part, by its own policy.
 */
void topic_shared_search(const struct topic_shared *table, struct topic_name *name, struct topic_shared_result *result,
                         struct topic_search searches[2]);
bool topic_shared_sum(struct topic_shared_result *result);

/* `allocator` belongs to the calling worker, not to the table. */
void topic_shared_result_init(struct topic_shared_result *result, struct mem_allocator allocator);
void topic_shared_result_free(struct topic_shared_result *result);

/* Changes whenever a filter that could match topics of this stripe changes. See generation.h. */
uint64_t topic_shared_generation(const struct topic_shared *table, unsigned stripe);

/* What decides about topics of this stripe, here. Read the generation before: outline.h. */
topic_outline topic_shared_outline(const struct topic_shared *table, unsigned stripe);

/* Number of ordinary filters, and of filters with shared groups. */
uint32_t topic_shared_count(const struct topic_shared *table);
uint32_t topic_shared_group_filters(const struct topic_shared *table);

#endif

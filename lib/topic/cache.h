/*
 * The match cache of a worker: topic -> where its messages go.
 *
 * Job:     answer a topic that was published before without matching again, as long as nothing that could match it has
 *          changed; match and remember otherwise. It is the one call that routing makes.
 * Callers: the worker's routing. Thread: the worker (its topic_reader online for the shared table).
 * Owner:   the cache owns routes; a route is good until the next call with the same cache, the next change of the
 * private table, or the next quiescent state, whichever comes first.
 *
 * Fixed size, 4-way set-associative, least recently used way replaced. The generations of both tables are compared
 * before anything in an entry is followed, so an entry whose filters have gone is never dereferenced. A hit allocates
 * nothing; a miss allocates from the worker's region only for topics over 64 B or routes with more than 7
 * parts.
 */
#ifndef POLLUX_LIB_TOPIC_CACHE_H
#define POLLUX_LIB_TOPIC_CACHE_H

#include "lib/topic/shared.h"
#include "lib/topic/subscribers.h"

struct topic_cache;

/* Where messages on a topic go. */
struct topic_route {
    uint64_t workers;                   /* workers with ordinary subscribers, this one included */
    struct topic_entry *const *filters; /* this worker's filters: payload struct topic_filter */
    struct topic_entry *const *groups;  /* this worker's filters with groups: payload struct topic_share_filter */
    const struct topic_share *shares;   /* all groups that match, with the workers that have members */
    uint16_t filter_count;
    uint16_t group_count;
    uint16_t share_count;
};

struct topic_cache_config {
    struct topic_seed seed;
    struct topic_limits limits;
    struct mem_region *region;
    const struct topic_subscribers *subscribers;
    const struct topic_shared *shared; /* NULL: one worker, no shared table; workers is then 1 when filters matched */
    uint32_t entries;                  /* rounded up to a power of two, at least 16; 192 B each */
};

struct topic_cache_stats {
    uint64_t hits;
    uint64_t misses;     /* never seen, or replaced since */
    uint64_t stale;      /* found, but a generation had changed */
    uint64_t not_stored; /* matched and answered, but memory was short or the result too large to keep */
};

struct topic_cache *topic_cache_create(const struct topic_cache_config *config);
void topic_cache_destroy(struct topic_cache *cache);

/*
 * The route of a topic. NULL with *status TOPIC_INVALID, TOPIC_TOO_LONG, TOPIC_TOO_DEEP (refuse the publish) or
 * TOPIC_NO_MEMORY. A topic that nobody subscribes to has a route with nothing in it.
 */
const struct topic_route *topic_cache_route(struct topic_cache *cache, const char *topic, size_t length,
                                            enum topic_status *status);

/*
 * A hint, for bursts: a message on this topic will be routed a few calls from now. On large routers the tables lie in
 * memory that takes hundreds of ns to answer; announcing each message of a burst 8 to 16 messages ahead overlaps those
 * waits. Each call also takes the next step for the topic announced TOPIC_CACHE_AHEAD calls before. Changes no answer,
 * and costs about 5 ns for a topic that is cached, 40 ns otherwise.
 */
#define TOPIC_CACHE_AHEAD 4u
void topic_cache_announce(struct topic_cache *cache, const char *topic, size_t length);

/* Forget everything, give memory back. */
void topic_cache_flush(struct topic_cache *cache);

void topic_cache_stats(const struct topic_cache *cache, struct topic_cache_stats *stats);

#endif

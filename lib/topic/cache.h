/*
 * The match cache of a worker: topic -> where its messages go.
 *
 * Job:     answer a topic that was published before without matching again, as long as nothing that could match it has
 *          changed; match and remember otherwise. It is the one call that routing makes.
 * Callers: the worker's routing. Thread: the worker (its topic_reader online for the shared table).
 * Owner:   the cache owns routes; a route is good until the next call with the same cache, the next change of the
 * private table, or the next quiescent state, whichever comes first.
 *
 * 4-way set-associative, a way not used lately is replaced. It begins small and grows with the topics in use up to its
 * bound. The generations of both tables are compared before anything in an entry is followed, so an entry whose filters
 * have gone is never dereferenced. A hit allocates nothing; a miss allocates from the worker's region only when topic
 * and route together take more than 96 B (a filter 8 B, a share 16 B).
 */
#ifndef POLLUX_LIB_TOPIC_CACHE_H
#define POLLUX_LIB_TOPIC_CACHE_H

#include "lib/topic/shared.h"
#include "lib/topic/subscribers.h"

struct topic_cache;

#define TOPIC_CACHE_ENTRY 128u /* bytes of memory for each topic; 4 more for its tag */

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
    uint32_t entries;                  /* most topics remembered, rounded up to a power of two; touched as it is used */
    uint32_t large_from;               /* room for more topics than that is more than the CPU's caches hold */
};

struct topic_cache_stats {
    uint64_t hits;       /* found */
    uint64_t misses;     /* matched when they came: never seen, or replaced since */
    uint64_t stale;      /* matched when they came: found, but a generation had changed */
    uint64_t ahead;      /* matched when they were announced; they are hits when they come */
    uint64_t not_stored; /* matched and answered, but memory was short */
    uint64_t room;       /* topics that it has room for now */
    uint64_t outlining;  /* 1: remembers outlines of topics (outline.h), 0: topics */
};

struct topic_cache *topic_cache_create(const struct topic_cache_config *config);
void topic_cache_destroy(struct topic_cache *cache);

/*
 * The route of a topic, good until the next call of this or of topic_cache_announce. NULL with *status TOPIC_INVALID,
 * TOPIC_TOO_LONG, TOPIC_TOO_DEEP (refuse the publish) or TOPIC_NO_MEMORY. A topic that nobody subscribes to has a route
 * with nothing in it.
 */
const struct topic_route *topic_cache_route(struct topic_cache *cache, const char *topic, size_t length,
                                            enum topic_status *status);

/*
 * A hint, for bursts: a message on this topic will be routed a few calls from now. With many topics the tables lie in
 * memory that takes hundreds of ns to answer; announcing the messages of a burst TOPIC_CACHE_AHEAD ahead overlaps those
 * waits. Each call takes the next steps for topics announced before; those that are not remembered are matched, a few
 * together. Changes no answer; costs about 10 ns for a topic that is remembered, so it is for caches that are large
 * (topic_cache_is_large). The bytes are looked at again during the next TOPIC_CACHE_AHEAD calls: their memory must stay
 * readable, and what it holds then decides whether the hint is a good one, no more.
 */
#define TOPIC_CACHE_AHEAD 32u
void topic_cache_announce(struct topic_cache *cache, const char *topic, size_t length);

/* Has it grown beyond what the CPU's caches hold? */
bool topic_cache_is_large(const struct topic_cache *cache);

/* Forget everything, give memory back. */
void topic_cache_flush(struct topic_cache *cache);

void topic_cache_stats(const struct topic_cache *cache, struct topic_cache_stats *stats);

#endif

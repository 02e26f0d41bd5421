/*
 * The match cache: see cache.h.
 *
 * A set is four tags in one 16-byte row and four entries of three cache lines. A look-up reads the row, then the one
 * entry whose tag agrees: hash, generations, topic. The hash is a multiply-and-fold over the topic, seeded: somebody
 * who guessed the seed could make topics share a set, which costs misses and no more, since topics are compared in
 * full.
 */
#include "lib/topic/cache.h"

#include "lib/mem/mem.h"

#include <string.h>

#define WAYS 4u
#define TOPIC_INLINE 64u
#define PARTS_INLINE 7u /* pointers; a share counts twice */

struct cache_entry {
    uint64_t hash;
    uint64_t private_generation;
    uint64_t shared_generation;
    uint32_t topic_length;
    uint8_t stripe;
    uint8_t topic_outside; /* topic is in a block of its own */
    uint8_t parts_outside; /* filters, groups and shares are */
    uint8_t used;          /* since the hand of the replacement passed */
    struct topic_route route;
    union {
        char topic[TOPIC_INLINE];
        char *topic_block;
    };
    union {
        void *parts[PARTS_INLINE];
        void *parts_block;
    };
};

_Static_assert(sizeof(struct cache_entry) == 192, "an entry is three cache lines");

struct topic_cache {
    struct topic_cache_config config;
    uint32_t *tags; /* WAYS a set; 0: empty */
    struct cache_entry *entries;
    uint8_t *hands; /* a set's next way to replace */
    uint32_t set_mask;
    struct topic_cache_stats stats;
    uint64_t ahead[TOPIC_CACHE_AHEAD]; /* hashes of topics announced, whose entries are to be asked for */
    uint32_t ahead_next;
    struct topic_name name;
    struct topic_route answer; /* of a match that was not stored */
    struct topic_matches filters;
    struct topic_matches groups;
    struct topic_shared_result shared;
};

/* ---- hash ---- */

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* Seeded; two overlapping words end it, so there is no loop over single bytes. */
static inline uint64_t cache_hash(const struct topic_seed *seed, const char *topic, size_t length)
{
    uint64_t a, b, hash = seed->key[0] ^ length;
    for (; length > 16; topic += 16, length -= 16) {
        hash = fold(load64(topic) ^ seed->key[1], load64(topic + 8) ^ hash);
    }
    if (length >= 8) {
        a = load64(topic);
        b = load64(topic + length - 8);
    } else if (length >= 4) {
        uint32_t low, high;
        memcpy(&low, topic, 4);
        memcpy(&high, topic + length - 4, 4);
        a = low;
        b = high;
    } else {
        a = (uint64_t)(uint8_t)topic[0] << 16 | (uint64_t)(uint8_t)topic[length / 2] << 8 | (uint8_t)topic[length - 1];
        b = 0;
    }
    return fold(fold(a ^ seed->key[1], b ^ hash), 0x9e3779b97f4a7c15ull ^ seed->key[0]) & ~seed->weaken;
}

/* Never 0, so that an empty way matches nothing. */
static inline uint32_t hash_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

/* ---- creation ---- */

struct topic_cache *topic_cache_create(const struct topic_cache_config *config)
{
    struct topic_cache *cache = mem_alloc_zero(config->region, sizeof(*cache));
    if (cache == NULL) {
        return NULL;
    }
    uint32_t sets = WAYS;
    while (sets * WAYS < config->entries && sets < 1u << 24) {
        sets *= 2;
    }
    cache->config = *config;
    cache->set_mask = sets - 1;
    cache->tags = mem_alloc_zero(config->region, sets * WAYS * sizeof(cache->tags[0]));
    cache->hands = mem_alloc_zero(config->region, sets);
    cache->entries = mem_alloc_zero(config->region, sets * WAYS * sizeof(cache->entries[0]));
    struct topic_allocator allocator = topic_allocator_region(config->region);
    topic_matches_init(&cache->filters, allocator);
    topic_matches_init(&cache->groups, allocator);
    topic_shared_result_init(&cache->shared, allocator);
    if (cache->tags == NULL || cache->hands == NULL || cache->entries == NULL) {
        topic_cache_destroy(cache);
        return NULL;
    }
    return cache;
}

static void entry_release(struct topic_cache *cache, struct cache_entry *entry)
{
    if (entry->topic_outside) {
        mem_free(cache->config.region, entry->topic_block);
    }
    if (entry->parts_outside) {
        mem_free(cache->config.region, entry->parts_block);
    }
    entry->topic_outside = 0;
    entry->parts_outside = 0;
}

void topic_cache_flush(struct topic_cache *cache)
{
    for (size_t i = 0; i < ((size_t)cache->set_mask + 1) * WAYS; i++) {
        if (cache->tags[i] != 0) {
            entry_release(cache, &cache->entries[i]);
            cache->tags[i] = 0;
        }
    }
    topic_matches_free(&cache->filters);
    topic_matches_free(&cache->groups);
    topic_shared_result_free(&cache->shared);
}

void topic_cache_destroy(struct topic_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    if (cache->tags != NULL && cache->entries != NULL) {
        topic_cache_flush(cache);
    }
    mem_free(cache->config.region, cache->tags);
    mem_free(cache->config.region, cache->hands);
    mem_free(cache->config.region, cache->entries);
    mem_free(cache->config.region, cache);
}

/* ---- look-up ---- */

/* Comparing needs no library call: topics are short and the last words may overlap. */
static inline bool topic_equal(const char *a, const char *b, size_t length)
{
    if (length < 8 || length > TOPIC_INLINE) {
        return memcmp(a, b, length) == 0;
    }
    uint64_t difference = load64(a + length - 8) ^ load64(b + length - 8);
    for (size_t i = 0; i + 8 < length; i += 8) {
        difference |= load64(a + i) ^ load64(b + i);
    }
    return difference == 0;
}

static inline bool entry_is(const struct cache_entry *entry, uint64_t hash, const char *topic, size_t length)
{
    return entry->hash == hash && entry->topic_length == length &&
           topic_equal(entry->topic_outside ? entry->topic_block : entry->topic, topic, length);
}

static uint64_t shared_generation(const struct topic_cache *cache, unsigned stripe)
{
    return cache->config.shared == NULL ? 0 : topic_shared_generation(cache->config.shared, stripe);
}

/* Nothing that the entry points to may be followed before this has said yes. */
static inline bool entry_is_current(const struct topic_cache *cache, const struct cache_entry *entry)
{
    return entry->private_generation == topic_subscribers_generation(cache->config.subscribers, entry->stripe) &&
           entry->shared_generation == shared_generation(cache, entry->stripe);
}

/* ---- matching and storing ---- */

/* The first step for both tables, and the second. */
static void tables_prefetch(const struct topic_cache *cache, uint64_t hash)
{
    topic_subscribers_prefetch(cache->config.subscribers, hash);
    if (cache->config.shared != NULL) {
        topic_shared_prefetch(cache->config.shared, hash);
    }
}

static void tables_prefetch_entry(const struct topic_cache *cache, uint64_t hash)
{
    topic_subscribers_prefetch_entry(cache->config.subscribers, hash);
    if (cache->config.shared != NULL) {
        topic_shared_prefetch_entry(cache->config.shared, hash);
    }
}

/* Match into the cache's scratch lists. */
static bool route_match(struct topic_cache *cache, struct topic_route *route)
{
    cache->filters.count = 0;
    cache->groups.count = 0;
    /* Step by step for both tables, so that memory is waited for twice and not four times. */
    tables_prefetch(cache, cache->name.hash);
    tables_prefetch_entry(cache, cache->name.hash);
    if (!topic_subscribers_match(cache->config.subscribers, &cache->name, &cache->filters, &cache->groups)) {
        return false;
    }
    cache->shared.share_count = 0;
    cache->shared.workers = cache->filters.count > 0;
    if (cache->config.shared != NULL && !topic_shared_match(cache->config.shared, &cache->name, &cache->shared)) {
        return false;
    }
    if (cache->filters.count > UINT16_MAX || cache->groups.count > UINT16_MAX ||
        cache->shared.share_count > UINT16_MAX) {
        return false;
    }
    *route = (struct topic_route){
        .workers = cache->shared.workers,
        .filters = cache->filters.entries,
        .groups = cache->groups.entries,
        .shares = cache->shared.shares,
        .filter_count = (uint16_t)cache->filters.count,
        .group_count = (uint16_t)cache->groups.count,
        .share_count = (uint16_t)cache->shared.share_count,
    };
    return true;
}

static size_t route_size(const struct topic_route *route)
{
    return (route->filter_count + route->group_count) * sizeof(void *) +
           route->share_count * sizeof(struct topic_share);
}

/* Copy a route's lists to `parts`, one after the other. */
static void route_copy(struct topic_route *to, const struct topic_route *from, void *parts)
{
    struct topic_share *shares = parts;
    struct topic_entry **filters = (struct topic_entry **)(void *)(shares + from->share_count);
    struct topic_entry **groups = filters + from->filter_count;
    *to = *from;
    if (from->share_count > 0) {
        memcpy(shares, from->shares, from->share_count * sizeof(shares[0]));
    }
    if (from->filter_count > 0) {
        memcpy((void *)filters, (const void *)from->filters, from->filter_count * sizeof(filters[0]));
    }
    if (from->group_count > 0) {
        memcpy((void *)groups, (const void *)from->groups, from->group_count * sizeof(groups[0]));
    }
    to->shares = shares;
    to->filters = filters;
    to->groups = groups;
}

/* Put topic and route into an entry that holds nothing. False (and nothing held) when a block was needed and not there.
 */
static bool entry_fill(struct topic_cache *cache, struct cache_entry *entry, const struct topic_route *route)
{
    size_t length = cache->name.length, size = route_size(route);
    void *parts = entry->parts;
    char *text = entry->topic;
    if (length > TOPIC_INLINE && (text = mem_alloc(cache->config.region, length)) == NULL) {
        return false;
    }
    if (size > sizeof(entry->parts) && (parts = mem_alloc(cache->config.region, size)) == NULL) {
        if (text != entry->topic) {
            mem_free(cache->config.region, text);
        }
        return false;
    }
    memcpy(text, cache->name.text, length);
    route_copy(&entry->route, route, parts);
    entry->topic_length = (uint32_t)length;
    entry->topic_outside = text != entry->topic;
    entry->parts_outside = parts != entry->parts;
    if (entry->topic_outside) {
        entry->topic_block = text;
    }
    if (entry->parts_outside) {
        entry->parts_block = parts;
    }
    return true;
}

/* The way to use for a new topic: an empty one, else the first not used since the hand passed it. */
static unsigned way_to_replace(struct topic_cache *cache, uint32_t set)
{
    for (unsigned way = 0; way < WAYS; way++) {
        if (cache->tags[set * WAYS + way] == 0) {
            return way;
        }
    }
    for (;;) {
        unsigned way = cache->hands[set];
        cache->hands[set] = (way + 1) % WAYS;
        if (!cache->entries[set * WAYS + way].used) {
            return way;
        }
        cache->entries[set * WAYS + way].used = 0;
    }
}

/* Match, and keep the answer in `slot` of the table (or in any way of the set when slot is UINT32_MAX). */
static const struct topic_route *route_fill(struct topic_cache *cache, uint64_t hash, uint32_t slot)
{
    /* Generations first: what changes during the match makes the entry stale, never the other way round. */
    unsigned stripe = topic_stripe(topic_name_token(&cache->name, 0));
    uint64_t private_generation = topic_subscribers_generation(cache->config.subscribers, stripe);
    uint64_t shared = shared_generation(cache, stripe);
    if (!route_match(cache, &cache->answer)) {
        return NULL;
    }
    uint32_t set = (uint32_t)hash & cache->set_mask;
    if (slot == UINT32_MAX) {
        slot = set * WAYS + way_to_replace(cache, set);
    }
    struct cache_entry *entry = &cache->entries[slot];
    entry_release(cache, entry);
    cache->tags[slot] = 0;
    if (!entry_fill(cache, entry, &cache->answer)) {
        cache->stats.not_stored++;
        return &cache->answer;
    }
    entry->hash = hash;
    entry->private_generation = private_generation;
    entry->shared_generation = shared;
    entry->stripe = (uint8_t)stripe;
    entry->used = 0;
    cache->tags[slot] = hash_tag(hash);
    return &entry->route;
}

static const struct topic_route *route_miss(struct topic_cache *cache, const char *topic, size_t length, uint64_t hash,
                                            uint32_t slot, enum topic_status *status)
{
    *status = topic_name_set(&cache->name, &cache->config.seed, &cache->config.limits, topic, length);
    if (*status != TOPIC_OK) {
        return NULL;
    }
    const struct topic_route *route = route_fill(cache, hash, slot);
    if (route == NULL) {
        *status = TOPIC_NO_MEMORY;
    }
    return route;
}

const struct topic_route *topic_cache_route(struct topic_cache *cache, const char *topic, size_t length,
                                            enum topic_status *status)
{
    if (length == 0) {
        *status = TOPIC_INVALID;
        return NULL;
    }
    uint64_t hash = cache_hash(&cache->config.seed, topic, length);
    uint32_t first = ((uint32_t)hash & cache->set_mask) * WAYS;
    uint32_t tag = hash_tag(hash);
    for (uint32_t slot = first; slot < first + WAYS; slot++) {
        struct cache_entry *entry = &cache->entries[slot];
        if (cache->tags[slot] != tag || !entry_is(entry, hash, topic, length)) {
            continue;
        }
        if (!entry_is_current(cache, entry)) {
            cache->stats.stale++;
            return route_miss(cache, topic, length, hash, slot, status);
        }
        cache->stats.hits++;
        entry->used = 1;
        *status = TOPIC_OK;
        return &entry->route;
    }
    cache->stats.misses++;
    return route_miss(cache, topic, length, hash, UINT32_MAX, status);
}

void topic_cache_announce(struct topic_cache *cache, const char *topic, size_t length)
{
    if (length == 0) {
        return;
    }
    uint64_t cached = cache_hash(&cache->config.seed, topic, length);
    uint32_t first = ((uint32_t)cached & cache->set_mask) * WAYS;
    for (uint32_t slot = first; slot < first + WAYS; slot++) {
        if (cache->tags[slot] == hash_tag(cached)) {
            __builtin_prefetch(&cache->entries[slot]);
            return;
        }
    }
    uint32_t at = cache->ahead_next++ % TOPIC_CACHE_AHEAD;
    tables_prefetch_entry(cache, cache->ahead[at]);
    cache->ahead[at] = topic_hash(&cache->config.seed, topic, length);
    tables_prefetch(cache, cache->ahead[at]);
}

void topic_cache_stats(const struct topic_cache *cache, struct topic_cache_stats *stats)
{
    *stats = cache->stats;
}

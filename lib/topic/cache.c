/*
 * The match cache: see cache.h.
 *
 * A set is four tags in one 16-byte row and four entries of two cache lines. A look-up reads the row, then the one
 * entry whose tag agrees: generation, topic. The hash is a multiply-and-fold over the topic, seeded: somebody who
 * guessed the seed could make topics share a set, which costs misses and no more, since topics are compared in full.
 *
 * What is remembered are topics, or, once there are more than the CPU's caches hold, their outlines (outline.h), if
 * most topics have one that is shorter: a million topics that few filters with '+' and '#' ask for are then a few
 * entries. Which it is to be is decided whenever the number of entries made has doubled; entries of the other kind are
 * left to be replaced.
 *
 * The number of sets grows by one whenever a full set would have to forget a topic, by linear hashing as in
 * hash_table.h: the entries that belong to the new set move there, two on average, so there is no moment at which
 * everything is rebuilt. Memory for the largest size is taken at the start; what lies behind the last set is not
 * touched before it is needed.
 */
#include "lib/topic/cache.h"

#include "lib/mem/mem.h"

#include <string.h>

#define WAYS 4u
#define SETS_FIRST 1024u
#define ENTRY_INSIDE 96u
#define SHORT_TOPIC 24u

/* Tags: 30 bits of the hash and these. */
#define TAG_VALID 1u
#define TAG_USED 2u /* since the last search for a way to replace */

struct cache_entry {
    uint32_t hash; /* low half: which set it belongs to when sets are added; the tag has the high half */
    uint8_t stripe;
    uint8_t is_outline : 1; /* the topic is an outline, good for all of the stripe that have it */
    uint8_t is_outside : 1; /* parts and topic are in a block of their own */
    uint64_t generation;    /* of both tables: each only grows, so their sum is the same only if both are */
    uint64_t workers;
    uint16_t topic_length;
    uint16_t filter_count;
    uint16_t group_count;
    uint16_t share_count;
    /* Shares, filters, groups, then the topic. One of up to SHORT_TOPIC bytes with one filter lies in the first line.
     */
    union {
        uint8_t inside[ENTRY_INSIDE];
        uint8_t *outside;
    };
};

_Static_assert(sizeof(struct cache_entry) == TOPIC_CACHE_ENTRY, "an entry is two cache lines");

/* `for_writing`: 1 or 0. Lines that are not needed are not asked for: how many can be under way is the limit. */
#define ENTRY_PREFETCH(entry, length, for_writing)                       \
    do {                                                                 \
        __builtin_prefetch(entry, for_writing);                          \
        if ((length) > SHORT_TOPIC) {                                    \
            __builtin_prefetch((const char *)(entry) + 64, for_writing); \
        }                                                                \
    } while (0)

/* A topic that was announced, on its way to being routed. */
struct ahead {
    const char *topic; /* NULL: nothing */
    uint64_t hash;
    uint32_t length;
    uint32_t slot; /* SLOT_NONE: not cached */
};

/* What decides about a stripe's topics, as long as the generation is this. */
struct view {
    uint64_t generation;
    topic_outline outline;
};

#define SLOT_NONE UINT32_MAX

/* Longer topics are remembered as they are, and matched alone. */
#define KEY_LENGTH 128u

/* What a topic is remembered by. */
struct key {
    const char *text; /* the topic's own, or `outline_text` */
    uint32_t length;
    bool is_outline;
    uint8_t stripe;        /* these three only of an outline */
    topic_outline outline; /* as of which it was taken */
    uint64_t generation;   /* read before that */
    uint64_t hash;
    char outline_text[KEY_LENGTH + 1];
};

/* Topics that are matched together, so that their waits for memory overlap. */
#define TOGETHER 4u

/* A topic that is being matched, and what matches it. */
struct lane {
    struct key key;
    uint64_t generation;
    unsigned stripe;
    bool complete;
    struct topic_name name;
    struct topic_matches filters;
    struct topic_matches groups;
    struct topic_shared_result shared;
};

struct topic_cache {
    struct topic_cache_config config;
    uint32_t *tags; /* WAYS a set; 0: empty */
    struct cache_entry *entries;
    uint32_t sets;
    uint32_t sets_max;
    uint32_t mask;     /* smallest 2^n - 1 that covers the sets */
    uint32_t made;     /* entries, of the kind that is made now; slots that were empty or replaced */
    uint32_t seen;     /* topics that were matched since that was decided, */
    uint32_t shorter;  /* and how many of them have a shorter outline */
    bool is_outlining; /* outlines are remembered */
    uint32_t ahead_next;
    struct view views[TOPIC_STRIPES];
    struct ahead ahead[TOPIC_CACHE_AHEAD]; /* a ring: the oldest is at ahead_next */
    struct topic_cache_stats stats;
    struct topic_route answer;
    uint32_t waiting; /* lanes with the name of an announced topic, to be matched once all have one */
    struct lane lanes[TOGETHER];
    char texts[TOGETHER][KEY_LENGTH]; /* of their names: what was announced may be gone by then */
    struct lane lane;                 /* for a topic that is wanted now */
};

/* ---- hash ---- */

static inline uint32_t hash_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32) << 2 | TAG_VALID;
}

static inline uint32_t hash_set(const struct topic_cache *cache, uint32_t hash)
{
    uint32_t set = hash & cache->mask;
    return set < cache->sets ? set : set & cache->mask >> 1;
}

/* The way of the set that has this tag, or SLOT_NONE. Tags can agree by chance: topics are compared afterwards. */
static inline uint32_t slot_find(const struct topic_cache *cache, uint64_t hash)
{
    uint32_t first = hash_set(cache, (uint32_t)hash) * WAYS;
    for (uint32_t slot = first; slot < first + WAYS; slot++) {
        if ((cache->tags[slot] & ~TAG_USED) == hash_tag(hash)) {
            return slot;
        }
    }
    return SLOT_NONE;
}

/* ---- creation ---- */

static void lane_init(struct lane *lane, struct mem_allocator allocator)
{
    topic_matches_init(&lane->filters, allocator);
    topic_matches_init(&lane->groups, allocator);
    topic_shared_result_init(&lane->shared, allocator);
}

static void lane_free(struct lane *lane)
{
    topic_matches_free(&lane->filters);
    topic_matches_free(&lane->groups);
    topic_shared_result_free(&lane->shared);
}

struct topic_cache *topic_cache_create(const struct topic_cache_config *config)
{
    struct topic_cache *cache = mem_alloc_zero(config->region, sizeof(*cache));
    if (cache == NULL) {
        return NULL;
    }
    cache->config = *config;
    cache->sets_max = 1;
    while (cache->sets_max * WAYS < config->entries && cache->sets_max < 1u << 24) {
        cache->sets_max *= 2;
    }
    cache->sets = cache->sets_max < SETS_FIRST ? cache->sets_max : SETS_FIRST;
    cache->mask = cache->sets - 1;
    cache->tags = mem_alloc(config->region, (size_t)cache->sets_max * WAYS * sizeof(cache->tags[0]));
    cache->entries = mem_alloc(config->region, (size_t)cache->sets_max * WAYS * sizeof(cache->entries[0]));
    struct mem_allocator allocator = mem_allocator_region(config->region);
    lane_init(&cache->lane, allocator);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        lane_init(&cache->lanes[i], allocator);
    }
    if (cache->tags == NULL || cache->entries == NULL) {
        topic_cache_destroy(cache);
        return NULL;
    }
    memset(cache->tags, 0, (size_t)cache->sets * WAYS * sizeof(cache->tags[0]));
    for (uint32_t stripe = 0; stripe < TOPIC_STRIPES; stripe++) {
        cache->views[stripe].generation = UINT64_MAX; /* none: they count from 0 */
    }
    return cache;
}

static void slot_clear(struct topic_cache *cache, uint32_t slot)
{
    if (cache->tags[slot] != 0 && cache->entries[slot].is_outside) {
        mem_free(cache->config.region, cache->entries[slot].outside);
    }
    cache->tags[slot] = 0;
}

void topic_cache_flush(struct topic_cache *cache)
{
    for (uint32_t slot = 0; slot < cache->sets * WAYS; slot++) {
        slot_clear(cache, slot);
    }
    lane_free(&cache->lane);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        lane_free(&cache->lanes[i]);
    }
    cache->waiting = 0;
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
    mem_free(cache->config.region, cache->entries);
    mem_free(cache->config.region, cache);
}

/* ---- growing ---- */

/* One set more: what belongs there moves out of the set that stood for it. */
static void sets_add(struct topic_cache *cache)
{
    uint32_t set = cache->sets;
    uint32_t to = set * WAYS;
    cache->mask |= set;
    uint32_t from = (set & cache->mask >> 1) * WAYS;
    cache->sets++;
    memset(&cache->tags[to], 0, WAYS * sizeof(cache->tags[0]));
    for (uint32_t way = 0; way < WAYS; way++) {
        if (cache->tags[from + way] != 0 && hash_set(cache, cache->entries[from + way].hash) == set) {
            cache->entries[to + way] = cache->entries[from + way];
            cache->tags[to + way] = cache->tags[from + way];
            cache->tags[from + way] = 0;
        }
    }
}

/* ---- entries ---- */

static inline size_t parts_size(const struct cache_entry *entry)
{
    return ((size_t)entry->filter_count + entry->group_count) * sizeof(void *) +
           entry->share_count * sizeof(struct topic_share);
}

static inline uint8_t *entry_parts(struct cache_entry *entry)
{
    return entry->is_outside ? entry->outside : entry->inside;
}

/* Comparing needs no library call: topics are short and the last words may overlap. */
static inline bool topic_equal(const char *a, const char *b, size_t length)
{
    if (length < 8 || length > 64) {
        return memcmp(a, b, length) == 0;
    }
    uint64_t difference = quick_load(a + length - 8) ^ quick_load(b + length - 8);
    for (size_t i = 0; i + 8 < length; i += 8) {
        difference |= quick_load(a + i) ^ quick_load(b + i);
    }
    return difference == 0;
}

static inline bool entry_is(struct cache_entry *entry, const struct key *key)
{
    return entry->topic_length == key->length && entry->is_outline == key->is_outline &&
           (!key->is_outline || entry->stripe == key->stripe) &&
           topic_equal((const char *)entry_parts(entry) + parts_size(entry), key->text, key->length);
}

static uint64_t generation_now(const struct topic_cache *cache, unsigned stripe)
{
    return topic_subscribers_generation(cache->config.subscribers, stripe) +
           (cache->config.shared == NULL ? 0 : topic_shared_generation(cache->config.shared, stripe));
}

static topic_outline outline_now(const struct topic_cache *cache, unsigned stripe)
{
    const topic_outline here = topic_subscribers_outline(cache->config.subscribers, stripe);
    return cache->config.shared == NULL ? here
                                        : topic_outline_join(here, topic_shared_outline(cache->config.shared, stripe));
}

/* ---- keys ---- */

/* What a hit does not look at again: the levels of a topic of which only the outline is compared. */
static inline bool levels_fit(const struct topic_cache *cache, const char *topic, size_t length)
{
    const uint32_t max = cache->config.limits.levels != 0 ? cache->config.limits.levels : TOPIC_LEVELS_MAX;
    uint32_t levels = 1;
    for (size_t i = 0; length >= max && i < length; i++) {
        levels += topic[i] == '/';
    }
    return levels <= max;
}

static inline bool has_outline(const struct topic_cache *cache, const char *topic, size_t length)
{
    return length <= KEY_LENGTH && (cache->config.limits.length == 0 || length <= cache->config.limits.length) &&
           levels_fit(cache, topic, length);
}

/* The topic's outline, of the generation that there is now. */
static inline void key_take_outline(struct topic_cache *cache, struct key *key, const char *topic, size_t length)
{
    const unsigned stripe = topic_stripe(&cache->config.seed, topic, length);
    struct view *view = &cache->views[stripe];
    key->generation = generation_now(cache, stripe);
    if (view->generation != key->generation) {
        *view = (struct view){key->generation, outline_now(cache, stripe)};
    }
    key->stripe = (uint8_t)stripe;
    key->outline = view->outline;
    key->is_outline = true;
    key->length = (uint32_t)topic_outline_take(view->outline, topic, length, key->outline_text);
    key->text = key->outline_text;
    key->hash = topic_quick_hash(&cache->config.seed, key->text, key->length) + stripe * 0x9e3779b97f4a7c15ull;
}

static inline void key_take(struct topic_cache *cache, struct key *key, const char *topic, size_t length)
{
    if (cache->is_outlining && has_outline(cache, topic, length)) {
        key_take_outline(cache, key, topic, length);
        return;
    }
    key->is_outline = false;
    key->text = topic;
    key->length = (uint32_t)length;
    key->hash = topic_quick_hash(&cache->config.seed, topic, length);
}

static const struct topic_route *entry_route(struct topic_cache *cache, struct cache_entry *entry)
{
    struct topic_share *shares = (struct topic_share *)(void *)entry_parts(entry);
    struct topic_entry **filters = (struct topic_entry **)(void *)(shares + entry->share_count);
    cache->answer = (struct topic_route){
        .workers = entry->workers,
        .filters = filters,
        .groups = filters + entry->filter_count,
        .shares = shares,
        .filter_count = entry->filter_count,
        .group_count = entry->group_count,
        .share_count = entry->share_count,
    };
    return &cache->answer;
}

/* ---- matching and storing ---- */

/* Match what is in the lanes. */
static void lanes_match(struct topic_cache *cache, struct lane *lanes, uint32_t count)
{
    struct topic_search searches[TOPIC_SEARCHES_MAX];
    struct topic_search *next = searches;
    for (struct lane *lane = lanes; lane < lanes + count; lane++) {
        /* Generation first: what changes during the match makes the entry stale, never the other way round. */
        lane->stripe = topic_stripe(&cache->config.seed, lane->name.text, lane->name.length);
        lane->generation = generation_now(cache, lane->stripe);
        lane->filters.count = 0;
        lane->groups.count = 0;
        topic_subscribers_search(cache->config.subscribers, &lane->name, &lane->filters, &lane->groups, next);
        next += 2;
        if (cache->config.shared != NULL) {
            topic_shared_search(cache->config.shared, &lane->name, &lane->shared, next);
            next += 2;
        }
    }
    topic_index_match(searches, (uint32_t)(next - searches));
    const uint32_t each = cache->config.shared == NULL ? 2 : 4;
    for (uint32_t i = 0; i < count; i++) {
        lanes[i].complete = true;
        for (uint32_t k = i * each; k < (i + 1) * each; k++) {
            lanes[i].complete &= searches[k].complete;
        }
    }
}

/* The route that the lane's matches make. False when something is missing. */
static bool lane_route(struct topic_cache *cache, struct lane *lane, struct topic_route *route)
{
    lane->shared.share_count = 0;
    lane->shared.workers = lane->filters.count > 0;
    if (!lane->complete || (cache->config.shared != NULL && !topic_shared_sum(&lane->shared)) ||
        lane->filters.count > UINT16_MAX || lane->groups.count > UINT16_MAX || lane->shared.share_count > UINT16_MAX) {
        return false;
    }
    *route = (struct topic_route){
        .workers = lane->shared.workers,
        .filters = lane->filters.entries,
        .groups = lane->groups.entries,
        .shares = lane->shared.shares,
        .filter_count = (uint16_t)lane->filters.count,
        .group_count = (uint16_t)lane->groups.count,
        .share_count = (uint16_t)lane->shared.share_count,
    };
    return true;
}

static uint8_t *append(uint8_t *at, const void *bytes, size_t size)
{
    return size == 0 ? at : (uint8_t *)memcpy(at, bytes, size) + size;
}

/* Put topic and route into an entry that holds nothing. False (and nothing held) when a block was needed and not there.
 */
static bool entry_fill(struct topic_cache *cache, struct cache_entry *entry, const struct key *key,
                       const struct topic_route *route)
{
    entry->filter_count = route->filter_count;
    entry->group_count = route->group_count;
    entry->share_count = route->share_count;
    entry->topic_length = (uint16_t)key->length;
    entry->workers = route->workers;
    size_t size = parts_size(entry) + key->length;
    entry->is_outside = size > ENTRY_INSIDE;
    if (entry->is_outside && (entry->outside = mem_alloc(cache->config.region, size)) == NULL) {
        return false;
    }
    uint8_t *at = entry_parts(entry);
    at = append(at, route->shares, route->share_count * sizeof(route->shares[0]));
    at = append(at, (const void *)route->filters, route->filter_count * sizeof(route->filters[0]));
    at = append(at, (const void *)route->groups, route->group_count * sizeof(route->groups[0]));
    append(at, key->text, key->length);
    return true;
}

/*
 * The slot for a new topic of the set: an empty one, else one not used since the last search. The search begins where
 * the topic's hash says, so that no way is preferred.
 */
static uint32_t slot_to_replace(struct topic_cache *cache, uint64_t hash)
{
    uint32_t first = hash_set(cache, (uint32_t)hash) * WAYS;
    uint32_t start = (uint32_t)(hash >> 62);
    for (uint32_t way = 0; way < WAYS; way++) {
        if (cache->tags[first + way] == 0) {
            return first + way;
        }
    }
    for (uint32_t way = 0; way < WAYS; way++) {
        uint32_t slot = first + (start + way) % WAYS;
        if ((cache->tags[slot] & TAG_USED) == 0) {
            return slot;
        }
    }
    for (uint32_t way = 0; way < WAYS; way++) {
        cache->tags[first + way] &= ~TAG_USED;
    }
    return first + start;
}

/* A slot for a topic that has none. The cache grows by a set when this one would have to forget something. */
static uint32_t slot_take(struct topic_cache *cache, uint64_t hash)
{
    uint32_t slot = slot_to_replace(cache, hash);
    if (cache->tags[slot] != 0 && cache->sets < cache->sets_max) {
        sets_add(cache);
        slot = slot_to_replace(cache, hash);
    }
    return slot;
}

/*
 * More entries than the CPU's caches hold, and twice as many as when it was last decided: what is to be remembered from
 * now on?
 */
static void kind_decide(struct topic_cache *cache)
{
    const bool outlines_save = cache->shorter > cache->seen / 2;
    if (outlines_save != cache->is_outlining) {
        cache->is_outlining = outlines_save;
        cache->made = 0;
    }
    cache->seen = cache->shorter = 0;
}

/* A topic was matched. Is its outline shorter? Asked only when there are many topics. */
static void kind_count(struct topic_cache *cache, const struct lane *lane)
{
    struct key key;
    if (cache->made < cache->config.large_from / 4 || !has_outline(cache, lane->name.text, lane->name.length)) {
        return;
    }
    key_take_outline(cache, &key, lane->name.text, lane->name.length);
    cache->seen++;
    cache->shorter += key.length < lane->name.length;
}

/* Keep the lane's route, where its topic was before or else in any way of the set. */
static void lane_store(struct topic_cache *cache, const struct lane *lane, const struct topic_route *route)
{
    const struct key *key = &lane->key;
    kind_count(cache, lane);
    if (key->is_outline &&
        (key->generation != lane->generation || !topic_outline_covers(key->outline, outline_now(cache, key->stripe)))) {
        return; /* a filter came meanwhile: the route may be that of this topic alone */
    }
    uint32_t slot = slot_find(cache, key->hash);
    if (slot == SLOT_NONE) {
        slot = slot_take(cache, key->hash);
        cache->made++;
        if (cache->made >= cache->config.large_from / 2 && (cache->made & (cache->made - 1)) == 0) {
            kind_decide(cache);
        }
    }
    slot_clear(cache, slot);
    struct cache_entry *entry = &cache->entries[slot];
    if (!entry_fill(cache, entry, key, route)) {
        cache->stats.not_stored++;
        return;
    }
    entry->hash = (uint32_t)key->hash;
    entry->generation = lane->generation;
    entry->stripe = (uint8_t)lane->stripe;
    entry->is_outline = key->is_outline;
    cache->tags[slot] = hash_tag(key->hash);
}

static const struct topic_route *route_miss(struct topic_cache *cache, const char *topic, size_t length,
                                            enum topic_status *status)
{
    struct lane *lane = &cache->lane;
    *status = topic_name_set(&lane->name, &cache->config.seed, &cache->config.limits, topic, length);
    if (*status != TOPIC_OK) {
        return NULL;
    }
    lanes_match(cache, lane, 1);
    if (!lane_route(cache, lane, &cache->answer)) {
        *status = TOPIC_NO_MEMORY;
        return NULL;
    }
    lane_store(cache, lane, &cache->answer);
    return &cache->answer;
}

/* ---- look-up ---- */

const struct topic_route *topic_cache_route(struct topic_cache *cache, const char *topic, size_t length,
                                            enum topic_status *status)
{
    if (length == 0) {
        *status = TOPIC_INVALID;
        return NULL;
    }
    struct key *key = &cache->lane.key;
    key_take(cache, key, topic, length);
    uint32_t slot = slot_find(cache, key->hash);
    if (slot == SLOT_NONE || !entry_is(&cache->entries[slot], key)) {
        cache->stats.misses++;
        return route_miss(cache, topic, length, status);
    }
    struct cache_entry *entry = &cache->entries[slot];
    /* Nothing that the entry points to may be followed before this. */
    if (entry->generation != (key->is_outline ? key->generation : generation_now(cache, entry->stripe))) {
        cache->stats.stale++;
        return route_miss(cache, topic, length, status);
    }
    if ((cache->tags[slot] & TAG_USED) == 0) {
        cache->tags[slot] |= TAG_USED;
    }
    cache->stats.hits++;
    *status = TOPIC_OK;
    return entry_route(cache, entry);
}

/* ---- looking ahead ---- */

/* The row of tags has come: is the topic cached? Ask for its entry, or for where it may be put. */
static void ahead_find(struct topic_cache *cache, struct ahead *ahead)
{
    if (ahead->topic == NULL) {
        return;
    }
    ahead->slot = slot_find(cache, ahead->hash);
    if (ahead->slot != SLOT_NONE) {
        ENTRY_PREFETCH(&cache->entries[ahead->slot], ahead->length, 0);
        return;
    }
    uint32_t first = hash_set(cache, (uint32_t)ahead->hash) * WAYS;
    for (uint32_t slot = first; slot < first + WAYS; slot++) {
        if (cache->tags[slot] == 0) {
            ENTRY_PREFETCH(&cache->entries[slot], ahead->length, 1);
            break;
        }
    }
}

/* Not cached: match it with others that are not. */
static void ahead_match(struct topic_cache *cache, const struct ahead *ahead)
{
    struct lane *lane = &cache->lanes[cache->waiting];
    char *text = cache->texts[cache->waiting];
    struct topic_route route;
    if (ahead->length > KEY_LENGTH) {
        return;
    }
    memcpy(text, ahead->topic, ahead->length);
    if (topic_name_set(&lane->name, &cache->config.seed, &cache->config.limits, text, ahead->length) != TOPIC_OK) {
        return;
    }
    key_take(cache, &lane->key, text, ahead->length);
    if (++cache->waiting < TOGETHER) {
        return;
    }
    cache->waiting = 0;
    cache->stats.ahead += TOGETHER;
    lanes_match(cache, cache->lanes, TOGETHER);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        if (lane_route(cache, &cache->lanes[i], &route)) {
            lane_store(cache, &cache->lanes[i], &route);
        }
    }
}

/* The entry has come: ask for the filter. */
static void ahead_follow(struct topic_cache *cache, struct ahead *ahead)
{
    if (ahead->topic == NULL) {
        return;
    }
    if (ahead->slot == SLOT_NONE) {
        ahead_match(cache, ahead);
        return;
    }
    struct cache_entry *entry = &cache->entries[ahead->slot];
    if (entry->is_outside) {
        __builtin_prefetch(entry->outside);
    } else if (entry->filter_count > 0) {
        void *filter;
        memcpy(&filter, entry->inside + entry->share_count * sizeof(struct topic_share), sizeof(filter));
        __builtin_prefetch(filter);
    }
}

void topic_cache_announce(struct topic_cache *cache, const char *topic, size_t length)
{
    struct ahead *ahead = &cache->ahead[cache->ahead_next % TOPIC_CACHE_AHEAD];
    ahead->topic = length == 0 ? NULL : topic;
    if (length > 0) {
        struct key key;
        key_take(cache, &key, topic, length);
        ahead->length = (uint32_t)length;
        ahead->hash = key.hash;
        __builtin_prefetch(&cache->tags[hash_set(cache, (uint32_t)ahead->hash) * WAYS]);
    }
    ahead_find(cache, &cache->ahead[(cache->ahead_next - TOPIC_CACHE_AHEAD / 3) % TOPIC_CACHE_AHEAD]);
    ahead_follow(cache, &cache->ahead[(cache->ahead_next - TOPIC_CACHE_AHEAD * 2 / 3) % TOPIC_CACHE_AHEAD]);
    cache->ahead_next++;
}

bool topic_cache_is_large(const struct topic_cache *cache)
{
    return cache->sets * WAYS > cache->config.large_from && cache->made > cache->config.large_from / 2;
}

void topic_cache_stats(const struct topic_cache *cache, struct topic_cache_stats *stats)
{
    *stats = cache->stats;
    stats->room = cache->sets * WAYS;
    stats->outlining = cache->is_outlining;
}

/*
 * The filter index: exact filters in a hash, wildcard filters in a trie flattened into another. See index.h.
 *
 * Writer's order, so that a reader never follows something incomplete: an object is filled, then stored where readers
 * find it with release (slot_store in hash_table.c, link_publish here); every reader's load on the way is an acquire.
 * Removal is the opposite: unlinked first, retired afterwards.
 */
#include "lib/topic/index.h"

#include "lib/hash/hash_table.h"

#include <string.h>

/* Trie nodes that the directory is sized for, for each filter allowed. More nodes only make chains longer. */
#define NODES_PER_FILTER 2u

struct topic_node {
    uint32_t hash; /* of (parent, level) */
    uint32_t id;   /* what children are hashed with */
    struct topic_node *parent;
    _Atomic(struct topic_node *) plus;  /* the child '+' */
    _Atomic(struct topic_node *) only;  /* the child that is not '+', if it never had a sibling */
    _Atomic(struct topic_entry *) here; /* the filter that ends with this level */
    _Atomic(struct topic_entry *) many; /* the filter that ends with '#' below this level */
    _Atomic uint32_t literals;          /* children that are not '+': none, no look-up */
    uint16_t length;
    uint8_t is_plus;
    char level[];
};

struct topic_index {
    struct hash_table exact;
    struct hash_table nodes;
    struct topic_index_config config;
    uint32_t wildcards;
    uint32_t next_id;
    struct topic_node root;
    struct topic_outlines outlines;
};

/* One step down the trie, as a key of the node table. */
struct node_key {
    const struct topic_node *parent;
    const char *level;
    uint32_t length;
    uint64_t hash;
};

/* ---- objects ---- */

static void *index_alloc(struct topic_index *index, size_t size)
{
    return index->config.allocator.alloc(index->config.allocator.arg, size);
}

static void index_free(struct topic_index *index, void *object, size_t size)
{
    index->config.allocator.free(index->config.allocator.arg, object, size);
}

static void index_retire(struct topic_index *index, void *object, size_t size)
{
    if (index->config.retire != NULL) {
        index->config.retire(index->config.retire_arg, object, size);
    } else {
        index_free(index, object, size);
    }
}

static size_t entry_size(const struct topic_entry *entry)
{
    return sizeof(*entry) + (size_t)entry->payload * 8 + entry->length;
}

static size_t node_size(const struct topic_node *node)
{
    return sizeof(*node) + node->length;
}

static uint32_t entry_hash(const void *entry)
{
    return ((const struct topic_entry *)entry)->hash;
}

static uint32_t node_hash(const void *node)
{
    return ((const struct topic_node *)node)->hash;
}

static struct topic_entry *entry_create(struct topic_index *index, const struct topic_filter_name *filter,
                                        uint64_t hash)
{
    size_t payload = index->config.payload_size;
    struct topic_entry *entry = index_alloc(index, sizeof(*entry) + payload + filter->filter_length);
    if (entry != NULL) {
        *entry = (struct topic_entry){
            .hash = (uint32_t)hash,
            .length = filter->filter_length,
            .payload = (uint8_t)(payload / 8),
            .wildcard = filter->wildcard,
        };
        memset(entry + 1, 0, payload);
        memcpy((char *)(entry + 1) + payload, filter->filter, filter->filter_length);
    }
    return entry;
}

/* Level hashes are keyed, so mixing the parent in needs no key of its own. */
static uint64_t child_hash(const struct topic_node *parent, uint64_t level_hash)
{
    uint64_t hash = level_hash ^ parent->id * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
    return hash ^ hash >> 32;
}

/* Exact comparison: equal hashes decide nothing. */
static bool node_same(const void *object, const void *wanted)
{
    const struct topic_node *node = object;
    const struct node_key *key = wanted;
    return node->parent == key->parent && node->length == key->length &&
           memcmp(node->level, key->level, key->length) == 0;
}

struct exact_key {
    const char *text;
    uint32_t length;
};

static bool entry_same(const void *object, const void *wanted)
{
    const struct topic_entry *entry = object;
    const struct exact_key *key = wanted;
    return entry->length == key->length && memcmp(topic_entry_filter(entry), key->text, key->length) == 0;
}

static struct topic_entry *exact_find(const struct topic_index *index, uint64_t hash, const char *text, uint32_t length)
{
    struct exact_key key = {text, length};
    return hash_table_find(&index->exact, hash, entry_same, &key);
}

static struct topic_node *child_find(const struct topic_index *index, const struct node_key *key)
{
    return hash_table_find(&index->nodes, key->hash, node_same, key);
}

/* ---- creation ---- */

struct topic_index *topic_index_create(const struct topic_index_config *config)
{
    struct topic_index *index = config->allocator.alloc(config->allocator.arg, sizeof(*index));
    if (index == NULL) {
        return NULL;
    }
    *index = (struct topic_index){.config = *config, .next_id = 1};
    struct hash_table_config table = {
        .allocator = config->allocator,
        .retire = config->retire,
        .retire_arg = config->retire_arg,
        .objects_max = config->filters_max,
        .hash_of = entry_hash,
    };
    bool ok = hash_table_init(&index->exact, &table);
    table.hash_of = node_hash;
    table.objects_max =
        config->filters_max < UINT32_MAX / NODES_PER_FILTER ? config->filters_max * NODES_PER_FILTER : UINT32_MAX;
    if (!ok || !hash_table_init(&index->nodes, &table)) {
        topic_index_destroy(index);
        return NULL;
    }
    return index;
}

static void entry_free(void *arg, void *entry)
{
    index_free(arg, entry, entry_size(entry));
}

static void node_entries_free(void *arg, struct topic_node *node)
{
    struct topic_entry *here = atomic_load_explicit(&node->here, memory_order_relaxed);
    struct topic_entry *many = atomic_load_explicit(&node->many, memory_order_relaxed);
    if (here != NULL) {
        entry_free(arg, here);
    }
    if (many != NULL) {
        entry_free(arg, many);
    }
}

static void node_free(void *arg, void *object)
{
    node_entries_free(arg, object);
    index_free(arg, object, node_size(object));
}

void topic_index_destroy(struct topic_index *index)
{
    if (index == NULL) {
        return;
    }
    if (index->exact.segments != NULL) {
        hash_table_each(&index->exact, entry_free, index);
    }
    if (index->nodes.segments != NULL) {
        hash_table_each(&index->nodes, node_free, index);
        node_entries_free(index, &index->root);
    }
    hash_table_clear(&index->exact);
    hash_table_clear(&index->nodes);
    index_free(index, index, sizeof(*index));
}

/* ---- the trie, by filter ---- */

/* A filter's levels, one after the other. */
struct level_cursor {
    const char *at;
    const char *end;
    uint32_t length;
    bool last;
};

static struct level_cursor levels_begin(const char *filter, uint32_t length)
{
    return (struct level_cursor){.at = filter, .end = filter + length};
}

/* Measure the level at the cursor. */
static void level_measure(struct level_cursor *cursor)
{
    const char *slash = memchr(cursor->at, '/', (size_t)(cursor->end - cursor->at));
    cursor->last = slash == NULL;
    cursor->length = (uint32_t)((cursor->last ? cursor->end : slash) - cursor->at);
}

static void level_next(struct level_cursor *cursor)
{
    cursor->at += cursor->length + 1;
}

static bool level_is(const struct level_cursor *cursor, char wildcard)
{
    return cursor->length == 1 && *cursor->at == wildcard;
}

static struct node_key child_key(const struct topic_index *index, const struct topic_node *parent,
                                 const struct level_cursor *cursor)
{
    uint64_t level_hash = topic_hash(&index->config.seed, cursor->at, cursor->length);
    return (struct node_key){parent, cursor->at, cursor->length, child_hash(parent, level_hash)};
}

static struct topic_node *child_of(const struct topic_index *index, const struct topic_node *parent,
                                   const struct level_cursor *cursor)
{
    if (level_is(cursor, '+')) {
        /* Acquire pairs with the release in child_create. */
        return atomic_load_explicit(&parent->plus, memory_order_acquire);
    }
    struct node_key key = child_key(index, parent, cursor);
    return child_find(index, &key);
}

static struct topic_node *child_create(struct topic_index *index, struct topic_node *parent,
                                       const struct level_cursor *cursor)
{
    bool plus = level_is(cursor, '+');
    struct node_key key = child_key(index, parent, cursor);
    struct topic_node *node = index_alloc(index, sizeof(*node) + cursor->length);
    if (node == NULL) {
        return NULL;
    }
    *node = (struct topic_node){
        .hash = (uint32_t)key.hash,
        .id = index->next_id++,
        .parent = parent,
        .length = (uint16_t)cursor->length,
        .is_plus = plus,
    };
    memcpy(node->level, cursor->at, cursor->length);
    /* '+' is in the table too, so that one visit finds every node; but a look-up never asks for it by hash. */
    if (!hash_table_add(&index->nodes, key.hash, node)) {
        index_free(index, node, node_size(node));
        return NULL;
    }
    if (plus) {
        atomic_store_explicit(&parent->plus, node, memory_order_release);
    } else {
        uint32_t literals = atomic_load_explicit(&parent->literals, memory_order_relaxed);
        if (literals == 0) {
            atomic_store_explicit(&parent->only, node, memory_order_release);
        }
        atomic_store_explicit(&parent->literals, literals + 1, memory_order_release);
    }
    return node;
}

/*
 * Take the node from its parent. A reader that sees one literal child and `only` set looks at no other. So `only` is
 * set where there was no child at all, and cleared before the count that follows says how many are left.
 */
static void child_unlink(const struct topic_node *node)
{
    struct topic_node *parent = node->parent;
    if (node->is_plus) {
        atomic_store_explicit(&parent->plus, NULL, memory_order_release);
        return;
    }
    if (atomic_load_explicit(&parent->only, memory_order_relaxed) == node) {
        atomic_store_explicit(&parent->only, NULL, memory_order_release);
    }
    uint32_t literals = atomic_load_explicit(&parent->literals, memory_order_relaxed);
    atomic_store_explicit(&parent->literals, literals - 1, memory_order_release);
}

static bool node_is_unused(const struct topic_node *node)
{
    return atomic_load_explicit(&node->here, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->many, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->plus, memory_order_relaxed) == NULL &&
           atomic_load_explicit(&node->literals, memory_order_relaxed) == 0;
}

/* Take out the node and its ancestors as far as nothing needs them. */
static void nodes_prune(struct topic_index *index, struct topic_node *node)
{
    while (node != &index->root && node_is_unused(node)) {
        struct topic_node *parent = node->parent;
        struct level_cursor cursor = {.at = node->level, .length = node->length};
        struct node_key key = child_key(index, parent, &cursor);
        hash_table_remove(&index->nodes, key.hash, node);
        child_unlink(node);
        index_retire(index, node, node_size(node));
        node = parent;
    }
}

/* The node that a wildcard filter ends at, and which of its two places. NULL when the way is not there. */
static struct topic_node *wildcard_place(const struct topic_index *index, const char *filter, uint32_t length,
                                         bool *many)
{
    struct topic_node *node = (struct topic_node *)&index->root;
    struct level_cursor cursor = levels_begin(filter, length);
    for (;; level_next(&cursor)) {
        level_measure(&cursor);
        *many = level_is(&cursor, '#');
        if (*many) {
            return node;
        }
        node = child_of(index, node, &cursor);
        if (node == NULL || cursor.last) {
            return node;
        }
    }
}

/* The same, creating what is missing. NULL without memory, with nothing left behind. */
static struct topic_node *wildcard_place_create(struct topic_index *index, const struct topic_filter_name *filter)
{
    struct topic_node *node = &index->root;
    struct level_cursor cursor = levels_begin(filter->filter, filter->filter_length);
    for (;; level_next(&cursor)) {
        level_measure(&cursor);
        if (level_is(&cursor, '#')) {
            return node;
        }
        struct topic_node *child = child_of(index, node, &cursor);
        if (child == NULL) {
            child = child_create(index, node, &cursor);
        }
        if (child == NULL) {
            nodes_prune(index, node);
            return NULL;
        }
        node = child;
        if (cursor.last) {
            return node;
        }
    }
}

static _Atomic(struct topic_entry *) *node_link(struct topic_node *node, bool many)
{
    return many ? &node->many : &node->here;
}

/* ---- add, find, remove ---- */

static struct topic_entry *exact_add(struct topic_index *index, const struct topic_filter_name *filter)
{
    uint64_t hash = topic_hash(&index->config.seed, filter->filter, filter->filter_length);
    struct topic_entry *entry = entry_create(index, filter, hash);
    if (entry != NULL && !hash_table_add(&index->exact, hash, entry)) {
        index_free(index, entry, entry_size(entry));
        return NULL;
    }
    return entry;
}

static struct topic_entry *wildcard_add(struct topic_index *index, const struct topic_filter_name *filter)
{
    struct topic_node *node = wildcard_place_create(index, filter);
    if (node == NULL) {
        return NULL;
    }
    struct topic_entry *entry = entry_create(index, filter, 0);
    if (entry == NULL) {
        nodes_prune(index, node);
        return NULL;
    }
    bool many = filter->filter[filter->filter_length - 1] == '#';
    atomic_store_explicit(node_link(node, many), entry, memory_order_release);
    index->wildcards++;
    return entry;
}

struct topic_entry *topic_index_add(struct topic_index *index, const struct topic_filter_name *filter, bool *created,
                                    enum topic_status *status)
{
    struct topic_entry *entry = topic_index_find(index, filter);
    *created = false;
    *status = TOPIC_OK;
    if (entry != NULL) {
        return entry;
    }
    if (topic_index_count(index) >= index->config.filters_max) {
        *status = TOPIC_FULL;
        return NULL;
    }
    topic_outlines_add(&index->outlines, &index->config.seed, filter);
    entry = filter->wildcard ? wildcard_add(index, filter) : exact_add(index, filter);
    *created = entry != NULL;
    if (entry == NULL) {
        topic_outlines_remove(&index->outlines, &index->config.seed, filter);
        *status = TOPIC_NO_MEMORY;
    }
    return entry;
}

struct topic_entry *topic_index_find(const struct topic_index *index, const struct topic_filter_name *filter)
{
    if (!filter->wildcard) {
        uint64_t hash = topic_hash(&index->config.seed, filter->filter, filter->filter_length);
        return exact_find(index, hash, filter->filter, filter->filter_length);
    }
    bool many;
    struct topic_node *node = wildcard_place(index, filter->filter, filter->filter_length, &many);
    return node == NULL ? NULL : atomic_load_explicit(node_link(node, many), memory_order_acquire);
}

void topic_index_remove(struct topic_index *index, struct topic_entry *entry)
{
    const char *filter = topic_entry_filter(entry);
    if (entry->wildcard) {
        bool many;
        struct topic_node *node = wildcard_place(index, filter, entry->length, &many);
        atomic_store_explicit(node_link(node, many), NULL, memory_order_release);
        nodes_prune(index, node);
        index->wildcards--;
    } else {
        hash_table_remove(&index->exact, topic_hash(&index->config.seed, filter, entry->length), entry);
    }
    const struct topic_filter_name name = {.filter = filter, .filter_length = entry->length};
    topic_outlines_remove(&index->outlines, &index->config.seed, &name);
    index_retire(index, entry, entry_size(entry));
}

topic_outline topic_index_outline(const struct topic_index *index, unsigned stripe)
{
    return topic_outlines_read(&index->outlines, stripe);
}

uint32_t topic_index_retire_max(const struct topic_index *index)
{
    /* An add that fails at the last level: each level's insertion, each level's removal, each level's node. */
    return 1 + TOPIC_LEVELS_MAX * (1 + HASH_TABLE_RETIRE_MAX + 1);
}

/* ---- matching ---- */

/*
 * The tries of all searches are walked together, a batch of steps at a time, and each batch in three rounds, so that
 * the waits for memory overlap: what a round reads was asked for in the round before. In a large table a step alone
 * would wait for its bucket and for its node, one after the other.
 */
#define MATCH_BATCH 16u

_Static_assert(TOPIC_SEARCHES_MAX <= 2 * MATCH_BATCH, "the roots are two batches at most, as each level is");

struct match_step {
    const struct topic_node *node;
    struct topic_search *search;
    uint32_t level;
};

/* A step that is being taken, and what it leads to. */
struct match_lookup {
    struct match_step step;
    const struct topic_node *plus;
    const struct topic_node *only; /* the one literal child there is: no need for the table */
    uint64_t hash;                 /* of the literal child */
    bool literal;                  /* there may be one */
};

/*
 * Depth first in batches, the deepest steps on top. A batch takes those, and puts back at most two for each, one level
 * deeper and in the same order. So when steps of some level are put here, none of that level or below is left: a level
 * never has more than two batches. At the root there is one for each search.
 */
struct match_walk {
    uint32_t depth;
    struct match_step stack[2 * MATCH_BATCH * (TOPIC_LEVELS_MAX + 1)];
};

static void search_offer(struct topic_search *search, struct topic_entry *entry)
{
    search->complete &= entry == NULL || topic_matches_append(search->matches, entry);
}

/* Acquire pairs with the release in wildcard_add. */
static void search_offer_link(struct topic_search *search, const _Atomic(struct topic_entry *) *link)
{
    search_offer(search, atomic_load_explicit(link, memory_order_acquire));
}

static void match_push(struct match_walk *walk, struct match_step step)
{
    walk->stack[walk->depth++] = step;
}

/* Ask for the literal child, or for the bucket that leads to it. */
static void lookup_begin(struct match_lookup *lookup)
{
    const struct topic_node *node = lookup->step.node;
    /* Acquire pairs with the releases in child_create and child_unlink: `only` is at least as new as the count. */
    const uint32_t literals = atomic_load_explicit(&node->literals, memory_order_acquire);
    lookup->literal = literals > 0;
    if (!lookup->literal) {
        return;
    }
    lookup->hash = child_hash(node, topic_name_token(lookup->step.search->name, lookup->step.level));
    lookup->only = literals == 1 ? atomic_load_explicit(&node->only, memory_order_acquire) : NULL;
    if (lookup->only != NULL) {
        __builtin_prefetch(lookup->only);
    } else {
        hash_table_prefetch(&lookup->step.search->index->nodes, lookup->hash);
    }
}

/* What the node itself says, and where it leads. */
static void step_begin(struct match_lookup *lookup)
{
    const struct match_step step = lookup->step;
    const struct topic_name *name = step.search->name;
    /* REQ MQTT-5 [MQTT-4.7.2-1]: a leading wildcard does not match '$' topics [test: topic/match_table] */
    const bool wildcards = step.level > 0 || name->text[0] != '$';
    step.search->matches->visited++;
    lookup->plus = NULL;
    lookup->literal = false;
    if (wildcards) {
        search_offer_link(step.search, &step.node->many);
    }
    if (step.level == name->levels) {
        search_offer_link(step.search, &step.node->here);
        return;
    }
    if (wildcards) {
        /* Acquire pairs with the release in child_create. */
        lookup->plus = atomic_load_explicit(&step.node->plus, memory_order_acquire);
        __builtin_prefetch(lookup->plus);
    }
    lookup_begin(lookup);
}

static const struct topic_node *lookup_end(const struct match_lookup *lookup)
{
    const struct topic_name *name = lookup->step.search->name;
    const uint32_t level = lookup->step.level;
    const struct node_key key = {
        .parent = lookup->step.node,
        .level = name->text + name->starts[level],
        .length = (uint16_t)(name->starts[level + 1] - 1 - name->starts[level]),
        .hash = lookup->hash,
    };
    if (lookup->only == NULL) {
        return child_find(lookup->step.search->index, &key);
    }
    return node_same(lookup->only, &key) ? lookup->only : NULL;
}

/* On to a child, if there is one. */
static void match_descend(struct match_walk *walk, const struct match_step *from, const struct topic_node *child)
{
    if (child != NULL) {
        match_push(walk, (struct match_step){child, from->search, from->level + 1});
    }
}

static void match_batch(struct match_walk *walk)
{
    struct match_lookup lookups[MATCH_BATCH];
    const uint32_t steps = walk->depth < MATCH_BATCH ? walk->depth : MATCH_BATCH;
    walk->depth -= steps;
    for (uint32_t i = 0; i < steps; i++) {
        lookups[i].step = walk->stack[walk->depth + i];
        step_begin(&lookups[i]);
    }
    for (uint32_t i = 0; i < steps && steps > 1; i++) { /* alone it would only read the bucket twice */
        if (lookups[i].literal && lookups[i].only == NULL) {
            hash_table_prefetch_object(&lookups[i].step.search->index->nodes, lookups[i].hash);
        }
    }
    for (uint32_t i = 0; i < steps; i++) {
        match_descend(walk, &lookups[i].step, lookups[i].plus);
        match_descend(walk, &lookups[i].step, lookups[i].literal ? lookup_end(&lookups[i]) : NULL);
    }
}

/* REQ MQTT-3.1.1 [MQTT-4.7.2-1]: as for MQTT 5.0, in step_begin() [test: topic/match_table] */
/* REQ MQTT-3.1.1 [MQTT-4.7.3-4]: bytes are compared with bytes [test: topic/match_table] */
void topic_index_match(struct topic_search *searches, uint32_t count)
{
    struct match_walk walk;
    walk.depth = 0;
    for (uint32_t i = 0; i < count; i++) {
        searches[i].matches->visited = 0;
        searches[i].complete = true;
        hash_table_prefetch(&searches[i].index->exact, searches[i].name->hash);
        if (!node_is_unused(&searches[i].index->root)) {
            match_push(&walk, (struct match_step){&searches[i].index->root, &searches[i], 0});
        }
    }
    match_batch(&walk);
    for (uint32_t i = 0; i < count; i++) {
        hash_table_prefetch_object(&searches[i].index->exact, searches[i].name->hash);
    }
    while (walk.depth > 0) {
        match_batch(&walk);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct topic_name *name = searches[i].name;
        search_offer(&searches[i], exact_find(searches[i].index, name->hash, name->text, name->length));
    }
}

uint32_t topic_index_count(const struct topic_index *index)
{
    return index->exact.count + index->wildcards;
}

uint32_t topic_index_wildcards(const struct topic_index *index)
{
    return index->wildcards;
}

struct each_visit {
    void (*visit)(void *arg, struct topic_entry *entry);
    void *arg;
};

static void visit_entry(void *arg, void *entry)
{
    const struct each_visit *each = arg;
    each->visit(each->arg, entry);
}

static void visit_node(void *arg, void *object)
{
    const struct each_visit *each = arg;
    struct topic_node *node = object;
    struct topic_entry *here = atomic_load_explicit(&node->here, memory_order_relaxed);
    struct topic_entry *many = atomic_load_explicit(&node->many, memory_order_relaxed);
    if (here != NULL) {
        each->visit(each->arg, here);
    }
    if (many != NULL) {
        each->visit(each->arg, many);
    }
}

void topic_index_each(const struct topic_index *index, void (*visit)(void *arg, struct topic_entry *entry), void *arg)
{
    struct each_visit each = {visit, arg};
    hash_table_each(&index->exact, visit_entry, &each);
    hash_table_each(&index->nodes, visit_node, &each);
    visit_node(&each, (struct topic_node *)&index->root);
}

/* ---- match lists ---- */

void topic_matches_init(struct topic_matches *matches, struct mem_allocator allocator)
{
    *matches = (struct topic_matches){.allocator = allocator};
}

void topic_matches_free(struct topic_matches *matches)
{
    if (matches->entries != NULL) {
        matches->allocator.free(matches->allocator.arg, (void *)matches->entries,
                                matches->capacity * sizeof(matches->entries[0]));
    }
    *matches = (struct topic_matches){.allocator = matches->allocator};
}

static bool matches_grow(struct topic_matches *matches)
{
    uint32_t capacity = matches->capacity == 0 ? 16 : matches->capacity * 2;
    struct topic_entry **entries = matches->allocator.alloc(matches->allocator.arg, capacity * sizeof(entries[0]));
    if (entries == NULL) {
        return false;
    }
    if (matches->count > 0) {
        memcpy((void *)entries, (void *)matches->entries, matches->count * sizeof(entries[0]));
    }
    uint32_t count = matches->count;
    topic_matches_free(matches);
    matches->entries = entries;
    matches->capacity = capacity;
    matches->count = count;
    return true;
}

bool topic_matches_append(struct topic_matches *matches, struct topic_entry *entry)
{
    if (matches->count == matches->capacity && !matches_grow(matches)) {
        return false;
    }
    __builtin_prefetch(entry);
    matches->entries[matches->count++] = entry;
    return true;
}

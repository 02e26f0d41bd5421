/*
 * The retained tree: see retained.h.
 *
 * A node is one level of a topic. Children are found by the hash of (parent, level) and lie in a list of siblings for
 * walks. A node goes when it has no message, no children and no walk standing on it; then its parent is looked at.
 */
#include "lib/topic/retained.h"

#include "lib/hash/hash_table.h"

#include <string.h>

/* Nodes that the directory is sized for, for each message allowed. More only make chains longer. */
#define NODES_PER_MESSAGE 2u

/* Of a message that expires. Apart from the node, since most do not. */
struct expiry {
    struct timer timer; /* must be first */
    struct topic_retained_node *node;
};

struct topic_retained_node {
    uint32_t hash; /* of (parent, level) */
    uint32_t id;   /* what children are hashed with */
    struct topic_retained_node *parent;
    struct topic_retained_node *children; /* newest first */
    struct topic_retained_node *next;     /* siblings */
    struct topic_retained_node *prev;
    void *message;
    struct expiry *expiry; /* of the message; NULL: never */
    uint32_t size;         /* of the message, as the caller counts it */
    uint32_t walks;        /* cursors that stand here */
    uint16_t length;       /* of level */
    char level[];
};

struct topic_retained {
    struct hash_table nodes;
    struct topic_retained_config config;
    struct topic_retained_stats stats;
    uint32_t next_id;
    struct topic_retained_node root;
};

struct node_key {
    const struct topic_retained_node *parent;
    const char *level;
    uint32_t length;
    uint64_t hash;
};

static bool node_same(const void *object, const void *wanted)
{
    const struct topic_retained_node *node = object;
    const struct node_key *key = wanted;
    return node->parent == key->parent && node->length == key->length &&
           memcmp(node->level, key->level, key->length) == 0;
}

static uint32_t node_hash(const void *node)
{
    return ((const struct topic_retained_node *)node)->hash;
}

/* Level hashes are keyed, so mixing the parent in needs no key of its own. */
static uint64_t child_hash(const struct topic_retained_node *parent, uint64_t level_hash)
{
    uint64_t hash = level_hash ^ parent->id * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
    return hash ^ hash >> 32;
}

static struct node_key text_key(const struct topic_retained *tree, const struct topic_retained_node *parent,
                                const char *level, uint32_t length)
{
    uint64_t hash = child_hash(parent, topic_hash(&tree->config.seed, level, length));
    return (struct node_key){parent, level, length, hash};
}

static struct node_key name_key(const struct topic_retained_node *parent, struct topic_name *name, unsigned level)
{
    return (struct node_key){
        .parent = parent,
        .level = name->text + name->starts[level],
        .length = (uint16_t)(name->starts[level + 1] - 1 - name->starts[level]),
        .hash = child_hash(parent, topic_name_token(name, level)),
    };
}

static struct topic_retained_node *child_find(const struct topic_retained *tree, const struct node_key *key)
{
    return hash_table_find(&tree->nodes, key->hash, node_same, key);
}

static timer_handler expiry_due;

struct topic_retained *topic_retained_create(const struct topic_retained_config *config)
{
    struct topic_retained *tree = config->allocator.alloc(config->allocator.arg, sizeof(*tree));
    if (tree == NULL) {
        return NULL;
    }
    *tree = (struct topic_retained){.config = *config, .next_id = 1};
    struct hash_table_config table = {
        .allocator = config->allocator,
        .objects_max =
            config->count_max < UINT32_MAX / NODES_PER_MESSAGE ? config->count_max * NODES_PER_MESSAGE : UINT32_MAX,
        .hash_of = node_hash,
    };
    if (!hash_table_init(&tree->nodes, &table)) {
        config->allocator.free(config->allocator.arg, tree, sizeof(*tree));
        return NULL;
    }
    if (config->wheel != NULL) {
        timer_wheel_bind(config->wheel, config->timer_kind, expiry_due, tree);
    }
    return tree;
}

static void expiry_clear(struct topic_retained *tree, struct topic_retained_node *node)
{
    if (node->expiry != NULL) {
        timer_cancel(tree->config.wheel, &node->expiry->timer);
        tree->config.allocator.free(tree->config.allocator.arg, node->expiry, sizeof(*node->expiry));
        node->expiry = NULL;
    }
}

/* 0: never. False: no memory, and nothing has changed. */
static bool expiry_set(struct topic_retained *tree, struct topic_retained_node *node, uint64_t expires)
{
    if (expires == 0) {
        expiry_clear(tree, node);
        return true;
    }
    if (node->expiry == NULL) {
        struct expiry *expiry = tree->config.allocator.alloc(tree->config.allocator.arg, sizeof(*expiry));
        if (expiry == NULL) {
            return false;
        }
        timer_init(&expiry->timer, tree->config.timer_kind);
        expiry->node = node;
        node->expiry = expiry;
    }
    timer_set(tree->config.wheel, &node->expiry->timer, expires);
    return true;
}

static size_t node_size(uint32_t length)
{
    return offsetof(struct topic_retained_node, level) + length;
}

static void node_free(void *arg, void *object)
{
    struct topic_retained *tree = arg;
    struct topic_retained_node *node = object;
    expiry_clear(tree, node);
    tree->config.allocator.free(tree->config.allocator.arg, node, node_size(node->length));
}

void topic_retained_destroy(struct topic_retained *tree)
{
    if (tree == NULL) {
        return;
    }
    struct mem_allocator allocator = tree->config.allocator;
    hash_table_each(&tree->nodes, node_free, tree);
    hash_table_clear(&tree->nodes);
    allocator.free(allocator.arg, tree, sizeof(*tree));
}

static struct topic_retained_node *child_create(struct topic_retained *tree, struct topic_retained_node *parent,
                                                const struct node_key *key)
{
    struct topic_retained_node *node = tree->config.allocator.alloc(tree->config.allocator.arg, node_size(key->length));
    if (node == NULL) {
        return NULL;
    }
    memset(node, 0, node_size(0));
    node->hash = (uint32_t)key->hash;
    node->id = tree->next_id++;
    node->parent = parent;
    node->next = parent->children;
    node->length = (uint16_t)key->length;
    memcpy(node->level, key->level, key->length);
    if (!hash_table_add(&tree->nodes, key->hash, node)) {
        node_free(tree, node);
        return NULL;
    }
    if (parent->children != NULL) {
        parent->children->prev = node;
    }
    parent->children = node;
    tree->stats.nodes++;
    return node;
}

/* Remove the node and its ancestors as far as nothing needs them. */
static void nodes_prune(struct topic_retained *tree, struct topic_retained_node *node)
{
    while (node != &tree->root && node->message == NULL && node->children == NULL && node->walks == 0) {
        struct topic_retained_node *parent = node->parent;
        struct node_key key = text_key(tree, parent, node->level, node->length);
        hash_table_remove(&tree->nodes, key.hash, node);
        if (node->prev != NULL) {
            node->prev->next = node->next;
        } else {
            parent->children = node->next;
        }
        if (node->next != NULL) {
            node->next->prev = node->prev;
        }
        node_free(tree, node);
        tree->stats.nodes--;
        node = parent;
    }
}

static struct topic_retained_node *node_find(const struct topic_retained *tree, struct topic_name *name)
{
    const struct topic_retained_node *node = &tree->root;
    for (unsigned level = 0; level < name->levels && node != NULL; level++) {
        struct node_key key = name_key(node, name, level);
        node = child_find(tree, &key);
    }
    return (struct topic_retained_node *)node;
}

static struct topic_retained_node *node_find_or_create(struct topic_retained *tree, struct topic_name *name)
{
    struct topic_retained_node *node = &tree->root;
    for (unsigned level = 0; level < name->levels; level++) {
        struct node_key key = name_key(node, name, level);
        struct topic_retained_node *child = child_find(tree, &key);
        if (child == NULL) {
            child = child_create(tree, node, &key);
        }
        if (child == NULL) {
            nodes_prune(tree, node);
            return NULL;
        }
        node = child;
    }
    return node;
}

enum topic_status topic_retained_set(struct topic_retained *tree, struct topic_name *name, void *message, size_t size,
                                     uint64_t expires, void **old)
{
    struct topic_retained_node *node = node_find(tree, name);
    bool replaces = node != NULL && node->message != NULL;
    uint64_t bytes = tree->stats.bytes - (replaces ? node->size : 0) + size;
    *old = NULL;
    if ((!replaces && tree->stats.count >= tree->config.count_max) || size > UINT32_MAX ||
        (tree->config.bytes_max != 0 && bytes > tree->config.bytes_max)) {
        return TOPIC_FULL;
    }
    if (node == NULL && (node = node_find_or_create(tree, name)) == NULL) {
        return TOPIC_NO_MEMORY;
    }
    if (!expiry_set(tree, node, expires)) {
        nodes_prune(tree, node);
        return TOPIC_NO_MEMORY;
    }
    *old = node->message;
    node->message = message;
    node->size = (uint32_t)size;
    tree->stats.bytes = bytes;
    tree->stats.count += !replaces;
    return TOPIC_OK;
}

static void *message_take(struct topic_retained *tree, struct topic_retained_node *node)
{
    void *message = node->message;
    node->message = NULL;
    expiry_clear(tree, node);
    tree->stats.bytes -= node->size;
    tree->stats.count--;
    nodes_prune(tree, node);
    return message;
}

void *topic_retained_remove(struct topic_retained *tree, struct topic_name *name)
{
    struct topic_retained_node *node = node_find(tree, name);
    return node == NULL || node->message == NULL ? NULL : message_take(tree, node);
}

static void expiry_due(void *arg, struct timer *timer, uint64_t now)
{
    struct topic_retained *tree = arg;
    void *message = message_take(tree, ((struct expiry *)timer)->node);
    tree->config.expired(tree->config.arg, message);
}

void *topic_retained_get(const struct topic_retained *tree, struct topic_name *name)
{
    const struct topic_retained_node *node = node_find(tree, name);
    return node == NULL ? NULL : node->message;
}

void topic_retained_stats(const struct topic_retained *tree, struct topic_retained_stats *stats)
{
    *stats = tree->stats;
}

/* ---- walks ---- */

/* Put the cursor on another node (NULL: the end). The old one may go now. */
static void walk_move(struct topic_retained_walk *walk, struct topic_retained_node *node)
{
    struct topic_retained_node *from = walk->node;
    if (node != NULL) {
        node->walks++;
    }
    walk->node = node;
    from->walks--;
    nodes_prune(walk->tree, from);
}

void topic_retained_walk_begin(struct topic_retained_walk *walk, struct topic_retained *tree,
                               const struct topic_filter_name *filter)
{
    walk->tree = tree;
    walk->node = &tree->root;
    walk->depth = 0;
    walk->levels = 0;
    walk->subtree = true;
    walk->all = filter == NULL;
    walk->leaving = false;
    tree->root.walks++;
    tree->stats.walks++;
    if (filter == NULL) {
        return;
    }
    walk->filter = filter->filter;
    walk->filter_length = filter->filter_length;
    walk->subtree = filter->filter[filter->filter_length - 1] == '#';
    unsigned starts = 0;
    walk->starts[starts++] = 0;
    for (uint32_t i = 0; i < filter->filter_length; i++) {
        if (filter->filter[i] == '/') {
            walk->starts[starts++] = (uint16_t)(i + 1);
        }
    }
    walk->starts[starts] = (uint16_t)(filter->filter_length + 1);
    walk->levels = (uint16_t)(starts - walk->subtree);
}

void topic_retained_walk_end(struct topic_retained_walk *walk)
{
    if (walk->node != NULL) {
        walk->tree->stats.walks--;
        walk_move(walk, NULL);
    }
}

/* Is the level below depth `depth` one where all children match? */
static bool level_is_wild(const struct topic_retained_walk *walk, unsigned depth)
{
    return depth >= walk->levels
               ? walk->subtree
               : walk->filter[walk->starts[depth]] == '+' && walk->starts[depth + 1] - 1 - walk->starts[depth] == 1;
}

/* First of `node` and its later siblings that a wildcard may match: no '$' topic in the first level. */
static struct topic_retained_node *sibling_allowed(const struct topic_retained_walk *walk,
                                                   struct topic_retained_node *node)
{
    while (!walk->all && node != NULL && node->parent == &walk->tree->root && node->length > 0 &&
           node->level[0] == '$') {
        node = node->next;
    }
    return node;
}

/* The first child that the filter lets the walk into, or NULL. */
static struct topic_retained_node *walk_child(const struct topic_retained_walk *walk)
{
    if (level_is_wild(walk, walk->depth)) {
        return sibling_allowed(walk, walk->node->children);
    }
    if (walk->depth >= walk->levels) {
        return NULL;
    }
    uint32_t start = walk->starts[walk->depth];
    uint16_t length = (uint16_t)(walk->starts[walk->depth + 1] - 1 - start);
    struct node_key key = text_key(walk->tree, walk->node, walk->filter + start, length);
    return child_find(walk->tree, &key);
}

/* Everything at and below the node is done: on to a sibling, or back to the parent. */
static void walk_leave(struct topic_retained_walk *walk)
{
    if (walk->depth == 0) {
        topic_retained_walk_end(walk);
        return;
    }
    struct topic_retained_node *sibling =
        level_is_wild(walk, walk->depth - 1u) ? sibling_allowed(walk, walk->node->next) : NULL;
    if (sibling != NULL) {
        walk->leaving = false;
        walk_move(walk, sibling);
    } else {
        walk->depth--;
        walk_move(walk, walk->node->parent);
    }
}

/* One step into the tree, after the node itself has been seen. */
static void walk_enter(struct topic_retained_walk *walk)
{
    struct topic_retained_node *child = walk_child(walk);
    if (child == NULL) {
        walk->leaving = true;
    } else {
        walk->depth++;
        walk_move(walk, child);
    }
}

bool topic_retained_walk_next(struct topic_retained_walk *walk, uint32_t budget,
                              bool (*deliver)(void *arg, void *message), void *arg)
{
    for (; walk->node != NULL && budget > 0; budget--) {
        if (walk->leaving) {
            walk_leave(walk);
            continue;
        }
        /* REQ MQTT-5 [MQTT-3.3.1-9]: each matching retained message is sent [test: retained/walk_under_change] */
        bool matches = walk->depth == walk->levels || (walk->depth > walk->levels && walk->subtree);
        if (matches && walk->node->message != NULL && !deliver(arg, walk->node->message)) {
            return walk->node != NULL;
        }
        /* The callback may have ended the walk. */
        if (walk->node != NULL) {
            walk_enter(walk);
        }
    }
    return walk->node != NULL;
}

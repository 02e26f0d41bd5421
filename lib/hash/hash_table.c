/*
 * Linear hashing under RCU, the writer's half: see hash_table.h for the structure and the proof.
 */
#include "lib/hash/hash_table.h"

#include <string.h>

/* Objects per two buckets above which a bucket is split, and objects per four buckets below which two are merged. */
#define SPLIT_LOAD 7u
#define MERGE_LOAD 5u

#define SEGMENT_BYTES (HASH_SEGMENT_BUCKETS * sizeof(struct hash_bucket))

static uint32_t buckets_now(const struct hash_table *table)
{
    return (uint32_t)atomic_load_explicit(&table->shape, memory_order_relaxed);
}

/* Release: everything stored in buckets before is seen by who reads this shape (acquire in hash_table_find). */
static void shape_publish(struct hash_table *table, uint32_t buckets)
{
    uint64_t changes = (atomic_load_explicit(&table->shape, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&table->shape, changes << 32 | buckets, memory_order_release);
}

static void slot_store(_Atomic uint64_t *slot, uint64_t value)
{
    atomic_store_explicit(slot, value, memory_order_release);
}

/* Without a hook nobody else reads: back to the allocator at once. */
static void retire(struct hash_table *table, void *object, size_t size)
{
    if (table->retire != NULL) {
        table->retire(table->retire_arg, object, size);
    } else {
        table->allocator.free(table->allocator.arg, object, size);
    }
}

static bool segment_create(struct hash_table *table, uint32_t segment)
{
    if (segment >= table->segments_max) {
        return false;
    }
    if (atomic_load_explicit(&table->segments[segment], memory_order_relaxed) != NULL) {
        return true;
    }
    struct hash_bucket *buckets = table->allocator.alloc(table->allocator.arg, SEGMENT_BYTES);
    if (buckets == NULL) {
        return false;
    }
    memset(buckets, 0, SEGMENT_BYTES);
    atomic_store_explicit(&table->segments[segment], buckets, memory_order_release);
    return true;
}

bool hash_table_init(struct hash_table *table, const struct hash_table_config *config)
{
    uint32_t segments = (uint32_t)((uint64_t)config->objects_max * 2 / SPLIT_LOAD / HASH_SEGMENT_BUCKETS) + 1;
    size_t directory = segments * sizeof(table->segments[0]);
    *table = (struct hash_table){
        .segments = config->allocator.alloc(config->allocator.arg, directory),
        .segments_max = segments,
        .hash_of = config->hash_of,
        .allocator = config->allocator,
        .retire = config->retire,
        .retire_arg = config->retire_arg,
    };
    if (table->segments == NULL) {
        return false;
    }
    memset((void *)table->segments, 0, directory);
    if (!segment_create(table, 0)) {
        hash_table_clear(table);
        return false;
    }
    shape_publish(table, 1);
    return true;
}

static struct hash_bucket *chain_next(const struct hash_bucket *bucket)
{
    return atomic_load_explicit(&bucket->more, memory_order_relaxed);
}

/* Free a bucket's overflow without looking at readers. */
static void chain_free(struct hash_table *table, struct hash_bucket *bucket)
{
    for (struct hash_bucket *more = chain_next(bucket), *next; more != NULL; more = next) {
        next = chain_next(more);
        table->allocator.free(table->allocator.arg, more, sizeof(*more));
    }
    atomic_store_explicit(&bucket->more, NULL, memory_order_relaxed);
}

void hash_table_clear(struct hash_table *table)
{
    for (uint32_t i = 0; table->segments != NULL && i < table->segments_max; i++) {
        struct hash_bucket *buckets = atomic_load_explicit(&table->segments[i], memory_order_relaxed);
        if (buckets == NULL) {
            continue;
        }
        for (uint32_t b = 0; b < HASH_SEGMENT_BUCKETS; b++) {
            chain_free(table, &buckets[b]);
        }
        table->allocator.free(table->allocator.arg, buckets, SEGMENT_BYTES);
    }
    if (table->segments != NULL) {
        table->allocator.free(table->allocator.arg, (void *)table->segments,
                              table->segments_max * sizeof(table->segments[0]));
    }
    *table = (struct hash_table){0};
}

static struct hash_bucket *chain_append(struct hash_table *table, struct hash_bucket *last)
{
    struct hash_bucket *more = table->allocator.alloc(table->allocator.arg, sizeof(*more));
    if (more != NULL) {
        memset(more, 0, sizeof(*more));
        atomic_store_explicit(&last->more, more, memory_order_release);
    }
    return more;
}

static bool chain_store(struct hash_table *table, struct hash_bucket *bucket, uint64_t slot)
{
    for (;; bucket = chain_next(bucket)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) == 0) {
                slot_store(&bucket->slots[i], slot);
                return true;
            }
        }
        if (chain_next(bucket) == NULL) {
            struct hash_bucket *more = chain_append(table, bucket);
            if (more != NULL) {
                slot_store(&more->slots[0], slot);
            }
            return more != NULL;
        }
    }
}

/* Store in an empty slot of the chain in front of bucket `end`. */
static bool chain_store_before(struct hash_bucket *bucket, const struct hash_bucket *end, uint64_t slot)
{
    for (; bucket != end; bucket = chain_next(bucket)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) == 0) {
                slot_store(&bucket->slots[i], slot);
                return true;
            }
        }
    }
    return false;
}

static bool bucket_is_empty(const struct hash_bucket *bucket)
{
    for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
        if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) != 0) {
            return false;
        }
    }
    return true;
}

/* Unlink one empty overflow bucket: one an operation keeps what is retired bounded. Readers inside it still leave by
 * its link. */
static void chain_prune(struct hash_table *table, struct hash_bucket *bucket)
{
    for (struct hash_bucket *more; (more = chain_next(bucket)) != NULL; bucket = more) {
        if (bucket_is_empty(more)) {
            atomic_store_explicit(&bucket->more, chain_next(more), memory_order_release);
            retire(table, more, sizeof(*more));
            return;
        }
    }
}

/*
 * Move the objects of a chain forward into its empty slots, so that overflow buckets become empty. The published shape
 * tells readers that objects have moved, as after a split.
 */
static void chain_compact(struct hash_table *table, struct hash_bucket *head)
{
    for (struct hash_bucket *more = chain_next(head); more != NULL; more = chain_next(more)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&more->slots[i], memory_order_relaxed);
            if (slot != 0 && chain_store_before(head, more, slot)) {
                shape_publish(table, buckets_now(table));
                slot_store(&more->slots[i], 0);
            }
        }
    }
}

/* Does the slot's object belong to bucket `index` once there are `buckets`? */
static bool slot_belongs(const struct hash_table *table, uint64_t slot, uint32_t index, uint32_t buckets)
{
    return hash_table_index(table->hash_of(hash_slot_object(slot)), buckets) == index;
}

/* Store in `to` what belongs there. False when memory ran out half way. */
static bool split_copy(struct hash_table *table, const struct hash_bucket *from, struct hash_bucket *to, uint32_t index)
{
    for (; from != NULL; from = chain_next(from)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&from->slots[i], memory_order_relaxed);
            if (slot != 0 && slot_belongs(table, slot, index, index + 1) && !chain_store(table, to, slot)) {
                return false;
            }
        }
    }
    return true;
}

static void split_clear(struct hash_table *table, struct hash_bucket *from, uint32_t index)
{
    for (; from != NULL; from = chain_next(from)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&from->slots[i], memory_order_relaxed);
            if (slot != 0 && slot_belongs(table, slot, index, index + 1)) {
                slot_store(&from->slots[i], 0);
            }
        }
    }
}

/* One bucket more. Without memory nothing changes; a later insertion tries again. */
static void table_grow(struct hash_table *table)
{
    uint32_t index = buckets_now(table);
    if (!segment_create(table, index / HASH_SEGMENT_BUCKETS)) {
        return;
    }
    struct hash_bucket *to = hash_table_bucket(table, index);
    struct hash_bucket *from = hash_table_bucket(table, index & ~(0x80000000u >> __builtin_clz(index)));
    if (!split_copy(table, from, to, index)) {
        split_clear(table, to, index); /* overflow buckets stay: a reader from before the last merge may be in them */
        return;
    }
    shape_publish(table, index + 1);
    split_clear(table, from, index);
    chain_prune(table, from);
}

/*
 * One bucket less: the last one joins the bucket that it was split from. While it has more than one overflow bucket
 * only an empty one of them goes, which bounds what one call retires; the next removal tries again.
 */
static void table_shrink(struct hash_table *table)
{
    uint32_t index = buckets_now(table) - 1;
    struct hash_bucket *from = hash_table_bucket(table, index);
    struct hash_bucket *to = hash_table_bucket(table, index & ~(0x80000000u >> __builtin_clz(index)));
    struct hash_bucket *more = chain_next(from);
    if (more != NULL && chain_next(more) != NULL) {
        chain_compact(table, from);
        chain_prune(table, from);
        return;
    }
    for (struct hash_bucket *bucket = from; bucket != NULL; bucket = chain_next(bucket)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot != 0 && !chain_store(table, to, slot)) {
                split_clear(table, to, index);
                return;
            }
        }
    }
    shape_publish(table, index);
    for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
        slot_store(&from->slots[i], 0);
    }
    atomic_store_explicit(&from->more, NULL, memory_order_release);
    if (more != NULL) {
        retire(table, more, sizeof(*more));
    }
    if (index % HASH_SEGMENT_BUCKETS == 0) {
        atomic_store_explicit(&table->segments[index / HASH_SEGMENT_BUCKETS], NULL, memory_order_release);
        retire(table, from, SEGMENT_BYTES);
    }
}

/* Two merges a removal catch up after one that had to wait; more would lengthen what one removal may retire. */
static void table_shrink_to_load(struct hash_table *table)
{
    for (unsigned merges = 0; merges < 2; merges++) {
        uint32_t buckets = buckets_now(table);
        if (buckets == 1 || (uint64_t)table->count * 4 >= (uint64_t)buckets * MERGE_LOAD) {
            return;
        }
        table_shrink(table);
    }
}

bool hash_table_add(struct hash_table *table, uint64_t hash, void *object)
{
    uint32_t buckets = buckets_now(table);
    uint64_t slot = hash_slot_tag(hash) << 48 | (uint64_t)(uintptr_t)object;
    if (!chain_store(table, hash_table_bucket(table, hash_table_index(hash, buckets)), slot)) {
        return false;
    }
    table->count++;
    if ((uint64_t)table->count * 2 > (uint64_t)buckets * SPLIT_LOAD) {
        table_grow(table);
    }
    return true;
}

void hash_table_remove(struct hash_table *table, uint64_t hash, void *object)
{
    uint32_t buckets = buckets_now(table);
    struct hash_bucket *head = hash_table_bucket(table, hash_table_index(hash, buckets));
    for (struct hash_bucket *bucket = head; bucket != NULL; bucket = chain_next(bucket)) {
        for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot != 0 && hash_slot_object(slot) == object) {
                slot_store(&bucket->slots[i], 0);
                table->count--;
                chain_prune(table, head);
                table_shrink_to_load(table);
                return;
            }
        }
    }
}

void hash_table_each(const struct hash_table *table, void (*visit)(void *arg, void *object), void *arg)
{
    for (uint32_t index = 0; index < buckets_now(table); index++) {
        for (struct hash_bucket *b = hash_table_bucket(table, index); b != NULL; b = chain_next(b)) {
            for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
                uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
                if (slot != 0) {
                    visit(arg, hash_slot_object(slot));
                }
            }
        }
    }
}

/*
 * The hash table that topics, filters, sessions and client identifiers are found in: pointers to objects, no stall when
 * it grows, memory only for what is in it.
 *
 * Job:     find an object by 64-bit hash and a comparison. The hash is the caller's: seeded, where clients choose keys.
 * Thread:  one writer, which calls everything. Any number of concurrent readers may call hash_table_find and the
 *          prefetches, if the retire hook defers freeing until they have left; a table that only its writer reads needs
 *          no hook.
 * Owner:   the table owns buckets, segments and directory; objects are the caller's.
 *
 * Structure: linear hashing. Buckets are cache lines of seven tagged pointers and a link to an overflow bucket, in
 * segments of 256; a directory of segments is allocated once. With n buckets, a hash belongs to bucket h mod 2^k, or h
 * mod 2^(k-1) where that is not there yet. Each insertion beyond the load splits one bucket, so the cost of growing is
 * spread evenly and the worst insertion clears one segment (16 KiB).
 *
 * Why a reader never misses an object that is there. The word `shape` holds the number of buckets and a count of
 * changes. A split (or merge) (1) stores the moving objects in their new bucket, (2) publishes the new shape with
 * release, (3) clears their old slots with release. A reader that comes too late to see an object in its old slot has
 * read that slot's clearing with acquire, so the shape it reads after its search differs from the one it began with,
 * and it searches again. A reader that began with the new shape sees the new bucket filled, by (1) before (2). Objects
 * that move forward inside a chain (chain_compact) do so in the same three steps.
 */
#ifndef POLLUX_LIB_HASH_TABLE_H
#define POLLUX_LIB_HASH_TABLE_H

#include "lib/mem/allocator.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HASH_BUCKET_SLOTS 7u
#define HASH_SEGMENT_BUCKETS 256u

/* Most objects that one add or remove retires: an overflow bucket here and there, and a segment. */
#define HASH_TABLE_RETIRE_MAX 5u

struct hash_bucket {
    _Alignas(64) _Atomic uint64_t slots[HASH_BUCKET_SLOTS]; /* tag (16 bits), address (48 bits); 0: empty */
    _Atomic(struct hash_bucket *) more;
};

struct hash_table {
    _Atomic uint64_t shape; /* changes << 32 | buckets */
    _Atomic(struct hash_bucket *) *segments;
    uint32_t segments_max;
    uint32_t count;
    uint32_t (*hash_of)(const void *object); /* low 32 bits of the object's hash */
    struct mem_allocator allocator;
    void (*retire)(void *arg, void *object, size_t size);
    void *retire_arg;
};

struct hash_table_config {
    struct mem_allocator allocator;
    void (*retire)(void *arg, void *object, size_t size); /* NULL: free at once */
    void *retire_arg;
    uint32_t objects_max; /* sizes the directory; more objects make chains longer, not wrong */
    uint32_t (*hash_of)(const void *object);
};

bool hash_table_init(struct hash_table *table, const struct hash_table_config *config);

/* Frees buckets and directory, not the objects. No reader may be left. */
void hash_table_clear(struct hash_table *table);

/* The object must not be in the table. False without memory. */
bool hash_table_add(struct hash_table *table, uint64_t hash, void *object);

/* The object must be in the table. */
void hash_table_remove(struct hash_table *table, uint64_t hash, void *object);

void hash_table_each(const struct hash_table *table, void (*visit)(void *arg, void *object), void *arg);

/* The tag is never 0, so an empty slot matches no hash. */
static inline uint64_t hash_slot_tag(uint64_t hash)
{
    return hash >> 48 | 1;
}

static inline void *hash_slot_object(uint64_t slot)
{
    return (void *)(uintptr_t)(slot & 0x0000ffffffffffffull);
}

/* Number of the bucket of a hash when there are `buckets`. */
static inline uint32_t hash_table_index(uint64_t hash, uint32_t buckets)
{
    uint32_t mask = UINT32_MAX >> __builtin_clz(buckets | 1);
    uint32_t index = (uint32_t)hash & mask;
    return index < buckets ? index : index & mask >> 1;
}

/* NULL for a reader whose shape is older than the merge that gave the segment up. */
static inline struct hash_bucket *hash_table_bucket(const struct hash_table *table, uint32_t index)
{
    /* Acquire pairs with the release in segment_create: the segment's buckets are cleared. */
    struct hash_bucket *segment =
        atomic_load_explicit(&table->segments[index / HASH_SEGMENT_BUCKETS], memory_order_acquire);
    return __builtin_expect(segment == NULL, 0) ? NULL : segment + index % HASH_SEGMENT_BUCKETS;
}

static inline void hash_table_prefetch(const struct hash_table *table, uint64_t hash)
{
    uint32_t buckets = (uint32_t)atomic_load_explicit(&table->shape, memory_order_acquire);
    __builtin_prefetch(hash_table_bucket(table, hash_table_index(hash, buckets)));
}

/* Ask memory for the objects that a look-up of this hash will compare with; reads the bucket, so prefetch that before.
 */
static inline void hash_table_prefetch_object(const struct hash_table *table, uint64_t hash)
{
    uint32_t buckets = (uint32_t)atomic_load_explicit(&table->shape, memory_order_acquire);
    const struct hash_bucket *bucket = hash_table_bucket(table, hash_table_index(hash, buckets));
    for (unsigned i = 0; bucket != NULL && i < HASH_BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
        if (slot >> 48 == hash_slot_tag(hash)) {
            __builtin_prefetch(hash_slot_object(slot));
            __builtin_prefetch((const char *)hash_slot_object(slot) + 63); /* its text, if that is in the next line */
        }
    }
}

/* The object for which same(object, key) holds, or NULL. Inline, so that `same` is too. */
static inline __attribute__((always_inline)) void *hash_table_find(const struct hash_table *table, uint64_t hash,
                                                                   bool (*same)(const void *object, const void *key),
                                                                   const void *key)
{
    uint64_t tag = hash_slot_tag(hash);
    uint64_t shape = atomic_load_explicit(&table->shape, memory_order_acquire);
    for (;;) {
        struct hash_bucket *bucket = hash_table_bucket(table, hash_table_index(hash, (uint32_t)shape));
        while (bucket != NULL) {
            for (unsigned i = 0; i < HASH_BUCKET_SLOTS; i++) {
                /* Acquire pairs with the release in slot_store: the object is complete; or with the clearing (above).
                 */
                uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
                if (slot >> 48 == tag && same(hash_slot_object(slot), key)) {
                    return hash_slot_object(slot);
                }
            }
            /* Acquire pairs with the release in chain_append: the overflow bucket is cleared. */
            bucket = atomic_load_explicit(&bucket->more, memory_order_acquire);
        }
        uint64_t shape_after = atomic_load_explicit(&table->shape, memory_order_acquire);
        if (shape_after == shape) {
            return NULL;
        }
        shape = shape_after;
    }
}

#endif

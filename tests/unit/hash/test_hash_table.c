/* The hash table against a model: an array that says which numbers are in it. */
#include "lib/hash/hash_table.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { NUMBERS = 20000, STEPS = 200000 };

/* An object whose key is its number. */
struct number {
    uint32_t value;
    uint64_t hash;
};

static struct number numbers[NUMBERS];
static bool present[NUMBERS];
static uint32_t seen[NUMBERS];

/* What the table has of the heap, and after how many allocations there is no more. */
static size_t bytes_held;
static uint32_t allocations_left;

static void *counted_alloc(void *arg, size_t size)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left--;
    bytes_held += size;
    return size % 64 == 0 ? aligned_alloc(64, size) : malloc(size);
}

static void counted_free(void *arg, void *pointer, size_t size)
{
    bytes_held -= size;
    free(pointer);
}

static uint32_t number_hash(const void *number)
{
    return (uint32_t)((const struct number *)number)->hash;
}

static bool number_is(const void *number, const void *value)
{
    return ((const struct number *)number)->value == *(const uint32_t *)value;
}

static struct number *number_find(const struct hash_table *table, uint32_t value)
{
    return hash_table_find(table, numbers[value].hash, number_is, &value);
}

static void number_count(void *arg, void *number)
{
    seen[((struct number *)number)->value]++;
    ++*(uint32_t *)arg;
}

/* Hashes keep `bits` of their low bits, so that few of them make almost everything collide. */
static struct hash_table table_make(unsigned bits, uint32_t allocations)
{
    struct hash_table table;
    const struct hash_table_config config = {
        .allocator = {.alloc = counted_alloc, .free = counted_free}, .objects_max = NUMBERS, .hash_of = number_hash};
    srandom(1);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        numbers[i] = (struct number){i, (uint64_t)random() << 48 | ((uint64_t)random() & ((1u << bits) - 1))};
        present[i] = false;
        seen[i] = 0;
    }
    bytes_held = 0;
    allocations_left = allocations;
    cr_assert(hash_table_init(&table, &config));
    return table;
}

static void table_is_as_the_model(const struct hash_table *table)
{
    uint32_t visited = 0, there = 0;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        cr_assert_eq(number_find(table, i), present[i] ? &numbers[i] : NULL, "%u", i);
        there += present[i];
        seen[i] = 0;
    }
    hash_table_each(table, number_count, &visited);
    cr_expect_eq(visited, there);
    cr_expect_eq(table->count, there);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        cr_expect_eq(seen[i], present[i], "%u is visited once if it is there", i);
    }
}

static void random_changes(unsigned bits, uint32_t steps, uint32_t range)
{
    struct hash_table table = table_make(bits, UINT32_MAX);
    const size_t empty = bytes_held;
    for (uint32_t step = 0; step < steps; step++) {
        const uint32_t i = (uint32_t)random() % range;
        if (present[i]) {
            hash_table_remove(&table, numbers[i].hash, &numbers[i]);
        } else {
            cr_assert(hash_table_add(&table, numbers[i].hash, &numbers[i]));
        }
        present[i] = !present[i];
    }
    table_is_as_the_model(&table);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        if (present[i]) {
            hash_table_remove(&table, numbers[i].hash, &numbers[i]);
            present[i] = false;
        }
    }
    table_is_as_the_model(&table);
    cr_expect_leq(bytes_held, empty + 8 * sizeof(struct hash_bucket), "an empty table is small again: %zu B",
                  bytes_held);
    hash_table_clear(&table);
    cr_expect_eq(bytes_held, 0);
}

Test(hash_table, random_changes)
{
    random_changes(31, STEPS, NUMBERS);
}

Test(hash_table, colliding_hashes)
{
    random_changes(3, 3000, 300);
}

Test(hash_table, grows_in_small_steps)
{
    struct hash_table table = table_make(31, UINT32_MAX);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        const size_t enough = bytes_held + 2 * HASH_SEGMENT_BUCKETS * sizeof(struct hash_bucket);
        cr_assert(hash_table_add(&table, numbers[i].hash, &numbers[i]));
        cr_expect_leq(bytes_held, enough);
    }
    cr_expect_leq(bytes_held / NUMBERS, 24, "%zu B an object", bytes_held / NUMBERS);
    hash_table_clear(&table);
}

Test(hash_table, without_memory_an_object_is_refused_and_the_others_stay)
{
    struct hash_table table = table_make(31, 6);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        present[i] = hash_table_add(&table, numbers[i].hash, &numbers[i]);
        refused += !present[i];
    }
    cr_expect_gt(refused, 0);
    table_is_as_the_model(&table);
    allocations_left = UINT32_MAX;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        if (!present[i]) {
            present[i] = hash_table_add(&table, numbers[i].hash, &numbers[i]);
            cr_assert(present[i]);
        }
    }
    table_is_as_the_model(&table);
    hash_table_clear(&table);
    cr_expect_eq(bytes_held, 0);
}

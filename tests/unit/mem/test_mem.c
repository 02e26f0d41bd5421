/* lib/mem: what the region promises in mem.h, sizes, bounds, giving memory back, misuse, random use against a model. */
#include "lib/mem/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RANGE (8u << 20)

static void *range;
static struct mem_region *region;
static const char *misuse_reason;

static void remember_misuse(void *arg, const char *reason, const void *pointer)
{
    misuse_reason = reason;
}

static void set_up(void)
{
    range = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    region = mem_region_create(range, RANGE);
    cr_assert_not_null(region);
    mem_region_on_misuse(region, remember_misuse, NULL);
}

static void tear_down(void)
{
    mem_region_destroy(region);
    munmap(range, RANGE);
}

TestSuite(mem, .init = set_up, .fini = tear_down);

static struct mem_stats stats_now(void)
{
    struct mem_stats stats;
    mem_stats(region, &stats);
    return stats;
}

Test(mem, every_size_is_usable_and_aligned)
{
    size_t sizes[] = {1, 16, 17, 48, 49, 100, 129, 255, 256, 257, 1000, 2047, 2048, 2049, 4096, 4097, 70000, 1 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *p = mem_alloc(region, sizes[i]);
        cr_assert_not_null(p);
        cr_expect_geq(mem_usable(region, p), sizes[i]);
        cr_expect_eq((uintptr_t)p % (sizes[i] > MEM_SLAB_MAX ? MEM_PAGE_SIZE : 16), 0);
        memset(p, 0xa5, mem_usable(region, p));
        mem_free(region, p);
    }
    cr_expect_eq(stats_now().objects, 0);
    cr_expect_eq(stats_now().used, 0);
}

Test(mem, power_of_two_classes_are_aligned_to_their_size)
{
    for (size_t size = 16; size <= 2048; size *= 2) {
        for (int i = 0; i < 40; i++) {
            cr_expect_eq((uintptr_t)mem_alloc(region, size) % size, 0);
        }
    }
}

Test(mem, zero_size_and_null_are_harmless)
{
    cr_expect_null(mem_alloc(region, 0));
    mem_free(region, NULL);
    cr_expect_null(mem_alloc(region, SIZE_MAX));
    cr_expect_null(mem_alloc(region, RANGE));
    cr_expect_eq(stats_now().failures, 2);
}

Test(mem, the_whole_region_can_be_used_and_comes_back)
{
    size_t largest = stats_now().largest_free;
    void *first = NULL;
    size_t count = 0;
    for (void **p; (p = mem_alloc(region, 48)) != NULL; count++) {
        *p = first;
        first = p;
    }
    cr_expect_geq(count * 48, RANGE / 100 * 95, "only %zu objects", count);
    while (first != NULL) {
        void *next = *(void **)first;
        mem_free(region, first);
        first = next;
    }
    struct mem_stats stats = stats_now();
    cr_expect_eq(stats.used, 0);
    cr_expect_leq(stats.committed, MEM_PAGE_SIZE, "empty slabs were kept");
    void *block = mem_alloc(region, largest);
    cr_expect_not_null(block, "blocks did not merge, or the spare slab was not given back under pressure");
    mem_free(region, block);
}

Test(mem, resize_keeps_content_and_moves_only_when_needed)
{
    uint8_t *p = mem_alloc(region, 20);
    memset(p, 7, 20);
    cr_expect_eq(mem_resize(region, p, 32), p);
    uint8_t *q = mem_resize(region, p, 5000);
    cr_expect_neq(q, p);
    for (int i = 0; i < 20; i++) {
        cr_expect_eq(q[i], 7);
    }
    q = mem_resize(region, q, 10);
    cr_expect_eq(q[9], 7);
    cr_expect_lt(mem_usable(region, q), 4096, "a shrunk object kept its block");
    cr_expect_null(mem_resize(region, q, RANGE));
    cr_expect_eq(q[9], 7, "a refused resize must leave the object");
    cr_expect_null(mem_resize(region, q, 0));
    cr_expect_eq(stats_now().objects, 0);
}

Test(mem, double_free_is_found_and_ignored)
{
    void *keep = mem_alloc(region, 64), *p = mem_alloc(region, 64);
    mem_free(region, p);
    mem_free(region, p);
#ifndef NDEBUG
    cr_expect_str_eq(misuse_reason, "object is free already");
#endif
    void *block = mem_alloc(region, 8192);
    mem_free(region, block);
    mem_free(region, block);
    cr_expect_not_null(misuse_reason);
    cr_expect_geq(stats_now().misuses, 1);
    mem_free(region, keep);
}

Test(mem, foreign_and_inner_pointers_are_found_and_ignored)
{
    int foreign;
    mem_free(region, &foreign);
    cr_expect_str_eq(misuse_reason, "pointer outside the region");
    uint8_t *block = mem_alloc(region, 16384), *object = mem_alloc(region, 64);
    misuse_reason = NULL;
    mem_free(region, block + 4096);
    cr_expect_str_eq(misuse_reason, "not the start of a block");
    misuse_reason = NULL;
    mem_free(region, object + 8);
    cr_expect_str_eq(misuse_reason, "not the start of an object");
    cr_expect_eq(mem_usable(region, &foreign), 0);
    cr_expect_eq(stats_now().misuses, 3);
    cr_expect_eq(stats_now().objects, 2);
}

Test(mem, statistics_tell_what_is_held)
{
    void *a = mem_alloc(region, 100), *b = mem_alloc(region, 10000);
    struct mem_stats stats = stats_now();
    cr_expect_eq(stats.used, 128 + 16384);
    cr_expect_eq(stats.objects, 2);
    cr_expect_eq(stats.allocations, 2);
    unsigned found = 0;
    for (unsigned i = 0; i < MEM_CLASS_COUNT; i++) {
        found += stats.classes[i].size == 128 && stats.classes[i].objects == 1 && stats.classes[i].slabs == 1;
        cr_expect(i == 0 || stats.classes[i].size > stats.classes[i - 1].size);
    }
    cr_expect_eq(found, 1);
    mem_free(region, a);
    mem_free(region, b);
    cr_expect_eq(stats_now().used_max, 128 + 16384);
}

Test(mem, a_range_that_is_too_small_is_refused)
{
    static uint8_t small[15 * MEM_PAGE_SIZE];
    cr_expect_null(mem_region_create(small, sizeof(small)));
    cr_expect_null(mem_region_create(NULL, RANGE));
    cr_expect_null(mem_region_create(range, 0));
}

/* Thousands of objects of all sizes come and go; each carries a pattern that a neighbour would destroy. */
Test(mem, random_use_keeps_objects_apart)
{
    enum { SLOTS = 700 };
    static struct {
        uint8_t *p;
        size_t size;
        uint8_t pattern;
    } slot[SLOTS];
    unsigned seed = 1;
    size_t used = 0;
    for (int step = 0; step < 60000; step++) {
        unsigned i = (unsigned)rand_r(&seed) % SLOTS;
        if (slot[i].p != NULL) {
            for (size_t at = 0; at < slot[i].size; at += slot[i].size / 8 + 1) {
                cr_assert_eq(slot[i].p[at], slot[i].pattern);
            }
            used -= mem_usable(region, slot[i].p);
            mem_free(region, slot[i].p);
            slot[i].p = NULL;
            continue;
        }
        unsigned shift = (unsigned)rand_r(&seed) % 15;
        slot[i].size = 1 + (unsigned)rand_r(&seed) % (2u << shift);
        slot[i].pattern = (uint8_t)rand_r(&seed);
        slot[i].p = mem_alloc(region, slot[i].size);
        if (slot[i].p != NULL) {
            memset(slot[i].p, slot[i].pattern, slot[i].size);
            used += mem_usable(region, slot[i].p);
        }
        cr_assert_eq(stats_now().used, used);
    }
    for (int i = 0; i < SLOTS; i++) {
        mem_free(region, slot[i].p);
    }
    struct mem_stats stats = stats_now();
    cr_expect_eq(stats.objects, 0);
    cr_expect_eq(stats.used, 0);
    cr_expect_eq(stats.misuses, 0);
}

/* What the tests of dataplane/ share: a memory region, and a census of it at the end. */
#ifndef TESTS_UNIT_DATAPLANE_SUPPORT_H
#define TESTS_UNIT_DATAPLANE_SUPPORT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/mem/mem.h"

enum { REGION_SIZE = 64 << 20 };

static inline struct mem_region *region_open(void)
{
    void *range = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct mem_region *region = mem_region_create(range, REGION_SIZE);
    cr_assert_not_null(region);
    return region;
}

static inline uint64_t region_objects(const struct mem_region *region)
{
    struct mem_stats stats;
    mem_stats(region, &stats);
    return stats.objects;
}

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ (z >> 27);
}

#endif

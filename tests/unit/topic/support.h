/* What the tests of lib/topic share: a region, seeds, short ways to say name and filter, random topics. */
#ifndef POLLUX_TESTS_UNIT_TOPIC_SUPPORT_H
#define POLLUX_TESTS_UNIT_TOPIC_SUPPORT_H

#include "lib/mem/mem.h"
#include "lib/topic/name.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct topic_seed test_seed = {.key = {0x0123456789abcdefull, 0xfedcba9876543210ull}};
static const struct topic_limits no_limits;

/* All bits but two cleared in the low and the tag part: almost everything collides. */
static const struct topic_seed colliding_seed = {.key = {1, 2}, .weaken = ~0x8000000000000001ull};

struct test_region {
    void *range;
    size_t size;
    struct mem_region *region;
};

static inline struct test_region test_region_open(size_t size)
{
    struct test_region test = {.size = size};
    test.range = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    test.region = mem_region_create(test.range, size);
    cr_assert_not_null(test.region);
    return test;
}

/* The census: nothing may be left. */
static inline void test_region_close(struct test_region *test)
{
    struct mem_stats stats;
    mem_stats(test->region, &stats);
    cr_expect_eq(stats.objects, 0, "%lu objects left over", (unsigned long)stats.objects);
    cr_expect_eq(stats.used, 0);
    cr_expect_eq(stats.misuses, 0);
    mem_region_destroy(test->region);
    munmap(test->range, test->size);
}

static inline struct topic_filter_name filter_named(const char *text)
{
    struct topic_filter_name filter;
    cr_assert_eq(topic_filter_parse(&filter, &no_limits, text, strlen(text)), TOPIC_OK, "filter %s", text);
    return filter;
}

static inline struct topic_name *name_set(struct topic_name *name, const struct topic_seed *seed, const char *text)
{
    cr_assert_eq(topic_name_set(name, seed, &no_limits, text, strlen(text)), TOPIC_OK, "topic %s", text);
    return name;
}

/* A random topic or filter of few words, so that many match. */
static inline void random_text(unsigned *state, char *text, bool filter)
{
    static const char *const words[] = {"a", "b", "c", "", "$x", "ab", "long-level-name", "d"};
    unsigned levels = 1 + (unsigned)rand_r(state) % 5;
    text[0] = '\0';
    for (unsigned i = 0; i < levels; i++) {
        unsigned kind = (unsigned)rand_r(state) % 10;
        if (i > 0) {
            strcat(text, "/");
        }
        if (filter && kind < 3) {
            strcat(text, "+");
        } else if (filter && kind == 3 && i + 1 == levels) {
            strcat(text, "#");
        } else {
            strcat(text, words[(unsigned)rand_r(state) % 8]);
        }
    }
    if (text[0] == '\0') {
        strcpy(text, "a");
    }
}

#endif

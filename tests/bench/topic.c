/*
 * What the topic tables cost, from 1 to as many filters as asked for: subscribe and unsubscribe, match cold (shared and
 * private table, no cache) and cached, memory of a subscription, and the longest single subscribe.
 *
 * Filters look like those of devices: "plant/<area>/device/<number>/state" (exact), every tenth of them with '+' or '#'
 * where the mix says so. Topics are drawn at random among all, so that with many filters nothing is in the CPU's
 * caches. "warm" repeats 64 topics. Usage: bench-topic [largest count, default 1000000] [hugepages: 1]
 */
#include "lib/mem/mem.h"
#include "lib/topic/cache.h"
#include "lib/topic/retained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum mix { EXACT, WILDCARD, MIXED };
static const char *const mix_names[] = {"exact", "wildcard", "mixed"};

static const struct topic_seed seed = {.key = {0x243f6a8885a308d3ull, 0x13198a2e03707344ull}};
static const struct topic_limits no_limits;
static int hugepages = 1;

struct router {
    void *range[2];
    size_t size[2];
    struct mem_region *worker, *housekeeper;
    struct topic_subscribers *subscribers;
    struct topic_shared *shared;
    struct topic_cache *cache;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Time of this thread on a CPU: what other programs take does not count. */
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static struct mem_region *region_open(struct router *router, int which, size_t size)
{
    const size_t huge = 2u << 20;
    size = (size + huge - 1) / huge * huge;
    router->size[which] = size + huge;
    router->range[which] =
        mmap(NULL, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uintptr_t start = ((uintptr_t)router->range[which] + huge - 1) & ~(uintptr_t)(huge - 1);
    madvise((void *)start, size, hugepages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    /* As a worker's memory is: present before the first message. */
    madvise((void *)start, size, MADV_POPULATE_WRITE);
    return mem_region_create((void *)start, size);
}

static size_t filter_text(char *text, enum mix mix, unsigned i)
{
    bool wildcard = mix == WILDCARD || (mix == MIXED && i % 10 == 0);
    if (!wildcard) {
        return (size_t)sprintf(text, "plant/%u/device/%u/state", i % 97, i);
    }
    return (size_t)sprintf(text, i % 20 < 10 ? "plant/+/device/%u/state" : "plant/%2$u/device/%1$u/#", i, i % 97);
}

static size_t topic_text(char *text, unsigned i)
{
    return (size_t)sprintf(text, "plant/%u/device/%u/state", i % 97, i);
}

static void shared_apply(struct router *router, const char *text, size_t length, bool present)
{
    struct topic_shared_update update = {.present = present};
    topic_filter_parse(&update.filter, &no_limits, text, length);
    topic_shared_apply(router->shared, &update, 1);
    topic_shared_poll(router->shared, 0, 64);
}

static void report(enum mix mix, unsigned count, const char *what, double value, const char *unit)
{
    printf("%-8s %9u  %-44s %9.1f %s\n", mix_names[mix], count, what, value, unit);
}

static struct router router_open(unsigned count)
{
    struct router router = {0};
    router.worker = region_open(&router, 0, (64u << 20) + (size_t)count * 900);
    router.housekeeper = region_open(&router, 1, (64u << 20) + (size_t)count * 400);
    struct topic_shared_config shared = {seed, mem_allocator_region(router.housekeeper), count + 1, 4096};
    router.shared = topic_shared_create(&shared);
    struct topic_subscribers_config subscribers = {seed, router.worker, count + 1, NULL, NULL};
    router.subscribers = topic_subscribers_create(&subscribers);
    struct topic_cache_config cache = {.seed = seed,
                                       .region = router.worker,
                                       .subscribers = router.subscribers,
                                       .shared = router.shared,
                                       .entries = 2 * count,
                                       .large_from = 8192};
    router.cache = topic_cache_create(&cache);
    return router;
}

static void router_close(struct router *router)
{
    topic_cache_destroy(router->cache);
    topic_shared_destroy(router->shared);
    munmap(router->range[0], router->size[0]);
    munmap(router->range[1], router->size[1]);
}

/* Ten subscriptions a session. */
static void subscribe_all(struct router *router, struct topic_session *sessions, enum mix mix, unsigned count)
{
    struct mem_stats before[2], after[2];
    double private_time = 0, shared_time = 0, longest_private = 0, longest_shared = 0;
    char text[64];
    mem_stats(router->worker, &before[0]);
    mem_stats(router->housekeeper, &before[1]);
    for (unsigned i = 0; i < count; i++) {
        size_t length = filter_text(text, mix, i);
        struct topic_filter_name filter;
        topic_filter_parse(&filter, &no_limits, text, length);
        double start = seconds();
        topic_subscribe(router->subscribers, &sessions[i / 10], &filter, 1, 0);
        double middle = seconds();
        shared_apply(router, text, length, true);
        double end = seconds();
        private_time += middle - start;
        shared_time += end - middle;
        longest_private = middle - start > longest_private ? middle - start : longest_private;
        longest_shared = end - middle > longest_shared ? end - middle : longest_shared;
    }
    mem_stats(router->worker, &after[0]);
    mem_stats(router->housekeeper, &after[1]);
    report(mix, count, "subscribe, private table", count / private_time / 1e3, "k/s");
    report(mix, count, "subscribe, shared table", count / shared_time / 1e3, "k/s");
    report(mix, count, "longest subscribe, private table", longest_private * 1e6, "us");
    report(mix, count, "longest update, shared table", longest_shared * 1e6, "us");
    report(mix, count, "memory, private table", (double)(after[0].used - before[0].used) / count, "B a subscription");
    report(mix, count, "memory, shared table", (double)(after[1].used - before[1].used) / count, "B a filter");
}

enum how { COLD, CACHED, ANNOUNCED };

/* How many messages before its turn one is announced. */
#define AHEAD TOPIC_CACHE_AHEAD

/* What routing does next: the members are read. */
static uint64_t route_session(const struct topic_entry *entry)
{
    const struct topic_filter *filter = topic_entry_payload(entry);
    return (uintptr_t)topic_members_array(&filter->members)[0].session;
}

/* Match `rounds` topics drawn among `spread`; texts are made beforehand, and read in order. */
static double match_time(struct router *router, unsigned spread, enum how how, unsigned rounds)
{
    enum { STRIDE = 48 };
    char *texts = malloc((size_t)rounds * STRIDE);
    uint8_t *lengths = malloc(rounds);
    if (texts == NULL || lengths == NULL) {
        exit(1);
    }
    struct topic_name name;
    struct topic_matches filters, groups;
    struct topic_shared_result result;
    struct topic_search searches[4];
    enum topic_status status;
    uint64_t found = 0;
    struct mem_allocator allocator = mem_allocator_region(router->worker);
    topic_matches_init(&filters, allocator);
    topic_matches_init(&groups, allocator);
    topic_shared_result_init(&result, allocator);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned device = (unsigned)((uint64_t)(i * 2654435761u) * spread >> 32);
        lengths[i] = (uint8_t)topic_text(texts + (size_t)i * STRIDE, device);
    }
    double begin = cpu_seconds();
    for (unsigned i = 0; i < rounds; i++) {
        const char *text = texts + (size_t)i * STRIDE;
        if (how == ANNOUNCED && i + AHEAD < rounds) {
            topic_cache_announce(router->cache, text + AHEAD * STRIDE, lengths[i + AHEAD]);
        }
        if (how != COLD) {
            const struct topic_route *route = topic_cache_route(router->cache, text, lengths[i], &status);
            for (uint32_t k = 0; k < route->filter_count; k++) {
                found += route_session(route->filters[k]);
            }
            continue;
        }
        topic_name_set(&name, &seed, &no_limits, text, lengths[i]);
        filters.count = groups.count = 0;
        topic_subscribers_search(router->subscribers, &name, &filters, &groups, searches);
        topic_shared_search(router->shared, &name, &result, searches + 2);
        topic_index_match(searches, 4);
        topic_shared_sum(&result);
        for (uint32_t k = 0; k < filters.count; k++) {
            found += route_session(filters.entries[k]);
        }
        found += result.workers;
    }
    double time = (cpu_seconds() - begin) / rounds * 1e9;
    __asm__ volatile("" : : "r"(found));
    topic_matches_free(&filters);
    topic_matches_free(&groups);
    topic_shared_result_free(&result);
    free(texts);
    free(lengths);
    return time;
}

/* Routes of topics that the cache has not seen: it is emptied now and then, so that all are matches. */
static double first_time(struct router *router, unsigned count, enum how how)
{
    const unsigned rounds = count < 50000 ? count : 50000;
    double time = 0;
    for (unsigned part = 0; part < 10; part++) {
        topic_cache_flush(router->cache);
        time += match_time(router, count, how, rounds) / 10;
    }
    return time;
}

/* What a match costs, ns: the tables alone; by way of the cache, for the first time and read ahead, as workers do. */
struct match_cost {
    double cold, first, announced;
};

static struct match_cost run(enum mix mix, unsigned count)
{
    struct match_cost cost;
    const unsigned rounds = 1000000;
    struct topic_session *sessions = calloc(count / 10 + 1, sizeof(*sessions));
    struct router router = router_open(count);
    subscribe_all(&router, sessions, mix, count);
    const unsigned few = count < 64 ? count : 64;
    cost.cold = match_time(&router, count, COLD, rounds);
    report(mix, count, "match, random topic, both tables", cost.cold, "ns");
    report(mix, count, "match, 64 topics, both tables", match_time(&router, few, COLD, rounds), "ns");
    match_time(&router, few, CACHED, 1000);
    report(mix, count, "route, 64 topics, cached", match_time(&router, few, CACHED, rounds), "ns");
    cost.first = first_time(&router, count, CACHED);
    report(mix, count, "route, first time", cost.first, "ns");
    cost.announced = first_time(&router, count, ANNOUNCED);
    report(mix, count, "route, first time, announced", cost.announced, "ns");
    /* Each topic twice, so that the cache has grown. */
    for (unsigned i = 0; i < 2 * count / rounds + 2; i++) {
        match_time(&router, count, CACHED, rounds);
    }
    report(mix, count, "route, random topic, cached", match_time(&router, count, CACHED, rounds), "ns");
    report(mix, count, "route, random topic, cached, announced", match_time(&router, count, ANNOUNCED, rounds), "ns");
    double begin = seconds();
    for (unsigned i = 0; i < count / 10 + 1; i++) {
        topic_session_clear(router.subscribers, &sessions[i], UINT32_MAX);
    }
    report(mix, count, "unsubscribe, private table", count / (seconds() - begin) / 1e3, "k/s");
    topic_subscribers_destroy(router.subscribers);
    router_close(&router);
    free(sessions);
    return cost;
}

static bool count_message(void *arg, void *message)
{
    ++*(uint64_t *)arg;
    return true;
}

static void count_expired(void *arg, void *message)
{
    ++*(uint64_t *)arg;
}

/* All at once, as many an iteration as a worker takes. */
static void retained_expire(struct timer_wheel *wheel, unsigned count, const uint64_t *expired)
{
    const double begin = seconds();
    double longest = 0;
    for (uint64_t now = 2000000; *expired < count; now += 1000) {
        const double start = seconds();
        timer_wheel_advance(wheel, now, 1024);
        longest = seconds() - start > longest ? seconds() - start : longest;
    }
    printf("retained %9u  %-44s %9.1f ns a message\n", count, "expire", (seconds() - begin) / count * 1e9);
    printf("retained %9u  %-44s %9.1f us\n", count, "longest turn of 1024 timers", longest * 1e6);
}

static void retained(unsigned count)
{
    static struct timer_wheel wheel;
    uint64_t expired = 0;
    timer_wheel_init(&wheel, 0);
    struct router router = {0};
    struct mem_region *region = region_open(&router, 0, (64u << 20) + (size_t)count * 400);
    struct topic_retained_config config = {.seed = seed,
                                           .allocator = mem_allocator_region(region),
                                           .count_max = count,
                                           .wheel = &wheel,
                                           .expired = count_expired,
                                           .arg = &expired};
    struct topic_retained *tree = topic_retained_create(&config);
    struct topic_name name;
    char text[64];
    void *old;
    struct mem_stats stats;
    double begin = seconds();
    for (unsigned i = 0; i < count; i++) {
        topic_name_set(&name, &seed, &no_limits, text, topic_text(text, i));
        topic_retained_set(tree, &name, tree, 100, 0, &old);
    }
    printf("retained %9u  %-44s %9.1f k/s\n", count, "set", count / (seconds() - begin) / 1e3);
    mem_stats(region, &stats);
    printf("retained %9u  %-44s %9.1f B a topic\n", count, "memory", (double)stats.used / count);
    struct topic_retained_walk walk;
    struct topic_filter_name filter;
    uint64_t found = 0, slices = 0;
    double longest = 0;
    topic_filter_parse(&filter, &no_limits, "#", 1);
    topic_retained_walk_begin(&walk, tree, &filter);
    begin = seconds();
    for (bool more = true; more; slices++) {
        double start = seconds();
        more = topic_retained_walk_next(&walk, 256, count_message, &found);
        longest = seconds() - start > longest ? seconds() - start : longest;
    }
    printf("retained %9u  %-44s %9.1f ns a message, %lu found\n", count, "walk '#' in slices of 256",
           (seconds() - begin) / (double)found * 1e9, (unsigned long)found);
    printf("retained %9u  %-44s %9.1f us\n", count, "longest slice", longest * 1e6);
    for (unsigned i = 0; i < count; i++) {
        topic_name_set(&name, &seed, &no_limits, text, topic_text(text, i));
        topic_retained_set(tree, &name, tree, 100, 1000000, &old);
    }
    retained_expire(&wheel, count, &expired);
    munmap(router.range[0], router.size[0]);
}

int main(int argc, char **argv)
{
    unsigned largest = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
    hugepages = argc > 2 ? atoi(argv[2]) : 1;
    for (enum mix mix = EXACT; mix <= MIXED; mix++) {
        struct match_cost thousand = {0};
        for (unsigned count = 1; count <= largest; count *= 1000) {
            const struct match_cost cost = run(mix, count);
            thousand = count == 1000 ? cost : thousand;
            if (count == 1000000) {
                report(mix, count, "1 M over 1,000: match", cost.cold / thousand.cold, "times");
                report(mix, count, "1 M over 1,000: route, first time", cost.first / thousand.first, "times");
                report(mix, count, "1 M over 1,000: route, first time, announced", cost.announced / thousand.announced,
                       "times (at most 3)");
            }
            if (count >= 1000000 && largest > count) {
                run(mix, largest);
                break;
            }
        }
    }
    retained(largest < 1000000 ? largest : 1000000);
    return 0;
}

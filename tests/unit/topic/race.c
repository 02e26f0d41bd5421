/*
 * The shared table under real threads: a program of its own, without Criterion, so that ThreadSanitizer can run it.
 *
 * Readers match without pause while the writer makes filters flap, exact, wildcard and shared, so that tables grow,
 * shrink and reclaim. Filters that stay must be found by every match, also where a brother of theirs in the trie comes
 * and goes; removed memory must not be touched (the sanitizers tell). Each has a match cache too, for topics that are
 * one to all filters but for one that flaps: its topic's route must never become that of the others. Usage:
 * test-topic-race [milliseconds]; exit status 0 when all held.
 */
#include "lib/mem/mem.h"
#include "lib/topic/cache.h"
#include "lib/topic/shared.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { READERS = 2, STABLE = 200, CHURN = 3000 };
enum { ALIKE = 100, ODD = 17, EVERYBODY = 1, ODD_ONE = 5, MEMORY = 4 << 20 };

static const struct topic_seed seed = {.key = {0x0123456789abcdefull, 0xfedcba9876543210ull}};
static const struct topic_limits no_limits;
static struct topic_shared *shared;
static _Atomic bool stop;
static _Atomic uint64_t matched, missed, strayed;

static void match(struct topic_shared_result *result, const char *topic)
{
    struct topic_name name;
    topic_name_set(&name, &seed, &no_limits, topic, strlen(topic));
    struct topic_search searches[2];
    topic_shared_search(shared, &name, result, searches);
    topic_index_match(searches, 2);
    topic_shared_sum(result);
}

static void presence_nobody_hears(void *arg, const struct topic_filter_name *filter, bool present)
{
}

static struct topic_cache *cache_open(struct mem_region *region)
{
    const struct topic_subscribers_config subscribers = {
        .seed = seed, .region = region, .filters_max = 16, .presence = presence_nobody_hears};
    const struct topic_cache_config config = {.seed = seed,
                                              .region = region,
                                              .subscribers = topic_subscribers_create(&subscribers),
                                              .shared = shared,
                                              .entries = 1024};
    return topic_cache_create(&config);
}

/* "alike/+/x" is EVERYBODY's; "alike/17/x" ODD_ONE's, now and then. */
static void cache_check(struct topic_cache *cache, unsigned i)
{
    char topic[64];
    enum topic_status status;
    snprintf(topic, sizeof(topic), "alike/%u/x", i);
    const struct topic_route *route = topic_cache_route(cache, topic, strlen(topic), &status);
    if (route == NULL || (route->workers >> EVERYBODY & 1) == 0) {
        atomic_fetch_add(&missed, 1);
    } else if ((route->workers >> ODD_ONE & 1) != 0 && i != ODD) {
        atomic_fetch_add(&strayed, 1);
    }
}

static void *reader_main(void *arg)
{
    void *memory = malloc(MEMORY);
    struct topic_cache *cache = cache_open(mem_region_create(memory, MEMORY));
    struct topic_reader *reader = arg;
    struct topic_shared_result result;
    unsigned state = (unsigned)(uintptr_t)arg;
    uint64_t count = 0;
    char topic[64];
    topic_shared_result_init(&result, mem_allocator_heap());
    topic_reader_online(reader);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned i = (unsigned)rand_r(&state) % STABLE;
        snprintf(topic, sizeof(topic), i % 4 == 0 ? "stable/%u" : "stable/%u/x", i);
        match(&result, topic);
        if ((result.workers >> (i % 60) & 1) == 0) {
            atomic_fetch_add(&missed, 1);
        }
        snprintf(topic, sizeof(topic), "churn/%u/x", (unsigned)rand_r(&state) % CHURN);
        match(&result, topic);
        for (unsigned k = 0; k < 8; k++) {
            cache_check(cache, k == 0 ? ODD : (unsigned)rand_r(&state) % ALIKE);
        }
        topic_reader_quiescent(reader);
        if (++count % 1000 == 0) {
            topic_reader_offline(reader);
            topic_reader_online(reader);
        }
    }
    topic_reader_offline(reader);
    topic_shared_result_free(&result);
    free(memory);
    atomic_fetch_add(&matched, count);
    return NULL;
}

static void change(const char *form, unsigned i, unsigned worker, bool present)
{
    char text[64];
    struct topic_shared_update update = {.worker = (uint8_t)worker, .present = present};
    snprintf(text, sizeof(text), form, i);
    topic_filter_parse(&update.filter, &no_limits, text, strlen(text));
    while (topic_shared_apply(shared, &update, 1) == 0) {
        topic_shared_poll(shared, 0, 1000);
        sched_yield();
    }
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The brothers of the filters that stay and have one. */
static void brothers(bool present)
{
    for (unsigned i = 0; i < STABLE; i++) {
        if (i % 4 >= 2) {
            change("stable/%u/brother/#", i, 63, present);
        }
    }
}

/* Those with i % 4 == 3 are the younger brothers. */
static void stable_add(void)
{
    static const char *const forms[] = {"stable/%u", "stable/%u/+", "stable/%u/x/#", "stable/%u/x/#"};
    for (unsigned i = 0; i < STABLE; i++) {
        if (i % 4 == 3) {
            change("stable/%u/brother/#", i, 63, true);
        }
        change(forms[i % 4], i, i % 60, true);
    }
    brothers(true);
    brothers(false);
}

/* Every churning filter comes, then every one goes. */
static void churn(unsigned round)
{
    brothers(round % 2 == 0);
    static const char *const forms[] = {"churn/%u/x", "churn/%u/+", "churn/+/%u/#", "$share/g/churn/%u/x"};
    for (unsigned step = 0; step < 2 * CHURN; step++) {
        change(forms[step % 4], step % CHURN, round % 64, step < CHURN);
        if (step % 4 == 0) {
            change("alike/%u/x", ODD, ODD_ONE, step % 8 == 0);
        }
        topic_shared_poll(shared, 0, 64);
    }
    change("alike/%u/x", ODD, ODD_ONE, false);
}

int main(int argc, char **argv)
{
    pthread_t threads[READERS];
    struct topic_shared_config config = {
        .seed = seed, .allocator = mem_allocator_heap(), .filters_max = 100000, .reclaim_capacity = 8192};
    uint64_t end = milliseconds() + (argc > 1 ? strtoul(argv[1], NULL, 10) : 2500);
    unsigned rounds = 0;
    shared = topic_shared_create(&config);
    stable_add();
    change("alike/+/x", 0, EVERYBODY, true);
    for (unsigned i = 0; i < READERS; i++) {
        pthread_create(&threads[i], NULL, reader_main, topic_reader_register(topic_shared_reclaim(shared), i));
    }
    for (; milliseconds() < end || rounds == 0; rounds++) {
        churn(rounds);
    }
    brothers(false);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct topic_reclaim_stats stats;
    topic_reclaim_stats(topic_shared_reclaim(shared), 0, &stats);
    printf("%lu matches beside %u rounds of %u changes; missed %lu, strayed %lu, reclaimed %lu, backlog at most %u\n",
           (unsigned long)atomic_load(&matched), rounds, 2 * CHURN, (unsigned long)atomic_load(&missed),
           (unsigned long)atomic_load(&strayed), (unsigned long)stats.reclaimed, stats.backlog_max);
    bool held = atomic_load(&missed) == 0 && atomic_load(&strayed) == 0 && atomic_load(&matched) > 100 &&
                stats.lost == 0 && stats.reclaimed > 1000 && topic_shared_count(shared) == STABLE + 1 &&
                topic_shared_group_filters(shared) == 0;
    topic_shared_destroy(shared);
    return held ? 0 : 1;
}

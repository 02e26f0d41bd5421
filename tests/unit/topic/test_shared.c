/* lib/topic/shared.h and reclaim.h: bitmaps, groups, generations, grace periods step by step. Real threads: race.c. */
#include "lib/topic/shared.h"
#include "tests/unit/topic/support.h"

static struct topic_shared *shared;
static struct topic_shared_result result;

static void open_shared(const struct topic_seed *seed, uint32_t capacity)
{
    struct topic_shared_config config = {
        .seed = *seed,
        .allocator = mem_allocator_heap(),
        .filters_max = 100000,
        .reclaim_capacity = capacity,
    };
    shared = topic_shared_create(&config);
    cr_assert_not_null(shared);
    topic_shared_result_init(&result, mem_allocator_heap());
}

static void close_shared(void)
{
    topic_shared_result_free(&result);
    topic_shared_destroy(shared);
}

static enum topic_status apply(const char *filter, unsigned worker, bool present)
{
    struct topic_shared_update update = {.filter = filter_named(filter), .worker = (uint8_t)worker, .present = present};
    cr_assert_eq(topic_shared_apply(shared, &update, 1), 1);
    return update.status;
}

static uint64_t workers_of(const char *topic)
{
    struct topic_name name;
    struct topic_search searches[2];
    topic_shared_search(shared, name_set(&name, &test_seed, topic), &result, searches);
    topic_index_match(searches, 2);
    cr_assert(searches[0].complete && searches[1].complete);
    cr_assert(topic_shared_sum(&result));
    return result.workers;
}

Test(shared, bitmaps_follow_first_and_last)
{
    open_shared(&test_seed, 4096);
    cr_expect_eq(apply("a/b", 0, true), TOPIC_OK);
    cr_expect_eq(apply("a/+", 63, true), TOPIC_OK);
    cr_expect_eq(apply("a/b", 2, true), TOPIC_OK);
    cr_expect_eq(workers_of("a/b"), 1ull | 1ull << 2 | 1ull << 63);
    cr_expect_eq(workers_of("a/c"), 1ull << 63);
    cr_expect_eq(apply("a/b", 0, false), TOPIC_OK);
    cr_expect_eq(apply("a/b", 0, false), TOPIC_NOT_FOUND);
    cr_expect_eq(apply("x", 0, false), TOPIC_NOT_FOUND);
    cr_expect_eq(apply("x", 64, true), TOPIC_INVALID);
    cr_expect_eq(workers_of("a/b"), 1ull << 2 | 1ull << 63);
    apply("a/b", 2, false);
    apply("a/+", 63, false);
    cr_expect_eq(workers_of("a/b"), 0);
    cr_expect_eq(topic_shared_count(shared), 0);
    close_shared();
}

Test(shared, groups_are_kept_apart)
{
    open_shared(&test_seed, 4096);
    apply("$share/g/a/#", 1, true);
    apply("$share/g/a/#", 2, true);
    apply("$share/h/a/#", 2, true);
    apply("$share/g/a/b", 3, true);
    struct topic_filter_name wild = filter_named("$share/g/a/#"), exact = filter_named("$share/g/a/b");
    cr_expect_eq(workers_of("a/b"), 0);
    cr_expect_eq(result.share_count, 3);
    unsigned found = 0;
    for (unsigned i = 0; i < result.share_count; i++) {
        found += result.shares[i].group == topic_group_id(&test_seed, &wild) && result.shares[i].workers == 6;
        found += result.shares[i].group == topic_group_id(&test_seed, &exact) && result.shares[i].workers == 8;
    }
    cr_expect_eq(found, 2);
    apply("$share/g/a/#", 1, false);
    apply("$share/g/a/#", 2, false);
    workers_of("a/b");
    cr_expect_eq(result.share_count, 2);
    cr_expect_eq(apply("$share/g/a/#", 2, false), TOPIC_NOT_FOUND);
    apply("$share/h/a/#", 2, false);
    apply("$share/g/a/b", 3, false);
    cr_expect_eq(topic_shared_group_filters(shared), 0);
    close_shared();
}

Test(shared, generations_change_where_the_filter_is)
{
    open_shared(&test_seed, 4096);
    unsigned other = 0;
    struct topic_filter_name filter = filter_named("a/b");
    unsigned stripe = topic_filter_stripe(&test_seed, &filter);
    other = stripe == 0 ? 1 : 0;
    uint64_t here = topic_shared_generation(shared, stripe), there = topic_shared_generation(shared, other);
    apply("a/b", 0, true);
    cr_expect_neq(topic_shared_generation(shared, stripe), here);
    cr_expect_eq(topic_shared_generation(shared, other), there);
    here = topic_shared_generation(shared, stripe);
    apply("a/b", 0, true);
    cr_expect_eq(topic_shared_generation(shared, stripe), here, "nothing changed");
    apply("+/b", 0, true);
    cr_expect_neq(topic_shared_generation(shared, stripe), here);
    cr_expect_neq(topic_shared_generation(shared, other), there);
    close_shared();
}

/* Grace periods without threads: two readers, each step asserted. */
Test(reclaim, memory_waits_for_every_online_reader)
{
    struct topic_reclaim *reclaim = topic_reclaim_create(mem_allocator_heap(), 16);
    struct topic_reader *a = topic_reader_register(reclaim, 0), *b = topic_reader_register(reclaim, 5);
    cr_expect_null(topic_reader_register(reclaim, 5));
    cr_expect_null(topic_reader_register(reclaim, 64));
    topic_reader_online(a);
    topic_reader_online(b);
    topic_reclaim_retire(reclaim, malloc(10), 10);
    cr_expect_eq(topic_reclaim_poll(reclaim, 100, 99), 0);
    topic_reader_quiescent(a);
    cr_expect_eq(topic_reclaim_poll(reclaim, 200, 99), 0);
    struct topic_reclaim_stats stats;
    topic_reclaim_stats(reclaim, 350, &stats);
    cr_expect_eq(stats.slowest_reader, 5);
    cr_expect_eq(stats.oldest_wait, 250);
    cr_expect_eq(stats.backlog, 1);
    cr_expect_eq(stats.backlog_bytes, 10);
    topic_reader_quiescent(b);
    cr_expect_eq(topic_reclaim_poll(reclaim, 400, 99), 1);
    /* Retired during a grace period: that period's end is not enough. */
    topic_reclaim_retire(reclaim, malloc(10), 10);
    topic_reclaim_poll(reclaim, 500, 99);
    topic_reclaim_retire(reclaim, malloc(10), 10);
    topic_reader_quiescent(a);
    topic_reader_quiescent(b);
    cr_expect_eq(topic_reclaim_poll(reclaim, 600, 99), 1);
    /* A reader that goes offline holds nothing; one that comes back later cannot hold what was unlinked before. */
    topic_reader_offline(b);
    topic_reader_quiescent(a);
    cr_expect_eq(topic_reclaim_poll(reclaim, 700, 99), 1);
    topic_reader_online(b);
    topic_reader_unregister(a);
    topic_reader_unregister(b);
    cr_expect_not_null(topic_reader_register(reclaim, 5));
    topic_reclaim_destroy(reclaim);
}

Test(reclaim, budget_and_bound)
{
    struct topic_reclaim *reclaim = topic_reclaim_create(mem_allocator_heap(), 8);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            topic_reclaim_retire(reclaim, malloc(4), 4);
        }
        cr_expect_eq(topic_reclaim_room(reclaim), 0);
        void *lost = malloc(4);
        topic_reclaim_retire(reclaim, lost, 4);
        free(lost);
        topic_reclaim_poll(reclaim, 0, 0);
        cr_expect_eq(topic_reclaim_poll(reclaim, 0, 3), 3);
        cr_expect_eq(topic_reclaim_poll(reclaim, 0, 99), 5);
    }
    struct topic_reclaim_stats stats;
    topic_reclaim_stats(reclaim, 0, &stats);
    cr_expect_eq(stats.reclaimed, 24);
    cr_expect_eq(stats.lost, 3);
    cr_expect_eq(stats.backlog_max, 8);
    topic_reclaim_destroy(reclaim);
}

/* A reader that sleeps online stops reclamation and, at the bound, updates; it costs no unbounded memory. */
Test(shared, a_sleeping_reader_stops_updates_not_the_writer)
{
    open_shared(&test_seed, 1024);
    struct topic_reader *reader = topic_reader_register(topic_shared_reclaim(shared), 0);
    topic_reader_online(reader);
    struct topic_shared_update update = {.filter = filter_named("flap/+"), .worker = 0};
    unsigned applied = 0;
    for (; applied < 10000; applied++) {
        update.present = applied % 2 == 0;
        topic_shared_poll(shared, 0, 100);
        if (topic_shared_apply(shared, &update, 1) == 0) {
            break;
        }
    }
    cr_expect_lt(applied, 10000);
    for (int i = 0; i < 3; i++) {
        topic_reader_quiescent(reader);
        topic_shared_poll(shared, 0, 2000);
    }
    cr_expect_eq(topic_shared_apply(shared, &update, 1), 1);
    topic_reader_offline(reader);
    close_shared();
}

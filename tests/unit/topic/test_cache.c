/* lib/topic/cache.h: routes equal fresh matches, stay when nothing changed, are never followed when something did. */
#include "lib/topic/cache.h"
#include "tests/unit/topic/support.h"

static struct test_region memory;
static struct topic_subscribers *table;
static struct topic_shared *shared;
static struct topic_cache *cache;
static struct topic_seed seed;
static uint32_t large_from = 4096;

static void presence(void *arg, const struct topic_filter_name *filter, bool present)
{
    struct topic_shared_update update = {.filter = *filter, .worker = 3, .present = present};
    cr_assert_eq(topic_shared_apply(shared, &update, 1), 1);
    topic_shared_poll(shared, 0, 1000);
}

static void open_with(const struct topic_seed *with, uint32_t entries)
{
    seed = *with;
    memory = test_region_open(64 << 20);
    struct topic_shared_config shared_config = {seed, mem_allocator_region(memory.region), 1000, 4096};
    shared = topic_shared_create(&shared_config);
    struct topic_subscribers_config config = {seed, memory.region, 1000, presence, NULL};
    table = topic_subscribers_create(&config);
    struct topic_cache_config cache_config = {.seed = seed,
                                              .region = memory.region,
                                              .subscribers = table,
                                              .shared = shared,
                                              .entries = entries,
                                              .large_from = large_from};
    cache = topic_cache_create(&cache_config);
    cr_assert(shared != NULL && table != NULL && cache != NULL);
}

static void open_all(const struct topic_seed *with)
{
    open_with(with, 64);
}

static void close_all(void)
{
    topic_cache_destroy(cache);
    topic_subscribers_destroy(table);
    topic_shared_destroy(shared);
    test_region_close(&memory);
}

static const struct topic_route *route(const char *topic)
{
    enum topic_status status;
    const struct topic_route *found = topic_cache_route(cache, topic, strlen(topic), &status);
    cr_assert_eq(status, TOPIC_OK);
    cr_assert_not_null(found);
    return found;
}

static void subscribe(struct topic_session *session, const char *text)
{
    struct topic_filter_name filter = filter_named(text);
    cr_assert_eq(topic_subscribe(table, session, &filter, 0, 0).status, TOPIC_OK);
}

static void unsubscribe(struct topic_session *session, const char *text)
{
    struct topic_filter_name filter = filter_named(text);
    cr_assert_eq(topic_unsubscribe(table, session, &filter), TOPIC_OK);
}

static struct topic_cache_stats stats_now(void)
{
    struct topic_cache_stats stats;
    topic_cache_stats(cache, &stats);
    return stats;
}

Test(cache, hits_until_something_that_matters_changes)
{
    open_all(&test_seed);
    struct topic_session one = {0}, two = {0};
    subscribe(&one, "a/b");
    cr_expect_eq(route("a/b")->filter_count, 1);
    cr_expect_eq(route("a/b")->workers, 1ull << 3);
    cr_expect_eq(stats_now().hits, 1);
    subscribe(&two, "a/b");
    cr_expect_eq(((struct topic_filter *)topic_entry_payload(route("a/b")->filters[0]))->members.count, 2);
    cr_expect_eq(stats_now().hits, 2, "a further subscriber of the same filter needs no new match");
    subscribe(&two, "a/+");
    cr_expect_eq(route("a/b")->filter_count, 2);
    cr_expect_eq(stats_now().stale, 1);
    subscribe(&two, "#");
    cr_expect_eq(route("a/b")->filter_count, 3);
    cr_expect_eq(stats_now().stale, 2, "a leading wildcard concerns all stripes");
    topic_session_clear(table, &one, 9);
    topic_session_clear(table, &two, 9);
    cr_expect_eq(route("a/b")->filter_count, 0);
    cr_expect_eq(route("a/b")->workers, 0);
    close_all();
}

Test(cache, churn_elsewhere_keeps_entries)
{
    open_all(&test_seed);
    struct topic_session one = {0};
    struct topic_filter_name here = filter_named("stay/x");
    char text[32];
    subscribe(&one, "stay/x");
    route("stay/x");
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "churn%d/x", i);
        struct topic_filter_name there = filter_named(text);
        if (topic_filter_stripe(&seed, &there) != topic_filter_stripe(&seed, &here)) {
            subscribe(&one, text);
            unsubscribe(&one, text);
        }
    }
    route("stay/x");
    cr_expect_eq(stats_now().hits, 1);
    topic_session_clear(table, &one, 9);
    close_all();
}

Test(cache, unsubscribe_while_cached_is_never_followed)
{
    open_all(&test_seed);
    struct topic_session one = {0};
    for (int i = 0; i < 1000; i++) {
        subscribe(&one, "x/y");
        subscribe(&one, "$share/g/x/+");
        const struct topic_route *found = route("x/y");
        cr_assert_eq(found->filter_count, 1);
        cr_assert_eq(found->group_count, 1);
        cr_assert_eq(found->share_count, 1);
        cr_assert_eq(found->shares[0].workers, 1ull << 3);
        cr_assert_eq(((struct topic_filter *)topic_entry_payload(found->filters[0]))->members.one.session, &one);
        unsubscribe(&one, "x/y");
        unsubscribe(&one, "$share/g/x/+");
        found = route("x/y");
        cr_assert_eq(found->filter_count + found->group_count + found->share_count, 0);
    }
    close_all();
}

Test(cache, long_topics_and_many_matches_are_kept_outside)
{
    open_all(&test_seed);
    struct topic_session one = {0};
    char topic[300] = "l/", text[300];
    memset(topic + 2, 'x', 250);
    subscribe(&one, topic);
    for (unsigned bits = 0; bits < 64; bits++) {
        text[0] = '\0';
        for (unsigned level = 0; level < 6; level++) {
            strcat(text, level > 0 ? "/" : "");
            strcat(text, bits >> level & 1 ? "+" : "m");
        }
        subscribe(&one, text);
    }
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(route(topic)->filter_count, 1);
        cr_expect_eq(route("m/m/m/m/m/m")->filter_count, 64);
    }
    cr_expect_eq(stats_now().hits, 4);
    cr_expect_eq(stats_now().not_stored, 0);
    topic_session_clear(table, &one, 99);
    close_all();
}

static void route_all(unsigned topics)
{
    char topic[32];
    for (unsigned i = 0; i < topics; i++) {
        snprintf(topic, sizeof(topic), "grow/%u", i);
        cr_assert_eq(route(topic)->filter_count, 1);
    }
}

Test(cache, grows_with_the_topics_in_use_up_to_its_bound)
{
    enum { TOPICS = 20000, ROOM = 65536 };
    open_with(&test_seed, ROOM);
    struct topic_session one = {0};
    subscribe(&one, "grow/+");
    subscribe(&one, "grow/none"); /* so that the second level decides */
    route_all(10);
    cr_expect_not(topic_cache_is_large(cache));
    const uint64_t small = stats_now().room;
    for (unsigned round = 0; round < 20; round++) {
        route_all(TOPICS);
    }
    cr_expect(topic_cache_is_large(cache));
    cr_expect_gt(stats_now().room, small);
    const uint64_t missed = stats_now().misses;
    route_all(TOPICS);
    cr_expect_lt(stats_now().misses - missed, TOPICS / 50, "more than a fiftieth is still forgotten");
    for (unsigned round = 0; round < 3; round++) {
        route_all(4 * ROOM);
    }
    cr_expect_eq(stats_now().room, ROOM, "the bound holds");
    topic_session_clear(table, &one, 9);
    close_all();
}

Test(cache, announcing_changes_no_answer)
{
    enum { TOPICS = 5000 };
    static char texts[TOPICS][32];
    open_with(&test_seed, 65536);
    struct topic_session one = {0};
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(texts[i], sizeof(texts[i]), i % 3 == 0 ? "t/%u/a-long-rest-of-it" : "t/%u", i);
    }
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < TOPICS; i += TOPICS / 400) {
            subscribe(&one, texts[i]);
        }
        for (unsigned i = 0; i < TOPICS; i++) {
            const unsigned ahead = i + TOPIC_CACHE_AHEAD;
            topic_cache_announce(cache, texts[ahead % TOPICS], ahead < TOPICS ? strlen(texts[ahead]) : 0);
            cr_assert_eq(route(texts[i])->filter_count, i % (TOPICS / 400) == 0);
        }
        topic_session_clear(table, &one, UINT32_MAX);
    }
    close_all();
}

/*
 * What is announced for the first time is matched ahead, some topics together. Meanwhile filters come and go, topics
 * repeat, are too long for that or none at all, and the bytes change before they are looked at again.
 */
Test(cache, matching_ahead_changes_no_answer)
{
    enum { ROUNDS = 20000, TOPICS = 3000, LENGTH = 256 };
    static char texts[TOPICS][LENGTH], buffer[TOPIC_CACHE_AHEAD][LENGTH];
    static bool subscribed[TOPICS];
    struct topic_session one = {0}, all = {0};
    unsigned state = 5;
    open_with(&test_seed, 4096);
    subscribe(&all, "m/+/#");
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(texts[i], LENGTH, "m/%u/%0*u", i, 1 + i % 200, 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        char *announced = buffer[(unsigned)rand_r(&state) % TOPIC_CACHE_AHEAD]; /* perhaps overwrites another */
        const unsigned next = (unsigned)rand_r(&state) % TOPICS, flapping = (unsigned)rand_r(&state) % TOPICS;
        snprintf(announced, LENGTH, "%s", round % 50 == 0 ? "m/+/x" : texts[next]);
        topic_cache_announce(cache, announced, strlen(announced));
        if (round % 3 == 0 && !subscribed[flapping]) {
            subscribe(&one, texts[flapping]);
            subscribed[flapping] = true;
        } else if (round % 500 == 0) {
            topic_session_clear(table, &one, UINT32_MAX);
            memset(subscribed, 0, sizeof(subscribed));
        }
        const unsigned wanted = round % 2 == 0 ? next : (unsigned)rand_r(&state) % TOPICS;
        cr_assert_eq(route(texts[wanted])->filter_count, 1 + subscribed[wanted], "round %u, %s", round, texts[wanted]);
    }
    topic_session_clear(table, &one, UINT32_MAX);
    topic_session_clear(table, &all, UINT32_MAX);
    close_all();
}

/* Announced in time, a topic is found in the cache when it comes for the first time. */
Test(cache, announced_topics_are_matched_before_they_come)
{
    enum { TOPICS = 1000 };
    static char texts[TOPICS + TOPIC_CACHE_AHEAD][32];
    open_with(&test_seed, 4096);
    struct topic_session one = {0};
    subscribe(&one, "n/+");
    for (unsigned i = 0; i < TOPICS + TOPIC_CACHE_AHEAD; i++) {
        snprintf(texts[i], sizeof(texts[i]), "n/%u", i);
        topic_cache_announce(cache, texts[i], strlen(texts[i]));
        if (i >= TOPIC_CACHE_AHEAD) {
            cr_assert_eq(route(texts[i - TOPIC_CACHE_AHEAD])->filter_count, 1);
        }
    }
    cr_expect_eq(stats_now().misses, 0);
    topic_session_clear(table, &one, UINT32_MAX);
    close_all();
}

Test(cache, refusals)
{
    open_all(&test_seed);
    enum topic_status status;
    cr_expect_null(topic_cache_route(cache, "", 0, &status));
    cr_expect_eq(status, TOPIC_INVALID);
    cr_expect_null(topic_cache_route(cache, "a/+", 3, &status));
    cr_expect_eq(status, TOPIC_INVALID);
    close_all();
}

/* Many more topics than entries, all colliding or not, while filters flap: every answer equals the plain definition. */
static void compare(const struct topic_seed *with)
{
    enum { FILTERS = 40 };
    static char filters[FILTERS][128];
    bool present[FILTERS] = {false};
    struct topic_session one = {0};
    unsigned state = 11;
    char topic[128];
    open_all(with);
    for (unsigned i = 0; i < FILTERS; i++) {
        bool again;
        do {
            random_text(&state, filters[i], true);
            again = false;
            for (unsigned k = 0; k < i; k++) {
                again |= strcmp(filters[k], filters[i]) == 0;
            }
        } while (again);
    }
    for (unsigned step = 0; step < 30000; step++) {
        if (step % 8 == 0) {
            unsigned i = (unsigned)rand_r(&state) % FILTERS;
            if (present[i]) {
                unsubscribe(&one, filters[i]);
            } else {
                subscribe(&one, filters[i]);
            }
            present[i] = !present[i];
        }
        random_text(&state, topic, false);
        unsigned expected = 0;
        for (unsigned k = 0; k < FILTERS; k++) {
            expected += present[k] && topic_filter_matches(filters[k], strlen(filters[k]), topic, strlen(topic));
        }
        const struct topic_route *found = route(topic);
        cr_assert_eq(found->filter_count, expected);
        cr_assert_eq(found->workers != 0, expected != 0);
    }
    cr_expect_gt(stats_now().hits, 0);
    cr_expect_gt(stats_now().stale, 0);
    topic_session_clear(table, &one, 99);
    close_all();
}

Test(cache, every_answer_is_right)
{
    compare(&test_seed);
}

Test(cache, every_answer_is_right_when_all_hashes_collide)
{
    compare(&colliding_seed);
}

/* Few filters, most of them with wildcards, that come and go, and many more topics. */
Test(cache, outlines_give_the_same_answers)
{
    static const char *const filters[] = {"#",    "+",         "+/b/#", "a/+/c", "a/+",          "a/#", "$SYS/+/a",
                                          "$a/#", "b/+/+/+/d", "+/+/+", "c/d",   "$share/g/b/#", "/#",  "+/"};
    enum { FILTERS = sizeof(filters) / sizeof(filters[0]), STEPS = 60000 };
    static const char *const levels[] = {"a",  "b", "c", "d", "",  "$SYS",
                                         "$a", "e", "f", "g", "h", "a-long-level-of-a-topic"};
    bool present[FILTERS] = {false};
    struct topic_session one = {0};
    unsigned state = 7, outlining = 0;
    large_from = 1;
    open_with(&test_seed, 4096);
    for (unsigned step = 0; step < STEPS; step++) {
        char topic[256] = "";
        unsigned expected = 0, groups = 0;
        if (step % 400 == 0) {
            const unsigned i = (unsigned)rand_r(&state) % FILTERS;
            present[i] ? unsubscribe(&one, filters[i]) : subscribe(&one, filters[i]);
            present[i] = !present[i];
        }
        for (unsigned level = 0, count = 1 + (unsigned)rand_r(&state) % 6; level < count; level++) {
            strcat(topic, level == 0 ? "" : "/");
            strcat(topic, levels[(unsigned)rand_r(&state) % (sizeof(levels) / sizeof(levels[0]))]);
        }
        if (topic[0] == '\0') {
            continue;
        }
        for (unsigned i = 0; i < FILTERS; i++) {
            const bool is_shared = strncmp(filters[i], "$share/g/", 9) == 0;
            const char *filter = filters[i] + (is_shared ? 9 : 0);
            if (present[i] && topic_filter_matches(filter, strlen(filter), topic, strlen(topic))) {
                *(is_shared ? &groups : &expected) += 1;
            }
        }
        const struct topic_route *found = route(topic);
        cr_assert_eq(found->filter_count, expected, "%s", topic);
        cr_assert_eq(found->share_count, groups, "%s", topic);
        outlining += stats_now().outlining != 0;
    }
    cr_expect_gt(outlining, STEPS / 4);
    cr_expect_lt(stats_now().misses, STEPS / 10, "most outlines are met again");
    topic_session_clear(table, &one, 99);
    close_all();
}

/* A million topics for a few wildcards take a few entries; topics that filters name take one each again. */
Test(cache, many_topics_that_are_one_to_all_filters_take_little_room)
{
    struct topic_session one = {0};
    char topic[32];
    open_with(&test_seed, 65536);
    subscribe(&one, "grow/+");
    route_all(200000);
    cr_expect_eq(stats_now().outlining, 1);
    cr_expect_not(topic_cache_is_large(cache));
    cr_expect_lt(stats_now().misses, 2 * large_from);
    for (unsigned i = 0; i < 900; i++) {
        snprintf(topic, sizeof(topic), "grow/%u", i);
        subscribe(&one, topic);
    }
    for (unsigned i = 0; i < 1800; i++) {
        snprintf(topic, sizeof(topic), "grow/%u", i);
        cr_assert_eq(route(topic)->filter_count, i < 900 ? 2 : 1);
    }
    topic_session_clear(table, &one, UINT32_MAX);
    close_all();
}

Test(cache, limits_hold_for_topics_of_which_the_outline_is_known)
{
    enum topic_status status;
    struct topic_session one = {0};
    large_from = 1;
    open_with(&test_seed, 64);
    topic_cache_destroy(cache);
    struct topic_cache_config config = {.seed = seed,
                                        .limits = {.levels = 4, .length = 40},
                                        .region = memory.region,
                                        .subscribers = table,
                                        .shared = shared,
                                        .entries = 64,
                                        .large_from = 1};
    cache = topic_cache_create(&config);
    subscribe(&one, "#");
    route_all(1000);
    cr_assert_eq(stats_now().outlining, 1);
    cr_expect_not_null(topic_cache_route(cache, "grow/b/c/d", 10, &status));
    cr_expect_null(topic_cache_route(cache, "grow/b/c/d/e", 12, &status));
    cr_expect_eq(status, TOPIC_TOO_DEEP);
    cr_expect_null(topic_cache_route(cache, "grow/0123456789012345678901234567890123456789", 45, &status));
    cr_expect_eq(status, TOPIC_TOO_LONG);
    topic_session_clear(table, &one, 99);
    close_all();
}

/* lib/topic/retained.h: set, replace, remove, bounds, and walks while the tree changes under them. */
#include "lib/topic/retained.h"
#include "tests/unit/topic/support.h"

struct message {
    char topic[64];
    unsigned delivered;
    bool throughout; /* was there from begin to end of the walk */
    unsigned expired;
};

enum { COUNT_MAX = 50000, TIMER_KIND = 3 };

static struct test_region memory;
static struct topic_retained *tree;
static struct timer_wheel wheel;

static void expired(void *arg, void *message)
{
    ((struct message *)message)->expired++;
    ++*(unsigned *)arg;
}

static unsigned expirations;

static void set_up(void)
{
    memory = test_region_open(64 << 20);
    expirations = 0;
    timer_wheel_init(&wheel, 0);
    struct topic_retained_config config = {
        .seed = test_seed,
        .allocator = mem_allocator_region(memory.region),
        .count_max = COUNT_MAX,
        .bytes_max = 1 << 20,
        .wheel = &wheel,
        .timer_kind = TIMER_KIND,
        .expired = expired,
        .arg = &expirations,
    };
    tree = topic_retained_create(&config);
    cr_assert_not_null(tree);
}

static void tear_down(void)
{
    struct topic_retained_stats stats;
    topic_retained_stats(tree, &stats);
    cr_expect_eq(stats.walks, 0);
    cr_expect_eq(wheel.pending, 0, "timers left without messages");
    if (stats.count == 0) {
        cr_expect_eq(stats.nodes, 0, "nodes left without messages");
    }
    topic_retained_destroy(tree);
    test_region_close(&memory);
}

TestSuite(retained, .init = set_up, .fini = tear_down);

static enum topic_status set_until(struct message *message, size_t size, uint64_t expires, void **old)
{
    struct topic_name name;
    return topic_retained_set(tree, name_set(&name, &test_seed, message->topic), message, size, expires, old);
}

static enum topic_status set(struct message *message, size_t size, void **old)
{
    return set_until(message, size, 0, old);
}

static void *take(const char *topic)
{
    struct topic_name name;
    return topic_retained_remove(tree, name_set(&name, &test_seed, topic));
}

static void *get(const char *topic)
{
    struct topic_name name;
    return topic_retained_get(tree, name_set(&name, &test_seed, topic));
}

static bool count_delivery(void *arg, void *message)
{
    ((struct message *)message)->delivered++;
    (*(unsigned *)arg)++;
    return true;
}

static unsigned walk_all(const char *filter)
{
    struct topic_retained_walk walk;
    unsigned count = 0;
    if (filter != NULL) {
        struct topic_filter_name parsed = filter_named(filter);
        topic_retained_walk_begin(&walk, tree, &parsed);
    } else {
        topic_retained_walk_begin(&walk, tree, NULL);
    }
    while (topic_retained_walk_next(&walk, 3, count_delivery, &count)) {
    }
    return count;
}

Test(retained, set_replace_get_remove)
{
    struct message a = {"x/y"}, b = {"x/y"}, c = {"x"};
    void *old;
    cr_expect_eq(set(&a, 10, &old), TOPIC_OK);
    cr_expect_null(old);
    cr_expect_eq(set(&b, 30, &old), TOPIC_OK);
    cr_expect_eq(old, &a);
    cr_expect_eq(set(&c, 1, &old), TOPIC_OK);
    cr_expect_eq(get("x/y"), &b);
    cr_expect_null(get("x/z"));
    struct topic_retained_stats stats;
    topic_retained_stats(tree, &stats);
    cr_expect_eq(stats.count, 2);
    cr_expect_eq(stats.bytes, 31);
    cr_expect_eq(take("x"), &c);
    cr_expect_null(take("x"), "a level in between has no message");
    cr_expect_eq(take("x/y"), &b);
    cr_expect_null(take("x/y"));
}

Test(retained, bounds_refuse_without_change)
{
    struct message a = {"a"}, b = {"b"};
    void *old;
    cr_expect_eq(set(&a, 1 << 20, &old), TOPIC_OK);
    cr_expect_eq(set(&b, 1, &old), TOPIC_FULL);
    cr_expect_null(get("b"));
    cr_expect_eq(set(&a, (1 << 20) + 1, &old), TOPIC_FULL);
    cr_expect_eq(set(&a, 5, &old), TOPIC_OK);
    cr_expect_eq(set(&b, 1, &old), TOPIC_OK);
    take("a");
    take("b");
}

/* Nobody walks over them, and yet their room is free when their time has passed, to the last message and byte. */
Test(retained, expired_ones_count_against_no_bound)
{
    enum { SECOND = 1000000, SIZE = (1 << 20) / COUNT_MAX };
    static struct message messages[COUNT_MAX];
    struct message next = {"next"}, large = {"large"};
    struct topic_retained_stats stats;
    void *old;
    for (unsigned i = 0; i < COUNT_MAX; i++) {
        snprintf(messages[i].topic, sizeof(messages[i].topic), "e/%u/%u", i % 100, i);
        cr_assert_eq(set_until(&messages[i], SIZE, i < COUNT_MAX / 2 ? SECOND : 3 * SECOND, &old), TOPIC_OK);
    }
    timer_wheel_advance(&wheel, SECOND, UINT32_MAX);
    cr_expect_eq(expirations, 0, "before their time");
    cr_expect_eq(set(&next, 1, &old), TOPIC_FULL);
    timer_wheel_advance(&wheel, SECOND + 1000, UINT32_MAX);
    cr_expect_eq(expirations, COUNT_MAX / 2);
    topic_retained_stats(tree, &stats);
    cr_expect_eq(stats.count, COUNT_MAX / 2);
    cr_expect_eq(stats.bytes, COUNT_MAX / 2 * SIZE);
    cr_expect_eq(walk_all("e/#"), COUNT_MAX / 2);
    cr_expect_eq(set(&next, 1, &old), TOPIC_OK);
    cr_expect_eq(set(&large, (1 << 20) - COUNT_MAX / 2 * SIZE, &old), TOPIC_FULL, "one byte is taken by the next");
    timer_wheel_advance(&wheel, 4 * SECOND, UINT32_MAX);
    cr_expect_eq(expirations, COUNT_MAX);
    cr_expect_eq(set(&large, (1 << 20) - 1, &old), TOPIC_OK);
    cr_expect_eq(take("next"), &next);
    cr_expect_eq(take("large"), &large);
}

Test(retained, a_replaced_or_removed_message_expires_no_more)
{
    struct message short_one = {"a"}, long_one = {"a"}, forever = {"a"}, other = {"b"};
    void *old;
    set_until(&short_one, 1, 1000, &old);
    set_until(&long_one, 1, 9000, &old);
    cr_expect_eq(old, &short_one);
    set_until(&other, 1, 1000, &old);
    cr_expect_eq(take("b"), &other);
    timer_wheel_advance(&wheel, 2000, UINT32_MAX);
    cr_expect_eq(get("a"), &long_one);
    set(&forever, 1, &old);
    cr_expect_eq(old, &long_one);
    timer_wheel_advance(&wheel, 20000, UINT32_MAX);
    cr_expect_eq(get("a"), &forever);
    cr_expect_eq(expirations, 0);
    set_until(&short_one, 1, 30000, &old);
    timer_wheel_advance(&wheel, 40000, UINT32_MAX);
    cr_expect_eq(short_one.expired, 1);
    cr_expect_null(get("a"));
}

/* A walk stands on the node whose message expires. */
Test(retained, a_walk_survives_expiry)
{
    static struct message messages[100];
    struct topic_retained_walk walk;
    struct topic_filter_name filter = filter_named("#");
    unsigned count = 0;
    uint64_t now = 0;
    void *old;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(messages[i].topic, sizeof(messages[i].topic), "x/%u/%u", i % 5, i);
        set_until(&messages[i], 1, i % 2 == 0 ? 1000 * (1 + i) : 0, &old);
    }
    topic_retained_walk_begin(&walk, tree, &filter);
    while (topic_retained_walk_next(&walk, 1, count_delivery, &count)) {
        timer_wheel_advance(&wheel, now += 500, UINT32_MAX);
    }
    timer_wheel_advance(&wheel, now + 1000000, UINT32_MAX);
    for (unsigned i = 0; i < 100; i++) {
        cr_expect(messages[i].delivered == 1 || (i % 2 == 0 && messages[i].delivered == 0), "message %u", i);
        cr_expect_eq(messages[i].expired, i % 2 == 0);
        take(messages[i].topic);
    }
}

/* Random topics; each filter delivers exactly those that the plain definition names. */
Test(retained, walks_deliver_what_matches)
{
    enum { TOPICS = 400 };
    static struct message messages[TOPICS];
    unsigned state = 5, total = 0;
    void *old;
    for (unsigned i = 0; i < TOPICS; i++) {
        random_text(&state, messages[i].topic, false);
        cr_assert_eq(set(&messages[i], 1, &old), TOPIC_OK);
        messages[i].throughout = true;
        if (old != NULL) {
            ((struct message *)old)->throughout = false;
        }
    }
    for (unsigned round = 0; round < 500; round++) {
        char filter[128];
        random_text(&state, filter, true);
        unsigned expected = 0;
        for (unsigned i = 0; i < TOPICS; i++) {
            expected += messages[i].throughout &&
                        topic_filter_matches(filter, strlen(filter), messages[i].topic, strlen(messages[i].topic));
        }
        cr_assert_eq(walk_all(filter), expected, "%s", filter);
    }
    for (unsigned i = 0; i < TOPICS; i++) {
        total += messages[i].throughout;
    }
    cr_expect_eq(walk_all(NULL), total, "no filter means everything, '$' too");
    for (unsigned i = 0; i < TOPICS; i++) {
        take(messages[i].topic);
    }
}

static bool refuse_every_other(void *arg, void *message)
{
    unsigned *calls = arg;
    if ((*calls)++ % 2 == 0) {
        return false;
    }
    ((struct message *)message)->delivered++;
    return true;
}

Test(retained, a_refused_delivery_is_offered_again)
{
    static struct message messages[20];
    void *old;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(messages[i].topic, sizeof(messages[i].topic), "r/%u/%u", i % 3, i);
        set(&messages[i], 1, &old);
    }
    struct topic_retained_walk walk;
    struct topic_filter_name filter = filter_named("r/#");
    unsigned calls = 0;
    topic_retained_walk_begin(&walk, tree, &filter);
    while (topic_retained_walk_next(&walk, 100, refuse_every_other, &calls)) {
    }
    cr_expect_eq(calls, 40);
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_eq(messages[i].delivered, 1);
        take(messages[i].topic);
    }
}

static bool end_walk(void *arg, void *message)
{
    topic_retained_walk_end(arg);
    return true;
}

Test(retained, a_callback_may_remove_and_end)
{
    struct message a = {"a/1"}, b = {"a/2"};
    struct topic_retained_walk walk;
    struct topic_filter_name filter = filter_named("#");
    void *old;
    set(&a, 1, &old);
    set(&b, 1, &old);
    topic_retained_walk_begin(&walk, tree, &filter);
    cr_expect_not(topic_retained_walk_next(&walk, 100, end_walk, &walk));
    topic_retained_walk_end(&walk);
    take("a/1");
    take("a/2");
}

/*
 * Several walks in small slices while topics are set, replaced and removed at random. What was there throughout is
 * delivered exactly once to each; nothing is delivered twice without having been set again; nothing dangles
 * (sanitizer).
 */
Test(retained, walk_under_change)
{
    enum { TOPICS = 1500, WALKS = 3 };
    static struct message messages[TOPICS];
    static unsigned seen[WALKS][TOPICS];
    static struct topic_retained_walk walks[WALKS];
    static bool present[TOPICS];
    unsigned state = 9;
    void *old;
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(messages[i].topic, sizeof(messages[i].topic), "w/%u/%u/%u", i % 7, i % 31, i);
    }
    for (unsigned round = 0; round < 30; round++) {
        struct topic_filter_name filter = filter_named(round % 2 ? "#" : "w/+/+/#");
        for (unsigned i = 0; i < TOPICS; i++) {
            if (!present[i] && rand_r(&state) % 3 != 0) {
                set(&messages[i], 1, &old);
                present[i] = true;
            }
            messages[i].throughout = present[i];
        }
        memset(seen, 0, sizeof(seen));
        bool running[WALKS], any = true;
        for (unsigned w = 0; w < WALKS; w++) {
            topic_retained_walk_begin(&walks[w], tree, &filter);
            running[w] = true;
        }
        while (any) {
            any = false;
            for (unsigned w = 0; w < WALKS; w++) {
                unsigned before[TOPICS], count = 0;
                for (unsigned i = 0; i < TOPICS; i++) {
                    before[i] = messages[i].delivered;
                }
                running[w] = running[w] && topic_retained_walk_next(&walks[w], 40 + w, count_delivery, &count);
                for (unsigned i = 0; i < TOPICS; i++) {
                    seen[w][i] += messages[i].delivered - before[i];
                }
                any |= running[w];
            }
            for (unsigned change = 0; change < 15; change++) {
                unsigned i = (unsigned)rand_r(&state) % TOPICS;
                if (present[i]) {
                    cr_assert_eq(take(messages[i].topic), &messages[i]);
                    messages[i].throughout = false;
                } else {
                    set(&messages[i], 1, &old);
                }
                present[i] = !present[i];
            }
        }
        for (unsigned w = 0; w < WALKS; w++) {
            for (unsigned i = 0; i < TOPICS; i++) {
                cr_assert(!messages[i].throughout || seen[w][i] == 1, "walk %u delivered %s %u times", w,
                          messages[i].topic, seen[w][i]);
            }
        }
    }
    for (unsigned i = 0; i < TOPICS; i++) {
        take(messages[i].topic);
    }
}

/* Somebody who sets and removes topics for ever cannot keep a walk from ending. */
Test(retained, a_walk_ends_under_endless_change)
{
    static struct message messages[64];
    struct topic_retained_walk walk;
    struct topic_filter_name filter = filter_named("#");
    unsigned count = 0, slices = 0;
    void *old;
    for (unsigned i = 0; i < 64; i++) {
        snprintf(messages[i].topic, sizeof(messages[i].topic), "e/%u", i);
        set(&messages[i], 1, &old);
    }
    topic_retained_walk_begin(&walk, tree, &filter);
    while (topic_retained_walk_next(&walk, 2, count_delivery, &count) && slices++ < 10000) {
        unsigned i = slices % 64;
        take(messages[i].topic);
        set(&messages[i], 1, &old);
    }
    cr_expect_lt(slices, 1000);
    topic_retained_walk_end(&walk);
    for (unsigned i = 0; i < 64; i++) {
        take(messages[i].topic);
    }
}

/* lib/topic/index.h: the specification's examples, equality with the plain definition, collisions, adversaries, growth.
 */
#include "lib/topic/index.h"
#include "tests/unit/topic/support.h"

struct fixture {
    struct test_region memory;
    struct topic_index *index;
    struct topic_matches matches;
    struct topic_seed seed;
};

static struct fixture open_index(const struct topic_seed *seed, size_t size, uint32_t filters)
{
    struct fixture f = {.memory = test_region_open(size), .seed = *seed};
    struct topic_index_config config = {
        .seed = *seed,
        .allocator = mem_allocator_region(f.memory.region),
        .filters_max = filters,
        .payload_size = 8,
    };
    f.index = topic_index_create(&config);
    cr_assert_not_null(f.index);
    topic_matches_init(&f.matches, config.allocator);
    return f;
}

static void close_index(struct fixture *f)
{
    topic_matches_free(&f->matches);
    topic_index_destroy(f->index);
    test_region_close(&f->memory);
}

static struct topic_entry *add(struct fixture *f, const char *text)
{
    struct topic_filter_name filter = filter_named(text);
    bool created;
    enum topic_status status;
    return topic_index_add(f->index, &filter, &created, &status);
}

static void drop(struct fixture *f, const char *text)
{
    struct topic_filter_name filter = filter_named(text);
    struct topic_entry *entry = topic_index_find(f->index, &filter);
    cr_assert_not_null(entry, "%s", text);
    topic_index_remove(f->index, entry);
}

static uint32_t match(struct fixture *f, const char *topic)
{
    struct topic_name name;
    f->matches.count = 0;
    struct topic_search search = {f->index, name_set(&name, &f->seed, topic), &f->matches, false};
    topic_index_match(&search, 1);
    cr_assert(search.complete);
    return f->matches.count;
}

/* MQTT 5.0 sections 4.7.1.2, 4.7.1.3, 4.7.2, 4.7.3, with the plain definition as second opinion. */
Test(topic, match_table)
{
    static const struct {
        const char *filter, *topic;
        bool matches;
    } rows[] = {
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/tennis/player1/#", "sport/tennis/player2", false},
        {"sport/#", "sport", true},
        {"sport/#", "sport/", true},
        {"sport/#", "sports", false},
        {"#", "a", true},
        {"#", "/", true},
        {"#", "a/b/c", true},
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+", "finance", true},
        {"+", "/finance", false},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+/+/#", "a/b", true},
        {"+/+/#", "a", false},
        {"#", "$SYS/x", false},
        {"+/monitor/Clients", "$SYS/monitor/Clients", false},
        {"+", "$SYS", false},
        {"$SYS/#", "$SYS/monitor/Clients", true},
        {"$SYS/#", "$SYS", true},
        {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
        {"a/#", "a/$b", true},
        {"a/+", "a/$b", true},
        {"ACCOUNTS", "Accounts", false},
        {"/finance", "finance", false},
        {"a/b", "a/b", true},
        {"a//b", "a//b", true},
        {"a//b", "a/b", false},
        {"a/+/b", "a//b", true},
        {"a/", "a", false},
        {"/", "/", true},
        {"//+", "///", false},
        {"//+", "//", true},
        {" a", "a", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f = open_index(&test_seed, 8 << 20, 100);
        add(&f, rows[i].filter);
        cr_expect_eq(match(&f, rows[i].topic), rows[i].matches, "%s against %s", rows[i].filter, rows[i].topic);
        cr_expect_eq(topic_filter_matches(rows[i].filter, strlen(rows[i].filter), rows[i].topic, strlen(rows[i].topic)),
                     rows[i].matches, "plain: %s against %s", rows[i].filter, rows[i].topic);
        close_index(&f);
    }
}

Test(topic, add_is_found_once_and_payload_is_clear)
{
    struct fixture f = open_index(&test_seed, 8 << 20, 100);
    const char *texts[] = {"a/b", "a/+", "#", "+", "a/#"};
    for (int i = 0; i < 5; i++) {
        struct topic_filter_name filter = filter_named(texts[i]);
        bool created;
        enum topic_status status;
        struct topic_entry *entry = topic_index_add(f.index, &filter, &created, &status);
        cr_expect(created);
        cr_expect_eq(*(uint64_t *)topic_entry_payload(entry), 0);
        cr_expect_arr_eq(topic_entry_filter(entry), texts[i], entry->length);
        cr_expect_eq(topic_index_add(f.index, &filter, &created, &status), entry);
        cr_expect_not(created);
    }
    cr_expect_eq(topic_index_count(f.index), 5);
    cr_expect_eq(topic_index_wildcards(f.index), 4);
    for (int i = 0; i < 5; i++) {
        drop(&f, texts[i]);
    }
    cr_expect_eq(match(&f, "a/b"), 0);
    close_index(&f);
}

Test(topic, bounds_of_an_index)
{
    struct fixture f = open_index(&test_seed, 8 << 20, 2);
    add(&f, "a");
    add(&f, "+/b");
    bool created;
    enum topic_status status;
    struct topic_filter_name filter = filter_named("c");
    cr_expect_null(topic_index_add(f.index, &filter, &created, &status));
    cr_expect_eq(status, TOPIC_FULL);
    drop(&f, "a");
    cr_expect_not_null(topic_index_add(f.index, &filter, &created, &status));
    close_index(&f);
}

/* Out of memory at any point leaves the index whole: everything that was added is there, everything comes back. */
Test(topic, no_memory_leaves_nothing_behind)
{
    struct fixture f = open_index(&test_seed, 512 << 10, 100000);
    char text[64];
    unsigned added = 0, refused = 0;
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(text, sizeof(text), i % 2 ? "%u/+/%u" : "%u/exact/%u", i, i * 7);
        if (add(&f, text) != NULL) {
            added++;
        } else {
            refused++;
        }
    }
    cr_expect_gt(refused, 0);
    cr_expect_eq(topic_index_count(f.index), added);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(text, sizeof(text), i % 2 ? "%u/+/%u" : "%u/exact/%u", i, i * 7);
        struct topic_filter_name filter = filter_named(text);
        struct topic_entry *entry = topic_index_find(f.index, &filter);
        if (entry != NULL) {
            topic_index_remove(f.index, entry);
            added--;
        }
    }
    cr_expect_eq(added, 0);
    close_index(&f);
}

/* Thousands of filters come and go; each match must be what the plain definition says. */
static void compare_with_definition(const struct topic_seed *seed, unsigned rounds)
{
    enum { FILTERS = 600 };
    static char filters[FILTERS][128];
    static bool present[FILTERS];
    struct fixture f = open_index(seed, 32 << 20, FILTERS);
    unsigned state = 7, expected, distinct = 0;
    char topic[128];
    memset(present, 0, sizeof(present));
    while (distinct < FILTERS) {
        random_text(&state, filters[distinct], true);
        bool known = false;
        for (unsigned i = 0; i < distinct && !known; i++) {
            known = strcmp(filters[i], filters[distinct]) == 0;
        }
        distinct += !known;
    }
    for (unsigned round = 0; round < rounds; round++) {
        unsigned i = (unsigned)rand_r(&state) % FILTERS;
        if (present[i]) {
            drop(&f, filters[i]);
        } else {
            add(&f, filters[i]);
        }
        present[i] = !present[i];
        random_text(&state, topic, false);
        expected = 0;
        for (unsigned k = 0; k < FILTERS; k++) {
            expected += present[k] && topic_filter_matches(filters[k], strlen(filters[k]), topic, strlen(topic));
        }
        cr_assert_eq(match(&f, topic), expected, "round %u topic %s: %u, expected %u", round, topic, f.matches.count,
                     expected);
        for (unsigned k = 0; k < f.matches.count; k++) {
            struct topic_entry *entry = f.matches.entries[k];
            cr_assert(topic_filter_matches(topic_entry_filter(entry), entry->length, topic, strlen(topic)));
        }
    }
    close_index(&f);
}

Test(topic, random_filters_match_as_the_definition_says)
{
    compare_with_definition(&test_seed, 20000);
}

/* With nearly all hash bits gone every look-up collides: only the comparison of the text decides. */
Test(topic, colliding_hashes_never_match_wrongly)
{
    compare_with_definition(&colliding_seed, 5000);
}

/* A match visits only branches that exist and agree with the topic, however many filters there are. */
Test(topic, adversarial_wildcards_cost_what_they_match)
{
    struct fixture f = open_index(&test_seed, 64 << 20, 100000);
    char text[600];
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "+/+/+/+/%u/#", i);
        cr_assert_not_null(add(&f, text));
        snprintf(text, sizeof(text), "%u/+/+/+/+/+/+/#", i);
        cr_assert_not_null(add(&f, text));
    }
    add(&f, "+/+/+/+/#");
    cr_expect_eq(match(&f, "17/b/c/d/17/f/g/h"), 3);
    cr_expect_leq(f.matches.visited, 16);
    char deep[TOPIC_LEVELS_MAX * 2] = "", deep_topic[TOPIC_LEVELS_MAX * 2] = "";
    for (unsigned i = 0; i < TOPIC_LEVELS_MAX; i++) {
        strcat(deep, i > 0 ? "/+" : "+");
        strcat(deep_topic, i > 0 ? "/x" : "x");
    }
    add(&f, deep);
    deep[strlen(deep) - 1] = '#';
    add(&f, deep);
    cr_expect_eq(match(&f, deep_topic), 3);
    cr_expect_leq(f.matches.visited, 2 * TOPIC_LEVELS_MAX);
    close_index(&f);
}

/* All 2^n mixtures of '+' and a literal: the worst that n levels can do is visit all of them, each once. */
Test(topic, all_mixtures_of_wildcards_match_once)
{
    struct fixture f = open_index(&test_seed, 64 << 20, 10000);
    for (unsigned bits = 0; bits < 1024; bits++) {
        char text[64] = "";
        for (unsigned level = 0; level < 10; level++) {
            strcat(text, level > 0 ? "/" : "");
            strcat(text, bits >> level & 1 ? "+" : "x");
        }
        cr_assert_not_null(add(&f, text));
    }
    cr_expect_eq(match(&f, "x/x/x/x/x/x/x/x/x/x"), 1024);
    cr_expect_leq(f.matches.visited, 2048);
    close_index(&f);
}

/* As deep as filters go, and forks at each level: random mixtures of '+' and a literal under 128 levels. */
Test(topic, deep_and_wide_mixtures_match_once)
{
    enum { COUNT = 3000 };
    static char filters[COUNT][TOPIC_LEVELS_MAX * 2];
    struct fixture f = open_index(&test_seed, 256 << 20, COUNT);
    char topic[TOPIC_LEVELS_MAX * 2] = "";
    unsigned state = 1;
    for (unsigned level = 0; level < TOPIC_LEVELS_MAX; level++) {
        strcat(topic, level > 0 ? "/x" : "x");
    }
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned levels = 1 + (unsigned)rand_r(&state) % TOPIC_LEVELS_MAX;
        for (unsigned level = 0; level < levels; level++) {
            strcat(filters[i], level > 0 ? "/" : "");
            strcat(filters[i], rand_r(&state) & 1 ? "+" : "x");
        }
        strcat(filters[i], levels < TOPIC_LEVELS_MAX ? "/#" : "");
    }
    uint32_t different = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        const uint32_t before = topic_index_count(f.index);
        cr_assert_not_null(add(&f, filters[i]));
        different += topic_index_count(f.index) != before;
    }
    cr_expect_gt(different, COUNT / 2);
    cr_expect_eq(match(&f, topic), different);
    for (unsigned i = 0; i < f.matches.count; i++) {
        for (unsigned k = 0; k < i; k++) {
            cr_assert_neq(f.matches.entries[i], f.matches.entries[k], "each once");
        }
    }
    close_index(&f);
}

/* A literal child that is the only one of its parent, has older and younger brothers, and loses them again. */
Test(topic, brothers_come_and_go)
{
    struct fixture f = open_index(&test_seed, 16 << 20, 100);
    static const char *const filters[] = {"a/x/#", "a/y/#", "a/z/#"};
    static const char *const topics[] = {"a/x/1", "a/y/1", "a/z/1"};
    unsigned state = 7, present = 0;
    for (unsigned round = 0; round < 1000; round++) {
        const unsigned i = (unsigned)rand_r(&state) % 3;
        if (present >> i & 1) {
            drop(&f, filters[i]);
        } else {
            cr_assert_not_null(add(&f, filters[i]));
        }
        present ^= 1u << i;
        for (unsigned k = 0; k < 3; k++) {
            cr_assert_eq(match(&f, topics[k]), present >> k & 1, "round %u: %s", round, topics[k]);
        }
    }
    close_index(&f);
}

/* Grow to 200,000 and shrink to nothing: all stay findable on the way, and memory comes back before destruction. */
Test(topic, growth_and_shrinking_lose_nothing)
{
    enum { COUNT = 200000 };
    struct fixture f = open_index(&test_seed, 128u << 20, COUNT);
    char text[64];
    struct mem_stats empty, full, after;
    mem_stats(f.memory.region, &empty);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "device/%u/state", i);
        add(&f, text);
        if (i % 1000 == 0) {
            snprintf(text, sizeof(text), "device/%u/state", i / 2);
            cr_assert_eq(match(&f, text), 1);
        }
    }
    mem_stats(f.memory.region, &full);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "device/%u/state", i);
        cr_assert_eq(match(&f, text), 1, "%s", text);
        drop(&f, text);
        cr_assert_eq(match(&f, text), 0);
    }
    mem_stats(f.memory.region, &after);
    cr_expect_leq(after.used, empty.used + (64 << 10), "%zu B before, %zu B full, %zu B after", empty.used, full.used,
                  after.used);
    close_index(&f);
}

/* lib/topic/subscribers.h: members, replacement, presence, groups, both sides' links, random use against a model. */
#include "lib/topic/subscribers.h"
#include "tests/unit/topic/support.h"

static struct test_region memory;
static struct topic_subscribers *table;
static struct topic_matches filters, shares;
static char presence_log[4096];

static void presence(void *arg, const struct topic_filter_name *filter, bool present)
{
    size_t used = strlen(presence_log);
    snprintf(presence_log + used, sizeof(presence_log) - used, "%c%.*s%s%.*s ", present ? '+' : '-',
             filter->group_length, filter->group_length > 0 ? filter->group : "", filter->group_length > 0 ? ":" : "",
             filter->filter_length, filter->filter);
}

static void set_up(void)
{
    memory = test_region_open(64 << 20);
    struct topic_subscribers_config config = {
        .seed = test_seed,
        .region = memory.region,
        .filters_max = 100000,
        .presence = presence,
    };
    table = topic_subscribers_create(&config);
    cr_assert_not_null(table);
    topic_matches_init(&filters, mem_allocator_region(memory.region));
    topic_matches_init(&shares, mem_allocator_region(memory.region));
    presence_log[0] = '\0';
}

static void tear_down(void)
{
    topic_matches_free(&filters);
    topic_matches_free(&shares);
    topic_subscribers_destroy(table);
    test_region_close(&memory);
}

TestSuite(subscribers, .init = set_up, .fini = tear_down);

static struct topic_subscribe_result subscribe(struct topic_session *session, const char *text, uint8_t options,
                                               uint32_t identifier)
{
    struct topic_filter_name filter = filter_named(text);
    return topic_subscribe(table, session, &filter, options, identifier);
}

static enum topic_status unsubscribe(struct topic_session *session, const char *text)
{
    struct topic_filter_name filter = filter_named(text);
    return topic_unsubscribe(table, session, &filter);
}

static void match(const char *topic)
{
    struct topic_name name;
    filters.count = shares.count = 0;
    struct topic_search searches[2];
    topic_subscribers_search(table, name_set(&name, &test_seed, topic), &filters, &shares, searches);
    topic_index_match(searches, 2);
    cr_assert(searches[0].complete && searches[1].complete);
}

static const struct topic_members *only_members(const char *topic)
{
    match(topic);
    cr_assert_eq(filters.count, 1);
    return &((struct topic_filter *)topic_entry_payload(filters.entries[0]))->members;
}

Test(subscribers, a_subscriber_is_found_with_options_and_identifier)
{
    struct topic_session session = {0};
    struct topic_subscribe_result result = subscribe(&session, "a/+", 0x2e, 268435455);
    cr_expect_eq(result.status, TOPIC_OK);
    cr_expect(result.first && !result.replaced);
    const struct topic_members *members = only_members("a/b");
    cr_expect_eq(members->count, 1);
    const struct topic_member *member = topic_members_array(members);
    cr_expect_eq(member->session, &session);
    cr_expect_eq(topic_member_options(member), 0x2e);
    cr_expect(topic_member_has_identifier(member));
    cr_expect_eq(topic_subscription_identifier(topic_member_subscription(member)), 268435455);
    cr_expect_eq(topic_member_subscription(member), result.subscription);
    struct topic_subscription_info info;
    topic_subscription_describe(result.subscription, &info);
    cr_expect_arr_eq(info.filter.filter, "a/+", 3);
    cr_expect_eq(info.filter.levels, 2);
    cr_expect(info.filter.wildcard);
    cr_expect_eq(info.options, 0x2e);
    cr_expect_eq(unsubscribe(&session, "a/+"), TOPIC_OK);
    cr_expect_eq(unsubscribe(&session, "a/+"), TOPIC_NOT_FOUND);
    cr_expect_str_eq(presence_log, "+a/+ -a/+ ");
    cr_expect_eq(session.count, 0);
}

Test(subscribers, resubscribe_replaces)
{
    struct topic_session one = {0}, two = {0};
    subscribe(&one, "t", 0, 0);
    subscribe(&two, "t", 1, 5);
    struct topic_subscribe_result result = subscribe(&one, "t", 2, 9);
    cr_expect(result.replaced && !result.first);
    cr_expect_eq(one.count, 1);
    const struct topic_members *members = only_members("t");
    cr_expect_eq(members->count, 2);
    cr_expect_eq(topic_member_options(&topic_members_array(members)[0]), 2);
    cr_expect_eq(topic_subscription_identifier(result.subscription), 9);
    cr_expect(subscribe(&one, "t", 2, 0).replaced);
    cr_expect_not(topic_member_has_identifier(&topic_members_array(only_members("t"))[0]));
    topic_session_clear(table, &one, 10);
    topic_session_clear(table, &two, 10);
    cr_expect_str_eq(presence_log, "+t -t ");
}

Test(subscribers, a_session_goes_in_slices)
{
    struct topic_session session = {0};
    char text[32];
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), i % 3 ? "f/%d" : "f/%d/#", i);
        subscribe(&session, text, 0, 0);
    }
    cr_expect_eq(topic_session_clear(table, &session, 30), 70);
    cr_expect_eq(topic_session_clear(table, &session, 1000), 0);
    cr_expect_null(topic_session_next(&session, NULL));
    struct topic_subscribers_stats stats;
    topic_subscribers_stats(table, &stats);
    cr_expect_eq(stats.filters, 0);
    cr_expect_eq(stats.subscriptions, 0);
}

Test(subscribers, groups_have_their_own_members)
{
    struct topic_session s[4] = {0};
    cr_expect(subscribe(&s[0], "$share/g/t/#", 1, 0).first);
    cr_expect_not(subscribe(&s[1], "$share/g/t/#", 1, 0).first);
    cr_expect(subscribe(&s[2], "$share/h/t/#", 1, 7).first);
    cr_expect(subscribe(&s[3], "t/#", 1, 0).first);
    cr_expect(subscribe(&s[0], "$share/g/t/#", 2, 0).replaced);
    cr_expect_str_eq(presence_log, "+g:t/# +h:t/# +t/# ");
    match("t/x");
    cr_expect_eq(filters.count, 1);
    cr_expect_eq(shares.count, 1);
    struct topic_share_filter *share = topic_entry_payload(shares.entries[0]);
    cr_expect_eq(share->count, 2);
    struct topic_filter_name name = filter_named("$share/g/t/#");
    unsigned found = 0;
    for (struct topic_group *group = share->groups; group != NULL; group = group->next) {
        if (group->id == topic_group_id(&test_seed, &name)) {
            cr_expect_eq(group->members.count, 2);
            found++;
        }
    }
    cr_expect_eq(found, 1);
    struct topic_subscription_info info;
    topic_subscription_describe(topic_session_next(&s[2], NULL), &info);
    cr_expect_eq(info.filter.group_length, 1);
    cr_expect_eq(info.identifier, 7);
    cr_expect_eq(unsubscribe(&s[0], "t/#"), TOPIC_NOT_FOUND, "a shared subscription is not an ordinary one");
    for (int i = 0; i < 4; i++) {
        topic_session_clear(table, &s[i], 10);
    }
    match("t/x");
    cr_expect_eq(filters.count + shares.count, 0);
}

Test(subscribers, fan_out_is_dense_and_removal_keeps_it_so)
{
    enum { COUNT = 1000 };
    static struct topic_session s[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        s[i] = (struct topic_session){0};
        subscribe(&s[i], "news", (uint8_t)(i % 3), 0);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        cr_expect_eq(unsubscribe(&s[i], "news"), TOPIC_OK);
    }
    const struct topic_members *members = only_members("news");
    cr_expect_eq(members->count, COUNT / 2);
    uint64_t sum = 0;
    for (unsigned i = 0; i < members->count; i++) {
        const struct topic_member *member = &topic_members_array(members)[i];
        const ptrdiff_t number = member->session - s;
        sum += (uint64_t)number;
        cr_expect_eq(topic_member_options(member), number % 3);
    }
    cr_expect_eq(sum, COUNT / 2 * COUNT / 2, "those with odd numbers are left");
    for (unsigned i = 1; i < COUNT; i += 2) {
        unsubscribe(&s[i], "news");
    }
    cr_expect_str_eq(presence_log, "+news -news ");
}

Test(subscribers, destruction_frees_what_is_left)
{
    static struct topic_session s[50];
    for (unsigned i = 0; i < 50; i++) {
        subscribe(&s[i], "a", 0, 0);
        subscribe(&s[i], "$share/g/b", 0, 0);
        subscribe(&s[i], "#", 0, 0);
    }
}

/* Sessions and filters in random order; after each step the table says what the model says. */
Test(subscribers, random_use_equals_a_model)
{
    enum { SESSIONS = 40, FILTERS = 12 };
    static const char *const texts[FILTERS] = {"a",          "a/b",        "a/+",        "#",     "+/b", "b/#",
                                               "$share/g/a", "$share/g/#", "$share/h/a", "a/b/c", "+",   "$share/h/#"};
    static struct topic_session s[SESSIONS];
    static bool model[SESSIONS][FILTERS];
    unsigned state = 3;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rand_r(&state) % SESSIONS, k = (unsigned)rand_r(&state) % FILTERS;
        presence_log[0] = '\0';
        unsigned others = 0;
        for (unsigned j = 0; j < SESSIONS; j++) {
            others += j != i && model[j][k];
        }
        if (model[i][k]) {
            cr_assert_eq(unsubscribe(&s[i], texts[k]), TOPIC_OK);
        } else {
            cr_assert_eq(subscribe(&s[i], texts[k], 0, 0).status, TOPIC_OK);
        }
        model[i][k] = !model[i][k];
        cr_assert_eq(presence_log[0] != '\0', others == 0, "presence only with the first and the last");
        unsigned expected = 0, found = 0;
        for (unsigned j = 0; j < SESSIONS; j++) {
            expected += model[j][1] + model[j][2] + model[j][3] + model[j][4];
        }
        match("a/b");
        for (unsigned m = 0; m < filters.count; m++) {
            found += ((struct topic_filter *)topic_entry_payload(filters.entries[m]))->members.count;
        }
        cr_assert_eq(found, expected);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        topic_session_clear(table, &s[i], 100);
    }
}

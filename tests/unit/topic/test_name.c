/* lib/topic/name.h: which names and filters are valid, how they are taken apart, the plain definition of matching. */
#include "lib/topic/generation.h"
#include "tests/unit/topic/support.h"

static enum topic_status parse(const char *text, struct topic_filter_name *filter)
{
    return topic_filter_parse(filter, &no_limits, text, strlen(text));
}

Test(topic, filter_rules)
{
    static const char *const good[] = {
        "a",      "#",           "+",          "/",          "//",           "a/",         "/a",
        "+/+",    "+/#",         "/#",         "a/#",        "a/+/b",        "$SYS/#",     " ",
        "$share", "$shared/x/#", "$share/g/a", "$share/g/#", "$share/g/+/x", "$share/$/a", "$share/g//"};
    static const char *const bad[] = {"",          "a#",          "#/",         "a/#/b",      "##",         "+a",
                                      "a+",        "a/b+/c",      "a/+b",       "$share/",    "$share//a",  "$share/g",
                                      "$share/g/", "$share/g+/a", "$share/#/a", "$share/+/a", "$share/g/a#"};
    struct topic_filter_name filter;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_expect_eq(parse(good[i], &filter), TOPIC_OK, "%s refused", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(parse(bad[i], &filter), TOPIC_INVALID, "%s accepted", bad[i]);
    }
    cr_expect_eq(topic_filter_parse(&filter, &no_limits, "a\0b", 3), TOPIC_INVALID);
}

Test(topic, filter_parts)
{
    struct topic_filter_name filter;
    cr_expect_eq(parse("$share/group/a/+/#", &filter), TOPIC_OK);
    cr_expect_eq(filter.group_length, 5);
    cr_expect_arr_eq(filter.group, "group", 5);
    cr_expect_eq(filter.filter_length, 5);
    cr_expect_arr_eq(filter.filter, "a/+/#", 5);
    cr_expect_eq(filter.levels, 3);
    cr_expect(filter.wildcard);
    cr_expect_eq(parse("a//b", &filter), TOPIC_OK);
    cr_expect_eq(filter.levels, 3);
    cr_expect_eq(filter.group_length, 0);
    cr_expect_not(filter.wildcard);
}

Test(topic, name_rules)
{
    struct topic_name name;
    static const char *const bad[] = {"", "+", "a/#", "a+b", "x/+/y"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(topic_name_set(&name, &test_seed, &no_limits, bad[i], strlen(bad[i])), TOPIC_INVALID, "%s",
                     bad[i]);
    }
    cr_expect_eq(topic_name_set(&name, &test_seed, &no_limits, "a\0b", 3), TOPIC_INVALID);
    name_set(&name, &test_seed, "/a//bc");
    cr_expect_eq(name.levels, 4);
    cr_expect_eq(topic_name_token(&name, 3), topic_hash(&test_seed, "bc", 2));
    cr_expect_eq(topic_name_token(&name, 0), topic_name_token(&name, 2));
}

Test(topic, limits_are_kept)
{
    struct topic_limits limits = {.levels = 3, .length = 6};
    struct topic_name name;
    struct topic_filter_name filter;
    cr_expect_eq(topic_name_set(&name, &test_seed, &limits, "a/b/c", 5), TOPIC_OK);
    cr_expect_eq(topic_name_set(&name, &test_seed, &limits, "///", 3), TOPIC_TOO_DEEP);
    cr_expect_eq(topic_name_set(&name, &test_seed, &limits, "1234567", 7), TOPIC_TOO_LONG);
    cr_expect_eq(topic_filter_parse(&filter, &limits, "a/b/#", 5), TOPIC_OK);
    cr_expect_eq(topic_filter_parse(&filter, &limits, "+/+/+/", 6), TOPIC_TOO_DEEP);
    cr_expect_eq(topic_filter_parse(&filter, &limits, "1234567", 7), TOPIC_TOO_LONG);
    cr_expect_eq(topic_filter_parse(&filter, &limits, "$share/group/a/b", 16), TOPIC_OK);
    static char long_text[65536];
    memset(long_text, 'x', sizeof(long_text));
    cr_expect_eq(topic_name_set(&name, &test_seed, &no_limits, long_text, 65535), TOPIC_OK);
    cr_expect_eq(topic_name_token(&name, 0), topic_hash(&test_seed, long_text, 65535));
    cr_expect_eq(topic_name_set(&name, &test_seed, &no_limits, long_text, 65536), TOPIC_TOO_LONG);
    memset(long_text, '/', 200);
    cr_expect_eq(topic_name_set(&name, &test_seed, &no_limits, long_text, 127), TOPIC_OK);
    cr_expect_eq(name.levels, TOPIC_LEVELS_MAX);
    cr_expect_eq(topic_name_set(&name, &test_seed, &no_limits, long_text, 128), TOPIC_TOO_DEEP);
}

Test(topic, hash_depends_on_every_byte_and_on_the_seed)
{
    uint8_t text[32] = {0};
    for (size_t length = 1; length <= sizeof(text); length++) {
        uint64_t before = topic_hash(&test_seed, text, length);
        for (size_t i = 0; i < length; i++) {
            text[i] ^= 1;
            cr_expect_neq(topic_hash(&test_seed, text, length), before);
            text[i] ^= 1;
        }
        cr_expect_neq(topic_hash(&test_seed, text, length - 1), before);
        struct topic_seed other = test_seed;
        other.key[1] ^= 1;
        cr_expect_neq(topic_hash(&other, text, length), before);
    }
}

Test(topic, group_identity)
{
    struct topic_filter_name a = filter_named("$share/g/a"), b = filter_named("$share/g/b"),
                             c = filter_named("$share/h/a"), again = filter_named("$share/g/a");
    cr_expect_eq(topic_group_id(&test_seed, &a), topic_group_id(&test_seed, &again));
    cr_expect_neq(topic_group_id(&test_seed, &a), topic_group_id(&test_seed, &b));
    cr_expect_neq(topic_group_id(&test_seed, &a), topic_group_id(&test_seed, &c));
}

Test(topic, stripes)
{
    struct topic_filter_name deep = filter_named("first/+/#"), flat = filter_named("first"), all = filter_named("+/x");
    unsigned stripe = topic_stripe(&test_seed, "first/second", 12);
    cr_expect_eq(topic_filter_stripe(&test_seed, &deep), stripe);
    cr_expect_eq(topic_filter_stripe(&test_seed, &flat), stripe);
    cr_expect_eq(topic_filter_stripe(&test_seed, &all), TOPIC_STRIPE_ALL);
}

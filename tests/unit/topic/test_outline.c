/* lib/topic/outline.h: topics with the same outline match the same filters. */
#include "lib/topic/outline.h"
#include "tests/unit/topic/support.h"

static struct topic_outlines outlines;

static void change(const char *text, bool present)
{
    const struct topic_filter_name filter = filter_named(text);
    (present ? topic_outlines_add : topic_outlines_remove)(&outlines, &test_seed, &filter);
}

static const char *outline_of(const char *topic)
{
    static char text[512];
    const topic_outline outline = topic_outlines_read(&outlines, topic_stripe(&test_seed, topic, strlen(topic)));
    text[topic_outline_take(outline, topic, strlen(topic), text)] = '\0';
    return text;
}

Test(outline, what_filters_do_not_name_is_left_out)
{
    change("devices/+/state", true);
    cr_expect_str_eq(outline_of("devices/17/state"), "devices//state");
    cr_expect_str_eq(outline_of("devices/18/state/on/and/more"), "devices//state/");
    cr_expect_str_eq(outline_of("devices/18"), "devices/");
    change("devices/#", true);
    change("devices/+/state", false);
    cr_expect_str_eq(outline_of("devices/17/state"), "devices/");
    cr_expect_str_eq(outline_of("devices"), "devices");
    change("devices/17/+/x", true);
    cr_expect_str_eq(outline_of("devices/17/state"), "devices/17/");
    change("devices/17/+/x", false);
    change("devices/#", false);
    cr_expect_str_eq(outline_of("devices/17/state"), "#", "nobody asks for anything");
}

Test(outline, dollar)
{
    change("#", true);
    cr_expect_str_eq(outline_of("a/b"), "#");
    cr_expect_str_eq(outline_of("$SYS/b"), "$SYS/", "which '#' does not match");
    cr_expect_str_eq(outline_of("/b"), "#");
}

Test(outline, deep_filters_make_all_levels_count)
{
    char filter[256] = "+", topic[256] = "a";
    for (unsigned level = 1; level < TOPIC_OUTLINE_LEVELS + 4; level++) {
        strcat(filter, "/+");
        strcat(topic, level % 2 == 0 ? "/x" : "/y");
    }
    change(filter, true);
    cr_expect_eq(strlen(outline_of(topic)), strlen(topic) - TOPIC_OUTLINE_LEVELS);
    strcat(topic, "/z/z");
    cr_expect_eq(strlen(outline_of(topic)), strlen(topic) - TOPIC_OUTLINE_LEVELS);
}

/* Filters come and go; topics whose stripes and outlines agree must agree in what they match. */
Test(outline, topics_with_the_same_outline_match_the_same)
{
    enum { FILTERS = 8, TOPICS = 60, ROUNDS = 1000 };
    static char filters[FILTERS][128], topics[TOPICS][128], texts[TOPICS][130];
    unsigned state = 3, agreeing = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned count = 1 + (unsigned)rand_r(&state) % FILTERS;
        for (unsigned i = 0; i < count; i++) {
            random_text(&state, filters[i], true);
            change(filters[i], true);
        }
        for (unsigned i = 0; i < TOPICS; i++) {
            random_text(&state, topics[i], false);
            strcpy(texts[i], outline_of(topics[i]));
        }
        for (unsigned i = 0; i < TOPICS; i++) {
            for (unsigned k = 0; k < i; k++) {
                if (strcmp(texts[i], texts[k]) != 0 || topic_stripe(&test_seed, topics[i], strlen(topics[i])) !=
                                                           topic_stripe(&test_seed, topics[k], strlen(topics[k]))) {
                    continue;
                }
                agreeing += strcmp(topics[i], topics[k]) != 0;
                for (unsigned f = 0; f < count; f++) {
                    const size_t length = strlen(filters[f]);
                    cr_assert_eq(topic_filter_matches(filters[f], length, topics[i], strlen(topics[i])),
                                 topic_filter_matches(filters[f], length, topics[k], strlen(topics[k])), "%s: %s, %s",
                                 filters[f], topics[i], topics[k]);
                }
            }
        }
        for (unsigned i = 0; i < count; i++) {
            change(filters[i], false);
        }
    }
    cr_expect_gt(agreeing, 1000, "or nothing was compared: %u", agreeing);
    for (unsigned stripe = 0; stripe <= TOPIC_STRIPES; stripe++) {
        cr_expect_eq(outlines.of[stripe], 0, "nothing is left counted");
    }
}

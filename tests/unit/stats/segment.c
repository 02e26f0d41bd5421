/* The statistics segment: round trip, a writer at full speed, a writer that died or lies. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "lib/stats/layout.h"
#include "lib/stats/stats.h"

#define COUNTERS(X)                                \
    X(first, STATS_COUNTER, "things", "The first") \
    X(second, STATS_GAUGE, "things", "Always the first times three")

struct counters {
    COUNTERS(STATS_MEMBER)
};

static const struct stats_definition definitions[] = {COUNTERS(STATS_DEFINITION)};
static const struct stats_definition times[] = {{"time", STATS_HISTOGRAM, "nanoseconds", "How long"}};
static struct stats_segment segment;
static struct shm_error error;

static void build(uint32_t workers)
{
    struct stats_builder *builder = stats_builder_create();
    cr_assert_eq(stats_builder_add(builder, STATS_WORKER, "group", definitions, 2, &error), 0, "%s", error.text);
    cr_assert_eq(stats_builder_add(builder, STATS_WORKER, "loop", times, 1, &error), 2);
    cr_assert_eq(stats_builder_add(builder, STATS_GLOBAL, "whole", definitions, 1, &error), 0);
    cr_assert_eq(stats_builder_finish(builder, workers, &segment, &error), 0, "%s", error.text);
}

static struct stats_reader *attach(void)
{
    struct stats_reader *reader = stats_reader_attach(dup(segment.segment.fd), &error);
    cr_assert(reader, "%s", error.text);
    return reader;
}

static void publish(uint32_t worker, uint64_t value, uint64_t now)
{
    struct counters counters = {value, value * 3};
    static struct histogram histogram[2];
    histogram_record(&histogram[worker], value);
    stats_publish_begin(&segment, worker);
    stats_publish(&segment, worker, 0, (const uint64_t *)&counters, 2);
    stats_publish(&segment, worker, 2, (const uint64_t *)&histogram[worker], HISTOGRAM_WORDS);
    stats_publish_end(&segment, worker, now);
}

static void teardown(void)
{
    stats_segment_close(&segment);
}

TestSuite(stats, .fini = teardown, .timeout = 30);

Test(stats, what_is_published_is_read_by_name)
{
    build(2);
    struct stats_reader *reader = attach();
    cr_assert_eq(stats_reader_workers(reader), 2);
    cr_assert_eq(stats_reader_count(reader), 4);
    cr_assert_eq(stats_reader_published(reader, 0), 0);
    publish(0, 5, 1000);
    publish(1, 7, 2000);
    const uint64_t whole = 99;
    stats_publish_begin(&segment, STATS_BLOCK_GLOBAL);
    stats_publish(&segment, STATS_BLOCK_GLOBAL, 0, &whole, 1);
    stats_publish_end(&segment, STATS_BLOCK_GLOBAL, 3000);
    cr_assert_eq(stats_reader_refresh(reader), 0);
    const struct stats_entry *second = stats_reader_find(reader, "group", "second");
    cr_assert(second);
    cr_assert_str_eq(second->unit, "things");
    cr_assert_str_eq(second->help, "Always the first times three");
    cr_assert_eq(second->kind, STATS_GAUGE);
    cr_assert_eq(stats_reader_value(reader, second, 1), 21);
    cr_assert_eq(stats_reader_sum(reader, second), 36);
    cr_assert_eq(stats_reader_sum(reader, stats_reader_find(reader, "whole", "first")), 99);
    struct histogram merged;
    stats_reader_histogram(reader, stats_reader_find(reader, "loop", "time"), &merged);
    cr_assert_eq(merged.count, 2);
    cr_assert_eq(merged.maximum, 7);
    const struct stats_entry *time = stats_reader_find(reader, "loop", "time");
    cr_assert_eq(stats_reader_histogram_of(reader, time, 0)->maximum, 5);
    cr_assert_eq(stats_reader_histogram_of(reader, time, 1)->maximum, 7);
    cr_assert_null(stats_reader_histogram_of(reader, time, 2));
    cr_assert_null(stats_reader_histogram_of(reader, second, 0));
    cr_assert_eq(stats_reader_published(reader, 1), 2000);
    cr_assert_eq(stats_reader_published(reader, STATS_BLOCK_GLOBAL), 3000);
    cr_assert_null(stats_reader_find(reader, "group", "third"));
    cr_assert_null(stats_reader_entry(reader, 4));
    stats_reader_free(reader);
}

Test(stats, the_last_values_outlive_the_writer)
{
    build(1);
    struct stats_reader *reader = attach();
    publish(0, 5, 1000);
    stats_reader_detach(reader);
    publish(0, 6, 2000);
    cr_assert_eq(stats_reader_refresh(reader), 0);
    cr_assert_eq(stats_reader_sum(reader, stats_reader_find(reader, "group", "first")), 5);
    stats_reader_free(reader);
}

Test(stats, a_writer_that_died_inside_a_publication_leaves_the_former_values)
{
    build(2);
    struct stats_reader *reader = attach();
    publish(0, 5, 1000);
    publish(1, 5, 1000);
    cr_assert_eq(stats_reader_refresh(reader), 0);
    struct counters half = {77, 0};
    stats_publish_begin(&segment, 0);
    stats_publish(&segment, 0, 0, (const uint64_t *)&half, 1);
    publish(1, 6, 2000);
    cr_assert_eq(stats_reader_refresh(reader), 1);
    cr_assert_eq(stats_reader_value(reader, stats_reader_find(reader, "group", "first"), 0), 5);
    cr_assert_eq(stats_reader_value(reader, stats_reader_find(reader, "group", "first"), 1), 6);
    stats_reader_free(reader);
}

static volatile int stop;

static void *write_always(void *argument)
{
    for (uint64_t value = 1; !stop; value++) {
        struct counters counters = {value, value * 3};
        stats_publish_begin(&segment, 0);
        stats_publish(&segment, 0, 0, (const uint64_t *)&counters, 2);
        stats_publish_end(&segment, 0, value);
        for (volatile int rest = 0; rest < 50; rest++)
            ;
    }
    return NULL;
}

Test(stats, a_reader_never_sees_half_a_publication)
{
    pthread_t writer;
    build(1);
    struct stats_reader *reader = attach();
    const struct stats_entry *first = stats_reader_find(reader, "group", "first");
    const struct stats_entry *second = stats_reader_find(reader, "group", "second");
    cr_assert_eq(pthread_create(&writer, NULL, write_always, NULL), 0);
    uint64_t last = 0, changes = 0;
    /* On a busy machine the writer may get its first turn late: go on until it was seen. */
    for (int i = 0; i < 3000 || (changes <= 5 && i < 1000000); i++) {
        stats_reader_refresh(reader);
        uint64_t value = stats_reader_value(reader, first, 0);
        cr_assert_eq(stats_reader_value(reader, second, 0), value * 3);
        cr_assert_eq(stats_reader_published(reader, 0), value);
        cr_assert_geq(value, last);
        changes += value != last;
        last = value;
        if (i % 64 == 0)
            usleep(100);
    }
    stop = 1;
    pthread_join(writer, NULL);
    cr_assert_gt(changes, 5, "the writer was not seen at work");
    stats_reader_free(reader);
}

static void expect_definition_refused(const char *group, struct stats_definition definition)
{
    struct stats_builder *builder = stats_builder_create();
    cr_assert_eq(stats_builder_add(builder, STATS_WORKER, group, &definition, 1, &error), -1);
    cr_assert(error.text[0] != '\0');
    stats_builder_free(builder);
}

Test(stats, definitions_need_good_names)
{
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    expect_definition_refused("group", (struct stats_definition){NULL, STATS_COUNTER, "a", "b"});
    expect_definition_refused("group", (struct stats_definition){"", STATS_COUNTER, "a", "b"});
    expect_definition_refused("group", (struct stats_definition){"Upper", STATS_COUNTER, "a", "b"});
    expect_definition_refused("group", (struct stats_definition){"a-b", STATS_COUNTER, "a", "b"});
    expect_definition_refused("group", (struct stats_definition){longer, STATS_COUNTER, "a", "b"});
    expect_definition_refused("group", (struct stats_definition){"a", STATS_COUNTER, "a", longer});
    expect_definition_refused(NULL, (struct stats_definition){"a", STATS_COUNTER, "a", "b"});
    struct stats_builder *builder = stats_builder_create();
    cr_assert_eq(stats_builder_add(builder, STATS_WORKER, "g", definitions, 1, &error), 0);
    cr_assert_eq(stats_builder_add(builder, STATS_WORKER, "g", definitions, 1, &error), -1);
    cr_assert(strstr(error.text, "twice"));
    cr_assert_eq(stats_builder_finish(builder, 0, &segment, &error), -1);
}

/* Change something in the segment, expect that a reader refuses it. */
#define EXPECT_REFUSED(statement)                                                                      \
    do {                                                                                               \
        build(2);                                                                                      \
        uint8_t *at = (uint8_t *)segment.segment.base + sizeof(struct shm_segment_header);             \
        struct stats_header *header = (struct stats_header *)at;                                       \
        struct stats_record *records = (struct stats_record *)(header + 1);                            \
        (void)records;                                                                                 \
        statement;                                                                                     \
        cr_assert_null(stats_reader_attach(dup(segment.segment.fd), &error), "accepted: " #statement); \
        stats_segment_close(&segment);                                                                 \
    } while (0)

Test(stats, a_reader_refuses_what_does_not_add_up)
{
    EXPECT_REFUSED(header->definition_count = UINT32_MAX);
    EXPECT_REFUSED(header->definition_count = 4000);
    EXPECT_REFUSED(header->workers = 0);
    EXPECT_REFUSED(header->workers = 65);
    EXPECT_REFUSED(header->workers = 64);
    EXPECT_REFUSED(header->words[0] = UINT32_MAX);
    EXPECT_REFUSED(header->words[1] = STATS_WORDS_MAX);
    EXPECT_REFUSED(header->first_block = UINT64_MAX - 63);
    EXPECT_REFUSED(header->first_block = 0);
    EXPECT_REFUSED(header->first_block += 8);
    EXPECT_REFUSED(header->stride = UINT64_MAX);
    EXPECT_REFUSED(header->stride = 0);
    EXPECT_REFUSED(records[1].offset = UINT32_MAX);
    EXPECT_REFUSED(records[2].offset += 1);
    EXPECT_REFUSED(records[2].words = 1);
    EXPECT_REFUSED(records[0].kind = 4);
    EXPECT_REFUSED(records[0].scope = 0);
    EXPECT_REFUSED(records[3].scope = 3);
    EXPECT_REFUSED(memset(records[0].help, 'x', sizeof records[0].help));
    EXPECT_REFUSED(records[0].name[0] = '\0');
    EXPECT_REFUSED(records[0].group[0] = '\x1b');
}

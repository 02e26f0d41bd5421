/* What every figure of pollux-perf rests on: the histogram and the tracker of sequence numbers. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "perf/histogram.h"
#include "perf/tracker.h"

static struct histogram histogram, other;

Test(histogram, percentiles_of_known_values)
{
    for (uint64_t ns = 1; ns <= 1000000; ns++)
        histogram_record(&histogram, ns);
    static const double shares[] = {0.001, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double exact = shares[i] * 1000000, found = (double)histogram_percentile(&histogram, shares[i]);
        cr_expect(found >= exact && found <= exact * 1.008, "%g: %g", shares[i], found);
    }
    cr_expect_eq(histogram.largest, 1000000);
    cr_expect_eq(histogram_percentile(&histogram, 1), 1000000);
}

Test(histogram, every_value_has_a_bucket_near_it)
{
    for (uint64_t ns = 1; ns < UINT64_C(1) << 62; ns += 1 + ns / 1000) {
        struct histogram *one = calloc(1, sizeof(*one));
        uint32_t bucket = histogram_bucket(ns);
        cr_assert_lt(bucket, HISTOGRAM_BUCKETS, "%lu", ns);
        cr_assert_geq(histogram_bucket(ns + 1), bucket);
        histogram_record(one, ns);
        cr_assert_eq(histogram_percentile(one, 0.5), ns); /* the largest is exact, and caps the bucket's end */
        free(one);
    }
}

Test(histogram, added)
{
    cr_expect_eq(histogram_percentile(&histogram, 0.99), 0, "empty");
    for (int i = 0; i < 99; i++)
        histogram_record(&histogram, 100);
    histogram_record(&other, 5000000);
    histogram_add(&histogram, &other);
    cr_expect_eq(histogram.count, 100);
    cr_expect_eq(histogram_percentile(&histogram, 0.99), 100);
    cr_expect_eq(histogram_percentile(&histogram, 0.999), 5000000);
}

/* Feeds a sequence to a tracker; returns how many arrived for the first time. */
static int feed(struct tracker *tracker, const uint32_t *numbers, int n, int *late, int *twice, uint32_t *advanced)
{
    int unique = 0;
    *late = *twice = 0;
    *advanced = 0;
    for (int i = 0; i < n; i++) {
        uint32_t advance;
        enum tracker_verdict verdict = tracker_note(tracker, numbers[i], &advance);
        *late += verdict == TRACKER_LATE;
        *twice += verdict == TRACKER_TWICE;
        unique += verdict != TRACKER_TWICE;
        *advanced += advance;
    }
    return unique;
}

Test(tracker, verdicts)
{
    static const struct {
        uint32_t numbers[8];
        int n, unique, late, twice;
        uint32_t advanced;
    } cases[] = {
        {{0, 1, 2, 3}, 4, 4, 0, 0, 4},       /* in order */
        {{0, 1, 3, 4}, 4, 4, 0, 0, 5},       /* 2 is lost */
        {{3}, 1, 1, 0, 0, 4},                /* the first three are lost */
        {{0, 2, 1, 3}, 4, 4, 1, 0, 4},       /* 1 is overtaken */
        {{0, 1, 1, 2}, 4, 3, 0, 1, 3},       /* 1 comes twice */
        {{0, 2, 1, 1, 2, 0}, 6, 3, 1, 3, 3}, /* late, then double */
        {{0, 63, 0, 1}, 4, 3, 1, 1, 64},     /* 0 is at the far end of what is remembered */
        {{0, 64, 0, 1}, 4, 3, 1, 1, 65},
        {{0, 100, 1}, 3, 2, 0, 1, 101}, /* too old to tell */
        {{5, 3, 4, 5, 0, 1, 2}, 7, 6, 5, 1, 6},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tracker tracker = {0};
        int late, twice;
        uint32_t advanced;
        int unique = feed(&tracker, cases[i].numbers, cases[i].n, &late, &twice, &advanced);
        cr_expect_eq(unique, cases[i].unique, "case %zu: %d unique", i, unique);
        cr_expect_eq(late, cases[i].late, "case %zu: %d late", i, late);
        cr_expect_eq(twice, cases[i].twice, "case %zu: %d twice", i, twice);
        cr_expect_eq(advanced, cases[i].advanced, "case %zu: advanced %u", i, advanced);
    }
}

/* Sequence numbers come round after four thousand million messages, which a long run reaches. */
Test(tracker, wraps)
{
    struct tracker tracker = {.next = UINT32_MAX, .seen = ~UINT64_C(0)};
    int late, twice;
    uint32_t advanced;
    const uint32_t numbers[] = {UINT32_MAX, 1, 0, 0};
    cr_expect_eq(feed(&tracker, numbers, 4, &late, &twice, &advanced), 3);
    cr_expect_eq(late, 1);
    cr_expect_eq(twice, 1);
    cr_expect_eq(advanced, 3);
}

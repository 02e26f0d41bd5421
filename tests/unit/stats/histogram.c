/* Log-linear histogram: buckets without gaps, the promised error, percentiles. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/stats/histogram.h"

TestSuite(histogram, .timeout = 20);

Test(histogram, buckets_follow_each_other_without_gap)
{
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t floor = histogram_bucket_floor(bucket);
        cr_assert_eq(histogram_bucket(floor), bucket, "bucket %u begins at %llu", bucket, (unsigned long long)floor);
        if (bucket > 0)
            cr_assert_eq(histogram_bucket(floor - 1), bucket - 1);
    }
    cr_assert_eq(histogram_bucket_floor(HISTOGRAM_BUCKETS), HISTOGRAM_VALUE_MAX);
    cr_assert_eq(histogram_bucket(HISTOGRAM_VALUE_MAX), HISTOGRAM_BUCKETS - 1);
    cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

Test(histogram, relative_error_is_at_most_one_32nd)
{
    for (uint64_t value = 1; value < HISTOGRAM_VALUE_MAX; value += 1 + value / 7) {
        uint32_t bucket = histogram_bucket(value);
        uint64_t width = histogram_bucket_floor(bucket + 1) - histogram_bucket_floor(bucket);
        cr_assert_leq((width - 1) * 32, value);
    }
}

Test(histogram, percentiles_of_a_known_distribution)
{
    static struct histogram histogram;
    cr_assert_eq(histogram_percentile(&histogram, 5000), 0);
    for (uint64_t value = 1; value <= 10000; value++)
        histogram_record(&histogram, value);
    cr_assert_eq(histogram.count, 10000);
    cr_assert_eq(histogram.sum, 50005000);
    const uint32_t asked[] = {1, 5000, 9000, 9900, 9990, 10000};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        uint64_t got = histogram_percentile(&histogram, asked[i]);
        cr_assert_geq(got, asked[i]);
        cr_assert_leq(got, asked[i] + asked[i] / 32 + 1, "p%u gave %llu", asked[i], (unsigned long long)got);
    }
    cr_assert_eq(histogram_percentile(&histogram, 10000), 10000);
    cr_assert_eq(histogram_percentile(&histogram, 99999), 10000);
}

Test(histogram, a_value_beyond_the_range_keeps_the_true_maximum)
{
    static struct histogram histogram;
    histogram_record(&histogram, UINT64_MAX);
    cr_assert_eq(histogram_percentile(&histogram, 5000), UINT64_MAX);
}

Test(histogram, merging_adds_everything)
{
    static struct histogram a, b;
    histogram_record(&a, 10);
    histogram_record(&b, 1000000);
    histogram_merge(&a, &b);
    cr_assert_eq(a.count, 2);
    cr_assert_eq(a.sum, 1000010);
    cr_assert_eq(a.maximum, 1000000);
    cr_assert_eq(histogram_percentile(&a, 5000), 10);
}

Test(histogram, counts_that_do_not_add_up_are_survived)
{
    static struct histogram histogram = {.count = UINT64_MAX, .maximum = 7};
    cr_assert_eq(histogram_percentile(&histogram, 9999), 7);
}

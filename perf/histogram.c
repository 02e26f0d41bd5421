/* Percentiles of the histogram, and adding up those of several threads. */
#include "perf/histogram.h"

#include <math.h>

void histogram_add(struct histogram *sum, const struct histogram *other)
{
    sum->count += other->count;
    sum->largest = other->largest > sum->largest ? other->largest : sum->largest;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->buckets[i] += other->buckets[i];
}

/* The largest value that falls into a bucket, so that a percentile is never better than what was measured. */
static uint64_t bucket_upper(uint32_t bucket)
{
    if (bucket < 2u << HISTOGRAM_PRECISION)
        return bucket;
    if (bucket == HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX; /* everything above the range is in there */
    uint32_t shift = (bucket >> HISTOGRAM_PRECISION) - 1;
    uint64_t top = (bucket & ((1u << HISTOGRAM_PRECISION) - 1)) + (1u << HISTOGRAM_PRECISION);
    return ((top + 1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->count), seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && histogram->count > 0; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t upper = bucket_upper(i);
            return upper < histogram->largest ? upper : histogram->largest;
        }
    }
    return histogram->largest;
}

/* Reading of log-linear histograms: see stats/histogram.h. */
#include "lib/stats/histogram.h"

uint64_t histogram_bucket_floor(uint32_t bucket)
{
    uint32_t row = bucket >> HISTOGRAM_SPLIT_BITS;
    if (row == 0)
        return bucket;
    /* Rows from 1 on hold values with their top bit at row + SPLIT - 1, in steps of 2^(row - 1). */
    uint64_t step = bucket & ((1u << HISTOGRAM_SPLIT_BITS) - 1);
    return (step + (UINT64_C(1) << HISTOGRAM_SPLIT_BITS)) << (row - 1);
}

uint64_t histogram_percentile(const struct histogram *histogram, uint32_t permyriad)
{
    if (histogram->count == 0)
        return 0;
    if (permyriad > 10000)
        permyriad = 10000;
    uint64_t wanted = (uint64_t)(((__uint128_t)histogram->count * permyriad + 9999) / 10000);
    if (wanted == 0)
        wanted = 1;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS - 1; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen < wanted)
            continue;
        uint64_t edge = histogram_bucket_floor(bucket + 1) - 1;
        return edge < histogram->maximum ? edge : histogram->maximum;
    }
    return histogram->maximum;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    if (from->maximum > to->maximum)
        to->maximum = from->maximum;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
        to->buckets[bucket] += from->buckets[bucket];
}

/* A log-linear histogram: how long, how large, with a relative error of at most 1/32.
 *
 * Job: record a value with a count-leading-zeros, a shift and three additions; no division, no branch on the value's
 * size but one. Values below 32 have a bucket each; above, each power of two is split into 32 buckets of equal width.
 * Values from HISTOGRAM_VALUE_MAX on fall into the last bucket (`maximum` keeps the true one).
 *
 * Who calls: one thread writes a histogram; another may read a copy that lib/stats publishes. It consists of 64-bit
 * words only, so it can be published like any other counter. The caller owns the memory; all zero is the empty one. */
#ifndef POLLUX_STATS_HISTOGRAM_H
#define POLLUX_STATS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_SPLIT_BITS 5u  /* 2^5 buckets per power of two */
#define HISTOGRAM_VALUE_BITS 37u /* 2^37 ns = 137 s */
#define HISTOGRAM_VALUE_MAX (UINT64_C(1) << HISTOGRAM_VALUE_BITS)
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_SPLIT_BITS + 1u) << HISTOGRAM_SPLIT_BITS)
#define HISTOGRAM_WORDS (3u + HISTOGRAM_BUCKETS) /* 64-bit words of the whole struct */

struct histogram {
    uint64_t count;
    uint64_t sum; /* wraps after 2^64 */
    uint64_t maximum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value. */
static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value >= HISTOGRAM_VALUE_MAX)
        return HISTOGRAM_BUCKETS - 1;
    /* Setting the bit keeps clz defined and puts every value below 2^SPLIT into the linear part (shift 0). */
    uint32_t top = 63u - (uint32_t)__builtin_clzll(value | (UINT64_C(1) << HISTOGRAM_SPLIT_BITS));
    uint32_t shift = top - HISTOGRAM_SPLIT_BITS;
    return (shift << HISTOGRAM_SPLIT_BITS) + (uint32_t)(value >> shift);
}

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->maximum)
        histogram->maximum = value;
    histogram->buckets[histogram_bucket(value)]++;
}

/* The smallest value that falls into a bucket. */
uint64_t histogram_bucket_floor(uint32_t bucket);

/* The value that `permyriad` of 10,000 recorded ones do not exceed (5000: median, 9990: p99.9): the upper edge of its
 * bucket, never above the maximum; 0 when empty. Reads a snapshot; counts that do not add up give a value, no error. */
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t permyriad);

/* Add everything in `from` to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

#endif

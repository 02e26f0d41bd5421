/*
 * A log-linear histogram of durations, in nanoseconds: exact below 128 ns, within 0.8 % above, up to 18 minutes.
 *
 * One thread records into its own; histograms are added up when the threads have ended.
 */
#ifndef PERF_HISTOGRAM_H
#define PERF_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PRECISION 7 /* a power of two is divided into 128 buckets */
#define HISTOGRAM_POWERS 40
#define HISTOGRAM_BUCKETS ((HISTOGRAM_POWERS - HISTOGRAM_PRECISION + 2) << HISTOGRAM_PRECISION)

struct histogram {
    uint64_t count;
    uint64_t largest; /* ns, exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t ns)
{
    if (ns < 1u << HISTOGRAM_PRECISION)
        return (uint32_t)ns;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - HISTOGRAM_PRECISION;
    if (shift > HISTOGRAM_POWERS - HISTOGRAM_PRECISION)
        return HISTOGRAM_BUCKETS - 1;
    return (shift << HISTOGRAM_PRECISION) + (uint32_t)(ns >> shift);
}

static inline void histogram_record(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[histogram_bucket(ns)]++;
    if (ns > histogram->largest)
        histogram->largest = ns;
}

void histogram_add(struct histogram *sum, const struct histogram *other);

/* The value that `share` (0 to 1) of the recorded ones do not exceed, in ns; 0 if nothing was recorded. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif

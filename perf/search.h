/* The highest rate that a broker holds with its latency below a bound. */
#ifndef PERF_SEARCH_H
#define PERF_SEARCH_H

#include "perf/run.h"

/*
 * Runs a scenario of messages in a closed loop, to know where the broker ends, and then at fixed rates, halving what is
 * left between one that held (p99 at most `p99_us`, nothing lost, the rate kept) and one that did not, until they are
 * within 5 %. `result` and scenario->rate become those of the highest rate that held; without one, result->failure says
 * so.
 */
void search_rate(const struct options *options, struct scenario *scenario, double p99_us, struct result *result);

#endif

/*
 * Statistics: what the dataplane counts, described and copied into the segment that control reads (lib/stats/stats.h).
 */
#ifndef POLLUX_DATAPLANE_STATISTICS_H
#define POLLUX_DATAPLANE_STATISTICS_H

#include <stdint.h>

#include "lib/shm/error.h"

struct dataplane;
struct dataplane_counters;
struct worker;

/* Describes every counter and creates the segment; on the main lcore, before the workers run. 0, or -1 with the reason.
 */
int statistics_create(struct dataplane *dataplane, struct shm_error *error);

/* Copies a worker's counters into its block; called by that worker, now and then. */
void statistics_publish(struct worker *worker);

/* Messages that were not delivered, for any cause. */
uint64_t dataplane_counters_dropped(const struct dataplane_counters *counters);

#endif

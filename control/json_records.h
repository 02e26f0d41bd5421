/* Records of the dataplane as JSON objects.
 *
 * Job: the one place where a field of shm/messages.h gets the name that people and scripts see: kebab-case, a unit in
 * the name where it is not plain. Bytes that are not UTF-8 become '?'.
 *
 * Each returns a new reference, or NULL when memory is out. The records have been checked before. */
#ifndef POLLUX_CONTROL_JSON_RECORDS_H
#define POLLUX_CONTROL_JSON_RECORDS_H

#include <jansson.h>

#include "lib/shm/messages.h"
#include "lib/stats/stats.h"

/* The record in a reply with status SHM_REPLY_RECORD. */
json_t *json_from_reply(const struct shm_reply *reply);

/* Adds to the record of a worker where its time goes, from the statistics as of their last refresh: cycles by stage,
 * cycles and messages of an iteration, the distribution of loop times. All since the dataplane's start. */
void json_add_timing(json_t *object, const struct stats_reader *reader, uint32_t worker);

/* A counter, gauge or histogram with its value in all workers together and in each. With a `worker` that is not
 * SHM_WORKER_ANY, the value is that worker's. */
json_t *json_from_statistic(const struct stats_reader *reader, const struct stats_entry *entry, uint32_t worker);

/* Bytes of a peer as a JSON string. */
json_t *json_from_bytes(const uint8_t *bytes, size_t length);

#endif

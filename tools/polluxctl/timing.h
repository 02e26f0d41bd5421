/* Where the workers' time goes, for people.
 *
 * Job: from the records of `show runtime` (control/json_records.h: "stages", "loop-times", cycles), a table of stages
 * and one of loop times, a column for each worker. Constant arithmetic on JSON that the caller owns; one thread. */
#ifndef POLLUX_POLLUXCTL_TIMING_H
#define POLLUX_POLLUXCTL_TIMING_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TIMING_WORKERS_MAX 8 /* that have a column */

/* The integer field of a record less what it was in `before`, which may be NULL: since the dataplane's start. */
uint64_t timing_since(const json_t *record, const json_t *before, const char *field);

/* Messages in and out. */
uint64_t timing_messages(const json_t *record, const json_t *before);

/* Cycles of one stage; of all of them together for NULL. */
uint64_t timing_stage(const json_t *record, const json_t *before, const char *stage);

/* Both tables, since the dataplane's start. Prints nothing where there are no figures. */
void timing_print(FILE *output, const json_t *records);

#endif

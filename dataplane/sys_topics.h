/*
 * $SYS topics: the router's figures as retained messages, under the names that Mosquitto's users know.
 *
 * Worker 0 publishes them, each mqtt.sys-interval, like a client would: what has not changed is not sent again. The
 * figures of the other workers it reads in the statistics segment that every worker copies its counters to, as control
 * does; so nothing is shared that was not shared before, and they are as old as dataplane.statistics-interval.
 *
 * Created and freed on the main lcore with heap memory; the rest runs on worker 0.
 */
#ifndef POLLUX_DATAPLANE_SYS_TOPICS_H
#define POLLUX_DATAPLANE_SYS_TOPICS_H

#include <stdint.h>

#include "lib/shm/error.h"
#include "lib/timer/timer.h"

struct worker;
struct sys_topics;

/* Attaches to the statistics, which have to be there. 0, or -1 with the reason. */
int sys_topics_create(struct worker *worker, struct shm_error *error);
void sys_topics_destroy(struct sys_topics *sys);

/* Publishes for the first time, and from then on by its timer. */
void sys_topics_start(struct worker *worker);

/* Timer handler. */
void sys_topics_timer(void *worker, struct timer *timer, uint64_t now);

#endif

/* Slow work aside: threads that compute while the event loop goes on.
 *
 * Job: run a function on another thread, then tell the event loop's thread. Bounded: JOBS_MAX wait at most.
 *
 * A job belongs to its user from jobs_start until `done` is called; `work` may touch nothing but the job. */
#ifndef POLLUX_CONTROL_JOBS_H
#define POLLUX_CONTROL_JOBS_H

#include "control/loop.h"

#define JOBS_MAX 65536u /* as many as there can be logins */

struct job {
    void (*work)(struct job *job); /* on a thread of the pool */
    void (*done)(struct job *job); /* afterwards, on the event loop's thread */
    struct job *next;
};

struct jobs;

/* `threads` threads. NULL: no memory. */
struct jobs *jobs_open(struct loop *loop, uint32_t threads);

/* False: too many wait; nothing was started. */
bool jobs_start(struct jobs *jobs, struct job *job);

/* Waits for the work under way. No `done` is called any more, and waiting jobs are not begun: they are their users'. */
void jobs_close(struct jobs *jobs);

#endif

/*
 * Idle policy: what a worker does when an iteration found nothing.
 *
 * busy: polls again at once. adaptive: polls on for a short while, then sleeps for longer and longer times, up to a
 * maximum, unless somebody rings its bell (doorbell.h), so that an idle router uses little of a CPU and still answers
 * within a millisecond. One packet makes it poll again at full speed.
 */
#ifndef POLLUX_DATAPLANE_IDLE_H
#define POLLUX_DATAPLANE_IDLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    IDLE_POLL_US = 200, /* poll on for this long after the last work */
    IDLE_SLEEP_FIRST_US = 20,
    IDLE_SLEEP_MAX_LOOK_US = 700,   /* where nobody rings: what it adds to the first answer after a quiet time */
    IDLE_SLEEP_MAX_RUNG_US = 10000, /* where somebody rings (doorbell.h) */
};

struct idle {
    bool adaptive;
    uint64_t last_work; /* microseconds */
    uint32_t sleep_us;
};

void idle_init(struct idle *idle, bool adaptive);

/* This iteration found work. */
static inline void idle_work(struct idle *idle, uint64_t now)
{
    idle->last_work = now;
    idle->sleep_us = IDLE_SLEEP_FIRST_US;
}

/*
 * This iteration found none. Returns for how many microseconds, `longest` at most, the caller may sleep: 0 means poll
 * on. `deadline`: when the next timer is due.
 */
uint32_t idle_sleep_time(struct idle *idle, uint64_t now, uint64_t deadline, uint32_t longest);

#endif

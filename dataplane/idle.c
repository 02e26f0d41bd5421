/* The idle policy. See idle.h. */
#include "dataplane/idle.h"

#include <sys/prctl.h>
#include <time.h>

void idle_init(struct idle *idle, bool adaptive, uint32_t sleep_max_us)
{
    *idle = (struct idle){.adaptive = adaptive, .sleep_us = IDLE_SLEEP_FIRST_US, .sleep_max_us = sleep_max_us};
}

uint32_t idle_sleep_time(struct idle *idle, uint64_t now, uint64_t deadline)
{
    if (!idle->adaptive || now < idle->last_work + IDLE_POLL_US) {
        return 0;
    }
    uint32_t sleep = idle->sleep_us;
    idle->sleep_us = sleep < idle->sleep_max_us / 2 ? 2 * sleep : idle->sleep_max_us;
    if (deadline <= now) {
        return 0;
    }
    return deadline - now < sleep ? (uint32_t)(deadline - now) : sleep;
}

void idle_sleep(uint32_t microseconds)
{
    static _Thread_local bool prepared;
    if (!prepared) {
        prctl(PR_SET_TIMERSLACK, 1000); /* nanoseconds; the default would add 50 us to each sleep */
        prepared = true;
    }
    nanosleep(&(struct timespec){.tv_nsec = (long)microseconds * 1000}, NULL);
}

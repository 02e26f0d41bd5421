/* The idle policy. See idle.h. */
#include "dataplane/idle.h"

void idle_init(struct idle *idle, bool adaptive)
{
    *idle = (struct idle){.adaptive = adaptive, .sleep_us = IDLE_SLEEP_FIRST_US};
}

uint32_t idle_sleep_time(struct idle *idle, uint64_t now, uint64_t deadline, uint32_t longest)
{
    if (!idle->adaptive || now < idle->last_work + IDLE_POLL_US) {
        return 0;
    }
    const uint32_t sleep = idle->sleep_us < longest ? idle->sleep_us : longest;
    idle->sleep_us = 2 * sleep;
    if (deadline <= now) {
        return 0;
    }
    return deadline - now < sleep ? (uint32_t)(deadline - now) : sleep;
}

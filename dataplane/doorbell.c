/* The two system calls of a doorbell. See doorbell.h. */
#include "dataplane/doorbell.h"

#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void doorbell_sleep(struct doorbell *bell, uint32_t microseconds)
{
    static _Thread_local bool prepared;
    if (!prepared) {
        prctl(PR_SET_TIMERSLACK, 1000); /* nanoseconds; the default would add 50 us to each sleep */
        prepared = true;
    }
    const struct timespec time = {.tv_nsec = (long)microseconds * 1000};
    syscall(SYS_futex, &bell->armed, FUTEX_WAIT_PRIVATE, 1, &time, NULL, 0);
}

void doorbell_ring(struct doorbell *bell)
{
    if (doorbell_is_armed(bell) && atomic_exchange_explicit(&bell->armed, 0, memory_order_relaxed) != 0) {
        syscall(SYS_futex, &bell->armed, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

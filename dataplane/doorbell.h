/*
 * Doorbell: wakes a thread of the dataplane that sleeps because it had nothing to do (idle.h). Without it a worker that
 * owns no receive queue would have to look at its rings every half millisecond only to answer in time.
 *
 * The owner arms the bell, looks once more at everything that others may have put in front of it, and sleeps. Another
 * thread first puts its work there, then looks whether the bell is armed. Each side writes one word and reads the
 * other's, so both need a full fence between: at least one of them sees the other. While the owner is awake a look
 * costs the reading of a cache line that nobody writes; the system call happens only when it sleeps.
 */
#ifndef POLLUX_DATAPLANE_DOORBELL_H
#define POLLUX_DATAPLANE_DOORBELL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct doorbell {
    alignas(64) _Atomic uint32_t armed; /* 1 while the owner sleeps or is about to; a futex */
};

/* Owner: from now on others ring. It looks for work after this and before doorbell_sleep. */
static inline void doorbell_arm(struct doorbell *bell)
{
    atomic_store_explicit(&bell->armed, 1, memory_order_relaxed);
    /* Pairs with the fence in doorbell_published. */
    atomic_thread_fence(memory_order_seq_cst);
}

/* Owner: it is awake, or does not want to sleep after all. */
static inline void doorbell_disarm(struct doorbell *bell)
{
    atomic_store_explicit(&bell->armed, 0, memory_order_relaxed);
}

/* Owner, armed: sleeps until somebody rings, for `microseconds` (below one second) at most. A system call. */
void doorbell_sleep(struct doorbell *bell, uint32_t microseconds);

/* Another thread, once after everything it put in front of others, before it looks at their bells. */
static inline void doorbell_published(void)
{
    /* Pairs with the fence in doorbell_arm. */
    atomic_thread_fence(memory_order_seq_cst);
}

/* Another thread: would the owner want to be rung for? */
static inline bool doorbell_is_armed(const struct doorbell *bell)
{
    return atomic_load_explicit(&bell->armed, memory_order_relaxed) != 0;
}

/* Another thread: wakes the owner. A system call if it sleeps. */
void doorbell_ring(struct doorbell *bell);

#endif

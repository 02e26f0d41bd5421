/*
 * A part of a scenario on real threads: each worker and the housekeeper run on a thread of their own while the calling
 * thread goes on with the clients and the link, in real time. Between the parts time is virtual, and everything can be
 * looked at.
 *
 * Made for ThreadSanitizer: what DPDK's compiled half would hide from it (the buffer pool's ring, the ring device) is
 * done here, and its inline rings are built with C11 atomics (-DRTE_USE_C11_MEM_MODEL).
 */
#ifndef TESTS_SIM_ROUTER_THREADS_H
#define TESTS_SIM_ROUTER_THREADS_H

#include "tests/sim/router/world.h"

/* Before world_environment, once per process: buffer pools with a lock, which ThreadSanitizer understands. */
void threads_environment(void);

/* From world_begin on; the world has a queue for each worker. Without `world->wants_threads` both do nothing. */
void threads_begin(struct world *world);
void threads_end(struct world *world);

/* The clients' turn: what world_step does while the threads run. */
void threads_lock(struct world *world);
void threads_unlock(struct world *world);
uint64_t threads_now(const struct world *world);

#endif

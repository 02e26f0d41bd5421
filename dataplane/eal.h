/*
 * DPDK's environment: which cores, which memory, which devices. Called once, by the main thread, before anything of
 * DPDK.
 */
#ifndef POLLUX_DATAPLANE_EAL_H
#define POLLUX_DATAPLANE_EAL_H

#include <stdint.h>

#include "lib/shm/config.h"
#include "lib/shm/error.h"

/*
 * Starts DPDK for this configuration. lcores[i] gets the lcore of worker i; the calling thread becomes the main lcore.
 * 0, or -1 with a text that says what is missing and what to do.
 */
int eal_start(const struct shm_config *config, uint32_t lcores[SHM_WORKERS_MAX], struct shm_error *error);

/* MiB of memory that DPDK's own objects take with this configuration: packet buffers, rings, tables. */
uint32_t eal_memory_mib(const struct shm_config *config);

#endif

/*
 * The pool of packet buffers, which all ports and workers share. Made and freed on the main lcore; buffers are taken
 * and given back on any.
 */
#ifndef POLLUX_DATAPLANE_POOL_H
#define POLLUX_DATAPLANE_POOL_H

#include <stdint.h>

#include <rte_mempool.h>

#include "lib/shm/error.h"

/*
 * `count` buffers, each with `private_size` bytes for the stack, that lie one after the other without gaps. NULL: no
 * memory, with a text for the operator.
 *
 * Without gaps, because the AF_XDP driver of DPDK 22.11 registers `count` times the size of a buffer with the kernel.
 * rte_pktmbuf_pool_create leaves a gap before each page that a buffer would cross, so the last buffers lie behind the
 * registered memory: the kernel drops every packet in them. A buffer may cross a page because addresses for devices are
 * virtual ones (eal.c).
 */
struct rte_mempool *pool_create(uint32_t count, uint16_t private_size, struct shm_error *error);

/* Every buffer is back. */
void pool_destroy(struct rte_mempool *pool);

#endif

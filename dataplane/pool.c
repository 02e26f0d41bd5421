/* The pool of packet buffers. See pool.h. */
#include "dataplane/pool.h"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_memzone.h>

enum { POOL_CACHE = 256 }; /* packet buffers that each lcore keeps at hand */

static const char pool_name[] = "packets";

static void memory_free(struct rte_mempool_memhdr *header, void *zone)
{
    (void)header;
    rte_memzone_free(zone);
}

static int memory_give(struct rte_mempool *pool)
{
    const size_t size = (size_t)(pool->header_size + pool->elt_size + pool->trailer_size) * pool->size;
    const struct rte_memzone *zone =
        rte_memzone_reserve_aligned(pool_name, size, SOCKET_ID_ANY, 0, RTE_CACHE_LINE_SIZE);
    if (zone == NULL) {
        return -rte_errno;
    }
    const int taken =
        rte_mempool_populate_iova(pool, zone->addr, zone->iova, zone->len, memory_free, (void *)(uintptr_t)zone);
    return taken < 0 ? taken : 0;
}

/* A stack hands out the buffers that came back last, which are still in the CPU's caches; a ring goes through all. */
static int fill(struct rte_mempool *pool, uint16_t private_size)
{
    struct rte_pktmbuf_pool_private shape = {.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE,
                                             .mbuf_priv_size = private_size};
    const int result = rte_mempool_set_ops_byname(pool, "lf_stack", NULL);
    if (result != 0) {
        return result;
    }
    rte_pktmbuf_pool_init(pool, &shape);
    return memory_give(pool);
}

struct rte_mempool *pool_create(uint32_t count, uint16_t private_size, struct shm_error *error)
{
    const uint32_t element = (uint32_t)sizeof(struct rte_mbuf) + private_size + RTE_MBUF_DEFAULT_BUF_SIZE;
    struct rte_mempool *pool =
        rte_mempool_create_empty(pool_name, count, element, POOL_CACHE, sizeof(struct rte_pktmbuf_pool_private),
                                 SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    const int result = pool == NULL ? -rte_errno : fill(pool, private_size);
    if (result != 0) {
        rte_mempool_free(pool);
        shm_error_set(error, "no memory for %u packet buffers: %s; reserve more hugepages or lower %s", count,
                      rte_strerror(-result), "dataplane.packet-buffers");
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

void pool_destroy(struct rte_mempool *pool)
{
    rte_mempool_free(pool);
}

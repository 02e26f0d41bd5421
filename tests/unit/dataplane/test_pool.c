/* The pool of packet buffers, as the AF_XDP driver needs it. */
#include <criterion/criterion.h>
#include <rte_mbuf.h>

#include "dataplane/pool.h"
#include "lib/net/net.h"
#include "tests/sim/router/world.h"

enum { BUFFERS = 8192 };

struct range {
    uintptr_t first, last;
};

static void range_widen(struct rte_mempool *pool, void *arg, void *object, unsigned index)
{
    struct range *range = arg;
    const uintptr_t start = (uintptr_t)object;
    (void)pool;
    range->first = index == 0 || start < range->first ? start : range->first;
    range->last = index == 0 || start > range->last ? start : range->last;
}

Test(pool, buffers_lie_without_gaps)
{
    struct shm_error error;
    struct range range = {0};
    world_environment(1);
    struct rte_mempool *pool = pool_create(BUFFERS, NET_MBUF_PRIVATE, &error);
    cr_assert_not_null(pool);
    const size_t size = pool->header_size + pool->elt_size + pool->trailer_size;
    cr_expect_eq(rte_mempool_obj_iter(pool, range_widen, &range), BUFFERS);
    cr_expect_eq(pool->nb_mem_chunks, 1, "the driver takes one chunk of memory");
    cr_expect_eq(range.last - range.first, (BUFFERS - 1) * size, "the driver registers %u times %zu bytes", BUFFERS,
                 size);
    pool_destroy(pool);
}

Test(pool, buffers_are_ready_to_use)
{
    struct shm_error error;
    struct rte_mbuf *packets[64];
    world_environment(1);
    struct rte_mempool *pool = pool_create(BUFFERS, NET_MBUF_PRIVATE, &error);
    cr_assert_not_null(pool);
    cr_assert_eq(rte_pktmbuf_alloc_bulk(pool, packets, RTE_DIM(packets)), 0);
    for (unsigned i = 0; i < RTE_DIM(packets); i++) {
        cr_expect_eq(packets[i]->pool, pool);
        cr_expect_geq(rte_pktmbuf_priv_size(pool), NET_MBUF_PRIVATE);
        cr_expect_eq(rte_pktmbuf_tailroom(packets[i]), RTE_MBUF_DEFAULT_DATAROOM);
        cr_expect_eq(packets[i]->buf_iova,
                     rte_mempool_virt2iova(packets[i]) + sizeof(struct rte_mbuf) + NET_MBUF_PRIVATE);
    }
    rte_pktmbuf_free_bulk(packets, RTE_DIM(packets));
    cr_expect_eq(rte_mempool_avail_count(pool), BUFFERS);
    pool_destroy(pool);
}

Test(pool, too_many_buffers_are_refused_with_a_reason)
{
    struct shm_error error;
    world_environment(1);
    cr_assert_null(pool_create(1u << 24, NET_MBUF_PRIVATE, &error));
    cr_expect_not_null(strstr(error.text, "dataplane.packet-buffers"), "%s", error.text);
}

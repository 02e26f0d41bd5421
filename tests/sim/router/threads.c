/* Real threads for a part of a scenario. See threads.h. */
#include "tests/sim/router/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "dataplane/housekeeper.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"

enum { STAGED_MAX = 4096 };

/* What a worker has transmitted in this iteration. It leaves after its sessions were observed, so that no client sees a
 * CONNACK whose place in the order of take-overs is not known yet. */
struct staged {
    struct rte_ring *ring;
    uint32_t count;
    struct rte_mbuf *packets[STAGED_MAX];
};

struct player {
    struct threads *threads;
    struct worker *worker;
    struct staged staged;
    uint16_t *ports; /* of each device's session here, as seen last; 0: none */
    pthread_t thread;
};

struct threads {
    struct world *world;
    pthread_mutex_t lock; /* devices and connections */
    _Atomic bool stop;
    uint64_t began_world, began_clock; /* microseconds */
    pthread_t housekeeper;
    struct rte_eth_fp_ops port; /* the ring device's own */
    void *rx_queues[SHM_WORKERS_MAX], *tx_queues[SHM_WORKERS_MAX];
    struct player players[SHM_WORKERS_MAX];
};

/* ---- A buffer pool with a lock ---------------------------------------------------------------------------------- */

struct locked_pool {
    pthread_mutex_t lock;
    unsigned count;
    void *objects[];
};

static int pool_alloc(struct rte_mempool *mempool)
{
    struct locked_pool *pool = rte_zmalloc("locked", sizeof(*pool) + mempool->size * sizeof(pool->objects[0]), 0);
    if (pool == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&pool->lock, NULL);
    mempool->pool_data = pool;
    return 0;
}

static void pool_free(struct rte_mempool *mempool)
{
    rte_free(mempool->pool_data);
}

static int pool_enqueue(struct rte_mempool *mempool, void *const *objects, unsigned count)
{
    struct locked_pool *pool = mempool->pool_data;
    pthread_mutex_lock(&pool->lock);
    memcpy(pool->objects + pool->count, objects, count * sizeof(objects[0]));
    pool->count += count;
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

static int pool_dequeue(struct rte_mempool *mempool, void **objects, unsigned count)
{
    struct locked_pool *pool = mempool->pool_data;
    pthread_mutex_lock(&pool->lock);
    const bool enough = pool->count >= count;
    if (enough) {
        pool->count -= count;
        memcpy(objects, pool->objects + pool->count, count * sizeof(objects[0]));
    }
    pthread_mutex_unlock(&pool->lock);
    return enough ? 0 : -ENOBUFS;
}

static unsigned pool_count(const struct rte_mempool *mempool)
{
    const struct locked_pool *pool = mempool->pool_data;
    return pool->count;
}

void threads_environment(void)
{
    static const struct rte_mempool_ops operations = {
        .name = "locked",
        .alloc = pool_alloc,
        .free = pool_free,
        .enqueue = pool_enqueue,
        .dequeue = pool_dequeue,
        .get_count = pool_count,
    };
    if (rte_mempool_register_ops(&operations) < 0) {
        fprintf(stderr, "no buffer pool with a lock: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    world_pool_operations = operations.name;
}

/* ---- The port --------------------------------------------------------------------------------------------------- */

static uint16_t receive(void *queue, struct rte_mbuf **packets, uint16_t count)
{
    return (uint16_t)rte_ring_sc_dequeue_burst(queue, (void **)packets, count, NULL);
}

/* The frame is read at once, and the buffer given back by the worker itself, as a driver does with its own queue. */
static uint16_t transmit(void *queue, struct rte_mbuf **packets, uint16_t count)
{
    struct staged *staged = queue;
    uint16_t sent = 0;
    for (; sent < count && staged->count < STAGED_MAX; sent++) {
        struct rte_mbuf *copy = rte_pktmbuf_copy(packets[sent], packets[sent]->pool, 0, UINT32_MAX);
        if (copy == NULL) {
            break;
        }
        staged->packets[staged->count++] = copy;
        rte_pktmbuf_free(packets[sent]);
    }
    return sent;
}

static void staged_send(struct staged *staged)
{
    const uint32_t sent = rte_ring_sp_enqueue_burst(staged->ring, (void *const *)staged->packets, staged->count, NULL);
    staged->count -= sent;
    memmove(staged->packets, staged->packets + sent, staged->count * sizeof(staged->packets[0]));
}

static void port_take(struct threads *threads)
{
    struct world *world = threads->world;
    const uint16_t id = world->dataplane.ports[0].id;
    threads->port = rte_eth_fp_ops[id];
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        threads->rx_queues[i] = world_rx_ring(i);
        threads->tx_queues[i] = &threads->players[i].staged;
        threads->players[i].staged.ring = world_tx_ring(i);
    }
    rte_eth_fp_ops[id].rx_pkt_burst = receive;
    rte_eth_fp_ops[id].tx_pkt_burst = transmit;
    rte_eth_fp_ops[id].rxq.data = threads->rx_queues;
    rte_eth_fp_ops[id].txq.data = threads->tx_queues;
}

/* ---- The threads ------------------------------------------------------------------------------------------------ */

static uint64_t clock_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

uint64_t threads_now(const struct world *world)
{
    return world->threads->began_world + clock_us() - world->threads->began_clock;
}

void threads_lock(struct world *world)
{
    pthread_mutex_lock(&world->threads->lock);
}

void threads_unlock(struct world *world)
{
    pthread_mutex_unlock(&world->threads->lock);
    sched_yield();
}

/* The lock is taken when a session has another connection only: it would order the workers, and hide their races. */
static void observe(struct player *player)
{
    struct world *world = player->threads->world;
    for (uint32_t i = 0; i < world->device_count; i++) {
        const uint16_t port = device_session_port(world->devices[i], player->worker);
        if (port != player->ports[i]) {
            player->ports[i] = port;
            pthread_mutex_lock(&player->threads->lock);
            device_observe(world->devices[i], player->worker);
            pthread_mutex_unlock(&player->threads->lock);
        }
    }
}

static void *worker_thread(void *arg)
{
    struct player *player = arg;
    struct worker *worker = player->worker;
    topic_reader_online(worker->reader);
    while (!atomic_load_explicit(&player->threads->stop, memory_order_relaxed)) {
        worker->now = threads_now(player->threads->world);
        const uint32_t work = worker_iterate(worker);
        observe(player);
        staged_send(&player->staged);
        if (work == 0) {
            sched_yield();
        }
    }
    topic_reader_offline(worker->reader);
    return NULL;
}

static void *housekeeper_thread(void *arg)
{
    struct threads *threads = arg;
    while (!atomic_load_explicit(&threads->stop, memory_order_relaxed)) {
        if (housekeeper_serve_topics(&threads->world->dataplane, threads_now(threads->world)) == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static void thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    if (pthread_create(thread, NULL, run, arg) != 0) {
        perror("pthread_create");
        exit(2);
    }
}

void threads_begin(struct world *world)
{
    const uint32_t count = world->dataplane.worker_count;
    if (!world->wants_threads || count < 2) {
        return;
    }
    struct threads *threads = aligned_alloc(alignof(struct threads), sizeof(*threads));
    memset(threads, 0, sizeof(*threads));
    threads->world = world;
    threads->began_world = world->now;
    threads->began_clock = clock_us();
    pthread_mutex_init(&threads->lock, NULL);
    world->threads = threads;
    port_take(threads);
    thread_start(&threads->housekeeper, housekeeper_thread, threads);
    for (uint32_t i = 0; i < count; i++) {
        struct player *player = &threads->players[i];
        player->threads = threads;
        player->worker = world->dataplane.workers[i];
        player->ports = calloc(world->device_count, sizeof(player->ports[0]));
        topic_reader_offline(player->worker->reader);
        thread_start(&player->thread, worker_thread, player);
    }
}

void threads_end(struct world *world)
{
    struct threads *threads = world->threads;
    if (threads == NULL) {
        return;
    }
    atomic_store(&threads->stop, true);
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        struct player *player = &threads->players[i];
        pthread_join(player->thread, NULL);
        topic_reader_online(player->worker->reader);
        rte_pktmbuf_free_bulk(player->staged.packets, player->staged.count); /* lost on the way */
        free(player->ports);
    }
    pthread_join(threads->housekeeper, NULL);
    world->now = threads_now(world);
    rte_eth_fp_ops[world->dataplane.ports[0].id] = threads->port;
    world->threads = NULL;
    free(threads);
}

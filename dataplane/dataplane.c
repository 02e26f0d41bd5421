/* Setting the dataplane up and taking it down, on the main lcore. See dataplane.h. */
#include "dataplane/dataplane.h"

#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_malloc.h>

#include "dataplane/capture.h"
#include "dataplane/eal.h"
#include "dataplane/look_ahead.h"
#include "dataplane/pool.h"
#include "dataplane/statistics.h"
#include "dataplane/worker.h"
#include "lib/topic/shared.h"

enum {
    BUFFERS_PER_WORKER = 1024, /* beside what the ports hold */
    RECLAIM_CAPACITY = 65536,  /* removed objects of the shared topic table that wait for the workers */
    FILTERS_MIN = 1024,
};

static int buffers_create(struct dataplane *dataplane, struct shm_error *error)
{
    const struct shm_config *config = &dataplane->config;
    uint32_t held = config->dataplane.workers * BUFFERS_PER_WORKER;
    for (uint32_t i = 0; i < config->port_count; i++) {
        held += port_buffers_held(&config->ports[i], config->dataplane.workers);
    }
    if (config->dataplane.packet_buffers < held) {
        return shm_error_set(error,
                             "dataplane.packet-buffers is %u, but the ports' rings and %u workers need %u: raise it",
                             config->dataplane.packet_buffers, config->dataplane.workers, held);
    }
    dataplane->pool = pool_create(config->dataplane.packet_buffers, NET_MBUF_PRIVATE, error);
    return dataplane->pool == NULL ? -1 : 0;
}

static int ports_open(struct dataplane *dataplane, struct shm_error *error)
{
    for (uint32_t i = 0; i < dataplane->config.port_count; i++) {
        if (port_open(&dataplane->ports[i], &dataplane->config.ports[i], dataplane->worker_count, dataplane->pool,
                      error) != 0) {
            return -1;
        }
        dataplane->port_count++;
    }
    return 0;
}

static int shared_create(struct dataplane *dataplane, struct shm_error *error)
{
    const struct topic_shared_config config = {
        .seed = dataplane->seed,
        .allocator = mem_allocator_heap(), /* written by the main lcore only */
        .filters_max = dataplane->filters_max,
        .reclaim_capacity = RECLAIM_CAPACITY,
    };
    dataplane->shared = topic_shared_create(&config);
    return dataplane->shared == NULL ? shm_error_set(error, "no memory for the shared topic table") : 0;
}

/* A mailbox for each ordered pair of workers, and one from each worker to the main lcore. */
static int mailboxes_create(struct dataplane *dataplane, struct shm_error *error)
{
    for (uint32_t from = 0; from < dataplane->worker_count; from++) {
        struct worker *sender = dataplane->workers[from];
        for (uint32_t to = 0; to < dataplane->worker_count; to++) {
            struct mailbox *mailbox = rte_malloc("mailbox", mailbox_size(dataplane->mailbox_slots), 64);
            if (mailbox == NULL) {
                return shm_error_set(error, "no memory for the mailboxes between workers");
            }
            mailbox_init(mailbox, dataplane->mailbox_slots);
            if (to == from) {
                sender->to_housekeeper = mailbox; /* a worker writes no mail to itself */
            } else {
                sender->to[to] = mailbox;
                dataplane->workers[to]->from[from] = mailbox;
            }
        }
    }
    return 0;
}

static int workers_allocate(struct dataplane *dataplane, struct shm_error *error)
{
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        dataplane->workers[i] = rte_zmalloc("worker", sizeof(struct worker), 64);
        if (dataplane->workers[i] == NULL) {
            return shm_error_set(error, "no memory for worker %u", i);
        }
        dataplane->workers[i]->index = i;
    }
    return 0;
}

static int workers_create(struct dataplane *dataplane, uint64_t now, struct shm_error *error)
{
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        if (worker_create(dataplane->workers[i], dataplane, i, now, error) != 0) {
            return -1;
        }
    }
    return 0;
}

static void steering_fill(struct dataplane *dataplane)
{
    for (uint32_t i = 0; i < RTE_DIM(dataplane->steering); i++) {
        dataplane->steering[i] = (uint8_t)(i % dataplane->worker_count);
    }
}

void dataplane_describe(struct dataplane *dataplane, const struct shm_config *config)
{
    const uint64_t subscriptions = (uint64_t)config->mqtt.max_sessions * config->mqtt.max_subscriptions;
    dataplane->config = *config;
    dataplane->worker_count = config->dataplane.workers;
    dataplane->mailbox_slots = MAILBOX_SLOTS;
    dataplane->look_ahead_from = LOOK_AHEAD_FROM;
    dataplane->topic_limits = (struct topic_limits){.levels = (uint16_t)config->mqtt.max_topic_levels,
                                                    .length = (uint16_t)config->mqtt.max_topic_length};
    dataplane->filters_max = (uint32_t)RTE_MAX((uint64_t)FILTERS_MIN, RTE_MIN(subscriptions, UINT64_C(16) << 20));
    memcpy(dataplane->seed.key, config->seed + 16, sizeof(dataplane->seed.key));
    dataplane->overload_cycles = UINT64_MAX;
    steering_fill(dataplane);
}

int dataplane_create_workers(struct dataplane *dataplane, uint64_t now, struct shm_error *error)
{
    if (workers_allocate(dataplane, error) != 0) {
        return -1;
    }
    if (dataplane->worker_count > 1 &&
        (shared_create(dataplane, error) != 0 || mailboxes_create(dataplane, error) != 0)) {
        return -1;
    }
    if (exchange_create(dataplane, error) != 0 || statistics_create(dataplane, error) != 0) {
        return -1;
    }
    return workers_create(dataplane, now, error);
}

int dataplane_start(struct dataplane *dataplane, const struct shm_config *config, struct shm_error *error)
{
    dataplane_describe(dataplane, config);
    if (eal_start(&dataplane->config, dataplane->lcores, error) != 0) {
        return -1;
    }
    clock_init(&dataplane->clock);
    if (config->mqtt.overload_loop_ms > 0) {
        dataplane->overload_cycles = dataplane->clock.cycles_per_second * config->mqtt.overload_loop_ms / 1000;
    }
    if (buffers_create(dataplane, error) != 0 || capture_create(dataplane, error) != 0 ||
        ports_open(dataplane, error) != 0 ||
        dataplane_create_workers(dataplane, clock_microseconds(&dataplane->clock, rte_rdtsc()), error) != 0) {
        return -1;
    }
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        rte_eal_remote_launch(worker_run, dataplane->workers[i], dataplane->lcores[i]);
    }
    return 0;
}

static void workers_free(struct dataplane *dataplane)
{
    for (uint32_t i = 0; i < dataplane->worker_count && dataplane->workers[i] != NULL; i++) {
        struct worker *worker = dataplane->workers[i];
        worker_destroy(worker);
        for (uint32_t to = 0; to < dataplane->worker_count; to++) {
            rte_free(worker->to[to]);
        }
        rte_free(worker->to_housekeeper);
    }
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        rte_free(dataplane->workers[i]);
    }
}

void dataplane_destroy_workers(struct dataplane *dataplane)
{
    exchange_destroy(dataplane);
    workers_free(dataplane);
    if (dataplane->shared != NULL) {
        topic_shared_destroy(dataplane->shared);
    }
    stats_segment_close(&dataplane->stats);
}

void dataplane_stop(struct dataplane *dataplane)
{
    atomic_store_explicit(&dataplane->stop, true, memory_order_relaxed);
    rte_eal_mp_wait_lcore();
    dataplane_destroy_workers(dataplane);
    for (uint32_t i = 0; i < dataplane->port_count; i++) {
        port_close(&dataplane->ports[i]);
    }
    pool_destroy(dataplane->pool);
    capture_destroy(dataplane);
    rte_eal_cleanup();
    rmdir(rte_eal_get_runtime_dir()); /* which DPDK makes, and leaves */
}

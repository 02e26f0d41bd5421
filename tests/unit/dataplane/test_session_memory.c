/* What an idle session costs: at most 600 bytes, all structures counted, and printed. */
#include <malloc.h>
#include <stdio.h>

#include <rte_malloc.h>

#include "dataplane/directory.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/scenario.h"
#include "tests/unit/dataplane/support.h"

enum { CLIENTS = 200, TABLE = 65536, SESSION_BYTES = 600, SUBSCRIPTION_BYTES = 250 };

static struct world world;

static size_t region_used(const struct worker *worker)
{
    struct mem_stats stats;
    mem_stats(worker->memory, &stats);
    return stats.used;
}

/* Of DPDK's heaps and of the C library's: large tables have mappings of their own there. */
static size_t heap_used(void)
{
    size_t used = 0;
    for (unsigned socket = 0; socket < rte_socket_count(); socket++) {
        struct rte_malloc_socket_stats stats;
        if (rte_malloc_get_socket_stats((int)socket, &stats) == 0) {
            used += stats.heap_allocsz_bytes;
        }
    }
    const struct mallinfo2 info = mallinfo2();
    return used + info.uordblks + info.hblkhd;
}

/* Bytes of the session table and of the directory for each session that they are made for. */
static double table_bytes(void)
{
    const struct topic_seed seed = {.key = {1, 2}};
    const size_t before = heap_used();
    struct session_table *table = session_table_create(62, TABLE, &seed);
    _Atomic uint32_t client_ids = 0;
    struct directory *directory = directory_create(62, TABLE, &client_ids);
    const double bytes = (double)(heap_used() - before) / TABLE;
    cr_assert(table != NULL && directory != NULL);
    session_table_destroy(table);
    directory_destroy(directory);
    return bytes;
}

static void settle(bool all_subscribe)
{
    for (uint32_t i = 0; all_subscribe && i < world.device_count; i++) {
        char filter[32];
        snprintf(filter, sizeof(filter), "plant/7/device/%u/state", i);
        device_subscribe(world.devices[i], filter, 1, 0, 0);
    }
    world.poll_at = world.now;
    cr_assert(scenario_await(&world, scenario_all_settled, 60000000, "everybody is there"));
    world_run_for(&world, 5000000);
}

Test(session_memory, an_idle_session_takes_600_bytes_at_most)
{
    world_environment(1);
    const double tables = table_bytes();
    world_init(&world, 1, 1, 0);
    world.poll = scenario_poll;
    world_begin(&world);
    struct worker *worker = world.dataplane.workers[0];
    const size_t empty = region_used(worker);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        char id[24];
        snprintf(id, sizeof(id), "plant-7-device-%05u", i);
        struct device *device = device_create(&world, id, MQTT_V5);
        device->wanted = true;
        device->keepalive_s = 0;
    }
    settle(false);
    const double session = (double)(region_used(worker) - empty) / CLIENTS;
    settle(true);
    const double subscription = (double)(region_used(worker) - empty) / CLIENTS - session;
    printf("an idle session: %.0f B (session %zu + identifier, client %zu, tables %.0f); a subscription: %.0f B\n",
           session + tables, sizeof(struct session), sizeof(struct client), tables, subscription);
    cr_expect_leq(session + tables, SESSION_BYTES, "%.0f B", session + tables);
    cr_expect_leq(subscription, SUBSCRIPTION_BYTES, "%.0f B", subscription);
    world_end(&world);
}

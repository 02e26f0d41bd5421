/* What an idle session costs: at most 600 bytes, all structures counted, and printed. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/directory.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/scenario.h"
#include "tests/unit/dataplane/support.h"

enum { CLIENTS = 200, TABLE = 65536, REGION = 64 << 20, SESSION_BYTES = 600, SUBSCRIPTION_BYTES = 250 };

static struct world world;

static size_t region_used(const struct worker *worker)
{
    struct mem_stats stats;
    mem_stats(worker->memory, &stats);
    return stats.used;
}

/*
 * Bytes of tables for each session when there are many, in which a worker finds it by identifier, by handle, and its
 * owner: the directory's hash table is one of the same kind.
 */
static double table_bytes(void)
{
    static struct session *sessions[TABLE];
    const struct topic_seed seed = {.key = {1, 2}};
    void *range = malloc(REGION);
    struct mem_region *region = mem_region_create(range, REGION);
    const size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct session_table *table = session_table_create(62, region, TABLE, &seed);
    const double slots = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - heap) / TABLE;
    for (uint32_t i = 0; i < TABLE; i++) {
        sessions[i] = calloc(1, sizeof(*sessions[i]) + sizeof(i));
        sessions[i]->client_id_length = sizeof(i);
        memcpy(sessions[i]->client_id, &i, sizeof(i));
        cr_assert(session_table_add(table, sessions[i]));
    }
    struct mem_stats stats;
    mem_stats(region, &stats);
    session_table_destroy(table);
    free(range);
    for (uint32_t i = 0; i < TABLE; i++) {
        free(sessions[i]);
    }
    return slots + 2.0 * (double)stats.used / TABLE;
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

/*
 * Bounds: what a router that is full says to whom. New clients above a level of memory, of buffers or of the loop's
 * time are refused with the code of that level while those who are there go on, and let in once it is left. Retained
 * messages beyond their bound are routed, not kept, and counted, whatever worker they belong to.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"

enum { OLD, NEW_5, NEW_4, DEVICES, HELD = 2000, RETAINED = 60, RETAINED_MAX = 20 };
enum level { LEVEL_MEMORY, LEVEL_BUFFERS, LEVEL_LOOP, LEVELS };

struct bounds {
    enum level level;
    uint32_t refused[DEVICES], wrong;
    uint32_t came;
    struct rte_mbuf *held[HELD];
    void *block[SHM_WORKERS_MAX];
};

static void level_enter(struct world *world)
{
    struct bounds *bounds = world->scenario;
    for (uint32_t i = 0; i < world->dataplane.worker_count && bounds->level == LEVEL_MEMORY; i++) {
        bounds->block[i] = mem_alloc(world->dataplane.workers[i]->memory, 20 << 20);
        if (bounds->block[i] == NULL) {
            world_fail(world, "no 20 MiB of a worker's memory");
        }
    }
    if (bounds->level == LEVEL_BUFFERS && rte_pktmbuf_alloc_bulk(world->dataplane.pool, bounds->held, HELD) != 0) {
        world_fail(world, "no %u packet buffers", HELD);
    }
    for (uint32_t i = 0; i < world->dataplane.worker_count && bounds->level == LEVEL_LOOP; i++) {
        world->dataplane.workers[i]->busy_until = UINT64_MAX; /* what the loop sets, whose time is not simulated */
    }
}

static void level_leave(struct world *world)
{
    struct bounds *bounds = world->scenario;
    for (uint32_t i = 0; i < world->dataplane.worker_count && bounds->level == LEVEL_MEMORY; i++) {
        mem_free(world->dataplane.workers[i]->memory, bounds->block[i]);
    }
    if (bounds->level == LEVEL_BUFFERS) {
        rte_pktmbuf_free_bulk(bounds->held, HELD);
    }
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        world->dataplane.workers[i]->busy_until = 0;
    }
}

static void connection_gone(struct device *device, struct connection *connection)
{
    static const uint8_t codes[LEVELS] = {MQTT_REASON_QUOTA_EXCEEDED, MQTT_REASON_QUOTA_EXCEEDED,
                                          MQTT_REASON_SERVER_BUSY};
    struct world *world = device->world;
    struct bounds *bounds = world->scenario;
    const uint8_t code = device->version == MQTT_V5 ? codes[bounds->level] : 3; /* server unavailable */
    if (device->index == OLD) {
        world_fail(world, "who was there lost the connection");
    } else if (connection->connack != code) {
        world_fail(world, "%s: CONNACK %02x instead of %02x", device->id, connection->connack, code);
    }
    bounds->refused[device->index]++;
}

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    struct bounds *bounds = device->world->scenario;
    bounds->came++;
}

static bool both_refused(struct world *world)
{
    const struct bounds *bounds = world->scenario;
    return bounds->refused[NEW_5] >= 3 && bounds->refused[NEW_4] >= 3;
}

static void refusals_check(struct world *world)
{
    const struct bounds *bounds = world->scenario;
    const uint64_t counted[LEVELS] = {world_counter(world, overload_memory), world_counter(world, overload_buffers),
                                      world_counter(world, overload_loop)};
    const uint32_t refused = world->devices[NEW_5]->refusals + world->devices[NEW_4]->refusals;
    for (uint32_t level = 0; level < LEVELS; level++) {
        if (counted[level] != (level == bounds->level ? refused : 0)) {
            world_fail(world, "level %u: %lu refusals counted of %u", level, (unsigned long)counted[level],
                       level == bounds->level ? refused : 0);
        }
    }
}

/* To itself, through the router: who is there goes on. */
static void old_talks(struct world *world, const char *when)
{
    struct bounds *bounds = world->scenario;
    const uint32_t before = bounds->came;
    for (uint32_t i = 0; i < 10; i++) {
        device_publish(world->devices[OLD], "o/x", 1, false, 100);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 60 * UINT64_C(1000000), when);
    world_run_for(world, 1000000);
    if (!world->failed && bounds->came != before + 10) {
        world_fail(world, "%s: %u of 10 messages came", when, bounds->came - before);
    }
}

static void retained_check(struct world *world)
{
    uint64_t kept = 0;
    for (uint32_t i = 0; i < RETAINED; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "r/%u", i);
        device_publish(world->devices[OLD], topic, 1, true, 10);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 60 * UINT64_C(1000000), "retained messages are acknowledged");
    world_run_for(world, 1000000);
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        struct topic_retained_stats stats;
        topic_retained_stats(world->dataplane.workers[i]->retained, &stats);
        kept += stats.count;
    }
    const uint64_t refused = world_counter(world, retained_refused);
    const uint32_t most = RETAINED_MAX + world->dataplane.worker_count - 1; /* the shares are rounded up */
    if (!world->failed && (kept > most || kept < RETAINED_MAX / 2 || kept + refused != RETAINED)) {
        world_fail(world, "%lu retained messages kept, %lu refused of %u; the bound is %u", (unsigned long)kept,
                   (unsigned long)refused, RETAINED, RETAINED_MAX);
    }
    for (uint32_t i = 0; i < RETAINED; i++) { /* taken back, so that the census finds none */
        char topic[32];
        snprintf(topic, sizeof(topic), "r/%u", i);
        device_publish(world->devices[OLD], topic, 1, true, 0);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 60 * UINT64_C(1000000), "retained messages are taken back");
}

static void run(struct world *world)
{
    static const char *const names[DEVICES] = {"old", "new-5", "new-4"};
    world_begin(world);
    for (uint32_t i = 0; i < DEVICES; i++) {
        struct device *device = device_create(world, names[i], i == NEW_4 ? MQTT_V311 : MQTT_V5);
        device->wanted = i == OLD;
        device->gone = connection_gone;
        device->received_publish = publish_arrived;
    }
    device_subscribe(world->devices[OLD], "o/#", 1, 0, 0);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 60 * UINT64_C(1000000), "the first is there")) {
        return;
    }
    level_enter(world);
    world->devices[NEW_5]->wanted = world->devices[NEW_4]->wanted = true;
    world->poll_at = world->now;
    scenario_await(world, both_refused, 60 * UINT64_C(1000000), "both are refused three times");
    world->devices[NEW_5]->wanted = world->devices[NEW_4]->wanted = false;
    old_talks(world, "above the level");
    refusals_check(world);
    level_leave(world);
    world_run_for(world, 1500000);
    world->devices[NEW_5]->wanted = world->devices[NEW_4]->wanted = true;
    world->devices[NEW_5]->gone = world->devices[NEW_4]->gone = NULL;
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 60 * UINT64_C(1000000), "both are let in below the level");
    if (!world->failed) {
        retained_check(world);
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

void scenario_bounds(struct world *world)
{
    struct bounds *bounds = calloc(1, sizeof(*bounds));
    bounds->level = world_below(world, LEVELS);
    world->config.mqtt.overload_memory = bounds->level == LEVEL_MEMORY ? 30 : 100;
    world->config.mqtt.overload_buffers = bounds->level == LEVEL_BUFFERS ? 5 : 100;
    world->config.mqtt.max_retained_messages = RETAINED_MAX;
    world->link.loss_ppm = 0; /* a refusal is a CONNACK and a FIN: both have to come */
    world->scenario = bounds;
    world->poll = scenario_poll;
    run(world);
    free(bounds);
}

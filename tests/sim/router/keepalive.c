/*
 * Keepalive (MQTT 5.0 section 3.1.2.10): clients that ping stay for as long as they like, clients that fall silent are
 * closed after one and a half times their keepalive, not earlier, and MQTT 5.0 clients are told why.
 */
#include <stdio.h>

#include "tests/sim/router/scenario.h"

enum { DEVICES = 8, RUN_S = 60 };

struct keepalives {
    uint64_t silent_since[DEVICES];
    uint64_t gone_at[DEVICES];
    uint8_t reason[DEVICES];
};

static void connection_gone(struct device *device, struct connection *connection)
{
    struct keepalives *keepalives = device->world->scenario;
    if (device->index < DEVICES && keepalives->gone_at[device->index] == 0) {
        keepalives->gone_at[device->index] = device->world->now;
        keepalives->reason[device->index] = connection->reason;
    }
}

static void devices_make(struct world *world)
{
    for (uint32_t i = 0; i < DEVICES; i++) {
        char id[32];
        snprintf(id, sizeof(id), "alive-%u", i);
        struct device *device = device_create(world, id, world_chance(world, 60) ? MQTT_V5 : MQTT_V311);
        device->wanted = true;
        device->gone = connection_gone;
        device->keepalive_s = (uint16_t)(4 + world_below(world, 8));
    }
}

static void check(struct world *world, const struct device *device)
{
    const struct keepalives *keepalives = world->scenario;
    const uint64_t gone_at = keepalives->gone_at[device->index], limit = device->keepalive_s * UINT64_C(1500000);
    if (!device->silent) {
        if (gone_at != 0) {
            world_fail(world, "%s was closed although it pinged %u times, reason %02x", device->id, device->pings,
                       keepalives->reason[device->index]);
        }
        return;
    }
    const uint64_t after = gone_at - device->last_sent;
    if (gone_at == 0 || after < limit || after > limit + 4000000) {
        world_fail(world, "%s was closed %.3f s after its last byte instead of %.3f", device->id,
                   gone_at == 0 ? -1.0 : (double)after / 1e6, (double)limit / 1e6);
    } else if (device->version == MQTT_V5 && keepalives->reason[device->index] != MQTT_REASON_KEEP_ALIVE_TIMEOUT) {
        world_fail(world, "%s was closed with reason %02x", device->id, keepalives->reason[device->index]);
    }
}

void scenario_keepalive(struct world *world)
{
    struct keepalives keepalives = {0};
    world->scenario = &keepalives;
    world->poll = scenario_poll;
    /* The clients' own retransmissions must not look like silence. */
    world->link.loss_ppm = world->link.loss_ppm < 10000 ? world->link.loss_ppm : 10000;
    world_begin(world);
    devices_make(world);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 120 * UINT64_C(1000000), "all are connected")) {
        return;
    }
    for (uint32_t i = 0; i < DEVICES; i++) {
        world->devices[i]->silent = world_chance(world, 50);
        world->devices[i]->wanted = false;
    }
    world_run_for(world, RUN_S * UINT64_C(1000000));
    for (uint32_t i = 0; i < DEVICES; i++) {
        check(world, world->devices[i]);
        world->devices[i]->silent = false;
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

/*
 * Pressure: one subscriber reads slowly, the others as it comes. The others lose nothing. What the slow one misses is
 * counted, message by message, under the cause that the policy for full queues names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/worker.h"
#include "tests/sim/router/ledger.h"
#include "tests/sim/router/scenario.h"

enum { PUBLISHERS = 2, SLOW = 2, FAST = 3, DEVICES = 5 };

struct pressure {
    struct ledger ledger;
    uint32_t left;
    uint32_t published;
    uint32_t slow_qos;
    uint8_t slow_reason; /* of the DISCONNECT that it got */
};

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    struct pressure *pressure = device->world->scenario;
    ledger_receive(device->world, &pressure->ledger, device->index, publish->payload.data, publish->payload.length,
                   publish->qos != 1, true);
}

static void connection_gone(struct device *device, struct connection *connection)
{
    struct pressure *pressure = device->world->scenario;
    if (device->index == SLOW) {
        pressure->slow_reason = connection->reason;
    } else {
        world_fail(device->world, "%s lost its connection, reason %02x", device->id, connection->reason);
    }
}

static void pressure_poll(struct world *world)
{
    struct pressure *pressure = world->scenario;
    for (uint32_t i = 0; i < PUBLISHERS && pressure->left > 0; i++) {
        for (uint32_t burst = world_below(world, 20); burst > 0 && pressure->left > 0; burst--, pressure->left--) {
            const uint32_t length = sizeof(struct ledger_mark) + world_below(world, 1000);
            uint8_t *payload = device_publish(world->devices[i], "p/x", (uint8_t)pressure->slow_qos, false, length);
            ledger_publish(&pressure->ledger, i, 0, pressure->slow_qos, payload, length);
            pressure->published++;
        }
    }
    scenario_poll(world);
    const uint64_t next = world->now + world_below(world, 10000);
    world->poll_at = pressure->left > 0 && next < world->poll_at ? next : world->poll_at;
}

static void devices_make(struct world *world)
{
    struct pressure *pressure = world->scenario;
    for (uint32_t i = 0; i < DEVICES; i++) {
        char id[32];
        snprintf(id, sizeof(id), "device-%u", i);
        struct device *device = device_create(world, id, MQTT_V5);
        device->wanted = true;
        device->received_publish = publish_arrived;
        device->gone = connection_gone;
        if (i >= PUBLISHERS) {
            device_subscribe(device, "p/#", (uint8_t)pressure->slow_qos, 0, 0);
        }
    }
}

static bool is_done(struct world *world)
{
    const struct pressure *pressure = world->scenario;
    for (uint32_t i = FAST; i < DEVICES && pressure->left == 0; i++) {
        if (!ledger_is_complete(&pressure->ledger, i, 0)) {
            return false;
        }
    }
    return pressure->left == 0 && world->devices[0]->first == NULL && world->devices[1]->first == NULL;
}

static void slow_check(struct world *world)
{
    const struct pressure *pressure = world->scenario;
    const uint64_t dropped_new = world_counter(world, dropped_queue_full);
    const uint64_t dropped_old = world_counter(world, dropped_queue_old);
    const uint64_t dropped = dropped_new + dropped_old;
    const uint32_t policy = world->config.mqtt.queue_full;
    /* A session that was disconnected is full: what is new does not fit. */
    if ((dropped_new != 0 && policy == SHM_QUEUE_DROP_OLD) || (dropped_old != 0 && policy != SHM_QUEUE_DROP_OLD)) {
        world_fail(world, "policy %u: %lu new messages dropped, %lu old ones", policy, (unsigned long)dropped_new,
                   (unsigned long)dropped_old);
    }
    const uint32_t received = world->devices[SLOW]->publishes_received;
    if (policy == SHM_QUEUE_DISCONNECT) {
        if (world->devices[SLOW]->losses > 0 && pressure->slow_reason != MQTT_REASON_QUOTA_EXCEEDED) {
            world_fail(world, "closed for a full queue with reason %02x", pressure->slow_reason);
        }
        if ((world_counter(world, closed_queue_full) > 0) != (world->devices[SLOW]->losses > 0)) {
            world_fail(world, "closed for a full queue: %lu, connections lost: %u",
                       (unsigned long)world_counter(world, closed_queue_full), world->devices[SLOW]->losses);
        }
    } else if (received + dropped != pressure->published) {
        world_fail(world, "the slow subscriber: %u received, %lu dropped of %u published", received,
                   (unsigned long)dropped, pressure->published);
    }
}

static void run(struct world *world)
{
    struct pressure *pressure = world->scenario;
    world_begin(world);
    devices_make(world);
    world->poll_at = world->now;
    const uint32_t left = pressure->left;
    pressure->left = 0;
    if (!scenario_await(world, scenario_all_settled, 120 * UINT64_C(1000000), "all are connected and subscribed")) {
        return;
    }
    for (uint32_t publisher = 0; publisher < PUBLISHERS; publisher++) {
        for (uint32_t i = FAST; i < DEVICES; i++) {
            ledger_promise(&pressure->ledger, i, publisher, 0, pressure->slow_qos);
        }
    }
    pressure->left = left;
    world->devices[SLOW]->read_limit = 20 + world_below(world, 200);
    world->devices[SLOW]->wanted = world->config.mqtt.queue_full != SHM_QUEUE_DISCONNECT;
    world->poll_at = world->now;
    if (!world_run(world, is_done, 600 * UINT64_C(1000000)) && !world->failed) {
        for (uint32_t i = FAST; i < DEVICES; i++) {
            ledger_explain(world, &pressure->ledger, i, 0);
        }
        scenario_await(world, is_done, 0, "the fast subscribers have everything");
    }
    world->devices[SLOW]->read_limit = 0;
    world->poll_at = world->now;
    world_run_for(world, 60 * 1000000);
    if (!world->failed) {
        slow_check(world);
        scenario_leave(world);
    }
    if (world->verbose) {
        printf("  %u published, slow: %u received, policy %u, reason %02x\n", pressure->published,
               world->devices[SLOW]->publishes_received, world->config.mqtt.queue_full, pressure->slow_reason);
    }
}

void scenario_pressure(struct world *world)
{
    struct pressure *pressure = calloc(1, sizeof(*pressure));
    pressure->left = 200 + world_below(world, 600);
    pressure->slow_qos = world_below(world, 3);
    world->config.tcp.send_buffer = 16384u << world_below(world, 3);
    /* The fast ones have to keep up with bursts while segments of theirs are lost. */
    world->link.loss_ppm = 0;
    world->link.delay_us = 20 + world_below(world, 200);
    world->link.jitter_us = 0;
    world->freeze_ppm = 0;
    world->config.mqtt.max_queued_messages = 100 + world_below(world, 100);
    world->config.mqtt.max_inflight = 20 + world_below(world, 20);
    world->config.mqtt.queue_full = world_below(world, 3);
    world->mailbox_slots = 16u << world_below(world, 10);
    world->scenario = pressure;
    world->poll = pressure_poll;
    run(world);
    ledger_free(&pressure->ledger);
    free(pressure);
}

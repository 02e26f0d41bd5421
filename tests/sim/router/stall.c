/*
 * Stall: the worker of a subscriber does nothing for seconds while publishers of other workers go on. The ring between
 * the workers fills; the publishers' bytes then stay unread, their windows close and what they have published waits at
 * home. Nothing is dropped, and when the worker goes on everything comes, in order. The same with one worker, which
 * is the publishers' own.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/worker.h"
#include "tests/sim/router/ledger.h"
#include "tests/sim/router/scenario.h"

enum { SUBSCRIBER, PUBLISHERS = 3, DEVICES, MESSAGES = 1000, LENGTH = 600, STALL_US = 5000000 };

struct stall {
    struct ledger ledger;
    uint32_t worker; /* of the subscriber */
};

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    struct stall *stall = device->world->scenario;
    ledger_receive(device->world, &stall->ledger, device->index, publish->payload.data, publish->payload.length,
                   publish->qos != 1, true);
}

static void connection_gone(struct device *device, struct connection *connection)
{
    world_fail(device->world, "%s lost its connection, reason %02x", device->id, connection->reason);
}

static void devices_make(struct world *world)
{
    struct stall *stall = world->scenario;
    const uint32_t workers = world->dataplane.worker_count;
    for (uint32_t i = 0; i < DEVICES; i++) {
        char id[32];
        snprintf(id, sizeof(id), i == SUBSCRIBER ? "subscriber" : "publisher-%u", i);
        struct device *device = device_create(world, id, world_chance(world, 50) ? MQTT_V5 : MQTT_V311);
        device->received_publish = publish_arrived;
        device->gone = connection_gone;
        device_open(device, i == SUBSCRIBER || workers == 1 ? stall->worker : world_below(world, workers - 1));
        device->wanted = true;
    }
    device_subscribe(world->devices[SUBSCRIBER], "s/#", 2, 0, 0);
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everybody is there");
}

/* Every publisher at a QoS of its own. */
static void publish(struct world *world)
{
    struct stall *stall = world->scenario;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        const uint32_t publisher = SUBSCRIBER + 1 + i;
        ledger_promise(&stall->ledger, SUBSCRIBER, publisher, 0, i);
        for (uint32_t n = 0; n < MESSAGES; n++) {
            const uint32_t length = sizeof(struct ledger_mark) + world_below(world, LENGTH);
            uint8_t *payload = device_publish(world->devices[publisher], "s/x", (uint8_t)i, false, length);
            ledger_publish(&stall->ledger, publisher, 0, i, payload, length);
        }
    }
    world->poll_at = world->now;
}

static uint64_t dropped(const struct world *world)
{
    return world_counter(world, dropped_queue_full) + world_counter(world, dropped_queue_old) +
           world_counter(world, dropped_no_memory) + world_counter(world, dropped_offline);
}

static bool all_arrived(struct world *world)
{
    const struct stall *stall = world->scenario;
    return ledger_is_complete(&stall->ledger, SUBSCRIBER, 0) && scenario_all_settled(world);
}

/* What a publisher has left to send is with the publisher, not with the router. */
static void waiting_check(struct world *world)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        const struct device *publisher = world->devices[SUBSCRIBER + 1 + i];
        struct tcp_info tcp;
        tcp_info(publisher->current->tcp, &tcp);
        if (publisher->first == NULL && publisher->current->out.length + tcp.send_queued + tcp.unacknowledged == 0) {
            world_fail(world, "%s has got rid of all its messages", publisher->id);
        }
    }
    if (world->dataplane.worker_count > 1 && world_counter(world, stalls_mailbox) == 0) {
        world_fail(world, "no publisher was stopped");
    }
}

static void run(struct world *world)
{
    struct stall *stall = world->scenario;
    world_begin(world);
    devices_make(world);
    if (world->failed) {
        return;
    }
    world->frozen_until[stall->worker] = world->now + STALL_US;
    publish(world);
    world_run_for(world, STALL_US - 1000000);
    if (!world->failed) {
        waiting_check(world);
    }
    scenario_await(world, all_arrived, 600 * UINT64_C(1000000), "everything has come");
    if (!world->failed && dropped(world) != 0) {
        world_fail(world, "%lu messages are dropped", (unsigned long)dropped(world));
    }
    if (!world->failed) {
        scenario_leave(world);
    }
    if (world->verbose) {
        printf("  %u received, %lu stalls at mailboxes\n", stall->ledger.received,
               (unsigned long)world_counter(world, stalls_mailbox));
    }
}

void scenario_stall(struct world *world)
{
    struct stall *stall = calloc(1, sizeof(*stall));
    stall->worker = world->config.dataplane.workers - 1;
    world->mailbox_slots = 8u << world_below(world, 2);
    world->config.tcp.receive_buffer = 16384;
    world->config.mqtt.receive_maximum = 1 + world_below(world, 100);
    world->freeze_ppm = 0;
    world->queues = 1; /* worker 0's: who stalls is another, so that the publishers' packets go on arriving */
    world->scenario = stall;
    world->poll = scenario_poll;
    /* Who is silent for long is to be the worker, not the link: no keepalive ends a connection here. */
    world->link.loss_ppm = world->link.loss_ppm < 100000 ? world->link.loss_ppm : 100000;
    run(world);
    ledger_free(&stall->ledger);
    free(stall);
}

/*
 * Churn: sessions of all lifetimes begin, end and are taken over without a pause, from all workers, while the answers
 * of the directory are still on their way. What is held to: no identifier ever has two sessions (devices_observe looks
 * after every iteration), and at the end nothing is left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"
#include "tests/sim/router/threads.h"

struct churn {
    uint64_t until;
    uint32_t pause_us;
};

/* Each connection may ask for another lifetime of the session. */
static void lifetime_draw(struct world *world, struct device *device)
{
    device->clean_start = world_chance(world, 50);
    device->expiry_s = device->version == MQTT_V5 && world_chance(world, 30) ? 1 + world_below(world, 2) : 0;
    device->has_session = false;
    device->lost_sessions = 0;
}

static void act(struct world *world, struct device *device)
{
    switch (world_below(world, 8)) {
    case 0:
        device_disconnect(device, 0);
        break;
    case 1:
        device_shut(device);
        break;
    case 2:
        device_abort(device);
        break;
    case 3:
        device_vanish(device);
        break;
    default:
        if (device_open_connections(device) < DEVICE_CONNECTIONS - 2) {
            lifetime_draw(world, device);
            device_open(device, UINT32_MAX);
        }
        break;
    }
}

/* Connections that have not got as far as CONNACK go away too. */
static void give_up_one(struct world *world, struct device *device)
{
    struct connection *connection = &device->connections[world_below(world, DEVICE_CONNECTIONS)];
    if (connection->device != NULL && connection->tcp != NULL && !connection->ignored &&
        connection->state != CONNECTION_GONE) {
        connection->ignored = true;
        device->current = device->current == connection ? NULL : device->current;
        if (world_chance(world, 50)) {
            tcp_abort(connection->tcp);
        } else {
            tcp_close(connection->tcp);
        }
    }
}

static void churn_poll(struct world *world)
{
    struct churn *churn = world->scenario;
    if (world->now < churn->until) {
        struct device *device = world->devices[world_below(world, world->device_count)];
        act(world, device);
        if (world_chance(world, 40)) {
            give_up_one(world, device);
        }
        world->poll_at = world->now + world_below(world, churn->pause_us);
    }
    scenario_poll(world);
}

void scenario_churn(struct world *world)
{
    struct churn churn = {.pause_us = 300 + world_below(world, 6000)};
    world->mailbox_slots = 8u << world_below(world, 6);
    world->freeze_ppm = world_chance(world, 80) ? 5000 + world_below(world, 20000) : 0;
    world->freeze_us = 1000 + world_below(world, 30000);
    world->scenario = &churn;
    world->poll = churn_poll;
    world_begin(world);
    const uint32_t devices = 1 + world_below(world, 4);
    for (uint32_t i = 0; i < devices; i++) {
        char id[32];
        snprintf(id, sizeof(id), "churn-%u", i);
        device_create(world, id, world_chance(world, 60) ? MQTT_V5 : MQTT_V311);
    }
    churn.until = world->now + 500000 + world_below(world, 1500000);
    world->poll_at = world->now;
    threads_begin(world);
    world_run_for(world, churn.until - world->now + 1000000);
    threads_end(world);
    if (world->verbose) {
        printf("  %lu sessions begun, %lu resumed, %lu taken over, %lu moved, %lu refused\n",
               (unsigned long)(world_counter(world, connects_accepted) - world_counter(world, sessions_resumed)),
               (unsigned long)world_counter(world, sessions_resumed),
               (unsigned long)world_counter(world, sessions_taken_over),
               (unsigned long)world_counter(world, connections_moved),
               (unsigned long)world_counter(world, connects_refused));
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

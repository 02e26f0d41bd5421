/*
 * Shared subscriptions, strategy by strategy, on however many workers: a group of members that stay connected, two
 * publishers, and who got what. Each message reaches one member, once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"

enum {
    MEMBERS = 4,
    PUBLISHERS = 2,
    TOPICS = 6,
    ROUNDS = 25,
    PER_ROUND = 16,
    ROUND_US = 100000,
    SENT = ROUNDS * PER_ROUND,
};

struct strategies {
    uint32_t strategy; /* enum shm_shared_strategy */
    uint32_t came[MEMBERS];
    uint32_t of_publisher[MEMBERS][PUBLISHERS];
    uint32_t of_topic[MEMBERS][TOPICS];
    uint8_t copies[SENT];
    uint32_t sent;
};

static void arrived(struct device *device, const struct mqtt_publish *publish)
{
    struct world *world = device->world;
    struct strategies *strategies = world->scenario;
    uint32_t number = 0;
    memcpy(&number, publish->payload.data, sizeof(number));
    if (publish->payload.length != sizeof(number) || number >= SENT || strategies->copies[number]++ != 0) {
        world_fail(world, "%s got message %u again", device->id, number);
        return;
    }
    strategies->came[device->index]++;
    strategies->of_publisher[device->index][number % PUBLISHERS]++;
    strategies->of_topic[device->index][number / PUBLISHERS % TOPICS]++;
}

static void devices_make(struct world *world)
{
    char id[32];
    for (uint32_t i = 0; i < MEMBERS + PUBLISHERS; i++) {
        snprintf(id, sizeof(id), i < MEMBERS ? "member-%u" : "publisher-%u", i);
        struct device *device = device_create(world, id, MQTT_V5);
        device->wanted = true;
        if (i < MEMBERS) {
            device->received_publish = arrived;
            device_subscribe(device, "$share/group/work/#", 1, 0, 0);
        }
    }
}

static void round_publish(struct world *world)
{
    struct strategies *strategies = world->scenario;
    for (uint32_t i = 0; i < PER_ROUND; i++, strategies->sent++) {
        const uint32_t number = strategies->sent;
        char topic[32];
        snprintf(topic, sizeof(topic), "work/%u", number / PUBLISHERS % TOPICS);
        uint8_t *payload =
            device_publish(world->devices[MEMBERS + number % PUBLISHERS], topic, 1, false, sizeof(number));
        memcpy(payload, &number, sizeof(number));
    }
    world->poll_at = world->now;
}

static bool all_came(struct world *world)
{
    const struct strategies *strategies = world->scenario;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        sum += strategies->came[i];
    }
    return sum == SENT;
}

static uint32_t worker_of(const struct world *world, const struct device *device)
{
    const struct mqtt_span id = {(const uint8_t *)device->id, (uint32_t)strlen(device->id)};
    uint32_t worker = 0;
    while (session_find(world->dataplane.workers[worker]->sessions, id) == NULL) {
        worker++;
    }
    return worker;
}

/* Members of one worker in turn; the workers in turn for each worker that publishes. */
static void check_round_robin(struct world *world)
{
    const struct strategies *strategies = world->scenario;
    uint32_t least[SHM_WORKERS_MAX], most[SHM_WORKERS_MAX] = {0}, sums[SHM_WORKERS_MAX] = {0}, low = SENT, high = 0;
    memset(least, 0xff, sizeof(least));
    for (uint32_t i = 0; i < MEMBERS; i++) {
        const uint32_t worker = worker_of(world, world->devices[i]), came = strategies->came[i];
        least[worker] = came < least[worker] ? came : least[worker];
        most[worker] = came > most[worker] ? came : most[worker];
        sums[worker] += came;
    }
    for (uint32_t w = 0; w < world->dataplane.worker_count; w++) {
        if (sums[w] > 0 && most[w] > least[w] + 1) {
            world_fail(world, "round-robin: members of worker %u got %u to %u", w, least[w], most[w]);
        }
        low = sums[w] > 0 && sums[w] < low ? sums[w] : low;
        high = sums[w] > high ? sums[w] : high;
    }
    if (high > low + PUBLISHERS) {
        world_fail(world, "round-robin: workers got %u to %u", low, high);
    }
}

static void check_one_only(struct world *world, uint32_t count, const uint32_t *of, const char *what)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t members = 0;
        for (uint32_t i = 0; i < MEMBERS; i++) {
            members += of[i * count + k] > 0;
        }
        if (members != 1) {
            world_fail(world, "%s: %u members got messages of number %u", what, members, k);
        }
    }
}

static void check_least_backlog(struct world *world)
{
    const struct strategies *strategies = world->scenario;
    uint32_t least = SENT;
    for (uint32_t i = 1; i < MEMBERS; i++) {
        least = strategies->came[i] < least ? strategies->came[i] : least;
    }
    if (strategies->came[0] * 2 > least) {
        world_fail(world, "least-backlog: the slow member got %u, others %u and more", strategies->came[0], least);
    }
}

static void check(struct world *world)
{
    const struct strategies *strategies = world->scenario;
    switch (strategies->strategy) {
    case SHM_SHARED_ROUND_ROBIN:
        check_round_robin(world);
        break;
    case SHM_SHARED_STICKY:
        check_one_only(world, 1, strategies->came, "sticky");
        break;
    case SHM_SHARED_HASH_CLIENT:
        check_one_only(world, PUBLISHERS, strategies->of_publisher[0], "hash-client");
        break;
    case SHM_SHARED_HASH_TOPIC:
        check_one_only(world, TOPICS, strategies->of_topic[0], "hash-topic");
        break;
    default:
        check_least_backlog(world);
        break;
    }
}

static void run(struct world *world)
{
    world_begin(world);
    devices_make(world);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everybody is there")) {
        return;
    }
    const struct strategies *strategies = world->scenario;
    if (strategies->strategy == SHM_SHARED_LEAST_BACKLOG) {
        world->devices[0]->read_limit = DEVICE_READS_NOTHING;
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        round_publish(world);
        world_run_for(world, ROUND_US);
    }
    world->devices[0]->read_limit = 0;
    world->poll_at = world->now;
    if (scenario_await(world, all_came, 600 * UINT64_C(1000000), "every message has come")) {
        check(world);
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

void scenario_strategies(struct world *world)
{
    struct strategies *strategies = calloc(1, sizeof(*strategies));
    strategies->strategy = world_below(world, SHM_SHARED_LEAST_BACKLOG + 1);
    world->config.mqtt.shared_strategy = strategies->strategy;
    world->config.mqtt.max_inflight = 1000; /* what a member was given counts, not what fits its window */
    world->config.tcp.send_buffer = 4096;
    /* A clean link, so that who is slow is so by itself. */
    world->link = (struct world_link){.delay_us = 20 + world_below(world, 500)};
    world->freeze_ppm = 0;
    world->scenario = strategies;
    world->poll = scenario_poll;
    run(world);
    free(strategies);
}

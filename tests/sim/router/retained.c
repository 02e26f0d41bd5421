/*
 * Retained messages: publishers set and clear topics, and when everything is acknowledged, late subscribers on all
 * workers get the last value of each topic that their filter matches, once, with the retain flag, and nothing else.
 * Many topics, small mailboxes, small queues and slow readers: paced, but complete. What is set once they are
 * subscribed comes by their subscriptions, and not as a retained message as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"

enum { TOPICS_MAX = 400, PUBLISHERS = 3, SUBSCRIBERS = 5, LIVE_MAX = 10 };

static const char *const filters[SUBSCRIBERS] = {"r/#", "r/+/x", "#", "r/7/x", "r/1/+"};

struct retained {
    uint32_t topics;
    uint32_t value[TOPICS_MAX]; /* 0: cleared, or never set */
    uint8_t came[SUBSCRIBERS][TOPICS_MAX];
    bool expects_none[SUBSCRIBERS]; /* asked with retain handling 2 */
};

static void topic_name(char name[32], uint32_t topic)
{
    snprintf(name, 32, "r/%u/x", topic);
}

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    unsigned topic = 0;
    uint32_t value = 0;
    struct world *world = device->world;
    struct retained *retained = world->scenario;
    const uint32_t subscriber = device->index - PUBLISHERS;
    char name[64] = {0};
    memcpy(name, publish->topic.data, publish->topic.length < 63 ? publish->topic.length : 63);
    memcpy(&value, publish->payload.data, publish->payload.length < 4 ? publish->payload.length : 4);
    if (sscanf(name, "r/%u/x", &topic) != 1 || topic >= retained->topics || !publish->retain ||
        !filter_matches(filters[subscriber], name) || retained->expects_none[subscriber]) {
        world_fail(world, "%s got %s, retain %u, which it should not", device->id, name, publish->retain);
    } else if (value != retained->value[topic]) {
        world_fail(world, "%s got value %u of %s instead of %u", device->id, value, name, retained->value[topic]);
    } else if (retained->came[subscriber][topic]++ != 0) {
        world_fail(world, "%s got %s twice", device->id, name);
    }
}

static void publishers_make(struct world *world)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        char id[32];
        snprintf(id, sizeof(id), "setter-%u", i);
        device_create(world, id, world_chance(world, 60) ? MQTT_V5 : MQTT_V311)->wanted = true;
    }
}

static void value_set(struct world *world, uint32_t topic, uint32_t value)
{
    char name[32];
    struct retained *retained = world->scenario;
    topic_name(name, topic);
    /* One publisher for each topic, so that the last value is known. */
    struct device *device = world->devices[topic % PUBLISHERS];
    const uint32_t length = value == 0 ? 0 : 4 + world_below(world, world_chance(world, 10) ? 3000 : 100);
    uint8_t *payload = device_publish(device, name, (uint8_t)(1 + world_below(world, 2)), true, length);
    memcpy(payload, &value, value == 0 ? 0 : 4);
    retained->value[topic] = value;
}

static void values_set(struct world *world)
{
    struct retained *retained = world->scenario;
    const uint32_t changes = retained->topics + world_below(world, 2 * retained->topics);
    for (uint32_t i = 0; i < changes; i++) {
        value_set(world, i < retained->topics ? i : world_below(world, retained->topics),
                  world_chance(world, 15) ? 0 : 1 + i);
    }
}

static void subscribers_make(struct world *world)
{
    struct retained *retained = world->scenario;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        char id[32];
        snprintf(id, sizeof(id), "late-%u", i);
        struct device *device = device_create(world, id, world_chance(world, 60) ? MQTT_V5 : MQTT_V311);
        device->wanted = true;
        device->received_publish = publish_arrived;
        device->read_limit = world_chance(world, 60) ? 0 : 500 + world_below(world, 5000);
        retained->expects_none[i] = device->version == MQTT_V5 && world_chance(world, 20);
        device_subscribe(device, filters[i], (uint8_t)world_below(world, 3),
                         (uint8_t)(retained->expects_none[i] ? 2 << 4 : world_below(world, 2) << 4), 0);
    }
}

static bool is_missing(const struct retained *retained, uint32_t subscriber, uint32_t topic)
{
    char name[32];
    topic_name(name, topic);
    return retained->value[topic] != 0 && !retained->expects_none[subscriber] &&
           filter_matches(filters[subscriber], name) && retained->came[subscriber][topic] == 0;
}

static bool all_arrived(struct world *world)
{
    const struct retained *retained = world->scenario;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        for (uint32_t topic = 0; topic < retained->topics; topic++) {
            if (is_missing(retained, i, topic)) {
                return false;
            }
        }
    }
    return scenario_all_settled(world);
}

static void explain(struct world *world)
{
    const struct retained *retained = world->scenario;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        uint32_t missing = 0;
        for (uint32_t topic = 0; topic < retained->topics; topic++) {
            missing += is_missing(retained, i, topic);
        }
        if (missing > 0) {
            world_fail(world, "%s: %u of %u retained messages did not come", world->devices[PUBLISHERS + i]->id,
                       missing, retained->topics);
        }
    }
}

static void values_clear(struct world *world)
{
    struct retained *retained = world->scenario;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        world->devices[PUBLISHERS + i]->received_publish = NULL;
    }
    for (uint32_t topic = 0; topic < retained->topics; topic++) {
        value_set(world, topic, 0);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everything is cleared");
}

/* Nothing waits for a slow reader any more: a full queue would drop what comes next. */
static bool queues_are_empty(struct world *world)
{
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        struct session *session;
        uint32_t cursor = 0;
        while ((session = session_next(world->dataplane.workers[i]->sessions, &cursor)) != NULL) {
            if (session->queue.count > 0) {
                return false;
            }
        }
    }
    return true;
}

static void live_arrived(struct device *device, const struct mqtt_publish *publish)
{
    unsigned topic = 0;
    struct retained *retained = device->world->scenario;
    const uint32_t subscriber = device->index - PUBLISHERS;
    char name[64] = {0};
    memcpy(name, publish->topic.data, publish->topic.length < 63 ? publish->topic.length : 63);
    if (sscanf(name, "live/%u", &topic) != 1) {
        return; /* the others are being cleared */
    }
    if (publish->retain) {
        world_fail(device->world, "%s got %s as a retained message", device->id, name);
    } else if (retained->came[subscriber][topic]++ != 0) {
        world_fail(device->world, "%s got %s twice", device->id, name);
    }
}

static bool live_all_arrived(struct world *world)
{
    const struct retained *retained = world->scenario;
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        for (uint32_t topic = 0; topic < LIVE_MAX; topic++) {
            if (retained->came[i][topic] == 0) {
                return false;
            }
        }
    }
    return scenario_all_settled(world);
}

static void live_publish(struct world *world, struct device *device, uint32_t topic, uint32_t length)
{
    char name[32];
    snprintf(name, sizeof(name), "live/%u", topic);
    device_publish(device, name, 1, true, length);
    world->poll_at = world->now;
}

/* Once somebody has its SUBACK, messages are set by others, and by itself; one of its own it sends with SUBSCRIBE. */
static void live_check(struct world *world)
{
    struct retained *retained = world->scenario;
    scenario_await(world, queues_are_empty, 600 * UINT64_C(1000000), "slow readers have caught up");
    memset(retained->came, 0, sizeof(retained->came));
    for (uint32_t i = 0; i < SUBSCRIBERS && !world->failed; i++) {
        struct device *device = world->devices[PUBLISHERS + i];
        device->received_publish = live_arrived;
        device_subscribe(device, "live/#", 1, 2 << 4, 0);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everybody is subscribed");
    for (uint32_t topic = 0; topic < LIVE_MAX && !world->failed; topic++) {
        struct device *device = world->devices[PUBLISHERS + topic % SUBSCRIBERS];
        char filter[32];
        snprintf(filter, sizeof(filter), "live/%u", topic);
        device_subscribe(device, filter, 1, 0, 0);
        world->poll_at = world->now;
        if (topic % 3 == 0) {
            live_publish(world, device, topic, 4);
        }
        scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "a SUBACK has come");
        if (topic % 3 != 0) {
            live_publish(world, topic % 3 == 1 ? device : world->devices[topic % PUBLISHERS], topic, 4);
        }
    }
    scenario_await(world, live_all_arrived, 600 * UINT64_C(1000000), "what is set has come");
    world_run_for(world, 2000000);
    for (uint32_t topic = 0; topic < LIVE_MAX && !world->failed; topic++) {
        world->devices[PUBLISHERS + topic % SUBSCRIBERS]->received_publish = NULL;
        live_publish(world, world->devices[topic % PUBLISHERS], topic, 0);
    }
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everything is cleared again");
}

static void run(struct world *world)
{
    struct retained *retained = world->scenario;
    world_begin(world);
    publishers_make(world);
    values_set(world);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everything is set")) {
        return;
    }
    subscribers_make(world);
    world->poll_at = world->now;
    if (!world_run(world, all_arrived, 600 * UINT64_C(1000000)) && !world->failed) {
        explain(world);
    }
    world_run_for(world, 2000000);
    if (!world->failed) {
        values_clear(world);
    }
    if (!world->failed) {
        live_check(world);
    }
    if (!world->failed) {
        scenario_leave(world);
    }
    if (world->verbose) {
        printf("  %u topics\n", retained->topics);
    }
}

void scenario_retained(struct world *world)
{
    struct retained *retained = calloc(1, sizeof(*retained));
    retained->topics = 8 + world_below(world, TOPICS_MAX - 8);
    world->mailbox_slots = 8u << world_below(world, 11);
    world->config.tcp.send_buffer = 4096u << world_below(world, 6);
    world->config.mqtt.max_queued_messages = world_chance(world, 50) ? 1000000 : 20 + world_below(world, 200);
    world->config.mqtt.max_inflight = 1 + world_below(world, 30);
    world->scenario = retained;
    world->poll = scenario_poll;
    run(world);
    free(retained);
}

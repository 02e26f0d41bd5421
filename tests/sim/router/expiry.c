/*
 * Expiry: messages with a Message Expiry Interval (MQTT 5.0 section 3.3.2.3.3) that are retained, or that wait for a
 * session whose client is away and comes back on any worker, or that are sent on at once. What is sent says how long is
 * left; what has expired is not sent, is counted, and counts against no bound.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"

enum { SENDER, AWAY, LATE, DEVICES, MESSAGES_MAX = 200, SECOND = 1000000, SIZE = 40 };

/* Messages retained at most, and so few that they fit whatever worker they belong to. */
enum { RETAINED_MAX = MESSAGES_MAX / 2, RETAINED_FIT = RETAINED_MAX / 5 };

/* One message, on a topic of its own. */
struct item {
    uint32_t expiry_s; /* 0: never expires */
    uint64_t from;     /* it was published not before, */
    uint64_t until;    /* and not after; far away while that is not known */
    bool came;
};

struct expiry {
    uint32_t count;
    uint64_t asked_at; /* nothing is sent before to who gets the messages now */
    struct item items[MESSAGES_MAX];
};

/* To the nearest second: what is left may not be more than when the client asked, nor less than it is now, and never
 * more than the publisher said. */
static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    uint32_t number = 0;
    struct world *world = device->world;
    struct expiry *expiry = world->scenario;
    memcpy(&number, publish->payload.data, sizeof(number));
    struct item *item = &expiry->items[number % MESSAGES_MAX];
    const bool expires = mqtt_property_is_present(&publish->properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL);
    const uint64_t left = publish->properties.message_expiry_interval * (uint64_t)SECOND;
    const uint64_t life = item->expiry_s * (uint64_t)SECOND;
    if (item->came && publish->qos != 1) {
        world_fail(world, "%s: message %u came twice", device->id, number);
    } else if (expires != (item->expiry_s != 0)) {
        world_fail(world, "%s: message %u came with%s an interval", device->id, number, expires ? "" : "out");
    } else if (expires && (expiry->asked_at + left >= item->until + life + SECOND ||
                           world->now + left + SECOND / 2 < item->from + life || left > life)) {
        world_fail(world, "%s: message %u of %u s, %.3f s old, says that %u s are left", device->id, number,
                   item->expiry_s, (double)(world->now - item->from) / SECOND, (unsigned)(left / SECOND));
    }
    item->came = true;
}

/* Publishes `count` messages, the first last if `reverse`; waits until they are acknowledged. */
static void items_publish(struct world *world, const char *format, bool retain, uint32_t life_s, bool reverse)
{
    struct expiry *expiry = world->scenario;
    struct device *sender = world->devices[SENDER];
    for (uint32_t i = 0; i < expiry->count; i++) {
        const uint32_t number = reverse ? expiry->count - 1 - i : i;
        const uint32_t life = life_s != UINT32_MAX      ? life_s
                              : world_chance(world, 20) ? 0
                                                        : 1 + world_below(world, world_chance(world, 50) ? 10 : 60);
        char topic[32];
        snprintf(topic, sizeof(topic), format, number);
        uint8_t *payload = device_publish(sender, topic, (uint8_t)(1 + number % 2), retain, SIZE);
        memcpy(payload, &number, sizeof(number));
        sender->last->expiry_s = life;
        expiry->items[number] = (struct item){.expiry_s = life, .from = world->now, .until = UINT64_MAX / 2};
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "all messages are acknowledged");
    for (uint32_t i = 0; i < expiry->count; i++) {
        expiry->items[i].until = world->now;
    }
    world_run_for(world, 2 * SECOND); /* they reach their home and their queues */
}

static uint64_t retained_count(const struct world *world)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        struct topic_retained_stats stats;
        topic_retained_stats(world->dataplane.workers[i]->retained, &stats);
        count += stats.count;
    }
    return count;
}

static bool item_expired(const struct item *item, uint64_t at)
{
    return item->expiry_s != 0 && item->until + item->expiry_s * (uint64_t)SECOND < at;
}

static bool item_lives(const struct item *item, uint64_t at)
{
    return item->expiry_s == 0 || item->from + item->expiry_s * (uint64_t)SECOND > at;
}

/* Everything that lives has come. */
static bool all_arrived(struct world *world)
{
    const struct expiry *expiry = world->scenario;
    for (uint32_t i = 0; i < expiry->count; i++) {
        if (!expiry->items[i].came && item_lives(&expiry->items[i], world->now)) {
            return false;
        }
    }
    return scenario_all_settled(world);
}

static void arrivals_check(struct world *world, uint64_t dropped_before)
{
    uint32_t expired = 0, missing = 0;
    const struct expiry *expiry = world->scenario;
    world_run_for(world, 10 * SECOND); /* those that died waiting for Receive Maximum are met */
    const uint64_t dropped = world_counter(world, dropped_expired) - dropped_before;
    for (uint32_t i = 0; i < expiry->count && !world->failed; i++) {
        const struct item *item = &expiry->items[i];
        if (item->came && item_expired(item, expiry->asked_at)) {
            world_fail(world, "message %u of %u s came when it had expired", i, item->expiry_s);
        }
        expired += item_expired(item, expiry->asked_at);
        missing += !item->came;
    }
    if (!world->failed && (dropped < expired || dropped < missing)) {
        world_fail(world, "%u messages had expired, %u did not come, %lu are counted", expired, missing,
                   (unsigned long)dropped);
    }
}

/* Full of messages that expire, and full again when they have: nobody asks for them in between. */
static void bounds_check(struct world *world)
{
    const uint64_t refused_before = world_counter(world, retained_refused);
    struct expiry *expiry = world->scenario;
    expiry->count = MESSAGES_MAX;
    items_publish(world, "b/%04u", true, 20, false);
    const uint64_t kept = retained_count(world), refused = world_counter(world, retained_refused) - refused_before;
    if (!world->failed && (kept + refused != expiry->count || refused == 0 || kept == 0)) {
        world_fail(world, "%lu kept, %lu refused of %u", (unsigned long)kept, (unsigned long)refused, expiry->count);
    }
    world_run_for(world, 22 * SECOND);
    if (!world->failed && (retained_count(world) != 0 || world_counter(world, dropped_expired) != kept)) {
        world_fail(world, "%lu are left when all have expired, %lu are counted of %lu",
                   (unsigned long)retained_count(world), (unsigned long)world_counter(world, dropped_expired),
                   (unsigned long)kept);
    }
    items_publish(world, "b/%04u", true, 20, true); /* what was refused before comes first */
    if (!world->failed && retained_count(world) != kept) {
        world_fail(world, "%lu are kept instead of %lu", (unsigned long)retained_count(world), (unsigned long)kept);
    }
    world_run_for(world, 22 * SECOND);
}

/* A new subscription some time later. */
static void retained_check(struct world *world)
{
    struct expiry *expiry = world->scenario;
    struct device *late = world->devices[LATE];
    const uint64_t dropped_before = world_counter(world, dropped_expired);
    expiry->count = RETAINED_FIT;
    items_publish(world, "r/%u", true, UINT32_MAX, world_chance(world, 50));
    world_run_for(world, world_below(world, 30 * SECOND));
    expiry->asked_at = world->now;
    device_subscribe(late, "r/#", (uint8_t)world_below(world, 3), 0, 0);
    world->poll_at = world->now;
    scenario_await(world, all_arrived, 600 * UINT64_C(1000000), "the retained messages that live have come");
    if (!world->failed) {
        arrivals_check(world, dropped_before);
    }
    late->received_publish = NULL;
    world_run_for(world, 70 * SECOND);
    for (uint32_t i = 0; i < expiry->count; i++) { /* those that do not expire */
        char topic[32];
        snprintf(topic, sizeof(topic), "r/%u", i);
        device_publish(world->devices[SENDER], topic, 1, true, 0);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "retained messages are taken back");
}

/* Sent on at once: the interval is what it was. */
static void live_check(struct world *world)
{
    struct expiry *expiry = world->scenario;
    expiry->count = 1 + world_below(world, 50);
    expiry->asked_at = world->now;
    items_publish(world, "q/%u", false, 1 + world_below(world, 20), false);
    scenario_await(world, all_arrived, 600 * UINT64_C(1000000), "the messages have come");
}

static bool away_is_gone(struct world *world)
{
    return device_open_connections(world->devices[AWAY]) == 0;
}

/* The session waits on one worker; its client comes back on that or another, and is taken over by itself meanwhile. */
static void queued_check(struct world *world)
{
    struct expiry *expiry = world->scenario;
    struct device *away = world->devices[AWAY];
    const uint64_t dropped_before = world_counter(world, dropped_expired);
    away->wanted = false;
    device_disconnect(away, 0);
    scenario_await(world, away_is_gone, 100 * UINT64_C(1000000), "the client is away");
    expiry->count = 1 + world_below(world, MESSAGES_MAX);
    items_publish(world, "q/%u", false, UINT32_MAX, world_chance(world, 50));
    world_run_for(world, world_below(world, 20 * SECOND));
    expiry->asked_at = world->now;
    away->wanted = true;
    world->poll_at = world->now;
    world_run_for(world, world_below(world, 500000));
    for (uint32_t i = world_below(world, 3); i > 0 && !world->failed; i--) {
        device_open(away, UINT32_MAX);
        world_run_for(world, world_below(world, 300000));
    }
    scenario_await(world, all_arrived, 600 * UINT64_C(1000000), "the queued messages that live have come");
    if (!world->failed) {
        arrivals_check(world, dropped_before);
    }
}

static void devices_make(struct world *world)
{
    static const char *const names[DEVICES] = {"sender", "away", "late"};
    for (uint32_t i = 0; i < DEVICES; i++) {
        struct device *device = device_create(world, names[i], MQTT_V5);
        device->wanted = true;
        device->received_publish = publish_arrived;
    }
    world->devices[AWAY]->expiry_s = 3600;
    world->devices[AWAY]->receive_maximum = (uint16_t)(1 + world_below(world, 20));
    device_subscribe(world->devices[AWAY], "q/#", 2, 0, 0);
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everybody is there");
}

static void run(struct world *world)
{
    static void (*const parts[])(struct world *) = {devices_make, live_check, bounds_check, retained_check,
                                                    queued_check};
    world_begin(world);
    for (uint32_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !world->failed; i++) {
        parts[i](world);
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

void scenario_expiry(struct world *world)
{
    struct expiry *expiry = calloc(1, sizeof(*expiry));
    if (world_chance(world, 50)) {
        world->config.mqtt.max_retained_messages = RETAINED_MAX;
    } else {
        world->config.mqtt.max_retained_bytes = RETAINED_MAX * SIZE;
    }
    world->mailbox_slots = 16u << world_below(world, 8);
    world->config.tcp.user_timeout_s = world->config.tcp.keepalive_time_s = 3600;
    world->scenario = expiry;
    world->poll = scenario_poll;
    world->clocks_differ = true;
    /* Times are checked: what is repeated for long would be late. */
    world->link.loss_ppm = world->link.loss_ppm < 50000 ? world->link.loss_ppm : 50000;
    run(world);
    free(expiry);
}

/*
 * Filters by the thousand: packets with more of them than a worker changes in an iteration, subscribed, in part taken
 * back and asked for again, while messages flow and a session with all of them ends. Each SUBACK has a reason code for
 * each filter, messages reach who is subscribed and nobody else, and nothing is left of a session that has ended.
 *
 * The filters are the adversarial ones too: thousands that begin with "+/+/+/+", 128 levels; and meanwhile clients on
 * all workers subscribe to one filter and unsubscribe without a pause while messages match it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/router/scenario.h"

enum {
    MANY,
    OTHER,
    SENDER,
    FLAP_FIRST,
    FLAP_COUNT = 3,
    DEVICES = FLAP_FIRST + FLAP_COUNT,
    FLAPS = 30,
    AFTER_FLAPS = 20
};

/* 20 levels, and six times as many: 128 with those of a shape. */
#define LEVELS_20 "l/l/l/l/l/l/l/l/l/l/l/l/l/l/l/l/l/l/l/l/"
#define LEVELS_120 LEVELS_20 LEVELS_20 LEVELS_20 LEVELS_20 LEVELS_20 LEVELS_20

struct filters {
    const char *format;
    uint32_t count;
    uint32_t kept_from; /* filters below it are unsubscribed */
    uint32_t came;      /* messages to MANY since the last look */
    uint32_t other;     /* to OTHER, which nobody bothers */
    uint32_t expected, other_expected;
    uint32_t late; /* messages that were published when all who flap had unsubscribed, to one of them */
};

/* "%u" is the number; a topic is the same with '+' and '#' filled in. */
static const struct {
    const char *filter, *topic;
} shapes[] = {
    {"a/%u/state", "a/%u/state"},
    {"+/+/%u/+/#", "x/y/%u/z/and/more"},
    {"+/%u/#", "q/%u"},
    {"1/2/3/4/5/6/7/8/9/a/b/c/d/%u/+", "1/2/3/4/5/6/7/8/9/a/b/c/d/%u/e"},
    {"+/+/+/+/%u/+/+/#", "a/b/c/d/%u/e/f/g/h"},
    {LEVELS_120 "1/2/3/4/5/6/%u/+", LEVELS_120 "1/2/3/4/5/6/%u/8"},
};

static void many_received(struct device *device, const struct mqtt_publish *publish)
{
    struct filters *filters = device->world->scenario;
    (void)publish;
    filters->came++;
}

static void other_received(struct device *device, const struct mqtt_publish *publish)
{
    struct filters *filters = device->world->scenario;
    (void)publish;
    filters->other++;
}

static void flap_received(struct device *device, const struct mqtt_publish *publish)
{
    struct filters *filters = device->world->scenario;
    filters->late += publish->payload.data[0]; /* what was queued before may come */
}

static bool is_answered(struct world *world)
{
    const struct filters *filters = world->scenario;
    return world->devices[MANY]->raw_filters == filters->count;
}

static bool is_taken_back(struct world *world)
{
    return world->devices[MANY]->unsubacks == 1 && is_answered(world);
}

static bool all_came(struct world *world)
{
    const struct filters *filters = world->scenario;
    return filters->came >= filters->expected && filters->other >= filters->other_expected;
}

/* A message on every 50th topic; each must come once if its filter is subscribed. */
static void expect_messages(struct world *world, const char *topic_format, uint32_t from, const char *when)
{
    struct filters *filters = world->scenario;
    uint32_t sent = 0, expected = 0;
    const uint32_t other = filters->other;
    filters->came = 0;
    for (uint32_t i = 0; i < filters->count; i += 50, sent++) {
        char topic[DEVICE_TOPIC_MAX];
        snprintf(topic, sizeof(topic), topic_format, i);
        device_publish(world->devices[SENDER], topic, 1, false, 10);
        expected += i >= from;
    }
    filters->expected = expected;
    filters->other_expected = other + sent;
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), when);
    world_run(world, all_came, 600 * UINT64_C(1000000));
    world_run_for(world, 3000000); /* for what should not come */
    if (!world->failed && filters->came != expected) {
        world_fail(world, "%s: %u messages came instead of %u", when, filters->came, expected);
    } else if (!world->failed && filters->other != other + sent) {
        world_fail(world, "%s: %u messages came to the other instead of %u", when, filters->other - other, sent);
    }
}

static void devices_make(struct world *world)
{
    static const char *const names[DEVICES] = {"many", "other", "sender", "flap-0", "flap-1", "flap-2"};
    for (uint32_t i = 0; i < DEVICES; i++) {
        struct device *device = device_create(world, names[i], world_chance(world, 50) ? MQTT_V5 : MQTT_V311);
        device->wanted = true;
        device->clean_start = true;
        device->received_publish = i == MANY         ? many_received
                                   : i == OTHER      ? other_received
                                   : i >= FLAP_FIRST ? flap_received
                                                     : NULL;
    }
    device_subscribe(world->devices[OTHER], "#", 1, 0, 0);
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everybody is there");
}

static bool flaps_are_answered(struct world *world)
{
    for (uint32_t i = FLAP_FIRST; i < DEVICES; i++) {
        if (world->devices[i]->raw_filters != FLAPS || world->devices[i]->unsubacks != FLAPS) {
            return false;
        }
    }
    return scenario_all_settled(world) && all_came(world);
}

static void flap_publish(struct world *world, bool late)
{
    struct filters *filters = world->scenario;
    device_publish(world->devices[SENDER], "f/0", 1, false, 10)[0] = late;
    filters->other_expected++;
    world->poll_at = world->now;
}

/* Clients on all workers subscribe to one filter and unsubscribe, again and again, while messages match it. */
static void flap(struct world *world)
{
    struct filters *filters = world->scenario;
    filters->expected = 0;
    filters->other_expected = filters->other;
    for (uint32_t round = 0; round < 2 * FLAPS; round++) {
        for (uint32_t i = FLAP_FIRST; i < DEVICES; i++) {
            device_change_filters(world->devices[i], round % 2 == 0, "f/%u", 0, 1);
        }
        flap_publish(world, false);
        world_run_for(world, world_below(world, 3000));
    }
    if (!scenario_await(world, flaps_are_answered, 600 * UINT64_C(1000000), "all who flap are answered")) {
        return;
    }
    for (uint32_t i = 0; i < AFTER_FLAPS; i++) {
        flap_publish(world, true);
    }
    scenario_await(world, flaps_are_answered, 600 * UINT64_C(1000000), "the other has everything");
    world_run_for(world, 3000000);
    if (!world->failed && (filters->late != 0 || filters->other != filters->other_expected)) {
        world_fail(world, "%u messages to who has unsubscribed, %u of %u to the other", filters->late, filters->other,
                   filters->other_expected);
    }
}

static bool many_is_away(struct world *world)
{
    return device_open_connections(world->devices[MANY]) == 0;
}

/* The session ends; the same client begins another while thousands of the old one's filters are still on their way out.
 */
static void session_replace(struct world *world)
{
    struct device *many = world->devices[MANY];
    many->wanted = false;
    device_abort(many);
    scenario_await(world, many_is_away, 600 * UINT64_C(1000000), "the session with all the filters ends");
    many->wanted = true;
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "its client is back");
}

static void run(struct world *world, uint32_t shape)
{
    struct filters *filters = world->scenario;
    world_begin(world);
    devices_make(world);
    if (world->failed) {
        return;
    }
    struct device *many = world->devices[MANY];
    device_change_filters(many, true, shapes[shape].filter, 0, filters->count);
    if (!scenario_await(world, is_answered, 600 * UINT64_C(1000000), "all filters are answered")) {
        return;
    }
    expect_messages(world, shapes[shape].topic, 0, "subscribed");
    device_change_filters(many, false, shapes[shape].filter, 0, filters->kept_from);
    flap(world);
    scenario_await(world, is_taken_back, 600 * UINT64_C(1000000), "some are taken back");
    expect_messages(world, shapes[shape].topic, filters->kept_from, "unsubscribed");
    if (!world->failed) {
        session_replace(world);
        expect_messages(world, shapes[shape].topic, UINT32_MAX, "ended");
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

void scenario_filters(struct world *world)
{
    struct filters *filters = calloc(1, sizeof(*filters));
    filters->count = 500 + world_below(world, 3000);
    filters->kept_from = world_below(world, filters->count);
    /* On a bad link everything takes longer; connections last, since it is their sessions that are looked at. */
    world->config.tcp.user_timeout_s = world->config.tcp.keepalive_time_s = 3600;
    world->config.mqtt.max_subscriptions = 100000;
    world->config.mqtt.max_topic_levels = 128;
    world->mailbox_slots = 64u << world_below(world, 8);
    world->scenario = filters;
    world->poll = scenario_poll;
    run(world, world_below(world, sizeof(shapes) / sizeof(shapes[0])));
    free(filters);
}

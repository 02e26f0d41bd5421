/*
 * Limits of one client (mqtt.limit-...): publishers offer more than they may, and what passes keeps to the rate from
 * the first second to the last, with one second's worth at the start. In or out, messages or bytes; nothing is lost at
 * QoS 1, and who has no traffic of his own does not notice. A debt that a large message has left is paid by time,
 * whether the client is busy or silent.
 */
#include <stdio.h>
#include <string.h>

#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"

enum { SENDER, RECEIVER, QUIET, DEVICES, SECONDS = 12, LENGTH = 100, PACKET = 2 + 2 + 3 + 2 + 1 + LENGTH, DEBT = 20 };

struct limits_test {
    bool in, bytes;
    uint32_t rate; /* messages a second */
    uint64_t offer_until, offered_at;
    uint64_t began;                /* first message */
    uint32_t offered, came, pings; /* pings: of QUIET, to itself */
    uint32_t quiet_sent;
    uint64_t quiet_at;
    uint64_t debt_paid; /* when the message after the large one came; 0: not yet */
    uint32_t number;    /* of the last that came */
};

/* No second saw more than the bucket's worth and the rate; with a message of tolerance for the two ends. */
static void pace_check(struct world *world)
{
    struct limits_test *test = world->scenario;
    const uint64_t elapsed = world->now - test->began;
    const uint64_t most = test->rate + test->rate * elapsed / 1000000 + 2;
    if (test->came > most) {
        world_fail(world, "%u messages in %.3f s at %u a second", test->came, (double)elapsed / 1e6, test->rate);
    }
}

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    uint32_t number;
    struct world *world = device->world;
    struct limits_test *test = world->scenario;
    if (device->index == QUIET) {
        test->pings++;
        return;
    }
    memcpy(&number, publish->payload.data, sizeof(number));
    if (number != test->number + 1) {
        world_fail(world, "message %u came after %u", number, test->number);
    }
    test->number = number;
    test->began = test->began == 0 ? world->now : test->began;
    test->came++;
    if (world->now < test->offer_until) {
        pace_check(world);
    } else if (test->debt_paid == 0) {
        test->debt_paid = world->now;
    }
}

static void offer(struct world *world, uint32_t length)
{
    struct limits_test *test = world->scenario;
    const uint32_t number = ++test->offered;
    memcpy(device_publish(world->devices[SENDER], "p/x", 1, false, length), &number, sizeof(number));
}

static void limits_poll(struct world *world)
{
    struct limits_test *test = world->scenario;
    while (world->now < test->offer_until && test->offered_at <= world->now) {
        offer(world, LENGTH);
        test->offered_at += 1000000 / (2 * test->rate); /* twice what may pass */
    }
    if (world->now < test->offer_until && test->quiet_at <= world->now) {
        device_publish(world->devices[QUIET], "q/x", 0, false, 10);
        test->quiet_sent++;
        test->quiet_at = world->now + 2000000;
    }
    scenario_poll(world);
    if (world->now < test->offer_until) {
        const uint64_t next = test->offered_at < test->quiet_at ? test->offered_at : test->quiet_at;
        world->poll_at = next < world->poll_at ? next : world->poll_at;
    }
}

static bool all_came(struct world *world)
{
    const struct limits_test *test = world->scenario;
    return test->came == test->offered && world->devices[SENDER]->first == NULL;
}

/* Every second saw the whole rate. */
static void rate_check(struct world *world, uint32_t came)
{
    const struct limits_test *test = world->scenario;
    const uint32_t least = test->rate * SECONDS;
    if (came < least) {
        world_fail(world, "%u messages came in %u s, %u a second were allowed", came, SECONDS, test->rate);
    }
    const uint64_t stalls = test->in ? world_counter(world, limited_in) : world_counter(world, limited_out);
    if (stalls == 0 || test->pings < test->quiet_sent - 1) {
        world_fail(world, "%lu stalls counted; %u of %u messages of the quiet client came", (unsigned long)stalls,
                   test->pings, test->quiet_sent);
    }
}

/* A message of DEBT seconds' worth, then silence for longer: the next passes at once, not a debt later. */
static void debt_check(struct world *world)
{
    struct limits_test *test = world->scenario;
    offer(world, test->rate * PACKET * DEBT);
    world->poll_at = world->now;
    if (!scenario_await(world, all_came, 300 * UINT64_C(1000000), "the large message has come")) {
        return;
    }
    world_run_for(world, (DEBT + 2) * UINT64_C(1000000));
    test->debt_paid = 0;
    const uint64_t asked = world->now;
    offer(world, LENGTH);
    world->poll_at = world->now;
    if (scenario_await(world, all_came, 300 * UINT64_C(1000000), "the message after it has come") &&
        test->debt_paid - asked > 1000000) {
        world_fail(world, "a debt was still there after %u s: %.1f s of waiting", DEBT + 2,
                   (double)(test->debt_paid - asked) / 1e6);
    }
}

static void run(struct world *world)
{
    static const char *const names[DEVICES] = {"sender", "receiver", "quiet"};
    struct limits_test *test = world->scenario;
    world_begin(world);
    for (uint32_t i = 0; i < DEVICES; i++) {
        struct device *device = device_create(world, names[i], MQTT_V5);
        device->wanted = true;
        device->received_publish = publish_arrived;
    }
    device_subscribe(world->devices[RECEIVER], "p/#", 1, 0, 0);
    device_subscribe(world->devices[QUIET], "q/#", 0, 0, 0);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 120 * UINT64_C(1000000), "all are connected and subscribed")) {
        return;
    }
    test->offered_at = test->quiet_at = world->now;
    test->offer_until = world->now + (SECONDS + 1) * UINT64_C(1000000);
    world->poll_at = world->now;
    world_run_for(world, test->offer_until - world->now);
    const uint32_t came = test->came;
    if (world->failed || !scenario_await(world, all_came, 300 * UINT64_C(1000000), "everything has come")) {
        return;
    }
    rate_check(world, came);
    if (test->bytes && !world->failed) {
        debt_check(world);
    }
    if (world->verbose) {
        printf("  %s %s, %u a second: %u came in %u s of %u\n", test->bytes ? "bytes" : "messages",
               test->in ? "in" : "out", test->rate, came, SECONDS + 1, test->offered);
    }
    if (!world->failed) {
        scenario_leave(world);
    }
}

void scenario_limits(struct world *world)
{
    struct limits_test test = {.in = world_below(world, 2), .bytes = world_below(world, 2)};
    struct shm_mqtt_config *mqtt = &world->config.mqtt;
    test.rate = 20 + world_below(world, 200);
    const uint64_t bytes = (uint64_t)test.rate * PACKET;
    mqtt->limit_messages_in = test.in && !test.bytes ? test.rate : 0;
    mqtt->limit_messages_out = !test.in && !test.bytes ? test.rate : 0;
    mqtt->limit_bytes_in = test.in && test.bytes ? bytes : 0;
    mqtt->limit_bytes_out = !test.in && test.bytes ? bytes : 0;
    mqtt->max_inflight = mqtt->receive_maximum = 1000;
    /* Retransmissions would make a second longer than it is. */
    world->link = (struct world_link){.delay_us = 20 + world_below(world, 200)};
    world->freeze_ppm = 0;
    world->scenario = &test;
    world->poll = limits_poll;
    run(world);
}

/*
 * Wills: each device ends its connection in one way, and its will comes exactly when the specification says: at once,
 * after its delay, when the session ends before that, or not at all (MQTT 5.0 section 3.1.3.2).
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/router/scenario.h"

enum { DEVICES = 14, KEEPALIVE_S = 4 };

enum ending {
    END_DISCONNECT,
    END_DISCONNECT_WITH_WILL, /* MQTT 5.0 */
    END_SHUT,
    END_ABORT,
    END_VANISH,
    END_TAKE_OVER,       /* another connection goes on with the session */
    END_TAKE_OVER_CLEAN, /* another connection begins a new one */
    END_BACK_IN_TIME,    /* gone and back before the delay has passed */
    ENDINGS
};

struct expectation {
    enum ending ending;
    uint32_t wanted, came;
    uint64_t not_before, not_after; /* microseconds */
    uint64_t came_at;
};

struct wills {
    struct expectation of[DEVICES];
    uint64_t began;
};

static void will_arrived(struct device *device, const struct mqtt_publish *publish)
{
    unsigned number;
    struct world *world = device->world;
    struct wills *wills = world->scenario;
    char topic[64] = {0};
    memcpy(topic, publish->topic.data, publish->topic.length < 63 ? publish->topic.length : 63);
    if (sscanf(topic, "will/%u", &number) != 1 || number >= DEVICES || publish->payload.length != 4) {
        world_fail(world, "a message on %s that nobody sent", topic);
        return;
    }
    wills->of[number].came++;
    wills->of[number].came_at = world->now;
}

static void devices_make(struct world *world)
{
    struct wills *wills = world->scenario;
    for (uint32_t i = 0; i < DEVICES; i++) {
        char id[32];
        snprintf(id, sizeof(id), "mortal-%u", i);
        struct device *device = device_create(world, id, world_chance(world, 70) ? MQTT_V5 : MQTT_V311);
        device->wanted = true;
        device->keepalive_s = KEEPALIVE_S;
        device->expiry_s = world_chance(world, 30) ? 1 : 3600;
        device->has_will = true;
        device->will_qos = (uint8_t)world_below(world, 3);
        device->will_delay_s = device->version == MQTT_V5 && world_chance(world, 60) ? 1 + world_below(world, 5) : 0;
        device->will_length = 4;
        snprintf(device->will_topic, sizeof(device->will_topic), "will/%u", i);
        wills->of[i].ending = world_below(world, ENDINGS);
        if (device->version != MQTT_V5 && wills->of[i].ending == END_DISCONNECT_WITH_WILL) {
            wills->of[i].ending = END_SHUT;
        }
    }
    struct device *watcher = device_create(world, "watcher", MQTT_V5);
    watcher->wanted = true;
    watcher->received_publish = will_arrived;
    device_subscribe(watcher, "will/#", 2, 0, 0);
}

/* After how many seconds the will of a connection that has ended is due: its delay, or the session's end. */
static uint32_t due_after(const struct device *device)
{
    const uint32_t expiry = device->version == MQTT_V5 ? device->expiry_s : UINT32_MAX;
    return device->will_delay_s < expiry ? device->will_delay_s : expiry;
}

static void expect(struct world *world, struct expectation *expectation, uint32_t seconds)
{
    /* A lost FIN or RST is found by the keepalive, and so is a client that has vanished. */
    const uint64_t noticed = KEEPALIVE_S * UINT64_C(1500000), slack = 8000000;
    expectation->wanted = 1;
    expectation->not_before = world->now + seconds * UINT64_C(1000000);
    expectation->not_after = expectation->not_before + noticed + slack;
}

static void end(struct world *world, struct device *device, struct expectation *expectation)
{
    switch (expectation->ending) {
    case END_DISCONNECT:
        device_disconnect(device, 0);
        break;
    case END_DISCONNECT_WITH_WILL:
        device_disconnect(device, MQTT_REASON_DISCONNECT_WITH_WILL);
        expect(world, expectation, due_after(device));
        break;
    case END_SHUT:
        device_shut(device);
        expect(world, expectation, due_after(device));
        break;
    case END_ABORT:
        device_abort(device);
        expect(world, expectation, due_after(device));
        break;
    case END_VANISH:
        device_vanish(device);
        expect(world, expectation, due_after(device));
        break;
    case END_TAKE_OVER:
        if (device->will_delay_s == 0) {
            expect(world, expectation, 0);
        }
        break;
    case END_TAKE_OVER_CLEAN:
        device->clean_start = true;
        expect(world, expectation, 0);
        break;
    default:
        device_shut(device);
        if (device->will_delay_s == 0) {
            expect(world, expectation, 0);
        }
        break;
    }
    device->wanted = false;
    device->has_will = false; /* of the connections that follow */
}

static bool comes_back(const struct expectation *expectation)
{
    return expectation->ending == END_TAKE_OVER || expectation->ending == END_TAKE_OVER_CLEAN ||
           expectation->ending == END_BACK_IN_TIME;
}

static bool connections_have_ended(struct world *world)
{
    const struct wills *wills = world->scenario;
    for (uint32_t i = 0; i < DEVICES; i++) {
        const struct device *device = world->devices[i];
        if (comes_back(&wills->of[i]) && device_open_connections(device) > 1) {
            return false;
        }
    }
    return true;
}

static bool is_over(struct world *world)
{
    const struct wills *wills = world->scenario;
    return world->now > wills->began + 40 * UINT64_C(1000000) && connections_have_ended(world);
}

/* On a bad link a client may need longer to be back than its will is delayed. */
static bool came_back_late(const struct world *world, uint32_t i)
{
    const struct wills *wills = world->scenario;
    const struct device *device = world->devices[i];
    return wills->of[i].ending == END_BACK_IN_TIME &&
           device->connected_at > wills->began + due_after(device) * UINT64_C(1000000) - 200000;
}

static void check(struct world *world)
{
    const struct wills *wills = world->scenario;
    for (uint32_t i = 0; i < DEVICES; i++) {
        const struct expectation *e = &wills->of[i];
        if (came_back_late(world, i)) {
            continue;
        }
        if (e->came != e->wanted || (e->came == 1 && (e->came_at < e->not_before || e->came_at > e->not_after))) {
            world_fail(world,
                       "%s (ending %u, version %u, delay %u s, expiry %u s): %u wills instead of %u, %.3f s after",
                       world->devices[i]->id, e->ending, world->devices[i]->version, world->devices[i]->will_delay_s,
                       world->devices[i]->expiry_s, e->came, e->wanted, (double)(e->came_at - wills->began) / 1e6);
        }
    }
}

void scenario_will(struct world *world)
{
    struct wills wills = {0};
    world->scenario = &wills;
    world->poll = scenario_poll;
    /* Times are checked: what is repeated for long would be late. */
    world->link.loss_ppm = world->link.loss_ppm < 50000 ? world->link.loss_ppm : 50000;
    world_begin(world);
    devices_make(world);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 120 * UINT64_C(1000000), "all are connected and subscribed")) {
        return;
    }
    wills.began = world->now;
    for (uint32_t i = 0; i < DEVICES; i++) {
        end(world, world->devices[i], &wills.of[i]);
        if (comes_back(&wills.of[i])) {
            device_open(world->devices[i], UINT32_MAX);
        }
    }
    world->poll_at = world->now;
    world_run(world, is_over, 200 * UINT64_C(1000000));
    check(world);
    if (!world->failed) {
        scenario_leave(world);
    }
}

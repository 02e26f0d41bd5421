/*
 * Malformed packets, every one of the codec's table: each closes its own connection, with the reason code that the
 * specification names for MQTT 5.0 clients, while two other clients go on as if nothing were.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/router/ledger.h"
#include "tests/sim/router/scenario.h"
#include "tests/unit/mqtt/notation.h"

#define CLIENT MQTT_FROM_CLIENT
#define SERVER MQTT_FROM_SERVER

static const struct {
    enum mqtt_version version;
    enum mqtt_sender sender;
    const char *notation;
    enum mqtt_error error;
} cases[] = {
#define MALFORMED(version, sender, notation, error) {MQTT_##version, sender, notation, MQTT_ERROR_##error},
#include "tests/unit/mqtt/malformed.def"
};

enum { CASES = sizeof(cases) / sizeof(cases[0]), AT_ONCE = 8, PER_SEED = 60 };

struct malformed {
    struct ledger ledger;
    uint32_t tested;
    uint32_t next; /* case */
    uint32_t case_of[AT_ONCE];
    bool sent[AT_ONCE];
    uint64_t sent_at[AT_ONCE];
    uint8_t packet[NOTATION_MAX];
};

static bool is_usable(uint32_t number)
{
    /* What begins with CONNECT is a first packet; what only a server sends is refused for its direction. */
    return cases[number].sender == MQTT_FROM_CLIENT && strncmp(cases[number].notation, "10", 2) != 0 &&
           strncmp(cases[number].notation, "11", 2) != 0;
}

static void attacker_begin(struct world *world, uint32_t slot)
{
    struct malformed *malformed = world->scenario;
    struct device *device = world->devices[slot];
    do {
        malformed->next = (malformed->next + 1) % CASES;
    } while (!is_usable(malformed->next));
    malformed->case_of[slot] = malformed->next;
    malformed->sent[slot] = false;
    malformed->tested++;
    device->version = cases[malformed->next].version == MQTT_V31 ? MQTT_V311 : cases[malformed->next].version;
    device->clean_start = true;
    device->expiry_s = 0;
    device_open(device, UINT32_MAX);
}

static void attacker_gone(struct device *device, struct connection *connection)
{
    struct malformed *malformed = device->world->scenario;
    const uint32_t number = malformed->case_of[device->index];
    if (!malformed->sent[device->index]) {
        world_fail(device->world, "closed before %s was sent", cases[number].notation);
    } else if (device->version == MQTT_V5 && connection->reason != mqtt_error_reason(cases[number].error)) {
        world_fail(device->world, "%s: reason %02x instead of %02x", cases[number].notation, connection->reason,
                   mqtt_error_reason(cases[number].error));
    }
}

static void attacker_poll(struct world *world, uint32_t slot)
{
    struct malformed *malformed = world->scenario;
    struct device *device = world->devices[slot];
    if (device_open_connections(device) == 0 && malformed->tested < PER_SEED) {
        attacker_begin(world, slot);
    } else if (device_is_connected(device) && !malformed->sent[slot]) {
        const size_t length = notation_parse(cases[malformed->case_of[slot]].notation, malformed->packet);
        malformed->sent[slot] = true;
        malformed->sent_at[slot] = world->now;
        connection_send(device->current, malformed->packet, (uint32_t)length);
    } else if (malformed->sent[slot] && device_is_connected(device) &&
               world->now > malformed->sent_at[slot] + 20 * UINT64_C(1000000)) {
        world_fail(world, "%s did not close the connection", cases[malformed->case_of[slot]].notation);
    }
}

static void malformed_poll(struct world *world)
{
    struct malformed *malformed = world->scenario;
    struct device *publisher = world->devices[AT_ONCE];
    for (uint32_t slot = 0; slot < AT_ONCE; slot++) {
        attacker_poll(world, slot);
    }
    if (device_is_settled(publisher) && malformed->tested < PER_SEED) {
        const uint32_t length = sizeof(struct ledger_mark) + world_below(world, 500), qos = world_below(world, 3);
        uint8_t *payload = device_publish(publisher, "m/x", (uint8_t)qos, false, length);
        ledger_publish(&malformed->ledger, AT_ONCE, 0, qos, payload, length);
    }
    scenario_poll(world);
    world->poll_at = world->now + 2000 < world->poll_at ? world->now + 2000 : world->poll_at;
}

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    struct malformed *malformed = device->world->scenario;
    ledger_receive(device->world, &malformed->ledger, device->index, publish->payload.data, publish->payload.length,
                   true, true);
}

static void bystander_gone(struct device *device, struct connection *connection)
{
    world_fail(device->world, "%s lost its connection, reason %02x", device->id, connection->reason);
}

static void devices_make(struct world *world)
{
    for (uint32_t i = 0; i < AT_ONCE + 2; i++) {
        char id[32];
        snprintf(id, sizeof(id), i < AT_ONCE ? "attacker-%u" : "bystander-%u", i);
        struct device *device = device_create(world, id, MQTT_V5);
        device->wanted = i >= AT_ONCE;
        device->gone = i >= AT_ONCE ? bystander_gone : attacker_gone;
        device->received_publish = publish_arrived;
    }
    device_subscribe(world->devices[AT_ONCE + 1], "m/#", 2, 0, 0);
}

static bool is_done(struct world *world)
{
    const struct malformed *malformed = world->scenario;
    for (uint32_t i = 0; i < AT_ONCE; i++) {
        if (device_open_connections(world->devices[i]) > 0) {
            return false;
        }
    }
    return malformed->tested >= PER_SEED && ledger_is_complete(&malformed->ledger, AT_ONCE + 1, 0);
}

static void run(struct world *world)
{
    struct malformed *malformed = world->scenario;
    world->poll = scenario_poll;
    world_begin(world);
    devices_make(world);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 120 * UINT64_C(1000000), "the bystanders are there")) {
        return;
    }
    for (uint32_t qos = 0; qos < 3; qos++) {
        ledger_promise(&malformed->ledger, AT_ONCE + 1, AT_ONCE, 0, qos);
    }
    world->poll = malformed_poll;
    world->poll_at = world->now;
    if (scenario_await(world, is_done, 900 * UINT64_C(1000000), "every malformed packet has closed its connection")) {
        world->poll = scenario_poll;
        scenario_leave(world);
    }
}

void scenario_malformed(struct world *world)
{
    struct malformed *malformed = calloc(1, sizeof(*malformed));
    malformed->next = world_below(world, CASES);
    /* An RST may overtake or replace the DISCONNECT on a bad link. */
    world->link.loss_ppm = 0;
    world->scenario = malformed;
    run(world);
    ledger_free(&malformed->ledger);
    free(malformed);
}

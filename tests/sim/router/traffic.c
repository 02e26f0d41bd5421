/*
 * Traffic: devices with sessions that last publish to each other at every QoS while connections end in all ways, come
 * back on other workers and race each other. At the end everything promised has arrived, in order, as often as its QoS
 * says. The scenarios traffic, takeover and shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "tests/sim/router/ledger.h"
#include "tests/sim/router/scenario.h"
#include "tests/sim/router/threads.h"

enum { GROUP = LEDGER_DEVICES - 1 }; /* the ledger's receiver for all members of the shared subscription */

struct traffic {
    struct ledger ledger;
    bool shared;       /* all subscriptions are of one shared group */
    bool chaos;        /* now */
    bool promised;     /* promise_all was called */
    uint32_t big;      /* percent of messages that are large */
    uint32_t left;     /* messages to be published */
    uint32_t chaos_us; /* mean time between two troubles of a device */
    uint32_t races;    /* percent of troubles that are races */
    uint32_t connections_in_race;
    uint64_t trouble_at[LEDGER_DEVICES];
    uint64_t publish_at[LEDGER_DEVICES];
    bool calm[LEDGER_DEVICES]; /* nothing happens to it */
};

static void topic_name(char name[32], uint32_t topic)
{
    snprintf(name, 32, "t/%u/v", topic);
}

/* ---- What is promised ------------------------------------------------------------------------------------------- */

static const char *without_share(const char *filter)
{
    return strncmp(filter, "$share/", 7) == 0 ? strchr(filter + 7, '/') + 1 : filter;
}

/* The QoS at which the device gets messages of this topic and QoS; 3: not at all. */
static uint32_t effective_qos(const struct device *device, const char *topic, uint32_t qos)
{
    uint32_t highest = 3;
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        const struct subscription *subscription = &device->subscriptions[i];
        if (filter_matches(without_share(subscription->filter), topic) &&
            (highest == 3 || subscription->qos > highest)) {
            highest = subscription->qos;
        }
    }
    return highest == 3 ? 3 : (qos < highest ? qos : highest);
}

/* Now and ever. One that was taken over may not know it yet. */
static bool has_one_connection(const struct device *device)
{
    return device->losses == 0 && device_open_connections(device) == 1;
}

static void promise(struct world *world, uint32_t receiver, uint32_t as, uint32_t publisher, uint32_t topic)
{
    char name[32];
    struct traffic *traffic = world->scenario;
    topic_name(name, topic);
    for (uint32_t qos = 0; qos < 3; qos++) {
        const uint32_t effective = effective_qos(world->devices[receiver], name, qos);
        const bool calm = !traffic->shared && has_one_connection(world->devices[receiver]) &&
                          has_one_connection(world->devices[publisher]);
        if (effective < 3 && (effective > 0 || calm)) {
            struct ledger_seen **seen = &traffic->ledger.seen[as][publisher][ledger_stream(topic, qos)];
            *seen = *seen == NULL ? calloc(1, sizeof(**seen)) : *seen;
            (*seen)->from = 1;
        }
    }
}

/* Called at the end, when it is known which devices never lost a connection: QoS 0 is promised to those. */
static void promise_all(struct world *world)
{
    struct traffic *traffic = world->scenario;
    ledger_promise_nothing(&traffic->ledger);
    for (uint32_t receiver = 0; receiver < world->device_count; receiver++) {
        for (uint32_t publisher = 0; publisher < world->device_count; publisher++) {
            for (uint32_t topic = 0; topic < LEDGER_TOPICS; topic++) {
                promise(world, receiver, traffic->shared ? GROUP : receiver, publisher, topic);
            }
        }
    }
    traffic->promised = true;
}

/* The identifiers of all matching subscriptions, no more and no fewer [MQTT-3.3.4-4]. */
static void identifiers_check(const struct device *device, const struct mqtt_publish *publish, const char *topic)
{
    uint32_t wanted = 0, found = 0;
    struct mqtt_property_value value;
    struct mqtt_span rest = publish->properties.subscription_identifiers;
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        if (device->subscriptions[i].identifier != 0 && filter_matches(device->subscriptions[i].filter, topic)) {
            wanted |= 1u << device->subscriptions[i].identifier;
        }
    }
    if (mqtt_property_is_present(&publish->properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER)) {
        while (mqtt_property_next(&rest, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, &value)) {
            found |= 1u << value.number;
        }
    }
    if (wanted != found) {
        world_fail(device->world, "%s: identifiers %x instead of %x on %s", device->id, found, wanted, topic);
    }
}

static void publish_arrived(struct device *device, const struct mqtt_publish *publish)
{
    char name[32];
    struct world *world = device->world;
    struct traffic *traffic = world->scenario;
    struct ledger_mark mark = {0};
    if (publish->payload.length >= sizeof(mark)) {
        memcpy(&mark, publish->payload.data, sizeof(mark));
    }
    topic_name(name, mark.topic);
    const uint32_t effective = effective_qos(device, name, mark.qos);
    if (publish->qos != effective || publish->retain || publish->topic.length != strlen(name) ||
        memcmp(publish->topic.data, name, publish->topic.length) != 0) {
        world_fail(world, "%s: message of device %u on topic %u at QoS %u came at QoS %u, retain %u, on %.*s",
                   device->id, mark.publisher, mark.topic, mark.qos, publish->qos, publish->retain,
                   (int)publish->topic.length, (const char *)publish->topic.data);
        return;
    }
    /* What a publisher repeats at QoS 1 is new to a subscriber at QoS 0 that lost the first copy, and comes late. */
    const bool ordered = !traffic->shared && (effective > 0 || mark.qos != 1);
    ledger_receive(world, &traffic->ledger, traffic->shared ? GROUP : device->index, publish->payload.data,
                   publish->payload.length, effective != 1 && mark.qos != 1, ordered);
    if (!traffic->shared && device->version == MQTT_V5) {
        identifiers_check(device, publish, name);
    }
}

/* ---- What happens ------------------------------------------------------------------------------------------------ */

static uint32_t payload_length(struct world *world)
{
    const struct traffic *traffic = world->scenario;
    const uint32_t mark = sizeof(struct ledger_mark);
    if (world_chance(world, traffic->big)) {
        return mark + world_below(world, world_chance(world, 20) ? 200000 : 20000);
    }
    return mark + world_below(world, world_chance(world, 20) ? 3000 : 64);
}

static void publish_some(struct world *world, struct device *device)
{
    char name[32];
    struct traffic *traffic = world->scenario;
    uint32_t burst = 1 + world_below(world, world_chance(world, 10) ? 30 : 4);
    for (; burst > 0 && traffic->left > 0; burst--, traffic->left--) {
        const uint32_t topic = world_below(world, LEDGER_TOPICS), qos = world_below(world, 3);
        const uint32_t length = payload_length(world);
        topic_name(name, topic);
        uint8_t *payload = device_publish(device, name, (uint8_t)qos, false, length);
        ledger_publish(&traffic->ledger, device->index, topic, qos, payload, length);
    }
    traffic->publish_at[device->index] = world->now + world_below(world, 100000);
}

static void race(struct world *world, struct device *device)
{
    const struct traffic *traffic = world->scenario;
    uint32_t count = 1 + world_below(world, traffic->connections_in_race);
    while (count-- > 0 && device_open_connections(device) < DEVICE_CONNECTIONS - 2) {
        device_open(device, UINT32_MAX);
    }
}

static void trouble(struct world *world, struct device *device)
{
    const struct traffic *traffic = world->scenario;
    if (world_chance(world, traffic->races)) {
        race(world, device);
        return;
    }
    switch (world_below(world, 5)) {
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
        break;
    }
    device->retry_at = world->now + (world_chance(world, 50) ? 0 : world_below(world, 500000));
}

static void traffic_poll(struct world *world)
{
    struct traffic *traffic = world->scenario;
    for (uint32_t i = 0; i < world->device_count && traffic->chaos; i++) {
        struct device *device = world->devices[i];
        if (traffic->publish_at[i] <= world->now && traffic->left > 0) {
            publish_some(world, device);
        }
        if (!traffic->calm[i] && traffic->trouble_at[i] <= world->now) {
            trouble(world, device);
            traffic->trouble_at[i] = world->now + world_below(world, 2 * traffic->chaos_us);
        }
        world->poll_at = traffic->publish_at[i] > world->now && traffic->publish_at[i] < world->poll_at
                             ? traffic->publish_at[i]
                             : world->poll_at;
        world->poll_at = traffic->trouble_at[i] > world->now && traffic->trouble_at[i] < world->poll_at
                             ? traffic->trouble_at[i]
                             : world->poll_at;
    }
    scenario_poll(world);
}

/* What the router closes in good order was taken over, or silent for too long on a bad link. */
static void connection_gone(struct device *device, struct connection *connection)
{
    struct world *world = device->world;
    const struct traffic *traffic = world->scenario;
    if (traffic->promised) {
        promise_all(world); /* a connection that the router gave up long ago, and the client learns of it now */
    }
    if (connection->tcp == NULL || connection->ignored || device->version != MQTT_V5 || connection->connack != 0) {
        return;
    }
    if (connection->rank > 0 && connection->reason != 0 && connection->reason != MQTT_REASON_SESSION_TAKEN_OVER &&
        connection->reason != MQTT_REASON_KEEP_ALIVE_TIMEOUT) {
        world_fail(world, "%s: closed with reason %02x", device->id, connection->reason);
    }
}

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

static void subscribe_some(struct world *world, struct device *device)
{
    static const char *const filters[] = {"t/0/v", "t/1/v", "t/2/v", "t/+/v", "t/#", "+/3/+", "#", "t/4/#"};
    const uint32_t first = world_below(world, 8), count = 1 + world_below(world, 3);
    for (uint32_t i = 0; i < count; i++) {
        device_subscribe(device, filters[(first + i) % 8], (uint8_t)world_below(world, 3), 0,
                         world_chance(world, 60) ? i + 1 : 0);
    }
}

static void devices_make(struct world *world, uint32_t count)
{
    struct traffic *traffic = world->scenario;
    for (uint32_t i = 0; i < count; i++) {
        char id[32];
        snprintf(id, sizeof(id), "device-%u", i);
        struct device *device = device_create(world, id, world_chance(world, 60) ? MQTT_V5 : MQTT_V311);
        device->wanted = true;
        device->watchful = true; /* a reset of the router's may be lost */
        device->keepalive_s = 60;
        device->received_publish = publish_arrived;
        device->gone = connection_gone;
        device->receive_maximum = world_chance(world, 50) ? 0 : (uint16_t)(1 + world_below(world, 30));
        device->read_limit = world_chance(world, 85) ? 0 : 200 + world_below(world, 5000);
        traffic->calm[i] = world_chance(world, 30);
        if (!traffic->shared) {
            subscribe_some(world, device);
        } else if (i < 2 || world_chance(world, 40)) {
            device_subscribe(device, "$share/group/t/#", (uint8_t)(1 + world_below(world, 2)), 0, 0);
        }
    }
}

static void config_draw(struct world *world)
{
    struct shm_config *config = &world->config;
    config->tcp.send_buffer = 4096u << world_below(world, 6);
    config->tcp.receive_buffer = 4096u << world_below(world, 6);
    config->mqtt.max_inflight = 1 + world_below(world, 20);
    config->mqtt.receive_maximum = 1 + world_below(world, 20);
    world->mailbox_slots = 8u << world_below(world, 11);
}

/* ---- The run ---------------------------------------------------------------------------------------------------- */

static bool all_published(struct world *world)
{
    const struct traffic *traffic = world->scenario;
    return traffic->left == 0;
}

static bool all_arrived(struct world *world)
{
    const struct traffic *traffic = world->scenario;
    for (uint32_t i = 0; i < world->device_count && scenario_all_settled(world); i++) {
        if (!ledger_is_complete(&traffic->ledger, i, 0)) {
            return false;
        }
    }
    return scenario_all_settled(world) && (!traffic->shared || ledger_is_complete(&traffic->ledger, GROUP, 0));
}

static bool session_is_at_rest(const struct session *session)
{
    return session->queue.count == 0 && session->inflight.count == 0 && session->outstanding == 0 &&
           packet_ids_count(session->received) == 0 && session->client != NULL;
}

static const struct session *session_at_work(const struct worker *worker)
{
    const struct session *session;
    uint32_t cursor = 0;
    while ((session = session_next(worker->sessions, &cursor)) != NULL && session_is_at_rest(session)) {
    }
    return session;
}

static void sessions_check(struct world *world)
{
    uint32_t sessions = 0;
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        const struct worker *worker = world->dataplane.workers[i];
        const struct session *session = session_at_work(worker);
        sessions += session_count(worker->sessions);
        if (session != NULL) {
            world_fail(world, "%.*s: %u queued, %u in flight, %u outstanding, %u received, %s", //
                       session->client_id_length, session->client_id, session->queue.count, session->inflight.count,
                       session->outstanding, packet_ids_count(session->received),
                       session->client == NULL ? "offline" : "online");
        }
    }
    if (sessions != world->device_count) {
        world_fail(world, "%u sessions for %u devices", sessions, world->device_count);
    }
}

static void flow_compare(void *arg, struct tcp_connection *tcp)
{
    uint32_t *port = arg;
    *port = tcp_flow(tcp)->remote_port == *port ? 0 : *port;
}

static bool router_has(struct world *world, uint32_t port)
{
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        uint32_t cursor = 0;
        while (tcp_connections_visit(world->dataplane.workers[i]->net, &cursor, 1000, flow_compare, &port)) {
        }
    }
    return port == 0;
}

/* Connections that both ends have. One whose reset was lost on the way lives on at the client only. */
static uint32_t connections_alive(struct world *world, const struct device *device)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS; i++) {
        const struct connection *connection = &device->connections[i];
        count += connection->device != NULL && connection->state != CONNECTION_GONE &&
                 (world->link.loss_ppm == 0 || router_has(world, connection->port));
    }
    return count;
}

/* On a bad link both take their time: a close that is repeated until the client has it, and what QoS 0 has queued. */
static bool all_at_rest(struct world *world)
{
    bool rest = true;
    for (uint32_t i = 0; i < world->device_count && rest; i++) {
        rest = connections_alive(world, world->devices[i]) == 1;
    }
    for (uint32_t i = 0; i < world->dataplane.worker_count && rest; i++) {
        rest = session_at_work(world->dataplane.workers[i]) == NULL;
    }
    return rest;
}

static void devices_check(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        const struct device *device = world->devices[i];
        if (device->lost_sessions != 0) {
            world_fail(world, "%s: %u times the router had forgotten its session", device->id, device->lost_sessions);
        }
        if (connections_alive(world, device) != 1) {
            world_fail(world, "%s: %u connections at the end", device->id, connections_alive(world, device));
        }
    }
}

/* On a bad link the CONNECT of a connection from long ago may still be on its way. */
static bool no_stragglers(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        for (uint32_t c = 0; c < DEVICE_CONNECTIONS; c++) {
            const struct connection *connection = &world->devices[i]->connections[c];
            if (connection->device != NULL && connection->state < CONNECTION_READY) {
                return false;
            }
        }
    }
    return scenario_all_settled(world);
}

static void run(struct world *world, struct traffic *traffic, uint32_t devices)
{
    world->scenario = traffic;
    world->poll = traffic_poll;
    world_begin(world);
    devices_make(world, devices);
    world->poll_at = world->now;
    if (!scenario_await(world, scenario_all_settled, 120 * UINT64_C(1000000), "all are connected and subscribed")) {
        return;
    }
    traffic->chaos = true;
    world->poll_at = world->now;
    threads_begin(world);
    const bool published = world_run(world, all_published, 3000 * UINT64_C(1000000));
    threads_end(world);
    if (!published) {
        scenario_await(world, all_published, 0, "everything is published");
    }
    traffic->chaos = false;
    for (uint32_t i = 0; i < world->device_count; i++) {
        world->devices[i]->read_limit *= 20;
    }
    scenario_await(world, scenario_all_settled, 600 * UINT64_C(1000000), "everything is acknowledged");
    promise_all(world);
    if (!world->failed && !world_run(world, all_arrived, 600 * UINT64_C(1000000)) && !world->failed) {
        for (uint32_t i = 0; i < LEDGER_DEVICES; i++) {
            ledger_explain(world, &traffic->ledger, i, 0);
        }
        scenario_await(world, all_arrived, 0, "everything has arrived");
    }
    world_run(world, no_stragglers, 120 * UINT64_C(1000000));
    world_run_for(world, 10 * 1000000);
    world_run(world, all_at_rest, 600 * UINT64_C(1000000));
    if (!world->failed) {
        devices_check(world);
        sessions_check(world);
        scenario_leave(world);
    }
    if (world->verbose) {
        printf("  %u devices, %u messages received, %lu taken over, %lu moved, %lu stalls at mailboxes\n",
               world->device_count, traffic->ledger.received, (unsigned long)world_counter(world, sessions_taken_over),
               (unsigned long)world_counter(world, connections_moved),
               (unsigned long)world_counter(world, stalls_mailbox));
    }
}

static void run_and_free(struct world *world, struct traffic *traffic, uint32_t devices)
{
    run(world, traffic, devices);
    ledger_free(&traffic->ledger);
    free(traffic);
}

void scenario_traffic(struct world *world)
{
    struct traffic *traffic = calloc(1, sizeof(*traffic));
    config_draw(world);
    traffic->left = 50 + world_below(world, 400);
    traffic->big = world_chance(world, 50) ? 0 : world_below(world, 10);
    traffic->chaos_us = 20000 + world_below(world, 1000000);
    traffic->races = world_below(world, 60);
    traffic->connections_in_race = 4;
    run_and_free(world, traffic, 2 + world_below(world, 8));
}

void scenario_takeover(struct world *world)
{
    struct traffic *traffic = calloc(1, sizeof(*traffic));
    config_draw(world);
    traffic->left = 300 + world_below(world, 300);
    traffic->chaos_us = 3000 + world_below(world, 60000);
    traffic->races = 90;
    traffic->connections_in_race = 8;
    run_and_free(world, traffic, 2 + world_below(world, 2));
}

void scenario_shared(struct world *world)
{
    struct traffic *traffic = calloc(1, sizeof(*traffic));
    config_draw(world);
    traffic->shared = true;
    traffic->left = 50 + world_below(world, 300);
    traffic->chaos_us = 50000 + world_below(world, 1000000);
    traffic->races = world_below(world, 40);
    traffic->connections_in_race = 3;
    run_and_free(world, traffic, 3 + world_below(world, 6));
}

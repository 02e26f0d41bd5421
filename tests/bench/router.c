/*
 * What storms do to everybody else: the whole router in virtual time (tests/sim/router), in which an iteration of a
 * worker takes the time that this CPU needs for it. Two clients play ping-pong with messages through the router
 * meanwhile; their round trips and the longest iteration tell.
 *
 *   bench-router storm WORKERS FILTERS RATE    as many filters are subscribed, RATE a second, by 100 clients, while
 *                                              50,000 messages a second flow; then their sessions end
 *   bench-router retained WORKERS MESSAGES     a subscriber to "#" gets as many retained messages
 *
 * Exit status 1 if something was lost, or with `--hold` if an iteration took a millisecond or a round trip in a
 * hundred.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/worker.h"
#include "tests/sim/router/scenario.h"

enum {
    PINGER,
    PONGER,
    TALKER,
    LISTENER,
    STORM_FIRST,
    STORM_CLIENTS = 100,
    TURN_US = 100, /* between two turns of the clients */
    FILTERS_PER_PACKET = 25,
    MESSAGES_PER_TURN = 5, /* of the talker: 50,000 a second */
    LOAD_PER_TURN = 200,   /* retained messages while they are loaded */
    PING_US = 1000,
};

struct bench {
    struct histogram iterations, round_trips;
    uint64_t pinged_at, ping_turn, storm_begin;
    uint32_t asked, filters, rate;   /* storm */
    uint32_t loaded, messages, came; /* retained */
    uint32_t talked, listened;
    bool talks;
    bool settled; /* everybody is connected and subscribed */
};

/* ---- Ping-pong --------------------------------------------------------------------------------------------------- */

static void ponged(struct device *device, const struct mqtt_publish *publish)
{
    struct bench *bench = device->world->scenario;
    (void)publish;
    histogram_record(&bench->round_trips, device->world->now - bench->pinged_at);
    bench->pinged_at = 0;
}

static void heard(struct device *device, const struct mqtt_publish *publish)
{
    struct bench *bench = device->world->scenario;
    bench->listened += publish->topic.length > 4 && memcmp(publish->topic.data, "talk", 4) == 0;
}

static void ping(struct world *world)
{
    struct bench *bench = world->scenario;
    if (bench->settled && bench->pinged_at == 0 && world->now >= bench->ping_turn) {
        bench->pinged_at = world->now;
        bench->ping_turn = world->now + PING_US;
        device_publish(world->devices[PINGER], "ping/pong", 0, false, 64);
    }
}

static void talk(struct world *world)
{
    struct bench *bench = world->scenario;
    for (uint32_t i = 0; bench->talks && bench->settled && i < MESSAGES_PER_TURN; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "talk/%u", bench->talked++ % 1000);
        device_publish(world->devices[TALKER], topic, 0, false, 64);
    }
}

/* ---- The subscribe storm ----------------------------------------------------------------------------------------- */

static void storm(struct world *world)
{
    struct bench *bench = world->scenario;
    const uint64_t due = (world->now - bench->storm_begin) * bench->rate / 1000000;
    while (bench->asked < bench->filters && bench->asked < due) {
        struct device *device = world->devices[STORM_FIRST + bench->asked / FILTERS_PER_PACKET % STORM_CLIENTS];
        const char *format = bench->asked / FILTERS_PER_PACKET % 10 == 0 ? "storm/+/%u/#" : "storm/device/%u/state";
        device_change_filters(device, true, format, bench->asked, FILTERS_PER_PACKET);
        bench->asked += FILTERS_PER_PACKET;
    }
}

static uint32_t answered(const struct world *world)
{
    uint32_t sum = 0;
    for (uint32_t i = STORM_FIRST; i < world->device_count; i++) {
        sum += world->devices[i]->raw_filters;
    }
    return sum;
}

static bool storm_is_over(struct world *world)
{
    const struct bench *bench = world->scenario;
    return answered(world) >= bench->filters;
}

static uint64_t subscriptions(const struct world *world)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        struct topic_subscribers_stats stats;
        topic_subscribers_stats(world->dataplane.workers[i]->subscribers, &stats);
        sum += stats.subscriptions;
    }
    return sum;
}

static bool subscriptions_are_gone(struct world *world)
{
    return subscriptions(world) <= 2;
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static void turn(struct world *world)
{
    struct bench *bench = world->scenario;
    ping(world);
    talk(world);
    if (bench->storm_begin != 0) {
        storm(world);
    }
    for (uint32_t i = 0; bench->settled && bench->loaded < bench->messages && i < LOAD_PER_TURN; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "kept/%u/%u", bench->loaded % 100, bench->loaded);
        device_publish(world->devices[TALKER], topic, 0, true, 64);
        bench->loaded++;
    }
    scenario_poll(world);
    world->poll_at = world->now + TURN_US;
}

static struct device *device_new(struct world *world, const char *id)
{
    struct device *device = device_create(world, id, MQTT_V5);
    device->wanted = device->clean_start = true;
    device->expiry_s = 0;
    return device;
}

static void report(const struct world *world, const char *what, uint64_t begin)
{
    const struct bench *bench = world->scenario;
    const double seconds = (double)(world->now - begin) * 1e-6;
    printf("%-28s %7.2f s  iterations p99 %6.1f us, p99.9 %6.1f us, longest %7.1f us; round trips p50 %5.0f us, p99 "
           "%5.0f us, "
           "longest %6.0f us (%lu)\n",
           what, seconds, (double)histogram_percentile(&bench->iterations, 9900) * 1e-3,
           (double)histogram_percentile(&bench->iterations, 9990) * 1e-3, (double)bench->iterations.maximum * 1e-3,
           (double)histogram_percentile(&bench->round_trips, 5000),
           (double)histogram_percentile(&bench->round_trips, 9900), (double)bench->round_trips.maximum,
           (unsigned long)bench->round_trips.count);
    fflush(stdout);
}

static uint64_t begin(struct world *world)
{
    struct bench *bench = world->scenario;
    memset(&bench->iterations, 0, sizeof(bench->iterations));
    memset(&bench->round_trips, 0, sizeof(bench->round_trips));
    return world->now;
}

static bool is_within(const struct bench *bench)
{
    return bench->iterations.maximum < 1000000 && histogram_percentile(&bench->round_trips, 9900) < 1000;
}

static bool storm_run(struct world *world)
{
    struct bench *bench = world->scenario;
    char id[16];
    for (uint32_t i = 0; i < STORM_CLIENTS; i++) {
        snprintf(id, sizeof(id), "storm-%u", i);
        device_new(world, id);
    }
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 60000000, "everybody is there");
    bench->settled = true;
    uint64_t from = begin(world);
    world_run_for(world, 1000000);
    report(world, "before", from);
    from = bench->storm_begin = begin(world);
    scenario_await(world, storm_is_over, 600 * UINT64_C(1000000), "all filters are answered");
    report(world, "storm", from);
    printf("%u filters, %.0f a second; %u messages, %u arrived\n", answered(world),
           answered(world) / ((double)(world->now - from) * 1e-6), bench->talked, bench->listened);
    bool good = is_within(bench);
    from = begin(world);
    for (uint32_t i = STORM_FIRST; i < world->device_count; i++) {
        world->devices[i]->wanted = false;
        device_disconnect(world->devices[i], 0);
    }
    scenario_await(world, subscriptions_are_gone, 600 * UINT64_C(1000000), "all subscriptions are gone");
    report(world, "sessions end", from);
    bench->talks = false;
    world_run_for(world, 1000000);
    if (bench->listened != bench->talked) {
        world_fail(world, "%u of %u messages arrived", bench->listened, bench->talked);
    }
    return good && is_within(bench);
}

static bool is_loaded(struct world *world)
{
    const struct bench *bench = world->scenario;
    uint64_t count = 0;
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        struct topic_retained_stats stats;
        topic_retained_stats(world->dataplane.workers[i]->retained, &stats);
        count += stats.count;
    }
    return count == bench->messages;
}

static void kept_received(struct device *device, const struct mqtt_publish *publish)
{
    struct bench *bench = device->world->scenario;
    bench->came += publish->retain;
}

static bool all_came(struct world *world)
{
    const struct bench *bench = world->scenario;
    return bench->came >= bench->messages;
}

static bool retained_run(struct world *world)
{
    struct bench *bench = world->scenario;
    world->poll_at = world->now;
    scenario_await(world, scenario_all_settled, 60000000, "everybody is there");
    bench->settled = true;
    uint64_t from = begin(world);
    scenario_await(world, is_loaded, 600 * UINT64_C(1000000), "everything is stored");
    report(world, "messages are stored", from);
    struct device *late = device_new(world, "late");
    late->received_publish = kept_received;
    device_subscribe(late, "#", 1, 0, 0);
    from = begin(world);
    scenario_await(world, all_came, 600 * UINT64_C(1000000), "everything has come");
    report(world, "a subscriber gets them", from);
    printf("%u messages, %u came, %.0f a second\n", bench->messages, bench->came,
           bench->came / ((double)(world->now - from) * 1e-6));
    if (bench->came != bench->messages) {
        world_fail(world, "%u of %u messages came", bench->came, bench->messages);
    }
    return is_within(bench);
}

static void world_make(struct world *world, struct bench *bench, uint32_t workers)
{
    world_init(world, 1, workers, 0);
    world->link = (struct world_link){.delay_us = 2};
    world->freeze_ppm = 0;
    world->queues = 1;
    world->mailbox_slots = MAILBOX_SLOTS;
    world->config.dataplane.memory_per_worker = UINT64_C(1) << 30;
    world->config.dataplane.memory_present = SHM_PRESENT_AT_START;
    world->config.tcp.send_buffer = 1 << 20;
    world->config.mqtt.max_subscriptions = 10000000;
    world->config.mqtt.max_retained_messages = 10000000;
    world->config.mqtt.max_retained_bytes = UINT64_C(1) << 32;
    world->scenario = bench;
    world->poll = turn;
    world->iteration_times = &bench->iterations;
    world_begin(world);
    device_new(world, "pinger");
    struct device *ponger = device_new(world, "ponger");
    ponger->received_publish = ponged;
    device_subscribe(ponger, "ping/pong", 0, 0, 0);
    device_new(world, "talker");
    struct device *listener = device_new(world, "listener");
    listener->received_publish = heard;
    device_subscribe(listener, "talk/+", 0, 0, 0);
}

int main(int argc, char **argv)
{
    static struct world world;
    static struct bench bench;
    const bool holds = argc > 1 && strcmp(argv[1], "--hold") == 0;
    char **words = argv + 1 + holds;
    if (words[0] == NULL || words[1] == NULL || words[2] == NULL) {
        fprintf(stderr, "usage: bench-router [--hold] storm WORKERS FILTERS RATE | retained WORKERS MESSAGES\n");
        return 2;
    }
    const uint32_t workers = (uint32_t)atoi(words[1]);
    const bool is_storm = strcmp(words[0], "storm") == 0;
    world_environment(workers);
    if (is_storm) {
        bench.filters = (uint32_t)atoi(words[2]) / FILTERS_PER_PACKET * FILTERS_PER_PACKET;
        bench.rate = words[3] == NULL ? 100000 : (uint32_t)atoi(words[3]);
        bench.talks = true;
    } else {
        bench.messages = (uint32_t)atoi(words[2]);
    }
    world_make(&world, &bench, workers);
    const bool good = is_storm ? storm_run(&world) : retained_run(&world);
    return !world_end(&world) || (holds && !good);
}

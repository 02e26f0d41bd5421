/*
 * The retained storm: many retained messages, and clients that connect, subscribe to all of them by a wildcard, and go
 * when they have the last one, again and again. Each must get every message once.
 *
 * The keeper, a client of the first thread, stores the messages before the load and takes them back after it. Latency
 * is the time from connecting to the last message.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/load.h"
#include "perf/run.h"

#define SECOND 1000000000ull
#define WAIT (SECOND / 100)
#define UNACKNOWLEDGED 256u /* messages of the keeper */
#define TOPIC 1024u         /* bytes of one, at most */

struct visitor {
    struct client client;
    uint8_t *seen;  /* a bit for each message */
    uint32_t count; /* of them */
    uint64_t since; /* ns, when it began to connect */
};

struct keeper {
    struct client client;
    uint32_t sent, acknowledged; /* of the messages to store, or to take back */
    bool clearing;
};

struct storm {
    struct keeper *keeper; /* of the first thread, else NULL */
    struct visitor *visitors;
    uint32_t visitor_count;
    uint32_t next_number;
    char filter[TOPIC];
};

/* ---- The keeper ---- */

static void publish_one(struct worker *worker, struct keeper *keeper, uint32_t number)
{
    const uint32_t size = keeper->clearing ? 0 : worker->run->scenario->payload;
    const struct backend_ops *ops = worker->context.ops;
    char topic[TOPIC];
    uint8_t *payload = calloc(1, size + 1);
    if (payload == NULL)
        abort();
    load_topic(worker, number, NULL, topic, sizeof(topic));
    memcpy(payload, &number, size > 0 ? sizeof(number) : 0);
    const struct mqtt_publish publish = {.qos = 1,
                                         .retain = true,
                                         .packet_id = (uint16_t)(number % UINT16_MAX + 1),
                                         .topic = {(const uint8_t *)topic, (uint32_t)strlen(topic)},
                                         .payload = {payload, size}};
    uint8_t *place = ops->reserve(keeper->client.channel, mqtt_publish_size(worker->context.version, &publish));
    ops->commit(keeper->client.channel, mqtt_publish_encode(place, worker->context.version, &publish));
    free(payload);
}

static void keep_on(struct worker *worker, struct keeper *keeper)
{
    const uint32_t all = worker->run->scenario->retained;
    const uint32_t limit =
        keeper->client.receive_maximum < UNACKNOWLEDGED ? keeper->client.receive_maximum : UNACKNOWLEDGED;
    while (keeper->sent < all && keeper->sent - keeper->acknowledged < limit)
        publish_one(worker, keeper, keeper->sent++);
}

static void acknowledged(struct client *client)
{
    struct worker *worker = client->context->user;
    struct keeper *keeper = (struct keeper *)client;
    keeper->acknowledged++;
    keep_on(worker, keeper);
    if (keeper->acknowledged < worker->run->scenario->retained)
        return;
    if (keeper->clearing)
        atomic_store(&worker->cleared, true);
    else
        atomic_fetch_add_explicit(&worker->ready, 1, memory_order_relaxed);
}

/* Once, when the phase has come. */
static void take_back(struct worker *worker, const struct storm *storm)
{
    struct keeper *keeper = storm->keeper;
    if (keeper == NULL) {
        atomic_store(&worker->cleared, true);
        return;
    }
    if (keeper->clearing)
        return;
    keeper->clearing = true;
    keeper->sent = keeper->acknowledged = 0;
    keep_on(worker, keeper);
}

/* ---- The visitors ---- */

static void visit(struct worker *worker, struct visitor *visitor)
{
    struct storm *storm = worker->state;
    const uint32_t all = worker->run->scenario->retained;
    /* A client identifier of its own each time: a broker must not see a take-over. */
    visitor->client.number = worker->index + ++storm->next_number * worker->run->worker_count;
    visitor->since = run_clock();
    visitor->count = 0;
    memset(visitor->seen, 0, all / 8 + 1);
    if (!client_start(&visitor->client)) {
        run_fail(worker->run, "cannot open a connection: %s", strerror(errno));
        return;
    }
    worker_count_up(&worker->sent, 1);
    worker_count_up(&worker->expected, all);
}

static void message(struct client *client, const struct mqtt_publish *publish)
{
    struct worker *worker = client->context->user;
    struct visitor *visitor = (struct visitor *)client;
    const struct scenario *scenario = worker->run->scenario;
    uint32_t number = UINT32_MAX;
    if (publish->payload.length == scenario->payload)
        memcpy(&number, publish->payload.data, sizeof(number));
    if (client->filter == NULL || number >= scenario->retained) {
        run_fail(worker->run, "a message arrived that is not of this run");
        return;
    }
    const uint8_t bit = (uint8_t)(1u << (number % 8));
    worker_count_up(&worker->delivered, 1);
    if (visitor->seen[number / 8] & bit) {
        worker_count_up(&worker->repeated, 1);
        return;
    }
    visitor->seen[number / 8] |= bit;
    if (++visitor->count < scenario->retained)
        return;
    if (worker->phase == PHASE_MEASURE)
        histogram_record(&worker->latency, worker->now - visitor->since);
    client_drop(client); /* the next step sends it again */
}

static void ready(struct client *client)
{
    struct worker *worker = client->context->user;
    if (client->filter == NULL)
        keep_on(worker, (struct keeper *)client);
}

static void ended(struct client *client, const char *why)
{
    struct worker *worker = client->context->user;
    run_fail(worker->run, "%s: %s", client->filter == NULL ? "the client that stores the messages" : "a subscriber",
             why);
}

/* ---- The activity ---- */

static uint64_t storm_step(struct worker *worker)
{
    struct storm *storm = worker->state;
    if (worker->phase == PHASE_CLEAR)
        take_back(worker, storm);
    if (worker->phase != PHASE_WARM_UP && worker->phase != PHASE_MEASURE)
        return WAIT;
    for (uint32_t i = 0; i < storm->visitor_count; i++)
        if (storm->visitors[i].client.state == CLIENT_IDLE && !atomic_load(&worker->run->failed))
            visit(worker, &storm->visitors[i]);
    return WAIT;
}

static void make_visitors(struct worker *worker, struct storm *storm)
{
    const struct scenario *scenario = worker->run->scenario;
    const uint32_t workers = worker->run->worker_count;
    storm->visitor_count = scenario->subscribers / workers + (worker->index < scenario->subscribers % workers);
    storm->visitors = calloc(storm->visitor_count + 1, sizeof(*storm->visitors));
    for (uint32_t i = 0; storm->visitors != NULL && i < storm->visitor_count; i++) {
        struct visitor *visitor = &storm->visitors[i];
        visitor->client = (struct client){.context = &worker->context, .filter = storm->filter};
        visitor->seen = malloc(scenario->retained / 8 + 1);
        if (visitor->seen == NULL)
            abort();
    }
}

static void storm_prepare(struct worker *worker)
{
    struct storm *storm = calloc(1, sizeof(*storm));
    worker->clients = calloc(1, sizeof(*worker->clients));
    if (storm == NULL || worker->clients == NULL)
        abort();
    worker->state = storm;
    worker->context.ready = ready;
    worker->context.message = message;
    worker->context.acknowledged = acknowledged;
    worker->context.ended = ended;
    load_topic(worker, 0, "+", storm->filter, sizeof(storm->filter));
    make_visitors(worker, storm);
    if (storm->visitors == NULL || (worker->index == 0 && (storm->keeper = calloc(1, sizeof(*storm->keeper))) == NULL))
        abort();
    if (storm->keeper == NULL)
        return;
    storm->keeper->client = (struct client){.context = &worker->context};
    worker->clients[0] = &storm->keeper->client;
    worker->client_count = 1;
}

static void storm_finish(struct worker *worker)
{
    struct storm *storm = worker->state;
    for (uint32_t i = 0; i < storm->visitor_count; i++)
        free(storm->visitors[i].seen);
    free(storm->visitors);
    free(storm->keeper);
    free(storm);
    free(worker->clients);
}

const struct activity storm_activity = {
    .drains = true, .clears = true, .prepare = storm_prepare, .step = storm_step, .finish = storm_finish};

/* Connections without messages: opened and closed as fast as the broker takes them, or opened and left alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "perf/run.h"

#define SECOND 1000000000ull
#define WAIT (SECOND / 100)
#define LEAVE_PATIENCE SECOND /* for a broker that does not close after DISCONNECT */

struct visitor {
    struct client client;
    uint64_t since; /* ns: began to connect, or said DISCONNECT */
    bool accepted;  /* got a CONNACK; what ends before is a refusal */
    bool begun;     /* has been sent off under load */
};

struct churn {
    struct visitor *visitors;
    uint32_t count;
    uint32_t begun; /* of them */
    uint32_t next_number;
    uint64_t next_look;
};

static void message(struct client *client, const struct mqtt_publish *publish)
{
    struct worker *worker = client->context->user;
    run_fail(worker->run, "a message arrived that nobody subscribed to");
}

static void acknowledged(struct client *client)
{
}

static void make_visitors(struct worker *worker)
{
    struct churn *churn = calloc(1, sizeof(*churn));
    uint32_t all = worker->run->scenario->publishers, workers = worker->run->worker_count;
    if (churn == NULL)
        abort();
    worker->state = churn;
    churn->count = all / workers + (worker->index < all % workers);
    churn->visitors = calloc(churn->count + 1, sizeof(*churn->visitors));
    if (churn->visitors == NULL)
        abort();
    for (uint32_t i = 0; i < churn->count; i++)
        churn->visitors[i].client = (struct client){.context = &worker->context, .number = worker->index + i * workers};
    worker->context.message = message;
    worker->context.acknowledged = acknowledged;
}

static void churn_finish(struct worker *worker)
{
    struct churn *churn = worker->state;
    free(churn->visitors);
    free(churn);
    free(worker->clients);
}

/* ---- Connect, disconnect, again ---- */

static void visit(struct worker *worker, struct visitor *visitor)
{
    struct churn *churn = worker->state;
    /* A client identifier of its own each time: a broker must not see a take-over. */
    visitor->client.number = worker->index + churn->next_number++ * worker->run->worker_count;
    visitor->since = run_clock();
    visitor->accepted = false;
    churn->begun += !visitor->begun;
    visitor->begun = true;
    if (!client_start(&visitor->client)) {
        run_fail(worker->run, "cannot open a connection: %s", strerror(errno));
        return;
    }
    worker_count_up(&worker->sent, 1);
}

static void visitor_ready(struct client *client)
{
    struct visitor *visitor = (struct visitor *)client;
    struct worker *worker = client->context->user;
    if (worker->phase == PHASE_CONNECT)
        atomic_fetch_add_explicit(&worker->ready, 1, memory_order_relaxed);
    else
        worker_count_up(&worker->delivered, 1);
    if (worker->phase == PHASE_MEASURE)
        histogram_record(&worker->latency, worker->now - visitor->since);
    visitor->since = worker->now;
    visitor->accepted = true;
    client_leave(client);
}

static void visitor_ended(struct client *client, const char *why)
{
    struct visitor *visitor = (struct visitor *)client;
    struct worker *worker = client->context->user;
    if (visitor->accepted && worker->phase != PHASE_CONNECT)
        visit(worker, visitor);
    else if (!visitor->accepted)
        run_fail(worker->run, "a connection was not accepted: %s", why);
}

static uint64_t churn_step(struct worker *worker)
{
    struct churn *churn = worker->state;
    if (worker->phase == PHASE_CONNECT || atomic_load_explicit(&worker->run->failed, memory_order_relaxed))
        return WAIT;
    for (uint32_t i = 0; churn->begun < churn->count && i < churn->count; i++)
        if (churn->visitors[i].client.state == CLIENT_IDLE)
            visit(worker, &churn->visitors[i]);
    if (worker->now < churn->next_look)
        return WAIT;
    churn->next_look = worker->now + SECOND / 10;
    for (uint32_t i = 0; i < churn->count; i++) {
        struct visitor *visitor = &churn->visitors[i];
        if (visitor->client.state == CLIENT_LEAVING && worker->now > visitor->since + LEAVE_PATIENCE) {
            client_drop(&visitor->client);
            visit(worker, visitor);
        }
    }
    return WAIT;
}

/* Before the load one connection shows that the broker answers: one that has just been started may not yet. */
static void churn_prepare(struct worker *worker)
{
    make_visitors(worker);
    struct churn *churn = worker->state;
    worker->context.ready = visitor_ready;
    worker->context.ended = visitor_ended;
    worker->clients = calloc(1, sizeof(*worker->clients));
    if (worker->clients == NULL)
        abort();
    worker->clients[0] = &churn->visitors[0].client;
    worker->client_count = churn->count > 0;
    churn->next_number = 1; /* it has the identifier that would be the first */
}

const struct activity churn_activity = {.prepare = churn_prepare, .step = churn_step, .finish = churn_finish};

/* ---- Connect and stay ---- */

static void idle_opening(struct client *client, uint64_t due)
{
    ((struct visitor *)client)->since = due;
}

static void idle_ready(struct client *client)
{
    struct worker *worker = client->context->user;
    histogram_record(&worker->latency, worker->now - ((struct visitor *)client)->since);
    atomic_fetch_add_explicit(&worker->ready, 1, memory_order_relaxed);
}

static void idle_ended(struct client *client, const char *why)
{
    struct worker *worker = client->context->user;
    run_fail(worker->run, "idle client %s%u: %s", client->context->id_prefix, client->number, why);
}

static uint64_t idle_step(struct worker *worker)
{
    return WAIT;
}

static void idle_prepare(struct worker *worker)
{
    make_visitors(worker);
    struct churn *churn = worker->state;
    worker->context.ready = idle_ready;
    worker->context.ended = idle_ended;
    worker->clients = calloc(churn->count + 1, sizeof(*worker->clients));
    if (worker->clients == NULL)
        abort();
    for (uint32_t i = 0; i < churn->count; i++)
        worker->clients[i] = &churn->visitors[i].client;
    worker->client_count = churn->count;
}

const struct activity idle_activity = {
    .prepare = idle_prepare, .opening = idle_opening, .step = idle_step, .finish = churn_finish};

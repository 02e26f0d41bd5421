/* Sending clients to another server. See drain.h. */
#include "dataplane/drain.h"

#include <string.h>

#include "dataplane/worker.h"

enum {
    CLIENTS_PER_ITERATION = 32,
    SESSIONS_PER_ITERATION = 1024, /* looked at, whether their clients are there or not */
    EMPTY_PAUSE_US = 100000,       /* after a round through all sessions that found nobody */
};

static void drain_start(struct worker *worker, const struct shm_drain_arguments *arguments)
{
    struct drain *drain = &worker->drain;
    const uint64_t since = drain->active ? drain->since : worker->now;
    const uint64_t disconnected = drain->active ? drain->disconnected : 0;
    const uint64_t refused = drain->active ? drain->refused : 0;
    *drain = (struct drain){
        .active = true,
        .permanent = arguments->permanent != 0,
        .reference_length = (uint16_t)arguments->reference_length,
        .rate = arguments->rate,
        .interval_us = 1000000u * worker->count / arguments->rate,
        .next = worker->now,
        .since = since,
        .disconnected = disconnected,
        .refused = refused,
    };
    memcpy(drain->reference, arguments->reference, drain->reference_length);
}

static void drain_describe(const struct worker *worker, struct shm_drain_record *record)
{
    const struct drain *drain = &worker->drain;
    *record = (struct shm_drain_record){
        .active = drain->active,
        .permanent = drain->permanent,
        .rate = drain->rate,
        .reference_length = drain->reference_length,
        .since_us = drain->active ? worker->now - drain->since : 0,
        .disconnected = drain->disconnected,
        .refused = drain->refused,
        .connected = worker->connected_clients,
    };
    memcpy(record->reference, drain->reference, drain->reference_length);
}

void drain_request(struct worker *worker, const struct shm_drain_arguments *arguments, struct shm_drain_record *record)
{
    if (arguments->action == SHM_DRAIN_START) {
        drain_start(worker, arguments);
    } else if (arguments->action == SHM_DRAIN_STOP) {
        worker->drain = (struct drain){0};
    }
    drain_describe(worker, record);
}

/* The next session whose client is connected; NULL: a round is over. */
static struct session *connected_next(struct worker *worker, uint32_t *looked)
{
    while (++*looked < SESSIONS_PER_ITERATION) {
        struct session *session = session_next(worker->sessions, &worker->drain.cursor);
        if (session == NULL || session->client != NULL) {
            return session;
        }
    }
    return NULL;
}

uint32_t drain_progress(struct worker *worker)
{
    struct drain *drain = &worker->drain;
    uint32_t gone = 0, looked = 0;
    while (worker->now >= drain->next && gone < CLIENTS_PER_ITERATION && looked < SESSIONS_PER_ITERATION) {
        struct session *session = connected_next(worker, &looked);
        if (session != NULL) {
            worker->counters.closed_drained++;
            drain->disconnected++;
            drain->next += drain->interval_us;
            client_redirect(worker, session->client, drain_reason(drain), drain_reference(drain));
            gone++;
        } else if (looked < SESSIONS_PER_ITERATION) {
            drain->cursor = 0;
            drain->next = worker->now + EMPTY_PAUSE_US;
        }
    }
    return gone;
}

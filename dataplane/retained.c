/* Storing retained messages and handing them to new subscriptions. See retained.h. */
#include "dataplane/retained.h"

#include <string.h>

#include "dataplane/deliver.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/topic_name.h"

enum {
    WALK_SLICE = 128, /* nodes of a walk per iteration */
    MOMENT_WORKER_SHIFT = 56,
    TURN_MAX = 128, /* messages that a home on another worker may send in one turn */
};

/* ---- Moments ---------------------------------------------------------------------------------------------------- */

uint64_t retained_moment(const struct worker *worker)
{
    /* Pairs with the release in retained_moment_next: who reads that count routes by what was subscribed before. */
    return (uint64_t)worker->index << MOMENT_WORKER_SHIFT |
           atomic_load_explicit(&worker->dataplane->moments, memory_order_acquire);
}

uint64_t retained_moment_next(struct worker *worker)
{
    return atomic_fetch_add_explicit(&worker->dataplane->moments, 1, memory_order_acq_rel) + 1;
}

/* Has it come by the subscription already? */
static bool was_routed(const struct retained_query *query, const struct message *message)
{
    const bool here = message->moment >> MOMENT_WORKER_SHIFT == query->worker;
    const uint64_t count = message->moment & ((UINT64_C(1) << MOMENT_WORKER_SHIFT) - 1);
    return count >= (here ? query->since.here : query->since.everywhere);
}

/* ---- Homes ------------------------------------------------------------------------------------------------------ */

static uint32_t topic_home(const struct worker *worker, struct mqtt_span topic)
{
    const uint64_t hash = topic_hash(&worker->dataplane->seed, topic.data, topic.length);
    return (uint32_t)(((hash >> 32) * worker->count) >> 32);
}

static bool topic_prepare(struct worker *worker, struct mqtt_span topic)
{
    return topic_name_set(&worker->topic, &worker->dataplane->seed, &worker->dataplane->topic_limits,
                          (const char *)topic.data, topic.length) == TOPIC_OK;
}

static void home_clear(struct worker *worker, struct mqtt_span topic)
{
    if (topic_prepare(worker, topic)) {
        struct message *old = topic_retained_remove(worker->retained, &worker->topic);
        if (old != NULL) {
            message_release(old, worker->memory);
        }
    }
}

/* REQ MQTT-3.1.1 [MQTT-3.1.2-7]: kept beside the sessions [test: sessions/retained_will] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-7]: at QoS 0 as well [test: messages/retained] */
static void home_set(struct worker *worker, struct publication *publication)
{
    void *old = NULL;
    struct message *message = publication_keep(publication, worker->memory);
    if (message == NULL) {
        worker->counters.retained_refused++;
        return;
    }
    if (!topic_prepare(worker, publication->topic) ||
        topic_retained_set(worker->retained, &worker->topic, message, message_length(message), message->expires,
                           &old) != TOPIC_OK) {
        worker->counters.retained_refused++;
        message_release(message, worker->memory);
    } else if (old != NULL) {
        message_release(old, worker->memory);
    }
}

/* REQ MQTT-5 [MQTT-3.3.1-5]: replaces the topic's retained message [test: messages/retained] */
/* REQ MQTT-5 [MQTT-3.3.1-6]: an empty one removes it [test: conformance/retained] */
/* REQ MQTT-5 [MQTT-3.3.1-7]: and is not stored [test: conformance/retained] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-5]: replaces the topic's retained message [test: messages/retained] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-10]: an empty one removes it [test: conformance/retained] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-11]: and is not stored [test: conformance/retained] */
static void home_store(struct worker *worker, struct publication *publication)
{
    if (publication->payload.length == 0) {
        home_clear(worker, publication->topic);
    } else {
        home_set(worker, publication);
    }
}

void retained_store(struct worker *worker, struct publication *publication)
{
    const uint32_t home = topic_home(worker, publication->topic);
    if (home == worker->index) {
        home_store(worker, publication);
        return;
    }
    struct message *message = publication_keep(publication, worker->memory);
    const struct mail mail = {.type = MAIL_RETAIN, .block = message};
    if (message == NULL) {
        worker->counters.retained_refused++;
    } else if (!mailbox_post(worker->to[home], worker->memory, mail)) {
        worker->counters.retained_refused++;
        message_release(message, worker->memory);
    }
}

/* REQ MQTT-5 [MQTT-3.3.2-5]: an expired message is not kept [test: retained/expired_ones_count_against_no_bound] */
void retained_expired(void *arg, void *message)
{
    struct worker *worker = arg;
    worker->counters.dropped_expired++;
    message_release(message, worker->memory);
}

void retained_receive(struct worker *worker, struct message *message)
{
    struct publication publication;
    publication_from_message(&publication, message, false);
    home_store(worker, &publication);
    publication_release(&publication, worker->memory);
}

/* ---- Questions -------------------------------------------------------------------------------------------------- */

static bool question_post(struct worker *worker, uint32_t home, const struct retained_query *query, size_t size)
{
    if (home == worker->index) {
        return retained_answer(worker, query);
    }
    struct retained_query *copy = mem_alloc(worker->memory, size);
    struct retained_ticket *ticket = mem_alloc(worker->memory, sizeof(*ticket));
    if (copy != NULL && ticket != NULL) {
        const struct mail mail = {.type = MAIL_RETAINED_QUERY, .block = copy};
        memcpy(copy, query, size);
        copy->ticket = ticket;
        *ticket = (struct retained_ticket){
            .next = worker->retained_tickets, .session = query->session, .home = (uint8_t)home};
        if (mailbox_post(worker->to[home], worker->memory, mail)) {
            worker->retained_tickets = ticket;
            return true;
        }
    }
    mem_free(worker->memory, copy);
    mem_free(worker->memory, ticket);
    return false;
}

bool retained_request(struct worker *worker, const struct session *session, struct mqtt_span filter, uint8_t options,
                      uint32_t identifier, const struct retained_since *since)
{
    const size_t size = sizeof(struct retained_query) + filter.length;
    struct retained_query *query = mem_alloc(worker->memory, size);
    if (query == NULL) {
        return false;
    }
    *query = (struct retained_query){
        .session = session->handle,
        .publisher = session->id_hash,
        .since = *since,
        .identifier = identifier,
        .options = options,
        .worker = (uint8_t)worker->index,
        .filter_length = (uint16_t)filter.length,
    };
    memcpy(query->filter, filter.data, filter.length);
    bool asked = true;
    if (mqtt_topic_has_wildcard(filter)) {
        for (uint32_t home = 0; home < worker->count; home++) {
            asked &= question_post(worker, home, query, size);
        }
    } else {
        asked = question_post(worker, topic_home(worker, filter), query, size);
    }
    mem_free(worker->memory, query);
    return asked;
}

/* ---- Walks ------------------------------------------------------------------------------------------------------ */

bool retained_answer(struct worker *worker, const struct retained_query *query)
{
    struct topic_filter_name filter;
    struct retained_walk_job *job = mem_alloc(worker->memory, sizeof(*job) + query->filter_length);
    if (job == NULL) {
        return false;
    }
    memcpy(&job->query, query, sizeof(*query) + query->filter_length);
    if (topic_filter_parse(&filter, &worker->dataplane->topic_limits, job->query.filter, query->filter_length) !=
        TOPIC_OK) {
        mem_free(worker->memory, job);
        return true;
    }
    topic_retained_walk_begin(&job->walk, worker->retained, &filter);
    job->next = NULL;
    job->credit = 0;
    job->over = job->paused = false;
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index) {
            job->after[other] = mailbox_written(worker->from[other]);
        }
    }
    struct retained_walk_job **end = &worker->retained_walks;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = job;
    return true;
}

/* REQ MQTT-3.1.1 [MQTT-3.3.1-6]: a new subscription gets the last retained message [test: messages/retained] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-8]: with the flag [test: messages/retained] */
static void session_deliver_retained(struct worker *worker, struct session *session, struct publication *publication,
                                     uint8_t options, uint32_t identifier)
{
    const uint8_t qos = options & TOPIC_OPTION_QOS;
    const struct delivery delivery = {
        .qos = qos < publication->qos ? qos : publication->qos,
        .retain = true, /* [MQTT-3.3.1-8] */
        .identifiers = identifier != 0,
        .identifier = &identifier,
    };
    worker->counters.retained_sent++;
    session_deliver(worker, session, publication, &delivery);
}

/* Does the session take one more without losing it? Half of its queue is left to what is published meanwhile. */
static bool session_has_room(const struct worker *worker, const struct session *session)
{
    return !session->retained_turn && session->queue.count < (worker->config->mqtt.max_queued_messages + 1) / 2 &&
           session->queue.bytes < worker->config->mqtt.max_queued_bytes / 2;
}

struct walk_context {
    struct worker *worker;
    struct retained_walk_job *job;
};

/* To a session of another worker. */
static bool walk_send(struct worker *worker, struct retained_walk_job *job, struct message *message)
{
    const struct retained_query *query = &job->query;
    if (job->credit == 0 || !mailbox_has_room(worker->to[query->worker], 2)) {
        return false;
    }
    const uint32_t length = message_length(message);
    job->bytes -= length < job->bytes ? length : job->bytes;
    job->credit = job->bytes == 0 ? 0 : job->credit - 1;
    mailbox_put(worker->to[query->worker], (struct mail){.type = MAIL_RETAINED_MATCH,
                                                         .small = query->options,
                                                         .number = query->identifier,
                                                         .value = query->session,
                                                         .block = message_reference(message)});
    return true;
}

/* Called by the walk for each match. False: the subscriber takes no more for the moment. */
static bool walk_deliver(void *arg, void *match)
{
    const struct walk_context *context = arg;
    struct worker *worker = context->worker;
    const struct retained_query *query = &context->job->query;
    struct message *message = match;
    if (message->expires != 0 && message->expires < worker->now) {
        return true; /* its timer is about to take it out */
    }
    if ((query->options & TOPIC_OPTION_NO_LOCAL) != 0 && message->publisher == query->publisher) {
        return true; /* [MQTT-3.8.3-3] */
    }
    if (was_routed(query, message)) {
        return true;
    }
    if (query->ticket != NULL) {
        return walk_send(worker, context->job, message);
    }
    struct session *session = session_by_handle(worker->sessions, query->session);
    if (session == NULL) {
        return true;
    }
    if (!session_has_room(worker, session)) {
        return false;
    }
    struct publication publication;
    publication_from_message(&publication, message, true);
    session_deliver_retained(worker, session, &publication, query->options, query->identifier);
    publication_release(&publication, worker->memory);
    return true;
}

void retained_deliver(struct worker *worker, const struct mail *mail)
{
    struct session *session = session_by_handle(worker->sessions, mail->value);
    if (session != NULL) {
        struct publication publication;
        publication_from_message(&publication, mail->block, false);
        session_deliver_retained(worker, session, &publication, mail->small, mail->number);
        publication_release(&publication, worker->memory);
    }
}

/* Every mail has been handled that was under way when the question came. */
static bool walk_may_begin(const struct worker *worker, const struct retained_walk_job *job)
{
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index && !mailbox_was_read(worker->from[other], job->after[other])) {
            return false;
        }
    }
    return true;
}

static bool turn_post(struct worker *worker, uint32_t to, enum mail_type type, const struct retained_turn *content)
{
    struct retained_turn *block = mem_alloc(worker->memory, sizeof(*block));
    if (block == NULL) {
        return false;
    }
    *block = *content;
    if (!mailbox_post(worker->to[to], worker->memory, (struct mail){.type = type, .block = block})) {
        mem_free(worker->memory, block);
        return false;
    }
    return true;
}

/* Gives the turn back to the subscriber's worker. False: no memory, try again. */
static bool walk_pause(struct worker *worker, struct retained_walk_job *job)
{
    const struct retained_turn turn = {.ticket = job->query.ticket, .job = job, .over = job->over};
    job->paused = turn_post(worker, job->query.worker, MAIL_RETAINED_PAUSE, &turn);
    return job->paused;
}

/* A slice for another worker's session. True: the job is done. */
static bool walk_remote(struct worker *worker, struct retained_walk_job *job)
{
    const struct walk_context context = {worker, job};
    if (!job->over && job->credit > 0) {
        job->over = !topic_retained_walk_next(&job->walk, WALK_SLICE, walk_deliver, (void *)(uintptr_t)&context);
    }
    return (job->over || job->credit == 0) && walk_pause(worker, job) && job->over;
}

static bool walk_local(struct worker *worker, struct retained_walk_job *job)
{
    const struct walk_context context = {worker, job};
    return session_by_handle(worker->sessions, job->query.session) == NULL ||
           !topic_retained_walk_next(&job->walk, WALK_SLICE, walk_deliver, (void *)(uintptr_t)&context);
}

uint32_t retained_walk(struct worker *worker)
{
    uint32_t active = 0;
    struct retained_walk_job **link = &worker->retained_walks;
    while (*link != NULL) {
        struct retained_walk_job *job = *link;
        if (job->paused || !walk_may_begin(worker, job)) {
            link = &job->next;
            continue;
        }
        active++;
        if (!(job->query.ticket != NULL ? walk_remote : walk_local)(worker, job)) {
            link = &job->next;
        } else {
            topic_retained_walk_end(&job->walk);
            *link = job->next;
            mem_free(worker->memory, job);
        }
    }
    return active;
}

void retained_receive_more(struct worker *worker, const struct retained_turn *turn)
{
    struct retained_walk_job *job = turn->job;
    job->paused = false;
    job->credit = turn->credit;
    job->bytes = turn->bytes;
    if (turn->credit > 0) {
        return;
    }
    struct retained_walk_job **link = &worker->retained_walks;
    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
    topic_retained_walk_end(&job->walk);
    mem_free(worker->memory, job);
}

/* ---- Turns ------------------------------------------------------------------------------------------------------ */

static void ticket_remove(struct worker *worker, struct retained_ticket *ticket)
{
    struct retained_ticket **link = &worker->retained_tickets;
    while (*link != ticket) {
        link = &(*link)->next;
    }
    *link = ticket->next;
    mem_free(worker->memory, ticket);
}

void retained_receive_pause(struct worker *worker, const struct retained_turn *turn)
{
    struct retained_ticket *ticket = turn->ticket;
    struct session *session = session_by_handle(worker->sessions, ticket->session);
    if (ticket->holds && session != NULL) {
        session->retained_turn = false;
    }
    ticket->holds = false;
    ticket->turn = true;
    ticket->job = turn->job;
    if (turn->over) {
        ticket_remove(worker, ticket);
    }
}

/* What the session takes now without losing it; credit 0: nothing. */
static struct retained_turn session_room(const struct worker *worker, const struct session *session)
{
    struct retained_turn turn = {0};
    if (session_has_room(worker, session)) {
        const uint32_t room = (worker->config->mqtt.max_queued_messages + 1) / 2 - session->queue.count;
        turn.credit = room < TURN_MAX ? room : TURN_MAX;
        turn.bytes = worker->config->mqtt.max_queued_bytes / 2 - session->queue.bytes;
    }
    return turn;
}

/* Hands the turn to the home, if there is anything to be granted. True: nobody wants the messages any more. */
static bool ticket_grant(struct worker *worker, struct retained_ticket *ticket)
{
    struct session *session = session_by_handle(worker->sessions, ticket->session);
    struct retained_turn turn = session == NULL ? (struct retained_turn){0} : session_room(worker, session);
    turn.job = ticket->job;
    if ((session != NULL && turn.credit == 0) || !turn_post(worker, ticket->home, MAIL_RETAINED_MORE, &turn)) {
        return false;
    }
    ticket->turn = false;
    ticket->holds = session != NULL;
    if (session != NULL) {
        session->retained_turn = true;
    }
    return session == NULL;
}

void retained_grant(struct worker *worker)
{
    struct retained_ticket *next;
    for (struct retained_ticket *ticket = worker->retained_tickets; ticket != NULL; ticket = next) {
        next = ticket->next;
        if (ticket->turn && ticket_grant(worker, ticket)) {
            ticket_remove(worker, ticket);
        }
    }
}

static bool clear_one(void *arg, void *match)
{
    struct worker *worker = arg;
    const struct message *message = match;
    home_clear(worker, message_topic(message));
    return true;
}

void retained_clear(struct worker *worker)
{
    struct topic_retained_walk walk;
    while (worker->retained_walks != NULL) {
        struct retained_walk_job *job = worker->retained_walks;
        worker->retained_walks = job->next;
        topic_retained_walk_end(&job->walk);
        mem_free(worker->memory, job);
    }
    topic_retained_walk_begin(&walk, worker->retained, NULL);
    while (topic_retained_walk_next(&walk, UINT32_MAX, clear_one, worker)) {
    }
}

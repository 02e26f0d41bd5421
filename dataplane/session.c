/* The life of a session and its lists of outgoing messages. See session.h. */
#include "dataplane/session.h"

#include <string.h>

#include "dataplane/client.h"
#include "dataplane/directory.h"
#include "dataplane/route.h"
#include "dataplane/worker.h"

enum {
    SLOTS_FIRST = 16,  /* inflight slots that a session starts with */
    SLOTS_MAX = 65536, /* one for each packet identifier */
};

/* ---- Outgoing messages ------------------------------------------------------------------------------------------ */

static uint32_t outgoing_bytes(const struct outgoing *outgoing)
{
    return outgoing->message == NULL ? 0 : message_length(outgoing->message);
}

void outgoing_append(struct outgoing_list *list, struct outgoing *outgoing)
{
    outgoing->next = NULL;
    outgoing->previous = list->last;
    if (list->last == NULL) {
        list->first = outgoing;
    } else {
        list->last->next = outgoing;
    }
    list->last = outgoing;
    list->count++;
    list->bytes += outgoing_bytes(outgoing);
}

void outgoing_prepend(struct outgoing_list *list, struct outgoing *outgoing)
{
    outgoing->previous = NULL;
    outgoing->next = list->first;
    if (list->first == NULL) {
        list->last = outgoing;
    } else {
        list->first->previous = outgoing;
    }
    list->first = outgoing;
    list->count++;
    list->bytes += outgoing_bytes(outgoing);
}

void outgoing_remove(struct outgoing_list *list, struct outgoing *outgoing)
{
    if (outgoing->previous == NULL) {
        list->first = outgoing->next;
    } else {
        outgoing->previous->next = outgoing->next;
    }
    if (outgoing->next == NULL) {
        list->last = outgoing->previous;
    } else {
        outgoing->next->previous = outgoing->previous;
    }
    list->count--;
    list->bytes -= outgoing_bytes(outgoing);
}

void outgoing_free(struct worker *worker, struct outgoing *outgoing)
{
    if (outgoing->message != NULL) {
        message_release(outgoing->message, worker->memory);
    }
    mem_free(worker->memory, outgoing);
}

static uint32_t list_free(struct worker *worker, struct outgoing_list *list)
{
    const uint32_t count = list->count;
    while (list->first != NULL) {
        struct outgoing *outgoing = list->first;
        outgoing_remove(list, outgoing);
        outgoing_free(worker, outgoing);
    }
    return count;
}

/* ---- The inflight window ---------------------------------------------------------------------------------------- */

static bool slots_grow(struct worker *worker, struct session *session)
{
    const uint32_t size = session->slots == NULL ? SLOTS_FIRST : 2 * (session->slot_mask + 1);
    if (size > SLOTS_MAX) {
        return false;
    }
    struct outgoing **slots = mem_alloc_zero(worker->memory, size * sizeof(slots[0]));
    if (slots == NULL) {
        return false;
    }
    for (struct outgoing *outgoing = session->inflight.first; outgoing != NULL; outgoing = outgoing->next) {
        slots[outgoing->packet_id & (size - 1)] = outgoing;
    }
    mem_free(worker->memory, session->slots);
    session->slots = slots;
    session->slot_mask = (uint16_t)(size - 1);
    return true;
}

/* REQ MQTT-5 [MQTT-2.2.1-4]: a new message gets an unused packet identifier [test: wire/all_in_one_segment] */
/* REQ MQTT-5 [MQTT-4.3.2-1]: at QoS 1 too [test: wire/all_in_one_segment] */
/* REQ MQTT-5 [MQTT-4.3.3-1]: and at QoS 2 [test: messages/publish_and_receive] */
/* REQ MQTT-3.1.1 [MQTT-2.3.1-4]: a new message gets an unused packet identifier [test: wire/all_in_one_segment] */
bool inflight_add(struct worker *worker, struct session *session, struct outgoing *outgoing)
{
    /* Half of the slots stay free, so that a free one is near. */
    if ((session->slots == NULL || session->inflight.count > session->slot_mask / 2) && !slots_grow(worker, session)) {
        return false;
    }
    uint16_t id = session->next_packet_id;
    while (id == 0 || session->slots[id & session->slot_mask] != NULL) {
        id++;
    }
    session->next_packet_id = (uint16_t)(id + 1);
    session->slots[id & session->slot_mask] = outgoing;
    outgoing->packet_id = id;
    outgoing->state = OUTGOING_PUBLISHED;
    outgoing_append(&session->inflight, outgoing);
    return true;
}

struct outgoing *inflight_find(const struct session *session, uint16_t packet_id)
{
    struct outgoing *outgoing = session->slots == NULL ? NULL : session->slots[packet_id & session->slot_mask];
    return outgoing != NULL && outgoing->packet_id == packet_id ? outgoing : NULL;
}

void inflight_remove(struct session *session, struct outgoing *outgoing)
{
    session->slots[outgoing->packet_id & session->slot_mask] = NULL;
    if (session->resend_next == outgoing) {
        session->resend_next = outgoing->next;
    }
    if (outgoing->outstanding) {
        outgoing->outstanding = false;
        session->outstanding--;
    }
    outgoing_remove(&session->inflight, outgoing);
    outgoing->state = OUTGOING_QUEUED;
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

struct session *session_create(struct worker *worker, struct mqtt_span client_id)
{
    /* The identifier begins before the structure's padding does. */
    const size_t size = RTE_MAX(offsetof(struct session, client_id) + client_id.length, sizeof(struct session));
    struct session *session = mem_alloc(worker->memory, size);
    if (session == NULL) {
        return NULL;
    }
    *session = (struct session){
        .next_packet_id = 1,
        .since = worker->now,
        .client_id_length = (uint16_t)client_id.length,
    };
    memcpy(session->client_id, client_id.data, client_id.length);
    if (!session_table_add(worker->sessions, session)) {
        mem_free(worker->memory, session);
        return NULL;
    }
    timer_init(&session->timer, TIMER_KIND_SESSION);
    return session;
}

static void will_drop(struct worker *worker, struct session *session)
{
    if (session->will != NULL) {
        message_release(session->will, worker->memory);
        session->will = NULL;
    }
}

/* Publishes the will, which is gone then. */
/* REQ MQTT-5 [MQTT-3.1.2-10]: a will that was published is gone [test: conformance/will_delay] */
/* REQ MQTT-5 [MQTT-3.1.2-14]: without Will Retain it is not retained [test: conformance/will_delay] */
/* REQ MQTT-5 [MQTT-3.1.2-15]: with Will Retain it is retained [test: sessions/retained_will] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-10]: a will that was published is gone [test: conformance/will_delay] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-16]: without Will Retain it is not retained [test: sessions/will_after_abnormal_end] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-17]: with Will Retain it is retained [test: sessions/retained_will] */
static void will_publish(struct worker *worker, struct session *session)
{
    struct message *message = session->will;
    session->will = NULL;
    if (message != NULL) {
        struct publication publication;
        /* What is kept of it must be a copy where it says when it was published: the stored will does not know. */
        publication_from_message(&publication, message, message->expires == 0 && !message->retain);
        if (message->expires != 0) {
            publication.expires = worker->now + message->expires; /* a will's expiry counts from its publication */
        }
        route_own(worker, &publication);
        publication_release(&publication, worker->memory);
        message_release(message, worker->memory);
        worker->counters.wills_sent++;
    }
}

static void messages_drop(struct worker *worker, struct session *session)
{
    session->resend_next = NULL;
    worker->counters.dropped_session_end += list_free(worker, &session->queue);
    worker->counters.dropped_session_end += list_free(worker, &session->inflight);
    session->outstanding = 0;
    mem_free(worker->memory, session->slots);
    session->slots = NULL;
    packet_ids_free(&session->received, worker->memory);
}

/* As many as this iteration may still remove. True: none is left. */
static bool subscriptions_remove(struct worker *worker, struct session *session)
{
    const uint32_t before = session->subscriptions.count;
    const uint32_t left = topic_session_clear(worker->subscribers, &session->subscriptions, worker->filters_left);
    worker->filters_left -= before - left;
    return left == 0;
}

/* REQ MQTT-5 [MQTT-4.1.0-1]: only without a client [test: sessions/keepalive_keeps] */
/* REQ MQTT-3.1.1 [MQTT-4.1.0-2]: only without a client [test: sessions/keepalive_keeps] */
void session_end(struct worker *worker, struct session *session)
{
    timer_cancel(&worker->wheel, &session->timer);
    will_publish(worker, session);
    messages_drop(worker, session);
    const struct client_id_key id =
        directory_id(worker->dataplane, (struct mqtt_span){session->client_id, session->client_id_length});
    directory_disown(worker, &id, session->claims);
    session_table_remove(worker->sessions, session);
    mem_free(worker->memory, session->user_name);
    if (subscriptions_remove(worker, session)) {
        mem_free(worker->memory, session);
        return;
    }
    session->ended = true;
    session->next_ended = worker->sessions_ended;
    worker->sessions_ended = session;
}

uint32_t sessions_end_progress(struct worker *worker)
{
    uint32_t work = 0;
    while (worker->sessions_ended != NULL && worker->filters_left > 0) {
        struct session *session = worker->sessions_ended;
        if (!subscriptions_remove(worker, session)) {
            return work + 1;
        }
        worker->sessions_ended = session->next_ended;
        mem_free(worker->memory, session);
        work++;
    }
    return work;
}

static uint64_t will_due(const struct session *session)
{
    return session->will == NULL ? UINT64_MAX : session->since + session->will_delay_s * UINT64_C(1000000);
}

static uint64_t expiry_due(const struct session *session)
{
    return session->expiry_interval_s == UINT32_MAX ? UINT64_MAX
                                                    : session->since + session->expiry_interval_s * UINT64_C(1000000);
}

/* An offline session does what is due, and wakes up for what comes next. */
static void session_look(struct worker *worker, struct session *session)
{
    if (will_due(session) <= worker->now) {
        will_publish(worker, session);
    }
    const uint64_t when = RTE_MIN(will_due(session), expiry_due(session));
    if (expiry_due(session) <= worker->now) {
        session_end(worker, session);
    } else if (when != UINT64_MAX) {
        timer_set(&worker->wheel, &session->timer, when);
    }
}

/* Nothing is on its way to the client any more. */
static void session_close_window(struct session *session)
{
    session->resend_next = NULL;
    for (struct outgoing *outgoing = session->inflight.first; outgoing != NULL; outgoing = outgoing->next) {
        outgoing->outstanding = false;
    }
    session->outstanding = 0;
}

void session_taken_over(struct worker *worker, struct session *session, bool session_ends)
{
    session_close_window(session);
    if (session->will_delay_s == 0 || session_ends) {
        will_publish(worker, session);
    }
    will_drop(worker, session);
}

/* REQ MQTT-5 [MQTT-3.1.2-8]: after the delay or at the session's end [test: conformance/will_delay] */
/* REQ MQTT-5 [MQTT-4.1.0-2]: the session ends when its expiry interval has passed [test: sessions/session_expires] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-8]: the will follows the connection's end [test: wire/keepalive_runs_out] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-5]: messages of QoS 1 and 2 are stored meanwhile [test: sessions/offline_queue] */
/* REQ MQTT-3.1.1 [MQTT-4.1.0-1]: a session is kept as long as its connection [test: sessions/offline_queue] */
void session_disconnected(struct worker *worker, struct session *session, bool publish_will)
{
    session->since = worker->now;
    session_close_window(session);
    if (!publish_will) {
        will_drop(worker, session); /* [MQTT-3.14.4-3] */
    }
    session_look(worker, session);
}

/* REQ MQTT-5 [MQTT-3.1.3-9]: back before the will's delay: it is not sent [test: conformance/will_delay] */
void session_resumed(struct worker *worker, struct session *session)
{
    timer_cancel(&worker->wheel, &session->timer);
    will_drop(worker, session); /* the client is back before the will's delay: [MQTT-3.1.3-9] */
}

void session_timer(void *arg, struct timer *timer, uint64_t now)
{
    struct worker *worker = arg;
    struct session *session = (struct session *)((char *)timer - offsetof(struct session, timer));
    worker->counters.sessions_expired += expiry_due(session) <= worker->now;
    session_look(worker, session);
}

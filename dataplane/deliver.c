/* From a publication to one subscriber. See deliver.h. */
#include "dataplane/deliver.h"

#include <string.h>

#include "dataplane/aliases.h"
#include "dataplane/client.h"
#include "dataplane/rate_limits.h"
#include "dataplane/run.h"
#include "dataplane/worker.h"
#include "lib/mqtt/packets.h"
#include "lib/mqtt/publish.h"

enum sent {
    SENT,      /* in the send stream, to the last byte or with the rest following by itself */
    SENT_NOT,  /* no room now: queue it */
    SENT_NEVER /* dropped: the client does not take packets of this size, or the message has expired */
};

/* ---- The PUBLISH packet ----------------------------------------------------------------------------------------- */

static bool publication_expired(const struct worker *worker, const struct publication *publication)
{
    return publication->expires != 0 && publication->expires < worker->now;
}

/* Can the bytes of the received PUBLISH be copied as they are, but for the first byte and the packet identifier? */
static bool packet_is_reusable(const struct client *client, const struct publication *publication,
                               const struct mqtt_publish_own *own)
{
    return publication->packet.data != NULL && publication->qos == own->qos && own->identifiers == 0 &&
           publication->packet_is_v5 == (client->version == MQTT_V5) && client->aliases_out == NULL;
}

/* The hot path: one copy. */
/* REQ MQTT-5 [MQTT-3.3.1-3]: DUP is this packet's own [test: wire/qos2_duplicate_is_one_message] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-3]: DUP is this packet's own [test: wire/qos2_duplicate_is_one_message] */
static enum sent packet_copy(struct worker *worker, struct client *client, const struct publication *publication,
                             const struct mqtt_publish_own *own)
{
    const uint32_t length = publication->packet.length;
    if (tcp_unacknowledged_bytes(client->tcp) + length > worker->send_limit) {
        tcp_want_write(client->tcp);
        return SENT_NOT;
    }
    uint8_t *dst = client_reserve(client, length);
    if (dst == NULL) {
        return SENT_NOT;
    }
    memcpy(dst, publication->packet.data, length);
    dst[0] = (uint8_t)(MQTT_PUBLISH << 4 | own->duplicate << 3 | own->qos << 1 | own->retain);
    if (own->qos > 0) {
        dst[publication->packet_id_offset] = (uint8_t)(own->packet_id >> 8);
        dst[publication->packet_id_offset + 1] = (uint8_t)own->packet_id;
    }
    client_commit(client, length);
    worker->counters.bytes_out += length;
    return SENT;
}

/* Sends bytes, returns how many of them the connection did not take. */
static uint32_t tcp_send_some(struct tcp_connection *tcp, struct mqtt_span bytes)
{
    return bytes.length == 0 ? 0 : bytes.length - (uint32_t)tcp_send(tcp, bytes.data, bytes.length);
}

/*
 * The tail of a packet that is larger than a segment. What does not fit now follows when there is room: the message is
 * kept until then and nothing else is sent to this client.
 */
static void tail_send(struct worker *worker, struct client *client, struct publication *publication, bool properties)
{
    uint32_t left = properties ? tcp_send_some(client->tcp, publication->properties) : 0;
    left += left > 0 ? publication->payload.length : tcp_send_some(client->tcp, publication->payload);
    if (left > 0) {
        client->stream = publication_keep(publication, worker->memory);
        client->stream_left = left;
        if (client->stream == NULL) {
            worker->counters.closed_no_memory++;
            tcp_abort(client->tcp);
        }
    }
}

/* The head of a packet of `length` bytes, which must go out whole. False: no room for it now. */
static bool head_send(struct worker *worker, struct client *client, const struct mqtt_publish_shared *shared,
                      const struct mqtt_publish_own *own, uint32_t head, uint32_t length)
{
    const uint32_t size = client_frame_size(client, length) + head;
    if (size <= tcp_reserve_max(client->tcp)) {
        uint8_t *dst = tcp_reserve(client->tcp, size);
        if (dst == NULL) {
            return false;
        }
        mqtt_publish_head_encode(client_frame_begin(client, dst, length), client->version, shared, own);
        tcp_commit(client->tcp, size);
        return true;
    }
    if (tcp_send_room(client->tcp) < size) {
        tcp_want_write(client->tcp);
        return false;
    }
    uint8_t *bytes = mem_alloc(worker->memory, size);
    if (bytes == NULL) {
        return false;
    }
    mqtt_publish_head_encode(client_frame_begin(client, bytes, length), client->version, shared, own);
    client_send_part(worker, client, bytes, size);
    mem_free(worker->memory, bytes);
    return true;
}

/*
 * To the nearest second, and 1 for what still lives. Not up: a message from another worker is often handled in an
 * iteration whose `now` was read before the message was published, and the interval must not grow on the way.
 */
static uint32_t seconds_left(const struct worker *worker, const struct publication *publication)
{
    if (publication->expires <= worker->now) {
        return 0; /* sent again although it has expired meanwhile */
    }
    const uint64_t seconds = (publication->expires - worker->now + 500000) / 1000000;
    return (uint32_t)RTE_MAX(seconds, UINT64_C(1));
}

/* Builds the packet from its parts. */
/* REQ MQTT-5 [MQTT-3.1.2-25]: what is too large for the client counts as sent [test: version5/maximum_packet_size] */
/* REQ MQTT-5 [MQTT-3.3.2-3]: the topic is one that the filter matches [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-3.3.2-4]: the payload format indicator goes on unaltered [test: version5/properties_pass_through] */
/* REQ MQTT-5 [MQTT-3.3.2-6]: expiry less the time it waited [test: version5/message_expiry] */
/* REQ MQTT-5 [MQTT-3.3.2-15]: the response topic goes on unaltered [test: version5/properties_pass_through] */
/* REQ MQTT-5 [MQTT-3.3.2-16]: the correlation data goes on unaltered [test: version5/properties_pass_through] */
/* REQ MQTT-5 [MQTT-3.3.2-17]: user properties go on unaltered [test: version5/properties_pass_through] */
/* REQ MQTT-5 [MQTT-3.3.2-20]: the content type goes on unaltered [test: version5/properties_pass_through] */
static enum sent packet_build(struct worker *worker, struct client *client, struct publication *publication,
                              struct mqtt_publish_own *own)
{
    const bool v5 = client->version == MQTT_V5;
    const uint32_t properties = v5 ? publication->properties.length : 0;
    const struct mqtt_publish_shared shared = {
        .topic = publication->topic,
        .tail = {publication->payload.data, properties + publication->payload.length},
        .properties_length = properties,
    };
    if (v5 && publication->expires != 0) {
        own->has_expiry = true;
        own->expiry = seconds_left(worker, publication); /* [MQTT-3.3.2-6] */
    }
    const size_t head = mqtt_publish_head_size(client->version, &shared, own);
    const size_t length = head + shared.tail.length;
    if (head == 0 || length > client->maximum_packet_size) {
        worker->counters.dropped_too_large++; /* [MQTT-3.1.2-25] */
        return SENT_NEVER;
    }
    const bool fits_segment = length <= client_reserve_max(client);
    const uint32_t needed = fits_segment ? (uint32_t)length : (uint32_t)head;
    if (tcp_unacknowledged_bytes(client->tcp) + needed > worker->send_limit) {
        tcp_want_write(client->tcp);
        return SENT_NOT;
    }
    if (fits_segment) {
        uint8_t *dst = client_reserve(client, (uint32_t)length);
        if (dst == NULL) {
            return SENT_NOT;
        }
        dst = mqtt_publish_head_encode(dst, client->version, &shared, own);
        if (properties > 0) {
            dst = mempcpy(dst, publication->properties.data, properties);
        }
        if (publication->payload.length > 0) {
            memcpy(dst, publication->payload.data, publication->payload.length);
        }
        client_commit(client, (uint32_t)length);
    } else {
        if (!head_send(worker, client, &shared, own, (uint32_t)head, (uint32_t)length)) {
            return SENT_NOT;
        }
        tail_send(worker, client, publication, v5);
    }
    worker->counters.bytes_out += length;
    return SENT;
}

/* May the client get a message now? Else it is tried again in each iteration. */
static bool limit_passes(struct worker *worker, struct client *client)
{
    if (limits_open_out(client->limits, &worker->config->mqtt, worker->now)) {
        client->limits->held_out = false;
        return true;
    }
    worker->counters.limited_out += !client->limits->held_out;
    client->limits->held_out = true;
    client_wait(worker, client);
    return false;
}

static void limit_count(struct worker *worker, struct client *client, uint64_t bytes)
{
    if (client->limits != NULL) {
        limits_take_out(client->limits, &worker->config->mqtt, bytes);
    }
}

/* For a client that takes topic aliases: its topic once, then two bytes. */
static enum sent packet_build_aliased(struct worker *worker, struct client *client, struct publication *publication,
                                      struct mqtt_publish_own *own)
{
    const struct alias_choice choice = alias_choose(client->aliases_out, worker->memory, publication->topic);
    own->topic_alias = choice.number;
    own->topic_omitted = choice.known;
    const enum sent sent = packet_build(worker, client, publication, own);
    alias_confirm(client->aliases_out, worker->memory, &choice, publication->topic.length, sent == SENT);
    worker->counters.aliases_sent += sent == SENT && choice.known;
    return sent;
}

/* REQ MQTT-5 [MQTT-3.3.2-5]: what has expired is not delivered [test: version5/message_expiry] */
static enum sent publish_send(struct worker *worker, struct session *session, struct publication *publication,
                              struct mqtt_publish_own *own)
{
    struct client *client = session->client;
    if (client->stream != NULL || (client->limits != NULL && !limit_passes(worker, client))) {
        return SENT_NOT;
    }
    if (packet_is_reusable(client, publication, own) && publication->packet.length <= client_reserve_max(client) &&
        publication->packet.length <= client->maximum_packet_size) {
        const enum sent sent = packet_copy(worker, client, publication, own);
        if (sent == SENT) {
            worker->counters.messages_out++;
            session->messages_out++;
            session->bytes_out += publication->packet.length;
            limit_count(worker, client, publication->packet.length);
        }
        return sent;
    }
    /* REQ MQTT-5 [MQTT-4.3.3-7]: no expiry once it was sent [test: conformance/expired_is_sent_again] */
    if (!own->duplicate && publication_expired(worker, publication)) {
        worker->counters.dropped_expired++;
        return SENT_NEVER;
    }
    const uint64_t bytes = worker->counters.bytes_out;
    const enum sent sent = client->aliases_out == NULL ? packet_build(worker, client, publication, own)
                                                       : packet_build_aliased(worker, client, publication, own);
    if (sent == SENT) {
        worker->counters.messages_out++;
        session->messages_out++;
        session->bytes_out += worker->counters.bytes_out - bytes;
        limit_count(worker, client, worker->counters.bytes_out - bytes);
    }
    return sent;
}

/* The rest of a large packet. True: it is all sent. */
static bool stream_continue(struct worker *worker, struct client *client)
{
    const struct message *message = client->stream;
    const struct mqtt_span rest = {message->bytes + message_length(message) - client->stream_left, client->stream_left};
    client->stream_left = tcp_send_some(client->tcp, rest);
    if (client->stream_left > 0) {
        return false;
    }
    message_release(client->stream, worker->memory);
    client->stream = NULL;
    return true;
}

/* ---- The queue --------------------------------------------------------------------------------------------------- */

static struct outgoing *outgoing_create(struct worker *worker, struct publication *publication,
                                        const struct delivery *delivery)
{
    struct outgoing *outgoing =
        mem_alloc(worker->memory, sizeof(*outgoing) + delivery->identifiers * sizeof(outgoing->identifier[0]));
    if (outgoing == NULL) {
        return NULL;
    }
    *outgoing = (struct outgoing){
        .message = publication_keep(publication, worker->memory),
        .qos = delivery->qos,
        .retain = delivery->retain,
        .identifiers = delivery->identifiers,
    };
    if (outgoing->message == NULL) {
        mem_free(worker->memory, outgoing);
        return NULL;
    }
    if (delivery->identifiers > 0) {
        memcpy(outgoing->identifier, delivery->identifier, delivery->identifiers * sizeof(outgoing->identifier[0]));
    }
    return outgoing;
}

static void session_count_drop(struct session *session, uint64_t *cause)
{
    session->dropped++;
    ++*cause;
}

static bool queue_is_full(const struct worker *worker, const struct session *session, uint32_t length)
{
    return session->queue.count >= worker->config->mqtt.max_queued_messages ||
           session->queue.bytes + length > worker->config->mqtt.max_queued_bytes;
}

/* Makes room by the configured policy. False: the new message is the one that goes. */
static bool queue_make_room(struct worker *worker, struct session *session, uint32_t length)
{
    if (worker->config->mqtt.queue_full == SHM_QUEUE_DROP_OLD) {
        while (session->queue.first != NULL && queue_is_full(worker, session, length)) {
            struct outgoing *oldest = session->queue.first;
            outgoing_remove(&session->queue, oldest);
            outgoing_free(worker, oldest);
            session_count_drop(session, &worker->counters.dropped_queue_old);
        }
    } else if (worker->config->mqtt.queue_full == SHM_QUEUE_DISCONNECT && session->client != NULL) {
        worker->counters.closed_queue_full++;
        client_doom(worker, session->client, MQTT_REASON_QUOTA_EXCEEDED);
    }
    return !queue_is_full(worker, session, length);
}

static void session_enqueue(struct worker *worker, struct session *session, struct publication *publication,
                            const struct delivery *delivery)
{
    const uint32_t length = publication->topic.length + publication->properties.length + publication->payload.length;
    if (queue_is_full(worker, session, length) && !queue_make_room(worker, session, length)) {
        session_count_drop(session, &worker->counters.dropped_queue_full);
        return;
    }
    struct outgoing *outgoing = outgoing_create(worker, publication, delivery);
    if (outgoing == NULL) {
        session_count_drop(session, &worker->counters.dropped_no_memory);
        return;
    }
    outgoing_append(&session->queue, outgoing);
}

/* ---- After a reconnect ------------------------------------------------------------------------------------------- */

/* One unacknowledged message again, as it was: DUP, the same identifier. */
/* REQ MQTT-5 [MQTT-3.3.1-1]: sent again means DUP [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-5 [MQTT-4.3.3-6]: PUBREL, not PUBLISH, once PUBREL was sent [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-1]: sent again means DUP [test: wire/unacknowledged_message_comes_again] */
static enum sent resend_one(struct worker *worker, struct session *session, struct outgoing *outgoing)
{
    struct client *client = session->client;
    if (outgoing->state == OUTGOING_RELEASED) {
        if (!client_can_answer(worker, client, MQTT_ACK_SIZE)) {
            return SENT_NOT;
        }
        client_send_ack(worker, client, MQTT_PUBREL, outgoing->packet_id, MQTT_REASON_SUCCESS);
        return SENT;
    }
    if (session->outstanding >= session->window) {
        return SENT_NOT;
    }
    struct publication publication;
    struct mqtt_publish_own own = {
        .qos = outgoing->qos,
        .retain = outgoing->retain,
        .duplicate = true, /* [MQTT-3.3.1-1] */
        .packet_id = outgoing->packet_id,
        .identifiers = outgoing->identifiers,
        .identifier = outgoing->identifier,
    };
    publication_from_message(&publication, outgoing->message, true);
    const enum sent sent = publish_send(worker, session, &publication, &own);
    publication_release(&publication, worker->memory);
    if (sent == SENT) {
        outgoing->outstanding = true;
        session->outstanding++;
    }
    return sent;
}

/* Goes on from `resend_next`. True: everything unacknowledged was sent again. */
static bool resend_continue(struct worker *worker, struct session *session)
{
    while (session->resend_next != NULL && session->client->stream == NULL) {
        struct outgoing *outgoing = session->resend_next;
        const enum sent sent = resend_one(worker, session, outgoing);
        if (sent == SENT_NOT) {
            return false;
        }
        session->resend_next = outgoing->next;
        if (sent == SENT_NEVER) {
            session->dropped++;
            inflight_remove(session, outgoing);
            outgoing_free(worker, outgoing);
        }
    }
    return session->resend_next == NULL;
}

/* REQ MQTT-5 [MQTT-4.4.0-1]: reconnected, it is sent again [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-5 [MQTT-4.6.0-1]: in the order in which it was sent [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-3.1.1 [MQTT-4.4.0-1]: reconnected, it is sent again [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-3.1.1 [MQTT-4.6.0-1]: in the order in which it was sent [test: conformance/qos2_resumes_where_it_was] */
void session_resend(struct worker *worker, struct session *session)
{
    session->resend_next = session->inflight.first;
    session_flush(worker, session);
}

/* ---- Delivery ---------------------------------------------------------------------------------------------------- */

/* QoS 1 and 2: what is sent is kept until it is acknowledged. */
/* REQ MQTT-5 [MQTT-3.3.4-9]: never more than the client's Receive Maximum [test: version5/receive_maximum] */
/* REQ MQTT-5 [MQTT-4.9.0-2]: nor when messages are sent again [test: version5/receive_maximum] */
/* REQ MQTT-5 [MQTT-4.3.2-2]: sent without DUP at first [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-5 [MQTT-4.3.3-2]: at QoS 2 too [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-5 [MQTT-4.3.2-3]: unacknowledged until PUBACK [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-5 [MQTT-4.3.3-3]: unacknowledged until PUBREC [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-3.1.1 [MQTT-4.3.2-1]: at QoS 1 kept until PUBACK [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-3.1.1 [MQTT-4.3.3-1]: kept until PUBREC, then PUBCOMP [test: conformance/qos2_resumes_where_it_was] */
static enum sent send_acknowledged(struct worker *worker, struct session *session, struct publication *publication,
                                   struct outgoing *outgoing)
{
    if (session->outstanding >= session->window || !inflight_add(worker, session, outgoing)) {
        return SENT_NOT;
    }
    struct mqtt_publish_own own = {
        .qos = outgoing->qos,
        .retain = outgoing->retain,
        .packet_id = outgoing->packet_id,
        .identifiers = outgoing->identifiers,
        .identifier = outgoing->identifier,
    };
    const enum sent sent = publish_send(worker, session, publication, &own);
    if (sent == SENT) {
        outgoing->outstanding = true;
        session->outstanding++;
    } else {
        inflight_remove(session, outgoing);
    }
    return sent;
}

/* REQ MQTT-3.1.1 [MQTT-4.3.1-1]: without DUP [test: wire/identifiers_are_free_again] */
static enum sent send_once(struct worker *worker, struct session *session, struct publication *publication,
                           const struct delivery *delivery)
{
    struct mqtt_publish_own own = {
        .retain = delivery->retain,
        .identifiers = delivery->identifiers,
        .identifier = delivery->identifier,
    };
    return publish_send(worker, session, publication, &own);
}

/* Must a new message wait behind others, to keep their order? */
static bool session_is_behind(const struct session *session)
{
    return session->queue.first != NULL || session->resend_next != NULL;
}

static void deliver_acknowledged(struct worker *worker, struct session *session, struct publication *publication,
                                 const struct delivery *delivery)
{
    if (session->client == NULL || session_is_behind(session) || session->outstanding >= session->window) {
        if (!session->ended) {
            session_enqueue(worker, session, publication, delivery);
        }
        return;
    }
    struct outgoing *outgoing = outgoing_create(worker, publication, delivery);
    if (outgoing == NULL) {
        session_count_drop(session, &worker->counters.dropped_no_memory);
        return;
    }
    const enum sent sent = send_acknowledged(worker, session, publication, outgoing);
    if (sent == SENT_NOT) {
        outgoing_append(&session->queue, outgoing);
    } else if (sent == SENT_NEVER) {
        session->dropped++;
        outgoing_free(worker, outgoing);
    }
}

/* May the client get the packets of a run as they lie there? */
static bool run_can_be_copied(const struct worker *worker, const struct session *session,
                              const struct publication *publication, const struct delivery *delivery)
{
    const struct client *client = session->client;
    const uint32_t length = publication->packet.length;
    return client != NULL && !session_is_behind(session) && client->stream == NULL && client->limits == NULL &&
           client->aliases_out == NULL && delivery->identifiers == 0 && publication->packet.data != NULL &&
           publication->packet_is_v5 == (client->version == MQTT_V5) && length <= client->maximum_packet_size &&
           length <= client_reserve_max(client) &&
           tcp_unacknowledged_bytes(client->tcp) + publication->run->count * length <= worker->send_limit;
}

/* Copies as many packets of a run as there is room for; returns how many. */
static uint32_t run_copy(struct worker *worker, struct session *session, const struct publication *publication)
{
    struct client *client = session->client;
    const uint32_t length = publication->packet.length;
    const uint32_t count = publication->run->count;
    uint32_t copied = 0;
    while (copied < count) {
        if (client_reserve(client, length) == NULL) {
            break;
        }
        const uint32_t fit = client_reserved_room(client) / length;
        const uint32_t now = fit < count - copied ? fit : count - copied;
        memcpy(client_reserve(client, now * length), publication->packet.data + copied * length, now * length);
        client_commit(client, now * length);
        copied += now;
    }
    worker->counters.messages_out += copied;
    worker->counters.bytes_out += copied * length;
    session->messages_out += copied;
    session->bytes_out += copied * length;
    return copied;
}

static void deliver_run(struct worker *worker, struct session *session, struct publication *publication,
                        const struct delivery *delivery)
{
    const uint32_t count = publication->run->count;
    uint32_t done =
        run_can_be_copied(worker, session, publication, delivery) ? run_copy(worker, session, publication) : 0;
    if (done < count) {
        struct publication *each = run_unpack(publication);
        for (; done < count; done++) {
            session_deliver(worker, session, &each[done], delivery);
        }
    }
}

void session_deliver(struct worker *worker, struct session *session, struct publication *publication,
                     const struct delivery *delivery)
{
    if (publication->run != NULL) {
        deliver_run(worker, session, publication, delivery);
        return;
    }
    if (delivery->qos > 0) {
        deliver_acknowledged(worker, session, publication, delivery);
        return;
    }
    if (session->client == NULL) {
        if (!session->ended) {
            session_count_drop(session, &worker->counters.dropped_offline);
        }
        return;
    }
    enum sent sent = SENT_NOT;
    if (!session_is_behind(session)) {
        sent = send_once(worker, session, publication, delivery);
    }
    if (sent == SENT_NOT) {
        session_enqueue(worker, session, publication, delivery);
    } else if (sent == SENT_NEVER) {
        session->dropped++;
    }
}

/* Sends the first of the queue. False: not now. */
static bool queue_send_first(struct worker *worker, struct session *session)
{
    struct outgoing *outgoing = session->queue.first;
    struct publication publication;
    enum sent sent;
    publication_from_message(&publication, outgoing->message, true);
    outgoing_remove(&session->queue, outgoing);
    if (outgoing->qos > 0) {
        sent = send_acknowledged(worker, session, &publication, outgoing);
    } else {
        const struct delivery delivery = {
            .retain = outgoing->retain, .identifiers = outgoing->identifiers, .identifier = outgoing->identifier};
        sent = send_once(worker, session, &publication, &delivery);
    }
    publication_release(&publication, worker->memory);
    if (sent == SENT_NOT) {
        outgoing_prepend(&session->queue, outgoing);
    } else if (sent == SENT_NEVER || outgoing->qos == 0) {
        session->dropped += sent == SENT_NEVER;
        outgoing_free(worker, outgoing);
    }
    return sent != SENT_NOT;
}

void session_flush(struct worker *worker, struct session *session)
{
    struct client *client = session->client;
    if (client == NULL || (client->stream != NULL && !stream_continue(worker, client))) {
        return;
    }
    if (!resend_continue(worker, session)) {
        return;
    }
    while (session->queue.first != NULL && client->stream == NULL &&
           (session->queue.first->qos == 0 || session->outstanding < session->window)) {
        if (!queue_send_first(worker, session)) {
            return;
        }
    }
}

/*
 * PUBLISH from a client and the acknowledgements of both directions (MQTT 5.0 sections 3.3 to 3.7, 4.3). See
 * handlers.h.
 *
 * QoS 1 and 2 messages are acknowledged once they are routed: every subscriber of this worker has them in its
 * connection, window or queue, and other workers have them in their mailboxes.
 */
#include <string.h>

#include "dataplane/client.h"
#include "dataplane/deliver.h"
#include "dataplane/handlers.h"
#include "dataplane/rate_limits.h"
#include "dataplane/payload_format.h"
#include "dataplane/retained.h"
#include "dataplane/route.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/packets.h"
#include "lib/mqtt/publish.h"

enum { ACK_ROOM = 64 }; /* bytes that one acknowledgement takes at most, with some to spare */

/* ---- PUBLISH ---------------------------------------------------------------------------------------------------- */

enum alias_result { ALIAS_RESOLVED, ALIAS_INVALID, ALIAS_NOT_SET, ALIAS_NO_MEMORY };

/* Remembers or looks up a topic alias [MQTT-3.3.2-12]. What goes wrong has codes of its own: section 3.3.4. */
/* REQ MQTT-5 [MQTT-3.3.2-12]: aliases up to the maximum are taken [test: version5/topic_alias] */
/* REQ MQTT-5 [MQTT-3.3.2-7]: they end with the connection [test: conformance/aliases_out] */
/* REQ MQTT-5 [MQTT-3.2.2-17], [MQTT-3.3.2-9]: a client that does is closed [test: wire/alias_beyond_the_maximum] */
static enum alias_result alias_resolve(struct worker *worker, struct client *client, struct mqtt_publish *publish)
{
    const uint16_t alias = publish->properties.topic_alias;
    const uint32_t maximum = worker->config->mqtt.topic_alias_maximum;
    if (alias == 0 || alias > maximum) {
        return ALIAS_INVALID;
    }
    if (client->aliases == NULL) {
        client->aliases =
            mem_alloc_zero(worker->memory, sizeof(*client->aliases) + maximum * sizeof(client->aliases->topics[0]));
        if (client->aliases == NULL) {
            return ALIAS_NO_MEMORY;
        }
        client->aliases->count = (uint16_t)maximum;
    }
    struct mqtt_span *topic = &client->aliases->topics[alias - 1];
    if (publish->topic.length == 0) {
        publish->topic = *topic;
        return topic->length > 0 ? ALIAS_RESOLVED : ALIAS_NOT_SET;
    }
    uint8_t *copy = mem_alloc(worker->memory, publish->topic.length);
    if (copy == NULL) {
        return ALIAS_NO_MEMORY;
    }
    memcpy(copy, publish->topic.data, publish->topic.length);
    mem_free(worker->memory, (void *)(uintptr_t)topic->data);
    *topic = (struct mqtt_span){copy, publish->topic.length};
    return ALIAS_RESOLVED;
}

/* A PUBLISH without an alias has nothing to resolve. */
static enum alias_result publish_alias(struct worker *worker, struct client *client, struct mqtt_publish *publish)
{
    return mqtt_property_is_present(&publish->properties, MQTT_PROPERTY_TOPIC_ALIAS)
               ? alias_resolve(worker, client, publish)
               : ALIAS_RESOLVED;
}

/* NULL, or the counter of what this client may not do; `reason` goes into the DISCONNECT. */
/* REQ MQTT-5 [MQTT-3.2.2-11], [MQTT-3.2.2-14]: a client that does it is closed [test: limits/not_offered] */
static uint64_t *publish_violation(struct worker *worker, const struct client *client,
                                   const struct mqtt_publish *publish, uint8_t *reason)
{
    const struct shm_mqtt_config *config = &worker->config->mqtt;
    if (publish->qos > config->max_qos) {
        *reason = MQTT_REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-11] */
        return &worker->counters.violated_qos;
    }
    if (publish->retain && !config->retain_available) {
        *reason = MQTT_REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-14] */
        return &worker->counters.violated_retain;
    }
    /* Older clients have no word for a maximum: they may have a message under way for each identifier. */
    if (client->version == MQTT_V5 && publish->qos > 0 && client->unreleased >= config->receive_maximum &&
        (publish->qos == 1 || !packet_ids_contain(client->session->received, publish->packet_id))) {
        /* REQ MQTT-5 [MQTT-3.3.4-7]: no more than Receive Maximum [test: conformance/receive_maximum_exceeded] */
        *reason = MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED;
        return &worker->counters.violated_receive_maximum;
    }
    return NULL;
}

/* The properties that travel with the message, encoded anew without alias and expiry. False: no memory. */
static bool properties_take(struct worker *worker, const struct mqtt_publish *publish, struct publication *publication)
{
    const uint32_t length = mqtt_publish_shared_properties_size(MQTT_V5, publish);
    if (length > 0) {
        uint8_t *bytes = mem_alloc(worker->memory, length);
        if (bytes == NULL) {
            return false;
        }
        mqtt_publish_shared_properties_encode(bytes, publish);
        publication->properties = (struct mqtt_span){bytes, length};
    }
    if (mqtt_property_is_present(&publish->properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
        publication->expires = worker->now + publish->properties.message_expiry_interval * UINT64_C(1000000);
    }
    return true;
}

/* May the received bytes be sent on as they are? */
static void packet_offer(const struct client *client, const struct mqtt_header *header, const uint8_t *body,
                         const struct mqtt_publish *publish, struct publication *publication)
{
    if (!header->padded && !mqtt_property_is_present(&publish->properties, MQTT_PROPERTY_TOPIC_ALIAS)) {
        publication->packet = (struct mqtt_span){body - header->length, header->length + header->remaining_length};
        publication->packet_is_v5 = client->version == MQTT_V5;
        publication->packet_id_offset = publish->qos > 0 ? (uint16_t)(header->length + 2 + publish->topic.length) : 0;
    }
}

/* Stores and routes; what the publisher is told. */
/* REQ MQTT-5 [MQTT-3.3.1-8]: without the flag nothing is stored, removed or replaced [test: messages/retained] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-12]: without the flag nothing is stored, removed or replaced [test: messages/retained] */
static enum route_result publication_check(struct worker *worker, const struct publication *publication,
                                           const struct topic_route **route)
{
    if (route_is_reserved(publication->topic)) {
        worker->counters.dropped_reserved += publication_count(publication);
        return ROUTE_RESERVED;
    }
    return route_lookup(worker, publication, route);
}

/* REQ MQTT-5 [MQTT-3.3.4-1]: answered as the QoS asks [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-4.3.2-4]: PUBACK with the identifier at QoS 1 [test: wire/all_in_one_segment] */
/* REQ MQTT-5 [MQTT-4.3.3-8]: PUBREC with the identifier at QoS 2 [test: wire/qos2_duplicate_is_one_message] */
/* REQ MQTT-3.1.1 [MQTT-3.3.4-1]: answered as the QoS asks [test: messages/publish_and_receive] */
/* REQ MQTT-3.1.1 [MQTT-4.3.2-2]: PUBACK with the identifier at QoS 1 [test: wire/all_in_one_segment] */
/* REQ MQTT-3.1.1 [MQTT-4.3.3-2]: PUBREC, PUBCOMP, no message twice [test: wire/qos2_duplicate_is_one_message] */
/* REQ MQTT-5 [MQTT-2.2.1-5]: with the identifier of the PUBLISH [test: wire/identifiers_are_free_again] */
/* REQ MQTT-3.1.1 [MQTT-2.3.1-6]: with the identifier of the PUBLISH [test: wire/identifiers_are_free_again] */
/* REQ MQTT-5 [MQTT-4.6.0-2], [MQTT-4.6.0-3]: at once, so in order [test: wire/all_in_one_segment] */
/* REQ MQTT-3.1.1 [MQTT-4.6.0-2], [MQTT-4.6.0-3]: at once, so in order [test: wire/all_in_one_segment] */
static void publish_acknowledge(struct worker *worker, struct client *client, const struct mqtt_publish *publish,
                                enum route_result routed)
{
    const uint8_t reason = client->version == MQTT_V5 && routed == ROUTE_UNMATCHED ? MQTT_REASON_NO_MATCHING_SUBSCRIBERS
                                                                                   : MQTT_REASON_SUCCESS;
    if (publish->qos == 1) {
        client_send_ack(worker, client, MQTT_PUBACK, publish->packet_id, reason);
    } else if (publish->qos == 2) {
        client_send_ack(worker, client, MQTT_PUBREC, publish->packet_id, reason);
    }
}

/*
 * The acknowledgement goes first, both leave in the same iteration: a publisher that subscribes to its own topic may
 * get half of a large message now, and nothing can be sent between the halves.
 */
static void publication_accept(struct worker *worker, struct client *client, const struct mqtt_publish *publish,
                               struct publication *publication, enum route_result routed,
                               const struct topic_route *route)
{
    publish_acknowledge(worker, client, publish, routed);
    if (publication->retain) {
        retained_store(worker, publication);
    }
    route_deliver(worker, publication, route);
}

/*
 * A message that the router does not take: MQTT 5.0 clients learn it from the acknowledgement, for older ones it looks
 * like any other (MQTT 3.1.1 section 3.3.5).
 *
 * REQ MQTT-5 [MQTT-4.3.3-9]: after a PUBREC that refuses, the identifier is free [test: conformance/sys_is_the_routers]
 */
/* REQ MQTT-3.1.1 [MQTT-3.3.5-2]: acknowledged as usual [test: reason_codes/refused_as_usual] */
static enum packet_result publish_refuse(struct worker *worker, struct client *client,
                                         const struct mqtt_publish *publish, uint8_t reason)
{
    if (client->version != MQTT_V5) {
        publish_acknowledge(worker, client, publish, ROUTE_MATCHED);
        return PACKET_DONE;
    }
    if (publish->qos == 2) {
        packet_ids_remove(&client->session->received, publish->packet_id, worker->memory);
    }
    if (publish->qos > 0) {
        client_send_ack(worker, client, publish->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, publish->packet_id, reason);
    }
    return PACKET_DONE;
}

/* What becomes of the packet, or of a run of `count`. Only a message that is not handled again later is counted. */
static enum packet_result publish_finish(struct worker *worker, struct client *client,
                                         const struct mqtt_publish *publish, uint32_t count, enum route_result routed)
{
    if (routed == ROUTE_STALLED) {
        worker->counters.stalls_memory++;
        return client_wait(worker, client);
    }
    worker->counters.messages_in += count;
    client->session->messages_in += count;
    if (routed == ROUTE_RESERVED) {
        return publish_refuse(worker, client, publish, MQTT_REASON_NOT_AUTHORIZED);
    }
    if (routed != ROUTE_REFUSED) {
        return PACKET_DONE;
    }
    if (client->version == MQTT_V5 && publish->qos > 0) {
        worker->counters.dropped_topic_limit++;
        return publish_refuse(worker, client, publish, MQTT_REASON_TOPIC_NAME_INVALID);
    }
    return client_violation(worker, client, &worker->counters.violated_topic_limit, MQTT_REASON_TOPIC_NAME_INVALID);
}

/* The message, or with `count` above 1 the run that begins with it. */
static enum packet_result publish_route(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                        const uint8_t *body, const struct mqtt_publish *publish, uint32_t count)
{
    struct publication publication = {
        .topic = publish->topic,
        .payload = publish->payload,
        .publisher = client->session->id_hash,
        .moment = publish->retain ? retained_moment(worker) : 0,
        .qos = publish->qos,
        .retain = publish->retain,
    };
    if (publish->properties.present != 0 && !properties_take(worker, publish, &publication)) {
        worker->counters.stalls_memory++;
        return client_wait(worker, client);
    }
    packet_offer(client, header, body, publish, &publication);
    run_begin(&worker->run, &publication, count);
    const struct topic_route *route;
    const enum route_result routed = publication_check(worker, &publication, &route);
    if (routed == ROUTE_MATCHED || routed == ROUTE_UNMATCHED) {
        publication_accept(worker, client, publish, &publication, routed, route);
    }
    run_end(&publication, worker->memory);
    publication_release(&publication, worker->memory);
    mem_free(worker->memory, (void *)(uintptr_t)publication.properties.data);
    return publish_finish(worker, client, publish, count, routed);
}

/* QoS 2, method B of section 4.3.3: routed when it is first seen; its identifier is kept until PUBREL. */
/* REQ MQTT-5 [MQTT-4.3.3-10]: acknowledged again, not routed again [test: wire/qos2_duplicate_is_one_message] */
static enum packet_result publish_once(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                       const uint8_t *body, const struct mqtt_publish *publish)
{
    struct session *session = client->session;
    if (packet_ids_contain(session->received, publish->packet_id)) {
        client_send_ack(worker, client, MQTT_PUBREC, publish->packet_id, MQTT_REASON_SUCCESS);
        return PACKET_DONE; /* [MQTT-4.3.3-10] */
    }
    if (!packet_ids_add(&session->received, publish->packet_id, worker->memory)) {
        worker->counters.stalls_memory++;
        return client_wait(worker, client);
    }
    const enum packet_result result = publish_route(worker, client, header, body, publish, 1);
    if (result == PACKET_WAIT) {
        packet_ids_remove(&session->received, publish->packet_id, worker->memory);
    } else if (result == PACKET_DONE && packet_ids_contain(session->received, publish->packet_id)) {
        client->unreleased++;
    }
    return result;
}

/* REQ MQTT-5 [MQTT-4.3.2-5]: after PUBACK the same identifier is a new message [test: messages/publish_and_receive] */
static enum packet_result publish_take(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                       const uint8_t *body, uint32_t count)
{
    struct mqtt_publish publish;
    uint8_t reason;
    const enum mqtt_error error = mqtt_publish_decode(client->version, MQTT_FROM_CLIENT, header, body, &publish);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    uint64_t *violation = publish_violation(worker, client, &publish, &reason);
    if (violation != NULL) {
        return client_violation(worker, client, violation, reason);
    }
    if (publish.qos > 0 && !client_can_answer(worker, client, ACK_ROOM)) {
        return PACKET_WAIT;
    }
    if (!route_has_room(worker, count)) {
        worker->counters.stalls_mailbox++;
        return client_wait(worker, client);
    }
    switch (publish_alias(worker, client, &publish)) {
    case ALIAS_INVALID:
        return client_violation(worker, client, &worker->counters.violated_topic_alias,
                                MQTT_REASON_TOPIC_ALIAS_INVALID);
    case ALIAS_NOT_SET:
        return client_violation(worker, client, &worker->counters.violated_topic_alias, MQTT_REASON_PROTOCOL_ERROR);
    case ALIAS_NO_MEMORY:
        worker->counters.stalls_memory++;
        return client_wait(worker, client);
    default:
        break;
    }
    if (publish.properties.present != 0 && worker->config->mqtt.payload_format_check &&
        !payload_format_is_kept(&publish.properties, publish.payload)) {
        worker->counters.dropped_payload_format++;
        return publish.qos == 0 ? client_disconnect(worker, client, MQTT_REASON_PAYLOAD_FORMAT_INVALID)
                                : publish_refuse(worker, client, &publish, MQTT_REASON_PAYLOAD_FORMAT_INVALID);
    }
    return publish.qos == 2 ? publish_once(worker, client, header, body, &publish)
                            : publish_route(worker, client, header, body, &publish, count);
}

/* A client over one of its limits is not read for the moment. */
static enum packet_result publish_take_limited(struct worker *worker, struct client *client,
                                               const struct mqtt_header *header, const uint8_t *body)
{
    struct limits *limits = client->limits;
    if (!limits_open_in(limits, &worker->config->mqtt, worker->now)) {
        worker->counters.limited_in += !limits->held_in;
        limits->held_in = true;
        return client_wait(worker, client);
    }
    limits->held_in = false;
    const enum packet_result result = publish_take(worker, client, header, body, 1);
    if (result == PACKET_DONE) {
        limits_take_in(limits, &worker->config->mqtt, header->length + header->remaining_length);
    }
    return result;
}

enum packet_result publish_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                  const uint8_t *body)
{
    return client->limits == NULL ? publish_take(worker, client, header, body, 1)
                                  : publish_take_limited(worker, client, header, body);
}

enum packet_result publish_handle_run(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                      const uint8_t *body, uint32_t count)
{
    const enum packet_result result = publish_take(worker, client, header, body, count);
    if (result == PACKET_DONE) {
        worker->counters.packets_in += count;
    }
    return result;
}

/* ---- Acknowledgements of what the router sent ------------------------------------------------------------------- */

/* Reads one of the four packets; `ack` is only good after PACKET_DONE. */
static enum packet_result ack_read(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                   const uint8_t *body, struct mqtt_ack *ack)
{
    const enum mqtt_error error = mqtt_ack_decode(client->version, header, body, ack);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    return client_can_answer(worker, client, ACK_ROOM) ? PACKET_DONE : PACKET_WAIT;
}

static bool is_refusal(const struct mqtt_ack *ack)
{
    return ack->reason >= 0x80;
}

/* The message has reached its client, or never will. */
/* REQ MQTT-5 [MQTT-4.4.0-2]: what the client refuses is acknowledged [test: conformance/refused_message_is_done] */
/* REQ MQTT-5 [MQTT-4.8.2-6]: no other member gets what one refused [test: conformance/refused_message_is_done] */
static void outgoing_finish(struct worker *worker, struct session *session, struct outgoing *outgoing,
                            const struct mqtt_ack *ack)
{
    if (is_refusal(ack)) {
        session->dropped++;
        worker->counters.dropped_rejected++;
    }
    inflight_remove(session, outgoing);
    outgoing_free(worker, outgoing);
    session_flush(worker, session);
}

enum packet_result puback_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                 const uint8_t *body)
{
    struct mqtt_ack ack;
    const enum mqtt_error error = mqtt_ack_decode(client->version, header, body, &ack);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    struct outgoing *outgoing = inflight_find(client->session, ack.packet_id);
    if (outgoing != NULL && outgoing->qos == 1) {
        outgoing_finish(worker, client->session, outgoing, &ack);
    }
    return PACKET_DONE;
}

/* PUBREC was accepted: the message itself is not needed any more. */
static void outgoing_release(struct worker *worker, struct session *session, struct outgoing *outgoing)
{
    if (outgoing->message != NULL) {
        session->inflight.bytes -= message_length(outgoing->message);
        message_release(outgoing->message, worker->memory);
        outgoing->message = NULL;
    }
    outgoing->state = OUTGOING_RELEASED;
}

/* REQ MQTT-5 [MQTT-4.3.3-4]: PUBREC is answered by PUBREL [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-5 [MQTT-4.3.3-5]: PUBREL is unacknowledged until PUBCOMP [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-5 [MQTT-3.3.4-10]: a full window holds back PUBLISH alone [test: conformance/refused_message_is_done] */
/* REQ MQTT-5 [MQTT-4.9.0-3]: others are handled whatever the window [test: conformance/refused_message_is_done] */
/* REQ MQTT-5 [MQTT-4.6.0-4]: at once, so in order; clients do the same [test: conformance/qos2_resumes_where_it_was] */
/* REQ MQTT-3.1.1 [MQTT-4.6.0-4]: at once, so in order [test: conformance/qos2_resumes_where_it_was] */
enum packet_result pubrec_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                 const uint8_t *body)
{
    struct mqtt_ack ack;
    const enum packet_result result = ack_read(worker, client, header, body, &ack);
    if (result != PACKET_DONE) {
        return result;
    }
    struct outgoing *outgoing = inflight_find(client->session, ack.packet_id);
    const bool known = outgoing != NULL && outgoing->qos == 2;
    if (known && is_refusal(&ack)) {
        outgoing_finish(worker, client->session, outgoing, &ack);
        return PACKET_DONE;
    }
    if (known) {
        outgoing_release(worker, client->session, outgoing);
    }
    if (!is_refusal(&ack)) {
        client_send_ack(worker, client, MQTT_PUBREL, ack.packet_id,
                        known || client->version != MQTT_V5 ? MQTT_REASON_SUCCESS
                                                            : MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND);
    }
    return PACKET_DONE;
}

enum packet_result pubcomp_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                  const uint8_t *body)
{
    struct mqtt_ack ack;
    const enum mqtt_error error = mqtt_ack_decode(client->version, header, body, &ack);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    struct outgoing *outgoing = inflight_find(client->session, ack.packet_id);
    if (outgoing != NULL && outgoing->state == OUTGOING_RELEASED) {
        inflight_remove(client->session, outgoing);
        outgoing_free(worker, outgoing);
        session_flush(worker, client->session);
    }
    return PACKET_DONE;
}

/* ---- The client releases what it sent at QoS 2 ------------------------------------------------------------------ */

/* REQ MQTT-5 [MQTT-4.3.3-11]: PUBREL is answered by PUBCOMP [test: wire/qos2_duplicate_is_one_message] */
/* REQ MQTT-5 [MQTT-4.3.3-12]: after PUBCOMP the identifier is free [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-4.3.3-13]: whatever has expired meanwhile [test: conformance/expired_is_sent_again] */
enum packet_result pubrel_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                 const uint8_t *body)
{
    struct mqtt_ack ack;
    const enum packet_result result = ack_read(worker, client, header, body, &ack);
    if (result != PACKET_DONE) {
        return result;
    }
    const bool known = packet_ids_remove(&client->session->received, ack.packet_id, worker->memory);
    client->unreleased -= known && client->unreleased > 0;
    client_send_ack(worker, client, MQTT_PUBCOMP, ack.packet_id,
                    known || client->version != MQTT_V5 ? MQTT_REASON_SUCCESS
                                                        : MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND);
    return PACKET_DONE;
}

/* SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 sections 3.8 to 3.11). See handlers.h and subscribe.h. */
#include "dataplane/subscribe.h"

#include <string.h>

#include "dataplane/handlers.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/packets.h"
#include "lib/mqtt/topic_name.h"

/* ---- To the housekeeper ----------------------------------------------------------------------------------------- */

void subscription_presence(void *arg, const struct topic_filter_name *filter, bool present)
{
    struct worker *worker = arg;
    if (worker->to_housekeeper == NULL) {
        return; /* one worker: nobody else has to know */
    }
    struct subscription_mail *block =
        mem_alloc(worker->memory, sizeof(*block) + filter->group_length + filter->filter_length);
    if (block == NULL) {
        worker->presence_failed = true;
        return;
    }
    *block = (struct subscription_mail){
        .group_length = filter->group_length,
        .filter_length = filter->filter_length,
        .levels = filter->levels,
        .wildcard = filter->wildcard,
        .present = present,
    };
    if (filter->group_length > 0) {
        memcpy(block->text, filter->group, filter->group_length);
    }
    memcpy(block->text + filter->group_length, filter->filter, filter->filter_length);
    if (!mailbox_post(worker->to_housekeeper, worker->memory,
                      (struct mail){.type = MAIL_SUBSCRIPTION, .block = block})) {
        mem_free(worker->memory, block);
        worker->presence_failed = true;
    }
}

/* ---- SUBSCRIBE -------------------------------------------------------------------------------------------------- */

static uint8_t filter_reason(enum topic_status status)
{
    switch (status) {
    case TOPIC_OK:
        return MQTT_REASON_SUCCESS;
    case TOPIC_INVALID:
    case TOPIC_TOO_DEEP:
    case TOPIC_TOO_LONG:
        return MQTT_REASON_TOPIC_FILTER_INVALID;
    default:
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
}

/* REQ MQTT-5 [MQTT-3.2.2-10]: any QoS may be asked for, within Maximum QoS granted [test: limits/not_offered] */
static uint8_t subscription_options(const struct worker *worker, const struct mqtt_subscription *subscription)
{
    const uint32_t max_qos = worker->config->mqtt.max_qos;
    const uint8_t qos = subscription->qos < max_qos ? subscription->qos : (uint8_t)max_qos;
    return (uint8_t)(qos | (subscription->no_local ? TOPIC_OPTION_NO_LOCAL : 0) |
                     (subscription->retain_as_published ? TOPIC_OPTION_RETAIN_AS_PUBLISHED : 0) |
                     subscription->retain_handling << 4);
}

/* REQ MQTT-3.1.1 [MQTT-3.8.3-2]: refused by 0x80 where the operator wants none [test: limits/not_offered] */
static uint8_t filter_refusal(const struct shm_mqtt_config *config, struct mqtt_span filter)
{
    struct mqtt_span group, rest;
    mqtt_topic_share_split(filter, &group, &rest);
    if (group.length > 0 && !config->shared_available) {
        return MQTT_REASON_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    }
    if (!config->wildcard_available && mqtt_topic_has_wildcard(rest)) {
        return MQTT_REASON_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
    }
    return MQTT_REASON_SUCCESS;
}

/*
 * What the configuration does not offer. CONNACK has said so: an MQTT 5.0 client that asks all the same commits a
 * protocol error (sections 3.2.2.3.11 to 13). Returns what to disconnect it with, 0: nothing is wrong.
 */
static uint8_t subscribe_refusal(const struct worker *worker, const struct mqtt_subscribe *subscribe)
{
    const struct shm_mqtt_config *config = &worker->config->mqtt;
    struct mqtt_span rest = subscribe->filters;
    struct mqtt_subscription subscription;
    uint8_t reason = MQTT_REASON_SUCCESS;
    if (config->shared_available && config->wildcard_available) {
        return reason;
    }
    while (reason == MQTT_REASON_SUCCESS && mqtt_subscription_next(&rest, &subscription)) {
        reason = filter_refusal(config, subscription.filter);
    }
    return reason;
}

/* Subscribes to one filter; returns its reason code. */
static uint8_t subscribe_one(struct worker *worker, struct session *session,
                             const struct mqtt_subscription *subscription, uint32_t identifier, uint8_t *is_new)
{
    struct topic_filter_name filter;
    const uint8_t options = subscription_options(worker, subscription);
    uint8_t reason =
        filter_reason(topic_filter_parse(&filter, &worker->dataplane->topic_limits,
                                         (const char *)subscription->filter.data, subscription->filter.length));
    reason = reason == MQTT_REASON_SUCCESS ? filter_refusal(&worker->config->mqtt, subscription->filter) : reason;
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    worker->presence_failed = false;
    const struct topic_subscribe_result result =
        topic_subscribe(worker->subscribers, &session->subscriptions, &filter, options, identifier);
    if (result.status != TOPIC_OK) {
        return filter_reason(result.status);
    }
    if (worker->presence_failed ||
        (!result.replaced && session->subscriptions.count > worker->config->mqtt.max_subscriptions)) {
        topic_subscription_remove(worker->subscribers, &session->subscriptions, result.subscription);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    *is_new = !result.replaced && filter.group_length == 0;
    /* Retained messages never go to shared subscriptions: section 4.8.2. */
    *is_new |= filter.group_length > 0 ? SUBSCRIPTION_SHARED : 0;
    return options & TOPIC_OPTION_QOS;
}

/* REQ MQTT-5 [MQTT-3.10.4-1]: filters are compared as they are [test: version5/reason_codes] */
/* REQ MQTT-5 [MQTT-3.11.3-1]: reason codes in the order of the filters [test: version5/reason_codes] */
/* REQ MQTT-3.1.1 [MQTT-3.10.4-1]: filters are compared as they are [test: messages/unsubscribe_ends_delivery] */
static uint8_t unsubscribe_one(struct worker *worker, struct session *session, struct mqtt_span text)
{
    struct topic_filter_name filter;
    const enum topic_status status =
        topic_filter_parse(&filter, &worker->dataplane->topic_limits, (const char *)text.data, text.length);
    if (status != TOPIC_OK) {
        return filter_reason(status);
    }
    return topic_unsubscribe(worker->subscribers, &session->subscriptions, &filter) == TOPIC_OK
               ? MQTT_REASON_SUCCESS
               : MQTT_REASON_NO_SUBSCRIPTION_EXISTED;
}

/* ---- A packet's filters, slice by slice ------------------------------------------------------------------------- */

/* Remembers what a packet asks for, and that its client is owed an answer. NULL: no memory. */
static struct subscribe_pending *pending_create(struct worker *worker, struct client *client, uint16_t packet_id,
                                                uint32_t count, struct mqtt_span filters)
{
    struct subscribe_pending *pending =
        mem_alloc(worker->memory, sizeof(*pending) + 2 * (size_t)count + filters.length);
    if (pending == NULL) {
        worker->counters.stalls_memory++;
        return NULL;
    }
    *pending = (struct subscribe_pending){
        .connection = tcp_connection_id(client->tcp),
        .count = count,
        .filters_length = filters.length,
        .packet_id = packet_id,
    };
    memset(pending->bytes, 0, 2 * (size_t)count);
    memcpy(pending->bytes + 2 * (size_t)count, filters.data, filters.length);
    client->subscribing = pending;
    client->answers_owed += count + SUBACK_ROOM;
    return pending;
}

static struct mqtt_span pending_filters(const struct subscribe_pending *pending)
{
    return (struct mqtt_span){pending->bytes + 2 * (size_t)pending->count, pending->filters_length};
}

/* Is there room for another filter in this iteration, and in the housekeeper's mailbox? */
static bool may_change(const struct worker *worker)
{
    return worker->filters_left > 0 && (worker->to_housekeeper == NULL || mailbox_has_room(worker->to_housekeeper, 1));
}

/* The next filter of the packet, and its reason code. */
static void pending_step(struct worker *worker, struct session *session, struct subscribe_pending *pending)
{
    const struct mqtt_span all = pending_filters(pending);
    struct mqtt_span filter, rest = {all.data + pending->filters_done, all.length - pending->filters_done};
    struct mqtt_subscription subscription;
    uint8_t *reason = &pending->bytes[pending->done], *is_new = &pending->bytes[pending->count + pending->done];
    if (pending->unsubscribes) {
        mqtt_filter_next(&rest, &filter);
        *reason = unsubscribe_one(worker, session, filter);
    } else {
        mqtt_subscription_next(&rest, &subscription);
        *reason = subscribe_one(worker, session, &subscription, pending->identifier, is_new);
    }
    pending->filters_done = all.length - rest.length;
    pending->done++;
    worker->filters_left--;
}

/* As many filters as this iteration has room for. False: some are left. */
static bool pending_work(struct worker *worker, struct client *client)
{
    struct subscribe_pending *pending = client->subscribing;
    while (pending->done < pending->count && may_change(worker)) {
        pending_step(worker, client->session, pending);
    }
    return pending->done == pending->count;
}

static void pending_append(struct worker *worker, struct subscribe_pending *pending)
{
    pending->next = NULL;
    if (worker->pending_first == NULL) {
        worker->pending_first = pending;
    } else {
        worker->pending_last->next = pending;
    }
    worker->pending_last = pending;
}

static enum packet_result subscribe_continue(struct worker *worker, struct client *client)
{
    struct subscribe_pending *pending = client->subscribing;
    if (!pending_work(worker, client)) {
        return client_wait(worker, client);
    }
    client->subscribing = NULL;
    pending->since.here = retained_moment_next(worker);
    pending->position = worker->to_housekeeper == NULL ? 0 : worker->to_housekeeper->posted;
    pending_append(worker, pending);
    if (worker->to_housekeeper == NULL) {
        subscribe_progress(worker);
    }
    return PACKET_DONE;
}

/* REQ MQTT-5 [MQTT-3.8.4-1]: SUBSCRIBE is answered by SUBACK [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-3.8.4-2]: with the same packet identifier [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-3.8.4-5]: many filters are like many packets [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-3.8.4-6]: a reason code for each filter [test: version5/reason_codes] */
/* REQ MQTT-5 [MQTT-3.8.4-7]: the granted QoS, or why not [test: version5/reason_codes] */
/* REQ MQTT-5 [MQTT-3.9.3-1]: in the order of the filters [test: version5/reason_codes] */
/* REQ MQTT-3.1.1 [MQTT-3.8.4-1]: SUBSCRIBE is answered by SUBACK [test: messages/publish_and_receive] */
/* REQ MQTT-3.1.1 [MQTT-3.8.4-2]: with the same packet identifier [test: messages/publish_and_receive] */
/* REQ MQTT-3.1.1 [MQTT-3.8.4-4]: many filters are like many packets [test: messages/publish_and_receive] */
/* REQ MQTT-3.1.1 [MQTT-3.8.4-5]: the granted QoS, or 0x80, for each filter [test: conformance/shared_filter_forms] */
/* REQ MQTT-3.1.1 [MQTT-3.9.3-1]: in the order of the filters [test: messages/publish_and_receive] */
enum packet_result subscribe_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                    const uint8_t *body)
{
    struct mqtt_subscribe subscribe;
    if (client->subscribing != NULL) {
        return subscribe_continue(worker, client);
    }
    const enum mqtt_error error = mqtt_subscribe_decode(client->version, header, body, &subscribe);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    const uint8_t refusal = client->version == MQTT_V5 ? subscribe_refusal(worker, &subscribe) : MQTT_REASON_SUCCESS;
    if (refusal != MQTT_REASON_SUCCESS) {
        return client_violation(worker, client, &worker->counters.violated_subscription, refusal);
    }
    if (!client_can_answer(worker, client, subscribe.filter_count + SUBACK_ROOM)) {
        return PACKET_WAIT;
    }
    struct subscribe_pending *pending =
        pending_create(worker, client, subscribe.packet_id, subscribe.filter_count, subscribe.filters);
    if (pending == NULL) {
        return client_wait(worker, client);
    }
    pending->identifier = mqtt_property_is_present(&subscribe.properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER)
                              ? subscribe.properties.subscription_identifier
                              : 0;
    return subscribe_continue(worker, client);
}

/* REQ MQTT-5 [MQTT-2.2.1-6]: with the identifier of the SUBSCRIBE [test: wire/many_filters_one_answer] */
/* REQ MQTT-3.1.1 [MQTT-2.3.1-7]: with the identifier of the SUBSCRIBE [test: wire/many_filters_one_answer] */
/* REQ MQTT-5 [MQTT-3.9.2-1], [MQTT-3.9.2-2]: SUBACK has no properties [test: reason_codes/no_properties] */
static void suback_send(struct worker *worker, struct client *client, struct subscribe_pending *pending)
{
    if (client->version != MQTT_V5) {
        for (uint32_t i = 0; i < pending->count; i++) {
            pending->bytes[i] = pending->bytes[i] >= 0x80 ? 0x80 : pending->bytes[i];
        }
    }
    const struct mqtt_suback suback = {.packet_id = pending->packet_id, .reasons = {pending->bytes, pending->count}};
    const size_t size = mqtt_suback_size(client->version, &suback);
    uint8_t *packet = mem_alloc(worker->memory, size);
    if (packet == NULL) {
        worker->counters.closed_no_memory++;
        client_disconnect(worker, client, MQTT_REASON_QUOTA_EXCEEDED);
        return;
    }
    mqtt_suback_encode(packet, client->version, &suback);
    client_send(worker, client, packet, size);
    mem_free(worker->memory, packet);
}

/* [MQTT-3.8.4-4] and retain handling, section 3.8.3.1. */
/* REQ MQTT-5 [MQTT-3.3.1-10]: with 1 new subscriptions get them [test: version5/retain_handling] */
/* REQ MQTT-5 [MQTT-3.3.1-11]: with 2 none does [test: version5/retain_handling] */
/* REQ MQTT-5 [MQTT-3.8.4-4]: with 0 at each subscribe, losing nothing [test: version5/retain_handling] */
/* REQ MQTT-3.1.1 [MQTT-3.8.4-3]: made again, it brings them again [test: messages/retained] */
static bool wants_retained(const struct mqtt_subscription *subscription, uint8_t reason, uint8_t is_new)
{
    return reason < 0x80 && (is_new & SUBSCRIPTION_SHARED) == 0 &&
           (subscription->retain_handling == 0 || (subscription->retain_handling == 1 && is_new));
}

static void retained_request_all(struct worker *worker, const struct session *session,
                                 const struct subscribe_pending *pending)
{
    const uint8_t *reasons = pending->bytes, *is_new = pending->bytes + pending->count;
    struct mqtt_span rest = pending_filters(pending);
    struct mqtt_subscription subscription;
    for (uint32_t i = 0; mqtt_subscription_next(&rest, &subscription); i++) {
        if (wants_retained(&subscription, reasons[i], is_new[i]) &&
            !retained_request(worker, session, subscription.filter, subscription_options(worker, &subscription),
                              pending->identifier, &pending->since)) {
            worker->counters.dropped_no_memory++;
        }
    }
}

/* The subscriber, or NULL if it has gone. */
static struct client *pending_client(struct worker *worker, const struct subscribe_pending *pending)
{
    struct tcp_connection *tcp = tcp_connection_find(worker->net, pending->connection);
    struct client *client = tcp == NULL ? NULL : tcp_user(tcp);
    return client != NULL && client->state == CLIENT_CONNECTED ? client : NULL;
}

static bool pending_is_live(const struct worker *worker, const struct subscribe_pending *pending)
{
    return worker->to_housekeeper == NULL || mailbox_was_handled(worker->to_housekeeper, pending->position);
}

/* Half of a large PUBLISH is on its way to the client, and it takes the room that the SUBACK was promised. */
static bool pending_has_to_wait(const struct client *client, const struct subscribe_pending *pending)
{
    return client->stream != NULL || client_send_room(client) < pending->count + SUBACK_ROOM;
}

static void pending_finish(struct worker *worker, struct client *client, struct subscribe_pending *pending)
{
    struct session *session = client->session;
    client->answers_owed -= pending->count + SUBACK_ROOM;
    pending->since.everywhere = retained_moment_next(worker);
    suback_send(worker, client, pending);
    if (client->session == session) {
        retained_request_all(worker, session, pending);
    }
}

void subscribe_progress(struct worker *worker)
{
    struct subscribe_pending **link = &worker->pending_first, *last = NULL;
    while (*link != NULL && pending_is_live(worker, *link)) {
        struct subscribe_pending *pending = *link;
        struct client *client = pending_client(worker, pending);
        if (client != NULL && pending_has_to_wait(client, pending)) {
            last = pending;
            link = &pending->next;
            continue;
        }
        *link = pending->next;
        if (client != NULL) {
            pending_finish(worker, client, pending);
        }
        mem_free(worker->memory, pending);
    }
    if (*link == NULL) {
        worker->pending_last = last;
    }
}

/* ---- UNSUBSCRIBE ------------------------------------------------------------------------------------------------ */

/* REQ MQTT-5 [MQTT-3.11.2-1], [MQTT-3.11.2-2]: UNSUBACK has no properties [test: reason_codes/no_properties] */
static enum packet_result unsubscribe_continue(struct worker *worker, struct client *client)
{
    struct subscribe_pending *pending = client->subscribing;
    if (!pending_work(worker, client) || pending_has_to_wait(client, pending)) {
        return client_wait(worker, client);
    }
    const struct mqtt_suback unsuback = {
        .packet_id = pending->packet_id,
        .reasons = {pending->bytes, client->version == MQTT_V5 ? pending->count : 0},
    };
    uint8_t *packet = mem_alloc(worker->memory, pending->count + SUBACK_ROOM);
    if (packet == NULL) {
        worker->counters.stalls_memory++;
        return client_wait(worker, client);
    }
    client->subscribing = NULL;
    client->answers_owed -= pending->count + SUBACK_ROOM;
    const uint8_t *end = mqtt_unsuback_encode(packet, client->version, &unsuback);
    client_send(worker, client, packet, (size_t)(end - packet));
    mem_free(worker->memory, packet);
    mem_free(worker->memory, pending);
    return PACKET_DONE;
}

/* REQ MQTT-5 [MQTT-3.10.4-2]: no new messages after it [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-5 [MQTT-3.10.4-3]: what was started to be sent is finished [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-5 [MQTT-3.10.4-4]: UNSUBSCRIBE is answered by UNSUBACK [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-5 [MQTT-3.10.4-5]: with its packet identifier, always [test: version5/reason_codes] */
/* REQ MQTT-5 [MQTT-3.10.4-6]: many filters are like many packets [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-3.1.1 [MQTT-3.10.4-2]: no new messages after it [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-3.1.1 [MQTT-3.10.4-3]: what was started to be sent is finished [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-3.1.1 [MQTT-3.10.4-4]: UNSUBSCRIBE is answered by UNSUBACK [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-3.1.1 [MQTT-3.10.4-5]: with its packet identifier, always [test: messages/unsubscribe_ends_delivery] */
/* REQ MQTT-3.1.1 [MQTT-3.10.4-6]: many filters are like many packets [test: messages/unsubscribe_ends_delivery] */
enum packet_result unsubscribe_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                      const uint8_t *body)
{
    struct mqtt_subscribe unsubscribe;
    if (client->subscribing != NULL) {
        return unsubscribe_continue(worker, client);
    }
    const enum mqtt_error error = mqtt_unsubscribe_decode(client->version, header, body, &unsubscribe);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    if (!client_can_answer(worker, client, unsubscribe.filter_count + SUBACK_ROOM)) {
        return PACKET_WAIT;
    }
    struct subscribe_pending *pending =
        pending_create(worker, client, unsubscribe.packet_id, unsubscribe.filter_count, unsubscribe.filters);
    if (pending == NULL) {
        return client_wait(worker, client);
    }
    pending->unsubscribes = true;
    return unsubscribe_continue(worker, client);
}

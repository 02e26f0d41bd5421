/*
 * CONNECT and DISCONNECT: how a connection gets its session and how it gives it back (MQTT 5.0
 * sections 3.1, 3.2, 3.14). See handlers.h.
 */
#include <stdio.h>
#include <string.h>

#include <rte_mempool.h>

#include "dataplane/aliases.h"
#include "dataplane/client.h"
#include "dataplane/deliver.h"
#include "dataplane/directory.h"
#include "dataplane/handlers.h"
#include "dataplane/login.h"
#include "dataplane/rate_limits.h"
#include "dataplane/payload_format.h"
#include "dataplane/route.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/packets.h"
#include "lib/mqtt/topic_name.h"

enum {
    CONNACK_ROOM = 4096,   /* bytes of a CONNACK; nothing of the client's is in it that could fill it */
    RESPONSE_ROOM = 1024,  /* bytes of Response Information */
    ASSIGNED_ID_SIZE = 32, /* bytes of a client identifier that the router makes */
};

/* ---- CONNACK ---------------------------------------------------------------------------------------------------- */

static void connack_send(struct worker *worker, struct client *client, const struct mqtt_connack *connack)
{
    uint8_t packet[CONNACK_ROOM];
    const uint8_t *end = mqtt_connack_encode(packet, client->version, connack);
    client_send(worker, client, packet, (size_t)(end - packet));
}

/* Adds a string, unless that makes the packet larger than the client takes. */
/* REQ MQTT-5 [MQTT-3.2.2-19]: no reason string beyond Maximum Packet Size [test: conformance/reason_strings] */
static void connack_string(const struct client *client, struct mqtt_connack *connack, enum mqtt_property property,
                           struct mqtt_span *field, struct mqtt_span text)
{
    *field = text;
    mqtt_property_set(&connack->properties, property);
    if (mqtt_connack_size(MQTT_V5, connack) > RTE_MIN(client->maximum_packet_size, CONNACK_ROOM)) {
        mqtt_property_clear(&connack->properties, property);
    }
}

/* REQ MQTT-5 [MQTT-3.2.2-7]: a CONNACK that refuses is followed by the end [test: conformance/connect_refusals] */
enum packet_result connect_refuse(struct worker *worker, struct client *client, uint8_t reason)
{
    struct mqtt_connack connack = {.reason = client->version == MQTT_V5 ? reason : mqtt_reason_to_return_code(reason)};
    const char *text = mqtt_reason_text(reason);
    worker->counters.connects_refused++;
    if (worker->drain.active && reason == drain_reason(&worker->drain)) {
        connack_string(client, &connack, MQTT_PROPERTY_SERVER_REFERENCE, &connack.properties.server_reference,
                       drain_reference(&worker->drain));
    }
    if (client->wants_reasons) {
        connack_string(client, &connack, MQTT_PROPERTY_REASON_STRING, &connack.properties.reason_string,
                       (struct mqtt_span){(const uint8_t *)text, (uint32_t)strlen(text)});
    }
    connack_send(worker, client, &connack);
    return client_drop(worker, client, reason);
}

enum packet_result connect_refuse_claim(struct worker *worker, struct client *client, enum directory_answer answer)
{
    const bool full = answer == DIRECTORY_FULL;
    ++*(full ? &worker->counters.closed_limit : &worker->counters.overload_mailbox);
    return connect_refuse(worker, client, full ? MQTT_REASON_QUOTA_EXCEEDED : MQTT_REASON_SERVER_BUSY);
}

/* A CONNECT that cannot be read: answered where its version is known [MQTT-3.1.4-1]. */
/* REQ MQTT-5 [MQTT-4.13.2-1]: a CONNACK with 0x80 or above closes [test: conformance/connect_refusals] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-9]: a refused client id gets return code 2, then the end [test: wire/empty_client_id] */
/* REQ MQTT-3.1.1 [MQTT-3.2.2-5]: a CONNACK that refuses is followed by the end [test: conformance/connect_refusals] */
/* REQ MQTT-5 [MQTT-3.1.3-8]: refused by its code, then closed [test: conformance/connect_refusals] */
/* REQ MQTT-3.1.1 [MQTT-3.1.4-1], [MQTT-3.2.2-6]: closed without a CONNACK [test: conformance/password_alone] */
static enum packet_result refuse_malformed(struct worker *worker, struct client *client, uint8_t version,
                                           enum mqtt_error error)
{
    const uint8_t reason = mqtt_error_reason(error);
    const bool has_return_code =
        reason == MQTT_REASON_UNSUPPORTED_PROTOCOL_VERSION || reason == MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID;
    worker->codec_errors[error]++;
    worker->counters.closed_malformed++;
    client->version = version;
    if (version == MQTT_V5 || (version != 0 && has_return_code)) {
        return connect_refuse(worker, client, reason);
    }
    return client_drop(worker, client, reason);
}

/* What an MQTT 5.0 client has to know of the router, beyond the defaults of section 3.2.2.3. */
/* REQ MQTT-5 [MQTT-3.2.2-9]: CONNACK says Maximum QoS when it is below 2 [test: limits/not_offered] */
/* REQ MQTT-5 [MQTT-3.2.2-20]: CONNACK has no user properties [test: reason_codes/no_properties] */
static void connack_limits(const struct worker *worker, struct mqtt_properties *properties)
{
    const struct shm_mqtt_config *config = &worker->config->mqtt;
    properties->receive_maximum = (uint16_t)config->receive_maximum;
    mqtt_property_set(properties, MQTT_PROPERTY_RECEIVE_MAXIMUM);
    properties->maximum_packet_size = config->max_packet_size;
    mqtt_property_set(properties, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE);
    properties->topic_alias_maximum = (uint16_t)config->topic_alias_maximum;
    mqtt_property_set(properties, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM);
    if (config->max_qos < 2) {
        properties->maximum_qos = (uint8_t)config->max_qos;
        mqtt_property_set(properties, MQTT_PROPERTY_MAXIMUM_QOS);
    }
    if (!config->retain_available) {
        properties->retain_available = 0;
        mqtt_property_set(properties, MQTT_PROPERTY_RETAIN_AVAILABLE);
    }
    if (!config->wildcard_available) {
        properties->wildcard_subscription_available = 0;
        mqtt_property_set(properties, MQTT_PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE);
    }
    if (!config->shared_available) {
        properties->shared_subscription_available = 0;
        mqtt_property_set(properties, MQTT_PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE);
    }
}

/* What differs from what the client asked for. */
/* REQ MQTT-5 [MQTT-3.2.2-16]: an empty client id gets a new one, and is told [test: version5/assigned_client_id] */
/* REQ MQTT-5 [MQTT-3.1.3-7]: and goes on as if it had brought that one [test: version5/assigned_client_id] */
/* REQ MQTT-5 [MQTT-3.2.2-22]: without Server Keep Alive the client's own counts [test: wire/keepalive_runs_out] */
static void connack_differences(const struct client *client, const struct session *session,
                                const struct mqtt_connect *connect, struct mqtt_properties *properties)
{
    const bool asked = mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL);
    const uint32_t wanted = asked ? connect->properties.session_expiry_interval : 0;
    if (session->expiry_interval_s != wanted) {
        properties->session_expiry_interval = session->expiry_interval_s;
        mqtt_property_set(properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL);
    }
    if (client->keepalive_s != connect->keep_alive) {
        properties->server_keep_alive = client->keepalive_s;
        mqtt_property_set(properties, MQTT_PROPERTY_SERVER_KEEP_ALIVE);
    }
    if (connect->client_id.length == 0) {
        properties->assigned_client_identifier =
            (struct mqtt_span){session->client_id, session->client_id_length}; /* [MQTT-3.2.2-16] */
        mqtt_property_set(properties, MQTT_PROPERTY_ASSIGNED_CLIENT_IDENTIFIER);
    }
}

/* A part of the topic tree for the responses to this client, if it asks: PREFIX/CLIENT-ID. An identifier that is no
 * part of a topic name gets none. */
/* REQ MQTT-5 [MQTT-3.1.2-28]: no response information to those who do not ask [test: limits/response_information] */
static void connack_response_information(const struct worker *worker, const struct session *session,
                                         const struct mqtt_connect *connect, uint8_t room[RESPONSE_ROOM],
                                         struct mqtt_properties *properties)
{
    const char *prefix = worker->config->mqtt.response_topic_prefix;
    const size_t length = strlen(prefix);
    const struct mqtt_span id = {session->client_id, session->client_id_length};
    if (length == 0 || !mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_REQUEST_RESPONSE_INFORMATION) ||
        !connect->properties.request_response_information || length + 1 + id.length > RESPONSE_ROOM ||
        mqtt_topic_has_wildcard(id)) {
        return;
    }
    memcpy(room, prefix, length);
    room[length] = '/';
    memcpy(room + length + 1, id.data, id.length);
    properties->response_information = (struct mqtt_span){room, (uint32_t)length + 1 + id.length};
    mqtt_property_set(properties, MQTT_PROPERTY_RESPONSE_INFORMATION);
}

/* REQ MQTT-5 [MQTT-3.2.0-1]: CONNACK is the first packet sent [test: wire/all_in_one_segment] */
/* REQ MQTT-5 [MQTT-3.2.0-2]: there is one CONNACK [test: wire/malformed_packet] */
/* REQ MQTT-3.1.1 [MQTT-3.2.0-1]: CONNACK is the first packet sent [test: wire/all_in_one_segment] */
static enum packet_result accept_send(struct worker *worker, struct client *client, const struct mqtt_connect *connect,
                                      bool session_present)
{
    struct mqtt_connack connack = {.session_present = session_present};
    uint8_t response[RESPONSE_ROOM];
    if (client->version == MQTT_V5) {
        connack_limits(worker, &connack.properties);
        connack_differences(client, client->session, connect, &connack.properties);
        login_describe(client, &connack.properties);
        connack_response_information(worker, client->session, connect, response, &connack.properties);
    }
    if (mqtt_connack_size(client->version, &connack) > client->maximum_packet_size) {
        mqtt_property_clear(&connack.properties, MQTT_PROPERTY_RESPONSE_INFORMATION); /* nice to have */
    }
    if (mqtt_connack_size(client->version, &connack) > client->maximum_packet_size) {
        worker->counters.closed_packet_size++; /* it has asked for limits that it does not want to hear of */
        return client_drop(worker, client, MQTT_REASON_PACKET_TOO_LARGE);
    }
    connack_send(worker, client, &connack);
    login_settle(worker, client);
    return PACKET_DONE;
}

/* ---- The session ------------------------------------------------------------------------------------------------ */

/* [MQTT-3.1.4-3]: the older connection goes. The session stays for the new one to take or to end. */
/* REQ MQTT-5 [MQTT-3.1.4-3]: the older connection gets 0x8E and is closed [test: conformance/take_over_tells_why] */
/* REQ MQTT-3.1.1 [MQTT-3.1.4-2]: the older connection is closed [test: conformance/take_over_tells_why] */
static void take_over(struct worker *worker, struct session *session, bool session_ends)
{
    struct client *old = session->client;
    worker->counters.sessions_taken_over++;
    client_release_session(worker, old);
    client_disconnect(worker, old, MQTT_REASON_SESSION_TAKEN_OVER);
    session_taken_over(worker, session, session_ends);
}

/* REQ MQTT-5 [MQTT-3.1.2-7]: the will is stored with the session [test: wire/keepalive_runs_out] */
/* REQ MQTT-5 [MQTT-3.1.2-12]: the will's QoS is what CONNECT said [test: conformance/will_properties] */
/* REQ MQTT-5 [MQTT-3.1.3-10]: user properties of a will keep their order [test: conformance/will_properties] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-12]: a session without a will publishes none [test: reason_codes/no_will_no_message] */
static bool will_set(struct worker *worker, struct session *session, const struct mqtt_connect *connect)
{
    session->will = NULL;
    session->will_delay_s = 0;
    if (!connect->has_will) {
        return true;
    }
    struct mqtt_properties properties = connect->will_properties;
    struct publication will = {
        .topic = connect->will_topic,
        .payload = connect->will_payload,
        .publisher = session->id_hash,
        .qos = connect->will_qos,
        .retain = connect->will_retain,
    };
    uint8_t *encoded = NULL;
    if (connect->version == MQTT_V5) {
        if (mqtt_property_is_present(&properties, MQTT_PROPERTY_WILL_DELAY_INTERVAL)) {
            session->will_delay_s = properties.will_delay_interval;
            mqtt_property_clear(&properties, MQTT_PROPERTY_WILL_DELAY_INTERVAL);
        }
        if (mqtt_property_is_present(&properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
            /* From its publication on. Of no time at all a microsecond is left: 0 would mean for ever. */
            will.expires = RTE_MAX(properties.message_expiry_interval * UINT64_C(1000000), UINT64_C(1));
            mqtt_property_clear(&properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL);
        }
        const uint32_t length = mqtt_properties_size(&properties);
        if (length > 0) {
            encoded = mem_alloc(worker->memory, length);
            if (encoded == NULL) {
                return false;
            }
            mqtt_properties_encode(encoded, &properties);
            will.properties = (struct mqtt_span){encoded, length};
        }
    }
    session->will = publication_keep(&will, worker->memory);
    publication_release(&will, worker->memory);
    mem_free(worker->memory, encoded);
    return session->will != NULL;
}

/* Who it is by its authentication method, else by its user name. */
static bool user_name_set(struct worker *worker, struct session *session, const struct client *client,
                          const struct mqtt_connect *connect)
{
    struct mqtt_span user = login_user(client);
    if (user.length == 0) {
        user = connect->user_name;
    }
    mem_free(worker->memory, session->user_name);
    session->user_name = NULL;
    session->user_name_length = 0;
    if (user.length > 0) {
        session->user_name = mem_alloc(worker->memory, user.length);
        if (session->user_name == NULL) {
            return false;
        }
        memcpy(session->user_name, user.data, user.length);
        session->user_name_length = (uint16_t)user.length;
    }
    return true;
}

/* REQ MQTT-5 [MQTT-3.1.2-23]: the session is kept for its expiry interval [test: sessions/offline_queue] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-4]: without clean session it is kept [test: sessions/offline_queue] */
static uint32_t expiry_interval(const struct worker *worker, const struct mqtt_connect *connect)
{
    const uint32_t longest = worker->config->mqtt.session_expiry_max_s;
    uint32_t wanted = 0;
    if (connect->version != MQTT_V5) {
        wanted = connect->clean_start ? 0 : UINT32_MAX;
    } else if (mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL)) {
        wanted = connect->properties.session_expiry_interval;
    }
    return wanted < longest ? wanted : longest;
}

static uint16_t keepalive(const struct worker *worker, const struct mqtt_connect *connect)
{
    const uint32_t longest = worker->config->mqtt.keepalive_max_s;
    uint32_t wanted = connect->keep_alive;
    if (connect->version == MQTT_V5) {
        /* An older client cannot be told, and would be cut off for keeping its word. */
        wanted = wanted == 0 ? worker->config->mqtt.keepalive_default_s : wanted;
        wanted = longest != 0 && (wanted == 0 || wanted > longest) ? longest : wanted;
    }
    return (uint16_t)wanted;
}

/* REQ MQTT-5 [MQTT-4.9.0-1]: the window is 1 to the client's Receive Maximum [test: version5/receive_maximum] */
static uint16_t window(const struct worker *worker, const struct mqtt_connect *connect)
{
    const uint32_t own = worker->config->mqtt.max_inflight;
    uint32_t clients = UINT16_MAX;
    if (mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_RECEIVE_MAXIMUM)) {
        clients = connect->properties.receive_maximum;
    }
    return (uint16_t)(clients < own ? clients : own); /* [MQTT-3.3.4-9] */
}

/* REQ MQTT-5 [MQTT-3.1.2-26]: no alias above the client's Topic Alias Maximum [test: conformance/aliases_out] */
/* REQ MQTT-5 [MQTT-3.1.2-27]: none at all without one [test: conformance/aliases_out] */
/* REQ MQTT-5 [MQTT-3.3.2-11]: nor in any PUBLISH above it [test: conformance/aliases_out] */
static void aliases_allow(struct worker *worker, struct client *client, const struct mqtt_properties *properties)
{
    uint32_t count = worker->config->mqtt.topic_alias_out;
    if (count > 0 && mqtt_property_is_present(properties, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM) &&
        properties->topic_alias_maximum > 0 && client->aliases_out == NULL) {
        count = RTE_MIN(count, properties->topic_alias_maximum);
        client->aliases_out = alias_table_create(worker->memory, count);
    }
}

/* Joins client and session. */
static void attach(struct worker *worker, struct client *client, struct session *session,
                   const struct mqtt_connect *connect)
{
    client->session = session;
    client->state = CLIENT_CONNECTED;
    client->keepalive_s = keepalive(worker, connect);
    client_keepalive_start(worker, client);
    aliases_allow(worker, client, &connect->properties);
    if (client->limits == NULL && limits_are_set(&worker->config->mqtt)) {
        client->limits = mem_alloc_zero(worker->memory, sizeof(*client->limits));
    }
    session->client = client;
    session->version = client->version;
    session->clean_start = connect->clean_start;
    session->since = worker->now;
    session->window = window(worker, connect);
    session->expiry_interval_s = expiry_interval(worker, connect);
    worker->connected_clients++;
    worker->counters.connects_accepted++;
}

/* The client holds a claim, but gets no session. */
static void claim_give_back(struct worker *worker, struct mqtt_span client_id)
{
    const struct client_id_key id = directory_id(worker->dataplane, client_id);
    directory_disown(worker, &id, 1);
}

/* The claim is granted: this worker owns the identifier. It is the session's from now on. */
/* REQ MQTT-5 [MQTT-3.1.2-4]: a clean start discards the session [test: sessions/clean_start_forgets] */
/* REQ MQTT-5 [MQTT-3.1.2-5]: without clean start it is resumed [test: sessions/offline_queue] */
/* REQ MQTT-5 [MQTT-3.1.2-6]: without one there, a new one [test: conformance/session_expiry_in_disconnect] */
/* REQ MQTT-5 [MQTT-3.1.4-4]: the processing of Clean Start [test: sessions/clean_start_forgets] */
/* REQ MQTT-5 [MQTT-3.2.2-2]: with clean start there is no session present [test: sessions/clean_start_forgets] */
/* REQ MQTT-5 [MQTT-3.2.2-3]: session present tells whether there was one [test: sessions/offline_queue] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-6]: clean session discards the session [test: sessions/clean_start_forgets] */
/* REQ MQTT-3.1.1 [MQTT-3.1.4-3]: the processing of CleanSession [test: sessions/clean_start_forgets] */
/* REQ MQTT-3.1.1 [MQTT-3.2.2-1]: with clean session there is no session present [test: sessions/clean_start_forgets] */
/* REQ MQTT-3.1.1 [MQTT-3.2.2-2]: session present if stored [test: wire/unacknowledged_message_comes_again] */
/* REQ MQTT-3.1.1 [MQTT-3.2.2-3]: no session present when none was stored [test: sessions/clean_start_forgets] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-2]: the client id finds the session [test: sessions/offline_queue] */
static enum packet_result session_open(struct worker *worker, struct client *client, const struct mqtt_connect *connect,
                                       struct mqtt_span client_id)
{
    struct session *session = session_find(worker->sessions, client_id);
    /* A clean start forgets [MQTT-3.1.2-4], and without an expiry interval a session ends with its connection. */
    const bool ends = session != NULL && (connect->clean_start || session->expiry_interval_s == 0);
    if (session != NULL && session->client != NULL) {
        take_over(worker, session, ends);
    }
    if (ends) {
        session_end(worker, session);
        session = NULL;
    }
    const bool present = session != NULL;
    if (session == NULL) {
        session = session_create(worker, client_id);
    }
    if (session == NULL) {
        claim_give_back(worker, client_id);
        worker->counters.closed_no_memory++;
        return connect_refuse(worker, client, MQTT_REASON_QUOTA_EXCEEDED);
    }
    session->claims++;
    if (present) {
        session_resumed(worker, session);
        worker->counters.sessions_resumed++;
    }
    /* The will last: without memory for either, there is none to be published. */
    if (!user_name_set(worker, session, client, connect) || !will_set(worker, session, connect)) {
        session_end(worker, session);
        worker->counters.closed_no_memory++;
        return connect_refuse(worker, client, MQTT_REASON_QUOTA_EXCEEDED);
    }
    attach(worker, client, session, connect);
    const enum packet_result result = accept_send(worker, client, connect, present);
    if (result == PACKET_DONE) {
        session_resend(worker, session);
    }
    return result;
}

/* ---- CONNECT ---------------------------------------------------------------------------------------------------- */

/* An identifier for a client that brought none, whose home is this worker. */
/* REQ MQTT-5 [MQTT-3.1.3-6]: an empty client id gets a unique one [test: version5/assigned_client_id] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-6]: an empty client id gets a unique one [test: wire/empty_client_id] */
static struct mqtt_span assigned_id(struct worker *worker, char bytes[ASSIGNED_ID_SIZE])
{
    struct mqtt_span id;
    do {
        const uint64_t number = ++worker->assigned_ids;
        const uint64_t hash = topic_hash(&worker->dataplane->seed, &number, sizeof(number));
        const int length =
            snprintf(bytes, ASSIGNED_ID_SIZE, "auto-%02x%016llx", worker->index, (unsigned long long)(hash ^ number));
        id = (struct mqtt_span){(const uint8_t *)bytes, (uint32_t)length};
    } while (!directory_is_home(worker, id) || session_find(worker->sessions, id) != NULL);
    return id;
}

/* May it connect without saying who it is? */
static bool anonymous_is_allowed(const struct shm_config *config)
{
    return config->mqtt.allow_anonymous == SHM_ANONYMOUS_AUTO ? !config->authentication.users
                                                              : config->mqtt.allow_anonymous == SHM_ANONYMOUS_ALLOWED;
}

/* 0, or why what the client says of itself is not enough, or is nothing that can be checked. */
/* REQ MQTT-5 [MQTT-4.12.0-1]: unknown methods are refused with 0x8C [test: conformance/connect_refusals] */
/* REQ MQTT-5 [MQTT-4.12.0-6]: no AUTH and no method to a client that named none [test: conformance/password_alone] */
static uint8_t identity_refusal(const struct worker *worker, const struct mqtt_connect *connect)
{
    const bool method = mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_AUTHENTICATION_METHOD);
    if (method && !worker->config->authentication.users) {
        return MQTT_REASON_BAD_AUTHENTICATION_METHOD;
    }
    /* Without users nobody proves anything: a user name alone lets nobody in. */
    const bool anonymous =
        !worker->config->authentication.users || (!method && !connect->has_user_name && !connect->has_password);
    return anonymous && !anonymous_is_allowed(worker->config) ? MQTT_REASON_NOT_AUTHORIZED : MQTT_REASON_SUCCESS;
}

/* A will that could never be published is refused now, while its client listens. */
static bool will_topic_is_taken(struct worker *worker, struct mqtt_span topic)
{
    return !route_is_reserved(topic) &&
           topic_name_set(&worker->topic, &worker->dataplane->seed, &worker->dataplane->topic_limits,
                          (const char *)topic.data, topic.length) == TOPIC_OK;
}

/* 0, or why nobody new is let in: those who are connected need what is left. */
/* REQ MQTT-3.1.1 [MQTT-4.8.0-2]: a transient error closes its connection [test: overload/new_clients_are_refused] */
static uint8_t overload(struct worker *worker)
{
    const struct shm_config *config = worker->config;
    const struct rte_mempool *pool = worker->dataplane->pool;
    struct mem_stats memory;
    mem_stats(worker->memory, &memory);
    if (config->mqtt.overload_memory < 100 && memory.used > memory.capacity / 100 * config->mqtt.overload_memory) {
        worker->counters.overload_memory++;
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    if (config->mqtt.overload_buffers < 100 && pool != NULL &&
        UINT64_C(100) * rte_mempool_in_use_count(pool) > (uint64_t)pool->size * config->mqtt.overload_buffers) {
        worker->counters.overload_buffers++;
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    if (worker->now < worker->busy_until) {
        worker->counters.overload_loop++;
        return MQTT_REASON_SERVER_BUSY;
    }
    return MQTT_REASON_SUCCESS;
}

/* 0, or why this client is not welcome. */
/* REQ MQTT-5 [MQTT-3.2.2-12]: a will above Maximum QoS is refused with 0x9B [test: limits/not_offered] */
/* REQ MQTT-5 [MQTT-3.2.2-13]: a retained will is refused with 0x9A when none may be [test: limits/not_offered] */
static uint8_t refusal(struct worker *worker, const struct mqtt_connect *connect)
{
    if (worker->drain.active) {
        worker->drain.refused++;
        return drain_reason(&worker->drain);
    }
    const uint8_t identity = identity_refusal(worker, connect);
    if (identity != MQTT_REASON_SUCCESS) {
        return identity;
    }
    if (connect->has_will && connect->will_qos > worker->config->mqtt.max_qos) {
        return MQTT_REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-12] */
    }
    if (connect->has_will && connect->will_retain && !worker->config->mqtt.retain_available) {
        return MQTT_REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-13] */
    }
    if (connect->has_will && !will_topic_is_taken(worker, connect->will_topic)) {
        return MQTT_REASON_TOPIC_NAME_INVALID;
    }
    if (connect->has_will && connect->version == MQTT_V5 && worker->config->mqtt.payload_format_check &&
        !payload_format_is_kept(&connect->will_properties, connect->will_payload)) {
        return MQTT_REASON_PAYLOAD_FORMAT_INVALID;
    }
    return overload(worker);
}

/* What its CONNECT says about how to talk to it. */
static void client_describe(struct client *client, const struct mqtt_connect *connect)
{
    client->version = connect->version;
    if (mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE)) {
        client->maximum_packet_size = connect->properties.maximum_packet_size;
    }
    client->wants_reasons = mqtt_property_is_present(&connect->properties, MQTT_PROPERTY_REQUEST_PROBLEM_INFORMATION) &&
                            connect->properties.request_problem_information != 0;
}

/*
 * Only a connection whose sent bytes are all acknowledged can go to another worker. WebSocket's handshake was sent on
 * this one, and its acknowledgement comes with CONNECT or before, unless the client is in a hurry.
 */
static bool can_move(const struct worker *worker, struct client *client)
{
    if (worker->count == 1 || tcp_unacknowledged_bytes(client->tcp) == 0) {
        return true;
    }
    tcp_want_write(client->tcp);
    client->answers_blocked = true;
    return false;
}

/* REQ MQTT-5 [MQTT-3.1.3-2]: the client id names the session [test: sessions/offline_queue] */
/* REQ MQTT-5 [MQTT-3.1.3-5]: 1 to 23 letters and digits are taken [test: many_clients/ten_thousand] */
/* REQ MQTT-5 [MQTT-3.1.4-2]: what fails the checks is closed [test: conformance/connect_refusals] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-5]: 1 to 23 letters and digits are taken [test: many_clients/ten_thousand] */
/* REQ MQTT-3.1.1 [MQTT-3.1.4-4]: a CONNECT that is taken is answered by CONNACK with 0 [test: wire/empty_client_id] */
enum packet_result connect_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                  const uint8_t *body)
{
    struct mqtt_connect connect;
    char bytes[ASSIGNED_ID_SIZE];
    const enum mqtt_error error = mqtt_connect_decode(header, body, &connect);
    if (error != MQTT_OK) {
        return refuse_malformed(worker, client, connect.version, error);
    }
    client_describe(client, &connect);
    const uint8_t reason = refusal(worker, &connect);
    if (reason != MQTT_REASON_SUCCESS) {
        if (client->claim_granted) {
            claim_give_back(worker, connect.client_id);
        }
        return connect_refuse(worker, client, reason);
    }
    if (login_is_due(worker, client, &connect)) {
        const uint8_t denied = login_begin(worker, client, &connect, header, body);
        return denied == MQTT_REASON_SUCCESS ? PACKET_DONE : connect_refuse(worker, client, denied);
    }
    const struct mqtt_span client_id = connect.client_id.length > 0 ? connect.client_id : assigned_id(worker, bytes);
    if (!client->claim_granted && !can_move(worker, client)) {
        return PACKET_WAIT;
    }
    const enum directory_answer claim =
        client->claim_granted ? DIRECTORY_GRANTED : directory_claim(worker, client, client_id);
    switch (claim) {
    case DIRECTORY_GRANTED:
        return session_open(worker, client, &connect, client_id);
    case DIRECTORY_WAITS:
        client->state = CLIENT_CLAIMING;
        return PACKET_WAIT;
    case DIRECTORY_MOVED:
        return PACKET_CLOSED;
    default:
        return connect_refuse_claim(worker, client, claim);
    }
}

/* ---- DISCONNECT ------------------------------------------------------------------------------------------------- */

/* REQ MQTT-3.1.1 [MQTT-3.14.4-3]: DISCONNECT takes the will back [test: conformance/disconnect_reasons_and_will] */
enum packet_result disconnect_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                     const uint8_t *body)
{
    struct mqtt_disconnect disconnect;
    const enum mqtt_error error = mqtt_disconnect_decode(client->version, MQTT_FROM_CLIENT, header, body, &disconnect);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    if (client->version == MQTT_V5 &&
        mqtt_property_is_present(&disconnect.properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL)) {
        const uint32_t wanted = disconnect.properties.session_expiry_interval;
        if (client->session->expiry_interval_s == 0 && wanted != 0) {
            return client_violation(worker, client, &worker->counters.violated_session_expiry,
                                    MQTT_REASON_PROTOCOL_ERROR); /* section 3.14.2.2.2 */
        }
        const uint32_t longest = worker->config->mqtt.session_expiry_max_s;
        client->session->expiry_interval_s = wanted < longest ? wanted : longest;
    }
    /* REQ MQTT-5 [MQTT-3.14.4-3]: only 0x00 takes the will back [test: conformance/disconnect_reasons_and_will] */
    client->will_unwanted = disconnect.reason == MQTT_REASON_NORMAL_DISCONNECTION;
    return client_drop(worker, client, MQTT_REASON_SUCCESS);
}

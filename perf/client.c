/* The MQTT client of the load generator: one connection from CONNECT on, packets decoded in place. */
#include "perf/client.h"

#include <stdio.h>
#include <string.h>

#include "lib/mqtt/packets.h"

#define EXTRA_AT_ONCE 64u /* filters in one SUBSCRIBE */
#define EXTRA_SIZE 64u    /* bytes of one, at most */

/* Acknowledgements and control packets of a known, small size. */
static void send_bytes(struct client *client, const uint8_t *bytes, size_t n)
{
    const struct backend_ops *ops = client->context->ops;
    uint8_t *dst = ops->reserve(client->channel, n);
    memcpy(dst, bytes, n);
    ops->commit(client->channel, dst + n);
}

static void send_ack(struct client *client, enum mqtt_type type, uint16_t packet_id)
{
    uint8_t *dst = client->context->ops->reserve(client->channel, MQTT_ACK_SIZE);
    client->context->ops->commit(client->channel, mqtt_ack_encode_success(dst, type, packet_id));
}

static struct mqtt_span span_of(const char *text)
{
    return (struct mqtt_span){(const uint8_t *)text, text == NULL ? 0 : (uint32_t)strlen(text)};
}

static void send_connect(void *user)
{
    struct client *client = user;
    const struct client_context *context = client->context;
    char id[128];
    snprintf(id, sizeof(id), "%s%u", context->id_prefix, client->number);
    const struct mqtt_connect connect = {.version = (uint8_t)context->version,
                                         .clean_start = true,
                                         .keep_alive = context->keep_alive,
                                         .client_id = span_of(id),
                                         .has_user_name = context->user_name != NULL,
                                         .user_name = span_of(context->user_name),
                                         .has_password = context->password != NULL,
                                         .password = span_of(context->password)};
    uint8_t *dst = context->ops->reserve(client->channel, mqtt_connect_size(&connect));
    context->ops->commit(client->channel, mqtt_connect_encode(dst, &connect));
}

/* `filters`: as mqtt_subscription_append() wrote them. */
static void send_filters(struct client *client, const uint8_t *filters, const uint8_t *end)
{
    const struct client_context *context = client->context;
    const struct mqtt_subscribe subscribe = {.packet_id = 1, .filters = {filters, (uint32_t)(end - filters)}};
    uint8_t *dst = context->ops->reserve(client->channel, mqtt_subscribe_size(context->version, &subscribe));
    context->ops->commit(client->channel, mqtt_subscribe_encode(dst, context->version, &subscribe));
}

static void send_subscribe(struct client *client)
{
    uint8_t payload[MQTT_STRING_MAX + 3];
    const struct mqtt_subscription subscription = {.filter = span_of(client->filter), .qos = client->qos};
    send_filters(client, payload, mqtt_subscription_append(payload, &subscription));
}

/* The next few of those that match nothing. */
static void send_extra(struct client *client)
{
    uint8_t payload[EXTRA_AT_ONCE * EXTRA_SIZE], *end = payload;
    for (uint32_t i = 0; i < EXTRA_AT_ONCE && client->extra > 0; i++, client->extra--, client->extra_first++) {
        char filter[EXTRA_SIZE - 3];
        snprintf(filter, sizeof(filter), "perf-elsewhere/%u/%u", client->extra_first / 1000,
                 client->extra_first % 1000);
        const struct mqtt_subscription subscription = {.filter = span_of(filter), .qos = client->qos};
        end = mqtt_subscription_append(end, &subscription);
    }
    send_filters(client, payload, end);
}

/* Ends the client and tells why. */
static void fail(struct client *client, const char *why)
{
    client_drop(client);
    client->context->ended(client, why);
}

static void become_ready(struct client *client)
{
    client->state = CLIENT_READY;
    client->context->ready(client);
}

/* ---- Packets ---- */

/* Why a broker refuses: reason codes in 5.0, return codes before. */
static const char *refusal_text(enum mqtt_version version, uint8_t reason)
{
    static const char *const return_codes[] = {
        "accepted",           "unacceptable protocol version", "identifier rejected",
        "server unavailable", "bad user name or password",     "not authorized"};
    if (version == MQTT_V5)
        return mqtt_reason_text(reason);
    return reason < sizeof(return_codes) / sizeof(return_codes[0]) ? return_codes[reason] : "unknown return code";
}

static const char *handle_connack(struct client *client, const struct mqtt_header *header, const uint8_t *body)
{
    struct mqtt_connack connack;
    enum mqtt_error error = mqtt_connack_decode(client->context->version, header, body, &connack);
    if (error != MQTT_OK)
        return mqtt_error_text(error);
    if (client->state != CLIENT_CONNECTING)
        return "a CONNACK that nobody waits for";
    if (connack.reason != 0)
        return refusal_text(client->context->version, connack.reason);
    client->receive_maximum = mqtt_property_is_present(&connack.properties, MQTT_PROPERTY_RECEIVE_MAXIMUM)
                                  ? connack.properties.receive_maximum
                                  : UINT16_MAX;
    if (client->filter != NULL) {
        client->state = CLIENT_SUBSCRIBING;
        send_subscribe(client);
    } else {
        become_ready(client);
    }
    return NULL;
}

static const char *handle_suback(struct client *client, const struct mqtt_header *header, const uint8_t *body)
{
    struct mqtt_suback suback;
    enum mqtt_error error = mqtt_suback_decode(client->context->version, header, body, &suback);
    if (error != MQTT_OK)
        return mqtt_error_text(error);
    if (client->state != CLIENT_SUBSCRIBING)
        return "a SUBACK that nobody waits for";
    for (uint32_t i = 0; i < suback.reasons.length; i++)
        if (suback.reasons.data[i] != client->qos)
            return "the broker does not grant a subscription with its QoS";
    if (client->extra > 0)
        send_extra(client);
    else
        become_ready(client);
    return NULL;
}

static const char *handle_publish(struct client *client, const struct mqtt_header *header, const uint8_t *body)
{
    struct mqtt_publish publish;
    enum mqtt_error error = mqtt_publish_decode(client->context->version, MQTT_FROM_SERVER, header, body, &publish);
    if (error != MQTT_OK)
        return mqtt_error_text(error);
    if (publish.qos > 0)
        send_ack(client, publish.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, publish.packet_id);
    client->context->message(client, &publish);
    return NULL;
}

static const char *handle_ack(struct client *client, const struct mqtt_header *header, const uint8_t *body)
{
    struct mqtt_ack ack;
    enum mqtt_error error = mqtt_ack_decode(client->context->version, header, body, &ack);
    if (error != MQTT_OK)
        return mqtt_error_text(error);
    if (ack.reason >= 0x80)
        return mqtt_reason_text(ack.reason);
    if (header->type == MQTT_PUBREC)
        send_ack(client, MQTT_PUBREL, ack.packet_id);
    else if (header->type == MQTT_PUBREL)
        send_ack(client, MQTT_PUBCOMP, ack.packet_id);
    else
        client->context->acknowledged(client);
    return NULL;
}

static const char *handle_disconnect(struct client *client, const struct mqtt_header *header, const uint8_t *body)
{
    struct mqtt_disconnect disconnect;
    enum mqtt_error error =
        mqtt_disconnect_decode(client->context->version, MQTT_FROM_SERVER, header, body, &disconnect);
    return error != MQTT_OK ? mqtt_error_text(error) : mqtt_reason_text(disconnect.reason);
}

/* NULL, or why the connection cannot go on. */
static const char *handle_packet(struct client *client, const struct mqtt_header *header, const uint8_t *body)
{
    switch (header->type) {
    case MQTT_PUBLISH:
        return handle_publish(client, header, body);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return handle_ack(client, header, body);
    case MQTT_CONNACK:
        return handle_connack(client, header, body);
    case MQTT_SUBACK:
        return handle_suback(client, header, body);
    case MQTT_DISCONNECT:
        return handle_disconnect(client, header, body);
    case MQTT_PINGRESP:
        return NULL;
    default:
        return "a packet that a server does not send";
    }
}

static size_t received(void *user, const uint8_t *bytes, size_t n)
{
    struct client *client = user;
    size_t at = 0;
    while (client->channel != NULL) {
        struct mqtt_header header;
        enum mqtt_error error = mqtt_header_decode(bytes + at, n - at, UINT32_MAX, &header);
        if (error != MQTT_OK && error != MQTT_INCOMPLETE) {
            fail(client, mqtt_error_text(error));
            return n;
        }
        if (error == MQTT_INCOMPLETE || n - at < (size_t)header.length + header.remaining_length)
            return at;
        const char *why = handle_packet(client, &header, bytes + at + header.length);
        if (why != NULL) {
            fail(client, why);
            return n;
        }
        at += (size_t)header.length + header.remaining_length;
    }
    return n;
}

static void closed(void *user, const char *why)
{
    struct client *client = user;
    client->channel = NULL;
    client->state = CLIENT_IDLE;
    client->context->ended(client, why);
}

bool client_start(struct client *client)
{
    client->receive_maximum = UINT16_MAX;
    client->channel = client->context->ops->connect(client->context->backend, client);
    client->state = client->channel != NULL ? CLIENT_CONNECTING : CLIENT_IDLE;
    return client->channel != NULL;
}

void client_leave(struct client *client)
{
    static const uint8_t disconnect[] = {MQTT_DISCONNECT << 4, 0};
    send_bytes(client, disconnect, sizeof(disconnect));
    client->state = CLIENT_LEAVING;
}

void client_drop(struct client *client)
{
    if (client->channel != NULL)
        client->context->ops->close(client->channel);
    client->channel = NULL;
    client->state = CLIENT_IDLE;
}

const struct backend_handler client_backend_handler = {
    .connected = send_connect,
    .received = received,
    .closed = closed,
};

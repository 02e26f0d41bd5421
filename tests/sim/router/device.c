/* Simulated clients. See device.h. */
#include "tests/sim/router/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "tests/sim/router/websocket.h"

enum { LATE_US = 60000000 };

/* ---- Bytes ------------------------------------------------------------------------------------------------------ */

uint8_t *buffer_grow(struct buffer *buffer, uint32_t length)
{
    if (buffer->length + length > buffer->room) {
        buffer->room = 2 * buffer->room > buffer->length + length ? 2 * buffer->room : buffer->length + length + 256;
        buffer->data = realloc(buffer->data, buffer->room);
    }
    buffer->length += length;
    return buffer->data + buffer->length - length;
}

void buffer_cut(struct buffer *buffer, uint32_t length)
{
    if (length > 0) { /* there may be no bytes yet at all */
        memmove(buffer->data, buffer->data + length, buffer->length - length);
        buffer->length -= length;
    }
}

static void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

static struct mqtt_span span_of(const char *text)
{
    return (struct mqtt_span){(const uint8_t *)text, (uint32_t)strlen(text)};
}

bool filter_matches(const char *filter, const char *topic)
{
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#')) {
        return false;
    }
    for (;;) {
        if (strcmp(filter, "#") == 0) {
            return true;
        }
        const size_t f = strcspn(filter, "/"), t = strcspn(topic, "/");
        if (!(f == 1 && filter[0] == '+') && (f != t || memcmp(filter, topic, f) != 0)) {
            return false;
        }
        filter += f;
        topic += t;
        if (*filter == '\0' || *topic == '\0') {
            return *filter == *topic || (*topic == '\0' && strcmp(filter, "/#") == 0);
        }
        filter++;
        topic++;
    }
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

struct device *device_create(struct world *world, const char *id, enum mqtt_version version)
{
    struct device *device = calloc(1, sizeof(*device));
    *device = (struct device){
        .world = world, .index = world->device_count, .version = version, .next_packet_id = 1, .expiry_s = 3600};
    device->websocket = (world->seed * 7919 + device->index * 31) % 100 < world->websocket_percent;
    snprintf(device->id, sizeof(device->id), "%s", id);
    world->devices = realloc(world->devices, (world->device_count + 1) * sizeof(world->devices[0]));
    world->devices[world->device_count++] = device;
    return device;
}

static void connection_forget(struct connection *connection)
{
    buffer_free(&connection->in);
    buffer_free(&connection->out);
    buffer_free(&connection->wire);
    *connection = (struct connection){0};
}

static void sending_clear(struct device *device)
{
    while (device->first != NULL) {
        struct sending *sending = device->first;
        device->first = sending->next;
        free(sending);
    }
    device->last = NULL;
}

void devices_free(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        struct device *device = world->devices[i];
        for (uint32_t c = 0; c < DEVICE_CONNECTIONS; c++) {
            connection_forget(&device->connections[c]);
        }
        sending_clear(device);
        free(device);
    }
    free(world->devices);
}

static struct connection *connection_by_port(struct device *device, uint16_t port)
{
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS; i++) {
        if (device->connections[i].device != NULL && device->connections[i].port == port) {
            return &device->connections[i];
        }
    }
    return NULL;
}

static void session_observe(struct device *device, const struct session *session)
{
    const uint16_t port = session->client == NULL ? 0 : tcp_flow(session->client->tcp)->remote_port;
    struct connection *connection = port == 0 ? NULL : connection_by_port(device, port);
    if (connection != NULL && connection != device->router_current) {
        connection->rank = ++device->ranks;
    }
    device->router_current = connection;
}

/* Whatever happens, an identifier has one session at most. */
static void session_check_unique(const struct device *device, const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        if (i != worker->index && session_find(worker->dataplane->workers[i]->sessions, span_of(device->id)) != NULL) {
            world_fail(device->world, "%s has sessions on the workers %u and %u", device->id, i, worker->index);
        }
    }
}

void device_observe(struct device *device, struct worker *worker)
{
    const struct session *session = session_find(worker->sessions, span_of(device->id));
    if (session != NULL) {
        session_observe(device, session);
        if (device->world->threads == NULL) {
            session_check_unique(device, worker);
        }
    }
}

void devices_observe(struct world *world, struct worker *worker)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        device_observe(world->devices[i], worker);
    }
}

uint16_t device_session_port(const struct device *device, struct worker *worker)
{
    const struct session *session = session_find(worker->sessions, span_of(device->id));
    return session == NULL || session->client == NULL ? 0 : tcp_flow(session->client->tcp)->remote_port;
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

static void out_flush(struct connection *connection)
{
    if (connection->tcp != NULL && connection->out.length > 0 && connection->established) {
        buffer_cut(&connection->out, (uint32_t)tcp_send(connection->tcp, connection->out.data, connection->out.length));
    }
}

void connection_send(struct connection *connection, const void *bytes, uint32_t length)
{
    if (connection->tcp != NULL) {
        if (connection->websocket) {
            websocket_wrap(connection, bytes, length);
        } else {
            memcpy(buffer_grow(&connection->out, length), bytes, length);
        }
        connection->device->last_sent = connection->device->world->now;
        out_flush(connection);
    }
}

static void connect_send(struct device *device, struct connection *connection)
{
    struct mqtt_connect connect = {
        .version = (uint8_t)device->version,
        .clean_start = device->clean_start,
        .keep_alive = device->keepalive_s,
        .client_id = span_of(device->id),
        .has_will = device->has_will,
        .will_qos = device->will_qos,
        .will_retain = device->will_retain,
        .will_topic = span_of(device->will_topic),
        .will_payload = {device->will_payload, device->will_length},
    };
    if (device->version == MQTT_V5) {
        connect.properties.session_expiry_interval = device->expiry_s;
        mqtt_property_set(&connect.properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL);
        if (device->receive_maximum != 0) {
            connect.properties.receive_maximum = device->receive_maximum;
            mqtt_property_set(&connect.properties, MQTT_PROPERTY_RECEIVE_MAXIMUM);
        }
        if (device->will_delay_s != 0) {
            connect.will_properties.will_delay_interval = device->will_delay_s;
            mqtt_property_set(&connect.will_properties, MQTT_PROPERTY_WILL_DELAY_INTERVAL);
        }
    }
    uint8_t packet[512];
    const uint8_t *end = mqtt_connect_encode(packet, &connect);
    connection->state = CONNECTION_WAITING;
    connection_send(connection, packet, (uint32_t)(end - packet));
}

static void ack_send(struct connection *connection, enum mqtt_type type, uint16_t packet_id)
{
    uint8_t packet[MQTT_ACK_SIZE];
    mqtt_ack_encode_success(packet, type, packet_id);
    connection_send(connection, packet, sizeof(packet));
}

static bool packet_id_is_used(const struct device *device, uint16_t id)
{
    for (const struct sending *sending = device->first; sending != NULL; sending = sending->next) {
        if (sending->packet_id == id) {
            return true;
        }
    }
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        if (device->subscriptions[i].packet_id == id && !device->subscriptions[i].live) {
            return true;
        }
    }
    return id == 0;
}

static uint16_t packet_id_new(struct device *device)
{
    while (packet_id_is_used(device, device->next_packet_id)) {
        device->next_packet_id++;
    }
    return device->next_packet_id++;
}

static void publish_send(struct device *device, const struct sending *sending, bool duplicate)
{
    struct mqtt_publish publish = {
        .qos = sending->qos,
        .retain = sending->retain,
        .duplicate = duplicate,
        .packet_id = sending->packet_id,
        .topic = span_of(sending->topic),
        .payload = {sending->payload, sending->length},
    };
    if (sending->expiry_s != 0 && device->version == MQTT_V5) {
        publish.properties.message_expiry_interval = sending->expiry_s;
        mqtt_property_set(&publish.properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL);
    }
    const uint32_t size = (uint32_t)mqtt_publish_size(device->version, &publish);
    uint8_t *packet = malloc(size);
    mqtt_publish_encode(packet, device->version, &publish);
    connection_send(device->current, packet, size);
    free(packet);
}

static void sending_remove(struct device *device, struct sending *gone)
{
    struct sending *previous = NULL;
    for (struct sending *sending = device->first; sending != gone; sending = sending->next) {
        previous = sending;
    }
    *(previous == NULL ? &device->first : &previous->next) = gone->next;
    device->last = device->last == gone ? previous : device->last;
    free(gone);
}

static void subscription_send(struct device *device, struct subscription *subscription)
{
    uint8_t payload[128], packet[256];
    const struct mqtt_subscription one = {
        .filter = span_of(subscription->filter),
        .qos = subscription->qos,
        .no_local = device->version == MQTT_V5 && (subscription->options & 4) != 0,
        .retain_as_published = device->version == MQTT_V5 && (subscription->options & 8) != 0,
        .retain_handling = device->version == MQTT_V5 ? subscription->options >> 4 : 0,
    };
    const uint8_t *end = mqtt_subscription_append(payload, &one);
    subscription->packet_id = packet_id_new(device);
    struct mqtt_subscribe subscribe = {
        .packet_id = subscription->packet_id, .filter_count = 1, .filters = {payload, (uint32_t)(end - payload)}};
    if (device->version == MQTT_V5 && subscription->identifier != 0) {
        subscribe.properties.subscription_identifier = subscription->identifier;
        mqtt_property_set(&subscribe.properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER);
    }
    end = mqtt_subscribe_encode(packet, device->version, &subscribe);
    connection_send(device->current, packet, (uint32_t)(end - packet));
}

/* Sends what the window takes, in order. */
static void device_send(struct device *device)
{
    const uint32_t window = device->world->config.mqtt.receive_maximum;
    struct sending *next;
    if (!device_is_connected(device) || device->current->out.length > 65536) {
        return;
    }
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        if (device->subscriptions[i].packet_id == 0) {
            subscription_send(device, &device->subscriptions[i]);
        }
    }
    for (struct sending *sending = device->first; sending != NULL; sending = next) {
        next = sending->next;
        if (sending->packet_id != 0) {
            continue;
        }
        if (sending->qos > 0 && device->in_flight >= window) {
            return;
        }
        if (sending->qos > 0) {
            sending->packet_id = packet_id_new(device);
            device->in_flight++;
        }
        publish_send(device, sending, false);
        if (sending->qos == 0) {
            sending_remove(device, sending);
        }
    }
}

uint8_t *device_publish(struct device *device, const char *topic, uint8_t qos, bool retain, uint32_t length)
{
    struct sending *sending = calloc(1, sizeof(*sending) + length);
    *sending = (struct sending){.qos = qos, .retain = retain, .length = length};
    snprintf(sending->topic, sizeof(sending->topic), "%s", topic);
    if (device->last == NULL) {
        device->first = sending;
    } else {
        device->last->next = sending;
    }
    device->last = sending;
    return sending->payload;
}

void device_subscribe(struct device *device, const char *filter, uint8_t qos, uint8_t options, uint32_t identifier)
{
    struct subscription *subscription = &device->subscriptions[device->subscription_count++];
    *subscription = (struct subscription){.qos = qos, .options = options, .identifier = identifier};
    snprintf(subscription->filter, sizeof(subscription->filter), "%s", filter);
}

static uint8_t *put_number(uint8_t *at, uint32_t number)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
    return at + 2;
}

void device_change_filters(struct device *device, bool subscribe, const char *format, uint32_t first, uint32_t count)
{
    enum { FILTER_MAX = DEVICE_TOPIC_MAX };
    uint8_t *body = malloc((size_t)count * FILTER_MAX + 8), *at = body;
    uint8_t header[5] = {subscribe ? 0x82 : 0xa2};
    uint32_t used = 1;
    at = put_number(at, DEVICE_RAW_IDS + device->raw_packets++ % 1000);
    if (device->version == MQTT_V5) {
        *at++ = 0;
    }
    for (uint32_t i = first; i < first + count; i++) {
        const int length = snprintf((char *)at + 2, FILTER_MAX - 4, format, i);
        at = put_number(at, (uint32_t)length) + length;
        if (subscribe) {
            *at++ = 1;
        }
    }
    for (uint32_t rest = (uint32_t)(at - body); used == 1 || rest > 0; rest >>= 7) {
        header[used++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    }
    connection_send(device->current, header, used);
    connection_send(device->current, body, (uint32_t)(at - body));
    free(body);
}

/* With --verbose, the story of each connection. */
static void note(const struct device *device, const struct connection *connection, const char *what)
{
    if (device->world->verbose) {
        printf("  %.6f %s port %u %s, rank %u, connack %02x, reason %02x\n", (double)device->world->now / 1e6,
               device->id, connection->port, what, connection->rank, connection->connack, connection->reason);
    }
}

/* ---- Receiving -------------------------------------------------------------------------------------------------- */

/* After CONNACK: what was not finished before, again. */
static void device_resend(struct device *device)
{
    for (struct sending *sending = device->first; sending != NULL; sending = sending->next) {
        if (sending->released) {
            ack_send(device->current, MQTT_PUBREL, sending->packet_id);
        } else if (sending->packet_id != 0) {
            publish_send(device, sending, true);
        }
    }
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        if (!device->subscriptions[i].live) {
            device->subscriptions[i].packet_id = 0;
        }
    }
}

/* The router has no session: neither has the device any more. */
static void session_forget(struct device *device)
{
    struct sending *next;
    for (struct sending *sending = device->first; sending != NULL; sending = next) {
        next = sending->next;
        if (sending->packet_id != 0) {
            sending_remove(device, sending);
        }
    }
    device->in_flight = 0;
    memset(device->received, 0, sizeof(device->received));
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        device->subscriptions[i].live = false;
        device->subscriptions[i].packet_id = 0;
    }
}

static void connack_received(struct device *device, struct connection *connection, const struct mqtt_header *header,
                             const uint8_t *body)
{
    struct mqtt_connack connack;
    if (connection->state != CONNECTION_WAITING ||
        mqtt_connack_decode(device->version, header, body, &connack) != MQTT_OK) {
        world_fail(device->world, "%s: a CONNACK that should not be", device->id);
        return;
    }
    connection->connack = connack.reason;
    connection->session_present = connack.session_present;
    if (connack.reason != 0) {
        device->refusals++;
        return;
    }
    connection->state = CONNECTION_READY;
    note(device, connection, connack.session_present ? "resumed" : "new");
    if (connection->rank <= device->obeyed) {
        return; /* a newer connection has taken the session already */
    }
    device->obeyed = connection->rank;
    device->current = connection;
    device->connected_at = device->world->now;
    device->connects++;
    if (!connack.session_present && device->has_session && !device->clean_start) {
        device->lost_sessions++;
    }
    if (!connack.session_present && connection->rank == 1) {
        memset(device->received, 0, sizeof(device->received));
    } else if (!connack.session_present) {
        session_forget(device);
    }
    device->has_session = !device->clean_start || (device->version == MQTT_V5 && device->expiry_s > 0);
    device_resend(device);
    device_send(device);
}

static void publish_received(struct device *device, struct connection *connection, const struct mqtt_header *header,
                             const uint8_t *body)
{
    struct mqtt_publish publish;
    const enum mqtt_error error = mqtt_publish_decode(device->version, MQTT_FROM_SERVER, header, body, &publish);
    if (error != MQTT_OK) {
        world_fail(device->world, "%s: a PUBLISH that is malformed: %s", device->id, mqtt_error_name(error));
        return;
    }
    uint8_t *received = &device->received[publish.packet_id / 8];
    const uint8_t bit = (uint8_t)(1u << (publish.packet_id % 8));
    const bool again = publish.qos == 2 && (*received & bit) != 0;
    if (!again) {
        device->publishes_received++;
        if (device->received_publish != NULL) {
            device->received_publish(device, &publish);
        }
    }
    if (publish.qos == 2) {
        *received |= bit;
        ack_send(connection, MQTT_PUBREC, publish.packet_id);
    } else if (publish.qos == 1) {
        ack_send(connection, MQTT_PUBACK, publish.packet_id);
    }
}

static void ack_received(struct device *device, struct connection *connection, const struct mqtt_header *header,
                         const uint8_t *body)
{
    struct mqtt_ack ack;
    const enum mqtt_error error = mqtt_ack_decode(device->version, header, body, &ack);
    if (error != MQTT_OK) {
        world_fail(device->world, "%s: an acknowledgement that is malformed: %s", device->id, mqtt_error_name(error));
        return;
    }
    if (header->type == MQTT_PUBREL) {
        device->received[ack.packet_id / 8] &= (uint8_t) ~(1u << (ack.packet_id % 8));
        ack_send(connection, MQTT_PUBCOMP, ack.packet_id);
        return;
    }
    struct sending *sending = device->first;
    while (sending != NULL && sending->packet_id != ack.packet_id) {
        sending = sending->next;
    }
    const bool unknown = ack.reason == MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND && header->type == MQTT_PUBCOMP;
    if (sending == NULL || (ack.reason >= 0x80 && !unknown)) {
        if (!unknown) {
            world_fail(device->world, "%s: %s %u with reason %02x for a message that was not sent", device->id,
                       mqtt_type_name(header->type), ack.packet_id, ack.reason);
        }
        return;
    }
    if (header->type == MQTT_PUBREC) {
        sending->released = true;
        ack_send(connection, MQTT_PUBREL, ack.packet_id);
    } else {
        device->in_flight--;
        sending_remove(device, sending);
        device_send(device);
    }
}

static void suback_received(struct device *device, const struct mqtt_header *header, const uint8_t *body)
{
    struct mqtt_suback suback;
    bool asked = false;
    if (mqtt_suback_decode(device->version, header, body, &suback) != MQTT_OK) {
        world_fail(device->world, "%s: a SUBACK that is malformed", device->id);
        return;
    }
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        struct subscription *subscription = &device->subscriptions[i];
        if (subscription->packet_id == suback.packet_id && !subscription->live) {
            subscription->live = asked = true;
            if (device->subscribed != NULL) {
                device->subscribed(device, subscription, suback.reasons.data[0]);
            }
        }
    }
    if (asked != (suback.reasons.length == 1 && suback.packet_id < DEVICE_RAW_IDS)) {
        world_fail(device->world, "%s: a SUBACK that nobody asked for", device->id);
    }
    device->raw_filters += asked ? 0 : suback.reasons.length;
}

static void disconnect_received(struct device *device, struct connection *connection, const struct mqtt_header *header,
                                const uint8_t *body)
{
    struct mqtt_disconnect disconnect;
    if (device->version != MQTT_V5 ||
        mqtt_disconnect_decode(device->version, MQTT_FROM_SERVER, header, body, &disconnect) != MQTT_OK) {
        world_fail(device->world, "%s: a DISCONNECT that is malformed", device->id);
        return;
    }
    connection->reason = disconnect.reason;
    device->takeovers += disconnect.reason == MQTT_REASON_SESSION_TAKEN_OVER;
}

static void packet_received(struct device *device, struct connection *connection, const struct mqtt_header *header,
                            const uint8_t *body)
{
    if (header->type == MQTT_CONNACK) {
        connack_received(device, connection, header, body);
        return;
    }
    if (header->type == MQTT_DISCONNECT) {
        disconnect_received(device, connection, header, body);
        return;
    }
    if (connection != device->current) {
        return; /* left over from a connection that the session has left */
    }
    switch (header->type) {
    case MQTT_PUBLISH:
        publish_received(device, connection, header, body);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        ack_received(device, connection, header, body);
        break;
    case MQTT_SUBACK:
        suback_received(device, header, body);
        break;
    case MQTT_UNSUBACK:
        device->unsubacks++;
        break;
    case MQTT_PINGRESP:
        break;
    default:
        world_fail(device->world, "%s: a packet of type %u", device->id, header->type);
        break;
    }
}

static void packets_take(struct connection *connection)
{
    struct device *device = connection->device;
    uint32_t used = 0;
    while (!device->world->failed) {
        struct mqtt_header header;
        const uint8_t *at = connection->in.data + used;
        const uint32_t left = connection->in.length - used;
        const enum mqtt_error error = mqtt_header_decode(at, left, UINT32_MAX, &header);
        if (error == MQTT_INCOMPLETE || (error == MQTT_OK && left - header.length < header.remaining_length)) {
            break;
        }
        if (error != MQTT_OK) {
            world_fail(device->world, "%s: bytes that are no packet: %s", device->id, mqtt_error_name(error));
            break;
        }
        packet_received(device, connection, &header, at + header.length);
        used += header.length + header.remaining_length;
    }
    buffer_cut(&connection->in, used);
}

static void upgraded_read(struct connection *connection)
{
    const bool before = connection->upgraded;
    websocket_unwrap(connection);
    if (connection->upgraded && !before && connection->state == CONNECTION_OPENING) {
        connect_send(connection->device, connection);
    }
}

static void connection_read(struct connection *connection, uint32_t limit)
{
    uint32_t length = tcp_readable_bytes(connection->tcp);
    length = limit != 0 && limit < length ? limit : length;
    if (length == 0) {
        return;
    }
    connection->device->last_received = connection->device->world->now;
    struct buffer *to = connection->websocket ? &connection->wire : &connection->in;
    tcp_copy(connection->tcp, 0, buffer_grow(to, length), length);
    tcp_consume(connection->tcp, length);
    if (connection->websocket) {
        upgraded_read(connection);
    }
    if (connection->ignored) {
        connection->in.length = 0;
    } else if (!connection->raw) {
        packets_take(connection);
    }
}

/* ---- Callbacks -------------------------------------------------------------------------------------------------- */

static void accepted(void *arg, struct tcp_connection *tcp, void *listener)
{
    tcp_abort(tcp); /* the clients' stack listens to nothing */
}

static void connected(void *arg, struct tcp_connection *tcp)
{
    struct connection *connection = tcp_user(tcp);
    if (connection == NULL) {
        return;
    }
    connection->established = true;
    if (connection->raw) {
        connection->state = CONNECTION_READY;
        out_flush(connection);
    } else if (connection->websocket && !world_chance(connection->device->world, 20)) {
        out_flush(connection); /* CONNECT follows the router's answer, unless the client is in a hurry */
    } else {
        connect_send(connection->device, connection);
    }
}

static void readable(void *arg, struct tcp_connection *tcp)
{
    struct connection *connection = tcp_user(tcp);
    if (connection == NULL) {
        tcp_consume(tcp, tcp_readable_bytes(tcp));
    } else if (connection->device->read_limit != DEVICE_READS_NOTHING) {
        connection_read(connection, connection->device->read_limit);
    }
}

static void writable(void *arg, struct tcp_connection *tcp)
{
    struct connection *connection = tcp_user(tcp);
    if (connection != NULL) {
        out_flush(connection);
        if (connection == connection->device->current) {
            device_send(connection->device);
        }
    }
}

/* The connection is of no use any more. */
static void connection_lost(struct connection *connection)
{
    struct device *device = connection->device;
    if (connection->state != CONNECTION_GONE) {
        connection->state = CONNECTION_GONE;
        connection->gone_at = device->world->now;
        note(device, connection, connection->ignored ? "left" : "lost");
        device->losses++;
        if (device->gone != NULL) {
            device->gone(device, connection);
        }
    }
    if (device->current == connection) {
        device->current = NULL;
    }
}

static void peer_closed(void *arg, struct tcp_connection *tcp)
{
    struct connection *connection = tcp_user(tcp);
    if (connection != NULL) {
        connection_lost(connection);
        tcp_close(tcp);
    }
}

static void closed(void *arg, struct tcp_connection *tcp, enum tcp_close_reason reason)
{
    struct connection *connection = tcp_user(tcp);
    if (connection != NULL) {
        connection_lost(connection);
        note(connection->device, connection, tcp_close_reason_text(reason));
        connection->tcp = NULL;
        if (connection == connection->device->router_current) {
            connection->device->router_current = NULL;
        }
        if (!connection->raw) {
            connection_forget(connection);
        }
    }
}

const struct tcp_callbacks device_callbacks = {
    .accepted = accepted,
    .connected = connected,
    .readable = readable,
    .writable = writable,
    .peer_closed = peer_closed,
    .closed = closed,
};

/* ---- What the device does ---------------------------------------------------------------------------------------- */

struct connection *device_open(struct device *device, uint32_t worker)
{
    struct world *world = device->world;
    const struct net_address any = NET_ADDRESS_ANY, router = world_router_address();
    struct connection *connection = NULL;
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS && connection == NULL; i++) {
        connection = device->connections[i].device == NULL ? &device->connections[i] : NULL;
    }
    if (connection == NULL) {
        return NULL;
    }
    worker = worker == UINT32_MAX ? world_below(world, world->dataplane.worker_count) : worker;
    const uint16_t to = device->websocket ? WORLD_WEBSOCKET_PORT : WORLD_PORT, port = world_port_for(world, to, worker);
    struct tcp_connection *tcp = tcp_connect(world->stack, &any, port, &router, to, connection);
    if (tcp == NULL) {
        return NULL;
    }
    *connection = (struct connection){
        .device = device, .tcp = tcp, .port = port, .websocket = device->websocket, .opened_at = world->now};
    if (connection->websocket) {
        websocket_ask(connection);
    }
    return connection;
}

bool device_is_connected(const struct device *device)
{
    return device->current != NULL && device->current->state == CONNECTION_READY;
}

static bool device_is_trying(const struct device *device)
{
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS; i++) {
        const struct connection *connection = &device->connections[i];
        if (connection->device != NULL && connection->state != CONNECTION_GONE && !connection->ignored) {
            return true;
        }
    }
    return false;
}

static void slow_read(struct device *device)
{
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS && device->read_limit != DEVICE_READS_NOTHING; i++) {
        struct connection *connection = &device->connections[i];
        if (connection->device != NULL && connection->tcp != NULL && connection->state != CONNECTION_GONE) {
            connection_read(connection, device->read_limit);
        }
    }
}

/* A connection that has not become the device's own in time is given up: the RST that ended it may be lost. */
static void latecomers_abort(struct device *device)
{
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS; i++) {
        struct connection *connection = &device->connections[i];
        if (connection->device != NULL && connection->tcp != NULL && connection->state != CONNECTION_GONE &&
            !connection->ignored && !connection->raw && connection != device->current &&
            device->world->now - connection->opened_at > LATE_US) {
            connection->ignored = true;
            tcp_abort(connection->tcp);
        }
    }
}

uint64_t device_poll(struct device *device)
{
    static const uint8_t ping[] = {0xc0, 0};
    struct world *world = device->world;
    uint64_t next = world->now + 100000 + world_below(world, 100000);
    if (device->wanted && !device_is_trying(device) && world->now >= device->retry_at) {
        device_open(device, UINT32_MAX);
        device->retry_at = world->now + 1000 + world_below(world, 200000);
    }
    latecomers_abort(device);
    slow_read(device); /* what a limit left, now or before */
    if (device->read_limit != 0) {
        next = world->now + 1000;
    }
    device_send(device);
    if (device->watchful && device_is_connected(device) &&
        world->now - device->last_received > device->keepalive_s * UINT64_C(2000000)) {
        device_abort(device);
    }
    if (device->keepalive_s != 0 && !device->silent && device_is_connected(device) &&
        world->now - device->last_sent > device->keepalive_s * UINT64_C(500000)) {
        device->pings++;
        connection_send(device->current, ping, sizeof(ping));
    }
    return next;
}

bool device_has_live_subscriptions(const struct device *device)
{
    for (uint32_t i = 0; i < device->subscription_count; i++) {
        if (!device->subscriptions[i].live) {
            return false;
        }
    }
    return true;
}

bool device_is_settled(const struct device *device)
{
    return device_is_connected(device) && device->first == NULL && device_has_live_subscriptions(device);
}

uint32_t device_open_connections(const struct device *device)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < DEVICE_CONNECTIONS; i++) {
        count += device->connections[i].device != NULL && device->connections[i].state != CONNECTION_GONE;
    }
    return count;
}

static void disconnect_encoded(struct device *device, const struct mqtt_disconnect *disconnect)
{
    uint8_t packet[32];
    struct connection *connection = device->current;
    if (connection != NULL) {
        const uint8_t *end = mqtt_disconnect_encode(packet, device->version, disconnect);
        connection_send(connection, packet, (uint32_t)(end - packet));
        device->current = NULL;
        connection->ignored = true;
        tcp_close(connection->tcp);
    }
}

void device_disconnect(struct device *device, uint8_t reason)
{
    disconnect_encoded(device, &(struct mqtt_disconnect){.reason = reason});
}

void device_disconnect_expiry(struct device *device, uint32_t expiry_s)
{
    struct mqtt_disconnect disconnect = {.properties.session_expiry_interval = expiry_s};
    mqtt_property_set(&disconnect.properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL);
    disconnect_encoded(device, &disconnect);
}

void device_shut(struct device *device)
{
    struct connection *connection = device->current;
    if (connection != NULL) {
        device->current = NULL;
        connection->ignored = true;
        tcp_close(connection->tcp);
    }
}

void device_abort(struct device *device)
{
    struct connection *connection = device->current;
    if (connection != NULL) {
        device->current = NULL;
        connection->ignored = true;
        tcp_abort(connection->tcp);
    }
}

void device_vanish(struct device *device)
{
    if (device->current != NULL) {
        world_cut(device->world, device->current->port);
        device_abort(device);
    }
}

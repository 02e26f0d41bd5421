/* Reading packets off a connection and closing it. See client.h. */
#include "dataplane/client.h"

#include <string.h>

#include "dataplane/aliases.h"
#include "dataplane/deliver.h"
#include "dataplane/handlers.h"
#include "dataplane/login.h"
#include "dataplane/look_ahead.h"
#include "dataplane/move.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/packets.h"

enum {
    READ_BUDGET = 128 * 1024,  /* bytes of one client handled per iteration, so that nobody holds up the others */
    PARTIAL_FIRST_SIZE = 4096, /* bytes of memory that a large packet starts with */
    SMALL_ANSWER = 64,         /* bytes: answers up to this lie in one segment, so that room for them can be promised */
    DISCONNECT_ROOM = 512,     /* bytes of a DISCONNECT with a reason string of the router's and a server reference */
};

/* ---- One packet ------------------------------------------------------------------------------------------------ */

typedef enum packet_result packet_handler(struct worker *worker, struct client *client,
                                          const struct mqtt_header *header, const uint8_t *body);

/* REQ MQTT-5 [MQTT-3.12.4-1]: PINGREQ is answered [test: wire/ping] */
/* REQ MQTT-3.1.1 [MQTT-3.12.4-1]: PINGREQ is answered [test: wire/ping] */
static enum packet_result ping_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                      const uint8_t *body)
{
    uint8_t answer[MQTT_PING_SIZE];
    const enum mqtt_error error = mqtt_ping_decode(client->version, header);
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    if (!client_can_answer(worker, client, MQTT_PING_SIZE)) {
        return PACKET_WAIT;
    }
    mqtt_ping_encode(answer, MQTT_PINGRESP);
    client_send(worker, client, answer, sizeof(answer));
    return PACKET_DONE;
}

static packet_handler *const handlers[16] = {
    [MQTT_PUBLISH] = publish_handle,         [MQTT_PUBACK] = puback_handle,
    [MQTT_PUBREC] = pubrec_handle,           [MQTT_PUBREL] = pubrel_handle,
    [MQTT_PUBCOMP] = pubcomp_handle,         [MQTT_SUBSCRIBE] = subscribe_handle,
    [MQTT_UNSUBSCRIBE] = unsubscribe_handle, [MQTT_PINGREQ] = ping_handle,
    [MQTT_DISCONNECT] = disconnect_handle,   [MQTT_AUTH] = auth_handle,
};

/* REQ MQTT-5 [MQTT-3.1.4-5]: CONNACK with 0x00 answers a CONNECT [test: conformance/password_alone] */
/* REQ MQTT-3.1.1 [MQTT-3.1.0-1]: the first packet is CONNECT [test: wire/malformed_first_packet] */
/* REQ MQTT-3.1.1 [MQTT-3.1.0-2]: a second CONNECT closes [test: wire/malformed_packet] */
/* REQ MQTT-5 [MQTT-3.1.4-6]: nothing behind a refused CONNECT is handled [test: conformance/connect_refusals] */
/* REQ MQTT-3.1.1 [MQTT-3.1.4-5]: nothing behind a refused CONNECT is handled [test: conformance/connect_refusals] */
static enum packet_result packet_handle(struct worker *worker, struct client *client, const struct mqtt_header *header,
                                        const uint8_t *body)
{
    if (client->state == CLIENT_CONNECTED) {
        if (header->type == MQTT_CONNECT) {
            /* REQ MQTT-5 [MQTT-3.1.0-2]: a second CONNECT is a protocol error [test: wire/malformed_packet] */
            return client_violation(worker, client, &worker->counters.violated_connect_twice,
                                    MQTT_REASON_PROTOCOL_ERROR);
        }
        packet_handler *handler = handlers[header->type];
        if (handler == NULL) {
            return client_violation(worker, client, &worker->counters.violated_direction, MQTT_REASON_PROTOCOL_ERROR);
        }
        const enum packet_result result = handler(worker, client, header, body);
        if (result == PACKET_DONE) {
            worker->counters.packets_in++;
        }
        return result;
    }
    if (client->state == CLIENT_CHALLENGED) {
        return login_packet(worker, client, header, body);
    }
    if (header->type != MQTT_CONNECT) {
        /* REQ MQTT-5 [MQTT-3.1.0-1]: the first packet is CONNECT [test: wire/malformed_first_packet] */
        return client_violation(worker, client, &worker->counters.violated_no_connect, MQTT_REASON_PROTOCOL_ERROR);
    }
    return connect_handle(worker, client, header, body);
}

/* ---- Putting packets together ---------------------------------------------------------------------------------- */

/* How many packets can be handled as one: a run of messages. */
static uint32_t packets_together(const struct worker *worker, const struct client *client,
                                 const struct mqtt_header *header, const uint8_t *packet, uint32_t left)
{
    return header->type == MQTT_PUBLISH && client->state == CLIENT_CONNECTED && client->limits == NULL
               ? run_count(client->version, header, packet, left, worker->run_max)
               : 1;
}

/* Handles the packets that lie whole in `bytes`; `*used` tells how far it came. What is behind a CONNECT or AUTH
 * that control looks at stays. */
static enum packet_result packets_handle(struct worker *worker, struct client *client, const uint8_t *bytes, uint32_t n,
                                         uint32_t *used, struct look_ahead *ahead)
{
    while (*used < n && client->state != CLIENT_ASKED) {
        struct mqtt_header header;
        const uint8_t *packet = bytes + *used;
        const enum mqtt_error error =
            mqtt_header_decode(packet, n - *used, worker->config->mqtt.max_packet_size, &header);
        if (error == MQTT_INCOMPLETE) {
            break;
        }
        if (error != MQTT_OK) {
            return client_malformed(worker, client, error);
        }
        if (header.remaining_length > n - *used - header.length) {
            break;
        }
        const uint32_t count = packets_together(worker, client, &header, packet, n - *used);
        for (uint32_t i = 0; ahead->routes != NULL && i < count; i++) {
            look_ahead_step(ahead);
        }
        const enum packet_result result =
            count > 1 ? publish_handle_run(worker, client, &header, packet + header.length, count)
                      : packet_handle(worker, client, &header, packet + header.length);
        if (result != PACKET_DONE) {
            return result;
        }
        *used += count * (header.length + header.remaining_length);
    }
    return PACKET_DONE;
}

static void consume(struct client *client, uint32_t length)
{
    tcp_consume(client->tcp, length);
    if (client->over_websocket) {
        client->websocket->unframed -= length;
    }
}

/* A packet too large for the scratch buffer: start to collect it. */
static enum packet_result partial_start(struct worker *worker, struct client *client, uint32_t length)
{
    client->partial = mem_alloc(worker->memory, sizeof(struct partial_packet) + PARTIAL_FIRST_SIZE);
    if (client->partial == NULL) {
        worker->counters.stalls_memory++;
        return client_wait(worker, client);
    }
    client->partial->length = length;
    client->partial->have = 0;
    return PACKET_DONE;
}

/* Memory for a collected packet grows with what has arrived, so that announcing a packet costs the router nothing. */
static bool partial_make_room(struct worker *worker, struct client *client)
{
    struct partial_packet *partial = client->partial;
    const size_t room = mem_usable(worker->memory, partial) - sizeof(*partial);
    if (partial->have < room) {
        return true;
    }
    const size_t wanted = 2 * room < partial->length ? 2 * room : partial->length;
    struct partial_packet *grown = mem_resize(worker->memory, partial, sizeof(*partial) + wanted);
    if (grown == NULL) {
        return false;
    }
    client->partial = grown;
    return true;
}

static enum packet_result partial_finish(struct worker *worker, struct client *client)
{
    struct mqtt_header header;
    struct partial_packet *partial = client->partial;
    mqtt_header_decode(partial->bytes, partial->length, UINT32_MAX, &header);
    const enum packet_result result = packet_handle(worker, client, &header, partial->bytes + header.length);
    if (result == PACKET_DONE) {
        mem_free(worker->memory, partial);
        client->partial = NULL;
    } /* else it is handled again, or has moved or goes with the client */
    return result;
}

static enum packet_result partial_take(struct worker *worker, struct client *client, const uint8_t *bytes, uint32_t n)
{
    if (client->partial->have < client->partial->length) {
        if (!partial_make_room(worker, client)) {
            worker->counters.stalls_memory++;
            return client_wait(worker, client);
        }
        struct partial_packet *partial = client->partial;
        const size_t room = mem_usable(worker->memory, partial) - sizeof(*partial) - partial->have;
        uint32_t part = partial->length - partial->have;
        part = part < n ? part : n;
        part = part < room ? part : (uint32_t)room;
        memcpy(partial->bytes + partial->have, bytes, part);
        partial->have += part;
        consume(client, part);
    }
    return client->partial->have == client->partial->length ? partial_finish(worker, client) : PACKET_DONE;
}

/*
 * The next packet does not lie whole in one segment. `*progress` is false when more bytes have to arrive first.
 */
static enum packet_result packet_spanning(struct worker *worker, struct client *client, bool *progress)
{
    uint8_t start[MQTT_HEADER_MAX];
    struct mqtt_header header;
    *progress = false;
    const uint32_t n = tcp_copy(client->tcp, 0, start, sizeof(start));
    const enum mqtt_error error = mqtt_header_decode(start, n, worker->config->mqtt.max_packet_size, &header);
    if (error == MQTT_INCOMPLETE) {
        return PACKET_DONE;
    }
    if (error != MQTT_OK) {
        return client_malformed(worker, client, error);
    }
    const uint32_t length = header.length + header.remaining_length;
    if (length > worker->scratch_size) {
        *progress = true;
        return partial_start(worker, client, length);
    }
    if (tcp_readable_bytes(client->tcp) < length) {
        return PACKET_DONE;
    }
    *progress = true;
    tcp_copy(client->tcp, 0, worker->scratch, length);
    const enum packet_result result = packet_handle(worker, client, &header, worker->scratch + header.length);
    if (result == PACKET_DONE) {
        consume(client, length);
    }
    return result;
}

static bool is_read(const struct client *client)
{
    return client->state == CLIENT_NEW || client->state == CLIENT_CONNECTED || client->state == CLIENT_CHALLENGED;
}

/* Handles what has come. PACKET_DONE: all of it, but for a packet's beginning. */
static enum packet_result packets_read(struct worker *worker, struct client *client)
{
    uint32_t budget = READ_BUDGET;
    struct look_ahead ahead = look_ahead_begin(worker->routes, client->over_websocket ? NULL : client->tcp);
    while (is_read(client)) {
        uint32_t n, used = 0;
        const uint32_t before = tcp_readable_bytes(client->tcp);
        const uint8_t *bytes = tcp_peek(client->tcp, &n);
        enum packet_result result;
        bool progress = true;
        if (n == 0) {
            if (client->partial == NULL || client->partial->have < client->partial->length) {
                return PACKET_DONE;
            }
        }
        if (client->partial != NULL) {
            result = partial_take(worker, client, bytes, n);
        } else {
            look_ahead_segment(&ahead, bytes, n);
            result = packets_handle(worker, client, bytes, n, &used, &ahead);
            if (result == PACKET_CLOSED) {
                return result;
            }
            if (used > 0) {
                consume(client, used);
            } else if (result == PACKET_DONE) {
                result = packet_spanning(worker, client, &progress);
                if (result == PACKET_DONE && progress && ahead.routes != NULL) {
                    look_ahead_step(&ahead);
                }
            }
        }
        if (result != PACKET_DONE || !progress) {
            return result;
        }
        const uint32_t taken = before - tcp_readable_bytes(client->tcp);
        worker->counters.bytes_in += taken;
        if (client->session != NULL) {
            client->session->bytes_in += taken;
        }
        if (taken >= budget) {
            tcp_want_read(client->tcp);
            return PACKET_WAIT;
        }
        budget -= taken;
    }
    return PACKET_WAIT;
}

void client_read(struct worker *worker, struct client *client)
{
    if (!client->over_websocket) {
        packets_read(worker, client);
    } else if (is_read(client) && websocket_receive(worker, client) && packets_read(worker, client) == PACKET_DONE) {
        websocket_finish(worker, client);
    }
}

/* ---- Waiting ---------------------------------------------------------------------------------------------------- */

static void waiting_insert(struct client **list, struct client *client)
{
    client->next_waiting = *list;
    client->waiting_link = list;
    if (*list != NULL) {
        (*list)->waiting_link = &client->next_waiting;
    }
    *list = client;
}

static void waiting_remove(struct client *client)
{
    if (client->waiting_link == NULL) {
        return;
    }
    *client->waiting_link = client->next_waiting;
    if (client->next_waiting != NULL) {
        client->next_waiting->waiting_link = client->waiting_link;
    }
    client->waiting_link = NULL;
}

enum packet_result client_wait(struct worker *worker, struct client *client)
{
    if (client->waiting_link == NULL) {
        waiting_insert(&worker->waiting, client);
    }
    return PACKET_WAIT;
}

/*
 * Every client that waits, once: those that have to go on waiting are in the list again afterwards. To retry one may
 * close another, which leaves whichever list it is in.
 */
void clients_retry(struct worker *worker)
{
    struct client *client;
    struct client *retrying = worker->waiting;
    retrying->waiting_link = &retrying;
    worker->waiting = NULL;
    while ((client = retrying) != NULL) {
        waiting_remove(client);
        if (client->doom != 0) {
            client_disconnect(worker, client, client->doom);
        } else {
            if (client->limits != NULL && client->session != NULL) {
                session_flush(worker, client->session); /* what was held back towards it */
            }
            client_read(worker, client);
        }
    }
}

void client_doom(struct worker *worker, struct client *client, uint8_t reason)
{
    client->doom = reason;
    client_wait(worker, client);
}

bool client_can_answer(struct worker *worker, struct client *client, uint32_t length)
{
    const uint32_t contiguous = length < SMALL_ANSWER ? length : SMALL_ANSWER;
    if (client->stream == NULL && client_send_room(client) >= length + client->answers_owed &&
        client_reserve(client, contiguous) != NULL) {
        return true;
    }
    tcp_want_write(client->tcp);
    client->answers_blocked = true;
    worker->counters.stalls_answer++;
    return false;
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

/* The pool of packet buffers ran out within a packet: the stream cannot be mended. */
static void send_failed(struct worker *worker, struct client *client)
{
    worker->counters.closed_no_buffers++;
    tcp_abort(client->tcp);
}

bool client_send_part(struct worker *worker, struct client *client, const uint8_t *bytes, size_t length)
{
    if (tcp_send(client->tcp, bytes, length) == length) {
        return true;
    }
    send_failed(worker, client);
    return false;
}

void client_send(struct worker *worker, struct client *client, const uint8_t *packet, size_t length)
{
    /* REQ MQTT-5 [MQTT-3.1.2-24]: no packet above Maximum Packet Size [test: conformance/maximum_packet_size] */
    if (length > client->maximum_packet_size) {
        worker->counters.closed_packet_size++;
        client_doom(worker, client, MQTT_REASON_PACKET_TOO_LARGE);
        return;
    }
    worker->counters.answers_out++;
    worker->counters.answer_bytes_out += length;
    if (length <= SMALL_ANSWER) {
        uint8_t *dst = client_reserve(client, (uint32_t)length);
        if (dst == NULL) {
            send_failed(worker, client);
            return;
        }
        memcpy(dst, packet, length);
        client_commit(client, (uint32_t)length);
        return;
    }
    uint8_t header[WEBSOCKET_HEADER_MAX];
    const uint8_t *end = client_frame_begin(client, header, (uint32_t)length);
    if (client_send_part(worker, client, header, (size_t)(end - header))) {
        client_send_part(worker, client, packet, length);
    }
}

/* REQ MQTT-5 [MQTT-3.1.2-29]: acknowledgements have no properties [test: conformance/reason_strings] */
/* REQ MQTT-5 [MQTT-3.4.2-2], [MQTT-3.4.2-3]: PUBACK has no properties [test: reason_codes/no_properties] */
/* REQ MQTT-5 [MQTT-3.5.2-2], [MQTT-3.5.2-3]: PUBREC has no properties [test: reason_codes/no_properties] */
/* REQ MQTT-5 [MQTT-3.6.2-2], [MQTT-3.6.2-3]: PUBREL has no properties [test: reason_codes/no_properties] */
/* REQ MQTT-5 [MQTT-3.7.2-2], [MQTT-3.7.2-3]: PUBCOMP has no properties [test: reason_codes/no_properties] */
void client_send_ack(struct worker *worker, struct client *client, enum mqtt_type type, uint16_t packet_id,
                     uint8_t reason)
{
    uint8_t packet[16];
    const struct mqtt_ack ack = {.packet_id = packet_id, .reason = reason};
    const uint8_t *end = reason == MQTT_REASON_SUCCESS ? mqtt_ack_encode_success(packet, type, packet_id)
                                                       : mqtt_ack_encode(packet, client->version, type, &ack);
    client_send(worker, client, packet, (size_t)(end - packet));
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

void client_release_session(struct worker *worker, struct client *client)
{
    client->session->client = NULL;
    client->session = NULL;
    worker->connected_clients--;
}

/* The session goes on without this client. */
static void client_detach(struct worker *worker, struct client *client)
{
    struct session *session = client->session;
    timer_cancel(&worker->wheel, &client->timer);
    waiting_remove(client);
    login_forget(worker, client);
    if (client->stream != NULL) {
        message_release(client->stream, worker->memory);
        client->stream = NULL;
    }
    client->state = CLIENT_CLOSING;
    if (session != NULL) {
        client_release_session(worker, client);
        session_disconnected(worker, session, !client->will_unwanted);
    }
}

enum packet_result client_drop(struct worker *worker, struct client *client, uint8_t reason)
{
    if (client->state != CLIENT_CLOSING) {
        if (client->over_websocket) {
            websocket_close(worker, client, websocket_close_code(reason),
                            reason < 0x80 ? "" : mqtt_reason_text(reason));
        }
        client_detach(worker, client);
        tcp_close(client->tcp);
    }
    return PACKET_CLOSED;
}

/* Leaves away what would make the packet larger than the client takes, or than there is room for here. */
static void disconnect_fit(const struct client *client, struct mqtt_disconnect *disconnect, enum mqtt_property property)
{
    if (mqtt_disconnect_size(client->version, disconnect) > RTE_MIN(client->maximum_packet_size, DISCONNECT_ROOM)) {
        mqtt_property_clear(&disconnect->properties, property);
    }
}

/*
 * REQ MQTT-5 [MQTT-3.14.2-3]: no reason string beyond Maximum Packet Size [test: conformance/reason_strings]
 *
 * A client too slow to take it, or one that takes no packet of even three bytes, is closed without it.
 */
/* REQ MQTT-5 [MQTT-3.14.2-4]: the router sends no user properties of its own [test: reason_codes/no_properties] */
static void disconnect_send(struct worker *worker, struct client *client, struct mqtt_disconnect *disconnect,
                            const char *text)
{
    uint8_t packet[DISCONNECT_ROOM];
    if (client->wants_reasons) {
        disconnect->properties.reason_string = (struct mqtt_span){(const uint8_t *)text, (uint32_t)strlen(text)};
        mqtt_property_set(&disconnect->properties, MQTT_PROPERTY_REASON_STRING);
        disconnect_fit(client, disconnect, MQTT_PROPERTY_REASON_STRING);
    }
    disconnect_fit(client, disconnect, MQTT_PROPERTY_SERVER_REFERENCE);
    const size_t size = mqtt_disconnect_size(client->version, disconnect);
    if (client_send_room(client) >= size && size <= client->maximum_packet_size) {
        mqtt_disconnect_encode(packet, client->version, disconnect);
        client_send(worker, client, packet, size);
    }
}

/* REQ MQTT-5 [MQTT-3.14.4-1]: nothing follows a DISCONNECT [test: wire/malformed_packet] */
/* REQ MQTT-5 [MQTT-3.14.4-2]: the sender of a DISCONNECT closes [test: wire/malformed_packet] */
/* REQ MQTT-5 [MQTT-3.14.0-1]: no DISCONNECT before a CONNACK with success [test: wire/malformed_first_packet] */
static enum packet_result disconnect_saying(struct worker *worker, struct client *client,
                                            struct mqtt_disconnect *disconnect, const char *text)
{
    if (client->state == CLIENT_CLOSING) {
        return PACKET_CLOSED;
    }
    if (client->stream != NULL) {
        /* Half a PUBLISH is on the wire: nothing may follow it. */
        client_detach(worker, client);
        tcp_abort(client->tcp);
        return PACKET_CLOSED;
    }
    if (client->state == CLIENT_CONNECTED && client->version == MQTT_V5) {
        disconnect_send(worker, client, disconnect, text);
    }
    if (client->over_websocket) { /* here older clients are told too */
        websocket_close(worker, client, websocket_close_code(disconnect->reason), text);
    }
    return client_drop(worker, client, disconnect->reason);
}

enum packet_result client_disconnect(struct worker *worker, struct client *client, uint8_t reason)
{
    struct mqtt_disconnect disconnect = {.reason = reason};
    return disconnect_saying(worker, client, &disconnect, mqtt_reason_text(reason));
}

enum packet_result client_redirect(struct worker *worker, struct client *client, uint8_t reason,
                                   struct mqtt_span reference)
{
    struct mqtt_disconnect disconnect = {.reason = reason};
    disconnect.properties.server_reference = reference;
    mqtt_property_set(&disconnect.properties, MQTT_PROPERTY_SERVER_REFERENCE);
    return disconnect_saying(worker, client, &disconnect, mqtt_reason_text(reason));
}

/* REQ MQTT-5 [MQTT-4.13.1-1]: a malformed packet or protocol error closes [test: wire/malformed_packet] */
/* REQ MQTT-3.1.1 [MQTT-4.8.0-1]: a violation closes the connection [test: wire/malformed_packet] */
enum packet_result client_malformed(struct worker *worker, struct client *client, enum mqtt_error error)
{
    worker->codec_errors[error]++;
    worker->counters.closed_malformed++;
    struct mqtt_disconnect disconnect = {.reason = mqtt_error_reason(error)};
    return disconnect_saying(worker, client, &disconnect, mqtt_error_text(error));
}

enum packet_result client_violation(struct worker *worker, struct client *client, uint64_t *cause, uint8_t reason)
{
    ++*cause;
    worker->counters.closed_malformed++;
    return client_disconnect(worker, client, reason);
}

/* One more connection of a listener, here and in all workers together. False: it has as many as it may. */
static bool listener_enter(struct worker *worker, struct listener *listener)
{
    _Atomic uint32_t *open = &worker->dataplane->listener_open[listener->index];
    listener->open++;
    return atomic_fetch_add_explicit(open, 1, memory_order_relaxed) < listener->config->max_connections;
}

static void listener_leave(struct worker *worker, struct listener *listener)
{
    listener->open--;
    atomic_fetch_sub_explicit(&worker->dataplane->listener_open[listener->index], 1, memory_order_relaxed);
}

static void client_free(struct worker *worker, struct client *client)
{
    if (client->partial != NULL) {
        mem_free(worker->memory, client->partial);
    }
    if (client->aliases != NULL) {
        for (uint16_t i = 0; i < client->aliases->count; i++) {
            if (client->aliases->topics[i].data != NULL) {
                mem_free(worker->memory, (void *)(uintptr_t)client->aliases->topics[i].data);
            }
        }
        mem_free(worker->memory, client->aliases);
    }
    alias_table_free(client->aliases_out, worker->memory);
    mem_free(worker->memory, client->subscribing);
    mem_free(worker->memory, client->limits);
    listener_leave(worker, &worker->listeners[client->listener]);
    worker->clients--;
    mem_free(worker->memory, client);
}

void client_forget(struct worker *worker, struct client *client)
{
    client_detach(worker, client);
    client_free(worker, client);
}

/* ---- Callbacks -------------------------------------------------------------------------------------------------- */

struct client *client_create(struct worker *worker, struct tcp_connection *tcp, struct listener *listener, bool moved)
{
    const bool over_websocket = listener->config->transport == SHM_TRANSPORT_WEBSOCKET;
    const size_t size = sizeof(struct client) + (over_websocket ? sizeof(struct websocket) : 0);
    const bool has_place = listener_enter(worker, listener) || moved; /* one that moved was let in before */
    struct client *client = has_place ? mem_alloc(worker->memory, size) : NULL;
    tcp_set_user(tcp, client);
    if (client == NULL) {
        listener_leave(worker, listener);
        listener->refused++;
        worker->counters.closed_limit++;
        tcp_abort(tcp);
        return NULL;
    }
    *client = (struct client){.tcp = tcp,
                              .over_websocket = over_websocket,
                              .state = CLIENT_NEW,
                              .listener = (uint8_t)listener->index,
                              .last_received = worker->now,
                              .maximum_packet_size = UINT32_MAX};
    if (over_websocket) {
        client->websocket[0] = (struct websocket){.unframed = 0};
    }
    listener->accepted += !moved;
    worker->clients++;
    timer_init(&client->timer, TIMER_KIND_CLIENT);
    timer_set(&worker->wheel, &client->timer, worker->now + worker->config->mqtt.connect_timeout_s * UINT64_C(1000000));
    return client;
}

/* REQ MQTT-5 [MQTT-4.2.0-1]: TCP [test: wire/byte_by_byte] */
/* REQ MQTT-3.1.1 [MQTT-7.1.1-1]: TCP [test: wire/byte_by_byte] */
/* REQ MQTT-3.1.1 [MQTT-7.0.0-1]: the router opens no connections to other servers [test: reason_codes/only_clients_connect] */
/* REQ MQTT-3.1.1 [MQTT-7.0.0-2]: what other libraries speak is enough [test: mosquitto_clients/publish_and_receive] */
void client_accepted(void *worker, struct tcp_connection *tcp, void *listener)
{
    client_create(worker, tcp, listener, false);
}

void client_upcoming(void *arg, struct tcp_connection *tcp)
{
    struct worker *worker = arg;
    const struct client *client = tcp_user(tcp);
    uint32_t n;
    if (client == NULL || client->state != CLIENT_CONNECTED) {
        return;
    }
    rte_prefetch0(&client->limits);
    rte_prefetch0(client->session);
    rte_prefetch0(&client->session->messages_in);
    const uint8_t *bytes = tcp_peek(tcp, &n);
    if (n > 0 && client->partial == NULL && !client->over_websocket) { /* whose bytes are still masked */
        look_ahead_first(worker->routes, bytes, n);
    }
}

void client_readable(void *arg, struct tcp_connection *tcp)
{
    struct worker *worker = arg;
    struct client *client = tcp_user(tcp);
    if (client != NULL) {
        if (!client->over_websocket) {
            client->last_received = worker->now;
        }
        client_read(worker, client);
    }
}

void client_writable(void *arg, struct tcp_connection *tcp)
{
    struct worker *worker = arg;
    struct client *client = tcp_user(tcp);
    if (client == NULL || client->state == CLIENT_CLOSING) {
        return;
    }
    if (client->session != NULL) {
        session_flush(worker, client->session);
    }
    if (client->over_websocket && client->websocket->reader.pong_due) {
        websocket_pong(client);
    }
    if (client->login != NULL) {
        login_writable(worker, client);
    }
    if (client->answers_blocked && client->state != CLIENT_CLOSING) {
        client->answers_blocked = false;
        client_read(worker, client);
    }
}

void client_peer_closed(void *arg, struct tcp_connection *tcp)
{
    struct worker *worker = arg;
    struct client *client = tcp_user(tcp);
    if (client != NULL) {
        client_drop(worker, client, MQTT_REASON_SUCCESS);
    }
}

void client_closed(void *arg, struct tcp_connection *tcp, enum tcp_close_reason reason)
{
    struct worker *worker = arg;
    struct client *client = tcp_user(tcp);
    if (client != NULL) {
        if (client->state != CLIENT_CLOSING) {
            client_detach(worker, client);
        }
        if (client->moved_from != 0) {
            client_moved_end(worker, client->moved_from - 1u, tcp_flow(tcp), reason);
        }
        client_free(worker, client);
    }
}

/* ---- Time ------------------------------------------------------------------------------------------------------- */

/* REQ MQTT-5 [MQTT-3.1.2-22]: closed after one and a half keep alive times [test: wire/keepalive_runs_out] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-24]: closed after one and a half keep alive times [test: wire/keepalive_runs_out] */
static uint64_t keepalive_us(const struct client *client)
{
    return client->keepalive_s * UINT64_C(1500000);
}

void client_keepalive_start(struct worker *worker, struct client *client)
{
    if (client->keepalive_s == 0) {
        timer_cancel(&worker->wheel, &client->timer);
    } else {
        timer_set(&worker->wheel, &client->timer, client->last_received + keepalive_us(client));
    }
}

void client_timer(void *arg, struct timer *timer, uint64_t now)
{
    struct worker *worker = arg;
    struct client *client = (struct client *)((char *)timer - offsetof(struct client, timer));
    if (client->state == CLIENT_NEW || client->state == CLIENT_CLAIMING) {
        worker->counters.closed_no_connect++;
        client_drop(worker, client, MQTT_REASON_NOT_AUTHORIZED);
    } else if (client->waiting_link != NULL || client->answers_blocked) {
        /* It is the router that does not read: what the client sent to stay alive may wait in the connection. */
        client->last_received = now;
        client_keepalive_start(worker, client);
    } else if (now < client->last_received + keepalive_us(client)) {
        client_keepalive_start(worker, client);
    } else {
        worker->counters.closed_keepalive++;
        client_disconnect(worker, client, MQTT_REASON_KEEP_ALIVE_TIMEOUT);
    }
}

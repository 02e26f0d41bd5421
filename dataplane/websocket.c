/* MQTT over WebSocket. See websocket.h. */
#include "dataplane/websocket.h"

#include <string.h>

#include "dataplane/client.h"
#include "dataplane/websocket_handshake.h"
#include "dataplane/worker.h"

/* ---- The handshake ---------------------------------------------------------------------------------------------- */

static void refusal_count(struct worker *worker, enum websocket_answer answer)
{
    switch (answer) {
#define WEBSOCKET_REFUSAL(name, status, headers, text) \
    case WEBSOCKET_REFUSED_##name:                     \
        worker->counters.websocket_refused_##name++;   \
        break;
#include "dataplane/websocket_refusals.def"
#undef WEBSOCKET_REFUSAL
    default:
        break;
    }
}

static bool answer_send(struct worker *worker, struct client *client, enum websocket_answer answer,
                        const struct websocket_request *request)
{
    char text[WEBSOCKET_ANSWER_MAX];
    const struct shm_listener *listener = worker->listeners[client->listener].config;
    const uint32_t length = websocket_answer_write(text, answer, listener, request);
    return tcp_send_room(client->tcp) >= length && tcp_send(client->tcp, text, length) == length;
}

static void refuse(struct worker *worker, struct client *client, enum websocket_answer answer)
{
    refusal_count(worker, answer);
    answer_send(worker, client, answer, NULL);
    client->websocket->closed = true;
    client_drop(worker, client, MQTT_REASON_SUCCESS);
}

/* True: it is done, and what follows are frames. */
static bool handshake(struct worker *worker, struct client *client)
{
    struct websocket_request request;
    const struct shm_listener *listener = worker->listeners[client->listener].config;
    const uint32_t bound = RTE_MIN(listener->max_header_size, worker->scratch_size);
    const uint32_t length = tcp_copy(client->tcp, 0, worker->scratch, bound);
    const enum websocket_answer answer =
        websocket_request_read(listener, (const char *)worker->scratch, length, bound, &request);
    if (answer == WEBSOCKET_INCOMPLETE) {
        return false;
    }
    if (answer != WEBSOCKET_ACCEPTED) {
        refuse(worker, client, answer);
        return false;
    }
    if (!answer_send(worker, client, answer, &request)) {
        worker->counters.closed_no_buffers++;
        client->websocket->closed = true;
        client_drop(worker, client, MQTT_REASON_SUCCESS);
        return false;
    }
    worker->counters.websocket_accepted++;
    tcp_consume(client->tcp, request.length);
    client->websocket->open = true;
    return true;
}

/* ---- Receiving -------------------------------------------------------------------------------------------------- */

static uint32_t frames_take_off(void *reader, uint8_t *bytes, uint32_t length)
{
    return websocket_read(reader, bytes, length);
}

/* REQ MQTT-5 [MQTT-6.0.0-2]: any cut by frames and segments [test: websocket/byte_by_byte] */
/* REQ MQTT-3.1.1 [MQTT-6.0.0-2]: any cut by frames and segments [test: websocket/byte_by_byte] */
bool websocket_receive(struct worker *worker, struct client *client)
{
    struct websocket *websocket = client->websocket;
    if (!websocket->open && !handshake(worker, client)) {
        return false;
    }
    tcp_rewrite(client->tcp, websocket->unframed, frames_take_off, &websocket->reader);
    const uint32_t unframed = tcp_readable_bytes(client->tcp);
    if (unframed > websocket->unframed) {
        client->last_received = worker->now; /* a ping of WebSocket's does not keep an MQTT client alive */
        websocket->unframed = unframed;
    }
    if (websocket->reader.pong_due) {
        websocket_pong(client);
    }
    return true;
}

static void fault_count(struct worker *worker, enum websocket_fault fault)
{
    switch (fault) {
#define WEBSOCKET_FAULT(name, code, text)         \
    case WEBSOCKET_FAULT_##name:                  \
        worker->counters.violated_frame_##name++; \
        worker->counters.closed_malformed++;      \
        break;
#include "dataplane/websocket_faults.def"
#undef WEBSOCKET_FAULT
    default:
        break;
    }
}

bool websocket_finish(struct worker *worker, struct client *client)
{
    const struct websocket_reader *reader = &client->websocket->reader;
    if (!reader->ended) {
        return false;
    }
    fault_count(worker, reader->fault);
    websocket_close(worker, client,
                    reader->fault != WEBSOCKET_FAULT_NONE ? websocket_fault_code(reader->fault)
                                                          : websocket_close_answer(reader),
                    websocket_fault_text(reader->fault));
    client_drop(worker, client, MQTT_REASON_SUCCESS);
    return true;
}

/* ---- Control frames --------------------------------------------------------------------------------------------- */

/* False: no room now; the connection will tell when there is. */
static bool control_send(struct websocket *websocket, struct tcp_connection *tcp, enum websocket_opcode opcode,
                         const uint8_t *payload, uint32_t length)
{
    uint8_t *to = tcp_reserve(tcp, 2 + length);
    if (to == NULL) {
        return false;
    }
    memcpy(websocket_header_write(to, opcode, length), payload, length);
    tcp_commit(tcp, 2 + length);
    websocket->frame_end = NULL;
    return true;
}

void websocket_pong(struct client *client)
{
    struct websocket *websocket = client->websocket;
    const struct websocket_reader *reader = &websocket->reader;
    if (client->stream == NULL &&
        control_send(websocket, client->tcp, WEBSOCKET_PONG, reader->control, reader->control_length)) {
        websocket->reader.pong_due = false;
    }
}

uint16_t websocket_close_code(uint8_t reason)
{
    switch (reason) {
    case MQTT_REASON_MALFORMED_PACKET:
    case MQTT_REASON_PROTOCOL_ERROR:
        return 1002; /* protocol error */
    case MQTT_REASON_PACKET_TOO_LARGE:
        return 1009; /* message too big */
    case MQTT_REASON_SERVER_SHUTTING_DOWN:
    case MQTT_REASON_USE_ANOTHER_SERVER:
    case MQTT_REASON_SERVER_MOVED:
        return 1001; /* going away */
    default:
        return reason < 0x80 ? 1000 : 1008; /* normal closure, policy violation */
    }
}

void websocket_close(struct worker *worker, struct client *client, uint16_t code, const char *text)
{
    struct websocket *websocket = client->websocket;
    uint8_t payload[WEBSOCKET_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    const size_t length = strnlen(text, sizeof(payload) - 2);
    if (websocket->closed || client->stream != NULL) { /* half a packet is on its way: a frame cannot follow */
        return;
    }
    websocket->closed = true;
    if (websocket->open) {
        memcpy(payload + 2, text, length);
        control_send(websocket, client->tcp, WEBSOCKET_CLOSE, payload, 2 + (uint32_t)length);
    } else {
        refusal_count(worker, WEBSOCKET_REFUSED_timeout);
        answer_send(worker, client, WEBSOCKET_REFUSED_timeout, NULL);
    }
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

/* Bytes of payload in the frame at the end of the stream. */
static uint32_t frame_payload(const struct websocket *websocket, uint32_t *header)
{
    *header = websocket->frame[1] < 126 ? 2 : 4;
    return (uint32_t)(websocket->frame_end - websocket->frame) - *header;
}

/* Where a packet's bytes begin, when `at` is the end of the stream. */
static uint8_t *place(const struct websocket *websocket, uint8_t *at, uint32_t length)
{
    if (at != websocket->frame_end) {
        return at + websocket_header_size(length);
    }
    uint32_t header;
    const uint32_t payload = frame_payload(websocket, &header);
    return at + websocket_header_size(payload + length) - header;
}

/* A segment of its own that is not sent yet has the frame's end at its end: no other has the same address there. */
uint8_t *websocket_reserve(struct websocket *websocket, struct tcp_connection *tcp, uint32_t length)
{
    uint8_t *at = tcp_reserve(tcp, length + WEBSOCKET_JOIN_ROOM);
    return at == NULL ? NULL : place(websocket, at, length);
}

void websocket_commit(struct websocket *websocket, struct tcp_connection *tcp, uint32_t length)
{
    uint8_t *at = tcp_reserve(tcp, length + WEBSOCKET_JOIN_ROOM); /* as before */
    uint8_t *end = place(websocket, at, length) + length;
    if (at != websocket->frame_end) {
        websocket->frame = at;
        websocket_header_write(at, WEBSOCKET_BINARY, length);
    } else {
        uint32_t header;
        const uint32_t payload = frame_payload(websocket, &header), now = websocket_header_size(payload + length);
        if (now != header) { /* its length takes more bytes now */
            memmove(websocket->frame + now, websocket->frame + header, payload);
        }
        websocket_header_write(websocket->frame, WEBSOCKET_BINARY, payload + length);
    }
    websocket->frame_end = end;
    tcp_commit(tcp, (uint32_t)(end - at));
}

uint8_t *websocket_frame_begin(struct websocket *websocket, uint8_t *to, uint32_t length)
{
    websocket->frame_end = NULL;
    return websocket_header_write(to, WEBSOCKET_BINARY, length);
}

/* A worker's part in a capture. See capture.h. */
#include "dataplane/capture.h"

#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include "dataplane/frame.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/packets.h"

enum { LOOK_BYTES = 1024 }; /* of a packet that the filter sees: headers, and a CONNECT as far as its client id */

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

int capture_create(struct dataplane *dataplane, struct shm_error *error)
{
    static const struct rte_mbuf_dynflag flag = {.name = "pollux_captured"};
    const int bit = rte_mbuf_dynflag_register(&flag);
    if (bit < 0) {
        return shm_error_set(error, "no flag is left in packet buffers: %s", rte_strerror(rte_errno));
    }
    dataplane->captured_flag = UINT64_C(1) << bit;
    dataplane->capture_slots = shm_capture_slots(dataplane->config.capture.buffer);
    return shm_segment_create(&dataplane->capture_segment, "pollux-captures", SHM_SEGMENT_CAPTURE,
                              shm_capture_segment_size(dataplane->worker_count, dataplane->capture_slots), false,
                              error);
}

void capture_destroy(struct dataplane *dataplane)
{
    shm_segment_close(&dataplane->capture_segment);
}

/* ---- Starting and stopping ----------------------------------------------------------------------------------------
 */

static void start(struct worker *worker, const struct shm_capture_arguments *arguments, uint32_t token)
{
    const struct dataplane *dataplane = worker->dataplane;
    struct capture *capture = &worker->capture;
    struct shm_segment part;
    *capture = (struct capture){
        .token = token,
        .ends_at = worker->now + arguments->time_s * UINT64_C(1000000),
        .filter = *arguments,
    };
    capture->filter.snap_length = RTE_MIN(arguments->snap_length, worker->config->capture.max_snap_length);
    worker->capturing =
        shm_capture_part(&dataplane->capture_segment, worker->index, dataplane->capture_slots, &part, NULL) == 0 &&
        shm_ring_reset(&part, dataplane->capture_slots, SHM_CAPTURE_SLOT_SIZE, NULL) == 0 &&
        shm_ring_open_producer(&capture->ring, &part, dataplane->capture_slots, SHM_CAPTURE_SLOT_SIZE, NULL) == 0;
}

void capture_request(struct worker *worker, const struct shm_capture_arguments *arguments, uint32_t token,
                     struct shm_capture_record *record)
{
    if (arguments->action == SHM_CAPTURE_START) {
        start(worker, arguments, token);
    } else {
        worker->capturing = false;
    }
    *record = (struct shm_capture_record){
        .workers = worker->count,
        .slots = worker->dataplane->capture_slots,
        .packets = worker->capture.packets,
        .dropped = worker->capture.dropped,
    };
}

/* ---- Whose packet it is -------------------------------------------------------------------------------------------
 */

static bool is_remembered(const struct capture *capture, const struct net_flow *flow)
{
    for (uint32_t i = 0; i < capture->flow_count; i++) {
        if (net_flow_equal(&capture->flows[i], flow)) {
            return true;
        }
    }
    return false;
}

static void remember(struct capture *capture, const struct net_flow *flow)
{
    if (is_remembered(capture, flow)) {
        return;
    }
    capture->flows[capture->flow_next] = *flow;
    capture->flow_next = (capture->flow_next + 1) % CAPTURE_FLOWS;
    capture->flow_count += capture->flow_count < CAPTURE_FLOWS;
}

static void forget(struct capture *capture, const struct net_flow *flow)
{
    for (uint32_t i = 0; i < capture->flow_count; i++) {
        if (net_flow_equal(&capture->flows[i], flow)) {
            capture->flows[i] = (struct net_flow){.remote_port = 0}; /* is nobody's */
        }
    }
}

static struct net_flow flow_of(const struct frame *frame, enum shm_capture_direction direction)
{
    return direction == SHM_CAPTURE_IN ? (struct net_flow){.remote = frame->source,
                                                           .local = frame->target,
                                                           .remote_port = frame->source_port,
                                                           .local_port = frame->target_port}
                                       : (struct net_flow){.remote = frame->target,
                                                           .local = frame->source,
                                                           .remote_port = frame->target_port,
                                                           .local_port = frame->source_port};
}

/* The client of a segment, as far as this worker knows: that of the session on its connection, or the one that is just
 * asking for one. */
static struct mqtt_span client_of(struct worker *worker, const struct net_flow *flow, const struct frame *frame,
                                  enum shm_capture_direction direction, const uint8_t *bytes, uint32_t length)
{
    struct tcp_connection *tcp = tcp_connection_of_flow(worker->net, flow);
    const struct client *client = tcp == NULL ? NULL : tcp_user(tcp);
    struct mqtt_span id = {NULL, 0};
    if (client != NULL && client->session != NULL) {
        return (struct mqtt_span){client->session->client_id, client->session->client_id_length};
    }
    if (direction == SHM_CAPTURE_IN && frame->payload < length) {
        mqtt_connect_find_client_id(bytes + frame->payload, length - frame->payload, &id);
    }
    return id;
}

/* Does the filter by client, if there is one, let it pass? `id` gets the client, empty when it is not known. */
static bool client_matches(struct worker *worker, const struct frame *frame, enum shm_capture_direction direction,
                           const uint8_t *bytes, uint32_t length, struct mqtt_span *id)
{
    struct capture *capture = &worker->capture;
    const struct mqtt_span wanted = {capture->filter.id, (uint16_t)capture->filter.id_length};
    *id = (struct mqtt_span){NULL, 0};
    if (!frame->tcp) {
        return wanted.length == 0;
    }
    const struct net_flow flow = flow_of(frame, direction);
    *id = client_of(worker, &flow, frame, direction, bytes, length);
    if (wanted.length == 0) {
        return true;
    }
    if (id->length == 0) {
        *id = wanted;
        return is_remembered(capture, &flow);
    }
    if (id->length != wanted.length || memcmp(id->data, wanted.data, wanted.length) != 0) {
        forget(capture, &flow);
        return false;
    }
    remember(capture, &flow);
    return true;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------
 */

/* Bytes of the client id, then of the packet, from `at` on. */
static void data_copy(uint8_t *to, uint32_t room, struct mqtt_span id, const struct rte_mbuf *packet, uint32_t captured,
                      uint32_t at)
{
    uint32_t filled = 0;
    if (at < id.length) {
        filled = RTE_MIN(room, id.length - at);
        memcpy(to, id.data + at, filled);
        at += filled;
    }
    const uint32_t rest = RTE_MIN(room - filled, id.length + captured - at);
    if (rest > 0) {
        const void *bytes = rte_pktmbuf_read(packet, at - id.length, rest, to + filled);
        if (bytes != NULL && bytes != to + filled) {
            memcpy(to + filled, bytes, rest);
        }
    }
}

static void packet_write(struct worker *worker, uint32_t interface, const struct rte_mbuf *packet,
                         enum shm_capture_direction direction, struct mqtt_span id)
{
    const struct dataplane *dataplane = worker->dataplane;
    struct capture *capture = &worker->capture;
    id.length = RTE_MIN(id.length, (uint16_t)SHM_CAPTURE_ID_MAX);
    const uint32_t captured = RTE_MIN(packet->pkt_len, capture->filter.snap_length), size = id.length + captured;
    const uint32_t slots = shm_capture_slots_of(size);
    if (shm_ring_room(&capture->ring) < slots) {
        capture->dropped++;
        capture->dropped_since++;
        worker->runtime.capture_dropped++;
        return;
    }
    struct shm_capture_slot slot = {
        .first = 1,
        .length = packet->pkt_len,
        .captured = captured,
        .id_length = id.length,
        .time_ns = clock_nanoseconds(&dataplane->clock, rte_rdtsc()) +
                   atomic_load_explicit(&dataplane->wall_offset_ns, memory_order_relaxed),
        .dropped = capture->dropped_since,
        .port = (uint16_t)interface,
        .direction = (uint16_t)direction,
    };
    for (uint32_t at = 0, i = 0; i < slots; i++, at += SHM_CAPTURE_SLOT_DATA) {
        data_copy(slot.data, SHM_CAPTURE_SLOT_DATA, id, packet, captured, at);
        shm_ring_push(&capture->ring, &slot);
        slot.first = 0;
    }
    capture->dropped_since = 0;
    capture->packets++;
    worker->runtime.captured++;
}

/* A packet that another worker has captured, or has been given too, is not captured again. The mark may be left from a
 * former use of the buffer where a driver does not clear it. */
static bool is_captured(struct rte_mbuf *packet, enum capture_point point, uint64_t flag)
{
    if (point == CAPTURE_PASSED_ON) {
        return (packet->ol_flags & flag) != 0;
    }
    packet->ol_flags &= ~flag;
    return false;
}

/* Its connection is another worker's, which will see the packet too and knows more of it. */
static bool is_elsewhere(const struct worker *worker, const struct frame *frame, enum capture_point point)
{
    if (point == CAPTURE_SENT || !frame->tcp || worker->count == 1) {
        return false;
    }
    const struct net_flow flow = flow_of(frame, SHM_CAPTURE_IN);
    return tcp_flow_is_moved(worker->net, &flow);
}

static void packet_look(struct worker *worker, uint32_t interface, struct rte_mbuf *packet, enum capture_point point)
{
    const enum shm_capture_direction direction = point == CAPTURE_SENT ? SHM_CAPTURE_OUT : SHM_CAPTURE_IN;
    const uint32_t length = RTE_MIN(packet->pkt_len, (uint32_t)LOOK_BYTES);
    uint8_t room[LOOK_BYTES];
    const uint8_t *bytes = rte_pktmbuf_read(packet, 0, length, room);
    struct mqtt_span id;
    struct frame frame;
    if (bytes == NULL || is_captured(packet, point, worker->dataplane->captured_flag)) {
        return;
    }
    frame_read(&frame, bytes, length);
    if (frame_matches(&frame, direction, &worker->capture.filter) && !is_elsewhere(worker, &frame, point) &&
        client_matches(worker, &frame, direction, bytes, length, &id)) {
        packet_write(worker, interface, packet, direction, id);
        packet->ol_flags |= worker->dataplane->captured_flag;
    }
}

void capture_packets(struct worker *worker, uint32_t interface, struct rte_mbuf **packets, uint32_t count,
                     enum capture_point point)
{
    if (atomic_load_explicit(&worker->dataplane->capture_token, memory_order_relaxed) != worker->capture.token ||
        worker->now >= worker->capture.ends_at) {
        worker->capturing = false;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        packet_look(worker, interface, packets[i], point);
    }
}

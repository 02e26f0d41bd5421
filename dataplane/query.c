/* Answers of a worker to the operator's questions. See query.h. */
#include "dataplane/query.h"

#include <string.h>

#include "dataplane/rate_limits.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"

bool query_ask(struct query_slot *slot, const struct shm_request *request, uint32_t cursor)
{
    if (atomic_load_explicit(&slot->state, memory_order_relaxed) != QUERY_FREE) {
        return false;
    }
    slot->request = *request;
    slot->cursor = cursor;
    slot->more = false;
    slot->count = 0;
    /* Pairs with the acquire in query_answer. */
    atomic_store_explicit(&slot->state, QUERY_ASKED, memory_order_release);
    return true;
}

/* ---- Records ---------------------------------------------------------------------------------------------------- */

static void endpoint_set(struct shm_endpoint *endpoint, const struct net_address *address, uint16_t port)
{
    *endpoint = (struct shm_endpoint){.port = port};
    if (net_address_is_ip4(address)) {
        endpoint->address.family = 4;
        memcpy(endpoint->address.bytes, address->bytes + 12, 4);
    } else {
        endpoint->address.family = 6;
        memcpy(endpoint->address.bytes, address->bytes, 16);
    }
}

static uint16_t bytes_cut(uint8_t *to, size_t size, const uint8_t *from, uint16_t length)
{
    const uint16_t n = length < size ? length : (uint16_t)size;
    if (n > 0) {
        memcpy(to, from, n);
    }
    return n;
}

/* Of a client that is not connected: TCP, which nobody shows. */
static uint32_t client_transport(const struct client *client)
{
    return client != NULL && client->over_websocket ? SHM_TRANSPORT_WEBSOCKET : SHM_TRANSPORT_TCP;
}

static void client_describe(const struct worker *worker, const struct session *session,
                            struct shm_client_record *record)
{
    *record = (struct shm_client_record){
        .handle = session->handle,
        .worker = worker->index,
        .flags = (session->client != NULL ? SHM_CLIENT_CONNECTED : 0) |
                 (session->client_id_length > SHM_CLIENT_ID_MAX ? SHM_CLIENT_ID_CUT : 0) |
                 (session->clean_start ? SHM_CLIENT_CLEAN_START : 0) |
                 (session->client != NULL && session->client->limits != NULL &&
                          (session->client->limits->held_in || session->client->limits->held_out)
                      ? SHM_CLIENT_LIMITED
                      : 0) |
                 (session->will != NULL ? SHM_CLIENT_WILL : 0) |
                 (session->user_name_length > SHM_USERNAME_MAX ? SHM_CLIENT_USERNAME_CUT : 0),
        .since_us = worker->now - session->since,
        .protocol = session->version,
        .keepalive_s = session->client != NULL ? session->client->keepalive_s : 0,
        .session_expiry_s = session->expiry_interval_s,
        .subscriptions = session->subscriptions.count,
        .inflight_in = packet_ids_count(session->received),
        .inflight_out = session->inflight.count,
        .queued_messages = session->queue.count,
        .transport = client_transport(session->client),
        .queued_bytes = session->queue.bytes,
        .dropped = session->dropped,
        .messages_in = session->messages_in,
        .messages_out = session->messages_out,
        .bytes_in = session->bytes_in,
        .bytes_out = session->bytes_out,
    };
    record->id_length = bytes_cut(record->id, sizeof(record->id), session->client_id, session->client_id_length);
    record->username_length =
        bytes_cut(record->username, sizeof(record->username), session->user_name, session->user_name_length);
    if (session->client != NULL) {
        struct tcp_info info;
        tcp_info(session->client->tcp, &info);
        endpoint_set(&record->peer, &info.flow.remote, info.flow.remote_port);
    }
}

static bool id_has_prefix(const struct session *session, const struct shm_list_arguments *list)
{
    return list->id_prefix_length <= session->client_id_length &&
           memcmp(session->client_id, list->id_prefix, list->id_prefix_length) == 0;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------ */

enum { SESSIONS_LOOKED_AT = 1024 }; /* per page, so that a filter that matches nothing does not hold the loop up */

static void answer_clients(struct worker *worker, struct query_slot *slot)
{
    const uint32_t limit = slot->request.limit < QUERY_PAGE ? slot->request.limit : QUERY_PAGE;
    slot->more = true;
    for (uint32_t looked = 0; looked < SESSIONS_LOOKED_AT && slot->count < limit; looked++) {
        const struct session *session = session_next(worker->sessions, &slot->cursor);
        if (session == NULL) {
            slot->more = false;
            return;
        }
        if (id_has_prefix(session, &slot->request.list)) {
            client_describe(worker, session, &slot->replies[slot->count++].client);
        }
    }
}

static enum shm_tcp_state tcp_state_number(enum tcp_state state)
{
    switch (state) {
    case TCP_STATE_SYN_SENT:
        return SHM_TCP_SYN_SENT;
    case TCP_STATE_SYN_RECEIVED:
        return SHM_TCP_SYN_RECEIVED;
    case TCP_STATE_ESTABLISHED:
        return SHM_TCP_ESTABLISHED;
    case TCP_STATE_FIN_WAIT_1:
        return SHM_TCP_FIN_WAIT_1;
    case TCP_STATE_FIN_WAIT_2:
        return SHM_TCP_FIN_WAIT_2;
    case TCP_STATE_CLOSE_WAIT:
        return SHM_TCP_CLOSE_WAIT;
    case TCP_STATE_CLOSING:
        return SHM_TCP_CLOSING;
    case TCP_STATE_LAST_ACK:
        return SHM_TCP_LAST_ACK;
    case TCP_STATE_TIME_WAIT:
        return SHM_TCP_TIME_WAIT;
    default:
        return SHM_TCP_CLOSED;
    }
}

struct connections_context {
    struct worker *worker;
    struct query_slot *slot;
};

static void connection_describe(void *arg, struct tcp_connection *tcp)
{
    const struct connections_context *context = arg;
    struct tcp_info info;
    tcp_info(tcp, &info);
    const struct client *client = tcp_user(tcp);
    const struct session *session = client == NULL ? NULL : client->session;
    struct shm_connection_record *record = &context->slot->replies[context->slot->count++].connection;
    *record = (struct shm_connection_record){
        .worker = context->worker->index,
        .state = tcp_state_number(info.state),
        .since_us = info.idle_us,
        .cwnd = info.congestion_window,
        .ssthresh = info.slow_start_threshold,
        .srtt_us = info.smoothed_rtt,
        .rttvar_us = info.rtt_variance,
        .rto_us = info.rto,
        .mss = info.mss,
        .inflight = info.in_flight,
        .send_window = info.send_window,
        .receive_window = info.receive_window,
        .send_queue = info.send_queued,
        .receive_queue = (uint64_t)info.readable + info.out_of_order,
        .retransmits = info.retransmits,
        .transport = client_transport(client),
    };
    endpoint_set(&record->local, &info.flow.local, info.flow.local_port);
    endpoint_set(&record->remote, &info.flow.remote, info.flow.remote_port);
    if (session != NULL) {
        record->client_id_length =
            bytes_cut(record->client_id, sizeof(record->client_id), session->client_id, session->client_id_length);
    }
}

static void answer_connections(struct worker *worker, struct query_slot *slot)
{
    struct connections_context context = {worker, slot};
    const uint32_t limit = slot->request.limit < QUERY_PAGE ? slot->request.limit : QUERY_PAGE;
    slot->more = tcp_connections_visit(worker->net, &slot->cursor, limit, connection_describe, &context);
}

static void answer_listeners(struct worker *worker, struct query_slot *slot)
{
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        const struct listener *listener = &worker->listeners[i];
        slot->replies[slot->count++].listener = (struct shm_listener_record){
            .connections = listener->open, .accepted = listener->accepted, .refused = listener->refused};
    }
}

/* ---- Census ----------------------------------------------------------------------------------------------------- */

static void census_add(struct query_slot *slot, const char *name, uint64_t count, uint64_t bytes)
{
    struct shm_census_record *record = &slot->replies[slot->count++].census;
    *record = (struct shm_census_record){.worker = slot->cursor, .count = count, .bytes = bytes};
    strncpy(record->name, name, sizeof(record->name) - 1);
}

static void answer_census(struct worker *worker, struct query_slot *slot)
{
    struct net_census net;
    struct mem_stats memory;
    struct topic_subscribers_stats topics;
    struct topic_retained_stats retained;
    net_census(worker->net, &net);
    mem_stats(worker->memory, &memory);
    topic_subscribers_stats(worker->subscribers, &topics);
    topic_retained_stats(worker->retained, &retained);
    slot->cursor = worker->index;
    census_add(slot, "connections", net.connections, 0);
    census_add(slot, "connections_half_open", net.half_open, 0);
    census_add(slot, "connections_time_wait", net.time_wait, 0);
    census_add(slot, "mbufs_send", net.send_mbufs, 0);
    census_add(slot, "mbufs_receive", net.receive_mbufs, 0);
    census_add(slot, "mbufs_out_of_order", net.out_of_order_mbufs, 0);
    census_add(slot, "mbufs_neighbour", net.neighbour_mbufs, 0);
    census_add(slot, "mbufs_reassembly", net.reassembly_mbufs, 0);
    census_add(slot, "mbufs_transmit", net.transmit_mbufs, 0);
    census_add(slot, "clients", worker->clients, 0);
    census_add(slot, "sessions", session_count(worker->sessions), 0);
    census_add(slot, "logins", worker->logins == NULL ? 0 : worker->logins->count - worker->logins->free_count, 0);
    census_add(slot, "client_ids", directory_count(worker->directory), 0);
    census_add(slot, "subscriptions", topics.subscriptions, 0);
    census_add(slot, "retained", retained.count, retained.bytes);
    census_add(slot, "timers", worker->wheel.pending, 0);
    census_add(slot, "memory_objects", memory.objects, memory.used);
}

/* ---- Kick ------------------------------------------------------------------------------------------------------- */

static void answer_kick(struct worker *worker, struct query_slot *slot)
{
    const struct shm_kick_arguments *kick = &slot->request.kick;
    struct session *session = kick->handle != 0
                                  ? session_by_handle(worker->sessions, kick->handle)
                                  : session_find(worker->sessions, (struct mqtt_span){kick->id, kick->id_length});
    struct shm_kick_record *record = &slot->replies[slot->count++].kick;
    *record = (struct shm_kick_record){0};
    if (session != NULL && session->client != NULL) {
        worker->counters.closed_kicked++;
        client_disconnect(worker, session->client, MQTT_REASON_ADMINISTRATIVE_ACTION);
        record->disconnected = 1;
    }
}

bool query_answer(struct worker *worker)
{
    struct query_slot *slot = &worker->query;
    if (!query_is_asked(slot)) {
        return false;
    }
    switch (slot->request.type) {
    case SHM_REQUEST_CLIENTS:
        answer_clients(worker, slot);
        break;
    case SHM_REQUEST_CONNECTIONS:
        answer_connections(worker, slot);
        break;
    case SHM_REQUEST_LISTENERS:
        answer_listeners(worker, slot);
        break;
    case SHM_REQUEST_CENSUS:
        answer_census(worker, slot);
        break;
    case SHM_REQUEST_KICK:
        answer_kick(worker, slot);
        break;
    case SHM_REQUEST_DRAIN:
        drain_request(worker, &slot->request.drain, &slot->replies[slot->count++].drain);
        break;
    case SHM_REQUEST_CAPTURE:
        capture_request(worker, &slot->request.capture, slot->request.id, &slot->replies[slot->count++].capture);
        break;
    default:
        break;
    }
    atomic_store_explicit(&slot->state, QUERY_ANSWERED, memory_order_release);
    return true;
}

/* Answering the operator's requests. See requests.h. */
#include "dataplane/requests.h"

#include <stdio.h>
#include <string.h>

#include <rte_lcore.h>
#include <rte_mempool.h>

#include "dataplane/session.h"
#include "dataplane/statistics.h"
#include "dataplane/worker.h"

enum { REPLIES_KEPT_FREE = QUERY_PAGE + 2 }; /* room in the ring before anything is asked */

/* A cursor in a reply: which worker is next, and where in it. 0 is the start, and the end. */
static uint64_t cursor_pack(uint32_t worker, uint32_t cursor)
{
    return (uint64_t)(worker + 1) << 32 | cursor;
}

void request_begin(struct housekeeper *housekeeper, struct housekeeper_request *slot, const struct shm_request *request)
{
    *slot = (struct housekeeper_request){.request = *request};
    if (request->type == SHM_REQUEST_CAPTURE) {
        /* Workers that hear of the request later than of this end their part now. */
        const uint32_t token = request->capture.action == SHM_CAPTURE_START ? request->id : 0;
        atomic_store_explicit(&housekeeper->dataplane->capture_token, token, memory_order_relaxed);
    }
    if (request->cursor != 0) {
        slot->worker = (uint32_t)(request->cursor >> 32) - 1;
        slot->cursor = (uint32_t)request->cursor;
    } else if (request->type == SHM_REQUEST_KICK && request->kick.handle != 0) {
        slot->worker = session_handle_worker(request->kick.handle);
    } else if ((request->type == SHM_REQUEST_CLIENTS || request->type == SHM_REQUEST_CONNECTIONS) &&
               request->list.worker != SHM_WORKER_ANY) {
        slot->worker = request->list.worker;
    }
}

/* ---- Replies ---------------------------------------------------------------------------------------------------- */

static void reply_push(struct housekeeper *housekeeper, const struct housekeeper_request *slot, struct shm_reply *reply,
                       enum shm_reply_status status)
{
    reply->id = slot->request.id;
    reply->type = slot->request.type;
    reply->status = status;
    /* The caller has made sure of room; a corrupt ring ends with the link. */
    shm_ring_push(&housekeeper->replies, reply);
    housekeeper->replied = true;
}

static void request_end(struct housekeeper *housekeeper, struct housekeeper_request *slot, uint64_t cursor)
{
    struct shm_reply reply = {.cursor = cursor};
    reply_push(housekeeper, slot, &reply, SHM_REPLY_END);
    slot->request.id = 0;
}

static void request_refuse(struct housekeeper *housekeeper, struct housekeeper_request *slot, const char *text)
{
    struct shm_reply reply = {0};
    snprintf(reply.text, sizeof(reply.text), "%s", text);
    reply_push(housekeeper, slot, &reply, SHM_REPLY_ERROR);
    slot->request.id = 0;
}

/* ---- What the housekeeper knows itself -------------------------------------------------------------------------- */

static uint32_t permille(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (uint32_t)(part * 1000 / whole);
}

static uint32_t mean_x100(uint64_t sum, uint64_t count)
{
    return count == 0 ? 0 : (uint32_t)(sum * 100 / count);
}

/* The counters are words that only the worker writes; each is read once and may be a little older than the next. */
static void worker_describe(struct housekeeper *housekeeper, const struct worker *worker, uint64_t now,
                            struct shm_worker_record *record)
{
    const struct worker_runtime runtime = worker->runtime;
    struct housekeeper_interval *interval = &housekeeper->intervals[worker->index];
    const uint64_t busy = runtime.busy_cycles - interval->busy_cycles;
    const uint64_t sleeping = runtime.sleep_cycles - interval->sleep_cycles;
    const uint64_t all = busy + sleeping + runtime.idle_cycles - interval->idle_cycles;
    *record = (struct shm_worker_record){
        .worker = worker->index,
        .core = (uint32_t)rte_lcore_to_cpu_id((int)housekeeper->dataplane->lcores[worker->index]),
        .interval_us = now - (interval->at == 0 ? housekeeper->started : interval->at),
        .iterations = runtime.iterations,
        .busy_permille = permille(busy, all),
        .sleeping_permille = permille(sleeping, all),
        .loop_p50_ns = (uint32_t)RTE_MIN(histogram_percentile(&worker->loop_time, 5000), UINT32_MAX),
        .loop_p99_ns = (uint32_t)RTE_MIN(histogram_percentile(&worker->loop_time, 9900), UINT32_MAX),
        .loop_p999_ns = (uint32_t)RTE_MIN(histogram_percentile(&worker->loop_time, 9990), UINT32_MAX),
        .loop_max_ns = (uint32_t)RTE_MIN(worker->loop_time.maximum, UINT32_MAX),
        .rx_burst_x100 = mean_x100(runtime.rx_packets, runtime.rx_bursts),
        .tx_burst_x100 = mean_x100(runtime.tx_packets, runtime.tx_bursts),
        .rx_packets = runtime.rx_packets,
        .tx_packets = runtime.tx_packets,
        .connections = worker->gauges.connections,
        .sessions = worker->gauges.sessions,
        .messages_in = worker->counters.messages_in,
        .messages_out = worker->counters.messages_out,
        .bytes_in = worker->counters.bytes_in,
        .bytes_out = worker->counters.bytes_out,
        .dropped = dataplane_counters_dropped(&worker->counters),
        .memory_used = worker->gauges.memory_used,
        .memory_size = worker->gauges.memory_size,
        .packet_buffers_free = rte_mempool_avail_count(housekeeper->dataplane->pool),
        .packet_buffers = housekeeper->dataplane->config.dataplane.packet_buffers,
        .cycles_per_second = housekeeper->dataplane->clock.cycles_per_second,
        .last_iteration_us = now > runtime.last_iteration ? now - runtime.last_iteration : 0,
    };
    *interval = (struct housekeeper_interval){.at = now,
                                              .busy_cycles = runtime.busy_cycles,
                                              .idle_cycles = runtime.idle_cycles,
                                              .sleep_cycles = runtime.sleep_cycles};
}

static void workers_answer(struct housekeeper *housekeeper, struct housekeeper_request *slot, uint64_t now)
{
    const struct dataplane *dataplane = housekeeper->dataplane;
    for (; slot->worker < dataplane->worker_count && slot->sent < slot->request.limit; slot->worker++, slot->sent++) {
        struct shm_reply reply = {0};
        worker_describe(housekeeper, dataplane->workers[slot->worker], now, &reply.worker);
        reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
    }
    request_end(housekeeper, slot, slot->worker < dataplane->worker_count ? cursor_pack(slot->worker, 0) : 0);
}

static uint64_t port_tx_dropped(const struct dataplane *dataplane, uint32_t port)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        dropped += dataplane->workers[i]->runtime.tx_backlog_full;
    }
    return port == 0 ? dropped : 0;
}

static void ports_answer(struct housekeeper *housekeeper, struct housekeeper_request *slot)
{
    const struct dataplane *dataplane = housekeeper->dataplane;
    for (; slot->cursor < dataplane->port_count && slot->sent < slot->request.limit; slot->cursor++, slot->sent++) {
        struct shm_reply reply = {0};
        port_describe(&dataplane->ports[slot->cursor], &reply.port);
        reply.port.tx_dropped = port_tx_dropped(dataplane, slot->cursor);
        reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
    }
    request_end(housekeeper, slot, slot->cursor < dataplane->port_count ? cursor_pack(0, slot->cursor) : 0);
}

/* ---- What only workers know ------------------------------------------------------------------------------------- */

static void listeners_sum(struct housekeeper_request *slot, const struct query_slot *answer)
{
    for (uint32_t i = 0; i < answer->count && i < SHM_LISTENERS_MAX; i++) {
        slot->listeners[i].connections += answer->replies[i].listener.connections;
        slot->listeners[i].accepted += answer->replies[i].listener.accepted;
        slot->listeners[i].refused += answer->replies[i].listener.refused;
    }
}

static void capture_sum(struct housekeeper_request *slot, const struct shm_capture_record *answer)
{
    const struct shm_capture_record before = slot->capture;
    slot->capture = *answer;
    slot->capture.packets += before.packets;
    slot->capture.dropped += before.dropped;
}

static void drain_sum(struct housekeeper_request *slot, const struct shm_drain_record *answer)
{
    const struct shm_drain_record before = slot->drain;
    slot->drain = *answer;
    slot->drain.disconnected += before.disconnected;
    slot->drain.refused += before.refused;
    slot->drain.connected += before.connected;
}

/* Takes a worker's answer: records go on to control, or into a sum over all workers. */
static void answer_take(struct housekeeper *housekeeper, struct housekeeper_request *slot, struct query_slot *answer)
{
    switch (slot->request.type) {
    case SHM_REQUEST_LISTENERS:
        listeners_sum(slot, answer);
        break;
    case SHM_REQUEST_DRAIN:
        drain_sum(slot, &answer->replies[0].drain);
        break;
    case SHM_REQUEST_CAPTURE:
        capture_sum(slot, &answer->replies[0].capture);
        break;
    case SHM_REQUEST_KICK:
        slot->kicked += answer->replies[0].kick.disconnected;
        break;
    default:
        for (uint32_t i = 0; i < answer->count; i++, slot->sent++) {
            reply_push(housekeeper, slot, &answer->replies[i], SHM_REPLY_RECORD);
        }
        break;
    }
}

static bool only_one_worker(const struct shm_request *request)
{
    const bool is_list = request->type == SHM_REQUEST_CLIENTS || request->type == SHM_REQUEST_CONNECTIONS;
    return (is_list && request->list.worker != SHM_WORKER_ANY) ||
           (request->type == SHM_REQUEST_KICK && request->kick.handle != 0);
}

static void listeners_finish(struct housekeeper *housekeeper, struct housekeeper_request *slot)
{
    const struct shm_config *config = &housekeeper->dataplane->config;
    for (uint32_t i = 0; i < config->listener_count; i++) {
        struct shm_reply reply = {.listener = slot->listeners[i]};
        snprintf(reply.listener.name, sizeof(reply.listener.name), "%s", config->listeners[i].name);
        reply.listener.local.address = config->listeners[i].address;
        reply.listener.local.port = (uint16_t)config->listeners[i].port;
        reply.listener.protocol = config->listeners[i].protocol;
        reply.listener.transport = config->listeners[i].transport;
        reply.listener.max_connections = config->listeners[i].max_connections;
        reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
    }
}

static void census_finish(struct housekeeper *housekeeper, struct housekeeper_request *slot)
{
    const struct rte_mempool *pool = housekeeper->dataplane->pool;
    struct shm_reply reply = {
        .census = {.worker = SHM_WORKER_ANY, .name = "packet_buffers_in_use", .count = rte_mempool_in_use_count(pool)}};
    reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
}

/* All workers have answered. */
static void request_finish(struct housekeeper *housekeeper, struct housekeeper_request *slot)
{
    if (slot->request.type == SHM_REQUEST_LISTENERS) {
        listeners_finish(housekeeper, slot);
    } else if (slot->request.type == SHM_REQUEST_CENSUS) {
        census_finish(housekeeper, slot);
    } else if (slot->request.type == SHM_REQUEST_DRAIN) {
        struct shm_reply reply = {.drain = slot->drain};
        reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
    } else if (slot->request.type == SHM_REQUEST_CAPTURE) {
        struct shm_reply reply = {.capture = slot->capture};
        reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
    } else if (slot->request.type == SHM_REQUEST_KICK) {
        struct shm_reply reply = {.kick = {.disconnected = slot->kicked}};
        reply_push(housekeeper, slot, &reply, SHM_REPLY_RECORD);
    }
    request_end(housekeeper, slot, 0);
}

void request_abandon(struct housekeeper_request *slot)
{
    if (slot->asked) {
        slot->abandoned = true;
    } else {
        slot->request.id = 0;
    }
}

static void abandoned_end(struct housekeeper *housekeeper, struct housekeeper_request *slot)
{
    struct query_slot *query = &housekeeper->dataplane->workers[slot->worker]->query;
    if (query_is_answered(query)) {
        query_free(query);
        slot->request.id = 0;
    }
}

static void workers_ask(struct housekeeper *housekeeper, struct housekeeper_request *slot)
{
    struct dataplane *dataplane = housekeeper->dataplane;
    if (slot->worker >= dataplane->worker_count) {
        request_finish(housekeeper, slot);
        return;
    }
    struct query_slot *query = &dataplane->workers[slot->worker]->query;
    if (!slot->asked) {
        struct shm_request request = slot->request;
        request.limit -= slot->sent;
        slot->asked = query_ask(query, &request, slot->cursor);
        doorbell_published();
        doorbell_ring(&dataplane->workers[slot->worker]->bell);
        return;
    }
    if (!query_is_answered(query)) {
        return;
    }
    answer_take(housekeeper, slot, query);
    slot->cursor = query->more ? query->cursor : 0;
    if (!query->more) {
        slot->worker = only_one_worker(&slot->request) ? dataplane->worker_count : slot->worker + 1;
    }
    slot->asked = false;
    query_free(query);
    if (slot->sent >= slot->request.limit && slot->worker < dataplane->worker_count &&
        slot->request.type != SHM_REQUEST_CENSUS) {
        request_end(housekeeper, slot, cursor_pack(slot->worker, slot->cursor));
    }
}

void request_continue(struct housekeeper *housekeeper, struct housekeeper_request *slot, uint64_t now)
{
    if (slot->abandoned) {
        abandoned_end(housekeeper, slot);
        return;
    }
    if (shm_ring_room(&housekeeper->replies) < REPLIES_KEPT_FREE) {
        return;
    }
    switch (slot->request.type) {
    case SHM_REQUEST_PING:
        request_end(housekeeper, slot, 0);
        break;
    case SHM_REQUEST_WORKERS:
        workers_answer(housekeeper, slot, now);
        break;
    case SHM_REQUEST_PORTS:
        ports_answer(housekeeper, slot);
        break;
    case SHM_REQUEST_LISTENERS:
    case SHM_REQUEST_CLIENTS:
    case SHM_REQUEST_CONNECTIONS:
    case SHM_REQUEST_CENSUS:
    case SHM_REQUEST_KICK:
    case SHM_REQUEST_DRAIN:
    case SHM_REQUEST_CAPTURE:
        workers_ask(housekeeper, slot);
        break;
    default:
        request_refuse(housekeeper, slot, "this dataplane does not know that request");
        break;
    }
}

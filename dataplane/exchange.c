/* Packets between ports and workers. See exchange.h. */
#include "dataplane/exchange.h"

#include <stdio.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>

#include "dataplane/worker.h"

enum {
    RING_SIZE = 4096,  /* packets */
    RECEIVE_MAX = 512, /* packets of a queue, or of a ring, per iteration */
    RECEIVE_BYTES = 128 * 1024,
    SEND_MAX = 512,        /* packets of a ring per iteration */
    STEERING_ENTRIES = 128 /* as the redirection table of common devices */
};

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

static struct rte_ring *ring_create(const char *what, uint32_t from, uint32_t to, struct shm_error *error)
{
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof(name), "%s-%u-%u", what, from, to);
    struct rte_ring *ring = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (ring == NULL) {
        shm_error_set(error, "no memory for the packet ring %s: %s", name, rte_strerror(rte_errno));
    }
    return ring;
}

static int pair_create(struct worker *from, struct worker *to, struct shm_error *error)
{
    from->exchange.received_to[to->index] = ring_create("received", from->index, to->index, error);
    to->exchange.received_from[from->index] = from->exchange.received_to[to->index];
    return from->exchange.received_to[to->index] == NULL ? -1 : 0;
}

/* A port's part of a worker: a transmit queue with a backlog, or a ring into the worker that sends for it. */
static int outlet_create(struct dataplane *dataplane, uint32_t index, uint32_t interface, struct shm_error *error)
{
    struct exchange *exchange = &dataplane->workers[index]->exchange;
    const uint32_t queues = dataplane->ports[interface].tx_queues;
    if (index < queues) {
        exchange->backlogs[interface] = rte_zmalloc("backlog", sizeof(*exchange->backlogs[interface]), 64);
        return exchange->backlogs[interface] != NULL
                   ? 0
                   : shm_error_set(error, "no memory for the transmit backlog of worker %u", index);
    }
    exchange->sent[interface] = ring_create("sent", index, interface, error);
    if (exchange->sent[interface] == NULL) {
        return -1;
    }
    struct exchange *sender = &dataplane->workers[index % queues]->exchange;
    sender->inlets[sender->inlet_count++] =
        (struct exchange_inlet){.ring = exchange->sent[interface], .from = index, .interface = interface};
    return 0;
}

/* One for each port of each other worker is the most that there can be. */
static int inlets_create(struct dataplane *dataplane, uint32_t index, struct shm_error *error)
{
    const size_t count = (size_t)dataplane->worker_count * dataplane->port_count;
    struct exchange *exchange = &dataplane->workers[index]->exchange;
    exchange->inlets = rte_zmalloc("inlets", count * sizeof(exchange->inlets[0]), 64);
    return exchange->inlets != NULL ? 0 : shm_error_set(error, "no memory for the inlets of worker %u", index);
}

int exchange_create(struct dataplane *dataplane, struct shm_error *error)
{
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        if (inlets_create(dataplane, i, error) != 0) {
            return -1;
        }
    }
    for (uint32_t from = 0; from < dataplane->worker_count; from++) {
        for (uint32_t interface = 0; interface < dataplane->port_count; interface++) {
            if (outlet_create(dataplane, from, interface, error) != 0) {
                return -1;
            }
        }
        for (uint32_t to = 0; to < dataplane->worker_count; to++) {
            if (from != to && pair_create(dataplane->workers[from], dataplane->workers[to], error) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static void ring_destroy(struct rte_ring *ring)
{
    void *packet;
    while (ring != NULL && rte_ring_sc_dequeue(ring, &packet) == 0) {
        rte_pktmbuf_free(packet);
    }
    rte_ring_free(ring);
}

void exchange_destroy(struct dataplane *dataplane)
{
    for (uint32_t from = 0; from < dataplane->worker_count; from++) {
        struct exchange *exchange = &dataplane->workers[from]->exchange;
        for (uint32_t to = 0; to < dataplane->worker_count; to++) {
            ring_destroy(exchange->received_to[to]);
        }
        for (uint32_t interface = 0; interface < dataplane->port_count; interface++) {
            struct exchange_backlog *backlog = exchange->backlogs[interface];
            if (backlog != NULL) {
                rte_pktmbuf_free_bulk(backlog->packets, backlog->count);
            }
            rte_free(backlog);
            ring_destroy(exchange->sent[interface]);
        }
        rte_free(exchange->inlets);
    }
}

unsigned exchange_flow_owner(void *arg, uint32_t hash)
{
    const struct worker *worker = arg;
    return worker->dataplane->steering[hash % STEERING_ENTRIES];
}

/* A capture looks on. Off, this branch is all that it costs. */
static inline void look_on(struct worker *worker, uint32_t interface, struct rte_mbuf **packets, uint32_t count,
                           enum capture_point point)
{
    if (unlikely(worker->capturing)) {
        capture_packets(worker, interface, packets, count, point);
    }
}

/* ---- Receiving -------------------------------------------------------------------------------------------------- */

static void pass_on(struct worker *worker, uint32_t to, struct rte_mbuf *packet)
{
    if (rte_ring_sp_enqueue(worker->exchange.received_to[to], packet) != 0) {
        worker->runtime.ring_full++;
        rte_pktmbuf_free(packet);
    } else {
        worker->runtime.steered++;
    }
}

static void pass_to_all(struct worker *worker, const struct rte_mbuf *packet)
{
    for (uint32_t to = 0; to < worker->count; to++) {
        if (to != worker->index) {
            struct rte_mbuf *copy = rte_pktmbuf_copy(packet, worker->dataplane->pool, 0, UINT32_MAX);
            if (copy != NULL) {
                copy->port = packet->port;
                copy->ol_flags |= worker->dataplane->captured_flag; /* this worker sees the packet itself */
                pass_on(worker, to, copy);
            }
        }
    }
}

/* Keeps what belongs to this worker, in place; returns how many that are. */
static uint16_t steer(struct worker *worker, const struct port *port, uint32_t interface, struct rte_mbuf **packets,
                      uint16_t count)
{
    uint16_t own = 0;
    for (uint16_t i = 0; i < count; i++) {
        uint32_t hash = 0;
        packets[i]->port = (uint16_t)interface;
        const enum net_steer_kind kind = net_steer(packets[i], port_rss_key, port->rss, &hash);
        const uint32_t owner = kind == NET_STEER_FLOW ? exchange_flow_owner(worker, hash) : worker->index;
        if (kind == NET_STEER_ALL) {
            pass_to_all(worker, packets[i]);
        }
        if (owner == worker->index) {
            packets[own++] = packets[i];
        } else {
            pass_on(worker, owner, packets[i]);
        }
    }
    return own;
}

static uint32_t receive_burst(struct worker *worker, uint32_t interface)
{
    struct rte_mbuf *packets[EXCHANGE_BURST];
    const struct port *port = &worker->dataplane->ports[interface];
    const uint16_t count = rte_eth_rx_burst(port->id, (uint16_t)worker->index, packets, EXCHANGE_BURST);
    if (count > 0) {
        stages_mark(&worker->stages, STAGE_rx);
        worker->runtime.rx_bursts++;
        worker->runtime.rx_packets += count;
        const uint16_t own = worker->count > 1 ? steer(worker, port, interface, packets, count) : count;
        look_on(worker, interface, packets, own, CAPTURE_RECEIVED);
        net_input(worker->net, interface, packets, own, worker->now);
        stages_mark(&worker->stages, STAGE_tcp_in);
    }
    return count;
}

/*
 * Until nothing waits, within a bound. Under load most of what arrives are acknowledgements: with one burst an
 * iteration the few messages among them would be handled, and sent to all their subscribers, one at a time.
 */
static uint32_t receive_queue(struct worker *worker, uint32_t interface)
{
    const uint64_t *bytes = &net_counters(worker->net)[NET_COUNTER_bytes_received];
    const uint64_t enough = *bytes + RECEIVE_BYTES;
    uint32_t packets = 0, count;
    do {
        count = receive_burst(worker, interface);
        packets += count;
    } while (count == EXCHANGE_BURST && packets < RECEIVE_MAX && *bytes < enough);
    return packets;
}

/* Packets of several ports may follow each other in a ring; each run of one port goes in together. */
static uint32_t ring_burst(struct worker *worker, struct rte_ring *ring)
{
    struct rte_mbuf *packets[EXCHANGE_BURST];
    const uint32_t count = rte_ring_sc_dequeue_burst(ring, (void **)packets, EXCHANGE_BURST, NULL);
    if (count == 0) {
        return 0;
    }
    stages_mark(&worker->stages, STAGE_rx);
    for (uint32_t start = 0, i = 1; start < count; i++) {
        if (i == count || packets[i]->port != packets[start]->port) {
            look_on(worker, packets[start]->port, packets + start, i - start, CAPTURE_PASSED_ON);
            net_input(worker->net, packets[start]->port, packets + start, i - start, worker->now);
            start = i;
        }
    }
    stages_mark(&worker->stages, STAGE_tcp_in);
    return count;
}

/* As receive_queue, for the same reason. */
static uint32_t receive_ring(struct worker *worker, struct rte_ring *ring)
{
    uint32_t packets = 0, count;
    do {
        count = ring_burst(worker, ring);
        packets += count;
    } while (count == EXCHANGE_BURST && packets < RECEIVE_MAX);
    return packets;
}

uint32_t exchange_receive(struct worker *worker)
{
    uint32_t packets = 0;
    for (uint32_t interface = 0; interface < worker->dataplane->port_count; interface++) {
        if (worker->index < worker->dataplane->ports[interface].rx_queues) {
            packets += receive_queue(worker, interface);
        }
    }
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index) {
            packets += receive_ring(worker, worker->exchange.received_from[other]);
        }
    }
    return packets;
}

void exchange_redirect(void *arg, unsigned to, unsigned interface, struct rte_mbuf *packet)
{
    packet->port = (uint16_t)interface;
    pass_on(arg, to, packet);
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

static void backlog_append(struct worker *worker, uint32_t interface, struct rte_mbuf **packets, uint16_t count)
{
    struct exchange_backlog *backlog = worker->exchange.backlogs[interface];
    if (backlog->count == 0) {
        backlog->moved_at = worker->now;
    }
    for (uint16_t i = 0; i < count; i++) {
        if (backlog->count == EXCHANGE_BACKLOG) {
            worker->runtime.tx_backlog_full++;
            rte_pktmbuf_free(packets[i]);
        } else {
            backlog->packets[backlog->count++] = packets[i];
        }
    }
}

static void queue_send(struct worker *worker, uint32_t interface, struct rte_mbuf **packets, uint16_t count)
{
    const struct port *port = &worker->dataplane->ports[interface];
    uint16_t sent = 0;
    if (worker->exchange.backlogs[interface]->count == 0) {
        sent = rte_eth_tx_burst(port->id, (uint16_t)worker->index, packets, count);
        worker->runtime.tx_bursts++;
        worker->runtime.tx_packets += sent;
    }
    if (sent < count) {
        backlog_append(worker, interface, packets + sent, (uint16_t)(count - sent));
    }
}

static void hand_over(struct worker *worker, uint32_t interface, struct rte_mbuf **packets, uint16_t count)
{
    struct rte_ring *ring = worker->exchange.sent[interface];
    const uint32_t taken = rte_ring_sp_enqueue_burst(ring, (void *const *)packets, count, NULL);
    if (taken < count) {
        worker->runtime.ring_full += count - taken;
        rte_pktmbuf_free_bulk(packets + taken, count - taken);
    }
}

uint16_t exchange_transmit(void *arg, unsigned interface, struct rte_mbuf **packets, uint16_t count)
{
    struct worker *worker = arg;
    const struct port *port = &worker->dataplane->ports[interface];
    stages_mark(&worker->stages, STAGE_tcp_out);
    look_on(worker, interface, packets, count, CAPTURE_SENT);
    if (worker->index < port->tx_queues) {
        queue_send(worker, interface, packets, count);
    } else {
        hand_over(worker, interface, packets, count);
    }
    stages_mark(&worker->stages, STAGE_tx);
    return count;
}

bool exchange_ready(void *arg, unsigned interface)
{
    const struct worker *worker = arg;
    return worker->index < worker->dataplane->ports[interface].tx_queues
               ? worker->exchange.backlogs[interface]->count == 0
               : rte_ring_free_count(worker->exchange.sent[interface]) >= RING_SIZE / 2;
}

static void backlog_shift(struct exchange_backlog *backlog, uint32_t count)
{
    backlog->count -= count;
    memmove(backlog->packets, backlog->packets + count, backlog->count * sizeof(backlog->packets[0]));
}

static uint32_t backlog_send(struct worker *worker, uint32_t interface)
{
    struct exchange_backlog *backlog = worker->exchange.backlogs[interface];
    if (backlog->count == 0) {
        return 0;
    }
    const uint16_t sent = rte_eth_tx_burst(worker->dataplane->ports[interface].id, (uint16_t)worker->index,
                                           backlog->packets, (uint16_t)backlog->count);
    if (sent > 0) {
        worker->runtime.tx_packets += sent;
        backlog->moved_at = worker->now;
        backlog_shift(backlog, sent);
    } else if (worker->now > backlog->moved_at + EXCHANGE_STUCK_US) {
        worker->runtime.tx_backlog_full++;
        backlog->moved_at = worker->now;
        rte_pktmbuf_free(backlog->packets[0]);
        backlog_shift(backlog, 1);
    }
    return sent;
}

/* Sends what another worker passed on, while the port takes all: what it does not take waits with its worker. */
static uint32_t inlet_send(struct worker *worker, const struct exchange_inlet *inlet)
{
    const struct exchange_backlog *backlog = worker->exchange.backlogs[inlet->interface];
    struct rte_mbuf *packets[EXCHANGE_BURST];
    uint32_t sent = 0, count = EXCHANGE_BURST;
    while (count == EXCHANGE_BURST && sent < SEND_MAX && backlog->count == 0) {
        count = rte_ring_sc_dequeue_burst(inlet->ring, (void **)packets, EXCHANGE_BURST, NULL);
        if (count > 0) {
            queue_send(worker, inlet->interface, packets, (uint16_t)count);
        }
        sent += count;
    }
    return sent;
}

/* Each iteration begins with another inlet, so that a busy port serves all of them. */
static uint32_t inlets_send(struct worker *worker)
{
    struct exchange *exchange = &worker->exchange;
    uint32_t packets = 0, turn = exchange->next_inlet;
    for (uint32_t i = 0; i < exchange->inlet_count; i++) {
        packets += inlet_send(worker, &exchange->inlets[turn]);
        turn = turn + 1 < exchange->inlet_count ? turn + 1 : 0;
    }
    exchange->next_inlet = exchange->next_inlet + 1 < exchange->inlet_count ? exchange->next_inlet + 1 : 0;
    return packets;
}

uint32_t exchange_send(struct worker *worker)
{
    uint32_t packets = 0;
    for (uint32_t interface = 0; interface < worker->dataplane->port_count; interface++) {
        if (worker->exchange.backlogs[interface] != NULL) {
            packets += backlog_send(worker, interface);
        }
    }
    return packets + inlets_send(worker);
}

bool exchange_has_input(const struct worker *worker, uint32_t from)
{
    const struct exchange *exchange = &worker->exchange;
    for (uint32_t i = 0; i < exchange->inlet_count; i++) {
        if (exchange->inlets[i].from == from && !rte_ring_empty(exchange->inlets[i].ring)) {
            return true;
        }
    }
    return !rte_ring_empty(exchange->received_from[from]);
}

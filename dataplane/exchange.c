/* Packets between ports and workers. See exchange.h. */
#include "dataplane/exchange.h"

#include <stdio.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>

#include "dataplane/worker.h"

enum {
    RING_SIZE = 4096,      /* packets */
    RECEIVE_MAX = 512,     /* packets of a queue per iteration */
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
    from->exchange.sent_to[to->index] = ring_create("sent", from->index, to->index, error);
    to->exchange.received_from[from->index] = from->exchange.received_to[to->index];
    to->exchange.sent_from[from->index] = from->exchange.sent_to[to->index];
    return from->exchange.received_to[to->index] == NULL || from->exchange.sent_to[to->index] == NULL ? -1 : 0;
}

int exchange_create(struct dataplane *dataplane, struct shm_error *error)
{
    for (uint32_t from = 0; from < dataplane->worker_count; from++) {
        struct exchange *exchange = &dataplane->workers[from]->exchange;
        exchange->backlogs = rte_zmalloc("backlogs", dataplane->port_count * sizeof(exchange->backlogs[0]), 64);
        if (exchange->backlogs == NULL) {
            return shm_error_set(error, "no memory for the transmit backlogs of worker %u", from);
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
            ring_destroy(exchange->sent_to[to]);
        }
        for (uint32_t port = 0; exchange->backlogs != NULL && port < dataplane->port_count; port++) {
            rte_pktmbuf_free_bulk(exchange->backlogs[port].packets, exchange->backlogs[port].count);
        }
        rte_free(exchange->backlogs);
    }
}

unsigned exchange_flow_owner(void *arg, uint32_t hash)
{
    const struct worker *worker = arg;
    return worker->dataplane->steering[hash % STEERING_ENTRIES];
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
    uint32_t packets = 0, count;
    do {
        count = receive_burst(worker, interface);
        packets += count;
    } while (count == EXCHANGE_BURST && packets < RECEIVE_MAX);
    return packets;
}

/* Packets of several ports may follow each other in a ring; each run of one port goes in together. */
static uint32_t receive_ring(struct worker *worker, struct rte_ring *ring)
{
    struct rte_mbuf *packets[EXCHANGE_BURST];
    const uint32_t count = rte_ring_sc_dequeue_burst(ring, (void **)packets, EXCHANGE_BURST, NULL);
    stages_mark(&worker->stages, STAGE_rx);
    for (uint32_t start = 0, i = 1; start < count; i++) {
        if (i == count || packets[i]->port != packets[start]->port) {
            net_input(worker->net, packets[start]->port, packets + start, i - start, worker->now);
            start = i;
        }
    }
    stages_mark(&worker->stages, STAGE_tcp_in);
    return count;
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
    struct exchange_backlog *backlog = &worker->exchange.backlogs[interface];
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
    if (worker->exchange.backlogs[interface].count == 0) {
        sent = rte_eth_tx_burst(port->id, (uint16_t)worker->index, packets, count);
        worker->runtime.tx_bursts++;
        worker->runtime.tx_packets += sent;
    }
    if (sent < count) {
        backlog_append(worker, interface, packets + sent, (uint16_t)(count - sent));
    }
}

static void hand_over(struct worker *worker, uint32_t to, uint32_t interface, struct rte_mbuf **packets, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        packets[i]->port = (uint16_t)interface;
    }
    const uint32_t taken = rte_ring_sp_enqueue_burst(worker->exchange.sent_to[to], (void *const *)packets, count, NULL);
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
    if (worker->index < port->tx_queues) {
        queue_send(worker, interface, packets, count);
    } else {
        hand_over(worker, worker->index % port->tx_queues, interface, packets, count);
    }
    stages_mark(&worker->stages, STAGE_tx);
    return count;
}

bool exchange_ready(void *arg, unsigned interface)
{
    const struct worker *worker = arg;
    const uint16_t queues = worker->dataplane->ports[interface].tx_queues;
    return worker->index < queues
               ? worker->exchange.backlogs[interface].count == 0
               : rte_ring_free_count(worker->exchange.sent_to[worker->index % queues]) >= RING_SIZE / 2;
}

static void backlog_shift(struct exchange_backlog *backlog, uint32_t count)
{
    backlog->count -= count;
    memmove(backlog->packets, backlog->packets + count, backlog->count * sizeof(backlog->packets[0]));
}

static uint32_t backlog_send(struct worker *worker, uint32_t interface)
{
    struct exchange_backlog *backlog = &worker->exchange.backlogs[interface];
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

static uint32_t send_ring(struct worker *worker, struct rte_ring *ring)
{
    struct rte_mbuf *packets[EXCHANGE_BURST];
    const uint32_t count = rte_ring_sc_dequeue_burst(ring, (void **)packets, EXCHANGE_BURST, NULL);
    for (uint32_t start = 0, i = 1; start < count; i++) {
        if (i == count || packets[i]->port != packets[start]->port) {
            queue_send(worker, packets[start]->port, packets + start, (uint16_t)(i - start));
            start = i;
        }
    }
    return count;
}

uint32_t exchange_send(struct worker *worker)
{
    uint32_t packets = 0;
    for (uint32_t interface = 0; interface < worker->dataplane->port_count; interface++) {
        packets += backlog_send(worker, interface);
    }
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index) {
            packets += send_ring(worker, worker->exchange.sent_from[other]);
        }
    }
    return packets;
}

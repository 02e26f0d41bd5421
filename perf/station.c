/* lib/net on one device. See station.h. */
#include "perf/station.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

enum { BURST = 64 };

static bool backlog_create(struct station *station, uint32_t connections)
{
    uint32_t size = STATION_BACKLOG_MIN;
    while (size < connections)
        size *= 2;
    station->backlog_mask = size - 1;
    station->backlog = calloc(size, sizeof(*station->backlog));
    return station->backlog != NULL;
}

static void backlog_append(struct station *station, struct rte_mbuf **frames, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (station->backlog_count > station->backlog_mask) {
            rte_pktmbuf_free_bulk(frames + i, count - i); /* lost on the wire: TCP sends them again */
            return;
        }
        station->backlog[(station->backlog_head + station->backlog_count++) & station->backlog_mask] = frames[i];
    }
}

/* lib/net hands frames over here. */
static uint16_t transmit(void *arg, unsigned interface, struct rte_mbuf **frames, uint16_t count)
{
    struct station *station = arg;
    uint16_t sent = 0;
    if (station->backlog_count == 0)
        sent = rte_eth_tx_burst(station->device->port, 0, frames, count);
    if (sent < count)
        backlog_append(station, frames + sent, (uint16_t)(count - sent));
    return count;
}

static uint32_t backlog_send(struct station *station)
{
    uint32_t done = 0;
    while (station->backlog_count > 0) {
        uint32_t n = station->backlog_mask + 1 - station->backlog_head; /* up to the ring's end */
        n = n < station->backlog_count ? n : station->backlog_count;
        n = n < BURST ? n : BURST;
        uint16_t sent =
            rte_eth_tx_burst(station->device->port, 0, station->backlog + station->backlog_head, (uint16_t)n);
        station->backlog_head = (station->backlog_head + sent) & station->backlog_mask;
        station->backlog_count -= sent;
        done += sent;
        if (sent < n)
            break;
    }
    return done;
}

/* ---- Callbacks: lib/net has one argument for them and transmit() ---- */

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
    struct station *station = arg;
    station->callbacks.accepted(station->arg, connection, listener_arg);
}

static void connected(void *arg, struct tcp_connection *connection)
{
    struct station *station = arg;
    station->callbacks.connected(station->arg, connection);
}

static void readable(void *arg, struct tcp_connection *connection)
{
    struct station *station = arg;
    station->callbacks.readable(station->arg, connection);
}

static void writable(void *arg, struct tcp_connection *connection)
{
    struct station *station = arg;
    station->callbacks.writable(station->arg, connection);
}

static void peer_closed(void *arg, struct tcp_connection *connection)
{
    struct station *station = arg;
    station->callbacks.peer_closed(station->arg, connection);
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    struct station *station = arg;
    station->callbacks.closed(station->arg, connection, reason);
}

/* ---- Life ---- */

static void describe(struct station *station, const struct station_config *from, struct net_config *to)
{
    const struct device *device = from->device;
    net_config_defaults(to);
    if (getrandom(to->seed, sizeof(to->seed), 0) < 0)
        abort();
    to->interface_count = 1;
    to->interfaces[0] = (struct net_interface_config){
        .mtu = device->mtu, .offloads = device->offloads, .address_count = from->address_count};
    memcpy(to->interfaces[0].mac, device->mac, sizeof(device->mac));
    memcpy(to->interfaces[0].addresses, from->addresses, from->address_count * sizeof(from->addresses[0]));
    if (net_address_is_ip4(&from->gateway))
        to->interfaces[0].gateway4 = from->gateway;
    else
        to->interfaces[0].gateway6 = from->gateway;
    to->pool = device->pool;
    to->wheel = &station->wheel;
    to->prefault = true;
    to->max_connections = to->max_half_open = from->max_connections;
    to->send_buffer = from->send_buffer;
    to->receive_buffer = from->receive_buffer;
    to->transmit = transmit;
    to->callbacks = (struct tcp_callbacks){accepted, connected, readable, writable, peer_closed, closed};
    to->arg = station;
}

struct station *station_create(const struct station_config *config, const char **reason)
{
    struct net_config net;
    struct station *station = aligned_alloc(64, (sizeof(*station) + 63) / 64 * 64);
    if (station == NULL)
        abort();
    memset(station, 0, sizeof(*station));
    if (!backlog_create(station, config->max_connections))
        abort();
    station->device = config->device;
    station->callbacks = config->callbacks;
    station->arg = config->arg;
    station->origin = station->last_poll = rte_rdtsc();
    station->us_scale = (uint64_t)(((__uint128_t)1000000 << 32) / rte_get_tsc_hz());
    /* A thread that DPDK knows has a cache of packet buffers of its own. */
    station->registered = rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() == 0;
    timer_wheel_init(&station->wheel, 0);
    describe(station, config, &net);
    station->stack = net_stack_create(&net, 0, reason);
    if (station->stack == NULL) {
        station_destroy(station);
        return NULL;
    }
    return station;
}

void station_destroy(struct station *station)
{
    if (station->stack != NULL)
        net_stack_destroy(station->stack);
    for (uint32_t i = 0; i < station->backlog_count; i++)
        rte_pktmbuf_free(station->backlog[(station->backlog_head + i) & station->backlog_mask]);
    free(station->backlog);
    if (station->registered)
        rte_thread_unregister();
    free(station);
}

void station_poll(struct station *station)
{
    struct rte_mbuf *frames[BURST];
    uint16_t received = rte_eth_rx_burst(station->device->port, 0, frames, BURST);
    station->now = (uint64_t)(((__uint128_t)(rte_rdtsc() - station->origin) * station->us_scale) >> 32);
    net_input(station->stack, 0, frames, received, station->now);
    net_advance(station->stack, station->now);
    net_deliver(station->stack, station->now);
    net_output(station->stack, station->now);
    uint32_t sent = station->backlog_count > 0 ? backlog_send(station) : 0;
    uint64_t end = rte_rdtsc();
    if (received + sent > 0)
        station->busy += end - station->last_poll;
    station->last_poll = end;
}

uint64_t station_busy_time(const struct station *station)
{
    return (uint64_t)((__uint128_t)station->busy * 1000000000u / rte_get_tsc_hz());
}

/*
 * The backend over lib/net on a DPDK device: no kernel on the way, the thread polls without pause.
 *
 * Bytes are handed up in place, in the packet buffers they came in; only a packet that lies across segments is copied
 * together first. Bytes to send are written where they will be sent from; only what fits in no segment, or comes when
 * the connection has no room, goes through a buffer of its own, the spill.
 */
#include "perf/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/station.h"

#define BUFFER (512u << 10)  /* bytes of a connection in either direction, at least */
#define FIRST_LOOK 256u      /* bytes copied together to find the end of a packet; then four times as many, and so on */
#define FAREWELL_POLLS 1000u /* for the resets of connections that are open at the end */

struct channel {
    struct backend *backend;
    struct tcp_connection *connection; /* NULL: closed, freed at the end of the poll */
    struct channel *next, *previous;   /* all channels of the backend; `next` also of the closing */
    void *user;
    uint8_t *place; /* where the last reserve() pointed, in a segment or in the spill */
    uint8_t *spill; /* waits to be sent, before anything newer */
    size_t spill_head, spill_tail, spill_capacity;
    bool spilling; /* `place` is in the spill */
    bool paused;
};

struct backend {
    const struct backend_config *config;
    const struct backend_handler *handler;
    struct station *station;
    struct channel *channels;
    struct channel *closing;
    struct net_address target;
    uint32_t next_connection;
    size_t across_capacity;
    uint8_t *across; /* where packets are copied together */
};

/* ---- Closing ---- */

static void dpdk_close(struct channel *channel)
{
    struct backend *backend = channel->backend;
    if (channel->connection == NULL)
        return;
    /* A reset instead of TIME-WAIT, as over kernel sockets: a generator of connections would run out of ports. */
    tcp_set_user(channel->connection, NULL);
    tcp_abort(channel->connection);
    channel->connection = NULL;
    if (channel->previous != NULL)
        channel->previous->next = channel->next;
    else
        backend->channels = channel->next;
    if (channel->next != NULL)
        channel->next->previous = channel->previous;
    channel->next = backend->closing;
    backend->closing = channel;
}

static void free_closed(struct backend *backend)
{
    while (backend->closing != NULL) {
        struct channel *channel = backend->closing;
        backend->closing = channel->next;
        free(channel->spill);
        free(channel);
    }
}

/* The peer's or the network's end of it. */
static void lost(struct channel *channel, const char *why)
{
    void *user = channel->user;
    const struct backend_handler *handler = channel->backend->handler;
    dpdk_close(channel);
    handler->closed(user, why);
}

static void peer_closed(void *arg, struct tcp_connection *connection)
{
    struct channel *channel = tcp_user(connection);
    if (channel != NULL)
        lost(channel, "closed by the broker");
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    struct channel *channel = tcp_user(connection);
    if (channel != NULL)
        lost(channel, tcp_close_reason_text(reason));
}

/* ---- Sending ---- */

static size_t dpdk_room(const struct channel *channel)
{
    if (channel->spill_tail > channel->spill_head || station_is_congested(channel->backend->station))
        return 0;
    return tcp_send_room(channel->connection);
}

static uint8_t *spill_reserve(struct channel *channel, size_t n)
{
    if (channel->spill_capacity - channel->spill_tail < n) {
        channel->spill_capacity = 2 * channel->spill_capacity + n;
        channel->spill = realloc(channel->spill, channel->spill_capacity);
        if (channel->spill == NULL)
            abort(); /* a load generator without memory has nothing to say */
    }
    channel->spilling = true;
    channel->place = channel->spill + channel->spill_tail;
    return channel->place;
}

static uint8_t *dpdk_reserve(struct channel *channel, size_t n)
{
    if (channel->spill_tail > channel->spill_head || n > tcp_reserve_max(channel->connection))
        return spill_reserve(channel, n);
    uint8_t *place = tcp_reserve(channel->connection, (uint32_t)n);
    if (place == NULL)
        return spill_reserve(channel, n);
    channel->spilling = false;
    channel->place = place;
    return place;
}

static void spill_send(struct channel *channel)
{
    size_t left = channel->spill_tail - channel->spill_head;
    channel->spill_head += tcp_send(channel->connection, channel->spill + channel->spill_head, left);
    if (channel->spill_head == channel->spill_tail)
        channel->spill_head = channel->spill_tail = 0;
}

static void dpdk_commit(struct channel *channel, const uint8_t *end)
{
    if (!channel->spilling) {
        tcp_commit(channel->connection, (uint32_t)(end - channel->place));
        return;
    }
    channel->spill_tail = (size_t)(end - channel->spill);
    spill_send(channel);
}

static void writable(void *arg, struct tcp_connection *connection)
{
    struct channel *channel = tcp_user(connection);
    if (channel != NULL && channel->spill_tail > channel->spill_head)
        spill_send(channel);
}

/* ---- Receiving ---- */

/* A packet that lies across segments. False: its end has not come yet, or the channel was closed. */
static bool receive_across(struct channel *channel)
{
    struct backend *backend = channel->backend;
    uint32_t all = tcp_readable_bytes(channel->connection);
    for (uint32_t n = FIRST_LOOK;; n *= 4) {
        n = n < all ? n : all;
        n = n < backend->across_capacity ? n : (uint32_t)backend->across_capacity;
        tcp_copy(channel->connection, 0, backend->across, n);
        size_t used = backend->handler->received(channel->user, backend->across, n);
        if (channel->connection == NULL)
            return false;
        if (used > 0) {
            tcp_consume(channel->connection, (uint32_t)used);
            return true;
        }
        if (n == all || n == backend->across_capacity)
            return false;
    }
}

static void readable(void *arg, struct tcp_connection *connection)
{
    struct channel *channel = tcp_user(connection);
    uint32_t length;
    const uint8_t *bytes;
    if (channel == NULL || channel->paused)
        return;
    while ((bytes = tcp_peek(connection, &length)) != NULL) {
        size_t used = channel->backend->handler->received(channel->user, bytes, length);
        if (channel->connection == NULL)
            return;
        bool last = length == tcp_readable_bytes(connection);
        if (used > 0)
            tcp_consume(connection, (uint32_t)used);
        if (used < length && (last || !receive_across(channel)))
            return;
    }
}

static void dpdk_pause(struct channel *channel)
{
    channel->paused = true;
}

/* ---- Opening ---- */

static void connected(void *arg, struct tcp_connection *connection)
{
    struct channel *channel = tcp_user(connection);
    if (channel != NULL)
        channel->backend->handler->connected(channel->user);
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
    tcp_abort(connection); /* nothing listens here */
}

static struct channel *dpdk_connect(struct backend *backend, void *user)
{
    const struct backend_config *config = backend->config;
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return NULL;
    const uint32_t number = backend->next_connection++;
    const struct net_prefix *source = &config->addresses[number % config->address_count];
    channel->connection = tcp_connect(backend->station->stack, &source->address, 0, &backend->target,
                                      backend_port(config, config->address_count, number), channel);
    if (channel->connection == NULL) {
        free(channel);
        errno = EADDRNOTAVAIL;
        return NULL;
    }
    channel->backend = backend;
    channel->user = user;
    channel->next = backend->channels;
    if (channel->next != NULL)
        channel->next->previous = channel;
    backend->channels = channel;
    return channel;
}

static void set_target(struct backend *backend)
{
    const struct sockaddr_storage *target = &backend->config->target;
    if (target->ss_family == AF_INET6)
        backend->target = net_address_ip6(((const struct sockaddr_in6 *)target)->sin6_addr.s6_addr);
    else
        backend->target = net_address_ip4(((const struct sockaddr_in *)target)->sin_addr.s_addr);
}

static struct backend *dpdk_create(const struct backend_config *config, const struct backend_handler *handler)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    const char *reason;
    size_t buffer = BUFFER > 2 * config->largest_packet ? BUFFER : 2 * config->largest_packet;
    const struct station_config station = {.device = config->device,
                                           .addresses = config->addresses,
                                           .address_count = config->address_count,
                                           .gateway = config->gateway,
                                           .max_connections = config->connections + config->connections / 4 + 1024,
                                           .send_buffer = (uint32_t)buffer,
                                           .receive_buffer = (uint32_t)buffer,
                                           .callbacks = {accepted, connected, readable, writable, peer_closed, closed}};
    if (backend == NULL || (backend->across = malloc(buffer)) == NULL)
        abort();
    backend->across_capacity = buffer;
    backend->config = config;
    backend->handler = handler;
    set_target(backend);
    backend->station = station_create(&station, &reason);
    if (backend->station != NULL)
        return backend;
    fprintf(stderr, "pollux-perf: the TCP/IP stack does not start: %s\n", reason);
    free(backend->across);
    free(backend);
    errno = EINVAL;
    return NULL;
}

static void dpdk_destroy(struct backend *backend)
{
    while (backend->channels != NULL)
        dpdk_close(backend->channels);
    for (uint32_t i = 0; i < FAREWELL_POLLS; i++)
        station_poll(backend->station);
    free_closed(backend);
    station_destroy(backend->station);
    free(backend->across);
    free(backend);
}

static void dpdk_poll(struct backend *backend, uint64_t timeout_ns)
{
    station_poll(backend->station);
    if (backend->closing != NULL)
        free_closed(backend);
}

static uint64_t dpdk_busy_time(const struct backend *backend)
{
    return station_busy_time(backend->station);
}

const struct backend_ops backend_dpdk = {
    .create = dpdk_create,
    .destroy = dpdk_destroy,
    .connect = dpdk_connect,
    .close = dpdk_close,
    .room = dpdk_room,
    .reserve = dpdk_reserve,
    .commit = dpdk_commit,
    .pause = dpdk_pause,
    .poll = dpdk_poll,
    .busy_time = dpdk_busy_time,
};

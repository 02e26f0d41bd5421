/*
 * The backend over kernel sockets and epoll.
 *
 * Made for many small messages: one recv() takes all that a connection has into a buffer of the thread, one send()
 * takes all that was committed since the last poll. A connection holds a send buffer only while it has something to
 * send, and bytes of a packet only while it is incomplete, so that idle ones cost little.
 */
#include "perf/backend.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SEND_BUFFER (64u << 10)
#define RECEIVE_BUFFER (256u << 10)
#define EVENTS 512

struct send_buffer {
    struct send_buffer *next; /* in the pool */
    size_t capacity;
    uint8_t bytes[];
};

struct channel {
    struct backend *backend;
    struct channel *next, *previous; /* all channels of the backend */
    struct channel *next_touched;
    void *user;
    struct send_buffer *out; /* NULL while there is nothing to send */
    size_t out_head, out_tail;
    uint8_t *partial; /* the start of a packet whose end has not come */
    size_t partial_length, partial_capacity;
    int fd;
    bool connecting, touched, blocked; /* blocked: waits for EPOLLOUT */
    bool paused;
};

struct backend {
    const struct backend_config *config;
    const struct backend_handler *handler;
    struct channel *channels;
    struct channel *touched;
    struct channel *closing; /* closed during a poll, freed at its end: events may still name them */
    struct send_buffer *pool;
    size_t send_capacity, receive_capacity;
    uint32_t next_connection;
    int epoll;
    uint8_t receive[];
};

static struct backend *socket_create(const struct backend_config *config, const struct backend_handler *handler)
{
    size_t receive = RECEIVE_BUFFER + 2 * config->largest_packet;
    struct backend *backend = calloc(1, sizeof(*backend) + receive);
    if (backend == NULL)
        return NULL;
    backend->config = config;
    backend->handler = handler;
    backend->receive_capacity = receive;
    backend->send_capacity = SEND_BUFFER + 2 * config->largest_packet;
    backend->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (backend->epoll < 0) {
        free(backend);
        return NULL;
    }
    return backend;
}

static struct send_buffer *buffer_take(struct backend *backend)
{
    struct send_buffer *buffer = backend->pool;
    if (buffer != NULL) {
        backend->pool = buffer->next;
        return buffer;
    }
    buffer = malloc(sizeof(*buffer) + backend->send_capacity);
    if (buffer == NULL)
        abort(); /* a load generator without memory has nothing to say */
    buffer->capacity = backend->send_capacity;
    return buffer;
}

static void buffer_release(struct channel *channel)
{
    struct send_buffer *buffer = channel->out;
    channel->out = NULL;
    channel->out_head = channel->out_tail = 0;
    if (buffer == NULL)
        return;
    if (buffer->capacity > channel->backend->send_capacity) {
        free(buffer); /* grown once for many acknowledgements: not worth keeping */
        return;
    }
    buffer->next = channel->backend->pool;
    channel->backend->pool = buffer;
}

/* ---- Opening and closing ---- */

static void watch(struct channel *channel, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = channel};
    epoll_ctl(channel->backend->epoll, operation, channel->fd, &event);
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
}

/* An open connection, after what it waits for has changed. */
static void watch_again(struct channel *channel)
{
    watch(channel, EPOLL_CTL_MOD, (channel->paused ? 0 : EPOLLIN) | (channel->blocked ? EPOLLOUT : 0));
}

static int open_socket(struct backend *backend)
{
    const struct backend_config *config = backend->config;
    const uint32_t number = backend->next_connection++, sources = config->source_count > 0 ? config->source_count : 1;
    const int on = 1;
    struct sockaddr_storage target = config->target;
    set_port(&target, backend_port(config, sources, number));
    int fd = socket(config->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (config->source_count > 0) {
        const struct sockaddr_storage *source = &config->sources[number % sources];
        /* The port is chosen at connect(), when the target is known: else 28,000 would be all for all targets. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(fd, (const struct sockaddr *)source, sizeof(*source)) != 0) {
            close(fd);
            return -1;
        }
    }
    if (connect(fd, (const struct sockaddr *)&target, config->target_length) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static struct channel *socket_connect(struct backend *backend, void *user)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return NULL;
    channel->fd = open_socket(backend);
    if (channel->fd < 0) {
        free(channel);
        return NULL;
    }
    channel->backend = backend;
    channel->user = user;
    channel->connecting = true;
    channel->next = backend->channels;
    if (channel->next != NULL)
        channel->next->previous = channel;
    backend->channels = channel;
    watch(channel, EPOLL_CTL_ADD, EPOLLOUT);
    return channel;
}

static void socket_close(struct channel *channel)
{
    struct backend *backend = channel->backend;
    if (channel->fd < 0)
        return;
    /* A reset instead of TIME-WAIT, which would run a generator of connections out of ports. */
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(channel->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(channel->fd);
    channel->fd = -1;
    buffer_release(channel);
    if (channel->previous != NULL)
        channel->previous->next = channel->next;
    else
        backend->channels = channel->next;
    if (channel->next != NULL)
        channel->next->previous = channel->previous;
    channel->next = backend->closing;
    backend->closing = channel;
}

/* One that is in the list of touched channels still, because it was closed while that list was worked on, stays. */
static void free_closed(struct backend *backend)
{
    struct channel **at = &backend->closing;
    while (*at != NULL) {
        struct channel *channel = *at;
        if (channel->touched) {
            at = &channel->next;
            continue;
        }
        *at = channel->next;
        free(channel->partial);
        free(channel);
    }
}

static void socket_destroy(struct backend *backend)
{
    while (backend->channels != NULL)
        socket_close(backend->channels);
    for (struct channel *channel = backend->closing; channel != NULL; channel = channel->next)
        channel->touched = false;
    free_closed(backend);
    while (backend->pool != NULL) {
        struct send_buffer *buffer = backend->pool;
        backend->pool = buffer->next;
        free(buffer);
    }
    close(backend->epoll);
    free(backend);
}

/* The peer's or the network's end of it: tells the user, unless the user closed it first. */
static void lost(struct channel *channel, const char *why)
{
    if (channel->fd < 0)
        return;
    void *user = channel->user;
    const struct backend_handler *handler = channel->backend->handler;
    socket_close(channel);
    handler->closed(user, why);
}

/* ---- Sending ---- */

static size_t socket_room(const struct channel *channel)
{
    return channel->out == NULL ? channel->backend->send_capacity : channel->out->capacity - channel->out_tail;
}

static uint8_t *socket_reserve(struct channel *channel, size_t n)
{
    if (channel->out == NULL)
        channel->out = buffer_take(channel->backend);
    if (channel->out->capacity - channel->out_tail < n && channel->out_head > 0) {
        memmove(channel->out->bytes, channel->out->bytes + channel->out_head, channel->out_tail - channel->out_head);
        channel->out_tail -= channel->out_head;
        channel->out_head = 0;
    }
    if (channel->out->capacity - channel->out_tail < n) {
        size_t capacity = 2 * channel->out->capacity + n;
        channel->out = realloc(channel->out, sizeof(*channel->out) + capacity);
        if (channel->out == NULL)
            abort();
        channel->out->capacity = capacity;
    }
    return channel->out->bytes + channel->out_tail;
}

static void socket_commit(struct channel *channel, const uint8_t *end)
{
    channel->out_tail = (size_t)(end - channel->out->bytes);
    if (!channel->touched && !channel->blocked) {
        channel->touched = true;
        channel->next_touched = channel->backend->touched;
        channel->backend->touched = channel;
    }
}

static void flush(struct channel *channel)
{
    if (channel->fd < 0 || channel->connecting || channel->out == NULL)
        return;
    size_t left = channel->out_tail - channel->out_head;
    ssize_t sent = send(channel->fd, channel->out->bytes + channel->out_head, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        lost(channel, strerror(errno));
        return;
    }
    channel->out_head += sent > 0 ? (size_t)sent : 0;
    bool blocked = channel->out_head < channel->out_tail;
    if (!blocked)
        buffer_release(channel);
    bool changed = blocked != channel->blocked;
    channel->blocked = blocked;
    if (changed)
        watch_again(channel);
}

static void flush_touched(struct backend *backend)
{
    struct channel *channel = backend->touched;
    backend->touched = NULL;
    while (channel != NULL) {
        struct channel *next = channel->next_touched;
        channel->touched = false;
        flush(channel);
        channel = next;
    }
}

/* ---- Receiving ---- */

static void partial_keep(struct channel *channel, const uint8_t *bytes, size_t n)
{
    if (n > channel->partial_capacity) {
        channel->partial = realloc(channel->partial, n);
        if (channel->partial == NULL)
            abort();
        channel->partial_capacity = n;
    }
    if (n > 0)
        memcpy(channel->partial, bytes, n);
    channel->partial_length = n;
}

static void receive(struct channel *channel)
{
    struct backend *backend = channel->backend;
    size_t kept = channel->partial_length;
    if (kept > 0)
        memcpy(backend->receive, channel->partial, kept);
    ssize_t got = recv(channel->fd, backend->receive + kept, backend->receive_capacity - kept, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        lost(channel, got == 0 ? "closed by the broker" : strerror(errno));
        return;
    }
    size_t n = kept + (size_t)got, used = backend->handler->received(channel->user, backend->receive, n);
    if (channel->fd < 0)
        return;
    if (n - used == backend->receive_capacity)
        lost(channel, "a packet is larger than the receive buffer");
    else
        partial_keep(channel, backend->receive + used, n - used);
}

static void socket_pause(struct channel *channel)
{
    channel->paused = true;
    watch_again(channel);
}

static void finish_connect(struct channel *channel)
{
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        lost(channel, strerror(error));
        return;
    }
    channel->connecting = false;
    watch(channel, EPOLL_CTL_MOD, EPOLLIN);
    channel->backend->handler->connected(channel->user);
}

static void handle_event(struct channel *channel, uint32_t events)
{
    if (channel->fd < 0)
        return;
    if (channel->connecting) {
        finish_connect(channel);
        return;
    }
    if (events & EPOLLOUT)
        flush(channel);
    if (channel->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        receive(channel);
}

static void socket_poll(struct backend *backend, uint64_t timeout_ns)
{
    struct epoll_event events[EVENTS];
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                                     .tv_nsec = (long)(timeout_ns % 1000000000)};
    flush_touched(backend);
    int n = epoll_pwait2(backend->epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < n; i++)
        handle_event(events[i].data.ptr, events[i].events);
    flush_touched(backend);
    free_closed(backend);
}

const struct backend_ops backend_socket = {
    .create = socket_create,
    .destroy = socket_destroy,
    .connect = socket_connect,
    .close = socket_close,
    .room = socket_room,
    .reserve = socket_reserve,
    .commit = socket_commit,
    .pause = socket_pause,
    .poll = socket_poll,
};

/*
 * What carries the bytes of the load generator: TCP connections, by whatever means.
 *
 * Two backends: kernel sockets (backend_socket.c), and lib/net on a DPDK device (backend_dpdk.c). The interface is that
 * of an event-driven TCP stack: bytes come up through a callback, in place; bytes go down into a send stream that the
 * next poll puts on the wire, as much at a time as there is.
 *
 * One struct backend per thread, used by that thread only. Channels belong to their backend.
 */
#ifndef PERF_BACKEND_H
#define PERF_BACKEND_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/net/address.h"

struct backend;
struct device;
struct channel; /* one TCP connection */

struct backend_config {
    struct sockaddr_storage target; /* the port in it is the first of `ports` */
    socklen_t target_length;
    const uint16_t *ports; /* of the target; when each source has had its turn, the next port has */
    uint32_t port_count;
    const struct sockaddr_storage *sources; /* local addresses to connect from in turn, or none */
    uint32_t source_count;
    size_t largest_packet; /* bytes: receive buffers hold at least two of them */

    /* For lib/net only, which has its own addresses to connect from, in turn. */
    const struct device *device;
    const struct net_prefix *addresses;
    uint32_t address_count;
    struct net_address gateway; /* NET_ADDRESS_ANY: everything is on the link */
    uint32_t connections;       /* open at the same time, at most */
};

/* The target's port for a backend's connection of this number, where connections come from `sources` addresses. */
static inline uint16_t backend_port(const struct backend_config *config, uint32_t sources, uint32_t number)
{
    return config->ports[number / sources % config->port_count];
}

/* Called from within poll() (`closed` also from connect). `user` is what connect() was given. */
struct backend_handler {
    void (*connected)(void *user);
    /* Returns how many of the `n` bytes it used; the rest comes again with more behind it. */
    size_t (*received)(void *user, const uint8_t *bytes, size_t n);
    /* The peer or the network ended the connection. The channel is gone when this returns. */
    void (*closed)(void *user, const char *why);
};

struct backend_ops {
    /* NULL and errno at failure. Both arguments must outlive the backend. */
    struct backend *(*create)(const struct backend_config *config, const struct backend_handler *handler);
    void (*destroy)(struct backend *backend); /* closes what is open, without calling `closed` */

    struct channel *(*connect)(struct backend *backend, void *user); /* NULL and errno at failure */
    void (*close)(struct channel *channel);                          /* what was not sent yet is dropped */

    /* Bytes that fit in the send stream now: 0 when the connection is slower than its sender. */
    size_t (*room)(const struct channel *channel);
    /* A place for `n` bytes at the end of the send stream, beyond its room if need be (acknowledgements). */
    uint8_t *(*reserve)(struct channel *channel, size_t n);
    /* Takes over what was written, up to `end`. */
    void (*commit)(struct channel *channel, const uint8_t *end);

    /* Reads no more: what comes stays with TCP, whose window closes. */
    void (*pause)(struct channel *channel);

    /* Sends what was committed, waits for events up to `timeout_ns` unless it polls without pause, handles them. */
    void (*poll)(struct backend *backend, uint64_t timeout_ns);

    /* ns that the thread had work, for a backend that polls; NULL: its CPU time says so. */
    uint64_t (*busy_time)(const struct backend *backend);
};

extern const struct backend_ops backend_socket;
extern const struct backend_ops backend_dpdk;

#endif

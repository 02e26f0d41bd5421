/*
 * An MQTT client as a load generator needs it: connects, subscribes to at most one filter, acknowledges what it gets at
 * once, and tells the scenario what happened. Keeps no messages and never resends: a lost connection is a failed run.
 *
 * Belongs to one thread, as its backend does.
 */
#ifndef PERF_CLIENT_H
#define PERF_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mqtt/publish.h"
#include "perf/backend.h"

struct client;

/* What all clients of a thread share. */
struct client_context {
    const struct backend_ops *ops;
    struct backend *backend;
    enum mqtt_version version;
    const char *id_prefix;
    const char *user_name; /* NULL: none */
    const char *password;  /* NULL: none */
    uint16_t keep_alive;   /* seconds */

    /* Up to the scenario. `user` is its own. */
    void *user;
    void (*ready)(struct client *client); /* connected, and subscribed if it has a filter */
    void (*message)(struct client *client, const struct mqtt_publish *publish);
    void (*acknowledged)(struct client *client); /* one publish of QoS 1 or 2 is through */
    void (*ended)(struct client *client, const char *why);
};

enum client_state { CLIENT_IDLE, CLIENT_CONNECTING, CLIENT_SUBSCRIBING, CLIENT_READY, CLIENT_LEAVING };

struct client {
    struct client_context *context;
    struct channel *channel;
    const char *filter;       /* NULL: subscribes to nothing */
    uint32_t extra_first;     /* subscribes to `extra` more filters that match nothing, numbered from here on */
    uint32_t extra;           /* those it has not subscribed to yet */
    uint32_t number;          /* behind the prefix, it makes the client identifier */
    uint16_t receive_maximum; /* of the broker; 65535 unless it said so */
    uint8_t qos;              /* of the subscription */
    uint8_t state;            /* enum client_state */
};

/* Opens the connection. False (with errno) if not even that can be started. */
bool client_start(struct client *client);

/* Says DISCONNECT; the broker closes, and `ended` is called then. */
void client_leave(struct client *client);

/* Closes at once, without `ended`. */
void client_drop(struct client *client);

/* For backend_ops.create; `user` of the channels are clients. */
extern const struct backend_handler client_backend_handler;

#endif

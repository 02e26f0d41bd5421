/*
 * Moving a connection to the worker that owns its client's session. It happens once at most in a connection's life,
 * while its CONNECT is still unread, so what moves is small: TCP's state and the unread bytes.
 *
 * The worker that the packets arrive on keeps a record of the flow and passes its segments on (lib/net's redirect),
 * until the owner says that the connection has ended.
 */
#ifndef POLLUX_DATAPLANE_MOVE_H
#define POLLUX_DATAPLANE_MOVE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/client_id.h"
#include "dataplane/websocket.h"
#include "lib/net/tcp_move.h"

struct client;
struct worker;

/* What MAIL_CONNECTION carries. */
struct moved_client {
    struct tcp_moved tcp;
    uint32_t listener;
    struct websocket websocket; /* of a client of a WebSocket listener */
    struct client_id_key id;    /* that the client holds a claim to (directory.h) */
    uint32_t from;              /* worker */
    uint32_t partial_length;    /* of a CONNECT that was collected, 0: it is among the unread bytes */
    uint32_t login_length;      /* of how it has logged in (login.h), behind the CONNECT */
    uint8_t partial[];
};

/* Hands the connection and its claim to `id` to worker `to`; the client object is gone then. False: no memory, nothing
 * has changed. */
bool client_move(struct worker *worker, struct client *client, uint32_t to, const struct client_id_key *id);

/* The other end: goes on with it here. */
void client_arrive(struct worker *worker, const struct moved_client *moved);

/* What MAIL_CONNECTION_END carries. */
struct moved_end {
    struct net_flow flow;
    enum tcp_close_reason reason;
};

/* A connection that had come from worker `from` has ended: its flow record there may go. */
void client_moved_end(struct worker *worker, uint32_t from, const struct net_flow *flow, enum tcp_close_reason reason);

#endif

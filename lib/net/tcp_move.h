/*
 * lib/net: moving a connection from one stack to another, for a connection whose application state lives on another
 * worker than the one its packets arrive on.
 *
 * The stack that gives it away keeps a record of the flow: segments that still arrive for it go through `redirect` of
 * the configuration to the other worker. Called by the dataplane between workers; each call on its own stack's thread,
 * and struct tcp_moved travels between them.
 */
#ifndef LIB_NET_TCP_MOVE_H
#define LIB_NET_TCP_MOVE_H

#include "lib/net/tcp.h"

#include <stdbool.h>

/* A connection between two stacks. It owns the connection's mbufs: give it to tcp_move_here() or to tcp_move_drop(). */
struct tcp_moved {
    struct tcp_connection connection;
};

/* The flow, to name the connection afterwards. */
static inline const struct net_flow *tcp_moved_flow(const struct tcp_moved *moved)
{
    return &moved->connection.flow;
}

/*
 * Takes the connection out of its stack; `worker` gets its segments from now on. Only an established connection whose
 * sent data is all acknowledged can be moved. The handle stays valid until `closed` (TCP_CLOSE_MOVED) was called for
 * it. False: it cannot be moved, or the table of moved flows is full; nothing has changed.
 */
bool tcp_move_away(struct tcp_connection *connection, unsigned worker, struct tcp_moved *moved);

/*
 * The same connection in this stack, unread bytes included: look for them with tcp_peek(), no readable callback comes
 * for what had arrived before. NULL: no room; the peer got a RST. A segment may overtake the connection on its way
 * here: it is dropped and sent again by the peer (drop_tcp_moved_early).
 */
struct tcp_connection *tcp_move_here(struct net_stack *stack, const struct tcp_moved *moved, uint64_t now);

/* Nobody wants it: frees what it owns and resets the peer, from any of the stacks. */
void tcp_move_drop(struct net_stack *stack, const struct tcp_moved *moved, uint64_t now);

/*
 * The connection has ended where it went, with this reason. Both directions finished: the TIME-WAIT record is there, so
 * the flow is forgotten after that time. Else at once: a peer that missed the RST gets one for its next segment.
 */
void tcp_move_ended(struct net_stack *stack, const struct net_flow *flow, enum tcp_close_reason reason, uint64_t now);

#endif

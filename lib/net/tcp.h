/*
 * lib/net: TCP connections, as an application sees them. The stack and its loop: lib/net/net.h.
 *
 * Threads: the stack's own. A tcp_connection_id() may travel to other threads and back; tcp_connection_find() turns it
 * into a connection again, or NULL when that connection is gone.
 *
 * Receiving. Bytes in order wait in the connection's queue of mbufs. tcp_peek() shows the first contiguous run in
 * place, tcp_consume() gives bytes back. What is not consumed narrows the window: not consuming is how an application
 * pushes back. After a readable callback no other comes before new bytes arrive, or tcp_want_read() asks for one.
 *
 * Sending. tcp_reserve() shows room in the segment at the tail, tcp_commit() appends what was written there. Nothing is
 * sent before net_output(), so everything appended in an iteration shares segments; nothing is held back after it
 * (there is no Nagle delay). A refusal (NULL or 0) is followed by one writable callback when there is room again.
 *
 * Life. `accepted` or tcp_connect() begins it, `closed` is the last callback and ends it: the pointer is dead after it
 * returns. Callbacks run inside net_deliver() only, never inside one of the calls below, so a connection stays valid
 * for the rest of the caller's function whatever it does, tcp_abort() included.
 */
#ifndef LIB_NET_TCP_H
#define LIB_NET_TCP_H

#include "lib/net/address.h"
#include "lib/net/tcp_connection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct net_stack;

enum tcp_close_reason {
    TCP_CLOSE_NORMAL,          /* both directions finished */
    TCP_CLOSE_ABORTED,         /* tcp_abort() here */
    TCP_CLOSE_RESET,           /* RST from the peer */
    TCP_CLOSE_REFUSED,         /* RST in answer to the SYN of an active open */
    TCP_CLOSE_TIMEOUT,         /* retransmissions, keepalive probes or the user timeout gave up */
    TCP_CLOSE_CONNECT_TIMEOUT, /* no answer to an active open */
    TCP_CLOSE_UNREACHABLE,     /* hard ICMP error during an active open, or no route */
    TCP_CLOSE_MOVED,           /* to another stack: tcp_move.h */
    TCP_CLOSE_REASONS
};

const char *tcp_close_reason_text(enum tcp_close_reason reason);
const char *tcp_state_text(enum tcp_state state);

/* What goes wrong without ending a connection (RFC 9293 section 3.9.1.8). */
enum tcp_trouble {
    TCP_TROUBLE_NONE,
    TCP_TROUBLE_SILENCE,     /* three retransmissions of a segment have no answer */
    TCP_TROUBLE_UNREACHABLE, /* an ICMP error says that packets do not arrive now */
};

enum tcp_keepalive { TCP_KEEPALIVE_DEFAULT, TCP_KEEPALIVE_OFF, TCP_KEEPALIVE_ON };

struct tcp_callbacks {
    /* A connection of a listener is established. Set tcp_user() here, or tcp_abort() to refuse. */
    void (*accepted)(void *arg, struct tcp_connection *connection, void *listener_arg);
    /* An active open succeeded. */
    void (*connected)(void *arg, struct tcp_connection *connection);
    /* New bytes since the last call. */
    void (*readable)(void *arg, struct tcp_connection *connection);
    /* Room again, after a tcp_reserve() or tcp_send() that fell short. */
    void (*writable)(void *arg, struct tcp_connection *connection);
    /* The peer sent FIN and all its bytes are consumed. Sending is still possible. */
    void (*peer_closed)(void *arg, struct tcp_connection *connection);
    /* The last one. */
    void (*closed)(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason);
    /* News of a connection that goes on. NULL: nobody wants to know. */
    void (*troubled)(void *arg, struct tcp_connection *connection, enum tcp_trouble trouble);
    /*
     * A hint: the connection's `readable` comes a few callbacks from now. Memory that it will need can be prefetched;
     * nothing may be changed. NULL: no use for it.
     */
    void (*upcoming)(void *arg, struct tcp_connection *connection);
};

/* ---- Opening and closing. */

/*
 * Accept connections to `address` (NET_ADDRESS_ANY: all of this stack's, both families) and `port`. Every worker that
 * is to accept listens. Returns a listener number, or -1: table full, or that pair is taken.
 */
int tcp_listen(struct net_stack *stack, const struct net_address *address, uint16_t port, void *listener_arg);

/* Stop accepting. Connections that exist go on; half-open ones are forgotten. */
void tcp_unlisten(struct net_stack *stack, int listener);

/*
 * Active open. `local` may be NET_ADDRESS_ANY (chosen by route). The source port is chosen (RFC 6056) so that
 * replies reach this worker, or is `local_port` when that is not 0. NULL: no route, no port, or the table is full.
 * `user` is what tcp_user() returns.
 */
struct tcp_connection *tcp_connect(struct net_stack *stack, const struct net_address *local, uint16_t local_port,
                                   const struct net_address *remote, uint16_t remote_port, void *user);

/*
 * The application is done: what is queued for sending is delivered, then FIN. Bytes that arrive from now on are
 * acknowledged and thrown away; no callback but `closed` follows. The peer has `fin_wait_us` to finish.
 */
void tcp_close(struct tcp_connection *connection);

/* Half-close: FIN after what is queued; receiving goes on. */
void tcp_shutdown(struct tcp_connection *connection);

/* RST now; queued data is dropped. `closed(TCP_CLOSE_ABORTED)` follows in the next net_deliver(). */
void tcp_abort(struct tcp_connection *connection);

/* ---- Receiving. */

/* First contiguous run of unread bytes, in place; valid until consumed. NULL and 0 when there is none. */
static inline const uint8_t *tcp_peek(const struct tcp_connection *connection, uint32_t *length)
{
    const struct tcp_segment *segment = connection->receive_head;

    if (!segment) {
        *length = 0;
        return NULL;
    }
    *length = segment->length;
    return segment->data;
}

/* The run after the one that ends at `end` (its address and length added): look further without consuming. */
const uint8_t *tcp_peek_next(const struct tcp_connection *connection, const uint8_t *end, uint32_t *length);

/* Copy out `length` unread bytes starting `offset` bytes in, without consuming. Returns bytes copied. */
uint32_t tcp_copy(const struct tcp_connection *connection, uint32_t offset, void *to, uint32_t length);

/* `length` bytes, at most tcp_readable_bytes(), are done with. */
void tcp_consume(struct tcp_connection *connection, uint32_t length);

static inline uint32_t tcp_readable_bytes(const struct tcp_connection *connection)
{
    return connection->readable;
}

/*
 * Rewrites unread bytes in place, for a framing between TCP and its user (WebSocket). `edit` gets each contiguous run
 * behind the first `offset` unread bytes, in order; it may write to the run and returns how many bytes at its beginning
 * stay. The others are gone as if they had been consumed. `edit` calls nothing of this connection.
 */
void tcp_rewrite(struct tcp_connection *connection, uint32_t offset,
                 uint32_t (*edit)(void *arg, uint8_t *bytes, uint32_t length), void *arg);

/* Ask for a readable callback in the next net_deliver() although nothing new may arrive: work done in slices. */
void tcp_want_read(struct tcp_connection *connection);

/* ---- Sending. The first three are the hot path. */

/* Slow halves of the inline functions below. */
uint8_t *tcp_reserve_segment(struct tcp_connection *connection, uint32_t length);
void tcp_touch(struct tcp_connection *connection);

/*
 * `length` contiguous writable bytes at the end of the send stream, or NULL: bound reached, pool empty, sending closed,
 * or `length` larger than a segment holds (tcp_reserve_max()). NULL for the first two arms the writable callback.
 * Nothing is taken before tcp_commit(); a second reserve without commit returns the same place.
 */
static inline uint8_t *tcp_reserve(struct tcp_connection *connection, uint32_t length)
{
    if (__builtin_expect(length <= connection->tail_room, 1))
        return connection->tail_write;
    return tcp_reserve_segment(connection, length);
}

/* How many bytes tcp_reserve() has room for where it pointed to: as many as asked for, or more. */
static inline uint32_t tcp_reserved_room(const struct tcp_connection *connection)
{
    return connection->tail_room;
}

/* Append the first `length` bytes of the reserved room. */
static inline void tcp_commit(struct tcp_connection *connection, uint32_t length)
{
    connection->tail_write += length;
    connection->tail_room = (uint16_t)(connection->tail_room - length);
    connection->send_end += length;
    if (!(connection->flags & TCP_FLAG_TOUCHED))
        tcp_touch(connection);
}

/* Asks for the memory that tcp_reserve() and tcp_commit() will touch; the second, later, for the bytes themselves. */
static inline void tcp_ask_ahead(const struct tcp_connection *connection)
{
    __builtin_prefetch(connection, 1);
    __builtin_prefetch(&connection->send_end, 1);
    __builtin_prefetch(&connection->tail_write, 1);
}

static inline void tcp_ask_ahead_tail(const struct tcp_connection *connection)
{
    __builtin_prefetch(connection->tail_write, 1);
}

/* Copy up to `length` bytes into the send stream. Returns how many; fewer arms the writable callback. */
size_t tcp_send(struct tcp_connection *connection, const void *data, size_t length);

/* Ask for a writable callback when half of the bound is free, although nothing was refused: for bounds of one's own. */
void tcp_want_write(struct tcp_connection *connection);

/* The largest length tcp_reserve() can ever grant: one segment. */
static inline uint32_t tcp_reserve_max(const struct tcp_connection *connection)
{
    return connection->send_mss;
}

/* Bytes queued or unacknowledged. */
static inline uint32_t tcp_unacknowledged_bytes(const struct tcp_connection *connection)
{
    return connection->send_end - connection->send_unacked;
}

/* Bytes that the bound still admits. */
uint32_t tcp_send_room(const struct tcp_connection *connection);

/* ---- Settings of one connection, which begin as the stack's. */

/* Data unacknowledged for `seconds` (1..65,535) ends it. With net_config.user_timeout_option the peer is told. */
void tcp_set_user_timeout(struct tcp_connection *connection, uint16_t seconds);

/* ON where the stack has none: after two idle hours. */
void tcp_set_keepalive(struct tcp_connection *connection, enum tcp_keepalive keepalive);

/* Diffserv code point, 0..63, of what is sent from now on. */
void tcp_set_dscp(struct tcp_connection *connection, uint8_t dscp);

/* ---- Identity. */

static inline void *tcp_user(const struct tcp_connection *connection)
{
    return connection->user;
}

static inline const struct net_flow *tcp_flow(const struct tcp_connection *connection)
{
    return &connection->flow;
}

static inline void tcp_set_user(struct tcp_connection *connection, void *user)
{
    connection->user = user;
}

/* Unique as long as the stack lives; never 0. */
uint64_t tcp_connection_id(const struct tcp_connection *connection);
struct tcp_connection *tcp_connection_find(struct net_stack *stack, uint64_t id);

/* The connection of that four-tuple, or NULL: there is none, or it is half-open or in TIME-WAIT. */
struct tcp_connection *tcp_connection_of_flow(struct net_stack *stack, const struct net_flow *flow);

/* Has the connection of that four-tuple moved to another stack, which gets its segments passed on? */
bool tcp_flow_is_moved(const struct net_stack *stack, const struct net_flow *flow);

/* ---- Looking in. Times in microseconds, sizes in bytes. */

struct tcp_info {
    uint64_t id;
    struct net_flow flow;
    enum tcp_state state;
    unsigned interface;
    uint32_t mss; /* payload of a full segment */
    uint32_t congestion_window;
    uint32_t slow_start_threshold;
    uint32_t in_flight;      /* estimate: sent, neither acknowledged, SACKed nor lost */
    uint32_t send_window;    /* the peer's */
    uint32_t receive_window; /* ours */
    uint32_t send_queued;    /* not yet sent */
    uint32_t unacknowledged; /* sent */
    uint32_t readable;
    uint32_t out_of_order;
    uint32_t smoothed_rtt;
    uint32_t rtt_variance;
    uint32_t rtt_minimum;
    uint32_t rto;
    uint32_t retransmits; /* segments, life of the connection */
    uint64_t idle_us;     /* since the last segment arrived */
    bool timestamps;
    bool sack;
    bool ecn;
    bool recovering;
};

void tcp_info(const struct tcp_connection *connection, struct tcp_info *info);

/*
 * Visit connections in slices: calls `visit` for at most `count` table entries from `*cursor` on (start with 0) and
 * moves it. Returns false after the last. Connections opened or closed between slices may be missed.
 */
bool tcp_connections_visit(struct net_stack *stack, uint32_t *cursor, uint32_t count,
                           void (*visit)(void *arg, struct tcp_connection *connection), void *arg);

#endif

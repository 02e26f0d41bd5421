/*
 * lib/net: a TCP/IP stack as a library. This header: the stack itself, its interfaces and its place in a poll loop.
 * lib/net/tcp.h: connections.
 *
 * Threads: one `struct net_stack` per worker thread; every call on it comes from that thread. The exceptions say so.
 * Time: `now` is an argument, in microseconds, monotonic. The stack reads no clock, opens no port, owns no global.
 * Memory: everything is allocated in net_stack_create(); afterwards only mbufs are taken from and returned to the pool
 * that the caller gave.
 *
 * One poll iteration:
 *
 *     n = rte_eth_rx_burst(...);
 *     net_input(stack, interface, mbufs, n, now);    parse, TCP input; application bytes are queued
 *     timer_wheel_advance(wheel, now, budget);       the wheel is shared by the stack and its owner
 *     net_deliver(stack, now);                       the callbacks of struct tcp_callbacks run here and only here
 *     ... whatever else appends to connections: mailboxes, retries ...
 *     net_output(stack, now);                        one pass over every touched connection, transmit bursts
 *
 * Remote input never aborts and never allocates without a bound; each refusal is a counter of counters.def.
 *
 * Mbufs. Every mbuf given to net_input(), and the pool in the configuration, must have a private area of at least
 * NET_MBUF_PRIVATE bytes (the stack's metadata of a segment) and RTE_PKTMBUF_HEADROOM >= 128. What was sent stays with
 * the stack until it is acknowledged, by reference count, so a port must not use RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE.
 */
#ifndef LIB_NET_NET_H
#define LIB_NET_NET_H

#include "lib/net/address.h"
#include "lib/net/tcp.h"
#include "lib/timer/timer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;
struct net_stack;

enum {
    NET_MBUF_PRIVATE = 64, /* bytes of mbuf private area the stack needs */
    NET_INTERFACES = 16,   /* interfaces of one stack */
    NET_INTERFACE_ADDRESSES = 8,
    NET_ROUTES = 64,        /* static routes beside the connected ones and the gateways */
    NET_TIMER_KINDS = 3,    /* timer kinds the stack binds, from net_config.timer_kind on */
    NET_RSS_KEY_BYTES = 40, /* enough for two IPv6 addresses and two ports */
};

/* What the port does in hardware; anything not set is done in software. */
enum net_offload {
    NET_OFFLOAD_RX_CHECKSUM = 1 << 0,     /* sets RTE_MBUF_F_RX_{IP,L4}_CKSUM_*; UNKNOWN is checked in software */
    NET_OFFLOAD_TX_IP4_CHECKSUM = 1 << 1, /* honours RTE_MBUF_F_TX_IP_CKSUM */
    NET_OFFLOAD_TX_TCP_CHECKSUM = 1 << 2, /* honours RTE_MBUF_F_TX_TCP_CKSUM */
    NET_OFFLOAD_TSO = 1 << 3,             /* honours RTE_MBUF_F_TX_TCP_SEG and chained mbufs */
    NET_OFFLOAD_RX_TRUSTED = 1 << 4,      /* frames come from memory of this host: no checksum is verified */
};

struct net_interface_config {
    uint8_t mac[6];
    uint16_t mtu;       /* bytes of IP packet; 1280..9000 */
    uint16_t port;      /* the caller's own number, not interpreted */
    uint16_t vlan;      /* 802.1Q id of all traffic, 0 for untagged */
    uint32_t offloads;  /* enum net_offload */
    uint32_t tso_bytes; /* largest TSO payload, with NET_OFFLOAD_TSO; at most 65,000 */
    unsigned address_count;
    /* IPv4 and IPv6 in any order; room for one more, the link-local address that the stack adds to IPv6 ones. */
    struct net_prefix addresses[NET_INTERFACE_ADDRESSES + 1];
    struct net_address gateway4; /* default gateway or NET_ADDRESS_ANY */
    struct net_address gateway6;
};

struct net_route_config {
    struct net_prefix prefix;
    struct net_address gateway; /* NET_ADDRESS_ANY: on link */
    unsigned interface;
};

enum net_congestion { NET_CONGESTION_CUBIC, NET_CONGESTION_NEWRENO };

enum net_ecn {
    NET_ECN_ACCEPT, /* when the peer asks for it */
    NET_ECN_NEVER,
    NET_ECN_ASK, /* in active opens too */
};

enum net_syn_cookies {
    NET_SYN_COOKIES_AUTO,  /* from the moment the backlog is full */
    NET_SYN_COOKIES_NEVER, /* a full backlog drops SYNs */
    NET_SYN_COOKIES_ALWAYS,
};

/*
 * Everything a stack is made from. Start with net_config_defaults(), which sets every limit and time below to the value
 * in brackets; interfaces, pool, wheel, seed, transmit and callbacks are the caller's to fill.
 */
struct net_config {
    unsigned worker;  /* which worker this stack belongs to: worker 0 alone answers ARP and neighbour solicitations */
    unsigned workers; /* [1] */
    uint64_t seed[2]; /* secret, random: initial sequence numbers, ports, table hashes, cookies */

    unsigned interface_count;
    struct net_interface_config interfaces[NET_INTERFACES];
    unsigned route_count;
    struct net_route_config routes[NET_ROUTES];

    struct rte_mempool *pool;  /* of everything the stack sends */
    struct timer_wheel *wheel; /* the worker's wheel */
    unsigned timer_kind;       /* first of the NET_TIMER_KINDS kinds that belong to the stack */
    bool prefault;             /* touch the tables at creation, so that no page fault happens later */

    uint32_t max_connections; /* [16,384] */
    uint32_t max_listeners;   /* [64] */
    uint32_t max_half_open;   /* [4,096] SYN backlog; cookies take over beyond it */
    uint32_t max_time_wait;   /* [16,384] the oldest record makes room */
    uint32_t max_neighbours;  /* [1,024] */
    uint32_t neighbour_queue; /* [16] packets waiting for one unresolved neighbour */
    uint32_t max_reassembly;  /* [64] IP packets being put together from fragments */
    uint32_t send_buffer;     /* [256 KiB] bytes queued and unacknowledged, per connection */
    uint32_t receive_buffer;  /* [256 KiB] bytes offered as receive window, per connection */
    /*
     * [half of the pool] buffers that connections may hold, in each direction. From half of that on, the receive window
     * of every connection shrinks with what is left; when it is reached, a connection that has unread bytes gets no
     * more (its peer sends again), while those that are read at once go on; and nothing more is queued for sending.
     */
    uint32_t max_held_buffers;
    uint32_t challenge_acks;        /* [1,000] per second and stack, +- half, RFC 5961 section 7 */
    uint32_t echo_replies;          /* [1,000] ICMP and ICMPv6, errors included, per second and stack */
    uint8_t address_probes;         /* [0] how often an address is asked for before it is used; 0: used at once */
    uint8_t hop_limit;              /* [64] of what is sent: IPv4's time to live, IPv6's hop limit */
    uint8_t dscp;                   /* [0] Diffserv code point of what is sent, unless tcp_set_dscp() says another */
    uint64_t delayed_ack_us;        /* [5 ms] */
    uint64_t rto_min_us;            /* [200 ms] */
    uint64_t keepalive_idle_us;     /* [2 h] 0: no keepalive */
    uint64_t keepalive_interval_us; /* [75 s] */
    unsigned keepalive_probes;      /* [9] */
    uint64_t time_wait_us;          /* [60 s] */
    uint64_t fin_wait_us;           /* [60 s] how long a closed connection waits for the peer's FIN */
    uint64_t user_timeout_us;       /* [180 s] data unacknowledged for this long ends the connection */
    bool user_timeout_option;       /* [false] RFC 5482: tell it to peers, and wait longer if they ask for it */
    uint64_t user_timeout_limit_us; /* [1 h] longest that a peer may ask for */
    unsigned syn_retries;           /* [7] active open: three minutes */
    unsigned syn_ack_retries;       /* [5] passive open */
    enum net_congestion congestion;
    enum net_syn_cookies syn_cookies;
    enum net_ecn ecn; /* [accept] RFC 3168 */

    /*
     * Steering. `rss_key` is the Toeplitz key that the port (or the software steering) uses. `flow_owner` says which
     * worker a frame with this hash is handled by; an active open tries source ports until the replies belong to
     * `worker`. NULL: one worker, or every worker may handle every flow.
     */
    uint8_t rss_key[NET_RSS_KEY_BYTES]; /* [the key of Microsoft's specification] */
    unsigned (*flow_owner)(void *arg, uint32_t hash);
    /* A packet put together from fragments belongs to another worker: hand it over, ownership included. NULL: keep it.
     */
    void (*redirect)(void *arg, unsigned worker, unsigned interface, struct rte_mbuf *mbuf);

    /*
     * Send complete frames. Returns how many were taken (and are freed by the port); the stack frees and counts the
     * rest. Called in bursts, mostly from net_output().
     */
    uint16_t (*transmit)(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count);
    /*
     * May connections send now? False: the port has not sent yet what it was given. Connections then stay touched, and
     * what is written to them meanwhile leaves in fewer segments; answers that belong to no connection go on. Asked in
     * net_output(), before anything is sent and after each burst. [NULL: always]
     */
    bool (*ready)(void *arg, unsigned interface);
    struct tcp_callbacks callbacks;
    void *arg; /* first argument of every callback above */
};

void net_config_defaults(struct net_config *config);

/*
 * NULL when the configuration is not usable or memory is missing; `*reason` then points to a sentence for the operator.
 * Sends gratuitous ARP and unsolicited neighbour advertisements with the first net_output().
 */
struct net_stack *net_stack_create(const struct net_config *config, uint64_t now, const char **reason);

/* Frees every mbuf and all memory. No callback is called, no packet is sent. */
void net_stack_destroy(struct net_stack *stack);

/* Frames of one interface, ownership included. Any count; 32 at a time is best. */
void net_input(struct net_stack *stack, unsigned interface, struct rte_mbuf **mbufs, unsigned count, uint64_t now);

/* Run the callbacks of every connection that has news. Events caused meanwhile wait for the next call. */
void net_deliver(struct net_stack *stack, uint64_t now);

/* Send for every touched connection whose port is ready, then hand all pending frames to `transmit`. */
void net_output(struct net_stack *stack, uint64_t now);

/* Fire due timers of the wheel given at creation; for callers that share the wheel with nobody. */
void net_advance(struct net_stack *stack, uint64_t now);

/* When the stack next needs attention without input: `now` or earlier if work is queued, else the wheel's next expiry.
 */
uint64_t net_next_deadline(const struct net_stack *stack);

/* ---- Steering: stateless apart from the key, callable from any thread. */

enum net_steer_kind {
    NET_STEER_FLOW, /* belongs to the worker that owns `hash` */
    NET_STEER_ALL,  /* every worker needs a copy: ARP, neighbour discovery */
    NET_STEER_ANY,  /* may be handled where it arrived: ICMP echo, other protocols (counted drops) */
};

/*
 * Classify a received frame. The hash is Toeplitz over addresses and ports of the frame as received (addresses only for
 * fragments and other protocols); m->hash.rss is taken instead when `hardware` and RTE_MBUF_F_RX_RSS_HASH is set. ICMP
 * errors hash as the flow they are about.
 */
enum net_steer_kind net_steer(const struct rte_mbuf *mbuf, const uint8_t key[NET_RSS_KEY_BYTES], bool hardware,
                              uint32_t *hash);

/* The hash with which packets from `flow->remote` to `flow->local` arrive. */
uint32_t net_flow_hash(const struct net_flow *flow, const uint8_t key[NET_RSS_KEY_BYTES]);

/* ---- Looking in. */

/* Counters: net_counters()[NET_COUNTER_x]; names, units and texts by expanding counters.def or from these arrays. */
enum net_counter {
#define NET_COUNTER(name, unit, help) NET_COUNTER_##name,
#include "lib/net/counters.def"
#undef NET_COUNTER
    NET_COUNTERS
};

struct net_counter_text {
    const char *name; /* snake case, as in counters.def */
    const char *unit;
    const char *help;
};

extern const struct net_counter_text net_counter_texts[NET_COUNTERS];

/* Plain 64-bit words written by the owning thread only; another thread may read them and sees each word whole. */
const uint64_t *net_counters(const struct net_stack *stack);

/* What exists right now. All zero after everything was closed and time has passed: tests hold the stack to it. */
struct net_census {
    uint64_t connections;
    uint64_t half_open;
    uint64_t time_wait;
    uint64_t moved; /* flows whose connection lives in another stack (tcp_move.h) */
    uint64_t listeners;
    uint64_t send_mbufs;         /* queued or unacknowledged */
    uint64_t receive_mbufs;      /* in order, not yet consumed */
    uint64_t out_of_order_mbufs; /* waiting for a hole to be filled */
    uint64_t neighbour_mbufs;    /* waiting for a neighbour's address */
    uint64_t reassembly_mbufs;   /* fragments */
    uint64_t transmit_mbufs;     /* in the transmit burst */
};

void net_census(const struct net_stack *stack, struct net_census *census);

/* Bytes of each structure, for the memory budget and `show runtime`. */
struct net_sizes {
    size_t connection;
    size_t half_open;
    size_t time_wait;
    size_t neighbour;
    size_t flow_slots_per_connection; /* share of the flow table */
    size_t moved_flow;                /* one for every connection given away; untouched memory until then */
};

void net_sizes(struct net_sizes *sizes);

#endif

/*
 * The inside of a stack: state shared by the files of lib/net. Private; owner: the stack's thread.
 *
 * Layers and who calls whom: input.c (frames in) -> ethernet.c -> ip4.c / ip6.c -> tcp_input.c / icmp.c downward-in;
 * tcp_output.c / icmp.c -> ip_header.h -> neighbour.c -> ethernet.c outward.
 */
#ifndef LIB_NET_STACK_H
#define LIB_NET_STACK_H

#include "lib/net/connection_queue.h"
#include "lib/net/flow_table.h"
#include "lib/net/net.h"

#include <rte_mbuf.h>

enum {
    NET_BURST = 64,
    NET_PREFETCH = 32,     /* frames parsed before the first is processed */
    NET_PREFETCH_NEAR = 8, /* segments between the look at a connection and its use */
    NET_DELIVER_AHEAD = 24,
    NET_OUTPUT_AHEAD = 8,
    NET_BUFFERS = 32,
    NET_BUFFERS_AHEAD = 8,
    NET_ETHERNET_MAX = 18,
    NET_FRAGMENT_HEADER6 = 8,
    NET_HOUSEKEEPING_US = 100 * 1000,
    MLD_REPORTS = 2, /* RFC 3810's robustness variable: how often a group is reported that was joined */
    NET_NONE = -1,
};

/* Empty buffers, to be used from the end. */
struct net_buffers {
    uint32_t count;
    struct rte_mbuf *mbufs[NET_BUFFERS];
};

struct net_interface {
    struct net_interface_config config;
    uint64_t mac_word; /* the six bytes as they stand at the start of a frame for us, as a word */
    uint16_t burst_count;
    uint8_t link_length;  /* 14, or 18 with a VLAN tag */
    bool held;            /* the port is not ready for more segments of connections */
    bool announce;        /* gratuitous ARP and unsolicited advertisements are due */
    uint8_t probes_left;  /* of own_address.c: questions to be asked before the addresses are used */
    uint32_t probe_at;    /* tick */
    uint16_t tentative;   /* addresses that wait for them, a bit each */
    uint16_t duplicate;   /* addresses that somebody else has */
    uint32_t defended_at; /* tick of the latest announcement that a conflict made; 0: none */
    uint8_t reports_left; /* of mld.c */
    uint32_t report_at;   /* tick */
    struct rte_mbuf *burst[NET_BURST];
};

struct net_route {
    uint64_t value[2], mask[2]; /* the prefix, as words that compare at once */
    struct net_address gateway;
    uint8_t interface;
    uint8_t bits; /* of the 128-bit form: the longest match wins */
    bool ip4;
};

enum neighbour_state { NEIGHBOUR_FREE, NEIGHBOUR_INCOMPLETE, NEIGHBOUR_REACHABLE, NEIGHBOUR_STALE, NEIGHBOUR_PROBE };

struct neighbour {
    struct net_address address;
    uint8_t mac[6];
    uint8_t state;
    uint8_t interface;
    uint32_t references;            /* connections that point here: not evicted while any does */
    uint32_t changed_at;            /* tick: confirmed, or probe sent */
    uint32_t used_at;               /* tick of the last packet */
    uint8_t link[NET_ETHERNET_MAX]; /* the Ethernet header of packets to it, once `mac` is known */
    uint8_t probes;
    uint8_t queue_head;
    uint8_t queue_count;
    uint32_t hash_next; /* index + 1 */
};

/* A connection between SYN and the ACK of the SYN-ACK: no buffers, no window, only what the handshake needs. */
struct tcp_half_open {
    struct net_flow flow;
    uint32_t hash;
    uint32_t remote_initial; /* IRS */
    uint32_t local_initial;  /* ISS */
    uint32_t timestamp_recent;
    uint16_t mss; /* the peer's */
    uint16_t listener;
    uint32_t neighbour;
    uint32_t created_at; /* tick */
    uint32_t next_free;
    uint8_t interface;
    uint8_t scale;
    uint8_t flags; /* HALF_OPEN_* */
    uint8_t retries;
    uint16_t user_timeout_s; /* that the peer advertised */
    uint32_t sent_at;        /* us, for the first round-trip sample */
    struct timer timer;
};

enum { HALF_OPEN_SCALED = 1, HALF_OPEN_SACK = 2, HALF_OPEN_TIMESTAMPS = 4, HALF_OPEN_ECN = 8, HALF_OPEN_RESENT = 16 };

struct tcp_time_wait {
    struct net_flow flow;
    uint32_t hash;
    uint32_t receive_next;
    uint32_t send_next;
    uint32_t timestamp_recent;
    uint32_t timestamp_offset;
    uint32_t expires_at; /* tick */
    uint32_t next;       /* index + 1; all live records by expiry, or the free list */
    uint32_t previous;
    uint32_t neighbour;
    uint8_t interface;
    uint8_t has_timestamps;
    uint16_t window; /* as last sent */
};

/* A connection that moved to another stack (tcp_move.c). */
struct tcp_moved_flow {
    struct net_flow flow;
    uint32_t hash;
    uint32_t worker;     /* where its segments go */
    uint32_t expires_at; /* tick; 0 while the connection lives */
    uint32_t next;       /* index + 1, of the free list */
    bool used;
};

struct tcp_listener {
    struct net_address address;
    uint16_t port;
    bool used;
    void *arg;
};

struct reassembly; /* reassembly.c */

/* A packet on its way up. `remote` is the sender, `local` the address it was sent to. */
struct net_packet {
    struct rte_mbuf *mbuf;
    struct net_flow flow;
    uint32_t hash;
    uint16_t network_offset;   /* of the IP header, from the start of the data */
    uint16_t transport_offset; /* of the TCP or ICMP header */
    uint16_t transport_length; /* bytes from there to the end of the packet */
    uint8_t interface;
    uint8_t protocol;
    uint8_t congestion;   /* the two ECN bits */
    uint16_t protocol_at; /* IPv6: where the header chain names `protocol`, from the IP header */
    bool reassembled;     /* steering could not know where its flow belongs */
    bool plain;           /* addresses not checked yet: a connection's are good, or it would not exist */
};

struct net_stack {
    struct net_config config;
    uint64_t now;
    uint32_t tick; /* timer tick of `now`, never 0 */
    uint64_t counters[NET_COUNTERS];

    struct flow_table flows;
    struct tcp_connection *connections;
    struct tcp_half_open *half_opens;
    struct tcp_time_wait *time_waits;
    struct tcp_listener *listeners;
    struct tcp_moved_flow *moved_flows; /* as many as connections */
    struct neighbour *neighbours;
    struct rte_mbuf **neighbour_queues; /* config.neighbour_queue per neighbour */
    uint32_t *neighbour_buckets;
    struct reassembly *reassemblies;

    uint32_t connection_free; /* index + 1; linked through next_free */
    uint32_t connection_high; /* connections ever used: the ones beyond are untouched memory */
    uint32_t half_open_free;
    uint32_t time_wait_free;
    uint32_t time_wait_high; /* TIME-WAIT records ever used */
    uint32_t moved_free;
    uint32_t moved_high;       /* moved flows ever used */
    uint32_t moved_cursor;     /* of the search for expired ones */
    uint32_t time_wait_oldest; /* index + 1 */
    uint32_t time_wait_newest;
    struct net_buffers buffers;
    struct connection_queue touched; /* have something to send */
    struct connection_queue due;     /* have callbacks to be called */

    struct net_census census;

    unsigned broadcast_count;
    uint32_t broadcasts[NET_INTERFACES * NET_INTERFACE_ADDRESSES]; /* of own_address.c, network byte order */
    unsigned route_count;
    struct net_route routes[NET_ROUTES + NET_INTERFACES * (NET_INTERFACE_ADDRESSES + 3)];
    struct timer housekeeping;
    uint32_t neighbour_mask;
    uint32_t neighbours_incomplete;
    uint32_t listener_count;
    uint32_t listener_high;  /* listeners ever used: a SYN looks at no more */
    uint32_t challenge_left; /* RFC 5961 section 7 */
    uint32_t echo_left;      /* RFC 4443 section 2.4 (f) */
    uint32_t echo_tick;
    uint32_t challenge_tick; /* when the budget was last filled */
    uint64_t port_counter;   /* RFC 6056 */
    uint64_t cookies_until;  /* ACKs may be cookies until then; 0: none was sent lately */
    uint16_t ip4_identifier;
    uint32_t receive_limit; /* receive_buffer, or less under pressure on the pool */
    bool held_full;         /* max_held_buffers are reached */
    uint8_t receive_scale;
    uint32_t rto_min_ticks;
    bool transmitting;

    void *arena; /* one mapping holds every table */
    size_t arena_length;
    struct net_interface interfaces[NET_INTERFACES];
};

#define COUNT(stack, name) ((stack)->counters[NET_COUNTER_##name]++)
#define COUNT_ADD(stack, name, n) ((stack)->counters[NET_COUNTER_##name] += (n))

/* Count the reason and free. */
#define DROP(stack, mbuf, name) (COUNT(stack, name), rte_pktmbuf_free(mbuf))

static inline void stack_set_now(struct net_stack *stack, uint64_t now)
{
    stack->now = now;
    stack->tick = (uint32_t)(now >> TIMER_TICK_SHIFT);
    stack->tick += stack->tick == 0;
}

/* A deadline `us` from now, never 0. */
static inline uint32_t stack_deadline(const struct net_stack *stack, uint64_t us)
{
    uint32_t tick = (uint32_t)timer_tick(stack->now + us);
    return tick + (tick == 0);
}

static inline uint32_t stack_time(const struct net_stack *stack)
{
    return (uint32_t)stack->now;
}

/* Make sure that the housekeeping timer runs: called whenever something is stored that only time removes. */
static inline void stack_need_housekeeping(struct net_stack *stack)
{
    if (!timer_pending(&stack->housekeeping))
        timer_set(stack->config.wheel, &stack->housekeeping, stack->now + NET_HOUSEKEEPING_US);
}

/* A buffer with room for every header; counts when there is none. */
bool stack_buffers_fill(struct net_stack *stack); /* false: the pool is empty */

/*
 * Buffers come from the pool a few dozen at a time. What is written first is asked for some buffers ahead: the last to
 * touch that memory was the port, or the CPU behind it, and headers are read again at once for their checksums.
 */
static inline void stack_mbuf_prefetch(struct rte_mbuf *mbuf)
{
    uint8_t *const data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    __builtin_prefetch(rte_mbuf_to_priv(mbuf), 1);
    __builtin_prefetch(data - 128, 1);
    __builtin_prefetch(data - 64, 1);
    __builtin_prefetch(data, 1);
}

static inline struct rte_mbuf *stack_mbuf(struct net_stack *stack)
{
    struct net_buffers *buffers = &stack->buffers;

    if (__builtin_expect(buffers->count == 0 && !stack_buffers_fill(stack), 0)) {
        COUNT(stack, drop_no_memory);
        return NULL;
    }
    if (buffers->count > NET_BUFFERS_AHEAD)
        stack_mbuf_prefetch(buffers->mbufs[buffers->count - 1 - NET_BUFFERS_AHEAD]);
    return buffers->mbufs[--buffers->count];
}

/* stack.c */
void stack_pressure_update(struct net_stack *stack);

/* ethernet.c */
bool ethernet_parse(struct net_stack *stack, struct net_packet *packet); /* false: consumed or dropped */
void ethernet_output(struct net_stack *stack, unsigned interface, struct rte_mbuf *mbuf, const uint8_t mac[6],
                     uint16_t type);
/* `link`: a header made by ethernet_header_write(). */
void ethernet_header_write(const struct net_interface *interface, uint8_t *link, const uint8_t mac[6], uint16_t type);
void ethernet_output_ready(struct net_stack *stack, unsigned interface, struct rte_mbuf *mbuf, const uint8_t *link);
void ethernet_flush(struct net_stack *stack, unsigned interface);

/* ip4.c, ip6.c: parse from network_offset; false: consumed or dropped. */
bool ip4_parse(struct net_stack *stack, struct net_packet *packet);
bool ip6_parse(struct net_stack *stack, struct net_packet *packet);
void ip6_protocol_unknown(struct net_stack *stack, struct net_packet *packet); /* answered and dropped */
/* Is the packet for us, and from somebody else? False: dropped with its reason. */
bool ip4_addresses_acceptable(struct net_stack *stack, const struct net_packet *packet);
bool ip6_addresses_acceptable(struct net_stack *stack, const struct net_packet *packet);
static inline bool net_addresses_acceptable(struct net_stack *stack, const struct net_packet *packet)
{
    return net_address_is_ip4(&packet->flow.local) ? ip4_addresses_acceptable(stack, packet)
                                                   : ip6_addresses_acceptable(stack, packet);
}
/* Prepend a header to `mbuf` (data starts at the transport header) and send it by `neighbour`. */
void ip_output(struct net_stack *stack, const struct net_flow *flow, uint8_t protocol, uint8_t congestion,
               uint32_t neighbour, struct rte_mbuf *mbuf);
/* The first `length` bytes of `chain`, copied, in fragments if they have to be. */
void ip_output_long(struct net_stack *stack, const struct net_flow *flow, uint8_t protocol, unsigned interface,
                    uint32_t neighbour, const struct rte_mbuf *chain, uint32_t length);
/* route.c */
bool route_table_build(struct net_stack *stack);
/* The next hop and interface for `destination`; NULL when there is none. A link-local one is sought on `link`. */
const struct net_route *route_find(const struct net_stack *stack, const struct net_address *destination, unsigned link);
/* Our address for packets to `destination` over `interface`; NULL: none of that family. */
const struct net_address *route_source(const struct net_stack *stack, unsigned interface,
                                       const struct net_address *destination);

/* own_address.c */
void own_addresses_begin(struct net_stack *stack); /* before the routes are built */
void own_addresses_announce(struct net_stack *stack);
bool own_addresses_housekeeping(struct net_stack *stack); /* true: call again */
/* Somebody else says that an address of ours is his; false: it is none of ours. */
bool own_address_claimed(struct net_stack *stack, unsigned interface, const struct net_address *address);
bool route_is_local(const struct net_stack *stack, const struct net_address *address);
bool interface_has_address(const struct net_stack *stack, unsigned interface, const struct net_address *address);
/* An address that one host can have: no group, broadcast, loopback or unspecified one. */
bool address_is_unicast(const struct net_stack *stack, const struct net_address *address);

/* neighbour.c: entries by (interface, address). Index, or NET_NONE with a counter. */
int neighbour_get(struct net_stack *stack, unsigned interface, const struct net_address *address);
/* The next hop on the way to `destination`. *interface: in, the link of a link-local one; out, the way's. */
int neighbour_toward(struct net_stack *stack, const struct net_address *destination, unsigned *interface);
/* An IP packet; waits in the queue while the hardware address is unknown. */
void neighbour_output(struct net_stack *stack, uint32_t neighbour, struct rte_mbuf *mbuf);
/* A neighbour told its hardware address, or (NULL) only that it is there. `how`: enum neighbour_how. */
enum neighbour_how {
    NEIGHBOUR_CREATE = 1,  /* make an entry if there is none */
    NEIGHBOUR_CONFIRM = 2, /* it answered us: the way works in both directions */
    NEIGHBOUR_REPLACE = 4, /* another address than the known one takes its place */
};
void neighbour_learn(struct net_stack *stack, unsigned interface, const struct net_address *address, const uint8_t *mac,
                     unsigned how);
/* Retransmissions get no answer: is it still there? (RFC 9293 section 3.8.3, R1) */
void neighbour_doubt(struct net_stack *stack, uint32_t neighbour);
/* Data was acknowledged by way of it: it works (RFC 4861 section 7.3.1), nobody needs to ask. */
/* REQ RFC4861 7.3.1: new data acknowledged [test: net_script/progress_confirms_a_neighbour] */
static inline void neighbour_confirm(struct net_stack *stack, uint32_t neighbour)
{
    struct neighbour *entry = &stack->neighbours[neighbour];

    if (entry->state == NEIGHBOUR_PROBE) {
        entry->state = NEIGHBOUR_REACHABLE;
        entry->probes = 0;
        stack->neighbours_incomplete--;
    }
    if (entry->state == NEIGHBOUR_REACHABLE)
        entry->changed_at = stack->tick;
}
void neighbour_housekeeping(struct net_stack *stack);
void neighbour_destroy(struct net_stack *stack);

/* arp.c, ndp.c */
void arp_input(struct net_stack *stack, struct net_packet *packet);
void arp_request(struct net_stack *stack, unsigned interface, const struct net_address *target, const uint8_t *mac);
void arp_announce(struct net_stack *stack, unsigned interface, const struct net_address *address);
void arp_probe(struct net_stack *stack, unsigned interface, const struct net_address *address);
void ndp_input(struct net_stack *stack, struct net_packet *packet);
void ndp_solicit(struct net_stack *stack, unsigned interface, const struct net_address *target, const uint8_t *mac);
void ndp_announce(struct net_stack *stack, unsigned interface, const struct net_address *address);
void ndp_probe(struct net_stack *stack, unsigned interface, const struct net_address *address);

/* mld.c */
void mld_announce(struct net_stack *stack, unsigned interface);
bool mld_housekeeping(struct net_stack *stack); /* true: call again */
void mld_query_input(struct net_stack *stack, struct net_packet *packet);

/* icmp.c */
void icmp4_input(struct net_stack *stack, struct net_packet *packet);
void icmp6_input(struct net_stack *stack, struct net_packet *packet);
/* An error about `packet`, quoting it; no more than the budget allows, and never where the standards forbid one. */
void icmp4_error_send(struct net_stack *stack, const struct net_packet *packet, uint8_t type, uint8_t code);
void icmp6_error_send(struct net_stack *stack, const struct net_packet *packet, uint8_t type, uint8_t code,
                      uint32_t pointer);

/* reassembly.c: takes the fragment, whose headers end at `transport_offset`; returns true with `packet` complete. */
struct net_fragment {
    uint32_t identifier;
    uint32_t start; /* bytes of payload before it */
    bool more;
};
bool reassembly_input(struct net_stack *stack, struct net_packet *packet, const struct net_fragment *fragment);
size_t reassembly_bytes(uint32_t count);
void reassembly_housekeeping(struct net_stack *stack);
void reassembly_destroy(struct net_stack *stack);

#endif

/*
 * TCP's own files among themselves. Private to lib/net; owner: the stack's thread.
 *
 *   tcp_input.c    a segment against the state machine (RFC 9293 section 3.10.7)
 *   tcp_receive.c  payload: in-order queue, out-of-order queue, window
 *   tcp_ack.c      acknowledgements: scoreboard, round-trip time, loss detection (RACK), recovery (PRR)
 *   tcp_output.c   segments out: what to send, headers, retransmission
 *   tcp_timer.c    the one timer of a connection
 *   tcp_listen.c   listeners, half-open records; tcp_cookie.c SYN cookies; tcp_time_wait.c
 *   tcp_user.c     the calls of tcp.h
 *   cong_*.c       congestion control
 */
#ifndef LIB_NET_TCP_INTERNAL_H
#define LIB_NET_TCP_INTERNAL_H

#include "lib/net/stack.h"
#include "lib/net/tcp_options.h"
#include "lib/net/tcp_sequence.h"

#include <rte_byteorder.h>
#include <rte_tcp.h>

enum {
    TCP_MSS_DEFAULT4 = 536, /* RFC 9293 MUST-15 */
    TCP_MSS_DEFAULT6 = 1220,
    TCP_MSS_MINIMUM = 88, /* below that a peer makes us pay more for headers than for data */
    TCP_RTO_INITIAL_US = 1000 * 1000,
    TCP_RTO_SYN_LOST_US = 3 * 1000 * 1000, /* for data, after a SYN that had to be sent again */
    TCP_RTO_MAX_US = 60 * 1000 * 1000,
    TCP_MAX_ACK_DELAY_US = 200 * 1000, /* worst delayed ACK of a peer (RFC 8985 section 7.2) */
    TCP_QUICK_ACKS = 8,
    TCP_R1 = 3, /* retransmissions of a segment before the neighbour is doubted (RFC 9293 section 3.8.3) */
    TCP_USER_TIMEOUT_LOW = 100, /* seconds: no peer brings the user timeout below (RFC 5482 section 3.1) */
    TCP_PATH_MTU_MINIMUM4 =
        552, /* no lower, whatever an ICMP message says: small segments are an attack of their own */
    TCP_PATH_MTU_MINIMUM6 = 1280,
    TCP_BLACK_HOLE_TIMEOUTS = 2, /* retransmission timeouts in a row before smaller packets are tried */
    TCP_HEADERS_MAX = NET_ETHERNET_MAX + 40 + 60,
    TCP_COALESCE_BYTES = 512, /* payloads up to this are copied together when the application reads slowly */
    TCP_COALESCE_AFTER = 4,   /* mbufs already waiting */
};

/* Three days: the furthest a 32-bit tick can be told from the past, well below the 24 days of RFC 7323 section 5.5. */
#define TCP_KEEPALIVE_IDLE_US (UINT64_C(7200) * 1000 * 1000) /* RFC 9293 MUST-28 */
#define TCP_LONG_IDLE_US (UINT64_C(3) * 86400 * 1000 * 1000)

_Static_assert(TCP_HEADERS_MAX <= RTE_PKTMBUF_HEADROOM, "headers are written in front of the payload");

/* A segment being processed. */
struct tcp_input {
    struct net_packet *packet;
    uint32_t sequence;
    uint32_t ack;
    uint32_t window; /* scaled, once the connection is known */
    uint16_t raw_window;
    uint16_t length; /* payload */
    uint16_t header; /* bytes of TCP header */
    uint8_t flags;   /* RTE_TCP_*_FLAG */
    struct tcp_options options;
};

static inline struct rte_mbuf *segment_mbuf(const struct tcp_segment *segment)
{
    return (struct rte_mbuf *)(uintptr_t)segment - 1;
}

static inline struct tcp_segment *mbuf_segment(struct rte_mbuf *mbuf)
{
    return (struct tcp_segment *)(mbuf + 1);
}

/* Sequence numbers a segment takes. */
static inline uint32_t segment_span(const struct tcp_segment *segment)
{
    return segment->length + (uint32_t)(segment->flags & TCP_SEGMENT_FIN);
}

static inline uint32_t segment_end(const struct tcp_segment *segment)
{
    return segment->sequence + segment_span(segment);
}

static inline uint32_t connection_index_in(const struct net_stack *stack, const struct tcp_connection *c)
{
    return (uint32_t)(c - stack->connections);
}

static inline uint32_t connection_index(const struct tcp_connection *c)
{
    return connection_index_in(c->stack, c);
}

/* RFC 6675 "pipe", in bytes: what is thought to be in the network. */
/* REQ RFC6675 4-1: neither SACKed nor lost [test: net_script/sack_two_holes_and_partial_ack] */
static inline uint32_t tcp_in_flight(const struct tcp_connection *c)
{
    uint32_t outstanding = c->send_next - c->send_unacked;
    uint32_t gone = c->sacked_bytes + c->lost_bytes;

    if (!(c->flags & TCP_FLAG_SACK)) /* each duplicate ACK says that one segment left the network (RFC 6582) */
        gone += (uint32_t)c->duplicate_acks * c->send_mss;
    return outstanding > gone ? outstanding - gone : 0;
}

/* TSval: ticks of 1.024 ms, so that no division is needed, with an offset per connection (RFC 7323 section 5.4 asks 1
 * ms..1 s). */
/* REQ RFC7323 5.4-1: 1,024 us of a monotonic clock [test: net_script/timestamp_clock] */
static inline uint32_t tcp_timestamp(const struct net_stack *stack, uint32_t offset)
{
    return (uint32_t)(stack->now >> 10) + offset;
}

static inline bool tcp_can_send_data(const struct tcp_connection *c)
{
    return c->state == TCP_STATE_ESTABLISHED || c->state == TCP_STATE_CLOSE_WAIT;
}

/* Has the peer's FIN not been seen yet? */
static inline bool tcp_can_receive(const struct tcp_connection *c)
{
    return c->state == TCP_STATE_ESTABLISHED || c->state == TCP_STATE_FIN_WAIT_1 || c->state == TCP_STATE_FIN_WAIT_2;
}

static inline void connection_prefetch(const struct tcp_connection *c)
{
    for (unsigned line = 0; line < sizeof *c; line += 64)
        rte_prefetch0((const uint8_t *)c + line);
}

/* Queues of stack.c. */
void tcp_deliver_later(struct tcp_connection *c, uint32_t event);
static inline void tcp_touch_inline(struct tcp_connection *c)
{
    if (!(c->flags & TCP_FLAG_TOUCHED))
        tcp_touch(c);
}

/* tcp_connection.c: life. */
struct tcp_connection *connection_create(struct net_stack *stack, const struct net_flow *flow, uint32_t hash,
                                         unsigned interface, uint32_t neighbour);
/* Everything a SYN or SYN-ACK of the peer decides: MSS, scaling, timestamps, SACK. */
void connection_negotiate(struct tcp_connection *c, uint16_t peer_mss, bool scaled, uint8_t scale, bool timestamps,
                          bool sack);
/* Payload of a full segment for a peer that offered `mss`, by path MTU and buffers; the timestamp deducted. */
uint32_t tcp_path_mss(const struct tcp_connection *c, uint32_t mss);
/* Both SYNs are acknowledged: windows, congestion window, keepalive. */
void connection_establish(struct tcp_connection *c);
/* No segment belongs to it any more; `closed` follows in net_deliver(). */
void connection_end(struct tcp_connection *c, enum tcp_close_reason reason);
/* Both directions are finished; bytes the application has not read yet stay readable until it has. */
void connection_finish(struct tcp_connection *c);
void connection_free(struct tcp_connection *c);
void connection_release_buffers(struct tcp_connection *c);
/* To be told by the `troubled` callback, if there is one. */
void connection_trouble(struct tcp_connection *c, enum tcp_trouble trouble);
uint32_t tcp_initial_sequence(const struct net_stack *stack, const struct net_flow *flow);
uint32_t tcp_timestamp_offset(const struct net_stack *stack, const struct net_flow *flow);
uint32_t tcp_local_mss(const struct net_stack *stack, const struct net_flow *flow, unsigned interface);

/* tcp_input.c */
void tcp_input(struct net_stack *stack, struct net_packet *packet);
/* The reference of the record that stands for the flow, whatever its kind; 0: none. */
uint32_t tcp_flow_find(const struct net_stack *stack, const struct net_flow *flow, uint32_t hash);
bool tcp_parse(struct net_stack *stack, struct net_packet *packet);
void tcp_input_connection(struct tcp_connection *c, struct tcp_input *in);
void tcp_input_options(struct net_stack *stack, struct tcp_input *in);
bool tcp_challenge_allowed(struct net_stack *stack);

/* What can be offered at most: without window scaling 64 KiB, whatever the buffer. */
static inline uint32_t tcp_receive_limit(const struct tcp_connection *c)
{
    uint32_t buffer = c->stack->receive_limit, limit = 65535u << c->receive_scale;

    return buffer < limit ? buffer : limit;
}

/* tcp_receive.c */
/* The next bytes in order: counted, queued or copied behind the last ones. */
void tcp_receive_in_order(struct tcp_connection *c, struct tcp_segment *segment);

static inline void tcp_queue_append(struct tcp_connection *c, struct tcp_segment *segment)
{
    segment->next = NULL;
    if (c->receive_head)
        c->receive_tail->next = segment;
    else
        c->receive_head = segment;
    c->receive_tail = segment;
    c->receive_count++;
    c->stack->census.receive_mbufs++;
}

/*
 * A segment after a pause longer than ACKs are delayed: a second one to share its ACK is not to be expected. An ACK at
 * once is no more packets then, and saves a timer for each segment of a peer that sends now and then.
 */
static inline void tcp_heard(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;

    if (stack->tick - c->received_at > stack->config.delayed_ack_us >> TIMER_TICK_SHIFT && !c->quick_acks)
        c->quick_acks = 1;
    c->received_at = stack->tick;
}

/* How soon the peer must hear of `length` new bytes (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2). */
/* REQ RFC5681 4.2-3, 4.2-5: every second full segment, once [test: net_script/ack_every_second] */
static inline void tcp_schedule_ack(struct tcp_connection *c, uint32_t length)
{
    if (length > c->receive_mss)
        c->receive_mss = (uint16_t)(length < 9000 ? length : 9000);
    c->flags |= TCP_FLAG_ACK_DELAYED;
    if (c->quick_acks) {
        c->quick_acks--;
        c->flags |= TCP_FLAG_ACK_NOW;
    } else if (c->receive_next - c->ack_sent >= 2u * c->receive_mss) {
        /* REQ RFC9293 SHLD-19: at least every second full segment [test: net_script/ack_every_second] */
        c->flags |= TCP_FLAG_ACK_NOW;
    }
    tcp_touch_inline(c);
}
bool tcp_receive_payload(struct tcp_connection *c,
                         struct tcp_input *in);        /* takes the mbuf; true: FIN is next in order */
uint16_t tcp_receive_window(struct tcp_connection *c); /* the field to send; moves receive_edge */
unsigned tcp_sack_blocks(const struct tcp_connection *c, struct tcp_sack_block *blocks, unsigned count);

/* tcp_ack.c */
void tcp_acknowledge(struct tcp_connection *c, const struct tcp_input *in);
void tcp_mark_all_lost(struct tcp_connection *c);
void tcp_mark_lost(struct tcp_connection *c, struct tcp_segment *segment);
void tcp_detect_loss(struct tcp_connection *c);
void tcp_enter_recovery(struct tcp_connection *c);
void segment_ring_push(struct tcp_segment **ring, struct tcp_segment *segment);
void segment_ring_remove(struct tcp_segment **ring, struct tcp_segment *segment);
/* `acked` bytes are newly acknowledged and nothing is being recovered; `rtt`: a sample in us, or 0. */
void tcp_grow_window(struct tcp_connection *c, uint32_t acked, uint32_t rtt);
void tcp_tell_writable(struct tcp_connection *c);

/* REQ RFC6298 2.3, 3-2: every ACK of new data [test: net_script/later_samples] */
/* REQ RFC8985 6.2-1: the least of all [test: net_script/later_samples] */
/* REQ RFC9293 MUST-18: of what was sent once [test: net_script/retransmission_gives_no_sample] */
static inline void tcp_rtt_sample(struct tcp_connection *c, uint32_t rtt)
{
    rtt += rtt == 0;
    if (rtt > TCP_RTO_MAX_US)
        rtt = TCP_RTO_MAX_US;
    if (c->rtt_minimum == 0 || rtt < c->rtt_minimum)
        c->rtt_minimum = rtt;
    /* REQ RFC6298 2.2: the first sample [test: net_script/first_sample] */
    if (c->smoothed_rtt == 0) {
        c->smoothed_rtt = rtt << 3;
        c->rtt_variance = rtt << 1;
        return;
    }
    int32_t error = (int32_t)(rtt - (c->smoothed_rtt >> 3));
    c->smoothed_rtt = (uint32_t)((int32_t)c->smoothed_rtt + error);
    c->rtt_variance += (uint32_t)(error < 0 ? -error : error) - (c->rtt_variance >> 2);
}

/* tcp_fast.c: header prediction. False: nothing was done, the segment is for tcp_input.c. */
bool tcp_fast_input(struct tcp_connection *c, struct net_packet *packet);

/* tcp_header.c */
struct tcp_outgoing {
    struct rte_mbuf *mbuf; /* data_len and pkt_len are the payload's */
    const struct tcp_sack_block *sack;
    uint32_t sequence;
    uint16_t gso_size; /* 0: one segment */
    uint8_t flags;
    uint8_t sack_count;
    bool congestible; /* new data: routers may mark it instead of dropping it, where ECN is in force */
};
void tcp_transmit(struct tcp_connection *c, const struct tcp_outgoing *out);

/* tcp_output.c */
void tcp_output(struct tcp_connection *c);
void tcp_send_ack(struct tcp_connection *c);
/* As an ACK, with a D-SACK block in front (RFC 2883). */
void tcp_send_duplicate_ack(struct tcp_connection *c, uint32_t start, uint32_t end);
void tcp_send_syn(struct tcp_connection *c);
void tcp_send_reset(struct tcp_connection *c);
/* RST in answer to a segment that belongs to nothing (RFC 9293 section 3.10.7.1). */
void tcp_reset_segment(struct net_stack *stack, const struct tcp_input *in);
/* A segment without payload for a record that is no connection. */
struct tcp_bare {
    const struct net_flow *flow;
    uint32_t neighbour;
    uint32_t sequence;
    uint32_t ack;
    uint16_t window;
    uint8_t interface;
    uint8_t flags;
    const uint8_t *options;
    size_t options_length;
};
void tcp_send_bare(struct net_stack *stack, const struct tcp_bare *bare);
bool tcp_retransmit_segment(struct tcp_connection *c, struct tcp_segment *segment);
bool tcp_segment_split(struct tcp_connection *c, struct tcp_segment *segment, uint16_t length);
void tcp_seal_tail(struct tcp_connection *c);
void tcp_queue_fin(struct tcp_connection *c);
bool tcp_send_probe(struct tcp_connection *c);
void segment_free(struct tcp_connection *c, struct tcp_segment *segment);

/* tcp_icmp.c */
enum tcp_icmp_kind { TCP_ICMP_SOFT, TCP_ICMP_HARD, TCP_ICMP_TOO_BIG };
struct tcp_icmp {
    struct net_flow flow; /* of the packet that the error quotes, seen from here */
    uint32_t sequence;
    uint32_t mtu; /* of TOO_BIG: what the router names, 0 if it does not */
    uint32_t quoted_length;
    enum tcp_icmp_kind kind;
};
void tcp_icmp_input(struct net_stack *stack, const struct tcp_icmp *error);
/* After a retransmission timeout. */
void tcp_black_hole_check(struct tcp_connection *c);

/* tcp_timer.c */
uint32_t tcp_rto(const struct tcp_connection *c);
/* RFC 5482: what SYNs advertise, 0 where the option is not enabled; and what the peer advertised. */
uint16_t tcp_advertised_timeout(const struct net_stack *stack);
void tcp_timeout_received(struct tcp_connection *c, uint16_t seconds);
void tcp_keepalive_restart(struct tcp_connection *c);
/* An ACK that belongs to no data; `sequence` and further options are the caller's. */
void tcp_send_special(struct tcp_connection *c, uint32_t sequence, const uint8_t *options, size_t length);
void tcp_timer_arm(struct tcp_connection *c);
void tcp_set_retransmit(struct tcp_connection *c); /* choose and set the retransmission deadline */
void tcp_timer_handler(void *arg, struct timer *timer, uint64_t now);

/* tcp_listen.c */
/* `floor`: the initial sequence number must be after it, when it is not 0 (TIME-WAIT reuse). */
void tcp_listen_input(struct net_stack *stack, struct tcp_input *in, uint32_t floor);
void half_open_input(struct net_stack *stack, struct tcp_half_open *half, struct tcp_input *in);
void half_open_timer_handler(void *arg, struct timer *timer, uint64_t now);
void half_open_free(struct net_stack *stack, struct tcp_half_open *half);
struct tcp_connection *tcp_accept(struct net_stack *stack, const struct tcp_half_open *half, struct tcp_input *in);

/* tcp_cookie.c */
bool tcp_cookie_wanted(const struct net_stack *stack);
uint32_t tcp_cookie_make(struct net_stack *stack, const struct net_flow *flow, struct tcp_half_open *half,
                         uint32_t *timestamp);
bool tcp_cookie_check(struct net_stack *stack, const struct tcp_input *in, struct tcp_half_open *half);

/* tcp_time_wait.c */
void time_wait_enter(struct tcp_connection *c);
void time_wait_input(struct net_stack *stack, struct tcp_time_wait *record, struct tcp_input *in);
void time_wait_housekeeping(struct net_stack *stack);

void time_wait_free(struct net_stack *stack, struct tcp_time_wait *record);

/* tcp_move.c */
/* Does steering bring the flow's segments to this worker? */
bool tcp_flow_is_ours(const struct net_stack *stack, const struct net_flow *flow);
void moved_input(struct net_stack *stack, struct tcp_moved_flow *record, struct tcp_input *in);
void moved_housekeeping(struct net_stack *stack);

/* Congestion control: what differs between algorithms; slow start and recovery are common (tcp_ack.c). */
struct congestion {
    const char *name;
    void (*start)(struct tcp_connection *c);
    /* A loss event: returns the new slow start threshold. */
    uint32_t (*reduce)(struct tcp_connection *c);
    /* `bytes` newly acknowledged in congestion avoidance, limited by the window: grow it. */
    void (*grow)(struct tcp_connection *c, uint32_t bytes);
    /* A reduction turned out wrong: the window is back at its old size. */
    void (*undo)(struct tcp_connection *c);
};
extern const struct congestion congestion_newreno, congestion_cubic;
const struct congestion *congestion_of(const struct tcp_connection *c);
uint32_t congestion_initial_window(const struct tcp_connection *c);

#endif

/*
 * TCP segments out: what may be sent now, headers, retransmission, probes. Private to lib/net (tcp_internal.h).
 *
 * Headers: tcp_header.c. The payload of a segment lies in its own mbuf from the moment the application writes it;
 * sending writes headers in front of it and raises the reference count for the port. While the port holds a reference
 * the mbuf is not modified: a retransmission in that time sends a copy.
 */
#include "lib/net/tcp_internal.h"

/* ---- Segments without payload. */

static unsigned sack_room(const struct tcp_connection *c, uint32_t payload)
{
    uint32_t options = TCP_OPTIONS_MAX - (c->flags & TCP_FLAG_TIMESTAMPS ? TCP_TIMESTAMP_BYTES : 0u);
    uint32_t room = c->send_mss > payload ? c->send_mss - payload : 0;

    if (!c->out_of_order || !(c->flags & TCP_FLAG_SACK))
        return 0;
    if (room > options)
        room = options;
    return room >= 12 ? (room - 4) / 8 : 0;
}

/* REQ RFC2018 3-1: to who permitted it [test: net_script/options_only_when_agreed] */
/* REQ RFC2018 3-2: with every ACK while something is missing [test: net_script/out_of_order_acked] */
/* REQ RFC2883 4-2: blocks follow the duplicate [test: net_script/blocks_follow_a_duplicate] */
static void send_empty(struct tcp_connection *c, uint32_t sequence, uint8_t flags,
                       const struct tcp_sack_block *duplicate)
{
    struct tcp_sack_block sack[TCP_SACK_BLOCKS];
    struct tcp_outgoing out = {.mbuf = stack_mbuf(c->stack), .sequence = sequence, .flags = flags, .sack = sack};
    unsigned room = c->flags & TCP_FLAG_TIMESTAMPS ? 3 : TCP_SACK_BLOCKS;

    if (!out.mbuf) { /* no memory: owe it, the timer tries again */
        c->flags |= TCP_FLAG_ACK_DELAYED;
        return;
    }
    if (c->flags & TCP_FLAG_SACK) {
        if (duplicate)
            sack[out.sack_count++] = *duplicate;
        out.sack_count = (uint8_t)(out.sack_count + tcp_sack_blocks(c, sack + out.sack_count, room - out.sack_count));
    }
    tcp_transmit(c, &out);
}

/* Our SYN of a simultaneous open is sent and not acknowledged; send_next moves when it is. */
static uint32_t next_sequence(const struct tcp_connection *c)
{
    return c->send_next + (c->state == TCP_STATE_SYN_RECEIVED);
}

/*
 * Of a segment without payload. What was sent beyond the peer's window, a probe or before the window shrank, does not
 * count: with a number beyond its window the peer would drop the segment, and the acknowledgement with it.
 */
static uint32_t acceptable_sequence(const struct tcp_connection *c)
{
    const uint32_t next = next_sequence(c), edge = c->send_unacked + c->send_window;

    return c->state >= TCP_STATE_ESTABLISHED && sequence_after(next, edge) ? edge : next;
}

void tcp_send_ack(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_acks_sent);
    send_empty(c, acceptable_sequence(c), RTE_TCP_ACK_FLAG, NULL);
}

void tcp_send_duplicate_ack(struct tcp_connection *c, uint32_t start, uint32_t end)
{
    struct tcp_sack_block block = {start, end};

    COUNT(c->stack, tcp_acks_sent);
    send_empty(c, acceptable_sequence(c), RTE_TCP_ACK_FLAG, &block);
}

void tcp_send_reset(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_resets_sent);
    send_empty(c, acceptable_sequence(c), RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, NULL);
}

void tcp_reset_segment(struct net_stack *stack, const struct tcp_input *in)
{
    struct tcp_bare bare = {.flow = &in->packet->flow, .flags = RTE_TCP_RST_FLAG};
    unsigned interface = in->packet->interface;
    int neighbour;

    if (in->flags & RTE_TCP_RST_FLAG)
        return;
    neighbour = neighbour_toward(stack, &in->packet->flow.remote, &interface);
    if (neighbour == NET_NONE)
        return;
    bare.neighbour = (uint32_t)neighbour;
    bare.interface = (uint8_t)interface;
    if (in->flags & RTE_TCP_ACK_FLAG) {
        bare.sequence = in->ack;
    } else {
        bare.flags |= RTE_TCP_ACK_FLAG;
        bare.ack = in->sequence + in->length + !!(in->flags & RTE_TCP_SYN_FLAG) + !!(in->flags & RTE_TCP_FIN_FLAG);
    }
    COUNT(stack, tcp_resets_sent);
    COUNT(stack, tcp_resets_unexpected);
    tcp_send_bare(stack, &bare);
}

/* REQ RFC3168 6.1.1-3: a repeated SYN asks no more [test: net_script/ecn_is_asked_for_once] */
/* REQ RFC9293 SHLD-8: answered always, asked for on request [test: net_script/ecn_reduces_once_per_window] */
static uint8_t syn_ecn_flags(const struct tcp_connection *c, bool answer)
{
    if (answer)
        return c->flags & TCP_FLAG_ECN ? RTE_TCP_ECE_FLAG : 0;
    return c->stack->config.ecn == NET_ECN_ASK && c->probes == 0 ? RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG : 0;
}

/* SYN of an active open; SYN-ACK of a simultaneous one. */
/* REQ RFC9293 MUST-14: MSS is sent with every SYN [test: net_script/active_open] */
/* REQ RFC9293 SHLD-5, MAY-3: MSS goes always [test: net_script/active_open] */
/* REQ RFC2018 2: SACK-permitted in a SYN [test: net_script/active_open] */
void tcp_send_syn(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    bool answer = c->state == TCP_STATE_SYN_RECEIVED;
    uint32_t window = stack->config.receive_buffer;
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct tcp_options options = {
        .mss = (uint16_t)tcp_local_mss(stack, &c->flow, c->interface),
        .has_scale = !answer || (c->flags & TCP_FLAG_SCALED),
        .scale = stack->receive_scale,
        .sack_permitted = !answer || (c->flags & TCP_FLAG_SACK),
        .has_timestamp = !answer || (c->flags & TCP_FLAG_TIMESTAMPS),
        .timestamp = tcp_timestamp(stack, c->timestamp_offset),
        .timestamp_echo = answer ? c->timestamp_recent : 0,
        .user_timeout_s = tcp_advertised_timeout(stack),
    };
    struct tcp_bare bare = {
        .flow = &c->flow,
        .neighbour = c->neighbour,
        .sequence = c->send_unacked,
        .ack = answer ? c->receive_next : 0,
        /* REQ RFC7323 2.2-2: a SYN's window is not scaled [test: net_script/syn_window_not_scaled] */
        .window = (uint16_t)(window > 65535 ? 65535 : window),
        .interface = c->interface,
        .flags = (uint8_t)(RTE_TCP_SYN_FLAG | (answer ? RTE_TCP_ACK_FLAG : 0) | syn_ecn_flags(c, answer)),
        .options = bytes,
    };

    bare.options_length = tcp_options_write_syn(bytes, &options);
    tcp_send_bare(stack, &bare);
}

/* ---- Segments of the send queue. */

void segment_free(struct tcp_connection *c, struct tcp_segment *segment)
{
    c->send_segments--;
    c->stack->census.send_mbufs--;
    rte_pktmbuf_free_seg(segment_mbuf(segment));
}

/* The unsent tail grows by tail_write alone; before anything looks at it its length is brought up to date. */
void tcp_seal_tail(struct tcp_connection *c)
{
    if (c->tail_write)
        c->send_tail->length = (uint16_t)(c->tail_write - c->send_tail->data);
}

/* REQ RFC9293 SHLD-27: one PSH for the queue [test: net_script/push_on_last] */
static uint8_t segment_flags(const struct tcp_segment *segment)
{
    uint8_t flags = RTE_TCP_ACK_FLAG;

    if (segment->flags & TCP_SEGMENT_FIN)
        flags |= RTE_TCP_FIN_FLAG;
    if (segment->length && !(segment->next && segment->next->length))
        flags |=
            /* REQ RFC9293 MUST-61: PSH with the last of the queue [test: net_script/push_on_last] */
            RTE_TCP_PSH_FLAG;
    return flags;
}

static void segment_transmit(struct tcp_connection *c, struct tcp_segment *segment, struct rte_mbuf *mbuf)
{
    struct tcp_sack_block sack[TCP_SACK_BLOCKS];
    struct tcp_outgoing out = {
        .mbuf = mbuf, .sequence = segment->sequence, .flags = segment_flags(segment), .sack = sack};

    mbuf->data_len = segment->length;
    mbuf->pkt_len = segment->length;
    mbuf->next = NULL;
    mbuf->nb_segs = 1;
    if (__builtin_expect(c->out_of_order != NULL, 0))
        out.sack_count = (uint8_t)tcp_sack_blocks(c, sack, sack_room(c, segment->length));
    /* REQ RFC3168 6.1.5, 6.1.6: nothing repeated, no window probe [test: net_script/ecn_marks_new_data] */
    out.congestible = !(segment->flags & TCP_SEGMENT_RETRANSMITTED) && c->send_window != 0;
    tcp_transmit(c, &out);
}

/* The segment's own mbuf, shared with the port from now on. */
static struct rte_mbuf *segment_share(struct tcp_segment *segment)
{
    struct rte_mbuf *mbuf = segment_mbuf(segment);

    mbuf->data_off = (uint16_t)(segment->data - (uint8_t *)mbuf->buf_addr);
    rte_mbuf_refcnt_update(mbuf, 1);
    return mbuf;
}

/* REQ RFC8985 4-2, 6.1: times in microseconds [test: net_script/loss_of_a_retransmission] */
static void segment_sent(struct tcp_connection *c, struct tcp_segment *segment)
{
    segment->sent_at = stack_time(c->stack);
    segment->delivered = c->delivered;
    if (segment->transmissions < UINT8_MAX)
        segment->transmissions++;
    segment_ring_push(&c->in_flight, segment);
    c->prr_out += segment_span(segment);
}

static void segment_sent_first(struct tcp_connection *c, struct tcp_segment *segment)
{
    if (c->send_next == c->send_unacked)
        c->progress_at = c->stack->tick;
    segment->flags |= TCP_SEGMENT_SENT;
    c->send_unsent = segment->next;
    if (segment == c->send_tail) {
        c->tail_write = NULL;
        c->tail_room = 0;
    }
    if (segment->flags & TCP_SEGMENT_FIN)
        c->flags |= TCP_FLAG_FIN_SENT;
    c->send_next = segment_end(segment);
    COUNT_ADD(c->stack, tcp_bytes_sent, segment->length);
    segment_sent(c, segment);
}

static void segment_send_new(struct tcp_connection *c, struct tcp_segment *segment)
{
    segment_transmit(c, segment, segment_share(segment));
    segment_sent_first(c, segment);
}

static struct rte_mbuf *segment_copy(struct tcp_connection *c, const struct tcp_segment *segment)
{
    struct rte_mbuf *copy = stack_mbuf(c->stack);

    if (copy) {
        COUNT(c->stack, tcp_retransmit_copies);
        memcpy(rte_pktmbuf_mtod(copy, void *), segment->data, segment->length);
    }
    return copy;
}

/* REQ RFC9293 MAY-7: beyond a moved edge too [test: net_script/retransmits_beyond_a_moved_edge] */
bool tcp_retransmit_segment(struct tcp_connection *c, struct tcp_segment *segment)
{
    bool held = rte_mbuf_refcnt_read(segment_mbuf(segment)) > 1;
    struct rte_mbuf *mbuf = held ? segment_copy(c, segment) : segment_share(segment);

    if (!mbuf)
        return false;
    if (c->flags & TCP_FLAG_UNDO && c->undo_timestamp == 0)
        c->undo_timestamp = tcp_timestamp(c->stack, c->timestamp_offset) | 1;
    COUNT(c->stack, tcp_retransmits);
    c->retransmits += c->retransmits < UINT16_MAX;
    if (segment->flags & TCP_SEGMENT_LOST) {
        c->lost_bytes -= segment_span(segment);
        segment_ring_remove(&c->lost, segment);
        segment->flags &= (uint8_t)~TCP_SEGMENT_LOST;
    } else {
        segment_ring_remove(&c->in_flight, segment);
    }
    c->flags |= (uint32_t)TCP_FLAG_DISORDER;
    segment->flags |= TCP_SEGMENT_RETRANSMITTED | TCP_SEGMENT_RESENT;
    segment_transmit(c, segment, mbuf);
    segment_sent(c, segment);
    return true;
}

/* Cut a segment that waits to be sent after `length` bytes; the rest becomes the next one. False: no memory. */
bool tcp_segment_split(struct tcp_connection *c, struct tcp_segment *segment, uint16_t length)
{
    struct rte_mbuf *mbuf = stack_mbuf(c->stack);

    if (!mbuf)
        return false;
    struct tcp_segment *rest = mbuf_segment(mbuf);
    memset(rest, 0, sizeof *rest);
    rest->data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    rest->length = (uint16_t)(segment->length - length);
    rest->sequence = segment->sequence + length;
    rest->flags = segment->flags & TCP_SEGMENT_FIN;
    rest->next = segment->next;
    memcpy(rest->data, segment->data + length, rest->length);
    segment->next = rest;
    segment->length = length;
    segment->flags &= (uint8_t)~TCP_SEGMENT_FIN;
    if (c->send_tail == segment) {
        c->send_tail = rest;
        if (c->tail_write)
            c->tail_write = rest->data + rest->length;
    }
    c->send_segments++;
    c->stack->census.send_mbufs++;
    return true;
}

/* A reservation that was never committed leaves an empty tail: give it back, unless it became the FIN. */
static void empty_tail_drop(struct tcp_connection *c)
{
    struct tcp_segment *tail = c->send_tail, *before = c->send_head;

    c->tail_write = NULL;
    c->tail_room = 0;
    c->send_unsent = NULL;
    if (before == tail) {
        c->send_head = c->send_tail = NULL;
    } else {
        while (before->next != tail)
            before = before->next;
        before->next = NULL;
        c->send_tail = before;
    }
    segment_free(c, tail);
}

void tcp_queue_fin(struct tcp_connection *c)
{
    tcp_seal_tail(c);
    if (!c->send_unsent) {
        struct rte_mbuf *mbuf = stack_mbuf(c->stack);
        /* REQ RFC9293 3.10.4: a FIN is not lost when buffers are out [test: net_script/fin_without_memory] */
        if (!mbuf) {
            c->flags |= TCP_FLAG_FIN_WANTED;
            tcp_touch_inline(c);
            return;
        }
        struct tcp_segment *segment = mbuf_segment(mbuf);
        *segment = (struct tcp_segment){0};
        segment->data = rte_pktmbuf_mtod(mbuf, uint8_t *);
        segment->sequence = c->send_end;
        if (c->send_tail)
            c->send_tail->next = segment;
        else
            c->send_head = segment;
        c->send_tail = c->send_unsent = segment;
        c->send_segments++;
        c->stack->census.send_mbufs++;
    }
    c->send_tail->flags |= TCP_SEGMENT_FIN;
    c->tail_write = NULL;
    c->tail_room = 0;
    c->send_end++;
    c->flags = (c->flags & ~(uint32_t)TCP_FLAG_FIN_WANTED) | TCP_FLAG_FIN_QUEUED;
    tcp_touch_inline(c);
}

/* ---- What may be sent now. */

/* REQ RFC6675 5-2: holes before new data [test: net_script/loss_of_a_retransmission] */
/* REQ RFC6675 5-3: within the window [test: net_script/recovery_sends_in_proportion] */
/* REQ RFC9293 SHLD-16: old data as usual [test: net_script/window_shrunk_holds_new_data] */
/* The path has become narrower since it was sent: the rest of a lost segment becomes the next lost one. */
static bool lost_split(struct tcp_connection *c, struct tcp_segment *segment)
{
    struct tcp_segment *rest;

    if (!tcp_segment_split(c, segment, c->send_mss))
        return false;
    rest = segment->next;
    rest->flags |= segment->flags & (TCP_SEGMENT_SENT | TCP_SEGMENT_LOST | TCP_SEGMENT_RETRANSMITTED);
    rest->transmissions = segment->transmissions;
    rest->sent_at = segment->sent_at;
    rest->order_next = segment->order_next;
    rest->order_previous = segment;
    segment->order_next->order_previous = rest;
    segment->order_next = rest;
    return true;
}

static bool output_lost(struct tcp_connection *c)
{
    struct tcp_segment *segment;

    while ((segment = c->lost) != NULL) {
        uint32_t in_flight = tcp_in_flight(c);
        if (segment->length > c->send_mss && !lost_split(c, segment))
            return false;
        if (in_flight > 0 && (in_flight + segment_span(segment) > c->congestion_window || c->send_window == 0))
            return false;
        if (!tcp_retransmit_segment(c, segment))
            return false;
    }
    return true;
}

/* REQ RFC9293 MUST-38: sender's silly window avoidance [test: net_script/window_below_one_segment] */
static bool worth_splitting(const struct tcp_connection *c, const struct tcp_segment *segment, int32_t window)
{
    return window > 0 && (uint32_t)window >= c->send_window_max / 2 && (uint32_t)window < segment->length;
}

static bool chainable(const struct tcp_connection *c, const struct tcp_segment *segment, uint32_t room)
{
    return segment && segment->length && segment_span(segment) <= room && !(segment->flags & TCP_SEGMENT_FIN) &&
           rte_mbuf_refcnt_read(segment_mbuf(segment)) == 1;
}

/*
 * Hand consecutive full segments to the port as one TSO chain: the first mbuf gets the headers, the others follow by
 * m->next with their payload only. Returns false when there is nothing to gain.
 */
static bool send_chain(struct tcp_connection *c, struct tcp_segment *first, uint32_t room)
{
    const struct net_interface_config *interface = &c->stack->interfaces[c->interface].config;
    uint32_t limit = room < interface->tso_bytes ? room : interface->tso_bytes, total = first->length;
    struct rte_mbuf *head, *tail;
    struct tcp_segment *segment = first->next, *last = first;
    uint16_t count = 1;

    if (first->length != c->send_mss || !chainable(c, segment, limit - total) || c->out_of_order)
        return false;
    head = tail = segment_share(first);
    head->data_len = first->length;
    while (chainable(c, segment, limit - total) && last->length == c->send_mss && count < 44) {
        struct rte_mbuf *mbuf = segment_share(segment);
        mbuf->data_len = segment->length;
        mbuf->next = NULL;
        tail->next = mbuf;
        tail = mbuf;
        total += segment->length;
        count++;
        last = segment;
        segment = segment->next;
    }
    head->pkt_len = total;
    head->nb_segs = count;
    struct tcp_outgoing out = {.mbuf = head,
                               .sequence = first->sequence,
                               .flags = segment_flags(last),
                               .gso_size = c->send_mss,
                               .congestible = true};
    tcp_transmit(c, &out);
    for (segment = first; count > 0; count--) {
        struct tcp_segment *next = segment->next;
        segment_sent_first(c, segment);
        segment = next;
    }
    return true;
}

/* REQ RFC9293 MUST-60, SHLD-28: at once, and full segments [test: net_script/push_on_last] */
/* REQ RFC9293 MUST-17: there is no Nagle algorithm [test: net_script/small_segments_do_not_wait] */
/* REQ RFC9293 SHLD-15: not beyond a moved edge [test: net_script/window_shrunk_holds_new_data] */
/* REQ RFC5681 3-1, 3.1-1: within both windows [test: net_script/initial_window_and_slow_start] */
static void output_new(struct tcp_connection *c)
{
    bool tso = c->stack->interfaces[c->interface].config.offloads & NET_OFFLOAD_TSO;
    struct tcp_segment *segment;

    while ((segment = c->send_unsent) != NULL) {
        uint32_t span = segment_span(segment), in_flight = tcp_in_flight(c);
        int32_t window = (int32_t)(c->send_unacked + c->send_window - segment->sequence);
        if (span == 0) {
            empty_tail_drop(c);
            return;
        }
        if (__builtin_expect(segment->length > c->send_mss, 0)) {
            if (!tcp_segment_split(c, segment, c->send_mss))
                return;
            continue;
        }
        if (in_flight > 0 && in_flight + span > c->congestion_window) {
            c->flags |= TCP_FLAG_CWND_LIMITED;
            return;
        }
        if (window < (int32_t)span) {
            if (!worth_splitting(c, segment, window) || !tcp_segment_split(c, segment, (uint16_t)window))
                return;
            continue;
        }
        if (tso) {
            uint32_t room = c->congestion_window > in_flight ? c->congestion_window - in_flight : span;
            if (send_chain(c, segment, room < (uint32_t)window ? room : (uint32_t)window))
                continue;
        }
        segment_send_new(c, segment);
    }
    c->flags &= ~(uint32_t)TCP_FLAG_CWND_LIMITED;
}

/* RFC 5681 section 4.1: after an idle retransmission timeout the old window says nothing about the path. */
/* REQ RFC5681 4.1: after an idle RTO [test: net_script/restart_after_idle] */
/* REQ RFC6928 2-3: from the initial window [test: net_script/restart_after_idle] */
static void restart_after_idle(struct tcp_connection *c)
{
    uint32_t initial = congestion_initial_window(c), idle = c->stack->tick - c->received_at;

    if (idle > tcp_rto(c) >> TIMER_TICK_SHIFT && c->congestion_window > initial)
        c->congestion_window = initial;
}

/* No retransmission timeout is shorter than the configured minimum: a cheap test before the exact one. */
static inline bool perhaps_idle(const struct tcp_connection *c)
{
    return c->send_next == c->send_unacked && c->send_unsent &&
           c->stack->tick - c->received_at > c->stack->rto_min_ticks;
}

/* Send one segment although the window or the congestion window forbids it: zero window probe or tail loss probe. */
bool tcp_send_probe(struct tcp_connection *c)
{
    struct tcp_segment *segment = c->send_unsent;
    int32_t window;

    tcp_seal_tail(c);
    if (!segment || segment_span(segment) == 0)
        return false;
    window = (int32_t)(c->send_unacked + c->send_window - segment->sequence);
    if (window < 1)
        window = 1;
    if (window < segment->length && !tcp_segment_split(c, segment, (uint16_t)window))
        return false;
    segment_send_new(c, segment);
    return true;
}

/* REQ RFC9293 SHLD-18, MUST-40: by 5 ms [test: net_script/delayed_ack, net_defaults/times_of_the_standards] */
/* REQ RFC5681 4.2-1, 4.2-2: 5 ms unless set otherwise [test: net_script/delayed_ack, net_script/ack_after_a_pause] */
void tcp_output(struct tcp_connection *c)
{
    uint32_t sent_before = c->send_next;

    if (__builtin_expect(c->state < TCP_STATE_ESTABLISHED || c->state == TCP_STATE_TIME_WAIT, 0)) {
        if (c->ended)
            connection_free(c);
        return;
    }
    if (c->flags & TCP_FLAG_FIN_WANTED)
        tcp_queue_fin(c);
    tcp_seal_tail(c);
    if (__builtin_expect(perhaps_idle(c), 0))
        restart_after_idle(c);
    if (!c->lost || c->recovery == TCP_RECOVERY_DOUBT_NEW || output_lost(c))
        output_new(c);
    if (c->send_next != sent_before || c->retransmit_kind == TCP_RETRANSMIT_NONE)
        tcp_set_retransmit(c);
    if (c->flags & TCP_FLAG_ACK_NOW)
        tcp_send_ack(c);
    if ((c->flags & TCP_FLAG_ACK_DELAYED) && !c->delayed_ack_at) {
        c->delayed_ack_at = stack_deadline(c->stack, c->stack->config.delayed_ack_us);
        tcp_timer_arm(c);
    }
}

/*
 * A TCP segment against the state machine of RFC 9293 section 3.10.7, with RFC 7323 (PAWS) and RFC 5961. Private to
 * lib/net (tcp_internal.h); the stack's thread. Payload: tcp_receive.c; acknowledgements: tcp_ack.c.
 */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

#include <rte_ip.h>

static uint32_t read32(const void *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, 4);
    return rte_be_to_cpu_32(value);
}

/* ---- Checks that need no connection. */

/* REQ RFC9293 MUST-3: wrong checksums are dropped [test: net_script/tcp_checksum_is_checked] */
/* REQ RFC8200 8.1: the pseudo header counts, extension headers left out [test: linux/messages] */
static bool checksum_good(const struct net_stack *stack, const struct net_packet *packet, const struct rte_tcp_hdr *tcp)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    uint32_t offloads = stack->interfaces[packet->interface].config.offloads;
    uint64_t state = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    const void *ip = rte_pktmbuf_mtod_offset(mbuf, const void *, packet->network_offset);

    if (offloads & NET_OFFLOAD_RX_TRUSTED)
        return true;
    if ((offloads & NET_OFFLOAD_RX_CHECKSUM) && state != RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN)
        return state != RTE_MBUF_F_RX_L4_CKSUM_BAD;
    uint32_t sum;
    uint16_t body;
    if (net_address_is_ip4(&packet->flow.local)) {
        sum = rte_ipv4_phdr_cksum(ip, 0);
    } else { /* the pseudo header counts the transport's length, extension headers left out */
        struct rte_ipv6_hdr pseudo = *(const struct rte_ipv6_hdr *)ip;
        pseudo.payload_len = rte_cpu_to_be_16(packet->transport_length);
        pseudo.proto = packet->protocol;
        sum = rte_ipv6_phdr_cksum(&pseudo, 0);
    }
    if (mbuf->nb_segs == 1)
        body = rte_raw_cksum(tcp, packet->transport_length);
    else if (rte_raw_cksum_mbuf(mbuf, packet->transport_offset, packet->transport_length, &body))
        return false;
    sum += body;
    return (uint16_t)((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

/* Frames of memory of this host aside, no segment gets further with a wrong checksum. */
bool tcp_parse(struct net_stack *stack, struct net_packet *packet)
{
    const struct rte_tcp_hdr *tcp =
        rte_pktmbuf_mtod_offset(packet->mbuf, const struct rte_tcp_hdr *, packet->transport_offset);
    uint32_t header = 0;

    if (packet->transport_length >= sizeof *tcp && packet->mbuf->data_len >= packet->transport_offset + sizeof *tcp)
        header = (tcp->data_off >> 4) * 4u;
    if (header < sizeof *tcp || header > packet->transport_length ||
        header + packet->transport_offset > packet->mbuf->data_len) {
        DROP(stack, packet->mbuf, drop_tcp_header);
        return false;
    }
    if (!checksum_good(stack, packet, tcp)) {
        DROP(stack, packet->mbuf, drop_tcp_checksum);
        return false;
    }
    packet->flow.remote_port = rte_be_to_cpu_16(tcp->src_port);
    packet->flow.local_port = rte_be_to_cpu_16(tcp->dst_port);
    packet->hash = hash_flow(stack->config.seed, &packet->flow);
    COUNT(stack, tcp_segments_received);
    return true;
}

/* REQ RFC9293 MUST-1: unsigned [test: net_script/push_on_last] */
/* REQ RFC9293 REC-1: 32 bits [test: net_script/syn_cookie_keeps_options] */
static void input_fill(struct net_packet *packet, struct tcp_input *in)
{
    const struct rte_tcp_hdr *tcp =
        rte_pktmbuf_mtod_offset(packet->mbuf, const struct rte_tcp_hdr *, packet->transport_offset);

    in->packet = packet;
    in->sequence = rte_be_to_cpu_32(tcp->sent_seq);
    in->ack = rte_be_to_cpu_32(tcp->recv_ack);
    in->raw_window = rte_be_to_cpu_16(tcp->rx_win);
    in->window = in->raw_window;
    in->header = (uint16_t)((tcp->data_off >> 4) * 4);
    in->length = (uint16_t)(packet->transport_length - in->header);
    in->flags = tcp->tcp_flags;
}

/* A segment carries a lone timestamp almost always: recognized by one comparison. */
/* REQ RFC9293 MUST-5: options count in any segment [test: net_script/option_underflow_is_survived] */
void tcp_input_options(struct net_stack *stack, struct tcp_input *in)
{
    const uint8_t *bytes = rte_pktmbuf_mtod_offset(in->packet->mbuf, const uint8_t *,
                                                   in->packet->transport_offset + sizeof(struct rte_tcp_hdr));
    size_t length = in->header - sizeof(struct rte_tcp_hdr);

    if (length == TCP_TIMESTAMP_BYTES && read32(bytes) == 0x0101080a) {
        memset(&in->options, 0, offsetof(struct tcp_options, sack));
        in->options.has_timestamp = true;
        in->options.timestamp = read32(bytes + 4);
        in->options.timestamp_echo = read32(bytes + 8);
        return;
    }
    if (!tcp_options_parse(bytes, length, in->flags & RTE_TCP_SYN_FLAG, &in->options))
        COUNT(stack, tcp_options_malformed);
}

/*
 * RFC 5961 section 7: a budget, so that nobody makes us a source of ACK floods. Half to one and a half of what is
 * configured: all connections share it, and whoever knew how much there is could tell by what is left whether his
 * guesses about another's connection were right (CVE-2016-5696).
 */
/* REQ RFC5961 7: a budget a second for the stack [test: net_script/challenge_budget] */
bool tcp_challenge_allowed(struct net_stack *stack)
{
    const uint32_t budget = stack->config.challenge_acks;

    if (stack->tick - stack->challenge_tick >= 1000000u >> TIMER_TICK_SHIFT) {
        stack->challenge_tick = stack->tick;
        const uint64_t key[2] = {stack->config.seed[0] ^ UINT64_C(0x6368616c), stack->config.seed[1]};
        stack->challenge_left = (budget + 1) / 2;
        if (budget)
            stack->challenge_left += (uint32_t)(hash_sip(key, &stack->tick, sizeof stack->tick) % budget);
    }
    if (stack->challenge_left == 0) {
        COUNT(stack, tcp_challenge_acks_suppressed);
        return false;
    }
    stack->challenge_left--;
    COUNT(stack, tcp_challenge_acks);
    return true;
}

static void challenge(struct tcp_connection *c)
{
    if (tcp_challenge_allowed(c->stack))
        tcp_send_ack(c);
}

/* ---- SYN-SENT: RFC 9293 section 3.10.7.3. */

/* The SYN was sent more than once, and the answer echoes none but a later one's timestamp: it was lost. */
static bool syn_was_lost(const struct tcp_connection *c, const struct tcp_input *in)
{
    return c->probes && !((c->flags & TCP_FLAG_TIMESTAMPS) && in->options.has_timestamp &&
                          sequence_before(in->options.timestamp_echo, c->undo_timestamp & ~1u));
}

static void syn_sent_established(struct tcp_connection *c, struct tcp_input *in)
{
    if (c->probes == 0) /* Karn: only a SYN sent once gives a sample */
        tcp_rtt_sample(c, stack_time(c->stack) - c->rack_sent_at);
    c->syn_lost = syn_was_lost(c, in);
    c->send_unacked = in->ack;
    c->send_next = in->ack;
    c->retransmit_at = 0;
    c->state = TCP_STATE_ESTABLISHED;
    connection_establish(c);
    /* REQ RFC7323 2.2-2: not scaled [test: net_script/syn_window_not_scaled] */
    c->send_window = in->raw_window;
    c->send_window_max = c->send_window;
    c->window_sequence = in->sequence;
    c->window_ack = in->ack;
    tcp_deliver_later(c, TCP_FLAG_EVENT_CONNECTED);
    c->flags |= TCP_FLAG_ACK_NOW;
    tcp_touch_inline(c);
}

/* REQ RFC9293 3.10.7.3: as said [test: net_script/rst_in_syn_sent, net_script/bad_ack_in_syn_sent_is_reset] */
static void syn_sent_input(struct tcp_connection *c, struct tcp_input *in)
{
    bool has_ack = in->flags & RTE_TCP_ACK_FLAG;

    if (has_ack && in->ack != c->send_unacked + 1) {
        COUNT(c->stack, drop_tcp_ack);
        tcp_reset_segment(c->stack, in);
        return;
    }
    if (in->flags & RTE_TCP_RST_FLAG) { /* believed only with a good ACK [test: net_script/rst_in_syn_sent] */
        if (has_ack) {
            COUNT(c->stack, tcp_resets_received);
            connection_end(c, TCP_CLOSE_REFUSED);
        } else {
            COUNT(c->stack, drop_tcp_reset);
        }
        return;
    }
    if (!(in->flags & RTE_TCP_SYN_FLAG)) {
        COUNT(c->stack, drop_tcp_flags);
        return;
    }
    tcp_input_options(c->stack, in);
    c->receive_next = in->sequence + 1;
    c->receive_edge = c->receive_next;
    c->ack_sent = c->receive_next;
    c->timestamp_recent = in->options.timestamp;
    connection_negotiate(c, in->options.mss, in->options.has_scale, in->options.scale, in->options.has_timestamp,
                         in->options.sack_permitted);
    tcp_timeout_received(c, in->options.user_timeout_s);
    const uint8_t ecn = in->flags & (RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG);
    if (has_ack) {
        /* REQ RFC3168 6.1.1-1: the answer has ECE alone [test: net_script/ecn_active] */
        if (ecn == RTE_TCP_ECE_FLAG && c->stack->config.ecn == NET_ECN_ASK && c->probes == 0)
            c->flags |= TCP_FLAG_ECN;
        syn_sent_established(c, in);
        return;
    }
    if (ecn == (RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG) && c->stack->config.ecn != NET_ECN_NEVER)
        c->flags |= TCP_FLAG_ECN;
    /* REQ RFC9293 MUST-10: simultaneous open [test: net_script/simultaneous_open] */
    COUNT(c->stack, tcp_simultaneous_opens);
    c->state = TCP_STATE_SYN_RECEIVED;
    c->probes = c->backoff = 0;
    c->retransmit_at = stack_deadline(c->stack, TCP_RTO_INITIAL_US);
    uint32_t window = c->stack->config.receive_buffer;
    c->receive_edge = c->receive_next + (window < 65535 ? window : 65535);
    tcp_send_syn(c);
    tcp_timer_arm(c);
}

/* ---- The synchronized states: RFC 9293 section 3.10.7.4. */

/* First, RFC 7323 section 5.3. False: dropped. */
/* REQ RFC7323 5.2-1: a RST is not asked for its timestamp [test: net_script/rst_is_exempt_from_paws] */
/* REQ RFC7323 5.3-1, 5.3-2: older ones are dropped and answered [test: net_script/paws] */
/* REQ RFC7323 3.2-2, 3.2-3: missing ones drop the segment, not the connection [test: net_script/paws] */
static bool timestamps_acceptable(struct tcp_connection *c, const struct tcp_input *in)
{
    if (!(c->flags & TCP_FLAG_TIMESTAMPS) || (in->flags & RTE_TCP_RST_FLAG))
        return true;
    if (!in->options.has_timestamp) {
        COUNT(c->stack, drop_tcp_no_timestamp);
        return false;
    }
    if (!sequence_before(in->options.timestamp, c->timestamp_recent))
        return true;
    if (c->flags &
        /* REQ RFC7323 5.5: silent for 24 days, or a bit less [test: net_script/paws_after_long_idle] */
        TCP_FLAG_TIMESTAMP_OLD) {
        c->flags &= ~(uint32_t)TCP_FLAG_TIMESTAMP_OLD;
        c->timestamp_recent = in->options.timestamp;
        return true;
    }
    COUNT(c->stack, drop_tcp_paws);
    c->flags |= TCP_FLAG_ACK_NOW;
    tcp_touch_inline(c);
    return false;
}

static uint32_t input_span(const struct tcp_input *in)
{
    return in->length + !!(in->flags & RTE_TCP_FIN_FLAG) + !!(in->flags & RTE_TCP_SYN_FLAG);
}

/*
 * Is any part of the segment in the window? A zero window admits what stands exactly at its edge. An acknowledgement
 * without payload may come from beyond: its sender probes the window with a segment that it counts as sent.
 */
/* REQ RFC9293 3.10.7.4-7: from beyond too [test: net_script/acknowledgement_beyond_a_closed_window_counts] */
static bool sequence_acceptable(const struct tcp_connection *c, const struct tcp_input *in)
{
    uint32_t span = input_span(in), window = c->receive_edge - c->receive_next;

    if (span == 0 && in->sequence - c->receive_next <= window + c->receive_mss && !(in->flags & RTE_TCP_RST_FLAG))
        return true;
    if (window == 0)
        return in->sequence == c->receive_next;
    if (sequence_before(in->sequence, c->receive_edge) && !sequence_before(in->sequence, c->receive_next))
        return true;
    return span > 0 && sequence_after(in->sequence + span, c->receive_next) &&
           !sequence_after(in->sequence + span, c->receive_edge + 1);
}

/* REQ RFC9293 3.10.7.4-1: answered [test: net_script/duplicate_is_reported, net_script/keepalive_is_answered] */
/* REQ RFC2883 4-1: with the duplicate as first block [test: net_script/duplicate_is_reported] */
/* REQ RFC2883 4.1: once, in the ACK of that segment [test: net_script/duplicate_is_reported] */
static void unacceptable(struct tcp_connection *c, const struct tcp_input *in)
{
    uint32_t span = input_span(in);

    if (in->flags & RTE_TCP_RST_FLAG) {
        COUNT(c->stack, drop_tcp_reset);
        return;
    }
    if (span > 0 && !sequence_after(in->sequence + span, c->receive_next)) {
        /* All old: our ACK was lost. With D-SACK, so that the sender learns that it repeated in vain. */
        COUNT(c->stack, drop_tcp_duplicate);
        tcp_send_duplicate_ack(c, in->sequence, in->sequence + span);
        return;
    }
    COUNT(c->stack, drop_tcp_sequence);
    if (in->sequence == c->receive_next - 1 && in->length == 0) {
        c->received_at = c->stack->tick;
        COUNT(c->stack, tcp_window_probes_received); /* keepalive, or a probe in Linux's manner */
        tcp_send_ack(c);
    } else {
        challenge(c);
    }
}

/* REQ RFC5961 3.2-1, 3.2-2, 3.2-3: at RCV.NXT, or a challenge [test: net_script/rst_in_window_challenged] */
/* REQ RFC9293 SHLD-2: with data too [test: net_script/rst_may_carry_data] */
/* REQ RFC9293 MUST-11: in SYN-RECEIVED the kind of open decides [test: net_script/rst_ends_half_open] */
static void reset_received(struct tcp_connection *c, const struct tcp_input *in)
{
    if (in->sequence != c->receive_next) {
        COUNT(c->stack, drop_tcp_reset);
        challenge(c);
        return;
    }
    COUNT(c->stack, tcp_resets_received);
    connection_end(c, c->state == TCP_STATE_SYN_RECEIVED ? TCP_CLOSE_REFUSED
                      : c->state == TCP_STATE_LAST_ACK   ? TCP_CLOSE_NORMAL
                      : c->state == TCP_STATE_CLOSING    ? TCP_CLOSE_NORMAL
                                                         : TCP_CLOSE_RESET);
}

/* REQ RFC5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT [test: net_script/ack_out_of_range] */
/* REQ RFC9293 3.10.7.4-3, MAY-12: else an ACK [test: net_script/ack_out_of_range] */
static bool ack_acceptable(struct tcp_connection *c, const struct tcp_input *in)
{
    if (sequence_after(in->ack, c->send_next) || sequence_before(in->ack, c->send_unacked - c->send_window_max)) {
        COUNT(c->stack, drop_tcp_ack);
        challenge(c);
        return false;
    }
    return true;
}

/* The ACK of a simultaneous open's SYN-ACK. */
static bool syn_received_ack(struct tcp_connection *c, const struct tcp_input *in)
{
    if (in->ack != c->send_unacked + 1) {
        tcp_reset_segment(c->stack, in);
        return false;
    }
    c->send_unacked = c->send_next = in->ack;
    c->retransmit_at = 0;
    c->state = TCP_STATE_ESTABLISHED;
    c->syn_lost = c->probes > 0;
    connection_establish(c);
    c->send_window = c->send_window_max = in->window;
    c->window_sequence = in->sequence;
    c->window_ack = in->ack;
    tcp_deliver_later(c, TCP_FLAG_EVENT_CONNECTED);
    return true;
}

/* Our FIN is acknowledged: the states that wait for it. False: the connection is over. */
static bool fin_acknowledged(struct tcp_connection *c)
{
    switch (c->state) {
    case TCP_STATE_FIN_WAIT_1:
        c->state = TCP_STATE_FIN_WAIT_2;
        if (c->flags & TCP_FLAG_DETACHED)
            c->keep_at = stack_deadline(c->stack, c->stack->config.fin_wait_us);
        tcp_touch_inline(c);
        return true;
    case TCP_STATE_CLOSING:
        time_wait_enter(c);
        return false;
    case TCP_STATE_LAST_ACK:
        connection_finish(c);
        return false;
    default:
        return true;
    }
}

/* REQ RFC9293 3.10.7.4-5: in its turn [test: net_script/peer_closes_first, net_script/fin_with_data_out_of_order] */
static void fin_received(struct tcp_connection *c)
{
    c->receive_next++;
    c->flags |= TCP_FLAG_FIN_RECEIVED | TCP_FLAG_ACK_NOW;
    tcp_touch_inline(c);
    if (sequence_before(c->receive_edge, c->receive_next))
        c->receive_edge = c->receive_next;
    tcp_deliver_later(c, TCP_FLAG_EVENT_PEER_CLOSED);
    switch (c->state) {
    case TCP_STATE_ESTABLISHED:
        c->state = TCP_STATE_CLOSE_WAIT;
        break;
    case TCP_STATE_FIN_WAIT_1:
        c->state = TCP_STATE_CLOSING;
        break;
    case TCP_STATE_FIN_WAIT_2:
        time_wait_enter(c);
        break;
    default:
        break;
    }
}

/* REQ RFC7323 4.3: TS.Recent follows segments that cover Last.ACK.sent [test: net_script/timestamp_recent] */
static void timestamp_update(struct tcp_connection *c, const struct tcp_input *in)
{
    if (in->options.has_timestamp && !sequence_after(in->sequence, c->ack_sent) &&
        !sequence_before(in->options.timestamp, c->timestamp_recent))
        c->timestamp_recent = in->options.timestamp;
}

/* REQ RFC3168 6.1.3-1: CE is echoed until CWR arrives [test: net_script/ecn_is_echoed_until_cwr] */
static void ecn_received(struct tcp_connection *c, const struct tcp_input *in)
{
    enum { CONGESTION_EXPERIENCED = 3 };

    if (in->flags & RTE_TCP_CWR_FLAG) {
        COUNT(c->stack, tcp_ecn_reductions_received);
        c->flags &= ~(uint32_t)TCP_FLAG_ECN_ECHO;
    }
    if (in->packet->congestion != CONGESTION_EXPERIENCED)
        return;
    COUNT(c->stack, tcp_ecn_marks_received);
    c->flags |= TCP_FLAG_ECN_ECHO | TCP_FLAG_ACK_NOW;
    tcp_touch_inline(c);
}

/* REQ RFC9293 3.10.7.4-2: dropped [test: net_script/segment_without_ack_is_dropped] */
/* REQ RFC9293 MUST-35: a probe of our closed window is answered [test: net_script/both_windows_zero] */
/* REQ RFC3168 6.1.3-2: marks of acceptable ones [test: net_script/marks_outside_of_the_window_are_ignored] */
static void synchronized_input(struct tcp_connection *c, struct tcp_input *in)
{
    tcp_input_options(c->stack, in);
    /* First, for its answer depends on nothing: a peer that has rebooted counts and stamps as it likes. */
    /* REQ RFC5961 4.2: whatever its number [test: net_script/syn_in_established_challenged] */
    /* REQ RFC5961 4.2: and whatever its options [test: net_script/any_syn_in_established_is_challenged] */
    if ((in->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG)) == RTE_TCP_SYN_FLAG) {
        COUNT(c->stack, drop_tcp_syn);
        challenge(c);
        return;
    }
    if (!timestamps_acceptable(c, in))
        return;
    if (!sequence_acceptable(c, in)) {
        unacceptable(c, in);
        return;
    }
    if (in->flags & RTE_TCP_RST_FLAG) {
        reset_received(c, in);
        return;
    }
    if (!(in->flags & RTE_TCP_ACK_FLAG)) {
        COUNT(c->stack, drop_tcp_no_ack);
        return;
    }
    tcp_heard(c);
    timestamp_update(c, in);
    if (in->options.user_timeout_s)
        tcp_timeout_received(c, in->options.user_timeout_s);
    if (c->flags & TCP_FLAG_ECN)
        ecn_received(c, in);
    if (c->state == TCP_STATE_SYN_RECEIVED && !syn_received_ack(c, in))
        return;
    if (!ack_acceptable(c, in))
        return;
    tcp_acknowledge(c, in);
    if ((c->flags & TCP_FLAG_FIN_SENT) && c->send_unacked == c->send_next && c->send_end == c->send_next &&
        !fin_acknowledged(c))
        return;
    if (!tcp_can_receive(c)) {
        if (input_span(in)) {
            COUNT(c->stack, drop_tcp_duplicate);
            tcp_send_ack(c);
        }
        return;
    }
    if (input_span(in) == 0)
        return;
    if (c->receive_edge == c->receive_next) /* a probe of the closed window: answered, its payload refused */
        COUNT(c->stack, tcp_window_probes_received);
    if (tcp_receive_payload(c, in))
        fin_received(c);
}

void tcp_input_connection(struct tcp_connection *c, struct tcp_input *in)
{
    if (c->state == TCP_STATE_SYN_SENT) {
        syn_sent_input(c, in);
        return;
    }
    if (!(in->flags & RTE_TCP_SYN_FLAG))
        in->window = (uint32_t)in->raw_window << c->send_scale;
    synchronized_input(c, in);
}

static const struct net_flow *reference_flow(const struct net_stack *stack, uint32_t reference)
{
    uint32_t index = flow_reference_index(reference);

    switch (flow_reference_kind(reference)) {
    case FLOW_CONNECTION:
        return &stack->connections[index].flow;
    case FLOW_HALF_OPEN:
        return &stack->half_opens[index].flow;
    case FLOW_MOVED:
        return &stack->moved_flows[index].flow;
    default:
        return &stack->time_waits[index].flow;
    }
}

uint32_t tcp_flow_find(const struct net_stack *stack, const struct net_flow *flow, uint32_t hash)
{
    uint32_t position = hash, reference;

    while ((reference = flow_table_candidate(&stack->flows, hash, &position)) != 0)
        if (net_flow_equal(reference_flow(stack, reference), flow))
            return reference;
    return 0;
}

/* IPv6 brings groups and the unspecified address as far as this, for neighbour discovery. */
/* REQ RFC9293 MUST-57: no answer to a group [test: net_script/syn_to_a_group_of_ip6] */
static bool is_between_hosts(const struct net_packet *packet)
{
    return packet->flow.local.bytes[0] != 0xff && !net_address_is_any(&packet->flow.remote);
}

void tcp_input(struct net_stack *stack, struct net_packet *packet)
{
    uint32_t reference = tcp_flow_find(stack, &packet->flow, packet->hash), index = flow_reference_index(reference);
    struct tcp_input in;

    if (reference && flow_reference_kind(reference) == FLOW_CONNECTION) {
        struct tcp_connection *c = &stack->connections[index];
        if (__builtin_expect(c->interface == packet->interface, 1) && tcp_fast_input(c, packet)) {
            if (packet->mbuf)
                rte_pktmbuf_free(packet->mbuf);
            return;
        }
    }
    if (packet->plain && !net_addresses_acceptable(stack, packet))
        return;
    if (reference == 0 && !is_between_hosts(packet)) {
        DROP(stack, packet->mbuf, drop_ip6_not_for_us);
        return;
    }
    input_fill(packet, &in);
    if (reference == 0) {
        tcp_input_options(stack, &in);
        tcp_listen_input(stack, &in, 0);
    } else if (flow_reference_kind(reference) == FLOW_CONNECTION) {
        tcp_input_connection(&stack->connections[index], &in);
    } else if (flow_reference_kind(reference) == FLOW_HALF_OPEN) {
        tcp_input_options(stack, &in);
        half_open_input(stack, &stack->half_opens[index], &in);
    } else if (flow_reference_kind(reference) == FLOW_MOVED) {
        moved_input(stack, &stack->moved_flows[index], &in);
    } else {
        tcp_input_options(stack, &in);
        time_wait_input(stack, &stack->time_waits[index], &in);
    }
    rte_pktmbuf_free(packet->mbuf); /* NULL when a queue took it */
}

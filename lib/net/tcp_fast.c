/*
 * Header prediction: the next segment in order on an established connection where nothing is lost, out of order or
 * otherwise special. Does what tcp_input.c, tcp_ack.c and tcp_receive.c do to such a segment, without the checks that
 * cannot fail then. Private to lib/net (tcp_internal.h); the stack's thread.
 *
 * Everything is decided before anything is changed: a segment that does not qualify goes the long way untouched.
 */
#include "lib/net/tcp_internal.h"

enum {
    /* Whatever needs more than a look at numbers. */
    SPECIAL = TCP_FLAG_DETACHED | TCP_FLAG_PROBED | TCP_FLAG_UNDO | TCP_FLAG_TIMESTAMP_OLD | TCP_FLAG_ECN_ECHO,
    CONGESTION_EXPERIENCED = 3,
};

struct fast_segment {
    uint32_t sequence;
    uint32_t ack;
    uint32_t window;
    uint32_t length;
    uint32_t timestamp;
};

static uint32_t read32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, 4);
    return rte_be_to_cpu_32(value);
}

static bool timestamp_predicted(const struct tcp_connection *c, const struct rte_tcp_hdr *tcp, struct fast_segment *in)
{
    const uint8_t *option = (const uint8_t *)(tcp + 1);

    in->timestamp = read32(option + 4);
    return read32(option) == 0x0101080a && !sequence_before(in->timestamp, c->timestamp_recent);
}

/* Acknowledges something, all of it sent once and in order, and the window is open and does not shrink. */
static bool ack_predicted(const struct tcp_connection *c, const struct fast_segment *in)
{
    return !(c->flags & (uint32_t)TCP_FLAG_DISORDER) && c->recovery == TCP_RECOVERY_NONE && in->window != 0 &&
           c->send_window != 0 && !sequence_before(in->ack + in->window, c->window_ack + c->send_window) &&
           !sequence_before(in->sequence, c->window_sequence);
}

/* REQ RFC7323 5.7: what is not newer or not next goes the long way [test: net_script/paws] */
static bool predicted(const struct tcp_connection *c, const struct net_packet *packet, const struct rte_tcp_hdr *tcp,
                      struct fast_segment *in)
{
    const uint32_t header = sizeof *tcp + (c->flags & TCP_FLAG_TIMESTAMPS ? (uint32_t)TCP_TIMESTAMP_BYTES : 0u);

    if (c->state != TCP_STATE_ESTABLISHED || (c->flags & SPECIAL) || tcp->data_off != header << 2 ||
        (tcp->tcp_flags & ~RTE_TCP_PSH_FLAG) != RTE_TCP_ACK_FLAG || c->out_of_order ||
        packet->congestion == CONGESTION_EXPERIENCED || c->stack->held_full || packet->mbuf->nb_segs != 1)
        return false;
    in->sequence = rte_be_to_cpu_32(tcp->sent_seq);
    in->ack = rte_be_to_cpu_32(tcp->recv_ack);
    in->window = (uint32_t)rte_be_to_cpu_16(tcp->rx_win) << c->send_scale;
    in->length = packet->transport_length - header;
    if (in->sequence != c->receive_next || in->length > c->receive_edge - c->receive_next ||
        in->ack - c->send_unacked > c->send_next - c->send_unacked)
        return false;
    if ((c->flags & TCP_FLAG_TIMESTAMPS) && !timestamp_predicted(c, tcp, in))
        return false;
    if (in->ack == c->send_unacked)
        return in->length != 0 && in->window == c->send_window;
    return ack_predicted(c, in);
}

/* Free what is acknowledged whole, cut what is in part. Returns the first segment that stays. */
static struct tcp_segment *acknowledged_free(struct tcp_connection *c, uint32_t ack)
{
    struct tcp_segment *segment = c->send_head, *const unsent = c->send_unsent;
    uint32_t sent_at = 0, count = 0;

    while (segment != unsent && !sequence_after(segment->sequence + segment->length, ack)) {
        struct tcp_segment *next = segment->next;
        sent_at = segment->sent_at;
        c->rack_end = segment->sequence + segment->length;
        rte_pktmbuf_free_seg(segment_mbuf(segment));
        segment = next;
        count++;
    }
    if (segment != unsent && sequence_before(segment->sequence, ack)) {
        uint32_t bytes = ack - segment->sequence;
        segment->sequence += bytes;
        segment->data += bytes;
        segment->length = (uint16_t)(segment->length - bytes);
    }
    if (count) {
        uint32_t age = stack_time(c->stack) - sent_at;
        c->rack_sent_at = sent_at;
        c->rack_rtt = age + (age == 0);
        tcp_rtt_sample(c, age);
        c->send_segments = (uint16_t)(c->send_segments - count);
        c->stack->census.send_mbufs -= count;
    }
    return segment;
}

static void acknowledge(struct tcp_connection *c, const struct fast_segment *in)
{
    const uint32_t acked = in->ack - c->send_unacked;
    struct tcp_segment *last = c->in_flight->order_previous, *first = acknowledged_free(c, in->ack);

    c->send_head = first;
    if (!first)
        c->send_tail = NULL;
    c->send_window = in->window;
    c->window_sequence = in->sequence;
    c->window_ack = in->ack;
    if (in->window > c->send_window_max)
        c->send_window_max = in->window;
    neighbour_confirm(c->stack, c->neighbour);
    c->send_unacked = in->ack;
    c->delivered += acked;
    c->duplicate_acks = 0;
    c->backoff = 0;
    c->progress_at = c->stack->tick;
    if (in->ack == c->send_next) {
        c->in_flight = NULL;
        c->rack_rtt = 0;
        c->retransmit_at = 0;
        c->retransmit_kind = TCP_RETRANSMIT_NONE; /* if something waits to be sent, output sets it anew */
    } else {
        first->order_previous = last; /* the ring is in the order of sequence numbers: its front is cut off */
        last->order_next = first;
        c->in_flight = first;
        tcp_set_retransmit(c);
    }
    if (c->flags & TCP_FLAG_CWND_LIMITED)
        tcp_grow_window(c, acked, stack_time(c->stack) - c->rack_sent_at);
    if (c->flags & TCP_FLAG_WANT_WRITE)
        tcp_tell_writable(c);
    if (c->send_unsent)
        tcp_touch_inline(c);
}

static void receive(struct tcp_connection *c, struct net_packet *packet, const struct fast_segment *in)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    struct tcp_segment *segment = mbuf_segment(mbuf);

    packet->mbuf = NULL;
    segment->data =
        rte_pktmbuf_mtod(mbuf, uint8_t *) + packet->transport_offset + packet->transport_length - in->length;
    segment->sequence = in->sequence;
    segment->length = (uint16_t)in->length;
    segment->flags = 0;
    if (__builtin_expect(c->receive_count >= TCP_COALESCE_AFTER, 0)) {
        tcp_receive_in_order(c, segment);
    } else {
        c->receive_next += in->length;
        c->readable += in->length;
        COUNT_ADD(c->stack, tcp_bytes_received, in->length);
        tcp_queue_append(c, segment);
    }
    tcp_schedule_ack(c, in->length);
    tcp_deliver_later(c, TCP_FLAG_EVENT_READABLE);
}

bool tcp_fast_input(struct tcp_connection *c, struct net_packet *packet)
{
    const struct rte_tcp_hdr *tcp =
        rte_pktmbuf_mtod_offset(packet->mbuf, const struct rte_tcp_hdr *, packet->transport_offset);
    struct fast_segment in = {0};

    if (!predicted(c, packet, tcp, &in))
        return false;
    COUNT(c->stack, tcp_fast_path);
    tcp_heard(c);
    if ((c->flags & TCP_FLAG_TIMESTAMPS) && !sequence_after(in.sequence, c->ack_sent))
        c->timestamp_recent = in.timestamp;
    if (in.ack != c->send_unacked)
        acknowledge(c, &in);
    if (in.length)
        receive(c, packet, &in);
    return true;
}

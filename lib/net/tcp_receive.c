/*
 * Payload coming in: the in-order queue that the application reads, the out-of-order queue, the window. Private to
 * lib/net (tcp_internal.h). The mbufs of the frames are the buffers: nothing is copied but small payloads that wait
 * long.
 */
#include "lib/net/tcp_internal.h"

/*
 * The receive window in bytes, and with it receive_edge. The right edge moves only by enough to be worth a segment,
 * and never back.
 */
/* REQ RFC9293 MUST-39: receiver's silly window avoidance [test: net_script/window_update_after_reading] */
/* REQ RFC9293 SHLD-14: do not shrink the window [test: net_script/window_never_shrinks] */
static uint32_t window_bytes(struct tcp_connection *c)
{
    uint32_t buffer = tcp_receive_limit(c);
    uint32_t space = c->readable < buffer ? buffer - c->readable : 0;
    uint32_t candidate = c->receive_next + space;
    uint32_t threshold = c->receive_mss < buffer / 2 ? c->receive_mss : buffer / 2;

    if ((int32_t)(candidate - c->receive_edge) >= (int32_t)threshold)
        c->receive_edge = candidate;
    return sequence_after(c->receive_edge, c->receive_next) ? c->receive_edge - c->receive_next : 0;
}

/* REQ RFC7323 2.3-3: rounded up, so as not to take back [test: net_script/window_never_shrinks] */
/* REQ RFC9293 MAY-8: zero for as long as nobody reads [test: net_script/both_windows_zero] */
uint16_t tcp_receive_window(struct tcp_connection *c)
{
    uint32_t before = c->receive_edge - c->receive_next, window = window_bytes(c), field;

    /* Rounded up: rounding down would take back what was offered. The excess is below one scaling unit. */
    field = (window + (1u << c->receive_scale) - 1) >> c->receive_scale;
    if (field > 65535)
        field = 65535;
    if (window == 0 && before != 0)
        COUNT(c->stack, tcp_zero_windows_sent);
    c->receive_edge = c->receive_next + (field << c->receive_scale);
    return (uint16_t)field;
}

/* ---- In order. */

/* A slow reader and many small segments: one buffer per few bytes would drain the pool, so copy them together. */
static bool coalesce(struct tcp_connection *c, const struct tcp_segment *segment)
{
    struct tcp_segment *tail = c->receive_tail;

    if (c->receive_count < TCP_COALESCE_AFTER || segment->length > TCP_COALESCE_BYTES)
        return false;
    struct rte_mbuf *mbuf = segment_mbuf(tail);
    uint8_t *end = tail->data + tail->length;
    if (end + segment->length > (uint8_t *)mbuf->buf_addr + mbuf->buf_len ||
        tail->length + segment->length > UINT16_MAX)
        return false;
    memcpy(end, segment->data, segment->length);
    tail->length = (uint16_t)(tail->length + segment->length);
    COUNT(c->stack, tcp_coalesced);
    return true;
}

void tcp_receive_in_order(struct tcp_connection *c, struct tcp_segment *segment)
{
    c->receive_next += segment->length;
    COUNT_ADD(c->stack, tcp_bytes_received, segment->length);
    if (c->flags & TCP_FLAG_DETACHED) {
        COUNT_ADD(c->stack, drop_tcp_after_close, segment->length);
        rte_pktmbuf_free_seg(segment_mbuf(segment));
        return;
    }
    c->readable += segment->length;
    if (segment->length == 0 || coalesce(c, segment))
        rte_pktmbuf_free_seg(segment_mbuf(segment));
    else
        tcp_queue_append(c, segment);
}

/* ---- Out of order. */

static void out_of_order_free(struct tcp_connection *c, struct tcp_segment *segment)
{
    c->out_of_order_bytes -= segment->length;
    c->out_of_order_count--;
    c->stack->census.out_of_order_mbufs--;
    rte_pktmbuf_free_seg(segment_mbuf(segment));
}

static void cut_front(struct tcp_segment *segment, uint32_t bytes)
{
    segment->sequence += bytes;
    segment->data += bytes;
    segment->length = (uint16_t)(segment->length - bytes);
}

static uint32_t out_of_order_bound(const struct tcp_connection *c)
{
    return c->stack->config.receive_buffer / 1024 + 16;
}

/* Insert by sequence, overlaps removed: what is there stays, the newcomer is cut; what it covers whole goes. */
/* REQ RFC9293 SHLD-31: kept, overlaps cut [test: net_script/out_of_order_acked, net_script/overlapping_segments] */
static void out_of_order_insert(struct tcp_connection *c, struct tcp_segment *segment)
{
    struct tcp_segment **link = &c->out_of_order, *next;

    if (c->out_of_order_count >= out_of_order_bound(c)) {
        DROP(c->stack, segment_mbuf(segment), drop_tcp_out_of_order_full);
        return;
    }
    while ((next = *link) != NULL && !sequence_after(next->sequence, segment->sequence)) {
        uint32_t end = segment_end(next);
        if (!sequence_after(segment_end(segment), end)) {
            DROP(c->stack, segment_mbuf(segment), drop_tcp_duplicate);
            return;
        }
        if (sequence_after(end, segment->sequence))
            cut_front(segment, end - segment->sequence);
        link = &next->next;
    }
    while ((next = *link) != NULL && !sequence_after(segment_end(next), segment_end(segment))) {
        segment->flags |= next->flags & TCP_SEGMENT_FIN & (segment_end(next) == segment_end(segment) ? 0xff : 0);
        *link = next->next;
        out_of_order_free(c, next);
    }
    if (next && sequence_before(next->sequence, segment_end(segment))) {
        segment->length = (uint16_t)(next->sequence - segment->sequence);
        segment->flags &= (uint8_t)~TCP_SEGMENT_FIN;
    }
    segment->next = next;
    *link = segment;
    c->out_of_order_recent = segment->sequence;
    c->out_of_order_bytes += segment->length;
    c->out_of_order_count++;
    c->stack->census.out_of_order_mbufs++;
    COUNT(c->stack, tcp_out_of_order);
}

/* All of it? */
static bool out_of_order_holds(const struct tcp_connection *c, uint32_t start, uint32_t end)
{
    for (const struct tcp_segment *segment = c->out_of_order; segment; segment = segment->next) {
        if (sequence_after(segment->sequence, start))
            return false;
        if (sequence_after(segment_end(segment), start))
            start = segment_end(segment);
        if (!sequence_after(end, start))
            return true;
    }
    return false;
}

/* The hole before the queue's head is filled: move what follows into the in-order queue. Returns whether FIN was among
 * it. */
static bool out_of_order_drain(struct tcp_connection *c)
{
    struct tcp_segment *segment;
    bool fin = false;

    while ((segment = c->out_of_order) != NULL && !sequence_after(segment->sequence, c->receive_next)) {
        c->out_of_order = segment->next;
        if (sequence_before(segment_end(segment), c->receive_next) || segment_span(segment) == 0 ||
            segment_end(segment) == c->receive_next) {
            out_of_order_free(c, segment);
            continue;
        }
        c->out_of_order_bytes -= segment->length;
        c->out_of_order_count--;
        c->stack->census.out_of_order_mbufs--;
        if (sequence_before(segment->sequence, c->receive_next))
            cut_front(segment, c->receive_next - segment->sequence);
        fin = fin || (segment->flags & TCP_SEGMENT_FIN);
        tcp_receive_in_order(c, segment);
    }
    return fin;
}

/* Up to `count` runs of the out-of-order queue. */
/* REQ RFC2018 4-1, 4-2, 4-3: the latest's first, then others [test: net_script/sack_most_recent_first] */
unsigned tcp_sack_blocks(const struct tcp_connection *c, struct tcp_sack_block *blocks, unsigned count)
{
    const struct tcp_segment *segment = c->out_of_order;
    unsigned used = 1; /* the first place is kept for the latest arrival */
    bool found = false;

    if (!segment || count == 0)
        return 0;
    while (segment) {
        struct tcp_sack_block run = {segment->sequence, segment_end(segment)};
        for (segment = segment->next; segment && segment->sequence == run.end; segment = segment->next)
            run.end = segment_end(segment);
        if (!sequence_before(c->out_of_order_recent, run.start) && sequence_before(c->out_of_order_recent, run.end)) {
            blocks[0] = run;
            found = true;
        } else if (used < count) {
            blocks[used++] = run;
        }
    }
    if (!found)
        memmove(blocks, blocks + 1, --used * sizeof *blocks);
    return used;
}

/* ---- A segment's payload. */

/* The pieces of a chained frame become segments of their own. */
static struct tcp_segment *segment_from(struct rte_mbuf *mbuf, uint8_t *data, uint32_t sequence, uint32_t length)
{
    struct tcp_segment *segment = mbuf_segment(mbuf);

    mbuf->next = NULL;
    mbuf->nb_segs = 1;
    segment->data = data;
    segment->sequence = sequence;
    segment->length = (uint16_t)length;
    segment->flags = 0;
    return segment;
}

/* Both queues accept one piece; true: FIN has become next in order. */
static bool receive_piece(struct tcp_connection *c, struct tcp_segment *segment)
{
    if (segment->sequence == c->receive_next) {
        bool fin = segment->flags & TCP_SEGMENT_FIN;
        tcp_receive_in_order(c, segment);
        if (!fin && c->out_of_order)
            fin = out_of_order_drain(c);
        return fin;
    }
    out_of_order_insert(c, segment);
    return false;
}

/* Split the frame into pieces and queue them; `skip` bytes at the front are old, `in->length` bytes count in all. */
static bool receive_pieces(struct tcp_connection *c, struct tcp_input *in, uint32_t skip, bool fin)
{
    struct net_packet *packet = in->packet;
    struct rte_mbuf *mbuf = packet->mbuf;
    uint32_t offset = packet->transport_offset + (uint32_t)in->header, left = in->length, sequence = in->sequence;
    bool done = false;

    packet->mbuf = NULL;
    do {
        struct rte_mbuf *next = mbuf->next;
        uint32_t here = mbuf->data_len > offset ? mbuf->data_len - offset : 0;
        uint8_t *data = rte_pktmbuf_mtod(mbuf, uint8_t *) + offset;
        if (here > left)
            here = left;
        left -= here;
        offset = 0;
        uint32_t cut = skip < here ? skip : here;
        struct tcp_segment *segment = segment_from(mbuf, data + cut, sequence + cut, here - cut);
        skip -= cut;
        sequence += here;
        if (left == 0 && fin)
            segment->flags |= TCP_SEGMENT_FIN;
        if (segment_span(segment))
            done = receive_piece(c, segment) || done;
        else
            rte_pktmbuf_free_seg(mbuf);
        mbuf = next;
    } while (mbuf && left > 0);
    rte_pktmbuf_free(mbuf);
    return done;
}

/* REQ RFC2883 4-1: beyond a hole too, and a part of a segment [test: net_script/all_duplicates_are_reported] */
/* REQ RFC9293 MAY-13: out of order at once [test: net_script/out_of_order_acked] */
/* REQ RFC9293 MUST-59: an ACK tells of all that lies in order now [test: net_script/out_of_order_acked] */
/* REQ RFC5681 3.2-2: a filled hole at once [test: net_script/out_of_order_acked] */
bool tcp_receive_payload(struct tcp_connection *c, struct tcp_input *in)
{
    uint32_t end = in->sequence + in->length, before = c->receive_next, skip = 0;
    bool fin = in->flags & RTE_TCP_FIN_FLAG, filled_hole = c->out_of_order != NULL;

    if (c->stack->held_full && (c->readable || in->sequence != c->receive_next)) {
        COUNT(c->stack, drop_tcp_pressure);
        return false;
    }
    if (sequence_before(in->sequence, c->receive_next)) {
        skip = c->receive_next - in->sequence;
        if (skip > in->length)
            skip = in->length;
    }
    if (sequence_after(end, c->receive_edge)) { /* beyond the window: keep what fits */
        uint32_t beyond = end - c->receive_edge;
        COUNT(c->stack, drop_tcp_window);
        in->length = (uint16_t)(beyond < in->length ? in->length - beyond : 0);
        fin = false;
        if (skip > in->length)
            skip = in->length;
        c->flags |= TCP_FLAG_ACK_NOW;
        tcp_touch_inline(c);
    }
    if (in->length == skip && !fin) {
        if (in->length)
            COUNT(c->stack, drop_tcp_duplicate);
        return false;
    }
    const uint32_t start = in->sequence + skip;
    if (sequence_after(start, before) && !fin && out_of_order_holds(c, start, in->sequence + in->length)) {
        COUNT(c->stack, drop_tcp_duplicate);
        c->out_of_order_recent = start;
        tcp_send_duplicate_ack(c, start, in->sequence + in->length);
        return false;
    }
    uint32_t length = in->length;
    fin = receive_pieces(c, in, skip, fin);
    if (c->receive_next == before &&
        /* REQ RFC5681 3.2-1, 4.2-4: at once, for every segment [test: net_script/out_of_order_acked] */
        !fin) {
        tcp_send_ack(c);
        return false;
    }
    if (filled_hole)
        c->flags |= TCP_FLAG_ACK_NOW;
    if (skip)
        tcp_send_duplicate_ack(c, in->sequence, before);
    else
        tcp_schedule_ack(c, length);
    if (c->readable && !(c->flags & TCP_FLAG_DETACHED))
        tcp_deliver_later(c, TCP_FLAG_EVENT_READABLE);
    return fin;
}

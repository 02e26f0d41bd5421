/*
 * Acknowledgements: the scoreboard (RFC 2018, 2883), round-trip time (RFC 6298), loss detection (RACK-TLP, RFC 8985;
 * duplicate ACKs without SACK, RFC 5681 and 6582), recovery (PRR, RFC 6937) and undo (RFC 3522, 4015).
 * Private to lib/net (tcp_internal.h); the stack's thread.
 *
 * Where a segment is: in flight (ring by time of sending), SACKed (no ring), or lost (ring, waiting for
 * retransmission).
 */
#include "lib/net/tcp_internal.h"

/* ---- Rings. */

void segment_ring_push(struct tcp_segment **ring, struct tcp_segment *segment)
{
    struct tcp_segment *head = *ring;

    if (!head) {
        segment->order_next = segment->order_previous = segment;
        *ring = segment;
        return;
    }
    segment->order_next = head;
    segment->order_previous = head->order_previous;
    head->order_previous->order_next = segment;
    head->order_previous = segment;
}

void segment_ring_remove(struct tcp_segment **ring, struct tcp_segment *segment)
{
    if (segment->order_next == segment) {
        *ring = NULL;
        return;
    }
    segment->order_next->order_previous = segment->order_previous;
    segment->order_previous->order_next = segment->order_next;
    if (*ring == segment)
        *ring = segment->order_next;
}

/*
 * The lost ring is kept by sequence number: what leaves in one iteration has one time of sending, and RACK then takes
 * the higher sequence number for the later one.
 */
static void lost_insert(struct tcp_segment **ring, struct tcp_segment *segment)
{
    struct tcp_segment *head = *ring, *before;

    if (!head || sequence_before(segment->sequence, head->sequence)) {
        segment_ring_push(ring, segment); /* round the ring, behind the last is in front of the first */
        *ring = segment;
        return;
    }
    before = head->order_previous;
    while (sequence_after(before->sequence, segment->sequence))
        before = before->order_previous;
    segment->order_next = before->order_next;
    segment->order_previous = before;
    before->order_next->order_previous = segment;
    before->order_next = segment;
}

/* What one ACK did, collected while it is processed. */
struct acknowledgement {
    const struct tcp_input *in;
    uint32_t delivered; /* bytes newly known to have arrived */
    uint32_t acked;     /* bytes newly below SND.UNA */
    uint32_t rtt;       /* sample, 0: none */
    bool advanced;
    bool repeated;  /* a segment now below SND.UNA had been sent more than once */
    bool sacked;    /* new SACKs */
    bool duplicate; /* RFC 5681 section 2 */
    bool dsack;
};

/* ---- RACK. */

/* Was the transmission at `a` (ending at `a_end`) after that at `b`? RFC 8985 section 5.1, RACK_sent_after(). */
static bool sent_after(uint32_t a, uint32_t a_end, uint32_t b, uint32_t b_end)
{
    return sequence_after(a, b) || (a == b && sequence_after(a_end, b_end));
}

/* Might this acknowledge the original rather than the retransmission? RFC 8985 section 6.2 step 2. */
/* REQ RFC8985 6.2-2: younger than any round trip, or an older echo [test: net_script/rack_ignores_what_is_ambiguous] */
static bool rack_ambiguous(const struct tcp_connection *c, const struct tcp_segment *segment,
                           const struct acknowledgement *work, uint32_t age)
{
    if (!(segment->flags & TCP_SEGMENT_RETRANSMITTED))
        return false;
    if ((c->flags & TCP_FLAG_TIMESTAMPS) && work->in->options.has_timestamp) {
        uint32_t sent = (uint32_t)((c->stack->now - age) >> 10) + c->timestamp_offset;
        if (sequence_before(work->in->options.timestamp_echo, sent))
            return true;
    }
    return age < c->rtt_minimum;
}

/* REQ RFC6298 3-1: what was sent again gives no sample [test: net_script/retransmission_gives_no_sample] */
/* REQ RFC8985 6.2-3: of what was sent once [test: net_script/rack_sees_reordering] */
/* REQ RFC8985 6.2-3: of nothing else [test: net_script/rack_sees_no_reordering_in_repetitions] */
static void rack_update(struct tcp_connection *c, const struct tcp_segment *segment, struct acknowledgement *work)
{
    uint32_t age = stack_time(c->stack) - segment->sent_at, end = segment_end(segment);

    if (rack_ambiguous(c, segment, work, age))
        return;
    if (!(segment->flags & TCP_SEGMENT_RETRANSMITTED)) {
        /* Karn: only segments sent once; and none from before a timeout, whose ACK may have been lost meanwhile. */
        if (c->recovery < TCP_RECOVERY_LOSS || !sequence_before(segment->sequence, c->recovery_point))
            work->rtt = age ? age : 1;
        if (c->rack_rtt && sequence_before(end, c->rack_end) && !(c->flags & TCP_FLAG_REORDERING) &&
            sequence_after(c->rack_sent_at, segment->sent_at)) {
            c->flags |= TCP_FLAG_REORDERING;
            COUNT(c->stack, tcp_reordering_seen);
        }
    }
    if (c->rack_rtt == 0 || sent_after(segment->sent_at, end, c->rack_sent_at, c->rack_end)) {
        c->rack_sent_at = segment->sent_at;
        c->rack_end = end;
        c->rack_rtt = age ? age : 1;
    }
}

/* REQ RFC8985 6.2-4: none after three SACKs [test: net_script/sack_two_holes_and_partial_ack] */
static uint32_t rack_reordering_window(const struct tcp_connection *c)
{
    if (!(c->flags & TCP_FLAG_REORDERING) && (c->recovery != TCP_RECOVERY_NONE || c->sacked_count >= 3))
        return 0;
    uint32_t window = (c->rtt_minimum >> 2) * c->reorder_steps;
    uint32_t bound = c->smoothed_rtt >> 3;
    return window < bound ? window : bound;
}

void tcp_mark_lost(struct tcp_connection *c, struct tcp_segment *segment)
{
    COUNT(c->stack, tcp_marked_lost);
    segment_ring_remove(&c->in_flight, segment);
    c->flags |= (uint32_t)TCP_FLAG_DISORDER;
    segment->flags = (uint8_t)((segment->flags & ~TCP_SEGMENT_RESENT) | TCP_SEGMENT_LOST);
    lost_insert(&c->lost, segment);
    c->lost_bytes += segment_span(segment);
    if (c->recovery != TCP_RECOVERY_NONE && !sequence_before(segment->sequence, c->recovery_point))
        c->flags |= TCP_FLAG_LOSS_BEYOND;
}

/* RFC 8985 section 6.2 step 5: what was sent long enough before something that has arrived is lost. */
/* REQ RFC8985 4-1: nothing without SACK [test: net_script/fast_retransmit_without_sack] */
/* REQ RFC8985 6.2-5, 7.4-1: by time [test: net_script/loss_of_a_retransmission, net_script/loss_of_the_last_segment] */
void tcp_detect_loss(struct tcp_connection *c)
{
    uint32_t now = stack_time(c->stack), window = rack_reordering_window(c), wait = 0;
    struct tcp_segment *segment;
    bool found = false;

    if (!(c->flags & TCP_FLAG_SACK) || c->rack_rtt == 0)
        return;
    while ((segment = c->in_flight) != NULL) { /* oldest transmission first */
        if (!sent_after(c->rack_sent_at, c->rack_end, segment->sent_at, segment_end(segment)))
            break;
        int32_t remaining = (int32_t)(segment->sent_at + c->rack_rtt + window - now);
        if (remaining > 0) {
            wait = (uint32_t)remaining;
            break;
        }
        tcp_mark_lost(c, segment);
        found = true;
    }
    if (found) {
        if (c->recovery == TCP_RECOVERY_NONE)
            tcp_enter_recovery(c);
        tcp_touch_inline(c);
    }
    if (wait) {
        c->retransmit_kind = TCP_RETRANSMIT_REORDER;
        c->retransmit_at = stack_deadline(c->stack, wait);
        tcp_timer_arm(c);
    } else if (c->retransmit_kind == TCP_RETRANSMIT_REORDER) {
        tcp_set_retransmit(c);
    }
}

/* ---- Scoreboard. */

static void scoreboard_forget(struct tcp_connection *c, struct tcp_segment *segment)
{
    uint32_t span = segment_span(segment);

    if (segment->flags & TCP_SEGMENT_SACKED) {
        c->sacked_bytes -= span;
        c->sacked_count--;
    } else if (segment->flags & TCP_SEGMENT_LOST) {
        c->lost_bytes -= span;
        segment_ring_remove(&c->lost, segment);
    } else {
        segment_ring_remove(&c->in_flight, segment);
    }
}

/* REQ RFC6675 3: a mark on the segment [test: net_script/sack_two_holes_and_partial_ack] */
/* REQ RFC2018 5-1, 5-2: it stays, and is not sent again [test: net_script/sack_two_holes_and_partial_ack] */
static void segment_sacked(struct tcp_connection *c, struct tcp_segment *segment, struct acknowledgement *work)
{
    uint32_t span = segment_span(segment);

    rack_update(c, segment, work);
    scoreboard_forget(c, segment);
    c->flags |= (uint32_t)TCP_FLAG_DISORDER;
    segment->flags = (uint8_t)((segment->flags & ~(TCP_SEGMENT_LOST | TCP_SEGMENT_RESENT)) | TCP_SEGMENT_SACKED);
    c->sacked_bytes += span;
    c->sacked_count++;
    c->delivered += span;
    work->delivered += span;
    work->sacked = true;
}

static void sack_block(struct tcp_connection *c, const struct tcp_sack_block *block, struct acknowledgement *work)
{
    for (struct tcp_segment *segment = c->send_head; segment && segment != c->send_unsent; segment = segment->next) {
        if (!sequence_before(segment->sequence, block->end))
            break;
        if (!(segment->flags & TCP_SEGMENT_SACKED) && !sequence_before(segment->sequence, block->start) &&
            !sequence_after(segment_end(segment), block->end))
            segment_sacked(c, segment, work);
    }
}

/* RFC 2883 section 4: a first block below the cumulative ACK, or inside the second block, reports a duplicate. */
/* REQ RFC2883 5: as it says [test: net_script/duplicate_reports_are_recognized] */
static bool is_duplicate_report(const struct tcp_input *in)
{
    const struct tcp_sack_block *block = in->options.sack;

    if (!sequence_after(block[0].end, in->ack))
        return true;
    return in->options.sack_count > 1 && !sequence_before(block[0].start, block[1].start) &&
           !sequence_after(block[0].end, block[1].end);
}

/* REQ RFC8985 4-3: for 16 recoveries [test: net_script/duplicate_reports_widen_the_reordering_window] */
static void duplicate_reported(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_dsack_received);
    if (c->reorder_steps < UINT8_MAX && (c->flags & TCP_FLAG_REORDERING)) {
        c->reorder_steps++; /* RFC 8985 section 6.2 step 4: the reordering window was too small */
        c->reorder_persist = 16;
    }
}

static void process_sack(struct tcp_connection *c, struct acknowledgement *work)
{
    const struct tcp_input *in = work->in;
    unsigned first = 0;

    if (in->options.sack_count == 0 || !(c->flags & TCP_FLAG_SACK))
        return;
    COUNT(c->stack, tcp_sack_received);
    if (is_duplicate_report(in)) {
        duplicate_reported(c);
        work->dsack = true;
        first = 1;
    }
    for (unsigned i = first; i < in->options.sack_count; i++) {
        const struct tcp_sack_block *block = &in->options.sack[i];
        if (!sequence_before(block->start, block->end) || sequence_after(block->end, c->send_next) ||
            sequence_before(block->start, c->send_unacked)) {
            COUNT(c->stack, tcp_sack_invalid);
            continue;
        }
        sack_block(c, block, work);
    }
}

/* The front of a segment is acknowledged, the rest not: only the metadata moves. */
static void segment_trim(struct tcp_connection *c, struct tcp_segment *segment, uint32_t bytes)
{
    if (segment->flags & TCP_SEGMENT_SACKED)
        c->sacked_bytes -= bytes;
    else if (segment->flags & TCP_SEGMENT_LOST)
        c->lost_bytes -= bytes;
    segment->sequence += bytes;
    segment->data += bytes;
    segment->length = (uint16_t)(segment->length - bytes);
}

/*
 * A cumulative ACK that covers a repeated segment waited for the hole to be filled, so the time since the others were
 * sent is no round trip: the echoed timestamp is, where there is one (RFC 7323 section 4.1). Not of an ACK that reports
 * a duplicate: the repetition made it, and what it echoes came before, by the timeout and more. Taken for round trips
 * such times would lengthen the timeout, and that the next of them.
 */
/* REQ RFC7323 4.1: only of ACKs that advance [test: net_script/duplicates_give_no_sample] */
static void sample_after_repair(const struct tcp_connection *c, struct acknowledgement *work)
{
    const struct tcp_options *options = &work->in->options;
    uint32_t age;

    work->rtt = 0;
    if (!(c->flags & TCP_FLAG_TIMESTAMPS) || !options->has_timestamp || options->timestamp_echo == 0)
        return;
    if ((c->flags & TCP_FLAG_SACK) && options->sack_count > 0 && is_duplicate_report(work->in))
        return;
    age = tcp_timestamp(c->stack, c->timestamp_offset) - options->timestamp_echo;
    if (age < TCP_RTO_MAX_US >> 10)
        work->rtt = (age << 10) + 1;
}

static void advance(struct tcp_connection *c, struct acknowledgement *work)
{
    uint32_t ack = work->in->ack;
    struct tcp_segment *segment;

    work->acked = ack - c->send_unacked;
    work->advanced = true;
    while ((segment = c->send_head) != NULL && segment != c->send_unsent && sequence_before(segment->sequence, ack)) {
        if (sequence_after(segment_end(segment), ack)) {
            uint32_t bytes = ack - segment->sequence;
            if (!(segment->flags & TCP_SEGMENT_SACKED)) {
                c->delivered += bytes;
                work->delivered += bytes;
            }
            segment_trim(c, segment, bytes);
            break;
        }
        if (!(segment->flags & TCP_SEGMENT_SACKED)) {
            rack_update(c, segment, work);
            c->delivered += segment_span(segment);
            work->delivered += segment_span(segment);
        }
        work->repeated = work->repeated || (segment->flags & TCP_SEGMENT_RETRANSMITTED);
        scoreboard_forget(c, segment);
        c->send_head = segment->next;
        if (!c->send_head)
            c->send_tail = NULL;
        segment_free(c, segment);
    }
    if (work->repeated)
        sample_after_repair(c, work);
    neighbour_confirm(c->stack, c->neighbour);
    c->send_unacked = ack;
    c->backoff = 0;
    c->progress_at = c->stack->tick;
}

/* ---- Congestion events. */

static void undo_prepare(struct tcp_connection *c)
{
    c->flags |= TCP_FLAG_UNDO;
    c->undo_timestamp = 0;
    c->undo_window = c->congestion_window;
    c->undo_threshold = c->slow_start_threshold;
}

/* REQ RFC6675 5-4: up to what was sent before it [test: net_script/sack_two_holes_and_partial_ack] */
/* REQ RFC5681 4.3: one reduction for all losses of a window [test: net_script/sack_two_holes_and_partial_ack] */
void tcp_enter_recovery(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_fast_recoveries);
    undo_prepare(c);
    c->flags &= ~(uint32_t)TCP_FLAG_LOSS_BEYOND;
    c->recovery = TCP_RECOVERY_FAST;
    c->recovery_point = c->send_next;
    c->recovery_flight = c->send_next - c->send_unacked;
    c->prr_delivered = 0;
    c->prr_out = 0;
    c->slow_start_threshold = congestion_of(c)->reduce(c);
}

/* REQ RFC6937 3-4: at the threshold [test: net_script/recovery_ends_at_the_threshold] */
/* REQ RFC5681 3.2-6: at the threshold [test: net_script/recovery_ends_at_the_threshold] */
/* REQ RFC4015 3.2-3: then nothing is undone [test: net_script/second_loss_is_not_undone] */
static void recovery_finish(struct tcp_connection *c)
{
    if (c->recovery == TCP_RECOVERY_FAST)
        c->congestion_window = c->slow_start_threshold;
    c->recovery = TCP_RECOVERY_NONE;
    c->duplicate_acks = 0;
    c->flags &= ~(uint32_t)TCP_FLAG_UNDO;
    if (c->reorder_persist && --c->reorder_persist == 0)
        c->reorder_steps = 1;
    if (c->flags & TCP_FLAG_LOSS_BEYOND) {
        /* Data sent during the recovery was lost too: that is the next event. Its first retransmission may have left
         * already, so an old echo would prove nothing: no undo. */
        tcp_enter_recovery(c);
        c->flags &= ~(uint32_t)TCP_FLAG_UNDO;
    }
}

/* RFC 6937 with the conservative bound replaced by slow start while the ACK makes progress (PRR-SSRB). */
/* REQ RFC6937 3-1, 3-2: in proportion, then slow start [test: net_script/recovery_sends_in_proportion] */
/* REQ RFC6937 3-3: one segment at least, at first [test: net_script/sack_two_holes_and_partial_ack] */
/* REQ RFC6675 5-1: one segment at least, at first [test: net_script/sack_two_holes_and_partial_ack] */
static void prr(struct tcp_connection *c, const struct acknowledgement *work)
{
    uint32_t pipe = tcp_in_flight(c), threshold = c->slow_start_threshold, send;

    c->prr_delivered += work->delivered;
    if (pipe > threshold) {
        uint64_t target = ((uint64_t)c->prr_delivered * threshold + c->recovery_flight - 1) / c->recovery_flight;
        send = target > c->prr_out ? (uint32_t)target - c->prr_out : 0;
    } else {
        uint32_t owed = c->prr_delivered > c->prr_out ? c->prr_delivered - c->prr_out : 0;
        uint32_t bound = (owed > work->delivered ? owed : work->delivered) + c->send_mss;
        send = threshold - pipe < bound ? threshold - pipe : bound;
    }
    if (c->prr_out == 0 && send < c->send_mss)
        send = c->send_mss; /* the first retransmission leaves at once */
    c->congestion_window = pipe + send;
}

/* The last reduction was wrong: back to the window before it (RFC 4015). */
static void undo(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_undone);
    c->flags &= ~(uint32_t)TCP_FLAG_UNDO;
    if (c->undo_window > c->congestion_window)
        c->congestion_window = c->undo_window;
    c->slow_start_threshold = c->undo_threshold;
    c->recovery = TCP_RECOVERY_NONE;
    congestion_of(c)->undo(c);
    while (c->lost) { /* back into the flight: what is really lost will be found again */
        struct tcp_segment *segment = c->lost;
        segment_ring_remove(&c->lost, segment);
        segment->flags &= (uint8_t)~TCP_SEGMENT_LOST;
        c->lost_bytes -= segment_span(segment);
        segment_ring_push(&c->in_flight, segment);
    }
}

/* REQ RFC4015 3.2-1, 3.2-2: by timestamp [test: net_script/spurious_timeout_is_undone] */
/* REQ RFC9438 4.9: window, threshold and W_max as before [test: net_script/spurious_timeout_is_undone] */
/* Eifel (RFC 3522): the ACK echoes a timestamp older than the first retransmission, so the original arrived. */
static void undo_check(struct tcp_connection *c, const struct acknowledgement *work)
{
    if ((c->flags & TCP_FLAG_UNDO) && (c->flags & TCP_FLAG_TIMESTAMPS) && c->undo_timestamp && work->advanced &&
        work->in->options.has_timestamp && sequence_before(work->in->options.timestamp_echo, c->undo_timestamp & ~1u)) {
        COUNT(c->stack, tcp_undone_by_timestamp);
        undo(c);
    }
}

/*
 * F-RTO (RFC 5682 section 2.1), where there are no timestamps. The timeout's retransmission was acknowledged in part:
 * new data instead of more repetitions; if the next ACK advances again, it is the original segments that arrive.
 */
static void doubt_check(struct tcp_connection *c, const struct acknowledgement *work)
{
    if (c->recovery == TCP_RECOVERY_DOUBT_NEW && work->advanced) {
        COUNT(c->stack, tcp_undone_by_probing);
        undo(c);
    } else if (c->recovery == TCP_RECOVERY_DOUBT && work->advanced && !work->sacked && c->send_unsent) {
        c->recovery = TCP_RECOVERY_DOUBT_NEW;
        c->congestion_window = 2u * c->send_mss;
        tcp_touch_inline(c);
    } else if (work->advanced || work->duplicate || work->sacked) {
        c->recovery = TCP_RECOVERY_LOSS; /* it was a loss: repeat the rest */
        tcp_touch_inline(c);
    }
}

/*
 * The first slow start ends when round trips grow, before the queue of the path overflows (HyStart++, RFC 9406). Its
 * state lies in words that congestion control uses from the first reduction on only.
 */
enum { HYSTART_END = 1, HYSTART_PHASE, HYSTART_LAST, HYSTART_CURRENT, HYSTART_BASELINE };
enum {
    HYSTART_SAMPLES = 8,    /* of a round before its minimum means something; bits 0 to 7 of the phase count them */
    HYSTART_ROUND = 1 << 8, /* bits 8 to 15 count rounds of conservative slow start */
    HYSTART_ROUNDS = 5,
    HYSTART_CONSERVATIVE = 1 << 16,
    HYSTART_STARTED = 1 << 17,
    HYSTART_THRESHOLD_MIN = 4000, /* us */
    HYSTART_THRESHOLD_MAX = 16000,
};

/* REQ RFC9406 4.2-1: rounds by sequence numbers, each with its minimum [test: meson/net_goodput] */
static void hystart_round(struct tcp_connection *c)
{
    uint32_t *state = c->congestion;
    const uint32_t rounds = state[HYSTART_PHASE] & HYSTART_CONSERVATIVE ? (uint32_t)HYSTART_ROUND : 0;

    state[HYSTART_LAST] = state[HYSTART_CURRENT];
    state[HYSTART_CURRENT] = 0;
    state[HYSTART_END] = c->send_next;
    state[HYSTART_PHASE] = ((state[HYSTART_PHASE] & ~0xffu) + rounds) | HYSTART_STARTED;
}

/* REQ RFC9406 4.2-2, 4.3-1: a rise beyond an eighth, 4 to 16 ms [test: meson/net_goodput] */
/* REQ RFC9406 4.2-4: a round trip that falls again was noise [test: meson/net_goodput] */
static void hystart_sample(struct tcp_connection *c, uint32_t rtt)
{
    uint32_t *state = c->congestion;
    uint32_t threshold = state[HYSTART_LAST] / 8;

    threshold = threshold < HYSTART_THRESHOLD_MIN ? HYSTART_THRESHOLD_MIN : threshold;
    threshold = threshold > HYSTART_THRESHOLD_MAX ? HYSTART_THRESHOLD_MAX : threshold;
    if (state[HYSTART_CURRENT] == 0 || rtt < state[HYSTART_CURRENT])
        state[HYSTART_CURRENT] = rtt;
    if ((state[HYSTART_PHASE] & 0xff) < HYSTART_SAMPLES && (++state[HYSTART_PHASE] & 0xff) < HYSTART_SAMPLES)
        return;
    if (!(state[HYSTART_PHASE] & HYSTART_CONSERVATIVE)) {
        if (state[HYSTART_LAST] && state[HYSTART_CURRENT] >= state[HYSTART_LAST] + threshold) {
            state[HYSTART_BASELINE] = state[HYSTART_CURRENT];
            state[HYSTART_PHASE] |= HYSTART_CONSERVATIVE;
            COUNT(c->stack, tcp_slow_start_eased);
        }
    } else if (state[HYSTART_CURRENT] < state[HYSTART_BASELINE]) { /* it was noise */
        state[HYSTART_PHASE] &= ~(uint32_t)(HYSTART_CONSERVATIVE | 0xff00);
    }
}

/* REQ RFC9406 4.2-3, 4.2-5: a quarter of the growth, for five rounds [test: meson/net_goodput] */
/* REQ RFC9406 4.2-6, 4.3-2: while there is no threshold; a loss sets one [test: meson/net_goodput] */
/* REQ RFC9438 4.10: HyStart++ [test: meson/net_goodput] */
static void first_slow_start(struct tcp_connection *c, uint32_t acked, uint32_t rtt)
{
    uint32_t *state = c->congestion, bound = 8u * c->send_mss;

    if (!(state[HYSTART_PHASE] & HYSTART_STARTED) || sequence_after(c->send_unacked, state[HYSTART_END]))
        hystart_round(c);
    if (rtt)
        hystart_sample(c, rtt);
    acked = acked < bound ? acked : bound;
    c->congestion_window += state[HYSTART_PHASE] & HYSTART_CONSERVATIVE ? acked / 4 : acked;
    if ((state[HYSTART_PHASE] >> 8 & 0xff) >= HYSTART_ROUNDS) {
        COUNT(c->stack, tcp_slow_start_ended);
        c->slow_start_threshold = c->congestion_window;
        congestion_of(c)->start(c);
    }
}

/* REQ RFC9293 MUST-19: slow start and avoidance [test: net_script/initial_window_and_slow_start, meson/net_goodput] */
/* REQ RFC5681 3.1-4, 3.1-5: by bytes acknowledged [test: net_script/initial_window_and_slow_start] */
/* REQ RFC9438 5.8: not while the application limits [test: net_script/cwnd_not_limited] */
void tcp_grow_window(struct tcp_connection *c, uint32_t acked, uint32_t rtt)
{
    /* REQ RFC7661 4.3: no growth while the window does not limit [test: net_script/cwnd_not_limited] */
    if (!(c->flags & TCP_FLAG_CWND_LIMITED) || c->recovery == TCP_RECOVERY_FAST)
        return;
    if (c->slow_start_threshold == INT32_MAX) {
        first_slow_start(c, acked, rtt);
    } else if (c->congestion_window < c->slow_start_threshold) {
        uint32_t room = c->slow_start_threshold - c->congestion_window;
        c->congestion_window += acked < room ? acked : room;
    } else {
        congestion_of(c)->grow(c, acked);
    }
}

/* After a timeout everything outstanding counts as lost, SACKs are not trusted any more (RFC 2018 section 8). */
/* REQ RFC2018 8: SACKs are forgotten [test: net_script/timeout_forgets_sacks] */
/* REQ RFC8985 6.3: all of it [test: net_script/ssthresh_once] */
void tcp_mark_all_lost(struct tcp_connection *c)
{
    while (c->lost)
        segment_ring_remove(&c->lost, c->lost);
    c->in_flight = NULL;
    c->sacked_bytes = c->lost_bytes = 0;
    c->sacked_count = 0;
    c->duplicate_acks = 0;
    c->flags = (c->flags & ~(uint32_t)TCP_FLAG_LOSS_BEYOND) | (uint32_t)TCP_FLAG_DISORDER;
    for (struct tcp_segment *segment = c->send_head; segment && segment != c->send_unsent; segment = segment->next) {
        segment->flags = (uint8_t)((segment->flags & ~(TCP_SEGMENT_SACKED | TCP_SEGMENT_RESENT)) | TCP_SEGMENT_LOST);
        segment_ring_push(&c->lost, segment);
        c->lost_bytes += segment_span(segment);
    }
}

/* ---- Without SACK: RFC 5681 section 3.2, RFC 6582. */

static void head_lost(struct tcp_connection *c)
{
    struct tcp_segment *head = c->send_head;

    if (head && head != c->send_unsent && !(head->flags & TCP_SEGMENT_LOST))
        tcp_mark_lost(c, head);
    tcp_touch_inline(c);
}

/*
 * What a recovery repeated in vain comes back as duplicate ACKs of its end, when it is over: they say nothing about a
 * loss. recovery_point is RFC 6582's "recover", plus one.
 */
/* REQ RFC6582 3.2-3: not while the ACK stands at its end [test: net_script/late_duplicates_start_nothing] */
static bool duplicates_are_late(const struct tcp_connection *c)
{
    return c->send_unacked == c->recovery_point;
}

/* REQ RFC5681 3.2-3, 3.2-5: the third duplicate [test: net_script/fast_retransmit_without_sack] */
/* REQ RFC5681 3.2-7: tcp_in_flight() counts them [test: net_script/limited_transmit] */
/* REQ RFC6582 3.2-1, 3.2-2: hole by hole to the end [test: net_script/fast_retransmit_without_sack] */
static void newreno(struct tcp_connection *c, const struct acknowledgement *work)
{
    if (work->advanced) {
        uint32_t segments = 1;
        for (uint32_t left = work->acked; left > c->send_mss && segments < c->duplicate_acks; left -= c->send_mss)
            segments++; /* these are no longer above SND.UNA */
        c->duplicate_acks = (uint8_t)(c->duplicate_acks > segments ? c->duplicate_acks - segments : 0);
        if (c->recovery == TCP_RECOVERY_FAST) /* a partial ACK shows the next hole */
            head_lost(c);
        else
            c->duplicate_acks = 0;
    } else if (work->duplicate) {
        c->duplicate_acks += c->duplicate_acks < UINT8_MAX;
        tcp_touch_inline(c);
        if (c->duplicate_acks == 3 && c->recovery == TCP_RECOVERY_NONE && !duplicates_are_late(c)) {
            tcp_enter_recovery(c);
            head_lost(c);
        }
    }
}

/* ---- Window. */

static void window_opened(struct tcp_connection *c)
{
    if (c->send_unacked != c->send_next && c->send_head && !(c->send_head->flags & TCP_SEGMENT_LOST) &&
        !(c->send_head->flags & TCP_SEGMENT_SACKED))
        tcp_mark_lost(c, c->send_head); /* the probe was refused: send it again now, not after a timeout */
    c->backoff = 0;
    c->retransmit_kind = TCP_RETRANSMIT_NONE;
}

/* REQ RFC9293 3.10.7.4-4: of the newest segment [test: net_script/window_is_that_of_the_newest_acknowledgement] */
/* REQ RFC7323 2.4-1: counted and taken [test: net_script/window_shrunk] */
/* REQ RFC7323 2.4-2: less than a unit of the scale is no shrinking [test: net_script/rounding_is_no_shrinking] */
/* REQ RFC9293 SHLD-17: a zero window is progress [test: net_script/shrunk_to_zero_does_not_end] */
static void window_update(struct tcp_connection *c, const struct tcp_input *in)
{
    uint32_t before = c->send_window, edge = c->window_ack + c->send_window;

    /*
     * Which segment is newer? RFC 9293 looks at the sequence number first. But one that was lost and is sent again has
     * an old number and brings a new acknowledgement; from that the old window would be counted, beyond the edge.
     */
    if (sequence_before(in->ack, c->window_ack) ||
        (in->ack == c->window_ack && sequence_before(in->sequence, c->window_sequence)))
        return;
    if (sequence_before(in->ack + in->window, edge) && edge - (in->ack + in->window) > 1u << c->send_scale)
        COUNT(c->stack,
              /* REQ RFC9293 MUST-34: be robust against it [test: net_script/window_shrunk] */
              tcp_window_shrunk);
    c->send_window = in->window;
    c->window_sequence = in->sequence;
    c->window_ack = in->ack;
    if (in->window > c->send_window_max)
        c->send_window_max = in->window;
    if (in->window == 0 && before != 0)
        COUNT(c->stack, tcp_zero_windows_received);
    if (in->window != 0 && before == 0)
        window_opened(c);
    if (in->window == 0)
        /* REQ RFC9293 MUST-37: a peer that answers probes is alive [test: net_script/zero_window_forever] */
        c->progress_at = c->stack->tick;
}

void tcp_tell_writable(struct tcp_connection *c)
{
    uint32_t used = tcp_unacknowledged_bytes(c);

    if (used <= c->stack->config.send_buffer / 2) {
        c->flags &= ~(uint32_t)TCP_FLAG_WANT_WRITE;
        tcp_deliver_later(c, TCP_FLAG_EVENT_WRITABLE);
    }
}

/* An event of congestion that needs no recovery. A window below the threshold's floor is not raised by it. */
static void window_reduce(struct tcp_connection *c)
{
    c->slow_start_threshold = congestion_of(c)->reduce(c);
    if (c->congestion_window > c->slow_start_threshold)
        c->congestion_window = c->slow_start_threshold;
}

/* RFC 8985 section 7.4: what became of the tail loss probe? */
/* REQ RFC8985 7.4-2: it counts as a loss [test: net_script/probe_that_repairs_reduces_the_window] */
static void probe_check(struct tcp_connection *c, const struct acknowledgement *work)
{
    if (!(c->flags & TCP_FLAG_PROBED) || sequence_before(work->in->ack, c->probe_end))
        return;
    if ((c->flags & TCP_FLAG_PROBE_RESENT) && !work->dsack && c->recovery == TCP_RECOVERY_NONE &&
        sequence_after(work->in->ack, c->probe_end)) {
        /* The probe repaired a loss by itself: the window still has to answer for it. */
        COUNT(c->stack, tcp_loss_probe_recoveries);
        window_reduce(c);
    }
    c->flags &= ~(uint32_t)(TCP_FLAG_PROBED | TCP_FLAG_PROBE_RESENT);
}

/*
 * RFC 3168 section 6.1.2: the peer saw a mark. The window is reduced as for a loss, once per window of data:
 * recovery_point is where the last reduction ends, stale when it lies outside of what is in flight.
 */
/* REQ RFC3168 6.1.2-1: as for a loss, once a window [test: net_script/ecn_reduces_once_per_window] */
static void ecn_echoed(struct tcp_connection *c)
{
    const uint32_t outstanding = c->send_next - c->send_unacked, point = c->recovery_point - c->send_unacked;

    if (c->recovery != TCP_RECOVERY_NONE || (point != 0 && point <= outstanding))
        return;
    COUNT(c->stack, tcp_ecn_reductions);
    window_reduce(c);
    c->recovery_point = c->send_next;
    c->flags |= TCP_FLAG_ECN_REDUCED;
}

static void loss_and_recovery(struct tcp_connection *c, struct acknowledgement *work)
{
    undo_check(c, work);
    if (c->recovery != TCP_RECOVERY_NONE && work->advanced && !sequence_before(work->in->ack, c->recovery_point))
        recovery_finish(c);
    if (c->recovery >= TCP_RECOVERY_DOUBT)
        doubt_check(c, work);
    if (c->flags & TCP_FLAG_SACK)
        tcp_detect_loss(c);
    else
        newreno(c, work);
    if (c->recovery == TCP_RECOVERY_FAST)
        prr(c, work);
    else if (work->advanced && c->recovery != TCP_RECOVERY_DOUBT_NEW)
        tcp_grow_window(c, work->acked, work->rtt);
}

/* RFC 5681 section 2. What answers the probes of a closed window looks alike and shows no loss. */
/* REQ RFC5681 2: as defined there [test: net_script/window_probe_answers_are_no_duplicates] */
static bool is_duplicate(const struct tcp_connection *c, const struct tcp_input *in)
{
    return in->ack == c->send_unacked && in->length == 0 && in->window == c->send_window && c->send_window != 0 &&
           !(in->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG));
}

void tcp_acknowledge(struct tcp_connection *c, const struct tcp_input *in)
{
    struct acknowledgement work = {.in = in};
    bool outstanding = c->send_next != c->send_unacked;

    work.duplicate = outstanding && is_duplicate(c, in);
    if (work.duplicate)
        COUNT(c->stack, tcp_duplicate_acks);
    if (outstanding) {
        if (sequence_after(in->ack, c->send_unacked))
            advance(c, &work); /* before the SACKs: what lies below them was not reordered */
        process_sack(c, &work);
        if (work.rtt)
            tcp_rtt_sample(c, work.rtt);
        if (work.advanced || work.sacked)
            c->retransmit_kind = TCP_RETRANSMIT_NONE; /* set anew by what follows, or by output */
        probe_check(c, &work);
    } else {
        process_sack(c, &work); /* a duplicate may be reported when all is acknowledged */
    }
    if (work.advanced && c->send_head && c->send_head != c->send_unsent && (c->send_head->flags & TCP_SEGMENT_SACKED)) {
        /* REQ RFC2018 8: the peer dropped what it had SACKed [test: net_script/sack_reneging_is_survived] */
        COUNT(c->stack, tcp_sack_reneged);
        tcp_mark_all_lost(c);
        tcp_touch_inline(c);
    }
    window_update(c, in);
    if (outstanding && (in->flags & RTE_TCP_ECE_FLAG) && (c->flags & TCP_FLAG_ECN))
        ecn_echoed(c);
    if (outstanding)
        loss_and_recovery(c, &work);
    if (c->send_next == c->send_unacked && outstanding) {
        c->rack_rtt = 0; /* nothing in flight: times wrap before they are compared again */
        c->flags &= ~(uint32_t)(TCP_FLAG_LOSS_BEYOND | TCP_FLAG_DISORDER);
        c->recovery = TCP_RECOVERY_NONE;
        c->duplicate_acks = 0;
    }
    if (work.advanced && (c->flags & TCP_FLAG_WANT_WRITE))
        tcp_tell_writable(c);
    if (c->retransmit_kind == TCP_RETRANSMIT_NONE)
        tcp_set_retransmit(c);
    if (c->lost || c->send_unsent)
        tcp_touch_inline(c);
}

/*
 * The timer of a connection: one `struct timer`, several deadlines. Private to lib/net (tcp_internal.h).
 *
 * A deadline that moves later (the retransmission timeout with every ACK) only stores a word: the timer is left where
 * it is and, when it fires, finds nothing due and is set again. So the wheel is touched about once per timeout, not per
 * segment.
 */
#include "lib/net/tcp_internal.h"

/* REQ RFC6298 3-3: ticks of 128 us [test: net_script/first_sample] */
static bool tick_reached(const struct net_stack *stack, uint32_t deadline)
{
    return deadline != 0 && (int32_t)(stack->tick - deadline) >= 0;
}

static void arm_at(struct tcp_connection *c, uint32_t deadline, uint64_t *earliest)
{
    if (deadline == 0)
        return;
    uint64_t base = c->stack->now >> TIMER_TICK_SHIFT;
    uint64_t tick = base + (uint64_t)(int64_t)(int32_t)(deadline - (uint32_t)base);
    if (tick < *earliest)
        *earliest = tick;
}

/* Does the timer fire in time for this deadline as it is? */
static inline bool armed_for(const struct tcp_connection *c, uint32_t deadline)
{
    return deadline == 0 || (int32_t)((uint32_t)c->timer.expires - deadline) <= 0;
}

void tcp_timer_arm(struct tcp_connection *c)
{
    uint64_t earliest = UINT64_MAX;

    if (timer_pending(&c->timer) && armed_for(c, c->retransmit_at) && armed_for(c, c->delayed_ack_at) &&
        armed_for(c, c->keep_at))
        return;
    arm_at(c, c->retransmit_at, &earliest);
    arm_at(c, c->delayed_ack_at, &earliest);
    arm_at(c, c->keep_at, &earliest);
    if (earliest == UINT64_MAX || (timer_pending(&c->timer) && c->timer.expires <= earliest))
        return;
    timer_set(c->stack->config.wheel, &c->timer, earliest << TIMER_TICK_SHIFT);
}

/* RFC 6298 with Linux's reading of the lower bound: it holds for the variance term, so that a long path keeps a margin.
 */
/* REQ RFC9293 MUST-23: three minutes of SYNs [test: net_script/connect_is_given_up_late] */
/* REQ RFC6298 2.1-1: one second [test: net_script/active_open_syn_is_repeated_then_given_up] */
/* REQ RFC6298 2.5: 60 seconds at most [test: net_script/timeout_is_bounded] */
/* REQ RFC6298 5.7: three seconds until there is a sample [test: net_script/lost_syn_shrinks_the_window] */
uint32_t tcp_rto(const struct tcp_connection *c)
{
    uint64_t rto = c->syn_lost ? TCP_RTO_SYN_LOST_US : TCP_RTO_INITIAL_US;

    if (c->smoothed_rtt) {
        uint32_t minimum = (uint32_t)c->stack->config.rto_min_us;
        rto = (c->smoothed_rtt >> 3) + (c->rtt_variance > minimum ? c->rtt_variance : minimum);
    }
    rto <<= c->backoff < 16 ? c->backoff : 16;
    return rto < TCP_RTO_MAX_US ? (uint32_t)rto : TCP_RTO_MAX_US;
}

/* RFC 8985 section 7.2: when to probe the tail; 0 when no probe is due. */
/* REQ RFC8985 4-4: not without SACK [test: net_script/timeout_backs_off] */
/* REQ RFC8985 7.2-1, 7.2-2: two round trips and a delayed ACK [test: net_script/loss_of_the_last_segment] */
/* REQ RFC8985 7.3-2: one at a time [test: net_script/one_probe_then_the_timeout] */
static uint32_t probe_timeout(const struct tcp_connection *c)
{
    uint32_t timeout = c->smoothed_rtt >> 2; /* 2 * SRTT */

    if (!(c->flags & TCP_FLAG_SACK) || c->recovery != TCP_RECOVERY_NONE || !c->smoothed_rtt || c->backoff ||
        (c->flags & TCP_FLAG_PROBED) || c->send_window == 0 || c->sacked_count)
        return 0;
    if (c->send_next - c->send_unacked <= c->send_mss)
        timeout += TCP_MAX_ACK_DELAY_US;
    return timeout ? timeout : 1;
}

/* REQ RFC8985 8: one deadline, of one kind [test: net_script/one_probe_then_the_timeout] */
/* REQ RFC6298 5.1, 5.2, 5.3: set anew by sending and by ACKs [test: net_script/timeout_backs_off] */
void tcp_set_retransmit(struct tcp_connection *c)
{
    uint32_t rto = tcp_rto(c), probe;

    c->retransmit_at = 0;
    c->retransmit_kind = TCP_RETRANSMIT_NONE;
    if (c->send_next != c->send_unacked) {
        c->retransmit_kind = TCP_RETRANSMIT_TIMEOUT;
        probe = probe_timeout(c);
        if (probe) { /* at the time of the timeout at the latest, and instead of it */
            c->retransmit_kind = TCP_RETRANSMIT_PROBE;
            rto = probe < rto ? probe : rto;
        }
    } else if (c->send_unsent && segment_span(c->send_unsent)) {
        c->retransmit_kind =
            /* REQ RFC9293 SHLD-29: first probe after an RTO [test: net_script/zero_window] */
            TCP_RETRANSMIT_PERSIST;
    } else if (c->flags & TCP_FLAG_FIN_WANTED || ((c->flags & TCP_FLAG_WANT_WRITE) && !c->send_head)) {
        c->retransmit_kind = TCP_RETRANSMIT_MEMORY;
        rto = 10 * 1000;
    }
    if (c->retransmit_kind != TCP_RETRANSMIT_NONE) {
        c->retransmit_at = stack_deadline(c->stack, rto);
        tcp_timer_arm(c);
    }
}

/* REQ RFC6298 5.5: doubled [test: net_script/timeout_backs_off] */
/* REQ RFC9293 SHLD-30: for window probes too [test: net_script/window_probes_back_off] */
static void back_off(struct tcp_connection *c)
{
    c->backoff += c->backoff < 16;
    tcp_set_retransmit(c);
}

/* ---- The user timeout. */

/* REQ RFC5482 3.2: neither sent nor heard unless enabled [test: net_script/user_timeout_option_is_off] */
uint16_t tcp_advertised_timeout(const struct net_stack *stack)
{
    const uint64_t seconds = stack->config.user_timeout_us / 1000000;

    if (!stack->config.user_timeout_option)
        return 0;
    return (uint16_t)(seconds == 0 ? 1 : seconds < UINT16_MAX ? seconds : UINT16_MAX);
}

/* REQ RFC5482 3.1: up to the limit, never below 100 s [test: net_script/user_timeout_option] */
void tcp_timeout_received(struct tcp_connection *c, uint16_t seconds)
{
    const uint16_t own = tcp_advertised_timeout(c->stack);
    const uint64_t limit = c->stack->config.user_timeout_limit_us / 1000000;

    if (own == 0 || seconds == 0 || c->timeout_set)
        return;
    seconds = seconds > own ? seconds : own;
    seconds = seconds > TCP_USER_TIMEOUT_LOW ? seconds : TCP_USER_TIMEOUT_LOW;
    c->user_timeout_s = (uint16_t)(seconds < limit ? seconds : limit);
}

static bool user_timeout_over(const struct tcp_connection *c)
{
    const uint64_t us = c->user_timeout_s ? c->user_timeout_s * UINT64_C(1000000) : c->stack->config.user_timeout_us;

    return c->stack->tick - c->progress_at > us >> TIMER_TICK_SHIFT;
}

/* REQ RFC9293 MUST-20, SHLD-10: R1 is three retransmissions [test: net_script/neighbour_is_doubted] */
static void silence_check(struct tcp_connection *c)
{
    if (c->backoff != TCP_R1)
        return;
    neighbour_doubt(c->stack, c->neighbour);
    connection_trouble(c, TCP_TROUBLE_SILENCE);
}

/* REQ RFC9293 SHLD-11: 180 s of no progress [test: net_script/user_timeout, net_defaults/times_of_the_standards] */
/* REQ RFC5482 4.2: as long as the user timeout allows [test: net_script/user_timeout] */
static void give_up(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_resets_timeout);
    tcp_send_reset(c);
    connection_end(c, TCP_CLOSE_TIMEOUT);
}

/* RFC 6298 section 5.4 to 5.7. */
/* REQ RFC5681 3.1-7, 3.1-9: reduced, then one segment [test: net_script/ssthresh_once] */
/* REQ RFC9438 4.8: by 0.7 [test: net_script/ssthresh_once] */
/* REQ RFC6298 5.4: the earliest first [test: net_script/timeout_backs_off] */
/* REQ RFC6675 5.1-1, 5.1-2: one event for the flight [test: net_script/ssthresh_once] */
/* REQ RFC8985 7.1: the probe is forgotten [test: net_script/one_probe_then_the_timeout] */
static void retransmission_timeout(struct tcp_connection *c)
{
    const bool first = c->recovery == TCP_RECOVERY_NONE && !(c->flags & TCP_FLAG_TIMESTAMPS);
    bool same_event = c->recovery >= TCP_RECOVERY_LOSS && sequence_before(c->send_unacked, c->recovery_point);

    /* RFC 9293's R2, in seconds. */
    if (user_timeout_over(c)) {
        COUNT(c->stack, tcp_user_timeouts);
        give_up(c);
        return;
    }
    if (c->send_window == 0) { /* what is in flight serves as the window probe; this is no congestion */
        COUNT(c->stack, tcp_window_probes_sent);
        if (c->send_head && c->send_head != c->send_unsent) {
            if (c->send_head->flags & TCP_SEGMENT_SACKED)
                tcp_mark_all_lost(c);
            tcp_retransmit_segment(c, c->send_head);
        }
        back_off(c);
        return;
    }
    COUNT(c->stack, tcp_timeouts);
    /* REQ RFC5681 3.1-8: ssthresh is reduced once per event [test: net_script/ssthresh_once] */
    if (!same_event) {
        if (c->recovery == TCP_RECOVERY_NONE) {
            c->flags |= TCP_FLAG_UNDO;
            c->undo_timestamp = 0;
            c->undo_window = c->congestion_window;
            c->undo_threshold = c->slow_start_threshold;
            c->slow_start_threshold = congestion_of(c)->reduce(c);
        }
        c->recovery_point = c->send_next;
    }
    c->recovery = first && !same_event ? TCP_RECOVERY_DOUBT : TCP_RECOVERY_LOSS;
    c->congestion_window = c->send_mss;
    c->flags &= ~(uint32_t)(TCP_FLAG_PROBED | TCP_FLAG_PROBE_RESENT);
    c->flags |= TCP_FLAG_CWND_LIMITED;
    tcp_mark_all_lost(c);
    back_off(c);
    silence_check(c);
    tcp_black_hole_check(c);
    tcp_touch_inline(c);
}

/* The highest segment sent and not SACKed. */
static struct tcp_segment *last_sent(const struct tcp_connection *c)
{
    struct tcp_segment *last = NULL;

    for (struct tcp_segment *segment = c->send_head; segment && segment != c->send_unsent; segment = segment->next)
        if (!(segment->flags & TCP_SEGMENT_SACKED))
            last = segment;
    return last;
}

/* RFC 8985 section 7.3: new data if the peer's window has room, else the last segment again. */
/* REQ RFC8985 7.3-1: new data, or the last segment [test: net_script/loss_of_the_last_segment] */
/* REQ RFC8985 7.3-3: then the timeout [test: net_script/one_probe_then_the_timeout] */
static void tail_loss_probe(struct tcp_connection *c)
{
    struct tcp_segment *segment = c->send_unsent;
    bool resent = false;

    tcp_seal_tail(c);
    if (!(segment && segment_span(segment) && (int32_t)(c->send_unacked + c->send_window - segment_end(segment)) >= 0 &&
          tcp_send_probe(c))) {
        segment = last_sent(c);
        resent = segment && tcp_retransmit_segment(c, segment);
    }
    COUNT(c->stack, tcp_loss_probes);
    c->flags |= TCP_FLAG_PROBED | (resent ? TCP_FLAG_PROBE_RESENT : 0u);
    c->probe_end = c->send_next;
    tcp_set_retransmit(c);
}

/* Nothing in flight and the window does not let the next segment out (RFC 9293 section 3.8.6.1, or its SWS override).
 */
/* REQ RFC9293 MUST-36: one byte [test: net_script/zero_window, net_script/zero_window_probe_accepted] */
static void persist(struct tcp_connection *c)
{
    if (user_timeout_over(c) && c->send_window != 0 && c->backoff > 8) {
        COUNT(c->stack, tcp_user_timeouts);
        give_up(c);
        return;
    }
    if (tcp_send_probe(c))
        COUNT(c->stack, tcp_window_probes_sent);
    back_off(c);
}

static void memory_retry(struct tcp_connection *c)
{
    c->retransmit_kind = TCP_RETRANSMIT_NONE;
    if (c->flags & TCP_FLAG_WANT_WRITE) {
        c->flags &= ~(uint32_t)TCP_FLAG_WANT_WRITE;
        tcp_deliver_later(c, TCP_FLAG_EVENT_WRITABLE);
    }
    tcp_touch_inline(c);
}

/* REQ RFC9293 MUST-22: a number of SYNs [test: net_script/active_open_syn_is_repeated_then_given_up] */
/* REQ RFC6298 2.1-2: doubled [test: net_script/active_open_syn_is_repeated_then_given_up] */
static void syn_timeout(struct tcp_connection *c)
{
    if (c->probes >= c->stack->config.syn_retries) {
        COUNT(c->stack, tcp_connect_timeouts);
        connection_end(c, TCP_CLOSE_CONNECT_TIMEOUT);
        return;
    }
    c->probes++;
    c->backoff++;
    if (c->undo_timestamp == 0)
        c->undo_timestamp = tcp_timestamp(c->stack, c->timestamp_offset) | 1;
    COUNT(c->stack, tcp_retransmits);
    silence_check(c);
    tcp_send_syn(c);
    c->retransmit_at = stack_deadline(c->stack, tcp_rto(c));
}

static void retransmit_due(struct tcp_connection *c)
{
    enum tcp_retransmit_kind kind = c->retransmit_kind;

    c->retransmit_at = 0;
    if (c->state == TCP_STATE_SYN_SENT || c->state == TCP_STATE_SYN_RECEIVED) {
        syn_timeout(c);
        return;
    }
    switch (kind) {
    case TCP_RETRANSMIT_TIMEOUT:
        retransmission_timeout(c);
        break;
    case TCP_RETRANSMIT_REORDER:
        COUNT(c->stack, tcp_reorder_timeouts);
        c->retransmit_kind = TCP_RETRANSMIT_NONE;
        tcp_detect_loss(c);
        if (c->retransmit_kind == TCP_RETRANSMIT_NONE)
            tcp_set_retransmit(c);
        break;
    case TCP_RETRANSMIT_PROBE:
        tail_loss_probe(c);
        break;
    case TCP_RETRANSMIT_PERSIST:
        persist(c);
        break;
    case TCP_RETRANSMIT_MEMORY:
        memory_retry(c);
        break;
    case TCP_RETRANSMIT_NONE:
        break;
    }
}

void tcp_send_special(struct tcp_connection *c, uint32_t sequence, const uint8_t *options, size_t length)
{
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct tcp_bare bare = {.flow = &c->flow,
                            .neighbour = c->neighbour,
                            .sequence = sequence,
                            .ack = c->receive_next,
                            .window = tcp_receive_window(c),
                            .interface = c->interface,
                            .flags = RTE_TCP_ACK_FLAG,
                            .options = bytes};

    if (c->flags & TCP_FLAG_TIMESTAMPS) {
        tcp_options_write_timestamp(bytes, tcp_timestamp(c->stack, c->timestamp_offset), c->timestamp_recent);
        bare.options_length = TCP_TIMESTAMP_BYTES;
    }
    if (length)
        memcpy(bytes + bare.options_length, options, length);
    bare.options_length += length;
    tcp_send_bare(c->stack, &bare);
}

/* ---- Keepalive. */

/* 0: none. */
static uint64_t keepalive_idle(const struct tcp_connection *c)
{
    const uint64_t configured = c->stack->config.keepalive_idle_us;

    if (c->keepalive == TCP_KEEPALIVE_OFF)
        return 0;
    return configured || c->keepalive == TCP_KEEPALIVE_DEFAULT ? configured : TCP_KEEPALIVE_IDLE_US;
}

void tcp_keepalive_restart(struct tcp_connection *c)
{
    const uint64_t idle = keepalive_idle(c);

    c->keep_at = stack_deadline(c->stack, idle ? idle : TCP_LONG_IDLE_US);
}

/* RFC 9293 section 3.8.4: a segment below the window makes the peer answer with where it stands. */
/* REQ RFC9293 SHLD-12: no data [test: net_script/keepalive] */
static void keepalive_probe(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_keepalive_probes);
    c->probes++;
    tcp_send_special(c, c->send_next - 1, NULL, 0);
}

/* REQ RFC9293 MAY-5, MUST-26, MUST-27, MUST-29: idle, and several probes [test: net_script/keepalive] */
/* REQ RFC9293 MUST-28: two hours [test: net_defaults/times_of_the_standards] */
static void keep_due(struct tcp_connection *c)
{
    const struct net_config *config = &c->stack->config;

    c->keep_at = 0;
    if (c->flags & TCP_FLAG_DETACHED) { /* the application is gone and the peer does not finish */
        if (c->state == TCP_STATE_FIN_WAIT_2) {
            COUNT(c->stack, tcp_fin_wait_timeouts);
            connection_end(c, TCP_CLOSE_TIMEOUT);
            return;
        }
        c->keep_at = stack_deadline(c->stack, config->fin_wait_us);
        return;
    }
    uint64_t quiet = (uint64_t)(c->stack->tick - c->received_at) << TIMER_TICK_SHIFT;
    const uint64_t idle = keepalive_idle(c);
    uint64_t patience = idle ? idle : TCP_LONG_IDLE_US;
    if (quiet < patience || quiet < config->keepalive_interval_us)
        c->probes = 0; /* heard of since the last probe */
    if (quiet < patience) {
        c->keep_at = stack_deadline(c->stack, patience - quiet);
        return;
    }
    if (quiet >= TCP_LONG_IDLE_US - NET_HOUSEKEEPING_US)
        c->flags |= TCP_FLAG_TIMESTAMP_OLD;
    if (!idle) {
        c->keep_at = stack_deadline(c->stack, TCP_LONG_IDLE_US);
        return;
    }
    if (c->send_next != c->send_unacked) { /* data in flight finds out by itself, under the user timeout */
        c->keep_at = stack_deadline(c->stack, config->keepalive_interval_us);
        return;
    }
    if (c->probes >= config->keepalive_probes) {
        COUNT(c->stack, tcp_keepalive_timeouts);
        give_up(c);
        return;
    }
    keepalive_probe(c);
    c->keep_at = stack_deadline(c->stack, config->keepalive_interval_us);
}

void tcp_timer_handler(void *arg, struct timer *timer, uint64_t now)
{
    struct net_stack *stack = arg;
    struct tcp_connection *c = (struct tcp_connection *)((char *)timer - offsetof(struct tcp_connection, timer));

    stack_set_now(stack, now);
    if (tick_reached(stack, c->delayed_ack_at)) {
        c->delayed_ack_at = 0;
        if (c->flags & TCP_FLAG_ACK_DELAYED) {
            COUNT(stack, tcp_delayed_acks);
            c->flags |= TCP_FLAG_ACK_NOW;
            tcp_touch_inline(c);
        }
    }
    if (tick_reached(stack, c->retransmit_at))
        retransmit_due(c);
    if (c->state != TCP_STATE_CLOSED && tick_reached(stack, c->keep_at))
        keep_due(c);
    if (c->state != TCP_STATE_CLOSED)
        tcp_timer_arm(c);
}

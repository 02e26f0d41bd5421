/* Packet scripts: loss, its detection and what the congestion window does then. Job of a script: script.h. */
#include "tests/sim/script.h"

#include <string.h>

/* ---- Duplicate ACKs without SACK. */

static void window_probe_answers_are_no_duplicates(struct script *s)
{
    struct tcp_info before, after;

    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 2000);
    tcp_info(s->connection, &before);
    for (int i = 0; i < 400; i++) { /* the peer answers each probe and stays closed */
        script_wait(s, 50000);
        while (script_next(s))
            script_send(s, A, 1, 1, 0, 0);
    }
    tcp_info(s->connection, &after);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_window_probes_sent) >= 4);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_duplicate_acks) == 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_fast_recoveries) == 0 && !after.recovering);
    CHECK(s, after.congestion_window == before.congestion_window);
}

static void limited_transmit(struct script *s)
{
    script_establish(s);
    script_app_send(s, 14000); /* the initial window holds ten of them */
    for (uint32_t i = 0; i < 10; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    EXPECT_NOTHING(s);
    for (uint32_t i = 0; i < 2; i++) { /* RFC 3042: each of the first two releases a new one */
        script_send(s, A, 1, 1, 65535, 0);
        EXPECT(s, A, 10001 + i * 1000, 1, 1000);
        EXPECT_NOTHING(s);
    }
    script_send(s, A, 1, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 1000);
}

static void late_duplicates_start_nothing(struct script *s)
{
    struct tcp_info before, after;

    script_establish(s);
    script_app_send(s, 4000);
    for (uint32_t i = 0; i < 4; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    for (int i = 0; i < 3; i++)
        script_send(s, A, 1, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 1000);
    script_send(s, A, 1, 4001, 65535, 0); /* the recovery is over */
    script_app_send(s, 3000);
    tcp_info(s->connection, &before);
    while (script_next(s))
        ;
    for (int i = 0; i < 3; i++) /* of what the recovery repeated in vain */
        script_send(s, A, 1, 4001, 65535, 0);
    EXPECT_NOTHING(s);
    tcp_info(s->connection, &after);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_fast_recoveries) == 1 && !after.recovering);
    CHECK(s, after.slow_start_threshold == before.slow_start_threshold);
    script_send(s, A, 1, 5001, 65535, 0); /* beyond the end they count again */
    for (int i = 0; i < 3; i++)
        script_send(s, A, 1, 5001, 65535, 0);
    EXPECT(s, A, 5001, 1, 1000);
}

/* ---- A lost SYN. */

static void lost_syn_shrinks_the_window(struct script *s)
{
    struct tcp_info info;

    s->config.ecn = NET_ECN_NEVER;
    script_connect(s);
    script_wait(s, 1100000);
    EXPECT(s, S, 0, 0, 0);
    script_send(s, S | A, 0, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 0);
    script_app_send(s, 5000);
    EXPECT(s, A, 1, 1, 1000);
    EXPECT_NOTHING(s);
    tcp_info(s->connection, &info);
    CHECK(s, info.congestion_window == 1000 && info.rto == 3000000);
    script_wait(s, 2900000);
    EXPECT_NOTHING(s);
    script_wait(s, 200000);
    EXPECT(s, A, 1, 1, 1000);
}

static void late_syn_ack_shrinks_nothing(struct script *s)
{
    struct tcp_info info;

    script_peer_options(s, false, true);
    script_connect(s);
    const uint32_t echo = s->timestamp_echo;
    script_wait(s, 1100000);
    EXPECT(s, S, 0, 0, 0);
    s->timestamp_echo = echo; /* the answer to the first one was late */
    script_send(s, S | A, 0, 1, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.congestion_window > 9000 && info.rto <= 1000000);
}

static void lost_syn_ack(struct script *s)
{
    struct tcp_info info;

    script_peer_options(s, false, true);
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_wait(s, 1100000);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0); /* echoes the second */
    tcp_info(s->connection, &info);
    CHECK(s, info.congestion_window == info.mss && info.rto == 3000000);
}

static void late_third_step_shrinks_nothing(struct script *s)
{
    struct tcp_info info;

    script_peer_options(s, false, true);
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    const uint32_t echo = s->timestamp_echo;
    script_wait(s, 1100000);
    EXPECT(s, S | A, 0, 1, 0);
    s->timestamp_echo = echo;
    script_send(s, A, 1, 1, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.congestion_window > 9000);
}

/* ---- Recovery. */

/* Data in one flight of `segments`, all of it sent. */
static void flight(struct script *s, uint32_t segments)
{
    script_app_send(s, segments * 1000);
    for (uint32_t i = 0; i < segments; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
}

static void newreno_if_configured(struct script *s)
{
    struct tcp_info info;

    s->config.congestion = NET_CONGESTION_NEWRENO;
    script_establish(s);
    flight(s, 8);
    for (int i = 0; i < 3; i++)
        script_send(s, A, 1, 1, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.slow_start_threshold < 4000); /* half; CUBIC takes seven tenths of the window */
    script_send(s, A, 1, 8001, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.congestion_window == info.slow_start_threshold && !info.recovering);
}

static void recovery_ends_at_the_threshold(struct script *s)
{
    struct tcp_info info;

    script_peer_options(s, true, false);
    script_establish(s);
    flight(s, 10);
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 10001}});
    EXPECT(s, A, 1, 1, 1000);
    script_wait(s, 10000);
    script_send(s, A, 1, 10001, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, !info.recovering && info.congestion_window == 7000 && info.slow_start_threshold == 7000);
}

/* Eighteen segments in flight, the first is lost, the others are SACKed one by one: seven leave for ten that arrive. */
static void recovery_sends_in_proportion(struct script *s)
{
    unsigned sent = 0;

    script_peer_options(s, true, false);
    s->peer.has_scale = true;
    script_establish(s);
    script_app_send(s, 70000);
    while (script_next(s))
        ;
    script_wait(s, 10000);
    script_send(s, A, 1, 10001, 65535, 0);
    while (script_next(s))
        sent++;
    CHECK(s, sent == 18);
    script_wait(s, 10000);
    sent = 0;
    for (uint32_t i = 1; i <= 17; i++) {
        struct tcp_info info;
        script_send_sack(s, 10001, 65535, 1, (struct tcp_sack_block[]){{11001, 11001 + i * 1000}});
        while (script_next(s))
            sent++;
        tcp_info(s->connection, &info);
        CHECK(s, i < 3 || info.in_flight <= info.congestion_window);
        if (i > 3)
            CHECK(s, sent <= 1 + i * 7 / 10 + 1);
    }
    CHECK(s, sent >= 10); /* and not much less */
}

static void second_loss_is_not_undone(struct script *s)
{
    script_peer_options(s, true, true);
    script_establish(s);
    script_app_send(s, 5 * 988);
    while (script_next(s))
        ;
    const uint32_t echo = s->timestamp_echo;
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{989, 1 + 5 * 988}});
    script_app_send(s, 4 * 988); /* during the recovery; the first of them is lost too */
    while (script_next(s))
        ;
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 2, (struct tcp_sack_block[]){{1 + 6 * 988, 1 + 9 * 988}, {989, 1 + 5 * 988}});
    CHECK(s, script_counter(s, NET_COUNTER_tcp_fast_recoveries) == 1);
    script_send_sack(s, 1 + 5 * 988, 65535, 1, (struct tcp_sack_block[]){{1 + 6 * 988, 1 + 9 * 988}});
    CHECK(s, script_counter(s, NET_COUNTER_tcp_fast_recoveries) == 2);
    s->timestamp_echo = echo; /* an old echo proves nothing now */
    script_send(s, A, 1, 1 + 9 * 988, 65535, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_undone) == 0);
}

static void timeout_is_bounded(struct script *s)
{
    struct script_segment *out;
    uint64_t last = 0, longest = 0;

    s->config.user_timeout_us = UINT64_C(3600) * 1000000;
    script_establish(s);
    script_app_send(s, 100);
    for (int i = 0; i < 60; i++) {
        script_wait(s, 20000000);
        while ((out = script_next(s)) != NULL) {
            if (last && out->at - last > longest)
                longest = out->at - last;
            last = out->at;
        }
    }
    CHECK(s, longest >= 60000000 && longest < 60001000 && !s->closed);
}

/* ---- SACK and D-SACK. */

static void blocks_follow_a_duplicate(struct script *s)
{
    struct script_segment *out;

    script_peer_options(s, true, false);
    script_establish(s);
    script_send(s, A, 1, 1, 65535, 100);
    script_next(s);
    script_send(s, A, 301, 1, 65535, 100);
    script_next(s);
    script_send(s, A, 1, 1, 65535, 100); /* the first once more */
    out = script_next(s);
    CHECK(s, out && out->ack == 101 && out->options.sack_count == 2);
    CHECK(s, out && out->options.sack[0].start == s->peer_initial + 1 &&
                 out->options.sack[0].end == s->peer_initial + 101);
    CHECK(s, out && out->options.sack[1].start == s->peer_initial + 301);
}

static bool is_block(const struct script *s, const struct tcp_sack_block *block, uint32_t start, uint32_t end)
{
    return block->start == s->peer_initial + start && block->end == s->peer_initial + end;
}

static void all_duplicates_are_reported(struct script *s)
{
    struct script_segment *out;

    script_peer_options(s, true, false);
    script_establish(s);
    script_send(s, A, 301, 1, 65535, 100);
    script_send(s, A, 401, 1, 65535, 100);
    script_send(s, A, 701, 1, 65535, 100);
    s->out_first = s->out_count;
    script_send(s, A, 351, 1, 65535, 100); /* what two segments beyond the hole have brought */
    out = script_next(s);
    CHECK(s, out && out->ack == 1 && out->options.sack_count == 3 && is_block(s, &out->options.sack[0], 351, 451));
    CHECK(s, out && is_block(s, &out->options.sack[1], 301, 501)); /* where it lies, before the latest other */
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_duplicate) == 1);
    script_send(s, A, 1, 1, 65535, 300);
    script_next(s);
    script_send(s, A, 451, 1, 65535, 100); /* half of it is new */
    out = script_next(s);
    CHECK(s, out && out->ack == 551 && out->options.sack_count == 2 && is_block(s, &out->options.sack[0], 451, 501));
    CHECK(s, s->consumed == 550 && s->last_byte == (uint8_t)550);
}

static void duplicate_reports_are_recognized(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    flight(s, 8);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{3001, 4001}});
    CHECK(s, script_counter(s, NET_COUNTER_tcp_dsack_received) == 0);
    script_send_sack(s, 1, 65535, 2, (struct tcp_sack_block[]){{3001, 4001}, {2001, 5001}}); /* inside the second */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_dsack_received) == 1);
    script_send_sack(s, 2001, 65535, 2, (struct tcp_sack_block[]){{1001, 2001}, {3001, 5001}}); /* below the ACK */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_dsack_received) == 2);
    script_send_sack(s, 2001, 65535, 2, (struct tcp_sack_block[]){{6001, 7001}, {3001, 5001}}); /* neither */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_dsack_received) == 2);
}

static void timeout_forgets_sacks(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    flight(s, 3);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 3001}});
    script_wait(s, 20000);
    EXPECT(s, A, 1, 1, 1000);
    script_wait(s, 300000); /* lost again */
    EXPECT(s, A, 1, 1, 1000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_timeouts) == 1);
    script_send(s, A, 1, 1001, 65535, 0); /* without a word of the rest */
    EXPECT(s, A, 1001, 1, 1000);
}

/* ---- RACK-TLP. */

static void rack_ignores_what_is_ambiguous(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s); /* the least round trip is 10 ms */
    flight(s, 6);
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 4001}});
    EXPECT(s, A, 1, 1, 1000);
    script_app_send(s, 2000); /* after the repetition */
    while (script_next(s))
        ;
    script_wait(s, 1000); /* too soon for its ACK: it was the original that came late */
    script_send(s, A, 1, 4001, 65535, 0);
    script_wait(s, 3000);
    EXPECT_NOTHING(s); /* so nothing that was sent before it is overdue */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_retransmits) == 1);
}

static void rack_sees_reordering(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    for (int i = 0; i < 4; i++) {
        script_app_send(s, 1000);
        script_wait(s, 200);
    }
    s->out_first = s->out_count;
    script_wait(s, 9000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{2001, 3001}});
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 3001}}); /* an earlier one, sent once, later */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_reordering_seen) == 1);
}

static void rack_sees_no_reordering_in_repetitions(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    flight(s, 4);
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 4001}});
    EXPECT(s, A, 1, 1, 1000);
    script_wait(s, 10000);
    script_send(s, A, 1, 4001, 65535, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_reordering_seen) == 0);
}

/* How long after a segment was overtaken it is sent again, in us. Reordering was seen before. */
static uint64_t reordering_wait(struct script *s, uint32_t from)
{
    struct script_segment *out;
    uint64_t start;

    for (int i = 0; i < 2; i++) {
        script_app_send(s, 1000);
        script_wait(s, 200);
    }
    s->out_first = s->out_count;
    script_wait(s, 9800);
    start = s->now;
    script_send_sack(s, from, 65535, 1, (struct tcp_sack_block[]){{from + 1000, from + 2000}});
    script_wait(s, 30000);
    out = script_next(s);
    CHECK(s, out && out->sequence == from);
    script_send(s, A, 1, from + 2000, 65535, 0);
    return out ? out->at - start : 0;
}

static void duplicate_reports_widen_the_reordering_window(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    for (int i = 0; i < 4; i++) {
        script_app_send(s, 1000);
        script_wait(s, 200);
    }
    script_wait(s, 9000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{2001, 3001}});
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 3001}});
    script_send(s, A, 1, 4001, 65535, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_reordering_seen) == 1);
    const uint64_t before = reordering_wait(s, 4001);
    script_send_sack(s, 6001, 65535, 1, (struct tcp_sack_block[]){{4001, 5001}}); /* in vain */
    const uint64_t after = reordering_wait(s, 6001);
    CHECK(s, before > 1500 && after > before + 1500 && after < 12000);
}

/* The last of three segments is lost and nothing shows it. */
static void lose_the_tail(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    flight(s, 3);
    script_wait(s, 10000);
    script_send(s, A, 1, 2001, 65535, 0);
}

static void one_probe_then_the_timeout(struct script *s)
{
    struct tcp_info info;

    lose_the_tail(s);
    script_wait(s, 205000); /* two round trips and a delayed ACK, but no later than the timeout would be */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probes) == 0);
    EXPECT_NOTHING(s);
    script_wait(s, 15000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probes) == 1);
    EXPECT(s, A, 2001, 1, 1000);
    script_wait(s, 185000);
    EXPECT_NOTHING(s); /* neither a second probe nor the timeout that was due without one */
    script_wait(s, 25000);
    EXPECT(s, A, 2001, 1, 1000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probes) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_timeouts) == 1);
    /* The timeout answered for the loss: what the probe may have repaired is not counted once more. */
    script_app_send(s, 1000);
    script_send(s, A, 1, 3001, 65535, 0);
    script_send(s, A, 1, 4001, 65535, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probe_recoveries) == 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.unacknowledged == 0);
}

static void probe_that_repairs_reduces_the_window(struct script *s)
{
    struct tcp_info before, after;

    lose_the_tail(s);
    script_wait(s, 230000);
    EXPECT(s, A, 2001, 1, 1000);
    script_app_send(s, 1000);
    EXPECT(s, A, 3001, 1, 1000);
    tcp_info(s->connection, &before);
    script_wait(s, 10000);
    script_send(s, A, 1, 4001, 65535, 0); /* beyond the probe, and no duplicate reported */
    tcp_info(s->connection, &after);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probe_recoveries) == 1);
    CHECK(s, after.congestion_window < before.congestion_window);
}

static void probe_in_vain_reduces_nothing(struct script *s)
{
    lose_the_tail(s);
    script_wait(s, 230000);
    EXPECT(s, A, 2001, 1, 1000);
    script_app_send(s, 1000);
    EXPECT(s, A, 3001, 1, 1000);
    script_send(s, A, 1, 3001, 65535, 0); /* the original, whose ACK was late */
    script_send_sack(s, 4001, 65535, 1, (struct tcp_sack_block[]){{2001, 3001}});
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probe_recoveries) == 0);
}

/* ---- Round-trip times and timestamps. */

static void duplicates_give_no_sample(struct script *s)
{
    struct tcp_info before, after;

    script_peer_options(s, true, true);
    script_establish(s);
    script_app_send(s, 2000);
    tcp_info(s->connection, &before);
    script_wait(s, 100000);
    s->timestamp_echo -= 1000;
    script_send(s, A, 1, 1, 65535, 0); /* acknowledges nothing new */
    script_send(s, A | P, 1, 1, 65535, 10);
    tcp_info(s->connection, &after);
    CHECK(s, after.smoothed_rtt == before.smoothed_rtt && after.rtt_variance == before.rtt_variance);
}

/*
 * The segment had arrived, its ACK was lost. The repetition is answered by an ACK that reports a duplicate and echoes
 * what came before that: the time since is how long the timeout took, and no round trip.
 */
static void report_of_a_repetition_gives_no_sample(struct script *s)
{
    const struct tcp_sack_block duplicate = {1, 1001};
    struct tcp_info before, after;

    script_peer_options(s, true, true);
    script_establish(s);
    script_app_send(s, 1000);
    const struct script_segment *out = script_next(s);
    const uint32_t first = out ? out->options.timestamp : 0;
    tcp_info(s->connection, &before);
    script_wait(s, 5000000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_retransmits) > 1);
    s->timestamp_echo = first;
    script_send_sack(s, 1001, 65535, 1, &duplicate);
    tcp_info(s->connection, &after);
    CHECK(s, after.smoothed_rtt == before.smoothed_rtt && after.rtt_variance == before.rtt_variance);
}

static void timestamp_clock(struct script *s)
{
    struct script_segment *out;
    uint32_t first;

    script_peer_options(s, false, true);
    script_establish(s);
    script_app_send(s, 10);
    out = script_next(s);
    first = out ? out->options.timestamp : 0;
    script_send(s, A, 1, 11, 65535, 0);
    script_wait(s, 10000000);
    script_app_send(s, 10);
    out = script_next(s);
    CHECK(s, out && out->options.timestamp - first > 9500 && out->options.timestamp - first <= 10000);
}

static void timestamp_offsets_differ(struct script *s)
{
    struct net_interface_config *interface = &s->config.interfaces[0];
    struct net_address first = interface->addresses[0].address, second = first, peer = first;
    struct script_segment *one, *two;

    second.bytes[15] = 9;
    peer.bytes[15] = 2;
    interface->addresses[interface->address_count++] = (struct net_prefix){second, 24};
    script_listen(s);
    tcp_connect(s->stack, &first, 0, &peer, 4000, s);
    tcp_connect(s->stack, &second, 0, &peer, 4000, s);
    script_turn(s);
    one = script_next(s);
    two = script_next(s);
    CHECK(s, one && two && one->options.timestamp - two->options.timestamp + 1000 > 2000);
}

static void echo_in_a_syn_is_ignored(struct script *s)
{
    struct tcp_options options = {.mss = 1000, .has_timestamp = true, .timestamp = 5, .timestamp_echo = 0x12345678};
    struct tcp_info info;

    script_peer_options(s, false, true);
    script_listen(s);
    script_send_options(s, S, 0, 0, 65535, 0, &options, NULL, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_wait(s, 10000);
    script_send(s, A, 1, 1, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.smoothed_rtt == 10000);
}

/* ---- Marks. */

static void marks_outside_of_the_window_are_ignored(struct script *s)
{
    struct script_segment *out;

    script_peer_options(s, true, false);
    script_listen(s);
    script_send(s, S | E | C, 0, 0, 65535, 0);
    EXPECT(s, S | A | E, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0);
    s->congestion = 3;
    script_send(s, A | P, 0x70000000, 1, 65535, 10);
    out = script_next(s);
    CHECK(s, out && !(out->flags & E) && script_counter(s, NET_COUNTER_tcp_ecn_marks_received) == 0);
    s->congestion = 2;
    script_send(s, A | P, 1, 1, 65535, 10);
    out = script_next(s);
    CHECK(s, out && !(out->flags & E));
}

const struct script_case congestion_scripts[] = {
    SCRIPT(window_probe_answers_are_no_duplicates),
    SCRIPT(limited_transmit),
    SCRIPT(late_duplicates_start_nothing),
    SCRIPT(lost_syn_shrinks_the_window),
    SCRIPT(late_syn_ack_shrinks_nothing),
    SCRIPT(lost_syn_ack),
    SCRIPT(late_third_step_shrinks_nothing),
    SCRIPT(newreno_if_configured),
    SCRIPT(recovery_ends_at_the_threshold),
    SCRIPT(recovery_sends_in_proportion),
    SCRIPT(second_loss_is_not_undone),
    SCRIPT(timeout_is_bounded),
    SCRIPT(blocks_follow_a_duplicate),
    SCRIPT(all_duplicates_are_reported),
    SCRIPT(duplicate_reports_are_recognized),
    SCRIPT(timeout_forgets_sacks),
    SCRIPT(rack_ignores_what_is_ambiguous),
    SCRIPT(rack_sees_reordering),
    SCRIPT(rack_sees_no_reordering_in_repetitions),
    SCRIPT(duplicate_reports_widen_the_reordering_window),
    SCRIPT(one_probe_then_the_timeout),
    SCRIPT(probe_that_repairs_reduces_the_window),
    SCRIPT(probe_in_vain_reduces_nothing),
    SCRIPT(duplicates_give_no_sample),
    SCRIPT(report_of_a_repetition_gives_no_sample),
    SCRIPT(timestamp_clock),
    SCRIPT(timestamp_offsets_differ),
    SCRIPT(echo_in_a_syn_is_ignored),
    SCRIPT(marks_outside_of_the_window_are_ignored),
    {NULL, NULL},
};

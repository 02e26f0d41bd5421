/*
 * Packet scripts: the segments that mature stacks got wrong lately, and RFC 9293 / 5961 / 7323 case by case, in virtual
 * time.
 *
 *     script_test [NAME...]
 */
#include "lib/net/stack.h"
#include "tests/sim/script.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <stdio.h>
#include <string.h>

/* Skip repetitions of what was seen; each must be the same bytes. */
static void drain(struct script *s, uint32_t sequence, uint32_t length)
{
    struct script_segment *out;

    while ((out = script_next(s)) != NULL)
        CHECK(s, out->sequence == sequence && out->length == length);
}

/* ---- Opening. */

static void passive_open_and_data_in_third_step(struct script *s)
{
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A | P, 1, 1, 65535, 10); /* first data coalesced with the handshake's ACK */
    CHECK(s, s->accepted && s->consumed == 10);
    EXPECT(s, A, 1, 11, 0);
}

static void active_open(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    script_listen(s);
    peer.bytes[15] = 2;
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_turn(s);
    struct script_segment *syn = script_next(s);
    CHECK(s, syn && syn->flags == S && syn->options.mss == 1460 && syn->options.has_timestamp &&
                 syn->options.sack_permitted);
    CHECK(s, syn && syn->options.has_scale && syn->window == 65535);
    script_send(s, S | A, 0, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 0);
    CHECK(s, s->connected);
    CHECK(s, tcp_user(s->connection) == s);
}

static void active_open_syn_is_repeated_then_given_up(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    s->config.syn_retries = 3;
    script_listen(s);
    peer.bytes[15] = 2;
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_wait(s, 1100000);
    EXPECT(s, S, 0, 0, 0);
    EXPECT(s, S, 0, 0, 0);
    script_wait(s, 30000000);
    EXPECT(s, S, 0, 0, 0);
    EXPECT(s, S, 0, 0, 0);
    EXPECT_NOTHING(s);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_CONNECT_TIMEOUT);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_connect_timeouts) == 1);
}

static void rst_in_syn_sent(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    script_listen(s);
    peer.bytes[15] = 2;
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_turn(s);
    EXPECT(s, S, 0, 0, 0);
    script_send(s, R, 0, 0, 0, 0); /* without ACK: anyone could have sent it */
    CHECK(s, !s->closed);
    script_send(s, R | A, 0, 7, 0, 0); /* acknowledges what was not sent */
    CHECK(s, !s->closed);
    script_send(s, R | A, 0, 1, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_REFUSED);
}

static void bad_ack_in_syn_sent_is_reset(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    script_listen(s);
    peer.bytes[15] = 2;
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_turn(s);
    EXPECT(s, S, 0, 0, 0);
    script_send(s, A, 5, 77, 1000, 0); /* the peer rebooted, the old connection is half-open there */
    EXPECT(s, R, 77, 0, 0);
    CHECK(s, !s->closed);
}

static void simultaneous_open(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    script_listen(s);
    peer.bytes[15] = 2;
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_turn(s);
    EXPECT(s, S, 0, 0, 0);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->connected);
    script_app_send(s, 5);
    EXPECT(s, A | P, 1, 1, 5);
}

static void syn_window_not_scaled(struct script *s)
{
    s->peer.has_scale = true;
    s->peer.scale = 7;
    s->config.receive_buffer = 1024 * 1024;
    script_listen(s);
    script_send(s, S, 0, 0, 500, 0);
    struct script_segment *out = script_next(s);
    CHECK(s, out && out->window == 65535 && out->options.has_scale && out->options.scale > 0);
    script_send(s, A, 1, 1, 4, 0); /* 512 bytes */
    script_app_send(s, 3000);
    EXPECT(s, A, 1, 1, 512);
}

static void no_mss_option(struct script *s)
{
    s->peer.mss = 0;
    script_establish(s);
    script_app_send(s, 1000);
    EXPECT(s, A, 1, 1, 536);
    EXPECT(s, A, 537, 1, 464);
}

static void syn_ack_is_repeated(struct script *s)
{
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_wait(s, 1100000);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, S, 0, 0, 65535, 0); /* the same SYN again */
    EXPECT(s, S | A, 0, 1, 0);
    script_wait(s, 200000000);
    struct net_census census;
    net_census(s->stack, &census);
    CHECK(s, census.half_open == 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_syn_timeouts) == 1);
}

static void rst_ends_half_open(struct script *s)
{
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, R, 2, 0, 0, 0);
    struct net_census census;
    net_census(s->stack, &census);
    CHECK(s, census.half_open == 1); /* not exact */
    EXPECT(s, A, 1, 1, 0);
    script_send(s, R, 200000, 0, 0, 0);
    EXPECT_NOTHING(s);
    script_send(s, R, 1, 0, 0, 0);
    net_census(s->stack, &census);
    CHECK(s, census.half_open == 0);
    EXPECT_NOTHING(s);
}

static void half_open_answers_what_it_does_not_accept(struct script *s)
{
    struct script_segment *out;

    script_peer_options(s, true, true);
    s->peer.has_scale = true;
    script_listen(s);
    s->timestamp = 5000;
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    const struct tcp_options good = {.has_timestamp = true, .timestamp = 5000};
    const struct tcp_options old = {.has_timestamp = true, .timestamp = 4000};
    script_send_options(s, A, 200000, 1, 65535, 0, &good, NULL, 0); /* above the window */
    out = script_next(s);
    CHECK(s, out && out->flags == A && out->sequence == 1 && out->ack == 1 && out->options.timestamp_echo == 5000);
    CHECK(s, out && out->window == s->config.receive_buffer >> 3);
    script_send_options(s, A, (uint32_t)-5000, 1, 65535, 0, &good, NULL, 0); /* below it */
    EXPECT(s, A, 1, 1, 0);
    script_send_options(s, A, 200000, 77, 65535, 0, &good, NULL, 0); /* that its ACK is bad too comes after */
    EXPECT(s, A, 1, 1, 0);
    script_send_options(s, A, 1, 1, 65535, 0, &old, NULL, 0);
    EXPECT(s, A, 1, 1, 0);
    script_send_options(s, A, 1, 77, 65535, 0, &good, NULL, 0);
    EXPECT(s, R, 77, 0, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_challenge_acks) == 4 && !s->accepted);
    script_send_options(s, A, 1, 1, 65535, 0, &good, NULL, 0);
    CHECK(s, s->accepted);
}

static void out_of_order_data_in_syn_received(struct script *s)
{
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A | P, 101, 1, 65535, 50); /* the third step and the first segment are lost */
    CHECK(s, s->accepted);
    EXPECT(s, A, 1, 1, 0);
    script_send(s, A | P, 1, 1, 65535, 100);
    CHECK(s, s->consumed == 150);
    EXPECT(s, A, 1, 151, 0);
}

static void listen_table(struct script *s)
{
    script_listen(s);
    s->our_initial = 0;
    script_send(s, A, 1, 77, 0, 0); /* ACK: RST with its acknowledgement as sequence */
    EXPECT(s, R, 77, 0, 0);
    script_send(s, R, 1, 0, 0, 0);
    EXPECT_NOTHING(s);
    script_send(s, S | F, 0, 0, 0, 0);
    script_send(s, 0, 1, 0, 0, 0);
    script_send(s, F, 1, 0, 0, 0);
    script_send(s, F | P | 0x20, 1, 0, 0, 0);
    script_send(s, P, 1, 0, 0, 5);
    EXPECT_NOTHING(s);
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_flags) == 5);
    script_send(s, S | F | A, 0, 78, 0, 0); /* ACK comes first in the standard's table */
    EXPECT(s, R, 78, 0, 0);
    s->our_port = 99; /* nobody listens */
    script_send(s, S, 0, 0, 0, 0);
    EXPECT(s, R | A, 0, 1, 0);
}

static void backlog_full_without_cookies(struct script *s)
{
    s->config.max_half_open = 1;
    s->config.syn_cookies = NET_SYN_COOKIES_NEVER;
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    s->our_port = 1883;
    script_send(s, S, 0, 0, 65535, 0); /* the same flow: not a new one */
    EXPECT(s, S | A, 0, 1, 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_syn_backlog_full) == 0);
}

static void syn_cookie_keeps_options(struct script *s)
{
    struct tcp_info info;

    script_peer_options(s, true, true);
    s->peer.has_scale = true;
    s->peer.scale = 5;
    s->peer.mss = 1400;
    s->config.syn_cookies = NET_SYN_COOKIES_ALWAYS;
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    struct net_census census;
    net_census(s->stack, &census);
    CHECK(s, census.half_open == 0);
    script_send(s, A | P, 1, 1, 1000, 3);
    CHECK(s, s->accepted && s->consumed == 3);
    if (!s->connection)
        return;
    tcp_info(s->connection, &info);
    CHECK(s, info.sack && info.timestamps && info.mss == 1400 - 12 && info.send_window == 32000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_syn_cookies_accepted) == 1);
}

static void forged_cookie_is_refused(struct script *s)
{
    s->config.syn_cookies = NET_SYN_COOKIES_ALWAYS;
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A, 1, 1 + 8, 1000, 0);
    CHECK(s, !s->accepted);
    CHECK(s, script_counter(s, NET_COUNTER_drop_syn_cookie_bad) == 1);
}

/* ---- Data and acknowledgements. */

static void delayed_ack(struct script *s)
{
    script_establish(s);
    for (uint32_t i = 0; i < 8; i++) { /* quick ACKs at the start */
        script_send(s, A | P, 1 + i, 1, 65535, 1);
        EXPECT(s, A, 1, 2 + i, 0);
    }
    script_send(s, A | P, 9, 1, 65535, 1);
    EXPECT_NOTHING(s);
    script_wait(s, s->config.delayed_ack_us + 200);
    EXPECT(s, A, 1, 10, 0);
    EXPECT_NOTHING(s);
}

/* Who sends now and then has no second segment to share an ACK with; who sends twice does, after a pause too. */
static void ack_after_a_pause(struct script *s)
{
    script_establish(s);
    for (uint32_t i = 0; i < 8; i++) {
        script_send(s, A | P, 1 + i, 1, 65535, 1);
        EXPECT(s, A, 1, 2 + i, 0);
    }
    for (uint32_t pause = 0; pause < 3; pause++) {
        script_wait(s, s->config.delayed_ack_us + 1000);
        script_send(s, A | P, 9 + 2 * pause, 1, 65535, 1);
        EXPECT(s, A, 1, 10 + 2 * pause, 0);
        script_send(s, A | P, 10 + 2 * pause, 1, 65535, 1);
        EXPECT_NOTHING(s);
        script_wait(s, s->config.delayed_ack_us + 200);
        EXPECT(s, A, 1, 11 + 2 * pause, 0);
    }
}

static void ack_every_second(struct script *s)
{
    uint32_t next = 1;

    script_establish(s);
    for (int i = 0; i < 8; i++, next += 1000) {
        script_send(s, A, next, 1, 65535, 1000);
        EXPECT(s, A, 1, next + 1000, 0);
    }
    script_send(s, A, next, 1, 65535, 1000);
    EXPECT_NOTHING(s);
    script_send(s, A, next + 1000, 1, 65535, 1000);
    EXPECT(s, A, 1, next + 2000, 0);
    EXPECT_NOTHING(s);
}

static void ack_rides_on_data(struct script *s)
{
    script_establish(s);
    static const uint8_t bytes[10];
    s->consume = true;
    script_send(s, A | P, 1, 1, 65535, 1);
    EXPECT(s, A, 1, 2, 0);
    for (int i = 0; i < 7; i++) {
        script_send(s, A | P, 2 + (uint32_t)i, 1, 65535, 1);
        EXPECT(s, A, 1, 3 + i, 0);
    }
    script_send(s, A | P, 9, 1, 65535, 1);
    tcp_send(s->connection, bytes, 10);
    script_turn(s);
    EXPECT(s, A, 1, 10, 10);
    script_wait(s, 50000);
    EXPECT_NOTHING(s);
}

static void push_on_last(struct script *s)
{
    script_establish(s);
    script_app_send(s, 2500);
    struct script_segment *out[3] = {script_next(s), script_next(s), script_next(s)};
    CHECK(s, out[0] && out[1] && out[2]);
    CHECK(s, out[2] && !(out[0]->flags & P) && !(out[1]->flags & P) && (out[2]->flags & P));
}

static void out_of_order_acked(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    script_send(s, A, 101, 1, 65535, 100);
    struct script_segment *out = script_next(s);
    CHECK(s, out && out->ack == 1 && out->options.sack_count == 1);
    CHECK(s, out && out->options.sack[0].start == s->peer_initial + 101 &&
                 out->options.sack[0].end == s->peer_initial + 201);
    script_send(s, A, 1, 1, 65535, 100);
    EXPECT(s, A, 1, 201, 0);
    CHECK(s, s->consumed == 200 && s->last_byte == 200);
}

static void sack_most_recent_first(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    script_send(s, A, 101, 1, 65535, 10);
    script_next(s);
    script_send(s, A, 301, 1, 65535, 10);
    script_next(s);
    script_send(s, A, 201, 1, 65535, 10);
    struct script_segment *out = script_next(s);
    CHECK(s, out && out->options.sack_count == 3 && out->options.sack[0].start == s->peer_initial + 201);
}

static void duplicate_is_reported(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    script_send(s, A, 1, 1, 65535, 100);
    script_next(s);
    script_send(s, A, 1, 1, 65535, 100);
    struct script_segment *out = script_next(s);
    CHECK(s,
          out && out->ack == 101 && out->options.sack_count == 1 && out->options.sack[0].start == s->peer_initial + 1);
    CHECK(s, s->consumed == 100);
}

static void overlapping_segments(struct script *s)
{
    script_establish(s);
    script_send(s, A, 21, 1, 65535, 20); /* 21..40 */
    script_send(s, A, 61, 1, 65535, 20); /* 61..80 */
    script_send(s, A, 11, 1, 65535, 60); /* 11..70: covers the first, overlaps the second */
    script_send(s, A, 75, 1, 65535, 16); /* 75..90 */
    script_send(s, A, 1, 1, 65535, 15);  /* 1..15: fills, overlapping */
    CHECK(s, s->consumed == 90 && s->last_byte == 90);
}

static void bad_checksum(struct script *s)
{
    uint8_t frame[60] = {2,  0, 0, 0, 0, 1,  2, 0, 0, 0,   0,  2, 8, 0,   0x45, 0, 0,
                         40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 18, 0, 2, 198, 18,   0, 1};

    script_listen(s);
    script_frame(s, frame, sizeof frame);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip4_checksum) == 1);
    frame[24] = 0xea; /* a good IP checksum, TCP without a header */
    frame[25] = 0xa0;
    script_frame(s, frame, sizeof frame);
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_header) + script_counter(s, NET_COUNTER_drop_ip4_checksum) == 2);
}

static void option_underflow_is_survived(struct script *s)
{
    const uint8_t bad[8] = {1, 1, 8, 0, 0, 0, 0, 0};

    script_establish(s);
    script_send_options(s, A | P, 1, 1, 65535, 5, NULL, bad, sizeof bad);
    CHECK(s, s->consumed == 5);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_options_malformed) == 1);
}

/* ---- Windows. */

static void zero_window(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 2000);
    EXPECT_NOTHING(s);
    script_wait(s, 1500000);
    EXPECT(s, A, 1, 1, 1); /* one byte as probe */
    drain(s, 1, 1);
    script_send(s, A, 1, 1, 0, 0);
    script_wait(s, 3000000);
    EXPECT(s, A, 1, 1, 1);
    drain(s, 1, 1);
    script_send(s, A, 1, 1, 3000, 0); /* opens; the probe was refused */
    EXPECT(s, A, 1, 1, 1);
    EXPECT(s, A, 2, 1, 999);
    EXPECT(s, A, 1001, 1, 1000);
}

static void zero_window_probe_accepted(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 500);
    script_wait(s, 1500000);
    EXPECT(s, A, 1, 1, 1);
    drain(s, 1, 1);
    script_send(s, A, 1, 2, 0, 0);
    CHECK(s, s->connection != NULL);
    script_send(s, A, 1, 2, 1000, 0);
    EXPECT(s, A, 2, 1, 499);
}

static void zero_window_forever(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 500);
    for (int i = 0; i < 600; i++) { /* two hours of a peer that answers and never opens */
        script_wait(s, 12000000);
        while (script_next(s))
            script_send(s, A, 1, 1, 0, 0);
    }
    CHECK(s, s->connection != NULL && !s->closed);
    script_send(s, A, 1, 1, 1000, 0);
    while (s->out_count - s->out_first > 1)
        script_next(s);
    CHECK(s, s->out_count > s->out_first);
}

static void zero_window_and_silence_ends(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 500);
    script_wait(s, 20 * 60 * 1000000ull);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_TIMEOUT);
}

static void window_below_one_segment(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 300, 0); /* the most ever offered was 65535: far below half */
    script_app_send(s, 2000);
    EXPECT_NOTHING(s);
    script_wait(s, 1500000); /* the override */
    EXPECT(s, A, 1, 1, 300);
    drain(s, 1, 300);
    script_send(s, A, 1, 301, 300, 0);
    script_wait(s, 1500000);
    EXPECT(s, A, 301, 1, 300);
}

static void both_windows_zero(struct script *s)
{
    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    script_send(s, A, 1, 1, 65535, 1000);
    script_send(s, A, 1001, 1, 65535, 1000);
    script_send(s, A, 2001, 1, 65535, 1000);
    script_send(s, A, 3001, 1, 0, 1096);
    while (script_next(s))
        ;
    script_app_send(s, 500);
    EXPECT_NOTHING(s);
    script_wait(s, 1500000);
    EXPECT(s, A, 1, 4097, 1);
    drain(s, 1, 1);
    script_send(s, A | P, 4097, 1, 0, 1); /* the peer's probe into our closed window */
    struct script_segment *out = script_next(s);
    CHECK(s, out && out->ack == 4097 && out->window == 0 && out->length == 0);
    script_send(s, A | P, 4097, 1, 1000, 1); /* another one carries the window: it must be seen */
    EXPECT(s, A, 1, 4097, 1);
    EXPECT(s, A, 2, 4097, 499);
}

static void window_update_after_reading(struct script *s)
{
    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 4; i++)
        script_send(s, A, 1 + i * 1024, 1, 65535, 1024);
    struct script_segment *out = NULL, *next;
    while ((next = script_next(s)) != NULL)
        out = next;
    CHECK(s, out && out->ack == 4097 && out->window == 0);
    tcp_consume(s->connection, 100); /* not worth telling */
    script_turn(s);
    EXPECT_NOTHING(s);
    tcp_consume(s->connection, 3996);
    script_turn(s);
    out = script_next(s);
    CHECK(s, out && out->ack == 4097 && out->window == 4096);
}

static void window_shrunk(struct script *s)
{
    script_establish(s);
    script_app_send(s, 3000);
    EXPECT(s, A, 1, 1, 1000);
    EXPECT(s, A, 1001, 1, 1000);
    EXPECT(s, A, 2001, 1, 1000);
    script_send(s, A, 1, 1001, 500, 0); /* right edge back to 1500 */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_window_shrunk) == 1);
    script_send(s, A, 1, 3001, 65535, 0);
    script_app_send(s, 10);
    EXPECT(s, A, 3001, 1, 10);
}

static void data_beyond_window_is_refused(struct script *s)
{
    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    script_send(s, A, 1, 1, 65535, 1400);
    script_send(s, A, 1401, 1, 65535, 1400);
    script_send(s, A, 2801, 1, 65535, 1400); /* 104 bytes too many */
    CHECK(s, tcp_readable_bytes(s->connection) == 4096);
    script_send(s, A, 9001, 1, 65535, 10);
    CHECK(s, tcp_readable_bytes(s->connection) == 4096);
}

/* ---- Loss. */

static void fast_retransmit_without_sack(struct script *s)
{
    script_establish(s);
    script_app_send(s, 5000);
    for (int i = 0; i < 5; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    for (int i = 0; i < 3; i++)
        script_send(s, A, 1, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 1000);
    EXPECT_NOTHING(s);
    script_send(s, A, 1, 2001, 65535, 0); /* partial: a second hole */
    EXPECT(s, A, 2001, 1, 1000);
    script_send(s, A, 1, 5001, 65535, 0);
    EXPECT_NOTHING(s);
}

static void sack_two_holes_and_partial_ack(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    script_app_send(s, 8000);
    for (int i = 0; i < 8; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 2001}});
    script_send_sack(s, 1, 65535, 2, (struct tcp_sack_block[]){{3001, 5001}, {1001, 2001}});
    script_send_sack(s, 1, 65535, 2, (struct tcp_sack_block[]){{3001, 8001}, {1001, 2001}});
    EXPECT(s, A, 1, 1, 1000);
    EXPECT(s, A, 2001, 1, 1000);
    EXPECT_NOTHING(s);
    script_send_sack(s, 2001, 65535, 1, (struct tcp_sack_block[]){{3001, 8001}});
    EXPECT_NOTHING(s); /* the second is on its way: not again */
    script_send(s, A, 1, 8001, 65535, 0);
    struct tcp_info info;
    tcp_info(s->connection, &info);
    CHECK(s, !info.recovering && info.in_flight == 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_fast_recoveries) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_marked_lost) > 0);
}

static void loss_of_a_retransmission(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    script_app_send(s, 10000);
    for (int i = 0; i < 10; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 5001}});
    EXPECT(s, A, 1, 1, 1000); /* lost again */
    script_app_send(s, 4000);
    while (script_next(s))
        ;
    script_wait(s, 10000); /* what was sent after it is SACKed: RACK finds the retransmission lost */
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 11001}});
    script_wait(s, 20000);
    EXPECT(s, A, 1, 1, 1000);
}

static void loss_of_the_last_segment(struct script *s)
{
    script_peer_options(s, true, false);
    script_establish(s);
    script_wait(s, 1000);
    script_app_send(s, 1000); /* a round-trip sample */
    EXPECT(s, A, 1, 1, 1000);
    script_wait(s, 20000);
    script_send(s, A, 1, 1001, 65535, 0);
    script_app_send(s, 3000);
    for (int i = 0; i < 3; i++)
        EXPECT(s, A, 1001 + i * 1000, 1, 1000);
    script_wait(s, 20000);
    script_send(s, A, 1, 3001, 65535, 0); /* the last one is lost: nothing will show it but a probe */
    script_wait(s, 320000);
    EXPECT(s, A, 3001, 1, 1000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_loss_probes) + script_counter(s, NET_COUNTER_tcp_timeouts) == 1);
}

static void timeout_backs_off(struct script *s)
{
    script_establish(s);
    script_app_send(s, 100);
    struct script_segment *out = script_next(s);
    uint64_t last = out->at, gap, before = 0;
    for (int i = 0; i < 4; i++) {
        script_wait(s, 9000000);
        while ((out = script_next(s)) != NULL) {
            gap = out->at - last;
            last = out->at;
            CHECK(s, out->sequence == 1 && out->length == 100);
            CHECK(s, before == 0 || (gap > before * 19 / 10 && gap < before * 21 / 10));
            before = gap;
        }
    }
    CHECK(s, before > 3000000);
}

static void ssthresh_once(struct script *s)
{
    struct tcp_info info;

    script_establish(s);
    script_app_send(s, 10000);
    script_wait(s, 10000000); /* several timeouts for one loss */
    tcp_info(s->connection, &info);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_timeouts) >= 3);
    CHECK(s, info.slow_start_threshold >= 5000 && info.congestion_window == 1000);
}

static void cwnd_not_limited(struct script *s)
{
    struct tcp_info before, after;

    script_establish(s);
    tcp_info(s->connection, &before);
    for (uint32_t i = 0; i < 50; i++) {
        script_app_send(s, 10);
        script_wait(s, 1000);
        script_send(s, A, 1, 1 + (i + 1) * 10, 65535, 0);
    }
    tcp_info(s->connection, &after);
    CHECK(s, after.congestion_window == before.congestion_window);
}

static void spurious_timeout_is_undone(struct script *s)
{
    struct tcp_info before, after;

    script_peer_options(s, false, true);
    script_establish(s);
    script_wait(s, 5000);
    tcp_info(s->connection, &before);
    uint32_t echo = 0;
    script_app_send(s, 3000);
    echo = s->timestamp_echo;
    script_wait(s, 1500000); /* the path stalls; we send again */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_timeouts) >= 1);
    s->timestamp_echo = echo; /* the original's ACK comes at last */
    script_send(s, A, 1, 3001, 65535, 0);
    tcp_info(s->connection, &after);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_undone) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_undone_by_timestamp) == 1);
    CHECK(s, after.congestion_window >= before.congestion_window);
}

static void user_timeout(struct script *s)
{
    s->config.user_timeout_us = 10 * 1000000;
    script_establish(s);
    script_app_send(s, 100);
    script_wait(s, 60000000);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_TIMEOUT);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_user_timeouts) == 1 &&
                 script_counter(s, NET_COUNTER_tcp_resets_timeout) == 1);
}

static void transmit_full_is_recovered(struct script *s)
{
    script_establish(s);
    s->transmit_full = true;
    script_app_send(s, 100);
    EXPECT_NOTHING(s);
    s->transmit_full = false;
    script_wait(s, 2000000);
    EXPECT(s, A, 1, 1, 100);
    CHECK(s, script_counter(s, NET_COUNTER_drop_transmit_full) > 0);
}

/* ---- RFC 5961, 7323. */

static void rst_in_window_challenged(struct script *s)
{
    script_establish(s);
    script_send(s, R, 5, 0, 0, 0);
    EXPECT(s, A, 1, 1, 0);
    CHECK(s, !s->closed);
    script_send(s, R, 100000, 0, 0, 0); /* out of the window: silence */
    EXPECT_NOTHING(s);
    script_send(s, R, 1, 0, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_RESET);
}

static void syn_in_established_challenged(struct script *s)
{
    script_establish(s);
    script_send(s, S, 1, 0, 65535, 0);
    EXPECT(s, A, 1, 1, 0);
    script_send(s, S, 0x70000000, 0, 65535, 0); /* a peer that rebooted: the challenge makes it reset us */
    EXPECT(s, A, 1, 1, 0);
    script_send(s, R, 1, 0, 0, 0);
    CHECK(s, s->closed);
}

/* Without the timestamp that this connection agreed on, with an old one, below the window: a SYN is no duplicate. */
static void any_syn_in_established_is_challenged(struct script *s)
{
    static const uint8_t mss[4] = {2, 4, 5, 180};
    const struct tcp_options old = {.has_timestamp = true, .timestamp = 1};
    struct script_segment *out;

    script_peer_options(s, true, true);
    s->timestamp = 5000;
    script_establish(s);
    script_send_options(s, S, 7, 0, 65535, 0, NULL, mss, sizeof mss);
    EXPECT(s, A, 1, 1, 0);
    script_send_options(s, S, 7, 0, 65535, 0, &old, NULL, 0);
    EXPECT(s, A, 1, 1, 0);
    script_send(s, S, (uint32_t)-9999, 0, 65535, 0);
    out = script_next(s);
    CHECK(s, out && out->flags == A && out->options.sack_count == 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_syn) == 3);
}

static void challenge_budget(struct script *s)
{
    unsigned seen = 0;

    s->config.challenge_acks = 8;
    script_establish(s);
    for (int second = 0; second < 20; second++) {
        script_wait(s, 1100000);
        s->out_first = s->out_count;
        for (int i = 0; i < 20; i++)
            script_send(s, S, 1, 0, 65535, 0);
        const unsigned sent = s->out_count - s->out_first;
        CHECK(s, sent >= 4 && sent < 12);
        seen |= 1u << sent;
    }
    CHECK(s, __builtin_popcount(seen) >= 4); /* nobody can count on how many it is */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_challenge_acks) +
                     script_counter(s, NET_COUNTER_tcp_challenge_acks_suppressed) ==
                 400);
}

static void ack_out_of_range(struct script *s)
{
    script_establish(s);
    script_send(s, A | P, 1, 100, 65535, 5); /* acknowledges what was never sent */
    EXPECT(s, A, 1, 1, 0);
    CHECK(s, s->consumed == 0);
    script_send(s, A | P, 1, (uint32_t)-200000, 65535, 5); /* far too old */
    EXPECT(s, A, 1, 1, 0);
    CHECK(s, s->consumed == 0 && script_counter(s, NET_COUNTER_drop_tcp_ack) == 2);
}

static void old_ack_for_unsent_data(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 100);
    script_send(s, A, 1, 50, 1000, 0);
    struct tcp_info info;
    tcp_info(s->connection, &info);
    CHECK(s, info.send_window == 0 && info.send_queued == 100);
}

static void paws(struct script *s)
{
    script_peer_options(s, false, true);
    script_establish(s);
    script_wait(s, 1000000);
    script_send(s, A | P, 1, 1, 65535, 5);
    EXPECT(s, A, 1, 6, 0);
    s->timestamp -= 500;
    script_send(s, A | P, 6, 1, 65535, 5);
    CHECK(s, s->consumed == 5 && script_counter(s, NET_COUNTER_drop_tcp_paws) == 1);
    EXPECT(s, A, 1, 6, 0);
    s->timestamp += 500;
    s->peer.has_timestamp = false; /* negotiated, then missing */
    script_send(s, A | P, 6, 1, 65535, 5);
    CHECK(s, s->consumed == 5 && script_counter(s, NET_COUNTER_drop_tcp_no_timestamp) == 1);
}

static void paws_after_long_idle(struct script *s)
{
    script_peer_options(s, false, true);
    s->config.keepalive_idle_us = 0;
    script_establish(s);
    script_wait(s, UINT64_C(4) * 86400 * 1000000);
    s->timestamp = 5; /* the peer's clock went round meanwhile */
    script_send(s, A | P, 1, 1, 65535, 5);
    CHECK(s, s->consumed == 5 && script_counter(s, NET_COUNTER_drop_tcp_paws) == 0);
}

static void timestamp_recent(struct script *s)
{
    script_peer_options(s, true, true);
    script_establish(s);
    uint32_t first = s->timestamp;
    script_wait(s, 100000);
    script_send(s, A | P, 101, 1, 65535, 10); /* beyond a hole: must not move TS.Recent, or the hole's RTT is lost */
    struct script_segment *out = script_next(s);
    CHECK(s, out && out->options.timestamp_echo == first);
    script_send(s, A | P, 1, 1, 65535, 100);
    out = script_next(s);
    CHECK(s, out && out->options.timestamp_echo == s->timestamp);
}

static void window_never_shrinks(struct script *s)
{
    uint32_t edge = 0;

    s->config.receive_buffer = 8192;
    s->peer.has_scale = true;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 40; i++) {
        script_send(s, A | P, 1 + i * 100, 1, 65535, 100);
        if (i % 7 == 0)
            tcp_consume(s->connection, 150);
        script_wait(s, 10000);
        struct script_segment *out;
        while ((out = script_next(s)) != NULL) {
            CHECK(s, out->ack + out->window >= edge);
            edge = out->ack + out->window;
        }
    }
}

static void first_sample(struct script *s)
{
    struct tcp_info info;

    script_establish(s);
    tcp_info(s->connection, &info);
    CHECK(s, info.smoothed_rtt == 10000 && info.rtt_variance == 5000);
    CHECK(s, info.rto == 10000 + s->config.rto_min_us);
}

/* ---- Closing. */

static void peer_closes_first(struct script *s)
{
    script_establish(s);
    script_send(s, F | A, 1, 1, 65535, 0);
    CHECK(s, s->peer_closed);
    EXPECT(s, A, 1, 2, 0);
    script_app_send(s, 10); /* half-closed: sending goes on */
    EXPECT(s, A, 1, 2, 10);
    tcp_shutdown(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 11, 2, 0);
    script_send(s, A, 2, 12, 65535, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_NORMAL);
}

static void we_close_first(struct script *s)
{
    struct net_census census;

    script_establish(s);
    static const uint8_t bytes[10];
    tcp_send(s->connection, bytes, 10);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 10); /* FIN rides on the last data */
    script_send(s, A, 1, 12, 65535, 0);
    script_send(s, F | A, 1, 12, 65535, 0);
    EXPECT(s, A, 12, 2, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_NORMAL);
    net_census(s->stack, &census);
    CHECK(s, census.time_wait == 1 && census.connections == 0);
    script_send(s, F | A, 1, 12, 65535, 0); /* our last ACK was lost */
    EXPECT(s, A, 12, 2, 0);
    script_wait(s, 61000000);
    net_census(s->stack, &census);
    CHECK(s, census.time_wait == 0);
}

static void simultaneous_close(struct script *s)
{
    script_establish(s);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, F | A, 1, 1, 65535, 0);
    EXPECT(s, A, 2, 2, 0);
    CHECK(s, !s->closed);
    script_send(s, A, 2, 2, 65535, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_NORMAL);
}

static void fin_with_data_out_of_order(struct script *s)
{
    script_establish(s);
    script_send(s, F | A, 101, 1, 65535, 10);
    CHECK(s, !s->peer_closed);
    script_send(s, A, 1, 1, 65535, 100);
    CHECK(s, s->consumed == 110 && s->peer_closed);
}

static void fin_waits_for_the_reader(struct script *s)
{
    script_establish(s);
    s->consume = false;
    script_send(s, F | A, 1, 1, 65535, 10);
    CHECK(s, !s->peer_closed && tcp_readable_bytes(s->connection) == 10);
    tcp_consume(s->connection, 10);
    script_turn(s);
    CHECK(s, s->peer_closed);
}

static void unread_bytes_survive_the_end(struct script *s)
{
    script_establish(s);
    s->consume = false;
    tcp_shutdown(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, F | A, 1, 2, 65535, 10);
    CHECK(s, !s->closed && s->connection && tcp_readable_bytes(s->connection) == 10);
    tcp_consume(s->connection, 10);
    script_turn(s);
    CHECK(s, s->closed && s->peer_closed && s->reason == TCP_CLOSE_NORMAL);
}

static void close_wait_fin(struct script *s)
{
    script_establish(s);
    script_send(s, F | A, 1, 1, 65535, 0);
    EXPECT(s, A, 1, 2, 0);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 2, 0);
    script_wait(s, 1500000); /* lost: again */
    EXPECT(s, F | A, 1, 2, 0);
}

static void fin_without_memory(struct script *s)
{
    static struct rte_mbuf *taken[1024];
    unsigned count = 0;

    script_establish(s);
    while (count < 1024 && (taken[count] = rte_pktmbuf_alloc(s->pool)) != NULL)
        count++;
    while (s->stack->buffers.count > 0) /* what the stack has taken out of the pool for later */
        taken[count++] = stack_mbuf(s->stack);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT_NOTHING(s);
    while (count > 0)
        rte_pktmbuf_free(taken[--count]);
    script_wait(s, 2000000);
    EXPECT(s, F | A, 1, 1, 0);
}

static void fin_wait_2_ends(struct script *s)
{
    script_establish(s);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, A, 1, 2, 65535, 0);
    script_wait(s, 61000000);
    CHECK(s, s->closed);
}

static void abort_sends_rst(struct script *s)
{
    script_establish(s);
    script_app_send(s, 10);
    script_next(s);
    tcp_abort(s->connection);
    CHECK(s, !s->closed); /* not inside the call */
    script_turn(s);
    EXPECT(s, R | A, 11, 1, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_ABORTED);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_resets_aborted) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_resets_unexpected) == 0);
    script_send(s, A, 1, 11, 65535, 5); /* what is still on the way */
    EXPECT(s, R, 11, 0, 0);
}

static void time_wait_reuse(struct script *s)
{
    script_establish(s);
    uint32_t initial = s->our_initial;
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, F | A, 1, 2, 65535, 0);
    EXPECT(s, A, 2, 2, 0);
    script_send(s, S, 1, 0, 65535, 0); /* not newer */
    EXPECT(s, A, 2, 2, 0);
    script_send(s, R, 2, 0, 0, 0); /* no assassination */
    s->accepted = false;
    script_send(s, S, 5000, 0, 65535, 0);
    EXPECT(s, S | A, 0, 5001, 0);
    CHECK(s, (int32_t)(s->our_initial - initial) > 2);
    script_send(s, S, 5000, 0, 65535, 0); /* several SYNs */
    EXPECT(s, S | A, 0, 5001, 0);
    script_send(s, A, 5001, 1, 65535, 0);
    CHECK(s, s->accepted);
}

static void keepalive(struct script *s)
{
    s->config.keepalive_idle_us = 10 * 1000000;
    s->config.keepalive_interval_us = 1000000;
    s->config.keepalive_probes = 3;
    script_establish(s);
    script_wait(s, 10500000);
    EXPECT(s, A, 0, 1, 0); /* one below the window */
    script_send(s, A, 1, 1, 65535, 0);
    script_wait(s, 9000000);
    EXPECT_NOTHING(s);
    script_wait(s, 10000000);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_TIMEOUT);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_keepalive_timeouts) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_user_timeouts) == 0);
}

static void keepalive_is_answered(struct script *s)
{
    script_establish(s);
    script_send(s, A, 0, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 0);
    script_send(s, A, 0, 1, 65535, 1); /* with a garbage byte, as old stacks do */
    EXPECT(s, A, 1, 1, 0);
    CHECK(s, s->consumed == 0);
}

/* ---- The application's side. */

static void send_bound_and_writable(struct script *s)
{
    static const uint8_t bytes[10000];

    s->config.send_buffer = 8192;
    script_establish(s);
    size_t taken = tcp_send(s->connection, bytes, sizeof bytes);
    CHECK(s, taken >= 8192 && taken < 8192 + SCRIPT_MSS);
    script_turn(s);
    CHECK(s, s->writable_calls == 0);
    script_send(s, A, 1, 8193, 65535, 0);
    CHECK(s, s->writable_calls == 1);
}

static void reserve_appends_to_one_segment(struct script *s)
{
    script_establish(s);
    for (int i = 0; i < 10; i++) {
        uint8_t *room = tcp_reserve(s->connection, 50);
        CHECK(s, room != NULL);
        if (room) {
            memset(room, i, 50);
            tcp_commit(s->connection, 50);
        }
    }
    CHECK(s, tcp_reserve(s->connection, SCRIPT_MSS + 1) == NULL);
    script_turn(s);
    EXPECT(s, A | P, 1, 1, 500);
    EXPECT_NOTHING(s);
}

/* What is written while the port is busy leaves in one segment when it is not; answers do not wait for that. */
static void busy_port_gathers(struct script *s)
{
    script_establish(s);
    s->port_busy = true;
    for (int i = 0; i < 10; i++) {
        script_app_send(s, 50);
        EXPECT_NOTHING(s);
    }
    script_send(s, A | P, 5000000, 1, 65535, 10); /* beyond the window */
    EXPECT(s, A, 1, 1, 0);
    CHECK(s, net_next_deadline(s->stack) > s->now);
    s->port_busy = false;
    script_turn(s);
    EXPECT(s, A | P, 1, 1, 500);
    EXPECT_NOTHING(s);
    script_send(s, A, 1, 501, 65535, 0);
    CHECK(s, tcp_unacknowledged_bytes(s->connection) == 0);
}

static void reserve_without_commit(struct script *s)
{
    struct net_census census;

    script_establish(s);
    CHECK(s, tcp_reserve(s->connection, 50) != NULL);
    script_turn(s);
    EXPECT_NOTHING(s);
    net_census(s->stack, &census);
    CHECK(s, census.send_mbufs == 0);
}

static void id_goes_stale(struct script *s)
{
    script_establish(s);
    uint64_t id = tcp_connection_id(s->connection);
    CHECK(s, tcp_connection_find(s->stack, id) == s->connection && id != 0);
    tcp_abort(s->connection);
    script_turn(s);
    CHECK(s, tcp_connection_find(s->stack, id) == NULL);
}

static void slow_reader_is_coalesced(struct script *s)
{
    struct net_census census;

    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 1000; i++)
        script_send(s, A | P, 1 + i * 10, 1, 65535, 10);
    net_census(s->stack, &census);
    CHECK(s, tcp_readable_bytes(s->connection) == 10000);
    CHECK(s, census.receive_mbufs < 20);
}

/* ---- Below TCP. */

static void first_packet_waits_for_arp(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    s->quiet_arp = true;
    script_listen(s);
    peer.bytes[15] = 2;
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_turn(s);
    EXPECT_NOTHING(s);
    CHECK(s, s->arp_out == 2); /* the announcement, and the question */
    s->quiet_arp = false;
    script_wait(s, 1300000);
    EXPECT(s, S, 0, 0, 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_neighbour_unresolved) == 0);
}

static void arp_is_answered(struct script *s)
{
    const uint8_t request[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,   0,  0, 0, 2, 8, 6, 0, 1, 8, 0,   6,  4, 0,
                                 1,    2,    0,    0,    0,    0,    2, 198, 18, 0, 2, 0, 0, 0, 0, 0, 0, 198, 18, 0, 1};

    script_listen(s);
    script_frame(s, request, sizeof request);
    script_turn(s);
    CHECK(s, s->arp_out == 2 && script_counter(s, NET_COUNTER_arp_replies_sent) == 1);
    script_frame(s, request, 30);
    CHECK(s, script_counter(s, NET_COUNTER_drop_arp_malformed) == 1);
}

static uint16_t sum16(const uint8_t *bytes, uint32_t length)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < length; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* An echo request of 64 bytes, cut into fragments at `cut` (0: whole). */
static void ping(struct script *s, uint32_t offset, uint32_t length, bool more, uint16_t identifier)
{
    uint8_t frame[200] = {2, 0, 0, 0, 0, 1,  2, 0, 0, 0,   0,  2, 8, 0,   0x45, 0, 0,
                          0, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 2, 198, 18,   0, 1};
    uint8_t icmp[64] = {8, 0, 0, 0, 1, 2, 3, 4};
    uint16_t sum;

    for (unsigned i = 8; i < 64; i++)
        icmp[i] = (uint8_t)i;
    sum = sum16(icmp, 64);
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    frame[17] = (uint8_t)(20 + length);
    frame[18] = (uint8_t)(identifier >> 8);
    frame[19] = (uint8_t)identifier;
    frame[20] = (uint8_t)(more ? 0x20 : 0);
    frame[21] = (uint8_t)(offset / 8);
    sum = sum16(frame + 14, 20);
    frame[24] = (uint8_t)(sum >> 8);
    frame[25] = (uint8_t)sum;
    memcpy(frame + 34, icmp + offset, length);
    script_frame(s, frame, 34 + length < 60 ? 60 : 34 + length);
    script_turn(s);
}

static void echo_is_answered(struct script *s)
{
    script_listen(s);
    ping(s, 0, 64, false, 1);
    CHECK(s, s->icmp_out == 1);
}

static void fragments(struct script *s)
{
    struct net_census census;

    s->config.max_reassembly = 2;
    script_listen(s);
    ping(s, 32, 32, false, 7); /* any order */
    ping(s, 0, 32, true, 7);
    CHECK(s, script_counter(s, NET_COUNTER_fragments_reassembled) == 1 && s->icmp_out == 1);
    ping(s, 0, 32, true, 8);
    ping(s, 24, 40, false, 8); /* overlap */
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_malformed) == 2);
    for (uint16_t i = 0; i < 5; i++)
        ping(s, 0, 32, true, (uint16_t)(100 + i));
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_full) == 3);
    script_wait(s, 6000000);
    net_census(s->stack, &census);
    CHECK(s, census.reassembly_mbufs == 0 && script_counter(s, NET_COUNTER_drop_fragment_timeout) == 2);
}

/* ---- Statements of the standards that nothing above shows. */

static void small_segments_do_not_wait(struct script *s)
{
    script_establish(s);
    script_app_send(s, 10);
    EXPECT(s, A | P, 1, 1, 10);
    script_app_send(s, 10); /* while the first is not acknowledged: no Nagle */
    EXPECT(s, A | P, 11, 1, 10);
}

static void later_samples(struct script *s)
{
    struct tcp_info info;

    script_establish(s); /* the handshake took 10 ms */
    script_app_send(s, 100);
    script_wait(s, 30000);
    script_send(s, A, 1, 101, 65535, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.smoothed_rtt == 12500);                            /* 10 + (30 - 10) / 8 */
    CHECK(s, info.rtt_variance == 8750 && info.rtt_minimum < 10001); /* 5 + (20 - 5) / 4 */
}

static void retransmission_gives_no_sample(struct script *s)
{
    struct tcp_info before, after;

    script_establish(s);
    tcp_info(s->connection, &before);
    script_app_send(s, 100);
    script_wait(s, 1500000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_retransmits) > 0);
    script_send(s, A, 1, 101, 65535, 0); /* of which transmission? */
    tcp_info(s->connection, &after);
    CHECK(s, after.smoothed_rtt == before.smoothed_rtt && after.rtt_variance == before.rtt_variance);
}

static void initial_window_and_slow_start(struct script *s)
{
    script_establish(s);
    script_app_send(s, 30000);
    for (uint32_t i = 0; i < 10; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    EXPECT_NOTHING(s);
    script_wait(s, 10000);
    script_send(s, A, 1, 2001, 65535, 0); /* two acknowledged: they are replaced, and two more */
    for (uint32_t i = 10; i < 14; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    EXPECT_NOTHING(s);
}

static void restart_after_idle(struct script *s)
{
    uint32_t sent = 1, acked = 1;

    s->config.keepalive_idle_us = 0;
    script_establish(s);
    script_app_send(s, 60000);
    while (acked < 60001) { /* slow start well beyond the initial window */
        struct script_segment *out;
        while ((out = script_next(s)) != NULL)
            sent = out->sequence + out->length;
        script_wait(s, 10000);
        acked = sent;
        script_send(s, A, 1, acked, 65535, 0);
    }
    struct tcp_info info;
    tcp_info(s->connection, &info);
    CHECK(s, info.congestion_window > 20000);
    script_wait(s, 5000000);
    script_app_send(s, 30000);
    for (uint32_t i = 0; i < 10; i++)
        EXPECT(s, A, 60001 + i * 1000, 1, 1000);
    EXPECT_NOTHING(s);
}

static void window_shrunk_holds_new_data(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 3000, 0);
    script_app_send(s, 3000);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    script_send(s, A, 1, 1001, 1000, 0); /* right edge from 3000 to 2000 */
    script_app_send(s, 1000);
    EXPECT_NOTHING(s);
    script_wait(s, 1500000);
    struct script_segment *out = script_next(s); /* what is in the window is sent again as usual */
    CHECK(s, out && out->sequence == 1001 && out->length == 1000);
    while ((out = script_next(s)) != NULL)
        CHECK(s, out->sequence < 3001);
}

static void window_probes_back_off(struct script *s)
{
    uint64_t last = 0, first_gap = 0, gap = 0;

    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 500);
    for (int i = 0; i < 400; i++) { /* 20 s of a peer that answers at once and does not open */
        struct script_segment *out;
        script_wait(s, 50000);
        while ((out = script_next(s)) != NULL) {
            gap = last ? out->at - last : 0;
            first_gap = first_gap ? first_gap : gap;
            last = out->at;
            script_send(s, A, 1, 1, 0, 0);
        }
    }
    CHECK(s, first_gap > 300000 && gap > 8 * first_gap);
}

static void rst_counts_at_zero_window(struct script *s)
{
    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 4; i++)
        script_send(s, A, 1 + i * 1024, 1, 65535, 1024);
    CHECK(s, tcp_readable_bytes(s->connection) == 4096);
    script_send(s, R, 4097, 0, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_RESET);
}

static void rst_may_carry_data(struct script *s)
{
    script_establish(s);
    script_send(s, R, 1, 0, 0, 20); /* a text that says why */
    CHECK(s, s->closed && s->reason == TCP_CLOSE_RESET && s->consumed == 0);
}

static void segment_without_ack_is_dropped(struct script *s)
{
    script_establish(s);
    script_send(s, P, 1, 0, 65535, 10);
    CHECK(s, s->consumed == 0 && script_counter(s, NET_COUNTER_drop_tcp_no_ack) == 1);
    EXPECT_NOTHING(s);
}

static void options_only_when_agreed(struct script *s)
{
    struct script_segment *out;

    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0); /* a SYN with MSS alone */
    out = script_next(s);
    CHECK(s, out && out->options.mss && !out->options.has_scale && !out->options.has_timestamp &&
                 !out->options.sack_permitted);
    script_send(s, A, 1, 1, 65535, 0);
    s->connection = s->accepted ? s->connection : NULL;
    script_send(s, A | P, 101, 1, 65535, 10); /* a hole: no SACK for who did not permit it */
    out = script_next(s);
    CHECK(s, out && out->ack == 1 && out->options.sack_count == 0 && !out->options.has_timestamp);
}

static void timestamps_go_with_every_segment(struct script *s)
{
    struct script_segment *out;

    script_peer_options(s, true, true);
    script_establish(s);
    script_app_send(s, 10);
    out = script_next(s);
    CHECK(s, out && out->length == 10 && out->options.has_timestamp);
    script_send(s, A | P, 1, 11, 65535, 5);
    out = script_next(s);
    CHECK(s, out && out->length == 0 && out->options.has_timestamp && out->options.timestamp_echo == s->timestamp);
    tcp_abort(s->connection);
    script_turn(s);
    out = script_next(s);
    CHECK(s, out && (out->flags & R) && out->options.has_timestamp);
}

static void time_wait_reuse_by_timestamp(struct script *s)
{
    script_peer_options(s, true, true);
    script_establish(s);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, F | A, 1, 2, 65535, 0);
    EXPECT(s, A, 2, 2, 0);
    s->timestamp -= 10;
    script_send(s, S, 5000, 0, 65535, 0); /* a higher number with an older timestamp */
    EXPECT(s, A, 2, 2, 0);
    s->timestamp += 1000;
    script_send(s, S, (uint32_t)-5000, 0, 65535, 0); /* a lower number with a newer one */
    EXPECT(s, S | A, 0, (uint32_t)-4999, 0);
}

static void initial_sequence_follows_the_clock(struct script *s)
{
    uint32_t first;

    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    first = s->our_initial;
    script_send(s, R, 1, 0, 0, 0);
    script_wait(s, 4000000);
    script_send(s, S, 0, 0, 65535, 0); /* the same flow 4 s later: 1,000,000 ticks of 4 us */
    EXPECT(s, S | A, 0, 1, 0);
    CHECK(s, s->our_initial - first >= 999000 && s->our_initial - first <= 1001000);
}

/* A SYN of `source` to `destination`, checksums right but for `spoil` added to TCP's. */
static void syn_frame(struct script *s, const uint8_t source[4], const uint8_t destination[4], uint8_t spoil)
{
    uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6};
    uint8_t pseudo[32] = {[9] = 6, [11] = 20};
    uint16_t sum;

    memcpy(frame + 26, source, 4);
    memcpy(frame + 30, destination, 4);
    sum = sum16(frame + 14, 20);
    frame[24] = (uint8_t)(sum >> 8);
    frame[25] = (uint8_t)sum;
    memcpy(frame + 34, (const uint8_t[]){0x0f, 0xa0, 0x07, 0x5b, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, S, 0xff, 0xff}, 16);
    memcpy(pseudo, frame + 26, 8);
    memcpy(pseudo + 12, frame + 34, 20);
    sum = (uint16_t)(sum16(pseudo, 32) + spoil);
    frame[50] = (uint8_t)(sum >> 8);
    frame[51] = (uint8_t)sum;
    script_frame(s, frame, sizeof frame);
    script_turn(s);
}

static void syn_from_and_to_bad_addresses(struct script *s)
{
    static const uint8_t peer[4] = {198, 18, 0, 2}, own[4] = {198, 18, 0, 1};
    static const uint8_t sources[][4] = {{224, 0, 0, 1}, {255, 255, 255, 255}, {127, 0, 0, 1}, {198, 18, 0, 1}};
    static const uint8_t destinations[][4] = {{224, 0, 0, 1}, {255, 255, 255, 255}, {198, 18, 0, 255}, {198, 18, 0, 9}};

    script_listen(s);
    for (unsigned i = 0; i < 4; i++)
        syn_frame(s, sources[i], own, 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip4_source) == 4);
    for (unsigned i = 0; i < 4; i++)
        syn_frame(s, peer, destinations[i], 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip4_not_for_us) == 4);
    EXPECT_NOTHING(s);
    syn_frame(s, peer, own, 0);
    EXPECT(s, S | A, 0, -1, 0); /* what is dropped above is good but for its addresses */
}

static void tcp_checksum_is_checked(struct script *s)
{
    static const uint8_t peer[4] = {198, 18, 0, 2}, own[4] = {198, 18, 0, 1};

    script_listen(s);
    syn_frame(s, peer, own, 1);
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_checksum) == 1);
    EXPECT_NOTHING(s);
}

/* ---- ICMP errors and the size of packets. */

/* An ICMP message that quotes a segment of ours with this (relative) sequence number. */
static void icmp_error(struct script *s, uint8_t type, uint8_t code, uint16_t mtu, uint32_t sequence)
{
    uint8_t frame[14 + 20 + 8 + 28] = {2,  0, 0, 0, 0, 1,  2, 0, 0, 0,   0,  2, 8, 0,   0x45, 0, 0,
                                       56, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 9, 198, 18,   0, 1};
    uint8_t *icmp = frame + 34, *quoted = icmp + 8;
    uint32_t raw = rte_cpu_to_be_32(s->our_initial + sequence);
    uint16_t sum;

    icmp[0] = type;
    icmp[1] = code;
    icmp[6] = (uint8_t)(mtu >> 8);
    icmp[7] = (uint8_t)mtu;
    memcpy(quoted, (const uint8_t[20]){0x45, 0, 5, 220, 0, 0, 0x40, 0, 60, 6, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2}, 20);
    quoted[20] = (uint8_t)(s->our_port >> 8);
    quoted[21] = (uint8_t)s->our_port;
    quoted[22] = 4000 >> 8;
    quoted[23] = 4000 & 255;
    memcpy(quoted + 24, &raw, 4);
    sum = (uint16_t)~rte_raw_cksum(icmp, 36);
    memcpy(icmp + 2, &sum, 2);
    sum = (uint16_t)~rte_raw_cksum(frame + 14, 20);
    memcpy(frame + 24, &sum, 2);
    script_frame(s, frame, sizeof frame);
    script_turn(s);
}

static void icmp_in_syn_sent(struct script *s)
{
    script_connect(s);
    icmp_error(s, 3, 1, 0, 0); /* host unreachable: soft */
    CHECK(s, !s->closed);
    icmp_error(s, 3, 3, 0, 1000); /* port unreachable, forged */
    CHECK(s, !s->closed && script_counter(s, NET_COUNTER_drop_icmp_unmatched) == 1);
    icmp_error(s, 3, 3, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_UNREACHABLE);
}

static void icmp_is_soft(struct script *s)
{
    script_establish(s);
    script_app_send(s, 100);
    EXPECT(s, A, 1, 1, 100);
    for (uint8_t code = 0; code < 4; code++)
        icmp_error(s, 3, code, 0, 1);
    icmp_error(s, 11, 0, 0, 1);
    icmp_error(s, 12, 0, 0, 1);
    CHECK(s, !s->closed && script_counter(s, NET_COUNTER_icmp_soft_errors) == 6);
}

static void icmp_forged(struct script *s)
{
    script_establish(s);
    script_app_send(s, 100);
    EXPECT(s, A, 1, 1, 100);
    icmp_error(s, 3, 4, 600, 5000);
    icmp_error(s, 3, 3, 0, (uint32_t)-5000);
    CHECK(s, script_counter(s, NET_COUNTER_drop_icmp_unmatched) == 2);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_path_mtu) == 0);
    script_app_send(s, 1000);
    EXPECT(s, A, 101, 1, 1000);
}

static void source_quench_ignored(struct script *s)
{
    struct tcp_info before, after;

    script_establish(s);
    script_app_send(s, 100);
    tcp_info(s->connection, &before);
    icmp_error(s, 4, 0, 0, 1);
    tcp_info(s->connection, &after);
    CHECK(s, after.congestion_window == before.congestion_window);
    CHECK(s, script_counter(s, NET_COUNTER_drop_icmp_type) == 1);
}

static void path_mtu_is_lowered(struct script *s)
{
    struct tcp_info before, info;

    s->peer.mss = 1460;
    script_peer_options(s, true, false);
    script_establish(s);
    script_app_send(s, 2920);
    EXPECT(s, A, 1, 1, 1460);
    EXPECT(s, A, 1461, 1, 1460);
    tcp_info(s->connection, &before);
    icmp_error(s, 3, 4, 1000, 1);
    EXPECT(s, A, 1, 1, 960); /* both again, in pieces that fit */
    EXPECT(s, A, 961, 1, 500);
    EXPECT(s, A, 1461, 1, 960);
    EXPECT(s, A, 2421, 1, 500);
    tcp_info(s->connection, &info);
    CHECK(s, info.mss == 960 && info.congestion_window == before.congestion_window && !info.recovering);
    icmp_error(s, 3, 4, 1400, 1); /* it does not grow */
    icmp_error(s, 3, 4, 68, 1);   /* nor become silly */
    tcp_info(s->connection, &info);
    CHECK(s, info.mss == 512);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_path_mtu) == 2);
}

static void path_mtu_unnamed_takes_a_plateau(struct script *s)
{
    struct tcp_info info;

    s->peer.mss = 1460;
    script_establish(s);
    script_app_send(s, 1460);
    EXPECT(s, A, 1, 1, 1460);
    icmp_error(s, 3, 4, 0, 1);
    tcp_info(s->connection, &info);
    CHECK(s, info.mss == 1492 - 40);
}

/* A tail being written when the path narrows is cut as well. */
static void path_mtu_narrows_the_tail(struct script *s)
{
    static const uint8_t bytes[3000];

    s->peer.mss = 1460;
    script_establish(s);
    script_app_send(s, 10);
    EXPECT(s, A, 1, 1, 10);
    tcp_send(s->connection, bytes, 1000);
    icmp_error(s, 3, 4, 600, 1);
    tcp_send(s->connection, bytes, 100);
    script_turn(s);
    EXPECT(s, A, 11, 1, 560);
    EXPECT(s, A, 571, 1, 440);
    EXPECT(s, A, 1011, 1, 100);
}

static void black_hole_is_found(struct script *s)
{
    struct script_segment *out;
    uint32_t smallest = 1460;

    s->peer.mss = 1460;
    script_establish(s);
    script_app_send(s, 1460);
    EXPECT(s, A, 1, 1, 1460);
    script_wait(s, 5000000);
    while ((out = script_next(s)) != NULL)
        if (out->length > 2 && out->length < smallest)
            smallest = out->length;
    CHECK(s, smallest <= 1240 && script_counter(s, NET_COUNTER_tcp_black_holes) >= 1);
}

static void echo_rate_is_bounded(struct script *s)
{
    s->config.echo_replies = 3;
    script_listen(s);
    for (uint16_t i = 0; i < 5; i++)
        ping(s, 0, 64, false, i);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_echo_sent) == 3 && script_counter(s, NET_COUNTER_drop_icmp_rate) == 2);
    script_wait(s, 1100000);
    ping(s, 0, 64, false, 9);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_echo_sent) == 4);
}

/* ---- Explicit congestion notification. */

static void ecn_establish(struct script *s)
{
    script_peer_options(s, true, false);
    script_listen(s);
    script_send(s, S | E | C, 0, 0, 65535, 0);
    EXPECT(s, S | A | E, 0, 1, 0);
    script_wait(s, 10000);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->connection != NULL);
}

static void ecn_marks_new_data(struct script *s)
{
    ecn_establish(s);
    script_app_send(s, 1000);
    struct script_segment *out = script_next(s);
    CHECK(s, out && out->congestion == 2);
    script_wait(s, 2000000);
    out = script_next(s);
    CHECK(s, out && out->sequence == 1 && out->congestion == 0); /* repeated */
    script_send(s, A | P, 1, 1001, 65535, 10);
    while ((out = script_next(s)) != NULL)
        CHECK(s, out->congestion == 0); /* nor are pure ACKs */
}

static void ecn_reduces_once_per_window(struct script *s)
{
    struct tcp_info before, after;

    ecn_establish(s);
    script_app_send(s, 9000);
    for (int i = 0; i < 9; i++)
        EXPECT(s, A, 1 + 1000 * i, 1, 1000);
    tcp_info(s->connection, &before);
    script_send(s, A | E, 1, 1001, 65535, 0);
    tcp_info(s->connection, &after);
    CHECK(s, after.congestion_window < before.congestion_window);
    before = after;
    script_send(s, A | E, 1, 5001, 65535, 0); /* the same event */
    tcp_info(s->connection, &after);
    CHECK(s, after.congestion_window >= before.congestion_window);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_ecn_reductions) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_retransmits) == 0);
    script_app_send(s, 1000);
    EXPECT(s, A | C, 9001, 1, 1000);
    script_app_send(s, 1000);
    EXPECT(s, A, 10001, 1, 1000);              /* CWR once */
    script_send(s, A | E, 1, 10001, 65535, 0); /* the next window */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_ecn_reductions) == 2);
}

static void ecn_is_echoed_until_cwr(struct script *s)
{
    ecn_establish(s);
    s->congestion = 3;
    script_send(s, A, 1, 1, 65535, 100);
    s->congestion = 2;
    EXPECT(s, A | E, 1, 101, 0);
    script_send(s, A, 101, 1, 65535, 100);
    EXPECT(s, A | E, 1, 201, 0);
    script_send(s, A | C, 201, 1, 65535, 100);
    EXPECT(s, A, 1, 301, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_ecn_marks_received) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_ecn_reductions_received) == 1);
}

static void ecn_is_asked_for_once(struct script *s)
{
    struct tcp_info info;

    s->config.ecn = NET_ECN_ASK;
    struct script_segment syn = script_connect(s);
    CHECK(s, syn.flags == (S | E | C) && syn.congestion == 0);
    script_wait(s, 1100000);
    EXPECT(s, S, 0, 0, 0); /* a path that drops such SYNs */
    script_send(s, S | A, 0, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 0);
    tcp_info(s->connection, &info);
    CHECK(s, !info.ecn);
}

static void ecn_active(struct script *s)
{
    struct tcp_info info;

    s->config.ecn = NET_ECN_ASK;
    script_connect(s);
    script_send(s, S | A | E, 0, 1, 65535, 0);
    EXPECT(s, A, 1, 1, 0);
    tcp_info(s->connection, &info);
    CHECK(s, info.ecn);
}

static void ecn_survives_a_cookie(struct script *s)
{
    struct tcp_info info;

    script_peer_options(s, true, true);
    s->config.syn_cookies = NET_SYN_COOKIES_ALWAYS;
    script_listen(s);
    script_send(s, S | E | C, 0, 0, 65535, 0);
    EXPECT(s, S | A | E, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->connection != NULL);
    if (!s->connection)
        return;
    tcp_info(s->connection, &info);
    CHECK(s, info.ecn && info.sack);
}

/* ---- The pool under pressure. */

static void pressure_stops_slow_readers_first(struct script *s)
{
    s->config.max_held_buffers = 8;
    s->consume = false;
    script_establish(s);
    for (uint32_t i = 0; i < 8; i++)
        script_send(s, A, 1 + 1000 * i, 1, 65535, 1000);
    CHECK(s, tcp_readable_bytes(s->connection) == 8000);
    script_send(s, A, 8001, 1, 65535, 1000);
    CHECK(s, tcp_readable_bytes(s->connection) == 8000 && script_counter(s, NET_COUNTER_drop_tcp_pressure) == 1);
    /* Another connection, whose application reads at once, is not hindered. */
    struct tcp_connection *slow = s->connection;
    struct net_address any = NET_ADDRESS_ANY;
    uint32_t initial = s->our_initial;
    s->our_port = 1884;
    tcp_listen(s->stack, &any, 1884, s);
    script_send(s, S, 0, 0, 65535, 0);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->connection != slow);
    s->consume = true;
    script_send(s, A, 1, 1, 65535, 1000);
    CHECK(s, s->consumed == 1000);
    /* The slow one reads: it goes on where it was. */
    tcp_consume(slow, 8000);
    s->our_port = 1883;
    s->our_initial = initial;
    script_send(s, A, 8001, 1, 65535, 1000);
    CHECK(s, s->consumed == 2000);
}

static void pressure_narrows_windows(struct script *s)
{
    struct script_segment *out;
    uint32_t window = 0;

    s->config.max_held_buffers = 8;
    s->config.receive_buffer = 65535;
    s->consume = false;
    script_establish(s);
    for (uint32_t i = 0; i < 6; i++)
        script_send(s, A, 1 + 1000 * i, 1, 65535, 1000);
    while ((out = script_next(s)) != NULL)
        window = out->window;
    CHECK(s, window == 65535 - 6000); /* what was offered is never taken back */
    tcp_consume(s->connection, 1000);
    for (uint32_t i = 6; i < 60; i++) { /* as it is used up, no more is offered than half the buffer */
        script_send(s, A, 1 + 1000 * i, 1, 65535, 1000);
        tcp_consume(s->connection, 1000);
        script_turn(s);
    }
    while ((out = script_next(s)) != NULL)
        window = out->window;
    CHECK(s, window <= 65535 / 2 && window > 1000);
}

static void pressure_bounds_what_is_sent(struct script *s)
{
    static const uint8_t bytes[20000];

    s->config.max_held_buffers = 8;
    script_establish(s);
    CHECK(s, tcp_send(s->connection, bytes, sizeof bytes) == 8000);
}

/* ---- Timeouts in doubt, reneging, closing with unread data. */

static void spurious_timeout_is_found_by_frto(struct script *s)
{
    struct tcp_info before, info;

    script_establish(s); /* neither timestamps nor SACK */
    script_app_send(s, 6000);
    for (int i = 0; i < 6; i++)
        EXPECT(s, A, 1 + 1000 * i, 1, 1000);
    tcp_info(s->connection, &before);
    script_wait(s, 300000); /* the path is slow for a moment */
    EXPECT(s, A, 1, 1, 1000);
    EXPECT_NOTHING(s);
    script_app_send(s, 3000);
    EXPECT_NOTHING(s);
    script_send(s, A, 1, 1001, 65535, 0); /* of the original */
    EXPECT(s, A, 6001, 1, 1000);          /* new data, not the second segment again */
    EXPECT(s, A, 7001, 1, 1000);
    EXPECT_NOTHING(s);
    script_send(s, A, 1, 2001, 65535, 0); /* nobody repeated that one */
    tcp_info(s->connection, &info);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_undone) == 1 && !info.recovering);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_undone_by_probing) == 1);
    CHECK(s, info.congestion_window >= before.congestion_window);
    EXPECT(s, A, 8001, 1, 1000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_retransmits) == 1);
}

static void real_timeout_is_no_doubt(struct script *s)
{
    script_establish(s);
    script_app_send(s, 4000);
    for (int i = 0; i < 4; i++)
        EXPECT(s, A, 1 + 1000 * i, 1, 1000);
    script_wait(s, 300000);
    EXPECT(s, A, 1, 1, 1000);
    script_app_send(s, 2000);
    script_send(s, A, 1, 1001, 65535, 0);
    EXPECT(s, A, 4001, 1, 1000);
    EXPECT(s, A, 5001, 1, 1000);
    script_send(s, A, 1, 1001, 65535, 0); /* duplicate: the second segment is missing indeed */
    EXPECT(s, A, 1001, 1, 1000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_undone) == 0);
}

/* The peer drops what it had SACKed: after a timeout everything is sent again (RFC 2018 section 8). */
static void sack_reneging_is_survived(struct script *s)
{
    struct script_segment *out;
    bool again[4] = {0};

    script_peer_options(s, true, false);
    script_establish(s);
    script_app_send(s, 4000);
    for (int i = 0; i < 4; i++)
        EXPECT(s, A, 1 + 1000 * i, 1, 1000);
    script_wait(s, 10000);
    script_send_sack(s, 1, 65535, 1, (struct tcp_sack_block[]){{1001, 4001}});
    script_wait(s, 200);
    EXPECT(s, A, 1, 1, 1000);
    script_send(s, A, 1, 1001, 65535, 0); /* the hole is filled, yet the rest is gone */
    script_wait(s, 5000000);
    while ((out = script_next(s)) != NULL) {
        if (out->length == 1000)
            again[out->sequence / 1000] = true;
        if (out->sequence / 1000 < 4 && out->length == 1000)
            script_send(s, A, 1, out->sequence + 1000, 65535, 0);
    }
    CHECK(s, again[1]);
    script_wait(s, 3000000);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_sack_reneged) == 1);
    struct tcp_info info;
    tcp_info(s->connection, &info);
    CHECK(s, info.unacknowledged == 0);
}

/* A FIN and not a RST: a RST may destroy the last message on its way into the peer's application. */
static void close_with_unread_data(struct script *s)
{
    s->consume = false;
    script_establish(s);
    script_send(s, A | P, 1, 1, 65535, 100);
    EXPECT(s, A, 1, 101, 0);
    tcp_send(s->connection, "reason", 6);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, 1, 101, 6);
    script_send(s, A | P, 101, 8, 65535, 50); /* acknowledged, thrown away */
    EXPECT(s, A, 8, 151, 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_after_close) == 150);
}

/* ---- IPv6. */

/* A piece of an echo request of 64 bytes in a fragment header. */
static void ping6(struct script *s, uint32_t offset, uint32_t length, bool more, uint8_t identifier)
{
    uint8_t frame[14 + 40 + 8 + 64] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60}, *ip = frame + 14;
    uint8_t icmp[64] = {128, 0, 0, 0, 1, 2, 3, 4};
    struct rte_ipv6_hdr pseudo = {.proto = 58, .payload_len = rte_cpu_to_be_16(64)};
    uint32_t sum;

    memcpy(ip + 8, (const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 2}, 16);
    memcpy(ip + 24, (const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 1}, 16);
    memcpy(pseudo.src_addr, ip + 8, 32);
    for (unsigned i = 8; i < 64; i++)
        icmp[i] = (uint8_t)i;
    sum = (uint32_t)rte_ipv6_phdr_cksum(&pseudo, 0) + rte_raw_cksum(icmp, 64);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    memcpy(icmp + 2, &sum, 2);
    ip[5] = (uint8_t)(8 + length);
    ip[6] = 44;
    ip[7] = 64;
    ip[40] = 58;
    ip[43] = (uint8_t)(offset | more);
    ip[47] = identifier;
    memcpy(ip + 48, icmp + offset, length);
    script_frame(s, frame, 14 + 48 + length);
    script_turn(s);
}

static void fragments_of_ip6(struct script *s)
{
    struct net_interface_config *interface = &s->config.interfaces[0];

    interface->addresses[interface->address_count++] =
        (struct net_prefix){net_address_ip6((const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 1}), 64};
    script_listen(s);
    ping6(s, 32, 32, false, 1);
    ping6(s, 0, 32, true, 1); /* put together, checksum good */
    CHECK(s, script_counter(s, NET_COUNTER_fragments_reassembled) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_drop_icmp_checksum) == 0);
    ping6(s, 0, 64, false, 2); /* an atomic fragment */
    CHECK(s, script_counter(s, NET_COUNTER_icmp_echo_received) == 2);
    ping6(s, 0, 32, true, 3);
    ping6(s, 24, 40, false, 3); /* overlap */
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_malformed) == 2);
    ping6(s, 0, 33, true, 4); /* not a multiple of eight */
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_malformed) == 3);
}

static const struct script_case scripts[] = {
    SCRIPT(passive_open_and_data_in_third_step),
    SCRIPT(active_open),
    SCRIPT(active_open_syn_is_repeated_then_given_up),
    SCRIPT(rst_in_syn_sent),
    SCRIPT(bad_ack_in_syn_sent_is_reset),
    SCRIPT(simultaneous_open),
    SCRIPT(syn_window_not_scaled),
    SCRIPT(no_mss_option),
    SCRIPT(syn_ack_is_repeated),
    SCRIPT(rst_ends_half_open),
    SCRIPT(half_open_answers_what_it_does_not_accept),
    SCRIPT(out_of_order_data_in_syn_received),
    SCRIPT(listen_table),
    SCRIPT(backlog_full_without_cookies),
    SCRIPT(syn_cookie_keeps_options),
    SCRIPT(forged_cookie_is_refused),
    SCRIPT(delayed_ack),
    SCRIPT(ack_after_a_pause),
    SCRIPT(ack_every_second),
    SCRIPT(ack_rides_on_data),
    SCRIPT(push_on_last),
    SCRIPT(out_of_order_acked),
    SCRIPT(sack_most_recent_first),
    SCRIPT(duplicate_is_reported),
    SCRIPT(overlapping_segments),
    SCRIPT(bad_checksum),
    SCRIPT(option_underflow_is_survived),
    SCRIPT(zero_window),
    SCRIPT(zero_window_probe_accepted),
    SCRIPT(zero_window_forever),
    SCRIPT(zero_window_and_silence_ends),
    SCRIPT(window_below_one_segment),
    SCRIPT(both_windows_zero),
    SCRIPT(window_update_after_reading),
    SCRIPT(window_shrunk),
    SCRIPT(data_beyond_window_is_refused),
    SCRIPT(fast_retransmit_without_sack),
    SCRIPT(sack_two_holes_and_partial_ack),
    SCRIPT(loss_of_a_retransmission),
    SCRIPT(loss_of_the_last_segment),
    SCRIPT(timeout_backs_off),
    SCRIPT(ssthresh_once),
    SCRIPT(cwnd_not_limited),
    SCRIPT(spurious_timeout_is_undone),
    SCRIPT(user_timeout),
    SCRIPT(transmit_full_is_recovered),
    SCRIPT(rst_in_window_challenged),
    SCRIPT(syn_in_established_challenged),
    SCRIPT(any_syn_in_established_is_challenged),
    SCRIPT(challenge_budget),
    SCRIPT(ack_out_of_range),
    SCRIPT(old_ack_for_unsent_data),
    SCRIPT(paws),
    SCRIPT(paws_after_long_idle),
    SCRIPT(timestamp_recent),
    SCRIPT(window_never_shrinks),
    SCRIPT(first_sample),
    SCRIPT(peer_closes_first),
    SCRIPT(we_close_first),
    SCRIPT(simultaneous_close),
    SCRIPT(fin_with_data_out_of_order),
    SCRIPT(fin_waits_for_the_reader),
    SCRIPT(unread_bytes_survive_the_end),
    SCRIPT(close_wait_fin),
    SCRIPT(fin_without_memory),
    SCRIPT(fin_wait_2_ends),
    SCRIPT(abort_sends_rst),
    SCRIPT(time_wait_reuse),
    SCRIPT(keepalive),
    SCRIPT(keepalive_is_answered),
    SCRIPT(send_bound_and_writable),
    SCRIPT(reserve_appends_to_one_segment),
    SCRIPT(busy_port_gathers),
    SCRIPT(reserve_without_commit),
    SCRIPT(id_goes_stale),
    SCRIPT(slow_reader_is_coalesced),
    SCRIPT(first_packet_waits_for_arp),
    SCRIPT(arp_is_answered),
    SCRIPT(echo_is_answered),
    SCRIPT(fragments),
    SCRIPT(small_segments_do_not_wait),
    SCRIPT(later_samples),
    SCRIPT(retransmission_gives_no_sample),
    SCRIPT(initial_window_and_slow_start),
    SCRIPT(restart_after_idle),
    SCRIPT(window_shrunk_holds_new_data),
    SCRIPT(window_probes_back_off),
    SCRIPT(rst_counts_at_zero_window),
    SCRIPT(rst_may_carry_data),
    SCRIPT(segment_without_ack_is_dropped),
    SCRIPT(options_only_when_agreed),
    SCRIPT(timestamps_go_with_every_segment),
    SCRIPT(time_wait_reuse_by_timestamp),
    SCRIPT(initial_sequence_follows_the_clock),
    SCRIPT(syn_from_and_to_bad_addresses),
    SCRIPT(tcp_checksum_is_checked),
    SCRIPT(icmp_in_syn_sent),
    SCRIPT(icmp_is_soft),
    SCRIPT(icmp_forged),
    SCRIPT(source_quench_ignored),
    SCRIPT(path_mtu_is_lowered),
    SCRIPT(path_mtu_unnamed_takes_a_plateau),
    SCRIPT(path_mtu_narrows_the_tail),
    SCRIPT(black_hole_is_found),
    SCRIPT(echo_rate_is_bounded),
    SCRIPT(ecn_marks_new_data),
    SCRIPT(ecn_reduces_once_per_window),
    SCRIPT(ecn_is_echoed_until_cwr),
    SCRIPT(ecn_is_asked_for_once),
    SCRIPT(ecn_active),
    SCRIPT(ecn_survives_a_cookie),
    SCRIPT(pressure_stops_slow_readers_first),
    SCRIPT(pressure_narrows_windows),
    SCRIPT(pressure_bounds_what_is_sent),
    SCRIPT(fragments_of_ip6),
    SCRIPT(spurious_timeout_is_found_by_frto),
    SCRIPT(real_timeout_is_no_doubt),
    SCRIPT(sack_reneging_is_survived),
    SCRIPT(close_with_unread_data),
    {NULL, NULL},
};

static const struct script_case *const groups[] = {
    congestion_scripts,
    network_scripts,
    state_scripts,
    window_scripts,
};

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

static unsigned ran, failed;

static void run(const struct script_case *script, int argc, char **argv)
{
    static struct script state;

    for (; script->name; script++) {
        if (!wanted(script->name, argc, argv))
            continue;
        script_open(&state, script->name);
        script->run(&state);
        script_close(&state);
        failed += state.failures > 0;
        ran++;
    }
}

int main(int argc, char **argv)
{
    run(scripts, argc, argv);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        run(groups[i], argc, argv);
    printf("%u scripts, %u failed\n", ran, failed);
    return failed != 0;
}

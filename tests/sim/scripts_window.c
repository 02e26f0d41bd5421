/* Packet scripts: windows that close, shrink, stay small or never open; slow subscribers make them common. Job of a
 * script: script.h. */
#include "tests/sim/script.h"

#include <string.h>

static void forget(struct script *s)
{
    s->out_first = s->out_count;
}

/* ---- The peer's window. */

static void shrunk_to_zero_does_not_end(struct script *s)
{
    script_establish(s);
    script_app_send(s, 3000);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    script_send(s, A, 1, 1, 0, 0); /* all that is in flight lies beyond the edge now */
    for (int i = 0; i < 600; i++) {
        script_wait(s, 1000000);
        while (script_next(s))
            script_send(s, A, 1, 1, 0, 0);
    }
    CHECK(s, !s->closed);
    script_send(s, A, 1, 1, 5000, 0);
    script_wait(s, 1000000);
    EXPECT(s, A, 1, 1, 1000);
}

static void retransmits_beyond_a_moved_edge(struct script *s)
{
    script_establish(s);
    script_app_send(s, 3000);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    script_send(s, A, 1, 1001, 500, 0); /* the second segment ends beyond */
    script_wait(s, 400000);
    EXPECT(s, A, 1001, 1, 1000);
}

static void rounding_is_no_shrinking(struct script *s)
{
    s->peer.has_scale = true;
    s->peer.scale = 4;
    script_establish(s);
    script_send(s, A, 1, 1, 1000, 0); /* 16,000 bytes */
    forget(s);
    const uint64_t before = script_counter(s, NET_COUNTER_tcp_window_shrunk);
    script_app_send(s, 1000);
    EXPECT(s, A, 1, 1, 1000);
    script_send(s, A, 1, 1001, 937, 0); /* 62.5 units less, rounded down: the edge is 8 bytes back */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_window_shrunk) == before);
    script_app_send(s, 500);
    EXPECT(s, A, 1001, 1, 500);
    script_send(s, A, 1, 1501, 800, 0); /* that is shrinking */
    CHECK(s, script_counter(s, NET_COUNTER_tcp_window_shrunk) == before + 1);
}

/* Probes and answers are lost alternately; the window opens in an ACK that is lost too. */
static void probes_are_lost(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 2000);
    script_wait(s, 10000000); /* every probe of ten seconds is lost */
    CHECK(s, s->out_count - s->out_first >= 3 && !s->closed);
    forget(s);
    script_wait(s, 60000000);
    CHECK(s, s->out_count > s->out_first); /* it goes on asking */
    forget(s);
    script_send(s, A, 1, 1, 65535, 0); /* the answer to one of them, with an open window */
    EXPECT(s, A, 1, 1, 1);
    EXPECT(s, A, 2, 1, 999);
    EXPECT(s, A, 1001, 1, 1000);
    script_send(s, A, 1, 2001, 65535, 0);
    EXPECT_NOTHING(s);
}

static void window_update_is_lost(struct script *s)
{
    script_establish(s);
    script_app_send(s, 1000);
    EXPECT(s, A, 1, 1, 1000);
    script_send(s, A, 1, 1001, 0, 0);
    script_app_send(s, 3000);
    EXPECT_NOTHING(s);
    script_wait(s, 2000000); /* the peer has read; its update was lost; the probe brings it */
    CHECK(s, s->out_count - s->out_first >= 1);
    forget(s);
    script_send(s, A, 1, 1002, 4000, 0); /* the probe's byte is taken */
    EXPECT(s, A, 1002, 1, 999);
    EXPECT(s, A, 2001, 1, 1000);
    EXPECT(s, A, 3001, 1, 1000);
}

/* A window of seven bytes is not worth a segment: one byte-sized segment after a wait, not one for every ACK. */
static void silly_windows_are_not_filled(struct script *s)
{
    unsigned segments = 0;

    script_establish(s);
    script_send(s, A, 1, 1, 7, 0);
    script_app_send(s, 3000);
    EXPECT_NOTHING(s);
    for (int i = 0; i < 20; i++) { /* two seconds in which the peer repeats its offer */
        script_wait(s, 100000);
        script_send(s, A, 1, 1, 7, 0);
        while (script_next(s))
            segments++;
    }
    CHECK(s, segments <= 6);
    script_send(s, A, 1, 8, 40000, 0);
    forget(s);
    script_wait(s, 1000000);
    CHECK(s, s->connection != NULL);
}

static void half_the_window_is_worth_a_segment(struct script *s)
{
    script_listen(s);
    script_send(s, S, 0, 0, 600, 0); /* never more than 600 bytes */
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A, 1, 1, 600, 0);
    script_app_send(s, 3000);
    EXPECT(s, A, 1, 1, 600); /* at once: it is all that there ever is */
    EXPECT_NOTHING(s);
    script_send(s, A, 1, 601, 400, 0);
    EXPECT(s, A, 601, 1, 400);
    script_send(s, A, 1, 1001, 100, 0); /* less than half: not at once */
    EXPECT_NOTHING(s);
}

static void peer_never_opens_and_we_close(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 500);
    tcp_close(s->connection);
    script_turn(s);
    for (int i = 0; i < 100; i++) {
        script_wait(s, 10000000);
        while (script_next(s))
            script_send(s, A, 1, 1, 0, 0);
    }
    CHECK(s, !s->closed); /* what was sent before the close is still owed */
    script_send(s, A, 1, 1, 1000, 0);
    while (s->out_count - s->out_first > 1)
        script_next(s);
    EXPECT(s, F | A, -1, 1, -1);
}

static void fin_fits_a_closed_window_later(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    tcp_close(s->connection);
    script_turn(s);
    script_wait(s, 1000000); /* the FIN serves as the probe */
    CHECK(s, s->out_count > s->out_first);
    forget(s);
    script_send(s, A, 1, 1, 100, 0);
    script_wait(s, 1000000);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, A, 1, 2, 100, 0);
    script_send(s, F | A, 1, 2, 100, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_NORMAL);
}

/* ---- Ours. */

static void probe_with_an_old_sequence(struct script *s)
{
    struct script_segment *out;

    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 4; i++)
        script_send(s, A, 1 + i * 1024, 1, 65535, 1024);
    forget(s);
    script_send(s, A, 4096, 1, 65535, 0); /* one below the window, as Linux does it */
    out = script_next(s);
    CHECK(s, out && out->ack == 4097 && out->window == 0);
    script_send(s, A | P, 4097, 1, 65535, 1); /* with a byte, as BSD does it */
    out = script_next(s);
    CHECK(s, out && out->ack == 4097 && out->window == 0 && tcp_readable_bytes(s->connection) == 4096);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_window_probes_received) == 2);
}

static void fin_waits_for_our_window(struct script *s)
{
    struct script_segment *out;

    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 4; i++)
        script_send(s, A, 1 + i * 1024, 1, 65535, 1024);
    forget(s);
    script_send(s, F | A, 4097, 1, 65535, 100); /* data that does not fit, and a FIN behind it */
    out = script_next(s);
    CHECK(s, out && out->ack == 4097 && !s->peer_closed);
    tcp_consume(s->connection, 4096);
    script_turn(s);
    out = script_next(s);
    CHECK(s, out && out->window == 4096);
    s->consume = true;
    script_send(s, F | A, 4097, 1, 65535, 100);
    EXPECT(s, A, 1, 4198, 0);
    CHECK(s, s->peer_closed);
}

/* Both sides closed, both probe, both open again: neither loses a byte. */
static void both_closed_both_probe(struct script *s)
{
    struct script_segment *out;

    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 4; i++)
        script_send(s, A, 1 + i * 1024, 1, 0, 1024);
    script_app_send(s, 600);
    forget(s);
    for (int round = 0; round < 20; round++) {
        script_wait(s, 3000000);
        script_send(s, A, 4096, 1, 0, 0); /* its probe; our answer must not open, nor must ours be taken for data */
        while ((out = script_next(s)) != NULL)
            CHECK(s, out->window == 0 && out->ack == 4097 && out->length <= 1);
    }
    tcp_consume(s->connection, 4096);
    script_turn(s);
    out = script_next(s);
    CHECK(s, out && out->window == 4096);
    forget(s);
    script_send(s, A, 4097, 1, 2000, 50);
    CHECK(s, tcp_readable_bytes(s->connection) == 50);
    uint32_t bytes = 0;
    while ((out = script_next(s)) != NULL)
        bytes += out->length;
    CHECK(s, bytes == 600);
}

static void slow_reader_is_not_told_of_crumbs(struct script *s)
{
    unsigned updates = 0;

    s->config.receive_buffer = 8192;
    script_establish(s);
    s->consume = false;
    for (uint32_t i = 0; i < 8; i++)
        script_send(s, A, 1 + i * 1024, 1, 65535, 1024);
    forget(s);
    for (int i = 0; i < 128; i++) { /* byte by byte, nearly */
        tcp_consume(s->connection, 64);
        script_turn(s);
        while (script_next(s))
            updates++;
    }
    CHECK(s, updates >= 1 && updates <= 8);
}

/*
 * A segment that was lost and is sent again has an old number, but a newer acknowledgement and window than what came
 * before it. With the number alone to tell which is newer, the old window would be counted from the new
 * acknowledgement.
 */
static void window_is_that_of_the_newest_acknowledgement(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1001, 1, 4000, 1000); /* behind one that is lost */
    forget(s);
    script_app_send(s, 3000);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT(s, A, 1 + i * 1000, 1, 1000);
    script_send(s, A, 1, 3001, 1000, 1000); /* the lost one: nobody has read, the edge is where it was */
    forget(s);
    script_app_send(s, 3000);
    EXPECT(s, A, 3001, 2001, 1000);
    EXPECT_NOTHING(s);
}

static void older_acknowledgement_brings_no_window(struct script *s)
{
    script_establish(s);
    script_app_send(s, 3000);
    forget(s);
    script_send(s, A, 1, 3001, 1000, 0);
    script_send(s, A, 1001, 1001, 60000, 1000); /* overtaken */
    forget(s);
    script_app_send(s, 3000);
    EXPECT(s, A, 3001, 1, 1000);
    EXPECT_NOTHING(s);
}

/* A peer with a closed window takes no ACK whose number lies beyond it, the probe's byte included: it would repeat in
 * vain what we have acknowledged. */
static void acknowledgements_beside_a_probe_are_acceptable(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 3000);
    script_wait(s, 2000000);
    EXPECT(s, A, 1, 1, 1);
    forget(s);
    script_send(s, A, 1, 1, 0, 1000);
    script_turn(s);
    script_wait(s, 10000);
    EXPECT(s, A, 1, 1001, 0);
    script_send(s, A, 1001, 1, 0, 1000);
    EXPECT(s, A, 1, 2001, 0);
    script_send(s, A, 2001, 1, 0, 1000);
    EXPECT(s, A, 1, 3001, 0);
    script_send(s, A, 3001, 2, 3000, 0); /* it reads at last, and takes the probe's byte */
    EXPECT(s, A, 2, 3001, 999);
}

/* A peer with a closed window takes a reset at its edge only. */
static void reset_beside_a_probe_is_acceptable(struct script *s)
{
    script_establish(s);
    script_send(s, A, 1, 1, 0, 0);
    script_app_send(s, 3000);
    script_wait(s, 2000000);
    forget(s);
    tcp_abort(s->connection);
    script_turn(s);
    EXPECT(s, R | A, 1, 1, 0);
}

/* The other way round: peers whose probe counts as sent acknowledge from beyond our closed window. */
static void acknowledgement_beyond_a_closed_window_counts(struct script *s)
{
    s->config.receive_buffer = 4096;
    script_establish(s);
    s->consume = false;
    script_app_send(s, 2000);
    for (uint32_t i = 0; i < 4; i++)
        script_send(s, A, 1 + i * 1024, 1, 65535, 1024);
    forget(s);
    const uint64_t dropped = script_counter(s, NET_COUNTER_drop_tcp_sequence);
    script_send(s, A, 4098, 2001, 65535, 0); /* a byte beyond: its probe */
    CHECK(s, tcp_unacknowledged_bytes(s->connection) == 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_sequence) == dropped);
    script_app_send(s, 1000);
    EXPECT(s, A, 2001, 4097, 1000);
    script_send(s, A, 4098 + 5000, 3001, 65535, 0); /* anywhere */
    CHECK(s, script_counter(s, NET_COUNTER_drop_tcp_sequence) == dropped + 1);
}

const struct script_case window_scripts[] = {
    SCRIPT(window_is_that_of_the_newest_acknowledgement),
    SCRIPT(older_acknowledgement_brings_no_window),
    SCRIPT(acknowledgements_beside_a_probe_are_acceptable),
    SCRIPT(reset_beside_a_probe_is_acceptable),
    SCRIPT(acknowledgement_beyond_a_closed_window_counts),
    SCRIPT(shrunk_to_zero_does_not_end),
    SCRIPT(retransmits_beyond_a_moved_edge),
    SCRIPT(rounding_is_no_shrinking),
    SCRIPT(probes_are_lost),
    SCRIPT(window_update_is_lost),
    SCRIPT(silly_windows_are_not_filled),
    SCRIPT(half_the_window_is_worth_a_segment),
    SCRIPT(peer_never_opens_and_we_close),
    SCRIPT(fin_fits_a_closed_window_later),
    SCRIPT(probe_with_an_old_sequence),
    SCRIPT(fin_waits_for_our_window),
    SCRIPT(both_closed_both_probe),
    SCRIPT(slow_reader_is_not_told_of_crumbs),
    {NULL, NULL},
};

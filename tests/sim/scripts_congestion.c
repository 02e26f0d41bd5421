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

const struct script_case congestion_scripts[] = {
    SCRIPT(window_probe_answers_are_no_duplicates), SCRIPT(limited_transmit),
    SCRIPT(late_duplicates_start_nothing),          SCRIPT(lost_syn_shrinks_the_window),
    SCRIPT(late_syn_ack_shrinks_nothing),           SCRIPT(lost_syn_ack),
    SCRIPT(late_third_step_shrinks_nothing),        {NULL, NULL},
};

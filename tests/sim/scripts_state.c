/* Packet scripts: the states of a connection, what an application sets and hears, what a peer must not get away with.
 * Job of a script: script.h. */
#include "tests/sim/script.h"

#include <string.h>

/* ---- Trouble. */

static void trouble_is_told(struct script *s)
{
    s->config.callbacks.troubled = script_troubled;
    script_establish(s);
    script_app_send(s, 10);
    script_wait(s, 1000000);
    CHECK(s, s->trouble_calls == 0);
    script_wait(s, 1000000); /* the third repetition */
    CHECK(s, s->trouble_calls == 1 && s->trouble == TCP_TROUBLE_SILENCE && !s->closed);
    script_wait(s, 10000000);
    CHECK(s, s->trouble_calls == 1);
}

static void unreachable_is_no_end(struct script *s)
{
    uint8_t icmp[36] = {3, 1, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 6};

    s->config.callbacks.troubled = script_troubled;
    script_establish(s);
    script_app_send(s, 10);
    memcpy(icmp + 20, script_our_ip, 4);
    memcpy(icmp + 24, script_peer_ip, 4);
    memcpy(icmp + 28, (const uint8_t[4]){1883 >> 8, 1883 & 255, 4000 >> 8, 4000 & 255}, 4);
    const uint32_t sequence = __builtin_bswap32(s->our_initial + 1);
    memcpy(icmp + 32, &sequence, 4);
    uint32_t sum = 0;
    for (unsigned i = 0; i < sizeof icmp; i += 2)
        sum += (uint32_t)icmp[i] << 8 | icmp[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    script_ip4(s, script_peer_ip, script_our_ip, 1, icmp, sizeof icmp);
    CHECK(s, s->trouble_calls == 1 && s->trouble == TCP_TROUBLE_UNREACHABLE && !s->closed);
}

/* ---- Settings of a connection. */

static void user_timeout_of_a_connection(struct script *s)
{
    script_establish(s);
    tcp_set_user_timeout(s->connection, 20);
    script_app_send(s, 100);
    script_wait(s, 15000000);
    CHECK(s, !s->closed);
    script_wait(s, 40000000);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_TIMEOUT);
}

/* The option of the last segment with these bytes in front; its value, or -1. */
static int timeout_option(const struct script *s)
{
    const uint8_t *tcp = s->last_tcp.bytes + 34;
    const uint32_t end = (tcp[12] >> 4) * 4u;

    for (uint32_t at = 20; at + 4 <= end; at += tcp[at] == 1 ? 1 : tcp[at + 1])
        if (tcp[at] == 28)
            return tcp[at + 2] << 8 | tcp[at + 3];
    return -1;
}

static void user_timeout_option(struct script *s)
{
    static const uint8_t longer[8] = {2, 4, 3, 0xe8, 28, 4, 1, 0x2c}; /* MSS, 300 s */

    s->config.user_timeout_option = true;
    s->config.user_timeout_us = 60 * 1000000;
    s->config.user_timeout_limit_us = 600 * 1000000;
    script_listen(s);
    script_send_options(s, S, 0, 0, 65535, 0, NULL, longer, sizeof longer);
    EXPECT(s, S | A, 0, 1, 0);
    CHECK(s, timeout_option(s) == 60);
    script_send(s, A, 1, 1, 65535, 0);
    script_app_send(s, 100);
    script_wait(s, 250000000); /* longer than ours */
    CHECK(s, !s->closed);
    script_wait(s, 120000000);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_TIMEOUT);
}

static void user_timeout_option_is_bounded(struct script *s)
{
    static const uint8_t hours[4] = {28, 4, 0x80, 200}, none[4] = {28, 4, 0, 0}; /* 200 minutes */

    s->config.user_timeout_option = true;
    s->config.user_timeout_us = 60 * 1000000;
    s->config.user_timeout_limit_us = 200 * 1000000;
    script_establish(s);
    script_send_options(s, A | P, 1, 1, 65535, 1, NULL, hours, sizeof hours);
    script_send_options(s, A | P, 2, 1, 65535, 1, NULL, none, sizeof none); /* says nothing */
    script_app_send(s, 100);
    script_wait(s, 190000000);
    CHECK(s, !s->closed);
    script_wait(s, 80000000);
    CHECK(s, s->closed);
}

static void user_timeout_is_the_applications(struct script *s)
{
    static const uint8_t longer[4] = {28, 4, 1, 0x2c};

    s->config.user_timeout_option = true;
    script_establish(s);
    tcp_set_user_timeout(s->connection, 20);
    script_turn(s);
    CHECK(s, timeout_option(s) == 20); /* told at once */
    tcp_set_user_timeout(s->connection, 40000);
    script_turn(s);
    CHECK(s, timeout_option(s) == (1 << 15 | 40000 / 60)); /* in minutes */
    tcp_set_user_timeout(s->connection, 20);
    script_send_options(s, A | P, 1, 1, 65535, 1, NULL, longer, sizeof longer);
    script_app_send(s, 100);
    script_wait(s, 60000000);
    CHECK(s, s->closed);
}

static void user_timeout_option_is_off(struct script *s)
{
    static const uint8_t longer[8] = {2, 4, 3, 0xe8, 28, 4, 1, 0x2c};

    s->config.user_timeout_us = 60 * 1000000;
    script_listen(s);
    script_send_options(s, S, 0, 0, 65535, 0, NULL, longer, sizeof longer);
    CHECK(s, timeout_option(s) == -1);
    script_send(s, A, 1, 1, 65535, 0);
    script_app_send(s, 100);
    script_wait(s, 130000000);
    CHECK(s, s->closed);
}

static void keepalive_of_a_connection(struct script *s)
{
    s->config.keepalive_idle_us = 10 * 1000000;
    s->config.keepalive_interval_us = 1000000;
    script_establish(s);
    tcp_set_keepalive(s->connection, TCP_KEEPALIVE_OFF);
    s->out_first = s->out_count;
    script_wait(s, 100000000);
    EXPECT_NOTHING(s);
    tcp_set_keepalive(s->connection, TCP_KEEPALIVE_DEFAULT);
    script_wait(s, 10500000);
    EXPECT(s, A, 0, 1, 0);
}

static void keepalive_where_there_is_none(struct script *s)
{
    s->config.keepalive_idle_us = 0;
    script_establish(s);
    s->out_first = s->out_count;
    script_wait(s, UINT64_C(7300) * 1000000);
    EXPECT_NOTHING(s);
    tcp_set_keepalive(s->connection, TCP_KEEPALIVE_ON);
    script_wait(s, UINT64_C(7300) * 1000000);
    EXPECT(s, A, 0, 1, 0);
}

static void connect_is_given_up_late(struct script *s)
{
    script_connect(s);
    script_wait(s, 180000000);
    CHECK(s, !s->closed);
    script_wait(s, 60000000);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_CONNECT_TIMEOUT);
}

/* ---- Headers. */

static void syn_options_stay_in_the_syn(struct script *s)
{
    struct script_segment *out;

    script_peer_options(s, true, true);
    s->peer.has_scale = true;
    script_establish(s);
    script_app_send(s, 2000);
    script_send(s, A | P, 1, 1, 65535, 10);
    tcp_abort(s->connection);
    script_turn(s);
    const uint8_t *tcp = s->last_tcp.bytes + 34;
    CHECK(s, (tcp[12] >> 4) == 8 && tcp[20] == 1 && tcp[21] == 1 && tcp[22] == 8); /* a timestamp alone */
    while ((out = script_next(s)) != NULL)
        CHECK(s, out->options.mss == 0 && !out->options.has_scale && !out->options.sack_permitted);
}

static void nothing_is_urgent(struct script *s)
{
    script_establish(s);
    for (int i = 0; i < 3; i++) {
        script_app_send(s, 10);
        CHECK(s, !(s->last_tcp.bytes[34 + 13] & 0x20) && s->last_tcp.bytes[34 + 18] == 0 &&
                     s->last_tcp.bytes[34 + 19] == 0);
    }
}

static void urgent_data_comes_in_line(struct script *s)
{
    script_establish(s);
    script_send(s, A | P | 0x20, 1, 1, 65535, 10);
    CHECK(s, s->consumed == 10 && s->last_byte == 10);
}

const struct script_case state_scripts[] = {
    SCRIPT(trouble_is_told),
    SCRIPT(unreachable_is_no_end),
    SCRIPT(user_timeout_of_a_connection),
    SCRIPT(user_timeout_option),
    SCRIPT(user_timeout_option_is_bounded),
    SCRIPT(user_timeout_is_the_applications),
    SCRIPT(user_timeout_option_is_off),
    SCRIPT(keepalive_of_a_connection),
    SCRIPT(keepalive_where_there_is_none),
    SCRIPT(connect_is_given_up_late),
    SCRIPT(syn_options_stay_in_the_syn),
    SCRIPT(nothing_is_urgent),
    SCRIPT(urgent_data_comes_in_line),
    {NULL, NULL},
};

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

/* ---- Opening. */

static void cookies_only_when_full(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY;
    struct net_census census;

    s->config.max_half_open = 1;
    script_listen(s);
    tcp_listen(s->stack, &any, 1884, s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    net_census(s->stack, &census);
    CHECK(s, census.half_open == 1 && census.connections == 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_syn_cookies_sent) == 0);
    s->our_port = 1884;
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_syn_cookies_sent) == 1);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->accepted && script_counter(s, NET_COUNTER_tcp_syn_cookies_accepted) == 1);
}

static uint16_t port_of_next(struct script *s, uint16_t wanted)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;
    struct script_segment *out;

    peer.bytes[15] = 2;
    CHECK(s, tcp_connect(s->stack, &any, wanted, &peer, 4000, s) != NULL);
    script_turn(s);
    out = script_next(s);
    return out ? out->port : 0;
}

static void ports_are_chosen(struct script *s)
{
    script_listen(s);
    const uint16_t first = port_of_next(s, 0), second = port_of_next(s, 0);
    CHECK(s, first >= 32768 && second >= 32768 && first != second);
    const uint16_t guess = second == 65535 ? 32768 : (uint16_t)(second + 1);
    CHECK(s, port_of_next(s, guess) == guess);
    CHECK(s, port_of_next(s, 0) != guess); /* in use */
}

/* The first port depends on the secret, and on where the connection goes. */
static void ports_are_hard_to_guess(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;
    struct script_segment *out;
    unsigned near = 0;

    s->config.max_connections = 16;
    script_listen(s);
    peer.bytes[15] = 2;
    uint16_t last = port_of_next(s, 0);
    for (uint16_t port = 5000; port < 5010; port++) {
        tcp_connect(s->stack, &any, 0, &peer, port, s);
        script_turn(s);
        out = script_next(s);
        near += out && (uint16_t)(out->port - last + 64) < 128;
        last = out ? out->port : 0;
    }
    CHECK(s, near <= 2);
}

/* ---- RST in every state. */

static void reach(struct script *s, enum tcp_state state)
{
    struct tcp_info info;

    if (state == TCP_STATE_SYN_RECEIVED) { /* both opened at once */
        script_connect(s);
        script_send(s, S, 0, 0, 65535, 0);
        EXPECT(s, S | A, 0, 1, 0);
    } else {
        script_establish(s);
        if (state == TCP_STATE_CLOSE_WAIT || state == TCP_STATE_LAST_ACK)
            script_send(s, F | A, 1, 1, 65535, 0);
        if (state != TCP_STATE_ESTABLISHED && state != TCP_STATE_CLOSE_WAIT)
            tcp_shutdown(s->connection);
        script_turn(s);
        if (state == TCP_STATE_FIN_WAIT_2 || state == TCP_STATE_TIME_WAIT)
            script_send(s, A, 1, 2, 65535, 0);
        if (state == TCP_STATE_CLOSING)
            script_send(s, F | A, 1, 1, 65535, 0);
        if (state == TCP_STATE_TIME_WAIT)
            script_send(s, F | A, 1, 2, 65535, 0);
    }
    s->out_first = s->out_count;
    if (state == TCP_STATE_TIME_WAIT)
        return;
    tcp_info(s->connection, &info);
    CHECK(s, info.state == state);
}

/* RFC 5961: exact ends it, in the window is challenged, elsewhere is nothing. */
static void rst_in(struct script *s, enum tcp_state state, uint32_t next, enum tcp_close_reason reason)
{
    reach(s, state);
    script_send(s, R, next + 200000, 0, 0, 0);
    script_send(s, R, next - 5, 0, 0, 0);
    EXPECT_NOTHING(s);
    script_send(s, R, next + 5, 0, 0, 0);
    EXPECT(s, A, -1, next, 0);
    CHECK(s, !s->closed);
    script_send(s, R | A, next, 1, 0, 0);
    CHECK(s, s->closed && s->reason == reason);
    EXPECT_NOTHING(s); /* nothing answers a RST */
}

static void rst_in_established(struct script *s)
{
    rst_in(s, TCP_STATE_ESTABLISHED, 1, TCP_CLOSE_RESET);
}

static void rst_in_fin_wait_1(struct script *s)
{
    rst_in(s, TCP_STATE_FIN_WAIT_1, 1, TCP_CLOSE_RESET);
}

static void rst_in_fin_wait_2(struct script *s)
{
    rst_in(s, TCP_STATE_FIN_WAIT_2, 1, TCP_CLOSE_RESET);
}

static void rst_in_close_wait(struct script *s)
{
    rst_in(s, TCP_STATE_CLOSE_WAIT, 2, TCP_CLOSE_RESET);
}

static void rst_in_closing(struct script *s)
{
    rst_in(s, TCP_STATE_CLOSING, 2, TCP_CLOSE_NORMAL);
}

static void rst_in_last_ack(struct script *s)
{
    rst_in(s, TCP_STATE_LAST_ACK, 2, TCP_CLOSE_NORMAL);
}

static void rst_in_syn_received(struct script *s)
{
    reach(s, TCP_STATE_SYN_RECEIVED);
    script_send(s, R, 1, 0, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_REFUSED);
}

static void rst_in_time_wait(struct script *s)
{
    struct net_census census;

    reach(s, TCP_STATE_TIME_WAIT);
    script_send(s, R | A, 2, 2, 0, 0);
    net_census(s->stack, &census);
    CHECK(s, census.time_wait == 1);
    EXPECT_NOTHING(s);
}

static void rst_is_exempt_from_paws(struct script *s)
{
    script_peer_options(s, false, true);
    script_establish(s);
    script_send(s, A | P, 1, 1, 65535, 10);
    s->timestamp -= 5000;
    script_send(s, R, 11, 0, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_RESET);
}

/* Abort, from each state that an application sees. */
static void abort_in(struct script *s, enum tcp_state state, uint32_t sequence, uint32_t ack)
{
    reach(s, state);
    tcp_abort(s->connection);
    script_turn(s);
    EXPECT(s, R | A, sequence, ack, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_ABORTED);
}

static void abort_in_syn_received(struct script *s)
{
    abort_in(s, TCP_STATE_SYN_RECEIVED, 1, 1);
}

static void abort_in_fin_wait_1(struct script *s)
{
    abort_in(s, TCP_STATE_FIN_WAIT_1, 2, 1);
}

static void abort_in_fin_wait_2(struct script *s)
{
    abort_in(s, TCP_STATE_FIN_WAIT_2, 2, 1);
}

static void abort_in_close_wait(struct script *s)
{
    abort_in(s, TCP_STATE_CLOSE_WAIT, 1, 2);
}

static void abort_in_closing(struct script *s)
{
    abort_in(s, TCP_STATE_CLOSING, 2, 2);
}

static void abort_in_last_ack(struct script *s)
{
    abort_in(s, TCP_STATE_LAST_ACK, 2, 2);
}

static void abort_in_syn_sent(struct script *s)
{
    script_connect(s);
    tcp_abort(s->connection);
    script_turn(s);
    EXPECT_NOTHING(s); /* the peer has nothing that a RST could end */
    CHECK(s, s->closed && s->reason == TCP_CLOSE_ABORTED);
    script_send(s, S | A, 0, 1, 65535, 0);
    EXPECT(s, R, 1, 0, 0);
}

/* The peer lost its memory: what it sends is answered so that it resets us, and its new SYN then gets through. */
static void peer_rebooted(struct script *s)
{
    script_establish(s);
    script_app_send(s, 100);
    s->out_first = s->out_count;
    script_send(s, S, 5000000, 0, 65535, 0); /* the same port, soon after */
    EXPECT(s, A, 101, 1, 0);                 /* the challenge: where we stand */
    script_send(s, R, 1, 0, 0, 0);           /* which means nothing to it */
    CHECK(s, s->closed && s->reason == TCP_CLOSE_RESET);
    script_send(s, S, 5000000, 0, 65535, 0);
    EXPECT(s, S | A, 0, 5000001, 0);
}

static void fin_is_repeated_in_each_closing_state(struct script *s)
{
    reach(s, TCP_STATE_CLOSING);
    script_send(s, F | A, 1, 1, 65535, 0); /* the peer's FIN again: our ACK was lost */
    EXPECT(s, A, 2, 2, 0);
    script_wait(s, 1500000);
    EXPECT(s, F | A, 1, 2, 0); /* and ours */
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
    SCRIPT(cookies_only_when_full),
    SCRIPT(ports_are_chosen),
    SCRIPT(ports_are_hard_to_guess),
    SCRIPT(rst_in_established),
    SCRIPT(rst_in_fin_wait_1),
    SCRIPT(rst_in_fin_wait_2),
    SCRIPT(rst_in_close_wait),
    SCRIPT(rst_in_closing),
    SCRIPT(rst_in_last_ack),
    SCRIPT(rst_in_syn_received),
    SCRIPT(rst_in_time_wait),
    SCRIPT(rst_is_exempt_from_paws),
    SCRIPT(abort_in_syn_sent),
    SCRIPT(abort_in_syn_received),
    SCRIPT(abort_in_fin_wait_1),
    SCRIPT(abort_in_fin_wait_2),
    SCRIPT(abort_in_close_wait),
    SCRIPT(abort_in_closing),
    SCRIPT(abort_in_last_ack),
    SCRIPT(peer_rebooted),
    SCRIPT(fin_is_repeated_in_each_closing_state),
    {NULL, NULL},
};

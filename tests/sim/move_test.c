/*
 * Packet scripts for lib/net/tcp_move.h: a connection moves from the stack that its segments arrive on to another
 * worker's, in virtual time. The script's functions send to the first stack always, as steering would.
 *
 *     move_test [NAME...]
 */
#include "lib/net/tcp_move.h"

#include "tests/sim/script.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <string.h>

static uint64_t second_counter(struct script *s, enum net_counter counter)
{
    return net_counters(s->second)[counter];
}

static void two_workers(struct script *s)
{
    script_establish(s);
    script_second(s);
    script_turn(s);
}

/* The whole way; afterwards s->connection is the one in the second stack. */
static void move(struct script *s)
{
    struct tcp_moved moved;

    CHECK(s, tcp_move_away(s->connection, 1, &moved));
    script_turn(s);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_MOVED);
    s->closed = false;
    s->connection = tcp_move_here(s->second, &moved, s->now);
    CHECK(s, s->connection != NULL);
    script_turn(s);
}

static void read_all(struct script *s)
{
    uint32_t length;
    const uint8_t *bytes;

    while ((bytes = tcp_peek(s->connection, &length)) != NULL) {
        s->last_byte = bytes[length - 1];
        s->consumed += length;
        tcp_consume(s->connection, length);
    }
}

static void census_zero(struct script *s, unsigned moved_records)
{
    struct net_census first, second;

    net_census(s->stack, &first);
    net_census(s->second, &second);
    CHECK(s, first.connections == 0 && first.moved == moved_records && first.receive_mbufs == 0 &&
                 first.out_of_order_mbufs == 0 && first.send_mbufs == 0);
    CHECK(s, second.connections == 0 && second.moved == 0 && second.receive_mbufs == 0 &&
                 second.out_of_order_mbufs == 0 && second.send_mbufs == 0);
}

/* The peer finishes, we finish, the first stack is told, the record expires: nothing is left anywhere. */
static void finish(struct script *s, uint32_t next, uint32_t ack)
{
    struct net_flow flow = *tcp_flow(s->connection);

    script_send(s, F | A, next, ack, 65535, 0);
    CHECK(s, s->peer_closed);
    EXPECT(s, A, ack, next + 1, 0);
    tcp_close(s->connection);
    script_turn(s);
    EXPECT(s, F | A, ack, next + 1, 0);
    script_send(s, A, next + 1, ack + 1, 65535, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_NORMAL);
    tcp_move_ended(s->stack, &flow, TCP_CLOSE_NORMAL, s->now);
    census_zero(s, 1);
    script_wait(s, s->config.time_wait_us + 1000000);
    census_zero(s, 0);
}

static void unread_bytes_go_along(struct script *s)
{
    s->consume = false;
    two_workers(s);
    script_send(s, A | P, 1, 1, 65535, 100);
    EXPECT(s, A, 1, 101, 0);
    move(s);
    CHECK(s, tcp_readable_bytes(s->connection) == 100);
    read_all(s);
    CHECK(s, s->consumed == 100 && s->last_byte == 100);
    s->consume = true;
    script_send(s, A | P, 101, 1, 65535, 50);
    CHECK(s, s->consumed == 150 && script_counter(s, NET_COUNTER_tcp_moved_segments) == 1);
    EXPECT(s, A, 1, 151, 0);
    tcp_send(s->connection, "answer", 6);
    script_turn(s);
    EXPECT(s, A, 1, 151, 6);
    script_send(s, A, 151, 7, 65535, 0);
    finish(s, 151, 7);
}

static void out_of_order_data_goes_along(struct script *s)
{
    two_workers(s);
    script_send(s, A, 101, 1, 65535, 100);
    EXPECT(s, A, 1, 1, 0);
    move(s);
    struct net_census census;
    net_census(s->second, &census);
    CHECK(s, census.out_of_order_mbufs == 1);
    script_send(s, A, 1, 1, 65535, 100);
    CHECK(s, s->consumed == 200 && s->last_byte == 200);
    EXPECT(s, A, 1, 201, 0);
    finish(s, 201, 1);
}

static void out_of_order_fin_goes_along(struct script *s)
{
    two_workers(s);
    script_send(s, F | A, 101, 1, 65535, 100);
    EXPECT(s, A, 1, 1, 0);
    move(s);
    script_send(s, A, 1, 1, 65535, 100);
    CHECK(s, s->consumed == 200 && s->peer_closed);
}

/* Segments that the first stack passes on are slower than the connection. */
static void segments_arrive_during_the_move(struct script *s)
{
    struct tcp_moved moved;

    two_workers(s);
    s->hold_redirected = true;
    CHECK(s, tcp_move_away(s->connection, 1, &moved));
    script_send(s, A | P, 1, 1, 65535, 10);
    script_send(s, A | P, 11, 1, 65535, 10);
    CHECK(s, s->redirected_count == 2 && s->consumed == 0);
    s->connection = tcp_move_here(s->second, &moved, s->now);
    script_redirect(s);
    script_turn(s);
    CHECK(s, s->consumed == 20 && s->last_byte == 20);
}

/* ... or faster: no RST, the peer sends again. */
static void segments_overtake_the_connection(struct script *s)
{
    struct tcp_moved moved;

    two_workers(s);
    CHECK(s, tcp_move_away(s->connection, 1, &moved));
    script_send(s, A | P, 1, 1, 65535, 10);
    EXPECT_NOTHING(s);
    CHECK(s, second_counter(s, NET_COUNTER_drop_tcp_moved_early) == 1);
    s->connection = tcp_move_here(s->second, &moved, s->now);
    script_turn(s);
    script_send(s, A | P, 1, 1, 65535, 10);
    CHECK(s, s->consumed == 10);
}

static void rst_after_the_move(struct script *s)
{
    two_workers(s);
    move(s);
    struct net_flow flow = *tcp_flow(s->connection);
    script_send(s, R, 1, 0, 0, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_RESET);
    tcp_move_ended(s->stack, &flow, s->reason, s->now);
    census_zero(s, 0);
}

/* Our RST was lost, or came before data and was not believed: the peer's next segment gets another. */
static void lost_reset_is_repeated(struct script *s)
{
    two_workers(s);
    move(s);
    struct net_flow flow = *tcp_flow(s->connection);
    tcp_abort(s->connection);
    script_turn(s);
    EXPECT(s, R | A, 1, 1, 0);
    CHECK(s, s->closed && s->reason == TCP_CLOSE_ABORTED);
    script_send(s, A | P, 1, 1, 65535, 10); /* the first worker has not heard of it yet */
    EXPECT_NOTHING(s);
    tcp_move_ended(s->stack, &flow, s->reason, s->now);
    script_send(s, A | P, 1, 1, 65535, 10);
    EXPECT(s, R, 1, 0, 0);
    census_zero(s, 0);
}

static void syn_after_the_end_opens_anew(struct script *s)
{
    two_workers(s);
    move(s);
    struct net_flow flow = *tcp_flow(s->connection);
    script_send(s, S, 7000, 0, 65535, 0); /* while it lives: challenged where it lives */
    EXPECT(s, A, 1, 1, 0);
    tcp_close(s->connection); /* our FIN first: the TIME-WAIT record is the second stack's */
    script_turn(s);
    EXPECT(s, F | A, 1, 1, 0);
    script_send(s, F | A, 1, 2, 65535, 0);
    EXPECT(s, A, 2, 2, 0);
    tcp_move_ended(s->stack, &flow, TCP_CLOSE_NORMAL, s->now);
    struct net_census census;
    net_census(s->second, &census);
    CHECK(s, census.time_wait == 1);
    s->accepted = s->closed = false;
    s->peer_initial += 100000;
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->accepted);
    net_census(s->stack, &census);
    CHECK(s, census.connections == 1 && census.moved == 0);
    move(s); /* the old TIME-WAIT record there gives way */
    script_send(s, A | P, 1, 1, 65535, 10);
    CHECK(s, s->consumed == 10);
    net_census(s->second, &census);
    CHECK(s, census.time_wait == 0 && census.connections == 1);
}

/* There and back: the record of its having gone away must not win over the connection. */
static void moves_back(struct script *s)
{
    struct tcp_moved moved;
    struct net_census census;

    two_workers(s);
    move(s);
    CHECK(s, tcp_move_away(s->connection, 0, &moved));
    script_turn(s);
    s->closed = false;
    s->connection = tcp_move_here(s->stack, &moved, s->now);
    script_turn(s);
    net_census(s->stack, &census);
    CHECK(s, census.moved == 0 && census.connections == 1);
    script_send(s, A | P, 1, 1, 65535, 10);
    CHECK(s, s->consumed == 10 && script_counter(s, NET_COUNTER_tcp_moved_segments) == 0);
    net_census(s->second, &census);
    CHECK(s, census.moved == 1);
    tcp_move_ended(s->second, tcp_flow(s->connection), TCP_CLOSE_NORMAL, s->now);
    script_wait(s, s->config.time_wait_us + 1000000);
    net_census(s->second, &census);
    CHECK(s, census.moved == 0);
}

static void not_movable(struct script *s)
{
    struct tcp_moved moved;

    two_workers(s);
    tcp_send(s->connection, "data", 4);
    CHECK(s, !tcp_move_away(s->connection, 1, &moved)); /* queued */
    script_turn(s);
    EXPECT(s, A, 1, 1, 4);
    CHECK(s, !tcp_move_away(s->connection, 1, &moved)); /* in flight */
    script_send(s, A, 1, 5, 65535, 0);
    tcp_shutdown(s->connection);
    CHECK(s, !tcp_move_away(s->connection, 1, &moved)); /* closing */
}

static void record_table_is_bounded(struct script *s)
{
    struct tcp_moved moved;

    s->config.max_connections = 1;
    two_workers(s);
    move(s); /* its record is the only one there is room for */
    s->accepted = false;
    s->our_port = 1884;
    struct net_address any = NET_ADDRESS_ANY;
    tcp_listen(s->stack, &any, 1884, s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->accepted);
    CHECK(s, !tcp_move_away(s->connection, 1, &moved));
    script_send(s, A | P, 1, 1, 65535, 10); /* refused: it lives on where it was */
    CHECK(s, s->consumed == 10);
}

static void no_room_resets(struct script *s)
{
    struct tcp_moved moved;
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    s->consume = false;
    s->config.max_connections = 1;
    two_workers(s);
    script_send(s, A | P, 1, 1, 65535, 10);
    EXPECT(s, A, 1, 11, 0);
    CHECK(s, tcp_move_away(s->connection, 1, &moved));
    script_turn(s);
    peer.bytes[15] = 2;
    uint32_t initial = s->our_initial;
    tcp_connect(s->second, &any, 5555, &peer, 4000, s);
    script_turn(s);
    EXPECT(s, S, 0, 0, 0);
    s->our_initial = initial;
    CHECK(s, tcp_move_here(s->second, &moved, s->now) == NULL);
    script_turn(s);
    EXPECT(s, R | A, 1, 11, 0);
}

/* Two fragments of an IPv4 packet, both to the second worker. */
static void in_fragments(struct script *s, const uint8_t *frame, uint32_t length)
{
    enum { HEADERS = 34, FIRST = 400 };

    for (uint32_t start = 0; start < length - HEADERS; start += FIRST) {
        const uint32_t left = length - HEADERS - start, here = left < FIRST ? left : FIRST;
        struct rte_mbuf *mbuf = rte_pktmbuf_alloc(s->pool);
        uint8_t *bytes = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(HEADERS + here));
        struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(bytes + 14);
        memcpy(bytes, frame, HEADERS);
        memcpy(bytes + HEADERS, frame + HEADERS + start, here);
        ip->total_length = rte_cpu_to_be_16((uint16_t)(20 + here));
        ip->fragment_offset = rte_cpu_to_be_16((uint16_t)(start / 8 | (left > FIRST ? RTE_IPV4_HDR_MF_FLAG : 0)));
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
        net_input(s->second, 0, &mbuf, 1, s->now);
    }
}

static void reassembled_packet_goes_to_its_worker(struct script *s)
{
    two_workers(s);
    s->divert = in_fragments;
    script_send(s, A | P, 1, 1, 65535, 1000);
    CHECK(s, second_counter(s, NET_COUNTER_fragments_redirected) == 1);
    CHECK(s, s->consumed == 1000 && s->last_byte == (uint8_t)1000);
    EXPECT(s, A, 1, 1001, 0);
}

#define SCRIPT(name) \
    {                \
#name, name  \
    }
static const struct {
    const char *name;
    void (*run)(struct script *s);
} scripts[] = {
    SCRIPT(unread_bytes_go_along),
    SCRIPT(out_of_order_data_goes_along),
    SCRIPT(out_of_order_fin_goes_along),
    SCRIPT(segments_arrive_during_the_move),
    SCRIPT(segments_overtake_the_connection),
    SCRIPT(rst_after_the_move),
    SCRIPT(lost_reset_is_repeated),
    SCRIPT(syn_after_the_end_opens_anew),
    SCRIPT(moves_back),
    SCRIPT(not_movable),
    SCRIPT(record_table_is_bounded),
    SCRIPT(no_room_resets),
    SCRIPT(reassembled_packet_goes_to_its_worker),
};

int main(int argc, char **argv)
{
    static struct script script;
    unsigned failed = 0, ran = 0;

    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted = wanted || strcmp(argv[a], scripts[i].name) == 0;
        if (!wanted)
            continue;
        script_open(&script, scripts[i].name);
        scripts[i].run(&script);
        script_close(&script);
        failed += script.failures > 0;
        ran++;
    }
    printf("%u scripts, %u failed\n", ran, failed);
    return failed != 0;
}

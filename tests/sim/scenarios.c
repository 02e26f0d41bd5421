/*
 * Scenarios with exact losses, each with an upper bound on its completion in virtual time, and two flows that share a
 * bottleneck. A bound is a tenth above what the stack needs today: recovery that became slower shows here.
 *
 *     scenarios [NAME]
 *
 * A loss is named by the byte of the stream that it hits and how often: the first transmission of byte 0, the first two
 * of the last one. That stays exact however the sender orders its repetitions.
 */
#include "tests/sim/sim.h"

#include <rte_byteorder.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <string.h>

enum { RULES = 12, SEGMENT = 1448, KIB = 1024 };

/* What a rule hits besides payload. */
enum { SYN = -1, SYN_ACK = -2, FIN = -3, ACKS = -4 /* the next `times` segments without payload from the server */ };

struct rule {
    int64_t byte;
    uint32_t times;
    uint32_t after; /* ACKS: so many get through before */
};

struct scenario {
    const char *name;
    uint32_t bytes, round_trip_ms, bits_per_second;
    unsigned strip;
    uint32_t receive_buffer; /* 0: 1 MiB */
    uint32_t reorder_ppm, jitter_us;
    uint64_t bound_ms;
    struct rule rules[RULES];
};

#define SEGMENTS(n) ((int64_t)(n)*SEGMENT)

static const struct scenario scenarios[] = {
    {.name = "nothing lost", .bytes = 1024 * KIB, .round_trip_ms = 20, .bits_per_second = 50000000, .bound_ms = 310},
    {.name = "one byte", .bytes = 1, .round_trip_ms = 20, .bound_ms = 66},
    {.name = "ten segments", .bytes = 10 * SEGMENT, .round_trip_ms = 100, .bound_ms = 440},
    {.name = "the SYN", .bytes = SEGMENT, .round_trip_ms = 20, .bound_ms = 1155, .rules = {{SYN, 1, 0}}},
    {.name = "the SYN three times", .bytes = SEGMENT, .round_trip_ms = 20, .bound_ms = 7755, .rules = {{SYN, 3, 0}}},
    {.name = "the SYN-ACK", .bytes = SEGMENT, .round_trip_ms = 20, .bound_ms = 1155, .rules = {{SYN_ACK, 1, 0}}},
    {.name = "the first segment", .bytes = 100 * KIB, .round_trip_ms = 20, .bound_ms = 220, .rules = {{0, 1, 0}}},
    {.name = "the first segment twice", .bytes = 100 * KIB, .round_trip_ms = 20, .bound_ms = 242, .rules = {{0, 2, 0}}},
    {.name = "the first segment four times",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 264,
     .rules = {{0, 4, 0}}},
    {.name = "the last segment",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 403,
     .rules = {{100 * KIB - 1, 1, 0}}},
    {.name = "the last segment twice",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 651,
     .rules = {{100 * KIB - 1, 2, 0}}},
    {.name = "the only segment", .bytes = 100, .round_trip_ms = 20, .bound_ms = 320, .rules = {{0, 1, 0}}},
    {.name = "the FIN", .bytes = SEGMENT, .round_trip_ms = 20, .bound_ms = 133, .rules = {{FIN, 1, 0}}},
    {.name = "two holes",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 176,
     .rules = {{SEGMENTS(12), 1, 0}, {SEGMENTS(15), 1, 0}}},
    {.name = "every second of a flight",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 264,
     .rules =
         {{SEGMENTS(0), 1, 0}, {SEGMENTS(2), 1, 0}, {SEGMENTS(4), 1, 0}, {SEGMENTS(6), 1, 0}, {SEGMENTS(8), 1, 0}}},
    {.name = "the whole first flight",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 375,
     .rules = {{SEGMENTS(0), 1, 0},
               {SEGMENTS(1), 1, 0},
               {SEGMENTS(2), 1, 0},
               {SEGMENTS(3), 1, 0},
               {SEGMENTS(4), 1, 0},
               {SEGMENTS(5), 1, 0},
               {SEGMENTS(6), 1, 0},
               {SEGMENTS(7), 1, 0},
               {SEGMENTS(8), 1, 0},
               {SEGMENTS(9), 1, 0}}},
    {.name = "a hole and its repetition twice",
     .bytes = 200 * KIB,
     .round_trip_ms = 20,
     .bound_ms = 220,
     .rules = {{SEGMENTS(30), 3, 0}}},
    {.name = "ten ACKs",
     .bytes = 200 * KIB,
     .round_trip_ms = 20,
     .bits_per_second = 20000000,
     .bound_ms = 196,
     .rules = {{ACKS, 10, 20}}},
    {.name = "the last ACKs",
     .bytes = 20 * KIB,
     .round_trip_ms = 20,
     .bits_per_second = 20000000,
     .bound_ms = 92,
     .rules = {{ACKS, 5, 3}}},
    {.name = "no SACK, the first segment",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .strip = SIM_STRIP_SACK,
     .bound_ms = 242,
     .rules = {{0, 1, 0}}},
    {.name = "no SACK, three holes",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .strip = SIM_STRIP_SACK | SIM_STRIP_TIMESTAMPS,
     .bound_ms = 286,
     .rules = {{SEGMENTS(3), 1, 0}, {SEGMENTS(5), 1, 0}, {SEGMENTS(7), 1, 0}}},
    {.name = "no SACK, the last segment",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .strip = SIM_STRIP_SACK,
     .bound_ms = 403,
     .rules = {{100 * KIB - 1, 1, 0}}},
    {.name = "no options, a hole twice",
     .bytes = 60 * KIB,
     .round_trip_ms = 20,
     .strip = SIM_STRIP_SACK | SIM_STRIP_TIMESTAMPS | SIM_STRIP_SCALE,
     .bound_ms = 405,
     .rules = {{SEGMENTS(12), 2, 0}}},
    {.name = "a small window", .bytes = 200 * KIB, .round_trip_ms = 20, .receive_buffer = 8192, .bound_ms = 682},
    {.name = "a small window and holes",
     .bytes = 100 * KIB,
     .round_trip_ms = 20,
     .receive_buffer = 8192,
     .bound_ms = 711,
     .rules = {{SEGMENTS(3), 1, 0}, {SEGMENTS(20), 1, 0}, {SEGMENTS(40), 2, 0}}},
    {.name = "reordering",
     .bytes = 1024 * KIB,
     .round_trip_ms = 20,
     .bits_per_second = 50000000,
     .reorder_ppm = 50000,
     .bound_ms = 310},
    {.name = "jitter",
     .bytes = 1024 * KIB,
     .round_trip_ms = 20,
     .bits_per_second = 50000000,
     .jitter_us = 4000,
     .bound_ms = 339},
};

/* ---- Losses. */

static struct {
    struct rule rules[RULES];
    uint32_t initial; /* of the client */
} losses;

static bool rule_hits(const struct rule *rule, unsigned from, const struct rte_tcp_hdr *tcp, uint32_t payload)
{
    const uint8_t flags = tcp->tcp_flags;
    const int64_t start = (int32_t)(rte_be_to_cpu_32(tcp->sent_seq) - losses.initial - 1);

    switch (rule->byte) {
    case SYN:
        return from == SIM_CLIENT && (flags & RTE_TCP_SYN_FLAG);
    case SYN_ACK:
        return from == SIM_SERVER && (flags & RTE_TCP_SYN_FLAG);
    case FIN:
        return from == SIM_CLIENT && (flags & RTE_TCP_FIN_FLAG);
    case ACKS:
        return from == SIM_SERVER && payload == 0 && !(flags & (RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG));
    default:
        return from == SIM_CLIENT && rule->byte >= start && rule->byte < start + (int64_t)payload;
    }
}

static bool drop(struct sim *sim, unsigned from, const uint8_t *frame, uint32_t length)
{
    const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(frame + 34);

    if (frame[12] != 0x08 || frame[13] != 0 || frame[23] != 6)
        return false;
    const uint32_t payload = (uint32_t)(frame[16] << 8 | frame[17]) - 20 - (tcp->data_off >> 4) * 4u;
    if (from == SIM_CLIENT && (tcp->tcp_flags & RTE_TCP_SYN_FLAG))
        losses.initial = rte_be_to_cpu_32(tcp->sent_seq);
    for (unsigned i = 0; i < RULES; i++) {
        struct rule *rule = &losses.rules[i];
        if (rule->times == 0 || !rule_hits(rule, from, tcp, payload))
            continue;
        if (rule->after) {
            rule->after--;
            continue;
        }
        rule->times--;
        return true;
    }
    return false;
}

/* ---- Transfers: from the client to the server, then both close. */

enum { FLOWS = 2 };

struct flow {
    struct tcp_connection *sender;
    uint32_t to_send, sent, received;
    bool closed;
};

static struct sim sim;
static struct flow flows[FLOWS]; /* each connects to a port of its own */

static struct flow *flow_of(const struct tcp_connection *connection)
{
    const struct net_flow *tuple = tcp_flow(connection);
    const uint16_t port = tuple->remote_port < tuple->local_port ? tuple->remote_port : tuple->local_port;

    return &flows[port - SIM_PORT];
}

static void fill(struct flow *flow)
{
    static const uint8_t bytes[65536];

    while (flow->sent < flow->to_send) {
        const size_t left = flow->to_send - flow->sent, wanted = left < sizeof bytes ? left : sizeof bytes;
        const size_t taken = tcp_send(flow->sender, bytes, wanted);
        flow->sent += (uint32_t)taken;
        if (taken < wanted)
            return;
    }
    tcp_close(flow->sender);
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
}

static void connected(void *arg, struct tcp_connection *connection)
{
    struct flow *flow = flow_of(connection);

    flow->sender = connection;
    fill(flow);
}

static void readable(void *arg, struct tcp_connection *connection)
{
    const uint32_t length = tcp_readable_bytes(connection);

    flow_of(connection)->received += length;
    tcp_consume(connection, length);
}

static void writable(void *arg, struct tcp_connection *connection)
{
    fill(flow_of(connection));
}

static void peer_closed(void *arg, struct tcp_connection *connection)
{
    tcp_close(connection);
}

/* The server is the last to close: it is over when the client has acknowledged its FIN. */
static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    if (((struct sim_host *)arg)->index == SIM_SERVER)
        flow_of(connection)->closed = true;
}

static void network(const struct scenario *scenario, enum net_congestion congestion, uint32_t queue)
{
    memset(&sim, 0, sizeof sim);
    memset(flows, 0, sizeof flows);
    sim_init(&sim, 42);
    sim.strip = scenario->strip;
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        struct net_config *config = &sim.hosts[i].config;
        struct sim_link *link = &sim.links[i];
        link->delay_us = scenario->round_trip_ms * UINT64_C(500);
        link->bits_per_second = scenario->bits_per_second;
        link->queue_bytes = queue;
        link->reorder_ppm = scenario->reorder_ppm;
        link->reorder_us = 5000;
        link->jitter_us = scenario->jitter_us;
        config->send_buffer = 1 << 20;
        config->receive_buffer = scenario->receive_buffer ? scenario->receive_buffer : 1 << 20;
        config->congestion = congestion;
        config->callbacks = (struct tcp_callbacks){accepted, connected, readable, writable, peer_closed, closed, NULL};
    }
    sim_begin(&sim);
}

static void flow_begin(unsigned index, uint32_t bytes)
{
    struct net_address any = NET_ADDRESS_ANY, server = sim_address(SIM_SERVER, false);

    flows[index].to_send = bytes;
    tcp_listen(sim.hosts[SIM_SERVER].stack, &any, (uint16_t)(SIM_PORT + index), NULL);
    tcp_connect(sim.hosts[SIM_CLIENT].stack, &any, 0, &server, (uint16_t)(SIM_PORT + index), NULL);
}

static bool run(const struct scenario *scenario)
{
    const uint64_t limit = 100 * 1000 * 1000;

    network(scenario, NET_CONGESTION_CUBIC, 0);
    memset(&losses, 0, sizeof losses);
    memcpy(losses.rules, scenario->rules, sizeof losses.rules);
    sim.tap = drop;
    const uint64_t begin = sim.now;
    flow_begin(0, scenario->bytes);
    while (!flows[0].closed && sim.now < begin + limit && sim_step(&sim, begin + limit))
        ;
    const double ms = (double)(sim.now - begin) / 1e3;
    bool good = flows[0].closed && flows[0].received == scenario->bytes && ms <= (double)scenario->bound_ms;
    for (unsigned i = 0; i < RULES; i++)
        good = good && losses.rules[i].times == 0; /* what was to be lost was lost */
    const uint64_t *counters = net_counters(sim.hosts[SIM_CLIENT].stack);
    printf("%-32s %9.1f ms, at most %5lu ms, %2lu sent again, %lu timeouts%s\n", scenario->name, ms,
           (unsigned long)scenario->bound_ms, (unsigned long)counters[NET_COUNTER_tcp_retransmits],
           (unsigned long)counters[NET_COUNTER_tcp_timeouts], good ? "" : "  WRONG");
    sim_end(&sim);
    return good;
}

/* ---- Fairness. */

struct contest {
    const char *name;
    enum net_congestion congestion;
    uint32_t bits_per_second, round_trip_ms, queue;
    double least; /* share of the smaller flow in what the larger one gets */
};

static const struct contest contests[] = {
    {"two flows, cubic", NET_CONGESTION_CUBIC, 20000000, 40, 100000, 0.6},
    {"two flows, cubic, short queue", NET_CONGESTION_CUBIC, 20000000, 40, 30000, 0.5},
    {"two flows, newreno", NET_CONGESTION_NEWRENO, 20000000, 40, 100000, 0.6},
};

/* The second flow begins when the first has the link for five seconds; what counts is the minute from then on. */
static bool compete(const struct contest *contest)
{
    const struct scenario path = {.round_trip_ms = contest->round_trip_ms, .bits_per_second = contest->bits_per_second};
    uint32_t before[FLOWS];

    network(&path, contest->congestion, contest->queue);
    const uint64_t begin = sim.now, second = 1000 * 1000;
    flow_begin(0, UINT32_MAX);
    sim_run(&sim, begin + 5 * second);
    flow_begin(1, UINT32_MAX);
    sim_run(&sim, begin + 15 * second);
    for (unsigned i = 0; i < FLOWS; i++)
        before[i] = flows[i].received;
    sim_run(&sim, begin + 75 * second);
    const double first = flows[0].received - before[0], other = flows[1].received - before[1];
    const double ratio = first < other ? first / other : other / first;
    const double used = (first + other) * 8 / 60 / contest->bits_per_second;
    const bool good = ratio >= contest->least && used > 0.85;
    printf("%-32s %.2f and %.2f Mbit/s: the smaller has %.0f %%, at least %.0f %%; %.0f %% of the link used%s\n",
           contest->name, first * 8 / 60e6, other * 8 / 60e6, 100 * ratio, 100 * contest->least, 100 * used,
           good ? "" : "  WRONG");
    sim_end(&sim);
    return good;
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : NULL;
    unsigned failed = 0;

    sim_environment();
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (!wanted || strcmp(wanted, scenarios[i].name) == 0)
            failed += !run(&scenarios[i]);
    for (size_t i = 0; i < sizeof contests / sizeof *contests; i++)
        if (!wanted || strcmp(wanted, contests[i].name) == 0)
            failed += !compete(&contests[i]);
    printf("%u failed\n", failed);
    return failed != 0;
}

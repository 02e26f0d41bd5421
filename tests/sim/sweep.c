/*
 * The sweep: one transfer both ways per seed, over a link whose every property the seed decides, loss up to the bound
 * given. Holds that each byte arrives once and in order, both ends close, and no object or mbuf is left over.
 *
 *     sweep [--seeds A..B] [--loss PERCENT] [--bytes MAX] [--verbose] [--trace]
 */
#include "tests/sim/sim.h"
#include "tests/sim/trace.h"

#include <getopt.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_US = 3000 * 1000 * 1000u };

struct side {
    struct tcp_connection *connection;
    uint32_t to_send, sent;
    uint32_t to_receive, received;
    uint32_t read_limit; /* bytes consumed per turn; 0: all */
    bool finished_sending;
    bool peer_closed;
    bool closed;
    enum tcp_close_reason reason;
    bool wrong; /* a byte was not the one that was sent */
};

struct transfer {
    struct sim sim;
    struct side sides[SIM_HOSTS];
};

static struct transfer transfer;
static bool verbose, tracing;

/* Byte `offset` of the stream from host `from`. */
static uint8_t stream_byte(unsigned from, uint32_t offset)
{
    return (uint8_t)((offset * 2654435761u) >> 24 ^ (offset >> 3) ^ (from * 0x5a));
}

static struct side *side_of(void *arg)
{
    return &transfer.sides[((struct sim_host *)arg)->index];
}

static void send_some(struct sim *sim, unsigned index)
{
    struct side *side = &transfer.sides[index];
    uint8_t bytes[4096];

    if (!side->connection || side->finished_sending)
        return;
    while (side->sent < side->to_send) {
        uint32_t length = 1 + sim_random_below(sim, sim_random_below(sim, 4) ? sizeof bytes : 64);
        if (length > side->to_send - side->sent)
            length = side->to_send - side->sent;
        for (uint32_t i = 0; i < length; i++)
            bytes[i] = stream_byte(index, side->sent + i);
        size_t taken = tcp_send(side->connection, bytes, length);
        side->sent += (uint32_t)taken;
        if (taken < length || sim_random_below(sim, 8) == 0)
            return;
    }
    side->finished_sending = true;
    tcp_shutdown(side->connection);
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
    side_of(arg)->connection = connection;
}

static void connected(void *arg, struct tcp_connection *connection)
{
    side_of(arg)->connection = connection;
}

static void readable(void *arg, struct tcp_connection *connection)
{
    struct side *side = side_of(arg);
    unsigned from = !((struct sim_host *)arg)->index;
    uint32_t length, budget = side->read_limit ? side->read_limit : UINT32_MAX;
    const uint8_t *bytes;

    while (budget && (bytes = tcp_peek(connection, &length)) != NULL) {
        if (length > budget)
            length = budget;
        for (uint32_t i = 0; i < length; i++)
            side->wrong = side->wrong || bytes[i] != stream_byte(from, side->received + i);
        side->received += length;
        budget -= length;
        tcp_consume(connection, length);
    }
}

static void writable(void *arg, struct tcp_connection *connection)
{
}

static void peer_closed(void *arg, struct tcp_connection *connection)
{
    side_of(arg)->peer_closed = true;
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    struct side *side = side_of(arg);

    side->closed = true;
    side->reason = reason;
    side->connection = NULL;
}

/* The slow reader: asks again from time to time. */
static void poll(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        send_some(sim, i);
        if (transfer.sides[i].connection && tcp_readable_bytes(transfer.sides[i].connection)) {
            tcp_want_read(transfer.sides[i].connection);
            sim->poll_at = sim->now + 500 + sim_random_below(sim, 100000);
        }
    }
}

static bool trace(struct sim *sim, unsigned from, const uint8_t *frame, uint32_t length)
{
    trace_frame(sim->now, from == 0 ? "0>" : "1>", frame, length);
    return false;
}

static void scenario(struct sim *sim, uint32_t loss_ppm, uint32_t bytes_max)
{
    sim->strip = sim_random_below(sim, 4) ? 0 : sim_random_below(sim, 8);
    sim->hold = sim_random_below(sim, 2) ? sim_random_below(sim, 60) : 0;
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        struct sim_link *link = &sim->links[i];
        struct net_config *config = &sim->hosts[i].config;
        link->delay_us = 10 + sim_random_below(sim, sim_random_below(sim, 2) ? 100000 : 1000);
        link->jitter_us = sim_random_below(sim, 3) ? 0 : sim_random_below(sim, 20000);
        link->bits_per_second = sim_random_below(sim, 2) ? 0 : 1000000 + sim_random_below(sim, 99000000);
        link->queue_bytes = 3000 + sim_random_below(sim, 200000);
        link->loss_ppm = sim_random_below(sim, 5) ? sim_random_below(sim, loss_ppm + 1) : 0;
        link->duplicate_ppm = sim_random_below(sim, 3) ? 0 : sim_random_below(sim, 50000);
        link->reorder_ppm = sim_random_below(sim, 2) ? 0 : sim_random_below(sim, 100000);
        link->reorder_us = sim_random_below(sim, 50000);
        link->corrupt_ppm = sim_random_below(sim, 3) ? 0 : sim_random_below(sim, 20000);
        config->interfaces[0].mtu = (uint16_t)(sim_random_below(sim, 3) ? 1500 : 576 + sim_random_below(sim, 900));
        config->interfaces[0].offloads =
            sim_random_below(sim, 3) ? 0 : NET_OFFLOAD_TSO | NET_OFFLOAD_TX_IP4_CHECKSUM | NET_OFFLOAD_TX_TCP_CHECKSUM;
        config->congestion = sim_random_below(sim, 2) ? NET_CONGESTION_CUBIC : NET_CONGESTION_NEWRENO;
        config->syn_cookies = sim_random_below(sim, 4) ? NET_SYN_COOKIES_AUTO : NET_SYN_COOKIES_ALWAYS;
        config->receive_buffer = 4096u << sim_random_below(sim, 8);
        config->send_buffer = 4096u << sim_random_below(sim, 8);
        config->user_timeout_us = UINT64_C(2000) * 1000 * 1000;
        config->syn_retries = config->syn_ack_retries = 20;
        config->keepalive_idle_us = 30 * 1000 * 1000; /* a cookie's lost third step is found by the server's silence */
        config->callbacks = (struct tcp_callbacks){accepted, connected, readable, writable, peer_closed, closed};
        transfer.sides[i].to_send = sim_random_below(sim, bytes_max);
        transfer.sides[i].read_limit = sim_random_below(sim, 3) ? 0 : 100 + sim_random_below(sim, 3000);
    }
    for (unsigned i = 0; i < SIM_HOSTS; i++)
        transfer.sides[i].to_receive = transfer.sides[!i].to_send;
}

static bool side_good(unsigned index)
{
    const struct side *side = &transfer.sides[index];
    bool good = side->closed && side->reason == TCP_CLOSE_NORMAL && !side->wrong &&
                side->received == side->to_receive && side->peer_closed;

    if (!good)
        fprintf(stderr, "host %u: sent %u of %u, received %u of %u%s, peer closed %d, closed %d (%s)\n", index,
                side->sent, side->to_send, side->received, side->to_receive, side->wrong ? " WRONG BYTES" : "",
                side->peer_closed, side->closed, tcp_close_reason_text(side->reason));
    return good;
}

static void show_connection(const struct sim_host *host, struct tcp_connection *connection)
{
    struct tcp_info info;

    if (!connection)
        return;
    tcp_info(connection, &info);
    fprintf(stderr,
            "host %u: %s cwnd %u ssthresh %u in flight %u unacked %u queued %u window %u ours %u readable %u ooo %u "
            "rto %u\n",
            host->index, tcp_state_text(info.state), info.congestion_window, info.slow_start_threshold, info.in_flight,
            info.unacknowledged, info.send_queued, info.send_window, info.receive_window, info.readable,
            info.out_of_order, info.rto);
}

static void show_counters(const struct sim_host *host)
{
    const uint64_t *counters = net_counters(host->stack);

    for (unsigned i = 0; i < NET_COUNTERS; i++)
        if (counters[i])
            fprintf(stderr, "  host %u %s %lu\n", host->index, net_counter_texts[i].name, (unsigned long)counters[i]);
}

static bool run_seed(uint64_t seed, uint32_t loss_ppm, uint32_t bytes_max, uint64_t totals[NET_COUNTERS])
{
    struct sim *sim = &transfer.sim;
    struct net_address any = NET_ADDRESS_ANY, server;
    bool good = true;

    memset(&transfer, 0, sizeof transfer);
    sim_init(sim, seed);
    scenario(sim, loss_ppm, bytes_max);
    sim->poll = poll;
    sim->tap = tracing ? trace : NULL;
    sim_begin(sim);
    server = sim_address(SIM_SERVER, sim_random_below(sim, 2));
    tcp_listen(sim->hosts[SIM_SERVER].stack, &any, SIM_PORT, NULL);
    tcp_connect(sim->hosts[SIM_CLIENT].stack, &any, 0, &server, SIM_PORT, NULL);
    uint64_t begin = sim->now;
    while (!(transfer.sides[0].closed && transfer.sides[1].closed) && sim->now < begin + LIMIT_US &&
           sim_step(sim, begin + LIMIT_US))
        ;
    uint64_t took = sim->now - begin;
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        good = side_good(i) && good;
        if (!good || verbose) {
            show_connection(&sim->hosts[i], transfer.sides[i].connection);
            show_counters(&sim->hosts[i]);
        }
    }
    if (verbose)
        printf("seed %lu: %u + %u bytes in %.3f s\n", (unsigned long)seed, transfer.sides[0].to_send,
               transfer.sides[1].to_send, (double)took / 1e6);
    sim_run(sim, sim->now + 200 * 1000 * 1000); /* TIME-WAIT, fragments, unresolved neighbours */
    for (unsigned i = 0; i < SIM_HOSTS && good; i++)
        good = sim_census_empty(&sim->hosts[i]);
    for (unsigned i = 0; i < SIM_HOSTS; i++)
        for (unsigned n = 0; n < NET_COUNTERS; n++)
            totals[n] += net_counters(sim->hosts[i].stack)[n];
    unsigned missing = sim_end(sim);
    if (missing)
        fprintf(stderr, "%u mbufs missing\n", missing);
    return good && !missing;
}

static void usage(void)
{
    fprintf(stderr, "usage: sweep [--seeds A..B] [--loss PERCENT] [--bytes MAX] [--verbose] [--trace]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 's'}, {"loss", required_argument, NULL, 'l'},
        {"bytes", required_argument, NULL, 'b'}, {"verbose", no_argument, NULL, 'v'},
        {"trace", no_argument, NULL, 't'},       {0}};
    unsigned long first = 1, last = 1000, failures = 0;
    uint32_t loss = 20, bytes = 100000;
    static uint64_t totals[NET_COUNTERS];
    int option;

    while ((option = getopt_long(argc, argv, "s:l:b:vt", options, NULL)) != -1) {
        if (option == 's') {
            int fields = sscanf(optarg, "%lu..%lu", &first, &last);
            if (fields < 1)
                usage();
            if (fields == 1)
                last = first;
        } else if (option == 'l') {
            loss = (uint32_t)atoi(optarg);
        } else if (option == 'b') {
            bytes = (uint32_t)atoi(optarg);
        } else if (option == 'v') {
            verbose = true;
        } else if (option == 't') {
            tracing = true;
        } else {
            usage();
        }
    }
    sim_environment();
    for (unsigned long seed = first; seed <= last; seed++) {
        if (run_seed(seed, loss * 10000, bytes, totals))
            continue;
        failures++;
        printf("FAILED seed %lu: replay with: %s --seeds %lu..%lu --loss %u --bytes %u --verbose\n", seed, argv[0],
               seed, seed, loss, bytes);
        if (failures == 10)
            break;
    }
    printf("%lu seeds, loss up to %u %%, %lu failed\n", last - first + 1, loss, failures);
    for (unsigned i = 0; i < NET_COUNTERS && first != last; i++)
        if (totals[i])
            printf("  %-32s %lu\n", net_counter_texts[i].name, (unsigned long)totals[i]);
    return failures != 0;
}

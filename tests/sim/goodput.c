/*
 * Goodput of one bulk transfer over a 100 Mbit/s link by delay and loss, in virtual time, beside what an ideal sender
 * could have done. Each cell has a floor: falling below it is a regression in recovery or congestion control. Then a
 * path with a deep queue.
 *
 *     goodput [--newreno | --markdown]
 *
 * The ideal sender loses nothing in starting up (it doubles its window each round trip from ten segments on) and then
 * holds the rate of the link or of the response function of RFC 9438, whichever is lower: the larger of Reno's
 * sqrt(1.5 / p) and CUBIC's 1.054 * (RTT / p)^(3/4) segments per round trip. `--markdown` prints
 * docs/reference/tcp-goodput.md.
 */
#include "tests/sim/sim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BYTES = 8 << 20, BITS_PER_SECOND = 100000000 };

struct cell {
    uint64_t round_trip_ms;
    uint32_t loss_ppm;
    double floor; /* Mbit/s */
};

static const struct cell cells[] = {
    {1, 0, 88},    {10, 0, 80},    {50, 0, 40},     {100, 0, 20},   {1, 1000, 80},  {10, 1000, 60},
    {50, 1000, 8}, {1, 10000, 60}, {10, 10000, 10}, {50, 10000, 2}, {10, 50000, 3}, {50, 50000, 0.6},
};

struct bulk {
    struct sim sim;
    struct tcp_connection *sender;
    uint32_t sent;
    uint32_t received;
};

static struct bulk bulk;

static void fill(void)
{
    static const uint8_t bytes[65536];

    while (bulk.sender && bulk.sent < BYTES) {
        size_t wanted = BYTES - bulk.sent < sizeof bytes ? BYTES - bulk.sent : sizeof bytes;
        size_t taken = tcp_send(bulk.sender, bytes, wanted);
        bulk.sent += (uint32_t)taken;
        if (taken < wanted)
            return;
    }
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
}

static void connected(void *arg, struct tcp_connection *connection)
{
    bulk.sender = connection;
    fill();
}

static void readable(void *arg, struct tcp_connection *connection)
{
    uint32_t length = tcp_readable_bytes(connection);

    bulk.received += length;
    tcp_consume(connection, length);
}

static void writable(void *arg, struct tcp_connection *connection)
{
    fill();
}

static void ignore(void *arg, struct tcp_connection *connection)
{
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    bulk.sender = NULL;
}

/* Mbit/s of an ideal sender for the whole transfer, handshake included. */
static double ideal(const struct cell *cell)
{
    const double segment = 1448, round_trip = (double)cell->round_trip_ms / 1e3, p = cell->loss_ppm / 1e6;
    double rate = BITS_PER_SECOND * 1448.0 / 1514, window = 10 * segment, sent = 0, seconds = 1.5 * round_trip;

    if (p > 0) {
        const double reno = sqrt(1.5 / p), cubic = 1.054 * pow(round_trip / p, 0.75);
        const double bound = (reno > cubic ? reno : cubic) * segment * 8 / round_trip;
        rate = bound < rate ? bound : rate;
    }
    while (window * 8 / round_trip < rate && sent + window < BYTES) {
        sent += window;
        window *= 2;
        seconds += round_trip;
    }
    seconds += (BYTES - sent) * 8 / rate;
    return BYTES * 8.0 / seconds / 1e6;
}

static double run(const struct cell *cell, enum net_congestion congestion, uint32_t queue, uint64_t *counters)
{
    struct sim *sim = &bulk.sim;
    struct net_address any = NET_ADDRESS_ANY, server = sim_address(SIM_SERVER, false);

    memset(&bulk, 0, sizeof bulk);
    sim_init(sim, 42);
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        struct net_config *config = &sim->hosts[i].config;
        sim->links[i].delay_us = cell->round_trip_ms * 500;
        sim->links[i].bits_per_second = BITS_PER_SECOND;
        sim->links[i].queue_bytes = queue;
        config->send_buffer = config->receive_buffer = 2 << 20;
        config->congestion = congestion;
        config->callbacks = (struct tcp_callbacks){accepted, connected, readable, writable, ignore, closed};
    }
    sim->links[SIM_CLIENT].loss_ppm = cell->loss_ppm;
    sim_begin(sim);
    tcp_listen(sim->hosts[SIM_SERVER].stack, &any, SIM_PORT, NULL);
    tcp_connect(sim->hosts[SIM_CLIENT].stack, &any, 0, &server, SIM_PORT, NULL);
    uint64_t begin = sim->now;
    while (bulk.received < BYTES && sim->now < begin + UINT64_C(1000000000) &&
           sim_step(sim, begin + UINT64_C(1000000000)))
        ;
    double seconds = (double)(sim->now - begin) / 1e6;
    memcpy(counters, net_counters(sim->hosts[SIM_CLIENT].stack), NET_COUNTERS * sizeof *counters);
    if (bulk.received < BYTES)
        fprintf(stderr, "only %u bytes arrived\n", bulk.received);
    sim_end(sim);
    return bulk.received * 8.0 / seconds / 1e6;
}

/* The queue holds a second: only a sender that looks at round trips slows down before it has filled it. */
static bool deep_queue(void)
{
    const struct cell cell = {20, 0, 0};
    uint64_t counters[NET_COUNTERS];
    double goodput = run(&cell, NET_CONGESTION_CUBIC, 12 << 20, counters);
    bool good = counters[NET_COUNTER_tcp_slow_start_eased] > 0 && counters[NET_COUNTER_tcp_retransmits] == 0;

    printf("deep queue, 20 ms: %.2f Mbit/s, slow start eased %lu times, %lu retransmits%s\n", goodput,
           (unsigned long)counters[NET_COUNTER_tcp_slow_start_eased],
           (unsigned long)counters[NET_COUNTER_tcp_retransmits], good ? "" : "  WRONG");
    return good;
}

static unsigned table(enum net_congestion congestion, bool markdown)
{
    uint64_t counters[NET_COUNTERS];
    unsigned slow = 0;

    printf(markdown ? "| round trip | loss | goodput, Mbit/s | ideal sender | share |\n|---|---|---|---|---|\n"
                    : "  round trip     loss  goodput Mbit/s    ideal   share    floor  timeouts\n");
    for (unsigned i = 0; i < sizeof cells / sizeof *cells; i++) {
        const struct cell *cell = &cells[i];
        double goodput = run(cell, congestion, 256 * 1024, counters), best = ideal(cell);
        bool good = goodput >= cell->floor || congestion != NET_CONGESTION_CUBIC;
        if (markdown)
            printf("| %lu ms | %.1f %% | %.1f | %.1f | %.0f %% |\n", (unsigned long)cell->round_trip_ms,
                   cell->loss_ppm / 10000.0, goodput, best, 100 * goodput / best);
        else
            printf("%9lu ms %6.1f %% %15.2f %8.2f %5.0f %% %8.1f %9lu%s\n", (unsigned long)cell->round_trip_ms,
                   cell->loss_ppm / 10000.0, goodput, best, 100 * goodput / best, cell->floor,
                   (unsigned long)counters[NET_COUNTER_tcp_timeouts], good ? "" : "  TOO SLOW");
        slow += !good;
    }
    return slow;
}

int main(int argc, char **argv)
{
    bool newreno = argc > 1 && strcmp(argv[1], "--newreno") == 0, markdown = argc > 1 && !newreno;

    sim_environment();
    if (!markdown)
        printf("8 MiB over 100 Mbit/s, queue 256 KiB, %s\n", newreno ? "newreno" : "cubic");
    unsigned wrong = table(newreno ? NET_CONGESTION_NEWRENO : NET_CONGESTION_CUBIC, markdown);
    if (!markdown)
        wrong += !deep_queue();
    return wrong != 0;
}

/*
 * Goodput of one bulk transfer over a 100 Mbit/s link by delay and loss, in virtual time, beside what the link could
 * carry. Each cell has a floor: falling below it is a regression in recovery or congestion control.
 *
 *     goodput [--newreno]
 */
#include "tests/sim/sim.h"

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

static double run(const struct cell *cell, enum net_congestion congestion, uint64_t *timeouts)
{
    struct sim *sim = &bulk.sim;
    struct net_address any = NET_ADDRESS_ANY, server = sim_address(SIM_SERVER, false);

    memset(&bulk, 0, sizeof bulk);
    sim_init(sim, 42);
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        struct net_config *config = &sim->hosts[i].config;
        sim->links[i].delay_us = cell->round_trip_ms * 500;
        sim->links[i].bits_per_second = BITS_PER_SECOND;
        sim->links[i].queue_bytes = 256 * 1024;
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
    *timeouts = net_counters(sim->hosts[SIM_CLIENT].stack)[NET_COUNTER_tcp_timeouts];
    if (bulk.received < BYTES)
        fprintf(stderr, "only %u bytes arrived\n", bulk.received);
    sim_end(sim);
    return bulk.received * 8.0 / seconds / 1e6;
}

int main(int argc, char **argv)
{
    enum net_congestion congestion =
        argc > 1 && strcmp(argv[1], "--newreno") == 0 ? NET_CONGESTION_NEWRENO : NET_CONGESTION_CUBIC;
    unsigned slow = 0;
    uint64_t timeouts;

    sim_environment();
    printf("8 MiB over 100 Mbit/s, queue 256 KiB, %s\n", congestion == NET_CONGESTION_CUBIC ? "cubic" : "newreno");
    printf("%12s %8s %14s %10s %10s\n", "round trip", "loss", "goodput", "floor", "timeouts");
    for (unsigned i = 0; i < sizeof cells / sizeof *cells; i++) {
        double goodput = run(&cells[i], congestion, &timeouts);
        bool good = goodput >= cells[i].floor || congestion != NET_CONGESTION_CUBIC;
        printf("%9lu ms %6.1f %% %7.2f Mbit/s %10.1f %10lu%s\n", (unsigned long)cells[i].round_trip_ms,
               cells[i].loss_ppm / 10000.0, goodput, cells[i].floor, (unsigned long)timeouts, good ? "" : "  TOO SLOW");
        slow += !good;
    }
    return slow != 0;
}

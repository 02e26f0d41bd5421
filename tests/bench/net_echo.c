/*
 * The cost of lib/net alone: two stacks back to back in memory, a number of connections, one byte there and back each.
 * Prints cycles per request for both sides together (four segments pass the stack per request: two in, two out) and
 * requests per second on this core: the median and the best of slices of some thousand requests, so that a busy machine
 * does not blur the figure.
 *
 *     net_echo [CONNECTIONS [SECONDS [SLICES]]]
 *
 * With SLICES the run ends after so many: under callgrind the difference of two runs is instructions per request.
 */
#include "tests/bench/net_pair.h"

#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ignore(void *arg, struct tcp_connection *connection)
{
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
}

static void send_one(struct tcp_connection *connection)
{
    uint8_t *room = tcp_reserve(connection, 1);

    if (room) {
        *room = 'x';
        tcp_commit(connection, 1);
    }
}

static void connected(void *arg, struct tcp_connection *connection)
{
    ((struct pair_host *)arg)->connected++;
    send_one(connection);
}

static void readable(void *arg, struct tcp_connection *connection)
{
    uint32_t length;

    tcp_peek(connection, &length);
    tcp_consume(connection, length);
    ((struct pair_host *)arg)->requests++;
    send_one(connection);
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
}

enum {
    SLICES = 100000,
    SLICE_REQUESTS = 4000,
};

static double slices[SLICES]; /* cycles per request */
static unsigned slice_count;

static int slice_compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static void slices_run(double seconds, unsigned count)
{
    uint64_t end = rte_rdtsc() + (uint64_t)(seconds * (double)rte_get_tsc_hz());

    while (slice_count < count && (slice_count == 0 || rte_rdtsc() < end)) {
        uint64_t requests = pair_hosts[1].requests, start = rte_rdtsc();
        while (pair_hosts[1].requests - requests < SLICE_REQUESTS) {
            uint64_t now = pair_now();
            pair_iterate(&pair_hosts[1], now);
            pair_iterate(&pair_hosts[0], now);
        }
        slices[slice_count++] = (double)(rte_rdtsc() - start) / (double)(pair_hosts[1].requests - requests);
    }
}

int main(int argc, char **argv)
{
    const struct tcp_callbacks callbacks = {accepted, connected, readable, ignore, ignore, closed};
    unsigned connections = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    double seconds = argc > 2 ? atof(argv[2]) : 2;

    if (!pair_environment("net_echo", 3072, connections * 6 + 8191))
        return 1;
    pair_create(connections, false, &callbacks);
    for (unsigned opened = 0; pair_hosts[1].connected < connections;) {
        for (unsigned i = 0; i < 16 && opened < connections; i++, opened++)
            pair_connect(opened);
        pair_iterate(&pair_hosts[1], pair_now());
        pair_iterate(&pair_hosts[0], pair_now());
    }
    slices_run(seconds, argc > 3 ? (unsigned)atoi(argv[3]) : SLICES);
    const uint64_t *counters = net_counters(pair_hosts[0].stack);
    qsort(slices, slice_count, sizeof *slices, slice_compare);
    double median = slices[slice_count / 2], best = slices[0];
    printf(
        "%u connections: %.0f cycles per request both ends (best %.0f), %.2f M requests/s, %.1f %% by the fast path, "
        "%lu retransmits, %lu requests\n",
        connections, median, best, (double)rte_get_tsc_hz() / median / 1e6,
        100.0 * (double)counters[NET_COUNTER_tcp_fast_path] / (double)counters[NET_COUNTER_tcp_segments_received],
        (unsigned long)counters[NET_COUNTER_tcp_retransmits], (unsigned long)pair_hosts[1].requests);
    return 0;
}

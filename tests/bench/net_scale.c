/*
 * Scale of lib/net alone: two stacks back to back in memory.
 *
 *     net_scale connections [COUNT [prefault]]
 *                                      open COUNT (1,000,000) connections and leave them idle: memory per connection
 *                                      with all structures counted, and the longest iterations while filling; with
 *                                      `prefault` (as a router runs) no page fault is among them, and tables for
 *                                      records that nothing uses yet count as memory
 *     net_scale flood [CONNECTIONS]    one-byte requests on CONNECTIONS (1,000) connections on one core, real time,
 * with and without 1,000,000 SYNs a second from forged sources: what is left of them
 */
#include "tests/bench/net_pair.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool echoing;

static void ignore(void *arg, struct tcp_connection *connection)
{
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
}

static void send_one(struct tcp_connection *connection)
{
    uint8_t *room = echoing ? tcp_reserve(connection, 1) : NULL;

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

static const struct tcp_callbacks callbacks = {accepted, connected, readable, ignore, ignore, closed};

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return (uint64_t)resident * 4096;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* The time that this thread had a processor: what others do on the machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* As a clock for the stacks, which were made by the other one. */
static uint64_t cpu_now(void)
{
    static uint64_t base;
    const uint64_t us = cpu_ns() / 1000;

    if (base == 0)
        base = pair_now() - us;
    return base + us;
}

/* ---- Connections. */

enum { ITERATIONS_MAX = 1 << 20 };

static void fill(unsigned connections)
{
    static uint32_t took[ITERATIONS_MAX]; /* the listening side's iterations, ns of processor time */
    unsigned opened = 0, iterations = 0;

    while (pair_hosts[1].connected < connections) {
        for (unsigned i = 0; i < 16 && opened < connections; i++, opened++)
            pair_connect(opened);
        pair_iterate(&pair_hosts[1], pair_now());
        bool busy = pair_hosts[0].head != pair_hosts[0].tail;
        uint64_t now = pair_now(), start = cpu_ns();
        pair_iterate(&pair_hosts[0], now);
        if (busy && iterations < ITERATIONS_MAX)
            took[iterations++] = (uint32_t)(cpu_ns() - start);
    }
    qsort(took, iterations, sizeof *took, compare);
    printf("iterations of 32 frames while filling: median %.1f us, 99.9 %% within %.1f us, 99.99 %% within %.1f us, "
           "longest %.1f us of processor time (of %u)\n",
           took[iterations / 2] / 1e3, took[(uint64_t)iterations * 999 / 1000] / 1e3,
           took[(uint64_t)iterations * 9999 / 10000] / 1e3, took[iterations - 1] / 1e3, iterations);
}

static int connections_run(unsigned connections, bool prefault)
{
    struct net_sizes sizes;
    struct net_census census;

    if (!pair_environment("net_scale", 256, 32767))
        return 1;
    uint64_t before = resident_bytes();
    pair_create(connections, prefault, &callbacks);
    fill(connections);
    uint64_t after = resident_bytes();
    net_census(pair_hosts[0].stack, &census);
    net_sizes(&sizes);
    printf("%lu connections open on the listening side, as many on the other\n", (unsigned long)census.connections);
    printf("resident memory: %.0f bytes per connection and end (a connection %zu, its share of the flow table %zu; "
           "buffers "
           "held %lu)\n",
           (double)(after - before) / (2.0 * connections), sizes.connection, sizes.flow_slots_per_connection,
           (unsigned long)(census.send_mbufs + census.receive_mbufs));
    return 0;
}

/* ---- Flood. */

enum { SYNS_PER_US = 1, SYN_BURST = 64, SLICE_US = 20000, ROUNDS = 40 };

static struct rte_mbuf *forged_syn(uint32_t n)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pair_pool);
    const uint32_t random = n * 2654435761u;

    if (!mbuf)
        return NULL;
    uint8_t *frame = (uint8_t *)rte_pktmbuf_append(mbuf, 60);
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);
    struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
    memcpy(frame, (const uint8_t[14]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, 14);
    *ip = (struct rte_ipv4_hdr){.version_ihl = 0x45,
                                .total_length = rte_cpu_to_be_16(44),
                                .time_to_live = 60,
                                .next_proto_id = IPPROTO_TCP,
                                .src_addr = rte_cpu_to_be_32(0xc6130000u | (random >> 16)),
                                .dst_addr = pair_address(0).words[3]};
    *tcp = (struct rte_tcp_hdr){.src_port = (uint16_t)random,
                                .dst_port = rte_cpu_to_be_16(1883),
                                .sent_seq = random,
                                .data_off = 24 << 2,
                                .tcp_flags = RTE_TCP_SYN_FLAG,
                                .rx_win = 0xffff};
    memcpy(tcp + 1, (const uint8_t[4]){2, 4, 5, 180}, 4);
    return mbuf;
}

/*
 * Requests per second of one slice of time. The SYNs are made in every slice, since that costs time on this core too;
 * `flooded` decides whether the stack gets them.
 */
static double slice(bool flooded, uint64_t *forged)
{
    uint64_t begin = cpu_now(), now = begin, sent = 0, requests = pair_hosts[1].requests;
    struct rte_mbuf *burst[SYN_BURST];

    while ((now = cpu_now()) < begin + SLICE_US) {
        uint64_t due = (now - begin) * SYNS_PER_US - sent;
        unsigned count = 0;
        while (count < due && count < SYN_BURST && (burst[count] = forged_syn((uint32_t)(*forged + count))) != NULL)
            count++;
        sent += count;
        if (flooded) {
            net_input(pair_hosts[0].stack, 0, burst, count, now);
            *forged += count;
        } else {
            rte_pktmbuf_free_bulk(burst, count);
        }
        pair_iterate(&pair_hosts[1], now);
        pair_iterate(&pair_hosts[0], now);
    }
    return (double)(pair_hosts[1].requests - requests) * 1e6 / (double)(now - begin);
}

static int compare_double(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static int flood_run(unsigned connections)
{
    static double alone[ROUNDS], flooded[ROUNDS];
    uint64_t forged = 0;

    echoing = true;
    if (!pair_environment("net_scale", 512, connections * 6 + 65535))
        return 1;
    pair_create(connections, false, &callbacks);
    pair_hosts[1].gateway = true; /* answers to forged sources */
    for (unsigned opened = 0; pair_hosts[1].connected < connections;) {
        for (unsigned i = 0; i < 16 && opened < connections; i++, opened++)
            pair_connect(opened);
        pair_iterate(&pair_hosts[1], cpu_now());
        pair_iterate(&pair_hosts[0], cpu_now());
    }
    for (unsigned i = 0; i < ROUNDS; i++) { /* in turn, so that a busy machine does both the same harm */
        alone[i] = slice(false, &forged);
        flooded[i] = slice(true, &forged);
    }
    qsort(alone, ROUNDS, sizeof *alone, compare_double);
    qsort(flooded, ROUNDS, sizeof *flooded, compare_double);
    const double before = alone[ROUNDS / 2], after = flooded[ROUNDS / 2];
    const uint64_t *counters = net_counters(pair_hosts[0].stack);
    printf("%u connections, both ends and the forger on one core: %.2f M requests/s alone, %.2f M under the flood: "
           "%.0f %%\n",
           connections, before / 1e6, after / 1e6, 100 * after / before);
    printf("%.2f M forged SYNs (%.2f M/s), %lu cookies, %lu half-open records, %lu retransmits on the connections\n",
           (double)forged / 1e6, (double)forged / (ROUNDS * (double)SLICE_US),
           (unsigned long)counters[NET_COUNTER_tcp_syn_cookies_sent],
           (unsigned long)(counters[NET_COUNTER_tcp_syns_received] - counters[NET_COUNTER_tcp_syn_cookies_sent]),
           (unsigned long)counters[NET_COUNTER_tcp_retransmits]);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "connections") == 0)
        return connections_run(argc > 2 ? (unsigned)atoi(argv[2]) : 1000000, argc > 3);
    if (argc > 1 && strcmp(argv[1], "flood") == 0)
        return flood_run(argc > 2 ? (unsigned)atoi(argv[2]) : 1000);
    fprintf(stderr, "usage: net_scale connections [COUNT] | flood [CONNECTIONS]\n");
    return 2;
}

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
#include "lib/net/net.h"

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 2, QUEUE = 1 << 16 };

struct host {
    unsigned index;
    struct net_stack *stack;
    struct timer_wheel *wheel;
    struct rte_mbuf *queue[QUEUE]; /* frames for this host */
    unsigned head, tail;
    uint64_t requests;
    unsigned connected;
};

static struct host hosts[HOSTS];
static struct rte_mempool *pool;

/* The frame changes hands; what the sender keeps for retransmission is copied, as a port would by DMA. */
static uint16_t transmit(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count)
{
    struct host *to = &hosts[!((struct host *)arg)->index];

    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = mbufs[i];
        if (rte_mbuf_refcnt_read(mbuf) > 1) {
            struct rte_mbuf *copy = rte_pktmbuf_alloc(pool);
            if (!copy)
                return i;
            memcpy(rte_pktmbuf_append(copy, mbuf->data_len), rte_pktmbuf_mtod(mbuf, void *), mbuf->data_len);
            rte_pktmbuf_free(mbuf);
            mbuf = copy;
        }
        to->queue[to->tail++ % QUEUE] = mbuf;
    }
    return count;
}

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
    ((struct host *)arg)->connected++;
    send_one(connection);
}

static void readable(void *arg, struct tcp_connection *connection)
{
    uint32_t length;

    tcp_peek(connection, &length);
    tcp_consume(connection, length);
    ((struct host *)arg)->requests++;
    send_one(connection);
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
}

static void iterate(struct host *host, uint64_t now)
{
    struct rte_mbuf *burst[32];
    unsigned count = 0;

    while (count < 32 && host->head != host->tail)
        burst[count++] = host->queue[host->head++ % QUEUE];
    net_input(host->stack, 0, burst, count, now);
    timer_wheel_advance(host->wheel, now, 64);
    net_deliver(host->stack, now);
    net_output(host->stack, now);
}

static struct net_address host_address(unsigned index)
{
    return net_address_ip4(rte_cpu_to_be_32(0xc6120001u + index));
}

static void host_create(unsigned index, unsigned connections, uint64_t now)
{
    struct host *host = &hosts[index];
    struct net_config config;
    const char *reason;

    host->index = index;
    host->wheel = malloc(sizeof *host->wheel);
    timer_wheel_init(host->wheel, now);
    net_config_defaults(&config);
    config.seed[0] = 1 + index;
    config.max_connections = config.max_half_open = connections + 16;
    config.interface_count = 1;
    config.interfaces[0] = (struct net_interface_config){
        .mac = {2, 0, 0, 0, 0, (uint8_t)(1 + index)},
        .mtu = 1500,
        .offloads = NET_OFFLOAD_RX_TRUSTED | NET_OFFLOAD_TX_IP4_CHECKSUM | NET_OFFLOAD_TX_TCP_CHECKSUM,
        .address_count = 1,
        .addresses = {{host_address(index), 24}},
    };
    config.pool = pool;
    config.wheel = host->wheel;
    config.transmit = transmit;
    config.arg = host;
    config.callbacks = (struct tcp_callbacks){accepted, connected, readable, ignore, ignore, closed};
    host->stack = net_stack_create(&config, now, &reason);
    if (!host->stack) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
}

static uint64_t now_us(void)
{
    return (uint64_t)((double)rte_rdtsc() * 1e6 / (double)rte_get_tsc_hz());
}

enum {
    SLICES = 100000,
    SLICE_REQUESTS = 4000,
    PER_PORT = 30000, /* connections to one port: there are 32,768 ephemeral ones */
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
        uint64_t requests = hosts[1].requests, start = rte_rdtsc();
        while (hosts[1].requests - requests < SLICE_REQUESTS) {
            uint64_t now = now_us();
            iterate(&hosts[1], now);
            iterate(&hosts[0], now);
        }
        slices[slice_count++] = (double)(rte_rdtsc() - start) / (double)(hosts[1].requests - requests);
    }
}

int main(int argc, char **argv)
{
    char *arguments[] = {"net_echo", "--no-huge", "--no-shconf", "--no-telemetry",    "--no-pci", "-m",
                         "3072",     "-l",        "0",           "--log-level=error", NULL};
    unsigned connections = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    struct net_address any = NET_ADDRESS_ANY, server = host_address(0);

    if (rte_eal_init(10, arguments) < 0)
        return 1;
    pool = rte_pktmbuf_pool_create("bench", connections * 6 + 8191, 256, NET_MBUF_PRIVATE, 2048 + RTE_PKTMBUF_HEADROOM,
                                   SOCKET_ID_ANY);
    if (!pool)
        return 1;
    for (unsigned i = 0; i < HOSTS; i++)
        host_create(i, connections, now_us());
    for (unsigned i = 0; i <= connections / PER_PORT; i++)
        tcp_listen(hosts[0].stack, &any, (uint16_t)(1883 + i), NULL);
    for (unsigned opened = 0; hosts[1].connected < connections;) {
        for (unsigned i = 0; i < 16 && opened < connections; i++, opened++)
            tcp_connect(hosts[1].stack, &any, 0, &server, (uint16_t)(1883 + opened / PER_PORT), NULL);
        iterate(&hosts[1], now_us());
        iterate(&hosts[0], now_us());
    }
    slices_run(seconds, argc > 3 ? (unsigned)atoi(argv[3]) : SLICES);
    const uint64_t *counters = net_counters(hosts[0].stack);
    qsort(slices, slice_count, sizeof *slices, slice_compare);
    double median = slices[slice_count / 2], best = slices[0];
    printf(
        "%u connections: %.0f cycles per request both ends (best %.0f), %.2f M requests/s, %.1f %% by the fast path, "
        "%lu retransmits, %lu requests\n",
        connections, median, best, (double)rte_get_tsc_hz() / median / 1e6,
        100.0 * (double)counters[NET_COUNTER_tcp_fast_path] / (double)counters[NET_COUNTER_tcp_segments_received],
        (unsigned long)counters[NET_COUNTER_tcp_retransmits], (unsigned long)hosts[1].requests);
    return 0;
}

/* Two stacks back to back. Job: net_pair.h. */
#include "tests/bench/net_pair.h"

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair_host pair_hosts[PAIR_HOSTS];
struct rte_mempool *pair_pool;

bool pair_environment(const char *name, unsigned megabytes, unsigned mbufs)
{
    char program[32], memory[16];
    char *arguments[] = {program, "--no-huge", "--no-shconf", "--no-telemetry",    "--no-pci", "-m",
                         memory,  "-l",        "0",           "--log-level=error", NULL};

    snprintf(program, sizeof program, "%s", name);
    snprintf(memory, sizeof memory, "%u", megabytes);
    if (rte_eal_init(10, arguments) < 0)
        return false;
    pair_pool =
        rte_pktmbuf_pool_create("bench", mbufs, 256, NET_MBUF_PRIVATE, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    return pair_pool != NULL;
}

/* The frame changes hands; what the sender keeps for retransmission is copied, as a port would by DMA. */
static uint16_t transmit(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count)
{
    struct pair_host *to = &pair_hosts[!((struct pair_host *)arg)->index];
    struct rte_mbuf *gone[64]; /* as a port gives them back: together */
    unsigned gone_count = 0;

    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = mbufs[i];
        const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
        if (to->gateway && frame[12] == 8 && frame[13] == 0 && frame[31] == 19) {
            gone[gone_count++] = mbuf;
            if (gone_count == 64) {
                rte_pktmbuf_free_bulk(gone, gone_count);
                gone_count = 0;
            }
            continue;
        }
        if (rte_mbuf_refcnt_read(mbuf) > 1) {
            struct rte_mbuf *copy = rte_pktmbuf_alloc(pair_pool);
            if (!copy) {
                count = i;
                break;
            }
            memcpy(rte_pktmbuf_append(copy, mbuf->data_len), rte_pktmbuf_mtod(mbuf, void *), mbuf->data_len);
            rte_pktmbuf_free(mbuf);
            mbuf = copy;
        }
        to->queue[to->tail++ % PAIR_QUEUE] = mbuf;
    }
    rte_pktmbuf_free_bulk(gone, gone_count);
    return count;
}

void pair_iterate(struct pair_host *host, uint64_t now)
{
    struct rte_mbuf *burst[32];
    unsigned count = 0;

    while (count < 32 && host->head != host->tail)
        burst[count++] = host->queue[host->head++ % PAIR_QUEUE];
    net_input(host->stack, 0, burst, count, now);
    timer_wheel_advance(host->wheel, now, 64);
    net_deliver(host->stack, now);
    net_output(host->stack, now);
}

struct net_address pair_address(unsigned index)
{
    return net_address_ip4(rte_cpu_to_be_32(0xc6120001u + index));
}

static void host_create(unsigned index, unsigned connections, bool prefault, const struct tcp_callbacks *callbacks,
                        uint64_t now)
{
    struct pair_host *host = &pair_hosts[index];
    struct net_config config;
    const char *reason;

    host->index = index;
    host->wheel = malloc(sizeof *host->wheel);
    timer_wheel_init(host->wheel, now);
    net_config_defaults(&config);
    config.seed[0] = 1 + index;
    config.prefault = prefault;
    config.max_connections = connections + 16;
    config.interface_count = 1;
    config.interfaces[0] = (struct net_interface_config){
        .mac = {2, 0, 0, 0, 0, (uint8_t)(1 + index)},
        .mtu = 1500,
        .offloads = NET_OFFLOAD_RX_TRUSTED | NET_OFFLOAD_TX_IP4_CHECKSUM | NET_OFFLOAD_TX_TCP_CHECKSUM,
        .address_count = 1,
        .addresses = {{pair_address(index), 24}},
        .gateway4 = pair_address(!index),
    };
    config.pool = pair_pool;
    config.wheel = host->wheel;
    config.transmit = transmit;
    config.arg = host;
    config.callbacks = *callbacks;
    host->stack = net_stack_create(&config, now, &reason);
    if (!host->stack) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
}

uint64_t pair_now(void)
{
    return (uint64_t)((double)rte_rdtsc() * 1e6 / (double)rte_get_tsc_hz());
}

void pair_create(unsigned connections, bool prefault, const struct tcp_callbacks *callbacks)
{
    struct net_address any = NET_ADDRESS_ANY;

    for (unsigned i = 0; i < PAIR_HOSTS; i++)
        host_create(i, connections, prefault, callbacks, pair_now());
    for (unsigned i = 0; i <= connections / PAIR_PER_PORT; i++)
        tcp_listen(pair_hosts[0].stack, &any, (uint16_t)(1883 + i), NULL);
}

struct tcp_connection *pair_connect(unsigned n)
{
    struct net_address any = NET_ADDRESS_ANY, server = pair_address(0);

    return tcp_connect(pair_hosts[1].stack, &any, 0, &server, (uint16_t)(1883 + n / PAIR_PER_PORT), NULL);
}

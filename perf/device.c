/* DPDK and one device of it. See device.h. */
#include "perf/device.h"

#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "lib/net/net.h"

enum {
    DESCRIPTORS = 1024,
    POOL_CACHE = 512, /* buffers that the thread keeps at hand */
    ARGUMENTS = 16,
};

/* ---- DPDK ---- */

static unsigned first_cpu(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            return cpu;
    return 0;
}

static uint64_t huge_mib_free(void)
{
    char line[256];
    unsigned long long pages = 0, kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "HugePages_Free: %llu", &pages);
        sscanf(line, "Hugepagesize: %llu", &kib);
    }
    if (file != NULL)
        fclose(file);
    return pages * kib / 1024;
}

/* The pool, what its objects carry beside the data, and room for the driver. */
static uint32_t mib_needed(const struct device_config *config)
{
    const uint64_t buffer = RTE_MBUF_DEFAULT_BUF_SIZE + NET_MBUF_PRIVATE + sizeof(struct rte_mbuf) + 64;
    return (uint32_t)(config->buffers * buffer >> 20) + 64;
}

/* Which DPDK makes, and leaves. Called at every end of the program but a signal. */
static void remove_runtime_directory(void)
{
    rmdir(rte_eal_get_runtime_dir());
}

static void start_dpdk(const struct device_config *config)
{
    static char lcores[32], prefix[48], memory[16]; /* DPDK keeps pointers into them */
    static char *arguments[ARGUMENTS];
    int count = 0, pci_domain, pci_bus;
    snprintf(lcores, sizeof(lcores), "0@%u", first_cpu());
    snprintf(prefix, sizeof(prefix), "--file-prefix=pollux-perf-%d", (int)getpid());
    snprintf(memory, sizeof(memory), "%u", mib_needed(config));
    /* Buffers that came back last, which the CPU's caches still hold, go out first: see dataplane/pool.c. */
    char *const fixed[] = {"pollux-perf",
                           "--lcores",
                           lcores,
                           prefix,
                           "--no-telemetry",
                           "--iova-mode=va",
                           "--mbuf-pool-ops-name=lf_stack",
                           "--log-level=*:4"};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        arguments[count++] = fixed[i];
    if (sscanf(config->arguments, "%x:%x:", (unsigned *)&pci_domain, (unsigned *)&pci_bus) == 2) {
        arguments[count++] = "-a";
        arguments[count++] = (char *)(uintptr_t)config->arguments;
    } else {
        arguments[count++] = "--no-pci";
    }
    if (huge_mib_free() >= mib_needed(config)) {
        arguments[count++] = "--in-memory";
        arguments[count++] = "--single-file-segments"; /* one file, which a vhost-user peer maps in one piece */
    } else {
        arguments[count++] = "--no-huge";
        arguments[count++] = "--no-shconf";
        arguments[count++] = "-m";
        arguments[count++] = memory;
    }
    if (rte_eal_init(count, arguments) < 0)
        errx(1, "DPDK does not start: %s", rte_strerror(rte_errno));
    atexit(remove_runtime_directory);
}

/* ---- The device ---- */

/* "net_vhost0,iface=/path" is the device net_vhost0. */
static void probe(struct device *device, const char *arguments)
{
    char name[128];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(arguments, ","), arguments);
    int result = 0;
    if (rte_eth_dev_get_port_by_name(name, &device->port) != 0)
        result = rte_dev_probe(arguments);
    if (result < 0 || rte_eth_dev_get_port_by_name(name, &device->port) != 0)
        errx(1, "the device '%s' cannot be opened: %s", arguments, result < 0 ? rte_strerror(-result) : "no such port");
}

static uint32_t offloads_of(const struct rte_eth_conf *conf)
{
    uint32_t offloads = 0;
    if (conf->rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
        offloads |= NET_OFFLOAD_RX_CHECKSUM;
    if (conf->txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
        offloads |= NET_OFFLOAD_TX_TCP_CHECKSUM;
    if (conf->txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
        offloads |= NET_OFFLOAD_TX_IP4_CHECKSUM;
    return offloads;
}

static void configure(struct device *device)
{
    struct rte_eth_dev_info info;
    uint16_t rx_descriptors = DESCRIPTORS, tx_descriptors = DESCRIPTORS;
    if (rte_eth_dev_info_get(device->port, &info) != 0)
        errx(1, "no information from the device");
    const struct rte_eth_conf conf = {
        .rxmode.offloads = info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM),
        .txmode.offloads = info.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)};
    if (rte_eth_dev_configure(device->port, 1, 1, &conf) != 0 ||
        rte_eth_dev_adjust_nb_rx_tx_desc(device->port, &rx_descriptors, &tx_descriptors) != 0 ||
        rte_eth_rx_queue_setup(device->port, 0, rx_descriptors, (unsigned)SOCKET_ID_ANY, NULL, device->pool) != 0 ||
        rte_eth_tx_queue_setup(device->port, 0, tx_descriptors, (unsigned)SOCKET_ID_ANY, NULL) != 0)
        errx(1, "the device refuses a pair of queues");
    device->offloads = offloads_of(&conf);
}

void device_open(struct device *device, const struct device_config *config)
{
    start_dpdk(config);
    device->pool = rte_pktmbuf_pool_create("packets", config->buffers, POOL_CACHE, NET_MBUF_PRIVATE,
                                           RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (device->pool == NULL)
        errx(1, "no memory for %u packet buffers: %s", config->buffers, rte_strerror(rte_errno));
    probe(device, config->arguments);
    configure(device);
    device->mtu = config->mtu;
    rte_eth_dev_set_mtu(device->port, config->mtu); /* a driver without the call carries it anyway */
    if (rte_eth_dev_start(device->port) != 0)
        errx(1, "the device does not start");
    if (rte_eth_promiscuous_enable(device->port) != 0)
        rte_eth_allmulticast_enable(device->port);
    struct rte_ether_addr mac;
    rte_eth_macaddr_get(device->port, &mac);
    memcpy(device->mac, mac.addr_bytes, sizeof(device->mac));
}

bool device_wait_link(const struct device *device, double seconds)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    for (double waited = 0; waited < seconds; waited += 0.01) {
        struct rte_eth_link link;
        if (rte_eth_link_get_nowait(device->port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

void device_close(struct device *device)
{
    rte_eth_dev_stop(device->port);
    rte_eth_dev_close(device->port);
    rte_eal_cleanup();
}

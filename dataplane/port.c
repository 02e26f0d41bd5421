/* Opening devices, finding out what they can do, and describing them. See port.h. */
#include "dataplane/port.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>

/* The widely used default of network devices: software steering and hardware then agree. */
const uint8_t port_rss_key[40] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

enum {
    RX_DESCRIPTORS = 1024,
    TX_DESCRIPTORS = 1024,
    HELD_PER_QUEUE = 6144, /* AF_XDP keeps three rings of 2,048 buffers a queue, the most of all drivers */
};

uint32_t port_buffers_held(const struct shm_port *config, uint32_t workers)
{
    const uint32_t queues = config->queues < workers ? config->queues : workers;
    return queues * HELD_PER_QUEUE;
}

/* "net_tap0,iface=x" is the device net_tap0, "0000:01:00.0,arg=1" the device 0000:01:00.0. */
static int device_probe(struct port *port, struct shm_error *error)
{
    char name[SHM_DEVICE_SIZE];
    snprintf(name, sizeof(name), "%s", port->config->device);
    name[strcspn(name, ",")] = '\0';
    if (rte_eth_dev_get_port_by_name(name, &port->id) == 0) {
        return 0;
    }
    const int result = rte_dev_probe(port->config->device);
    if (result < 0) {
        return shm_error_set(error,
                             "port %s: the device '%s' cannot be opened: %s. Check its name, that its driver is "
                             "installed (librte-net-*), and that no other program holds it",
                             port->config->name, port->config->device, rte_strerror(-result));
    }
    if (rte_eth_dev_get_port_by_name(name, &port->id) != 0) {
        return shm_error_set(error, "port %s: the device '%s' has no network port", port->config->name, name);
    }
    return 0;
}

static uint64_t wanted_rx(const struct rte_eth_dev_info *info)
{
    return info->rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
}

static uint64_t wanted_tx(const struct rte_eth_dev_info *info)
{
    return info->tx_offload_capa & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
                                    RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
}

static uint16_t queues_possible(uint32_t wanted, uint32_t workers, uint16_t device)
{
    const uint32_t queues = wanted < workers ? wanted : workers;
    return (uint16_t)(queues < device ? queues : device);
}

/* Spreads flows over the queues as software steering would (exchange.h): same key, same table. */
static bool rss_configure(struct port *port, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf,
                          uint32_t workers)
{
    const uint64_t tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
    const bool usable = workers > 1 && port->rx_queues == workers && (info->flow_type_rss_offloads & tcp) == tcp &&
                        info->hash_key_size == sizeof(port_rss_key) && info->reta_size > 0;
    if (usable) {
        conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf->rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){
            .rss_key = (uint8_t *)(uintptr_t)port_rss_key, .rss_key_len = sizeof(port_rss_key), .rss_hf = tcp};
    }
    return usable;
}

static bool rss_table_set(const struct port *port, const struct rte_eth_dev_info *info)
{
    struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE] = {0};
    if (info->reta_size > RTE_ETH_RSS_RETA_SIZE_512) {
        return false;
    }
    for (uint16_t i = 0; i < info->reta_size; i++) {
        table[i / RTE_ETH_RETA_GROUP_SIZE].mask = UINT64_MAX;
        table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % port->rx_queues;
    }
    return rte_eth_dev_rss_reta_update(port->id, table, info->reta_size) == 0;
}

static int queues_set_up(struct port *port, struct rte_mempool *pool, struct shm_error *error)
{
    const int socket = rte_eth_dev_socket_id(port->id);
    for (uint16_t queue = 0; queue < port->rx_queues; queue++) {
        const int result = rte_eth_rx_queue_setup(port->id, queue, port->rx_descriptors, (unsigned)socket, NULL, pool);
        if (result != 0) {
            return shm_error_set(error, "port %s: receive queue %u: %s", port->config->name, queue,
                                 rte_strerror(-result));
        }
    }
    for (uint16_t queue = 0; queue < port->tx_queues; queue++) {
        const int result = rte_eth_tx_queue_setup(port->id, queue, port->tx_descriptors, (unsigned)socket, NULL);
        if (result != 0) {
            return shm_error_set(error, "port %s: transmit queue %u: %s", port->config->name, queue,
                                 rte_strerror(-result));
        }
    }
    return 0;
}

static int device_configure(struct port *port, const struct rte_eth_dev_info *info, uint32_t workers,
                            struct shm_error *error)
{
    struct rte_eth_conf conf = {
        .rxmode = {.offloads = wanted_rx(info)},
        .txmode = {.offloads = wanted_tx(info)},
    };
    port->rx_queues = queues_possible(port->config->queues, workers, info->max_rx_queues);
    port->tx_queues = queues_possible(port->config->queues, workers, info->max_tx_queues);
    port->rss = rss_configure(port, info, &conf, workers);
    int result = rte_eth_dev_configure(port->id, port->rx_queues, port->tx_queues, &conf);
    if (result != 0) {
        return shm_error_set(error, "port %s: %u receive and %u transmit queues are refused by the device: %s",
                             port->config->name, port->rx_queues, port->tx_queues, rte_strerror(-result));
    }
    port->rx_descriptors = RX_DESCRIPTORS;
    port->tx_descriptors = TX_DESCRIPTORS;
    result = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &port->rx_descriptors, &port->tx_descriptors);
    if (result != 0) {
        return shm_error_set(error, "port %s: ring sizes are refused: %s", port->config->name, rte_strerror(-result));
    }
    port->rx_checksum = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0;
    port->tx_ipv4_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
    port->tx_tcp_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
    port->multi_segment = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
    /* TAP does TSO in software and refuses some packets for good, which holds up everything behind them. */
    port->tso = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0 && port->multi_segment &&
                strcmp(info->driver_name, "net_tap") != 0;
    return 0;
}

static int device_start(struct port *port, const struct rte_eth_dev_info *info, struct shm_error *error)
{
    /* Not every driver can set a MAC or an MTU; what it keeps is what is used. */
    if (port->config->mac_set) {
        struct rte_ether_addr mac;
        memcpy(mac.addr_bytes, port->config->mac, sizeof(mac.addr_bytes));
        rte_eth_dev_default_mac_addr_set(port->id, &mac);
    }
    rte_eth_dev_set_mtu(port->id, (uint16_t)port->config->mtu);
    const int result = rte_eth_dev_start(port->id);
    if (result != 0) {
        return shm_error_set(error, "port %s: the device does not start: %s", port->config->name,
                             rte_strerror(-result));
    }
    port->rss = port->rss && rss_table_set(port, info);
    /* IPv6 neighbour discovery comes by multicast. */
    if (rte_eth_promiscuous_enable(port->id) != 0) {
        rte_eth_allmulticast_enable(port->id);
    }
    rte_eth_macaddr_get(port->id, &port->mac);
    return 0;
}

int port_open(struct port *port, const struct shm_port *config, uint32_t workers, struct rte_mempool *pool,
              struct shm_error *error)
{
    struct rte_eth_dev_info info;
    *port = (struct port){.config = config, .id = RTE_MAX_ETHPORTS, .ask = -1};
    if (device_probe(port, error) != 0) {
        return -1;
    }
    const int result = rte_eth_dev_info_get(port->id, &info);
    if (result != 0) {
        return shm_error_set(error, "port %s: no information from the device: %s", config->name, rte_strerror(-result));
    }
    port->driver = info.driver_name;
    port->if_index = info.if_index;
    port->ask = info.if_index != 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (device_configure(port, &info, workers, error) != 0 || queues_set_up(port, pool, error) != 0) {
        return -1;
    }
    return device_start(port, &info, error);
}

void port_close(struct port *port)
{
    if (port->id < RTE_MAX_ETHPORTS) {
        rte_eth_dev_stop(port->id);
        rte_eth_dev_close(port->id);
        port->id = RTE_MAX_ETHPORTS;
    }
    if (port->ask >= 0) {
        close(port->ask);
        port->ask = -1;
    }
}

static void port_describe_counters(const struct port *port, struct shm_port_record *record)
{
    struct rte_eth_stats stats;
    if (rte_eth_stats_get(port->id, &stats) != 0) {
        return;
    }
    record->rx_packets = stats.ipackets;
    record->rx_bytes = stats.ibytes;
    record->rx_errors = stats.ierrors;
    record->rx_missed = stats.imissed;
    record->rx_no_mbuf = stats.rx_nombuf;
    record->tx_packets = stats.opackets;
    record->tx_bytes = stats.obytes;
    record->tx_errors = stats.oerrors;
}

/*
 * Drivers of kernel interfaces look for theirs in the dataplane's own network namespace, and take one that was moved
 * away for one that is down.
 */
static enum shm_link port_link(const struct port *port, const struct rte_eth_link *link)
{
    struct ifreq request = {.ifr_ifindex = (int)port->if_index};
    if (link->link_status == RTE_ETH_LINK_UP) {
        return SHM_LINK_UP;
    }
    const bool is_away = port->ask >= 0 && ioctl(port->ask, SIOCGIFNAME, &request) != 0 && errno == ENODEV;
    return is_away ? SHM_LINK_UNKNOWN : SHM_LINK_DOWN;
}

void port_describe(const struct port *port, struct shm_port_record *record)
{
    struct rte_eth_link link = {0};
    uint16_t mtu = 0;
    rte_eth_link_get_nowait(port->id, &link);
    rte_eth_dev_get_mtu(port->id, &mtu);
    *record = (struct shm_port_record){
        .mtu = mtu,
        .link = (uint8_t)port_link(port, &link),
        .link_speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed,
        .rx_queues = port->rx_queues,
        .tx_queues = port->tx_queues,
        .offloads = (port->rx_checksum ? SHM_OFFLOAD_RX_CHECKSUM : 0) |
                    (port->tx_ipv4_checksum ? SHM_OFFLOAD_TX_IP_CHECKSUM : 0) |
                    (port->tx_tcp_checksum ? SHM_OFFLOAD_TX_TCP_CHECKSUM : 0) | (port->tso ? SHM_OFFLOAD_TSO : 0) |
                    (port->rss ? SHM_OFFLOAD_RSS : 0),
        .address_count = port->config->address_count,
    };
    snprintf(record->name, sizeof(record->name), "%s", port->config->name);
    snprintf(record->driver, sizeof(record->driver), "%s", port->driver);
    snprintf(record->device, sizeof(record->device), "%.*s", (int)sizeof(record->device) - 1, port->config->device);
    memcpy(record->mac, port->mac.addr_bytes, sizeof(record->mac));
    memcpy(record->addresses, port->config->addresses, sizeof(record->addresses));
    port_describe_counters(port, record);
}

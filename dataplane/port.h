/*
 * Ports: the network devices of the dataplane, opened from DPDK device arguments (PCI, AF_XDP, AF_PACKET, TAP, memif,
 * vhost-user, virtio-user).
 *
 * The main lcore opens and closes ports; between the two, worker w alone uses receive queue w and transmit queue w.
 * A device may have fewer queues than there are workers: worker w without a queue of its own hands its packets to
 * worker w modulo the number of queues (exchange.h).
 *
 * What a device cannot do in hardware (checksums, TSO, RSS) is done in software; what was found is logged and shown by
 * `polluxctl show ports`.
 */
#ifndef POLLUX_DATAPLANE_PORT_H
#define POLLUX_DATAPLANE_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mempool.h>

#include "lib/shm/config.h"
#include "lib/shm/error.h"
#include "lib/shm/messages.h"

struct port {
    const struct shm_port *config;
    uint16_t id; /* DPDK's */
    uint16_t rx_queues, tx_queues;
    uint16_t rx_descriptors, tx_descriptors;
    struct rte_ether_addr mac;
    bool rx_checksum; /* the device marks packets with a bad IPv4 or TCP checksum */
    bool tx_ipv4_checksum, tx_tcp_checksum;
    bool tso;
    bool multi_segment; /* transmits chained buffers */
    bool rss;           /* the device spreads flows as exchange.h expects, no software steering */
    const char *driver;
    uint32_t if_index; /* of the kernel interface behind it, 0: none */
    int ask;           /* a socket to ask the kernel about that, opened with the port; -1: none */
};

/*
 * Opens and starts the device. `workers` bounds the queues. Returns 0, or -1 with a text that names the port, what the
 * device said and what to try.
 */
int port_open(struct port *port, const struct shm_port *config, uint32_t workers, struct rte_mempool *pool,
              struct shm_error *error);

/* Stops the device and gives its buffers back. */
void port_close(struct port *port);

/* Packet buffers that the device holds at most, to size the pool. Before port_open: from the configuration. */
uint32_t port_buffers_held(const struct shm_port *config, uint32_t workers);

/* Fills the record that control shows; called by the main lcore. */
void port_describe(const struct port *port, struct shm_port_record *record);

/* The Toeplitz key given to devices with RSS and used by software steering: 40 bytes. */
extern const uint8_t port_rss_key[40];

#endif

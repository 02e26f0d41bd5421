/*
 * One DPDK device with one queue pair, for a load generator: DPDK itself, the packet buffers, the port.
 *
 * Opened once in a process, on its main thread; the thread that runs a station (station.h) on it is then the only one
 * that sends and receives. Whatever goes wrong ends the program with a sentence: nothing runs yet that could be hurt.
 */
#ifndef PERF_DEVICE_H
#define PERF_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mempool;

struct device_config {
    const char *arguments; /* DPDK's: net_vhost0,iface=/path  net_virtio_user0,path=/path  0000:01:00.0  ... */
    uint32_t buffers;      /* packet buffers, about 2.3 KiB each */
    uint16_t mtu;          /* bytes of IP packet */
};

struct device {
    uint16_t port; /* DPDK's number */
    uint16_t mtu;
    uint8_t mac[6];
    uint32_t offloads; /* enum net_offload: what the device does, so that the stack need not */
    struct rte_mempool *pool;
};

/*
 * Starts DPDK on the first CPU that the caller may use, with huge pages where enough are free, and opens the device.
 * `device` lives as long as the process.
 */
void device_open(struct device *device, const struct device_config *config);

/* Waits until the other side is there (vhost-user: has connected); false after `seconds`. */
bool device_wait_link(const struct device *device, double seconds);

/* Gives the device and the huge pages back. */
void device_close(struct device *device);

#endif

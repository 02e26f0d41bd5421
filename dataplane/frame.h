/*
 * What a filter looks at in a frame: addresses, ports, where the payload begins. For captures; the stack has its own
 * reading of frames, which refuses what this one passes over. Pure functions of bytes, any thread.
 */
#ifndef POLLUX_DATAPLANE_FRAME_H
#define POLLUX_DATAPLANE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/net/address.h"
#include "lib/shm/messages.h"

struct frame {
    bool addressed; /* ARP, IPv4 or IPv6: the addresses are known */
    bool tcp;       /* a TCP segment with all of its header here */
    bool ports;     /* TCP or UDP, and no fragment behind the first */
    struct net_address source, target;
    uint16_t source_port, target_port;
    uint32_t payload; /* offset of the TCP payload; it may lie beyond what was read */
};

/* Reads the `length` bytes that a frame begins with. What is not there or not known stays unset: nothing is refused. */
void frame_read(struct frame *frame, const uint8_t *bytes, uint32_t length);

/* Does it pass what the filter says of direction, address and port? The client id is not looked at. */
bool frame_matches(const struct frame *frame, enum shm_capture_direction direction,
                   const struct shm_capture_arguments *filter);

#endif

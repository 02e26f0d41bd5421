/* Addresses of the configuration and of requests (lib/shm) as the stack has them (lib/net). Pure functions. */
#ifndef POLLUX_DATAPLANE_ADDRESSES_H
#define POLLUX_DATAPLANE_ADDRESSES_H

#include "lib/net/address.h"
#include "lib/shm/config.h"

/* Without a family: NET_ADDRESS_ANY. */
static inline struct net_address address_of(const struct shm_address *address)
{
    uint32_t ip4;
    switch (address->family) {
    case 4:
        memcpy(&ip4, address->bytes, sizeof(ip4));
        return net_address_ip4(ip4);
    case 6:
        return net_address_ip6(address->bytes);
    default:
        return NET_ADDRESS_ANY;
    }
}

#endif

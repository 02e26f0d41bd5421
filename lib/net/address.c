/* Prefixes. Job: address.h. */
#include "lib/net/address.h"

bool net_prefix_contains(const struct net_prefix *prefix, const struct net_address *address)
{
    bool ip4 = net_address_is_ip4(&prefix->address);
    unsigned bits = prefix->length + (ip4 ? 96u : 0u);

    if (ip4 != net_address_is_ip4(address))
        return false;
    if (memcmp(prefix->address.bytes, address->bytes, bits / 8))
        return false;
    if (bits % 8 == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff00 >> (bits % 8));
    return ((prefix->address.bytes[bits / 8] ^ address->bytes[bits / 8]) & mask) == 0;
}

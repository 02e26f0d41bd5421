/*
 * Addresses and flows as lib/net sees them. Pure values, no state; any thread may use these functions.
 *
 * One representation for both families: 16 bytes, IPv4 as v4-mapped IPv6 (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2).
 * Tables, hashes and comparisons then need no second code path. Ports are in host byte order.
 */
#ifndef LIB_NET_ADDRESS_H
#define LIB_NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct net_address {
    union {
        uint8_t bytes[16];
        uint32_t words[4]; /* network byte order */
    };
};

/* The four-tuple of a connection, seen from this host. 36 bytes, no padding: compared and hashed as bytes. */
struct net_flow {
    struct net_address remote;
    struct net_address local;
    uint16_t remote_port;
    uint16_t local_port;
};

/* An address with its prefix length: 0..32 counted in IPv4 bits for IPv4 addresses, 0..128 for IPv6. */
struct net_prefix {
    struct net_address address;
    uint8_t length;
};

#define NET_ADDRESS_ANY ((struct net_address){.bytes = {0}})

/* `address` in network byte order, as it stands in the header. */
static inline struct net_address net_address_ip4(uint32_t address)
{
    struct net_address result = {.words = {0, 0, 0, address}};
    result.bytes[10] = 0xff;
    result.bytes[11] = 0xff;
    return result;
}

static inline struct net_address net_address_ip6(const uint8_t bytes[16])
{
    struct net_address result;
    memcpy(result.bytes, bytes, 16);
    return result;
}

static inline bool net_address_is_ip4(const struct net_address *address)
{
    static const uint8_t mapped[8] = {[6] = 0xff, [7] = 0xff}; /* bytes 4 to 11 */
    uint64_t middle, wanted;

    memcpy(&middle, address->bytes + 4, 8);
    memcpy(&wanted, mapped, 8);
    return ((middle ^ wanted) | address->words[0]) == 0;
}

static inline bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* All bits zero: "any" in a listener, "none" for a gateway. */
static inline bool net_address_is_any(const struct net_address *address)
{
    return (address->words[0] | address->words[1] | address->words[2] | address->words[3]) == 0;
}

static inline bool net_flow_equal(const struct net_flow *a, const struct net_flow *b)
{
    uint64_t left[4], right[4];

    memcpy(left, a, sizeof left);
    memcpy(right, b, sizeof right);
    return ((left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3])) == 0 &&
           a->remote_port == b->remote_port && a->local_port == b->local_port;
}

_Static_assert(sizeof(struct net_flow) == 36, "hashed and compared as bytes");

/* Does `address` lie in `prefix`? Never across families. */
bool net_prefix_contains(const struct net_prefix *prefix, const struct net_address *address);

#endif

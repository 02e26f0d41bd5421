/*
 * The two keyed hashes of the stack. Pure functions.
 *
 * SipHash-2-4 where an attacker sees the result and must not be able to predict another one: initial sequence numbers,
 * cookies, ports, timestamp offsets, identifications of fragments. A folded multiplication where he never sees it: the
 * flow table.
 */
#ifndef LIB_NET_HASH_H
#define LIB_NET_HASH_H

#include "lib/net/address.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

uint64_t hash_sip(const uint64_t key[2], const void *data, size_t length);

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t hash_flow(const uint64_t key[2], const struct net_flow *flow)
{
    uint64_t words[4];
    uint32_t ports;

    memcpy(words, flow, 32);
    memcpy(&ports, &flow->remote_port, 4);
    uint64_t remote = hash_fold(words[0] ^ key[0], words[1] ^ key[1] ^ 0x9e3779b97f4a7c15u);
    uint64_t local = hash_fold(words[2] ^ key[1], words[3] ^ key[0] ^ 0xd1b54a32d192ed03u);
    uint64_t hash = hash_fold(remote ^ ports ^ key[1], local ^ key[0] ^ ((uint64_t)ports << 32));
    return (uint32_t)(hash ^ (hash >> 32));
}

#endif

/* Steering: which worker a received frame is for. Stateless; any thread. Interface: net.h. */
#include "lib/net/net.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_thash.h>

struct tuple {
    const uint8_t *source;
    const uint8_t *destination;
    uint8_t address_bytes;
    bool has_ports;
    uint16_t source_port; /* host byte order */
    uint16_t destination_port;
};

static uint32_t words_read(uint32_t *words, const uint8_t *bytes, unsigned length)
{
    uint32_t value;

    for (unsigned i = 0; i < length / 4; i++) {
        memcpy(&value, bytes + 4 * i, 4);
        words[i] = rte_be_to_cpu_32(value);
    }
    return length / 4;
}

static uint32_t tuple_hash(const struct tuple *tuple, const uint8_t *key)
{
    uint32_t words[9], count = words_read(words, tuple->source, tuple->address_bytes);

    count += words_read(words + count, tuple->destination, tuple->address_bytes);
    if (tuple->has_ports)
        words[count++] = (uint32_t)tuple->source_port << 16 | tuple->destination_port;
    return rte_softrss(words, count, key);
}

uint32_t net_flow_hash(const struct net_flow *flow, const uint8_t key[NET_RSS_KEY_BYTES])
{
    bool ip4 = net_address_is_ip4(&flow->remote);
    struct tuple tuple = {flow->remote.bytes + (ip4 ? 12 : 0),
                          flow->local.bytes + (ip4 ? 12 : 0),
                          ip4 ? 4 : 16,
                          true,
                          flow->remote_port,
                          flow->local_port};

    return tuple_hash(&tuple, key);
}

static uint16_t read16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* The packet quoted by an ICMP error went out from here: its tuple reversed is that of the flow's input. */
static bool quoted_tuple(const uint8_t *quoted, size_t length, struct tuple *tuple)
{
    size_t header;

    if (length >= 20 && quoted[0] >> 4 == 4) {
        header = (quoted[0] & 15) * 4u;
        if (quoted[9] != IPPROTO_TCP)
            return false;
        *tuple = (struct tuple){.source = quoted + 16, .destination = quoted + 12, .address_bytes = 4};
    } else if (length >= 40 && quoted[0] >> 4 == 6) {
        header = 40;
        if (quoted[6] != IPPROTO_TCP)
            return false;
        *tuple = (struct tuple){.source = quoted + 24, .destination = quoted + 8, .address_bytes = 16};
    } else {
        return false;
    }
    if (length < header + 4)
        return false;
    tuple->has_ports = true;
    tuple->source_port = read16(quoted + header + 2);
    tuple->destination_port = read16(quoted + header);
    return true;
}

static enum net_steer_kind steer_transport(const uint8_t *at, size_t length, uint8_t protocol, struct tuple *tuple)
{
    if (protocol == IPPROTO_TCP && length >= 4) {
        tuple->has_ports = true;
        tuple->source_port = read16(at);
        tuple->destination_port = read16(at + 2);
        return NET_STEER_FLOW;
    }
    if (protocol == IPPROTO_ICMP && length >= 8 && (at[0] == 3 || at[0] == 11 || at[0] == 12))
        return quoted_tuple(at + 8, length - 8, tuple) ? NET_STEER_FLOW : NET_STEER_ANY;
    if (protocol == IPPROTO_ICMPV6 && length >= 8) {
        if (at[0] >= 133 && at[0] <= 137)
            return NET_STEER_ALL;
        if (at[0] < 128)
            return quoted_tuple(at + 8, length - 8, tuple) ? NET_STEER_FLOW : NET_STEER_ANY;
    }
    return NET_STEER_ANY;
}

static enum net_steer_kind steer_ip4(const uint8_t *at, size_t length, struct tuple *tuple)
{
    size_t header;

    if (length < 20 || (header = (at[0] & 15) * 4u) < 20 || length < header)
        return NET_STEER_ANY;
    *tuple = (struct tuple){.source = at + 12, .destination = at + 16, .address_bytes = 4};
    if (read16(at + 6) & 0x3fff) /* a fragment: all of a packet's go to one worker */
        return NET_STEER_FLOW;
    return steer_transport(at + header, length - header, at[9], tuple);
}

static enum net_steer_kind steer_ip6(const uint8_t *at, size_t length, struct tuple *tuple)
{
    if (length < 40)
        return NET_STEER_ANY;
    uint8_t next = at[6];
    size_t offset = 40;
    *tuple = (struct tuple){.source = at + 8, .destination = at + 24, .address_bytes = 16};
    for (int i = 0; i < 4 && (next == 0 || next == 43 || next == 60) && offset + 8 <= length; i++) {
        next = at[offset];
        offset += 8u + 8u * at[offset + 1];
    }
    if (next == 44) /* a fragment: by the addresses, as with IPv4 */
        return NET_STEER_FLOW;
    return offset < length ? steer_transport(at + offset, length - offset, next, tuple) : NET_STEER_ANY;
}

enum net_steer_kind net_steer(const struct rte_mbuf *mbuf, const uint8_t key[NET_RSS_KEY_BYTES], bool hardware,
                              uint32_t *hash)
{
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    size_t length = mbuf->data_len, offset = 14;
    struct tuple tuple;
    enum net_steer_kind kind = NET_STEER_ANY;

    *hash = 0;
    if (length < 18)
        return NET_STEER_ANY;
    uint16_t type = read16(frame + 12);
    if (type == RTE_ETHER_TYPE_VLAN) {
        type = read16(frame + 16);
        offset = 18;
    }
    if (type == RTE_ETHER_TYPE_ARP)
        return NET_STEER_ALL;
    if (type == RTE_ETHER_TYPE_IPV4)
        kind = steer_ip4(frame + offset, length - offset, &tuple);
    else if (type == RTE_ETHER_TYPE_IPV6)
        kind = steer_ip6(frame + offset, length - offset, &tuple);
    if (kind != NET_STEER_FLOW)
        return kind;
    if (hardware && (mbuf->ol_flags & RTE_MBUF_F_RX_RSS_HASH))
        *hash = mbuf->hash.rss;
    else
        *hash = tuple_hash(&tuple, key);
    return NET_STEER_FLOW;
}

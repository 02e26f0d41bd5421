/* IPv6 (RFC 8200): header and extension header checks, header writing. Private to lib/net (stack.h); the stack's
 * thread. */
#include "lib/net/stack.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>

enum {
    EXTENSIONS_MAX = 4,
    EXTENSION_HOP = 0,
    EXTENSION_ROUTING = 43,
    EXTENSION_FRAGMENT = 44,
    EXTENSION_DESTINATION = 60
};

/*
 * Skip hop-by-hop, destination and (exhausted) routing headers. Returns the offset of what follows and sets *next; 0
 * when the chain is malformed, too long or of a kind that is not supported (AH).
 */
/* REQ RFC8200 4-1: in order, four at most [test: none yet] */
/* REQ RFC8200 4.4: none with segments left [test: none yet] */
static uint32_t extensions_skip(const struct rte_mbuf *mbuf, uint32_t offset, uint8_t *next)
{
    for (int i = 0; i < EXTENSIONS_MAX; i++) {
        if (*next != EXTENSION_HOP && *next != EXTENSION_ROUTING && *next != EXTENSION_DESTINATION)
            return offset;
        const uint8_t *extension = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, offset);
        if (offset + 8 > mbuf->data_len)
            return 0;
        if (*next == EXTENSION_ROUTING && extension[3] != 0)
            return 0;
        *next = extension[0];
        offset += 8u + 8u * extension[1];
        if (offset > mbuf->data_len)
            return 0;
    }
    return 0;
}

static bool destination_is_ours(const struct net_stack *stack, const struct net_packet *packet)
{
    const struct net_address *local = &packet->flow.local;
    static const uint8_t solicited[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};

    if (interface_has_address(stack, packet->interface, local))
        return true;
    if (local->bytes[0] != 0xff)
        return false;
    /* All nodes, or a solicited-node group: only neighbour discovery and echo come by multicast. */
    if (memcmp(local->bytes, solicited, sizeof solicited) == 0)
        return true;
    return local->bytes[1] == 0x02 && local->words[1] == 0 && local->words[2] == 0 &&
           local->words[3] == rte_cpu_to_be_32(1);
}

bool ip6_addresses_acceptable(struct net_stack *stack, const struct net_packet *packet)
{
    if (!destination_is_ours(stack, packet)) {
        DROP(stack, packet->mbuf, drop_ip6_not_for_us);
        return false;
    }
    if (packet->flow.remote.bytes[0] == 0xff || net_address_is_ip4(&packet->flow.remote) ||
        route_is_local(stack, &packet->flow.remote)) {
        DROP(stack, packet->mbuf, drop_ip6_source);
        return false;
    }
    return true;
}

/* REQ RFC8200 3: version 6 [test: none yet] */
/* The fragment header stands right behind the IPv6 header: what hosts send. True: the packet is complete. */
static bool fragment_parse(struct net_stack *stack, struct net_packet *packet, uint32_t start)
{
    const uint8_t *header = rte_pktmbuf_mtod_offset(packet->mbuf, const uint8_t *, packet->transport_offset);

    COUNT(stack, fragments_received);
    if (packet->transport_offset != start || packet->transport_length < NET_FRAGMENT_HEADER6 ||
        packet->mbuf->data_len < packet->transport_offset + NET_FRAGMENT_HEADER6) {
        DROP(stack, packet->mbuf, drop_fragment_malformed);
        return false;
    }
    const uint32_t field = (uint32_t)header[2] << 8 | header[3];
    struct net_fragment fragment = {.start = field & 0xfff8, .more = field & 1};
    memcpy(&fragment.identifier, header + 4, 4);
    packet->protocol = header[0];
    packet->transport_offset = (uint16_t)(packet->transport_offset + NET_FRAGMENT_HEADER6);
    packet->transport_length = (uint16_t)(packet->transport_length - NET_FRAGMENT_HEADER6);
    /* REQ RFC8200 4.5-1, 4.5-2, 5: put together, no overlap [test: net_script/fragments_of_ip6] */
    return reassembly_input(stack, packet, &fragment);
}

bool ip6_parse(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const struct rte_ipv6_hdr *header =
        rte_pktmbuf_mtod_offset(mbuf, const struct rte_ipv6_hdr *, packet->network_offset);
    uint32_t room = mbuf->data_len - packet->network_offset;
    uint32_t payload;

    if (room < sizeof *header || (header->vtc_flow & rte_cpu_to_be_32(0xf0000000)) != rte_cpu_to_be_32(0x60000000) ||
        (payload = rte_be_to_cpu_16(header->payload_len)) + sizeof *header > mbuf->pkt_len - packet->network_offset) {
        DROP(stack, mbuf, drop_ip6_header);
        return false;
    }
    packet->flow.remote = net_address_ip6(header->src_addr);
    packet->flow.local = net_address_ip6(header->dst_addr);
    if (!ip6_addresses_acceptable(stack, packet))
        return false;
    uint8_t next = header->proto;
    uint32_t start = packet->network_offset + (uint32_t)sizeof *header;
    uint32_t offset = extensions_skip(mbuf, start, &next);
    if (offset == 0 || offset - start > payload) {
        DROP(stack, mbuf, drop_ip6_extension);
        return false;
    }
    COUNT(stack, ip6_received);
    packet->protocol = next;
    packet->congestion = (rte_be_to_cpu_32(header->vtc_flow) >> 20) & 3;
    packet->transport_offset = (uint16_t)offset;
    packet->transport_length = (uint16_t)(payload - (offset - start));
    return next != EXTENSION_FRAGMENT || fragment_parse(stack, packet, start);
}

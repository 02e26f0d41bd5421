/* IPv4 (RFC 791, 1122): header checks, header writing. Private to lib/net (stack.h); the stack's thread. */
#include "lib/net/hash.h"
#include "lib/net/ip_header.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>

/* Only options that change the way of a packet matter: source routes are refused, the rest is ignored. */
/* REQ RFC9293 MUST-50: ignored, but for source routes [test: net_script/ip4_options] */
/* REQ RFC1122 3.2.1.8-1: ignored, but for source routes [test: net_script/ip4_options] */
static bool options_are_harmless(const uint8_t *option, size_t length)
{
    while (length > 0 && option[0] != 0) {
        size_t size = 1;
        if (option[0] != 1) {
            if (length < 2 || option[1] < 2 || option[1] > length)
                return false;
            if (option[0] == 131 || option[0] == 137)
                return false;
            size = option[1];
        }
        option += size;
        length -= size;
    }
    return true;
}

/* REQ RFC1122 3.2.1.2: unless the port checked it [test: net_script/bad_checksum] */
static bool header_checksum_good(const struct net_stack *stack, const struct net_packet *packet,
                                 const struct rte_ipv4_hdr *header)
{
    uint32_t offloads = stack->interfaces[packet->interface].config.offloads;
    uint64_t state = packet->mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

    if (offloads & NET_OFFLOAD_RX_TRUSTED)
        return true;
    if ((offloads & NET_OFFLOAD_RX_CHECKSUM) && state == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
        return true;
    return rte_raw_cksum(header, rte_ipv4_hdr_len(header)) == 0xffff;
}

/* REQ RFC9293 MUST-63: nor our own address [test: net_script/syn_from_and_to_bad_addresses] */
/* REQ RFC1122 3.2.1.3-2: nor our own address [test: net_script/syn_from_and_to_bad_addresses] */
/* REQ RFC1122 3.2.1.3-1, 3.3.6: our own addresses only [test: net_script/syn_from_and_to_bad_addresses] */
bool ip4_addresses_acceptable(struct net_stack *stack, const struct net_packet *packet)
{
    if (!interface_has_address(stack, packet->interface, &packet->flow.local)) {
        DROP(stack, packet->mbuf, drop_ip4_not_for_us);
        return false;
    }
    if (!address_is_unicast(stack, &packet->flow.remote) || route_is_local(stack, &packet->flow.remote)) {
        DROP(stack, packet->mbuf, drop_ip4_source);
        return false;
    }
    return true;
}

/* REQ RFC1122 3.2.1.1: version 4 [test: net_script/ip4_header_fields] */
/* REQ RFC1122 3.2.1.7-2: hops are not looked at [test: net_script/ip4_header_fields] */
bool ip4_parse(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const struct rte_ipv4_hdr *header =
        rte_pktmbuf_mtod_offset(mbuf, const struct rte_ipv4_hdr *, packet->network_offset);
    uint32_t room = mbuf->data_len - packet->network_offset;
    uint32_t header_length = 0, total = 0;

    if (room >= sizeof *header) {
        header_length = rte_ipv4_hdr_len(header);
        total = rte_be_to_cpu_16(header->total_length);
    }
    if (header_length < sizeof *header || header->version_ihl >> 4 != 4 || header_length > room ||
        total < header_length || total > mbuf->pkt_len - packet->network_offset) {
        DROP(stack, mbuf, drop_ip4_header);
        return false;
    }
    if (!header_checksum_good(stack, packet, header)) {
        DROP(stack, mbuf, drop_ip4_checksum);
        return false;
    }
    packet->flow.remote = net_address_ip4(header->src_addr);
    packet->flow.local = net_address_ip4(header->dst_addr);
    if (!ip4_addresses_acceptable(stack, packet))
        return false;
    if (header_length > sizeof *header &&
        !options_are_harmless((const uint8_t *)(header + 1), header_length - sizeof *header)) {
        DROP(stack, mbuf, drop_ip4_source_route);
        return false;
    }
    COUNT(stack, ip4_received);
    packet->protocol = header->next_proto_id;
    packet->congestion = header->type_of_service & 3;
    packet->transport_offset = (uint16_t)(packet->network_offset + header_length);
    packet->transport_length = (uint16_t)(total - header_length);
    if (header->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) {
        const uint16_t field = rte_be_to_cpu_16(header->fragment_offset);
        const struct net_fragment fragment = {header->packet_id, (field & RTE_IPV4_HDR_OFFSET_MASK) * 8u,
                                              field & RTE_IPV4_HDR_MF_FLAG};
        COUNT(stack, fragments_received);
        return reassembly_input(stack, packet, &fragment);
    }
    return true;
}

void ip_output(struct net_stack *stack, const struct net_flow *flow, uint8_t protocol, uint8_t congestion,
               uint32_t neighbour, struct rte_mbuf *mbuf)
{
    uint16_t length = (uint16_t)mbuf->pkt_len;

    if (net_address_is_ip4(&flow->remote)) {
        struct rte_ipv4_hdr *header = (struct rte_ipv4_hdr *)rte_pktmbuf_prepend(mbuf, sizeof *header);
        ip4_header_write(stack, (uint8_t *)header, flow, protocol, congestion, length);
        header->hdr_checksum = rte_ipv4_cksum(header);
    } else {
        uint8_t *header = (uint8_t *)rte_pktmbuf_prepend(mbuf, sizeof(struct rte_ipv6_hdr));
        ip6_header_write(header, flow, protocol, congestion, stack->config.hop_limit, length);
    }
    neighbour_output(stack, neighbour, mbuf);
}

/* `piece` is to become the fragment from `start` on, of a packet that `identifier` names. */
static void fragment_output(struct net_stack *stack, const struct net_flow *flow, uint8_t protocol, uint32_t neighbour,
                            struct rte_mbuf *piece, const struct net_fragment *fragment)
{
    const uint16_t length = (uint16_t)piece->pkt_len;

    if (net_address_is_ip4(&flow->remote)) {
        struct rte_ipv4_hdr *header = (struct rte_ipv4_hdr *)rte_pktmbuf_prepend(piece, sizeof *header);
        ip4_header_write(stack, (uint8_t *)header, flow, protocol, 0, length);
        header->packet_id = (uint16_t)fragment->identifier;
        header->fragment_offset =
            rte_cpu_to_be_16((uint16_t)(fragment->start / 8 | (fragment->more ? RTE_IPV4_HDR_MF_FLAG : 0)));
        header->hdr_checksum = rte_ipv4_cksum(header);
    } else {
        uint8_t *header =
            (uint8_t *)rte_pktmbuf_prepend(piece, sizeof(struct rte_ipv6_hdr) + (uint16_t)NET_FRAGMENT_HEADER6);
        const uint8_t bytes[4] = {protocol, 0, (uint8_t)(fragment->start >> 8),
                                  (uint8_t)(fragment->start | fragment->more)};
        ip6_header_write(header, flow, IPPROTO_FRAGMENT, 0, stack->config.hop_limit,
                         (uint16_t)(length + NET_FRAGMENT_HEADER6));
        memcpy(header + sizeof(struct rte_ipv6_hdr), bytes, 4);
        memcpy(header + sizeof(struct rte_ipv6_hdr) + 4, &fragment->identifier, 4);
    }
    neighbour_output(stack, neighbour, piece);
}

/* REQ RFC8200 4.5-4: of a secret and a number (RFC 7739) [test: net_script/long_echo_is_answered] */
static uint32_t fragment_identifier(struct net_stack *stack, bool ip4)
{
    const uint64_t key[2] = {stack->config.seed[0] ^ UINT64_C(0x66726167), stack->config.seed[1]};
    const uint16_t number = stack->ip4_identifier++;

    return ip4 ? number : (uint32_t)hash_sip(key, &number, sizeof number);
}

void ip_output_long(struct net_stack *stack, const struct net_flow *flow, uint8_t protocol, unsigned interface,
                    uint32_t neighbour, const struct rte_mbuf *chain, uint32_t length)
{
    /* Both families leave as much room as IPv6 has to: a buffer need not be larger than a full segment of TCP. */
    const uint32_t room =
        stack->interfaces[interface].config.mtu - (uint32_t)sizeof(struct rte_ipv6_hdr) - NET_FRAGMENT_HEADER6;
    struct net_fragment fragment = {.identifier = fragment_identifier(stack, net_address_is_ip4(&flow->remote))};

    for (uint32_t here; fragment.start < length; fragment.start += here) {
        struct rte_mbuf *piece = stack_mbuf(stack);
        if (!piece)
            return;
        here = length - fragment.start;
        fragment.more = here > room;
        if (fragment.more)
            here = room & ~7u;
        uint8_t *bytes = (uint8_t *)rte_pktmbuf_append(piece, (uint16_t)here);
        const void *from = rte_pktmbuf_read(chain, fragment.start, here, bytes);
        if (from != bytes)
            memcpy(bytes, from, here);
        if (fragment.start == 0 && !fragment.more)
            ip_output(stack, flow, protocol, 0, neighbour, piece);
        else
            fragment_output(stack, flow, protocol, neighbour, piece, &fragment);
    }
}

/* IPv6 (RFC 8200): header and extension header checks, header writing. Private to lib/net (stack.h); the stack's
 * thread. */
#include "lib/net/ip_header.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>

enum {
    EXTENSIONS_MAX = 4,
    EXTENSION_HOP = 0,
    EXTENSION_ROUTING = 43,
    EXTENSION_FRAGMENT = 44,
    EXTENSION_NONE = 59,
    EXTENSION_DESTINATION = 60,
    OPTION_PAD1 = 0,
    ICMP_PARAMETER = 4,
    CODE_FIELD = 0,
    CODE_NEXT_HEADER = 1,
    CODE_OPTION = 2,
};

static bool extension_refused(struct net_stack *stack, struct net_packet *packet)
{
    DROP(stack, packet->mbuf, drop_ip6_extension);
    return false;
}

/* Refused, and the sender is told which byte is to blame. */
static bool extension_problem(struct net_stack *stack, struct net_packet *packet, uint8_t code, uint32_t pointer)
{
    icmp6_error_send(stack, packet, ICMP_PARAMETER, code, pointer);
    return extension_refused(stack, packet);
}

/*
 * None of the options that exist concerns a host that is no router, so the two highest bits of each decide: skip it,
 * drop the packet in silence, or drop it and tell (a sender to a group only for 10).
 */
/* REQ RFC8200 4.2: as the bits say [test: net_script/options_of_ip6] */
static bool options_acceptable(struct net_stack *stack, struct net_packet *packet, const uint8_t *options,
                               uint32_t length, uint32_t at)
{
    while (length > 0) {
        const uint8_t kind = options[0], action = kind >> 6;
        const uint32_t size = kind == OPTION_PAD1 ? 1 : length >= 2 ? options[1] + 2u : UINT32_MAX;
        if (size > length)
            return extension_refused(stack, packet);
        if (action == 1 || (action == 3 && (packet->flow.local.bytes[0] == 0xff ||
                                            (*rte_pktmbuf_mtod(packet->mbuf, const uint8_t *) & 1))))
            return extension_refused(stack, packet);
        if (action >= 2)
            return extension_problem(stack, packet, CODE_OPTION, at);
        options += size;
        length -= size;
        at += size;
    }
    return true;
}

/* One header; moves on to the next. Hop-by-hop options stand first or not at all. */
/* REQ RFC8200 4.4: none with segments left [test: net_script/extensions_of_ip6] */
static bool extension_skip(struct net_stack *stack, struct net_packet *packet, bool first)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    const uint32_t offset = packet->transport_offset, at = offset - packet->network_offset;
    const uint8_t *extension = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, offset);

    if (packet->transport_length < 8 || offset + 8 > mbuf->data_len)
        return extension_refused(stack, packet);
    const uint32_t size = 8u + 8u * extension[1];
    if (size > packet->transport_length || offset + size > mbuf->data_len)
        return extension_refused(stack, packet);
    if (packet->protocol == EXTENSION_HOP && !first)
        return extension_problem(stack, packet, CODE_NEXT_HEADER, packet->protocol_at);
    if (packet->protocol == EXTENSION_ROUTING && extension[3] != 0)
        return extension_problem(stack, packet, CODE_FIELD, at + 2);
    if (packet->protocol != EXTENSION_ROUTING && !options_acceptable(stack, packet, extension + 2, size - 2, at + 2))
        return false;
    packet->protocol = extension[0];
    packet->protocol_at = (uint16_t)at;
    packet->transport_offset = (uint16_t)(offset + size);
    packet->transport_length = (uint16_t)(packet->transport_length - size);
    return true;
}

/* `first`: they stand right behind the IPv6 header. */
/* REQ RFC8200 4-1: in order, four at most [test: net_script/extensions_of_ip6] */
static bool extensions_skip(struct net_stack *stack, struct net_packet *packet, bool first)
{
    for (int i = 0; i <= EXTENSIONS_MAX; i++) {
        if (packet->protocol != EXTENSION_HOP && packet->protocol != EXTENSION_ROUTING &&
            packet->protocol != EXTENSION_DESTINATION)
            return true;
        if (i < EXTENSIONS_MAX && !extension_skip(stack, packet, first && i == 0))
            return false;
    }
    return extension_refused(stack, packet);
}

/* REQ RFC8200 4-2: with a parameter problem [test: net_script/unknown_next_header] */
void ip6_protocol_unknown(struct net_stack *stack, struct net_packet *packet)
{
    if (packet->protocol != EXTENSION_NONE)
        icmp6_error_send(stack, packet, ICMP_PARAMETER, CODE_NEXT_HEADER, packet->protocol_at);
    DROP(stack, packet->mbuf, drop_ip6_protocol);
}

/* The solicited-node group of one of our addresses, used already or not. */
static bool is_group_of_ours(const struct net_interface_config *interface, const struct net_address *group)
{
    for (unsigned a = 0; a < interface->address_count; a++) {
        const struct net_address *address = &interface->addresses[a].address;
        const struct net_address ours = solicited_node(address);
        if (!net_address_is_ip4(address) && net_address_equal(&ours, group))
            return true;
    }
    return false;
}

static bool destination_is_ours(const struct net_stack *stack, const struct net_packet *packet)
{
    const struct net_address *local = &packet->flow.local;
    static const struct net_address all_nodes = {.bytes = {0xff, 0x02, [15] = 0x01}};

    /* The form that IPv4 has here: no packet of IPv6 goes to such an address (RFC 4291 section 2.5.5.2). */
    if (net_address_is_ip4(local))
        return false;
    if (interface_has_address(stack, packet->interface, local))
        return true;
    /* Only ICMPv6 comes by multicast. */
    return net_address_equal(local, &all_nodes) ||
           (local->bytes[0] == 0xff && is_group_of_ours(&stack->interfaces[packet->interface].config, local));
}

bool ip6_addresses_acceptable(struct net_stack *stack, const struct net_packet *packet)
{
    if (!destination_is_ours(stack, packet)) {
        DROP(stack, packet->mbuf, drop_ip6_not_for_us);
        return false;
    }
    /* Who has no address yet asks from the unspecified one: neighbour discovery takes that, nothing else. */
    if (net_address_is_ip4(&packet->flow.remote) || route_is_local(stack, &packet->flow.remote) ||
        (!net_address_is_any(&packet->flow.remote) && !address_is_unicast(stack, &packet->flow.remote))) {
        DROP(stack, packet->mbuf, drop_ip6_source);
        return false;
    }
    return true;
}

static bool fragment_problem(struct net_stack *stack, struct net_packet *packet, uint32_t pointer)
{
    icmp6_error_send(stack, packet, ICMP_PARAMETER, CODE_FIELD, pointer);
    DROP(stack, packet->mbuf, drop_fragment_malformed);
    return false;
}

/* True: the packet is complete. */
static bool fragment_parse(struct net_stack *stack, struct net_packet *packet)
{
    const uint8_t *header = rte_pktmbuf_mtod_offset(packet->mbuf, const uint8_t *, packet->transport_offset);
    const uint32_t at = (uint32_t)packet->transport_offset - packet->network_offset;

    COUNT(stack, fragments_received);
    if (packet->transport_length < NET_FRAGMENT_HEADER6 ||
        packet->mbuf->data_len < packet->transport_offset + NET_FRAGMENT_HEADER6) {
        DROP(stack, packet->mbuf, drop_fragment_malformed);
        return false;
    }
    const uint32_t field = (uint32_t)header[2] << 8 | header[3];
    struct net_fragment fragment = {.start = field & 0xfff8, .more = field & 1};
    memcpy(&fragment.identifier, header + 4, 4);
    const uint32_t length = packet->transport_length - (uint32_t)NET_FRAGMENT_HEADER6;
    /* REQ RFC8200 4.5-3: the field to blame is named [test: net_script/fragments_of_ip6_that_are_wrong] */
    if (fragment.more && length % 8)
        return fragment_problem(stack, packet, offsetof(struct rte_ipv6_hdr, payload_len));
    if (at - sizeof(struct rte_ipv6_hdr) + fragment.start + length > UINT16_MAX)
        return fragment_problem(stack, packet, at + 2);
    packet->protocol = header[0]; /* what is put together names it where the headers of the first fragment do */
    packet->transport_offset = (uint16_t)(packet->transport_offset + NET_FRAGMENT_HEADER6);
    packet->transport_length = (uint16_t)length;
    /* REQ RFC8200 4.5-1, 4.5-2, 5: put together, no overlap [test: net_script/fragments_of_ip6] */
    return reassembly_input(stack, packet, &fragment);
}

/* REQ RFC8200 3: version 6 [test: net_script/version_of_ip6] */
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
    packet->protocol = header->proto;
    packet->protocol_at = offsetof(struct rte_ipv6_hdr, proto);
    packet->transport_offset = (uint16_t)(packet->network_offset + sizeof *header);
    packet->transport_length = (uint16_t)payload;
    packet->congestion = (rte_be_to_cpu_32(header->vtc_flow) >> 20) & 3;
    if (!extensions_skip(stack, packet, true))
        return false;
    COUNT(stack, ip6_received);
    if (packet->protocol != EXTENSION_FRAGMENT)
        return true;
    /* REQ RFC8200 4.5-1: with headers on both sides [test: net_script/fragments_among_extensions] */
    return fragment_parse(stack, packet) && extensions_skip(stack, packet, false);
}

/* Neighbour discovery (RFC 4861): solicitations and advertisements. Private to lib/net (stack.h); the stack's thread.
 */
#include "lib/net/ip_header.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>

enum {
    ND_SOLICIT = 135,
    ND_ADVERTISE = 136,
    ND_OPTION_SOURCE = 1,
    ND_OPTION_TARGET = 2,
    ND_BYTES = 24,       /* type, code, checksum, flags, target */
    ND_SOLICITED = 0x40, /* flags of an advertisement */
    ND_OVERRIDE = 0x20,
};

static void multicast_mac(const struct net_address *group, uint8_t mac[6])
{
    mac[0] = mac[1] = 0x33;
    memcpy(mac + 2, group->bytes + 12, 4);
}

static struct net_address solicited_node(const struct net_address *target)
{
    struct net_address group = {.bytes = {0xff, 0x02, [11] = 0x01, [12] = 0xff}};
    memcpy(group.bytes + 13, target->bytes + 13, 3);
    return group;
}

/* One message with one link-layer address option, to `destination` in a frame for `mac`. */
static void nd_send(struct net_stack *stack, unsigned interface, uint8_t type, uint8_t flags,
                    const struct net_address *source, const struct net_address *destination,
                    const struct net_address *target, const uint8_t mac[6])
{
    struct rte_mbuf *mbuf = stack_mbuf(stack);
    const uint16_t length = ND_BYTES + 8;
    struct net_flow flow = {.local = *source, .remote = *destination};

    if (!mbuf)
        return;
    uint8_t *header = rte_pktmbuf_mtod(mbuf, uint8_t *);
    mbuf->data_len = mbuf->pkt_len = (uint16_t)(sizeof(struct rte_ipv6_hdr) + length);
    uint8_t *nd = header + sizeof(struct rte_ipv6_hdr);
    ip6_header_write(header, &flow, IPPROTO_ICMPV6, 0, 255, length);
    memset(nd, 0, length);
    nd[0] = type;
    nd[4] = flags;
    memcpy(nd + 8, target->bytes, 16);
    nd[ND_BYTES] = type == ND_SOLICIT ? ND_OPTION_SOURCE : ND_OPTION_TARGET;
    nd[ND_BYTES + 1] = 1;
    memcpy(nd + ND_BYTES + 2, stack->interfaces[interface].config.mac, 6);
    uint16_t sum = rte_ipv6_udptcp_cksum((const struct rte_ipv6_hdr *)header, nd);
    memcpy(nd + 2, &sum, 2);
    ethernet_output(stack, interface, mbuf, mac, RTE_ETHER_TYPE_IPV6);
}

/* REQ RFC4861 7.2.2-1: once a second [test: linux/messages] */
void ndp_solicit(struct net_stack *stack, unsigned interface, const struct net_address *target, const uint8_t *mac)
{
    const struct net_address *source = route_source(stack, interface, target);
    struct net_address group = solicited_node(target);
    uint8_t group_mac[6];

    if (!source)
        return;
    multicast_mac(&group, group_mac);
    COUNT(stack, neighbour_solicitations_sent);
    nd_send(stack, interface, ND_SOLICIT, 0, source, mac ? target : &group, target, mac ? mac : group_mac);
}

/* REQ RFC4861 7.2.6: at start [test: none yet] */
void ndp_announce(struct net_stack *stack, unsigned index)
{
    const struct net_interface_config *interface = &stack->interfaces[index].config;
    struct net_address all = {.bytes = {0xff, 0x02, [15] = 0x01}};
    uint8_t mac[6];

    multicast_mac(&all, mac);
    for (unsigned a = 0; a < interface->address_count; a++) {
        const struct net_address *address = &interface->addresses[a].address;
        if (net_address_is_ip4(address))
            continue;
        COUNT(stack, neighbour_advertisements_sent);
        nd_send(stack, index, ND_ADVERTISE, ND_OVERRIDE, address, &all, address, mac);
    }
}

/* The hardware address in the option of `kind`; NULL: absent. *good is false when an option is malformed. */
/* REQ RFC4861 7.1.2-2: of length zero, or too long [test: none yet] */
static const uint8_t *option_find(const uint8_t *options, size_t length, uint8_t kind, bool *good)
{
    const uint8_t *found = NULL;

    *good = true;
    while (length > 0) {
        size_t size = length >= 2 ? options[1] * 8u : 0;
        if (size == 0 || size > length) {
            *good = false;
            return NULL;
        }
        if (options[0] == kind && size == 8)
            found = options + 2;
        options += size;
        length -= size;
    }
    return found;
}

/* REQ RFC4861 7.2.3, 7.2.4-1: learnt and answered [test: linux/ping] */
static void solicitation(struct net_stack *stack, struct net_packet *packet, const struct net_address *target,
                         const uint8_t *mac)
{
    if (!interface_has_address(stack, packet->interface, target))
        return;
    COUNT(stack, neighbour_solicitations_received);
    if (!mac || net_address_is_any(&packet->flow.remote)) /* duplicate address detection of another: out of scope */
        return;
    neighbour_learn(stack, packet->interface, &packet->flow.remote, mac, true);
    if (stack->config.worker != 0)
        return;
    COUNT(stack, neighbour_advertisements_sent);
    nd_send(stack, packet->interface, ND_ADVERTISE, ND_SOLICITED | ND_OVERRIDE, target, &packet->flow.remote, target,
            mac);
}

/* REQ RFC4861 7.1.1-1: hop limit, code, length, target [test: none yet] */
/* REQ RFC4861 7.2.5-1: nothing is created by it [test: none yet] */
void ndp_input(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const struct rte_ipv6_hdr *header =
        rte_pktmbuf_mtod_offset(mbuf, const struct rte_ipv6_hdr *, packet->network_offset);
    const uint8_t *nd = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, packet->transport_offset);
    uint8_t type = nd[0];
    bool good = header->hop_limits == 255 && nd[1] == 0 && packet->transport_length >= ND_BYTES &&
                mbuf->data_len >= packet->transport_offset + packet->transport_length;

    if (type != ND_SOLICIT && type != ND_ADVERTISE) { /* routers: the default route is configured */
        DROP(stack, mbuf, drop_icmp_type);
        return;
    }
    if (good && nd[8] != 0xff) {
        struct net_address target = net_address_ip6(nd + 8);
        const uint8_t *mac = option_find(nd + ND_BYTES, packet->transport_length - (size_t)ND_BYTES,
                                         type == ND_SOLICIT ? ND_OPTION_SOURCE : ND_OPTION_TARGET, &good);
        if (good && type == ND_SOLICIT)
            solicitation(stack, packet, &target, mac);
        else if (good && mac && !(mac[0] & 1))
            neighbour_learn(stack, packet->interface, &target, mac, false);
    } else {
        good = false;
    }
    if (!good)
        COUNT(stack, drop_neighbour_malformed);
    rte_pktmbuf_free(mbuf);
}

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

/* One message with one link-layer address option (none from the unspecified address), to `destination` in a frame for
 * `mac`. */
static void nd_send(struct net_stack *stack, unsigned interface, uint8_t type, uint8_t flags,
                    const struct net_address *source, const struct net_address *destination,
                    const struct net_address *target, const uint8_t mac[6])
{
    struct rte_mbuf *mbuf = stack_mbuf(stack);
    const uint16_t length = net_address_is_any(source) ? ND_BYTES : ND_BYTES + 8;
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
    if (length > ND_BYTES) {
        nd[ND_BYTES] = type == ND_SOLICIT ? ND_OPTION_SOURCE : ND_OPTION_TARGET;
        nd[ND_BYTES + 1] = 1;
        memcpy(nd + ND_BYTES + 2, stack->interfaces[interface].config.mac, 6);
    }
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

static const struct net_address all_nodes = {.bytes = {0xff, 0x02, [15] = 0x01}};

static void advertise_to_all(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    uint8_t mac[6];

    multicast_mac(&all_nodes, mac);
    COUNT(stack, neighbour_advertisements_sent);
    nd_send(stack, interface, ND_ADVERTISE, ND_OVERRIDE, address, &all_nodes, address, mac);
}

/* REQ RFC4861 7.2.6: at start [test: net_script/link_local_address] */
void ndp_announce(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    advertise_to_all(stack, interface, address);
}

/* RFC 4862 section 5.4.2. */
void ndp_probe(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    static const struct net_address unspecified = NET_ADDRESS_ANY;
    const struct net_address group = solicited_node(address);
    uint8_t mac[6];

    multicast_mac(&group, mac);
    COUNT(stack, neighbour_solicitations_sent);
    nd_send(stack, interface, ND_SOLICIT, 0, &unspecified, &group, address, mac);
}

/* The hardware address in the option of `kind`; NULL: absent. *good is false when an option is malformed. */
/* REQ RFC4861 7.1.2-2: of length zero, or too long [test: net_script/malformed_neighbour_discovery] */
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

/* REQ RFC4861 7.2.3, 7.2.4-1: learnt and answered [test: linux/ping, net_script/solicitation_is_answered] */
/* REQ RFC4861 7.2.4-2: who has no address yet hears it with all others [test: net_script/probe_of_another] */
static void solicitation(struct net_stack *stack, struct net_packet *packet, const struct net_address *target,
                         const uint8_t *mac)
{
    const bool probe = net_address_is_any(&packet->flow.remote);

    if (!interface_has_address(stack, packet->interface, target)) {
        if (probe) /* somebody is about to take what we are about to take */
            own_address_claimed(stack, packet->interface, target);
        return;
    }
    COUNT(stack, neighbour_solicitations_received);
    if (!probe && mac)
        neighbour_learn(stack, packet->interface, &packet->flow.remote, mac, NEIGHBOUR_CREATE | NEIGHBOUR_REPLACE);
    if (stack->config.worker != 0)
        return;
    if (probe) {
        advertise_to_all(stack, packet->interface, target);
        return;
    }
    COUNT(stack, neighbour_advertisements_sent);
    if (!mac) /* who knows our address need not tell its own */
        mac = rte_pktmbuf_mtod(packet->mbuf, const uint8_t *) + 6;
    nd_send(stack, packet->interface, ND_ADVERTISE, ND_SOLICITED | ND_OVERRIDE, target, &packet->flow.remote, target,
            mac);
}

/* REQ RFC4861 7.2.5-1: nothing is created by it [test: net_script/advertisement_flags] */
static void advertisement(struct net_stack *stack, const struct net_packet *packet, const struct net_address *target,
                          const uint8_t *mac, uint8_t flags)
{
    if (own_address_claimed(stack, packet->interface, target))
        return;
    neighbour_learn(stack, packet->interface, target, mac,
                    (flags & ND_SOLICITED ? NEIGHBOUR_CONFIRM : 0u) | (flags & ND_OVERRIDE ? NEIGHBOUR_REPLACE : 0u));
}

static bool is_solicited_node(const struct net_address *address)
{
    static const uint8_t prefix[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};

    return memcmp(address->bytes, prefix, sizeof prefix) == 0;
}

/* REQ RFC4861 7.1.1-1: all but the checksum here [test: net_script/malformed_neighbour_discovery] */
/* REQ RFC4861 7.1.1-2, 7.1.2-1: as they say [test: net_script/malformed_neighbour_discovery] */
static bool message_is_sane(const struct net_packet *packet, const uint8_t *nd, const struct net_address *target,
                            const uint8_t *mac)
{
    const struct net_flow *flow = &packet->flow;
    const bool to_group = flow->local.bytes[0] == 0xff;

    if (target->bytes[0] == 0xff || net_address_is_ip4(target) || (mac && (mac[0] & 1)))
        return false;
    if (nd[0] == ND_ADVERTISE)
        return !(to_group && (nd[4] & ND_SOLICITED)) && !net_address_is_any(&flow->remote);
    return !net_address_is_any(&flow->remote) || (is_solicited_node(&flow->local) && !mac);
}

void ndp_input(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    const struct rte_ipv6_hdr *header = (const struct rte_ipv6_hdr *)(frame + packet->network_offset);
    const uint8_t *nd = frame + packet->transport_offset, *mac = NULL;
    bool good = header->hop_limits == 255 && nd[1] == 0 && packet->transport_length >= ND_BYTES &&
                mbuf->data_len >= packet->transport_offset + packet->transport_length;

    if (nd[0] != ND_SOLICIT && nd[0] != ND_ADVERTISE) { /* routers: the default route is configured */
        DROP(stack, mbuf, drop_icmp_type);
        return;
    }
    if (good)
        mac = option_find(nd + ND_BYTES, packet->transport_length - (size_t)ND_BYTES,
                          nd[0] == ND_SOLICIT ? ND_OPTION_SOURCE : ND_OPTION_TARGET, &good);
    const struct net_address target = net_address_ip6(nd + 8);
    if (!good || !message_is_sane(packet, nd, &target, mac)) {
        DROP(stack, mbuf, drop_neighbour_malformed);
        return;
    }
    if (memcmp(frame + 6, stack->interfaces[packet->interface].config.mac, 6) == 0)
        COUNT(stack, drop_neighbour_malformed); /* our own, sent back by a switch */
    else if (nd[0] == ND_SOLICIT)
        solicitation(stack, packet, &target, mac);
    else
        advertisement(stack, packet, &target, mac, nd[4]);
    rte_pktmbuf_free(mbuf);
}

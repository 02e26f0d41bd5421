/* ARP (RFC 826, 5227 announcements). Private to lib/net (stack.h); the stack's thread. */
#include "lib/net/stack.h"

#include <rte_arp.h>
#include <rte_byteorder.h>
#include <rte_ether.h>

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void arp_send(struct net_stack *stack, unsigned interface, uint16_t operation, uint32_t source, uint32_t target,
                     const uint8_t target_mac[6], const uint8_t frame_mac[6])
{
    struct rte_mbuf *mbuf = stack_mbuf(stack);
    struct rte_arp_hdr *arp;

    if (!mbuf)
        return;
    arp = rte_pktmbuf_mtod(mbuf, struct rte_arp_hdr *);
    mbuf->data_len = mbuf->pkt_len = 46; /* padded to the smallest frame */
    memset(arp, 0, 46);
    arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
    arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    arp->arp_hlen = 6;
    arp->arp_plen = 4;
    arp->arp_opcode = rte_cpu_to_be_16(operation);
    memcpy(arp->arp_data.arp_sha.addr_bytes, stack->interfaces[interface].config.mac, 6);
    arp->arp_data.arp_sip = source;
    memcpy(arp->arp_data.arp_tha.addr_bytes, target_mac, 6);
    arp->arp_data.arp_tip = target;
    ethernet_output(stack, interface, mbuf, frame_mac, RTE_ETHER_TYPE_ARP);
}

/* REQ RFC826 1: with our address [test: net_script/first_packet_waits_for_arp] */
void arp_request(struct net_stack *stack, unsigned interface, const struct net_address *target, const uint8_t *mac)
{
    static const uint8_t unknown[6];
    const struct net_address *source = route_source(stack, interface, target);

    if (!source)
        return;
    COUNT(stack, arp_requests_sent);
    arp_send(stack, interface, RTE_ARP_OP_REQUEST, source->words[3], target->words[3], unknown, mac ? mac : broadcast);
}

/* REQ RFC826 RFC5227-2.3: once, at start [test: net_script/first_packet_waits_for_arp] */
void arp_announce(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    static const uint8_t unknown[6];

    COUNT(stack, arp_requests_sent);
    arp_send(stack, interface, RTE_ARP_OP_REQUEST, address->words[3], address->words[3], unknown, broadcast);
}

/* RFC 5227 section 2.1.1: from 0.0.0.0, so that nobody's table changes. */
void arp_probe(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    static const uint8_t unknown[6];

    COUNT(stack, arp_requests_sent);
    arp_send(stack, interface, RTE_ARP_OP_REQUEST, 0, address->words[3], unknown, broadcast);
}

/* REQ RFC826 4: Ethernet and IPv4 only [test: net_script/arp_is_answered] */
static bool arp_is_sane(const struct rte_arp_hdr *arp)
{
    return arp->arp_hardware == rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) &&
           arp->arp_protocol == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) && arp->arp_hlen == 6 && arp->arp_plen == 4 &&
           !(arp->arp_data.arp_sha.addr_bytes[0] & 1);
}

/* RFC 5227 section 2.1.1: another's packet from our address, or its probe for one that we are about to use. */
static bool claims_ours(struct net_stack *stack, const struct net_packet *packet, const struct rte_arp_hdr *arp,
                        const struct net_address *sender, const struct net_address *target)
{
    const struct net_interface *interface = &stack->interfaces[packet->interface];

    if (memcmp(arp->arp_data.arp_sha.addr_bytes, interface->config.mac, 6) == 0)
        return false;
    if (arp->arp_data.arp_sip == 0)
        return interface->tentative && arp->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) &&
               own_address_claimed(stack, packet->interface, target);
    return own_address_claimed(stack, packet->interface, sender);
}

/* REQ RFC826 2: any packet of a known sender [test: net_script/any_arp_updates_an_entry] */
/* REQ RFC826 3: learnt and answered [test: net_script/arp_is_answered] */
/* REQ RFC826 RFC5227-2.4-1: counted as address_conflicts [test: net_script/address_conflict_is_counted] */
void arp_input(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const struct rte_arp_hdr *arp = rte_pktmbuf_mtod_offset(mbuf, const struct rte_arp_hdr *, packet->network_offset);

    if (mbuf->data_len < packet->network_offset + sizeof *arp || !arp_is_sane(arp)) {
        DROP(stack, mbuf, drop_arp_malformed);
        return;
    }
    struct net_address sender = net_address_ip4(arp->arp_data.arp_sip);
    struct net_address target = net_address_ip4(arp->arp_data.arp_tip);
    bool request = arp->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
    bool for_us = interface_has_address(stack, packet->interface, &target);

    if (!claims_ours(stack, packet, arp, &sender, &target) && address_is_unicast(stack, &sender)) {
        /* A request for us comes before traffic with us: the answer to it will need this entry. */
        neighbour_learn(stack, packet->interface, &sender, arp->arp_data.arp_sha.addr_bytes,
                        NEIGHBOUR_CONFIRM | NEIGHBOUR_REPLACE | (request && for_us ? NEIGHBOUR_CREATE : 0u));
    }
    if (request && for_us) {
        COUNT(stack, arp_requests_received);
        if (stack->config.worker == 0) {
            COUNT(stack, arp_replies_sent);
            arp_send(stack, packet->interface, RTE_ARP_OP_REPLY, target.words[3], sender.words[3],
                     arp->arp_data.arp_sha.addr_bytes, arp->arp_data.arp_sha.addr_bytes);
        }
    }
    rte_pktmbuf_free(mbuf);
}

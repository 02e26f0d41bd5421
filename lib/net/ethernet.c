/* Ethernet with one optional 802.1Q tag, and the transmit bursts. Private to lib/net (stack.h); the stack's thread. */
#include "lib/net/stack.h"

#include <rte_byteorder.h>
#include <rte_ether.h>

static bool destination_is_ours(const struct net_interface *interface, const uint8_t *mac)
{
    return (mac[0] & 1) || memcmp(mac, interface->config.mac, 6) == 0;
}

/* REQ RFC1122 2.3.3: and one 802.1Q tag [test: linux/messages] */
bool ethernet_parse(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const struct net_interface *interface = &stack->interfaces[packet->interface];
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    uint16_t offset = 14, type, vlan = 0;

    if (mbuf->data_len < NET_ETHERNET_MAX + 2) {
        DROP(stack, mbuf, drop_frame_short);
        return false;
    }
    memcpy(&type, frame + 12, 2);
    if (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
        vlan = mbuf->vlan_tci & 0xfff;
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN)) {
        vlan = (uint16_t)((frame[14] & 0x0f) << 8 | frame[15]);
        memcpy(&type, frame + 16, 2);
        offset = 18;
    }
    if (vlan != interface->config.vlan) {
        DROP(stack, mbuf, drop_vlan);
        return false;
    }
    if (!destination_is_ours(interface, frame)) {
        DROP(stack, mbuf, drop_not_for_us_mac);
        return false;
    }
    packet->network_offset = offset;
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) {
        /* REQ RFC1122 2.4: nothing of IPv4 is taken [test: net_script/link_broadcast_is_dropped] */
        if (!(frame[0] & 1))
            return ip4_parse(stack, packet);
        DROP(stack, mbuf, drop_ip4_link_broadcast);
        return false;
    }
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
        return ip6_parse(stack, packet);
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP))
        arp_input(stack, packet);
    else
        DROP(stack, mbuf, drop_ethertype);
    return false;
}

void ethernet_flush(struct net_stack *stack, unsigned index)
{
    struct net_interface *interface = &stack->interfaces[index];
    uint16_t count = interface->burst_count;
    uint16_t sent;

    if (count == 0)
        return;
    interface->burst_count = 0;
    sent = stack->config.transmit(stack->config.arg, index, interface->burst, count);
    COUNT_ADD(stack, frames_sent, sent);
    COUNT_ADD(stack, drop_transmit_full, (uint64_t)count - sent);
    for (uint16_t i = sent; i < count; i++)
        rte_pktmbuf_free(interface->burst[i]);
    interface->held = stack->config.ready != NULL && !stack->config.ready(stack->config.arg, index);
}

void ethernet_header_write(const struct net_interface *interface, uint8_t *link, const uint8_t mac[6], uint16_t type)
{
    memcpy(link, mac, 6);
    memcpy(link + 6, interface->config.mac, 6);
    link += 12;
    if (interface->config.vlan) {
        link[0] = 0x81;
        link[1] = 0x00;
        link[2] = (uint8_t)(interface->config.vlan >> 8);
        link[3] = (uint8_t)interface->config.vlan;
        link += 4;
    }
    link[0] = (uint8_t)(type >> 8);
    link[1] = (uint8_t)type;
}

void ethernet_output_ready(struct net_stack *stack, unsigned index, struct rte_mbuf *mbuf, const uint8_t *link)
{
    struct net_interface *interface = &stack->interfaces[index];
    uint8_t *frame = (uint8_t *)rte_pktmbuf_prepend(mbuf, interface->link_length);

    if (!frame) {
        DROP(stack, mbuf, drop_no_memory);
        return;
    }
    mbuf->l2_len = interface->link_length;
    if (__builtin_expect(interface->link_length == 14, 1))
        memcpy(frame, link, 14);
    else
        memcpy(frame, link, 18);
    COUNT_ADD(stack, bytes_sent, mbuf->pkt_len);
    interface->burst[interface->burst_count++] = mbuf;
    if (interface->burst_count == NET_BURST)
        ethernet_flush(stack, index);
}

void ethernet_output(struct net_stack *stack, unsigned index, struct rte_mbuf *mbuf, const uint8_t mac[6],
                     uint16_t type)
{
    uint8_t link[NET_ETHERNET_MAX];

    ethernet_header_write(&stack->interfaces[index], link, mac, type);
    ethernet_output_ready(stack, index, mbuf, link);
}

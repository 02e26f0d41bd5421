/*
 * Frames in: parse a group, prefetch what it will touch, then process. Interface: net_input() of net.h. Private to
 * lib/net (stack.h); the stack's thread.
 *
 * Two ways in. The plain one is for what a busy worker gets: untagged, TCP right behind an IPv4 header without options
 * or an IPv6 header without extensions, in one buffer. It looks at each field once and leaves the addresses unchecked,
 * since those of an open connection are known to be good. Everything else goes layer by layer.
 */
#include "lib/net/tcp_internal.h"

#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>

/* What nobody here speaks. UDP is known, but has no ports. */
/* REQ RFC1122 3.2.2.1: both [test: net_script/unreachable_is_told] */
/* REQ RFC4443 3.1: for UDP, TCP answers by RST [test: net_script/unreachable_is_told] */
static void protocol_unknown(struct net_stack *stack, struct net_packet *packet)
{
    enum { UNREACHABLE4 = 3, CODE4_PROTOCOL = 2, CODE4_PORT = 3, UNREACHABLE6 = 1, CODE6_PORT = 4 };
    const bool udp = packet->protocol == IPPROTO_UDP;

    if (net_address_is_ip4(&packet->flow.local)) {
        icmp4_error_send(stack, packet, UNREACHABLE4, udp ? CODE4_PORT : CODE4_PROTOCOL);
        DROP(stack, packet->mbuf, drop_ip4_protocol);
    } else if (udp) {
        icmp6_error_send(stack, packet, UNREACHABLE6, CODE6_PORT, 0);
        DROP(stack, packet->mbuf, drop_ip6_protocol);
    } else {
        ip6_protocol_unknown(stack, packet);
    }
}

static bool packet_dispatch(struct net_stack *stack, struct net_packet *packet)
{
    switch (packet->protocol) {
    case IPPROTO_TCP:
        if (*rte_pktmbuf_mtod(packet->mbuf, const uint8_t *) & 1) { /* many got it: IPv6, IPv4 does not come so far */
            DROP(stack, packet->mbuf, drop_ip6_not_for_us);
            return false;
        }
        return tcp_parse(stack, packet);
    case IPPROTO_ICMP:
        if (net_address_is_ip4(&packet->flow.local)) {
            icmp4_input(stack, packet);
            return false;
        }
        break;
    case IPPROTO_ICMPV6:
        if (!net_address_is_ip4(&packet->flow.local)) {
            icmp6_input(stack, packet);
            return false;
        }
        break;
    default:
        break;
    }
    protocol_unknown(stack, packet);
    return false;
}

/* Steering saw fragments and went by the addresses: now that the ports are known, the packet goes where they belong. */
static bool redirected(struct net_stack *stack, const struct net_packet *packet)
{
    const struct net_config *config = &stack->config;

    if (!packet->reassembled || !config->redirect || tcp_flow_is_ours(stack, &packet->flow))
        return false;
    COUNT(stack, fragments_redirected);
    config->redirect(config->arg, config->flow_owner(config->arg, net_flow_hash(&packet->flow, config->rss_key)),
                     packet->interface, packet->mbuf);
    return true;
}

static bool frame_parse(struct net_stack *stack, unsigned interface, struct rte_mbuf *mbuf, struct net_packet *packet)
{
    if (mbuf->priv_size < NET_MBUF_PRIVATE) {
        DROP(stack, mbuf, drop_no_private_area);
        return false;
    }
    packet->mbuf = mbuf;
    packet->interface = (uint8_t)interface;
    packet->plain = packet->reassembled = false;
    return ethernet_parse(stack, packet) && packet_dispatch(stack, packet) && !redirected(stack, packet);
}

/* ---- The plain way. */

static bool ip4_checksum_known_good(uint32_t offloads, uint64_t flags)
{
    return (offloads & NET_OFFLOAD_RX_TRUSTED) ||
           ((offloads & NET_OFFLOAD_RX_CHECKSUM) &&
            (flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD);
}

static bool plain_ip4(const struct net_interface *interface, struct net_packet *packet)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    const struct rte_ipv4_hdr *header = rte_pktmbuf_mtod_offset(mbuf, const struct rte_ipv4_hdr *, 14);
    const uint32_t total = rte_be_to_cpu_16(header->total_length);

    if (header->version_ihl != 0x45 || header->next_proto_id != IPPROTO_TCP ||
        (header->fragment_offset & rte_cpu_to_be_16((uint16_t)~RTE_IPV4_HDR_DF_FLAG)) || total < 40 ||
        total + 14 > mbuf->data_len)
        return false;
    if (!ip4_checksum_known_good(interface->config.offloads, mbuf->ol_flags) &&
        rte_raw_cksum(header, sizeof *header) != 0xffff)
        return false;
    packet->flow.remote = net_address_ip4(header->src_addr);
    packet->flow.local = net_address_ip4(header->dst_addr);
    packet->congestion = header->type_of_service & 3;
    packet->transport_offset = 34;
    packet->transport_length = (uint16_t)(total - 20);
    return true;
}

static bool plain_ip6(struct net_packet *packet)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    const struct rte_ipv6_hdr *header = rte_pktmbuf_mtod_offset(mbuf, const struct rte_ipv6_hdr *, 14);
    const uint32_t payload = rte_be_to_cpu_16(header->payload_len), first = rte_be_to_cpu_32(header->vtc_flow);

    if (first >> 28 != 6 || header->proto != IPPROTO_TCP || payload < 20 || payload + 54 > mbuf->data_len)
        return false;
    packet->flow.remote = net_address_ip6(header->src_addr);
    packet->flow.local = net_address_ip6(header->dst_addr);
    if (net_address_is_ip4(&packet->flow.local)) /* must not be taken for a flow of IPv4 */
        return false;
    packet->congestion = (first >> 20) & 3;
    packet->transport_offset = 54;
    packet->transport_length = (uint16_t)payload;
    return true;
}

/* False: nothing is decided, the long way is to look at it. */
static bool plain_parse(const struct net_interface *interface, unsigned index, struct rte_mbuf *mbuf,
                        struct net_packet *packet)
{
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    uint64_t head;
    uint16_t type;
    bool plain = false;

    if (mbuf->nb_segs != 1 || mbuf->data_len < 54 || interface->config.vlan || mbuf->priv_size < NET_MBUF_PRIVATE ||
        (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED))
        return false;
    memcpy(&head, frame, 8);
    memcpy(&type, frame + 12, 2);
    if ((head ^ interface->mac_word) << 16) /* the address is in the lower six bytes */
        return false;
    packet->mbuf = mbuf;
    packet->interface = (uint8_t)index;
    packet->network_offset = 14;
    packet->protocol = IPPROTO_TCP;
    packet->plain = true;
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
        plain = plain_ip4(interface, packet);
    else if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6) && mbuf->data_len >= 74)
        plain = plain_ip6(packet);
    return plain;
}

/* ---- Groups. */

static bool frame_input(struct net_stack *stack, unsigned index, struct rte_mbuf *mbuf, struct net_packet *packet)
{
    if (__builtin_expect(!plain_parse(&stack->interfaces[index], index, mbuf, packet), 0))
        return frame_parse(stack, index, mbuf, packet);
    if (net_address_is_ip4(&packet->flow.local))
        COUNT(stack, ip4_received);
    else
        COUNT(stack, ip6_received);
    return tcp_parse(stack, packet);
}

/* The connection that the segment is likely to be for, or NULL. */
static const struct tcp_connection *connection_expect(const struct net_stack *stack, const struct net_packet *packet)
{
    uint32_t position = packet->hash;
    uint32_t reference = flow_table_candidate(&stack->flows, packet->hash, &position);

    if (!reference || flow_reference_kind(reference) != FLOW_CONNECTION)
        return NULL;
    const struct tcp_connection *connection = &stack->connections[flow_reference_index(reference)];
    connection_prefetch(connection);
    return connection;
}

/* What the connection points to and its segment is about to need: what it acknowledges, and who reads it. */
static void segment_prefetch(const struct tcp_connection *connection)
{
    if (connection == NULL)
        return;
    rte_prefetch0(connection->user);
    if (connection->send_head) {
        rte_prefetch0(connection->send_head);
        rte_prefetch0(segment_mbuf(connection->send_head));
    }
}

static void input_group(struct net_stack *stack, unsigned interface, struct rte_mbuf **mbufs, unsigned count)
{
    struct net_packet packets[NET_PREFETCH];
    const struct tcp_connection *connections[NET_PREFETCH];
    unsigned segments = 0;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        const uint8_t *frame = rte_pktmbuf_mtod(mbufs[i], uint8_t *);
        rte_prefetch0(frame);
        rte_prefetch0(frame + 64); /* the headers' end and the payload's beginning */
        rte_prefetch0(mbuf_segment(mbufs[i]));
    }
    for (unsigned i = 0; i < count; i++) {
        bytes += mbufs[i]->pkt_len;
        if (frame_input(stack, interface, mbufs[i], &packets[segments])) {
            flow_table_prefetch(&stack->flows, packets[segments].hash);
            segments++;
        }
    }
    COUNT_ADD(stack, frames_received, count);
    COUNT_ADD(stack, bytes_received, bytes);
    for (unsigned i = 0; i < segments; i++)
        connections[i] = connection_expect(stack, &packets[i]);
    for (unsigned i = 0; i < segments && i < NET_PREFETCH_NEAR; i++)
        segment_prefetch(connections[i]);
    for (unsigned i = 0; i < segments; i++) {
        if (i + NET_PREFETCH_NEAR < segments)
            segment_prefetch(connections[i + NET_PREFETCH_NEAR]);
        tcp_input(stack, &packets[i]);
    }
}

void net_input(struct net_stack *stack, unsigned interface, struct rte_mbuf **mbufs, unsigned count, uint64_t now)
{
    stack_set_now(stack, now);
    stack_pressure_update(stack);
    for (unsigned done = 0; done < count; done += NET_PREFETCH)
        input_group(stack, interface, mbufs + done, count - done < NET_PREFETCH ? count - done : NET_PREFETCH);
}

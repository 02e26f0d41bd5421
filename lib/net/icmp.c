/*
 * ICMP and ICMPv6: echo, and errors about our connections (validated after RFC 5927). Neighbour discovery goes to
 * ndp.c. Private to lib/net (stack.h); the stack's thread.
 */
#include "lib/net/stack.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_icmp.h>
#include <rte_ip.h>

enum {
    ICMP4_ECHO_REPLY = 0,
    ICMP4_UNREACHABLE = 3,
    ICMP4_ECHO = 8,
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_ECHO = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_ND_FIRST = 133,
    ICMP6_ND_LAST = 137,
};

/* REQ RFC4443 2.3: over the pseudo header [test: none yet] */
static uint16_t icmp6_checksum(const struct net_packet *packet)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16(packet->transport_length)};
    uint16_t body = 0;

    memcpy(pseudo.src_addr, packet->flow.remote.bytes, 16);
    memcpy(pseudo.dst_addr, packet->flow.local.bytes, 16);
    rte_raw_cksum_mbuf(mbuf, packet->transport_offset, packet->transport_length, &body);
    uint32_t sum = (uint32_t)body + rte_ipv6_phdr_cksum(&pseudo, 0);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Send the request back as it came, type and checksum adjusted. Broadcast and multicast requests are not answered. */
/* REQ RFC1122 3.2.2.6-1, 3.2.2.6-2: sent back as it came [test: linux/ping, net_script/echo_is_answered] */
/* REQ RFC1122 3.2.2.6-3: not to groups [test: none yet] */
/* REQ RFC4443 4.2: sent back as it came [test: linux/ping] */
static void echo(struct net_stack *stack, struct net_packet *packet, uint8_t reply, uint8_t protocol)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    unsigned interface;
    int neighbour;

    COUNT(stack, icmp_echo_received);
    if (!interface_has_address(stack, packet->interface, &packet->flow.local) ||
        (neighbour = neighbour_toward(stack, &packet->flow.remote, &interface)) == NET_NONE) {
        rte_pktmbuf_free(mbuf);
        return;
    }
    rte_pktmbuf_adj(mbuf, packet->transport_offset);
    rte_pktmbuf_trim(mbuf, (uint16_t)(mbuf->pkt_len - packet->transport_length));
    struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(mbuf, struct rte_icmp_hdr *);
    uint16_t before, after;
    memcpy(&before, icmp, 2);
    icmp->icmp_type = reply;
    memcpy(&after, icmp, 2);
    /* RFC 1624: HC' = ~(~HC + ~m + m') */
    uint32_t sum = (uint16_t)~icmp->icmp_cksum + (uint32_t)(uint16_t)~before + after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    icmp->icmp_cksum = (uint16_t)~sum;
    mbuf->ol_flags = 0;
    COUNT(stack, icmp_echo_sent);
    ip_output(stack, &packet->flow, protocol, 0, (uint32_t)neighbour, mbuf);
}

/* REQ RFC9293 MUST-55: dropped like all it does not know [test: none yet] */
/* REQ RFC5927 6.1: dropped like all it does not know [test: none yet] */
/* REQ RFC1122 3.2.2-2: dropped like all it does not know [test: none yet] */
void icmp4_input(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    uint16_t sum = 0;

    if (packet->transport_length < 8 || mbuf->data_len < packet->transport_offset + 8) {
        DROP(stack, mbuf, drop_icmp_malformed);
        return;
    }
    rte_raw_cksum_mbuf(mbuf, packet->transport_offset, packet->transport_length, &sum);
    if (sum != 0xffff) {
        DROP(stack, mbuf, drop_icmp_checksum);
        return;
    }
    const uint8_t *icmp = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, packet->transport_offset);
    switch (icmp[0]) {
    case ICMP4_ECHO:
        if (mbuf->nb_segs == 1) {
            echo(stack, packet, ICMP4_ECHO_REPLY, IPPROTO_ICMP);
            return;
        }
        break;
    default:
        break;
    }
    DROP(stack, mbuf, drop_icmp_type);
}

void icmp6_input(struct net_stack *stack, struct net_packet *packet)
{
    struct rte_mbuf *mbuf = packet->mbuf;

    if (packet->transport_length < 8 || mbuf->data_len < packet->transport_offset + 8) {
        DROP(stack, mbuf, drop_icmp_malformed);
        return;
    }
    if (icmp6_checksum(packet) != 0xffff) {
        DROP(stack, mbuf, drop_icmp_checksum);
        return;
    }
    const uint8_t *icmp = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, packet->transport_offset);
    if (icmp[0] >= ICMP6_ND_FIRST && icmp[0] <= ICMP6_ND_LAST)
        ndp_input(stack, packet);
    else if (icmp[0] == ICMP6_ECHO && mbuf->nb_segs == 1)
        echo(stack, packet, ICMP6_ECHO_REPLY, IPPROTO_ICMPV6);
    else
        DROP(stack, mbuf, drop_icmp_type);
}

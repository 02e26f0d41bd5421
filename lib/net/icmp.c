/*
 * ICMP and ICMPv6: echo, and errors about our connections (validated after RFC 5927). Neighbour discovery goes to
 * ndp.c. Private to lib/net (stack.h); the stack's thread.
 */
#include "lib/net/tcp_internal.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_icmp.h>
#include <rte_ip.h>

enum {
    ICMP4_ECHO_REPLY = 0,
    ICMP4_UNREACHABLE = 3,
    ICMP4_ECHO = 8,
    ICMP4_TIME_EXCEEDED = 11,
    ICMP4_PARAMETER = 12,
    ICMP4_CODE_PROTOCOL = 2,
    ICMP4_CODE_PORT = 3,
    ICMP4_CODE_TOO_BIG = 4,
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER = 4,
    ICMP6_CODE_PORT = 4,
    ICMP6_CODE_NEXT_HEADER = 1,
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

/* REQ RFC4443 2.4-2, 2.4-3: echo replies alone, and those bounded [test: net_script/echo_rate_is_bounded] */
static bool echo_allowed(struct net_stack *stack)
{
    if (stack->tick - stack->echo_tick >= 1000000u >> TIMER_TICK_SHIFT) {
        stack->echo_tick = stack->tick;
        stack->echo_left = stack->config.echo_replies;
    }
    if (stack->echo_left == 0)
        return false;
    stack->echo_left--;
    return true;
}

static uint16_t read16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t read32(const uint8_t *bytes)
{
    return (uint32_t)read16(bytes) << 16 | read16(bytes + 2);
}

/* The packet that an error quotes: addresses and the first eight bytes of TCP. False: it quotes nothing of ours. */
static bool quoted_packet(const uint8_t *quoted, size_t length, bool ip4, struct tcp_icmp *error)
{
    size_t header = 40;

    if (ip4) {
        header = length ? (quoted[0] & 15) * 4u : 0;
        if (header < 20 || length < header + 8 || quoted[9] != IPPROTO_TCP)
            return false;
        uint32_t source, destination;
        memcpy(&source, quoted + 12, 4);
        memcpy(&destination, quoted + 16, 4);
        error->flow.local = net_address_ip4(source);
        error->flow.remote = net_address_ip4(destination);
        error->quoted_length = read16(quoted + 2);
    } else {
        if (length < header + 8 || quoted[6] != IPPROTO_TCP)
            return false;
        error->flow.local = net_address_ip6(quoted + 8);
        error->flow.remote = net_address_ip6(quoted + 24);
        error->quoted_length = read16(quoted + 4) + 40u;
    }
    error->flow.local_port = read16(quoted + header);
    error->flow.remote_port = read16(quoted + header + 2);
    error->sequence = read32(quoted + header + 4);
    return true;
}

static void error_input(struct net_stack *stack, struct net_packet *packet, const uint8_t *icmp,
                        enum tcp_icmp_kind kind, uint32_t mtu)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    const size_t here = mbuf->data_len - packet->transport_offset;
    const size_t length = packet->transport_length < here ? packet->transport_length : here;
    struct tcp_icmp error = {.kind = kind, .mtu = mtu};

    if (quoted_packet(icmp + 8, length - 8, net_address_is_ip4(&packet->flow.local), &error)) {
        tcp_icmp_input(stack, &error);
        rte_pktmbuf_free(packet->mbuf);
    } else {
        DROP(stack, packet->mbuf, drop_icmp_unmatched);
    }
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
    if (!echo_allowed(stack)) {
        DROP(stack, mbuf, drop_icmp_rate);
        return;
    }
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

/* REQ RFC1122 3.2.2-1: nothing answers an error, and no error is sent [test: none yet] */
/* REQ RFC5927 6.1: dropped like all it does not know [test: net_script/source_quench_ignored] */
/* REQ RFC1122 3.2.2-2: dropped like all it does not know [test: net_script/source_quench_ignored] */
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
    case ICMP4_UNREACHABLE:
        if (icmp[1] == ICMP4_CODE_TOO_BIG)
            error_input(stack, packet, icmp, TCP_ICMP_TOO_BIG, read16(icmp + 6));
        else
            error_input(stack, packet, icmp,
                        icmp[1] == ICMP4_CODE_PROTOCOL || icmp[1] == ICMP4_CODE_PORT ? TCP_ICMP_HARD : TCP_ICMP_SOFT,
                        0);
        return;
    case ICMP4_TIME_EXCEEDED:
    case ICMP4_PARAMETER:
        error_input(stack, packet, icmp, TCP_ICMP_SOFT, 0);
        return;
    default: /* REQ RFC9293 MUST-55: source quench is ignored, RFC 6633 [test: net_script/source_quench_ignored] */
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
    else if (icmp[0] == ICMP6_TOO_BIG)
        error_input(stack, packet, icmp, TCP_ICMP_TOO_BIG, read32(icmp + 4));
    else if (icmp[0] == ICMP6_UNREACHABLE)
        error_input(stack, packet, icmp, icmp[1] == ICMP6_CODE_PORT ? TCP_ICMP_HARD : TCP_ICMP_SOFT, 0);
    else if (icmp[0] == ICMP6_PARAMETER)
        error_input(stack, packet, icmp, icmp[1] == ICMP6_CODE_NEXT_HEADER ? TCP_ICMP_HARD : TCP_ICMP_SOFT, 0);
    else if (icmp[0] == ICMP6_TIME_EXCEEDED)
        error_input(stack, packet, icmp, TCP_ICMP_SOFT, 0);
    else if (icmp[0] == ICMP6_ECHO && mbuf->nb_segs == 1)
        echo(stack, packet, ICMP6_ECHO_REPLY, IPPROTO_ICMPV6);
    else
        DROP(stack, mbuf, drop_icmp_type);
}

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
    ICMP6_PARAMETER = 4,
    ICMP6_CODE_PORT = 4,
    ICMP6_CODE_NEXT_HEADER = 1,
    ICMP6_CODE_OPTION = 2,
    ICMP6_ECHO = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_LISTENER_QUERY = 130,
    ICMP6_ND_FIRST = 133,
    ICMP6_ND_LAST = 137,
};

/* REQ RFC4443 2.3: over the pseudo header [test: net_script/icmp6_checksum_is_checked] */
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

/* REQ RFC4443 2.4-3: one budget a second for all [test: net_script/echo_rate_is_bounded] */
static bool answer_allowed(struct net_stack *stack)
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

static bool is_group(const struct net_address *address)
{
    return address->bytes[0] == 0xff;
}

/* The way of an answer: from the address that was asked, or from one of ours if that was a group. False: from none. */
static bool answer_flow(const struct net_stack *stack, const struct net_packet *packet, struct net_flow *flow)
{
    const struct net_address *source;

    *flow = packet->flow;
    if (is_group(&flow->local)) {
        if (!(source = route_source(stack, packet->interface, &flow->remote)))
            return false;
        flow->local = *source;
    }
    return interface_has_address(stack, packet->interface, &flow->local);
}

/*
 * RFC 1624: HC' = ~(~HC + ~m + m'), word by word. It knows no difference between the two zeros of one's complement; all
 * ones are right for both, where zero would be wrong for a message of nothing but zeros.
 */
static uint16_t checksum_adjust(uint16_t checksum, const void *before, const void *after, size_t bytes)
{
    uint32_t sum = (uint16_t)~checksum;

    for (size_t i = 0; i < bytes; i += 2) {
        uint16_t from, to;
        memcpy(&from, (const uint8_t *)before + i, 2);
        memcpy(&to, (const uint8_t *)after + i, 2);
        sum += (uint16_t)~from + (uint32_t)to;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff ? 0xffff : (uint16_t)~sum;
}

/* Send the request back as it came, type and checksum adjusted; in fragments if it is too long. */
/* REQ RFC1122 3.2.2.6-1, 3.2.2.6-2: sent back as it came [test: linux/ping, net_script/echo_is_answered] */
/* REQ RFC1122 3.2.2.6-2: however long it is [test: linux/ping, net_script/long_echo_is_answered] */
/* REQ RFC1122 3.2.2.6-3: ip4_parse() takes none [test: net_script/link_broadcast_is_dropped] */
/* REQ RFC4443 4.2-2: from an address of ours [test: net_script/echo_to_groups] */
/* REQ RFC4443 4.2-1: sent back as it came [test: linux/ping, net_script/long_echo_is_answered] */
static void echo(struct net_stack *stack, struct net_packet *packet, uint8_t reply, uint8_t protocol)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    unsigned interface = packet->interface;
    struct net_flow flow;
    int neighbour;

    COUNT(stack, icmp_echo_received);
    if (!answer_allowed(stack)) {
        DROP(stack, mbuf, drop_icmp_rate);
        return;
    }
    if (!answer_flow(stack, packet, &flow) ||
        (neighbour = neighbour_toward(stack, &flow.remote, &interface)) == NET_NONE) {
        rte_pktmbuf_free(mbuf);
        return;
    }
    rte_pktmbuf_adj(mbuf, packet->transport_offset);
    struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(mbuf, struct rte_icmp_hdr *);
    uint16_t before, after;
    memcpy(&before, icmp, 2);
    icmp->icmp_type = reply;
    memcpy(&after, icmp, 2);
    icmp->icmp_cksum = checksum_adjust(icmp->icmp_cksum, &before, &after, 2);
    if (is_group(&packet->flow.local)) /* the pseudo header counts */
        icmp->icmp_cksum = checksum_adjust(icmp->icmp_cksum, packet->flow.local.bytes, flow.local.bytes, 16);
    COUNT(stack, icmp_echo_sent);
    if (mbuf->nb_segs > 1) {
        ip_output_long(stack, &flow, protocol, interface, (uint32_t)neighbour, mbuf, packet->transport_length);
        rte_pktmbuf_free(mbuf);
        return;
    }
    rte_pktmbuf_trim(mbuf, (uint16_t)(mbuf->pkt_len - packet->transport_length));
    mbuf->ol_flags = 0;
    ip_output(stack, &flow, protocol, 0, (uint32_t)neighbour, mbuf);
}

/* ---- Errors that we send. */

/* How much of a packet an error quotes: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c). */
enum { ICMP_HEADER = 8, ERROR_MAX4 = 576, ERROR_MAX6 = 1280 };

static bool went_to_many(const struct net_packet *packet)
{
    return (*rte_pktmbuf_mtod(packet->mbuf, const uint8_t *) & 1) || is_group(&packet->flow.local);
}

/* The message: header, and as much of the packet as fits. NULL: none may be sent, or there is no buffer. */
static struct rte_mbuf *error_make(struct net_stack *stack, const struct net_packet *packet, uint32_t most)
{
    uint32_t length = packet->mbuf->pkt_len - packet->network_offset;
    struct rte_mbuf *mbuf;

    if (!address_is_unicast(stack, &packet->flow.remote))
        return NULL;
    if (!answer_allowed(stack)) {
        COUNT(stack, drop_icmp_rate);
        return NULL;
    }
    if (!(mbuf = stack_mbuf(stack)))
        return NULL;
    if (length > packet->transport_offset + (uint32_t)packet->transport_length - packet->network_offset)
        length = packet->transport_offset + (uint32_t)packet->transport_length - packet->network_offset;
    if (most > rte_pktmbuf_tailroom(mbuf)) /* buffers may be as small as a full segment */
        most = rte_pktmbuf_tailroom(mbuf);
    if (length > most - ICMP_HEADER)
        length = most - ICMP_HEADER;
    uint8_t *bytes = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(ICMP_HEADER + length));
    memset(bytes, 0, ICMP_HEADER);
    const void *quoted = rte_pktmbuf_read(packet->mbuf, packet->network_offset, length, bytes + ICMP_HEADER);
    if (quoted != bytes + ICMP_HEADER)
        memcpy(bytes + ICMP_HEADER, quoted, length);
    return mbuf;
}

static void error_output(struct net_stack *stack, const struct net_packet *packet, const struct net_flow *flow,
                         uint8_t protocol, struct rte_mbuf *mbuf)
{
    unsigned interface = packet->interface;
    const int neighbour = neighbour_toward(stack, &flow->remote, &interface);

    if (neighbour == NET_NONE) {
        rte_pktmbuf_free(mbuf);
        return;
    }
    COUNT(stack, icmp_errors_sent);
    ip_output(stack, flow, protocol, 0, (uint32_t)neighbour, mbuf);
}

static bool quotes_an_error4(const struct net_packet *packet)
{
    const uint8_t *icmp = rte_pktmbuf_mtod_offset(packet->mbuf, const uint8_t *, packet->transport_offset);

    return packet->protocol == IPPROTO_ICMP && icmp[0] != ICMP4_ECHO;
}

/* REQ RFC1122 3.2.2-1: nor about what went to many [test: net_script/errors_that_are_not_sent] */
void icmp4_error_send(struct net_stack *stack, const struct net_packet *packet, uint8_t type, uint8_t code)
{
    struct rte_mbuf *mbuf;

    if (went_to_many(packet) || quotes_an_error4(packet) ||
        !(mbuf = error_make(stack, packet, ERROR_MAX4 - sizeof(struct rte_ipv4_hdr))))
        return;
    struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod(mbuf, struct rte_icmp_hdr *);
    icmp->icmp_type = type;
    icmp->icmp_code = code;
    icmp->icmp_cksum = (uint16_t)~rte_raw_cksum(icmp, mbuf->data_len);
    error_output(stack, packet, &packet->flow, IPPROTO_ICMP, mbuf);
}

/* An error behind extension headers, which only the last of them tells. */
static bool quotes_an_error6(const struct net_packet *packet)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    const uint8_t *ip = rte_pktmbuf_mtod_offset(mbuf, const uint8_t *, packet->network_offset);
    const uint32_t room = mbuf->data_len - packet->network_offset;
    uint32_t offset = sizeof(struct rte_ipv6_hdr);
    uint8_t next = ip[6];

    while (
        (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT || next == IPPROTO_DSTOPTS) &&
        offset + 2 < room) {
        const uint8_t more = next == IPPROTO_FRAGMENT ? 0 : ip[offset + 1]; /* there it is reserved */
        next = ip[offset];
        offset += 8u + 8u * more;
    }
    return next == IPPROTO_ICMPV6 && (offset >= room || ip[offset] < ICMP6_ECHO);
}

/* REQ RFC4443 2.4-2: an option that asks for it is the exception [test: net_script/errors_that_are_not_sent] */
void icmp6_error_send(struct net_stack *stack, const struct net_packet *packet, uint8_t type, uint8_t code,
                      uint32_t pointer)
{
    struct rte_mbuf *mbuf;
    struct net_flow flow;
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6};

    if ((went_to_many(packet) && !(type == ICMP6_PARAMETER && code == ICMP6_CODE_OPTION)) || quotes_an_error6(packet) ||
        !answer_flow(stack, packet, &flow) || !(mbuf = error_make(stack, packet, ERROR_MAX6 - sizeof pseudo)))
        return;
    uint8_t *icmp = rte_pktmbuf_mtod(mbuf, uint8_t *);
    icmp[0] = type;
    icmp[1] = code;
    pointer = rte_cpu_to_be_32(pointer);
    memcpy(icmp + 4, &pointer, 4);
    pseudo.payload_len = rte_cpu_to_be_16(mbuf->data_len);
    memcpy(pseudo.src_addr, flow.local.bytes, 16);
    memcpy(pseudo.dst_addr, flow.remote.bytes, 16);
    const uint16_t sum = rte_ipv6_udptcp_cksum(&pseudo, icmp);
    memcpy(icmp + 2, &sum, 2);
    error_output(stack, packet, &flow, IPPROTO_ICMPV6, mbuf);
}

/* ---- What arrives. */

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
        echo(stack, packet, ICMP4_ECHO_REPLY, IPPROTO_ICMP);
        return;
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

/* REQ RFC4443 2.4-1: as it says [test: net_script/unknown_icmp6] */
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
    else if (net_address_is_any(&packet->flow.remote))
        DROP(stack, mbuf, drop_ip6_source);
    else if (icmp[0] < ICMP6_ECHO) /* a kind of error that came later is one all the same */
        error_input(stack, packet, icmp, TCP_ICMP_SOFT, 0);
    else if (icmp[0] == ICMP6_LISTENER_QUERY && answer_allowed(stack))
        mld_query_input(stack, packet);
    else if (icmp[0] == ICMP6_ECHO)
        echo(stack, packet, ICMP6_ECHO_REPLY, IPPROTO_ICMPV6);
    else
        DROP(stack, mbuf, drop_icmp_type);
}

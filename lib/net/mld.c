/*
 * Multicast listener discovery, host side (RFC 3810): the groups that neighbour discovery needs are reported, or
 * switches that listen in would keep solicitations for us away. Private to lib/net (stack.h); the stack's thread.
 *
 * We listen to the solicited-node group of each address, from all sources, for as long as the stack lives: so there is
 * nothing to remember, and a query is answered at once with all of it.
 */
#include "lib/net/ip_header.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>

enum {
    REPORT = 143,
    IS_EXCLUDE = 2,        /* a record's type: "still", */
    CHANGE_TO_EXCLUDE = 4, /* and "from now on" */
    ALERT_BYTES = 8,       /* hop-by-hop header with the router alert option (RFC 2711) */
    REPORT_BYTES = 8,
    RECORD_BYTES = 20,
    REPEAT_US = 1000 * 1000, /* unsolicited report interval */
};

static const struct net_address all_listeners_routers = {.bytes = {0xff, 0x02, [15] = 0x16}};

/* Writes a record for each group once; addresses often share one. Returns how many. */
static uint16_t records_write(const struct net_interface *interface, uint8_t type, uint8_t *record)
{
    uint16_t count = 0;

    for (unsigned a = 0; a < interface->config.address_count; a++) {
        const struct net_address *address = &interface->config.addresses[a].address;
        bool seen = net_address_is_ip4(address);
        for (unsigned before = 0; before < a && !seen; before++) {
            const struct net_address *other = &interface->config.addresses[before].address;
            seen = !net_address_is_ip4(other) && memcmp(other->bytes + 13, address->bytes + 13, 3) == 0;
        }
        if (seen)
            continue;
        const struct net_address group = solicited_node(address);
        memset(record, 0, 4);
        record[0] = type;
        memcpy(record + 4, group.bytes, 16);
        record += RECORD_BYTES;
        count++;
    }
    return count;
}

/* The link-local address, or the unspecified one while that is not certain (RFC 3590). */
static struct net_address report_source(const struct net_stack *stack, unsigned index)
{
    const struct net_interface_config *interface = &stack->interfaces[index].config;

    for (unsigned a = 0; a < interface->address_count; a++) {
        const struct net_address *address = &interface->addresses[a].address;
        if (address->bytes[0] == 0xfe && interface_has_address(stack, index, address))
            return *address;
    }
    return NET_ADDRESS_ANY;
}

static bool has_groups(const struct net_interface *interface)
{
    for (unsigned a = 0; a < interface->config.address_count; a++)
        if (!net_address_is_ip4(&interface->config.addresses[a].address))
            return true;
    return false;
}

/* REQ RFC3810 5.2: to ff02::16, one hop, with a router alert [test: net_script/listeners_are_reported] */
static void report_send(struct net_stack *stack, unsigned index, uint8_t type)
{
    static const uint8_t alert[ALERT_BYTES] = {IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
    const struct net_flow flow = {.local = report_source(stack, index), .remote = all_listeners_routers};
    struct rte_mbuf *mbuf = stack_mbuf(stack);
    uint8_t *header, *report, mac[6];

    if (!mbuf)
        return;
    header = rte_pktmbuf_mtod(mbuf, uint8_t *);
    report = header + sizeof(struct rte_ipv6_hdr) + ALERT_BYTES;
    memset(report, 0, REPORT_BYTES);
    const uint16_t count = records_write(&stack->interfaces[index], type, report + REPORT_BYTES);
    const uint16_t length = (uint16_t)(REPORT_BYTES + count * RECORD_BYTES);
    report[0] = REPORT;
    report[7] = (uint8_t)count;
    ip6_header_write(header, &flow, IPPROTO_ICMPV6, 0, 1, length); /* as the checksum sees it */
    const uint16_t sum = rte_ipv6_udptcp_cksum((const struct rte_ipv6_hdr *)header, report);
    memcpy(report + 2, &sum, 2);
    ip6_header_write(header, &flow, IPPROTO_HOPOPTS, 0, 1, (uint16_t)(ALERT_BYTES + length));
    memcpy(header + sizeof(struct rte_ipv6_hdr), alert, ALERT_BYTES);
    mbuf->data_len = mbuf->pkt_len = (uint16_t)(sizeof(struct rte_ipv6_hdr) + ALERT_BYTES + length);
    multicast_mac(&flow.remote, mac);
    COUNT(stack, listener_reports_sent);
    ethernet_output(stack, index, mbuf, mac, RTE_ETHER_TYPE_IPV6);
}

/* REQ RFC3810 6.1-1: with the announcement, or the first probe [test: net_script/listeners_are_reported] */
/* REQ RFC3810 6.1-2: once more, a second later [test: net_script/listeners_are_reported] */
void mld_announce(struct net_stack *stack, unsigned index)
{
    struct net_interface *interface = &stack->interfaces[index];

    if (interface->reports_left == 0 || !has_groups(interface))
        return;
    interface->report_at = stack_deadline(stack, REPEAT_US);
    if (--interface->reports_left)
        stack_need_housekeeping(stack);
    report_send(stack, index, CHANGE_TO_EXCLUDE);
}

bool mld_housekeeping(struct net_stack *stack)
{
    bool more = false;

    for (unsigned i = 0; i < stack->config.interface_count; i++) {
        const struct net_interface *interface = &stack->interfaces[i];
        if (interface->report_at && (int32_t)(stack->tick - interface->report_at) >= 0)
            mld_announce(stack, i);
        more = more || (interface->report_at && interface->reports_left);
    }
    return more;
}

/* REQ RFC3810 6.2: at once, with all groups [test: net_script/listener_query_is_answered] */
/* REQ RFC3810 5.1.14: from a link-local address, over one hop [test: net_script/listener_query_is_answered] */
void mld_query_input(struct net_stack *stack, struct net_packet *packet)
{
    const struct rte_ipv6_hdr *header =
        rte_pktmbuf_mtod_offset(packet->mbuf, const struct rte_ipv6_hdr *, packet->network_offset);
    const struct net_address *remote = &packet->flow.remote;

    if (header->hop_limits != 1 || remote->bytes[0] != 0xfe || (remote->bytes[1] & 0xc0) != 0x80 ||
        packet->transport_length < 24) {
        DROP(stack, packet->mbuf, drop_icmp_malformed);
        return;
    }
    if (has_groups(&stack->interfaces[packet->interface]))
        report_send(stack, packet->interface, IS_EXCLUDE);
    rte_pktmbuf_free(packet->mbuf);
}

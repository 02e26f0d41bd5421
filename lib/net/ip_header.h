/*
 * IPv4 and IPv6 headers as the stack writes them. Private to lib/net; inline, since every segment has one.
 */
#ifndef LIB_NET_IP_HEADER_H
#define LIB_NET_IP_HEADER_H

#include "lib/net/stack.h"

#include <rte_byteorder.h>
#include <rte_ip.h>

/* With checksum 0. `congestion`: the whole byte, Diffserv code point included. */
/* REQ RFC1191 3-1: Don't Fragment is always set [test: net_script/ip4_header_written] */
/* REQ RFC1122 3.2.1.5: one number further each [test: net_script/ip4_header_written] */
/* REQ RFC1122 3.2.1.7-1: as configured, at least one [test: net_script/hop_limit_and_dscp] */
/* REQ RFC9293 MUST-49: as configured [test: net_script/hop_limit_and_dscp] */
static inline void ip4_header_write(struct net_stack *stack, uint8_t *bytes, const struct net_flow *flow,
                                    uint8_t protocol, uint8_t congestion, uint16_t payload_length)
{
    struct rte_ipv4_hdr *header = (struct rte_ipv4_hdr *)bytes;

    header->version_ihl = 0x45;
    header->type_of_service = congestion;
    header->total_length = rte_cpu_to_be_16((uint16_t)(sizeof *header + payload_length));
    header->packet_id = rte_cpu_to_be_16(stack->ip4_identifier++);
    header->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
    header->time_to_live = stack->config.hop_limit;
    header->next_proto_id = protocol;
    header->hdr_checksum = 0;
    header->src_addr = flow->local.words[3];
    header->dst_addr = flow->remote.words[3];
}

static inline void ip6_header_write(uint8_t *bytes, const struct net_flow *flow, uint8_t protocol, uint8_t congestion,
                                    uint8_t hops, uint16_t payload_length)
{
    struct rte_ipv6_hdr *header = (struct rte_ipv6_hdr *)bytes;

    header->vtc_flow = rte_cpu_to_be_32(0x60000000u | (uint32_t)congestion << 20);
    header->payload_len = rte_cpu_to_be_16(payload_length);
    header->proto = protocol;
    header->hop_limits = hops;
    memcpy(header->src_addr, flow->local.bytes, 16);
    memcpy(header->dst_addr, flow->remote.bytes, 16);
}

/* ---- Groups: where Ethernet sends them (RFC 2464 section 7), and the one that stands for an address. */

static inline void multicast_mac(const struct net_address *group, uint8_t mac[6])
{
    mac[0] = mac[1] = 0x33;
    memcpy(mac + 2, group->bytes + 12, 4);
}

static inline struct net_address solicited_node(const struct net_address *target)
{
    struct net_address group = {.bytes = {0xff, 0x02, [11] = 0x01, [12] = 0xff}};
    memcpy(group.bytes + 13, target->bytes + 13, 3);
    return group;
}

#endif

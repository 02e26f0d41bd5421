/*
 * Headers of what goes out: TCP with its options, IPv4 or IPv6, checksums in hardware or here. Private to lib/net
 * (tcp_internal.h); the stack's thread.
 *
 * Checksums of headers are sums of the fields at hand, in any order and width (RFC 1071): no header is read back.
 */
#include "lib/net/ip_header.h"
#include "lib/net/tcp_internal.h"

#include <netinet/in.h>

/* The 16-bit one's complement sum of what was added up. */
static inline uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static inline uint64_t sum_words(const uint32_t *words, unsigned count)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += words[i];
    return sum;
}

struct network {
    const struct net_flow *flow;
    uint32_t offloads;
    uint16_t length; /* of TCP header and payload */
    uint8_t congestion;
};

/* Writes the header; returns the sum of the addresses, which the TCP checksum needs too. */
static inline uint64_t ip4_write(struct net_stack *stack, const struct network *network, uint8_t *bytes)
{
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)bytes;
    const uint64_t addresses = (uint64_t)network->flow->local.words[3] + network->flow->remote.words[3];

    ip4_header_write(stack, bytes, network->flow, IPPROTO_TCP, network->congestion, network->length);
    if (!(network->offloads & NET_OFFLOAD_TX_IP4_CHECKSUM)) {
        uint32_t words[3];
        memcpy(words, bytes, sizeof words);
        ip->hdr_checksum = (uint16_t)~fold(addresses + sum_words(words, 3));
    }
    return addresses;
}

static inline uint64_t ip6_write(const struct net_stack *stack, const struct network *network, uint8_t *bytes)
{
    ip6_header_write(bytes, network->flow, IPPROTO_TCP, network->congestion, stack->config.hop_limit, network->length);
    return sum_words(network->flow->local.words, 4) + sum_words(network->flow->remote.words, 4);
}

/* REQ RFC9293 MUST-2: always there [test: net_script/push_on_last, linux/messages] */
static inline void network_write(struct net_stack *stack, struct rte_mbuf *mbuf, const struct network *network,
                                 bool ip4, struct rte_tcp_hdr *tcp, size_t header_length, uint16_t gso_size)
{
    uint8_t *bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);
    uint64_t flags = ip4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6, sum;

    if (ip4) {
        sum = ip4_write(stack, network, bytes);
        if (network->offloads & NET_OFFLOAD_TX_IP4_CHECKSUM)
            flags |= RTE_MBUF_F_TX_IP_CKSUM;
    } else {
        sum = ip6_write(stack, network, bytes);
    }
    /* The pseudo header. A port that cuts segments adds each one's length itself. */
    sum += rte_cpu_to_be_16(IPPROTO_TCP) + (gso_size ? 0u : (uint32_t)rte_cpu_to_be_16(network->length));
    tcp->cksum = 0;
    if (network->offloads & NET_OFFLOAD_TX_TCP_CHECKSUM) {
        flags |= RTE_MBUF_F_TX_TCP_CKSUM;
        tcp->cksum = fold(sum);
    } else {
        tcp->cksum = (uint16_t)~fold(sum + rte_raw_cksum(tcp, network->length));
    }
    if (gso_size)
        flags |= RTE_MBUF_F_TX_TCP_SEG;
    mbuf->ol_flags = flags;
    mbuf->tx_offload = rte_mbuf_tx_offload(0, (uint64_t)((uint8_t *)tcp - bytes), header_length, gso_size, 0, 0, 0);
}

/* Make room for `length` bytes of headers; the mbuf's data is the payload. */
static inline uint8_t *headers_prepend(struct rte_mbuf *mbuf, size_t length)
{
    mbuf->data_off = (uint16_t)(mbuf->data_off - length);
    mbuf->data_len = (uint16_t)(mbuf->data_len + length);
    mbuf->pkt_len += (uint32_t)length;
    return rte_pktmbuf_mtod(mbuf, uint8_t *);
}

/* Every segment acknowledges: what was owed is paid. */
/* REQ RFC9293 MUST-58: one ACK for all [test: net_script/ack_every_second, net_script/ack_rides_on_data] */
static inline void acknowledgement_sent(struct tcp_connection *c)
{
    c->flags &= ~(uint32_t)(TCP_FLAG_ACK_NOW | TCP_FLAG_ACK_DELAYED);
    c->delayed_ack_at = 0;
    c->ack_sent = c->receive_next;
}

static inline size_t options_length(const struct tcp_connection *c, const struct tcp_outgoing *out)
{
    return (c->flags & TCP_FLAG_TIMESTAMPS ? (size_t)TCP_TIMESTAMP_BYTES : 0) +
           (out->sack_count ? 4 + 8 * (size_t)out->sack_count : 0);
}

/* REQ RFC7323 3.2-1, 3.2-5: with every segment, a RST too [test: net_script/timestamps_go_with_every_segment] */
static inline void options_write(const struct tcp_connection *c, const struct tcp_outgoing *out, uint8_t *bytes)
{
    if (c->flags & TCP_FLAG_TIMESTAMPS) {
        tcp_options_write_timestamp(bytes, tcp_timestamp(c->stack, c->timestamp_offset), c->timestamp_recent);
        bytes += TCP_TIMESTAMP_BYTES;
    }
    if (__builtin_expect(out->sack_count, 0))
        tcp_options_write_sack(bytes, out->sack, out->sack_count);
}

enum { ECN_CAPABLE = 2 /* ECT(0) */ };

/* RFC 3168 section 6.1: echo until the peer says that it has slowed down; say so ourselves with the next new data. */
/* REQ RFC3168 6.1.2-2: CWR once, with new data [test: net_script/ecn_reduces_once_per_window] */
static uint8_t ecn_flags(struct tcp_connection *c, const struct tcp_outgoing *out)
{
    uint8_t flags = c->flags & TCP_FLAG_ECN_ECHO ? RTE_TCP_ECE_FLAG : 0;

    if (out->congestible && (c->flags & TCP_FLAG_ECN_REDUCED)) {
        c->flags &= ~(uint32_t)TCP_FLAG_ECN_REDUCED;
        flags |= RTE_TCP_CWR_FLAG;
    }
    return flags;
}

/* REQ RFC9293 SHLD-13: nothing sent is urgent [test: net_script/nothing_is_urgent] */
/* REQ RFC9293 MUST-45: the flow's address, all along [test: meson/net_sweep] */
/* REQ RFC3168 5-1, 6.1.4: new data of connections that agreed [test: net_script/ecn_marks_new_data] */
void tcp_transmit(struct tcp_connection *c, const struct tcp_outgoing *out)
{
    struct net_stack *stack = c->stack;
    const bool ip4 = net_address_is_ip4(&c->flow.remote);
    const size_t network_length = ip4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
    const size_t header_length = sizeof(struct rte_tcp_hdr) + options_length(c, out);
    struct rte_tcp_hdr *tcp =
        (struct rte_tcp_hdr *)(headers_prepend(out->mbuf, network_length + header_length) + network_length);
    const struct network network = {
        &c->flow, stack->interfaces[c->interface].config.offloads, (uint16_t)(out->mbuf->pkt_len - network_length),
        (uint8_t)(c->dscp << 2 | ((c->flags & TCP_FLAG_ECN) && out->congestible ? ECN_CAPABLE : 0))};

    tcp->src_port = rte_cpu_to_be_16(c->flow.local_port);
    tcp->dst_port = rte_cpu_to_be_16(c->flow.remote_port);
    tcp->sent_seq = rte_cpu_to_be_32(out->sequence);
    tcp->recv_ack = rte_cpu_to_be_32(c->receive_next);
    tcp->data_off = (uint8_t)(header_length << 2);
    tcp->tcp_flags = out->flags;
    if (c->flags & TCP_FLAG_ECN)
        tcp->tcp_flags |= ecn_flags(c, out);
    tcp->rx_win = rte_cpu_to_be_16(tcp_receive_window(c));
    tcp->tcp_urp = 0;
    options_write(c, out, (uint8_t *)(tcp + 1));
    network_write(stack, out->mbuf, &network, ip4, tcp, header_length, out->gso_size);
    acknowledgement_sent(c);
    COUNT(stack, tcp_segments_sent);
    neighbour_output(stack, c->neighbour, out->mbuf);
}

/* REQ RFC3168 6.1.1-2: neither SYN nor SYN-ACK [test: net_script/ecn_is_asked_for_once] */
void tcp_send_bare(struct net_stack *stack, const struct tcp_bare *bare)
{
    struct rte_mbuf *mbuf = stack_mbuf(stack);
    const size_t header_length = sizeof(struct rte_tcp_hdr) + bare->options_length;
    const bool ip4 = net_address_is_ip4(&bare->flow->remote);
    const size_t network_length = ip4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);

    if (!mbuf)
        return;
    const struct network network = {bare->flow, stack->interfaces[bare->interface].config.offloads,
                                    (uint16_t)header_length, (uint8_t)(stack->config.dscp << 2)};
    struct rte_tcp_hdr *tcp =
        (struct rte_tcp_hdr *)(headers_prepend(mbuf, network_length + header_length) + network_length);
    tcp->src_port = rte_cpu_to_be_16(bare->flow->local_port);
    tcp->dst_port = rte_cpu_to_be_16(bare->flow->remote_port);
    tcp->sent_seq = rte_cpu_to_be_32(bare->sequence);
    tcp->recv_ack = rte_cpu_to_be_32(bare->ack);
    tcp->data_off = (uint8_t)(header_length << 2);
    tcp->tcp_flags = bare->flags;
    tcp->rx_win = rte_cpu_to_be_16(bare->window);
    tcp->tcp_urp = 0;
    if (bare->options_length)
        memcpy(tcp + 1, bare->options, bare->options_length);
    network_write(stack, mbuf, &network, ip4, tcp, header_length, 0);
    COUNT(stack, tcp_segments_sent);
    neighbour_output(stack, bare->neighbour, mbuf);
}

/* Packet scripts. Job: script.h. */
#include "tests/sim/script.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};
const uint8_t script_our_ip[4] = {198, 18, 0, 1}, script_peer_ip[4] = {198, 18, 0, 2};
const uint8_t script_our_ip6[16] = {0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 1};
const uint8_t script_peer_ip6[16] = {0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 2};

static struct net_address address_of(const uint8_t bytes[4])
{
    uint32_t word;

    memcpy(&word, bytes, 4);
    return net_address_ip4(word);
}

/* ---- What the stack sends. */

static bool checksum_good(const uint8_t *frame, const struct rte_tcp_hdr *tcp, uint32_t length)
{
    uint32_t sum =
        (uint32_t)rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)(frame + 14), 0) + rte_raw_cksum(tcp, length - 34);

    return (uint16_t)((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

static void record_tcp(struct script *s, const uint8_t *frame, uint32_t length)
{
    const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(frame + 34);
    uint32_t header = (tcp->data_off >> 4) * 4u;
    struct script_segment *out = &s->out[s->out_count % SCRIPT_OUT];

    *out = (struct script_segment){.at = s->now,
                                   .flags = tcp->tcp_flags,
                                   .raw_sequence = rte_be_to_cpu_32(tcp->sent_seq),
                                   .window = rte_be_to_cpu_16(tcp->rx_win),
                                   .length = length - 34 - header,
                                   .congestion = frame[15] & 3,
                                   .port = rte_be_to_cpu_16(tcp->src_port)};
    if (tcp->tcp_flags & S) {
        s->our_initial = out->raw_sequence;
        s->our_port = out->port;
    }
    out->sequence = out->raw_sequence - s->our_initial;
    out->ack = tcp->tcp_flags & A ? rte_be_to_cpu_32(tcp->recv_ack) - s->peer_initial : 0;
    tcp_options_parse((const uint8_t *)(tcp + 1), header - 20, tcp->tcp_flags & S, &out->options);
    if (out->options.has_timestamp)
        s->timestamp_echo = out->options.timestamp;
    script_check(s, checksum_good(frame, tcp, length), "checksum of what is sent", 0);
    s->out_count++;
}

static void answer_arp(struct script *s, const uint8_t *frame)
{
    uint8_t reply[60] = {0};

    if (s->quiet_arp || frame[21] != 1 || memcmp(frame + 38, script_peer_ip, 4))
        return;
    memcpy(reply, our_mac, 6);
    memcpy(reply + 6, peer_mac, 6);
    memcpy(reply + 12, frame + 12, 8);
    reply[21] = 2;
    memcpy(reply + 22, peer_mac, 6);
    memcpy(reply + 28, script_peer_ip, 4);
    memcpy(reply + 32, frame + 22, 10);
    script_frame(s, reply, sizeof reply);
}

static void raw_keep(struct script_raw *raw, const uint8_t *frame, uint32_t length)
{
    raw->length = length;
    memcpy(raw->bytes, frame, length < sizeof raw->bytes ? length : sizeof raw->bytes);
}

static bool ready(void *arg, unsigned interface)
{
    const struct script *s = arg;

    return !s->port_busy;
}

static uint16_t transmit(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count)
{
    struct script *s = arg;
    uint8_t frames[64][64];
    unsigned arps = 0;

    if (s->transmit_full)
        return 0;
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *frame = rte_pktmbuf_mtod(mbufs[i], const uint8_t *);
        if (frame[12] != 0x08 || frame[13] != 0x00 || frame[23] != IPPROTO_TCP)
            raw_keep(&s->frames[s->frame_count++ % SCRIPT_FRAMES], frame, mbufs[i]->pkt_len);
        if (frame[12] == 0x08 && frame[13] == 0x06) {
            s->arp_out++;
            memcpy(frames[arps++], frame, 42);
        } else if (frame[12] == 0x08 && frame[23] == IPPROTO_TCP) {
            record_tcp(s, frame, mbufs[i]->pkt_len);
            raw_keep(&s->last_tcp, frame, mbufs[i]->pkt_len);
        } else if (frame[12] == 0x08 && frame[23] == IPPROTO_ICMP) {
            s->icmp_out++;
        } else {
            s->other_out++;
        }
        rte_pktmbuf_free(mbufs[i]);
    }
    for (unsigned i = 0; i < arps; i++)
        answer_arp(s, frames[i]);
    return count;
}

/* ---- What the peer sends. */

void script_frame(struct script *s, const uint8_t *frame, uint32_t length)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(s->pool);

    memcpy(rte_pktmbuf_append(mbuf, (uint16_t)length), frame, length);
    if (s->second && frame[12] == 0x08 && frame[13] == 0x06) {
        struct rte_mbuf *copy = rte_pktmbuf_alloc(s->pool);
        memcpy(rte_pktmbuf_append(copy, (uint16_t)length), frame, length);
        net_input(s->second, 0, &copy, 1, s->now);
    }
    net_input(s->stack, 0, &mbuf, 1, s->now);
}

/* ---- Two workers. */

static unsigned flow_owner(void *arg, uint32_t hash)
{
    return 0; /* steering brings everything to the first */
}

static void redirect(void *arg, unsigned worker, unsigned interface, struct rte_mbuf *mbuf)
{
    struct script *s = arg;

    if (worker == 0) {
        net_input(s->stack, 0, &mbuf, 1, s->now);
        return;
    }
    script_check(s, worker == 1 && s->redirected_count < 16, "redirected to the second worker", 0);
    s->redirected[s->redirected_count++] = mbuf;
    if (!s->hold_redirected)
        script_redirect(s);
}

void script_redirect(struct script *s)
{
    unsigned count = s->redirected_count;

    s->redirected_count = 0;
    net_input(s->second, 0, s->redirected, count, s->now);
}

void script_second(struct script *s)
{
    struct net_config config = s->config;
    const char *reason;

    timer_wheel_init(&s->second_wheel, s->now);
    config.worker = 1;
    config.wheel = &s->second_wheel;
    s->second = net_stack_create(&config, s->now, &reason);
    if (!s->second) {
        fprintf(stderr, "%s: %s\n", s->name, reason);
        exit(2);
    }
}

void script_send_options(struct script *s, uint8_t flags, uint32_t sequence, uint32_t ack, uint16_t window,
                         uint32_t length, const struct tcp_options *options, const uint8_t *raw, size_t raw_length)
{
    uint8_t frame[2000] = {0};
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);
    struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(frame + 34);
    uint8_t *option = (uint8_t *)(tcp + 1);
    size_t size = 0;

    if (raw_length) {
        memcpy(option, raw, raw_length);
        size = raw_length;
    } else if (options && (flags & S)) {
        size = tcp_options_write_syn(option, options);
    } else if (options) {
        if (options->has_timestamp) {
            tcp_options_write_timestamp(option, options->timestamp, options->timestamp_echo);
            size = TCP_TIMESTAMP_BYTES;
        }
        if (options->sack_count)
            size += tcp_options_write_sack(option + size, options->sack, options->sack_count);
    }
    memcpy(frame, our_mac, 6);
    memcpy(frame + 6, peer_mac, 6);
    frame[12] = 0x08;
    ip->version_ihl = 0x45;
    ip->type_of_service = s->congestion;
    ip->total_length = rte_cpu_to_be_16((uint16_t)(40 + size + length));
    ip->time_to_live = 64;
    ip->next_proto_id = IPPROTO_TCP;
    memcpy(&ip->src_addr, script_peer_ip, 4);
    memcpy(&ip->dst_addr, script_our_ip, 4);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    tcp->src_port = rte_cpu_to_be_16(4000);
    tcp->dst_port = rte_cpu_to_be_16(s->our_port);
    tcp->sent_seq = rte_cpu_to_be_32(s->peer_initial + sequence);
    tcp->recv_ack = flags & A ? rte_cpu_to_be_32(s->our_initial + ack) : 0;
    tcp->data_off = (uint8_t)((20 + size) << 2);
    tcp->tcp_flags = flags;
    tcp->rx_win = rte_cpu_to_be_16(window);
    for (uint32_t i = 0; i < length; i++)
        option[size + i] = (uint8_t)(sequence + i);
    tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
    if (s->divert)
        s->divert(s, frame, (uint32_t)(54 + size + length));
    else
        script_frame(s, frame, (uint32_t)(54 + size + length));
    script_turn(s);
}

void script_send(struct script *s, uint8_t flags, uint32_t sequence, uint32_t ack, uint16_t window, uint32_t length)
{
    struct tcp_options options = s->peer;

    options.timestamp = s->timestamp;
    options.timestamp_echo = flags & A ? s->timestamp_echo : 0;
    options.sack_count = 0;
    script_send_options(s, flags, sequence, ack, window, length, &options, NULL, 0);
}

void script_send_sack(struct script *s, uint32_t ack, uint16_t window, unsigned count,
                      const struct tcp_sack_block *blocks)
{
    struct tcp_options options = s->peer;

    options.timestamp = s->timestamp;
    options.timestamp_echo = s->timestamp_echo;
    options.sack_count = (uint8_t)count;
    for (unsigned i = 0; i < count; i++)
        options.sack[i] = (struct tcp_sack_block){s->our_initial + blocks[i].start, s->our_initial + blocks[i].end};
    script_send_options(s, A, 1, ack, window, 0, &options, NULL, 0);
}

static void frame_begin(uint8_t *frame, uint16_t type)
{
    memcpy(frame, our_mac, 6);
    memcpy(frame + 6, peer_mac, 6);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
}

void script_ip4(struct script *s, const uint8_t source[4], const uint8_t destination[4], uint8_t protocol,
                const uint8_t *payload, uint32_t length)
{
    uint8_t frame[2000] = {0};
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);

    frame_begin(frame, RTE_ETHER_TYPE_IPV4);
    ip->version_ihl = 0x45;
    ip->total_length = rte_cpu_to_be_16((uint16_t)(20 + length));
    ip->time_to_live = 64;
    ip->next_proto_id = protocol;
    memcpy(&ip->src_addr, source, 4);
    memcpy(&ip->dst_addr, destination, 4);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    memcpy(ip + 1, payload, length);
    if (s->to_mac)
        memcpy(frame, s->to_mac, 6);
    script_frame(s, frame, 34 + length < 60 ? 60 : 34 + length);
    script_turn(s);
}

void script_ip6(struct script *s, const uint8_t source[16], const uint8_t destination[16], uint8_t next,
                uint8_t hop_limit, const uint8_t *payload, uint32_t length)
{
    uint8_t frame[2000] = {0};
    struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(frame + 14);

    frame_begin(frame, RTE_ETHER_TYPE_IPV6);
    ip->vtc_flow = rte_cpu_to_be_32(0x60000000);
    ip->payload_len = rte_cpu_to_be_16((uint16_t)length);
    ip->proto = next;
    ip->hop_limits = hop_limit;
    memcpy(ip->src_addr, source, 16);
    memcpy(ip->dst_addr, destination, 16);
    if (destination[0] == 0xff) {
        frame[0] = frame[1] = 0x33;
        memcpy(frame + 2, destination + 12, 4);
    }
    if (s->to_mac)
        memcpy(frame, s->to_mac, 6);
    memcpy(ip + 1, payload, length);
    script_frame(s, frame, 54 + length);
    script_turn(s);
}

void script_icmp6(struct script *s, const uint8_t source[16], const uint8_t destination[16], uint8_t hop_limit,
                  uint8_t *icmp, uint32_t length)
{
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16((uint16_t)length)};
    uint32_t sum;

    memcpy(pseudo.src_addr, source, 16);
    memcpy(pseudo.dst_addr, destination, 16);
    icmp[2] = icmp[3] = 0;
    sum = (uint32_t)rte_ipv6_phdr_cksum(&pseudo, 0) + rte_raw_cksum(icmp, length);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    memcpy(icmp + 2, &sum, 2);
    script_ip6(s, source, destination, IPPROTO_ICMPV6, hop_limit, icmp, length);
}

const struct script_raw *script_next_frame(struct script *s)
{
    return s->frame_first < s->frame_count ? &s->frames[s->frame_first++ % SCRIPT_FRAMES] : NULL;
}

/* ---- The application. */

void script_app_send(struct script *s, uint32_t length)
{
    static const uint8_t bytes[100000];

    tcp_send(s->connection, bytes, length);
    script_turn(s);
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
    struct script *s = arg;

    s->accepted = true;
    s->connection = connection;
}

static void connected(void *arg, struct tcp_connection *connection)
{
    ((struct script *)arg)->connected = true;
}

static void readable(void *arg, struct tcp_connection *connection)
{
    struct script *s = arg;
    uint32_t length;
    const uint8_t *bytes;

    s->readable_calls++;
    while (s->consume && (bytes = tcp_peek(connection, &length)) != NULL) {
        s->last_byte = bytes[length - 1];
        s->consumed += length;
        tcp_consume(connection, length);
    }
}

static void writable(void *arg, struct tcp_connection *connection)
{
    ((struct script *)arg)->writable_calls++;
}

static void peer_closed(void *arg, struct tcp_connection *connection)
{
    ((struct script *)arg)->peer_closed = true;
}

void script_troubled(void *arg, struct tcp_connection *connection, enum tcp_trouble trouble)
{
    struct script *s = arg;

    s->trouble = trouble;
    s->trouble_calls++;
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    struct script *s = arg;

    s->closed = true;
    s->reason = reason;
    s->connection = NULL;
}

/* ---- Running. */

static struct rte_mempool *pool;

static void environment(void)
{
    char *arguments[] = {"script", "--no-huge", "--no-shconf", "--no-telemetry",    "--no-pci", "-m",
                         "64",     "-l",        "0",           "--log-level=error", NULL};

    if (pool)
        return;
    if (rte_eal_init(10, arguments) < 0)
        exit(2);
    pool = rte_pktmbuf_pool_create("script", 1023, 0, NET_MBUF_PRIVATE, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    if (!pool)
        exit(2);
}

void script_open(struct script *s, const char *name)
{
    environment();
    *s = (struct script){.name = name,
                         .now = 5000000000,
                         .pool = pool,
                         .peer_initial = 0xfffffc00,
                         .our_port = 1883,
                         .timestamp = 100000,
                         .consume = true};
    s->peer = (struct tcp_options){.mss = SCRIPT_MSS};
    timer_wheel_init(&s->wheel, s->now);
    net_config_defaults(&s->config);
    s->config.seed[0] = 0x1234;
    s->config.seed[1] = 0x5678;
    s->config.max_connections = s->config.max_half_open = s->config.max_time_wait = 8;
    s->config.max_neighbours = 4;
    s->config.interface_count = 1;
    s->config.interfaces[0] = (struct net_interface_config){
        .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500, .address_count = 1, .addresses = {{address_of(script_our_ip), 24}}};
    s->config.pool = pool;
    s->config.wheel = &s->wheel;
    s->config.transmit = transmit;
    s->config.ready = ready;
    s->config.arg = s;
    s->config.flow_owner = flow_owner;
    s->config.redirect = redirect;
    s->config.callbacks = (struct tcp_callbacks){accepted, connected, readable, writable, peer_closed, closed, NULL};
}

void script_peer_options(struct script *s, bool sack, bool timestamps)
{
    s->peer.sack_permitted = sack;
    s->peer.has_timestamp = timestamps;
}

void script_use_ip6(struct script *s)
{
    struct net_interface_config *interface = &s->config.interfaces[0];

    interface->addresses[interface->address_count++] = (struct net_prefix){net_address_ip6(script_our_ip6), 64};
}

struct script_segment script_connect(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY, peer = address_of(script_peer_ip);
    struct script_segment *syn;

    script_listen(s);
    s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
    script_turn(s);
    syn = script_next(s);
    return syn ? *syn : (struct script_segment){0};
}

void script_listen(struct script *s)
{
    struct net_address any = NET_ADDRESS_ANY;
    const char *reason;

    s->stack = net_stack_create(&s->config, s->now, &reason);
    if (!s->stack) {
        fprintf(stderr, "%s: %s\n", s->name, reason);
        exit(2);
    }
    tcp_listen(s->stack, &any, 1883, s);
    script_turn(s);
}

void script_establish(struct script *s)
{
    script_listen(s);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
    script_wait(s, 10000); /* the round trip of the scripts: 10 ms */
    script_send(s, A, 1, 1, 65535, 0);
    CHECK(s, s->accepted && s->connection);
}

void script_turn(struct script *s)
{
    for (int i = 0; i < 4; i++) {
        net_deliver(s->stack, s->now);
        net_output(s->stack, s->now);
        if (s->second) {
            net_deliver(s->second, s->now);
            net_output(s->second, s->now);
        }
    }
}

static uint64_t next_deadline(const struct script *s)
{
    uint64_t first = net_next_deadline(s->stack), second = s->second ? net_next_deadline(s->second) : UINT64_MAX;

    return first < second ? first : second;
}

void script_wait(struct script *s, uint64_t us)
{
    uint64_t end = s->now + us, start = s->now;

    while (s->now < end) {
        uint64_t next = next_deadline(s);
        s->now = next < end ? (next > s->now ? next : s->now + 1) : end;
        timer_wheel_advance(&s->wheel, s->now, UINT32_MAX);
        if (s->second)
            timer_wheel_advance(&s->second_wheel, s->now, UINT32_MAX);
        script_turn(s);
    }
    s->timestamp += (uint32_t)((end - start) / 1000);
}

void script_close(struct script *s)
{
    net_stack_destroy(s->stack);
    if (s->second)
        net_stack_destroy(s->second);
    script_check(s, rte_mempool_in_use_count(pool) == 0, "every mbuf is back", 0);
    printf("%s %s\n", s->failures ? "FAILED" : "ok    ", s->name);
}

struct script_segment *script_next(struct script *s)
{
    return s->out_first < s->out_count ? &s->out[s->out_first++ % SCRIPT_OUT] : NULL;
}

uint64_t script_counter(struct script *s, enum net_counter counter)
{
    return net_counters(s->stack)[counter];
}

void script_check(struct script *s, bool good, const char *text, int line)
{
    if (good)
        return;
    s->failures++;
    printf("  %s, line %d: not so: %s\n", s->name, line, text);
    for (unsigned i = s->out_first; i < s->out_count && i < s->out_first + 6; i++) {
        const struct script_segment *out = &s->out[i % SCRIPT_OUT];
        printf("    sent: flags %02x sequence %u ack %u window %u, %u bytes\n", out->flags, out->sequence, out->ack,
               out->window, out->length);
    }
}

void script_expect(struct script *s, int flags, int64_t sequence, int64_t ack, int64_t length, int line)
{
    const struct script_segment *out = script_next(s);

    if (!out) {
        script_check(s, false, "a segment is sent", line);
        return;
    }
    if ((flags >= 0 && (out->flags & ~P) != (flags & ~P)) || (sequence >= 0 && out->sequence != (uint32_t)sequence) ||
        (ack >= 0 && out->ack != (uint32_t)ack) || (length >= 0 && out->length != (uint32_t)length)) {
        s->out_first--;
        printf("  wanted: flags %02x sequence %ld ack %ld, %ld bytes\n", (unsigned)flags, (long)sequence, (long)ack,
               (long)length);
        script_check(s, false, "the segment is as expected", line);
        s->out_first++;
    }
}

/* Packet scripts: what lies below TCP: IPv4, IPv6, ICMP, ARP, neighbour discovery. Job of a script: script.h. */
#include "tests/sim/script.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2}, other_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1}, unspecified[16];
static const uint8_t our_group[16] = {0xff, 2, [11] = 1, [12] = 0xff, [15] = 1}; /* solicited-node */

static uint16_t type_of(const struct script_raw *frame)
{
    return (uint16_t)(frame->bytes[12] << 8 | frame->bytes[13]);
}

/* The next ICMPv6 message out; NULL: none. */
static const struct script_raw *next_icmp6(struct script *s, uint8_t type)
{
    const struct script_raw *frame;

    while ((frame = script_next_frame(s)) != NULL)
        if (type_of(frame) == 0x86dd && frame->bytes[20] == IPPROTO_ICMPV6 && frame->bytes[54] == type)
            return frame;
    return NULL;
}

static const struct script_raw *next_icmp4(struct script *s)
{
    const struct script_raw *frame;

    while ((frame = script_next_frame(s)) != NULL)
        if (type_of(frame) == 0x0800 && frame->bytes[23] == IPPROTO_ICMP)
            return frame;
    return NULL;
}

static const struct script_raw *next_arp(struct script *s)
{
    const struct script_raw *frame;

    while ((frame = script_next_frame(s)) != NULL)
        if (type_of(frame) == 0x0806)
            return frame;
    return NULL;
}

static void forget_frames(struct script *s)
{
    s->frame_first = s->frame_count;
}

static void echo4(struct script *s)
{
    uint8_t icmp[16] = {8};
    const uint16_t sum = (uint16_t)~rte_raw_cksum(icmp, sizeof icmp);

    memcpy(icmp + 2, &sum, 2);
    script_ip4(s, script_peer_ip, script_our_ip, IPPROTO_ICMP, icmp, sizeof icmp);
}

static void echo6(struct script *s, const uint8_t source[16], const uint8_t destination[16])
{
    uint8_t icmp[16] = {128};

    script_icmp6(s, source, destination, 64, icmp, sizeof icmp);
}

static void arp(struct script *s, uint16_t operation, const uint8_t mac[6], const uint8_t sender[4],
                const uint8_t target[4])
{
    uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4};

    memcpy(frame + 6, mac, 6);
    frame[21] = (uint8_t)operation;
    memcpy(frame + 22, mac, 6);
    memcpy(frame + 28, sender, 4);
    memcpy(frame + 38, target, 4);
    script_frame(s, frame, sizeof frame);
    script_turn(s);
}

/* A solicitation or an advertisement; `mac` NULL: no option. */
static void neighbour_message(struct script *s, uint8_t type, uint8_t flags, const uint8_t source[16],
                              const uint8_t destination[16], const uint8_t target[16], const uint8_t *mac)
{
    uint8_t nd[32] = {type, [4] = flags};

    memcpy(nd + 8, target, 16);
    if (mac) {
        nd[24] = type == 135 ? 1 : 2;
        nd[25] = 1;
        memcpy(nd + 26, mac, 6);
    }
    script_icmp6(s, source, destination, 255, nd, mac ? 32 : 24);
}

/* ---- TCP over IPv6. */

static void tcp6_to(struct script *s, const uint8_t source[16], const uint8_t destination[16], uint8_t flags,
                    uint32_t sequence, uint32_t ack)
{
    uint8_t bytes[24] = {0};
    struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)bytes;
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_TCP};
    const uint32_t length = flags & S ? 24 : 20;

    tcp->src_port = rte_cpu_to_be_16(4000);
    tcp->dst_port = rte_cpu_to_be_16(1883);
    tcp->sent_seq = rte_cpu_to_be_32(sequence);
    tcp->recv_ack = rte_cpu_to_be_32(ack);
    tcp->data_off = (uint8_t)(length << 2);
    tcp->tcp_flags = flags;
    tcp->rx_win = 0xffff;
    if (flags & S)
        memcpy(bytes + 20, (const uint8_t[4]){2, 4, 1440 >> 8, 1440 & 255}, 4);
    pseudo.payload_len = rte_cpu_to_be_16((uint16_t)length);
    memcpy(pseudo.src_addr, source, 16);
    memcpy(pseudo.dst_addr, destination, 16);
    tcp->cksum = rte_ipv6_udptcp_cksum(&pseudo, tcp);
    script_ip6(s, source, destination, IPPROTO_TCP, 64, bytes, length);
}

static const struct rte_tcp_hdr *next_tcp6(struct script *s, uint32_t *length)
{
    const struct script_raw *frame;

    while ((frame = script_next_frame(s)) != NULL)
        if (type_of(frame) == 0x86dd && frame->bytes[20] == IPPROTO_TCP) {
            const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(frame->bytes + 54);
            *length = frame->length - 54 - (tcp->data_off >> 4) * 4u;
            return tcp;
        }
    return NULL;
}

static void peer_is_known(struct script *s)
{
    neighbour_message(s, 135, 0, script_peer_ip6, script_our_ip6, script_our_ip6, peer_mac);
    neighbour_message(s, 136, 0x60, script_peer_ip6, script_our_ip6, script_peer_ip6, peer_mac);
    forget_frames(s);
}

static void syn_to_a_group_of_ip6(struct script *s)
{
    uint32_t length;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    tcp6_to(s, script_peer_ip6, all_nodes, S, 100, 0);
    tcp6_to(s, script_peer_ip6, our_group, S, 100, 0);
    tcp6_to(s, script_peer_ip6, all_nodes, A, 100, 5);
    tcp6_to(s, unspecified, script_our_ip6, S, 100, 0);
    s->to_mac = (const uint8_t[6]){2, 0, 0, 0, 0, 1}; /* the group in a unicast frame */
    tcp6_to(s, script_peer_ip6, all_nodes, S, 100, 0);
    s->to_mac = (const uint8_t[6]){0x33, 0x33, 0, 0, 0, 1}; /* a host in a frame for the group */
    tcp6_to(s, script_peer_ip6, script_our_ip6, S, 100, 0);
    s->to_mac = NULL;
    CHECK(s, next_tcp6(s, &length) == NULL);
    tcp6_to(s, script_peer_ip6, script_our_ip6, S, 100, 0); /* it is the address that mattered */
    CHECK(s, next_tcp6(s, &length) != NULL);
}

/* IPv4 addresses as the stack writes them mean nothing in a packet of IPv6, not even those of an open connection. */
static void mapped_addresses_of_ip6(struct script *s)
{
    static const uint8_t ours[16] = {[10] = 0xff, 0xff, 198, 18, 0, 1};
    static const uint8_t udp[8] = {0x10, 0, 0, 53, 0, 8};
    static const uint8_t options[8] = {IPPROTO_TCP, 0, 1, 4};
    static const uint8_t sources[2][16] = {{0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 2}, {[10] = 0xff, 0xff, 198, 18, 0, 2}};

    script_use_ip6(s);
    script_establish(s);
    peer_is_known(s);
    const uint64_t segments = script_counter(s, NET_COUNTER_tcp_segments_received);
    for (unsigned i = 0; i < 2; i++) /* the second flow is there */
        tcp6_to(s, sources[i], ours, S, s->peer_initial + 1, 0);
    script_ip6(s, script_peer_ip6, ours, IPPROTO_DSTOPTS, 64, options, sizeof options);
    script_ip6(s, script_peer_ip6, ours, IPPROTO_UDP, 64, udp, sizeof udp);
    echo6(s, script_peer_ip6, ours);
    CHECK(s, script_next_frame(s) == NULL && script_next(s) == NULL && !s->closed);
    CHECK(s, script_counter(s, NET_COUNTER_tcp_segments_received) == segments);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip6_not_for_us) == 5);
    neighbour_message(s, 135, 0, script_peer_ip6, our_group, ours, peer_mac);
    CHECK(s, next_icmp6(s, 136) == NULL && script_counter(s, NET_COUNTER_drop_neighbour_malformed) == 1);
}

static uint32_t connect6(struct script *s)
{
    const struct rte_tcp_hdr *tcp;
    uint32_t length, initial = 0;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    tcp6_to(s, script_peer_ip6, script_our_ip6, S, 100, 0);
    if ((tcp = next_tcp6(s, &length)) != NULL)
        initial = rte_be_to_cpu_32(tcp->sent_seq);
    tcp6_to(s, script_peer_ip6, script_our_ip6, A, 101, initial + 1);
    CHECK(s, s->connection != NULL);
    return initial;
}

/* An ICMPv6 error about the connection of connect6(). */
static void error6(struct script *s, uint8_t type, uint32_t field, uint32_t sequence)
{
    uint8_t icmp[8 + 40 + 8] = {
        type, 0, 0, 0, (uint8_t)(field >> 24), (uint8_t)(field >> 16), (uint8_t)(field >> 8), (uint8_t)field, 0x60};

    icmp[8 + 6] = IPPROTO_TCP;
    memcpy(icmp + 8 + 8, script_our_ip6, 16);
    memcpy(icmp + 8 + 24, script_peer_ip6, 16);
    memcpy(icmp + 48, (const uint8_t[4]){1883 >> 8, 1883 & 255, 4000 >> 8, 4000 & 255}, 4);
    sequence = rte_cpu_to_be_32(sequence);
    memcpy(icmp + 52, &sequence, 4);
    script_icmp6(s, (const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 7}, script_our_ip6, 64, icmp, sizeof icmp);
}

static void path_mtu_of_ip6(struct script *s)
{
    struct tcp_info info;
    const uint32_t initial = connect6(s);

    script_app_send(s, 3000);
    error6(s, 2, 1000, initial + 1); /* below what every link of IPv6 carries: discarded */
    tcp_info(s->connection, &info);
    CHECK(s, info.mss == 1440 && script_counter(s, NET_COUNTER_icmp_path_mtu) == 0);
    error6(s, 2, 1300, initial + 1);
    tcp_info(s->connection, &info);
    CHECK(s, info.mss == 1240 && script_counter(s, NET_COUNTER_icmp_path_mtu) == 1);
}

static void unknown_icmp6(struct script *s)
{
    uint8_t informational[16] = {200};
    const uint32_t initial = connect6(s);

    script_app_send(s, 100);
    error6(s, 100, 0, initial + 1); /* an error of a kind that nobody has invented */
    CHECK(s, script_counter(s, NET_COUNTER_icmp_soft_errors) == 1 && !s->closed);
    script_icmp6(s, script_peer_ip6, script_our_ip6, 64, informational, sizeof informational);
    CHECK(s, script_counter(s, NET_COUNTER_drop_icmp_type) == 1);
}

/* ---- Addresses of our own. */

static void link_local_address(struct script *s)
{
    static const uint8_t ours[16] = {0xfe, 0x80, [8] = 0, [11] = 0xff, [12] = 0xfe, [15] = 1};
    static const uint8_t peer[16] = {0xfe, 0x80, [15] = 2};
    const struct script_raw *frame;
    unsigned announced = 0;

    script_use_ip6(s);
    script_listen(s);
    while ((frame = next_icmp6(s, 136)) != NULL)
        announced += memcmp(frame->bytes + 62, ours, 16) == 0 || memcmp(frame->bytes + 62, script_our_ip6, 16) == 0;
    CHECK(s, announced == 2);
    neighbour_message(s, 135, 0, peer, ours, ours, peer_mac);
    frame = next_icmp6(s, 136);
    CHECK(s, frame && memcmp(frame->bytes + 22, ours, 16) == 0 && memcmp(frame->bytes + 38, peer, 16) == 0);
    echo6(s, peer, ours);
    frame = next_icmp6(s, 129);
    CHECK(s, frame && memcmp(frame->bytes + 22, ours, 16) == 0);
    uint32_t length;
    tcp6_to(s, peer, ours, S, 100, 0);
    CHECK(s, next_tcp6(s, &length) != NULL);
}

static void addresses_are_probed(struct script *s)
{
    static const uint8_t nobody[4];
    const struct script_raw *frame;
    unsigned solicited = 0;

    s->config.address_probes = 1;
    script_use_ip6(s);
    script_listen(s);
    script_wait(s, 300000);
    frame = next_arp(s);
    CHECK(s, frame && memcmp(frame->bytes + 28, nobody, 4) == 0 && memcmp(frame->bytes + 38, script_our_ip, 4) == 0);
    while ((frame = next_icmp6(s, 135)) != NULL)
        solicited += memcmp(frame->bytes + 22, unspecified, 16) == 0 && frame->length == 14 + 40 + 24;
    CHECK(s, solicited == 2);
    script_send(s, S, 0, 0, 65535, 0); /* not ours yet */
    EXPECT_NOTHING(s);
    script_wait(s, 1200000);
    frame = next_arp(s);
    CHECK(s, frame && memcmp(frame->bytes + 28, script_our_ip, 4) == 0); /* announced */
    CHECK(s, script_counter(s, NET_COUNTER_neighbour_advertisements_sent) == 2);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT(s, S | A, 0, 1, 0);
}

static void duplicate_address_is_not_used(struct script *s)
{
    s->config.address_probes = 1;
    script_use_ip6(s);
    script_listen(s);
    script_wait(s, 300000);
    arp(s, 2, other_mac, script_our_ip, script_our_ip);
    CHECK(s, script_counter(s, NET_COUNTER_address_duplicates) == 1);
    neighbour_message(s, 136, 0x20, script_our_ip6, all_nodes, script_our_ip6, other_mac);
    CHECK(s, script_counter(s, NET_COUNTER_address_duplicates) == 2);
    script_wait(s, 3000000);
    script_send(s, S, 0, 0, 65535, 0);
    EXPECT_NOTHING(s);
    CHECK(s, script_counter(s, NET_COUNTER_neighbour_advertisements_sent) == 1); /* the link-local one */
}

static void duplicate_address_is_probed_by_another(struct script *s)
{
    static const uint8_t nobody[4];

    s->config.address_probes = 1;
    script_use_ip6(s);
    script_listen(s);
    script_wait(s, 300000);
    neighbour_message(s, 135, 0, unspecified, our_group, script_our_ip6, NULL);
    CHECK(s, script_counter(s, NET_COUNTER_address_duplicates) == 1);
    arp(s, 1, (const uint8_t[6]){2, 0, 0, 0, 0, 1}, nobody, script_our_ip); /* our own, sent back by a switch */
    CHECK(s, script_counter(s, NET_COUNTER_address_duplicates) == 1);
    arp(s, 1, other_mac, nobody, script_our_ip);
    CHECK(s, script_counter(s, NET_COUNTER_address_duplicates) == 2);
}

static void address_conflict_is_counted(struct script *s)
{
    script_use_ip6(s);
    script_listen(s);
    arp(s, 1, other_mac, script_our_ip, script_peer_ip);
    CHECK(s, script_counter(s, NET_COUNTER_address_conflicts) == 1);
    neighbour_message(s, 136, 0x20, (const uint8_t[16]){0xfe, 0x80, [15] = 9}, all_nodes, script_our_ip6, other_mac);
    CHECK(s, script_counter(s, NET_COUNTER_address_conflicts) == 2);
}

static void address_is_defended(struct script *s)
{
    const struct script_raw *frame;

    script_listen(s);
    forget_frames(s);
    arp(s, 2, other_mac, script_our_ip, script_peer_ip);
    frame = next_arp(s);
    CHECK(s, frame && frame->bytes[0] == 0xff && frame->bytes[21] == 1 &&
                 memcmp(frame->bytes + 28, script_our_ip, 4) == 0);
    CHECK(s, frame && memcmp(frame->bytes + 38, script_our_ip, 4) == 0);
    script_wait(s, 5000000);
    arp(s, 2, other_mac, script_our_ip, script_peer_ip);
    CHECK(s, next_arp(s) == NULL);
    script_wait(s, 6000000);
    arp(s, 2, other_mac, script_our_ip, script_peer_ip);
    CHECK(s, next_arp(s) != NULL);
}

/* ---- Listeners. */

static const uint8_t routers_group[16] = {0xff, 2, [15] = 0x16};

static const struct script_raw *next_report(struct script *s)
{
    const struct script_raw *frame;

    while ((frame = script_next_frame(s)) != NULL)
        if (type_of(frame) == 0x86dd && frame->bytes[20] == 0 && frame->bytes[62] == 143)
            return frame;
    return NULL;
}

/* One group for both addresses, which end alike. */
static void report_check(struct script *s, const struct script_raw *frame, uint8_t type)
{
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16(28)};
    uint32_t sum;

    CHECK(s, frame != NULL);
    if (!frame)
        return;
    CHECK(s, memcmp(frame->bytes, (const uint8_t[6]){0x33, 0x33, 0, 0, 0, 0x16}, 6) == 0);
    CHECK(s, frame->bytes[21] == 1 && frame->bytes[22] == 0xfe && memcmp(frame->bytes + 38, routers_group, 16) == 0);
    CHECK(s, memcmp(frame->bytes + 54, (const uint8_t[8]){IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0}, 8) == 0);
    CHECK(s, frame->bytes[69] == 1 && frame->bytes[70] == type && memcmp(frame->bytes + 74, our_group, 16) == 0);
    memcpy(pseudo.src_addr, frame->bytes + 22, 32);
    sum = (uint32_t)rte_ipv6_phdr_cksum(&pseudo, 0) + rte_raw_cksum(frame->bytes + 62, 28);
    CHECK(s, (uint16_t)((sum & 0xffff) + (sum >> 16)) == 0xffff);
}

static void listeners_are_reported(struct script *s)
{
    script_use_ip6(s);
    script_listen(s);
    report_check(s, next_report(s), 4);
    CHECK(s, next_report(s) == NULL);
    script_wait(s, 1200000); /* the first may have been lost */
    report_check(s, next_report(s), 4);
    script_wait(s, 5000000);
    CHECK(s, next_report(s) == NULL);
}

static void listener_query_is_answered(struct script *s)
{
    static const uint8_t router[16] = {0xfe, 0x80, [15] = 1};
    uint8_t query[28] = {130, [4] = 0x27, 0x10};

    script_use_ip6(s);
    script_listen(s);
    forget_frames(s);
    script_icmp6(s, router, all_nodes, 1, query, sizeof query);
    report_check(s, next_report(s), 2);
    script_icmp6(s, router, all_nodes, 2, query, sizeof query);          /* came from afar */
    script_icmp6(s, script_peer_ip6, all_nodes, 1, query, sizeof query); /* from no router of this link */
    CHECK(s, next_report(s) == NULL && script_counter(s, NET_COUNTER_drop_icmp_malformed) == 2);
}

/* ---- Neighbours. */

static void any_arp_updates_an_entry(struct script *s)
{
    static const uint8_t someone[4] = {198, 18, 0, 77};

    script_establish(s);
    script_app_send(s, 10);
    CHECK(s, memcmp(s->last_tcp.bytes, peer_mac, 6) == 0);
    arp(s, 1, other_mac, script_peer_ip, someone); /* the peer asks for another: it has a new card */
    script_app_send(s, 10);
    CHECK(s, memcmp(s->last_tcp.bytes, other_mac, 6) == 0);
}

static void stale_neighbour_is_asked(struct script *s)
{
    const struct script_raw *frame;
    unsigned asked = 0;

    script_listen(s);
    arp(s, 1, peer_mac, script_peer_ip, script_our_ip);
    script_wait(s, 61000000);
    forget_frames(s);
    s->quiet_arp = true;
    echo4(s);
    CHECK(s, next_icmp4(s) != NULL); /* used at once */
    script_wait(s, 4000000);
    CHECK(s, next_arp(s) == NULL);
    script_wait(s, 5000000);
    while ((frame = next_arp(s)) != NULL) {
        asked++;
        CHECK(s, memcmp(frame->bytes, peer_mac, 6) == 0);
    }
    CHECK(s, asked == 3);
    echo4(s); /* nobody answered: forgotten, the answer waits and everybody is asked */
    frame = next_arp(s);
    CHECK(s, frame && frame->bytes[0] == 0xff);
    CHECK(s, next_icmp4(s) == NULL);
}

static void progress_confirms_a_neighbour(struct script *s)
{
    script_establish(s);
    script_wait(s, 61000000);
    forget_frames(s);
    script_app_send(s, 10);
    script_wait(s, 10000);
    script_send(s, A, 1, 11, 65535, 0);
    script_wait(s, 20000000);
    CHECK(s, next_arp(s) == NULL);
}

static void neighbour_is_doubted(struct script *s)
{
    const struct script_raw *frame;

    script_establish(s);
    forget_frames(s);
    script_app_send(s, 10);
    script_wait(s, 1000000);
    CHECK(s, next_arp(s) == NULL); /* two repetitions are no reason */
    script_wait(s, 1000000);
    frame = next_arp(s);
    CHECK(s, frame && memcmp(frame->bytes, peer_mac, 6) == 0);
}

static void neighbour_is_asked_once_a_second(struct script *s)
{
    script_establish(s);
    script_app_send(s, 10);
    script_wait(s, 1000000);
    arp(s, 2, peer_mac, script_peer_ip, script_our_ip); /* somebody else has just asked */
    forget_frames(s);
    script_wait(s, 900000);
    CHECK(s, next_arp(s) == NULL && script_counter(s, NET_COUNTER_tcp_timeouts) >= 3);
}

static void solicitation_is_answered(struct script *s)
{
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    forget_frames(s);
    neighbour_message(s, 135, 0, script_peer_ip6, our_group, script_our_ip6, peer_mac);
    frame = next_icmp6(s, 136);
    CHECK(s, frame && frame->bytes[58] == 0x60 && memcmp(frame->bytes + 38, script_peer_ip6, 16) == 0);
    CHECK(s, frame && frame->bytes[21] == 255 && frame->bytes[78] == 2 && frame->bytes[79] == 1);
    neighbour_message(s, 135, 0, script_peer_ip6, script_our_ip6, script_our_ip6, NULL); /* without its address */
    CHECK(s, next_icmp6(s, 136) != NULL);
    neighbour_message(s, 135, 0, script_peer_ip6, our_group, script_peer_ip6, peer_mac); /* for another */
    CHECK(s, next_icmp6(s, 136) == NULL);
}

static void probe_of_another(struct script *s)
{
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    forget_frames(s);
    neighbour_message(s, 135, 0, unspecified, our_group, script_our_ip6, NULL);
    frame = next_icmp6(s, 136);
    CHECK(s, frame && memcmp(frame->bytes + 38, all_nodes, 16) == 0 && frame->bytes[58] == 0x20);
    CHECK(s, frame && memcmp(frame->bytes, (const uint8_t[6]){0x33, 0x33, 0, 0, 0, 1}, 6) == 0);
}

/* The address in the Ethernet header of an echo reply to the peer. */
static bool peer_is_at(struct script *s, const uint8_t mac[6])
{
    const struct script_raw *frame;

    forget_frames(s);
    echo6(s, script_peer_ip6, script_our_ip6);
    frame = next_icmp6(s, 129);
    return frame && memcmp(frame->bytes, mac, 6) == 0;
}

static void advertisement_flags(struct script *s)
{
    static const uint8_t stranger[16] = {0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 0x44};
    struct net_census census;

    script_use_ip6(s);
    script_listen(s);
    neighbour_message(s, 136, 0x60, stranger, script_our_ip6, stranger, other_mac); /* for no entry: none is made */
    echo6(s, stranger, script_our_ip6);
    net_census(s->stack, &census);
    CHECK(s, census.neighbour_mbufs == 1);
    neighbour_message(s, 136, 0x40, stranger, script_our_ip6, stranger, NULL); /* without an address: still unknown */
    net_census(s->stack, &census);
    CHECK(s, census.neighbour_mbufs == 1);
    peer_is_known(s);
    CHECK(s, peer_is_at(s, peer_mac));
    neighbour_message(s, 136, 0x40, script_peer_ip6, script_our_ip6, script_peer_ip6, other_mac); /* no override */
    CHECK(s, peer_is_at(s, peer_mac));
    script_wait(s, 6000000); /* but doubt: it is asked */
    CHECK(s, next_icmp6(s, 135) != NULL);
    neighbour_message(s, 136, 0x60, script_peer_ip6, script_our_ip6, script_peer_ip6, other_mac);
    CHECK(s, peer_is_at(s, other_mac));
    script_wait(s, 10000000); /* confirmed: it is not */
    CHECK(s, next_icmp6(s, 135) == NULL);
    neighbour_message(s, 136, 0x20, script_peer_ip6, all_nodes, script_peer_ip6, peer_mac); /* moved, nobody asked */
    CHECK(s, peer_is_at(s, peer_mac));
    script_wait(s, 6000000);
    CHECK(s, next_icmp6(s, 135) != NULL);
}

static void malformed_neighbour_discovery(struct script *s)
{
    uint8_t nd[32] = {135};
    unsigned bad = 0;

    script_use_ip6(s);
    script_listen(s);
    forget_frames(s);
    memcpy(nd + 8, script_our_ip6, 16);
    nd[24] = 1;
    nd[25] = 1;
    memcpy(nd + 26, peer_mac, 6);
    script_icmp6(s, script_peer_ip6, our_group, 254, nd, sizeof nd); /* came over a router */
    bad++;
    nd[1] = 1;
    script_icmp6(s, script_peer_ip6, our_group, 255, nd, sizeof nd); /* code */
    bad++;
    nd[1] = 0;
    script_icmp6(s, script_peer_ip6, our_group, 255, nd, 20); /* short */
    bad++;
    nd[25] = 0;
    script_icmp6(s, script_peer_ip6, our_group, 255, nd, sizeof nd); /* an option without length */
    bad++;
    nd[25] = 2;
    script_icmp6(s, script_peer_ip6, our_group, 255, nd, sizeof nd); /* longer than the message */
    bad++;
    nd[25] = 1;
    neighbour_message(s, 135, 0, script_peer_ip6, our_group, all_nodes, peer_mac); /* a group as target */
    bad++;
    neighbour_message(s, 135, 0, unspecified, our_group, script_our_ip6, peer_mac); /* a source it does not have */
    bad++;
    neighbour_message(s, 135, 0, unspecified, script_our_ip6, script_our_ip6, NULL); /* not to the group */
    bad++;
    neighbour_message(s, 136, 0x60, script_peer_ip6, all_nodes, script_peer_ip6, peer_mac); /* solicited by all? */
    bad++;
    CHECK(s, script_counter(s, NET_COUNTER_drop_neighbour_malformed) == bad);
    CHECK(s, next_icmp6(s, 136) == NULL);
    script_icmp6(s, script_peer_ip6, our_group, 255, nd, sizeof nd); /* and this one is good */
    CHECK(s, next_icmp6(s, 136) != NULL);
}

/* ---- IPv4. */

/* An echo request with `length` bytes of IP options (a multiple of four). */
static void echo_with_options(struct script *s, const uint8_t *options, uint32_t length, uint8_t version,
                              uint8_t time_to_live)
{
    uint8_t frame[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, *ip = frame + 14, *icmp = ip + 20 + length;
    uint16_t sum;

    ip[0] = (uint8_t)(version << 4 | (5 + length / 4));
    ip[3] = (uint8_t)(20 + length + 16);
    ip[8] = time_to_live;
    ip[9] = IPPROTO_ICMP;
    memcpy(ip + 12, script_peer_ip, 4);
    memcpy(ip + 16, script_our_ip, 4);
    memcpy(ip + 20, options, length);
    sum = (uint16_t)~rte_raw_cksum(ip, 20 + length);
    memcpy(ip + 10, &sum, 2);
    icmp[0] = 8;
    sum = (uint16_t)~rte_raw_cksum(icmp, 16);
    memcpy(icmp + 2, &sum, 2);
    script_frame(s, frame, sizeof frame);
    script_turn(s);
}

static void ip4_options(struct script *s)
{
    static const uint8_t timestamp[8] = {68, 8, 5, 0}, loose[8] = {131, 7, 4, 1, 2, 3, 4}, strict[8] = {1, 137, 7, 4};
    static const uint8_t broken[4] = {68, 9, 5, 0};

    script_listen(s);
    echo_with_options(s, timestamp, 8, 4, 64);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_echo_sent) == 1);
    echo_with_options(s, loose, 8, 4, 64);
    echo_with_options(s, strict, 8, 4, 64);
    echo_with_options(s, broken, 4, 4, 64);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_echo_sent) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip4_source_route) == 3);
}

static void ip4_header_fields(struct script *s)
{
    script_listen(s);
    echo_with_options(s, NULL, 0, 5, 64);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip4_header) == 1 && s->icmp_out == 0);
    echo_with_options(s, NULL, 0, 4, 0); /* at its end, and here */
    CHECK(s, s->icmp_out == 1);
}

static void ip4_header_written(struct script *s)
{
    script_establish(s);
    script_app_send(s, 10);
    const uint16_t first = (uint16_t)(s->last_tcp.bytes[18] << 8 | s->last_tcp.bytes[19]);
    CHECK(s, s->last_tcp.bytes[20] == 0x40 && s->last_tcp.bytes[21] == 0 && s->last_tcp.bytes[22] == 64);
    script_app_send(s, 10);
    CHECK(s, (uint16_t)(s->last_tcp.bytes[18] << 8 | s->last_tcp.bytes[19]) == (uint16_t)(first + 1));
}

static void hop_limit_and_dscp(struct script *s)
{
    s->config.hop_limit = 9;
    s->config.dscp = 10;
    script_establish(s);
    CHECK(s, s->last_tcp.bytes[15] == 10 << 2 && s->last_tcp.bytes[22] == 9); /* the SYN-ACK */
    script_app_send(s, 10);
    CHECK(s, s->last_tcp.bytes[15] == 10 << 2 && s->last_tcp.bytes[22] == 9);
    tcp_set_dscp(s->connection, 46);
    script_app_send(s, 10);
    CHECK(s, s->last_tcp.bytes[15] == 46 << 2);
    tcp_set_dscp(s->connection, 0);
    script_app_send(s, 10);
    CHECK(s, s->last_tcp.bytes[15] == 0);
}

static void hop_limit_of_ip6(struct script *s)
{
    const struct script_raw *frame;

    s->config.hop_limit = 9;
    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    tcp6_to(s, script_peer_ip6, script_our_ip6, S, 100, 0);
    while ((frame = script_next_frame(s)) != NULL && frame->bytes[20] != IPPROTO_TCP)
        ;
    CHECK(s, frame && frame->bytes[21] == 9);
}

static void link_broadcast_is_dropped(struct script *s)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, group[6] = {1, 0, 0x5e, 0, 0, 1};

    script_listen(s);
    s->to_mac = broadcast;
    echo4(s);
    s->to_mac = group;
    echo4(s);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip4_link_broadcast) == 2 && s->icmp_out == 0);
    s->to_mac = NULL;
    echo4(s);
    CHECK(s, s->icmp_out == 1);
}

static void reassembly_of_many(struct script *s)
{
    uint8_t frame[14 + 20 + 1480] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45}, *ip = frame + 14;

    script_listen(s);
    for (uint32_t i = 0; i < 16 + 17; i++) { /* 23,680 bytes, then a packet of more pieces than we take */
        const uint32_t start = i % 16 * 1480 + (i == 32 ? 23680 : 0);
        ip[2] = 1500 >> 8;
        ip[3] = 1500 & 255;
        ip[5] = i < 16 ? 7 : 8;
        ip[6] = (uint8_t)((i != 15 ? 0x20 : 0) | start >> 11);
        ip[7] = (uint8_t)(start >> 3);
        ip[8] = 64;
        ip[9] = IPPROTO_TCP;
        memcpy(ip + 12, script_peer_ip, 4);
        memcpy(ip + 16, script_our_ip, 4);
        ip[10] = ip[11] = 0;
        const uint16_t sum = (uint16_t)~rte_raw_cksum(ip, 20);
        memcpy(ip + 10, &sum, 2);
        script_frame(s, frame, sizeof frame);
    }
    CHECK(s, script_counter(s, NET_COUNTER_fragments_reassembled) == 1);
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_full) == 17);
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_malformed) == 0);
}

/* The first `sent` bytes of an echo request of `length`, in fragments of at most 1,400; `ip6` or else IPv4. */
static void long_echo(struct script *s, bool ip6, uint32_t length, uint32_t sent)
{
    static uint8_t icmp[4000], frame[14 + 48 + 1400];
    const uint32_t header = ip6 ? 48 : 20;
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16((uint16_t)length)};
    uint16_t sum;

    for (uint32_t i = 4; i < length; i++)
        icmp[i] = (uint8_t)(i * 7);
    memcpy(icmp, (const uint8_t[4]){ip6 ? 128 : 8}, 4);
    memcpy(pseudo.src_addr, script_peer_ip6, 16);
    memcpy(pseudo.dst_addr, script_our_ip6, 16);
    sum = ip6 ? rte_ipv6_udptcp_cksum(&pseudo, icmp) : (uint16_t)~rte_raw_cksum(icmp, length);
    memcpy(icmp + 2, &sum, 2);
    for (uint32_t start = 0; start < sent; start += 1400) {
        const uint32_t here = length - start < 1400 ? length - start : 1400;
        const uint8_t more = start + here < length;
        uint8_t *const ip = frame + 14;
        memset(frame, 0, sizeof frame);
        memcpy(frame, (const uint8_t[12]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, 12);
        memcpy(ip + header, icmp + start, here);
        if (ip6) {
            memcpy(frame + 12, (const uint8_t[3]){0x86, 0xdd, 0x60}, 3);
            memcpy(ip + 4, (const uint8_t[4]){(uint8_t)((here + 8) >> 8), (uint8_t)(here + 8), IPPROTO_FRAGMENT, 64},
                   4);
            memcpy(ip + 8, script_peer_ip6, 16);
            memcpy(ip + 24, script_our_ip6, 16);
            memcpy(ip + 40, (const uint8_t[4]){IPPROTO_ICMPV6, 0, (uint8_t)(start >> 8), (uint8_t)(start | more)}, 4);
        } else {
            memcpy(frame + 12, (const uint8_t[3]){0x08, 0x00, 0x45}, 3);
            memcpy(ip + 2, (const uint8_t[2]){(uint8_t)((here + 20) >> 8), (uint8_t)(here + 20)}, 2);
            memcpy(ip + 6, (const uint8_t[4]){(uint8_t)(more << 5), (uint8_t)(start >> 3), 64, IPPROTO_ICMP}, 4);
            ip[6] = (uint8_t)(ip[6] | start >> 11);
            memcpy(ip + 12, script_peer_ip, 4);
            memcpy(ip + 16, script_our_ip, 4);
            sum = (uint16_t)~rte_raw_cksum(ip, 20);
            memcpy(ip + 10, &sum, 2);
        }
        script_frame(s, frame, 14 + header + here);
    }
    script_turn(s);
}

/* The next frame: a fragment of `length` bytes of payload from `start` on. */
static bool next_is_fragment(struct script *s, bool ip6, uint32_t start, uint32_t length, bool more, uint32_t *id)
{
    const struct script_raw *frame = script_next_frame(s);
    const uint8_t *ip = frame ? frame->bytes + 14 : NULL;

    if (!ip || frame->length != 14 + (ip6 ? 48 : 20) + length)
        return false;
    if (ip6) {
        memcpy(id, ip + 44, 4);
        return ip[6] == IPPROTO_FRAGMENT && ip[40] == IPPROTO_ICMPV6 &&
               (uint32_t)(ip[42] << 8 | ip[43]) == (start | more);
    }
    *id = (uint32_t)(ip[4] << 8 | ip[5]);
    return (uint32_t)(ip[6] << 8 | ip[7]) == ((more ? 0x2000u : 0) | start >> 3) && rte_raw_cksum(ip, 20) == 0xffff;
}

static void long_echo_is_answered(struct script *s)
{
    uint32_t ids[4] = {0};

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    arp(s, 1, peer_mac, script_peer_ip, script_our_ip);
    for (int ip6 = 0; ip6 < 2; ip6++) {
        forget_frames(s);
        long_echo(s, ip6, 1440, 1440); /* in two pieces, but one is enough */
        const struct script_raw *frame = ip6 ? next_icmp6(s, 129) : next_icmp4(s);
        CHECK(s, frame && frame->length == (ip6 ? 54 : 34) + 1440);
        CHECK(s, frame && frame->bytes[ip6 ? 54 + 100 : 34 + 100] == (uint8_t)(100 * 7));
        for (int i = 0; i < 2; i++) {
            long_echo(s, ip6, 3000, 3000);
            CHECK(s, next_is_fragment(s, ip6, 0, 1448, true, &ids[0]));
            CHECK(s, next_is_fragment(s, ip6, 1448, 1448, true, &ids[1]) && ids[1] == ids[0]);
            CHECK(s, next_is_fragment(s, ip6, 2896, 104, false, &ids[2]) && ids[2] == ids[0]);
            CHECK(s, script_next_frame(s) == NULL);
            CHECK(s, i == 0 || (ids[0] != ids[3] && (!ip6 || ids[0] - ids[3] > 65536)));
            ids[3] = ids[0];
        }
    }
}

/* Part of an echo request of 64 bytes behind destination options, as a fragment behind hop-by-hop options; `next` is
 * what the fragment header says. */
static void echo6_piece(struct script *s, uint32_t start, uint32_t length, bool more, uint8_t identifier, uint8_t next)
{
    uint8_t whole[72] = {IPPROTO_ICMPV6, 0, 0x1e, 4, [8] = 128};
    uint8_t packet[16 + 72] = {IPPROTO_FRAGMENT, 0, 1, 4, [8] = next};
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16(64)};

    memcpy(pseudo.src_addr, script_peer_ip6, 16);
    memcpy(pseudo.dst_addr, script_our_ip6, 16);
    const uint16_t sum = rte_ipv6_udptcp_cksum(&pseudo, whole + 8);
    memcpy(whole + 10, &sum, 2);
    packet[10] = (uint8_t)(start >> 8);
    packet[11] = (uint8_t)(start | more);
    packet[15] = identifier;
    memcpy(packet + 16, whole + start % 72, length);
    script_ip6(s, script_peer_ip6, script_our_ip6, 0, 64, packet, 16 + length);
}

static void fragments_among_extensions(struct script *s)
{
    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    echo6_piece(s, 0, 72, false, 1, IPPROTO_DSTOPTS);
    CHECK(s, next_icmp6(s, 129) != NULL);
    echo6_piece(s, 0, 40, true, 3, IPPROTO_DSTOPTS);
    echo6_piece(s, 0, 72, false, 3, IPPROTO_DSTOPTS);
    CHECK(s, next_icmp6(s, 129) != NULL);
    echo6_piece(s, 40, 32, false, 3, IPPROTO_DSTOPTS); /* the other has not been disturbed */
    CHECK(s, next_icmp6(s, 129) != NULL);
    echo6_piece(s, 40, 32, false, 2, IPPROTO_TCP); /* only the first one's word counts */
    echo6_piece(s, 0, 40, true, 2, IPPROTO_DSTOPTS);
    CHECK(s, next_icmp6(s, 129) != NULL);
    CHECK(s, script_counter(s, NET_COUNTER_fragments_reassembled) == 4);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip6_protocol) == 0);
    CHECK(s, script_counter(s, NET_COUNTER_drop_icmp_checksum) == 0);
}

static void fragments_of_ip6_that_are_wrong(struct script *s)
{
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    echo6_piece(s, 0, 33, true, 1, IPPROTO_DSTOPTS);
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 0 && frame->bytes[61] == 4); /* the payload length */
    echo6_piece(s, 65528, 16, false, 1, IPPROTO_DSTOPTS);
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 0 && frame->bytes[61] == 40 + 8 + 2); /* the offset */
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_malformed) == 2);
}

static void reassembly_that_takes_too_long_is_told(struct script *s)
{
    const struct script_raw *frame;
    uint8_t error[48] = {IPPROTO_ICMPV6, 0, 0, 1, [7] = 5, [8] = 1}; /* the first fragment of an ICMPv6 error */

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    arp(s, 1, peer_mac, script_peer_ip, script_our_ip);
    forget_frames(s);
    long_echo(s, false, 3000, 2800);
    long_echo(s, true, 3000, 2800);
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_FRAGMENT, 64, error, sizeof error);
    echo6_piece(s, 8, 8, true, 9, IPPROTO_DSTOPTS); /* not the first */
    script_wait(s, 6000000);
    frame = next_icmp6(s, 3);
    CHECK(s, frame && frame->bytes[55] == 1 && frame->length == 14 + 1280 && frame->bytes[62 + 6] == IPPROTO_FRAGMENT);
    frame = next_icmp4(s);
    CHECK(s, frame && frame->bytes[34] == 11 && frame->bytes[35] == 1 && frame->length == 14 + 576);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_errors_sent) == 2);
    CHECK(s, script_counter(s, NET_COUNTER_drop_fragment_timeout) == 6);
}

/* A data segment of an ECN connection in two fragments, of which the first has met congestion. */
static void mark_first(struct script *s, const uint8_t *frame, uint32_t length)
{
    uint8_t piece[2000];

    for (uint32_t start = 0, cut = 104, total = length - 34; start < total; start = cut, cut = total) {
        uint8_t *ip = piece + 14;
        memcpy(piece, frame, 34);
        memcpy(piece + 34, frame + 34 + start, cut - start);
        ip[1] = start ? 2 : 3;
        ip[2] = (uint8_t)((20 + cut - start) >> 8);
        ip[3] = (uint8_t)(20 + cut - start);
        ip[5] = 9;
        ip[6] = start ? 0 : 0x20;
        ip[7] = (uint8_t)(start >> 3);
        ip[10] = ip[11] = 0;
        const uint16_t sum = (uint16_t)~rte_raw_cksum(ip, 20);
        memcpy(ip + 10, &sum, 2);
        script_frame(s, piece, 34 + cut - start);
    }
}

static void fragments_keep_their_mark(struct script *s)
{
    struct script_segment *out;

    script_listen(s);
    script_send(s, S | E | C, 0, 0, 65535, 0);
    EXPECT(s, S | A | E, 0, 1, 0);
    script_send(s, A, 1, 1, 65535, 0);
    s->divert = mark_first;
    script_send(s, A | P, 1, 1, 65535, 200);
    s->divert = NULL;
    CHECK(s, s->consumed == 200 && script_counter(s, NET_COUNTER_tcp_ecn_marks_received) == 1);
    out = script_next(s);
    CHECK(s, out && (out->flags & E));
}

/* ---- Routes. */

static void longest_prefix(struct script *s)
{
    static const struct net_prefix whole = {{.bytes = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 0}}, 8},
                                   part = {{.bytes = {[10] = 0xff, [11] = 0xff, 10, 1, 0, 0}}, 16};
    struct net_address any = NET_ADDRESS_ANY, near = whole.address, far = part.address;
    const struct script_raw *frame;
    uint32_t gateway;

    memcpy(&gateway, (const uint8_t[4]){198, 18, 0, 8}, 4);
    s->config.routes[0] = (struct net_route_config){whole, net_address_ip4(gateway), 0};
    memcpy(&gateway, (const uint8_t[4]){198, 18, 0, 9}, 4);
    s->config.routes[1] = (struct net_route_config){part, net_address_ip4(gateway), 0};
    s->config.route_count = 2;
    memcpy(&gateway, (const uint8_t[4]){198, 18, 0, 7}, 4);
    s->config.interfaces[0].gateway4 = net_address_ip4(gateway);
    script_listen(s);
    forget_frames(s);
    far.bytes[15] = near.bytes[15] = 5;
    tcp_connect(s->stack, &any, 0, &far, 80, s);
    script_turn(s);
    frame = next_arp(s);
    CHECK(s, frame && frame->bytes[41] == 9);
    near.bytes[13] = 2;
    tcp_connect(s->stack, &any, 0, &near, 80, s);
    script_turn(s);
    frame = next_arp(s);
    CHECK(s, frame && frame->bytes[41] == 8);
    near.bytes[12] = 11;
    tcp_connect(s->stack, &any, 0, &near, 80, s);
    script_turn(s);
    frame = next_arp(s);
    CHECK(s, frame && frame->bytes[41] == 7);
}

/* ---- IPv6. */

static void version_of_ip6(struct script *s)
{
    uint8_t frame[54 + 16] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x50};

    script_use_ip6(s);
    script_listen(s);
    frame[19] = 16;
    frame[20] = IPPROTO_ICMPV6;
    memcpy(frame + 22, script_peer_ip6, 16);
    memcpy(frame + 38, script_our_ip6, 16);
    script_frame(s, frame, sizeof frame);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip6_header) == 1);
}

/* A destination options header with one option of this type, and an echo request (or `after`) behind. */
static void option6(struct script *s, const uint8_t destination[16], uint8_t kind, uint8_t after)
{
    uint8_t bytes[24] = {after, 0, kind, 4, 0, 0, 0, 0, 128};
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16(16)};

    memcpy(pseudo.src_addr, script_peer_ip6, 16);
    memcpy(pseudo.dst_addr, destination, 16);
    const uint16_t sum = rte_ipv6_udptcp_cksum(&pseudo, bytes + 8);
    memcpy(bytes + 10, &sum, 2);
    script_ip6(s, script_peer_ip6, destination, IPPROTO_DSTOPTS, 64, bytes, sizeof bytes);
}

static void options_of_ip6(struct script *s)
{
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    option6(s, script_our_ip6, 0x1e, IPPROTO_ICMPV6); /* 00: skipped */
    CHECK(s, next_icmp6(s, 129) != NULL);
    option6(s, script_our_ip6, 0x5e, IPPROTO_ICMPV6); /* 01: dropped */
    CHECK(s, script_next_frame(s) == NULL && script_counter(s, NET_COUNTER_drop_ip6_extension) == 1);
    option6(s, script_our_ip6, 0x9e, IPPROTO_ICMPV6); /* 10: dropped and told */
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 2 && frame->bytes[61] == 42);         /* the option's type */
    CHECK(s, frame && memcmp(frame->bytes + 62 + 8, script_peer_ip6, 16) == 0); /* what is quoted */
    option6(s, script_our_ip6, 0xde, IPPROTO_ICMPV6);                           /* 11: told unless to a group */
    CHECK(s, next_icmp6(s, 4) != NULL);
    option6(s, all_nodes, 0xde, IPPROTO_ICMPV6);
    s->to_mac = (const uint8_t[6]){0x33, 0x33, 0, 0, 0, 1}; /* to many, though the address is one's */
    option6(s, script_our_ip6, 0xde, IPPROTO_ICMPV6);
    s->to_mac = NULL;
    CHECK(s, script_next_frame(s) == NULL && script_counter(s, NET_COUNTER_drop_ip6_extension) == 5);
    option6(s, all_nodes, 0x9e, IPPROTO_ICMPV6); /* 10 is told even then */
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 2 && memcmp(frame->bytes + 22, script_our_ip6, 16) == 0);
}

static void extensions_of_ip6(struct script *s)
{
    uint8_t chain[6 * 8] = {60, [2] = 1, [3] = 4};
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    /* Hop-by-hop, destination, a routing header that is exhausted, an echo request. */
    memcpy(chain + 8, (const uint8_t[8]){43, 0, 1, 4}, 8);
    memcpy(chain + 16, (const uint8_t[8]){IPPROTO_ICMPV6, 0, 99, 0}, 8);
    memcpy(chain + 24, (const uint8_t[16]){128}, 16);
    struct rte_ipv6_hdr pseudo = {.proto = IPPROTO_ICMPV6, .payload_len = rte_cpu_to_be_16(16)};
    memcpy(pseudo.src_addr, script_peer_ip6, 16);
    memcpy(pseudo.dst_addr, script_our_ip6, 16);
    const uint16_t sum = rte_ipv6_udptcp_cksum(&pseudo, chain + 24);
    memcpy(chain + 26, &sum, 2);
    script_ip6(s, script_peer_ip6, script_our_ip6, 0, 64, chain, 40);
    CHECK(s, next_icmp6(s, 129) != NULL);
    chain[16 + 3] = 1; /* segments left: that is for routers */
    script_ip6(s, script_peer_ip6, script_our_ip6, 0, 64, chain, 40);
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 0 && frame->bytes[61] == 40 + 16 + 2);
    chain[0] = 0; /* hop-by-hop once more */
    script_ip6(s, script_peer_ip6, script_our_ip6, 0, 64, chain, 40);
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 1 && frame->bytes[61] == 40);
    memset(chain, 0, sizeof chain);
    for (unsigned i = 0; i < 5; i++)
        memcpy(chain + 8 * i, (const uint8_t[8]){60, 0, 1, 4}, 8);
    script_ip6(s, script_peer_ip6, script_our_ip6, 60, 64, chain, sizeof chain); /* five of them */
    CHECK(s, script_next_frame(s) == NULL && script_counter(s, NET_COUNTER_drop_ip6_extension) == 3);
    chain[1] = 9; /* longer than the packet */
    script_ip6(s, script_peer_ip6, script_our_ip6, 60, 64, chain, sizeof chain);
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip6_extension) == 4);
}

static void unknown_next_header(struct script *s)
{
    static const uint8_t bytes[16];
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    script_ip6(s, script_peer_ip6, script_our_ip6, 222, 64, bytes, sizeof bytes);
    frame = next_icmp6(s, 4);
    CHECK(s, frame && frame->bytes[55] == 1 && frame->bytes[61] == 6); /* where the IPv6 header names it */
    CHECK(s, script_counter(s, NET_COUNTER_drop_ip6_protocol) == 1);
    script_ip6(s, script_peer_ip6, script_our_ip6, 59, 64, bytes, sizeof bytes); /* no next header: nothing to say */
    CHECK(s, script_next_frame(s) == NULL && script_counter(s, NET_COUNTER_drop_ip6_protocol) == 2);
}

/* ---- ICMP. */

static void unreachable_is_told(struct script *s)
{
    static const uint8_t udp[8] = {0x10, 0, 0, 53, 0, 8};
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    arp(s, 1, peer_mac, script_peer_ip, script_our_ip);
    forget_frames(s);
    script_ip4(s, script_peer_ip, script_our_ip, IPPROTO_UDP, udp, sizeof udp);
    frame = next_icmp4(s);
    CHECK(s, frame && frame->bytes[34] == 3 && frame->bytes[35] == 3 && frame->length == 14 + 20 + 8 + 28);
    CHECK(s, frame && memcmp(frame->bytes + 42 + 12, script_peer_ip, 4) == 0 && frame->bytes[42 + 23] == 53);
    CHECK(s, frame && rte_raw_cksum(frame->bytes + 34, 36) == 0xffff);
    script_ip4(s, script_peer_ip, script_our_ip, 99, udp, sizeof udp);
    frame = next_icmp4(s);
    CHECK(s, frame && frame->bytes[34] == 3 && frame->bytes[35] == 2);
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_UDP, 64, udp, sizeof udp);
    frame = next_icmp6(s, 1);
    CHECK(s, frame && frame->bytes[55] == 4 && memcmp(frame->bytes + 22, script_our_ip6, 16) == 0);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_errors_sent) == 3);
}

static void errors_that_are_not_sent(struct script *s)
{
    static const uint8_t udp[8] = {0x10, 0, 0, 53, 0, 8}, nobody[4] = {0, 0, 0, 0}, network[4] = {198, 18, 0, 255};
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t hidden[24] = {IPPROTO_ICMPV6, 0, 0x9e, 4, [8] = 1}; /* an option to complain of, before an error */

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    script_ip4(s, nobody, script_our_ip, IPPROTO_UDP, udp, sizeof udp);
    script_ip4(s, network, script_our_ip, IPPROTO_UDP, udp, sizeof udp);
    script_ip4(s, script_peer_ip, network, IPPROTO_UDP, udp, sizeof udp);
    script_ip6(s, script_peer_ip6, all_nodes, IPPROTO_UDP, 64, udp, sizeof udp);
    script_ip6(s, unspecified, script_our_ip6, IPPROTO_UDP, 64, udp, sizeof udp);
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_DSTOPTS, 64, hidden, sizeof hidden);
    s->to_mac = broadcast;
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_UDP, 64, udp, sizeof udp);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_errors_sent) == 0);
    s->to_mac = NULL;
    hidden[0] = IPPROTO_TCP;
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_DSTOPTS, 64, hidden, sizeof hidden);
    CHECK(s, script_counter(s, NET_COUNTER_icmp_errors_sent) == 1);
}

/* What is quoted fits the smallest packet of IPv6, whatever came. */
static void errors_are_bounded(struct script *s)
{
    static const uint8_t udp[1400] = {0x10, 0, 0, 53, 5, 120};
    const struct script_raw *frame;

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    arp(s, 1, peer_mac, script_peer_ip, script_our_ip);
    forget_frames(s);
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_UDP, 64, udp, sizeof udp);
    frame = next_icmp6(s, 1);
    CHECK(s, frame && frame->length == 14 + 1280);
    script_ip4(s, script_peer_ip, script_our_ip, IPPROTO_UDP, udp, sizeof udp);
    frame = next_icmp4(s);
    CHECK(s, frame && frame->length == 14 + 576);
}

static void icmp6_checksum_is_checked(struct script *s)
{
    uint8_t icmp[16] = {128, 0, 1, 2};

    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    script_ip6(s, script_peer_ip6, script_our_ip6, IPPROTO_ICMPV6, 64, icmp, sizeof icmp);
    CHECK(s, script_counter(s, NET_COUNTER_drop_icmp_checksum) == 1 && next_icmp6(s, 129) == NULL);
    echo6(s, script_peer_ip6, script_our_ip6);
    CHECK(s, next_icmp6(s, 129) != NULL);
}

static uint16_t icmp6_sum(const struct script_raw *frame)
{
    const uint8_t *ip = frame->bytes + 14;
    uint32_t sum = IPPROTO_ICMPV6 + frame->length - 54;

    for (uint32_t i = 8; i < frame->length - 14; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static void echo_of_zeros(struct script *s)
{
    script_listen(s);
    arp(s, 1, peer_mac, script_peer_ip, script_our_ip);
    forget_frames(s);
    echo4(s); /* type 8, and zeros behind the checksum */
    const struct script_raw *frame = next_icmp4(s);
    CHECK(s, frame && rte_raw_cksum(frame->bytes + 34, 16) == 0xffff);
}

static void echo_to_groups(struct script *s)
{
    script_use_ip6(s);
    script_listen(s);
    peer_is_known(s);
    echo6(s, script_peer_ip6, all_nodes);
    const struct script_raw *frame = next_icmp6(s, 129);
    CHECK(s, frame && memcmp(frame->bytes + 22, script_our_ip6, 16) == 0);
    CHECK(s, frame && icmp6_sum(frame) == 0xffff);
    echo6(s, script_peer_ip6, our_group);
    CHECK(s, next_icmp6(s, 129) != NULL);
    echo6(s, script_peer_ip6, (const uint8_t[16]){0xff, 2, [11] = 1, [12] = 0xff, [15] = 9}); /* others' */
    echo6(s, script_peer_ip6, (const uint8_t[16]){0xff, 2, [15] = 2});
    CHECK(s, next_icmp6(s, 129) == NULL && script_counter(s, NET_COUNTER_drop_ip6_not_for_us) == 2);
}

/* ---- Opening to and from addresses. */

static void connect_to_bad_addresses(struct script *s)
{
    static const uint8_t bad4[][4] = {{0, 0, 0, 0},      {127, 0, 0, 1},  {224, 0, 0, 5}, {255, 255, 255, 255},
                                      {198, 18, 0, 255}, {198, 18, 0, 1}, {240, 0, 0, 1}};
    static const uint8_t bad6[][16] = {{0}, {[15] = 1}, {0xff, 2, [15] = 1}, {0x20, 1, 0xd, 0xb8, 0, 0x18, [15] = 1}};
    struct net_address any = NET_ADDRESS_ANY, good;
    uint32_t word;

    script_use_ip6(s);
    s->config.interfaces[0].gateway4 = s->config.interfaces[0].addresses[0].address;
    s->config.interfaces[0].gateway4.bytes[15] = 2;
    s->config.interfaces[0].gateway6 = net_address_ip6(script_peer_ip6);
    script_listen(s);
    for (unsigned i = 0; i < sizeof bad4 / sizeof *bad4; i++) {
        memcpy(&word, bad4[i], 4);
        struct net_address address = net_address_ip4(word);
        CHECK(s, tcp_connect(s->stack, &any, 0, &address, 80, s) == NULL);
    }
    for (unsigned i = 0; i < sizeof bad6 / sizeof *bad6; i++) {
        struct net_address address = net_address_ip6(bad6[i]);
        CHECK(s, tcp_connect(s->stack, &any, 0, &address, 80, s) == NULL);
    }
    memcpy(&word, script_peer_ip, 4);
    good = net_address_ip4(word);
    CHECK(s, tcp_connect(s->stack, &any, 0, &good, 0, s) == NULL);
    CHECK(s, tcp_connect(s->stack, &good, 0, &good, 80, s) == NULL); /* not ours */
    CHECK(s, tcp_connect(s->stack, &any, 0, &good, 80, s) != NULL);
}

static void connect_from_an_address(struct script *s)
{
    struct net_interface_config *interface = &s->config.interfaces[0];
    struct net_address local = interface->addresses[0].address, peer = local;

    local.bytes[15] = 9;
    peer.bytes[15] = 2;
    interface->addresses[interface->address_count++] = (struct net_prefix){local, 24};
    script_listen(s);
    CHECK(s, tcp_connect(s->stack, &local, 0, &peer, 4000, s) != NULL);
    script_turn(s);
    CHECK(s, s->last_tcp.bytes[29] == 9);
}

const struct script_case network_scripts[] = {
    SCRIPT(syn_to_a_group_of_ip6),
    SCRIPT(path_mtu_of_ip6),
    SCRIPT(unknown_icmp6),
    SCRIPT(link_local_address),
    SCRIPT(addresses_are_probed),
    SCRIPT(duplicate_address_is_not_used),
    SCRIPT(duplicate_address_is_probed_by_another),
    SCRIPT(address_conflict_is_counted),
    SCRIPT(address_is_defended),
    SCRIPT(listeners_are_reported),
    SCRIPT(listener_query_is_answered),
    SCRIPT(any_arp_updates_an_entry),
    SCRIPT(stale_neighbour_is_asked),
    SCRIPT(progress_confirms_a_neighbour),
    SCRIPT(neighbour_is_doubted),
    SCRIPT(neighbour_is_asked_once_a_second),
    SCRIPT(solicitation_is_answered),
    SCRIPT(probe_of_another),
    SCRIPT(advertisement_flags),
    SCRIPT(malformed_neighbour_discovery),
    SCRIPT(ip4_options),
    SCRIPT(ip4_header_fields),
    SCRIPT(ip4_header_written),
    SCRIPT(hop_limit_and_dscp),
    SCRIPT(hop_limit_of_ip6),
    SCRIPT(link_broadcast_is_dropped),
    SCRIPT(reassembly_of_many),
    SCRIPT(fragments_keep_their_mark),
    SCRIPT(long_echo_is_answered),
    SCRIPT(fragments_among_extensions),
    SCRIPT(reassembly_that_takes_too_long_is_told),
    SCRIPT(fragments_of_ip6_that_are_wrong),
    SCRIPT(longest_prefix),
    SCRIPT(version_of_ip6),
    SCRIPT(mapped_addresses_of_ip6),
    SCRIPT(options_of_ip6),
    SCRIPT(extensions_of_ip6),
    SCRIPT(unknown_next_header),
    SCRIPT(unreachable_is_told),
    SCRIPT(errors_that_are_not_sent),
    SCRIPT(errors_are_bounded),
    SCRIPT(icmp6_checksum_is_checked),
    SCRIPT(echo_of_zeros),
    SCRIPT(echo_to_groups),
    SCRIPT(connect_to_bad_addresses),
    SCRIPT(connect_from_an_address),
    {NULL, NULL},
};

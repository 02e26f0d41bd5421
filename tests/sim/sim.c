/* The simulated network. Job: sim.h. */
#include "tests/sim/sim.h"

#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_MBUFS = 4095, MBUF_ROOM = 2048 + RTE_PKTMBUF_HEADROOM };

struct sim_frame {
    uint64_t at;
    uint64_t order; /* first sent, first arrived, at equal times */
    uint32_t length;
    unsigned to;
    uint8_t bytes[];
};

static struct rte_mempool *pools[SIM_HOSTS]; /* made once, used by one simulation after the other */

void sim_environment(void)
{
    char *arguments[] = {"sim", "--no-huge", "--no-shconf", "--no-telemetry",    "--no-pci", "-m",
                         "256", "-l",        "0",           "--log-level=error", NULL};

    if (rte_eal_init(10, arguments) < 0) {
        fprintf(stderr, "EAL does not start: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "sim%u", i);
        pools[i] = rte_pktmbuf_pool_create(name, POOL_MBUFS, 0, NET_MBUF_PRIVATE, MBUF_ROOM, SOCKET_ID_ANY);
        if (!pools[i]) {
            fprintf(stderr, "no buffer pool: %s\n", rte_strerror(rte_errno));
            exit(2);
        }
    }
}

uint64_t sim_random(struct sim *sim)
{
    uint64_t z = (sim->random += 0x9e3779b97f4a7c15u); /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t sim_random_below(struct sim *sim, uint32_t bound)
{
    return bound ? (uint32_t)(sim_random(sim) % bound) : 0;
}

static bool happens(struct sim *sim, uint32_t ppm)
{
    return ppm && sim_random_below(sim, 1000000) < ppm;
}

struct net_address sim_address(unsigned host, bool ip6)
{
    struct net_address address = {.bytes = {0x20, 0x01, 0x0d, 0xb8, 0x00, 0x18}};

    if (!ip6)
        return net_address_ip4(rte_cpu_to_be_32(0xc6120001u + host));
    address.bytes[15] = (uint8_t)(1 + host);
    return address;
}

/* ---- Frames on the way: a binary heap. */

static bool frame_earlier(const struct sim_frame *a, const struct sim_frame *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct sim *sim, struct sim_frame *frame)
{
    if (sim->heap_count == sim->heap_room) {
        sim->heap_room = sim->heap_room ? sim->heap_room * 2 : 256;
        sim->heap = realloc(sim->heap, sim->heap_room * sizeof *sim->heap);
    }
    uint32_t at = sim->heap_count++;
    while (at > 0 && frame_earlier(frame, sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = frame;
}

static struct sim_frame *heap_pop(struct sim *sim)
{
    struct sim_frame *top = sim->heap[0], *last = sim->heap[--sim->heap_count];
    uint32_t at = 0, child;

    while ((child = 2 * at + 1) < sim->heap_count) {
        if (child + 1 < sim->heap_count && frame_earlier(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!frame_earlier(sim->heap[child], last))
            break;
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    sim->heap[at] = last;
    return top;
}

void sim_inject(struct sim *sim, unsigned host, const uint8_t *bytes, uint32_t length, uint64_t delay_us)
{
    struct sim_frame *frame = malloc(sizeof *frame + length);

    *frame = (struct sim_frame){.at = sim->now + delay_us, .order = sim->order++, .length = length, .to = host};
    memcpy(frame->bytes, bytes, length);
    heap_push(sim, frame);
}

/* ---- The middlebox and the faults. */

static struct rte_tcp_hdr *frame_tcp(uint8_t *frame, uint32_t length)
{
    uint32_t type = (uint32_t)frame[12] << 8 | frame[13];

    if (type == RTE_ETHER_TYPE_IPV4 && length >= 54 && frame[23] == IPPROTO_TCP)
        return (struct rte_tcp_hdr *)(frame + 14 + (frame[14] & 15) * 4);
    if (type == RTE_ETHER_TYPE_IPV6 && length >= 74 && frame[20] == IPPROTO_TCP)
        return (struct rte_tcp_hdr *)(frame + 54);
    return NULL;
}

static void tcp_checksum(uint8_t *frame, struct rte_tcp_hdr *tcp)
{
    tcp->cksum = 0;
    if (frame[12] == 0x08)
        tcp->cksum = rte_ipv4_udptcp_cksum((struct rte_ipv4_hdr *)(frame + 14), tcp);
    else
        tcp->cksum = rte_ipv6_udptcp_cksum((struct rte_ipv6_hdr *)(frame + 14), tcp);
}

static void strip_options(struct sim *sim, uint8_t *frame, uint32_t length)
{
    struct rte_tcp_hdr *tcp = frame_tcp(frame, length);
    static const unsigned kinds[] = {[4] = SIM_STRIP_SACK, [8] = SIM_STRIP_TIMESTAMPS, [3] = SIM_STRIP_SCALE};

    if (!sim->strip || !tcp || !(tcp->tcp_flags & RTE_TCP_SYN_FLAG))
        return;
    uint8_t *option = (uint8_t *)(tcp + 1), *end = (uint8_t *)tcp + (tcp->data_off >> 4) * 4;
    while (option < end && *option) {
        unsigned size = *option == 1 ? 1 : option[1];
        if (*option < 9 && (kinds[*option] & sim->strip))
            memset(option, 1, size);
        option += size;
    }
    tcp_checksum(frame, tcp);
}

static uint32_t payload_length(uint8_t *frame, const struct rte_tcp_hdr *tcp)
{
    uint32_t header = (tcp->data_off >> 4) * 4u;

    if (frame[12] == 0x08)
        return (uint32_t)frame[16] * 256 + frame[17] - (frame[14] & 15) * 4u - header;
    return (uint32_t)frame[18] * 256 + frame[19] - header;
}

static bool masked(struct sim_link *link, uint8_t *frame, uint32_t length)
{
    struct rte_tcp_hdr *tcp = frame_tcp(frame, length);
    uint32_t index;

    if (!link->loss_mask || !tcp || payload_length(frame, tcp) == 0)
        return false;
    index = link->segments++;
    return index < link->loss_mask_length && link->loss_mask[index];
}

static bool queue_overflows(struct sim *sim, const struct sim_link *link)
{
    if (!link->bits_per_second || !link->queue_bytes || link->busy_until <= sim->now)
        return false;
    return (link->busy_until - sim->now) * link->bits_per_second / 8000000 > link->queue_bytes;
}

static uint64_t link_delay(struct sim *sim, struct sim_link *link, uint32_t length)
{
    uint64_t start = link->busy_until > sim->now ? link->busy_until : sim->now;

    if (link->bits_per_second) {
        link->busy_until = start + (uint64_t)length * 8000000 / link->bits_per_second;
        start = link->busy_until;
    }
    uint64_t delay = start - sim->now + link->delay_us + sim_random_below(sim, (uint32_t)link->jitter_us);
    if (happens(sim, link->reorder_ppm))
        delay += sim_random_below(sim, (uint32_t)link->reorder_us);
    return delay;
}

static void link_send(struct sim *sim, unsigned from, uint8_t *frame, uint32_t length)
{
    struct sim_link *link = &sim->links[from];
    bool lost = happens(sim, link->loss_ppm);

    if (masked(link, frame, length) || (sim->tap && sim->tap(sim, from, frame, length)))
        return;
    if (lost || queue_overflows(sim, link))
        return;
    strip_options(sim, frame, length);
    if (frame[12] != 0x08 || frame[13] != 0x06) {
        if (happens(sim, link->corrupt_ppm))
            frame[14 + sim_random_below(sim, length - 14)] ^= (uint8_t)(1u << sim_random_below(sim, 8));
    }
    unsigned copies = happens(sim, link->duplicate_ppm) ? 2 : 1;
    for (unsigned i = 0; i < copies; i++)
        sim_inject(sim, !from, frame, length, link_delay(sim, link, length));
}

/* ---- The port. */

static void send_segmented(struct sim *sim, unsigned from, uint8_t *frame, uint32_t length, const struct rte_mbuf *mbuf)
{
    uint32_t header = mbuf->l2_len + mbuf->l3_len + mbuf->l4_len, sequence = 0;
    static uint8_t piece[65536];

    for (uint32_t offset = header; offset < length; offset += mbuf->tso_segsz) {
        uint32_t here = length - offset < mbuf->tso_segsz ? length - offset : mbuf->tso_segsz;
        memcpy(piece, frame, header);
        memcpy(piece + header, frame + offset, here);
        struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(piece + mbuf->l2_len + mbuf->l3_len);
        tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + sequence);
        if (offset + here < length)
            tcp->tcp_flags &= (uint8_t) ~(RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG);
        if (piece[12] == 0x08) {
            struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(piece + 14);
            ip->total_length = rte_cpu_to_be_16((uint16_t)(header + here - 14));
            ip->hdr_checksum = 0;
            ip->hdr_checksum = rte_ipv4_cksum(ip);
        } else {
            ((struct rte_ipv6_hdr *)(piece + 14))->payload_len = rte_cpu_to_be_16((uint16_t)(header + here - 54));
        }
        tcp_checksum(piece, tcp);
        link_send(sim, from, piece, header + here);
        sequence += here;
    }
}

static void offload_checksums(uint8_t *frame, uint32_t length, const struct rte_mbuf *mbuf)
{
    if (mbuf->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) {
        struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    if ((mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM)
        tcp_checksum(frame, frame_tcp(frame, length));
}

/* Let go of the oldest buffers until `keep` are held. */
static void port_release(struct sim_host *host, unsigned keep)
{
    while (host->held_count > keep) {
        rte_pktmbuf_free(host->held[0]);
        memmove(host->held, host->held + 1, --host->held_count * sizeof *host->held);
    }
}

static uint16_t port_transmit(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count)
{
    struct sim_host *host = arg;
    static uint8_t frame[70000];

    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = mbufs[i];
        const uint8_t *bytes = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, frame);
        if (bytes != frame)
            memcpy(frame, bytes, mbuf->pkt_len);
        host->frames_sent++;
        host->bytes_sent += mbuf->pkt_len;
        if (mbuf->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
            send_segmented(host->sim, host->index, frame, mbuf->pkt_len, mbuf);
        } else {
            offload_checksums(frame, mbuf->pkt_len, mbuf);
            link_send(host->sim, host->index, frame, mbuf->pkt_len);
        }
        port_release(host, host->sim->hold < 63 ? host->sim->hold : 63);
        host->held[host->held_count++] = mbuf;
    }
    return count;
}

static void frame_arrive(struct sim *sim, struct sim_frame *frame)
{
    struct sim_host *host = &sim->hosts[frame->to];
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(host->pool);

    if (mbuf && frame->length <= rte_pktmbuf_tailroom(mbuf)) {
        memcpy(rte_pktmbuf_append(mbuf, (uint16_t)frame->length), frame->bytes, frame->length);
        net_input(host->stack, 0, &mbuf, 1, sim->now);
    } else {
        rte_pktmbuf_free(mbuf);
    }
    free(frame);
}

/* ---- Running. */

void sim_init(struct sim *sim, uint64_t seed)
{
    *sim = (struct sim){.seed = seed, .random = seed, .now = 1000000000};
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        struct sim_host *host = &sim->hosts[i];
        sim->links[i].delay_us = 1000;
        host->sim = sim;
        host->index = i;
        host->pool = pools[i];
        host->wheel = malloc(sizeof *host->wheel);
        timer_wheel_init(host->wheel, sim->now);
        struct net_config *config = &host->config;
        net_config_defaults(config);
        config->seed[0] = sim_random(sim);
        config->seed[1] = sim_random(sim);
        config->max_connections = 64;
        config->max_half_open = 16;
        config->max_time_wait = 64;
        config->max_neighbours = 16;
        config->interface_count = 1;
        config->interfaces[0] = (struct net_interface_config){
            .mac = {0x02, 0, 0, 0, 0, (uint8_t)(1 + i)},
            .mtu = 1500,
            .tso_bytes = 60000,
            .address_count = 2,
            .addresses = {{sim_address(i, false), 24}, {sim_address(i, true), 64}},
        };
        config->pool = host->pool;
        config->wheel = host->wheel;
        config->transmit = port_transmit;
        config->arg = host;
    }
}

void sim_begin(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        const char *reason;
        sim->hosts[i].stack = net_stack_create(&sim->hosts[i].config, sim->now, &reason);
        if (!sim->hosts[i].stack) {
            fprintf(stderr, "no stack: %s\n", reason);
            exit(2);
        }
    }
}

unsigned sim_end(struct sim *sim)
{
    unsigned missing = 0;

    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        struct sim_host *host = &sim->hosts[i];
        if (host->stack)
            net_stack_destroy(host->stack);
        port_release(host, 0);
        free(host->wheel);
    }
    while (sim->heap_count)
        free(heap_pop(sim));
    free(sim->heap);
    for (unsigned i = 0; i < SIM_HOSTS; i++)
        missing += rte_mempool_in_use_count(pools[i]);
    return missing;
}

static uint64_t next_event(const struct sim *sim)
{
    uint64_t next = sim->heap_count ? sim->heap[0]->at : UINT64_MAX;

    if (sim->poll_at && sim->poll_at < next)
        next = sim->poll_at;

    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        uint64_t deadline = net_next_deadline(sim->hosts[i].stack);
        if (deadline < next)
            next = deadline;
    }
    return next;
}

static void host_iterate(struct sim *sim, struct sim_host *host)
{
    timer_wheel_advance(host->wheel, sim->now, 1000);
    net_deliver(host->stack, sim->now);
    net_output(host->stack, sim->now);
}

bool sim_step(struct sim *sim, uint64_t deadline)
{
    uint64_t next = next_event(sim);

    if (next == UINT64_MAX)
        return false;
    if (next > deadline)
        next = deadline;
    if (next > sim->now)
        sim->now = next;
    while (sim->heap_count && sim->heap[0]->at <= sim->now)
        frame_arrive(sim, heap_pop(sim));
    sim->poll_at = 0;
    if (sim->poll)
        sim->poll(sim);
    for (unsigned i = 0; i < SIM_HOSTS; i++)
        host_iterate(sim, &sim->hosts[i]);
    return true;
}

void sim_run(struct sim *sim, uint64_t deadline)
{
    while (sim->now < deadline && sim_step(sim, deadline))
        ;
    if (sim->now < deadline)
        sim->now = deadline;
}

bool sim_census_empty(const struct sim_host *host)
{
    struct net_census census;

    net_census(host->stack, &census);
    census.listeners = 0;
    const uint64_t *counts = (const uint64_t *)&census;
    static const char *const names[] = {"connections", "half open",    "time-wait", "moved",      "listeners", "send",
                                        "receive",     "out of order", "neighbour", "reassembly", "transmit"};
    _Static_assert(sizeof names / sizeof *names == sizeof census / sizeof(uint64_t), "a name for each");
    bool empty = true;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (counts[i] == 0)
            continue;
        fprintf(stderr, "host %u: left over: %lu %s\n", host->index, (unsigned long)counts[i], names[i]);
        empty = false;
    }
    return empty;
}

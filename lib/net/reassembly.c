/*
 * Fragments of IPv4 (RFC 791, 815) and IPv6 (RFC 8200 section 4.5); overlaps are refused in both (RFC 5722). Private to
 * lib/net (stack.h); the stack's thread.
 *
 * Bounds: config.max_reassembly packets at a time, FRAGMENTS_MAX pieces each, REASSEMBLY_US of patience. A complete
 * packet is the chain of its fragments' mbufs, first one with the headers: nothing is copied.
 */
#include "lib/net/stack.h"

#include <rte_byteorder.h>
#include <rte_ip.h>

enum { CONGESTION_EXPERIENCED = 3 };
enum { FRAGMENTS_MAX = 16, REASSEMBLY_US = 5 * 1000 * 1000 };

struct fragment {
    struct rte_mbuf *mbuf; /* data starts at the IP header for offset 0, at the payload otherwise */
    uint16_t start;
    uint16_t end;
};

struct reassembly {
    struct net_address remote;
    struct net_address local;
    uint32_t identifier;
    uint8_t protocol;
    uint8_t count; /* 0: free */
    bool last_seen;
    bool marked; /* congestion experienced by one of them at least */
    uint16_t total;
    uint16_t network_offset; /* of the first fragment, as in struct net_packet */
    uint16_t transport_offset;
    uint16_t protocol_at;
    uint8_t interface;
    uint32_t started_at;                      /* tick */
    struct fragment fragments[FRAGMENTS_MAX]; /* by start */
};

size_t reassembly_bytes(uint32_t count)
{
    return count * sizeof(struct reassembly);
}

static void reassembly_drop(struct net_stack *stack, struct reassembly *entry)
{
    for (unsigned i = 0; i < entry->count; i++)
        rte_pktmbuf_free(entry->fragments[i].mbuf);
    stack->census.reassembly_mbufs -= entry->count;
    entry->count = 0;
}

static struct reassembly *reassembly_find(struct net_stack *stack, const struct net_packet *packet, uint32_t identifier)
{
    struct reassembly *oldest = NULL, *free = NULL;

    for (uint32_t i = 0; i < stack->config.max_reassembly; i++) {
        struct reassembly *entry = &stack->reassemblies[i];
        if (entry->count == 0) {
            free = entry;
            continue;
        }
        /* With IPv6 the first fragment alone says which protocol it is. */
        if (entry->identifier == identifier &&
            (entry->protocol == packet->protocol || !net_address_is_ip4(&entry->local)) &&
            net_address_equal(&entry->remote, &packet->flow.remote) &&
            net_address_equal(&entry->local, &packet->flow.local))
            return entry;
        if (!oldest || (int32_t)(entry->started_at - oldest->started_at) < 0)
            oldest = entry;
    }
    if (!free && oldest) {
        COUNT_ADD(stack, drop_fragment_full, oldest->count);
        reassembly_drop(stack, oldest);
        free = oldest;
    }
    if (free)
        *free = (struct reassembly){.remote = packet->flow.remote,
                                    .local = packet->flow.local,
                                    .identifier = identifier,
                                    .protocol = packet->protocol,
                                    .started_at = stack->tick};
    return free;
}

/* Insert by offset; false: overlap or inconsistent end. */
static bool fragment_insert(struct reassembly *entry, struct fragment fragment, bool more)
{
    unsigned at = entry->count;

    if (entry->last_seen && fragment.end > entry->total)
        return false;
    while (at > 0 && entry->fragments[at - 1].start > fragment.start)
        at--;
    if (at > 0 && entry->fragments[at - 1].end > fragment.start)
        return false;
    if (at < entry->count && entry->fragments[at].start < fragment.end)
        return false;
    if (!more) {
        if (entry->last_seen || at != entry->count)
            return false;
        entry->last_seen = true;
        entry->total = fragment.end;
    }
    memmove(&entry->fragments[at + 1], &entry->fragments[at], (entry->count - at) * sizeof(struct fragment));
    entry->fragments[at] = fragment;
    entry->count++;
    return true;
}

static bool reassembly_complete(const struct reassembly *entry)
{
    uint32_t next = 0;

    for (unsigned i = 0; i < entry->count; i++) {
        if (entry->fragments[i].start != next)
            return false;
        next = entry->fragments[i].end;
    }
    return entry->last_seen && next == entry->total;
}

static void ip4_complete(const struct reassembly *entry, struct net_packet *packet)
{
    struct rte_ipv4_hdr *header = rte_pktmbuf_mtod_offset(packet->mbuf, struct rte_ipv4_hdr *, packet->network_offset);

    header->fragment_offset = 0;
    header->total_length = rte_cpu_to_be_16((uint16_t)(entry->total + rte_ipv4_hdr_len(header)));
    header->hdr_checksum = 0;
    header->hdr_checksum = rte_ipv4_cksum(header);
    packet->transport_offset = (uint16_t)(packet->network_offset + rte_ipv4_hdr_len(header));
}

/* The fragment header goes: what is before it moves up, and names what follows now. */
static void ip6_complete(const struct reassembly *entry, struct net_packet *packet)
{
    const uint16_t before = (uint16_t)(entry->transport_offset - NET_FRAGMENT_HEADER6);
    const uint16_t extensions = (uint16_t)(before - packet->network_offset - sizeof(struct rte_ipv6_hdr));
    uint8_t *data = rte_pktmbuf_mtod(packet->mbuf, uint8_t *);

    memmove(data + NET_FRAGMENT_HEADER6, data, before);
    rte_pktmbuf_adj(packet->mbuf, NET_FRAGMENT_HEADER6);
    struct rte_ipv6_hdr *header = rte_pktmbuf_mtod_offset(packet->mbuf, struct rte_ipv6_hdr *, packet->network_offset);
    ((uint8_t *)header)[entry->protocol_at] = entry->protocol;
    header->payload_len = rte_cpu_to_be_16((uint16_t)(extensions + entry->total));
    packet->protocol_at = entry->protocol_at;
    packet->transport_offset = before;
}

static bool reassembly_finish(struct net_stack *stack, struct reassembly *entry, struct net_packet *packet)
{
    struct rte_mbuf *head = entry->fragments[0].mbuf, *tail = rte_pktmbuf_lastseg(head);

    for (unsigned i = 1; i < entry->count; i++) {
        struct rte_mbuf *mbuf = entry->fragments[i].mbuf;
        tail->next = mbuf;
        tail = rte_pktmbuf_lastseg(mbuf);
        head->nb_segs = (uint16_t)(head->nb_segs + mbuf->nb_segs);
        head->pkt_len += mbuf->pkt_len;
    }
    stack->census.reassembly_mbufs -= entry->count;
    entry->count = 0;
    COUNT(stack, fragments_reassembled);
    head->ol_flags = 0; /* hardware saw fragments: the checksum is ours to verify */
    packet->mbuf = head;
    packet->network_offset = entry->network_offset;
    packet->protocol = entry->protocol;
    packet->transport_length = entry->total;
    packet->reassembled = true;
    /* REQ RFC3168 5.3: one mark is enough [test: net_script/fragments_keep_their_mark] */
    if (entry->marked)
        packet->congestion = CONGESTION_EXPERIENCED;
    if (net_address_is_ip4(&packet->flow.local))
        ip4_complete(entry, packet);
    else
        ip6_complete(entry, packet);
    return true;
}

/* What its headers say holds for the whole. */
static void first_keep(struct reassembly *entry, const struct net_packet *packet)
{
    entry->network_offset = packet->network_offset;
    entry->transport_offset = packet->transport_offset;
    entry->protocol = packet->protocol;
    entry->interface = packet->interface;
    if (!net_address_is_ip4(&packet->flow.local))
        entry->protocol_at = packet->protocol_at;
}

/* REQ RFC1122 3.2.1.4: in any order, no overlap [test: net_script/fragments] */
/* REQ RFC1122 3.3.2-1: up to 65,515 bytes in 16 pieces [test: net_script/reassembly_of_many] */
/* REQ RFC1122 3.3.2-2: 5 s [test: net_script/fragments] */
bool reassembly_input(struct net_stack *stack, struct net_packet *packet, const struct net_fragment *fragment)
{
    struct rte_mbuf *mbuf = packet->mbuf;
    const uint32_t start = fragment->start, end = start + packet->transport_length;

    if (mbuf->nb_segs != 1 || packet->transport_length == 0 || (fragment->more && packet->transport_length % 8) ||
        end > 65515) {
        DROP(stack, mbuf, drop_fragment_malformed);
        return false;
    }
    /* REQ RFC8200 4.5-5: a whole one has nothing to do with others [test: net_script/fragments_among_extensions] */
    struct reassembly alone = {0};
    struct reassembly *entry =
        start == 0 && !fragment->more ? &alone : reassembly_find(stack, packet, fragment->identifier);
    if (!entry) {
        DROP(stack, mbuf, drop_fragment_full);
        return false;
    }
    if (entry->count == FRAGMENTS_MAX) {
        COUNT_ADD(stack, drop_fragment_full, entry->count + 1u);
        reassembly_drop(stack, entry);
        rte_pktmbuf_free(mbuf);
        return false;
    }
    rte_pktmbuf_trim(mbuf, (uint16_t)(mbuf->pkt_len - packet->transport_offset - packet->transport_length));
    if (start > 0)
        rte_pktmbuf_adj(mbuf, packet->transport_offset);
    if (!fragment_insert(entry, (struct fragment){mbuf, (uint16_t)start, (uint16_t)end}, fragment->more)) {
        COUNT_ADD(stack, drop_fragment_malformed, entry->count + 1u);
        reassembly_drop(stack, entry);
        rte_pktmbuf_free(mbuf);
        return false;
    }
    if (start == 0)
        first_keep(entry, packet);
    entry->marked = entry->marked || packet->congestion == CONGESTION_EXPERIENCED;
    stack->census.reassembly_mbufs++;
    stack_need_housekeeping(stack);
    if (!reassembly_complete(entry))
        return false;
    if (entry->transport_offset - entry->network_offset + entry->total > UINT16_MAX) { /* with the first's headers */
        COUNT_ADD(stack, drop_fragment_malformed, entry->count);
        reassembly_drop(stack, entry);
        return false;
    }
    return reassembly_finish(stack, entry, packet);
}

/* The sender hears that the rest did not come, if there is a first fragment to quote. */
/* REQ RFC1122 3.3.2-4: given up and told [test: net_script/reassembly_that_takes_too_long_is_told] */
/* REQ RFC8200 4.5-6: given up and told [test: net_script/reassembly_that_takes_too_long_is_told] */
static void timeout_tell(struct net_stack *stack, const struct reassembly *entry)
{
    enum { TIME_EXCEEDED4 = 11, TIME_EXCEEDED6 = 3, CODE_REASSEMBLY = 1 };
    const struct fragment *first = &entry->fragments[0];
    const struct net_packet packet = {
        .mbuf = first->mbuf,
        .flow = {.remote = entry->remote, .local = entry->local},
        .network_offset = entry->network_offset,
        .transport_offset = entry->transport_offset,
        .transport_length = first->end,
        .interface = entry->interface,
        .protocol = entry->protocol,
    };

    if (first->start != 0)
        return;
    if (net_address_is_ip4(&entry->local))
        icmp4_error_send(stack, &packet, TIME_EXCEEDED4, CODE_REASSEMBLY);
    else
        icmp6_error_send(stack, &packet, TIME_EXCEEDED6, CODE_REASSEMBLY, 0);
}

void reassembly_housekeeping(struct net_stack *stack)
{
    if (stack->census.reassembly_mbufs == 0)
        return;
    for (uint32_t i = 0; i < stack->config.max_reassembly; i++) {
        struct reassembly *entry = &stack->reassemblies[i];
        if (entry->count == 0 || stack->tick - entry->started_at < REASSEMBLY_US >> TIMER_TICK_SHIFT)
            continue;
        COUNT_ADD(stack, drop_fragment_timeout, entry->count);
        timeout_tell(stack, entry);
        reassembly_drop(stack, entry);
    }
}

void reassembly_destroy(struct net_stack *stack)
{
    for (uint32_t i = 0; i < stack->config.max_reassembly; i++)
        reassembly_drop(stack, &stack->reassemblies[i]);
}

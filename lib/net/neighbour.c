/*
 * Neighbours: next-hop address -> hardware address, for ARP and neighbour discovery alike (states after RFC 4861
 * section 7.3.2). Private to lib/net (stack.h); the stack's thread.
 *
 * Entries are found by a chained hash; connections keep the index and count as references, so that a packet of an open
 * connection costs no lookup. Packets to an unresolved neighbour wait in a bounded queue, oldest out first.
 */
#include "lib/net/hash.h"
#include "lib/net/stack.h"

#include <rte_ether.h>

enum { /* RFC 4861 section 10 */
       NEIGHBOUR_PROBES = 3,
       NEIGHBOUR_RETRY_US = 1000 * 1000,
       NEIGHBOUR_DELAY_US = 5 * 1000 * 1000, /* a doubtful entry is used for so long before it is probed */
       NEIGHBOUR_REACHABLE_US = 60 * 1000 * 1000,
};

static uint32_t bucket_of(const struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    uint64_t words[2];

    memcpy(words, address, 16);
    return (uint32_t)hash_fold(words[0] ^ stack->config.seed[0] ^ interface, words[1] ^ stack->config.seed[1]) &
           stack->neighbour_mask;
}

static struct neighbour *neighbour_find(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    uint32_t next = stack->neighbour_buckets[bucket_of(stack, interface, address)];

    while (next) {
        struct neighbour *entry = &stack->neighbours[next - 1];
        if (entry->interface == interface && net_address_equal(&entry->address, address))
            return entry;
        next = entry->hash_next;
    }
    return NULL;
}

static struct rte_mbuf **queue_of(struct net_stack *stack, const struct neighbour *entry)
{
    return &stack->neighbour_queues[(size_t)(entry - stack->neighbours) * stack->config.neighbour_queue];
}

static struct rte_mbuf *queue_pop(struct net_stack *stack, struct neighbour *entry)
{
    struct rte_mbuf *mbuf = queue_of(stack, entry)[entry->queue_head];

    entry->queue_head = (uint8_t)(entry->queue_head + 1u == stack->config.neighbour_queue ? 0 : entry->queue_head + 1);
    entry->queue_count--;
    stack->census.neighbour_mbufs--;
    return mbuf;
}

static void queue_drop(struct net_stack *stack, struct neighbour *entry)
{
    while (entry->queue_count)
        DROP(stack, queue_pop(stack, entry), drop_neighbour_unresolved);
}

static void queue_push(struct net_stack *stack, struct neighbour *entry, struct rte_mbuf *mbuf)
{
    uint32_t size = stack->config.neighbour_queue, at;

    if (entry->queue_count == size)
        DROP(stack, queue_pop(stack, entry), drop_neighbour_queue_full);
    at = entry->queue_head + (uint32_t)entry->queue_count;
    queue_of(stack, entry)[at >= size ? at - size : at] = mbuf;
    entry->queue_count++;
    stack->census.neighbour_mbufs++;
}

static bool is_waited_for(enum neighbour_state state)
{
    return state == NEIGHBOUR_INCOMPLETE || state == NEIGHBOUR_PROBE;
}

static void state_set(struct net_stack *stack, struct neighbour *entry, enum neighbour_state state)
{
    stack->neighbours_incomplete += is_waited_for(state);
    stack->neighbours_incomplete -= is_waited_for(entry->state);
    entry->state = (uint8_t)state;
    entry->changed_at = stack->tick;
    entry->probes = 0;
    if (is_waited_for(state))
        stack_need_housekeeping(stack);
}

static void neighbour_remove(struct net_stack *stack, struct neighbour *entry)
{
    uint32_t *link = &stack->neighbour_buckets[bucket_of(stack, entry->interface, &entry->address)];
    uint32_t self = (uint32_t)(entry - stack->neighbours) + 1;

    while (*link != self)
        link = &stack->neighbours[*link - 1].hash_next;
    *link = entry->hash_next;
    queue_drop(stack, entry);
    state_set(stack, entry, NEIGHBOUR_FREE);
}

/* A free entry, or the one unused for longest that no connection refers to. Only new neighbours pay for the walk. */
static struct neighbour *entry_take(struct net_stack *stack)
{
    struct neighbour *oldest = NULL;

    for (uint32_t i = 0; i < stack->config.max_neighbours; i++) {
        struct neighbour *entry = &stack->neighbours[i];
        if (entry->state == NEIGHBOUR_FREE)
            return entry;
        if (entry->references == 0 && (!oldest || (int32_t)(entry->used_at - oldest->used_at) < 0))
            oldest = entry;
    }
    if (!oldest) {
        COUNT(stack, drop_neighbour_table_full);
        return NULL;
    }
    COUNT(stack, neighbour_evictions);
    neighbour_remove(stack, oldest);
    return oldest;
}

static struct neighbour *neighbour_create(struct net_stack *stack, unsigned interface,
                                          const struct net_address *address)
{
    struct neighbour *entry = entry_take(stack);

    if (!entry)
        return NULL;
    uint32_t *bucket = &stack->neighbour_buckets[bucket_of(stack, interface, address)];
    memset(entry, 0, sizeof *entry);
    entry->address = *address;
    entry->interface = (uint8_t)interface;
    entry->state = NEIGHBOUR_STALE; /* nothing known, nothing asked: the first packet asks */
    entry->used_at = stack->tick;
    entry->hash_next = *bucket;
    *bucket = (uint32_t)(entry - stack->neighbours) + 1;
    return entry;
}

int neighbour_get(struct net_stack *stack, unsigned interface, const struct net_address *address)
{
    struct neighbour *entry = neighbour_find(stack, interface, address);

    if (!entry)
        entry = neighbour_create(stack, interface, address);
    return entry ? (int)(entry - stack->neighbours) : NET_NONE;
}

int neighbour_toward(struct net_stack *stack, const struct net_address *destination, unsigned *interface)
{
    const struct net_route *route = route_find(stack, destination, *interface);

    if (!route) {
        COUNT(stack, drop_no_route);
        return NET_NONE;
    }
    *interface = route->interface;
    return neighbour_get(stack, route->interface, net_address_is_any(&route->gateway) ? destination : &route->gateway);
}

static bool mac_known(const struct neighbour *entry)
{
    return (entry->mac[0] | entry->mac[1] | entry->mac[2] | entry->mac[3] | entry->mac[4] | entry->mac[5]) != 0;
}

static void neighbour_ask(struct net_stack *stack, struct neighbour *entry)
{
    const uint8_t *mac = mac_known(entry) ? entry->mac : NULL;

    entry->changed_at = stack->tick;
    entry->probes++;
    if (net_address_is_ip4(&entry->address))
        arp_request(stack, entry->interface, &entry->address, mac);
    else
        ndp_solicit(stack, entry->interface, &entry->address, mac);
}

static uint16_t ether_type(const struct neighbour *entry)
{
    return net_address_is_ip4(&entry->address) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
}

static bool older_than(const struct net_stack *stack, uint32_t tick, uint32_t us)
{
    return stack->tick - tick > us >> TIMER_TICK_SHIFT;
}

/* Anything but "reachable and fresh". */
/* REQ RFC1122 2.3.2.2: a queue for each neighbour [test: net_script/first_packet_waits_for_arp] */
/* REQ RFC4861 7.2.2-2: the same queue, oldest out first [test: net_script/first_packet_waits_for_arp] */
static void output_slow(struct net_stack *stack, struct neighbour *entry, struct rte_mbuf *mbuf)
{
    if (mac_known(entry)) { /* stale: use it, and ask whether it still holds unless traffic shows it */
        if (entry->state != NEIGHBOUR_PROBE)
            state_set(stack, entry, NEIGHBOUR_PROBE);
        ethernet_output(stack, entry->interface, mbuf, entry->mac, ether_type(entry));
        return;
    }
    queue_push(stack, entry, mbuf);
    if (entry->state != NEIGHBOUR_INCOMPLETE) {
        state_set(stack, entry, NEIGHBOUR_INCOMPLETE);
        neighbour_ask(stack, entry);
    }
}

void neighbour_output(struct net_stack *stack, uint32_t neighbour, struct rte_mbuf *mbuf)
{
    struct neighbour *entry = &stack->neighbours[neighbour];

    entry->used_at = stack->tick;
    if (__builtin_expect(
            entry->state == NEIGHBOUR_REACHABLE && !older_than(stack, entry->changed_at, NEIGHBOUR_REACHABLE_US), 1))
        ethernet_output_ready(stack, entry->interface, mbuf, entry->link);
    else
        output_slow(stack, entry, mbuf);
}

/* RFC 4861 section 7.2.5, appendix C. ARP knows no doubt: all of it confirms and replaces. */
/* REQ RFC4861 7.2.5-2: as the standard's table says [test: net_script/advertisement_flags] */
void neighbour_learn(struct net_stack *stack, unsigned interface, const struct net_address *address, const uint8_t *mac,
                     unsigned how)
{
    struct neighbour *entry = neighbour_find(stack, interface, address);

    if (!entry && (how & NEIGHBOUR_CREATE))
        entry = neighbour_create(stack, interface, address);
    if (!entry || (!mac && !mac_known(entry)))
        return;
    const bool same = !mac || memcmp(entry->mac, mac, 6) == 0;
    if (!same && mac_known(entry) && !(how & NEIGHBOUR_REPLACE)) {
        if (entry->state == NEIGHBOUR_REACHABLE)
            state_set(stack, entry, NEIGHBOUR_STALE);
        return;
    }
    if (!same) {
        memcpy(entry->mac, mac, 6);
        ethernet_header_write(&stack->interfaces[interface], entry->link, mac, ether_type(entry));
    }
    if (how & NEIGHBOUR_CONFIRM)
        state_set(stack, entry, NEIGHBOUR_REACHABLE);
    else if (!same)
        state_set(stack, entry, NEIGHBOUR_STALE);
    while (entry->queue_count)
        ethernet_output(stack, interface, queue_pop(stack, entry), entry->mac, ether_type(entry));
}

/* Many connections may doubt it at the same time: one question a second serves them all. */
/* REQ RFC1122 2.3.2.1-2: nor by others' doubts [test: net_script/neighbour_is_asked_once_a_second] */
void neighbour_doubt(struct net_stack *stack, uint32_t neighbour)
{
    struct neighbour *entry = &stack->neighbours[neighbour];

    if (!mac_known(entry) || (entry->state == NEIGHBOUR_PROBE && entry->probes))
        return;
    if (entry->state == NEIGHBOUR_REACHABLE && !older_than(stack, entry->changed_at, NEIGHBOUR_RETRY_US))
        return;
    state_set(stack, entry, NEIGHBOUR_PROBE);
    neighbour_ask(stack, entry);
}

static uint32_t patience(const struct neighbour *entry)
{
    return entry->state == NEIGHBOUR_PROBE && entry->probes == 0 ? NEIGHBOUR_DELAY_US : NEIGHBOUR_RETRY_US;
}

/* Ask again, or give up: the packets are dropped, TCP will send them again and so start the next round. */
/* REQ RFC1122 2.3.2.1-1: asked after 65 s of use, then forgotten [test: net_script/stale_neighbour_is_asked] */
/* REQ RFC4861 7.3.3: used for 5 s, probed by unicast, forgotten [test: net_script/stale_neighbour_is_asked] */
void neighbour_housekeeping(struct net_stack *stack)
{
    if (stack->neighbours_incomplete == 0)
        return;
    for (uint32_t i = 0; i < stack->config.max_neighbours; i++) {
        struct neighbour *entry = &stack->neighbours[i];
        if (!is_waited_for(entry->state) || !older_than(stack, entry->changed_at, patience(entry)))
            continue;
        if (entry->probes < NEIGHBOUR_PROBES) {
            neighbour_ask(stack, entry);
            continue;
        }
        state_set(stack, entry, NEIGHBOUR_STALE);
        memset(entry->mac, 0, 6);
        queue_drop(stack, entry);
    }
}

void neighbour_destroy(struct net_stack *stack)
{
    for (uint32_t i = 0; i < stack->config.max_neighbours; i++)
        if (stack->neighbours[i].state != NEIGHBOUR_FREE)
            queue_drop(stack, &stack->neighbours[i]);
}

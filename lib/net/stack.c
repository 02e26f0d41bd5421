/*
 * The stack: creation, the calls of a poll iteration, the lists of connections with work. Interface: net.h.
 * Thread: the worker's. Memory: one mapping made in net_stack_create().
 */
#include "lib/net/stack.h"

#include "lib/net/tcp_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* The key of Microsoft's RSS specification: what most ports are programmed with. */
static const uint8_t rss_key_default[NET_RSS_KEY_BYTES] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                           0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                           0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                           0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

const struct net_counter_text net_counter_texts[NET_COUNTERS] = {
#define NET_COUNTER(name, unit, help) [NET_COUNTER_##name] = {#name, unit, help},
#include "lib/net/counters.def"
#undef NET_COUNTER
};

void net_config_defaults(struct net_config *config)
{
    *config = (struct net_config){
        .workers = 1,
        .max_connections = 16384,
        .max_listeners = 64,
        .max_half_open = 4096,
        .max_time_wait = 16384,
        .max_neighbours = 1024,
        .neighbour_queue = 16,
        .max_reassembly = 64,
        .send_buffer = 256 * 1024,
        .receive_buffer = 256 * 1024,
        .challenge_acks = 1000,
        .echo_replies = 1000,
        .hop_limit = 64,
        .delayed_ack_us = 5 * 1000,
        .rto_min_us = 200 * 1000,
        .keepalive_idle_us = TCP_KEEPALIVE_IDLE_US,
        .keepalive_interval_us = 75 * 1000 * 1000,
        .keepalive_probes = 9,
        .time_wait_us = 60 * 1000 * 1000,
        .fin_wait_us = 60 * 1000 * 1000,
        .user_timeout_us = 180 * 1000 * 1000,
        .user_timeout_limit_us = UINT64_C(3600) * 1000 * 1000,
        .syn_retries = 7,
        .syn_ack_retries = 5,
    };
    memcpy(config->rss_key, rss_key_default, sizeof rss_key_default);
}

/* One walk over the tables: with `base` NULL it only measures. Every table starts on a cache line. */
static void *arena_take(uint8_t *base, size_t *used, size_t bytes)
{
    void *at = base ? base + *used : NULL;

    *used += (bytes + 63) & ~(size_t)63;
    return at;
}

static uint32_t neighbour_bucket_count(uint32_t neighbours)
{
    uint32_t buckets = 64;

    while (buckets < neighbours)
        buckets *= 2;
    return buckets;
}

static uint32_t flow_slot_count(const struct net_config *config)
{
    const uint64_t moved = config->redirect ? config->max_connections : 0;

    return flow_table_slots(moved + config->max_connections + config->max_half_open + config->max_time_wait);
}

static size_t arena_layout(struct net_stack *stack, const struct net_config *config, uint8_t *base)
{
    struct net_stack scratch;
    size_t used = 0;

    if (!stack)
        stack = &scratch;
    stack->connections = arena_take(base, &used, config->max_connections * sizeof(struct tcp_connection));
    stack->flows.slots = arena_take(base, &used, flow_slot_count(config) * sizeof(struct flow_slot));
    stack->half_opens = arena_take(base, &used, config->max_half_open * sizeof(struct tcp_half_open));
    stack->time_waits = arena_take(base, &used, config->max_time_wait * sizeof(struct tcp_time_wait));
    stack->moved_flows = arena_take(base, &used, config->max_connections * sizeof(struct tcp_moved_flow));
    const uint32_t queue = connection_queue_size(config->max_connections);
    stack->touched = (struct connection_queue){arena_take(base, &used, queue * sizeof(uint32_t)), queue - 1, 0, 0};
    stack->due = (struct connection_queue){arena_take(base, &used, queue * sizeof(uint32_t)), queue - 1, 0, 0};
    stack->listeners = arena_take(base, &used, config->max_listeners * sizeof(struct tcp_listener));
    stack->neighbours = arena_take(base, &used, config->max_neighbours * sizeof(struct neighbour));
    stack->neighbour_buckets =
        arena_take(base, &used, neighbour_bucket_count(config->max_neighbours) * sizeof(uint32_t));
    stack->neighbour_queues =
        arena_take(base, &used, (size_t)config->max_neighbours * config->neighbour_queue * sizeof(struct rte_mbuf *));
    stack->reassemblies = arena_take(base, &used, reassembly_bytes(config->max_reassembly));
    return used;
}

static const char *config_problem(const struct net_config *config)
{
    if (config->interface_count == 0 || config->interface_count > NET_INTERFACES)
        return "a stack needs 1 to 16 interfaces";
    if (!config->pool || !config->wheel || !config->transmit)
        return "buffer pool, timer wheel and transmit function are needed";
    if (rte_pktmbuf_priv_size(config->pool) < NET_MBUF_PRIVATE ||
        rte_pktmbuf_data_room_size(config->pool) < RTE_PKTMBUF_HEADROOM + TCP_MSS_DEFAULT6)
        return "buffers are too small, or have too small a private area";
    if (config->timer_kind + NET_TIMER_KINDS > TIMER_KINDS)
        return "timer kinds exceed the wheel's";
    if (config->max_connections == 0 || config->max_connections >= 1u << 29 || config->max_half_open == 0 ||
        config->max_half_open >= 1u << 29 || config->max_time_wait == 0 || config->max_time_wait >= 1u << 29)
        return "bounds on connections, half-open connections and TIME-WAIT records must be 1 to 2^29 - 1";
    if (config->neighbour_queue == 0 || config->neighbour_queue > 255 || config->max_neighbours == 0)
        return "neighbours need a table, and a queue of 1 to 255 packets";
    if (config->send_buffer < 4096 || config->receive_buffer < 4096 || config->receive_buffer > 1u << 29 ||
        config->send_buffer > 1u << 29)
        return "buffers of a connection must be 4 KiB to 512 MiB";
    if (config->keepalive_idle_us > TCP_LONG_IDLE_US || config->time_wait_us > TCP_LONG_IDLE_US ||
        config->user_timeout_us > TCP_LONG_IDLE_US || config->user_timeout_limit_us > UINT64_C(65535) * 1000 * 1000 ||
        config->fin_wait_us > TCP_LONG_IDLE_US)
        return "no timeout may exceed three days, nor what a peer may ask for 65,535 seconds";
    if (config->route_count > NET_ROUTES)
        return "too many static routes";
    if (config->hop_limit == 0 || config->dscp > 63)
        return "the hop limit is 1 to 255, a Diffserv code point 0 to 63";
    for (unsigned i = 0; i < config->interface_count; i++) {
        const struct net_interface_config *interface = &config->interfaces[i];
        if (interface->address_count > NET_INTERFACE_ADDRESSES || interface->mtu < 576 || interface->mtu > 9000)
            return "an interface has at most 8 addresses and an MTU of 576 to 9,000 bytes";
    }
    return NULL;
}

static void free_lists_build(struct net_stack *stack)
{
    for (uint32_t i = stack->config.max_half_open; i-- > 0;) {
        stack->half_opens[i].next_free = stack->half_open_free;
        stack->half_open_free = i + 1;
    }
}

static void housekeeping_handler(void *arg, struct timer *timer, uint64_t now)
{
    struct net_stack *stack = arg;

    stack_set_now(stack, now);
    neighbour_housekeeping(stack);
    reassembly_housekeeping(stack);
    time_wait_housekeeping(stack);
    moved_housekeeping(stack);
    bool more = own_addresses_housekeeping(stack);
    more = mld_housekeeping(stack) || more;
    if (more || stack->neighbours_incomplete || stack->census.reassembly_mbufs || stack->census.time_wait ||
        stack->census.moved)
        stack_need_housekeeping(stack);
}

static uint8_t scale_for(uint32_t window)
{
    uint8_t scale = 0;

    while (scale < TCP_SCALE_MAX && (65535u << scale) < window)
        scale++;
    return scale;
}

struct net_stack *net_stack_create(const struct net_config *config, uint64_t now, const char **reason)
{
    *reason = config_problem(config);
    if (*reason)
        return NULL;
    struct net_stack *stack = NULL;
    if (posix_memalign((void **)&stack, 64, sizeof *stack)) {
        *reason = "no memory";
        return NULL;
    }
    memset(stack, 0, sizeof *stack);
    stack->config = *config;
    stack->arena_length = arena_layout(NULL, config, NULL);
    stack->arena = mmap(NULL, stack->arena_length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (config->prefault ? MAP_POPULATE : 0), -1, 0);
    if (stack->arena == MAP_FAILED) {
        free(stack);
        *reason = "no address space for the tables";
        return NULL;
    }
    madvise(stack->arena, stack->arena_length, MADV_HUGEPAGE);
    arena_layout(stack, config, stack->arena);
    stack->flows.mask = flow_slot_count(config) - 1;
    stack->neighbour_mask = neighbour_bucket_count(config->max_neighbours) - 1;
    if (stack->config.max_held_buffers == 0)
        stack->config.max_held_buffers = config->pool->size / 2;
    stack_pressure_update(stack);
    stack->challenge_left = config->challenge_acks;
    stack->echo_left = config->echo_replies;
    stack->rto_min_ticks = (uint32_t)(config->rto_min_us >> TIMER_TICK_SHIFT);
    stack->receive_scale = scale_for(config->receive_buffer);
    stack->ip4_identifier = (uint16_t)config->seed[0];
    for (unsigned i = 0; i < config->interface_count; i++) {
        struct net_interface *interface = &stack->interfaces[i];
        interface->config = config->interfaces[i];
        interface->link_length = config->interfaces[i].vlan ? 18 : 14;
        memcpy(&interface->mac_word, config->interfaces[i].mac, 6);
    }
    stack_set_now(stack, now);
    timer_init(&stack->housekeeping, config->timer_kind + 2);
    own_addresses_begin(stack);
    if (!route_table_build(stack)) {
        net_stack_destroy(stack);
        *reason = "a static route names an interface that does not exist";
        return NULL;
    }
    free_lists_build(stack);
    timer_wheel_bind(config->wheel, config->timer_kind, tcp_timer_handler, stack);
    timer_wheel_bind(config->wheel, config->timer_kind + 1, half_open_timer_handler, stack);
    timer_wheel_bind(config->wheel, config->timer_kind + 2, housekeeping_handler, stack);
    return stack;
}

void net_stack_destroy(struct net_stack *stack)
{
    struct timer_wheel *wheel = stack->config.wheel;

    for (uint32_t i = 0; i < stack->config.max_connections && stack->census.connections; i++) {
        struct tcp_connection *c = &stack->connections[i];
        if (!c->stack)
            continue;
        connection_release_buffers(c);
        timer_cancel(wheel, &c->timer);
        stack->census.connections--;
    }
    for (uint32_t i = 0; i < stack->config.max_half_open && stack->census.half_open; i++)
        timer_cancel(wheel, &stack->half_opens[i].timer);
    timer_cancel(wheel, &stack->housekeeping);
    neighbour_destroy(stack);
    reassembly_destroy(stack);
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        for (uint16_t b = 0; b < stack->interfaces[i].burst_count; b++)
            rte_pktmbuf_free(stack->interfaces[i].burst[b]);
    rte_pktmbuf_free_bulk(stack->buffers.mbufs, stack->buffers.count);
    munmap(stack->arena, stack->arena_length);
    free(stack);
}

/* The policy of max_held_buffers. Once per call of the loop: no segment pays for it. */
void stack_pressure_update(struct net_stack *stack)
{
    enum { STEPS = 8, SMALLEST = 4096 };
    const uint64_t held = stack->census.receive_mbufs + stack->census.out_of_order_mbufs;
    const uint32_t limit = stack->config.max_held_buffers, half = limit / 2;

    stack->held_full = held >= limit;
    stack->receive_limit = stack->config.receive_buffer;
    if (held <= half)
        return;
    const uint64_t step = 1 + (held - half) / (half / STEPS + 1);
    stack->receive_limit >>= step < STEPS ? step : STEPS;
    if (stack->receive_limit < SMALLEST)
        stack->receive_limit = SMALLEST;
}

/* ---- Buffers. */

/* A pool with fewer than that is short of memory: one at a time then, so that none lies here unused. */
bool stack_buffers_fill(struct net_stack *stack)
{
    struct net_buffers *buffers = &stack->buffers;

    if (rte_pktmbuf_alloc_bulk(stack->config.pool, buffers->mbufs, NET_BUFFERS) == 0) {
        buffers->count = NET_BUFFERS;
        for (unsigned i = NET_BUFFERS - NET_BUFFERS_AHEAD; i < NET_BUFFERS; i++)
            stack_mbuf_prefetch(buffers->mbufs[i]);
    } else if ((buffers->mbufs[0] = rte_pktmbuf_alloc(stack->config.pool)) != NULL) {
        buffers->count = 1;
    }
    return buffers->count > 0;
}

/* ---- Connections with work. */

void tcp_touch(struct tcp_connection *c)
{
    if (c->flags & TCP_FLAG_TOUCHED)
        return;
    c->flags |= TCP_FLAG_TOUCHED;
    connection_queue_push(&c->stack->touched, connection_index(c));
}

void tcp_deliver_later(struct tcp_connection *c, uint32_t event)
{
    c->flags |= event;
    if (c->flags & TCP_FLAG_DELIVER)
        return;
    c->flags |= TCP_FLAG_DELIVER;
    connection_queue_push(&c->stack->due, connection_index(c));
}

static bool take_event(struct tcp_connection *c, uint32_t event)
{
    bool due = c->flags & event;

    c->flags &= ~event;
    return due;
}

/* The callbacks of one connection. Each may change what is due next, so the flags are read anew every time. */
static void deliver(struct net_stack *stack, struct tcp_connection *c)
{
    const struct tcp_callbacks *callbacks = &stack->config.callbacks;
    void *arg = stack->config.arg;

    if ((c->flags & (TCP_FLAG_EVENT_ACCEPTED | TCP_FLAG_EVENT_CLOSED)) ==
        (TCP_FLAG_EVENT_ACCEPTED | TCP_FLAG_EVENT_CLOSED)) { /* came and went unseen */
        connection_free(c);
        return;
    }
    if (take_event(c, TCP_FLAG_EVENT_ACCEPTED))
        callbacks->accepted(arg, c, c->user);
    if (take_event(c, TCP_FLAG_EVENT_CONNECTED) && !(c->flags & TCP_FLAG_DETACHED))
        callbacks->connected(arg, c);
    if (take_event(c, TCP_FLAG_EVENT_TROUBLED) && !(c->flags & TCP_FLAG_DETACHED))
        callbacks->troubled(arg, c, c->trouble);
    if (take_event(c, TCP_FLAG_EVENT_READABLE) && c->readable && !(c->flags & TCP_FLAG_DETACHED))
        callbacks->readable(arg, c);
    if (take_event(c, TCP_FLAG_EVENT_WRITABLE) && !(c->flags & TCP_FLAG_DETACHED) && tcp_can_send_data(c))
        callbacks->writable(arg, c);
    c->flags &= ~(uint32_t)TCP_FLAG_EVENT_PEER_CLOSED;
    if ((c->flags & (TCP_FLAG_FIN_RECEIVED | TCP_FLAG_PEER_CLOSED_TOLD | TCP_FLAG_DETACHED)) == TCP_FLAG_FIN_RECEIVED &&
        c->readable == 0 && c->close_reason == TCP_CLOSE_NORMAL) {
        c->flags |= TCP_FLAG_PEER_CLOSED_TOLD;
        callbacks->peer_closed(arg, c);
    }
    if (c->flags & TCP_FLAG_DELIVER) /* a callback caused more: it waits for the next round */
        return;
    if (take_event(c, TCP_FLAG_EVENT_CLOSED)) {
        callbacks->closed(arg, c, c->close_reason);
        connection_free(c);
    }
}

/* The application may ask for its memory, too. The connection itself is in the cache since its segment came. */
static void look_ahead(struct net_stack *stack, struct tcp_connection *c)
{
    if (stack->config.callbacks.upcoming && (c->flags & TCP_FLAG_EVENT_READABLE) && !(c->flags & TCP_FLAG_DETACHED))
        stack->config.callbacks.upcoming(stack->config.arg, c);
}

void net_deliver(struct net_stack *stack, uint64_t now)
{
    struct connection_queue *due = &stack->due;

    stack_set_now(stack, now);
    for (uint32_t left = connection_queue_count(due); left > 0; left--) {
        struct tcp_connection *c = &stack->connections[connection_queue_pop(due)];
        if (left > NET_DELIVER_AHEAD)
            look_ahead(stack, &stack->connections[connection_queue_at(due, NET_DELIVER_AHEAD - 1)]);
        c->flags &= ~(uint32_t)TCP_FLAG_DELIVER;
        deliver(stack, c);
    }
}

static bool any_port_ready(struct net_stack *stack)
{
    bool any = false;

    for (unsigned i = 0; i < stack->config.interface_count; i++) {
        stack->interfaces[i].held = stack->config.ready != NULL && !stack->config.ready(stack->config.arg, i);
        any |= !stack->interfaces[i].held;
    }
    return any;
}

/* In the order in which they were touched; those that have to wait come first in the next round. */
static void output_touched(struct net_stack *stack)
{
    struct connection_queue *touched = &stack->touched;

    for (uint32_t left = connection_queue_count(touched); left > 0; left--) {
        struct tcp_connection *c = &stack->connections[connection_queue_pop(touched)];
        if (left > NET_OUTPUT_AHEAD)
            connection_prefetch(&stack->connections[connection_queue_at(touched, NET_OUTPUT_AHEAD - 1)]);
        c->flags &= ~(uint32_t)TCP_FLAG_TOUCHED;
        if (__builtin_expect(stack->interfaces[c->interface].held, 0))
            tcp_touch(c);
        else
            tcp_output(c);
    }
}

void net_output(struct net_stack *stack, uint64_t now)
{
    stack_set_now(stack, now);
    stack_pressure_update(stack);
    own_addresses_announce(stack);
    if (any_port_ready(stack))
        output_touched(stack);
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        ethernet_flush(stack, i);
}

void net_advance(struct net_stack *stack, uint64_t now)
{
    stack_set_now(stack, now);
    timer_wheel_advance(stack->config.wheel, now, UINT32_MAX);
}

uint64_t net_next_deadline(const struct net_stack *stack)
{
    if (connection_queue_count(&stack->due))
        return stack->now;
    for (unsigned i = 0; connection_queue_count(&stack->touched) && i < stack->config.interface_count; i++)
        if (!stack->interfaces[i].held)
            return stack->now;
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        if (stack->interfaces[i].burst_count || stack->interfaces[i].announce)
            return stack->now;
    return timer_wheel_next(stack->config.wheel);
}

const uint64_t *net_counters(const struct net_stack *stack)
{
    return stack->counters;
}

void net_census(const struct net_stack *stack, struct net_census *census)
{
    *census = stack->census;
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        census->transmit_mbufs += stack->interfaces[i].burst_count;
    census->listeners = stack->listener_count;
}

void net_sizes(struct net_sizes *sizes)
{
    *sizes = (struct net_sizes){
        .connection = sizeof(struct tcp_connection),
        .half_open = sizeof(struct tcp_half_open),
        .time_wait = sizeof(struct tcp_time_wait),
        .neighbour = sizeof(struct neighbour),
        .flow_slots_per_connection = 2 * sizeof(struct flow_slot),
        .moved_flow = sizeof(struct tcp_moved_flow),
    };
}

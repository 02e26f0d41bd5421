/*
 * Moving connections between stacks. Interface: tcp_move.h. Thread: each call on its own stack's.
 *
 * What stays behind is a record of the flow in a table as large as the connections', found by the same lookup as they
 * are. While the connection lives elsewhere the record has no deadline. It stays for the TIME-WAIT time after both
 * directions finished, since the record of that state is with the other stack, and goes at once after a reset.
 */
#include "lib/net/tcp_move.h"

#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

enum { MOVED_SLICE = 4096 }; /* records looked at per round of housekeeping */

static uint32_t record_index(const struct net_stack *stack, const struct tcp_moved_flow *record)
{
    return (uint32_t)(record - stack->moved_flows);
}

static void record_free(struct net_stack *stack, struct tcp_moved_flow *record)
{
    flow_table_remove(&stack->flows, record->hash, flow_reference(FLOW_MOVED, record_index(stack, record)));
    record->used = false;
    record->next = stack->moved_free;
    stack->moved_free = record_index(stack, record) + 1;
    stack->census.moved--;
}

static bool record_available(const struct net_stack *stack)
{
    return stack->moved_free != 0 || stack->moved_high < stack->config.max_connections;
}

static void record_make(struct net_stack *stack, const struct net_flow *flow, unsigned worker)
{
    struct tcp_moved_flow *record;

    if (stack->moved_free) {
        record = &stack->moved_flows[stack->moved_free - 1];
        stack->moved_free = record->next;
    } else { /* untouched memory comes last */
        record = &stack->moved_flows[stack->moved_high++];
    }
    *record = (struct tcp_moved_flow){
        .flow = *flow, .hash = hash_flow(stack->config.seed, flow), .worker = worker, .used = true};
    flow_table_insert(&stack->flows, record->hash, flow_reference(FLOW_MOVED, record_index(stack, record)));
    stack->census.moved++;
}

static bool movable(const struct tcp_connection *c)
{
    return c->state == TCP_STATE_ESTABLISHED && c->send_unacked == c->send_end && !c->send_head &&
           !(c->flags & (TCP_FLAG_FIN_QUEUED | TCP_FLAG_FIN_WANTED | TCP_FLAG_DETACHED));
}

bool tcp_move_away(struct tcp_connection *c, unsigned worker, struct tcp_moved *moved)
{
    struct net_stack *stack = c->stack;

    if (!movable(c) || !record_available(stack) || !stack->config.redirect)
        return false;
    COUNT(stack, tcp_moved_away);
    moved->connection = *c;
    stack->census.receive_mbufs -= c->receive_count;
    stack->census.out_of_order_mbufs -= c->out_of_order_count;
    /* The mbufs go along: what is left here is an empty connection that ends. */
    c->receive_head = c->receive_tail = c->out_of_order = NULL;
    c->readable = 0;
    c->receive_count = c->out_of_order_count = 0;
    connection_end(c, TCP_CLOSE_MOVED);
    record_make(stack, &moved->connection.flow, worker);
    return true;
}

static void mbufs_free(struct tcp_segment *segment)
{
    while (segment) {
        struct tcp_segment *next = segment->next;
        rte_pktmbuf_free_seg(segment_mbuf(segment));
        segment = next;
    }
}

/* The peer is told at once: it would find out with its next segment only, and its segments pass two workers. */
static void moved_reset(struct net_stack *stack, const struct tcp_connection *c)
{
    struct tcp_bare bare = {.flow = &c->flow,
                            .sequence = c->send_next,
                            .ack = c->receive_next,
                            .flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG};
    unsigned interface = c->interface;
    const int neighbour = neighbour_toward(stack, &c->flow.remote, &interface);

    if (neighbour == NET_NONE)
        return;
    bare.neighbour = (uint32_t)neighbour;
    bare.interface = (uint8_t)interface;
    COUNT(stack, tcp_resets_sent);
    COUNT(stack, tcp_resets_not_moved);
    tcp_send_bare(stack, &bare);
}

void tcp_move_drop(struct net_stack *stack, const struct tcp_moved *moved, uint64_t now)
{
    stack_set_now(stack, now);
    mbufs_free(moved->connection.receive_head);
    mbufs_free(moved->connection.out_of_order);
    moved_reset(stack, &moved->connection);
}

/*
 * Whatever stands for the flow here gives way to the connection that arrives: the record of its having been here
 * before, or what an earlier connection between the same ports left behind. Else the lookup would find that first.
 */
static void predecessor_remove(struct net_stack *stack, const struct net_flow *flow, uint32_t hash)
{
    uint32_t reference;

    while ((reference = tcp_flow_find(stack, flow, hash)) != 0) {
        const uint32_t index = flow_reference_index(reference);
        switch (flow_reference_kind(reference)) {
        case FLOW_CONNECTION:
            connection_end(&stack->connections[index], TCP_CLOSE_RESET);
            break;
        case FLOW_HALF_OPEN:
            half_open_free(stack, &stack->half_opens[index]);
            break;
        case FLOW_TIME_WAIT:
            time_wait_free(stack, &stack->time_waits[index]);
            break;
        case FLOW_MOVED:
            record_free(stack, &stack->moved_flows[index]);
            break;
        }
    }
}

/* What belongs to a stack rather than to the connection. */
static void adopt(struct net_stack *stack, struct tcp_connection *c, const struct tcp_connection *from,
                  uint32_t neighbour, uint32_t generation)
{
    *c = *from;
    c->stack = stack;
    c->generation = generation;
    c->neighbour = neighbour;
    c->user = NULL;
    c->flags &= ~(uint32_t)(TCP_FLAG_TOUCHED | TCP_FLAG_DELIVER | TCP_FLAG_EVENT_ACCEPTED | TCP_FLAG_EVENT_CONNECTED |
                            TCP_FLAG_EVENT_READABLE | TCP_FLAG_EVENT_WRITABLE | TCP_FLAG_EVENT_PEER_CLOSED |
                            TCP_FLAG_EVENT_CLOSED | TCP_FLAG_WANT_WRITE);
    timer_init(&c->timer, stack->config.timer_kind);
    stack->census.receive_mbufs += c->receive_count;
    stack->census.out_of_order_mbufs += c->out_of_order_count;
}

struct tcp_connection *tcp_move_here(struct net_stack *stack, const struct tcp_moved *moved, uint64_t now)
{
    const struct tcp_connection *from = &moved->connection;
    const uint32_t hash = hash_flow(stack->config.seed, &from->flow);
    unsigned interface = from->interface;

    stack_set_now(stack, now);
    predecessor_remove(stack, &from->flow, hash);
    const int neighbour = neighbour_toward(stack, &from->flow.remote, &interface);
    struct tcp_connection *c =
        neighbour < 0 ? NULL : connection_create(stack, &from->flow, hash, from->interface, (uint32_t)neighbour);
    if (!c) {
        tcp_move_drop(stack, moved, now);
        return NULL;
    }
    COUNT(stack, tcp_moved_here);
    adopt(stack, c, from, (uint32_t)neighbour, c->generation);
    tcp_touch_inline(c); /* acknowledges what was received on the way */
    tcp_timer_arm(c);
    return c;
}

void tcp_move_ended(struct net_stack *stack, const struct net_flow *flow, enum tcp_close_reason reason, uint64_t now)
{
    const uint32_t reference = tcp_flow_find(stack, flow, hash_flow(stack->config.seed, flow));

    stack_set_now(stack, now);
    if (!reference || flow_reference_kind(reference) != FLOW_MOVED)
        return;
    struct tcp_moved_flow *record = &stack->moved_flows[flow_reference_index(reference)];
    if (reason != TCP_CLOSE_NORMAL) {
        record_free(stack, record);
        return;
    }
    record->expires_at = stack_deadline(stack, stack->config.time_wait_us);
    stack_need_housekeeping(stack);
}

bool tcp_flow_is_ours(const struct net_stack *stack, const struct net_flow *flow)
{
    if (!stack->config.flow_owner)
        return true;
    return stack->config.flow_owner(stack->config.arg, net_flow_hash(flow, stack->config.rss_key)) ==
           stack->config.worker;
}

void moved_input(struct net_stack *stack, struct tcp_moved_flow *record, struct tcp_input *in)
{
    const bool opens = (in->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG;

    if (opens && record->expires_at) {
        /* The old connection has ended: this SYN is the start of one that lives here. */
        record_free(stack, record);
        tcp_input_options(stack, in);
        tcp_listen_input(stack, in, 0);
        return;
    }
    COUNT(stack, tcp_moved_segments);
    stack->config.redirect(stack->config.arg, record->worker, in->packet->interface, in->packet->mbuf);
    in->packet->mbuf = NULL;
}

void moved_housekeeping(struct net_stack *stack)
{
    for (uint32_t looked = 0; looked < MOVED_SLICE && stack->census.moved > 0; looked++) {
        struct tcp_moved_flow *record = &stack->moved_flows[stack->moved_cursor];
        stack->moved_cursor = stack->moved_cursor + 1 < stack->moved_high ? stack->moved_cursor + 1 : 0;
        if (record->used && record->expires_at && (int32_t)(stack->tick - record->expires_at) >= 0)
            record_free(stack, record);
    }
}

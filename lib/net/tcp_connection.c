/* The life of a connection: creation, what the handshake negotiated, end. Private to lib/net (tcp_internal.h). */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

/* REQ RFC9293 MUST-8: a clock of 4 us plus a hash [test: net_script/initial_sequence_follows_the_clock] */
/* REQ RFC9293 MUST-9, SHLD-1: the hash is SipHash with a secret key [test: net_hash/siphash_vector] */
/* REQ RFC6528 3-2: SipHash with a secret key, over the flow [test: net_hash/siphash_vector] */
/* REQ RFC6528 3-1, 3-3: M of 4 us + F(flow, secret) [test: net_script/initial_sequence_follows_the_clock] */
uint32_t tcp_initial_sequence(const struct net_stack *stack, const struct net_flow *flow)
{
    return (uint32_t)(stack->now >> 2) + (uint32_t)hash_sip(stack->config.seed, flow, sizeof *flow);
}

/* REQ RFC7323 5.4-2: an offset for each pair of addresses [test: net_script/timestamp_offsets_differ] */
uint32_t tcp_timestamp_offset(const struct net_stack *stack, const struct net_flow *flow)
{
    /* Addresses only: a TIME-WAIT record must see time go on between two connections (RFC 7323 section 5.4). */
    return (uint32_t)(hash_sip(stack->config.seed, flow, 32) >> 32);
}

static uint32_t headers_length(const struct net_flow *flow)
{
    return net_address_is_ip4(&flow->remote) ? 40 : 60;
}

/* REQ RFC9293 MUST-67: what is announced is the interface's MTU less fixed headers [test: net_script/active_open] */
/* REQ RFC9293 SHLD-6: each interface has a fixed MTU, the path's is on top [test: net_script/active_open] */
uint32_t tcp_local_mss(const struct net_stack *stack, const struct net_flow *flow, unsigned interface)
{
    return stack->interfaces[interface].config.mtu - headers_length(flow);
}

static uint32_t buffer_room(const struct net_stack *stack)
{
    return rte_pktmbuf_data_room_size(stack->config.pool) - RTE_PKTMBUF_HEADROOM;
}

/* REQ RFC9293 MAY-18: CUBIC, or NewReno if the operator likes [test: net_script/newreno_if_configured] */
const struct congestion *congestion_of(const struct tcp_connection *c)
{
    return c->stack->config.congestion == NET_CONGESTION_NEWRENO ? &congestion_newreno : &congestion_cubic;
}

/* RFC 6928: min(10 * MSS, max(2 * MSS, 14600)). */
/* REQ RFC6928 2-1: ten segments, or 14,600 bytes [test: net_script/initial_window_and_slow_start] */
uint32_t congestion_initial_window(const struct tcp_connection *c)
{
    uint32_t mss = c->send_mss, bound = 2 * mss > 14600 ? 2 * mss : 14600;

    return 10 * mss < bound ? 10 * mss : bound;
}

static struct tcp_connection *connection_take(struct net_stack *stack)
{
    if (stack->connection_free) {
        struct tcp_connection *c = &stack->connections[stack->connection_free - 1];
        stack->connection_free = c->next_free;
        return c;
    }
    if (stack->connection_high < stack->config.max_connections) /* untouched memory comes last */
        return &stack->connections[stack->connection_high++];
    COUNT(stack, drop_connections_full);
    return NULL;
}

/* REQ RFC5681 3.1-3: the threshold begins beyond reach [test: net_script/initial_window_and_slow_start] */
struct tcp_connection *connection_create(struct net_stack *stack, const struct net_flow *flow, uint32_t hash,
                                         unsigned interface, uint32_t neighbour)
{
    struct tcp_connection *c = connection_take(stack);

    if (!c)
        return NULL;
    uint32_t generation = c->generation;
    memset(c, 0, sizeof *c);
    c->generation = generation;
    c->stack = stack;
    c->flow = *flow;
    c->interface = (uint8_t)interface;
    c->neighbour = neighbour;
    c->path_mtu = stack->interfaces[interface].config.mtu;
    c->reorder_steps = 1;
    c->received_at = c->progress_at = stack->tick;
    c->timestamp_offset = tcp_timestamp_offset(stack, flow);
    c->slow_start_threshold = INT32_MAX;
    c->receive_mss = TCP_MSS_DEFAULT4;
    c->dscp = stack->config.dscp & 63u;
    timer_init(&c->timer, stack->config.timer_kind);
    stack->neighbours[neighbour].references++;
    stack->census.connections++;
    flow_table_insert(&stack->flows, hash, flow_reference(FLOW_CONNECTION, connection_index(c)));
    return c;
}

/* REQ RFC7323 2.2-1: both sides must have scaled [test: net_script/zero_window, net_script/syn_window_not_scaled] */
/* REQ RFC9293 MUST-16: the smaller of both, options deducted [test: net_script/no_mss_option] */
uint32_t tcp_path_mss(const struct tcp_connection *c, uint32_t mss)
{
    const uint32_t room = c->path_mtu - headers_length(&c->flow), buffer = buffer_room(c->stack);

    if (mss > room)
        mss = room;
    if (c->flags & TCP_FLAG_TIMESTAMPS)
        mss -= TCP_TIMESTAMP_BYTES;
    return mss < buffer ? mss : buffer;
}

void connection_negotiate(struct tcp_connection *c, uint16_t peer_mss, bool scaled, uint8_t scale, bool timestamps,
                          bool sack)
{
    uint32_t mss = peer_mss;

    /* REQ RFC9293 MUST-15: no option means 536 (IPv4) or 1220 (IPv6) [test: net_script/no_mss_option] */
    if (mss == 0)
        mss = net_address_is_ip4(&c->flow.remote) ? TCP_MSS_DEFAULT4 : TCP_MSS_DEFAULT6;
    if (mss < TCP_MSS_MINIMUM)
        mss = TCP_MSS_MINIMUM;
    c->peer_mss = (uint16_t)mss;
    if (timestamps)
        c->flags |= TCP_FLAG_TIMESTAMPS;
    c->send_mss = (uint16_t)tcp_path_mss(c, mss);
    if (scaled) {
        c->flags |= TCP_FLAG_SCALED;
        c->send_scale = scale;
        c->receive_scale = c->stack->receive_scale;
    }
    if (sack)
        c->flags |= TCP_FLAG_SACK;
}

/* REQ RFC6928 2-2: one segment [test: net_script/lost_syn_shrinks_the_window, net_script/lost_syn_ack] */
/* REQ RFC5681 3.1-2: one segment [test: net_script/lost_syn_shrinks_the_window, net_script/lost_syn_ack] */
void connection_establish(struct tcp_connection *c)
{
    uint32_t window = c->stack->config.receive_buffer;

    c->receive_edge = c->receive_next + (window < 65535 ? window : 65535);
    c->send_end = c->send_next;
    c->recovery_point = c->send_next - 1; /* RFC 6582: nothing was recovered yet */
    c->congestion_window = c->syn_lost ? c->send_mss : congestion_initial_window(c);
    c->quick_acks = TCP_QUICK_ACKS;
    c->probes = c->backoff = 0;
    c->retransmit_kind = TCP_RETRANSMIT_NONE;
    c->progress_at = c->stack->tick;
    congestion_of(c)->start(c);
    tcp_keepalive_restart(c);
    if (c->flags & TCP_FLAG_FIN_WANTED)
        tcp_touch_inline(c);
    tcp_timer_arm(c);
}

/* REQ RFC9293 MUST-47, SHLD-9, SHLD-25: by a callback [test: net_script/trouble_is_told] */
/* REQ RFC9293 SHLD-20: when there is none, nothing is told [test: net_script/icmp_is_soft] */
void connection_trouble(struct tcp_connection *c, enum tcp_trouble trouble)
{
    if (!c->stack->config.callbacks.troubled)
        return;
    c->trouble = trouble;
    tcp_deliver_later(c, TCP_FLAG_EVENT_TROUBLED);
}

static uint32_t queue_release(struct tcp_segment *segment)
{
    uint32_t count = 0;

    while (segment) {
        struct tcp_segment *next = segment->next;
        rte_pktmbuf_free_seg(segment_mbuf(segment));
        segment = next;
        count++;
    }
    return count;
}

void connection_release_buffers(struct tcp_connection *c)
{
    struct net_census *census = &c->stack->census;

    census->send_mbufs -= queue_release(c->send_head);
    census->receive_mbufs -= queue_release(c->receive_head);
    census->out_of_order_mbufs -= queue_release(c->out_of_order);
    c->send_head = c->send_unsent = c->send_tail = NULL;
    c->receive_head = c->receive_tail = c->out_of_order = NULL;
    c->in_flight = c->lost = NULL;
    c->tail_write = NULL;
    c->tail_room = 0;
    c->readable = 0;
    c->receive_count = c->out_of_order_count = c->send_segments = 0;
}

static void count_end(struct net_stack *stack, enum tcp_close_reason reason)
{
    switch (reason) {
    case TCP_CLOSE_MOVED:
        break;
    case TCP_CLOSE_NORMAL:
        COUNT(stack, tcp_closed_normal);
        break;
    case TCP_CLOSE_ABORTED:
        COUNT(stack, tcp_closed_aborted);
        break;
    case TCP_CLOSE_RESET:
    case TCP_CLOSE_REFUSED:
        COUNT(stack, tcp_closed_reset);
        break;
    default:
        COUNT(stack, tcp_closed_timeout);
        break;
    }
}

/* No segment reaches or leaves it any more. */
static void connection_detach(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;

    timer_cancel(stack->config.wheel, &c->timer);
    flow_table_remove(&stack->flows, hash_flow(stack->config.seed, &c->flow),
                      flow_reference(FLOW_CONNECTION, connection_index(c)));
    stack->neighbours[c->neighbour].references--;
}

_Static_assert(TCP_CLOSE_REASONS <= 1 << 3, "tcp_connection.close_reason");

/* REQ RFC9293 MUST-12: the application hears why a connection ended [test: net_script/rst_in_window_challenged] */
void connection_end(struct tcp_connection *c, enum tcp_close_reason reason)
{
    if (c->state == TCP_STATE_CLOSED)
        return;
    if (c->state != TCP_STATE_TIME_WAIT)
        connection_detach(c);
    c->state = TCP_STATE_CLOSED;
    c->close_reason = reason & 7u;
    count_end(c->stack, reason);
    connection_release_buffers(c);
    tcp_deliver_later(c, TCP_FLAG_EVENT_CLOSED);
}

void connection_finish(struct tcp_connection *c)
{
    if (c->readable == 0 || (c->flags & TCP_FLAG_DETACHED)) {
        connection_end(c, TCP_CLOSE_NORMAL);
        return;
    }
    connection_detach(c);
    c->state = TCP_STATE_TIME_WAIT;
}

/* One that net_output() is still to visit is freed when its turn comes. */
void connection_free(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;

    c->ended = 1;
    if (c->flags & TCP_FLAG_TOUCHED)
        return;
    c->generation++;
    c->stack = NULL;
    c->next_free = stack->connection_free;
    stack->connection_free = connection_index_in(stack, c) + 1;
    stack->census.connections--;
}

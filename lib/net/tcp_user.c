/* The calls of tcp.h that are not inline. Thread: the stack's. */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

const char *tcp_state_text(enum tcp_state state)
{
    static const char *const texts[] = {"closed",      "listen",     "syn-sent",   "syn-received",
                                        "established", "fin-wait-1", "fin-wait-2", "close-wait",
                                        "closing",     "last-ack",   "time-wait"};

    return (unsigned)state < sizeof texts / sizeof *texts ? texts[state] : "unknown";
}

const char *tcp_close_reason_text(enum tcp_close_reason reason)
{
    static const char *const texts[TCP_CLOSE_REASONS] = {
        [TCP_CLOSE_NORMAL] = "finished",
        [TCP_CLOSE_ABORTED] = "aborted here",
        [TCP_CLOSE_RESET] = "reset by the peer",
        [TCP_CLOSE_REFUSED] = "refused by the peer",
        [TCP_CLOSE_TIMEOUT] = "the peer does not answer",
        [TCP_CLOSE_CONNECT_TIMEOUT] = "no answer to the connection request",
        [TCP_CLOSE_UNREACHABLE] = "unreachable",
        [TCP_CLOSE_MOVED] = "moved to another worker",
    };

    return (unsigned)reason < TCP_CLOSE_REASONS ? texts[reason] : "unknown";
}

/* ---- Opening. */

/* RFC 6056 algorithm 3 (a keyed offset per destination), with the owner of the replies as a further condition. */
/* REQ RFC6056 3.1-1: 32,768 ports [test: net_script/ports_are_chosen] */
/* REQ RFC6056 3.1-2: of free flows [test: net_script/ports_are_chosen] */
/* REQ RFC6056 3.3: algorithm 3 [test: net_script/ports_are_hard_to_guess] */
static bool port_choose(struct net_stack *stack, struct net_flow *flow, uint32_t *hash)
{
    enum { FIRST = 32768, COUNT_OF = 65536 - FIRST };
    uint32_t start = (uint32_t)hash_sip(stack->config.seed, flow, 34) + (uint32_t)stack->port_counter;

    for (uint32_t i = 0; i < COUNT_OF; i++) {
        flow->local_port = (uint16_t)(FIRST + ((start + i) & (COUNT_OF - 1)));
        if (!tcp_flow_is_ours(stack, flow))
            continue;
        *hash = hash_flow(stack->config.seed, flow);
        if (!tcp_flow_find(stack, flow, *hash)) {
            stack->port_counter += i + 1;
            return true;
        }
    }
    return false;
}

static struct tcp_connection *connect_failed(struct net_stack *stack)
{
    COUNT(stack, tcp_connect_failed);
    return NULL;
}

/* REQ RFC9293 MUST-46: one host's, and not ours [test: net_script/connect_to_bad_addresses] */
static bool is_connectable(const struct net_stack *stack, const struct net_address *local,
                           const struct net_address *remote, uint16_t port)
{
    if (port == 0 || !address_is_unicast(stack, remote) || route_is_local(stack, remote))
        return false;
    return net_address_is_any(local) ||
           (net_address_is_ip4(local) == net_address_is_ip4(remote) && route_is_local(stack, local));
}

/* The link of a link-local address: that of the local one, or the first. */
static unsigned interface_of(const struct net_stack *stack, const struct net_address *local)
{
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        if (interface_has_address(stack, i, local))
            return i;
    return 0;
}

/* REQ RFC9293 MUST-43: any address, or one of ours [test: net_script/connect_from_an_address] */
/* REQ RFC9293 MUST-44: the route's [test: net_script/active_open] */
struct tcp_connection *tcp_connect(struct net_stack *stack, const struct net_address *local, uint16_t local_port,
                                   const struct net_address *remote, uint16_t remote_port, void *user)
{
    struct net_flow flow = {.remote = *remote, .local = *local, .remote_port = remote_port, .local_port = local_port};
    unsigned interface = interface_of(stack, local);
    uint32_t hash;

    if (!is_connectable(stack, local, remote, remote_port))
        return connect_failed(stack);
    int neighbour = neighbour_toward(stack, remote, &interface);
    if (neighbour == NET_NONE)
        return connect_failed(stack);
    if (net_address_is_any(local)) {
        const struct net_address *source = route_source(stack, interface, remote);
        if (!source)
            return connect_failed(stack);
        flow.local = *source;
    }
    if (local_port) {
        hash = hash_flow(stack->config.seed, &flow);
        if (tcp_flow_find(stack, &flow, hash))
            return connect_failed(stack);
    } else if (!port_choose(stack, &flow, &hash)) {
        return connect_failed(stack);
    }
    struct tcp_connection *c = connection_create(stack, &flow, hash, interface, (uint32_t)neighbour);
    if (!c)
        return connect_failed(stack);
    COUNT(stack, tcp_active_opens);
    c->user = user;
    c->state = TCP_STATE_SYN_SENT;
    c->send_unacked = c->send_next = c->send_end = tcp_initial_sequence(stack, &flow);
    c->rack_sent_at = stack_time(stack); /* of the SYN, for the first round-trip sample */
    c->retransmit_at = stack_deadline(stack, TCP_RTO_INITIAL_US);
    tcp_send_syn(c);
    tcp_timer_arm(c);
    return c;
}

/* ---- Closing. */

/* The sending side ends: FIN after what is queued, and the state that goes with it. */
static void send_side_end(struct tcp_connection *c)
{
    if (c->state == TCP_STATE_ESTABLISHED)
        c->state = TCP_STATE_FIN_WAIT_1;
    else if (c->state == TCP_STATE_CLOSE_WAIT)
        /* REQ RFC9293 3.10.4: FIN of a half-close in CLOSE-WAIT [test: net_script/close_wait_fin] */
        c->state = TCP_STATE_LAST_ACK;
    else
        return;
    c->flags &= ~(uint32_t)TCP_FLAG_WANT_WRITE;
    tcp_queue_fin(c);
}

void tcp_shutdown(struct tcp_connection *c)
{
    if (c->state == TCP_STATE_SYN_SENT || c->state == TCP_STATE_SYN_RECEIVED)
        connection_end(c, TCP_CLOSE_ABORTED);
    else
        send_side_end(c);
}

static void receive_queue_discard(struct tcp_connection *c)
{
    COUNT_ADD(c->stack, drop_tcp_after_close, c->readable);
    while (c->receive_head)
        tcp_consume(c, c->receive_head->length);
}

/* A FIN though data may be unread: a RST could overtake the last message and destroy it. */
/* REQ RFC9293 MAY-1: both directions at once [test: net_script/we_close_first] */
void tcp_close(struct tcp_connection *c)
{
    if (c->state == TCP_STATE_CLOSED || (c->flags & TCP_FLAG_DETACHED))
        return;
    c->flags |= TCP_FLAG_DETACHED;
    receive_queue_discard(c);
    if (c->state == TCP_STATE_CLOSED)
        return;
    if (c->state == TCP_STATE_FIN_WAIT_2) {
        c->keep_at = stack_deadline(c->stack, c->stack->config.fin_wait_us);
        tcp_timer_arm(c);
    }
    tcp_shutdown(c);
}

void tcp_abort(struct tcp_connection *c)
{
    if (c->state == TCP_STATE_CLOSED)
        return;
    if (c->state != TCP_STATE_SYN_SENT && c->state != TCP_STATE_TIME_WAIT) {
        COUNT(c->stack, tcp_resets_aborted);
        tcp_send_reset(c);
    }
    connection_end(c, TCP_CLOSE_ABORTED);
}

/* ---- Receiving. */

const uint8_t *tcp_peek_next(const struct tcp_connection *c, const uint8_t *end, uint32_t *length)
{
    const struct tcp_segment *segment = c->receive_head;

    while (segment && segment->data + segment->length != end)
        segment = segment->next;
    segment = segment ? segment->next : NULL;
    *length = segment ? segment->length : 0;
    return segment ? segment->data : NULL;
}

uint32_t tcp_copy(const struct tcp_connection *c, uint32_t offset, void *to, uint32_t length)
{
    uint32_t copied = 0;

    for (const struct tcp_segment *segment = c->receive_head; segment && copied < length; segment = segment->next) {
        if (offset >= segment->length) {
            offset -= segment->length;
            continue;
        }
        uint32_t here = segment->length - offset;
        if (here > length - copied)
            here = length - copied;
        memcpy((uint8_t *)to + copied, segment->data + offset, here);
        copied += here;
        offset = 0;
    }
    return copied;
}

/* The window the peer knows is small and may grow by much: tell, or it waits (RFC 9293 section 3.8.6.2.2). */
static void window_update_maybe(struct tcp_connection *c)
{
    uint32_t buffer = tcp_receive_limit(c), known = c->receive_edge - c->receive_next;

    if (known > buffer / 2 || (c->flags & TCP_FLAG_ACK_NOW) || !tcp_can_receive(c))
        return;
    uint32_t grown = buffer - c->readable - known,
             worth = 2u * c->receive_mss < buffer / 2 ? 2u * c->receive_mss : buffer / 2;
    if ((int32_t)grown < (int32_t)worth)
        return;
    COUNT(c->stack, tcp_window_updates_sent);
    c->flags |= TCP_FLAG_ACK_NOW;
    tcp_touch_inline(c);
}

/* Bytes have left the queue. */
static void receive_queue_shrunk(struct tcp_connection *c)
{
    if (!c->receive_head) {
        c->receive_tail = NULL;
        if (c->state == TCP_STATE_TIME_WAIT) {
            connection_end(c, TCP_CLOSE_NORMAL);
            return;
        }
        if (c->flags & TCP_FLAG_FIN_RECEIVED)
            tcp_deliver_later(c, TCP_FLAG_EVENT_PEER_CLOSED);
    }
    window_update_maybe(c);
}

static void segment_done(struct tcp_connection *c, struct tcp_segment *segment)
{
    c->receive_count--;
    c->stack->census.receive_mbufs--;
    rte_pktmbuf_free_seg(segment_mbuf(segment));
}

void tcp_consume(struct tcp_connection *c, uint32_t length)
{
    if (length > c->readable)
        length = c->readable;
    c->readable -= length;
    while (length > 0) {
        struct tcp_segment *segment = c->receive_head;
        if (length < segment->length) {
            segment->data += length;
            segment->length = (uint16_t)(segment->length - length);
            break;
        }
        length -= segment->length;
        c->receive_head = segment->next;
        segment_done(c, segment);
    }
    receive_queue_shrunk(c);
}

void tcp_rewrite(struct tcp_connection *c, uint32_t offset,
                 uint32_t (*edit)(void *arg, uint8_t *bytes, uint32_t length), void *arg)
{
    struct tcp_segment **link = &c->receive_head, *last = NULL, *segment;

    if (offset >= c->readable)
        return;
    while ((segment = *link) != NULL) {
        if (offset >= segment->length) {
            offset -= segment->length;
        } else {
            uint32_t kept = offset + edit(arg, segment->data + offset, segment->length - offset);
            c->readable -= segment->length - kept;
            segment->length = (uint16_t)kept;
            offset = 0;
        }
        if (segment->length == 0) {
            *link = segment->next;
            segment_done(c, segment);
        } else {
            last = segment;
            link = &segment->next;
        }
    }
    c->receive_tail = last;
    receive_queue_shrunk(c);
}

void tcp_want_read(struct tcp_connection *c)
{
    if (c->state != TCP_STATE_CLOSED)
        tcp_deliver_later(c, TCP_FLAG_EVENT_READABLE);
}

/* ---- Sending. */

uint32_t tcp_send_room(const struct tcp_connection *c)
{
    uint32_t used = tcp_unacknowledged_bytes(c), bound = c->stack->config.send_buffer;

    if (!tcp_can_send_data(c) || (c->flags & TCP_FLAG_FIN_QUEUED) || c->send_segments > bound / 512 + 16)
        return 0;
    return used < bound ? bound - used : 0;
}

void tcp_want_write(struct tcp_connection *c)
{
    c->flags |= TCP_FLAG_WANT_WRITE;
    if (!c->send_head) /* nothing in flight whose ACK would bring the callback: the timer does */
        tcp_touch_inline(c);
}

static uint8_t *reserve_refused(struct tcp_connection *c)
{
    COUNT(c->stack, tcp_send_refused);
    tcp_want_write(c);
    return NULL;
}

/* REQ RFC9293 MAY-16: what is written in one iteration [test: net_script/reserve_appends_to_one_segment] */
uint8_t *tcp_reserve_segment(struct tcp_connection *c, uint32_t length)
{
    if (!tcp_can_send_data(c) || (c->flags & (TCP_FLAG_FIN_QUEUED | TCP_FLAG_FIN_WANTED)) || length > c->send_mss)
        return NULL;
    if (tcp_send_room(c) < length || c->stack->census.send_mbufs >= c->stack->config.max_held_buffers)
        return reserve_refused(c);
    struct rte_mbuf *mbuf = stack_mbuf(c->stack);
    if (!mbuf)
        return reserve_refused(c);
    tcp_seal_tail(c);
    struct tcp_segment *segment = mbuf_segment(mbuf);
    *segment = (struct tcp_segment){0};
    segment->data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    segment->sequence = c->send_end;
    if (c->send_tail)
        c->send_tail->next = segment;
    else
        c->send_head = segment;
    if (!c->send_unsent)
        c->send_unsent = segment;
    c->send_tail = segment;
    c->tail_write = segment->data;
    c->tail_room = c->send_mss;
    c->send_segments++;
    c->stack->census.send_mbufs++;
    tcp_touch_inline(c);
    return c->tail_write;
}

size_t tcp_send(struct tcp_connection *c, const void *data, size_t length)
{
    size_t sent = 0;

    while (sent < length) {
        size_t left = length - sent;
        if (c->tail_room == 0 && !tcp_reserve_segment(c, 1))
            break;
        uint32_t here = left < c->tail_room ? (uint32_t)left : c->tail_room;
        memcpy(c->tail_write, (const uint8_t *)data + sent, here);
        tcp_commit(c, here);
        sent += here;
    }
    return sent;
}

/* ---- Settings. */

/* REQ RFC9293 MUST-21: this one's instead of the stack's [test: net_script/user_timeout_of_a_connection] */
/* REQ RFC5482 2: at once, in an ACK of its own [test: net_script/user_timeout_option] */
void tcp_set_user_timeout(struct tcp_connection *c, uint16_t seconds)
{
    uint8_t option[TCP_TIMEOUT_BYTES];

    c->user_timeout_s = seconds;
    c->timeout_set = 1;
    if (!c->stack->config.user_timeout_option || c->state < TCP_STATE_ESTABLISHED || c->state == TCP_STATE_TIME_WAIT)
        return;
    tcp_options_write_timeout(option, seconds);
    tcp_send_special(c, c->send_next, option, sizeof option);
}

/* REQ RFC9293 MUST-24: on and off [test: net_script/keepalive_of_a_connection] */
void tcp_set_keepalive(struct tcp_connection *c, enum tcp_keepalive keepalive)
{
    c->keepalive = keepalive & 3u;
    if (c->state >= TCP_STATE_ESTABLISHED && !(c->flags & TCP_FLAG_DETACHED)) {
        tcp_keepalive_restart(c);
        tcp_timer_arm(c);
    }
}

/* REQ RFC9293 MUST-48, SHLD-21, SHLD-22, SHLD-23: as set, at any time [test: net_script/hop_limit_and_dscp] */
void tcp_set_dscp(struct tcp_connection *c, uint8_t dscp)
{
    c->dscp = dscp & 63u;
}

/* ---- Identity, looking in. */

uint64_t tcp_connection_id(const struct tcp_connection *c)
{
    return (uint64_t)c->generation << 32 | (connection_index(c) + 1);
}

struct tcp_connection *tcp_connection_find(struct net_stack *stack, uint64_t id)
{
    uint32_t index = (uint32_t)id - 1;

    if (index >= stack->connection_high)
        return NULL;
    struct tcp_connection *c = &stack->connections[index];
    return c->stack && !c->ended && c->generation == id >> 32 ? c : NULL;
}

struct tcp_connection *tcp_connection_of_flow(struct net_stack *stack, const struct net_flow *flow)
{
    const uint32_t reference = tcp_flow_find(stack, flow, hash_flow(stack->config.seed, flow));

    return reference && flow_reference_kind(reference) == FLOW_CONNECTION
               ? &stack->connections[flow_reference_index(reference)]
               : NULL;
}

bool tcp_flow_is_moved(const struct net_stack *stack, const struct net_flow *flow)
{
    const uint32_t reference = tcp_flow_find(stack, flow, hash_flow(stack->config.seed, flow));

    return reference && flow_reference_kind(reference) == FLOW_MOVED;
}

void tcp_info(const struct tcp_connection *c, struct tcp_info *info)
{
    uint32_t sent = c->send_next - c->send_unacked;

    *info = (struct tcp_info){
        .id = tcp_connection_id(c),
        .flow = c->flow,
        .state = c->state,
        .interface = c->interface,
        .mss = c->send_mss,
        .congestion_window = c->congestion_window,
        .slow_start_threshold = c->slow_start_threshold,
        .in_flight = tcp_in_flight(c),
        .send_window = c->send_window,
        .receive_window = c->receive_edge - c->receive_next,
        .send_queued = c->send_end - c->send_next,
        .unacknowledged = sent,
        .readable = c->readable,
        .out_of_order = c->out_of_order_bytes,
        .smoothed_rtt = c->smoothed_rtt >> 3,
        .rtt_variance = c->rtt_variance >> 2,
        .rtt_minimum = c->rtt_minimum,
        .rto = tcp_rto(c),
        .retransmits = c->retransmits,
        .idle_us = (uint64_t)(c->stack->tick - c->received_at) << TIMER_TICK_SHIFT,
        .timestamps = c->flags & TCP_FLAG_TIMESTAMPS,
        .sack = c->flags & TCP_FLAG_SACK,
        .ecn = c->flags & TCP_FLAG_ECN,
        .recovering = c->recovery != TCP_RECOVERY_NONE,
    };
}

bool tcp_connections_visit(struct net_stack *stack, uint32_t *cursor, uint32_t count,
                           void (*visit)(void *arg, struct tcp_connection *connection), void *arg)
{
    for (; count > 0 && *cursor < stack->connection_high; count--, ++*cursor) {
        struct tcp_connection *c = &stack->connections[*cursor];
        if (c->stack && c->state != TCP_STATE_CLOSED)
            visit(arg, c);
    }
    return *cursor < stack->connection_high;
}

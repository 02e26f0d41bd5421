/*
 * Passive open: listeners, half-open records (a compact SYN-RECEIVED), RST for what belongs to nothing. Private to
 * lib/net (tcp_internal.h); the stack's thread. SYN cookies: tcp_cookie.c.
 */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

/* The exact address wins over "any". */
/* REQ RFC9293 MUST-41, MUST-42: connections are not the listener's [test: messages/everyone_to_everyone] */
static struct tcp_listener *listener_find(struct net_stack *stack, const struct net_flow *flow)
{
    struct tcp_listener *any = NULL;

    for (uint32_t i = 0; i < stack->listener_high; i++) {
        struct tcp_listener *listener = &stack->listeners[i];
        if (listener->port != flow->local_port || !listener->used)
            continue;
        if (net_address_equal(&listener->address, &flow->local))
            return listener;
        if (net_address_is_any(&listener->address))
            any = listener;
    }
    return any;
}

int tcp_listen(struct net_stack *stack, const struct net_address *address, uint16_t port, void *listener_arg)
{
    int free = -1;

    for (uint32_t i = stack->config.max_listeners; i-- > 0;) {
        const struct tcp_listener *listener = &stack->listeners[i];
        if (!listener->used)
            free = (int)i;
        else if (listener->port == port && net_address_equal(&listener->address, address))
            return -1;
    }
    if (free < 0 || port == 0)
        return -1;
    stack->listeners[free] = (struct tcp_listener){*address, port, true, listener_arg};
    stack->listener_count++;
    if ((uint32_t)free >= stack->listener_high)
        stack->listener_high = (uint32_t)free + 1;
    return free;
}

void tcp_unlisten(struct net_stack *stack, int listener)
{
    if (listener < 0 || (uint32_t)listener >= stack->config.max_listeners || !stack->listeners[listener].used)
        return;
    stack->listeners[listener].used = false;
    stack->listener_count--;
    for (uint32_t i = 0; i < stack->config.max_half_open; i++) {
        struct tcp_half_open *half = &stack->half_opens[i];
        if (timer_pending(&half->timer) && half->listener == listener)
            half_open_free(stack, half);
    }
}

/* ---- Half-open records. */

static uint32_t half_open_index(const struct net_stack *stack, const struct tcp_half_open *half)
{
    return (uint32_t)(half - stack->half_opens);
}

/* REQ RFC4987 3.3: a table with a bound and a time [test: net_script/syn_ack_is_repeated] */
void half_open_free(struct net_stack *stack, struct tcp_half_open *half)
{
    uint32_t index = half_open_index(stack, half);

    timer_cancel(stack->config.wheel, &half->timer);
    flow_table_remove(&stack->flows, half->hash, flow_reference(FLOW_HALF_OPEN, index));
    stack->neighbours[half->neighbour].references--;
    half->next_free = stack->half_open_free;
    stack->half_open_free = index + 1;
    stack->census.half_open--;
}

/* REQ RFC9293 MUST-14: MSS is sent with every SYN-ACK [test: net_script/options_only_when_agreed] */
/* REQ RFC7323 2.2-2: the window is not scaled [test: net_script/syn_window_not_scaled] */
/* REQ RFC7323 3.2-6: timestamps when the SYN had them [test: net_script/options_only_when_agreed] */
static void syn_ack_send(struct net_stack *stack, const struct tcp_half_open *half, uint32_t timestamp)
{
    uint32_t window = stack->config.receive_buffer;
    uint8_t bytes[TCP_OPTIONS_MAX];
    struct tcp_options options = {
        .mss = (uint16_t)tcp_local_mss(stack, &half->flow, half->interface),
        .has_scale = half->flags & HALF_OPEN_SCALED,
        .scale = stack->receive_scale,
        .sack_permitted = half->flags & HALF_OPEN_SACK,
        .has_timestamp = half->flags & HALF_OPEN_TIMESTAMPS,
        .timestamp = timestamp,
        .timestamp_echo = half->timestamp_recent,
        .user_timeout_s = tcp_advertised_timeout(stack),
    };
    struct tcp_bare bare = {
        .flow = &half->flow,
        .neighbour = half->neighbour,
        .sequence = half->local_initial,
        .ack = half->remote_initial + 1,
        .window = (uint16_t)(window > 65535 ? 65535 : window), /* never scaled */
        .interface = half->interface,
        .flags = (uint8_t)(RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | (half->flags & HALF_OPEN_ECN ? RTE_TCP_ECE_FLAG : 0)),
        .options = bytes,
    };

    bare.options_length = tcp_options_write_syn(bytes, &options);
    tcp_send_bare(stack, &bare);
}

static uint32_t half_open_timestamp(const struct net_stack *stack, const struct tcp_half_open *half)
{
    return tcp_timestamp(stack, tcp_timestamp_offset(stack, &half->flow));
}

static void half_open_send(struct net_stack *stack, struct tcp_half_open *half)
{
    syn_ack_send(stack, half, half_open_timestamp(stack, half));
    timer_set(stack->config.wheel, &half->timer,
              stack->now + ((uint64_t)TCP_RTO_INITIAL_US << (half->retries < 6 ? half->retries : 6)));
}

void half_open_timer_handler(void *arg, struct timer *timer, uint64_t now)
{
    struct net_stack *stack = arg;
    struct tcp_half_open *half = (struct tcp_half_open *)((char *)timer - offsetof(struct tcp_half_open, timer));

    stack_set_now(stack, now);
    if (half->retries >= stack->config.syn_ack_retries) {
        COUNT(stack, tcp_syn_timeouts);
        half_open_free(stack, half);
        return;
    }
    half->retries++;
    half->flags |= HALF_OPEN_RESENT;
    COUNT(stack, tcp_syn_ack_retransmits);
    half_open_send(stack, half);
}

/* REQ RFC4987 3.5: a record [test: net_sizes/half_a_connection_costs_a_record] */
static void half_open_fill(struct net_stack *stack, struct tcp_half_open *half, const struct tcp_input *in,
                           const struct tcp_listener *listener)
{
    const struct tcp_options *options = &in->options;

    half->flow = in->packet->flow;
    half->hash = in->packet->hash;
    half->remote_initial = in->sequence;
    half->timestamp_recent = options->timestamp;
    half->mss = options->mss;
    half->listener = (uint16_t)(listener - stack->listeners);
    half->scale = options->scale;
    half->user_timeout_s = options->user_timeout_s;
    half->flags =
        (uint8_t)((options->has_scale ? HALF_OPEN_SCALED : 0) | (options->sack_permitted ? HALF_OPEN_SACK : 0) |
                  (options->has_timestamp ? HALF_OPEN_TIMESTAMPS : 0));
    const uint8_t ecn = in->flags & (RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG);
    if (ecn == (RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG) && stack->config.ecn != NET_ECN_NEVER)
        half->flags |= HALF_OPEN_ECN;
    half->retries = 0;
    half->created_at = stack->tick;
    half->sent_at = stack_time(stack);
}

static void syn_received(struct net_stack *stack, struct tcp_input *in, const struct tcp_listener *listener,
                         uint32_t floor)
{
    struct tcp_half_open scratch, *half = &scratch;
    unsigned interface = in->packet->interface;
    int neighbour = neighbour_toward(stack, &in->packet->flow.remote, &interface);
    bool cookie = tcp_cookie_wanted(stack);

    COUNT(stack, tcp_syns_received);
    if (neighbour == NET_NONE)
        return;
    if (!cookie) {
        if (!stack->half_open_free) {
            COUNT(stack, drop_syn_backlog_full);
            return;
        }
        half = &stack->half_opens[stack->half_open_free - 1];
        stack->half_open_free = half->next_free;
    }
    half_open_fill(stack, half, in, listener);
    half->interface = (uint8_t)interface;
    half->neighbour = (uint32_t)neighbour;
    if (cookie) {
        uint32_t timestamp = half->flags & HALF_OPEN_TIMESTAMPS ? half_open_timestamp(stack, half) : 0;
        half->local_initial = tcp_cookie_make(stack, &half->flow, half, &timestamp);
        COUNT(stack, tcp_syn_cookies_sent);
        syn_ack_send(stack, half, timestamp);
        return;
    }
    half->local_initial = tcp_initial_sequence(stack, &half->flow);
    if (floor && !sequence_after(half->local_initial, floor))
        half->local_initial = floor;
    timer_init(&half->timer, stack->config.timer_kind + 1);
    stack->neighbours[half->neighbour].references++;
    stack->census.half_open++;
    flow_table_insert(&stack->flows, half->hash, flow_reference(FLOW_HALF_OPEN, half_open_index(stack, half)));
    half_open_send(stack, half);
}

/* ---- The third step. */

/*
 * The SYN-ACK was sent again because nothing came back, and the answer does not echo the timestamp of the first: it,
 * or the peer's ACK, was lost. A repeated SYN alone may be a duplicate, and a cookie remembers nothing.
 */
static bool syn_ack_was_lost(const struct net_stack *stack, const struct tcp_connection *c,
                             const struct tcp_half_open *half, const struct tcp_input *in)
{
    const uint32_t age = stack_time(stack) - half->sent_at;
    const uint32_t first = (uint32_t)((stack->now - age) >> 10) + c->timestamp_offset;

    return half->retries > 0 &&
           !((half->flags & HALF_OPEN_TIMESTAMPS) && in->options.has_timestamp && in->options.timestamp_echo == first);
}

/* REQ RFC7323 3.2-4: only the third step's echo is looked at [test: net_script/echo_in_a_syn_is_ignored] */
struct tcp_connection *tcp_accept(struct net_stack *stack, const struct tcp_half_open *half, struct tcp_input *in)
{
    struct tcp_connection *c = connection_create(stack, &half->flow, half->hash, half->interface, half->neighbour);

    if (!c)
        return NULL;
    COUNT(stack, tcp_passive_opens);
    c->user = stack->listeners[half->listener].arg;
    c->receive_next = c->ack_sent = half->remote_initial + 1;
    c->send_unacked = c->send_next = half->local_initial + 1;
    c->timestamp_recent = half->timestamp_recent;
    connection_negotiate(c, half->mss, half->flags & HALF_OPEN_SCALED, half->scale, half->flags & HALF_OPEN_TIMESTAMPS,
                         half->flags & HALF_OPEN_SACK);
    if (half->flags & HALF_OPEN_ECN)
        c->flags |= TCP_FLAG_ECN;
    if (!(half->flags & HALF_OPEN_RESENT))
        tcp_rtt_sample(c, stack_time(stack) - half->sent_at);
    tcp_timeout_received(c, half->user_timeout_s);
    c->state = TCP_STATE_ESTABLISHED;
    c->syn_lost = syn_ack_was_lost(stack, c, half, in);
    connection_establish(c);
    c->send_window = c->send_window_max = (uint32_t)in->raw_window << c->send_scale;
    c->window_sequence = in->sequence;
    c->window_ack = in->ack;
    tcp_deliver_later(c, TCP_FLAG_EVENT_ACCEPTED);
    return c;
}

/* Where we stand, to a segment that is not acceptable: as after the handshake, within the same budget. */
static void half_open_challenge(struct net_stack *stack, const struct tcp_half_open *half)
{
    const uint32_t window = stack->config.receive_buffer >> (half->flags & HALF_OPEN_SCALED ? stack->receive_scale : 0);
    uint8_t options[TCP_TIMESTAMP_BYTES];
    struct tcp_bare bare = {.flow = &half->flow,
                            .neighbour = half->neighbour,
                            .sequence = half->local_initial + 1,
                            .ack = half->remote_initial + 1,
                            .window = (uint16_t)(window > 65535 ? 65535 : window),
                            .interface = half->interface,
                            .flags = RTE_TCP_ACK_FLAG};

    if (!tcp_challenge_allowed(stack))
        return;
    if (half->flags & HALF_OPEN_TIMESTAMPS) {
        tcp_options_write_timestamp(options, half_open_timestamp(stack, half), half->timestamp_recent);
        bare.options = options;
        bare.options_length = sizeof options;
    }
    COUNT(stack, tcp_acks_sent);
    tcp_send_bare(stack, &bare);
}

/* A segment for a half-open record that is no good ACK. True: dealt with. */
/* REQ RFC5961 3.2-3: before the third step too [test: net_script/rst_ends_half_open] */
/* REQ RFC9293 3.10.7.4-1: before all else [test: net_script/half_open_answers_what_it_does_not_accept] */
static bool half_open_other(struct net_stack *stack, struct tcp_half_open *half, struct tcp_input *in)
{
    const uint32_t offset = in->sequence - (half->remote_initial + 1); /* in the window of the SYN-ACK? */
    const bool acceptable = offset <= 65535 && offset <= stack->config.receive_buffer;

    if (in->flags & RTE_TCP_RST_FLAG) {
        if (offset == 0) {
            COUNT(stack, tcp_resets_received);
            half_open_free(stack, half);
            return true;
        }
        COUNT(stack, drop_tcp_reset);
        if (acceptable)
            half_open_challenge(stack, half);
        return true;
    }
    if (in->flags & RTE_TCP_SYN_FLAG) {
        /* Again the same SYN: answer again. Another one: our answer makes a peer that rebooted reset the old one. */
        if (in->sequence != half->remote_initial && !tcp_challenge_allowed(stack))
            return true;
        half->flags |= HALF_OPEN_RESENT;
        syn_ack_send(stack, half, half_open_timestamp(stack, half));
        return true;
    }
    if (!(in->flags & RTE_TCP_ACK_FLAG)) {
        COUNT(stack, drop_tcp_no_ack);
        return true;
    }
    if ((half->flags & HALF_OPEN_TIMESTAMPS) && in->options.has_timestamp &&
        sequence_before(in->options.timestamp, half->timestamp_recent)) {
        COUNT(stack, drop_tcp_paws);
        half_open_challenge(stack, half);
        return true;
    }
    if (!acceptable) {
        COUNT(stack, drop_tcp_sequence);
        half_open_challenge(stack, half);
        return true;
    }
    if (in->ack != half->local_initial + 1) {
        COUNT(stack, drop_tcp_ack);
        tcp_reset_segment(stack, in);
        return true;
    }
    return false;
}

void half_open_input(struct net_stack *stack, struct tcp_half_open *half, struct tcp_input *in)
{
    struct tcp_half_open copy = *half;

    if (half_open_other(stack, half, in))
        return;
    half_open_free(stack, half);
    struct tcp_connection *c = tcp_accept(stack, &copy, in);
    if (!c) {
        tcp_reset_segment(stack, in);
        return;
    }
    tcp_input_connection(c, in); /* payload, FIN, out of order: all as in ESTABLISHED */
}

/* REQ RFC9293 3.10.7.1, 3.10.7.2: no record of this flow [test: net_script/listen_table] */
void tcp_listen_input(struct net_stack *stack, struct tcp_input *in, uint32_t floor)
{
    const struct tcp_listener *listener = listener_find(stack, &in->packet->flow);
    const uint8_t kind = in->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_FIN_FLAG);

    if (in->flags & RTE_TCP_RST_FLAG) {
        COUNT(stack, drop_tcp_no_connection);
        return;
    }
    if (listener && kind == RTE_TCP_SYN_FLAG) {
        syn_received(stack, in, listener, floor);
        return;
    }
    if (listener && (kind & ~RTE_TCP_FIN_FLAG) == RTE_TCP_ACK_FLAG && stack->cookies_until) {
        struct tcp_half_open half;
        if (tcp_cookie_check(stack, in, &half)) {
            half.listener = (uint16_t)(listener - stack->listeners);
            struct tcp_connection *c = tcp_accept(stack, &half, in);
            if (c) {
                COUNT(stack, tcp_syn_cookies_accepted);
                tcp_input_connection(c, in);
                return;
            }
        }
        /* The third step may be lost and a later segment come first: it says nothing about the cookie, and a RST would
         * end a good connection. The peer sends its first segment again. */
        COUNT(stack, drop_syn_cookie_bad);
        return;
    }
    if (listener && !(kind & RTE_TCP_ACK_FLAG)) { /* no answer: scans with odd flags learn nothing from it */
        COUNT(stack, drop_tcp_flags);
        return;
    }
    if (!tcp_flow_is_ours(stack, &in->packet->flow)) {
        /* Steering brings such a segment elsewhere, so a stack that gave the connection away passed it on: it is here
         * before the connection. A RST would end what lives; the peer sends it again. */
        COUNT(stack, drop_tcp_moved_early);
        return;
    }
    COUNT(stack, drop_tcp_no_connection);
    tcp_reset_segment(stack, in);
}

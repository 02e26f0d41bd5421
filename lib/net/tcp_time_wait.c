/*
 * TIME-WAIT: a compact record per finished connection (RFC 9293 section 3.6.1, RFC 6191). Private to lib/net.
 *
 * All records live equally long, so a list in order of expiry is enough: no timer each. When the table is full the
 * oldest makes room: a shorter quiet time is the smaller harm than refusing connections.
 */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

static uint32_t record_index(const struct net_stack *stack, const struct tcp_time_wait *record)
{
    return (uint32_t)(record - stack->time_waits);
}

static void list_unlink(struct net_stack *stack, struct tcp_time_wait *record)
{
    if (record->previous)
        stack->time_waits[record->previous - 1].next = record->next;
    else
        stack->time_wait_oldest = record->next;
    if (record->next)
        stack->time_waits[record->next - 1].previous = record->previous;
    else
        stack->time_wait_newest = record->previous;
}

static void list_append(struct net_stack *stack, struct tcp_time_wait *record)
{
    uint32_t self = record_index(stack, record) + 1;

    record->next = 0;
    record->previous = stack->time_wait_newest;
    if (record->previous)
        stack->time_waits[record->previous - 1].next = self;
    else
        stack->time_wait_oldest = self;
    stack->time_wait_newest = self;
    record->expires_at = stack_deadline(stack, stack->config.time_wait_us);
}

void time_wait_free(struct net_stack *stack, struct tcp_time_wait *record)
{
    list_unlink(stack, record);
    flow_table_remove(&stack->flows, record->hash, flow_reference(FLOW_TIME_WAIT, record_index(stack, record)));
    stack->neighbours[record->neighbour].references--;
    record->next = stack->time_wait_free;
    stack->time_wait_free = record_index(stack, record) + 1;
    stack->census.time_wait--;
}

static struct tcp_time_wait *record_take(struct net_stack *stack)
{
    stack->census.time_wait++;
    if (!stack->time_wait_free && stack->time_wait_high < stack->config.max_time_wait)
        return &stack->time_waits[stack->time_wait_high++]; /* untouched memory comes last */
    if (!stack->time_wait_free) {
        COUNT(stack, tcp_time_wait_evicted);
        time_wait_free(stack, &stack->time_waits[stack->time_wait_oldest - 1]);
    }
    struct tcp_time_wait *record = &stack->time_waits[stack->time_wait_free - 1];
    stack->time_wait_free = record->next;
    return record;
}

/* REQ RFC9293 MUST-13: 60 s: an MSL of 30 s, as others take it [test: net_script/we_close_first] */
void time_wait_enter(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    struct tcp_time_wait *record = record_take(stack);
    struct tcp_time_wait values = {
        .flow = c->flow,
        .hash = hash_flow(stack->config.seed, &c->flow),
        .receive_next = c->receive_next,
        .send_next = c->send_next,
        .timestamp_recent = c->timestamp_recent,
        .timestamp_offset = c->timestamp_offset,
        .neighbour = c->neighbour,
        .interface = c->interface,
        .has_timestamps = !!(c->flags & TCP_FLAG_TIMESTAMPS),
        .window = tcp_receive_window(c),
    };

    COUNT(stack, tcp_time_wait_entered);
    if (c->flags & TCP_FLAG_ACK_NOW)
        tcp_send_ack(c);
    *record = values;
    stack->neighbours[record->neighbour].references++;
    connection_finish(c);
    flow_table_insert(&stack->flows, record->hash, flow_reference(FLOW_TIME_WAIT, record_index(stack, record)));
    list_append(stack, record);
    stack_need_housekeeping(stack);
}

static void record_ack(struct net_stack *stack, const struct tcp_time_wait *record)
{
    uint8_t options[TCP_TIMESTAMP_BYTES];
    struct tcp_bare bare = {.flow = &record->flow,
                            .neighbour = record->neighbour,
                            .sequence = record->send_next,
                            .ack = record->receive_next,
                            .window = record->window,
                            .interface = record->interface,
                            .flags = RTE_TCP_ACK_FLAG};

    if (record->has_timestamps) {
        tcp_options_write_timestamp(options, tcp_timestamp(stack, record->timestamp_offset), record->timestamp_recent);
        bare.options = options;
        bare.options_length = sizeof options;
    }
    COUNT(stack, tcp_acks_sent);
    tcp_send_bare(stack, &bare);
}

/* RFC 6191, RFC 9293 section 3.10.7.4: is this SYN certainly newer than the old connection? */
/* REQ RFC9293 MAY-2: if certainly newer [test: net_script/time_wait_reuse] */
/* REQ RFC9293 SHLD-4: by timestamp [test: net_script/time_wait_reuse_by_timestamp] */
/* REQ RFC6191 2-1, 2-3: by timestamp [test: net_script/time_wait_reuse_by_timestamp] */
/* REQ RFC6191 2-2: by number [test: net_script/time_wait_reuse] */
static bool syn_is_new(const struct tcp_time_wait *record, const struct tcp_input *in)
{
    if (record->has_timestamps && in->options.has_timestamp && in->options.timestamp != record->timestamp_recent)
        return sequence_after(in->options.timestamp, record->timestamp_recent);
    return sequence_after(in->sequence, record->receive_next);
}

/* REQ RFC1337 3: no assassination [test: net_script/time_wait_reuse] */
/* REQ RFC9293 3.10.7.4-6: the last ACK was lost [test: net_script/we_close_first] */
void time_wait_input(struct net_stack *stack, struct tcp_time_wait *record, struct tcp_input *in)
{
    if (in->flags & RTE_TCP_RST_FLAG) { /* RFC 1337: no assassination */
        COUNT(stack, drop_tcp_reset);
        return;
    }
    if ((in->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG && syn_is_new(record, in)) {
        uint32_t floor = record->send_next + 65536; /* beyond anything the old connection may have in the network */
        COUNT(stack, tcp_time_wait_reused);
        time_wait_free(stack, record);
        tcp_listen_input(stack, in, floor ? floor : 1);
        return;
    }
    if ((in->flags & RTE_TCP_FIN_FLAG) && !(in->flags & RTE_TCP_SYN_FLAG)) { /* our last ACK was lost */
        list_unlink(stack, record);
        list_append(stack, record);
        record_ack(stack, record);
        return;
    }
    if (in->length || in->flags & RTE_TCP_SYN_FLAG || in->sequence != record->receive_next) {
        COUNT(stack, drop_tcp_sequence);
        if (tcp_challenge_allowed(stack))
            record_ack(stack, record);
    }
}

void time_wait_housekeeping(struct net_stack *stack)
{
    while (stack->time_wait_oldest) {
        struct tcp_time_wait *record = &stack->time_waits[stack->time_wait_oldest - 1];
        if ((int32_t)(stack->tick - record->expires_at) < 0)
            return;
        time_wait_free(stack, record);
    }
}

/*
 * What others say about a connection's packets: ICMP errors, and paths that swallow large packets without a word.
 * Validation after RFC 5927: an error counts only if it quotes a sequence number that is in flight. Path MTU after RFC
 * 1191 and 8201, black holes after RFC 4821. Private to lib/net (tcp_internal.h); the stack's thread.
 *
 * A path MTU only falls, for one connection, and is found anew by the next one: nothing an outsider sends lasts longer
 * than the connection it was said about.
 */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

/* Packet sizes worth trying when a router does not name one (RFC 1191 section 7), or says nothing at all. */
static const uint16_t plateaus[] = {8166, 4352, 2002, 1492, 1280, 1006, TCP_PATH_MTU_MINIMUM4};

static uint32_t path_minimum(const struct tcp_connection *c)
{
    return net_address_is_ip4(&c->flow.remote) ? TCP_PATH_MTU_MINIMUM4 : TCP_PATH_MTU_MINIMUM6;
}

/* REQ RFC1191 4: of what the router quotes [test: net_script/path_mtu_unnamed_takes_a_plateau] */
static uint32_t next_plateau(uint32_t mtu)
{
    unsigned i = 0;

    while (i < sizeof plateaus / sizeof *plateaus - 1 && plateaus[i] >= mtu)
        i++;
    return plateaus[i];
}

/* What is in flight in packets that are now too large is sent again in smaller ones; that is no sign of congestion. */
/* REQ RFC1191 6.4: again at once [test: net_script/path_mtu_is_lowered] */
/* REQ RFC8201 5.4: no congestion [test: net_script/path_mtu_is_lowered] */
static void too_large_lost(struct tcp_connection *c)
{
    struct tcp_segment *segment;

    tcp_seal_tail(c);
    for (segment = c->send_head; segment && segment != c->send_unsent; segment = segment->next)
        if (segment->length > c->send_mss && !(segment->flags & (TCP_SEGMENT_SACKED | TCP_SEGMENT_LOST)))
            tcp_mark_lost(c, segment);
    if (c->tail_write) {
        const uint32_t used = c->send_tail->length;
        c->tail_room = (uint16_t)(used < c->send_mss ? c->send_mss - used : 0);
    }
    tcp_touch_inline(c);
}

/* REQ RFC1191 3-3, 3-4: 552 bytes at least, and it never grows [test: net_script/path_mtu_is_lowered] */
/* REQ RFC8201 4-3, 4-4: it never grows [test: net_script/path_mtu_is_lowered] */
static bool path_mtu_lower(struct tcp_connection *c, uint32_t mtu)
{
    if (mtu < path_minimum(c))
        mtu = path_minimum(c);
    if (mtu >= c->path_mtu)
        return false;
    c->path_mtu = (uint16_t)mtu;
    c->send_mss = (uint16_t)tcp_path_mss(c, c->peer_mss);
    too_large_lost(c);
    return true;
}

/* REQ RFC8899 3-1, 3-2: by repeated timeouts, down to 1280 and below [test: net_script/black_hole_is_found] */
void tcp_black_hole_check(struct tcp_connection *c)
{
    const struct tcp_segment *head = c->send_head;
    const uint32_t mtu = next_plateau(c->path_mtu);

    /* Repeated silence about the same full segment: small ones may pass. A segment lost for another reason costs
     * headers only. */
    if (c->backoff < TCP_BLACK_HOLE_TIMEOUTS || (c->backoff & 1) || !head || head->length < c->send_mss ||
        mtu >= c->path_mtu || c->path_mtu <= path_minimum(c))
        return;
    if (path_mtu_lower(c, mtu))
        COUNT(c->stack, tcp_black_holes);
}

/* REQ RFC8201 4-1: the named size [test: net_script/path_mtu_of_ip6] */
/* REQ RFC5927 5.2: once open no error ends a connection [test: net_script/icmp_is_soft] */
/* REQ RFC8899 4.6: what is quoted must be in flight [test: net_script/icmp_forged] */
static void connection_error(struct tcp_connection *c, const struct tcp_icmp *error)
{
    struct net_stack *stack = c->stack;

    if (error->sequence - c->send_unacked > c->send_next - c->send_unacked) {
        COUNT(stack, drop_icmp_unmatched);
        return;
    }
    COUNT(stack, icmp_errors_received);
    /* REQ RFC1191 3-2: the named size, or the next plateau [test: net_script/path_mtu_is_lowered] */
    if (error->kind == TCP_ICMP_TOO_BIG) {
        /* REQ RFC8201 4-2: what no path of IPv6 may ask for [test: net_script/path_mtu_of_ip6] */
        if (!net_address_is_ip4(&c->flow.remote) && error->mtu < TCP_PATH_MTU_MINIMUM6) {
            COUNT(stack, drop_icmp_malformed);
            return;
        }
        if (c->state >= TCP_STATE_ESTABLISHED &&
            path_mtu_lower(c, error->mtu ? error->mtu : next_plateau(error->quoted_length)))
            COUNT(stack, icmp_path_mtu);
        return;
    }
    /* REQ RFC9293 SHLD-26: a hard error ends an attempt to connect [test: net_script/icmp_in_syn_sent] */
    if (error->kind == TCP_ICMP_HARD && c->state == TCP_STATE_SYN_SENT) {
        connection_end(c, TCP_CLOSE_UNREACHABLE);
        return;
    }
    /* REQ RFC9293 MUST-56: soft errors end nothing; RFC 5927: once open no error does [test: net_script/icmp_is_soft]
     */
    COUNT(stack, icmp_soft_errors);
    connection_trouble(c, TCP_TROUBLE_UNREACHABLE);
}

/* REQ RFC5927 4.1: the quoted sequence number must be in flight [test: net_script/icmp_forged] */
/* REQ RFC9293 MUST-54: by the flow that is quoted [test: net_script/icmp_in_syn_sent] */
/* REQ RFC1122 3.2.2-3: by the flow that is quoted [test: net_script/icmp_in_syn_sent] */
/* REQ RFC8201 4-5: others are dropped [test: net_script/icmp_forged] */
void tcp_icmp_input(struct net_stack *stack, const struct tcp_icmp *error)
{
    const uint32_t reference = tcp_flow_find(stack, &error->flow, hash_flow(stack->config.seed, &error->flow));

    if (reference && flow_reference_kind(reference) == FLOW_CONNECTION)
        connection_error(&stack->connections[flow_reference_index(reference)], error);
    else
        COUNT(stack, drop_icmp_unmatched);
}

/*
 * SYN cookies (RFC 4987 section 3.6): under a flood the SYN-ACK's sequence number is the only record of a half-open
 * connection. Private to lib/net (tcp_internal.h); the stack's thread.
 *
 * The number is a keyed hash of the flow, the peer's sequence number and a minute counter, with the MSS (3 bits) and
 * the counter's parity folded in. Window scale, SACK and timestamps survive in the low bits of the timestamp that the
 * peer echoes.
 */
#include "lib/net/hash.h"
#include "lib/net/tcp_internal.h"

enum {
    COOKIE_PERIOD_SHIFT = 26, /* 2^26 us: about 67 s */
    COOKIE_AGES = 4,          /* at least 200 s: whoever gets no answer to the third step gives up before */
    COOKIE_HOLD_US = COOKIE_AGES << COOKIE_PERIOD_SHIFT,
    TIMESTAMP_BITS = 6, /* 4 of scale, SACK, ECN */
    SCALE_NONE = 15,
};

static const uint16_t mss_table[8] = {536, 1024, 1220, 1300, 1400, 1440, 1460, 8960};

static unsigned mss_index(uint16_t mss)
{
    unsigned index = 0;

    while (index < 7 && mss_table[index + 1] <= mss)
        index++;
    return index;
}

/* REQ RFC4987 3.6-4: while the backlog is full [test: net_script/cookies_only_when_full] */
bool tcp_cookie_wanted(const struct net_stack *stack)
{
    switch (stack->config.syn_cookies) {
    case NET_SYN_COOKIES_ALWAYS:
        return true;
    case NET_SYN_COOKIES_AUTO:
        return stack->half_open_free == 0;
    default:
        return false;
    }
}

static uint32_t cookie_hash(const struct net_stack *stack, const struct net_flow *flow, uint32_t remote_initial,
                            uint32_t period, uint32_t timestamp_bits)
{
    struct {
        uint32_t remote_initial;
        uint32_t period;
        uint32_t timestamp_bits;
        uint32_t ports;
        uint32_t ip4[2];
        uint32_t ip6[6]; /* what is left of IPv6 addresses: fewer rounds for IPv4, whose floods are the common ones */
    } input = {remote_initial,
               period,
               timestamp_bits,
               (uint32_t)flow->remote_port << 16 | flow->local_port,
               {flow->remote.words[3], flow->local.words[3]},
               {0}};
    const uint64_t key[2] = {stack->config.seed[0] ^ UINT64_C(0x53594e63), stack->config.seed[1]};
    size_t length = offsetof(__typeof__(input), ip6);

    if (!net_address_is_ip4(&flow->remote)) {
        memcpy(input.ip6, &flow->remote, 12);
        memcpy(input.ip6 + 3, &flow->local, 12);
        length = sizeof input;
    }
    return (uint32_t)hash_sip(key, &input, length) & ~7u;
}

static uint32_t cookie_period(const struct net_stack *stack)
{
    return (uint32_t)(stack->now >> COOKIE_PERIOD_SHIFT);
}

/* REQ RFC4987 3.6-1, 3.6-3: no record, options in the timestamp [test: net_script/syn_cookie_keeps_options] */
uint32_t tcp_cookie_make(struct net_stack *stack, const struct net_flow *flow, struct tcp_half_open *half,
                         uint32_t *timestamp)
{
    uint32_t bits = 0;

    stack->cookies_until = stack->now + COOKIE_HOLD_US;
    if (half->flags & HALF_OPEN_TIMESTAMPS) {
        bits = (half->flags & HALF_OPEN_SCALED ? half->scale : SCALE_NONE) | (half->flags & HALF_OPEN_SACK ? 16u : 0) |
               (half->flags & HALF_OPEN_ECN ? 32u : 0);
        /* Round down, so that no timestamp is from the future: later ones are larger. */
        *timestamp = ((*timestamp >> TIMESTAMP_BITS) - 1) << TIMESTAMP_BITS | bits;
    } else {
        half->flags &=
            (uint8_t) ~(HALF_OPEN_SCALED | HALF_OPEN_SACK | HALF_OPEN_ECN); /* there is no place to remember them */
    }
    uint32_t hash = cookie_hash(stack, flow, half->remote_initial, cookie_period(stack), bits);
    return (hash + (half->remote_initial & ~7u)) | mss_index(half->mss);
}

/* REQ RFC4987 3.6-2: a keyed hash with the minute in it [test: net_script/forged_cookie_is_refused] */
bool tcp_cookie_check(struct net_stack *stack, const struct tcp_input *in, struct tcp_half_open *half)
{
    uint32_t cookie = in->ack - 1, remote_initial = in->sequence - 1, bits = 0;
    bool timestamps = in->options.has_timestamp, good = false;
    unsigned interface = in->packet->interface;

    if (stack->now > stack->cookies_until) {
        stack->cookies_until = 0;
        return false;
    }
    if (timestamps)
        bits = in->options.timestamp_echo & ((1u << TIMESTAMP_BITS) - 1);
    for (uint32_t age = 0; age < COOKIE_AGES && !good; age++) {
        uint32_t hash = cookie_hash(stack, &in->packet->flow, remote_initial, cookie_period(stack) - age, bits);
        good = ((hash + (remote_initial & ~7u)) & ~7u) == (cookie & ~7u);
    }
    int neighbour = good ? neighbour_toward(stack, &in->packet->flow.remote, &interface) : NET_NONE;
    if (neighbour == NET_NONE)
        return false;
    *half = (struct tcp_half_open){
        .flow = in->packet->flow,
        .hash = in->packet->hash,
        .remote_initial = remote_initial,
        .local_initial = cookie,
        .timestamp_recent = in->options.timestamp,
        .mss = mss_table[cookie & 7],
        .neighbour = (uint32_t)neighbour,
        .interface = (uint8_t)interface,
        .scale = timestamps && (bits & 15) != SCALE_NONE ? (uint8_t)(bits & 15) : 0,
        .flags = HALF_OPEN_RESENT, /* no time of sending: no sample */
    };
    if (timestamps)
        half->flags =
            (uint8_t)(half->flags | HALF_OPEN_TIMESTAMPS | ((bits & 15) != SCALE_NONE ? HALF_OPEN_SCALED : 0) |
                      (bits & 16 ? HALF_OPEN_SACK : 0) | (bits & 32 ? HALF_OPEN_ECN : 0));
    return true;
}

/*
 * Congestion control: CUBIC (RFC 9438). Private to lib/net (struct congestion in tcp_internal.h).
 *
 * W(t) = C * (t - K)^3 + W_max with C = 0.4 segments/s^3 and beta = 0.7. Windows in bytes, times in units of 1/1024 s,
 * so that the cube is 64-bit arithmetic with shifts. The target is computed once per ACK that grows the window, and
 * only while the window limits: it is no cost of the small-message path.
 */
#include "lib/net/tcp_internal.h"

enum { W_MAX, K, EPOCH, W_EST, ACKED, PRIOR };

static uint32_t cube_root(uint64_t value)
{
    uint64_t root = 0;

    for (int bit = 20; bit >= 0; bit--) {
        uint64_t candidate = root | UINT64_C(1) << bit;
        if (candidate * candidate * candidate <= value)
            root = candidate;
    }
    return (uint32_t)root;
}

static uint32_t cubic_now(const struct tcp_connection *c)
{
    return (uint32_t)(c->stack->now * 1024 / 1000000) | 1;
}

static void cubic_start(struct tcp_connection *c)
{
    memset(c->congestion, 0, sizeof c->congestion);
}

/* REQ RFC9438 4.1-1, 4.6-1: seven tenths [test: net_script/ssthresh_once] */
/* REQ RFC9438 4.6-2: two segments at least [test: net_congestion/cubic_keeps_two_segments] */
/* REQ RFC9438 4.7: the next W_max is lower [test: net_congestion/cubic_converges_fast] */
static uint32_t cubic_reduce(struct tcp_connection *c)
{
    uint32_t window = c->congestion_window, floor = 2u * c->send_mss;
    uint32_t reduced = (uint32_t)((uint64_t)window * 7 / 10);

    c->congestion[PRIOR] = c->congestion[W_MAX];
    /* RFC 9438 section 4.7, fast convergence: give way to newcomers */
    c->congestion[W_MAX] = window < c->congestion[W_MAX] ? (uint32_t)((uint64_t)window * 17 / 20) : window;
    c->congestion[EPOCH] = 0;
    return reduced > floor ? reduced : floor;
}

/* K = cbrt((W_max - cwnd) / C), in 1/1024 s. */
static uint32_t cubic_k(uint32_t segments)
{
    return cube_root(((uint64_t)segments << 30) * 10 / 4);
}

/* REQ RFC9438 4.2-3: since avoidance began [test: net_congestion/cubic_counts_from_the_beginning_of_avoidance] */
static void epoch_begin(struct tcp_connection *c)
{
    uint32_t window = c->congestion_window;

    c->congestion[EPOCH] = cubic_now(c);
    c->congestion[W_EST] = window;
    c->congestion[ACKED] = 0;
    if (c->congestion[W_MAX] < window)
        c->congestion[W_MAX] = window;
    c->congestion[K] = cubic_k((c->congestion[W_MAX] - window) / c->send_mss);
}

/* W_cubic one round trip ahead, in bytes, within [cwnd, 1.5 cwnd] (section 4.2). */
/* REQ RFC9438 4.2-1: the curve [test: net_congestion/cubic_follows_its_curve] */
/* REQ RFC9438 4.2-2: clamped [test: net_congestion/cubic_grows_by_half_at_most_in_a_round_trip] */
static uint32_t cubic_target(const struct tcp_connection *c)
{
    uint32_t rtt = (uint32_t)((uint64_t)(c->smoothed_rtt >> 3) * 1024 / 1000000);
    int64_t t = (int64_t)(uint32_t)(cubic_now(c) - c->congestion[EPOCH]) + rtt - c->congestion[K];
    int64_t window = c->congestion_window, target;

    if (t > 1 << 17) /* two minutes past K: the bound below decides */
        t = 1 << 17;
    /* 0.4 * t^3 segments, t in 1/1024 s: t^3 has 2^30 per second cubed */
    target = c->congestion[W_MAX] + (((t * t * t) >> 10) * 4 / 10 * c->send_mss >> 20);
    if (target < window)
        target = window;
    if (target > window + window / 2)
        target = window + window / 2;
    return (uint32_t)target;
}

/* REQ RFC9438 4.3: W_est is the least [test: net_congestion/cubic_is_no_slower_than_reno] */
/* REQ RFC9438 4.4-1, 4.5: the curve does both [test: net_congestion/cubic_is_concave_then_convex] */
static void cubic_grow(struct tcp_connection *c, uint32_t bytes)
{
    uint32_t window = c->congestion_window, target;

    if (c->congestion[EPOCH] == 0)
        epoch_begin(c);
    /* Reno-friendly region (section 4.3): alpha = 3 * (1 - 0.7) / (1 + 0.7) = 9 / 17 until W_est passes W_max, then 1.
     */
    uint64_t alpha = c->congestion[W_EST] < c->congestion[W_MAX] ? 9 : 17;
    c->congestion[W_EST] += (uint32_t)(alpha * bytes * c->send_mss / (17u * (uint64_t)window));
    target = cubic_target(c);
    c->congestion_window += (uint32_t)((uint64_t)(target - window) * bytes / window);
    if (c->congestion_window < c->congestion[W_EST])
        c->congestion_window = c->congestion[W_EST];
}

static void cubic_undo(struct tcp_connection *c)
{
    c->congestion[W_MAX] = c->congestion[PRIOR];
    c->congestion[EPOCH] = 0;
}

const struct congestion congestion_cubic = {"cubic", cubic_start, cubic_reduce, cubic_grow, cubic_undo};

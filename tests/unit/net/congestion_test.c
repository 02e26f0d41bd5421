/* The congestion control algorithms alone: what a loss and an acknowledged window do to a connection's numbers. */
#include "lib/net/tcp_internal.h"

#include <criterion/criterion.h>
#include <math.h>

enum { MSS = 1000, RTT_US = 100000 };

static struct net_stack stack;
static struct tcp_connection connection;

static struct tcp_connection *begin(const struct congestion *algorithm, uint32_t segments)
{
    struct tcp_connection *c = &connection;

    memset(&stack, 0, sizeof stack);
    memset(c, 0, sizeof *c);
    stack_set_now(&stack, UINT64_C(7000000000));
    c->stack = &stack;
    c->send_mss = MSS;
    c->smoothed_rtt = RTT_US << 3;
    c->congestion_window = segments * MSS;
    c->send_next = segments * MSS; /* all of it in flight */
    c->flags = TCP_FLAG_SACK;
    algorithm->start(c);
    return c;
}

/* A loss, its recovery over: the window is the threshold. */
static void lose(const struct congestion *algorithm, struct tcp_connection *c)
{
    c->slow_start_threshold = algorithm->reduce(c);
    c->congestion_window = c->slow_start_threshold;
}

/* A round trip whose whole window is acknowledged, in pieces of two segments. */
static void round_trip(const struct congestion *algorithm, struct tcp_connection *c)
{
    const uint32_t pieces = c->congestion_window / (2 * MSS);

    for (uint32_t i = 0; i < pieces; i++) {
        stack_set_now(&stack, stack.now + RTT_US / pieces);
        algorithm->grow(c, 2 * MSS);
    }
}

/* ---- CUBIC. */

static double cubic(double seconds, double maximum, double beta)
{
    const double k = cbrt(maximum * (1 - beta) / 0.4);

    return 0.4 * pow(seconds - k, 3) + maximum;
}

Test(net_congestion, cubic_follows_its_curve)
{
    struct tcp_connection *c = begin(&congestion_cubic, 2000);

    lose(&congestion_cubic, c);
    cr_assert_eq(c->congestion_window, 1400 * MSS);
    for (int i = 1; i <= 150; i++) { /* K is 11.4 s: both halves of the curve */
        round_trip(&congestion_cubic, c);
        const double wanted = cubic(i * 0.1, 2000, 0.7), is = (double)c->congestion_window / MSS;
        cr_assert(fabs(is - wanted) < 0.02 * wanted, "after %.1f s: %.0f segments, not %.0f", i * 0.1, is, wanted);
    }
}

Test(net_congestion, cubic_is_concave_then_convex)
{
    struct tcp_connection *c = begin(&congestion_cubic, 2000);
    uint32_t steps[160];

    lose(&congestion_cubic, c);
    for (int i = 0; i < 160; i++) {
        const uint32_t before = c->congestion_window;
        round_trip(&congestion_cubic, c);
        steps[i] = c->congestion_window - before;
    }
    cr_assert_gt(steps[20], steps[60]);
    cr_assert_gt(steps[60], steps[100]);
    cr_assert_gt(steps[140], steps[120]);
    cr_assert_gt(steps[155], steps[140]);
}

Test(net_congestion, cubic_counts_from_the_beginning_of_avoidance)
{
    struct tcp_connection *c = begin(&congestion_cubic, 2000);

    lose(&congestion_cubic, c);
    stack_set_now(&stack, stack.now + 60 * 1000000); /* an idle minute is no part of it */
    round_trip(&congestion_cubic, c);
    cr_assert_lt(c->congestion_window, 1450 * MSS);
}

Test(net_congestion, cubic_grows_by_half_at_most_in_a_round_trip)
{
    struct tcp_connection *c = begin(&congestion_cubic, 100);

    lose(&congestion_cubic, c);
    round_trip(&congestion_cubic, c);
    stack_set_now(&stack, stack.now + UINT64_C(100) * 1000000); /* far up the curve */
    const uint32_t before = c->congestion_window;
    congestion_cubic.grow(c, before);
    cr_assert_leq(c->congestion_window, before + before / 2);
    cr_assert_gt(c->congestion_window, before + before / 3);
}

Test(net_congestion, cubic_is_no_slower_than_reno)
{
    struct tcp_connection *c = begin(&congestion_cubic, 20);
    double reno;

    c->smoothed_rtt = 10000 << 3; /* short and small: where the curve is slow */
    lose(&congestion_cubic, c);
    reno = c->congestion_window;
    for (int i = 0; i < 30; i++) {
        const uint32_t pieces = c->congestion_window / (2 * MSS);
        for (uint32_t p = 0; p < pieces; p++) {
            stack_set_now(&stack, stack.now + 10000 / pieces);
            congestion_cubic.grow(c, 2 * MSS);
        }
        reno += 9.0 / 17 * MSS * 0.9;
    }
    cr_assert_geq((double)c->congestion_window, reno);
}

Test(net_congestion, cubic_keeps_two_segments)
{
    struct tcp_connection *c = begin(&congestion_cubic, 2);

    cr_assert_eq(congestion_cubic.reduce(c), 2 * MSS);
}

Test(net_congestion, cubic_converges_fast)
{
    struct tcp_connection *c = begin(&congestion_cubic, 2000);

    lose(&congestion_cubic, c);
    round_trip(&congestion_cubic, c);
    lose(&congestion_cubic, c); /* below the last maximum: others have come */
    const uint32_t maximum = (uint32_t)(c->congestion_window / 0.7 * 0.85);
    for (int i = 0; i < 80; i++)
        round_trip(&congestion_cubic, c);
    cr_assert(abs((int)c->congestion_window - (int)maximum) < 60 * MSS, "%u, not about %u", c->congestion_window,
              maximum);
}

/* ---- NewReno. */

Test(net_congestion, newreno_halves_what_is_in_flight)
{
    struct tcp_connection *c = begin(&congestion_newreno, 40);

    c->send_next = 30 * MSS; /* the window was not used up */
    cr_assert_eq(congestion_newreno.reduce(c), 15 * MSS);
    c->send_next = MSS;
    cr_assert_eq(congestion_newreno.reduce(c), 2 * MSS);
}

Test(net_congestion, newreno_grows_a_segment_a_round_trip)
{
    struct tcp_connection *c = begin(&congestion_newreno, 40);

    for (uint32_t i = 1; i <= 20; i++) {
        const uint32_t window = c->congestion_window;
        for (uint32_t acked = 0; acked < window; acked += MSS)
            congestion_newreno.grow(c, MSS);
        cr_assert_leq(c->congestion_window, (40 + i) * MSS);
    }
    cr_assert_geq(c->congestion_window, 59 * MSS);
}

/* ---- Memory. */

Test(net_sizes, idle_connection_costs_400_bytes)
{
    struct net_sizes sizes;

    net_sizes(&sizes);
    cr_log_info("connection %zu, flow table %zu, half-open %zu, TIME-WAIT %zu, neighbour %zu", sizes.connection,
                sizes.flow_slots_per_connection, sizes.half_open, sizes.time_wait, sizes.neighbour);
    cr_assert_leq(sizes.connection + sizes.flow_slots_per_connection, 400);
}

Test(net_sizes, half_a_connection_costs_a_record)
{
    struct net_sizes sizes;

    net_sizes(&sizes);
    cr_assert_leq(sizes.half_open, sizes.connection / 3);
    cr_assert_leq(sizes.time_wait, sizes.connection / 3);
}

/* Congestion control: NewReno (RFC 5681). Private to lib/net (struct congestion in tcp_internal.h). */
#include "lib/net/tcp_internal.h"

enum { ACKED }; /* bytes acknowledged since the last increase */

static void newreno_start(struct tcp_connection *c)
{
    c->congestion[ACKED] = 0;
}

/* REQ RFC5681 3.2-4: half of what is in flight [test: net_congestion/newreno_halves_what_is_in_flight] */
static uint32_t newreno_reduce(struct tcp_connection *c)
{
    uint32_t half = tcp_in_flight(c) / 2, floor = 2u * c->send_mss;

    c->congestion[ACKED] = 0;
    return half > floor ? half : floor;
}

/* One segment per window acknowledged, counted in bytes so that nothing is divided. */
/* REQ RFC5681 3.1-6: a segment a window [test: net_congestion/newreno_grows_a_segment_a_round_trip] */
static void newreno_grow(struct tcp_connection *c, uint32_t bytes)
{
    c->congestion[ACKED] += bytes;
    if (c->congestion[ACKED] >= c->congestion_window) {
        c->congestion[ACKED] -= c->congestion_window;
        c->congestion_window += c->send_mss;
    }
}

static void newreno_undo(struct tcp_connection *c)
{
    c->congestion[ACKED] = 0;
}

const struct congestion congestion_newreno = {"newreno", newreno_start, newreno_reduce, newreno_grow, newreno_undo};

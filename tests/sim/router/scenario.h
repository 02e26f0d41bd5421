/*
 * Scenarios: what clients do to the router in one seed, and what must be true afterwards. Each draws its shape (number
 * of devices, sizes of buffers, kinds of trouble) from the seed.
 */
#ifndef TESTS_SIM_ROUTER_SCENARIO_H
#define TESTS_SIM_ROUTER_SCENARIO_H

#include "tests/sim/router/device.h"
#include "tests/sim/router/world.h"

struct scenario {
    const char *name;
    const char *help;
    /* Between world_init and world_end; begins the world itself. */
    void (*run)(struct world *world);
};

/* Each device's turn; the world's poll of scenarios that do nothing else. */
void scenario_poll(struct world *world);

/* world_run, and a failure with `what` if it does not come to pass. */
bool scenario_await(struct world *world, bool (*done)(struct world *world), uint64_t limit_us, const char *what);

/* The state of every device, session and connection, for the reader of a failure. */
void scenario_show(const struct world *world);

/* Every device that wants a connection has one, nothing is unacknowledged, and every subscription is live. */
bool scenario_all_settled(struct world *world);

/* All devices end their sessions and go, time passes, and the census is taken. */
void scenario_leave(struct world *world);

void scenario_traffic(struct world *world);
void scenario_takeover(struct world *world);
void scenario_churn(struct world *world);
void scenario_shared(struct world *world);
void scenario_will(struct world *world);
void scenario_keepalive(struct world *world);
void scenario_retained(struct world *world);
void scenario_pressure(struct world *world);
void scenario_malformed(struct world *world);
void scenario_filters(struct world *world);
void scenario_strategies(struct world *world);
void scenario_limits(struct world *world);
void scenario_bounds(struct world *world);
void scenario_expiry(struct world *world);
void scenario_stall(struct world *world);
void scenario_collisions(struct world *world);

#endif

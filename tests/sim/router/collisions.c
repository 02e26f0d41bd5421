/*
 * Collisions: somebody knows the seed, and nearly all hashes of topics, levels and filters are the same. Other
 * scenarios run in such a router: everything is slower, by no more than a search among those that are there, and
 * nothing else is different. (Without shared subscriptions: a group is known by its hash alone, which takes 64 seeded
 * bits.)
 */
#include "tests/sim/router/scenario.h"

/* Left are two bits that choose the home of a retained message, and two that choose a bucket. */
#define COLLIDING (~UINT64_C(0xc000000000000003))

void scenario_collisions(struct world *world)
{
    static void (*const scenarios[])(struct world *) = {scenario_filters, scenario_retained, scenario_traffic};
    world->weaken = COLLIDING;
    scenarios[world_below(world, sizeof(scenarios) / sizeof(scenarios[0]))](world);
}

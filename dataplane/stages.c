/* Adding up sampled iterations and dealing out cycles. See stages.h. */
#include "dataplane/stages.h"

#include <string.h>

enum { COST_TRIES = 64 };

/* The least of several tries: what is above it was something else. */
static uint64_t mark_cost(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < COST_TRIES; i++) {
        const uint64_t before = rte_rdtsc();
        const uint64_t took = rte_rdtsc() - before;
        least = took < least ? took : least;
    }
    return least;
}

void stages_init(struct stages *stages)
{
    *stages = (struct stages){.outer = STAGE_decode, .until_next = STAGES_PERIOD, .mark_cost = mark_cost()};
}

void stages_take(struct stages *stages, bool worked)
{
    for (uint32_t i = 0; worked && i < STAGE_COUNT; i++) {
        stages->sampled[i] += stages->current[i];
    }
    memset(stages->current, 0, sizeof(stages->current));
    stages->on = false;
    stages->until_next = STAGES_PERIOD;
}

/* Without a sample the cycles wait for the next time. */
void stages_deal_out(struct stages *stages, uint64_t busy)
{
    uint64_t all = 0;
    const uint64_t cycles = busy - stages->dealt_out;
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        all += stages->sampled[i];
    }
    if (all == 0) {
        return;
    }
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        const uint64_t share = (uint64_t)((__uint128_t)cycles * stages->sampled[i] / all);
        stages->total[i] += share;
        stages->dealt_out += share; /* what the divisions leave comes the next time */
    }
    memset(stages->sampled, 0, sizeof(stages->sampled));
}

/*
 * Where a worker's time goes: cycles by stage of the poll iteration.
 *
 * One iteration in STAGES_PERIOD is taken apart: as it passes from one stage to the next, each place calls
 * stages_mark() with the stage that ends there. All others pay a branch at each place, and no reading of the clock.
 * When counters are published, the cycles of all iterations since the last time are dealt out to the stages in the
 * proportion that the sampled ones had, so the stages of a worker add up to its busy cycles.
 *
 * Marks lie in the path of a message: decode, match and append are told apart for each message of a sampled iteration,
 * less what a mark itself takes. A busy loop has tens of thousands of iterations a second, so a second has hundreds of
 * samples.
 *
 * One struct for each worker, touched by its thread only. Off until stages_begin(): below the loop nothing reads a
 * clock, and tests in virtual time see none.
 */
#ifndef POLLUX_DATAPLANE_STAGES_H
#define POLLUX_DATAPLANE_STAGES_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_cycles.h>

enum { STAGES_PERIOD = 127 }; /* a prime: no rhythm of the traffic stays in step with it */

/* The stages of stages.def. */
enum stage {
#define DATAPLANE_STAGE(name, help) STAGE_##name,
#include "dataplane/stages.def"
#undef DATAPLANE_STAGE
    STAGE_COUNT,
};

struct stages {
    bool on;                       /* this iteration is sampled */
    enum stage outer;              /* what the messages at hand are part of: STAGE_decode, or STAGE_mailbox */
    uint32_t until_next;           /* iterations */
    uint64_t last;                 /* cycle counter at the last mark */
    uint64_t mark_cost;            /* cycles that a mark takes itself */
    uint64_t current[STAGE_COUNT]; /* of the sampled iteration */
    uint64_t sampled[STAGE_COUNT]; /* of those since the last publication that found work */
    uint64_t dealt_out;            /* busy cycles that are in `total` */
    uint64_t total[STAGE_COUNT];   /* published */
};

/* When the loop starts. */
void stages_init(struct stages *stages);

/* An iteration begins at `start`, a reading of the cycle counter. */
static inline void stages_begin(struct stages *stages, uint64_t start)
{
    stages->on = --stages->until_next == 0;
    stages->last = start;
}

/* `stage` ends here. */
static inline void stages_mark(struct stages *stages, enum stage stage)
{
    if (likely(!stages->on)) {
        return;
    }
    const uint64_t now = rte_rdtsc();
    const uint64_t took = now - stages->last;
    stages->current[stage] += took > stages->mark_cost ? took - stages->mark_cost : 0;
    stages->last = now;
}

/* The iteration has ended; one without work is forgotten. */
static inline void stages_end(struct stages *stages, bool worked);

/* Deals out the busy cycles, of which there have been `busy` in all, before counters are published. */
void stages_deal_out(struct stages *stages, uint64_t busy);

void stages_take(struct stages *stages, bool worked);

static inline void stages_end(struct stages *stages, bool worked)
{
    if (unlikely(stages->on)) {
        stages_take(stages, worked);
    }
}

#endif

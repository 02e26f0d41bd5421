/* Where a worker's time goes: sampling, and dealing out cycles. */
#include <criterion/criterion.h>

#include "dataplane/stages.h"

static uint64_t total(const struct stages *stages)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STAGE_COUNT; i++) {
        sum += stages->total[i];
    }
    return sum;
}

Test(stages, one_iteration_in_a_period_is_sampled)
{
    struct stages stages;
    uint32_t sampled = 0;
    stages_init(&stages);
    for (uint32_t i = 0; i < 10 * STAGES_PERIOD; i++) {
        stages_begin(&stages, rte_rdtsc());
        sampled += stages.on;
        stages_mark(&stages, STAGE_rx);
        stages_end(&stages, true);
    }
    cr_expect_eq(sampled, 10);
}

Test(stages, time_goes_to_the_stage_that_ends)
{
    struct stages stages;
    stages_init(&stages);
    for (uint32_t i = 0; i < STAGES_PERIOD; i++) {
        const uint64_t start = rte_rdtsc();
        stages_begin(&stages, start);
        stages_mark(&stages, STAGE_rx);
        for (uint64_t until = start + 100000; stages.on && rte_rdtsc() < until;) {
        }
        stages_mark(&stages, STAGE_match);
        stages_end(&stages, true);
    }
    cr_expect_geq(stages.sampled[STAGE_match], 90000);
    cr_expect_gt(stages.sampled[STAGE_match], 10 * stages.sampled[STAGE_rx]);
}

Test(stages, an_iteration_without_work_is_forgotten)
{
    struct stages stages;
    stages_init(&stages);
    for (uint32_t i = 0; i < 2 * STAGES_PERIOD; i++) {
        stages_begin(&stages, rte_rdtsc());
        stages_mark(&stages, STAGE_rx);
        stages_end(&stages, i >= STAGES_PERIOD);
        if (i == STAGES_PERIOD - 1) {
            cr_expect_eq(stages.sampled[STAGE_rx] + stages.current[STAGE_rx], 0);
        }
    }
}

Test(stages, the_stages_add_up_to_the_busy_cycles)
{
    struct stages stages = {.sampled = {[STAGE_rx] = 1, [STAGE_match] = 3}};
    stages_deal_out(&stages, 1000);
    cr_expect_eq(stages.total[STAGE_rx], 250);
    cr_expect_eq(stages.total[STAGE_match], 750);
    stages_deal_out(&stages, 2000);
    cr_expect_eq(total(&stages), 1000, "nothing was sampled: they wait");
    stages.sampled[STAGE_append] = 7;
    stages_deal_out(&stages, 2003);
    cr_expect_eq(stages.total[STAGE_append], 1003);
    stages.sampled[STAGE_rx] = stages.sampled[STAGE_tx] = stages.sampled[STAGE_match] = 1;
    stages_deal_out(&stages, 3003);
    cr_expect(total(&stages) <= 3003 && total(&stages) > 3003 - STAGE_COUNT);
}

Test(stages, without_a_loop_no_clock_is_read)
{
    struct stages stages = {0};
    stages_mark(&stages, STAGE_rx);
    cr_expect_eq(stages.last, 0);
}

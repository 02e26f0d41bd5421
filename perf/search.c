/* Bisection over open loops, with a closed loop as the upper end. */
#include "perf/search.h"

#include <stdio.h>

#include "perf/report.h"

#define STEPS 12 /* a rate of a thousandth of the closed loop's is found too */
#define CLOSE_ENOUGH 1.05

static bool holds(const struct scenario *scenario, const struct result *result, double p99_us)
{
    return report_is_intact(scenario, result) && result->sent_per_s >= 0.99 * scenario->rate &&
           (double)histogram_percentile(&result->latency, 0.99) <= 1000 * p99_us;
}

/* Two tries: something else that the machine does for a moment must not halve the answer. */
static bool try_rate(const struct options *options, const struct scenario *scenario, double p99_us,
                     struct result *result)
{
    bool held = false;
    for (int try = 0; try < 2 && !held; try++) {
        run_scenario(options, scenario, result);
        if (result->failure[0] != 0 || run_is_interrupted())
            return false;
        held = holds(scenario, result, p99_us);
    }
    return held;
}

void search_rate(const struct options *options, struct scenario *scenario, double p99_us, struct result *result)
{
    static struct result found;
    double low = 0;
    scenario->rate = 0;
    run_scenario(options, scenario, result);
    double high = result->sent_per_s;
    for (int step = 0;
         step < STEPS && result->failure[0] == 0 && !run_is_interrupted() && (low == 0 || high / low > CLOSE_ENOUGH);
         step++) {
        scenario->rate = (low + high) / 2;
        if (try_rate(options, scenario, p99_us, result)) {
            low = scenario->rate;
            found = *result;
        } else {
            high = scenario->rate;
        }
    }
    if (result->failure[0] != 0 && !run_is_interrupted())
        return;
    scenario->rate = low;
    if (low > 0)
        *result = found;
    else
        snprintf(result->failure, sizeof(result->failure), "no rate was found with p99 below %.0f us", p99_us);
}

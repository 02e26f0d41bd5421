/* Results for people and for programs. */
#ifndef PERF_REPORT_H
#define PERF_REPORT_H

#include "perf/run.h"

/* A few lines to stdout. */
void report_text(const struct options *options, const struct scenario *scenario, const struct result *result);

/* One line of JSON to stdout. Figures that could not be taken are null. */
void report_json(const struct options *options, const struct scenario *scenario, const struct result *result);

/* Whether all messages arrived, and as often and in the order that their QoS promises. */
bool report_is_intact(const struct scenario *scenario, const struct result *result);

#endif

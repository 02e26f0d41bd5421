/* `polluxctl top`: what the router is doing, renewed each interval, until q or Ctrl-C.
 *
 * Job: asks for the workers' records and the busiest clients, and shows the differences between two askings. Plain
 * escape sequences, no curses: nothing to draw is worth a dependency. With --once or --json one interval is measured
 * and printed, without touching the terminal. */
#ifndef POLLUX_POLLUXCTL_TOP_H
#define POLLUX_POLLUXCTL_TOP_H

#include "tools/polluxctl/verbs.h"

enum exit_status top_run(const struct verb *verb, const char *argument, const struct options *options);

#endif

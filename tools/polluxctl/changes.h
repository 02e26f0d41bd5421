/* Counters as they change: `show tcp --interval`, `show counters --interval`.
 *
 * Job: ask twice, show what was counted in between, in all and a second; once, or again and again until Ctrl-C. */
#ifndef POLLUX_POLLUXCTL_CHANGES_H
#define POLLUX_POLLUXCTL_CHANGES_H

#include "tools/polluxctl/verbs.h"

enum exit_status changes_run(const char *listing, const struct options *options);

#endif

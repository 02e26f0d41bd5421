/* `polluxctl capture`: packets of a running router into a file or a pipe.
 *
 * Job: ask pollux-control for a capture, write what comes, show how it goes, end it cleanly on Ctrl-C. What a capture
 * may hold is decided by pollux-control; here is only where it goes. */
#ifndef POLLUX_POLLUXCTL_CAPTURE_H
#define POLLUX_POLLUXCTL_CAPTURE_H

#include "tools/polluxctl/verbs.h"

enum exit_status capture_run(const struct verb *verb, const char *argument, const struct options *options);

#endif

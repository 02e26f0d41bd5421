/* Shell completion, generated from the table of verbs. */
#ifndef POLLUX_POLLUXCTL_COMPLETION_H
#define POLLUX_POLLUXCTL_COMPLETION_H

#include <stddef.h>
#include <stdio.h>

#include "tools/polluxctl/verbs.h"

void completion_print_bash(FILE *output, const struct verb *verbs, size_t count);

#endif

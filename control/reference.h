/* Pages generated from the schema, so that they can not differ from what the program accepts.
 *
 * Who calls: `pollux-control --example-config`, `--reference`, the test that holds the committed page up to date. */
#ifndef POLLUX_CONTROL_REFERENCE_H
#define POLLUX_CONTROL_REFERENCE_H

#include <stdio.h>

/* A complete, commented configuration file that `--check` accepts. */
void reference_print_example(FILE *output);

/* docs/reference/configuration.md. */
void reference_print_page(FILE *output);

#endif

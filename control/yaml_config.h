/* Reading the configuration file.
 *
 * Job: walk a YAML document along control/schema.h and fill a struct control_config. Every mistake is reported with its
 * place, the setting's name, what is allowed and, for an unknown name, the nearest known one; reading goes on to find
 * the next mistake.
 *
 * Who calls: control's main thread at start-up, `--check`, the tests. No state is kept. */
#ifndef POLLUX_CONTROL_YAML_CONFIG_H
#define POLLUX_CONTROL_YAML_CONFIG_H

#include <stdio.h>

#include "control/schema.h"

/* Where each value comes from: the line in the file, 0 for a default. */
struct config_origin {
    uint32_t lines[SCHEMA_SECTIONS_MAX][SHM_PORTS_MAX][SCHEMA_LEAVES_MAX]; /* section, entry, leaf */
};

/* Read `name` (for the messages) from `input`. Mistakes are written to `report`, one line each, as
 * "FILE:LINE:COLUMN: path: message". Sets fingerprint; generation becomes 1 and the seed stays zero: the caller sets
 * them. `origin` may be NULL. Returns 0, or -1 when there was any mistake. */
int yaml_config_read(FILE *input, const char *name, struct control_config *config, struct config_origin *origin,
                     FILE *report);

#endif

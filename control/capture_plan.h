/* What a capture is to take, and when it ends by itself.
 *
 * Job: read a request of the admin socket, check it against the bounds of the configuration, and say what to write
 * where it is not understood. No state.
 *
 *      {"command": "capture", "client": "sensor-7", "address": "198.18.0.0/24", "port": 1883, "direction": "in",
 *       "packets": 1000, "bytes": "10MiB", "seconds": 60, "snap-length": 128}
 *
 * All fields may be absent. Numbers may be texts with a unit, as in the configuration file. */
#ifndef POLLUX_CONTROL_CAPTURE_PLAN_H
#define POLLUX_CONTROL_CAPTURE_PLAN_H

#include <jansson.h>

#include "lib/shm/messages.h"

struct capture_plan {
    struct shm_capture_arguments arguments; /* for the dataplane */
    uint64_t bytes;                         /* of the file */
    uint64_t packets;
    uint32_t seconds;
    char filter[512]; /* for people: "client sensor-7, port 1883"; "all packets" */
};

/* 0, or -1 with what to write instead. */
int capture_plan_read(const json_t *request, const struct shm_capture_config *config, struct capture_plan *plan,
                      struct shm_error *error);

#endif

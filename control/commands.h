/* The commands of the admin socket.
 *
 * Job: take one request object, produce its reply as JSON lines: {"record": {...}} for each record, then one line that
 * ends it: {"end": {...}} or {"error": "text"}.
 *
 *      {"command": "show", "args": ["clients"], "filter": {"id": "dev*"}, "sort": "queued-messages", "limit": 20}
 *      {"command": "kick", "args": ["client id"]}         or "#0x..." for a handle
 *      {"command": "drain", "to": "HOST:PORT", "permanent": false, "rate": 100}   or {"command": "drain", "stop": true}
 *      {"command": "capture", ...}                        see control/capture_plan.h; or "stop": true
 *      {"command": "user", "args": ["add", "name"], "password": "..."}        and "delete" without a password
 *
 * Lists from the dataplane come page by page; the next page is asked for only when the reader has taken the last one,
 * so a million clients and a slow reader need no more memory than one page.
 *
 * Who calls: control/admin.c; single-threaded. */
#ifndef POLLUX_CONTROL_COMMANDS_H
#define POLLUX_CONTROL_COMMANDS_H

#include <jansson.h>

#include "control/capture.h"
#include "control/dataplane_peer.h"
#include "control/users.h"
#include "control/yaml_config.h"

/* What commands read; the same for all, lives as long as the program. */
struct command_context {
    struct dataplane_peer *peer;
    const struct control_config *config;
    struct captures *captures;
    struct users *users; /* NULL: everybody may log in */
    const struct config_origin *origin;
    const char *config_file;
    const char *run_dir;
    uint64_t started; /* loop_now() at start-up */
};

/* Where the reply goes. */
struct command_sink {
    void (*line)(void *argument, const json_t *object);
    bool (*full)(void *argument); /* the reader is behind: wait for command_resume */
    void (*done)(void *argument); /* the last line was given; the command is gone */
    void *argument;
};

struct command;

/* Start. Returns NULL when the reply was given at once (`done` is not called then). */
struct command *command_start(const struct command_context *context, json_t *request, const struct command_sink *sink);

/* The sink has room again. */
void command_resume(struct command *command);

/* The reader is gone: no further call to the sink. */
void command_cancel(struct command *command);

#endif

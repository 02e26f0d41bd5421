/* The admin socket: <run-dir>/control.sock, a UNIX stream socket with one JSON object per line both ways.
 *
 * Job: take connections in, cut lines, run one command at a time for each connection (control/commands.h), and write
 * replies as fast as the reader takes them. Bounds: ADMIN_CLIENTS_MAX connections, ADMIN_LINE_MAX bytes of a request; a
 * reader that is behind by ADMIN_OUTPUT_HIGH bytes makes its own command wait.
 *
 * Access: mode 0660; who may open the socket may do everything. Event loop's thread only. */
#ifndef POLLUX_CONTROL_ADMIN_H
#define POLLUX_CONTROL_ADMIN_H

#include "control/commands.h"
#include "control/loop.h"

#define ADMIN_SOCKET_NAME "control.sock"
#define ADMIN_CLIENTS_MAX 64u
#define ADMIN_LINE_MAX 65536u
#define ADMIN_OUTPUT_HIGH (256u * 1024u)

struct admin;

/* Create the run directory if it is missing, and the socket. One that a dead control left behind is replaced, a living
 * one is refused. NULL with the reason. `context` must outlive the server. */
struct admin *admin_open(struct loop *loop, const char *run_dir, const struct command_context *context,
                         struct shm_error *error);

/* Disconnect everyone, remove the socket. Before the peer is freed. */
void admin_close(struct admin *admin);

#endif

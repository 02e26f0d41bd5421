/* A conversation with pollux-control.
 *
 * Job: connect to <run-dir>/control.sock, send one request, hand out the lines of its reply one by one. Blocking, with
 * a timeout; one thread. The caller owns the JSON references it is given. */
#ifndef POLLUX_POLLUXCTL_SESSION_H
#define POLLUX_POLLUXCTL_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SESSION_TIMEOUT_SECONDS 15 /* without a byte from control */
#define SESSION_TEXT 512

enum exit_status {
    EXIT_OK = 0,
    EXIT_REFUSED = 1,     /* control answered with an error */
    EXIT_USAGE = 2,       /* the command line is wrong */
    EXIT_UNREACHABLE = 3, /* control could not be asked */
};

struct session {
    int fd;
    char *buffer; /* grows to the longest line */
    size_t length, taken, room;
    char error[SESSION_TEXT]; /* why the last call failed, with what to do about it */
};

/* EXIT_OK or EXIT_UNREACHABLE. */
enum exit_status session_open(struct session *session, const char *run_dir);
void session_close(struct session *session);

enum exit_status session_send(struct session *session, const json_t *request);

/* Is a line here already, so that session_next does not wait? */
bool session_has_line(const struct session *session);

/* The next line: {"record": ..}, {"end": ..} or {"error": ..}. NULL: control broke off; see `error`. */
json_t *session_next(struct session *session);

#endif

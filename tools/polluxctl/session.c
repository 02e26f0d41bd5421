/* A conversation with pollux-control: see tools/polluxctl/session.h. */
#include "tools/polluxctl/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES (1u << 20)

static const char *advice(int reason)
{
    switch (reason) {
    case ENOENT:
        return "is pollux-control running, with this --run-dir? Start it with: pollux-control --config FILE";
    case ECONNREFUSED:
        return "pollux-control was running here and is not any more; start it with: pollux-control --config FILE";
    case EACCES:
    case EPERM:
        return "you may not open its socket; run this as its user, in its group, or with sudo";
    default:
        return "";
    }
}

static enum exit_status unreachable(struct session *session, const char *path, int reason)
{
    snprintf(session->error, sizeof session->error, "cannot reach pollux-control at %s: %s; %s", path, strerror(reason),
             advice(reason));
    session_close(session);
    return EXIT_UNREACHABLE;
}

enum exit_status session_open(struct session *session, const char *run_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = SESSION_TIMEOUT_SECONDS};
    *session = (struct session){.fd = -1};
    if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", run_dir) >=
        sizeof address.sun_path)
        return unreachable(session, run_dir, ENAMETOOLONG);
    session->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (session->fd < 0 || connect(session->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return unreachable(session, address.sun_path, errno);
    setsockopt(session->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(session->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    return EXIT_OK;
}

void session_close(struct session *session)
{
    if (session->fd >= 0)
        close(session->fd);
    free(session->buffer);
    session->fd = -1;
    session->buffer = NULL;
}

enum exit_status session_send(struct session *session, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0, sent = 0;
    if (text)
        text[length++] = '\n'; /* over the terminator: the length is what counts from here */
    while (sent < length) {
        ssize_t size = send(session->fd, text + sent, length - sent, MSG_NOSIGNAL);
        if (size <= 0)
            break;
        sent += (size_t)size;
    }
    free(text);
    if (length > 0 && sent == length)
        return EXIT_OK;
    snprintf(session->error, sizeof session->error, "pollux-control does not take the request: %s", strerror(errno));
    return EXIT_UNREACHABLE;
}

/* Read more into the buffer. False with `error` set when nothing more comes. */
/* Lines that were handed out make room first, so the buffer grows only for a line that does not fit. */
static int read_more(struct session *session)
{
    if (session->taken > 0) {
        memmove(session->buffer, session->buffer + session->taken, session->length - session->taken);
        session->length -= session->taken;
        session->taken = 0;
    }
    if (session->length == session->room) {
        size_t room = session->room ? session->room * 2 : 65536;
        char *buffer = room <= LINE_MAX_BYTES ? realloc(session->buffer, room) : NULL;
        if (!buffer) {
            snprintf(session->error, sizeof session->error, "the reply has a line that is too long");
            return 0;
        }
        session->buffer = buffer;
        session->room = room;
    }
    ssize_t size = recv(session->fd, session->buffer + session->length, session->room - session->length, 0);
    if (size <= 0) {
        snprintf(session->error, sizeof session->error, "pollux-control broke off: %s",
                 size == 0         ? "it ended"
                 : errno == EAGAIN ? "no answer within 15 s"
                                   : strerror(errno));
        return 0;
    }
    session->length += (size_t)size;
    return 1;
}

bool session_has_line(const struct session *session)
{
    return session->length > session->taken &&
           memchr(session->buffer + session->taken, '\n', session->length - session->taken) != NULL;
}

json_t *session_next(struct session *session)
{
    char *end = NULL;
    while (session->length == session->taken ||
           !(end = memchr(session->buffer + session->taken, '\n', session->length - session->taken)))
        if (!read_more(session))
            return NULL;
    char *line = session->buffer + session->taken;
    session->taken += (size_t)(end - line) + 1;
    json_error_t error;
    json_t *object = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, &error);
    if (!json_is_object(object)) {
        snprintf(session->error, sizeof session->error, "the reply is not understood: %s", error.text);
        json_decref(object);
        return NULL;
    }
    return object;
}

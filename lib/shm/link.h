/* The link between control and dataplane: a UNIX socket of whole messages (SOCK_SEQPACKET) at <run-dir>/dataplane.sock.
 *
 * Job: find each other, agree on the layout, hand over the configuration and the shared segments, and notice at once
 * when the other process dies. Everything frequent goes over the rings (shm/ring.h, shm/messages.h), not over this
 * socket.
 *
 *      dataplane                                   control
 *      link_listen, link_accept      <-----------  link_connect
 *      HELLO                         <---------->  HELLO            each end sends it first, both are checked
 *                                    <-----------  CONFIGURE        only to a dataplane that is not configured
 *      READY or FAILED(text)          ---------->
 *      SEGMENTS (7 descriptors)       ---------->                   a configured dataplane sends them after HELLO
 *
 * Who calls: the dataplane's main lcore (everything but link_listen is non-blocking) and control's main thread. One
 * link at a time: a second control is refused while the first lives. When a process dies its socket closes, and the
 * other end sees LINK_CLOSED.
 *
 * Trust: each end checks the other's user (the same effective user, or root) and the layout version, and every
 * message's type and length. A message is received into memory of its own, so it can not change while it is checked.
 *
 * Ownership: struct link owns its socket. Descriptors in a received message belong to the caller (link_message_close).
 */
#ifndef POLLUX_SHM_LINK_H
#define POLLUX_SHM_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/shm/config.h"
#include "lib/shm/error.h"
#include "lib/shm/ring.h"
#include "lib/shm/segment.h"

#define LINK_RUN_DIR_DEFAULT "/run/pollux"
#define LINK_SOCKET_NAME "dataplane.sock"
#define LINK_BUILD_ID_SIZE 64u /* bytes, with NUL */
#define LINK_TEXT_SIZE 512u    /* bytes, with NUL */

enum link_state {
    LINK_STATE_UNCONFIGURED = 0, /* waits for CONFIGURE */
    LINK_STATE_STARTING = 1,     /* has CONFIGURE, not ready yet */
    LINK_STATE_RUNNING = 2,      /* routes */
    LINK_STATE_CONTROL = 3,      /* the end that configures */
};

struct link_hello {
    uint32_t layout_version; /* SHM_LAYOUT_VERSION; link_send_hello fills it */
    uint32_t config_size;    /* sizeof(struct shm_config); link_send_hello fills it */
    uint32_t state;          /* enum link_state */
    uint32_t pid;            /* link_send_hello fills it */
    uint64_t generation;     /* of the configuration in use; 0: none */
    uint64_t fingerprint;    /* shm_config.fingerprint of it */
    uint64_t uptime_us;      /* how long this process runs */
    char build_id[LINK_BUILD_ID_SIZE];
};

enum link_message_type {
    LINK_HELLO = 1,
    LINK_CONFIGURE = 2,
    LINK_READY = 3,
    LINK_FAILED = 4,
    LINK_SEGMENTS = 5,
};

/* What SEGMENTS carries, in this order. */
struct link_segments {
    int statistics;  /* memfd, lib/stats */
    int requests;    /* memfd, ring control -> dataplane, SHM_REQUEST_SLOTS x SHM_SLOT_SIZE */
    int replies;     /* memfd, ring dataplane -> control, SHM_REPLY_SLOTS x SHM_SLOT_SIZE */
    int questions;   /* memfd, ring dataplane -> control, SHM_LOGIN_SLOTS x SHM_LOGIN_SLOT_SIZE (shm/login.h) */
    int verdicts;    /* memfd, ring control -> dataplane, the same */
    int captures;    /* memfd, a ring worker -> control for each worker (shm/capture.h) */
    int reply_event; /* eventfd: the dataplane adds 1 after it has pushed anything, so that control may sleep */
};
#define LINK_SEGMENT_COUNT 7

struct link_message {
    enum link_message_type type;
    union {
        struct link_hello hello;
        struct shm_config config;  /* as it came: call shm_config_validate */
        uint64_t generation;       /* READY: of the configuration that runs now */
        char text[LINK_TEXT_SIZE]; /* FAILED: NUL-terminated */
        struct link_segments segments;
    };
};

enum link_result {
    LINK_NOTHING = 0, /* nothing to read now */
    LINK_MESSAGE = 1, /* one message was read and is well-formed */
    LINK_CLOSED = 2,  /* the peer is gone: close this end */
    LINK_INVALID = 3, /* the peer broke the protocol: close this end; the reason is in `error` */
};

struct link {
    int fd;            /* -1 when closed; may be polled for readability */
    uint32_t peer_pid; /* of the kernel's word */
    bool hello_seen;   /* until then only HELLO is accepted */
};
#define LINK_NONE ((struct link){.fd = -1})

/* ---- the dataplane's end --------------------------------------------------------------------------------------- */

struct link_listener {
    int fd; /* -1 when closed */
    char path[108];
};

/* Create the run directory if it is missing (mode 0755) and the socket in it (mode 0600). A socket that a dead process
 * left behind is replaced; one that is answered means that another dataplane runs here, and is refused.
 * May block shortly: call it before anything else is set up. Returns 0, or -1 with the reason. */
int link_listen(struct link_listener *listener, const char *run_dir, struct shm_error *error);

/* Take the next control in, if one waits and its user is allowed. Returns 1 with `link` open, 0 when nobody waits, -1
 * with the reason when one was refused (it is disconnected already). While a link lives, pass `busy`: whoever waits is
 * told FAILED("another control is connected ...") and disconnected. */
int link_accept(struct link_listener *listener, struct link *link, bool busy, struct shm_error *error);

/* Close and remove the socket. */
void link_listener_close(struct link_listener *listener);

/* ---- control's end --------------------------------------------------------------------------------------------- */

/* Connect to the dataplane of this run directory; its socket must belong to the same user or to root. Returns 0 with
 * `link` open and non-blocking, or -1 with the reason (usual while no dataplane runs). */
int link_connect(struct link *link, const char *run_dir, struct shm_error *error);

/* ---- both ends ------------------------------------------------------------------------------------------------- */

/* Read one message if there is one. The first must be HELLO with the same layout version and configuration size. Before
 * LINK_MESSAGE is returned the message's type, exact length and number of descriptors were checked and texts are
 * terminated. */
enum link_result link_poll(struct link *link, struct link_message *message, struct shm_error *error);

/* Send one message. Never blocks: the socket's buffer takes a few of the largest. Returns 0, or -1 with the reason;
 * then close the link. link_send_segments passes duplicates: the caller keeps its own descriptors. */
int link_send_hello(struct link *link, const struct link_hello *hello, struct shm_error *error);
int link_send_configure(struct link *link, const struct shm_config *config, struct shm_error *error);
int link_send_ready(struct link *link, uint64_t generation, struct shm_error *error);
int link_send_failed(struct link *link, const char *text, struct shm_error *error);
int link_send_segments(struct link *link, const struct link_segments *segments, struct shm_error *error);

/* Close the descriptors that a SEGMENTS message carried; nothing for other types. Set those you keep to -1 before. */
void link_message_close(struct link_message *message);

void link_close(struct link *link);

#endif

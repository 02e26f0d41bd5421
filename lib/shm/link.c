/* The link between control and dataplane: see shm/link.h. */
#include "lib/shm/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define LINK_MAGIC 0x706c6e6bu
#define DESCRIPTORS_MAX 8 /* room to see, and close, more than were agreed */

/* In front of every message. Must never change: it is what tells two versions apart. */
struct link_header {
    uint32_t magic;
    uint32_t type;
    uint32_t length; /* bytes that follow */
};

_Static_assert(sizeof(struct link_segments) == LINK_SEGMENT_COUNT * sizeof(int),
               "segments are an array of descriptors");

/* ---- addresses and peers --------------------------------------------------------------------------------------- */

static int socket_address(struct sockaddr_un *address, const char *run_dir, struct shm_error *error)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", run_dir, LINK_SOCKET_NAME);
    if (length < 0 || (size_t)length >= sizeof address->sun_path)
        return shm_error_set(error, "%s: the path of the run directory is too long for a socket", run_dir);
    return 0;
}

/* Only the same user, or root, may be at the other end. */
static int peer_check(int fd, uint32_t *pid, struct shm_error *error)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return shm_error_set(error, "SO_PEERCRED: %s", strerror(errno));
    if (peer.uid != 0 && peer.uid != geteuid())
        return shm_error_set(error, "process %d of user %u is not allowed here; it must run as user %u or root",
                             (int)peer.pid, (unsigned)peer.uid, (unsigned)geteuid());
    *pid = (uint32_t)peer.pid;
    return 0;
}

static int new_socket(struct shm_error *error)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        shm_error_set(error, "socket: %s", strerror(errno));
    return fd;
}

/* ---- the dataplane's end --------------------------------------------------------------------------------------- */

/* A socket file without a listener behind it is what a killed process leaves; remove only that. */
static int remove_stale_socket(const struct sockaddr_un *address, struct shm_error *error)
{
    int fd = new_socket(error);
    if (fd < 0)
        return -1;
    int result = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int reason = errno;
    close(fd);
    if (result == 0 || reason == EAGAIN)
        return shm_error_set(error, "%s: another dataplane is running on this run directory", address->sun_path);
    if (reason == ECONNREFUSED && unlink(address->sun_path) != 0)
        return shm_error_set(error, "%s: unlink: %s", address->sun_path, strerror(errno));
    return 0;
}

int link_listen(struct link_listener *listener, const char *run_dir, struct shm_error *error)
{
    listener->fd = -1;
    struct sockaddr_un address;
    if (socket_address(&address, run_dir, error) != 0)
        return -1;
    if (mkdir(run_dir, 0755) != 0 && errno != EEXIST)
        return shm_error_set(error, "%s: mkdir: %s", run_dir, strerror(errno));
    if (remove_stale_socket(&address, error) != 0)
        return -1;
    int fd = new_socket(error);
    if (fd < 0)
        return -1;
    mode_t mask = umask(0177);
    int result = bind(fd, (const struct sockaddr *)&address, sizeof address);
    int reason = errno;
    umask(mask);
    if (result != 0 || listen(fd, 4) != 0) {
        shm_error_set(error, "%s: %s", address.sun_path, strerror(result != 0 ? reason : errno));
        close(fd);
        return -1;
    }
    listener->fd = fd;
    memcpy(listener->path, address.sun_path, sizeof listener->path);
    return 0;
}

int link_accept(struct link_listener *listener, struct link *link, bool busy, struct shm_error *error)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return 0;
    struct link accepted = {.fd = fd};
    if (peer_check(fd, &accepted.peer_pid, error) != 0) {
        link_close(&accepted);
        return -1;
    }
    if (busy) {
        link_send_failed(&accepted, "another control is connected to this dataplane; stop it first", NULL);
        link_close(&accepted);
        return shm_error_set(error, "a second control (process %u) was refused", accepted.peer_pid);
    }
    *link = accepted;
    return 1;
}

void link_listener_close(struct link_listener *listener)
{
    if (listener->fd < 0)
        return;
    unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
}

/* ---- control's end --------------------------------------------------------------------------------------------- */

int link_connect(struct link *link, const char *run_dir, struct shm_error *error)
{
    *link = LINK_NONE;
    struct sockaddr_un address;
    if (socket_address(&address, run_dir, error) != 0)
        return -1;
    int fd = new_socket(error);
    if (fd < 0)
        return -1;
    struct link connected = {.fd = fd};
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        shm_error_set(error, "%s: %s", address.sun_path, strerror(errno));
        link_close(&connected);
        return -1;
    }
    if (peer_check(fd, &connected.peer_pid, error) != 0) {
        link_close(&connected);
        return -1;
    }
    *link = connected;
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

struct received {
    int descriptors[DESCRIPTORS_MAX];
    uint32_t descriptor_count;
    uint32_t length; /* payload bytes */
    bool truncated;
};

static void close_all(const struct received *received)
{
    for (uint32_t i = 0; i < received->descriptor_count; i++)
        close(received->descriptors[i]);
}

/* All descriptors that came are taken, also unexpected ones: what is not taken could not be closed. */
static void collect_descriptors(struct msghdr *message, struct received *received)
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        uint32_t count = (uint32_t)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (uint32_t i = 0; i < count && received->descriptor_count < DESCRIPTORS_MAX; i++)
            memcpy(&received->descriptors[received->descriptor_count++], CMSG_DATA(control) + i * sizeof(int),
                   sizeof(int));
    }
}

/* The bytes behind the header for each type; UINT32_MAX for an unknown one. */
static uint32_t payload_size(uint32_t type)
{
    switch (type) {
    case LINK_HELLO:
        return sizeof(struct link_hello);
    case LINK_CONFIGURE:
        return sizeof(struct shm_config);
    case LINK_READY:
        return sizeof(uint64_t);
    case LINK_FAILED:
        return LINK_TEXT_SIZE;
    case LINK_SEGMENTS:
        return 0;
    default:
        return UINT32_MAX;
    }
}

/* The build id is printed: nothing in it may play with a terminal. */
static int hello_check(struct link_hello *hello, struct shm_error *error)
{
    hello->build_id[LINK_BUILD_ID_SIZE - 1] = '\0';
    for (char *c = hello->build_id; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    if (hello->layout_version != SHM_LAYOUT_VERSION || hello->config_size != sizeof(struct shm_config))
        return shm_error_set(error,
                             "the other program (build %s) has shared-memory layout %u, this one has %u: install the "
                             "same version of pollux-dataplane and pollux-control",
                             hello->build_id, hello->layout_version, SHM_LAYOUT_VERSION);
    if (hello->state > LINK_STATE_CONTROL)
        return shm_error_set(error, "HELLO with unknown state %u", hello->state);
    return 0;
}

/* Everything that must hold before a message is handed to the caller. */
static int message_check(struct link *link, const struct link_header *header, const struct received *received,
                         struct link_message *message, struct shm_error *error)
{
    if (received->truncated || header->magic != LINK_MAGIC || received->length != header->length ||
        header->length != payload_size(header->type))
        return shm_error_set(error, "message of type %u with %u bytes is not in this version's protocol", header->type,
                             received->length);
    uint32_t expected = header->type == LINK_SEGMENTS ? LINK_SEGMENT_COUNT : 0;
    if (received->descriptor_count != expected)
        return shm_error_set(error, "message of type %u with %u descriptors", header->type, received->descriptor_count);
    if (!link->hello_seen && header->type != LINK_HELLO && header->type != LINK_FAILED)
        return shm_error_set(error, "message of type %u before HELLO", header->type);
    message->type = (enum link_message_type)header->type;
    if (header->type == LINK_FAILED)
        message->text[LINK_TEXT_SIZE - 1] = '\0';
    if (header->type == LINK_SEGMENTS)
        memcpy(&message->segments, received->descriptors, sizeof message->segments);
    if (header->type == LINK_HELLO) {
        if (hello_check(&message->hello, error) != 0)
            return -1;
        link->hello_seen = true;
    }
    return 0;
}

enum link_result link_poll(struct link *link, struct link_message *message, struct shm_error *error)
{
    struct link_header header = {0};
    size_t payload_room = sizeof *message - offsetof(struct link_message, hello);
    struct iovec parts[] = {{&header, sizeof header}, {&message->hello, payload_room}};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    struct msghdr envelope = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(link->fd, &envelope, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return LINK_NOTHING;
    if (size <= 0)
        return LINK_CLOSED;
    struct received received = {.truncated = (size_t)size < sizeof header ||
                                             (envelope.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0};
    received.length = received.truncated ? 0 : (uint32_t)((size_t)size - sizeof header);
    collect_descriptors(&envelope, &received);
    if (message_check(link, &header, &received, message, error) != 0) {
        close_all(&received);
        return LINK_INVALID;
    }
    return LINK_MESSAGE;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static int send_message(struct link *link, enum link_message_type type, const void *payload,
                        const struct link_segments *segments, struct shm_error *error)
{
    struct link_header header = {.magic = LINK_MAGIC, .type = type, .length = payload_size(type)};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)payload, header.length}};
    struct msghdr envelope = {.msg_iov = parts, .msg_iovlen = header.length ? 2 : 1};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof *segments)] = {0};
    if (segments) {
        envelope.msg_control = control;
        envelope.msg_controllen = sizeof control;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&envelope);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof *segments);
        memcpy(CMSG_DATA(rights), segments, sizeof *segments);
    }
    ssize_t sent = sendmsg(link->fd, &envelope, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return shm_error_set(error, "sending to process %u: %s", link->peer_pid, strerror(errno));
    return 0;
}

int link_send_hello(struct link *link, const struct link_hello *hello, struct shm_error *error)
{
    struct link_hello filled = *hello;
    filled.layout_version = SHM_LAYOUT_VERSION;
    filled.config_size = sizeof(struct shm_config);
    filled.pid = (uint32_t)getpid();
    return send_message(link, LINK_HELLO, &filled, NULL, error);
}

int link_send_configure(struct link *link, const struct shm_config *config, struct shm_error *error)
{
    return send_message(link, LINK_CONFIGURE, config, NULL, error);
}

int link_send_ready(struct link *link, uint64_t generation, struct shm_error *error)
{
    return send_message(link, LINK_READY, &generation, NULL, error);
}

int link_send_failed(struct link *link, const char *text, struct shm_error *error)
{
    char padded[LINK_TEXT_SIZE] = {0};
    snprintf(padded, sizeof padded, "%s", text);
    return send_message(link, LINK_FAILED, padded, NULL, error);
}

int link_send_segments(struct link *link, const struct link_segments *segments, struct shm_error *error)
{
    return send_message(link, LINK_SEGMENTS, NULL, segments, error);
}

/* ---- closing --------------------------------------------------------------------------------------------------- */

void link_message_close(struct link_message *message)
{
    if (message->type != LINK_SEGMENTS)
        return;
    int *descriptors[] = {&message->segments.statistics, &message->segments.requests, &message->segments.replies,
                          &message->segments.questions,  &message->segments.verdicts, &message->segments.captures,
                          &message->segments.reply_event};
    for (uint32_t i = 0; i < LINK_SEGMENT_COUNT; i++) {
        if (*descriptors[i] >= 0)
            close(*descriptors[i]);
        *descriptors[i] = -1;
    }
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}

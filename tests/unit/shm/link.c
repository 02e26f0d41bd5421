/* The link: handshake, descriptors, death of a peer, and peers that break the protocol. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/shm/link.h"
#include "lib/shm/messages.h"

static char run_dir[64];
static struct link_listener listener;
static struct link dataplane, control;
static struct link_message message; /* too large for comfort on a stack */
static struct shm_error error;

static void setup(void)
{
    strcpy(run_dir, "/tmp/pollux-link-XXXXXX");
    cr_assert(mkdtemp(run_dir));
    cr_assert_eq(link_listen(&listener, run_dir, &error), 0, "%s", error.text);
    dataplane = control = LINK_NONE;
}

static void teardown(void)
{
    link_close(&dataplane);
    link_close(&control);
    link_listener_close(&listener);
    rmdir(run_dir);
}

TestSuite(link, .init = setup, .fini = teardown, .timeout = 20);

static void connect_both(void)
{
    cr_assert_eq(link_connect(&control, run_dir, &error), 0, "%s", error.text);
    cr_assert_eq(link_accept(&listener, &dataplane, false, &error), 1);
}

static void greet(void)
{
    struct link_hello hello = {.state = LINK_STATE_UNCONFIGURED, .build_id = "test"};
    connect_both();
    cr_assert_eq(link_send_hello(&dataplane, &hello, &error), 0);
    cr_assert_eq(link_poll(&control, &message, &error), LINK_MESSAGE, "%s", error.text);
    cr_assert_eq(message.type, LINK_HELLO);
    cr_assert_eq(message.hello.pid, (uint32_t)getpid());
    hello.state = LINK_STATE_CONTROL;
    cr_assert_eq(link_send_hello(&control, &hello, &error), 0);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_MESSAGE, "%s", error.text);
}

Test(link, a_whole_handshake_passes_configuration_and_descriptors)
{
    static struct shm_config config = {.generation = 42, .port_count = 3};
    greet();
    cr_assert_eq(control.peer_pid, (uint32_t)getpid());
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_NOTHING);
    cr_assert_eq(link_send_configure(&control, &config, &error), 0, "%s", error.text);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_MESSAGE);
    cr_assert_eq(message.type, LINK_CONFIGURE);
    cr_assert_eq(memcmp(&message.config, &config, sizeof config), 0);
    cr_assert_eq(link_send_ready(&dataplane, 42, &error), 0);
    cr_assert_eq(link_poll(&control, &message, &error), LINK_MESSAGE);
    cr_assert_eq(message.type, LINK_READY);
    cr_assert_eq(message.generation, 42);
    int event = eventfd(0, EFD_NONBLOCK);
    struct link_segments segments = {event, event, event, event, event, event, event};
    cr_assert_eq(link_send_segments(&dataplane, &segments, &error), 0);
    cr_assert_eq(link_poll(&control, &message, &error), LINK_MESSAGE);
    cr_assert_eq(message.type, LINK_SEGMENTS);
    eventfd_t value = 0;
    eventfd_write(event, 7);
    cr_assert_eq(eventfd_read(message.segments.reply_event, &value), 0);
    cr_assert_eq(value, 7);
    link_message_close(&message);
    cr_assert_eq(message.segments.statistics, -1);
    close(event);
}

Test(link, failure_texts_arrive_cut_and_terminated)
{
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    greet();
    cr_assert_eq(link_send_failed(&dataplane, longer, &error), 0);
    cr_assert_eq(link_poll(&control, &message, &error), LINK_MESSAGE);
    cr_assert_eq(message.type, LINK_FAILED);
    cr_assert_eq(strlen(message.text), LINK_TEXT_SIZE - 1);
}

Test(link, a_killed_peer_is_seen_at_once)
{
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (link_connect(&control, run_dir, &error) != 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        pause();
    }
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(link_accept(&listener, &dataplane, false, &error), 1);
    cr_assert_eq(dataplane.peer_pid, (uint32_t)child);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_NOTHING);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    struct pollfd waiting = {.fd = dataplane.fd, .events = POLLIN};
    cr_assert_eq(poll(&waiting, 1, 1000), 1);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_CLOSED);
}

Test(link, a_second_control_is_told_why_it_is_refused)
{
    struct link second;
    greet();
    cr_assert_eq(link_connect(&second, run_dir, &error), 0);
    cr_assert_eq(link_accept(&listener, &dataplane, true, &error), -1);
    cr_assert_eq(link_poll(&second, &message, &error), LINK_MESSAGE);
    cr_assert_eq(message.type, LINK_FAILED);
    cr_assert(strstr(message.text, "another control"));
    cr_assert_eq(link_poll(&second, &message, &error), LINK_CLOSED);
    link_close(&second);
    cr_assert_eq(link_send_ready(&dataplane, 1, &error), 0, "the first one stays");
}

Test(link, sockets_of_the_dead_are_replaced_and_of_the_living_are_not)
{
    struct link_listener second;
    cr_assert_eq(link_listen(&second, run_dir, &error), -1);
    cr_assert(strstr(error.text, "another dataplane"), "%s", error.text);
    close(listener.fd); /* as a kill does: the file stays */
    cr_assert_eq(link_listen(&listener, run_dir, &error), 0, "%s", error.text);
    struct stat status;
    cr_assert_eq(stat(listener.path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    connect_both();
}

Test(link, connect_fails_without_a_dataplane_and_with_a_long_path)
{
    char path[200];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(link_connect(&control, "/tmp/pollux-nobody-here", &error), -1);
    cr_assert_eq(link_connect(&control, path, &error), -1);
    cr_assert(strstr(error.text, "too long"));
}

/* Send bytes as they are, with `descriptors` copies of one descriptor. */
static void send_raw(const void *bytes, size_t size, int descriptors)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    char space[CMSG_SPACE(16 * sizeof(int))] = {0};
    struct msghdr envelope = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptors > 0) {
        envelope.msg_control = space;
        envelope.msg_controllen = CMSG_SPACE((size_t)descriptors * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&envelope);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN((size_t)descriptors * sizeof(int));
        int fd = STDERR_FILENO;
        for (int i = 0; i < descriptors; i++)
            memcpy(CMSG_DATA(rights) + (size_t)i * sizeof fd, &fd, sizeof fd);
    }
    cr_assert_eq(sendmsg(control.fd, &envelope, 0), (ssize_t)size);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

struct raw {
    uint32_t magic, type, length;
    uint8_t payload[2 * sizeof(struct shm_config)];
};

#define LINK_MAGIC 0x706c6e6bu

static void expect_invalid(uint32_t magic, uint32_t type, uint32_t length, size_t sent, int descriptors)
{
    static struct raw raw;
    raw.magic = magic;
    raw.type = type;
    raw.length = length;
    int before = open_descriptors();
    send_raw(&raw, 12 + sent, descriptors);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_INVALID, "type %u length %u sent %zu", type, length,
                 sent);
    cr_assert_eq(open_descriptors(), before, "descriptors of a refused message are closed");
}

Test(link, refuses_messages_that_break_the_protocol)
{
    greet();
    expect_invalid(0, LINK_READY, 8, 8, 0);
    expect_invalid(LINK_MAGIC, 0, 8, 8, 0);
    expect_invalid(LINK_MAGIC, 6, 0, 0, 0);
    expect_invalid(LINK_MAGIC, LINK_READY, 8, 7, 0);
    expect_invalid(LINK_MAGIC, LINK_READY, 8, 9, 0);
    expect_invalid(LINK_MAGIC, LINK_READY, UINT32_MAX, 8, 0);
    expect_invalid(LINK_MAGIC, LINK_CONFIGURE, sizeof(struct shm_config), sizeof(struct shm_config) - 1, 0);
    expect_invalid(LINK_MAGIC, LINK_CONFIGURE, sizeof(struct shm_config), 2 * sizeof(struct shm_config), 0);
    expect_invalid(LINK_MAGIC, LINK_SEGMENTS, 0, 0, 0);
    expect_invalid(LINK_MAGIC, LINK_SEGMENTS, 0, 0, 3);
    expect_invalid(LINK_MAGIC, LINK_SEGMENTS, 0, 0, 5);
    expect_invalid(LINK_MAGIC, LINK_SEGMENTS, 0, 0, 16);
    expect_invalid(LINK_MAGIC, LINK_READY, 8, 8, 1);
    send_raw("abc", 3, 0);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_INVALID);
}

Test(link, refuses_to_start_without_hello_or_with_another_layout)
{
    connect_both();
    cr_assert_eq(link_send_ready(&control, 1, &error), 0);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_INVALID);
    static struct raw raw = {LINK_MAGIC, LINK_HELLO, sizeof(struct link_hello), {0}};
    struct link_hello hello = {.layout_version = SHM_LAYOUT_VERSION + 1, .config_size = sizeof(struct shm_config)};
    memset(hello.build_id, 0xff, sizeof hello.build_id);
    memcpy(raw.payload, &hello, sizeof hello);
    send_raw(&raw, 12 + sizeof hello, 0);
    cr_assert_eq(link_poll(&dataplane, &message, &error), LINK_INVALID);
    cr_assert(strstr(error.text, "same version"), "%s", error.text);
}

Test(link, refuses_other_users)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become somebody else");
    cr_assert_eq(chmod(run_dir, 0755), 0);
    cr_assert_eq(chmod(listener.path, 0666), 0);
    pid_t child = fork();
    if (child == 0) {
        struct link link;
        struct pollfd waiting = {.events = POLLIN};
        if (setuid(65534) != 0 || link_connect(&link, run_dir, &error) != 0)
            _exit(1);
        waiting.fd = link.fd;
        poll(&waiting, 1, 5000);
        _exit(link_poll(&link, &message, &error) == LINK_CLOSED ? 0 : 2);
    }
    struct pollfd waiting = {.fd = listener.fd, .events = POLLIN};
    cr_assert_eq(poll(&waiting, 1, 5000), 1);
    cr_assert_eq(link_accept(&listener, &dataplane, false, &error), -1);
    cr_assert(strstr(error.text, "65534"), "%s", error.text);
    int status = -1;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
}

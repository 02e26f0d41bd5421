/*
 * lib/net against the kernel's stack, and the kernel's against itself, over a link of our own: delay, rate, a queue and
 * seeded loss. Needs root and /dev/net/tun; makes its own network namespaces, which vanish with it.
 *
 *     linux_peer interop [PATTERN]                       a line per case: both roles, IPv4 and IPv6, losses between,
 *                                                        small and gigabyte transfers, half-close, RST in every state,
 *                                                        ports reused after a reboot; those whose names have PATTERN
 *     linux_peer goodput [MS [LOSS_PERCENT [MIB]]]       side by side, in both directions; 50 ms, 1 %, 8 MiB
 *
 * Each end of the link is a TAP device in a namespace of its own, where a child process uses sockets, or a stack of
 * lib/net in this process. The parent carries the frames, in real time. The sender's bytes are a pattern; the receiver
 * answers their sum after the sender's FIN, so every case is a half-close too.
 */
#include "lib/net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of <netinet/tcp.h>, which has a struct tcp_info of its own. */
enum { TCP_CONGESTION = 13, TCP_REPAIR = 19, TCP_REPAIR_ON = 1 };

enum { ENDS = 2, FRAME_MAX = 1600, FRAMES = 1 << 14, PORT = 1883, BUFFER = 8 << 20 };

/* ---- The link. */

struct frame {
    uint64_t at;
    uint32_t length;
    uint8_t bytes[FRAME_MAX];
};

struct direction {
    struct frame *frames; /* a ring by time of arrival: delay is the same for all */
    uint32_t head, tail;
    uint64_t busy_until;
};

static struct {
    uint64_t delay_us;
    uint64_t bits_per_second;
    uint32_t queue_bytes;
    uint32_t loss_ppm;
    uint64_t random;
    struct direction directions[ENDS]; /* [i]: from end i */
} wire;

static int taps[ENDS]; /* -1: the stack */
static struct net_stack *stack;
static struct timer_wheel wheel;
static struct rte_mempool *pool;

static uint64_t now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static bool lost(void)
{
    uint64_t z = (wire.random += 0x9e3779b97f4a7c15u); /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % 1000000 < wire.loss_ppm;
}

static void wire_put(unsigned from, const uint8_t *bytes, uint32_t length, uint64_t now)
{
    struct direction *direction = &wire.directions[from];
    uint64_t start = direction->busy_until > now ? direction->busy_until : now;

    if (lost() || length > FRAME_MAX || direction->tail - direction->head == FRAMES ||
        (start - now) * wire.bits_per_second / 8000000 > wire.queue_bytes)
        return;
    direction->busy_until = start + (uint64_t)length * 8000000 / wire.bits_per_second;
    struct frame *frame = &direction->frames[direction->tail++ % FRAMES];
    frame->at = direction->busy_until + wire.delay_us;
    frame->length = length;
    memcpy(frame->bytes, bytes, length);
}

static void frame_arrive(unsigned to, const struct frame *frame, uint64_t now)
{
    if (taps[to] >= 0) {
        if (write(taps[to], frame->bytes, frame->length) < 0)
            return; /* as a full device does: lost */
    } else {
        struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
        if (!mbuf)
            return;
        memcpy(rte_pktmbuf_append(mbuf, (uint16_t)frame->length), frame->bytes, frame->length);
        net_input(stack, 0, &mbuf, 1, now);
    }
}

/* ---- The stack's end. */

static uint16_t transmit(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        wire_put(1, rte_pktmbuf_mtod(mbufs[i], const uint8_t *), mbufs[i]->pkt_len, now_us());
        rte_pktmbuf_free(mbufs[i]);
    }
    return count;
}

/* What both ends of a script do, in us after the handshake (0: never), and the state that this makes. */
struct script {
    const char *name;
    uint64_t peer_shuts, peer_resets, we_shut, we_abort;
    enum tcp_state state; /* ours, when the RST arrives or leaves */
    enum tcp_close_reason reason;
};

static struct script script;

static struct {
    struct tcp_connection *connection;
    uint64_t to_send, sent, received;
    uint32_t sum;    /* of what was received, and of what was sent */
    uint32_t answer; /* the peer's */
    uint32_t sent_sum;
    bool connected, peer_closed, closed;
    enum tcp_close_reason reason;
    unsigned connections;
    bool scripted; /* follow `script` */
    uint64_t opened_at, shut_us, abort_us;
    enum tcp_state state; /* when last looked at */
} app;

static uint8_t pattern(uint64_t position)
{
    return (uint8_t)(position * 7 + (position >> 11));
}

static void fill(struct tcp_connection *connection)
{
    uint8_t bytes[4096];

    while (app.sent < app.to_send) {
        size_t wanted = app.to_send - app.sent < sizeof bytes ? app.to_send - app.sent : sizeof bytes;
        for (size_t i = 0; i < wanted; i++)
            bytes[i] = pattern(app.sent + i);
        size_t taken = tcp_send(connection, bytes, wanted);
        for (size_t i = 0; i < taken; i++)
            app.sent_sum += bytes[i];
        app.sent += taken;
        if (taken < wanted)
            return;
    }
    tcp_shutdown(connection);
}

static void opened(struct tcp_connection *connection)
{
    app.connection = connection;
    app.connected = true;
    app.connections++;
    app.opened_at = now_us();
    app.shut_us = script.we_shut;
    app.abort_us = script.we_abort;
    app.sum = 0;
    if (app.to_send)
        fill(connection);
}

static void script_follow(void)
{
    struct tcp_info info;

    if (!app.connection)
        return;
    tcp_info(app.connection, &info);
    app.state = info.state;
    const uint64_t age = now_us() - app.opened_at;
    if (app.shut_us && age >= app.shut_us) {
        app.shut_us = 0;
        tcp_shutdown(app.connection);
    }
    if (app.abort_us && age >= app.abort_us) {
        app.abort_us = 0;
        tcp_abort(app.connection);
        app.connection = NULL;
    }
}

static void accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
    opened(connection);
}

static void connected(void *arg, struct tcp_connection *connection)
{
    opened(connection);
}

static void readable(void *arg, struct tcp_connection *connection)
{
    const uint8_t *bytes;
    uint32_t length;

    while ((bytes = tcp_peek(connection, &length)) != NULL) {
        for (uint32_t i = 0; i < length; i++) {
            app.sum += bytes[i];
            app.answer = app.answer >> 8 | (uint32_t)bytes[i] << 24;
        }
        app.received += length;
        tcp_consume(connection, length);
    }
}

static void writable(void *arg, struct tcp_connection *connection)
{
    fill(connection);
}

static void peer_closed(void *arg, struct tcp_connection *connection)
{
    app.peer_closed = true;
    if (!app.to_send && !app.scripted) {
        tcp_send(connection, &app.sum, sizeof app.sum);
        tcp_close(connection);
    }
}

static void closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    app.closed = true;
    app.reason = reason;
    app.connection = NULL;
}

static struct net_address address_of(unsigned end, bool ip6)
{
    struct net_address address = {.bytes = {0x20, 0x01, 0x0d, 0xb8, 0x00, 0x40, [15] = (uint8_t)(1 + end)}};

    return ip6 ? address : net_address_ip4(htonl(0xc6122801u + end));
}

static void stack_begin(void)
{
    struct net_config config;
    const char *reason;
    struct net_address any = NET_ADDRESS_ANY;

    timer_wheel_init(&wheel, now_us());
    net_config_defaults(&config);
    config.seed[0] = now_us();
    config.send_buffer = config.receive_buffer = BUFFER;
    config.interface_count = 1;
    config.interfaces[0] = (struct net_interface_config){
        .mac = {2, 0, 0, 0, 0, 0x11},
        .mtu = 1500,
        .address_count = 2,
        .addresses = {{address_of(1, false), 24}, {address_of(1, true), 64}},
    };
    config.pool = pool;
    config.wheel = &wheel;
    config.transmit = transmit;
    config.callbacks = (struct tcp_callbacks){accepted, connected, readable, writable, peer_closed, closed};
    memset(&app, 0, sizeof app);
    stack = net_stack_create(&config, now_us(), &reason);
    if (!stack) {
        fprintf(stderr, "no stack: %s\n", reason);
        exit(2);
    }
    tcp_listen(stack, &any, PORT, NULL);
}

static void stack_end(void)
{
    net_stack_destroy(stack);
    stack = NULL;
}

/* ---- Carrying. */

static void carry(void)
{
    static uint8_t bytes[FRAME_MAX];
    uint64_t now = now_us();

    if (stack && app.scripted)
        script_follow();
    for (unsigned end = 0; end < ENDS; end++) {
        ssize_t length;
        while (taps[end] >= 0 && (length = read(taps[end], bytes, sizeof bytes)) > 0)
            wire_put(end, bytes, (uint32_t)length, now);
        struct direction *direction = &wire.directions[end];
        for (; direction->head != direction->tail && direction->frames[direction->head % FRAMES].at <= now;
             direction->head++)
            frame_arrive(!end, &direction->frames[direction->head % FRAMES], now);
    }
    if (stack) {
        timer_wheel_advance(&wheel, now, 1000);
        net_deliver(stack, now);
        net_output(stack, now);
    }
    struct pollfd none = {.fd = -1};
    struct timespec pause = {0, 50000};
    ppoll(&none, 1, &pause, NULL);
}

static void carry_for(uint64_t us)
{
    for (uint64_t end = now_us() + us; now_us() < end;)
        carry();
}

/* Until the child ends; its exit status, or -1 after `seconds`. */
static int carry_child(pid_t child, unsigned seconds)
{
    uint64_t end = now_us() + seconds * UINT64_C(1000000);
    int status;

    while (waitpid(child, &status, WNOHANG) == 0) {
        if (now_us() > end) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        carry();
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- The kernel's ends: a namespace each, entered by children. */

static int namespaces[ENDS];

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static void kernel_end(unsigned end)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    char command[700];

    must(unshare(CLONE_NEWNET) == 0, "network namespace");
    namespaces[end] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    taps[end] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    must(taps[end] >= 0, "/dev/net/tun");
    snprintf(request.ifr_name, sizeof request.ifr_name, "plxtcp%u", end);
    must(ioctl(taps[end], TUNSETIFF, &request) == 0, "TAP device");
    snprintf(command, sizeof command,
             "ip link set lo up && ip addr add 198.18.40.%u/24 dev plxtcp%u && "
             "ip -6 addr add 2001:db8:40::%u/64 dev plxtcp%u nodad && ip link set plxtcp%u up txqueuelen 10000 && "
             "sysctl -qw net.ipv4.tcp_rmem='4096 131072 %d' "
             "net.ipv4.tcp_wmem='4096 131072 %d' "
             "net.ipv4.tcp_no_metrics_save=1",
             1 + end, end, 1 + end, end, end, BUFFER, BUFFER);
    must(system(command) == 0, "set-up of the namespace");
}

static struct sockaddr_storage socket_address(unsigned end, bool ip6, uint16_t port, socklen_t *length)
{
    struct sockaddr_storage storage = {0};
    struct net_address address = address_of(end, ip6);

    if (ip6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, address.bytes, 16);
        *length = sizeof *in6;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&storage;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        in->sin_addr.s_addr = address.words[3];
        *length = sizeof *in;
    }
    return storage;
}

static int socket_connect(unsigned to, bool ip6, uint16_t from_port)
{
    socklen_t length;
    struct sockaddr_storage address = socket_address(to, ip6, PORT, &length);
    int fd = socket(address.ss_family, SOCK_STREAM, 0), one = 1;

    if (from_port) {
        socklen_t own_length;
        struct sockaddr_storage own = socket_address(!to, ip6, from_port, &own_length);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&own, own_length))
            return -1;
    }
    return connect(fd, (struct sockaddr *)&address, length) == 0 ? fd : -1;
}

static int socket_accept(unsigned end, bool ip6)
{
    socklen_t length;
    struct sockaddr_storage address = socket_address(end, ip6, PORT, &length);
    int fd = socket(address.ss_family, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 8))
        return -1;
    return accept(fd, NULL, NULL);
}

/* A namespace may not choose another default, a socket may: like is compared with like. */
static bool use_cubic(int fd)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) == 0;
}

static int send_pattern(int fd, uint64_t bytes)
{
    static uint8_t buffer[65536];
    uint32_t sum = 0, answer = 0;

    if (!use_cubic(fd))
        return 4;
    for (uint64_t sent = 0; sent < bytes;) {
        size_t wanted = bytes - sent < sizeof buffer ? bytes - sent : sizeof buffer;
        for (size_t i = 0; i < wanted; i++) {
            buffer[i] = pattern(sent + i);
            sum += buffer[i];
        }
        for (size_t done = 0; done < wanted;) {
            ssize_t n = write(fd, buffer + done, wanted - done);
            if (n <= 0)
                return 1;
            done += (size_t)n;
        }
        sent += wanted;
    }
    shutdown(fd, SHUT_WR);
    for (size_t got = 0; got < sizeof answer;) {
        ssize_t n = read(fd, (uint8_t *)&answer + got, sizeof answer - got);
        if (n <= 0)
            return 2;
        got += (size_t)n;
    }
    return answer == sum && read(fd, buffer, 1) == 0 ? 0 : 3;
}

static int receive_pattern(int fd)
{
    static uint8_t buffer[65536];
    uint32_t sum = 0;
    ssize_t n;

    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < n; i++)
            sum += buffer[i];
    if (n < 0 || write(fd, &sum, sizeof sum) != sizeof sum)
        return 1;
    return 0;
}

enum role { SEND, RECEIVE, SCRIPTED, REFUSED, REBOOT, SAME_PORT, SMALL, ACCEPT_TWICE, VANISH };

static int socket_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

/* Follows `script`; a RST of ours must show as an error of the socket. */
static int scripted_peer(int fd)
{
    const struct linger linger = {1, 0};
    uint64_t at = 0;

    if (script.peer_shuts) {
        usleep((useconds_t)(at = script.peer_shuts));
        shutdown(fd, SHUT_WR);
    }
    if (script.peer_resets) {
        usleep((useconds_t)(script.peer_resets - at));
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        return close(fd);
    }
    usleep(2000000);
    const int error = socket_error(fd);
    return error == ECONNRESET || error == EPIPE ? 0 : 1;
}

/* Fifty connections one after the other, each a short question with a short answer. */
static int small_exchanges(unsigned end, bool ip6)
{
    for (int i = 0; i < 50; i++) {
        const int fd = socket_connect(!end, ip6, 0);
        const int failed = fd < 0 ? 1 : send_pattern(fd, 1 + (uint64_t)i * 331);
        if (failed)
            return failed;
        close(fd);
    }
    return 0;
}

/* The same port again as soon as the peer has closed: its end is in TIME-WAIT. */
static int same_port(unsigned end, bool ip6)
{
    for (int i = 0; i < 3; i++) {
        char byte;
        const int fd = socket_connect(!end, ip6, 40002);
        if (fd < 0 || read(fd, &byte, 1) != 0)
            return 1;
        close(fd);
        usleep(100000); /* its end waits for our last ACK */
    }
    return 0;
}

/* A connection whose other end forgets it and comes back with the same port. */
static int accept_twice(unsigned end, bool ip6)
{
    socklen_t length;
    struct sockaddr_storage address = socket_address(end, ip6, PORT, &length);
    int fd = socket(address.ss_family, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 8))
        return 1;
    const int first = accept(fd, NULL, NULL), second = accept(fd, NULL, NULL);
    return first >= 0 && second >= 0 ? receive_pattern(second) : 2;
}

/* A SYN whose sender is gone when the answer comes. */
static int vanish(unsigned end, bool ip6)
{
    socklen_t length;
    struct sockaddr_storage address = socket_address(!end, ip6, PORT, &length);
    const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

    connect(fd, (struct sockaddr *)&address, length);
    usleep(20000);
    return close(fd);
}

static int role_play(enum role role, unsigned end, bool ip6, bool active, uint64_t bytes)
{
    char byte = 'x';

    if (role == SMALL)
        return small_exchanges(end, ip6);
    if (role == SAME_PORT)
        return same_port(end, ip6);
    if (role == ACCEPT_TWICE)
        return accept_twice(end, ip6);
    if (role == VANISH)
        return vanish(end, ip6);
    int fd = active ? socket_connect(!end, ip6, role == REBOOT ? 40000 : 0) : socket_accept(end, ip6);
    if (role == REFUSED)
        return fd < 0 && errno == ECONNREFUSED ? 0 : 1;
    if (fd < 0)
        return 10;
    switch (role) {
    case SEND:
        return send_pattern(fd, bytes);
    case RECEIVE:
        return receive_pattern(fd);
    case SCRIPTED:
        return scripted_peer(fd);
    case REBOOT: { /* the socket vanishes without a word; then the same port again */
        int on = TCP_REPAIR_ON;
        if (write(fd, &byte, 1) != 1 || usleep(300000) || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) ||
            close(fd))
            return 1;
        fd = socket_connect(!end, ip6, 40000);
        return fd >= 0 ? send_pattern(fd, bytes) : 2;
    }
    default:
        return 11;
    }
}

static pid_t role_begin(enum role role, unsigned end, bool ip6, bool active, uint64_t bytes)
{
    pid_t child = fork();

    if (child)
        return child;
    if (setns(namespaces[end], CLONE_NEWNET))
        _exit(12);
    _exit(role_play(role, end, ip6, active, bytes));
}

/* ---- Cases. */

static unsigned failures;
static const char *pattern_wanted;
static char case_name[100];
static uint64_t case_began;

/* Is the case wanted? Its link: one-way delay in us, losses per million. */
static bool begin(const char *name, bool ip6, uint64_t delay_us, uint32_t loss_ppm)
{
    snprintf(case_name, sizeof case_name, "%s, IPv%c", name, ip6 ? '6' : '4');
    if (pattern_wanted && !strstr(case_name, pattern_wanted))
        return false;
    case_began = now_us();
    wire.delay_us = delay_us;
    wire.loss_ppm = loss_ppm;
    for (unsigned end = 0; end < ENDS; end++)
        wire.directions[end].head = wire.directions[end].tail;
    stack_begin();
    return true;
}

/* The form that tools/test counts. */
static void end(bool good)
{
    stack_end();
    printf("%s %.1f %s\n", good ? "ok" : "FAIL", (double)(now_us() - case_began) / 1e6, case_name);
    fflush(stdout);
    failures += !good;
}

static void stack_connect(bool ip6, uint16_t local_port)
{
    struct net_address any = NET_ADDRESS_ANY, peer = address_of(0, ip6);

    carry_for(300000 + 4 * wire.delay_us); /* the child listens by now */
    tcp_connect(stack, &any, local_port, &peer, PORT, NULL);
}

struct transfer {
    const char *name;
    bool stack_sends, stack_opens;
    uint64_t bytes;
    uint64_t delay_us;
    uint32_t loss_ppm;
};

static void transfer(const struct transfer *plan, bool ip6)
{
    if (!begin(plan->name, ip6, plan->delay_us, plan->loss_ppm))
        return;
    if (plan->stack_sends)
        app.to_send = plan->bytes;
    pid_t child = role_begin(plan->stack_sends ? RECEIVE : SEND, 0, ip6, !plan->stack_opens, plan->bytes);
    if (plan->stack_opens)
        stack_connect(ip6, 0);
    bool good = carry_child(child, 120) == 0;
    for (uint64_t until = now_us() + 10000000; now_us() < until && !app.closed;) /* the last ACKs may be lost */
        carry();
    if (plan->stack_sends)
        good = good && app.sent == plan->bytes && app.received == 4 && app.answer == app.sent_sum;
    else
        good = good && app.received == plan->bytes && app.peer_closed && app.closed && app.reason == TCP_CLOSE_NORMAL;
    end(good);
}

enum { MIB = 1 << 20 };

static const struct transfer transfers[] = {
    {"they open, we send 16 MiB", true, false, 16 * MIB, 2000, 0},
    {"they open and send 16 MiB", false, false, 16 * MIB, 2000, 0},
    {"we open and send 16 MiB", true, true, 16 * MIB, 2000, 0},
    {"we open, they send 16 MiB", false, true, 16 * MIB, 2000, 0},
    {"they open, we send 1 MiB, 3 % loss", true, false, MIB, 2000, 30000},
    {"they open and send 1 MiB, 3 % loss", false, false, MIB, 2000, 30000},
    {"we open and send 1 MiB, 3 % loss", true, true, MIB, 2000, 30000},
    {"we open, they send 1 MiB, 3 % loss", false, true, MIB, 2000, 30000},
    {"they open, we send 50 KB, 10 % loss", true, false, 50000, 2000, 100000},
    {"they open and send 50 KB, 10 % loss", false, false, 50000, 2000, 100000},
};

/* A link of 250 ms each way leaves time for what crosses on the way, on a busy machine too. */
static const struct script scripts[] = {
    {"the peer resets in ESTABLISHED", 0, 250000, 0, 0, TCP_STATE_ESTABLISHED, TCP_CLOSE_RESET},
    {"the peer resets in FIN-WAIT-1", 0, 250000, 50000, 0, TCP_STATE_FIN_WAIT_1, TCP_CLOSE_RESET},
    {"the peer resets in FIN-WAIT-2", 0, 1000000, 50000, 0, TCP_STATE_FIN_WAIT_2, TCP_CLOSE_RESET},
    {"the peer resets in CLOSE-WAIT", 50000, 1000000, 0, 0, TCP_STATE_CLOSE_WAIT, TCP_CLOSE_RESET},
    {"the peer resets in CLOSING", 250000, 450000, 125000, 0, TCP_STATE_CLOSING, TCP_CLOSE_NORMAL},
    {"the peer resets in LAST-ACK", 50000, 375000, 125000, 0, TCP_STATE_LAST_ACK, TCP_CLOSE_NORMAL},
    {"we reset in ESTABLISHED", 0, 0, 0, 125000, TCP_STATE_ESTABLISHED, TCP_CLOSE_ABORTED},
    {"we reset in FIN-WAIT-1", 0, 0, 50000, 150000, TCP_STATE_FIN_WAIT_1, TCP_CLOSE_ABORTED},
    {"we reset in FIN-WAIT-2", 0, 0, 50000, 1000000, TCP_STATE_FIN_WAIT_2, TCP_CLOSE_ABORTED},
    {"we reset in CLOSE-WAIT", 50000, 0, 0, 250000, TCP_STATE_CLOSE_WAIT, TCP_CLOSE_ABORTED},
};

static void scripted(const struct script *plan, bool ip6)
{
    bool good = false;

    if (!begin(plan->name, ip6, 250000, 0))
        return;
    /* When the machine was late the RST met another state: again. */
    for (int attempt = 0; attempt < 3 && !(good && app.state == plan->state); attempt++) {
        if (attempt) {
            stack_end();
            stack_begin();
        }
        script = *plan;
        app.scripted = true;
        good = carry_child(role_begin(SCRIPTED, 0, ip6, true, 0), 20) == 0;
        carry_for(700000);
        good = good && app.closed && app.reason == plan->reason;
    }
    end(good && app.state == plan->state);
}

/* ---- Handshakes that fail, and ports that come back. */

static bool half_open_becomes(uint64_t count)
{
    struct net_census census;

    for (uint64_t until = now_us() + 2000000; now_us() < until;) {
        carry();
        net_census(stack, &census);
        if (census.half_open == count)
            return true;
    }
    return false;
}

static void refusals(bool ip6)
{
    if (begin("nobody listens here", ip6, 2000, 0)) {
        tcp_unlisten(stack, 0);
        for (int listener = 0; listener < 64; listener++)
            tcp_unlisten(stack, listener);
        end(carry_child(role_begin(REFUSED, 0, ip6, true, 0), 20) == 0);
    }
    if (begin("nobody listens there", ip6, 2000, 0)) {
        stack_connect(ip6, 0);
        carry_for(500000);
        end(app.closed && app.reason == TCP_CLOSE_REFUSED);
    }
    if (begin("the peer vanishes in SYN-RECEIVED", ip6, 100000, 0)) {
        bool good = carry_child(role_begin(VANISH, 0, ip6, true, 0), 20) == 0;
        good = good && half_open_becomes(1) && half_open_becomes(0);
        end(good && !app.connected);
    }
}

static void ports(bool ip6)
{
    enum { BYTES = 100000 };

    if (begin("the peer reboots and takes the same port", ip6, 2000, 0)) {
        const bool good = carry_child(role_begin(REBOOT, 0, ip6, true, BYTES), 30) == 0;
        carry_for(500000);
        end(good && app.received == BYTES + 1);
    }
    if (begin("we reboot and take the same port", ip6, 2000, 0)) {
        const pid_t child = role_begin(ACCEPT_TWICE, 0, ip6, false, 0);
        stack_connect(ip6, 40001);
        carry_for(300000);
        stack_end();
        stack_begin();
        app.to_send = BYTES;
        stack_connect(ip6, 40001);
        const bool good = carry_child(child, 30) == 0;
        carry_for(200000);
        end(good && app.answer == app.sent_sum);
    }
    if (begin("the same port while we are in TIME-WAIT", ip6, 2000, 0)) {
        script = (struct script){.we_shut = 1};
        app.scripted = true;
        end(carry_child(role_begin(SAME_PORT, 0, ip6, true, 0), 20) == 0 && app.connections == 3);
    }
    if (begin("fifty small exchanges", ip6, 2000, 0)) {
        const bool good = carry_child(role_begin(SMALL, 0, ip6, true, 0), 60) == 0;
        carry_for(100000);
        end(good && app.connections == 50);
    }
}

static int interop(const char *wanted)
{
    const struct transfer gigabytes[2] = {{"they open, we send 1 GiB", true, false, UINT64_C(1) << 30, 100, 0},
                                          {"they open and send 1 GiB", false, false, UINT64_C(1) << 30, 100, 0}};

    pattern_wanted = wanted;
    wire.bits_per_second = 1000000000;
    wire.queue_bytes = 1 << 20;
    taps[1] = -1;
    for (int ip6 = 0; ip6 < 2; ip6++) {
        for (size_t i = 0; i < sizeof transfers / sizeof *transfers; i++)
            transfer(&transfers[i], ip6);
        for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
            scripted(&scripts[i], ip6);
        refusals(ip6);
        ports(ip6);
    }
    wire.bits_per_second = 10000000000;
    for (int ip6 = 0; ip6 < 2; ip6++)
        transfer(&gigabytes[ip6], ip6);
    return failures != 0;
}

/* Mbit/s of one transfer; a negative number when it failed. */
static double goodput(bool end0_stack_peer, bool stack_sends, uint64_t bytes)
{
    uint64_t begin;
    bool good;

    wire.random = 42;
    taps[1] = end0_stack_peer ? -1 : taps[1];
    if (end0_stack_peer) {
        stack_begin();
        app.to_send = stack_sends ? bytes : 0;
        pid_t child = role_begin(stack_sends ? RECEIVE : SEND, 0, false, !stack_sends, bytes);
        if (stack_sends)
            stack_connect(false, 0);
        begin = now_us();
        good = carry_child(child, 300) == 0;
        stack_end();
    } else {
        pid_t receiver = role_begin(RECEIVE, 1, false, false, bytes);
        carry_for(300000);
        begin = now_us();
        good = carry_child(role_begin(SEND, 0, false, true, bytes), 300) == 0;
        carry_child(receiver, 10);
    }
    double seconds = (double)(now_us() - begin) / 1e6;
    for (unsigned end = 0; end < ENDS; end++)
        wire.directions[end].head = wire.directions[end].tail;
    return good ? (double)bytes * 8 / seconds / 1e6 : -1;
}

static int side_by_side(double ms, double percent, uint64_t bytes)
{
    const int tap = taps[1];
    double best = 0, both, to, from;

    wire.delay_us = (uint64_t)(ms * 500);
    wire.bits_per_second = 100000000;
    wire.queue_bytes = 256 * 1024;
    wire.loss_ppm = (uint32_t)(percent * 10000);
    both = goodput(false, false, bytes);
    best = both;
    to = goodput(true, true, bytes);
    taps[1] = tap;
    from = goodput(true, false, bytes);
    printf(
        "%.0f ms, %.2f %% loss both ways, 100 Mbit/s, %lu MiB: kernel to kernel %.2f Mbit/s, lib/net to kernel %.2f, "
        "kernel to lib/net %.2f: %.0f %% of the kernel's sender\n",
        ms, percent, (unsigned long)(bytes >> 20), both, to, from, 100 * to / best);
    return to > 0 && from > 0 && both > 0 ? 0 : 1;
}

static void environment(void)
{
    char *arguments[] = {"linux_peer", "--no-huge", "--no-shconf", "--no-telemetry",    "--no-pci", "-m",
                         "256",        "-l",        "0",           "--log-level=error", NULL};

    must(rte_eal_init(10, arguments) >= 0, "EAL");
    pool = rte_pktmbuf_pool_create("peer", 32767, 0, NET_MBUF_PRIVATE, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
    must(pool != NULL, "buffer pool");
    for (unsigned end = 0; end < ENDS; end++) {
        wire.directions[end].frames = malloc(FRAMES * sizeof(struct frame));
        must(wire.directions[end].frames != NULL, "memory");
        kernel_end(end);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || (strcmp(argv[1], "interop") && strcmp(argv[1], "goodput"))) {
        fprintf(stderr, "usage: linux_peer interop [PATTERN] | goodput [MS [LOSS_PERCENT [MIB]]]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    environment();
    wire.random = 42;
    if (strcmp(argv[1], "interop") == 0)
        return interop(argc > 2 ? argv[2] : NULL);
    return side_by_side(argc > 2 ? atof(argv[2]) : 50, argc > 3 ? atof(argv[3]) : 1,
                        (argc > 4 ? (uint64_t)atoi(argv[4]) : 8) << 20);
}

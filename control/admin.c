/* The admin socket: see control/admin.h. */
#include "control/admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/log.h"

struct admin_client {
    struct admin *admin;
    struct loop_source source; /* fd -1: this place is free */
    struct command *command;   /* the one under way; NULL: waiting for a line */
    bool input_ended;          /* it has shut its side down: finish, then close */
    char *input;               /* ADMIN_LINE_MAX bytes */
    size_t input_length;
    char *output;
    size_t output_length, output_sent, output_room;
};

struct admin {
    struct loop *loop;
    const struct command_context *context;
    struct loop_source source;
    struct sockaddr_un address;
    struct admin_client clients[ADMIN_CLIENTS_MAX];
};

/* ---- one connection --------------------------------------------------------------------------------------------- */

static void close_client(struct admin_client *client)
{
    if (client->source.fd < 0)
        return;
    if (client->command)
        command_cancel(client->command);
    loop_remove(client->admin->loop, &client->source);
    close(client->source.fd);
    free(client->input);
    free(client->output);
    *client = (struct admin_client){.admin = client->admin, .source = {.fd = -1}};
}

/* The buffer grows to the high-water mark and a page, and stays: a connection that lists once lists again. */
static bool make_output_room(struct admin_client *client, size_t more)
{
    if (client->output_sent > 0) {
        memmove(client->output, client->output + client->output_sent, client->output_length - client->output_sent);
        client->output_length -= client->output_sent;
        client->output_sent = 0;
    }
    if (client->output_length + more <= client->output_room)
        return true;
    size_t room = (client->output_length + more) * 2;
    char *output = realloc(client->output, room);
    if (!output)
        return false;
    client->output = output;
    client->output_room = room;
    return true;
}

static void put_line(void *argument, const json_t *object)
{
    struct admin_client *client = argument;
    char *text = json_dumps(object, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    bool was_empty = client->output_sent == client->output_length;
    if (text && make_output_room(client, length + 1)) {
        memcpy(client->output + client->output_length, text, length);
        client->output[client->output_length + length] = '\n';
        client->output_length += length + 1;
    }
    /* Lines come from the dataplane's replies too: have the loop come by to write them. */
    if (was_empty)
        loop_change(client->admin->loop, &client->source, EPOLLOUT);
    free(text);
}

static bool is_full(void *argument)
{
    const struct admin_client *client = argument;
    return client->output_length - client->output_sent >= ADMIN_OUTPUT_HIGH;
}

/* Write what waits. False: the connection is dead. */
static bool flush(struct admin_client *client)
{
    while (client->output_sent < client->output_length) {
        ssize_t sent = send(client->source.fd, client->output + client->output_sent,
                            client->output_length - client->output_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        client->output_sent += (size_t)sent;
    }
    client->output_sent = client->output_length = 0;
    return true;
}

/* Wait for what matters now. Requests are not read while one is being answered: the kernel's buffer holds them. */
static void watch(struct admin_client *client)
{
    uint32_t events = 0;
    if (client->output_sent < client->output_length)
        events |= EPOLLOUT;
    if (!client->command && !client->input_ended)
        events |= EPOLLIN;
    loop_change(client->admin->loop, &client->source, events);
}

static void command_done(void *argument);

static void start_command(struct admin_client *client, const char *line, size_t length)
{
    struct command_sink sink = {put_line, is_full, command_done, client};
    json_error_t error;
    json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
    client->command = command_start(client->admin->context, request, &sink);
    json_decref(request);
}

/* Start the commands of complete lines until one of them takes its time. */
static void take_lines(struct admin_client *client)
{
    char *end;
    while (!client->command && (end = memchr(client->input, '\n', client->input_length)) != NULL) {
        size_t length = (size_t)(end - client->input);
        start_command(client, client->input, length);
        client->input_length -= length + 1;
        memmove(client->input, end + 1, client->input_length);
    }
}

/* After anything happened: write, go on with waiting work, close when there is nothing left to do. */
static void settle(struct admin_client *client)
{
    if (!client->command)
        take_lines(client);
    if (!flush(client)) {
        close_client(client);
        return;
    }
    if (client->command && !is_full(client))
        command_resume(client->command);
    bool idle = !client->command && client->output_sent == client->output_length;
    if (idle && client->input_ended) {
        close_client(client);
        return;
    }
    watch(client);
}

static void command_done(void *argument)
{
    struct admin_client *client = argument;
    client->command = NULL;
    /* The rest happens when the socket takes the output: not here, below the dataplane's reply handler. */
    loop_change(client->admin->loop, &client->source, EPOLLOUT);
}

/* A full buffer without a line's end is the only thing that a reader of lines can not go on with. */
static bool read_input(struct admin_client *client)
{
    ssize_t size = recv(client->source.fd, client->input + client->input_length, ADMIN_LINE_MAX - client->input_length,
                        MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN || errno == EINTR;
    if (size == 0)
        client->input_ended = true;
    client->input_length += (size_t)size;
    if (client->input_length < ADMIN_LINE_MAX || memchr(client->input, '\n', client->input_length))
        return true;
    log_line("admin: a request without end was refused");
    return false;
}

static void client_ready(void *argument, uint32_t events)
{
    struct admin_client *client = argument;
    bool alive = (events & EPOLLERR) == 0;
    if (alive && (events & EPOLLIN))
        alive = read_input(client);
    /* A full hang-up while a command runs: nobody will read the rest. */
    if (alive && (events & EPOLLHUP) && !(events & EPOLLIN))
        alive = false;
    if (!alive)
        close_client(client);
    else
        settle(client);
}

/* ---- the server ------------------------------------------------------------------------------------------------- */

static void refuse(int fd)
{
    static const char text[] = "{\"error\":\"too many admin connections at the same time\"}\n";
    send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void server_ready(void *argument, uint32_t events)
{
    struct admin *admin = argument;
    int fd = accept4(admin->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct admin_client *client = NULL;
    for (uint32_t i = 0; i < ADMIN_CLIENTS_MAX && !client; i++)
        if (admin->clients[i].source.fd < 0)
            client = &admin->clients[i];
    char *input = client ? malloc(ADMIN_LINE_MAX) : NULL;
    if (!input) {
        refuse(fd);
        return;
    }
    *client = (struct admin_client){.admin = admin, .source = {fd, client_ready, client}, .input = input};
    if (loop_add(admin->loop, &client->source, EPOLLIN) != 0)
        close_client(client);
}

/* A socket file that nobody answers is what a killed control leaves. */
static int remove_stale(const struct sockaddr_un *address, struct shm_error *error)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return shm_error_set(error, "socket: %s", strerror(errno));
    int result = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int reason = errno;
    close(fd);
    if (result == 0)
        return shm_error_set(error, "%s: another pollux-control is running on this run directory", address->sun_path);
    if (reason == ECONNREFUSED)
        unlink(address->sun_path);
    return 0;
}

static int listen_at(struct sockaddr_un *address, const char *run_dir, struct shm_error *error)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", run_dir, ADMIN_SOCKET_NAME);
    if (length < 0 || (size_t)length >= sizeof address->sun_path)
        return shm_error_set(error, "%s: the path of the run directory is too long for a socket", run_dir);
    if (mkdir(run_dir, 0755) != 0 && errno != EEXIST)
        return shm_error_set(error, "%s: mkdir: %s", run_dir, strerror(errno));
    if (remove_stale(address, error) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0117);
    int result = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)address, sizeof *address);
    int reason = errno;
    umask(mask);
    if (result == 0 && listen(fd, 16) == 0)
        return fd;
    shm_error_set(error, "%s: %s", address->sun_path, strerror(result != 0 ? reason : errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct admin *admin_open(struct loop *loop, const char *run_dir, const struct command_context *context,
                         struct shm_error *error)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin) {
        shm_error_set(error, "no memory");
        return NULL;
    }
    for (uint32_t i = 0; i < ADMIN_CLIENTS_MAX; i++)
        admin->clients[i] = (struct admin_client){.admin = admin, .source = {.fd = -1}};
    admin->loop = loop;
    admin->context = context;
    int fd = listen_at(&admin->address, run_dir, error);
    admin->source = (struct loop_source){fd, server_ready, admin};
    if (fd < 0 || loop_add(loop, &admin->source, EPOLLIN) != 0) {
        if (fd >= 0)
            close(fd);
        free(admin);
        return NULL;
    }
    return admin;
}

void admin_close(struct admin *admin)
{
    if (!admin)
        return;
    for (uint32_t i = 0; i < ADMIN_CLIENTS_MAX; i++)
        close_client(&admin->clients[i]);
    loop_remove(admin->loop, &admin->source);
    close(admin->source.fd);
    unlink(admin->address.sun_path);
    free(admin);
}

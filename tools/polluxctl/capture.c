/* `polluxctl capture`: see tools/polluxctl/capture.h. */
#include "tools/polluxctl/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/polluxctl/format.h"

#define TEXT 64

struct output {
    const char *name; /* for people */
    int fd;
    bool made;   /* the file was not there before */
    bool ready;  /* emptied, if it was there before */
    bool closed; /* whoever reads it has gone */
};

/* ---- where it goes ----------------------------------------------------------------------------------------------- */

static int complain(const char *name)
{
    fprintf(stderr, "polluxctl: %s: %s\n", name, strerror(errno));
    return -1;
}

/* Captures hold passwords and messages: the file is for its owner only. What it held before is kept until packets come,
 * so that a refused capture costs nothing. */
static int open_output(struct output *output, const char *name)
{
    struct stat status;
    *output = (struct output){.name = name, .fd = STDOUT_FILENO};
    if (strcmp(name, "-") == 0) {
        output->name = "standard output";
        output->ready = true;
        if (!isatty(STDOUT_FILENO))
            return 0;
        fputs("polluxctl: standard output is a terminal, a capture is not for reading; name a file, or:\n"
              "  polluxctl capture -w - | tshark -r -\n",
              stderr);
        return -1;
    }
    output->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    output->made = output->fd >= 0;
    if (output->fd < 0 && errno == EEXIST)
        output->fd = open(name, O_WRONLY | O_CLOEXEC);
    if (output->fd < 0 || fstat(output->fd, &status) != 0)
        return complain(name);
    output->ready = !S_ISREG(status.st_mode);
    return 0;
}

static int write_output(struct output *output, const uint8_t *bytes, size_t length)
{
    if (!output->ready && (fchmod(output->fd, 0600) != 0 || ftruncate(output->fd, 0) != 0))
        return complain(output->name);
    output->ready = true;
    while (length > 0) {
        ssize_t size = write(output->fd, bytes, length);
        if (size < 0 && errno == EPIPE)
            output->closed = true;
        if (size < 0)
            return output->closed ? -1 : complain(output->name);
        bytes += size;
        length -= (size_t)size;
    }
    return 0;
}

/* A file that was made for a capture that never began is taken away again. */
static void close_output(struct output *output)
{
    if (output->fd == STDOUT_FILENO)
        return;
    close(output->fd);
    if (output->made && !output->ready)
        unlink(output->name);
}

/* ---- what comes -------------------------------------------------------------------------------------------------- */

/* The six bits that a character of base64 (RFC 4648) stands for; -1: none is. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Returns bytes, at most 3 for 4 characters, or -1: it is not base64. */
static ssize_t base64_decode(const char *text, size_t length, uint8_t *bytes)
{
    uint32_t bits = 0;
    size_t written = 0, digits = 0;
    if (length % 4 != 0)
        return -1;
    while (length > 0 && text[length - 1] == '=')
        length--;
    for (; digits < length; digits++) {
        const int value = base64_value(text[digits]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        if (digits % 4 != 0)
            bytes[written++] = (uint8_t)(bits >> (6 - digits % 4 * 2));
    }
    return (ssize_t)written;
}

static int take_data(struct output *output, const json_t *record)
{
    const char *text = json_string_value(json_object_get(record, "data"));
    const size_t length = text ? strlen(text) : 0;
    if (length == 0)
        return 0;
    uint8_t *bytes = malloc(length);
    const ssize_t size = bytes ? base64_decode(text, length, bytes) : -1;
    const int result = size < 0 ? -1 : write_output(output, bytes, (size_t)size);
    if (size < 0)
        fputs("polluxctl: the reply is not understood\n", stderr);
    free(bytes);
    return result;
}

static uint64_t number(const json_t *object, const char *field)
{
    return (uint64_t)json_integer_value(json_object_get(object, field));
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* One line that is written over and over, for people only. */
static void show_progress(const json_t *record)
{
    char packets[TEXT], bytes[TEXT], missing[TEXT], time[TEXT];
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%s packet%s, %s, %s missing, %s; Ctrl-C ends the capture \033[K",
            format_count(number(record, "packets"), packets, sizeof packets), plural(number(record, "packets")),
            format_bytes(number(record, "bytes"), bytes, sizeof bytes),
            format_count(number(record, "dropped"), missing, sizeof missing),
            format_duration(number(record, "seconds"), time, sizeof time));
}

static void erase_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static const char *why(const char *ended)
{
    static const char *const reasons[][2] = {{"stopped", "stopped"},
                                             {"time", "its time was over: --seconds"},
                                             {"packets", "it has as many packets as it may: --packets"},
                                             {"bytes", "it is as large as it may be: --bytes"}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (ended && strcmp(ended, reasons[i][0]) == 0)
            return reasons[i][1];
    return ended ? ended : "?";
}

static void show_summary(const json_t *capture, const struct output *output, const struct options *options)
{
    char bytes[TEXT];
    const uint64_t dropped = number(capture, "dropped");
    /* What is read by a program must not get other things in between. */
    FILE *to = options->json && output->fd != STDOUT_FILENO ? stdout : stderr;
    if (options->json) {
        json_t *document = json_deep_copy(capture);
        json_object_set_new(document, "file", json_string(output->name));
        json_dumpf(document, to, JSON_COMPACT);
        fputc('\n', to);
        json_decref(document);
        return;
    }
    fprintf(to, "%llu packet%s, %s in %s, after %llu s (%s)\n", (unsigned long long)number(capture, "packets"),
            plural(number(capture, "packets")), format_bytes(number(capture, "bytes"), bytes, sizeof bytes),
            output->name, (unsigned long long)number(capture, "seconds"),
            why(json_string_value(json_object_get(capture, "ended"))));
    if (dropped > 0)
        fprintf(to,
                "%llu missing: packets came faster than they were written. What helps: a narrower filter, "
                "--snap-length 128, or more capture.buffer in the configuration\n",
                (unsigned long long)dropped);
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

/* On a connection of its own: the one that the capture comes over is busy with it. */
static enum exit_status ask_to_stop(const struct options *options, struct session *session)
{
    json_t *request = json_pack("{s:s, s:b}", "command", "capture", "stop", 1);
    enum exit_status status = session_open(session, options->run_dir);
    if (status == EXIT_OK)
        status = session_send(session, request);
    json_t *line = status == EXIT_OK ? session_next(session) : NULL;
    const char *error = json_string_value(json_object_get(line, "error"));
    if (error) {
        snprintf(session->error, sizeof session->error, "%s", error);
        status = EXIT_REFUSED;
    } else if (status == EXIT_OK && !line) {
        status = EXIT_UNREACHABLE;
    }
    json_decref(line);
    json_decref(request);
    session_close(session);
    return status;
}

static enum exit_status run_stop(const struct options *options)
{
    struct session session;
    enum exit_status status = ask_to_stop(options, &session);
    if (status != EXIT_OK)
        fprintf(stderr, "polluxctl: %s\n", session.error);
    else if (options->json)
        puts("{}");
    else
        puts("the capture ends");
    return status;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Wait for a line, or for a signal. The first signal asks for the end, after which the rest comes as usual; the second
 * does not wait for it. False: it does not wait. */
static bool wait_for_line(struct session *session, int signals, const struct options *options, bool *stopping)
{
    struct pollfd events[] = {{.fd = session->fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    struct signalfd_siginfo signal;
    struct session other;
    while (!session_has_line(session)) {
        if (poll(events, 2, -1) < 0 || !(events[1].revents & POLLIN))
            return true;
        if (read(signals, &signal, sizeof signal) <= 0)
            continue;
        if (*stopping)
            return false;
        *stopping = true;
        ask_to_stop(options, &other); /* when it has ended meanwhile, its end is on the way */
    }
    return true;
}

/* `result` gets the line that ended it, or NULL. */
static enum exit_status receive(struct session *session, struct output *output, const struct options *options,
                                json_t **result)
{
    const int signals = open_signals();
    bool stopping = false;
    json_t *line;
    while (wait_for_line(session, signals, options, &stopping) && (line = session_next(session)) != NULL) {
        const json_t *record = json_object_get(line, "record");
        if (!record) {
            *result = line;
            return EXIT_OK;
        }
        const int failed = take_data(output, record);
        show_progress(record);
        json_decref(line);
        if (failed) {
            session->error[0] = '\0';
            return output->closed ? EXIT_OK : EXIT_REFUSED;
        }
    }
    if (stopping && session->error[0] == '\0')
        snprintf(session->error, sizeof session->error, "ended before pollux-control had said how it went");
    return EXIT_UNREACHABLE;
}

static enum exit_status conclude(struct session *session, const struct output *output, const struct options *options,
                                 const json_t *result, enum exit_status status)
{
    const char *error = json_string_value(json_object_get(result, "error"));
    erase_progress();
    if (error) {
        snprintf(session->error, sizeof session->error, "%s", error);
        status = EXIT_REFUSED;
    } else if (result) {
        show_summary(json_object_get(json_object_get(result, "end"), "capture"), output, options);
    }
    if (status != EXIT_OK && session->error[0])
        fprintf(stderr, "polluxctl: %s\n", session->error);
    return status;
}

enum exit_status capture_run(const struct verb *verb, const char *argument, const struct options *options)
{
    struct session session = {.fd = -1};
    struct output output;
    json_t *result = NULL;
    if (options->stop)
        return run_stop(options);
    if (!options->write) {
        fputs("polluxctl: capture needs -w FILE, or -w - for a pipe\nTry: polluxctl capture --help\n", stderr);
        return EXIT_USAGE;
    }
    if (open_output(&output, options->write) != 0)
        return EXIT_REFUSED;
    json_t *request = options->capture ? json_copy(options->capture) : json_object();
    json_object_set_new(request, "command", json_string("capture"));
    enum exit_status status = session_open(&session, options->run_dir);
    if (status == EXIT_OK)
        status = session_send(&session, request);
    json_decref(request);
    if (status == EXIT_OK)
        status = receive(&session, &output, options, &result);
    status = conclude(&session, &output, options, result, status);
    json_decref(result);
    close_output(&output);
    session_close(&session);
    return status;
}

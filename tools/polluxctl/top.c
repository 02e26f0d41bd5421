/* The live screen: see tools/polluxctl/top.h. */
#include "tools/polluxctl/top.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tools/polluxctl/format.h"
#include "tools/polluxctl/table.h"
#include "tools/polluxctl/timing.h"
#include "tools/polluxctl/views.h"

#define INTERVAL 2         /* seconds, unless said otherwise */
#define BAR 30             /* columns of the longest bar */
#define CANDIDATES 200     /* clients asked for: those with most messages so far, or with the longest queues */
#define CLIENTS_SHOWN 10   /* without a screen to fill, unless --limit says otherwise */
#define FEW_SESSIONS 20000 /* with more, sorting them costs the router too much to be done at every interval */
#define MANY_EVERY 10      /* intervals */
#define TEXT 256

/* What one asking brought. */
struct sample {
    double at;         /* seconds, monotonic */
    json_t *workers;   /* records */
    json_t *clients;   /* records by id */
    double clients_at; /* seconds: with many clients they are asked for less often */
    json_t *dataplane;
};

struct screen {
    FILE *output;
    size_t width, height; /* 0: no limit */
    size_t clients;       /* at most */
    size_t lines;         /* printed so far */
};

enum order { BY_RATE, BY_BACKLOG };

static volatile sig_atomic_t ended;

static void end(int signal)
{
    (void)signal;
    ended = 1;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

/* Those with most messages so far are where rates are high; those with queues may have low rates. */
static enum exit_status fetch_clients(struct session *session, const struct options *options, json_t *by_id)
{
    static const char *const orders[] = {"messages-in", "messages-out", "queued-messages"};
    enum exit_status status = EXIT_OK;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0] && status == EXIT_OK; i++) {
        struct options list = *options;
        json_t *records = json_array(), *record;
        size_t index;
        list.sort = orders[i];
        list.limit = CANDIDATES;
        status = verb_fetch(session, &list, "clients", records, NULL);
        json_array_foreach(records, index, record)
            json_object_set(by_id, json_string_value(json_object_get(record, "id")), record);
        json_decref(records);
    }
    return status;
}

static long interval_of(const struct options *options)
{
    return options->interval ? options->interval : INTERVAL;
}

static uint64_t sessions_of(const struct sample *sample)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < json_array_size(sample->workers); i++)
        sum += timing_since(json_array_get(sample->workers, i), NULL, "sessions");
    return sum;
}

/* `number`: of the asking. Clients that were not asked for are those of `before`. */
static enum exit_status take(struct sample *sample, const struct sample *before, struct session *session,
                             const struct options *options, unsigned number)
{
    struct options all = *options; /* order and limit are of the clients */
    all.sort = NULL;
    all.limit = 0;
    *sample = (struct sample){.at = seconds_now(), .workers = json_array(), .clients = json_object()};
    enum exit_status status = verb_fetch(session, &all, "runtime", sample->workers, &sample->dataplane);
    if (status != EXIT_OK || json_array_size(sample->workers) == 0)
        return status;
    if (before && sessions_of(sample) > FEW_SESSIONS && number % MANY_EVERY != 0) {
        json_decref(sample->clients);
        sample->clients = json_incref(before->clients);
        sample->clients_at = before->clients_at;
        return status;
    }
    sample->clients_at = seconds_now();
    return fetch_clients(session, options, sample->clients);
}

static void release(struct sample *sample)
{
    json_decref(sample->workers);
    json_decref(sample->clients);
    json_decref(sample->dataplane);
    *sample = (struct sample){0};
}

/* ---- Figures ------------------------------------------------------------------------------------------------------
 */

static double rate(const json_t *now, const json_t *before, const char *field, double seconds)
{
    return seconds > 0 ? (double)timing_since(now, before, field) / seconds : 0;
}

static double rate_of_all(const struct sample *now, const struct sample *before, const char *field)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(now->workers); i++)
        sum += rate(json_array_get(now->workers, i), json_array_get(before->workers, i), field, now->at - before->at);
    return sum;
}

/* Busy cycles by all cycles, per mille. */
static uint64_t busy(const json_t *now, const json_t *before)
{
    uint64_t worked = timing_since(now, before, "busy-cycles");
    uint64_t all = worked + timing_since(now, before, "idle-cycles") + timing_since(now, before, "sleep-cycles");
    return all ? worked * 1000 / all : 0;
}

/* A client with its rates; [[order value, record], ...] sorted. */
struct talker {
    const json_t *record;
    double in, out;
    uint64_t queued;
};

static int by_rate(const void *a, const void *b)
{
    const struct talker *left = a, *right = b;
    double one = left->in + left->out, other = right->in + right->out;
    return (one < other) - (one > other);
}

static int by_backlog(const void *a, const void *b)
{
    const struct talker *left = a, *right = b;
    if (left->queued != right->queued)
        return left->queued < right->queued ? 1 : -1;
    return by_rate(a, b);
}

/* All that were asked for. The caller frees `*talkers`. A client that is new has no rate yet. */
static size_t talkers_of(const struct sample *now, const struct sample *before, enum order order,
                         struct talker **talkers)
{
    const char *id;
    json_t *record;
    size_t count = 0;
    double seconds = now->clients_at - before->clients_at;
    *talkers = calloc(json_object_size(now->clients) + 1, sizeof **talkers);
    json_object_foreach(now->clients, id, record)
    {
        const json_t *old = json_object_get(before->clients, id);
        if (!*talkers)
            break;
        (*talkers)[count++] = (struct talker){.record = record,
                                              .in = old ? rate(record, old, "messages-in", seconds) : 0,
                                              .out = old ? rate(record, old, "messages-out", seconds) : 0,
                                              .queued = timing_since(record, NULL, "queued-messages")};
    }
    if (count > 0)
        qsort(*talkers, count, sizeof **talkers, order == BY_RATE ? by_rate : by_backlog);
    return count;
}

/* ---- The screen ----------------------------------------------------------------------------------------------------
 */

/* Ends a line; false when the screen is full. The text was cut to the width by its maker. */
static bool line(struct screen *screen, const char *text)
{
    if (screen->height > 0 && screen->lines + 1 >= screen->height)
        return false;
    int width = screen->width > 0 ? (int)screen->width : (int)strlen(text);
    fprintf(screen->output, "%.*s%s\n", width, text, screen->height > 0 ? "\033[K" : "");
    screen->lines++;
    return true;
}

static const char *bar(uint64_t permille, char *text)
{
    size_t full = permille > 1000 ? BAR : (size_t)((permille * BAR + 500) / 1000);
    memset(text, '#', full);
    memset(text + full, '.', BAR - full);
    text[BAR] = '\0';
    return text;
}

static const char *per_second(double value, char *text, size_t size)
{
    return format_count((uint64_t)(value + 0.5), text, size);
}

static void show_head(struct screen *screen, const struct sample *now, const struct sample *before)
{
    char text[TEXT], uptime[32], in[32], out[32], bytes[32], dropped[32], sessions[32];
    format_duration(timing_since(now->dataplane, NULL, "uptime-seconds"), uptime, sizeof uptime);
    per_second(rate_of_all(now, before, "messages-in"), in, sizeof in);
    per_second(rate_of_all(now, before, "messages-out"), out, sizeof out);
    per_second(rate_of_all(now, before, "dropped"), dropped, sizeof dropped);
    format_bytes((uint64_t)rate_of_all(now, before, "bytes-out"), bytes, sizeof bytes);
    format_count(sessions_of(now), sessions, sizeof sessions);
    snprintf(text, sizeof text, "pollux up %s   %s sessions   %s messages/s in, %s out (%s/s)   %s/s dropped", uptime,
             sessions, in, out, bytes, dropped);
    line(screen, text);
    line(screen, "");
}

static void show_workers(struct screen *screen, const struct sample *now, const struct sample *before)
{
    char text[TEXT], share[32], in[32], out[32], p99[32], drawing[BAR + 1];
    line(screen,
         "WORKER CORE  BUSY                                      IN/S   OUT/S CYCLES/MSG MSGS/ITERATION RX BURST "
         "LOOP P99");
    for (size_t i = 0; i < json_array_size(now->workers); i++) {
        const json_t *worker = json_array_get(now->workers, i), *old = json_array_get(before->workers, i);
        uint64_t messages = timing_messages(worker, old), permille = busy(worker, old);
        uint64_t iterations = timing_since(worker, old, "busy-iterations");
        snprintf(text, sizeof text, "%6d %4d  %s %7s %7s %7s %10llu %14.1f %8.1f %8s",
                 (int)timing_since(worker, NULL, "worker"), (int)timing_since(worker, NULL, "core"),
                 bar(permille, drawing), format_permille(permille, share, sizeof share),
                 per_second(rate(worker, old, "messages-in", now->at - before->at), in, sizeof in),
                 per_second(rate(worker, old, "messages-out", now->at - before->at), out, sizeof out),
                 (unsigned long long)(messages ? timing_since(worker, old, "busy-cycles") / messages : 0),
                 iterations ? (double)messages / (double)iterations : 0,
                 json_number_value(json_object_get(worker, "rx-burst")),
                 format_nanoseconds(timing_since(worker, NULL, "loop-p99-ns"), p99, sizeof p99));
        line(screen, text);
    }
    line(screen, "");
}

/* Cycles of a stage in all workers since `before`. */
static uint64_t stage_of_all(const struct sample *now, const struct sample *before, const char *stage)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < json_array_size(now->workers); i++)
        sum += timing_stage(json_array_get(now->workers, i), json_array_get(before->workers, i), stage);
    return sum;
}

static void show_stages(struct screen *screen, const struct sample *now, const struct sample *before)
{
    const char *stage;
    json_t *value;
    char text[TEXT], share[32], drawing[BAR + 1];
    uint64_t all = stage_of_all(now, before, NULL), messages = 0;
    for (size_t i = 0; i < json_array_size(now->workers); i++)
        messages += timing_messages(json_array_get(now->workers, i), json_array_get(before->workers, i));
    line(screen, "STAGE        OF BUSY CYCLES                          CYCLES/MSG");
    json_object_foreach(json_object_get(json_array_get(now->workers, 0), "stages"), stage, value)
    {
        uint64_t part = stage_of_all(now, before, stage), permille = all ? part * 1000 / all : 0;
        snprintf(text, sizeof text, "%-12s %s %7s %10llu", stage, bar(permille, drawing),
                 format_permille(permille, share, sizeof share), (unsigned long long)(messages ? part / messages : 0));
        line(screen, text);
    }
    line(screen, "");
}

static void show_clients(struct screen *screen, const struct sample *now, const struct sample *before, enum order order)
{
    struct talker *talkers;
    char text[TEXT], id[TEXT], in[32], out[32], queued[32], dropped[32];
    size_t count = talkers_of(now, before, order, &talkers);
    snprintf(text, sizeof text, "   IN/S   OUT/S  QUEUED DROPPED CLIENT (by %s%s)",
             order == BY_RATE ? "rate" : "backlog", screen->height > 0 ? "; keys: r rate, b backlog, q quit" : "");
    line(screen, text);
    for (size_t i = 0; i < count && i < screen->clients; i++) {
        const struct talker *talker = &talkers[i];
        snprintf(text, sizeof text, "%7s %7s %7s %7s %.120s", per_second(talker->in, in, sizeof in),
                 per_second(talker->out, out, sizeof out), format_count(talker->queued, queued, sizeof queued),
                 format_count(timing_since(talker->record, NULL, "dropped"), dropped, sizeof dropped),
                 view_value(json_object_get(talker->record, "id"), id, sizeof id));
        if (!line(screen, text))
            break;
    }
    free(talkers);
}

static void show(struct screen *screen, const struct sample *now, const struct sample *before, enum order order)
{
    screen->lines = 0;
    if (json_array_size(now->workers) == 0) {
        char text[TEXT], why[TEXT / 2];
        snprintf(text, sizeof text, "the dataplane is %s: %s",
                 json_string_value(json_object_get(now->dataplane, "state")),
                 view_value(json_object_get(now->dataplane, "text"), why, sizeof why));
        line(screen, text);
        return;
    }
    show_head(screen, now, before);
    show_workers(screen, now, before);
    show_stages(screen, now, before);
    show_clients(screen, now, before, order);
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------
 */

static json_t *worker_object(const json_t *now, const json_t *before, double seconds)
{
    const char *stage;
    json_t *value, *stages = json_object();
    uint64_t messages = timing_messages(now, before);
    json_object_foreach(json_object_get(now, "stages"), stage, value)
        json_object_set_new(stages, stage, json_integer((json_int_t)timing_stage(now, before, stage)));
    return json_pack(
        "{s:I, s:I, s:f, s:f, s:f, s:I, s:o}", "worker", (json_int_t)timing_since(now, NULL, "worker"), "busy-permille",
        (json_int_t)busy(now, before), "messages-in-per-second", rate(now, before, "messages-in", seconds),
        "messages-out-per-second", rate(now, before, "messages-out", seconds), "dropped-per-second",
        rate(now, before, "dropped", seconds), "cycles-per-message",
        (json_int_t)(messages ? timing_since(now, before, "busy-cycles") / messages : 0), "stages", stages);
}

static void print_json(const struct sample *now, const struct sample *before, enum order order, size_t limit)
{
    struct talker *talkers;
    size_t count = talkers_of(now, before, order, &talkers);
    json_t *workers = json_array(), *clients = json_array();
    for (size_t i = 0; i < json_array_size(now->workers); i++)
        json_array_append_new(workers, worker_object(json_array_get(now->workers, i),
                                                     json_array_get(before->workers, i), now->at - before->at));
    for (size_t i = 0; i < count && i < limit; i++)
        json_array_append_new(clients, json_pack("{s:O, s:f, s:f, s:I}", "id", json_object_get(talkers[i].record, "id"),
                                                 "messages-in-per-second", talkers[i].in, "messages-out-per-second",
                                                 talkers[i].out, "queued-messages", (json_int_t)talkers[i].queued));
    json_t *document = json_pack("{s:f, s:o, s:o, s:O?}", "seconds", now->at - before->at, "workers", workers,
                                 "clients", clients, "dataplane", now->dataplane);
    json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(document);
    free(talkers);
}

/* ---- Once, or until somebody quits ----------------------------------------------------------------------------------
 */

static enum exit_status once(struct session *session, const struct options *options, enum order by)
{
    struct sample before, now = {0};
    struct screen screen = {.output = stdout,
                            .width = options->wide ? 0 : table_terminal_width(stdout),
                            .clients = options->limit > 0 ? (size_t)options->limit : CLIENTS_SHOWN};
    enum exit_status status = take(&before, NULL, session, options, 0);
    if (status == EXIT_OK && json_array_size(before.workers) > 0) {
        const struct timespec pause = {.tv_sec = interval_of(options)};
        nanosleep(&pause, NULL);
    }
    if (status == EXIT_OK)
        status = take(&now, NULL, session, options, 0);
    if (status == EXIT_OK && options->json)
        print_json(&now, &before, by, screen.clients);
    else if (status == EXIT_OK)
        show(&screen, &now, &before, by);
    release(&before);
    release(&now);
    return status;
}

/* A key, or 0 when the interval is over. */
static char wait_for_key(double seconds)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    if (poll(&input, 1, (int)(seconds * 1000)) > 0 && read(STDIN_FILENO, &key, 1) != 1)
        ended = 1;
    return key;
}

static void measure_terminal(struct screen *screen)
{
    struct winsize size;
    screen->width = screen->height = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        screen->width = size.ws_col;
        screen->height = size.ws_row;
    }
}

static enum exit_status watch(struct session *session, const struct options *options, enum order order)
{
    struct sample before, now;
    struct screen screen = {.output = stdout, .clients = SIZE_MAX};
    enum exit_status status = take(&before, NULL, session, options, 0);
    double next = seconds_now() + 0.5; /* the first figures come soon */
    for (unsigned number = 1; status == EXIT_OK && !ended;) {
        const char key = wait_for_key(next > seconds_now() ? next - seconds_now() : 0);
        if (key == 'q' || ended)
            break;
        order = key == 'b' ? BY_BACKLOG : key == 'r' ? BY_RATE : order;
        if (key != 0)
            continue;
        next = seconds_now() + (double)interval_of(options);
        status = take(&now, &before, session, options, number++);
        measure_terminal(&screen);
        fputs("\033[H", stdout);
        if (status == EXIT_OK)
            show(&screen, &now, &before, order);
        fputs("\033[J", stdout);
        fflush(stdout);
        release(&before);
        before = now;
    }
    release(&before);
    return status;
}

/* The other screen of the terminal, keys without Enter; everything as it was at the end. */
static enum exit_status watch_on_terminal(struct session *session, const struct options *options, enum order order)
{
    struct termios usual, raw;
    struct sigaction action = {.sa_handler = end};
    tcgetattr(STDIN_FILENO, &usual);
    raw = usual;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
    enum exit_status status = watch(session, options, order);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &usual);
    return status;
}

/* --sort rate or --sort backlog, cut short or not. */
static bool order_of(const char *text, enum order *order)
{
    *order = text && strncmp("backlog", text, strlen(text)) == 0 ? BY_BACKLOG : BY_RATE;
    return !text || *order == BY_BACKLOG || strncmp("rate", text, strlen(text)) == 0;
}

enum exit_status top_run(const struct verb *verb, const char *argument, const struct options *options)
{
    struct session session;
    enum order order;
    const bool live = !options->once && !options->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (!order_of(options->sort, &order)) {
        fprintf(stderr, "polluxctl: --sort of top is rate or backlog, not %s\n", options->sort);
        return EXIT_USAGE;
    }
    enum exit_status status = live ? watch_on_terminal(&session, options, order) : once(&session, options, order);
    fflush(stdout);
    if (status != EXIT_OK)
        fprintf(stderr, "polluxctl: %s\n", session.error);
    return status;
}

/* The verbs of polluxctl: see tools/polluxctl/verbs.h. */
#include "tools/polluxctl/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/polluxctl/capture.h"
#include "tools/polluxctl/changes.h"
#include "tools/polluxctl/completion.h"
#include "tools/polluxctl/format.h"
#include "tools/polluxctl/password.h"
#include "tools/polluxctl/table.h"
#include "tools/polluxctl/timing.h"
#include "tools/polluxctl/top.h"
#include "tools/polluxctl/views.h"

#define CELL 512

static enum exit_status run_show(const struct verb *verb, const char *argument, const struct options *options);
static enum exit_status run_kick(const struct verb *verb, const char *argument, const struct options *options);
static enum exit_status run_drain(const struct verb *verb, const char *argument, const struct options *options);
static enum exit_status run_user(const struct verb *verb, const char *argument, const struct options *options);
static enum exit_status run_wait(const struct verb *verb, const char *argument, const struct options *options);
static enum exit_status run_completion(const struct verb *verb, const char *argument, const struct options *options);

/* What the usage line has behind a verb's words. */
#define LIST " [--filter F=VALUE]... [--sort F] [--limit N] [--wide] [--json]"
#define COUNTS LIST " [--worker N] [--interval S [--once]]"

static const struct verb verbs[] = {
    {{"show", "runtime"},
     NULL,
     true,
     "State of the dataplane, and for each worker its busy share, loop times, connections, messages and memory. Below, "
     "since the start: the share of each stage of the loop in the busy cycles with its cycles per message, and how "
     "long "
     "iterations took.",
     "polluxctl show runtime\npolluxctl --json show runtime | jq '.records[].\"busy-permille\"'\n",
     run_show,
     .usage = LIST},
    {{"show", "ports"},
     NULL,
     true,
     "Network ports: driver, link, addresses, offloads, packets, errors and drops.",
     "polluxctl show ports\npolluxctl show ports --filter name=lan0\n",
     run_show,
     .usage = LIST},
    {{"show", "clients"},
     NULL,
     true,
     "MQTT sessions, connected or offline: address, backlog, drops, messages.",
     "polluxctl show clients --sort queued --limit 20\n"
     "polluxctl show clients --filter 'id=dev-*' --filter state=offline\n"
     "polluxctl show clients --filter transport=websocket\n"
     "polluxctl show clients --filter 'dropped=>0' --sort dropped\n",
     run_show,
     .usage = LIST},
    {{"show", "connections"},
     NULL,
     true,
     "TCP connections: state, congestion window, round trip, queues, retransmissions.",
     "polluxctl show connections --sort retransmits --limit 10\n"
     "polluxctl show connections --filter 'send-queue=>0'\n",
     run_show,
     .usage = LIST},
    {{"show", "listeners"},
     NULL,
     true,
     "What clients can connect to, and how many are.",
     "polluxctl show listeners\npolluxctl show listeners --filter transport=websocket\n",
     run_show,
     .usage = LIST},
    {{"show", "counters"},
     NULL,
     true,
     "Every counter, gauge and histogram with its unit and meaning. Of a dataplane that is down: the last values. "
     "--worker N: of that worker alone. --interval S: what was counted in that time, again and again until Ctrl-C; "
     "with --once or --json, once.",
     "polluxctl show counters --filter 'name=*drop*' --filter 'value=>0'\n"
     "polluxctl show counters --filter group=mqtt --interval 5\n",
     run_show,
     .usage = COUNTS,
     .counts = true},
    {{"show", "tcp"},
     NULL,
     true,
     "What the TCP/IP stack has met, by event and by cause of a drop. Handshakes and SYN cookies, losses and how they "
     "were found (RACK, tail loss probe, timeout) or taken back, congestion, windows, resets and time-outs by cause, "
     "segments that were not accepted, fragments, path MTU. What never happened is left out; --all has it too. "
     "--worker N: of that worker alone. --interval S: what was counted in that time, again and again until Ctrl-C; "
     "with --once or --json, once.",
     "polluxctl show tcp\npolluxctl show tcp --filter group=recovery --all\n"
     "polluxctl show tcp --filter 'name=drop*'\npolluxctl show tcp --interval 5\n"
     "polluxctl show tcp --json --all | jq '.records[] | select(.name==\"tcp_timeouts\").value'\n",
     run_show,
     .usage = COUNTS " [--all]",
     .counts = true},
    {{"show", "census"},
     NULL,
     true,
     "How many objects of each kind every worker holds.",
     "polluxctl show census\npolluxctl show census --filter object=sessions\n",
     run_show,
     .usage = LIST},
    {{"show", "drain"},
     NULL,
     true,
     "Whether clients are sent to another server, and how many are left.",
     "polluxctl show drain\n",
     run_show,
     .usage = LIST},
    {{"show", "config"},
     NULL,
     true,
     "Every setting in force and where its value comes from.",
     "polluxctl show config --filter 'path=mqtt.*'\npolluxctl show config --filter 'source=*:*'\n",
     run_show,
     .usage = LIST},
    {{"show", "version"},
     NULL,
     true,
     "Versions of control and dataplane, and how long they run.",
     "polluxctl show version\n",
     run_show,
     .usage = LIST},
    {{"top", NULL},
     NULL,
     false,
     "Live: rates, busy share of each worker, where its cycles go, and the clients with the highest rates or the "
     "longest "
     "queues. Keys: r by rate, b by backlog, q quit. --interval sets the seconds between two looks (2); --once and "
     "--json measure one interval and print it.",
     "polluxctl top\npolluxctl top --interval 1\npolluxctl top --once\n"
     "polluxctl top --once --sort backlog\npolluxctl top --json | jq '.workers[].\"cycles-per-message\"'\n",
     top_run,
     .usage = " [--interval S] [--once] [--sort rate|backlog] [--limit N] [--wide] [--json]"},
    {{"capture", NULL},
     NULL,
     false,
     "Write packets of the running router to a file or a pipe, as pcapng for Wireshark and tshark. It goes on until "
     "Ctrl-C or one of its bounds, whichever is first; traffic never waits for it.\n\n"
     "  -w FILE, --write FILE   where to; - is standard output\n"
     "  --client ID             of that client, from its CONNECT on; also when it connects later\n"
     "  --address A[/BITS]      from or to that address or network\n"
     "  --port N                with that TCP port at one end\n"
     "  --direction in|out      to the router, or from it\n"
     "  --packets N, --bytes N, --seconds N   bounds: packets, size of the file (10MiB), time (90, 5m)\n"
     "  --snap-length N         the first N bytes of each packet\n"
     "  --stop                  end the capture that runs, from any shell\n\n"
     "Filters hold together. What the bounds are without being said, and at most, stands in section capture of the "
     "configuration. A capture holds what clients send, passwords too: the file is made readable for you alone.",
     "polluxctl capture -w all.pcapng\n"
     "polluxctl capture -w sensor.pcapng --client sensor-7 --seconds 60\n"
     "polluxctl capture -w head.pcapng --address 198.18.0.0/24 --port 1883 --direction in --snap-length 128\n"
     "polluxctl capture -w - --packets 100 | tshark -r - -Y mqtt\n"
     "polluxctl capture --stop\n",
     capture_run,
     .usage = " -w FILE [OPTION]... | --stop"},
    {{"kick", NULL},
     "CLIENT",
     false,
     "Disconnect a client by its id, or by #HANDLE as `show clients --json` prints it. Its session stays as the client "
     "asked for.",
     "polluxctl kick dev-00042\npolluxctl kick '#0x1f'\n",
     run_kick,
     .usage = " [--json]"},
    {{"drain", NULL},
     NULL,
     false,
     "Send all clients to another server, before this one is stopped. --to HOST[:PORT] says where; MQTT 5 clients are "
     "told (0x9C, with --permanent 0x9D), older ones are closed. New ones are refused, connected ones leave at --rate "
     "clients a second (1000). --stop lets clients in again.",
     "polluxctl drain --to broker2.example.net\npolluxctl drain --to 198.18.0.9:1883 --permanent --rate 200\n"
     "polluxctl show drain\npolluxctl drain --stop\n",
     run_drain,
     .usage = " --to HOST[:PORT] [--permanent] [--rate N] | --stop"},
    {{"user", "add"},
     "NAME",
     false,
     "Let a user log in, or change its password. The password is asked for, twice; from a pipe, it is the first line. "
     "Holds for the next login.",
     "polluxctl user add sensor-7\npwgen -s 20 1 | polluxctl user add sensor-7\n",
     run_user,
     .usage = " [--json]"},
    {{"user", "delete"},
     "NAME",
     false,
     "Let a user log in no more. Clients that are connected stay; `kick` ends them.",
     "polluxctl user delete sensor-7\n",
     run_user,
     .usage = " [--json]"},
    {{"user", "list"},
     NULL,
     true,
     "Who may log in.",
     "polluxctl user list\npolluxctl user list --filter 'name=sensor-*'\n",
     run_show,
     .usage = LIST},
    {{"wait", "ready"},
     NULL,
     false,
     "Wait until the dataplane routes; for scripts. --timeout says for how long (30 s).",
     "polluxctl wait ready --timeout 10 && echo it routes\n",
     run_wait,
     .usage = " [--timeout S]"},
    {{"completion", "bash"},
     NULL,
     false,
     "Print the completion script for bash.",
     "source <(polluxctl completion bash)\n",
     run_completion,
     .usage = ""},
};

#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

/* ---- finding and helping ---------------------------------------------------------------------------------------- */

/* How well a word means a name: 2 exactly, 1 as a beginning, 0 not. */
static int meaning(const char *word, const char *name)
{
    if (strcmp(word, name) == 0)
        return 2;
    return strncmp(word, name, strlen(word)) == 0;
}

static void complain(const char *word, int depth, const char *first, bool ambiguous)
{
    const char *before = "";
    if (*word)
        fprintf(stderr, "polluxctl: %s '%s'; %s",
                ambiguous ? "more than one command begins with" : "there is no command", word,
                ambiguous ? "it may be" : "there are");
    else
        fprintf(stderr, "polluxctl: %s needs another word:", first);
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const char *name = verbs[i].words[depth];
        bool wanted = name && (depth == 0 || strcmp(verbs[i].words[0], first) == 0);
        bool repeated = i > 0 && depth == 0 && strcmp(verbs[i - 1].words[0], name) == 0;
        if (!wanted || repeated || (ambiguous && !meaning(word, name)))
            continue;
        fprintf(stderr, "%s %s", before, name);
        before = ",";
    }
    fputs("\nTry: polluxctl --help\n", stderr);
}

/* The full name that `word` means at this depth below `first`; NULL with a message. */
/* An exact word wins over the beginnings it also is. */
static const char *resolve(const char *word, int depth, const char *first)
{
    const char *best = NULL;
    int best_meaning = 0;
    bool ambiguous = false;
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const char *name = verbs[i].words[depth];
        if (!name || (depth == 1 && strcmp(verbs[i].words[0], first) != 0))
            continue;
        int m = meaning(word, name);
        if (m == 0 || (best && strcmp(best, name) == 0))
            continue;
        ambiguous = m == best_meaning ? true : m > best_meaning ? false : ambiguous;
        if (m > best_meaning) {
            best = name;
            best_meaning = m;
        }
    }
    if (best && !ambiguous)
        return best;
    complain(word, depth, first, ambiguous);
    return NULL;
}

const struct verb *verb_find(int count, char **words, int *used)
{
    const char *first = resolve(words[0], 0, NULL);
    const char *second = NULL;
    if (!first)
        return NULL;
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].words[0], first) != 0)
            continue;
        if (!verbs[i].words[1]) {
            *used = 1;
            return &verbs[i];
        }
        if (!second && !(second = resolve(count > 1 ? words[1] : "", 1, first)))
            return NULL;
        if (strcmp(verbs[i].words[1], second) == 0) {
            *used = 2;
            return &verbs[i];
        }
    }
    return NULL;
}

static void print_name(FILE *output, const struct verb *verb)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s%s%s", verb->words[0], verb->words[1] ? " " : "",
             verb->words[1] ? verb->words[1] : "", verb->argument ? " " : "", verb->argument ? verb->argument : "");
    fprintf(output, "  %-18s", name);
}

void verb_print_usage(FILE *output)
{
    fputs("Usage: polluxctl [OPTION]... COMMAND\n\nLook into a running Pollux and act on it.\n\nCommands (words may be "
          "cut short: polluxctl sh cl):\n",
          output);
    for (size_t i = 0; i < VERB_COUNT; i++) {
        print_name(output, &verbs[i]);
        /* The first sentence is enough here. */
        fwrite(verbs[i].help, 1, strcspn(verbs[i].help, "."), output);
        fputc('\n', output);
    }
    fputs(
        "\nOptions:\n"
        "  -r, --run-dir DIR      where pollux-control's socket is (default /run/pollux)\n"
        "  -j, --json             one JSON document: {\"records\": [...], \"dataplane\": {...}}\n"
        "  -f, --filter F=VALUE   only records whose field F is VALUE; * ? [] as in the shell, >N and <N for numbers;\n"
        "                         may be given several times; field names may be cut short\n"
        "  -s, --sort F           by field F, largest first; -F: smallest first\n"
        "  -n, --limit N          at most N records\n"
        "  -w, --wide             do not fit tables to the terminal\n"
        "  -t, --timeout S        seconds that `wait ready` waits\n"
        "  -a, --all              of `show tcp`: what never happened too\n"
        "      --worker N         of `show tcp` and `show counters`: only worker N\n"
        "  -i, --interval S       of `top`, `show tcp`, `show counters`: seconds between two looks (2)\n"
        "  -1, --once             of the same: one interval, then end\n"
        "      --to, --permanent, --rate, --stop   of `drain`: see polluxctl drain --help\n"
        "  -w FILE, --client, --address, --port, --direction, --packets, --bytes, --seconds, --snap-length, --stop\n"
        "                         of `capture`, after that word: see polluxctl capture --help\n"
        "  -V, --version          print the version\n"
        "  -h, --help             this text; after a command: its help and examples\n"
        "\n"
        "Exit status: 0 done, 1 refused (the reason is printed), 2 wrong command line, 3 pollux-control not "
        "reachable.\n",
        output);
}

void verb_print_help(FILE *output, const struct verb *verb)
{
    const char *line = verb->examples;
    fprintf(output, "Usage: polluxctl %s%s%s%s%s%s\n\n%s\n\nExamples:\n", verb->words[0], verb->words[1] ? " " : "",
            verb->words[1] ? verb->words[1] : "", verb->argument ? " " : "", verb->argument ? verb->argument : "",
            verb->usage, verb->help);
    while (*line) {
        size_t length = strcspn(line, "\n") + 1;
        fputs("  ", output);
        fwrite(line, 1, length, output);
        line += length;
    }
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static json_t *make_request(const char *command, const char *argument, const struct options *options)
{
    json_t *request = json_pack("{s:s, s:[s]}", "command", command, "args", argument);
    if (options->filter)
        json_object_set(request, "filter", options->filter);
    if (options->sort)
        json_object_set_new(request, "sort", json_string(options->sort));
    if (options->limit)
        json_object_set_new(request, "limit", json_integer(options->limit));
    if (options->all)
        json_object_set_new(request, "all", json_true());
    if (options->worker >= 0)
        json_object_set_new(request, "worker", json_integer(options->worker));
    return request;
}

enum exit_status verb_ask(struct session *session, const char *command, const char *argument,
                          const struct options *options)
{
    enum exit_status status = session_open(session, options->run_dir);
    if (status != EXIT_OK)
        return status;
    json_t *request = make_request(command, argument, options);
    if (!request) {
        snprintf(session->error, sizeof session->error, "'%s' is not valid UTF-8", argument);
        status = EXIT_USAGE;
    } else {
        status = session_send(session, request);
    }
    json_decref(request);
    return status;
}

enum exit_status verb_fetch(struct session *session, const struct options *options, const char *listing,
                            json_t *records, json_t **dataplane)
{
    json_t *line;
    enum exit_status status = verb_ask(session, "show", listing, options);
    while (status == EXIT_OK && (line = session_next(session)) != NULL) {
        json_t *record = json_object_get(line, "record"), *last = json_object_get(line, "end");
        const char *error = json_string_value(json_object_get(line, "error"));
        if (record)
            json_array_append(records, record);
        if (last && dataplane)
            *dataplane = json_incref(json_object_get(last, "dataplane"));
        if (error) {
            snprintf(session->error, sizeof session->error, "%s", error);
            status = EXIT_REFUSED;
        }
        json_decref(line);
        if (!record)
            break;
    }
    session_close(session);
    return status;
}

static enum exit_status report(const struct session *session, enum exit_status status)
{
    fprintf(stderr, "polluxctl: %s\n", session->error);
    return status;
}

/* ---- showing ----------------------------------------------------------------------------------------------------- */

/* What a reply is printed with: one of the three forms. */
struct printer {
    const struct view *view;
    bool json;
    struct table table;
    json_t *workers; /* the records of `show runtime`: there is more to tell of them than a row */
    uint64_t count;
};

static int printer_open(struct printer *printer, const struct view *view, const struct options *options)
{
    static struct table_column columns[TABLE_COLUMNS_MAX];
    *printer = (struct printer){.view = view, .json = options->json};
    if (printer->json) {
        fputs("{\"records\":[", stdout);
        return 0;
    }
    if (view->vertical)
        return 0;
    if (strcmp(view->name, "runtime") == 0)
        printer->workers = json_array();
    for (size_t i = 0; i < view->column_count; i++)
        columns[i] = view_table_column(&view->columns[i]);
    return table_open(&printer->table, stdout, columns, view->column_count,
                      options->wide ? 0 : table_terminal_width(stdout));
}

static void print_vertical(const struct printer *printer, const json_t *record)
{
    char text[CELL];
    if (printer->count > 0)
        fputc('\n', stdout);
    for (size_t i = 0; i < printer->view->column_count; i++)
        printf("%-16s%s\n", printer->view->columns[i].title,
               view_cell(&printer->view->columns[i], record, text, sizeof text));
}

/* One set of cells is enough: the table copies what it keeps. */
static void print_table_row(struct printer *printer, const json_t *record)
{
    static char cells[TABLE_COLUMNS_MAX][CELL];
    const char *pointers[TABLE_COLUMNS_MAX];
    for (size_t i = 0; i < printer->view->column_count; i++)
        pointers[i] = view_cell(&printer->view->columns[i], record, cells[i], CELL);
    table_row(&printer->table, pointers);
}

static void printer_record(struct printer *printer, const json_t *record)
{
    if (printer->json) {
        fputs(printer->count ? ",\n" : "\n", stdout);
        json_dumpf(record, stdout, JSON_COMPACT);
    } else if (printer->view->vertical) {
        print_vertical(printer, record);
    } else {
        print_table_row(printer, record);
        if (printer->workers)
            json_array_append(printer->workers, (json_t *)(uintptr_t)record);
    }
    printer->count++;
}

static void print_running(const json_t *dataplane)
{
    char uptime[32];
    format_duration((uint64_t)json_integer_value(json_object_get(dataplane, "uptime-seconds")), uptime, sizeof uptime);
    printf("dataplane: running for %s, process %d\n", uptime,
           (int)json_integer_value(json_object_get(dataplane, "pid")));
    if (!json_is_true(json_object_get(dataplane, "same-config")))
        puts("It runs another configuration than pollux-control has read: restart it to apply the file.");
}

void verb_print_not_running(const json_t *dataplane)
{
    const char *state = json_string_value(json_object_get(dataplane, "state"));
    char since[64], text[CELL], duration[32];
    time_t at = (time_t)json_integer_value(json_object_get(dataplane, "since"));
    struct tm parts;
    strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", localtime_r(&at, &parts));
    format_duration((uint64_t)json_integer_value(json_object_get(dataplane, "since-seconds")), duration,
                    sizeof duration);
    printf("dataplane: %s since %s (for %s): %s\n", state ? state : "unknown", since, duration,
           view_value(json_object_get(dataplane, "text"), text, sizeof text));
}

/* Everything that is said behind the records. `end` is NULL when the reply broke off. */
static void printer_close(struct printer *printer, const json_t *end, const char *error)
{
    const json_t *dataplane = json_object_get(end, "dataplane");
    if (printer->json) {
        json_t *rest = json_pack("{s:o?}", "dataplane", json_deep_copy(dataplane));
        json_object_set_new(rest, "count", json_integer((json_int_t)printer->count));
        if (error)
            json_object_set_new(rest, "error", json_string(error));
        char *text = json_dumps(rest, JSON_COMPACT);
        printf("\n],%s\n", text ? text + 1 : "}");
        free(text);
        json_decref(rest);
        return;
    }
    const char *name = printer->view->name;
    const char *state = json_string_value(json_object_get(dataplane, "state"));
    bool running = state && strcmp(state, "running") == 0;
    bool status_matters = strcmp(name, "runtime") == 0 || strcmp(name, "version") == 0 || strcmp(name, "config") == 0;
    /* Titles above nothing would hide the line that matters. */
    if (!printer->view->vertical && (printer->count > 0 || running))
        table_close(&printer->table);
    else if (!printer->view->vertical)
        table_free(&printer->table);
    timing_print(stdout, printer->workers);
    json_decref(printer->workers);
    printer->workers = NULL;
    if (error)
        return;
    json_int_t matched = json_integer_value(json_object_get(end, "count"));
    if (matched > (json_int_t)printer->count)
        printf("(%d of %d)\n", (int)printer->count, (int)matched);
    json_int_t hidden = json_integer_value(json_object_get(end, "hidden"));
    if (hidden > 0)
        printf("%d more never happened; --all shows them\n", (int)hidden);
    if (!status_matters && running)
        return;
    if (printer->count > 0 || running)
        fputc('\n', stdout);
    if (running)
        print_running(dataplane);
    else
        verb_print_not_running(dataplane);
}

static enum exit_status print_reply(struct session *session, const struct view *view, const struct options *options)
{
    struct printer printer = {0};
    enum exit_status status = EXIT_UNREACHABLE;
    json_t *line = session_next(session);
    bool refused = line && json_object_get(line, "error");
    /* An error as the first line needs no empty table above it. */
    if (line && (!refused || options->json) && printer_open(&printer, view, options) != 0)
        exit(EXIT_REFUSED);
    for (; line; line = session_next(session)) {
        const json_t *record = json_object_get(line, "record");
        const json_t *end = json_object_get(line, "end");
        const char *error = json_string_value(json_object_get(line, "error"));
        if (record) {
            printer_record(&printer, record);
            json_decref(line);
            continue;
        }
        status = end ? EXIT_OK : EXIT_REFUSED;
        if (!end)
            snprintf(session->error, sizeof session->error, "%s", error ? error : "the reply is not understood");
        if (printer.view)
            printer_close(&printer, end, end ? NULL : session->error);
        json_decref(line);
        return status;
    }
    if (printer.view)
        printer_close(&printer, NULL, session->error);
    return status;
}

static enum exit_status run_show(const struct verb *verb, const char *argument, const struct options *options)
{
    struct session session;
    const char *what = strcmp(verb->words[0], "show") == 0 ? verb->words[1] : "users";
    if (options->interval || options->once)
        return changes_run(what, options);
    enum exit_status status = verb_ask(&session, "show", what, options);
    if (status == EXIT_OK)
        status = print_reply(&session, view_find(what), options);
    fflush(stdout);
    if (status != EXIT_OK)
        report(&session, status);
    session_close(&session);
    return status;
}

/* ---- the other verbs --------------------------------------------------------------------------------------------- */

static enum exit_status run_kick(const struct verb *verb, const char *argument, const struct options *options)
{
    struct session session;
    json_int_t disconnected = -1;
    enum exit_status status = verb_ask(&session, "kick", argument, options);
    json_t *line;
    while (status == EXIT_OK && disconnected < 0 && (line = session_next(&session)) != NULL) {
        const char *error = json_string_value(json_object_get(line, "error"));
        json_t *record = json_object_get(line, "record");
        if (error) {
            snprintf(session.error, sizeof session.error, "%s", error);
            status = EXIT_REFUSED;
        } else {
            disconnected = json_integer_value(json_object_get(record, "disconnected"));
        }
        json_decref(line);
    }
    if (status == EXIT_OK && disconnected < 0)
        status = EXIT_UNREACHABLE;
    if (status == EXIT_OK && disconnected == 0) {
        snprintf(session.error, sizeof session.error, "no client '%s' is connected", argument);
        status = EXIT_REFUSED;
    }
    if (status == EXIT_OK && options->json)
        printf("{\"disconnected\":%d}\n", (int)disconnected);
    else if (status == EXIT_OK)
        printf("%s: disconnected\n", argument);
    else
        report(&session, status);
    session_close(&session);
    return status;
}

/* Wait for the one line that ends a reply without records. */
static enum exit_status await_end(struct session *session)
{
    json_t *line = session_next(session);
    const char *error = json_string_value(json_object_get(line, "error"));
    enum exit_status status = !line ? EXIT_UNREACHABLE : error ? EXIT_REFUSED : EXIT_OK;
    if (error)
        snprintf(session->error, sizeof session->error, "%s", error);
    json_decref(line);
    return status;
}

static enum exit_status run_user(const struct verb *verb, const char *argument, const struct options *options)
{
    char password[1024] = "";
    bool adds = strcmp(verb->words[1], "add") == 0;
    if (adds && !password_read(argument, password, sizeof password))
        return EXIT_USAGE;
    struct session session;
    json_t *request = json_pack("{s:s, s:[s, s]}", "command", "user", "args", verb->words[1], argument);
    if (request && adds && json_object_set_new(request, "password", json_string(password)) != 0) {
        json_decref(request);
        request = NULL;
    }
    explicit_bzero(password, sizeof password);
    if (!request) {
        fputs("polluxctl: the name or the password is not valid UTF-8\n", stderr);
        return EXIT_USAGE;
    }
    enum exit_status status = session_open(&session, options->run_dir);
    if (status == EXIT_OK)
        status = session_send(&session, request);
    if (status == EXIT_OK)
        status = await_end(&session);
    json_decref(request);
    if (status != EXIT_OK)
        report(&session, status);
    else if (options->json)
        puts("{}");
    else
        printf("%s: %s\n", argument, adds ? "may log in" : "may not log in any more");
    session_close(&session);
    return status;
}

static enum exit_status run_drain(const struct verb *verb, const char *argument, const struct options *options)
{
    struct session session;
    if (options->stop == (options->to != NULL)) {
        fputs("polluxctl: drain needs --to HOST[:PORT], or --stop\nTry: polluxctl drain --help\n", stderr);
        return EXIT_USAGE;
    }
    json_t *request =
        json_pack("{s:s, s:b, s:b}", "command", "drain", "stop", options->stop, "permanent", options->permanent);
    if (options->to)
        json_object_set_new(request, "to", json_string(options->to));
    if (options->rate)
        json_object_set_new(request, "rate", json_integer(options->rate));
    enum exit_status status = session_open(&session, options->run_dir);
    if (status == EXIT_OK)
        status = session_send(&session, request);
    if (status == EXIT_OK)
        status = print_reply(&session, view_find("drain"), options);
    json_decref(request);
    fflush(stdout);
    if (status != EXIT_OK)
        report(&session, status);
    session_close(&session);
    return status;
}

/* Ask once whether the dataplane runs. EXIT_OK: it does; else the session's error says what is missing. */
/* Every way in which this can fail may be over in a moment, so each is a text to show at the end, not an end. */
static enum exit_status ask_ready(struct session *session, const struct options *options)
{
    char text[CELL] = "";
    enum exit_status status = verb_ask(session, "show", "version", options);
    json_t *line;
    bool running = false;
    if (status != EXIT_OK)
        return status;
    while ((line = session_next(session)) != NULL) {
        const json_t *dataplane = json_object_get(json_object_get(line, "end"), "dataplane");
        const char *state = json_string_value(json_object_get(dataplane, "state"));
        if (state) {
            running = strcmp(state, "running") == 0;
            snprintf(session->error, sizeof session->error, "the dataplane is %s: %.300s", state,
                     view_value(json_object_get(dataplane, "text"), text, sizeof text));
        }
        json_decref(line);
        if (state)
            return running ? EXIT_OK : EXIT_REFUSED;
    }
    return EXIT_UNREACHABLE;
}

static enum exit_status run_wait(const struct verb *verb, const char *argument, const struct options *options)
{
    struct timespec start, now, pause = {.tv_nsec = 50000000};
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        struct session session;
        enum exit_status status = ask_ready(&session, options);
        session_close(&session);
        if (status == EXIT_OK)
            return EXIT_OK;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec + (now.tv_nsec < start.tv_nsec ? -1 : 0) >= options->timeout) {
            fprintf(stderr, "polluxctl: not ready after %ld s: ", options->timeout);
            fprintf(stderr, "%s\n", session.error);
            return status;
        }
        nanosleep(&pause, NULL);
    }
}

static enum exit_status run_completion(const struct verb *verb, const char *argument, const struct options *options)
{
    completion_print_bash(stdout, verbs, VERB_COUNT);
    return EXIT_OK;
}

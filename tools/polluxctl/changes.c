/* Counters as they change: see tools/polluxctl/changes.h. */
#include "tools/polluxctl/changes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/polluxctl/table.h"
#include "tools/polluxctl/views.h"

#define INTERVAL 2 /* seconds, unless said otherwise */
#define CELL 512

struct look {
    double at; /* seconds, monotonic */
    json_t *records;
    json_t *dataplane;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static enum exit_status look_take(struct look *look, struct session *session, const char *listing,
                                  const struct options *options)
{
    struct options everything = *options;
    everything.all = true; /* a zero may be where a change begins */
    *look = (struct look){.at = seconds_now(), .records = json_array()};
    return verb_fetch(session, &everything, listing, look->records, &look->dataplane);
}

static void look_release(struct look *look)
{
    json_decref(look->records);
    json_decref(look->dataplane);
}

static bool same_counter(const json_t *a, const json_t *b)
{
    return strcmp(json_string_value(json_object_get(a, "group")), json_string_value(json_object_get(b, "group"))) ==
               0 &&
           strcmp(json_string_value(json_object_get(a, "name")), json_string_value(json_object_get(b, "name"))) == 0;
}

/* Counters come in the same order every time, unless the dataplane was started anew in another version. */
static const json_t *counter_before(const json_t *records, size_t index, const json_t *record)
{
    const json_t *candidate = json_array_get(records, index);
    return candidate && same_counter(candidate, record) ? candidate : NULL;
}

/* What was counted between two looks, as records of their own. A dataplane that was started anew counts from 0. */
static json_t *changes_between(const struct look *now, const struct look *before, bool all)
{
    json_t *changes = json_array(), *record;
    size_t index;
    json_array_foreach(now->records, index, record)
    {
        const json_t *earlier = counter_before(before->records, index, record);
        const json_int_t value = json_integer_value(json_object_get(record, "value"));
        const json_int_t old = json_integer_value(json_object_get(earlier, "value"));
        const json_int_t change = earlier && value >= old ? value - old : value;
        if (strcmp(json_string_value(json_object_get(record, "kind")), "counter") != 0 || (change == 0 && !all))
            continue;
        json_t *copy = json_copy(record);
        json_object_del(copy, "workers");
        json_object_set_new(copy, "change", json_integer(change));
        json_object_set_new(copy, "per-second", json_real((double)change / (now->at - before->at)));
        json_array_append_new(changes, copy);
    }
    return changes;
}

static void print_table(const json_t *changes, double seconds, const struct options *options)
{
    const struct view *view = view_find("changes");
    struct table_column columns[TABLE_COLUMNS_MAX];
    static char cells[TABLE_COLUMNS_MAX][CELL];
    const char *pointers[TABLE_COLUMNS_MAX];
    struct table table;
    json_t *record;
    size_t index;
    if (json_array_size(changes) == 0) {
        printf("nothing was counted in %.1f s\n", seconds);
        return;
    }
    for (size_t i = 0; i < view->column_count; i++)
        columns[i] = view_table_column(&view->columns[i]);
    if (table_open(&table, stdout, columns, view->column_count, options->wide ? 0 : table_terminal_width(stdout)) != 0)
        exit(EXIT_REFUSED);
    json_array_foreach(changes, index, record)
    {
        for (size_t i = 0; i < view->column_count; i++)
            pointers[i] = view_cell(&view->columns[i], record, cells[i], CELL);
        table_row(&table, pointers);
    }
    table_close(&table);
    printf("In %.1f s.\n", seconds);
}

static void print_changes(const struct look *now, const struct look *before, const struct options *options)
{
    json_t *changes = changes_between(now, before, options->all);
    const double seconds = now->at - before->at;
    if (options->json) {
        json_t *document =
            json_pack("{s:f, s:O, s:O?}", "seconds", seconds, "records", changes, "dataplane", now->dataplane);
        json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(document);
    } else {
        const char *state = json_string_value(json_object_get(now->dataplane, "state"));
        print_table(changes, seconds, options);
        if (!state || strcmp(state, "running") != 0)
            verb_print_not_running(now->dataplane);
    }
    fflush(stdout);
    json_decref(changes);
}

enum exit_status changes_run(const char *listing, const struct options *options)
{
    const struct timespec pause = {.tv_sec = options->interval ? options->interval : INTERVAL};
    const bool terminal = isatty(STDOUT_FILENO), once = options->once || options->json || !terminal;
    struct session session;
    struct look before, now = {0};
    if (options->sort || options->limit) {
        fputs("polluxctl: --sort and --limit do not go with --interval\n", stderr);
        return EXIT_USAGE;
    }
    enum exit_status status = look_take(&before, &session, listing, options);
    while (status == EXIT_OK) {
        if (!once)
            fputs("\r(Ctrl-C ends this)", stdout);
        fflush(stdout);
        nanosleep(&pause, NULL);
        status = look_take(&now, &session, listing, options);
        if (status == EXIT_OK && !once)
            fputs("\033[H\033[J", stdout);
        if (status == EXIT_OK)
            print_changes(&now, &before, options);
        look_release(&before);
        before = now;
        if (once)
            break;
    }
    look_release(&before);
    if (status != EXIT_OK)
        fprintf(stderr, "polluxctl: %s\n", session.error);
    return status;
}

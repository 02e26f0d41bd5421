/* How each listing is shown to people.
 *
 * Job: the table of listings: which fields of control's records make which columns, and in which unit. Constant data.
 */
#ifndef POLLUX_POLLUXCTL_VIEWS_H
#define POLLUX_POLLUXCTL_VIEWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "tools/polluxctl/table.h"

enum view_format {
    VIEW_TEXT,
    VIEW_COUNT,
    VIEW_BYTES,
    VIEW_SECONDS,
    VIEW_PERMILLE,
    VIEW_NANOSECONDS,
    VIEW_MICROSECONDS,
    VIEW_DECIMAL,
    VIEW_ENDPOINT,  /* the fields `field` and, in place of "address" in its name, "port" */
    VIEW_STATISTIC, /* value of a counter or gauge, percentiles of a histogram */
};

struct view_column {
    const char *title;
    const char *field;
    enum view_format format;
    bool elastic;
};

struct view {
    const char *name;
    bool vertical;                     /* one "name: value" block for each record instead of a table row */
    const struct view_column *columns; /* NULL: every field, as text */
    size_t column_count;
};

/* The view of `show NAME`, or NULL. */
const struct view *view_find(const char *name);

/* The column of a table that it is: numbers to the right. */
struct table_column view_table_column(const struct view_column *column);

/* A field of a record for people. Returns `text`. */
const char *view_cell(const struct view_column *column, const json_t *record, char *text, size_t size);

/* Any JSON value as one line. Returns `text`. */
const char *view_value(const json_t *value, char *text, size_t size);

#endif

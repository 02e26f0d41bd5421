/* A table on the terminal.
 *
 * Job: rows of text in columns that fit the terminal. The first TABLE_SAMPLE rows decide the widths; later rows are
 * printed as they come, so a million rows need no more memory than those. Where the terminal is too narrow, the column
 * that may be cut is cut with "..", then columns are left away from the right and a line says how many.
 *
 * One thread. The table owns copies of the texts. */
#ifndef POLLUX_POLLUXCTL_TABLE_H
#define POLLUX_POLLUXCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 24
#define TABLE_SAMPLE 500 /* rows */

struct table_column {
    const char *title;
    bool right;   /* numbers */
    bool elastic; /* may be cut */
};

struct table {
    FILE *output;
    const struct table_column *columns;
    size_t column_count;
    size_t terminal; /* columns; 0: no limit */
    size_t widths[TABLE_COLUMNS_MAX];
    size_t shown; /* columns that fit */
    bool decided; /* widths are final, the sample is printed */
    char *(*sample)[TABLE_COLUMNS_MAX];
    size_t sample_count;
};

int table_open(struct table *table, FILE *output, const struct table_column *columns, size_t count, size_t terminal);
void table_row(struct table *table, const char *const *cells);
/* Print what is left, and free. A table without rows prints its titles only. */
void table_close(struct table *table);
/* Free without printing. */
void table_free(struct table *table);

/* Columns of the terminal behind `output`; 0 when it is none. COLUMNS in the environment wins. */
size_t table_terminal_width(FILE *output);

#endif

/* A table on the terminal: see tools/polluxctl/table.h. */
#include "tools/polluxctl/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/polluxctl/format.h"

#define GAP 2          /* columns between two */
#define ELASTIC_MIN 12 /* columns that are left of a cut one */

size_t table_terminal_width(FILE *output)
{
    struct winsize size;
    const char *forced = getenv("COLUMNS");
    if (forced && atoi(forced) > 0)
        return (size_t)atoi(forced);
    if (!isatty(fileno(output)) || ioctl(fileno(output), TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

int table_open(struct table *table, FILE *output, const struct table_column *columns, size_t count, size_t terminal)
{
    *table = (struct table){.output = output,
                            .columns = columns,
                            .column_count = count,
                            .terminal = terminal,
                            .sample = calloc(TABLE_SAMPLE, sizeof *table->sample)};
    for (size_t i = 0; i < count; i++)
        table->widths[i] = strlen(columns[i].title);
    return table->sample ? 0 : -1;
}

static size_t total_width(const struct table *table, size_t columns)
{
    size_t total = 0;
    for (size_t i = 0; i < columns; i++)
        total += table->widths[i] + (i > 0 ? GAP : 0);
    return total;
}

/* First cut what may be cut, then leave columns away from the right: the views put what matters most on the left. */
static void fit(struct table *table)
{
    table->shown = table->column_count;
    if (table->terminal == 0)
        return;
    for (size_t i = 0; i < table->column_count; i++) {
        size_t total = total_width(table, table->column_count);
        if (!table->columns[i].elastic || total <= table->terminal || table->widths[i] <= ELASTIC_MIN)
            continue;
        size_t excess = total - table->terminal;
        size_t slack = table->widths[i] - ELASTIC_MIN;
        table->widths[i] -= excess < slack ? excess : slack;
    }
    while (table->shown > 1 && total_width(table, table->shown) > table->terminal)
        table->shown--;
}

/* Print a text in exactly `width` columns (the last column needs no padding). */
static void print_cell(struct table *table, size_t column, const char *text)
{
    size_t width = table->widths[column];
    size_t taken = format_width(text);
    char cut[256];
    if (taken > width) {
        /* Shorten by whole characters until it fits with its mark. */
        size_t length = strlen(text) < sizeof cut ? strlen(text) : sizeof cut - 1;
        memcpy(cut, text, length);
        cut[length] = '\0';
        while (length > 0 && format_width(cut) + 2 > width) {
            do
                length--;
            while (length > 0 && ((unsigned char)cut[length] & 0xc0) == 0x80);
            cut[length] = '\0';
        }
        strncat(cut, "..", sizeof cut - length - 1);
        text = cut;
        taken = format_width(cut);
    }
    size_t padding = width > taken ? width - taken : 0;
    bool last = column + 1 == table->shown;
    if (table->columns[column].right)
        fprintf(table->output, "%*s%s", (int)padding, "", text);
    else
        fprintf(table->output, "%s%*s", text, last ? 0 : (int)padding, "");
    fputs(last ? "\n" : "  ", table->output);
}

static void print_row(struct table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->shown; i++)
        print_cell(table, i, cells[i]);
}

static void decide(struct table *table)
{
    const char *titles[TABLE_COLUMNS_MAX];
    table->decided = true;
    fit(table);
    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = table->columns[i].title;
    print_row(table, titles);
    for (size_t row = 0; row < table->sample_count; row++)
        print_row(table, (const char *const *)table->sample[row]);
}

static void keep(struct table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = format_width(cells[i]);
        if (width > table->widths[i])
            table->widths[i] = width;
        table->sample[table->sample_count][i] = strdup(cells[i]);
    }
    table->sample_count++;
}

void table_row(struct table *table, const char *const *cells)
{
    if (!table->decided && table->sample_count < TABLE_SAMPLE) {
        keep(table, cells);
        return;
    }
    if (!table->decided)
        decide(table);
    print_row(table, cells);
}

void table_close(struct table *table)
{
    if (!table->decided)
        decide(table);
    if (table->shown < table->column_count)
        fprintf(table->output, "(%zu columns more on a wider terminal, or with --wide or --json)\n",
                table->column_count - table->shown);
    table_free(table);
}

void table_free(struct table *table)
{
    for (size_t row = 0; row < table->sample_count; row++)
        for (size_t i = 0; i < table->column_count; i++)
            free(table->sample[row][i]);
    free(table->sample);
}

/* Where the workers' time goes: see tools/polluxctl/timing.h. */
#include "tools/polluxctl/timing.h"

#include "tools/polluxctl/format.h"

#define COLUMN 21 /* columns of the terminal for a worker: share and cycles */

static uint64_t number(const json_t *object, const char *field)
{
    return (uint64_t)json_integer_value(json_object_get(object, field));
}

/* A dataplane that was started anew counts from 0: then there is no "before". */
static uint64_t difference(uint64_t now, uint64_t before)
{
    return now >= before ? now - before : now;
}

uint64_t timing_since(const json_t *record, const json_t *before, const char *field)
{
    return difference(number(record, field), number(before, field));
}

uint64_t timing_messages(const json_t *record, const json_t *before)
{
    return timing_since(record, before, "messages-in") + timing_since(record, before, "messages-out");
}

uint64_t timing_stage(const json_t *record, const json_t *before, const char *stage)
{
    const json_t *now = json_object_get(record, "stages"), *then = json_object_get(before, "stages");
    const char *name;
    json_t *value;
    uint64_t sum = 0;
    if (stage)
        return timing_since(now, then, stage);
    json_object_foreach((json_t *)(uintptr_t)now, name, value) sum += timing_since(now, then, name);
    return sum;
}

static size_t shown(const json_t *records)
{
    size_t count = json_array_size(records);
    return count < TIMING_WORKERS_MAX ? count : TIMING_WORKERS_MAX;
}

static void print_head(FILE *output, const char *title, const json_t *records)
{
    fprintf(output, "\n%-18s", title);
    for (size_t i = 0; i < shown(records); i++)
        fprintf(output, "%*s %d", COLUMN - 3, "worker", (int)number(json_array_get(records, i), "worker"));
    fputc('\n', output);
}

static void print_share(FILE *output, uint64_t part, uint64_t all, const char *more)
{
    char share[32];
    format_permille(all ? part * 1000 / all : 0, share, sizeof share);
    fprintf(output, "%*s %8s", COLUMN - 10, share, more);
}

static void print_stages(FILE *output, const json_t *records)
{
    const char *stage;
    json_t *value;
    char cycles[32];
    print_head(output, "STAGE", records);
    json_object_foreach(json_object_get(json_array_get(records, 0), "stages"), stage, value)
    {
        fprintf(output, "%-18s", stage);
        for (size_t i = 0; i < shown(records); i++) {
            const json_t *record = json_array_get(records, i);
            uint64_t messages = timing_messages(record, NULL), part = timing_stage(record, NULL, stage);
            format_count(messages ? part / messages : 0, cycles, sizeof cycles);
            print_share(output, part, timing_stage(record, NULL, NULL), cycles);
        }
        fputc('\n', output);
    }
    fprintf(output, "%-18s", "all");
    for (size_t i = 0; i < shown(records); i++)
        fprintf(output, "%*llu", COLUMN - 1,
                (unsigned long long)number(json_array_get(records, i), "cycles-per-message"));
    fputs("\nShare of the busy cycles, and cycles for each message in or out; since the start.\n", output);
}

/* How many iterations of a worker took less than `limit` and not less than half of it. */
static uint64_t times_below(const json_t *record, json_int_t limit)
{
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(record, "loop-times"), i,
                       pair) if (json_integer_value(json_array_get(pair, 0)) ==
                                 limit) return (uint64_t)json_integer_value(json_array_get(pair, 1));
    return 0;
}

static uint64_t times_below_of_all(const json_t *records, json_int_t limit)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < shown(records); i++)
        sum += times_below(json_array_get(records, i), limit);
    return sum;
}

static void print_loop_times(FILE *output, const json_t *records)
{
    char text[32], count[32];
    print_head(output, "ITERATIONS BELOW", records);
    for (json_int_t limit = 1; limit < (json_int_t)1 << 40; limit *= 2) {
        if (times_below_of_all(records, limit) == 0)
            continue;
        fprintf(output, "%-18s", format_nanoseconds((uint64_t)limit, text, sizeof text));
        for (size_t i = 0; i < shown(records); i++) {
            const json_t *record = json_array_get(records, i);
            uint64_t part = times_below(record, limit);
            print_share(output, part, number(record, "busy-iterations"), format_count(part, count, sizeof count));
        }
        fputc('\n', output);
    }
    fputs("Of the iterations that found work, those that took less, but not less than half of it.\n", output);
}

void timing_print(FILE *output, const json_t *records)
{
    uint64_t worked = 0;
    for (size_t i = 0; i < shown(records); i++)
        worked += timing_stage(json_array_get(records, i), NULL, NULL);
    if (worked == 0)
        return;
    print_stages(output, records);
    print_loop_times(output, records);
    if (json_array_size(records) > TIMING_WORKERS_MAX)
        fprintf(output, "(%d of %d workers; --json has all)\n", TIMING_WORKERS_MAX, (int)json_array_size(records));
}

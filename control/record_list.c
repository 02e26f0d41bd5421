/* Filter, sort and limit: see control/record_list.h. */
#include "control/record_list.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int record_list_open(struct record_list *list, json_t *request, struct shm_error *error)
{
    json_t *limit = json_object_get(request, "limit");
    json_t *sort = json_object_get(request, "sort");
    const char *key;
    json_t *pattern;
    *list = (struct record_list){.filter = json_object_get(request, "filter"), .sort = json_string_value(sort)};
    if ((list->filter && !json_is_object(list->filter)) || (sort && !json_is_string(sort)) ||
        (limit && (!json_is_integer(limit) || json_integer_value(limit) < 0)))
        return shm_error_set(error, "filter must be an object, sort a text, limit a number");
    json_object_foreach(list->filter, key, pattern) if (!json_is_string(pattern)) return shm_error_set(
        error, "filter %.60s: the pattern must be a text", key);
    list->limit = limit ? (uint64_t)json_integer_value(limit) : 0;
    if (!list->sort)
        return 0;
    if (list->limit == 0)
        list->limit = RECORD_LIST_SORTED_MAX;
    if (list->limit > RECORD_LIST_SORTED_MAX)
        return shm_error_set(error, "a sorted list has a limit of at most %u; leave --sort away for a full list",
                             RECORD_LIST_SORTED_MAX);
    list->best = calloc(list->limit + 1, sizeof *list->best);
    return list->best ? 0 : shm_error_set(error, "no memory");
}

void record_list_close(struct record_list *list)
{
    for (uint32_t i = 0; i < list->best_count; i++)
        json_decref(list->best[i]);
    free(list->best);
    list->best = NULL;
    list->best_count = 0;
}

/* The value of the field that `name` means: the exact one, else the first that begins with it. */
static json_t *find_field(json_t *record, const char *name)
{
    json_t *exact = json_object_get(record, name);
    if (exact)
        return exact;
    const char *key;
    json_t *value;
    json_object_foreach(record, key, value) if (strncmp(key, name, strlen(name)) == 0) return value;
    return NULL;
}

/* The answer to a wrong name is the list of right ones. */
static int no_such_field(json_t *record, const char *name, struct shm_error *error)
{
    char names[SHM_ERROR_TEXT - 80];
    int length = 0;
    const char *key;
    json_t *value;
    json_object_foreach(record, key, value)
    {
        const bool fits = (size_t)length + strlen(key) + sizeof ", , ..." < sizeof names;
        length +=
            snprintf(names + length, sizeof names - (size_t)length, "%s%s", length ? ", " : "", fits ? key : "...");
        if (!fits)
            break;
    }
    return shm_error_set(error, "there is no field '%.40s'; fields: %s", name, names);
}

/* The number behind '>' or '<'. */
static bool bound_of(const char *pattern, double *bound)
{
    char *end;
    *bound = strtod(pattern + 1, &end);
    return (pattern[0] == '>' || pattern[0] == '<') && end != pattern + 1 && *end == '\0';
}

/* Numbers are compared as text too, so that `port=188*` means what it looks like. */
static bool value_matches(const json_t *value, const char *pattern)
{
    char text[32];
    double bound;
    if (json_is_string(value))
        return fnmatch(pattern, json_string_value(value), 0) == 0;
    if (json_is_boolean(value))
        return strcmp(pattern, json_is_true(value) ? "true" : "false") == 0;
    if (!json_is_number(value))
        return false;
    if (bound_of(pattern, &bound))
        return pattern[0] == '>' ? json_number_value(value) > bound : json_number_value(value) < bound;
    snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return fnmatch(pattern, text, 0) == 0;
}

static int check_pattern(const char *name, const json_t *value, const char *pattern, struct shm_error *error)
{
    double bound;
    if (!json_is_number(value) || (pattern[0] != '>' && pattern[0] != '<') || bound_of(pattern, &bound))
        return 0;
    return shm_error_set(error, "filter %.60s: '%.60s' is not a number", name, pattern + 1);
}

int record_list_check(const struct record_list *list, json_t *record, struct shm_error *error)
{
    const char *key;
    json_t *pattern;
    json_object_foreach(list->filter, key, pattern)
    {
        const json_t *value = find_field(record, key);
        if (!value)
            return no_such_field(record, key, error);
        if (check_pattern(key, value, json_string_value(pattern), error) != 0)
            return -1;
    }
    const char *sort = list->sort ? list->sort + (list->sort[0] == '-') : NULL;
    return sort && !find_field(record, sort) ? no_such_field(record, sort, error) : 0;
}

/* 1: matches, 0: does not, -1: no such field. */
static int filter_matches(const struct record_list *list, json_t *record, struct shm_error *error)
{
    const char *key;
    json_t *pattern;
    json_object_foreach(list->filter, key, pattern)
    {
        const json_t *value = find_field(record, key);
        if (!value)
            return no_such_field(record, key, error);
        if (!value_matches(value, json_string_value(pattern)))
            return 0;
    }
    return 1;
}

bool record_list_wants(const struct record_list *list, json_t *record)
{
    struct shm_error error;
    return filter_matches(list, record, &error) != 0;
}

/* Does `a` come before `b`? Largest first; texts in their order. */
static bool comes_before(const struct record_list *list, json_t *a, json_t *b)
{
    bool ascending = list->sort[0] == '-';
    const char *name = list->sort + ascending;
    const json_t *left = find_field(a, name), *right = find_field(b, name);
    if (json_is_number(left) && json_is_number(right)) {
        double difference = json_number_value(left) - json_number_value(right);
        return ascending ? difference < 0 : difference > 0;
    }
    if (!json_is_string(left) || !json_is_string(right))
        return false;
    int order = strcmp(json_string_value(left), json_string_value(right));
    return ascending ? order > 0 : order < 0;
}

/* Binary search keeps equal records in the order they came in. */
static void insert_sorted(struct record_list *list, json_t *record)
{
    uint32_t low = 0, high = list->best_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (comes_before(list, record, list->best[middle]))
            high = middle;
        else
            low = middle + 1;
    }
    if (low >= list->limit)
        return;
    memmove(&list->best[low + 1], &list->best[low], (list->best_count - low) * sizeof *list->best);
    list->best[low] = json_incref(record);
    if (++list->best_count > list->limit)
        json_decref(list->best[--list->best_count]);
}

enum record_list_result record_list_offer(struct record_list *list, json_t *record, struct shm_error *error)
{
    if (!list->sort && list->limit && list->emitted >= list->limit)
        return RECORD_LIST_FULL;
    if (!list->checked && record_list_check(list, record, error) != 0)
        return RECORD_LIST_ERROR;
    list->checked = true;
    int matches = filter_matches(list, record, error);
    if (matches < 0)
        return RECORD_LIST_ERROR;
    if (matches == 0)
        return RECORD_LIST_SKIP;
    list->matched++;
    if (!list->sort) {
        list->emitted++;
        return RECORD_LIST_EMIT;
    }
    const char *name = list->sort + (list->sort[0] == '-');
    if (!find_field(record, name)) {
        no_such_field(record, name, error);
        return RECORD_LIST_ERROR;
    }
    insert_sorted(list, record);
    return RECORD_LIST_SKIP;
}

json_t *record_list_sorted(const struct record_list *list, uint32_t index)
{
    return index < list->best_count ? list->best[index] : NULL;
}

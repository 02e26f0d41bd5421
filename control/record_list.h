/* Filter, sort and limit over a stream of JSON records.
 *
 * Job: what `--filter`, `--sort` and `--limit` mean, for every kind of record. Memory is bounded: an unsorted list
 * passes records through, a sorted one keeps the best `limit` of them (RECORD_LIST_SORTED_MAX at most).
 *
 * Who calls: a command of the admin socket; single-threaded. Field names may be cut short while they stay unambiguous
 * enough: the first field of the record that begins with the given text is meant. */
#ifndef POLLUX_CONTROL_RECORD_LIST_H
#define POLLUX_CONTROL_RECORD_LIST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/shm/error.h"

#define RECORD_LIST_SORTED_MAX 1000u

struct record_list {
    json_t *filter;   /* object: field -> pattern; borrowed for the list's life; NULL: none */
    const char *sort; /* field, "-field" for smallest first; NULL: as they come */
    uint64_t limit;   /* 0: no limit */
    uint64_t emitted;
    uint64_t matched;
    bool checked;  /* filter and order, by the first record */
    json_t **best; /* sorted, largest first */
    uint32_t best_count;
};

/* Take filter, sort and limit from a request object, which must outlive the list. Returns -1 with the reason. */
int record_list_open(struct record_list *list, json_t *request, struct shm_error *error);
void record_list_close(struct record_list *list);

enum record_list_result {
    RECORD_LIST_EMIT,  /* pass this record on now */
    RECORD_LIST_SKIP,  /* filtered out, or kept for the sorted end */
    RECORD_LIST_FULL,  /* the limit is reached: no need to ask for more */
    RECORD_LIST_ERROR, /* the record has no such field, or the pattern cannot be one of it */
};

/* Can the filter and the order be meant for records with the fields of this one? For lists that may be empty, where a
 * wrong name would else look like a right one. Returns -1 with the reason. */
int record_list_check(const struct record_list *list, json_t *record, struct shm_error *error);

/* Would the filter let this record through? Also when it has no such field: offering it then says so. */
bool record_list_wants(const struct record_list *list, json_t *record);

/* Offer a record; the caller keeps its reference.
 *
 * Patterns: "text" must match the whole value, with * ? [] as in the shell; numbers also take ">N" and "<N". */
enum record_list_result record_list_offer(struct record_list *list, json_t *record, struct shm_error *error);

/* The sorted records, one after the other: a borrowed reference, or NULL at the end. */
json_t *record_list_sorted(const struct record_list *list, uint32_t index);

#endif

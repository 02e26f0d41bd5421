/* The verbs of polluxctl: names, help, examples, and what they do.
 *
 * Job: one table, from which parsing, `--help`, shell completion and the reference page are made. */
#ifndef POLLUX_POLLUXCTL_VERBS_H
#define POLLUX_POLLUXCTL_VERBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "tools/polluxctl/session.h"

struct options {
    const char *run_dir;
    bool json;
    bool wide;
    bool help;
    const char *sort;
    long limit;    /* 0: none */
    long timeout;  /* seconds */
    long interval; /* seconds; 0: not said */
    long worker;   /* only of this one; -1: all together */
    bool once;
    bool all;       /* zeros too */
    json_t *filter; /* object of texts; NULL: none */
    const char *to; /* of drain: the other server */
    long rate;      /* of drain: clients a second; 0: as it is by itself */
    bool permanent, stop;
    const char *write; /* of capture: where to; "-" is standard output */
    json_t *capture;   /* of capture: filter and bounds as pollux-control takes them; NULL: none */
};

struct verb {
    const char *words[2]; /* "show", "clients"; the second may be NULL */
    const char *argument; /* what follows, for the usage line; NULL: nothing */
    bool list;            /* takes --filter, --sort, --limit */
    const char *help;
    const char *examples; /* lines */
    enum exit_status (*run)(const struct verb *verb, const char *argument, const struct options *options);
    const char *usage; /* options, for the usage line */
    bool counts;       /* shows counters: takes --worker, --interval, --once */
};

/* Find the verb that the words mean; each may be cut short while it stays unambiguous. `used` gets the number of words
 * taken. NULL with a message on standard error. */
const struct verb *verb_find(int count, char **words, int *used);

/* Open a session and send a request with the filter, order and limit of the options. The session is the caller's to
 * close, and has the reason of a failure. */
enum exit_status verb_ask(struct session *session, const char *command, const char *argument,
                          const struct options *options);

/* The records of a listing into an array; `dataplane`, if it is not NULL, gets what was said about it behind them, a
 * new reference or NULL. The session is closed; it has the reason of a failure. */
enum exit_status verb_fetch(struct session *session, const struct options *options, const char *listing,
                            json_t *records, json_t **dataplane);

/* Since when, and why, the dataplane that a reply speaks of does not run. */
void verb_print_not_running(const json_t *dataplane);

void verb_print_usage(FILE *output);                         /* of the program */
void verb_print_help(FILE *output, const struct verb *verb); /* of one verb */

#endif

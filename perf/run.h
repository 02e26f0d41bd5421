/*
 * One scenario from start to result: threads, phases, figures. What the clients do in it is the load's (load.c) or the
 * churn's (churn.c).
 *
 * The main thread moves the run through its phases and samples; each worker thread owns its backend, its clients and
 * its histogram. They share counters that one thread writes and others read, and nothing else.
 */
#ifndef PERF_RUN_H
#define PERF_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "perf/client.h"
#include "perf/histogram.h"
#include "perf/options.h"

enum phase {
    PHASE_CONNECT, /* until every client is ready */
    PHASE_WARM_UP, /* load, not measured */
    PHASE_MEASURE,
    PHASE_DRAIN, /* no new load; what is on its way arrives */
    PHASE_CLEAR, /* what the load left in the broker is taken back */
    PHASE_STOP,
};

struct run;

struct worker {
    struct run *run;
    uint32_t index;
    pthread_t thread;
    struct client_context context; /* its `user` is the worker */
    uint64_t now;                  /* ns; when the bytes in hand were received, or this iteration began */
    enum phase phase;              /* as of this iteration */
    void *state;                   /* of the activity */

    /* Clients to bring up, a few at a time. */
    struct client **clients;
    uint32_t client_count, started;
    uint64_t bring_up_start; /* ns, when the first was started */
    atomic_uint ready;       /* those that are up */

    /* Written by the worker, sampled by the main thread. */
    atomic_ullong sent;      /* messages, or connections opened */
    atomic_ullong expected;  /* copies of them that must arrive */
    atomic_ullong delivered; /* copies that arrived, or connections that were accepted */
    atomic_ullong repeated;  /* of these, those that had arrived before */
    atomic_ullong overtaken; /* of these, those that came late */

    atomic_ullong busy; /* ns of work, if the backend tells */

    atomic_bool cleared;      /* PHASE_CLEAR: this worker is through */
    struct histogram latency; /* read when the thread has ended */
};

/* What the clients of a scenario do. All functions run on the worker's thread. */
struct activity {
    bool drains;                            /* has a PHASE_DRAIN */
    bool clears;                            /* has a PHASE_CLEAR */
    void (*prepare)(struct worker *worker); /* makes the clients; sets context callbacks */
    /* A client that is brought up is about to connect; `due`: when it was to, ns. May be NULL. */
    void (*opening)(struct client *client, uint64_t due);
    uint64_t (*step)(struct worker *worker); /* puts load on; returns how long to wait at most, ns */
    void (*finish)(struct worker *worker);   /* frees what prepare() made */
};

extern const struct activity load_activity;
extern const struct activity churn_activity;
extern const struct activity idle_activity;
extern const struct activity storm_activity;

struct run {
    const struct options *options;
    const struct scenario *scenario;
    const struct activity *activity;
    const struct backend_ops *ops;
    struct backend_config backend;
    struct worker *workers;
    uint32_t worker_count;
    uint64_t load_start; /* ns, when PHASE_WARM_UP began */
    atomic_int phase;
    atomic_uint prepared; /* workers that have made their clients */
    atomic_flag failing;
    char failure[256]; /* why the run cannot go on; read when `failed` */
    atomic_bool failed;
    /* Copies that are accounted for, by thread and publisher: arrived or seen to be missing. Frees credit. */
    atomic_ullong *resolved;
};

#define RESULT_RATES 40 /* intervals of a measurement, at most */

/* NaN where a figure could not be taken. */
struct result {
    char failure[256]; /* empty: the run went through */
    double sent_per_s;
    double delivered_per_s;
    uint64_t sent, delivered; /* of the whole run, warm-up included */
    uint64_t lost, duplicated, reordered;
    struct histogram latency;
    uint32_t rates;                                    /* intervals of equal length */
    double rate[RESULT_RATES], rate_end[RESULT_RATES]; /* delivered per second, and when the interval ended, s */
    double broker_cpu;                                 /* share of one CPU */
    double generator_busy;                             /* of the busiest thread, share of one CPU */
    double generator_cpu; /* CPU time of that thread: a polling one that had less than all was disturbed */
    double broker_memory; /* bytes, when all clients were there */
    double bytes_per_connection;
};

/* Ends the measurement of the scenario that runs, and of those that follow: for a signal handler. */
void run_interrupt(void);
bool run_is_interrupted(void);

/* ns on the monotonic clock. */
uint64_t run_clock(void);

/* Ends the run with a sentence; from any thread, the first one counts. */
void run_fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A counter of this worker: only its own thread writes it. */
static inline void worker_count_up(atomic_ullong *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Runs one scenario. */
void run_scenario(const struct options *options, const struct scenario *scenario, struct result *result);

#endif

/* Threads and phases of one scenario, and the figures that are taken between them. */
#include "perf/run.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define CONNECTING_AT_ONCE 64u         /* a worker: fewer than the listen backlog of any broker */
#define CONNECT_PATIENCE (30 * SECOND) /* without one more client ready */
#define DRAIN_PATIENCE (3 * SECOND)    /* without one more message */
#define CLEAR_PATIENCE (60 * SECOND)

uint64_t run_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static volatile sig_atomic_t interrupted;

void run_interrupt(void)
{
    interrupted = 1;
}

bool run_is_interrupted(void)
{
    return interrupted != 0;
}

void run_fail(struct run *run, const char *format, ...)
{
    if (atomic_flag_test_and_set(&run->failing))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run->failure, sizeof(run->failure), format, arguments);
    va_end(arguments);
    atomic_store(&run->failed, true);
}

/* ---- Worker threads ---- */

/* Received bytes carry the time of their arrival: one reading of the clock for all messages among them. */
static size_t received(void *user, const uint8_t *bytes, size_t n)
{
    struct worker *worker = ((struct client *)user)->context->user;
    worker->now = run_clock();
    return client_backend_handler.received(user, bytes, n);
}

static void connected(void *user)
{
    client_backend_handler.connected(user);
}

static void closed(void *user, const char *why)
{
    client_backend_handler.closed(user, why);
}

static const struct backend_handler handler = {connected, received, closed};

/* When the next client is to connect, ns: at once, unless the scenario says how many a second. */
static uint64_t due_to_connect(const struct worker *worker)
{
    const struct run *run = worker->run;
    if (run->scenario->pattern != PATTERN_IDLE || run->scenario->rate <= 0)
        return worker->now;
    double before = (double)worker->started * run->worker_count + worker->index;
    return worker->bring_up_start + (uint64_t)(before * SECOND / run->scenario->rate);
}

static void bring_up(struct worker *worker)
{
    uint32_t ready = atomic_load_explicit(&worker->ready, memory_order_relaxed);
    if (worker->started == 0)
        worker->bring_up_start = worker->now;
    while (worker->started < worker->client_count && worker->started - ready < CONNECTING_AT_ONCE) {
        uint64_t due = due_to_connect(worker);
        if (due > worker->now)
            return;
        if (worker->run->activity->opening != NULL)
            worker->run->activity->opening(worker->clients[worker->started], due);
        if (!client_start(worker->clients[worker->started])) {
            run_fail(worker->run, "cannot open connection %u: %s", worker->started, strerror(errno));
            return;
        }
        worker->started++;
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct run *run = worker->run;
    prctl(PR_SET_TIMERSLACK, 1); /* an open loop sends at its time, not 50 us later */
    worker->context.backend = run->ops->create(&run->backend, &handler);
    if (worker->context.backend == NULL) {
        run_fail(run, "cannot start: %s", strerror(errno));
        return NULL;
    }
    run->activity->prepare(worker);
    atomic_fetch_add(&run->prepared, 1);
    while ((worker->phase = atomic_load_explicit(&run->phase, memory_order_acquire)) != PHASE_STOP) {
        worker->now = run_clock();
        uint64_t wait = run->scenario->rate > 0 ? SECOND / 1000 : SECOND / 100;
        if (worker->started < worker->client_count)
            bring_up(worker);
        else
            wait = run->activity->step(worker);
        run->ops->poll(worker->context.backend, wait);
        if (run->ops->busy_time != NULL)
            atomic_store_explicit(&worker->busy, run->ops->busy_time(worker->context.backend), memory_order_relaxed);
    }
    run->ops->destroy(worker->context.backend);
    run->activity->finish(worker);
    return NULL;
}

static void worker_init(struct run *run, uint32_t index)
{
    struct worker *worker = &run->workers[index];
    worker->run = run;
    worker->index = index;
    worker->context = (struct client_context){.ops = run->ops,
                                              .version = run->options->version,
                                              .id_prefix = run->options->id_prefix,
                                              .user_name = run->options->user_name,
                                              .password = run->options->password,
                                              .keep_alive = run->options->keep_alive,
                                              .user = worker};
}

/* ---- The main thread ---- */

/* Counters of all workers, and clocks, at one moment. */
struct sample {
    uint64_t at;
    uint64_t sent, expected, delivered, repeated, overtaken;
    uint64_t broker_cpu, broker_memory;
    bool has_broker;
};

static void sample_take(const struct run *run, struct sample *sample)
{
    *sample = (struct sample){.at = run_clock()};
    for (uint32_t i = 0; i < run->worker_count; i++) {
        struct worker *worker = &run->workers[i];
        sample->sent += atomic_load_explicit(&worker->sent, memory_order_relaxed);
        sample->expected += atomic_load_explicit(&worker->expected, memory_order_relaxed);
        sample->delivered += atomic_load_explicit(&worker->delivered, memory_order_relaxed);
        sample->repeated += atomic_load_explicit(&worker->repeated, memory_order_relaxed);
        sample->overtaken += atomic_load_explicit(&worker->overtaken, memory_order_relaxed);
    }
    sample->has_broker = process_cpu_time(&run->options->broker, &sample->broker_cpu) &&
                         process_memory(&run->options->broker, &sample->broker_memory);
}

/* Counting by the copies, so that a message that is lost for good does not hide one that came twice. */
static uint64_t unique(const struct sample *sample)
{
    return sample->delivered - sample->repeated;
}

static uint32_t clients_ready(const struct run *run, uint32_t *all)
{
    uint32_t ready = 0;
    *all = 0;
    for (uint32_t i = 0; i < run->worker_count; i++) {
        ready += atomic_load_explicit(&run->workers[i].ready, memory_order_relaxed);
        *all += run->workers[i].client_count;
    }
    return ready;
}

static void sleep_ns(uint64_t ns)
{
    const struct timespec time = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
    nanosleep(&time, NULL);
}

static bool shows_progress(const struct run *run)
{
    return !run->options->quiet && isatty(STDERR_FILENO);
}

static void progress_clear(const struct run *run)
{
    if (shows_progress(run))
        fputs("\r\033[K", stderr);
}

static void show_rates(const struct run *run, const char *what, const struct sample *before, const struct sample *now)
{
    double took = (double)(now->at - before->at) / SECOND;
    fprintf(stderr, "\r\033[K%s %s: %.0f sent/s, %.0f delivered/s", run->scenario->name, what,
            (double)(now->sent - before->sent) / took, (double)(now->delivered - before->delivered) / took);
}

/* Waits for `seconds`, with a line of figures each second. Rates go to `result`, unless it is NULL. */
static void wait_and_show(const struct run *run, const char *what, double seconds, struct result *result)
{
    const uint64_t start = run_clock(), end = start + (uint64_t)(seconds * SECOND);
    const uint64_t interval = (end - start) / RESULT_RATES + 1;
    struct sample shown, before, now;
    sample_take(run, &before);
    shown = before;
    for (uint64_t left; run_clock() < end && !atomic_load(&run->failed) && !interrupted; before = now) {
        left = end - run_clock();
        sleep_ns(left < interval ? left : interval);
        sample_take(run, &now);
        if (result != NULL && result->rates < RESULT_RATES) {
            result->rate_end[result->rates] = (double)(now.at - start) / SECOND;
            result->rate[result->rates++] =
                (double)(now.delivered - before.delivered) * SECOND / (double)(now.at - before.at);
        }
        if (shows_progress(run) && now.at - shown.at >= SECOND) {
            show_rates(run, what, &shown, &now);
            shown = now;
        }
    }
    progress_clear(run);
}

static void wait_for_clients(struct run *run)
{
    uint32_t all, last = 0;
    uint64_t patience = run_clock() + CONNECT_PATIENCE;
    for (uint32_t ready; !atomic_load(&run->failed); sleep_ns(SECOND / 200)) {
        if (interrupted)
            run_fail(run, "interrupted before all clients were connected");
        if (atomic_load(&run->prepared) < run->worker_count)
            continue;
        if ((ready = clients_ready(run, &all)) == all)
            break;
        if (ready > last)
            patience = run_clock() + CONNECT_PATIENCE;
        if (run_clock() > patience)
            run_fail(run, "%u of %u clients connected, no more in %llu s", ready, all, CONNECT_PATIENCE / SECOND);
        if (shows_progress(run) && ready != last)
            fprintf(stderr, "\r\033[K%s: %u of %u connected", run->scenario->name, ready, all);
        last = ready;
    }
    progress_clear(run);
}

static void drain(struct run *run)
{
    struct sample sample;
    uint64_t last = 0, patience = run_clock() + DRAIN_PATIENCE;
    atomic_store(&run->phase, PHASE_DRAIN);
    for (; run_clock() < patience && !atomic_load(&run->failed); sleep_ns(SECOND / 500)) {
        sample_take(run, &sample);
        if (unique(&sample) > last)
            patience = run_clock() + DRAIN_PATIENCE;
        last = unique(&sample);
        if (last >= sample.expected)
            return;
    }
}

/* Until every worker has taken back what it left in the broker; a broker that does not answer keeps it. */
static void clear(struct run *run)
{
    const uint64_t patience = run_clock() + CLEAR_PATIENCE;
    uint32_t cleared = 0;
    atomic_store(&run->phase, PHASE_CLEAR);
    while (cleared < run->worker_count && run_clock() < patience && !atomic_load(&run->failed)) {
        sleep_ns(SECOND / 500);
        cleared = 0;
        for (uint32_t i = 0; i < run->worker_count; i++)
            cleared += atomic_load(&run->workers[i].cleared);
    }
}

static uint64_t cpu_time(const struct run *run, struct worker *worker)
{
    clockid_t clock;
    struct timespec time = {0};
    if (pthread_getcpuclockid(worker->thread, &clock) == 0)
        clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* ns that the thread had work: what a polling backend says, else the CPU time that it had. */
static uint64_t work_time(const struct run *run, struct worker *worker)
{
    if (run->ops->busy_time == NULL)
        return cpu_time(run, worker);
    return atomic_load_explicit(&worker->busy, memory_order_relaxed);
}

typedef uint64_t thread_time(const struct run *run, struct worker *worker);

/* Of all threads, into memory of the caller's to free. */
static uint64_t *times_take(const struct run *run, thread_time *time)
{
    uint64_t *times = calloc(run->worker_count, sizeof(*times));
    if (times == NULL)
        abort();
    for (uint32_t i = 0; i < run->worker_count; i++)
        times[i] = time(run, &run->workers[i]);
    return times;
}

/* Share of `took` that the busiest thread has used since `before`, which is freed. */
static double busiest(const struct run *run, thread_time *time, uint64_t *before, uint64_t took)
{
    double most = 0;
    for (uint32_t i = 0; i < run->worker_count; i++) {
        double share = (double)(time(run, &run->workers[i]) - before[i]) / (double)took;
        most = share > most ? share : most;
    }
    free(before);
    return most;
}

static void measure(struct run *run, struct result *result)
{
    struct sample before, after;
    uint64_t *work = times_take(run, work_time), *cpu = times_take(run, cpu_time);
    sample_take(run, &before);
    atomic_store(&run->phase, PHASE_MEASURE);
    wait_and_show(run, "measuring", run->options->duration, result);
    sample_take(run, &after);
    uint64_t took = after.at - before.at;
    result->sent_per_s = (double)(after.sent - before.sent) * SECOND / (double)took;
    result->delivered_per_s = (double)(after.delivered - before.delivered) * SECOND / (double)took;
    result->generator_busy = busiest(run, work_time, work, took);
    result->generator_cpu = busiest(run, cpu_time, cpu, took);
    if (before.has_broker && after.has_broker)
        result->broker_cpu = (double)(after.broker_cpu - before.broker_cpu) / (double)took;
}

/* `empty`: the broker before the first client came. */
static void through_phases(struct run *run, const struct sample *empty, struct result *result)
{
    struct sample full, end;
    uint32_t clients;
    const uint64_t began = run_clock();
    wait_for_clients(run);
    sample_take(run, &full);
    clients_ready(run, &clients);
    /* A broker that has freed memory of earlier clients fills that first: then there is nothing to tell. */
    if (empty->has_broker && full.has_broker && clients > 0 && full.broker_memory > empty->broker_memory)
        result->bytes_per_connection = (double)(full.broker_memory - empty->broker_memory) / clients;
    if (full.has_broker)
        result->broker_memory = (double)full.broker_memory;
    run->load_start = run_clock();
    atomic_store_explicit(&run->phase, PHASE_WARM_UP, memory_order_release);
    if (run->activity != &idle_activity)
        wait_and_show(run, "warming up", run->options->warmup, NULL);
    if (interrupted)
        run_fail(run, "interrupted before the measurement");
    measure(run, result);
    if (run->activity == &idle_activity) /* its news is how fast they came */
        result->sent_per_s = result->delivered_per_s = (double)clients * SECOND / (double)(full.at - began);
    if (run->activity->drains)
        drain(run);
    sample_take(run, &end);
    if (run->activity->clears)
        clear(run);
    result->sent = end.sent;
    result->delivered = end.delivered;
    result->lost = end.expected > unique(&end) ? end.expected - unique(&end) : 0;
    result->duplicated = end.repeated;
    result->reordered = end.overtaken;
}

static const struct activity *activity_of(enum pattern pattern)
{
    switch (pattern) {
    case PATTERN_CONNECT:
        return &churn_activity;
    case PATTERN_IDLE:
        return &idle_activity;
    case PATTERN_STORM:
        return &storm_activity;
    default:
        return &load_activity;
    }
}

/* Threads that have nothing to do are not started. */
static uint32_t workers_for(const struct options *options, const struct scenario *scenario)
{
    uint32_t most = scenario->publishers > scenario->subscribers ? scenario->publishers : scenario->subscribers;
    return options->threads < most ? options->threads : most;
}

static bool start_workers(struct run *run)
{
    for (uint32_t i = 0; i < run->worker_count; i++) {
        worker_init(run, i);
        if (pthread_create(&run->workers[i].thread, NULL, worker_main, &run->workers[i]) == 0)
            continue;
        run_fail(run, "cannot start a thread");
        run->worker_count = i; /* those there are get stopped */
        return false;
    }
    return true;
}

static void stop_workers(struct run *run, struct result *result)
{
    atomic_store(&run->phase, PHASE_STOP);
    for (uint32_t i = 0; i < run->worker_count; i++) {
        pthread_join(run->workers[i].thread, NULL);
        histogram_add(&result->latency, &run->workers[i].latency);
    }
}

void run_scenario(const struct options *options, const struct scenario *scenario, struct result *result)
{
    *result = (struct result){.broker_cpu = NAN,
                              .generator_busy = NAN,
                              .generator_cpu = NAN,
                              .broker_memory = NAN,
                              .bytes_per_connection = NAN};
    struct run run = {.options = options,
                      .scenario = scenario,
                      .activity = activity_of(scenario->pattern),
                      .ops = options->device != NULL ? &backend_dpdk : &backend_socket,
                      .backend = {.target = options->address,
                                  .target_length = options->address_length,
                                  .ports = options->port,
                                  .port_count = options->ports,
                                  .sources = options->source,
                                  .source_count = options->sources,
                                  .device = options->device,
                                  .addresses = options->local,
                                  .address_count = options->locals,
                                  .gateway = options->gateway,
                                  .connections = scenario->publishers + scenario->subscribers + options->stalled,
                                  .largest_packet = scenario->payload + 2 * MQTT_STRING_MAX},
                      .worker_count = workers_for(options, scenario),
                      .failing = ATOMIC_FLAG_INIT};
    run.workers = calloc(run.worker_count, sizeof(*run.workers));
    run.resolved = calloc((size_t)run.worker_count * scenario->publishers, sizeof(*run.resolved));
    if (run.workers == NULL || run.resolved == NULL)
        abort();
    struct sample empty;
    sample_take(&run, &empty);
    if (start_workers(&run))
        through_phases(&run, &empty, result);
    stop_workers(&run, result);
    snprintf(result->failure, sizeof(result->failure), "%s", run.failure);
    free(run.resolved);
    free(run.workers);
}

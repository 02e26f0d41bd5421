/*
 * What it costs that a message goes from one worker to another, and what follows for N workers.
 *
 * Two workers of the dataplane with real mailboxes and topic tables, without packets, each on a thread and a CPU of its
 * own. Worker 0 publishes to a topic that has its only subscriber at worker 1; the same work is done on one worker for
 * comparison, and with both workers taking turns on one CPU, where no cache line has to move between cores. The
 * receiver looks into its mailbox all the time, or as seldom as a busy worker does. Then a line is sent back and forth
 * between the two CPUs.
 *      bench-workers line          only how many nanoseconds a line takes from one CPU to the other
 *
 * Anything else that runs on the two CPUs spoils it: `sudo perf/bench --scaling` runs it undisturbed.
 *
 *      bench-workers [CYCLES]      CYCLES: of one worker for each message that stays there, as `polluxctl show runtime`
 *                                  says for in + out together (default 75)
 *
 * docs/explanation/scaling.md has the model that this prints, and what it assumes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "dataplane/housekeeper.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/world.h"

enum { MESSAGES = 400000, BURST = 64, ROUNDS = 5, BOUNCES = 200000, PAYLOAD = 64, TOPICS = 50, BUSY_LOOP_US = 20 };

static struct world world;

struct figures {
    double sender, receiver; /* cycles a message */
    double batch;            /* messages that an iteration of the receiver handled */
};

static void pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        perror("bench-workers: sched_setaffinity");
        exit(1);
    }
}

static unsigned cpu_number(unsigned index)
{
    static cpu_set_t all;
    if (CPU_COUNT(&all) == 0) {
        sched_getaffinity(0, sizeof(all), &all);
    }
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && index-- == 0) {
            return cpu;
        }
    }
    fprintf(stderr, "bench-workers: two CPUs are needed\n");
    exit(1);
}

/* ---- The parts of a message's way ------------------------------------------------------------------------------- */

static void publish(struct worker *worker, const char *level, uint32_t number)
{
    char topic[32], payload[PAYLOAD] = "payload";
    const int length = snprintf(topic, sizeof(topic), "%s/%u", level, number % TOPICS);
    struct publication publication = {
        .topic = {(const uint8_t *)topic, (uint32_t)length},
        .payload = {(const uint8_t *)payload, sizeof(payload)},
    };
    route_own(worker, &publication);
    publication_release(&publication, worker->memory);
}

static void subscribe(struct worker *worker, const char *text)
{
    struct topic_filter_name filter;
    char id[16];
    snprintf(id, sizeof(id), "subscriber-%u", worker->index);
    struct session *session = session_create(worker, (struct mqtt_span){(const uint8_t *)id, (uint32_t)strlen(id)});
    topic_filter_parse(&filter, &worker->dataplane->topic_limits, text, strlen(text));
    topic_subscribe(worker->subscribers, &session->subscriptions, &filter, 0, 0);
}

/* Iterations until the shared topic table knows all subscriptions. */
static void settle(void)
{
    for (uint64_t step = 1; step < 1000; step++) {
        for (uint32_t i = 0; i < world.dataplane.worker_count; i++) {
            world.dataplane.workers[i]->now += 10;
            worker_iterate(world.dataplane.workers[i]);
        }
        housekeeper_serve_topics(&world.dataplane, step);
    }
}

/* An iteration of the receiver, counted if it handled something. Returns how many messages. */
static uint64_t receive(struct worker *worker, uint64_t *cycles, uint64_t *iterations)
{
    const uint64_t before = worker->counters.messages_from_workers, start = rte_rdtsc();
    worker->now += 10;
    worker_iterate(worker);
    const uint64_t handled = worker->counters.messages_from_workers - before;
    if (handled > 0) {
        *cycles += rte_rdtsc() - start;
        *iterations += 1;
    }
    return handled;
}

/* A burst of messages as an iteration would make it, with the reclaiming of those that were handled. */
static uint64_t send_burst(struct worker *worker, const char *level, uint32_t first)
{
    const uint64_t start = rte_rdtsc();
    for (uint32_t i = 0; i < BURST; i++) {
        publish(worker, level, first + i);
    }
    if (worker->count > 1) {
        mailbox_reclaim(worker->to[1 - worker->index], worker->memory);
    }
    return rte_rdtsc() - start;
}

/* ---- One CPU ---------------------------------------------------------------------------------------------------- */

static struct figures on_one_cpu(const char *level)
{
    struct worker *from = world.dataplane.workers[0], *to = world.dataplane.workers[1];
    uint64_t sent = 0, received = 0, iterations = 0, handled = 0;
    for (uint32_t i = 0; i < MESSAGES; i += BURST) {
        sent += send_burst(from, level, i);
        handled += receive(to, &received, &iterations);
    }
    return (struct figures){.sender = (double)sent / MESSAGES,
                            .receiver = handled ? (double)received / (double)handled : 0,
                            .batch = iterations ? (double)handled / (double)iterations : 0};
}

/* ---- Two CPUs --------------------------------------------------------------------------------------------------- */

static _Atomic bool receiving, stop;
static uint64_t loop_cycles; /* that an iteration of the receiver takes with the work that it has besides */
static struct figures there;

static void *receiver_thread(void *arg)
{
    uint64_t cycles = 0, iterations = 0, handled = 0;
    struct worker *worker = arg;
    pin(cpu_number(1));
    topic_reader_online(worker->reader);
    atomic_store(&receiving, true);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        const uint64_t next = rte_rdtsc() + loop_cycles;
        handled += receive(worker, &cycles, &iterations);
        while (rte_rdtsc() < next) {
            rte_pause();
        }
    }
    topic_reader_offline(worker->reader);
    there = (struct figures){.receiver = handled ? (double)cycles / (double)handled : 0,
                             .batch = iterations ? (double)handled / (double)iterations : 0};
    return NULL;
}

static struct figures on_two_cpus(const char *level)
{
    pthread_t thread;
    uint64_t sent = 0;
    struct worker *from = world.dataplane.workers[0];
    atomic_store(&receiving, false);
    atomic_store(&stop, false);
    pthread_create(&thread, NULL, receiver_thread, world.dataplane.workers[1]);
    while (!atomic_load(&receiving)) {
        sched_yield();
    }
    for (uint32_t i = 0; i < MESSAGES; i += BURST) {
        while (!mailbox_has_room(from->to[1], 4 * BURST)) {
            mailbox_reclaim(from->to[1], from->memory);
            rte_pause();
        }
        sent += send_burst(from, level, i);
    }
    while (mailbox_pending(from->to[1]) > 0) {
        rte_pause();
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    mailbox_reclaim(from->to[1], from->memory);
    there.sender = (double)sent / MESSAGES;
    return there;
}

/* ---- A cache line between two CPUs ------------------------------------------------------------------------------- */

static _Alignas(128) _Atomic uint32_t ball;

static void *bounce_thread(void *arg)
{
    pin(cpu_number(1));
    for (uint32_t i = 0; i < BOUNCES; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1) {
        }
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Nanoseconds from a store on one CPU until another has seen it. Needs nothing of DPDK. */
static double line_ns(void)
{
    pthread_t thread;
    atomic_store(&ball, 0);
    pthread_create(&thread, NULL, bounce_thread, NULL);
    uint64_t start = 0;
    for (uint32_t i = 0; i < BOUNCES; i++) {
        if (i == BOUNCES / 10) {
            start = clock_ns();
        }
        atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2) {
        }
    }
    const uint64_t took = clock_ns() - start;
    pthread_join(thread, NULL);
    return (double)took / (2.0 * (BOUNCES - BOUNCES / 10));
}

/* An iteration that finds nothing, for each other worker that it looks at. */
static double idle_cycles(void)
{
    struct worker *worker = world.dataplane.workers[1];
    const uint64_t start = rte_rdtsc();
    for (uint32_t i = 0; i < MESSAGES; i++) {
        worker_iterate(worker);
    }
    return (double)(rte_rdtsc() - start) / MESSAGES;
}

/* ---- Report -------------------------------------------------------------------------------------------------------
 */

static int by_total(const void *a, const void *b)
{
    const struct figures *left = a, *right = b;
    const double one = left->sender + left->receiver, other = right->sender + right->receiver;
    return (one > other) - (one < other);
}

static struct figures median(struct figures measure(const char *), const char *level)
{
    struct figures rounds[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        rounds[i] = measure(level);
    }
    qsort(rounds, ROUNDS, sizeof(rounds[0]), by_total);
    return rounds[ROUNDS / 2];
}

static void print_figures(const char *what, const struct figures *figures)
{
    printf("%-48s %8.0f %9.0f %8.1f\n", what, figures->sender, figures->receiver, figures->batch);
}

/* What one worker writes and another reads, for a message of PAYLOAD bytes. */
static void print_shared_state(void)
{
    const unsigned message = (unsigned)sizeof(struct message) + 4 + PAYLOAD;
    printf("\nShared for a message: %u bytes written by the sender, %u of them the mail and %u the message with %u "
           "bytes of "
           "payload;\nthe receiver writes nothing of it. For a batch: 4 bytes by either side, how far it came.\n",
           (unsigned)sizeof(struct mail) + message, (unsigned)sizeof(struct mail), message, PAYLOAD);
    printf("Cache lines that move: %.1f a message and 2 a batch.\n",
           (double)sizeof(struct mail) / 64 + (message + 63) / 64);
}

static void print_model(double local, double added)
{
    const double frequency = (double)rte_get_tsc_hz();
    printf("\nModel: a message that is received and delivered takes 2 x %.0f cycles where it stays on its worker, and "
           "%.0f more\n"
           "where it does not; with N workers (N - 1) / N of the messages do not.\n\n",
           local, added);
    printf("%8s %14s %14s %14s\n", "workers", "all stay", "evenly spread", "of N times");
    for (unsigned n = 1; n <= 64; n *= 2) {
        const double stay = n * frequency / (2 * local);
        const double spread = n * frequency / (2 * local + added * (n - 1) / n);
        printf("%8u %12.1f M %12.1f M %13.0f%%\n", n, stay / 1e6, spread / 1e6, 100 * spread / stay);
    }
}

int main(int argc, char **argv)
{
    pin(cpu_number(0));
    if (argc > 1 && strcmp(argv[1], "line") == 0) {
        printf("%.1f\n", line_ns());
        return 0;
    }
    const double local = argc > 1 ? atof(argv[1]) : 75;
    world_environment(1);
    world_init(&world, 1, 2, 0);
    world_begin(&world);
    subscribe(world.dataplane.workers[0], "near/#");
    subscribe(world.dataplane.workers[1], "far/#");
    settle();
    const struct figures near = median(on_one_cpu, "near"), far = median(on_one_cpu, "far");
    const struct figures eager = median(on_two_cpus, "far");
    loop_cycles = rte_get_tsc_hz() * BUSY_LOOP_US / 1000000;
    const struct figures apart = median(on_two_cpus, "far");
    const double line = line_ns() * (double)rte_get_tsc_hz() / 1e9, idle = idle_cycles();
    const double added = apart.sender + apart.receiver - near.sender;
    printf("%-48s %8s %9s %8s\n", "cycles for a message (medians)", "sender", "receiver", "batch");
    print_figures("subscriber on the same worker", &near);
    print_figures("on another worker, both on one CPU", &far);
    print_figures("each on a CPU, the receiver looks all the time", &eager);
    print_figures("each on a CPU, the receiver has other work", &apart);
    printf("\nAdded by another worker that has other work: %.0f cycles, %.0f of them since lines move between CPUs.\n",
           added, apart.sender + apart.receiver - far.sender - far.receiver);
    printf("A line from one CPU to the other: %.0f cycles. An iteration without work, two workers: %.0f cycles.\n",
           line, idle);
    print_shared_state();
    print_model(local, added);
    return world_end(&world) ? 0 : 1;
}

/* The router's figures as messages. See sys_topics.h. */
#include "dataplane/sys_topics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/route.h"
#include "dataplane/worker.h"
#include "lib/stats/stats.h"

enum { FIGURE_TERMS = 6, VALUE_SIZE = 48, TOPIC_SIZE = 96 };

/* Everything that a figure may be a sum of: a group and a name in the statistics. */
struct term {
    const char *group, *name;
};

#define M(name)       \
    {                 \
        "mqtt", #name \
    }
#define O(name)          \
    {                    \
        "objects", #name \
    }
#define DROPPED                                                                                                \
    M(dropped_queue_full), M(dropped_queue_old), M(dropped_offline), M(dropped_expired), M(dropped_too_large), \
        M(dropped_no_memory)

/* Sums of counters and gauges over all workers. */
static const struct {
    const char *topic;
    struct term terms[FIGURE_TERMS];
} sums[] = {
    {"clients/total", {O(sessions)}},
    {"clients/connected", {O(clients_connected)}},
    {"clients/active", {O(clients_connected)}},
    {"clients/expired", {M(sessions_expired)}},
    {"messages/received", {M(packets_in)}},
    {"messages/sent", {M(messages_out), M(answers_out)}},
    {"publish/messages/received", {M(messages_in)}},
    {"publish/messages/sent", {M(messages_out)}},
    {"publish/messages/dropped", {DROPPED}},
    {"publish/bytes/sent", {M(bytes_out)}},
    {"bytes/received", {M(bytes_in)}},
    {"bytes/sent", {M(bytes_out), M(answer_bytes_out)}},
    {"retained messages/count", {O(retained)}},
    {"subscriptions/count", {O(subscriptions)}},
    {"heap/current size", {O(memory_used)}},
};
enum { SUMS = sizeof(sums) / sizeof(sums[0]) };

/* What has an average of its rate, per minute, over the last 1, 5 and 15 minutes. */
static const struct {
    const char *topic;
    struct term terms[FIGURE_TERMS];
} loads[] = {
    {"load/messages/received", {M(packets_in)}},
    {"load/messages/sent", {M(messages_out), M(answers_out)}},
    {"load/publish/received", {M(messages_in)}},
    {"load/publish/sent", {M(messages_out)}},
    {"load/publish/dropped", {DROPPED}},
    {"load/bytes/received", {M(bytes_in)}},
    {"load/bytes/sent", {M(bytes_out), M(answer_bytes_out)}},
    {"load/connections", {M(connects_accepted)}},
};
enum { LOADS = sizeof(loads) / sizeof(loads[0]), SPANS = 3 };
static const uint32_t span_minutes[SPANS] = {1, 5, 15};

/* Those that are neither: version, uptime, disconnected, inactive, maximum. */
enum { OTHERS = 5, TOPICS = SUMS + LOADS * SPANS + OTHERS };

struct load {
    uint64_t last;
    double average[SPANS];
};

struct sys_topics {
    struct timer timer;
    struct stats_reader *reader;
    const struct stats_entry *sum_entries[SUMS][FIGURE_TERMS];
    const struct stats_entry *load_entries[LOADS][FIGURE_TERMS];
    struct load loads[LOADS];
    double decay[SPANS];
    uint64_t started;
    uint64_t connected_maximum;
    uint32_t count;                  /* topics published in this round */
    char values[TOPICS][VALUE_SIZE]; /* as they were published last */
};

static void entries_find(const struct stats_reader *reader, const struct term terms[FIGURE_TERMS],
                         const struct stats_entry *entries[FIGURE_TERMS])
{
    for (uint32_t i = 0; i < FIGURE_TERMS && terms[i].name != NULL; i++) {
        entries[i] = stats_reader_find(reader, terms[i].group, terms[i].name);
    }
}

int sys_topics_create(struct worker *worker, struct shm_error *error)
{
    const double interval = worker->config->mqtt.sys_interval_s;
    struct sys_topics *sys = calloc(1, sizeof(*sys));
    const int fd = dup(worker->dataplane->stats.segment.fd);
    if (sys == NULL || fd < 0) {
        free(sys);
        if (fd >= 0) {
            close(fd);
        }
        return shm_error_set(error, "no memory for the $SYS topics");
    }
    sys->reader = stats_reader_attach(fd, error);
    if (sys->reader == NULL) {
        free(sys);
        return -1;
    }
    for (uint32_t i = 0; i < SUMS; i++) {
        entries_find(sys->reader, sums[i].terms, sys->sum_entries[i]);
    }
    for (uint32_t i = 0; i < LOADS; i++) {
        entries_find(sys->reader, loads[i].terms, sys->load_entries[i]);
    }
    for (uint32_t i = 0; i < SPANS; i++) {
        sys->decay[i] = exp(-interval / (60.0 * span_minutes[i]));
    }
    timer_init(&sys->timer, TIMER_KIND_SYS);
    timer_wheel_bind(&worker->wheel, TIMER_KIND_SYS, sys_topics_timer, worker);
    worker->sys = sys;
    return 0;
}

void sys_topics_destroy(struct sys_topics *sys)
{
    if (sys != NULL) {
        stats_reader_free(sys->reader);
        free(sys);
    }
}

/* ---- Publishing ------------------------------------------------------------------------------------------------- */

/* The next topic of the round, always in the same order. */
static void topic_publish(struct worker *worker, const char *name, const char *value)
{
    struct sys_topics *sys = worker->sys;
    char topic[TOPIC_SIZE];
    char *last = sys->values[sys->count++];
    if (strcmp(last, value) == 0) {
        return;
    }
    snprintf(last, VALUE_SIZE, "%s", value);
    const int length = snprintf(topic, sizeof(topic), "$SYS/broker/%s", name);
    struct publication publication = {
        .topic = {(const uint8_t *)topic, (uint32_t)length},
        .payload = {(const uint8_t *)last, (uint32_t)strlen(last)},
        .retain = worker->config->mqtt.retain_available,
    };
    route_own(worker, &publication);
    publication_release(&publication, worker->memory);
}

static void number_publish(struct worker *worker, const char *name, uint64_t number)
{
    char value[VALUE_SIZE];
    snprintf(value, sizeof(value), "%" PRIu64, number);
    topic_publish(worker, name, value);
}

static uint64_t entries_sum(const struct sys_topics *sys, const struct stats_entry *const entries[FIGURE_TERMS])
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < FIGURE_TERMS && entries[i] != NULL; i++) {
        sum += stats_reader_sum(sys->reader, entries[i]);
    }
    return sum;
}

static void others_publish(struct worker *worker, uint64_t sessions, uint64_t connected)
{
    struct sys_topics *sys = worker->sys;
    char value[VALUE_SIZE];
    sys->connected_maximum = RTE_MAX(sys->connected_maximum, connected);
    topic_publish(worker, "version", "pollux version " POLLUX_BUILD_ID);
    snprintf(value, sizeof(value), "%" PRIu64 " seconds", (worker->now - sys->started) / 1000000);
    topic_publish(worker, "uptime", value);
    number_publish(worker, "clients/disconnected", sessions > connected ? sessions - connected : 0);
    number_publish(worker, "clients/inactive", sessions > connected ? sessions - connected : 0);
    number_publish(worker, "clients/maximum", sys->connected_maximum);
}

static void load_publish(struct worker *worker, uint32_t index)
{
    struct sys_topics *sys = worker->sys;
    struct load *load = &sys->loads[index];
    const uint64_t now = entries_sum(sys, sys->load_entries[index]);
    const double per_minute = (double)(now - load->last) * 60.0 / worker->config->mqtt.sys_interval_s;
    load->last = now;
    for (uint32_t i = 0; i < SPANS; i++) {
        char name[TOPIC_SIZE], value[VALUE_SIZE];
        load->average[i] = per_minute + sys->decay[i] * (load->average[i] - per_minute);
        snprintf(name, sizeof(name), "%s/%umin", loads[index].topic, span_minutes[i]);
        snprintf(value, sizeof(value), "%.2f", load->average[i]);
        topic_publish(worker, name, value);
    }
}

static void all_publish(struct worker *worker)
{
    struct sys_topics *sys = worker->sys;
    uint64_t values[SUMS];
    stats_reader_refresh(sys->reader);
    sys->count = 0;
    for (uint32_t i = 0; i < SUMS; i++) {
        values[i] = entries_sum(sys, sys->sum_entries[i]);
        number_publish(worker, sums[i].topic, values[i]);
    }
    others_publish(worker, values[0], values[1]);
    for (uint32_t i = 0; i < LOADS; i++) {
        load_publish(worker, i);
    }
}

void sys_topics_start(struct worker *worker)
{
    if (worker->sys != NULL) {
        worker->sys->started = worker->now;
        sys_topics_timer(worker, &worker->sys->timer, worker->now);
    }
}

void sys_topics_timer(void *arg, struct timer *timer, uint64_t now)
{
    struct worker *worker = arg;
    all_publish(worker);
    timer_set(&worker->wheel, timer, now + worker->config->mqtt.sys_interval_s * UINT64_C(1000000));
}

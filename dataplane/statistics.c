/* Describing and publishing counters. See statistics.h. */
#include "dataplane/statistics.h"

#include <ctype.h>
#include <stdio.h>

#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/mqtt/mqtt.h"

/* ---- Descriptions ----------------------------------------------------------------------------------------------- */

#define DATAPLANE_COUNTER(name, unit, help) {#name, STATS_COUNTER, unit, help},
static const struct stats_definition mqtt_definitions[] = {
#include "dataplane/counters.def"
};
#undef DATAPLANE_COUNTER

#define DATAPLANE_RUNTIME(name, unit, help) {#name, STATS_COUNTER, unit, help},
static const struct stats_definition runtime_definitions[] = {
#include "dataplane/runtime.def"
};
#undef DATAPLANE_RUNTIME

#define DATAPLANE_GAUGE(name, unit, help) {#name, STATS_GAUGE, unit, help},
static const struct stats_definition gauge_definitions[] = {
#include "dataplane/gauges.def"
};
#undef DATAPLANE_GAUGE

#define DATAPLANE_MATCH_CACHE(name, kind, unit, help) {#name, kind, unit, help},
static const struct stats_definition match_cache_definitions[] = {
#include "dataplane/match_cache.def"
};
#undef DATAPLANE_MATCH_CACHE

/* A row is the beginning of a group, or a counter of it. */
struct net_row {
    const char *group;
    struct stats_definition definition;
};
#define NET_GROUP(name) {.group = STATS_GROUP_NET #name},
#define NET_COUNTER(name, unit, help) {.definition = {#name, STATS_COUNTER, unit, help}},
static const struct net_row net_rows[] = {
#include "lib/net/counters.def"
};
#undef NET_COUNTER

#define DATAPLANE_STAGE(name, help) {#name, STATS_COUNTER, "cycles", help},
static const struct stats_definition stage_definitions[] = {
#include "dataplane/stages.def"
};
#undef DATAPLANE_STAGE

static const struct stats_definition loop_definitions[] = {
    {"loop_time", STATS_HISTOGRAM, "nanoseconds", "Time of iterations that found work"},
};

enum { CODEC_FIRST = MQTT_INCOMPLETE + 1, CODEC_COUNT = MQTT_ERROR_COUNT - CODEC_FIRST };

static int group_add(struct stats_builder *builder, const char *name, const struct stats_definition *definitions,
                     uint32_t count, uint32_t *offset, struct shm_error *error)
{
    const int result = stats_builder_add(builder, STATS_WORKER, name, definitions, count, error);
    *offset = (uint32_t)result;
    return result < 0 ? -1 : 0;
}

/* The counters of the stack lie one behind the other, whatever group they are shown in: net_counters() is copied whole.
 */
static int net_add(struct stats_builder *builder, uint32_t *offset, struct shm_error *error)
{
    const char *group = NULL;
    uint32_t added, count = 0;
    for (uint32_t i = 0; i < RTE_DIM(net_rows); i++) {
        if (net_rows[i].group != NULL) {
            group = net_rows[i].group;
        } else if (group_add(builder, group, &net_rows[i].definition, 1, &added, error) != 0) {
            return -1;
        } else if (count++ == 0) {
            *offset = added;
        }
    }
    return 0;
}

/* Counters have lower-case names. */
static void name_set(char name[STATS_NAME_SIZE], const char *from)
{
    snprintf(name, STATS_NAME_SIZE, "%s", from);
    for (char *c = name; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
}

/* One counter for each way in which a packet can be malformed. */
static int codec_add(struct stats_builder *builder, uint32_t *offset, struct shm_error *error)
{
    struct stats_definition definitions[CODEC_COUNT];
    char names[CODEC_COUNT][STATS_NAME_SIZE];
    for (uint32_t i = 0; i < CODEC_COUNT; i++) {
        name_set(names[i], mqtt_error_name(CODEC_FIRST + i));
        definitions[i] = (struct stats_definition){
            .name = names[i],
            .kind = STATS_COUNTER,
            .unit = "packets",
            .help = mqtt_error_text(CODEC_FIRST + i),
        };
    }
    return group_add(builder, "malformed", definitions, CODEC_COUNT, offset, error);
}

int statistics_create(struct dataplane *dataplane, struct shm_error *error)
{
    struct stats_builder *builder = stats_builder_create();
    if (builder == NULL) {
        return shm_error_set(error, "no memory for the statistics");
    }
    if (group_add(builder, "mqtt", mqtt_definitions, RTE_DIM(mqtt_definitions), &dataplane->stats_offset.mqtt, error) !=
            0 ||
        net_add(builder, &dataplane->stats_offset.net, error) != 0 ||
        codec_add(builder, &dataplane->stats_offset.codec, error) != 0 ||
        group_add(builder, "runtime", runtime_definitions, RTE_DIM(runtime_definitions),
                  &dataplane->stats_offset.runtime, error) != 0 ||
        group_add(builder, "match_cache", match_cache_definitions, RTE_DIM(match_cache_definitions),
                  &dataplane->stats_offset.match_cache, error) != 0 ||
        group_add(builder, "stages", stage_definitions, RTE_DIM(stage_definitions), &dataplane->stats_offset.stages,
                  error) != 0 ||
        group_add(builder, "loop", loop_definitions, RTE_DIM(loop_definitions), &dataplane->stats_offset.loop_time,
                  error) != 0 ||
        group_add(builder, "objects", gauge_definitions, RTE_DIM(gauge_definitions), &dataplane->stats_offset.gauges,
                  error) != 0) {
        stats_builder_free(builder);
        return -1;
    }
    return stats_builder_finish(builder, dataplane->worker_count, &dataplane->stats, error);
}

/* Everything that counts messages which did not reach a subscriber. */
uint64_t dataplane_counters_dropped(const struct dataplane_counters *counters)
{
    return counters->dropped_queue_full + counters->dropped_queue_old + counters->dropped_offline +
           counters->dropped_expired + counters->dropped_too_large + counters->dropped_no_memory +
           counters->dropped_session_end + counters->dropped_rejected + counters->dropped_shared_gone;
}

/* ---- Values ----------------------------------------------------------------------------------------------------- */

static void gauges_take(struct worker *worker)
{
    struct net_census net;
    struct mem_stats memory;
    struct topic_subscribers_stats topics;
    struct topic_retained_stats retained;
    net_census(worker->net, &net);
    mem_stats(worker->memory, &memory);
    topic_subscribers_stats(worker->subscribers, &topics);
    topic_retained_stats(worker->retained, &retained);
    worker->gauges = (struct worker_gauges){
        .connections = net.connections,
        .clients_connected = worker->connected_clients,
        .sessions = session_count(worker->sessions),
        .subscriptions = topics.subscriptions,
        .retained = retained.count,
        .memory_used = memory.used,
        .memory_size = memory.capacity,
    };
}

/* In the order of match_cache.def. */
static void match_cache_publish(const struct worker *worker)
{
    struct topic_cache_stats stats;
    topic_cache_stats(worker->routes, &stats);
#define DATAPLANE_MATCH_CACHE(name, kind, unit, help) stats.name,
    const uint64_t values[] = {
#include "dataplane/match_cache.def"
    };
#undef DATAPLANE_MATCH_CACHE
    stats_publish(&worker->dataplane->stats, worker->index, worker->dataplane->stats_offset.match_cache, values,
                  RTE_DIM(values));
}

#define WORDS(object) (const uint64_t *)&(object), sizeof(object) / sizeof(uint64_t)

void statistics_publish(struct worker *worker)
{
    struct dataplane *dataplane = worker->dataplane;
    struct stats_segment *segment = &dataplane->stats;
    gauges_take(worker);
    stages_deal_out(&worker->stages, worker->runtime.busy_cycles);
    stats_publish_begin(segment, worker->index);
    stats_publish(segment, worker->index, dataplane->stats_offset.mqtt, WORDS(worker->counters));
    stats_publish(segment, worker->index, dataplane->stats_offset.net, net_counters(worker->net), NET_COUNTERS);
    stats_publish(segment, worker->index, dataplane->stats_offset.codec, worker->codec_errors + CODEC_FIRST,
                  CODEC_COUNT);
    stats_publish(segment, worker->index, dataplane->stats_offset.runtime, WORDS(worker->runtime));
    match_cache_publish(worker);
    stats_publish(segment, worker->index, dataplane->stats_offset.stages, WORDS(worker->stages.total));
    stats_publish(segment, worker->index, dataplane->stats_offset.loop_time, WORDS(worker->loop_time));
    stats_publish(segment, worker->index, dataplane->stats_offset.gauges, WORDS(worker->gauges));
    stats_publish_end(segment, worker->index, worker->now);
}

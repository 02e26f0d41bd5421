/*
 * Outlines: what of a topic decides who gets its messages.
 *
 * No filter has more than so many levels, and some levels no filter names: there all have '+', or have ended with '#'.
 * So of a million topics that only "devices/+/state" and "alarms/#" ask for, as many differ as there are first levels,
 * third levels and numbers of levels up to four. The outline of a topic is what is left of it: unnamed levels empty,
 * and nothing but a '/' behind the deepest filter. Topics of one stripe with the same outline have the same matches.
 *
 * Job:     count for each stripe of first levels (generation.h) which levels the filters of an index name, and how deep
 *          they go; take a topic's outline.
 * Callers: the index counts (writer's thread); match caches read (any thread).
 *
 * Order. A filter is counted before it is linked and no longer after it was unlinked. So a reader whose match has seen
 * a filter sees it counted if it reads the outline once more afterwards: then what it keeps holds for all topics with
 * that outline, as long as the generation stays that it had read before.
 */
#ifndef POLLUX_LIB_TOPIC_OUTLINE_H
#define POLLUX_LIB_TOPIC_OUTLINE_H

#include "lib/topic/generation.h"

#include <string.h>

/* Filters with more levels than this make all of a topic count. */
#define TOPIC_OUTLINE_LEVELS 16u

/* Bit n: some filter names level n. Above them: how many levels decide; TOPIC_OUTLINE_ALL: all that there are. */
#define TOPIC_OUTLINE_ALL (TOPIC_OUTLINE_LEVELS + 1)
typedef uint32_t topic_outline;

struct topic_outlines {
    _Atomic topic_outline of[TOPIC_STRIPES + 1];
    uint32_t named[TOPIC_STRIPES + 1][TOPIC_OUTLINE_LEVELS]; /* filters that name the level */
    uint32_t deep[TOPIC_STRIPES + 1][TOPIC_OUTLINE_ALL + 1]; /* filters with so many levels, '#' not counted */
};

/* Before the filter can be found. Writer only, as the next one. */
void topic_outlines_add(struct topic_outlines *outlines, const struct topic_seed *seed,
                        const struct topic_filter_name *filter);

/* After it was taken out. */
void topic_outlines_remove(struct topic_outlines *outlines, const struct topic_seed *seed,
                           const struct topic_filter_name *filter);

static inline uint32_t topic_outline_named(topic_outline outline)
{
    return outline & ((1u << TOPIC_OUTLINE_LEVELS) - 1);
}

static inline uint32_t topic_outline_depth(topic_outline outline)
{
    return outline >> TOPIC_OUTLINE_LEVELS;
}

/* What decides in either. */
static inline topic_outline topic_outline_join(topic_outline a, topic_outline b)
{
    const uint32_t deeper = topic_outline_depth(a) > topic_outline_depth(b) ? a : b;
    return topic_outline_named(a | b) | topic_outline_depth(deeper) << TOPIC_OUTLINE_LEVELS;
}

/* Of the topics of a stripe. Acquire pairs with the release in outline_publish. */
static inline topic_outline topic_outlines_read(const struct topic_outlines *outlines, unsigned stripe)
{
    return topic_outline_join(atomic_load_explicit(&outlines->of[stripe], memory_order_acquire),
                              atomic_load_explicit(&outlines->of[TOPIC_STRIPE_ALL], memory_order_acquire));
}

/* Does what the one says hold for whoever goes by the other? */
static inline bool topic_outline_covers(topic_outline outline, topic_outline other)
{
    return topic_outline_join(outline, other) == outline;
}

/*
 * The outline of a topic, written to `to`, which has room for as many bytes as the topic has, and one. Returns its
 * length, at least 1.
 */
static inline size_t topic_outline_take(topic_outline outline, const char *topic, size_t length, char *to)
{
    const char *end = topic + length;
    char *at = to;
    /* REQ MQTT-5 [MQTT-4.7.2-1]: which names begin with $ decides in any case [test: outline/dollar] */
    const bool dollar = *topic == '$';
    const uint32_t depth = topic_outline_depth(outline);
    for (uint32_t level = 0; level < depth || depth == TOPIC_OUTLINE_ALL || (level == 0 && dollar); level++) {
        const char *slash = memchr(topic, '/', (size_t)(end - topic));
        const size_t size = (size_t)((slash != NULL ? slash : end) - topic);
        if (level >= TOPIC_OUTLINE_LEVELS || (outline >> level & 1) != 0 || (level == 0 && dollar)) {
            memcpy(at, topic, size);
            at += size;
        }
        if (slash == NULL) {
            break;
        }
        *at++ = '/';
        topic = slash + 1;
    }
    if (at == to) {
        *at++ = '#'; /* no topic has it */
    }
    return (size_t)(at - to);
}

#endif

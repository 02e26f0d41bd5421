/*
 * Looking ahead in what a client sent: the topics of the next messages are announced to the match cache, so that memory
 * is asked for them before it is their turn. With few topics everything is in the CPU's caches and this does nothing.
 *
 * The worker calls, for packets that lie whole in one received segment. That memory is a packet buffer: when it is
 * given back and used again before the cache looks at it once more, a hint is wrong and nothing else.
 */
#ifndef POLLUX_DATAPLANE_LOOK_AHEAD_H
#define POLLUX_DATAPLANE_LOOK_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mqtt/mqtt.h"
#include "lib/topic/cache.h"

struct look_ahead {
    struct topic_cache *routes; /* NULL: not worth while */
    const uint8_t *at, *end;    /* the next packet that was not announced */
};

/* Announces the topic of the packet at the cursor, if it is a PUBLISH that lies there whole. */
static inline void look_ahead_step(struct look_ahead *ahead)
{
    struct mqtt_header header;
    const uint32_t left = (uint32_t)(ahead->end - ahead->at);
    if (left == 0 || mqtt_header_decode(ahead->at, left, UINT32_MAX, &header) != MQTT_OK ||
        header.remaining_length > left - header.length) {
        ahead->end = ahead->at;
        topic_cache_announce(ahead->routes, NULL, 0); /* those announced before go on */
        return;
    }
    const uint8_t *body = ahead->at + header.length;
    ahead->at = body + header.remaining_length;
    if (header.type == MQTT_PUBLISH && header.remaining_length >= 2) {
        const uint32_t length = (uint32_t)body[0] << 8 | body[1];
        topic_cache_announce(ahead->routes, (const char *)body + 2, length <= header.remaining_length - 2 ? length : 0);
    }
}

/*
 * Announces the first packet of a connection that is to be read a few connections from now: with many clients each
 * brings a single message, whose topic would be waited for.
 */
static inline void look_ahead_first(struct topic_cache *routes, const uint8_t *bytes, uint32_t n)
{
    if (topic_cache_is_large(routes)) {
        look_ahead_step(&(struct look_ahead){.routes = routes, .at = bytes, .end = bytes + n});
    }
}

static inline bool look_ahead_is_single(const uint8_t *bytes, uint32_t n)
{
    struct mqtt_header header;
    return mqtt_header_decode(bytes, n, UINT32_MAX, &header) == MQTT_OK && header.length + header.remaining_length == n;
}

/* Begins with a segment's packets. Call look_ahead_step for each packet that is handled from now on. */
static inline struct look_ahead look_ahead_begin(struct topic_cache *routes, const uint8_t *bytes, uint32_t n)
{
    const bool worth_while = topic_cache_is_large(routes) && !look_ahead_is_single(bytes, n);
    struct look_ahead ahead = {.routes = worth_while ? routes : NULL, .at = bytes, .end = bytes + n};
    for (uint32_t i = 0; ahead.routes != NULL && i < TOPIC_CACHE_AHEAD && ahead.at != ahead.end; i++) {
        look_ahead_step(&ahead);
    }
    return ahead;
}

#endif

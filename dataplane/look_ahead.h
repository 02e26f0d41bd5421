/*
 * Looking ahead in what a client sent: the topics of the next messages are announced to the match cache, so that memory
 * is asked for them before it is their turn. With few topics everything is in the CPU's caches and this does nothing.
 *
 * The worker calls, for packets that lie whole in one received segment; nothing is kept beyond look_ahead_end.
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

/* Begins with a segment's packets. Call look_ahead_step for each packet that is handled from now on. */
static inline struct look_ahead look_ahead_begin(struct topic_cache *routes, const uint8_t *bytes, uint32_t n)
{
    struct look_ahead ahead = {.routes = topic_cache_is_large(routes) ? routes : NULL, .at = bytes, .end = bytes + n};
    for (uint32_t i = 0; ahead.routes != NULL && i < TOPIC_CACHE_AHEAD && ahead.at != ahead.end; i++) {
        look_ahead_step(&ahead);
    }
    return ahead;
}

static inline void look_ahead_end(struct look_ahead *ahead)
{
    if (ahead->routes != NULL) {
        topic_cache_announce_end(ahead->routes);
    }
}

#endif

/*
 * Looking ahead in what a client sent: the topics of the next messages are announced to the match cache, so that memory
 * is asked for them before it is their turn. With few topics everything is in the CPU's caches and this does nothing.
 *
 * The worker calls. Topics are looked at where they were received, in packet buffers: when one is given back and used
 * again before the cache looks at it once more, a hint is wrong and nothing else.
 */
#ifndef POLLUX_DATAPLANE_LOOK_AHEAD_H
#define POLLUX_DATAPLANE_LOOK_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mqtt/mqtt.h"
#include "lib/net/tcp.h"
#include "lib/topic/cache.h"

#define LOOK_AHEAD_FROM 8192u /* topics in use: fewer are in the CPU's caches, and reading ahead only costs */

struct look_ahead {
    struct topic_cache *routes;       /* NULL: not worth while */
    const struct tcp_connection *tcp; /* NULL: what lies behind this segment is not to be read yet */
    const uint8_t *at, *end;          /* the next packet that was not announced; NULL: none */
};

/* The packet's last `rest` bytes, 0 or more, lie behind the segment: on to what follows them. */
static inline void look_ahead_cross(struct look_ahead *ahead, uint32_t rest)
{
    const uint8_t *bytes;
    uint32_t n;
    ahead->at = NULL;
    while (ahead->tcp != NULL && (bytes = tcp_peek_next(ahead->tcp, ahead->end, &n)) != NULL) {
        ahead->end = bytes + n;
        if (rest < n) {
            ahead->at = bytes + rest;
            return;
        }
        rest -= n;
    }
}

/* Announces the topic of the packet at the cursor, if it is a PUBLISH. Those announced before go on in any case. */
static inline void look_ahead_step(struct look_ahead *ahead)
{
    struct mqtt_header header;
    const uint8_t *topic = NULL;
    uint32_t length = 0;
    if (ahead->at != NULL) {
        const uint32_t left = (uint32_t)(ahead->end - ahead->at);
        if (mqtt_header_decode(ahead->at, left, UINT32_MAX, &header) != MQTT_OK) {
            ahead->at = NULL;
        } else {
            const uint8_t *body = ahead->at + header.length;
            const uint32_t here = left - header.length;
            if (header.type == MQTT_PUBLISH && header.remaining_length >= 2 && here >= 2) {
                topic = body + 2;
                length = (uint32_t)body[0] << 8 | body[1];
                length = length <= here - 2 ? length : 0;
            }
            ahead->at = body + header.remaining_length;
            if (header.remaining_length >= here) {
                look_ahead_cross(ahead, header.remaining_length - here);
            }
        }
    }
    topic_cache_announce(ahead->routes, (const char *)topic, length);
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

static inline bool look_ahead_is_single(const struct look_ahead *ahead)
{
    struct mqtt_header header;
    const uint32_t n = (uint32_t)(ahead->end - ahead->at);
    uint32_t more;
    return mqtt_header_decode(ahead->at, n, UINT32_MAX, &header) == MQTT_OK &&
           header.length + header.remaining_length == n &&
           (ahead->tcp == NULL || tcp_peek_next(ahead->tcp, ahead->end, &more) == NULL);
}

/* Once for each time that a connection is read. */
static inline struct look_ahead look_ahead_begin(struct topic_cache *routes, const struct tcp_connection *tcp)
{
    return (struct look_ahead){.routes = topic_cache_is_large(routes) ? routes : NULL, .tcp = tcp};
}

/*
 * A segment's packets are about to be handled. Call look_ahead_step for each of them from now on. Does nothing where
 * the cursor has come further already.
 */
static inline void look_ahead_segment(struct look_ahead *ahead, const uint8_t *bytes, uint32_t n)
{
    if (ahead->routes == NULL || ahead->at != NULL || n == 0) {
        return;
    }
    ahead->at = bytes;
    ahead->end = bytes + n;
    if (look_ahead_is_single(ahead)) {
        ahead->at = NULL;
    }
    for (uint32_t i = 0; i < TOPIC_CACHE_AHEAD && ahead->at != NULL; i++) {
        look_ahead_step(ahead);
    }
}

#endif

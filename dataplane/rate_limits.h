/*
 * Limits of one client: token buckets for messages and bytes, in and out (mqtt.limit-...). A bucket holds a second's
 * worth; a message passes while there is anything in it, and may leave a debt, so that large messages pass too.
 *
 * The worker that owns the client calls; memory is from its region. A client without limits has none of this.
 */
#ifndef POLLUX_DATAPLANE_RATE_LIMITS_H
#define POLLUX_DATAPLANE_RATE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/shm/config.h"

#define LIMITS_SECOND 1000000 /* microseconds; what one message or byte takes out of a bucket */

struct bucket {
    int64_t tokens; /* millionths, so that refilling is a multiplication by microseconds */
    uint64_t at;    /* microseconds of the last refill */
};

struct limits {
    struct bucket messages_in, bytes_in, messages_out, bytes_out;
    bool held_in, held_out; /* over a limit at the last try */
};

static inline bool limits_are_set(const struct shm_mqtt_config *config)
{
    return (config->limit_messages_in | config->limit_messages_out | config->limit_bytes_in |
            config->limit_bytes_out) != 0;
}

/* Refills; `rate` a second, 0: no limit. Is there anything in it? */
static inline bool bucket_is_open(struct bucket *bucket, uint64_t rate, uint64_t now)
{
    const int64_t full = (int64_t)(rate * LIMITS_SECOND);
    int64_t refill;
    /* All of the time counts, also for a debt of more than a second; what is too much for 64 bits fills any bucket. */
    if (__builtin_mul_overflow(rate, now - bucket->at, &refill) ||
        __builtin_add_overflow(bucket->tokens, refill, &bucket->tokens) || bucket->tokens > full) {
        bucket->tokens = full;
    }
    bucket->at = now;
    return rate == 0 || bucket->tokens > 0;
}

static inline void bucket_take(struct bucket *bucket, uint64_t rate, uint64_t count)
{
    bucket->tokens -= rate == 0 ? 0 : (int64_t)(count * LIMITS_SECOND);
}

/* Both tests are made, so that both buckets are refilled. */
static inline bool limits_open_in(struct limits *limits, const struct shm_mqtt_config *config, uint64_t now)
{
    const bool messages = bucket_is_open(&limits->messages_in, config->limit_messages_in, now);
    const bool bytes = bucket_is_open(&limits->bytes_in, config->limit_bytes_in, now);
    return messages && bytes;
}

static inline bool limits_open_out(struct limits *limits, const struct shm_mqtt_config *config, uint64_t now)
{
    const bool messages = bucket_is_open(&limits->messages_out, config->limit_messages_out, now);
    const bool bytes = bucket_is_open(&limits->bytes_out, config->limit_bytes_out, now);
    return messages && bytes;
}

static inline void limits_take_in(struct limits *limits, const struct shm_mqtt_config *config, uint64_t bytes)
{
    bucket_take(&limits->messages_in, config->limit_messages_in, 1);
    bucket_take(&limits->bytes_in, config->limit_bytes_in, bytes);
}

static inline void limits_take_out(struct limits *limits, const struct shm_mqtt_config *config, uint64_t bytes)
{
    bucket_take(&limits->messages_out, config->limit_messages_out, 1);
    bucket_take(&limits->bytes_out, config->limit_bytes_out, bytes);
}

#endif

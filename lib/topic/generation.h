/*
 * Striped generations: how a match cache knows that a table has changed where it matters.
 *
 * Job:     one counter for each stripe of first levels, and one that stands for all stripes (filters that begin with a
 *          wildcard), so that churn in one part of the topic tree does not flush what is cached of the rest.
 * Callers: tables bump (writer's thread) after each change; caches read (any thread).
 *
 * A reader takes the generation BEFORE it matches and keeps it with the result. The result holds as long as the
 * generation reads the same: both counters only grow, so their sum is equal only if both are.
 */
#ifndef POLLUX_LIB_TOPIC_GENERATION_H
#define POLLUX_LIB_TOPIC_GENERATION_H

#include "lib/topic/quick_hash.h"

#include <stdatomic.h>
#include <stdint.h>

#define TOPIC_STRIPES 64u
#define TOPIC_STRIPE_ALL TOPIC_STRIPES

struct topic_generations {
    _Atomic uint64_t counter[TOPIC_STRIPES + 1];
};

/* Stripe of a topic, from its text. */
static inline unsigned topic_stripe(const struct topic_seed *seed, const char *topic, size_t length)
{
    const char *slash = memchr(topic, '/', length);
    return (unsigned)(topic_quick_hash(seed, topic, slash != NULL ? (size_t)(slash - topic) : length) % TOPIC_STRIPES);
}

/* Stripe of a filter; TOPIC_STRIPE_ALL when it begins with a wildcard. */
unsigned topic_filter_stripe(const struct topic_seed *seed, const struct topic_filter_name *filter);

/* Acquire pairs with the release in topic_generations_bump: who reads the new generation sees the change. */
static inline uint64_t topic_generations_read(const struct topic_generations *generations, unsigned stripe)
{
    return atomic_load_explicit(&generations->counter[stripe], memory_order_acquire) +
           atomic_load_explicit(&generations->counter[TOPIC_STRIPE_ALL], memory_order_acquire);
}

/* After the change is in place. `stripe` may be TOPIC_STRIPE_ALL. One writer: no read-modify-write is needed. */
static inline void topic_generations_bump(struct topic_generations *generations, unsigned stripe)
{
    uint64_t value = atomic_load_explicit(&generations->counter[stripe], memory_order_relaxed);
    atomic_store_explicit(&generations->counter[stripe], value + 1, memory_order_release);
}

#endif

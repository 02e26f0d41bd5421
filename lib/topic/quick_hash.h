/*
 * A hash in a few ns, seeded: two multiplications and a fold. Somebody who guessed the seed could make texts collide,
 * so it is for what collisions cost little: a match cache, which then forgets sooner, and stripes. Private to
 * lib/topic. Any thread.
 */
#ifndef POLLUX_LIB_TOPIC_QUICK_HASH_H
#define POLLUX_LIB_TOPIC_QUICK_HASH_H

#include "lib/topic/name.h"

#include <string.h>

static inline uint64_t quick_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t quick_load(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* Two overlapping words end it, so there is no loop over single bytes. */
static inline uint64_t topic_quick_hash(const struct topic_seed *seed, const char *text, size_t length)
{
    uint64_t a = 0, b = 0, hash = seed->key[0] ^ length;
    for (; length > 16; text += 16, length -= 16) {
        hash = quick_fold(quick_load(text) ^ seed->key[1], quick_load(text + 8) ^ hash);
    }
    if (length >= 8) {
        a = quick_load(text);
        b = quick_load(text + length - 8);
    } else if (length >= 4) {
        uint32_t low, high;
        memcpy(&low, text, 4);
        memcpy(&high, text + length - 4, 4);
        a = low;
        b = high;
    } else if (length > 0) {
        a = (uint64_t)(uint8_t)text[0] << 16 | (uint64_t)(uint8_t)text[length / 2] << 8 | (uint8_t)text[length - 1];
    }
    return quick_fold(quick_fold(a ^ seed->key[1], b ^ hash), 0x9e3779b97f4a7c15ull ^ seed->key[0]) & ~seed->weaken;
}

#endif

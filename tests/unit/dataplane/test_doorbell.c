/* Doorbells on real threads: whoever puts work in front of a sleeper wakes it, at every moment of falling asleep. */
#include <pthread.h>
#include <time.h>

#include <criterion/criterion.h>

#include "dataplane/doorbell.h"

enum {
    ROUNDS = 5000,
    SLEEP_US = 900000, /* one lost ring costs as much */
    BOUND_S = 30       /* all rounds, with room for a loaded machine; two lost rings in a hundred would break it */
};

struct side {
    struct doorbell bell;
    _Atomic uint32_t work; /* rounds that the other side has put in front of this one */
};

struct pair {
    struct side sides[2];
};

static uint64_t microseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void put(struct side *to, uint32_t round)
{
    atomic_store_explicit(&to->work, round, memory_order_release);
    doorbell_published();
    doorbell_ring(&to->bell);
}

/* Returns how many sleeps ran to their end. */
static uint32_t wait_for(struct side *self, uint32_t round)
{
    uint32_t timeouts = 0;
    while (atomic_load_explicit(&self->work, memory_order_acquire) < round) {
        const uint64_t start = microseconds();
        doorbell_arm(&self->bell);
        if (atomic_load_explicit(&self->work, memory_order_acquire) < round) {
            doorbell_sleep(&self->bell, SLEEP_US);
        }
        doorbell_disarm(&self->bell);
        timeouts += microseconds() - start >= SLEEP_US && atomic_load(&self->work) >= round;
    }
    return timeouts;
}

static void *answer(void *arg)
{
    struct pair *pair = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        wait_for(&pair->sides[1], round);
        put(&pair->sides[0], round);
    }
    return NULL;
}

Test(doorbell, no_ring_is_lost)
{
    static struct pair pair;
    pthread_t thread;
    const uint64_t start = microseconds();
    cr_assert_eq(pthread_create(&thread, NULL, answer, &pair), 0);
    uint32_t timeouts = 0;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        put(&pair.sides[1], round);
        timeouts += wait_for(&pair.sides[0], round);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(timeouts, 0, "%u sleeps ended by their time although work was there", timeouts);
    cr_expect_lt(microseconds() - start, BOUND_S * UINT64_C(1000000));
}

Test(doorbell, an_unarmed_bell_is_not_rung)
{
    struct doorbell bell = {0};
    doorbell_ring(&bell);
    cr_expect(!doorbell_is_armed(&bell));
    const uint64_t start = microseconds();
    doorbell_arm(&bell);
    doorbell_sleep(&bell, 20000);
    cr_expect_geq(microseconds() - start, 20000, "the earlier ring did not shorten the sleep");
    doorbell_disarm(&bell);
}

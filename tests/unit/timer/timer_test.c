/* The timing wheel against a plain model: nothing early, nothing late, nothing lost, handlers free to do anything. */
#include "lib/timer/timer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { TICK = 1 << TIMER_TICK_SHIFT, MANY = 20000 };

struct item {
    struct timer timer;
    uint64_t when;
    unsigned fired;
};

static struct timer_wheel wheel;
static struct item items[MANY];
static unsigned fired_early, fired_late, fired;
static uint64_t slack; /* how late is too late */
static uint64_t state = 1;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void count(void *arg, struct timer *timer, uint64_t now)
{
    struct item *item = (struct item *)timer;

    fired++;
    item->fired++;
    fired_early += now < item->when;
    fired_late += now > item->when + slack;
}

static void begin(uint64_t now)
{
    timer_wheel_init(&wheel, now);
    timer_wheel_bind(&wheel, 0, count, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        timer_init(&items[i].timer, 0);
        items[i].fired = 0;
    }
    fired = fired_early = fired_late = 0;
}

Test(timer, is_small)
{
    cr_assert_leq(sizeof(struct timer), 24);
}

Test(timer, random_times_fire_once_and_in_time)
{
    uint64_t now = 12345678;

    begin(now);
    slack = TICK;
    for (unsigned i = 0; i < MANY; i++) {
        items[i].when = now + next_random() % (UINT64_C(1) << (next_random() % 40));
        timer_set(&wheel, &items[i].timer, items[i].when);
    }
    while (wheel.pending) {
        uint64_t next = timer_wheel_next(&wheel);
        cr_assert_neq(next, TIMER_NEVER);
        now = next > now ? next : now + 1;
        timer_wheel_advance(&wheel, now, UINT32_MAX);
    }
    cr_assert_eq(fired, MANY);
    cr_assert_eq(fired_early, 0);
    cr_assert_eq(fired_late, 0);
    cr_assert_eq(timer_wheel_next(&wheel), TIMER_NEVER);
}

Test(timer, next_is_never_late)
{
    begin(0);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = (uint64_t)i * 1000003, when = now + 1 + next_random() % 100000000000u;
        timer_wheel_advance(&wheel, now, UINT32_MAX);
        timer_set(&wheel, &items[0].timer, when);
        cr_assert_leq(timer_wheel_next(&wheel), when + TICK);
        timer_cancel(&wheel, &items[0].timer);
    }
}

Test(timer, cancel_and_move)
{
    begin(0);
    slack = UINT64_MAX / 2;
    timer_set(&wheel, &items[0].timer, 1000);
    timer_set(&wheel, &items[1].timer, 1000);
    cr_assert(timer_pending(&items[0].timer));
    timer_cancel(&wheel, &items[0].timer);
    timer_cancel(&wheel, &items[0].timer);
    cr_assert(!timer_pending(&items[0].timer));
    timer_set(&wheel, &items[1].timer, 500000000);
    timer_wheel_advance(&wheel, 400000000, UINT32_MAX);
    cr_assert_eq(fired, 0);
    timer_wheel_advance(&wheel, 500000256, UINT32_MAX);
    cr_assert_eq(fired, 1);
    cr_assert_eq(wheel.pending, 0);
}

Test(timer, beyond_the_span_of_the_wheel)
{
    uint64_t year = UINT64_C(31557600) * 1000000;

    begin(0);
    slack = TICK;
    items[0].when = year;
    timer_set(&wheel, &items[0].timer, year);
    for (uint64_t now = 0; now < year; now += UINT64_C(3600) * 1000000)
        timer_wheel_advance(&wheel, now, UINT32_MAX);
    cr_assert_eq(fired, 0);
    timer_wheel_advance(&wheel, year + TICK, UINT32_MAX);
    cr_assert_eq(fired, 1);
    cr_assert_eq(fired_early, 0);
}

Test(timer, budget_bounds_the_work)
{
    unsigned calls = 0;

    begin(0);
    slack = UINT64_MAX / 2;
    for (unsigned i = 0; i < 5000; i++) {
        items[i].when = 40000000 + i % 7 * 1000;
        timer_set(&wheel, &items[i].timer, items[i].when);
    }
    while (wheel.pending) {
        cr_assert_leq(timer_wheel_advance(&wheel, 50000000, 64), 64);
        calls++;
    }
    cr_assert_eq(fired, 5000);
    cr_assert_geq(calls, 5000 / 64);
}

static struct item *victim;

static void cancel_other_and_rearm(void *arg, struct timer *timer, uint64_t now)
{
    fired++;
    if (victim)
        timer_cancel(&wheel, &victim->timer);
    if (fired < 3)
        timer_set(&wheel, timer, now); /* "now" means the next tick, or this would never end */
}

Test(timer, handlers_may_cancel_and_rearm)
{
    begin(0);
    timer_wheel_bind(&wheel, 1, cancel_other_and_rearm, NULL);
    timer_init(&items[0].timer, 1);
    victim = &items[1];
    timer_set(&wheel, &items[1].timer, 1000);
    timer_set(&wheel, &items[0].timer, 1000); /* pushed in front of its victim */
    timer_wheel_advance(&wheel, 1024, UINT32_MAX);
    cr_assert_eq(items[1].fired, 0);
    cr_assert_eq(fired, 1);
    timer_wheel_advance(&wheel, 2048, UINT32_MAX);
    cr_assert_eq(fired, 3);
    cr_assert_eq(wheel.pending, 0);
}

static void free_self(void *arg, struct timer *timer, uint64_t now)
{
    free(timer);
    fired++;
}

Test(timer, handler_may_free_its_timer)
{
    begin(0);
    timer_wheel_bind(&wheel, 2, free_self, NULL);
    for (unsigned i = 0; i < 10; i++) {
        struct timer *timer = malloc(sizeof *timer);
        timer_init(timer, 2);
        timer_set(&wheel, timer, 5000);
    }
    timer_wheel_advance(&wheel, 10000, UINT32_MAX);
    cr_assert_eq(fired, 10);
}

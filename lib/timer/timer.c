/*
 * The timing wheel. Job, threads and ownership: timer.h.
 *
 * A timer of tick E lies on level 0 when E is less than 256 ticks away, on level 1 when less than 65,536, and so on, in
 * slot (E >> 8 * level) & 255. When the wheel reaches a tick whose low 8 * level bits are zero, the slot of that level
 * is moved down ("cascade") before the tick's own slot fires. `wheel->tick` stays on a tick until its cascades are
 * done, which is what makes running out of budget in the middle harmless.
 */
#include "lib/timer/timer.h"

#include <string.h>

enum { LEVEL_BITS = 8, SLOT_MASK = TIMER_SLOTS - 1 };

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->tick = now >> TIMER_TICK_SHIFT;
}

void timer_wheel_bind(struct timer_wheel *wheel, unsigned kind, timer_handler *handler, void *arg)
{
    wheel->kinds[kind].handler = handler;
    wheel->kinds[kind].arg = arg;
}

static void list_push(struct timer **head, struct timer *timer)
{
    timer->next = *head;
    if (timer->next)
        timer->next->link = &timer->next;
    timer->link = head;
    *head = timer;
}

static void list_unlink(struct timer *timer)
{
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    timer->link = NULL;
}

static void wheel_insert(struct timer_wheel *wheel, struct timer *timer)
{
    uint64_t tick = timer->expires > wheel->tick ? timer->expires : wheel->tick;
    uint64_t distance = tick - wheel->tick;
    unsigned level = distance ? (63u - (unsigned)__builtin_clzll(distance)) / LEVEL_BITS : 0;

    if (level >= TIMER_LEVELS) { /* beyond the span: wait in the furthest slot of the last level */
        level = TIMER_LEVELS - 1;
        tick = wheel->tick + ((uint64_t)SLOT_MASK << (LEVEL_BITS * level));
    }
    unsigned slot = (tick >> (LEVEL_BITS * level)) & SLOT_MASK;
    wheel->occupied[level][slot / 64] |= UINT64_C(1) << (slot % 64);
    list_push(&wheel->slots[level][slot], timer);
}

void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t when)
{
    if (timer->link)
        list_unlink(timer);
    else
        wheel->pending++;
    timer->expires = timer_tick(when);
    wheel_insert(wheel, timer);
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer->link)
        return;
    list_unlink(timer);
    wheel->pending--;
}

static void slot_mark_empty(struct timer_wheel *wheel, unsigned level, unsigned slot)
{
    wheel->occupied[level][slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

/* Move the timers of one slot down; false when the budget ended first. */
static bool slot_cascade(struct timer_wheel *wheel, unsigned level, unsigned slot, unsigned *budget)
{
    struct timer *timer;

    while ((timer = wheel->slots[level][slot]) != NULL) {
        if (*budget == 0)
            return false;
        --*budget;
        list_unlink(timer);
        wheel_insert(wheel, timer);
    }
    slot_mark_empty(wheel, level, slot);
    return true;
}

/* All cascades that belong to the current tick, highest level first. */
static bool tick_cascade(struct timer_wheel *wheel, unsigned *budget)
{
    for (unsigned level = TIMER_LEVELS - 1; level > 0; level--) {
        unsigned shift = LEVEL_BITS * level;
        if (wheel->tick & ((UINT64_C(1) << shift) - 1))
            continue;
        if (!slot_cascade(wheel, level, (wheel->tick >> shift) & SLOT_MASK, budget))
            return false;
    }
    return true;
}

static bool due_fire(struct timer_wheel *wheel, uint64_t now, unsigned *budget)
{
    struct timer *timer;

    while ((timer = wheel->due) != NULL) {
        if (*budget == 0)
            return false;
        --*budget;
        list_unlink(timer);
        wheel->pending--;
        wheel->kinds[timer->kind].handler(wheel->kinds[timer->kind].arg, timer, now);
    }
    return true;
}

/* Distance (1..256) from `slot` to the next occupied slot after it, going round; 0 when there is none. */
static unsigned occupied_after(const uint64_t *occupied, unsigned slot)
{
    for (unsigned step = 1; step <= TIMER_SLOTS;) {
        unsigned at = (slot + step) & SLOT_MASK;
        uint64_t word = occupied[at / 64] >> (at % 64);
        if (word) {
            step += (unsigned)__builtin_ctzll(word);
            return step <= TIMER_SLOTS ? step : 0;
        }
        step += 64 - at % 64;
    }
    return 0;
}

/* The first tick from `wheel->tick` on that has something to cascade or to fire; UINT64_MAX when there is none. */
static uint64_t tick_next(const struct timer_wheel *wheel)
{
    uint64_t next = UINT64_MAX;

    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        unsigned shift = LEVEL_BITS * level;
        /* The slot a level is in has been moved down already, except on the very tick at its start. */
        uint64_t before = ((wheel->tick + (UINT64_C(1) << shift) - 1) >> shift) - 1;
        unsigned step = occupied_after(wheel->occupied[level], before & SLOT_MASK);
        if (step && (before + step) << shift < next)
            next = (before + step) << shift;
    }
    return next;
}

unsigned timer_wheel_advance(struct timer_wheel *wheel, uint64_t now, unsigned budget)
{
    const uint64_t end = (now >> TIMER_TICK_SHIFT) + 1;
    unsigned left = budget;

    while (due_fire(wheel, now, &left) && wheel->tick < end) {
        uint64_t next = tick_next(wheel);
        if (next >= end) {
            wheel->tick = end;
            break;
        }
        wheel->tick = next;
        if (!tick_cascade(wheel, &left))
            break;
        unsigned slot = wheel->tick & SLOT_MASK;
        struct timer *list = wheel->slots[0][slot];
        wheel->slots[0][slot] = NULL;
        slot_mark_empty(wheel, 0, slot);
        wheel->due = list;
        if (list)
            list->link = &wheel->due;
        wheel->tick++; /* what a handler sets for now goes to the next tick: no handler can keep this loop alive */
    }
    return budget - left;
}

uint64_t timer_wheel_next(const struct timer_wheel *wheel)
{
    uint64_t next = wheel->due ? wheel->tick - 1 : tick_next(wheel);

    return next == UINT64_MAX ? TIMER_NEVER : next << TIMER_TICK_SHIFT;
}

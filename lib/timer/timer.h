/*
 * lib/timer: a hierarchical timing wheel for one thread.
 *
 * Who may call it: the thread that owns the wheel, nobody else. Memory: the wheel and every timer belong to the caller
 * (timers are intrusive); the library allocates nothing and reads no clock.
 *
 * Unit outside: microseconds, monotonic. Unit inside: a tick of 128 us (`now >> 7`), so that turning time into a slot
 * is a shift. Four levels of 256 slots span 2^32 ticks (six days); a timer further away waits in the last slot and is
 * put back until its time comes, so any distance is allowed.
 *
 * Guarantees
 *  - A timer never fires before its time; it fires in the first timer_wheel_advance() at least one tick after it.
 *  - timer_set() and timer_cancel() are O(1) and may be called from any handler, on any timer, the firing one included.
 *    A handler may free its timer's memory.
 *  - timer_wheel_advance() does at most `budget` units of work (a handler call or a timer moved down one level) and
 * goes on from there in the next call: a million timers due at once are not one long iteration.
 *  - Empty ticks cost nothing: occupancy bitmaps are skipped over, so virtual time may jump by days.
 *
 * A timer carries no function pointer but a `kind`, an index into the wheel's table of handlers: that keeps it at 24
 * bytes, and one cache line fewer is touched per expiry.
 */
#ifndef LIB_TIMER_TIMER_H
#define LIB_TIMER_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TIMER_TICK_SHIFT = 7, /* one tick is 128 us */
    TIMER_LEVELS = 4,
    TIMER_SLOTS = 256, /* per level */
    TIMER_KINDS = 16,  /* handlers a wheel can hold */
};

/* "No timer is pending", as returned by timer_wheel_next(). */
#define TIMER_NEVER UINT64_MAX

struct timer {
    struct timer *next;
    struct timer **link;   /* the pointer that points at this timer; NULL while not pending */
    uint64_t expires : 56; /* tick */
    uint64_t kind : 8;     /* which handler */
};

/* Called when `timer` is due. It is no longer pending: the handler may set it again, or free it. */
typedef void timer_handler(void *arg, struct timer *timer, uint64_t now);

struct timer_wheel {
    uint64_t tick;     /* the next tick to be processed */
    struct timer *due; /* taken off the wheel, waiting for their handler */
    uint64_t pending;  /* timers set and not yet fired, for the object census */
    struct {
        timer_handler *handler;
        void *arg;
    } kinds[TIMER_KINDS];
    uint64_t occupied[TIMER_LEVELS][TIMER_SLOTS / 64]; /* may say "occupied" for an emptied slot, never the reverse */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
};

/* Start an empty wheel at time `now` (us). */
void timer_wheel_init(struct timer_wheel *wheel, uint64_t now);

/* Timers of `kind` (below TIMER_KINDS) call `handler(arg, ...)` from now on. */
void timer_wheel_bind(struct timer_wheel *wheel, unsigned kind, timer_handler *handler, void *arg);

/* Fire what is due at `now`, at most `budget` units of work. Returns the work done; `budget` means: more may be due. */
unsigned timer_wheel_advance(struct timer_wheel *wheel, uint64_t now, unsigned budget);

/*
 * Lower bound (us) of the next expiry: nothing fires before it, so the owner may sleep until then. TIMER_NEVER when
 * nothing is pending. May be early (a slot of a higher level counts from its start), never late.
 */
uint64_t timer_wheel_next(const struct timer_wheel *wheel);

/* (Re)arm `timer` for time `when` (us). A time already past fires with the next tick. */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t when);

/* Disarm; no effect on a timer that is not pending. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

static inline void timer_init(struct timer *timer, unsigned kind)
{
    timer->next = NULL;
    timer->link = NULL;
    timer->expires = 0;
    timer->kind = kind;
}

static inline bool timer_pending(const struct timer *timer)
{
    return timer->link != NULL;
}

/* The first tick that is not before `when` (us). */
static inline uint64_t timer_tick(uint64_t when)
{
    return (when + (1u << TIMER_TICK_SHIFT) - 1) >> TIMER_TICK_SHIFT;
}

#endif

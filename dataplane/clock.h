/*
 * The one clock of the dataplane: microseconds since start, from the time stamp counter.
 *
 * Only the loops (worker.c, housekeeper.c) read it, once per iteration, and pass `now` down as an argument; everything
 * below them runs in virtual time in the tests. No division: the conversion is a multiplication and a shift.
 */
#ifndef POLLUX_DATAPLANE_CLOCK_H
#define POLLUX_DATAPLANE_CLOCK_H

#include <stdint.h>

#include <rte_cycles.h>

struct clock {
    uint64_t origin;      /* cycles at start */
    uint64_t us_per_2e32; /* microseconds in 2^32 cycles */
    uint64_t ns_per_2e20; /* nanoseconds in 2^20 cycles, for short times */
    uint64_t cycles_per_second;
};

static inline void clock_init(struct clock *clock)
{
    clock->cycles_per_second = rte_get_tsc_hz();
    clock->us_per_2e32 = (uint64_t)(((__uint128_t)1000000 << 32) / clock->cycles_per_second);
    clock->ns_per_2e20 = (UINT64_C(1000000000) << 20) / clock->cycles_per_second;
    clock->origin = rte_rdtsc();
}

/* Microseconds from `clock_init` to the moment at which the counter read `cycles`. */
static inline uint64_t clock_microseconds(const struct clock *clock, uint64_t cycles)
{
    return (uint64_t)(((__uint128_t)(cycles - clock->origin) * clock->us_per_2e32) >> 32);
}

/* The same in nanoseconds. */
static inline uint64_t clock_nanoseconds(const struct clock *clock, uint64_t cycles)
{
    return (uint64_t)(((__uint128_t)(cycles - clock->origin) * (clock->us_per_2e32 * 1000)) >> 32);
}

#endif

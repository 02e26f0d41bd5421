/* Sequence numbers, timestamps and ticks: comparison modulo 2^32 (RFC 9293 section 3.4). Pure functions. */
#ifndef LIB_NET_TCP_SEQUENCE_H
#define LIB_NET_TCP_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool sequence_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool sequence_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

#endif

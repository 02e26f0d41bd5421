/*
 * One line for each TCP segment put on a simulated link, after the manner of tcpdump: what sweep and router print with
 * --trace.
 */
#ifndef TESTS_SIM_TRACE_H
#define TESTS_SIM_TRACE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* `from`: who sends it. IPv4 and IPv6 without options; of other frames their type and length. */
static inline void trace_frame(uint64_t now_us, const char *from, const uint8_t *frame, uint32_t length)
{
    const uint8_t *tcp = frame + (frame[12] == 0x08 ? 34 : 54);
    uint32_t sequence, ack;
    if ((frame[12] == 0x08 ? frame[23] : frame[20]) != 6 || length < 54) {
        printf("%12.6f %s %02x%02x, %u bytes\n", (double)now_us / 1e6, from, frame[12], frame[13], length);
        return;
    }
    memcpy(&sequence, tcp + 4, 4);
    memcpy(&ack, tcp + 8, 4);
    printf("%12.6f %s %c%c%c%c seq %u ack %u window %u, %u bytes\n", (double)now_us / 1e6, from,
           tcp[13] & 2 ? 'S' : '.', tcp[13] & 1 ? 'F' : '.', tcp[13] & 4 ? 'R' : '.', tcp[13] & 8 ? 'P' : '.',
           __builtin_bswap32(sequence), __builtin_bswap32(ack), tcp[14] * 256u + tcp[15],
           length - (uint32_t)(tcp - frame) - (tcp[12] >> 4) * 4u);
}

#endif

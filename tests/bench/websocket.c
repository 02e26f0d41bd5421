/*
 * What it costs to take the frames of a client off: cycles a frame, payloads of some sizes, the best of many rounds.
 *
 *      bench-websocket
 */
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

#include "dataplane/websocket_frame.h"

enum { BYTES = 65536, ROUNDS = 500 };

/* Frames of `size` bytes of payload, as many as fit. Returns how many. */
static uint32_t frames_write(uint8_t *bytes, uint32_t size, uint32_t *length)
{
    uint32_t frames = 0;
    uint8_t *at = bytes;
    for (; at + size + WEBSOCKET_HEADER_MAX <= bytes + BYTES; frames++) {
        uint8_t *second = at + 1;
        at = websocket_header_write(at, WEBSOCKET_BINARY, size);
        *second |= 0x80;
        memcpy(at, "\1\2\3\4", 4);
        at += 4 + size;
    }
    *length = (uint32_t)(at - bytes);
    return frames;
}

int main(void)
{
    static uint8_t frames[BYTES], copy[BYTES];
    static const uint32_t sizes[] = {20, 64, 256, 1400};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t length;
        uint64_t best = UINT64_MAX;
        const uint32_t count = frames_write(frames, sizes[i], &length);
        for (uint32_t round = 0; round < ROUNDS; round++) {
            struct websocket_reader reader = {.left = 0};
            memcpy(copy, frames, length);
            const uint64_t start = rte_rdtsc();
            const uint32_t payload = websocket_read(&reader, copy, length);
            const uint64_t taken = rte_rdtsc() - start;
            if (payload != count * sizes[i]) {
                printf("%u bytes of payload instead of %u\n", payload, count * sizes[i]);
                return 1;
            }
            best = taken < best ? taken : best;
        }
        printf("payload of %4u bytes: %.0f cycles a frame\n", sizes[i], (double)best / count);
    }
    return 0;
}

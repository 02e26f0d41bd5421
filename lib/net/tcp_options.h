/*
 * TCP options: bytes <-> struct. Pure functions over the caller's memory; never read beyond `length`.
 */
#ifndef LIB_NET_TCP_OPTIONS_H
#define LIB_NET_TCP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    TCP_OPTIONS_MAX = 40,
    TCP_SACK_BLOCKS = 4,
    TCP_TIMESTAMP_BYTES = 12, /* with its two leading NOPs */
    TCP_TIMEOUT_BYTES = 4,
    TCP_SCALE_MAX = 14, /* RFC 7323 section 2.3 */
};

struct tcp_sack_block {
    uint32_t start;
    uint32_t end; /* first sequence number after the block */
};

struct tcp_options {
    uint32_t timestamp;      /* TSval */
    uint32_t timestamp_echo; /* TSecr */
    uint16_t mss;            /* 0: absent */
    uint16_t user_timeout_s; /* 0: absent; 65,535: that or more */
    uint8_t scale;
    uint8_t sack_count;
    bool has_timestamp;
    bool has_scale;
    bool sack_permitted;
    struct tcp_sack_block sack[TCP_SACK_BLOCKS];
};

/*
 * Parse the options of a segment; `syn` says whether those of a SYN count. False when a length is wrong: what came
 * before it is kept, the rest ignored, as a segment must not be lost to an option we do not know.
 */
bool tcp_options_parse(const uint8_t *bytes, size_t length, bool syn, struct tcp_options *options);

/* Write the options of a SYN or SYN-ACK (absent ones left out). Returns bytes, a multiple of 4. */
size_t tcp_options_write_syn(uint8_t *bytes, const struct tcp_options *options);

/* NOP NOP timestamp: TCP_TIMESTAMP_BYTES. Almost every segment has it, so it is inline. */
static inline void tcp_options_write_timestamp(uint8_t *bytes, uint32_t timestamp, uint32_t echo)
{
    const uint8_t start[4] = {1, 1, 8, 10};
    uint32_t words[2] = {__builtin_bswap32(timestamp), __builtin_bswap32(echo)};

    memcpy(bytes, start, 4);
    memcpy(bytes + 4, words, 8);
}

/* The user timeout option (RFC 5482): TCP_TIMEOUT_BYTES. */
void tcp_options_write_timeout(uint8_t *bytes, uint16_t seconds);

/* NOP NOP SACK with `count` blocks: 4 + 8 * count bytes. */
size_t tcp_options_write_sack(uint8_t *bytes, const struct tcp_sack_block *blocks, unsigned count);

#endif

/* TCP options. Job: tcp_options.h. */
#include "lib/net/tcp_options.h"

#include <string.h>

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_TIMESTAMP = 8,
    OPTION_USER_TIMEOUT = 28,
};

static uint32_t read32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void write32(uint8_t *bytes, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(bytes, &value, 4);
}

static void parse_sack(const uint8_t *bytes, size_t length, struct tcp_options *options)
{
    size_t blocks = (length - 2) / 8;

    if (blocks > TCP_SACK_BLOCKS)
        blocks = TCP_SACK_BLOCKS;
    for (size_t i = 0; i < blocks; i++) {
        options->sack[i].start = read32(bytes + 2 + 8 * i);
        options->sack[i].end = read32(bytes + 6 + 8 * i);
    }
    options->sack_count = (uint8_t)blocks;
}

/* RFC 5482 section 3: a bit that says minutes, and the number. */
static uint16_t user_timeout(const uint8_t *bytes)
{
    const uint32_t value = (uint32_t)(bytes[0] & 0x7f) << 8 | bytes[1], seconds = bytes[0] & 0x80 ? value * 60 : value;

    return (uint16_t)(seconds < UINT16_MAX ? seconds : UINT16_MAX);
}

void tcp_options_write_timeout(uint8_t *bytes, uint16_t seconds)
{
    const uint32_t value = seconds < 1u << 15 ? seconds : 1u << 15 | seconds / 60u;

    write32(bytes, (uint32_t)OPTION_USER_TIMEOUT << 24 | (uint32_t)TCP_TIMEOUT_BYTES << 16 | value);
}

/* REQ RFC9293 MUST-4: with end of list and no-operation below [test: net_options/all_of_a_syn_round_trip] */
/* REQ RFC7323 2.2-3: in a SYN only [test: net_options/syn_options_count_in_a_syn_only] */
/* REQ RFC2018 2: in a SYN only [test: net_options/syn_options_count_in_a_syn_only] */
static bool parse_one(const uint8_t *bytes, size_t length, bool syn, struct tcp_options *options)
{
    switch (bytes[0]) {
    case OPTION_MSS:
        if (length != 4)
            return false;
        if (syn)
            options->mss = (uint16_t)(bytes[2] << 8 | bytes[3]);
        return true;
    case OPTION_SCALE:
        if (length != 3)
            return false;
        if (syn) {
            options->has_scale = true;
            /* REQ RFC7323 2.3-1: a shift above 14 counts as 14 [test: net_options/scale_above_14] */
            options->scale = bytes[2] > TCP_SCALE_MAX ? TCP_SCALE_MAX : bytes[2];
        }
        return true;
    case OPTION_SACK_PERMITTED:
        if (length != 2)
            return false;
        options->sack_permitted = options->sack_permitted || syn;
        return true;
    case OPTION_SACK:
        if (length < 10 || (length - 2) % 8)
            return false;
        parse_sack(bytes, length, options);
        return true;
    case OPTION_TIMESTAMP:
        if (length != 10)
            return false;
        options->has_timestamp = true;
        options->timestamp = read32(bytes + 2);
        options->timestamp_echo = read32(bytes + 6);
        return true;
    case OPTION_USER_TIMEOUT:
        if (length != 4)
            return false;
        options->user_timeout_s = user_timeout(bytes + 2);
        return true;
    default:
        /* REQ RFC9293 MUST-6: an unknown option is skipped by its length [test: net_options/unknown_skipped] */
        return true;
    }
}

/* REQ RFC9293 MUST-64: read byte by byte [test: net_options/unknown_skipped] */
bool tcp_options_parse(const uint8_t *bytes, size_t length, bool syn, struct tcp_options *options)
{
    memset(options, 0, offsetof(struct tcp_options, sack));
    while (length > 0 && bytes[0] != OPTION_END) {
        size_t size = 1;
        if (bytes[0] != OPTION_NOP) {
            /* REQ RFC9293 MUST-7: illegal option lengths are survived [test: net_options/bad_lengths] */
            if (length < 2 || bytes[1] < 2 || bytes[1] > length)
                return false;
            size = bytes[1];
            if (!parse_one(bytes, size, syn, options))
                return false;
        }
        bytes += size;
        length -= size;
    }
    return true;
}

size_t tcp_options_write_sack(uint8_t *bytes, const struct tcp_sack_block *blocks, unsigned count)
{
    write32(bytes, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK << 8 | (2 + 8 * count));
    for (unsigned i = 0; i < count; i++) {
        write32(bytes + 4 + 8 * i, blocks[i].start);
        write32(bytes + 8 + 8 * i, blocks[i].end);
    }
    return 4 + 8 * count;
}

/* REQ RFC9293 MUST-68, MUST-69: lengths, and whole words [test: net_options/all_of_a_syn_round_trip] */
/* REQ RFC9293 MUST-65: nothing else writes MSS [test: net_script/syn_options_stay_in_the_syn] */
size_t tcp_options_write_syn(uint8_t *bytes, const struct tcp_options *options)
{
    size_t length = 0;

    if (options->mss) {
        write32(bytes, OPTION_MSS << 24 | 4 << 16 | options->mss);
        length = 4;
    }
    if (options->sack_permitted) {
        write32(bytes + length, OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK_PERMITTED << 8 | 2);
        length += 4;
    }
    if (options->has_timestamp) {
        tcp_options_write_timestamp(bytes + length, options->timestamp, options->timestamp_echo);
        length += TCP_TIMESTAMP_BYTES;
    }
    if (options->user_timeout_s) {
        tcp_options_write_timeout(bytes + length, options->user_timeout_s);
        length += TCP_TIMEOUT_BYTES;
    }
    if (options->has_scale) {
        write32(bytes + length, (uint32_t)OPTION_NOP << 24 | OPTION_SCALE << 16 | 3 << 8 | options->scale);
        length += 4;
    }
    return length;
}

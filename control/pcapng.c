/* Writing pcapng: see control/pcapng.h. */
#include "control/pcapng.h"

#include <stdlib.h>
#include <string.h>

enum block {
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
    BLOCK_SECTION = 0x0a0d0d0a,
};

enum option {
    OPTION_END = 0,
    OPTION_COMMENT = 1,
    SECTION_APPLICATION = 4,
    INTERFACE_NAME = 2,
    INTERFACE_DESCRIPTION = 3,
    INTERFACE_RESOLUTION = 9,
    PACKET_FLAGS = 2,
    PACKET_DROP_COUNT = 4,
    STATISTICS_START = 2,
    STATISTICS_END = 3,
    STATISTICS_DROPPED = 5,
    STATISTICS_ACCEPTED = 6,
};

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINK_TYPE_ETHERNET 1u
#define NANOSECONDS 9u /* 10^-9 */
#define FLAG_INBOUND 1u
#define FLAG_OUTBOUND 2u
#define COMMENT_MAX 1024u

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static size_t padded(size_t length)
{
    return (length + 3) & ~(size_t)3;
}

static bool make_room(struct pcapng *output, size_t more)
{
    if (output->failed)
        return false;
    if (output->length + more <= output->room)
        return true;
    size_t room = (output->length + more) * 2;
    uint8_t *bytes = realloc(output->bytes, room);
    if (!bytes) {
        output->failed = true;
        return false;
    }
    output->bytes = bytes;
    output->room = room;
    return true;
}

static void put(struct pcapng *output, const void *bytes, size_t length)
{
    memcpy(output->bytes + output->length, bytes, length);
    memset(output->bytes + output->length + length, 0, padded(length) - length);
    output->length += padded(length);
}

static void put_two(struct pcapng *output, uint16_t first, uint16_t second)
{
    const uint16_t both[] = {first, second};
    put(output, both, sizeof both);
}

static void put_four(struct pcapng *output, uint32_t value)
{
    put(output, &value, sizeof value);
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

static size_t option_size(size_t length)
{
    return length == 0 ? 0 : 4 + padded(length);
}

static void put_option(struct pcapng *output, enum option option, const void *bytes, size_t length)
{
    if (length == 0)
        return;
    put_two(output, (uint16_t)option, (uint16_t)length);
    put(output, bytes, length);
}

/* Times are two halves, the upper one first; counts are not. */
static void put_time_option(struct pcapng *output, enum option option, uint64_t time_ns)
{
    const uint32_t halves[] = {(uint32_t)(time_ns >> 32), (uint32_t)time_ns};
    put_option(output, option, halves, sizeof halves);
}

static void put_count_option(struct pcapng *output, enum option option, uint64_t count)
{
    put_option(output, option, &count, sizeof count);
}

static size_t text_length(const char *text)
{
    size_t length = strlen(text);
    return length < COMMENT_MAX ? length : COMMENT_MAX;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

/* A block has its length in front and behind, so that a reader can go both ways. */
static bool block_begin(struct pcapng *output, enum block type, size_t body)
{
    if (!make_room(output, body + 12))
        return false;
    put_four(output, (uint32_t)type);
    put_four(output, (uint32_t)body + 12);
    return true;
}

static void block_end(struct pcapng *output, size_t body)
{
    put_four(output, (uint32_t)body + 12);
}

static void put_options_end(struct pcapng *output)
{
    put_two(output, OPTION_END, 0);
}

void pcapng_section(struct pcapng *output, const char *application, const char *comment)
{
    const size_t name = text_length(application), text = text_length(comment);
    const size_t body = 16 + option_size(name) + option_size(text) + 4;
    const int64_t unknown_length = -1;
    if (!block_begin(output, BLOCK_SECTION, body))
        return;
    put_four(output, BYTE_ORDER_MAGIC);
    put_two(output, 1, 0);
    put(output, &unknown_length, sizeof unknown_length);
    put_option(output, OPTION_COMMENT, comment, text);
    put_option(output, SECTION_APPLICATION, application, name);
    put_options_end(output);
    block_end(output, body);
}

void pcapng_interface(struct pcapng *output, const char *name, const char *description, uint32_t snap_length)
{
    const uint8_t resolution = NANOSECONDS;
    const size_t name_length = text_length(name), text = text_length(description);
    const size_t body = 8 + option_size(name_length) + option_size(text) + option_size(1) + 4;
    if (!block_begin(output, BLOCK_INTERFACE, body))
        return;
    put_two(output, LINK_TYPE_ETHERNET, 0);
    put_four(output, snap_length);
    put_option(output, INTERFACE_NAME, name, name_length);
    put_option(output, INTERFACE_DESCRIPTION, description, text);
    put_option(output, INTERFACE_RESOLUTION, &resolution, 1);
    put_options_end(output);
    block_end(output, body);
}

static size_t packet_body(const struct pcapng_packet *packet)
{
    return 20 + padded(packet->captured) + option_size(packet->comment_length) + option_size(4) +
           option_size(packet->dropped ? 8 : 0) + 4;
}

size_t pcapng_packet_size(const struct pcapng_packet *packet)
{
    return packet_body(packet) + 12;
}

void pcapng_packet(struct pcapng *output, const struct pcapng_packet *packet)
{
    const size_t body = packet_body(packet);
    const uint32_t flags = packet->outbound ? FLAG_OUTBOUND : FLAG_INBOUND;
    if (!block_begin(output, BLOCK_PACKET, body))
        return;
    put_four(output, packet->interface);
    put_four(output, (uint32_t)(packet->time_ns >> 32));
    put_four(output, (uint32_t)packet->time_ns);
    put_four(output, packet->captured);
    put_four(output, packet->length);
    put(output, packet->bytes, packet->captured);
    put_option(output, OPTION_COMMENT, packet->comment, packet->comment_length);
    put_option(output, PACKET_FLAGS, &flags, sizeof flags);
    if (packet->dropped)
        put_count_option(output, PACKET_DROP_COUNT, packet->dropped);
    put_options_end(output);
    block_end(output, body);
}

void pcapng_statistics(struct pcapng *output, uint32_t interface, uint64_t start_ns, uint64_t end_ns, uint64_t matched,
                       uint64_t dropped)
{
    const size_t body = 12 + 4 * option_size(8) + 4;
    if (!block_begin(output, BLOCK_STATISTICS, body))
        return;
    put_four(output, interface);
    put_four(output, (uint32_t)(end_ns >> 32));
    put_four(output, (uint32_t)end_ns);
    put_time_option(output, STATISTICS_START, start_ns);
    put_time_option(output, STATISTICS_END, end_ns);
    put_count_option(output, STATISTICS_DROPPED, dropped);
    put_count_option(output, STATISTICS_ACCEPTED, matched);
    put_options_end(output);
    block_end(output, body);
}

void pcapng_free(struct pcapng *output)
{
    free(output->bytes);
    *output = (struct pcapng){0};
}

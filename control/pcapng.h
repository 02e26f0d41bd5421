/* Writing pcapng (draft-ietf-opsawg-pcapng): the blocks of a capture of Ethernet frames with nanosecond time stamps.
 *
 * Job: append blocks to a buffer, in the byte order of this machine, as the format allows. A file is a section, its
 * interfaces, packets that refer to interfaces by their order, and statistics of each interface; it is valid after
 * every block.
 *
 * Who calls: anyone, one thread a buffer. The buffer's memory is pcapng_free's. When memory is out nothing more is
 * appended and `failed` is set. */
#ifndef POLLUX_CONTROL_PCAPNG_H
#define POLLUX_CONTROL_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pcapng {
    uint8_t *bytes;
    size_t length, room;
    bool failed;
};

#define PCAPNG_STATISTICS_SIZE 100u /* bytes of a statistics block at most */

/* Section header: which program wrote it, and a comment for people (empty: none). */
void pcapng_section(struct pcapng *output, const char *application, const char *comment);

/* Interface description: they are numbered from 0 in the order of the calls. */
void pcapng_interface(struct pcapng *output, const char *name, const char *description, uint32_t snap_length);

struct pcapng_packet {
    uint32_t interface;
    uint64_t time_ns; /* since 1970 */
    const uint8_t *bytes;
    uint32_t captured; /* bytes of it here */
    uint32_t length;   /* before it was cut */
    bool outbound;
    uint64_t dropped; /* of this interface since the packet before; 0 is not written */
    const char *comment;
    size_t comment_length; /* bytes of UTF-8; 0: none */
};

/* Bytes that the block of this packet takes. */
size_t pcapng_packet_size(const struct pcapng_packet *packet);
void pcapng_packet(struct pcapng *output, const struct pcapng_packet *packet);

/* Interface statistics: of the time from `start_ns` to `end_ns`; packets that matched the filter, and those of them
 * that are missing. */
void pcapng_statistics(struct pcapng *output, uint32_t interface, uint64_t start_ns, uint64_t end_ns, uint64_t matched,
                       uint64_t dropped);

void pcapng_free(struct pcapng *output);

#endif

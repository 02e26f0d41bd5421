/* Captured packets on their way from the workers to control: one ring for each worker, in one segment.
 *
 * Job: the layout of a slot, how the segment is divided, and the reader that makes whole packets of slots that came
 * from a process which is not trusted.
 *
 * A packet takes as many slots as it needs. The first one begins with what is known of it; in the data of the slots
 * stand, one behind the other, the client id and the bytes of the packet. Each slot but the last is full, so nothing in
 * the slots behind the first has to be believed. A worker writes a packet when there is room for all of it, else it
 * counts it as dropped and goes on: control never makes a worker wait.
 *
 *      struct shm_segment_header | part of worker 0: a ring (shm/ring.h) | part of worker 1 | ...
 *
 * The parts are rings with the segment's header in front, as shm/ring.h has them; the header is filled in the first
 * only. A worker resets its ring when a capture starts, control opens it after all workers have.
 *
 * Who calls: a worker its own ring, control's main thread all of them, set-up on the main lcore. */
#ifndef POLLUX_SHM_CAPTURE_H
#define POLLUX_SHM_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/shm/ring.h"

#define SHM_CAPTURE_SLOT_SIZE 512u
#define SHM_CAPTURE_SLOT_DATA 472u  /* bytes of data in a slot */
#define SHM_CAPTURE_ID_MAX 160u     /* bytes of a client id; longer ones are cut */
#define SHM_CAPTURE_SNAP_MAX 65535u /* bytes of a packet */

/* Which way a packet went; as a filter, both bits may be set. */
enum shm_capture_direction {
    SHM_CAPTURE_IN = 1,
    SHM_CAPTURE_OUT = 2,
    SHM_CAPTURE_BOTH = 3,
};

struct shm_capture_slot {
    uint32_t first;     /* 1: a packet begins here and the fields below hold; 0: it goes on */
    uint32_t length;    /* bytes of the packet, before it was cut */
    uint32_t captured;  /* bytes of it that follow, up to SHM_CAPTURE_SNAP_MAX */
    uint32_t id_length; /* bytes of the client id in front of them, up to SHM_CAPTURE_ID_MAX */
    uint64_t time_ns;   /* wall clock, nanoseconds since 1970 */
    uint64_t dropped;   /* packets of this worker that found no room since the one before */
    uint16_t port;      /* index of the network port, below SHM_PORTS_MAX */
    uint16_t direction; /* SHM_CAPTURE_IN or SHM_CAPTURE_OUT */
    uint32_t reserved;
    uint8_t data[SHM_CAPTURE_SLOT_DATA];
};

_Static_assert(sizeof(struct shm_capture_slot) == SHM_CAPTURE_SLOT_SIZE, "no padding in a slot");

/* Slots of a ring that takes at most `bytes`: the largest power of two, at least enough for one packet of any length.
 */
uint32_t shm_capture_slots(uint64_t bytes);

/* Slots that a packet with so many bytes of id and packet takes. */
static inline uint32_t shm_capture_slots_of(uint32_t bytes)
{
    return bytes == 0 ? 1 : (bytes + SHM_CAPTURE_SLOT_DATA - 1) / SHM_CAPTURE_SLOT_DATA;
}

/* Bytes of a segment for so many workers. */
uint64_t shm_capture_segment_size(uint32_t workers, uint32_t slots);

/* The part of one worker, as a segment that a ring can be opened in; it must not be closed. 0, or -1: it does not lie
 * within `segment`. */
int shm_capture_part(const struct shm_segment *segment, uint32_t worker, uint32_t slots, struct shm_segment *part,
                     struct shm_error *error);

/* ---- the reader -------------------------------------------------------------------------------------------------- */

/* Makes packets of slots. */
struct shm_capture_reader {
    struct shm_capture_slot head;                             /* of the packet at hand; its data is not used */
    uint32_t expected;                                        /* bytes of id and packet; 0: none at hand */
    uint32_t filled;                                          /* of them here already */
    bool whole;                                               /* the packet is complete: take it, then clear this */
    uint8_t bytes[SHM_CAPTURE_ID_MAX + SHM_CAPTURE_SNAP_MAX]; /* the id, then the packet */
};

/* Take one more slot, a copy that nobody else can change. 0, or -1 when it can not follow the one before or one of its
 * fields is out of range. Not while `whole` is set. */
int shm_capture_read(struct shm_capture_reader *reader, const struct shm_capture_slot *slot, struct shm_error *error);

#endif

/* Rings of fixed-size slots between two processes that do not trust each other.
 *
 * Job: carry messages one way, from one producer thread to one consumer thread, over a segment that both can write.
 * Never blocks, never makes a system call: a push or a pop is a copy of one slot and one release store.
 *
 * Trust: a side keeps its own index and the ring's dimensions privately and only publishes its index; what the peer
 * publishes is read once, must lie in the window that is possible, and is masked before use. A peer that writes
 * nonsense gets SHM_RING_CORRUPT and a count, and this side never touches memory outside of the ring. A slot is copied
 * out once: what the consumer checks is what it uses. After SHM_RING_CORRUPT the ring stays refused until it is reset;
 * the owner closes the link.
 *
 * Ordering: `tail` is stored with release by the producer after the slot is written and loaded with acquire by the
 * consumer before it is read; `head` is stored with release by the consumer after the slot is copied and loaded with
 * acquire by the producer before the slot is written again. There is no other synchronisation.
 *
 * Progress: both sides are wait-free. A stopped peer costs at most a full (or empty) ring.
 *
 * Ownership: the creator (dataplane) owns the segment; a producer or consumer borrows it and must be dropped before the
 * segment is closed. */
#ifndef POLLUX_SHM_RING_H
#define POLLUX_SHM_RING_H

#include <stdint.h>

#include "lib/shm/segment.h"

#define SHM_RING_SLOTS_MAX (1u << 16)
#define SHM_RING_SLOT_SIZE_MAX (1u << 14) /* bytes */

enum shm_ring_result {
    SHM_RING_OK = 0,
    SHM_RING_FULL = 1,    /* push: the consumer has not made room yet */
    SHM_RING_EMPTY = 2,   /* pop: nothing there yet */
    SHM_RING_CORRUPT = 3, /* the peer published an index that cannot be: give the link up */
};

/* In the segment, behind its header. Each index has a cache line of its own. */
struct shm_ring_shared {
    struct shm_segment_header header;
    uint32_t slots;     /* power of two; checked at attach, then each side uses its own copy */
    uint32_t slot_size; /* bytes, a multiple of 8 */
    uint8_t reserved[56];
    uint32_t tail; /* written by the producer: slots pushed since the reset, modulo 2^32 */
    uint8_t tail_line[60];
    uint32_t head; /* written by the consumer: slots popped since the reset, modulo 2^32 */
    uint8_t head_line[60];
    uint8_t data[]; /* slots * slot_size bytes */
};

/* The private halves: everything that must not be believed from shared memory. */
struct shm_ring_producer {
    struct shm_ring_shared *shared;
    uint32_t slots;
    uint32_t slot_size;
    uint32_t tail;      /* ours, the true one */
    uint32_t head_seen; /* the peer's, as last checked */
    uint64_t corrupt;   /* times the peer's index was impossible */
};

struct shm_ring_consumer {
    struct shm_ring_shared *shared;
    uint32_t slots;
    uint32_t slot_size;
    uint32_t head;      /* ours, the true one */
    uint32_t tail_seen; /* the peer's, as last checked */
    uint64_t corrupt;
};

/* Bytes that a segment needs for such a ring. */
size_t shm_ring_segment_size(uint32_t slots, uint32_t slot_size);

/* Creator: write the dimensions into a fresh segment and set both indices to zero. Also called before the segment is
 * handed to a new peer: what an earlier one left inside is gone. The creator's own producer or consumer is made anew
 * afterwards. `slots` is a power of two up to SHM_RING_SLOTS_MAX, `slot_size` a multiple of 8 up to
 * SHM_RING_SLOT_SIZE_MAX. Returns 0, or -1 with the reason. */
int shm_ring_reset(struct shm_segment *segment, uint32_t slots, uint32_t slot_size, struct shm_error *error);

/* Take one end of a ring that was just reset (both ends start at zero and ignore the indices in the segment). Refused
 * when the dimensions differ from the expected ones or do not fit into the segment. */
int shm_ring_open_producer(struct shm_ring_producer *producer, const struct shm_segment *segment, uint32_t slots,
                           uint32_t slot_size, struct shm_error *error);
int shm_ring_open_consumer(struct shm_ring_consumer *consumer, const struct shm_segment *segment, uint32_t slots,
                           uint32_t slot_size, struct shm_error *error);

/* Copy one message of slot_size bytes into the ring: SHM_RING_OK, _FULL or _CORRUPT. */
enum shm_ring_result shm_ring_push(struct shm_ring_producer *producer, const void *message);

/* Move the oldest message of slot_size bytes out of the ring, where it is wiped: SHM_RING_OK, _EMPTY or _CORRUPT. */
enum shm_ring_result shm_ring_pop(struct shm_ring_consumer *consumer, void *message);

/* Slots that can be pushed now; 0 also when the ring is corrupt. For a producer that paces itself. */
uint32_t shm_ring_room(struct shm_ring_producer *producer);

#endif

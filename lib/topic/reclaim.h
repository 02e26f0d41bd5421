/*
 * When may removed memory be used again? Quiescent-state-based reclamation with grace-period tokens that are polled.
 *
 * Job:     keep what one writer has unlinked until no reader can hold it, then give it back on the writer's own thread.
 * Callers: struct topic_shared (writer side), the poll loop of each worker (reader side, one call an iteration).
 * Threads: functions named topic_reclaim_* belong to the writer (the housekeeper); topic_reader_* to the thread that
 * owns the reader, topic_reader_register and _unregister excepted: they may run on either while the reader is offline.
 * Owner:   retired objects belong to the reclaimer from topic_reclaim_retire until its free function has run.
 *
 * Protocol of use
 *   worker:       register, online; then for ever { use shared tables; topic_reader_quiescent }; offline around any
 * wait housekeeper:  unlink, retire, ...; once a loop: topic_reclaim_poll
 *
 * Why not liburcu's QSBR flavour, which the design names first:
 *   - 0.13 has no grace-period polling; synchronize_rcu blocks the housekeeper, and call_rcu brings a thread of its own
 *     that would run on a core and free memory on the wrong thread;
 *   - its reader is the calling thread (thread-local), so that two workers could not run in one thread, which is how
 * the virtual-time tests run a whole router;
 *   - its ordering is built from assembly barriers that ThreadSanitizer cannot see, so a race in our tables could not
 * be told from its own. What is left is small: a counter for the writer, one for each reader, and the proof in
 * reclaim.c.
 *
 * Progress: readers are wait-free: an acquire load, a compare and at most one release store into an own cache line. The
 * writer never waits. A reader that stays online without quiescent states delays all reclamation: the backlog is
 * bounded by `capacity` (then topic_reclaim_room says 0 and the writer stops applying updates, it does not grow), and
 * topic_reclaim_stats names the reader that holds it up.
 */
#ifndef POLLUX_LIB_TOPIC_RECLAIM_H
#define POLLUX_LIB_TOPIC_RECLAIM_H

#include "lib/mem/allocator.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TOPIC_READERS_MAX 64u

struct topic_reclaim;

/* One reader's announcements, alone on its cache line so that announcing never disturbs another reader. */
struct topic_reader {
    _Alignas(64) _Atomic uint64_t seen; /* newest token seen at a quiescent state; 0: offline */
    const _Atomic uint64_t *token;      /* the writer's newest token */
    struct topic_reclaim *reclaim;
};

struct topic_reclaim_stats {
    uint32_t backlog;       /* objects waiting */
    uint32_t backlog_max;   /* high water */
    uint32_t capacity;      /* bound on the backlog */
    uint64_t backlog_bytes; /* bytes waiting */
    uint64_t reclaimed;     /* objects given back since creation */
    uint64_t grace_periods; /* ended since creation */
    uint64_t lost;          /* objects retired without room, which leaked: 0 unless a caller is wrong */
    int slowest_reader;     /* the reader that the oldest object waits for; -1: none */
    uint64_t oldest_wait;   /* microseconds since the running grace period began; 0: none */
};

/* `capacity`: bound on objects that wait, each 24 B of bookkeeping. Allocates once, from `allocator`. */
struct topic_reclaim *topic_reclaim_create(struct mem_allocator allocator, uint32_t capacity);

/* All readers must be offline. Frees what waits. */
void topic_reclaim_destroy(struct topic_reclaim *reclaim);

/* How many more objects may be retired now. */
uint32_t topic_reclaim_room(const struct topic_reclaim *reclaim);

/*
 * Free `object` through the allocator given at creation once every reader that may hold it has announced. It must be
 * unlinked already. Calling without room is a programming error: the object is leaked and counted rather than freed
 * early.
 */
void topic_reclaim_retire(struct topic_reclaim *reclaim, void *object, size_t size);

/*
 * Start a grace period when objects wait for one, look at the readers once, free at most `budget` objects. Never waits.
 * `now` in microseconds. Returns the number freed.
 */
uint32_t topic_reclaim_poll(struct topic_reclaim *reclaim, uint64_t now, uint32_t budget);

void topic_reclaim_stats(const struct topic_reclaim *reclaim, uint64_t now, struct topic_reclaim_stats *stats);

/* Take reader slot `number` (the worker's number, 0 .. 63). Offline at first. NULL when the number is taken or too
 * large. */
struct topic_reader *topic_reader_register(struct topic_reclaim *reclaim, unsigned number);
void topic_reader_unregister(struct topic_reader *reader);

/* From here to offline the thread may hold pointers into shared tables between two quiescent states. */
void topic_reader_online(struct topic_reader *reader);

/* The thread holds no pointer and will take none until online: before any wait, sleep or interrupt mode. */
void topic_reader_offline(struct topic_reader *reader);

/* The thread holds no pointer at this moment. Once an iteration; about 1 ns when nothing was retired. */
static inline void topic_reader_quiescent(struct topic_reader *reader)
{
    /* Pairs with the release increment in topic_reclaim_poll: whatever was unlinked before it is invisible from here.
     */
    uint64_t token = atomic_load_explicit(reader->token, memory_order_acquire);
    if (token != atomic_load_explicit(&reader->seen, memory_order_relaxed)) {
        /* Release: our reads of unlinked objects are over before the writer (acquire in topic_reclaim_poll) sees this.
         */
        atomic_store_explicit(&reader->seen, token, memory_order_release);
    }
}

#endif

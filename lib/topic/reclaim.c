/*
 * Grace periods by polled tokens: see reclaim.h for the protocol.
 *
 * Retired objects wait in a ring, first in first out, each with the token that readers must have announced. Token t+1
 * is given to what is retired while t is the newest; topic_reclaim_poll publishes t+1 when something waits for it.
 *
 * Why an object is not freed too early. Let it be unlinked, then retired with token t+1.
 *   - A reader announced t+1 in topic_reader_quiescent: it read t+1 with acquire, so the unlinking happened before what
 * it reads from then on; and its earlier reads happened before its release of `seen`, which we acquire before freeing.
 *   - A reader is offline (seen == 0) when we look: it has finished reading (release in topic_reader_offline), or it is
 * just coming online. topic_reader_online stores `seen` and then does a read-modify-write on the token; publishing t+1
 * is a read-modify-write on the same variable. If the reader's comes first, ours synchronizes with it and we would have
 * seen its `seen`; so ours came first, the reader's synchronizes with ours, and the unlinking is visible to it.
 */
#include "lib/topic/reclaim.h"

#include <string.h>

struct retired {
    void *object;
    uint64_t token;
    size_t size;
};

struct topic_reclaim {
    struct topic_reader readers[TOPIC_READERS_MAX];
    _Alignas(64) _Atomic uint64_t token; /* newest published; readers only load it, except when they come online */
    _Atomic uint64_t registered;         /* bit n: reader n is taken */
    uint64_t period_began;               /* microseconds; when `token` was published */
    struct mem_allocator allocator;
    struct retired *ring;
    uint32_t capacity;
    uint32_t first; /* oldest in the ring */
    uint32_t count;
    uint32_t count_max;
    uint64_t bytes;
    uint64_t reclaimed;
    uint64_t grace_periods;
    uint64_t lost;  /* retired without room: leaked, for want of a safe alternative */
    uint64_t ended; /* newest token that all readers have announced */
};

struct topic_reclaim *topic_reclaim_create(struct mem_allocator allocator, uint32_t capacity)
{
    /* A power of two of bytes, so that both allocators align it to cache lines. */
    struct topic_reclaim *reclaim = allocator.alloc(allocator.arg, 8192);
    _Static_assert(sizeof(*reclaim) <= 8192, "the reclaimer fits two pages");
    struct retired *ring = allocator.alloc(allocator.arg, capacity * sizeof(*ring));
    if (reclaim == NULL || ring == NULL) {
        if (reclaim != NULL) {
            allocator.free(allocator.arg, reclaim, 8192);
        }
        if (ring != NULL) {
            allocator.free(allocator.arg, ring, capacity * sizeof(*ring));
        }
        return NULL;
    }
    memset((void *)reclaim, 0, sizeof(*reclaim));
    reclaim->allocator = allocator;
    reclaim->ring = ring;
    reclaim->capacity = capacity;
    atomic_store_explicit(&reclaim->token, 1, memory_order_relaxed);
    reclaim->ended = 1;
    return reclaim;
}

static void reclaim_first(struct topic_reclaim *reclaim)
{
    struct retired *retired = &reclaim->ring[reclaim->first];
    reclaim->allocator.free(reclaim->allocator.arg, retired->object, retired->size);
    reclaim->bytes -= retired->size;
    reclaim->reclaimed++;
    reclaim->count--;
    reclaim->first = reclaim->first + 1 == reclaim->capacity ? 0 : reclaim->first + 1;
}

void topic_reclaim_destroy(struct topic_reclaim *reclaim)
{
    if (reclaim == NULL) {
        return;
    }
    while (reclaim->count > 0) {
        reclaim_first(reclaim);
    }
    struct mem_allocator allocator = reclaim->allocator;
    allocator.free(allocator.arg, reclaim->ring, reclaim->capacity * sizeof(*reclaim->ring));
    allocator.free(allocator.arg, reclaim, 8192);
}

uint32_t topic_reclaim_room(const struct topic_reclaim *reclaim)
{
    return reclaim->capacity - reclaim->count;
}

void topic_reclaim_retire(struct topic_reclaim *reclaim, void *object, size_t size)
{
    if (reclaim->count == reclaim->capacity) {
        reclaim->lost++;
        return;
    }
    uint32_t last = reclaim->first + reclaim->count;
    reclaim->ring[last >= reclaim->capacity ? last - reclaim->capacity : last] = (struct retired){
        .object = object,
        .size = size,
        .token = atomic_load_explicit(&reclaim->token, memory_order_relaxed) + 1,
    };
    reclaim->count++;
    reclaim->bytes += size;
    if (reclaim->count > reclaim->count_max) {
        reclaim->count_max = reclaim->count;
    }
}

/* Oldest announcement among the readers that are online; UINT64_MAX when none is. */
static uint64_t oldest_seen(const struct topic_reclaim *reclaim, int *reader)
{
    uint64_t oldest = UINT64_MAX;
    uint64_t registered = atomic_load_explicit(&reclaim->registered, memory_order_acquire);
    *reader = -1;
    for (; registered != 0; registered &= registered - 1) {
        int number = __builtin_ctzll(registered);
        /* Acquire pairs with the releases in topic_reader_quiescent and _offline: that reader's reads are over. */
        uint64_t seen = atomic_load_explicit(&reclaim->readers[number].seen, memory_order_acquire);
        if (seen != 0 && seen < oldest) {
            oldest = seen;
            *reader = number;
        }
    }
    return oldest;
}

/* Look at the readers; one grace period runs at a time, so it can have ended only once. */
static void grace_period_check(struct topic_reclaim *reclaim, uint64_t now)
{
    uint64_t token = atomic_load_explicit(&reclaim->token, memory_order_relaxed);
    int slowest;
    if (reclaim->ended < token && oldest_seen(reclaim, &slowest) >= token) {
        reclaim->ended = token;
        reclaim->grace_periods++;
    }
    /* The newest object waits for a token that is not published yet. */
    uint32_t last = reclaim->first + reclaim->count - 1;
    if (reclaim->ended == token && reclaim->count > 0 &&
        reclaim->ring[last >= reclaim->capacity ? last - reclaim->capacity : last].token > token) {
        /* Release: what was unlinked so far. Acquire: a reader that came online before us. See the proof above. */
        atomic_fetch_add_explicit(&reclaim->token, 1, memory_order_acq_rel);
        reclaim->period_began = now;
    }
}

uint32_t topic_reclaim_poll(struct topic_reclaim *reclaim, uint64_t now, uint32_t budget)
{
    uint32_t freed = 0;
    if (reclaim->count == 0) {
        return 0;
    }
    grace_period_check(reclaim, now);
    while (freed < budget && reclaim->count > 0 && reclaim->ring[reclaim->first].token <= reclaim->ended) {
        reclaim_first(reclaim);
        freed++;
    }
    return freed;
}

void topic_reclaim_stats(const struct topic_reclaim *reclaim, uint64_t now, struct topic_reclaim_stats *stats)
{
    *stats = (struct topic_reclaim_stats){
        .backlog = reclaim->count,
        .backlog_max = reclaim->count_max,
        .capacity = reclaim->capacity,
        .backlog_bytes = reclaim->bytes,
        .reclaimed = reclaim->reclaimed,
        .grace_periods = reclaim->grace_periods,
        .lost = reclaim->lost,
        .slowest_reader = -1,
    };
    uint64_t token = atomic_load_explicit(&reclaim->token, memory_order_relaxed);
    int slowest;
    if (reclaim->ended < token && oldest_seen(reclaim, &slowest) < token) {
        stats->slowest_reader = slowest;
        stats->oldest_wait = now - reclaim->period_began;
    }
}

struct topic_reader *topic_reader_register(struct topic_reclaim *reclaim, unsigned number)
{
    if (number >= TOPIC_READERS_MAX ||
        (atomic_fetch_or_explicit(&reclaim->registered, 1ull << number, memory_order_acq_rel) >> number & 1) != 0) {
        return NULL;
    }
    struct topic_reader *reader = &reclaim->readers[number];
    atomic_store_explicit(&reader->seen, 0, memory_order_relaxed);
    reader->token = &reclaim->token;
    reader->reclaim = reclaim;
    return reader;
}

void topic_reader_unregister(struct topic_reader *reader)
{
    topic_reader_offline(reader);
    uint64_t bit = 1ull << (reader - reader->reclaim->readers);
    atomic_fetch_and_explicit(&reader->reclaim->registered, ~bit, memory_order_acq_rel);
}

void topic_reader_online(struct topic_reader *reader)
{
    struct topic_reclaim *reclaim = reader->reclaim;
    uint64_t token = atomic_load_explicit(&reclaim->token, memory_order_acquire);
    atomic_store_explicit(&reader->seen, token, memory_order_relaxed);
    atomic_fetch_add_explicit(&reclaim->token, 0, memory_order_acq_rel);
}

void topic_reader_offline(struct topic_reader *reader)
{
    atomic_store_explicit(&reader->seen, 0, memory_order_release);
}

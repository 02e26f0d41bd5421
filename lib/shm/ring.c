/* Single-producer single-consumer rings between processes: see shm/ring.h. */
#include "lib/shm/ring.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(offsetof(struct shm_ring_shared, tail) % 64 == 0, "tail has a cache line of its own");
_Static_assert(offsetof(struct shm_ring_shared, head) % 64 == 0, "head has a cache line of its own");
_Static_assert(sizeof(struct shm_ring_shared) % 64 == 0, "slots start on a cache line");

static bool dimensions_valid(uint32_t slots, uint32_t slot_size)
{
    return slots != 0 && (slots & (slots - 1)) == 0 && slots <= SHM_RING_SLOTS_MAX && slot_size != 0 &&
           slot_size % 8 == 0 && slot_size <= SHM_RING_SLOT_SIZE_MAX;
}

size_t shm_ring_segment_size(uint32_t slots, uint32_t slot_size)
{
    return sizeof(struct shm_ring_shared) + (size_t)slots * slot_size;
}

int shm_ring_reset(struct shm_segment *segment, uint32_t slots, uint32_t slot_size, struct shm_error *error)
{
    if (!dimensions_valid(slots, slot_size) || shm_ring_segment_size(slots, slot_size) > segment->size)
        return shm_error_set(error, "ring: %u slots of %u bytes do not fit into %zu bytes", slots, slot_size,
                             segment->size);
    struct shm_ring_shared *shared = segment->base;
    shared->slots = slots;
    shared->slot_size = slot_size;
    __atomic_store_n(&shared->tail, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&shared->head, 0, __ATOMIC_RELEASE);
    return 0;
}

static int open_check(const struct shm_segment *segment, uint32_t slots, uint32_t slot_size, struct shm_error *error)
{
    if (!dimensions_valid(slots, slot_size) || shm_ring_segment_size(slots, slot_size) > segment->size)
        return shm_error_set(error, "ring: %u slots of %u bytes do not fit into %zu bytes", slots, slot_size,
                             segment->size);
    const struct shm_ring_shared *shared = segment->base;
    if (shared->slots != slots || shared->slot_size != slot_size)
        return shm_error_set(error, "ring: the peer made %u slots of %u bytes, expected %u of %u", shared->slots,
                             shared->slot_size, slots, slot_size);
    return 0;
}

int shm_ring_open_producer(struct shm_ring_producer *producer, const struct shm_segment *segment, uint32_t slots,
                           uint32_t slot_size, struct shm_error *error)
{
    *producer = (struct shm_ring_producer){0};
    if (open_check(segment, slots, slot_size, error) != 0)
        return -1;
    *producer = (struct shm_ring_producer){.shared = segment->base, .slots = slots, .slot_size = slot_size};
    return 0;
}

int shm_ring_open_consumer(struct shm_ring_consumer *consumer, const struct shm_segment *segment, uint32_t slots,
                           uint32_t slot_size, struct shm_error *error)
{
    *consumer = (struct shm_ring_consumer){0};
    if (open_check(segment, slots, slot_size, error) != 0)
        return -1;
    *consumer = (struct shm_ring_consumer){.shared = segment->base, .slots = slots, .slot_size = slot_size};
    return 0;
}

/* Read the consumer's index. It may only move from where it was seen last up to our own tail. */
static bool producer_refresh(struct shm_ring_producer *producer)
{
    /* Pairs with the release store of head in shm_ring_pop: the slot has been copied before it is reused. */
    uint32_t head = __atomic_load_n(&producer->shared->head, __ATOMIC_ACQUIRE);
    if (producer->corrupt == 0 && head - producer->head_seen <= producer->tail - producer->head_seen) {
        producer->head_seen = head;
        return true;
    }
    producer->corrupt++;
    return false;
}

enum shm_ring_result shm_ring_push(struct shm_ring_producer *producer, const void *message)
{
    if (producer->tail - producer->head_seen == producer->slots || producer->corrupt != 0) {
        if (!producer_refresh(producer))
            return SHM_RING_CORRUPT;
        if (producer->tail - producer->head_seen == producer->slots)
            return SHM_RING_FULL;
    }
    uint32_t slot = producer->tail & (producer->slots - 1);
    memcpy(producer->shared->data + (size_t)slot * producer->slot_size, message, producer->slot_size);
    producer->tail++;
    /* Publishes the slot: pairs with the acquire load of tail in consumer_refresh. */
    __atomic_store_n(&producer->shared->tail, producer->tail, __ATOMIC_RELEASE);
    return SHM_RING_OK;
}

uint32_t shm_ring_room(struct shm_ring_producer *producer)
{
    if (!producer_refresh(producer))
        return 0;
    return producer->slots - (producer->tail - producer->head_seen);
}

/* Read the producer's index. It may only move forward, and to at most one ring ahead of our own head. */
static bool consumer_refresh(struct shm_ring_consumer *consumer)
{
    /* Pairs with the release store of tail in shm_ring_push: the slot is complete. */
    uint32_t tail = __atomic_load_n(&consumer->shared->tail, __ATOMIC_ACQUIRE);
    uint32_t available = tail - consumer->head;
    if (consumer->corrupt == 0 && available <= consumer->slots && available >= consumer->tail_seen - consumer->head) {
        consumer->tail_seen = tail;
        return true;
    }
    consumer->corrupt++;
    return false;
}

enum shm_ring_result shm_ring_pop(struct shm_ring_consumer *consumer, void *message)
{
    if (consumer->tail_seen == consumer->head || consumer->corrupt != 0) {
        if (!consumer_refresh(consumer))
            return SHM_RING_CORRUPT;
        if (consumer->tail_seen == consumer->head)
            return SHM_RING_EMPTY;
    }
    uint32_t slot = consumer->head & (consumer->slots - 1);
    memcpy(message, consumer->shared->data + (size_t)slot * consumer->slot_size, consumer->slot_size);
    /* What was taken may have been a password. */
    memset(consumer->shared->data + (size_t)slot * consumer->slot_size, 0, consumer->slot_size);
    consumer->head++;
    /* Gives the slot back: pairs with the acquire load of head in producer_refresh. */
    __atomic_store_n(&consumer->shared->head, consumer->head, __ATOMIC_RELEASE);
    return SHM_RING_OK;
}

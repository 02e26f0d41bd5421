/* Captured packets between the processes: see shm/capture.h. */
#include "lib/shm/capture.h"

#include <stddef.h>
#include <string.h>

#include "lib/shm/config.h"

uint32_t shm_capture_slots(uint64_t bytes)
{
    const uint32_t needed = shm_capture_slots_of(SHM_CAPTURE_ID_MAX + SHM_CAPTURE_SNAP_MAX);
    uint32_t slots = 1;
    while (slots < SHM_RING_SLOTS_MAX && (slots < needed || (uint64_t)slots * 2 * SHM_CAPTURE_SLOT_SIZE <= bytes))
        slots *= 2;
    return slots;
}

static uint64_t part_size(uint32_t slots)
{
    return (shm_ring_segment_size(slots, SHM_CAPTURE_SLOT_SIZE) + 63) & ~UINT64_C(63);
}

uint64_t shm_capture_segment_size(uint32_t workers, uint32_t slots)
{
    return workers * part_size(slots);
}

int shm_capture_part(const struct shm_segment *segment, uint32_t worker, uint32_t slots, struct shm_segment *part,
                     struct shm_error *error)
{
    *part = SHM_SEGMENT_CLOSED;
    if (worker >= SHM_WORKERS_MAX || slots == 0 || slots > SHM_RING_SLOTS_MAX ||
        (worker + 1) * part_size(slots) > segment->size)
        return shm_error_set(error, "capture: the ring of worker %u with %u slots does not lie within %zu bytes",
                             worker, slots, segment->size);
    *part = (struct shm_segment){.base = (uint8_t *)segment->base + worker * part_size(slots),
                                 .size = part_size(slots),
                                 .fd = -1,
                                 .writable = segment->writable};
    return 0;
}

static int head_take(struct shm_capture_reader *reader, const struct shm_capture_slot *slot, struct shm_error *error)
{
    if (slot->first != 1 || slot->captured > SHM_CAPTURE_SNAP_MAX || slot->captured > slot->length ||
        slot->id_length > SHM_CAPTURE_ID_MAX || slot->port >= SHM_PORTS_MAX ||
        (slot->direction != SHM_CAPTURE_IN && slot->direction != SHM_CAPTURE_OUT))
        return shm_error_set(error, "capture: a packet of %u of %u bytes, port %u, direction %u, id of %u bytes",
                             slot->captured, slot->length, slot->port, slot->direction, slot->id_length);
    memcpy(&reader->head, slot, offsetof(struct shm_capture_slot, data));
    reader->expected = slot->id_length + slot->captured;
    reader->filled = 0;
    return 0;
}

int shm_capture_read(struct shm_capture_reader *reader, const struct shm_capture_slot *slot, struct shm_error *error)
{
    if (reader->filled == reader->expected) {
        if (head_take(reader, slot, error) != 0)
            return -1;
    } else if (slot->first != 0) {
        return shm_error_set(error, "capture: a packet ends after %u of %u bytes", reader->filled, reader->expected);
    }
    const uint32_t left = reader->expected - reader->filled;
    const uint32_t part = left < SHM_CAPTURE_SLOT_DATA ? left : SHM_CAPTURE_SLOT_DATA;
    memcpy(reader->bytes + reader->filled, slot->data, part);
    reader->filled += part;
    reader->whole = reader->filled == reader->expected;
    return 0;
}

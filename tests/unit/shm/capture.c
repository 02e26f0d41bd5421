/* Captured packets between the processes: sizes, division of the segment, and slots that can not be. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/shm/capture.h"
#include "lib/shm/config.h"

TestSuite(capture, .timeout = 10);

static struct shm_capture_reader reader;

static struct shm_capture_slot head(uint32_t id_length, uint32_t captured)
{
    struct shm_capture_slot slot = {.first = 1,
                                    .length = captured + 10,
                                    .captured = captured,
                                    .id_length = id_length,
                                    .port = 0,
                                    .direction = SHM_CAPTURE_IN};
    memset(slot.data, 'a', sizeof slot.data);
    return slot;
}

Test(capture, a_ring_holds_the_longest_packet_at_least)
{
    const uint32_t longest = shm_capture_slots_of(SHM_CAPTURE_ID_MAX + SHM_CAPTURE_SNAP_MAX);
    cr_expect_geq(shm_capture_slots(1), longest);
    cr_expect_eq(shm_capture_slots(1 << 20), (1 << 20) / SHM_CAPTURE_SLOT_SIZE);
    cr_expect_eq(shm_capture_slots((1 << 20) + 1000), (1 << 20) / SHM_CAPTURE_SLOT_SIZE);
    cr_expect_eq(shm_capture_slots(UINT64_MAX), SHM_RING_SLOTS_MAX);
    cr_expect_eq(shm_capture_slots_of(0), 1);
    cr_expect_eq(shm_capture_slots_of(SHM_CAPTURE_SLOT_DATA), 1);
    cr_expect_eq(shm_capture_slots_of(SHM_CAPTURE_SLOT_DATA + 1), 2);
}

Test(capture, the_largest_segment_can_be_attached)
{
    const struct shm_config_field *field = shm_config_field_find("capture.buffer");
    cr_assert_not_null(field);
    cr_expect_leq(shm_capture_segment_size(SHM_WORKERS_MAX, shm_capture_slots(field->maximum)), SHM_SEGMENT_SIZE_MAX);
}

Test(capture, each_worker_has_a_ring_of_its_own)
{
    struct shm_segment segment, parts[2], none;
    const uint32_t slots = 256;
    struct shm_ring_producer producers[2];
    struct shm_ring_consumer consumer;
    struct shm_capture_slot slot = head(0, 5);
    cr_assert_eq(
        shm_segment_create(&segment, "test", SHM_SEGMENT_CAPTURE, shm_capture_segment_size(2, slots), false, NULL), 0);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(shm_capture_part(&segment, i, slots, &parts[i], NULL), 0);
        cr_assert_eq(shm_ring_reset(&parts[i], slots, SHM_CAPTURE_SLOT_SIZE, NULL), 0);
        cr_assert_eq(shm_ring_open_producer(&producers[i], &parts[i], slots, SHM_CAPTURE_SLOT_SIZE, NULL), 0);
    }
    while (shm_ring_push(&producers[0], &slot) == SHM_RING_OK)
        ;
    cr_assert_eq(shm_ring_open_consumer(&consumer, &parts[1], slots, SHM_CAPTURE_SLOT_SIZE, NULL), 0);
    cr_expect_eq(shm_ring_pop(&consumer, &slot), SHM_RING_EMPTY);
    cr_expect_eq(((struct shm_segment_header *)segment.base)->magic, SHM_SEGMENT_MAGIC);
    /* What does not lie in the segment is refused, whatever the peer says. */
    cr_expect_eq(shm_capture_part(&segment, 2 * SHM_WORKERS_MAX, slots, &none, NULL), -1);
    cr_expect_eq(shm_capture_part(&segment, 1, slots * 2, &none, NULL), -1);
    cr_expect_eq(shm_capture_part(&segment, 0, 0, &none, NULL), -1);
    cr_expect_eq(shm_capture_part(&segment, 0, UINT32_MAX, &none, NULL), -1);
    shm_segment_close(&segment);
}

Test(capture, packets_of_all_lengths_become_whole)
{
    static const uint32_t sizes[] = {0, 1, SHM_CAPTURE_SLOT_DATA - 3, SHM_CAPTURE_SLOT_DATA, 1514, 65535};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct shm_capture_slot slot = head(3, sizes[i]);
        uint32_t slots = 0;
        memset(&reader, 0, sizeof reader);
        while (!reader.whole) {
            memset(slot.data, 'a' + (int)slots % 26, sizeof slot.data);
            cr_assert_eq(shm_capture_read(&reader, &slot, NULL), 0);
            slot.first = 0;
            slots++;
        }
        cr_expect_eq(slots, shm_capture_slots_of(3 + sizes[i]));
        cr_expect_eq(reader.filled, 3 + sizes[i]);
        cr_expect_eq(reader.bytes[2 + sizes[i]], 'a' + (int)(slots - 1) % 26);
        reader.whole = false;
        slot = head(0, 5);
        cr_expect_eq(shm_capture_read(&reader, &slot, NULL), 0, "the next packet begins");
    }
}

#define EXPECT_REFUSED(statement)                                                  \
    do {                                                                           \
        struct shm_capture_slot slot = head(3, 100);                               \
        struct shm_error error = {""};                                             \
        memset(&reader, 0, sizeof reader);                                         \
        statement;                                                                 \
        cr_expect_eq(shm_capture_read(&reader, &slot, &error), -1, "" #statement); \
        cr_expect(error.text[0] != '\0');                                          \
    } while (0)

Test(capture, refuses_slots_that_can_not_be)
{
    EXPECT_REFUSED(slot.first = 0);
    EXPECT_REFUSED(slot.first = 2);
    EXPECT_REFUSED(slot.captured = SHM_CAPTURE_SNAP_MAX + 1);
    EXPECT_REFUSED(slot.captured = UINT32_MAX);
    EXPECT_REFUSED(slot.captured = slot.length + 1);
    EXPECT_REFUSED(slot.id_length = SHM_CAPTURE_ID_MAX + 1);
    EXPECT_REFUSED(slot.port = SHM_PORTS_MAX);
    EXPECT_REFUSED(slot.direction = 0);
    EXPECT_REFUSED(slot.direction = SHM_CAPTURE_BOTH);
    struct shm_capture_slot slot = head(0, 1000);
    memset(&reader, 0, sizeof reader);
    cr_assert_eq(shm_capture_read(&reader, &slot, NULL), 0);
    cr_expect_eq(shm_capture_read(&reader, &slot, NULL), -1, "a packet begins within another");
}

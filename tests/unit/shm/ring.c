/* Rings between processes: order, bounds, and a peer that lies about its index. */
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/shm/ring.h"

#define SLOTS 8u
#define SLOT_SIZE 16u

struct message {
    uint64_t number;
    uint64_t check;
};

static struct shm_segment segment;
static struct shm_ring_producer producer;
static struct shm_ring_consumer consumer;

static void setup(void)
{
    struct shm_error error = {""};
    cr_assert_eq(shm_segment_create(&segment, "test-ring", SHM_SEGMENT_REQUESTS,
                                    shm_ring_segment_size(SLOTS, SLOT_SIZE), false, &error),
                 0, "%s", error.text);
    cr_assert_eq(shm_ring_reset(&segment, SLOTS, SLOT_SIZE, &error), 0, "%s", error.text);
    cr_assert_eq(shm_ring_open_producer(&producer, &segment, SLOTS, SLOT_SIZE, &error), 0, "%s", error.text);
    cr_assert_eq(shm_ring_open_consumer(&consumer, &segment, SLOTS, SLOT_SIZE, &error), 0, "%s", error.text);
}

static void teardown(void)
{
    shm_segment_close(&segment);
}

TestSuite(ring, .init = setup, .fini = teardown, .timeout = 30);

static enum shm_ring_result push(uint64_t number)
{
    struct message message = {number, ~number};
    return shm_ring_push(&producer, &message);
}

Test(ring, keeps_order_over_many_rounds_and_says_full_and_empty)
{
    uint64_t pushed = 0, popped = 0;
    struct message message;
    cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_EMPTY);
    for (int round = 0; round < 1000; round++) {
        uint64_t batch = 1 + (uint64_t)round % SLOTS;
        for (uint64_t i = 0; i < batch; i++)
            cr_assert_eq(push(pushed++), SHM_RING_OK);
        if (batch == SLOTS)
            cr_assert_eq(push(0), SHM_RING_FULL);
        cr_assert_eq(shm_ring_room(&producer), SLOTS - batch);
        for (uint64_t i = 0; i < batch; i++) {
            cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_OK);
            cr_assert_eq(message.number, popped++);
            cr_assert_eq(message.check, ~message.number);
        }
        cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_EMPTY);
    }
}

Test(ring, indices_wrap_at_32_bits)
{
    struct message message;
    uint32_t start = UINT32_MAX - 2;
    producer.tail = producer.head_seen = consumer.head = consumer.tail_seen = start;
    producer.shared->tail = producer.shared->head = start;
    for (uint64_t i = 0; i < 50; i++) {
        cr_assert_eq(push(i), SHM_RING_OK);
        cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_OK);
        cr_assert_eq(message.number, i);
    }
}

Test(ring, consumer_refuses_an_impossible_tail_and_stays_refused)
{
    struct message message;
    const uint32_t impossible[] = {SLOTS + 1, 1000, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        teardown();
        setup();
        consumer.shared->tail = impossible[i];
        cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_CORRUPT);
        cr_assert_eq(consumer.corrupt, 1);
        consumer.shared->tail = 1;
        cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_CORRUPT, "a liar is not believed again");
    }
}

Test(ring, consumer_refuses_a_tail_that_goes_back)
{
    struct message message;
    push(1);
    push(2);
    push(3);
    cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_OK);
    cr_assert_eq(consumer.tail_seen, 3);
    consumer.shared->tail = 0;
    cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_OK, "what was seen before is still there");
    cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_OK);
    cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_CORRUPT);
}

Test(ring, producer_refuses_an_impossible_head)
{
    for (uint64_t i = 0; i < SLOTS; i++)
        push(i);
    producer.shared->head = SLOTS + 1; /* more than was ever pushed */
    cr_assert_eq(push(9), SHM_RING_CORRUPT);
    cr_assert_eq(shm_ring_room(&producer), 0);
    cr_assert_geq(producer.corrupt, 1);
}

Test(ring, producer_refuses_a_head_that_goes_back)
{
    struct message message;
    for (uint64_t i = 0; i < SLOTS; i++)
        push(i);
    for (uint64_t i = 0; i < 4; i++)
        shm_ring_pop(&consumer, &message);
    cr_assert_eq(shm_ring_room(&producer), 4);
    producer.shared->head = 1;
    cr_assert_eq(shm_ring_room(&producer), 0);
    cr_assert_eq(producer.corrupt, 1);
}

Test(ring, a_peer_that_changes_the_dimensions_is_not_followed)
{
    struct message message;
    push(1);
    producer.shared->slots = 1u << 16;
    producer.shared->slot_size = 1u << 14;
    cr_assert_eq(shm_ring_pop(&consumer, &message), SHM_RING_OK);
    for (uint64_t i = 0; i < SLOTS; i++)
        cr_assert_eq(push(i), SHM_RING_OK);
    cr_assert_eq(push(9), SHM_RING_FULL);
}

Test(ring, open_refuses_other_dimensions_and_ones_that_do_not_fit)
{
    struct shm_error error;
    cr_assert_eq(shm_ring_open_consumer(&consumer, &segment, SLOTS * 2, SLOT_SIZE / 2, &error), -1);
    cr_assert_eq(shm_ring_open_consumer(&consumer, &segment, 1024, 512, &error), -1);
    cr_assert_eq(shm_ring_open_consumer(&consumer, &segment, 0, SLOT_SIZE, &error), -1);
    cr_assert_eq(shm_ring_open_consumer(&consumer, &segment, 6, SLOT_SIZE, &error), -1);
    cr_assert_eq(shm_ring_reset(&segment, 1u << 16, 1u << 14, &error), -1);
    cr_assert(error.text[0] != '\0');
}

/* Two processes at full speed: every message arrives once, in order, whole. */
Test(ring, carries_messages_between_two_processes)
{
    const uint64_t count = 200000;
    pid_t child = fork();
    if (child == 0) {
        for (uint64_t i = 0; i < count;)
            if (push(i) == SHM_RING_OK)
                i++;
            else
                usleep(0);
        _exit(0);
    }
    for (uint64_t expected = 0; expected < count;) {
        struct message message;
        enum shm_ring_result result = shm_ring_pop(&consumer, &message);
        cr_assert_neq(result, SHM_RING_CORRUPT);
        if (result == SHM_RING_EMPTY) {
            usleep(0);
            continue;
        }
        cr_assert_eq(message.number, expected++);
        cr_assert_eq(message.check, ~message.number);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
}

/* dataplane/packet_ids.h against a plain array. */
#include "dataplane/packet_ids.h"
#include "tests/unit/dataplane/support.h"

#include <time.h>

static void compare(const struct packet_ids *ids, const bool *model, uint32_t count)
{
    cr_assert_eq(packet_ids_count(ids), count);
    for (uint32_t id = 1; id <= UINT16_MAX; id++) {
        cr_assert_eq(packet_ids_contain(ids, (uint16_t)id), model[id], "identifier %u", id);
    }
}

/* `range`: identifiers in use, small ones collide and wrap around the end of the table. */
static void churn(uint64_t seed, uint32_t first, uint32_t range)
{
    static bool model[65536];
    uint32_t count = 0;
    struct packet_ids *ids = NULL;
    struct mem_region *memory = region_open();
    memset(model, 0, sizeof(model));
    for (uint32_t i = 0; i < 20000; i++) {
        const uint16_t id = (uint16_t)(first + next_random(&seed) % range);
        if (id == 0) {
            continue;
        }
        if (model[id]) {
            cr_assert(packet_ids_remove(&ids, id, memory));
            cr_assert_not(packet_ids_remove(&ids, id, memory));
            model[id] = false;
            count--;
        } else {
            cr_assert_not(packet_ids_contain(ids, id));
            cr_assert(packet_ids_add(&ids, id, memory));
            model[id] = true;
            count++;
        }
        if (i % 5000 == 0) {
            compare(ids, model, count);
        }
    }
    compare(ids, model, count);
    packet_ids_free(&ids, memory);
    cr_expect_eq(region_objects(memory), 0);
}

Test(packet_ids, like_a_plain_set)
{
    churn(1, 1, 12);
    churn(2, 1, 300);
    churn(3, 65500, 100); /* around the wrap of the identifiers */
    churn(4, 0, 65536);
}

Test(packet_ids, every_identifier_at_once)
{
    struct packet_ids *ids = NULL;
    struct mem_region *memory = region_open();
    for (uint32_t id = 1; id <= UINT16_MAX; id++) {
        cr_assert(packet_ids_add(&ids, (uint16_t)id, memory));
    }
    cr_expect_eq(packet_ids_count(ids), UINT16_MAX);
    for (uint32_t id = UINT16_MAX; id >= 1; id--) {
        cr_assert(packet_ids_remove(&ids, (uint16_t)id, memory));
    }
    cr_expect_eq(packet_ids_count(ids), 0);
    packet_ids_free(&ids, memory);
}

/* Ascending, as clients do: what is left is in one row behind the hole. It took more than a second. */
Test(packet_ids, releasing_does_not_depend_on_how_many_there_are)
{
    struct packet_ids *ids = NULL;
    struct mem_region *memory = region_open();
    for (uint32_t id = 1; id <= UINT16_MAX; id++) {
        cr_assert(packet_ids_add(&ids, (uint16_t)id, memory));
    }
    const clock_t begin = clock();
    for (uint32_t id = 1; id <= UINT16_MAX; id++) {
        cr_assert(packet_ids_remove(&ids, (uint16_t)id, memory));
    }
    cr_expect_lt(clock() - begin, CLOCKS_PER_SEC / 4);
    cr_expect_eq(region_objects(memory), 0, "the bitmap goes with the last");
}

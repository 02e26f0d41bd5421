/* The table of a worker's sessions: by identifier, by handle, and in slices. */
#include <stdio.h>

#include "dataplane/session.h"
#include "tests/unit/dataplane/support.h"

enum { MAX = 50, MEMORY = 1 << 20 };

static const struct topic_seed seed = {.key = {11, 22}};
static struct session *sessions[MAX + 1];
static struct session_table *table;
static void *range;

static struct session *session_named(uint32_t number)
{
    char id[16];
    const int length = snprintf(id, sizeof(id), "client-%u", number);
    struct session *session = calloc(1, sizeof(*session) + (size_t)length);
    memcpy(session->client_id, id, (size_t)length);
    session->client_id_length = (uint16_t)length;
    return session;
}

static struct session *find(uint32_t number)
{
    char id[16];
    const int length = snprintf(id, sizeof(id), "client-%u", number);
    return session_find(table, (struct mqtt_span){(const uint8_t *)id, (uint32_t)length});
}

static void table_fill(void)
{
    range = malloc(MEMORY);
    table = session_table_create(3, mem_region_create(range, MEMORY), MAX, &seed);
    cr_assert_not_null(table);
    for (uint32_t i = 0; i <= MAX; i++) {
        sessions[i] = session_named(i);
        cr_assert_eq(session_table_add(table, sessions[i]), i < MAX, "the bound is %u", MAX);
    }
}

static void table_drop(void)
{
    for (uint32_t i = 0; i <= MAX; i++) {
        free(sessions[i]);
    }
    session_table_destroy(table);
    free(range);
}

Test(session_table, finds_by_identifier_and_by_handle)
{
    table_fill();
    cr_expect_eq(session_count(table), MAX);
    for (uint32_t i = 0; i < MAX; i++) {
        cr_expect_eq(find(i), sessions[i]);
        cr_expect_neq(sessions[i]->handle, 0);
        cr_expect_eq(sessions[i]->handle >> 56, 3, "a handle names its worker");
        cr_expect_eq(session_by_handle(table, sessions[i]->handle), sessions[i]);
        cr_expect_null(session_by_handle(table, sessions[i]->handle ^ UINT64_C(1) << 56), "another worker's");
    }
    cr_expect_null(find(MAX));
    cr_expect_null(session_by_handle(table, 0));
    table_drop();
}

Test(session_table, an_old_handle_does_not_find_a_new_session)
{
    table_fill();
    uint64_t old = sessions[7]->handle;
    for (uint32_t i = 0; i < 1000; i++) {
        session_table_remove(table, sessions[7]);
        cr_assert_null(find(7));
        cr_assert_null(session_by_handle(table, old));
        cr_assert(session_table_add(table, sessions[7]));
        cr_assert_neq(sessions[7]->handle, old);
        cr_assert_null(session_by_handle(table, old));
        old = sessions[7]->handle;
    }
    cr_expect_eq(session_count(table), MAX);
    table_drop();
}

Test(session_table, slices_see_every_session_that_stays)
{
    uint32_t cursor = 0, seen = 0;
    table_fill();
    for (uint32_t i = 0; i < MAX; i += 3) {
        session_table_remove(table, sessions[i]);
    }
    while (session_next(table, &cursor) != NULL) {
        seen++;
    }
    cr_expect_eq(seen, session_count(table));
    cr_expect_eq(seen, MAX - (MAX + 2) / 3);
    table_drop();
}

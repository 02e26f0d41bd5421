/* The inflight window of a session: identifiers are unique while in flight, and the order is that of sending. */
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "tests/unit/dataplane/support.h"

static struct worker *worker;
static struct session session;

static void window_open(void)
{
    worker = calloc(1, sizeof(*worker));
    worker->memory = region_open();
    session = (struct session){.next_packet_id = 1};
}

static void window_close(void)
{
    while (session.inflight.first != NULL) {
        struct outgoing *outgoing = session.inflight.first;
        inflight_remove(&session, outgoing);
        outgoing_free(worker, outgoing);
    }
    mem_free(worker->memory, session.slots);
    cr_expect_eq(region_objects(worker->memory), 0);
    free(worker);
}

static struct outgoing *add(void)
{
    struct outgoing *outgoing = mem_alloc_zero(worker->memory, sizeof(*outgoing));
    cr_assert(inflight_add(worker, &session, outgoing));
    return outgoing;
}

Test(inflight, no_identifier_twice_and_in_order)
{
    static struct outgoing *by_id[65536];
    uint64_t seed = 7;
    uint16_t last_given = 0;
    window_open();
    for (uint32_t i = 0; i < 300000; i++) {
        if (session.inflight.count < 1 + next_random(&seed) % 200) {
            struct outgoing *outgoing = add();
            last_given = outgoing->packet_id;
            cr_assert_neq(outgoing->packet_id, 0);
            cr_assert_null(by_id[outgoing->packet_id], "identifier %u is in flight", outgoing->packet_id);
            cr_assert_eq(session.inflight.last, outgoing, "appended");
            by_id[outgoing->packet_id] = outgoing;
        } else {
            const uint16_t id = (uint16_t)(last_given - next_random(&seed) % 400);
            struct outgoing *outgoing = inflight_find(&session, id);
            cr_assert_eq(outgoing, by_id[id]);
            if (outgoing != NULL) {
                inflight_remove(&session, outgoing);
                outgoing_free(worker, outgoing);
                by_id[id] = NULL;
            }
        }
    }
    window_close();
}

/* Up to half of all identifiers; the window of Receive Maximum ends before that. */
Test(inflight, a_wide_window_wraps)
{
    window_open();
    session.next_packet_id = 65000;
    for (uint32_t i = 0; i < 32768; i++) {
        add();
    }
    uint32_t count = 0;
    for (const struct outgoing *outgoing = session.inflight.first; outgoing != NULL; outgoing = outgoing->next) {
        const uint32_t expected = 65000 + count < 65536 ? 65000 + count : 65000 + count - 65535;
        cr_assert_eq(outgoing->packet_id, expected);
        cr_assert_eq(inflight_find(&session, outgoing->packet_id), outgoing);
        count++;
    }
    cr_expect_eq(count, 32768);
    window_close();
}

Test(inflight, what_leaves_the_window_is_no_longer_outstanding)
{
    window_open();
    struct outgoing *first = add(), *second = add();
    first->outstanding = second->outstanding = true;
    session.outstanding = 2;
    session.resend_next = first;
    inflight_remove(&session, first);
    cr_expect_eq(session.outstanding, 1);
    cr_expect_eq(session.resend_next, second, "sending again goes on behind it");
    outgoing_free(worker, first);
    cr_expect_null(inflight_find(&session, 1));
    cr_expect_eq(inflight_find(&session, 2), second);
    window_close();
}

/* dataplane/mailbox.h: order, bounds, waiting mails, getting blocks back; in one thread and between two. */
#include <pthread.h>

#include "dataplane/mailbox.h"
#include "dataplane/message.h"
#include "tests/unit/dataplane/support.h"

static struct mailbox *mailbox_make(uint32_t slots)
{
    struct mailbox *mailbox = aligned_alloc(64, (mailbox_size(slots) + 63) / 64 * 64);
    mailbox_init(mailbox, slots);
    return mailbox;
}

static struct mail numbered(struct mem_region *memory, uint32_t number)
{
    uint32_t *block = mem_alloc(memory, sizeof(*block));
    *block = number;
    return (struct mail){.type = MAIL_CLAIM, .number = number, .block = block};
}

/* Handles `count` mails, which must carry the numbers from `*next` on. */
static void receive(struct mailbox *mailbox, uint32_t count, uint32_t *next)
{
    cr_assert_leq(count, mailbox_pending(mailbox));
    for (uint32_t i = 0; i < count; i++) {
        const struct mail *mail = mailbox_at(mailbox, i);
        cr_assert_eq(mail->number, *next);
        cr_assert_eq(*(uint32_t *)mail->block, *next);
        ++*next;
    }
    mailbox_done(mailbox, count);
}

Test(mailbox, keeps_the_order_and_its_bound)
{
    uint32_t next = 0;
    struct mem_region *memory = region_open();
    struct mailbox *mailbox = mailbox_make(8);
    cr_expect(mailbox_has_room(mailbox, 8));
    cr_expect_not(mailbox_has_room(mailbox, 9));
    for (uint32_t i = 0; i < 8; i++) {
        mailbox_put(mailbox, numbered(memory, i));
    }
    cr_expect_not(mailbox_has_room(mailbox, 1));
    receive(mailbox, 3, &next);
    cr_expect_not(mailbox_has_room(mailbox, 1), "room counts from what the sender has back");
    mailbox_reclaim(mailbox, memory);
    cr_expect(mailbox_has_room(mailbox, 3));
    cr_expect_not(mailbox_has_room(mailbox, 4));
    cr_expect_eq(region_objects(memory), 5, "three blocks are back");
    receive(mailbox, 5, &next);
    mailbox_reclaim(mailbox, memory);
    cr_expect_eq(region_objects(memory), 0);
    free(mailbox);
}

Test(mailbox, mails_beyond_its_bound_wait_in_order)
{
    uint32_t next = 0;
    struct mem_region *memory = region_open();
    struct mailbox *mailbox = mailbox_make(4);
    for (uint32_t i = 0; i < 11; i++) {
        cr_assert(mailbox_post(mailbox, memory, numbered(memory, i)));
    }
    cr_expect_eq(mailbox_pending(mailbox), 4);
    while (next < 11) {
        receive(mailbox, mailbox_pending(mailbox) < 3 ? mailbox_pending(mailbox) : 3, &next);
        cr_expect(next == 11 || !mailbox_has_room(mailbox, 1), "nobody passes those who wait");
        mailbox_reclaim(mailbox, memory);
    }
    cr_expect_eq(region_objects(memory), 0);
    free(mailbox);
}

/* The counters wrap after 2^32 mails: start near that. */
Test(mailbox, was_handled_holds_across_the_wrap)
{
    uint32_t next = 0, handled = 0, positions[40];
    struct mem_region *memory = region_open();
    struct mailbox *mailbox = mailbox_make(16);
    const uint32_t start = UINT32_MAX - 9;
    atomic_store(&mailbox->head, start);
    atomic_store(&mailbox->tail, start);
    mailbox->reclaimed = mailbox->posted = start;
    for (uint32_t i = 0; i < 40; i++) {
        cr_assert(mailbox_post(mailbox, memory, numbered(memory, i)));
        positions[i] = mailbox->posted;
    }
    while (next < 40) {
        receive(mailbox, mailbox_pending(mailbox) < 5 ? mailbox_pending(mailbox) : 5, &next);
        mailbox_reclaim(mailbox, memory);
        handled = next;
        for (uint32_t i = 0; i < 40; i++) {
            cr_assert_eq(mailbox_was_handled(mailbox, positions[i]), i < handled, "mail %u after %u", i, handled);
        }
    }
    cr_expect_eq(region_objects(memory), 0);
    free(mailbox);
}

Test(mailbox, messages_are_released_not_freed)
{
    struct mem_region *memory = region_open();
    struct mailbox *mailbox = mailbox_make(4);
    struct message *message = mem_alloc(memory, sizeof(*message));
    *message = (struct message){.references = 2};
    mailbox_put(mailbox, (struct mail){.type = MAIL_PUBLISH, .block = message});
    mailbox_done(mailbox, 1);
    mailbox_reclaim(mailbox, memory);
    cr_expect_eq(message->references, 1);
    cr_expect_eq(region_objects(memory), 1);
    message_release(message, memory);
    cr_expect_eq(region_objects(memory), 0);
    free(mailbox);
}

/* ---- Two threads ------------------------------------------------------------------------------------------------- */

enum { MAILS = 300000 };

static void *receiver(void *arg)
{
    struct mailbox *mailbox = arg;
    uint32_t next = 0;
    while (next < MAILS) {
        const uint32_t pending = mailbox_pending(mailbox);
        receive(mailbox, pending < 7 ? pending : 7, &next);
    }
    return NULL;
}

Test(mailbox, between_two_threads)
{
    pthread_t thread;
    struct mem_region *memory = region_open();
    struct mailbox *mailbox = mailbox_make(64);
    cr_assert_eq(pthread_create(&thread, NULL, receiver, mailbox), 0);
    for (uint32_t i = 0; i < MAILS;) {
        if (i % 3 == 0 || mailbox_has_room(mailbox, 1)) {
            cr_assert(mailbox_post(mailbox, memory, numbered(memory, i)));
            i++;
        }
        mailbox_reclaim(mailbox, memory);
    }
    while (mailbox->waiting_first != NULL || mailbox->reclaimed != MAILS) {
        mailbox_reclaim(mailbox, memory);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(region_objects(memory), 0);
    free(mailbox);
}

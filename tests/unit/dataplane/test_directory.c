/*
 * The directory's protocol between real workers, mail by mail: an entry lives exactly as long as a claim is held, in
 * whatever order claims come and go.
 */
#include <stdio.h>

#include "dataplane/housekeeper.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/world.h"
#include "tests/unit/dataplane/support.h"

enum { WORKERS = 3, HOME = 1 };

static struct world world;
static struct client_id_key id;

/* Workers without a port, and an identifier whose home is HOME. */
static void workers_begin(void)
{
    char text[16];
    struct mqtt_span span;
    world_environment(WORKERS);
    world_init(&world, 1, WORKERS, 0);
    world_begin(&world);
    for (uint32_t i = 0;; i++) {
        const int length = snprintf(text, sizeof(text), "x%u", i);
        span = (struct mqtt_span){(const uint8_t *)text, (uint32_t)length};
        if (directory_is_home(world.dataplane.workers[HOME], span)) {
            id = directory_id(&world.dataplane, span);
            return;
        }
    }
}

static struct worker *worker_of(uint32_t index)
{
    return world.dataplane.workers[index];
}

static uint32_t entries(void)
{
    return directory_count(worker_of(HOME)->directory);
}

static void claim(uint32_t claimant)
{
    const struct directory_mail mail = {.id = id, .connection = 12345, .claimant = (uint8_t)claimant};
    directory_receive_claim(worker_of(HOME), &mail);
}

/* The owner in the newest answer to the claimant. */
static uint32_t owner_told(uint32_t claimant)
{
    struct mailbox *mailbox = worker_of(claimant)->from[HOME];
    const struct mail *mail = mailbox_at(mailbox, mailbox_pending(mailbox) - 1);
    cr_assert_eq(mail->type, MAIL_OWNER);
    return ((const struct directory_mail *)mail->block)->owner;
}

/* Until no mail is under way. */
static void mails_settle(void)
{
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < WORKERS; i++) {
            worker_of(i)->now = world.now;
            worker_iterate(worker_of(i));
        }
    }
}

Test(directory, the_first_claimant_owns_it_until_all_claims_are_back)
{
    workers_begin();
    claim(2);
    cr_expect_eq(owner_told(2), 2);
    claim(0);
    cr_expect_eq(owner_told(0), 2);
    claim(2);
    cr_expect_eq(entries(), 1);
    directory_disown(worker_of(HOME), &id, 2);
    cr_expect_eq(entries(), 1, "a client is still on its way");
    claim(0);
    cr_expect_eq(owner_told(0), 2);
    directory_disown(worker_of(HOME), &id, 1);
    cr_expect_eq(entries(), 1);
    directory_disown(worker_of(HOME), &id, 1);
    cr_expect_eq(entries(), 0);
    claim(0);
    cr_expect_eq(owner_told(0), 0, "the next one begins anew");
    mails_settle();
    cr_expect(world_end(&world));
}

/* The client has left before the answer came: its worker gives the claim back by mail. */
Test(directory, a_client_that_leaves_takes_its_claim_along)
{
    workers_begin();
    claim(2);
    claim(0);
    claim(0);
    cr_expect_eq(entries(), 1);
    mails_settle();
    cr_expect_eq(entries(), 0);
    cr_expect(world_end(&world));
}

/* A newer claim's session has come and gone while an older one is on its way: the entry must not go with it. */
Test(directory, claims_come_back_in_any_order)
{
    workers_begin();
    claim(2);                               /* a session on 2 begins with it */
    claim(0);                               /* on its way to 2, and slow */
    claim(2);                               /* handled on 2 at once */
    directory_disown(worker_of(2), &id, 2); /* and the session has ended */
    worker_of(HOME)->now = world.now;
    worker_iterate(worker_of(HOME));
    cr_expect_eq(entries(), 1, "2 owns what is on its way to it");
    directory_disown(worker_of(2), &id, 1);
    mails_settle();
    cr_expect_eq(entries(), 0);
    cr_expect(world_end(&world));
}

Test(directory, a_full_directory_says_so)
{
    workers_begin();
    struct client_id_key other = id;
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        other.hash[0] = next_random(&(uint64_t){i});
        const struct directory_mail mail = {.id = other, .claimant = 0};
        directory_receive_claim(worker_of(HOME), &mail);
        answered += owner_told(0) != DIRECTORY_NOBODY;
    }
    cr_expect_eq(answered, world.config.mqtt.max_sessions);
    cr_expect_eq(entries(), answered, "what was refused holds no claim");
    mails_settle();
    cr_expect_eq(entries(), 0);
    cr_expect(world_end(&world));
}

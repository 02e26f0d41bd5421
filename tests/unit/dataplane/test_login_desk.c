/* dataplane/login_desk.h: slots, their numbers, questions there and back, and owners that leave meanwhile. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "dataplane/login_desk.h"

static struct doorbell bells[2];

static struct login_desk *desk_make(uint32_t max_logins, uint32_t workers, uint32_t worker)
{
    static struct shm_config config;
    config.authentication.max_logins = max_logins;
    config.dataplane.workers = workers;
    struct login_desk *desk = login_desk_create(&config, worker, &bells[0], &bells[1]);
    cr_assert(desk);
    return desk;
}

/* The housekeeper's side: takes the oldest question, answers it. Returns the login it was about. */
static uint64_t answer(struct login_desk *desk, enum shm_login_result result)
{
    cr_assert_gt(mailbox_pending(desk->asked), 0);
    const uint32_t slot = mailbox_at(desk->asked, 0)->number;
    mailbox_done(desk->asked, 1);
    const uint64_t login = desk->slots[slot].question.login;
    cr_assert_eq(shm_login_question_check(&desk->slots[slot].question, NULL), 0);
    memset(&desk->slots[slot].verdict, 0, sizeof(desk->slots[slot].verdict));
    desk->slots[slot].verdict.login = login;
    desk->slots[slot].verdict.result = (uint16_t)result;
    login_desk_answer(desk, slot);
    return login;
}

static void ask(struct login_desk *desk, uint32_t slot)
{
    login_desk_ask(desk, slot, SHM_LOGIN_PASSWORD, (const uint8_t *)"user", 4, (const uint8_t *)"secret", 6);
}

Test(login_desk, shares_the_logins_evenly)
{
    struct login_desk *desk = desk_make(10, 4, 3);
    cr_assert_eq(desk->count, 2);
    cr_assert_eq(desk->first, 6);
    login_desk_destroy(desk);
    desk = desk_make(1, 4, 0);
    cr_assert_eq(desk->count, 1, "no worker is without");
    login_desk_destroy(desk);
}

Test(login_desk, has_its_bound_and_gives_slots_out_again)
{
    int owners[3];
    struct login_desk *desk = desk_make(3, 1, 0);
    for (int round = 0; round < 5; round++) {
        uint32_t slots[3];
        for (int i = 0; i < 3; i++) {
            slots[i] = login_desk_open(desk, &owners[i]);
            cr_assert_lt(slots[i], 3);
        }
        cr_assert_eq(login_desk_open(desk, &owners[0]), LOGIN_SLOT_NONE);
        for (int i = 0; i < 3; i++) {
            login_desk_close(desk, slots[i]);
        }
    }
    login_desk_destroy(desk);
}

Test(login_desk, carries_questions_and_verdicts)
{
    int owner;
    uint64_t logins[20];
    struct login_desk *desk = desk_make(4, 2, 1);
    for (int i = 0; i < 20; i++) {
        const uint32_t slot = login_desk_open(desk, &owner);
        ask(desk, slot);
        cr_assert_null(login_desk_take(desk));
        logins[i] = answer(desk, SHM_LOGIN_ACCEPTED);
        cr_assert_eq((uint32_t)logins[i], desk->first + slot);
        cr_assert_eq(login_desk_take(desk), &owner);
        cr_assert_eq(desk->slots[slot].verdict.result, SHM_LOGIN_ACCEPTED);
        login_desk_close(desk, slot);
        cr_assert_eq(desk->slots[slot].question.data[0], 0, "passwords are wiped");
        for (int j = 0; j < i; j++) {
            cr_assert_neq(logins[i], logins[j], "one that had the slot before is told apart");
        }
    }
    login_desk_destroy(desk);
}

Test(login_desk, an_owner_may_leave_while_control_has_the_question)
{
    int leaver, owner;
    struct login_desk *desk = desk_make(2, 1, 0);
    const uint32_t first = login_desk_open(desk, &leaver);
    const uint32_t second = login_desk_open(desk, &owner);
    ask(desk, first);
    ask(desk, second);
    login_desk_close(desk, first);
    cr_assert_eq(login_desk_open(desk, &owner), LOGIN_SLOT_NONE, "the slot is not back yet");
    answer(desk, SHM_LOGIN_ACCEPTED);
    answer(desk, SHM_LOGIN_DENIED);
    cr_assert_eq(login_desk_take(desk), &owner);
    cr_assert_null(login_desk_take(desk));
    cr_assert_eq(login_desk_open(desk, &owner), first);
    login_desk_destroy(desk);
}

/* The housekeeper on a thread of its own: answers everything, the login's number as its data, until `rounds` are done.
 */
enum { ROUNDS = 5000 };

static void *housekeeper_run(void *arg)
{
    struct login_desk *desk = arg;
    for (uint32_t answered = 0; answered < ROUNDS;) {
        if (!login_desk_has_question(desk)) {
            continue;
        }
        const uint32_t slot = mailbox_at(desk->asked, 0)->number;
        mailbox_done(desk->asked, 1);
        const struct shm_login_question question = desk->slots[slot].question;
        struct shm_login_verdict *verdict = &desk->slots[slot].verdict;
        memset(verdict, 0, sizeof(*verdict));
        verdict->login = question.login;
        verdict->result = SHM_LOGIN_ACCEPTED;
        memcpy(verdict->data, question.data, question.data_length);
        login_desk_answer(desk, slot);
        answered++;
    }
    return NULL;
}

Test(login_desk, between_two_threads)
{
    struct owner {
        uint32_t slot, number;
    } owners[4];
    pthread_t thread;
    uint32_t asked = 0, taken = 0;
    struct login_desk *desk = desk_make(4, 1, 0);
    cr_assert_eq(pthread_create(&thread, NULL, housekeeper_run, desk), 0);
    while (taken < ROUNDS) {
        uint32_t slot;
        while (asked < ROUNDS && (slot = login_desk_open(desk, NULL)) != LOGIN_SLOT_NONE) {
            owners[slot] = (struct owner){slot, asked++};
            desk->slots[slot].owner = &owners[slot];
            login_desk_ask(desk, slot, SHM_LOGIN_BEGIN, NULL, 0, (const uint8_t *)&owners[slot].number,
                           sizeof(owners[slot].number));
        }
        const struct owner *owner = login_desk_take(desk);
        if (owner != NULL) {
            const struct shm_login_verdict *verdict = &desk->slots[owner->slot].verdict;
            cr_assert_eq(memcmp(verdict->data, &owner->number, sizeof(owner->number)), 0);
            login_desk_close(desk, owner->slot);
            taken++;
        }
    }
    pthread_join(thread, NULL);
    login_desk_destroy(desk);
}

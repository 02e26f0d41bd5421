/* dataplane/login_relay.h: questions to control and verdicts back, without control, with one that says nothing, too
 * late, or what can not be. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/login_relay.h"
#include "dataplane/worker.h"

enum { TIMEOUT_S = 3, WORKERS = 2, LOGINS = 8 };

static struct dataplane dataplane;
static struct doorbell bells[WORKERS];
static struct login_relay relay;
static struct shm_ring_consumer questions; /* control's ends */
static struct shm_ring_producer verdicts;
static struct shm_error error;
static int owner;

static void setup(void)
{
    dataplane.config.authentication =
        (struct shm_authentication_config){.users = 1, .max_logins = LOGINS, .timeout_s = TIMEOUT_S};
    dataplane.config.dataplane.workers = dataplane.worker_count = WORKERS;
    for (uint32_t i = 0; i < WORKERS; i++) {
        dataplane.workers[i] = aligned_alloc(64, (sizeof(struct worker) + 63) / 64 * 64);
        memset(dataplane.workers[i], 0, sizeof(struct worker));
        dataplane.workers[i]->logins = login_desk_create(&dataplane.config, i, &bells[i], &dataplane.housekeeper_bell);
    }
    cr_assert_eq(login_relay_create(&relay, &error), 0);
    cr_assert_eq(login_relay_reset(&relay, &error), 0);
    shm_ring_open_consumer(&questions, &relay.question_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, &error);
    shm_ring_open_producer(&verdicts, &relay.verdict_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, &error);
}

static void teardown(void)
{
    login_relay_destroy(&relay);
    for (uint32_t i = 0; i < WORKERS; i++) {
        login_desk_destroy(dataplane.workers[i]->logins);
        free(dataplane.workers[i]);
    }
}

TestSuite(login_relay, .init = setup, .fini = teardown, .timeout = 20);

static uint32_t ask(uint32_t worker)
{
    struct login_desk *desk = dataplane.workers[worker]->logins;
    const uint32_t slot = login_desk_open(desk, &owner);
    login_desk_ask(desk, slot, SHM_LOGIN_PASSWORD, (const uint8_t *)"user", 4, (const uint8_t *)"secret", 6);
    return slot;
}

static uint64_t question_take(void)
{
    struct shm_login_question question;
    cr_assert_eq(shm_ring_pop(&questions, &question), SHM_RING_OK);
    cr_assert_eq(question.data_length, 6);
    return question.login;
}

static void verdict_say(uint64_t login, uint16_t result)
{
    const struct shm_login_verdict verdict = {.login = login, .result = result};
    cr_assert_eq(shm_ring_push(&verdicts, &verdict), SHM_RING_OK);
}

/* The verdict that came back to a worker for a slot; 0: none has. */
static uint16_t verdict_of(uint32_t worker, uint32_t slot)
{
    struct login_desk *desk = dataplane.workers[worker]->logins;
    return login_desk_take(desk) == NULL ? 0 : desk->slots[slot].verdict.result;
}

Test(login_relay, questions_of_all_workers_and_their_verdicts)
{
    const uint32_t first = ask(0), second = ask(1);
    cr_assert(login_relay_has_input(&dataplane));
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 1000, &error), LOGIN_RELAY_SENT);
    cr_assert_eq(relay.due, 2);
    const uint64_t one = question_take(), two = question_take();
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 2000, &error), LOGIN_RELAY_IDLE);
    verdict_say(two, SHM_LOGIN_DENIED);
    verdict_say(one, SHM_LOGIN_ACCEPTED);
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 3000, &error), LOGIN_RELAY_WORKED);
    cr_assert_eq(verdict_of(0, first), SHM_LOGIN_ACCEPTED);
    cr_assert_eq(verdict_of(1, second), SHM_LOGIN_DENIED);
    cr_assert_eq(relay.due, 0);
}

Test(login_relay, without_control_the_answer_comes_at_once)
{
    const uint32_t slot = ask(0);
    cr_assert_eq(login_relay_serve(&relay, &dataplane, false, 1000, &error), LOGIN_RELAY_WORKED);
    cr_assert_eq(verdict_of(0, slot), SHM_LOGIN_UNAVAILABLE);
}

Test(login_relay, control_dies_with_questions)
{
    const uint32_t slot = ask(1);
    login_relay_serve(&relay, &dataplane, true, 1000, &error);
    login_relay_serve(&relay, &dataplane, false, 2000, &error);
    cr_assert_eq(verdict_of(1, slot), SHM_LOGIN_UNAVAILABLE);
    cr_assert_eq(relay.due, 0);
}

Test(login_relay, control_says_nothing_or_too_late)
{
    const uint64_t begin = 1000, late = begin + TIMEOUT_S * UINT64_C(1000000) + 200000;
    const uint32_t slot = ask(0);
    login_relay_serve(&relay, &dataplane, true, begin, &error);
    const uint64_t login = question_take();
    login_relay_serve(&relay, &dataplane, true, late - 400000, &error);
    cr_assert_eq(verdict_of(0, slot), 0);
    login_relay_serve(&relay, &dataplane, true, late, &error);
    cr_assert_eq(verdict_of(0, slot), SHM_LOGIN_UNAVAILABLE);
    login_desk_close(dataplane.workers[0]->logins, slot);
    cr_assert_eq(ask(0), slot, "the next login has the same slot");
    login_relay_serve(&relay, &dataplane, true, late + 1, &error);
    verdict_say(login, SHM_LOGIN_ACCEPTED);
    login_relay_serve(&relay, &dataplane, true, late + 2, &error);
    cr_assert_eq(verdict_of(0, slot), 0, "and does not get the verdict of the last");
    cr_assert_neq(question_take(), login);
}

Test(login_relay, verdicts_that_nobody_asked_for)
{
    const uint32_t slot = ask(0);
    const uint64_t login = (uint64_t)dataplane.workers[0]->logins->slots[slot].question.login;
    verdict_say(LOGINS, SHM_LOGIN_ACCEPTED);
    verdict_say(UINT64_MAX, SHM_LOGIN_ACCEPTED);
    verdict_say(UINT64_C(7) << 32, SHM_LOGIN_ACCEPTED);
    login_relay_serve(&relay, &dataplane, true, 1000, &error);
    verdict_say(login + (UINT64_C(1) << 32), SHM_LOGIN_ACCEPTED);
    verdict_say(login ^ 1, SHM_LOGIN_ACCEPTED);
    login_relay_serve(&relay, &dataplane, true, 2000, &error);
    cr_assert_lt(login_relay_serve(&relay, &dataplane, true, 3000, &error), LOGIN_RELAY_BROKEN);
    verdict_say(login, SHM_LOGIN_DENIED);
    login_relay_serve(&relay, &dataplane, true, 4000, &error);
    cr_assert_eq(verdict_of(0, slot), SHM_LOGIN_DENIED);
    verdict_say(login, SHM_LOGIN_ACCEPTED); /* a second one */
    login_relay_serve(&relay, &dataplane, true, 5000, &error);
    cr_assert_eq(verdict_of(0, slot), 0);
}

Test(login_relay, a_control_that_breaks_the_rules_is_found_out)
{
    verdict_say(1, SHM_LOGIN_UNAVAILABLE + 1);
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 1000, &error), LOGIN_RELAY_BROKEN);
    cr_assert_eq(login_relay_reset(&relay, &error), 0);
    relay.verdicts.shared->tail = 1u << 20;
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 2000, &error), LOGIN_RELAY_BROKEN);
    cr_assert_eq(login_relay_reset(&relay, &error), 0);
    ask(0);
    relay.questions.shared->head = 1u << 20;
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 3000, &error), LOGIN_RELAY_BROKEN);
}

Test(login_relay, a_full_ring_holds_questions_back)
{
    const struct shm_login_question other = {.login = 1, .step = SHM_LOGIN_BEGIN};
    while (shm_ring_push(&relay.questions, &other) == SHM_RING_OK) {
    }
    const uint32_t slot = ask(0);
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 1000, &error), LOGIN_RELAY_IDLE);
    cr_assert(login_relay_has_input(&dataplane), "it waits with the worker");
    struct shm_login_question question;
    cr_assert_eq(shm_ring_pop(&questions, &question), SHM_RING_OK);
    cr_assert_eq(login_relay_serve(&relay, &dataplane, true, 2000, &error), LOGIN_RELAY_SENT);
    cr_assert_eq(verdict_of(0, slot), 0);
}

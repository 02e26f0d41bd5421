/* Carrying logins between workers and control. See login_relay.h. */
#include "dataplane/login_relay.h"

#include <string.h>

#include "dataplane/worker.h"

enum {
    LOOK_INTERVAL_US = 100000,
    VERDICTS_PER_ROUND = 64,
};

int login_relay_create(struct login_relay *relay, struct shm_error *error)
{
    const size_t size = shm_ring_segment_size(SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE);
    *relay = (struct login_relay){.question_segment = SHM_SEGMENT_CLOSED, .verdict_segment = SHM_SEGMENT_CLOSED};
    return shm_segment_create(&relay->question_segment, "pollux-questions", SHM_SEGMENT_QUESTIONS, size, false,
                              error) != 0
               ? -1
               : shm_segment_create(&relay->verdict_segment, "pollux-verdicts", SHM_SEGMENT_VERDICTS, size, false,
                                    error);
}

void login_relay_destroy(struct login_relay *relay)
{
    shm_segment_close(&relay->question_segment);
    shm_segment_close(&relay->verdict_segment);
}

int login_relay_reset(struct login_relay *relay, struct shm_error *error)
{
    if (shm_ring_reset(&relay->question_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, error) != 0 ||
        shm_ring_reset(&relay->verdict_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, error) != 0 ||
        shm_ring_open_producer(&relay->questions, &relay->question_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE,
                               error) != 0) {
        return -1;
    }
    return shm_ring_open_consumer(&relay->verdicts, &relay->verdict_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE,
                                  error);
}

/* ---- To control ---------------------------------------------------------------------------------------------------
 */

static void answer_unavailable(struct login_relay *relay, struct login_desk *desk, uint32_t slot)
{
    struct shm_login_verdict *verdict = &desk->slots[slot].verdict;
    const uint64_t login = desk->slots[slot].question.login;
    memset(verdict, 0, sizeof(*verdict));
    verdict->login = login;
    verdict->result = SHM_LOGIN_UNAVAILABLE;
    relay->due -= desk->slots[slot].sent_at != 0;
    login_desk_answer(desk, slot);
}

/* What a worker asks, as far as the ring has room. */
static uint32_t questions_take(struct login_relay *relay, struct login_desk *desk, bool linked, uint64_t now,
                               bool *sent)
{
    uint32_t taken = 0;
    while (mailbox_pending(desk->asked) > 0) {
        const uint32_t slot = mailbox_at(desk->asked, 0)->number;
        if (linked && shm_ring_room(&relay->questions) == 0) {
            break;
        }
        mailbox_done(desk->asked, 1);
        taken++;
        if (linked) {
            desk->slots[slot].sent_at = now;
            relay->due++;
            shm_ring_push(&relay->questions, &desk->slots[slot].question);
            *sent = true;
        } else {
            answer_unavailable(relay, desk, slot);
        }
    }
    return taken;
}

/* Questions that control will not answer any more, or has not for too long. */
static void questions_give_up(struct login_relay *relay, struct login_desk *desk, uint64_t sent_before)
{
    for (uint32_t slot = 0; slot < desk->count; slot++) {
        if (desk->slots[slot].sent_at != 0 && desk->slots[slot].sent_at < sent_before) {
            answer_unavailable(relay, desk, slot);
        }
    }
}

/* ---- From control -------------------------------------------------------------------------------------------------
 */

/* A verdict for a login that was given up meanwhile, or never was, is dropped. */
static void verdict_deliver(struct login_relay *relay, struct dataplane *dataplane,
                            const struct shm_login_verdict *verdict)
{
    const uint32_t number = (uint32_t)verdict->login;
    const uint32_t each = login_desk_slots(&dataplane->config);
    if (number >= each * dataplane->worker_count) {
        return;
    }
    struct login_desk *desk = dataplane->workers[number / each]->logins;
    struct login_slot *slot = &desk->slots[number % each];
    if (slot->sent_at != 0 && slot->question.login == verdict->login) {
        slot->verdict = *verdict;
        relay->due--;
        login_desk_answer(desk, number % each);
    }
}

/* Returns how many were taken, or -1: what control has written is not usable. */
static int verdicts_take(struct login_relay *relay, struct dataplane *dataplane, struct shm_error *error)
{
    struct shm_login_verdict verdict;
    int taken = 0;
    while (taken < VERDICTS_PER_ROUND) {
        const enum shm_ring_result result = shm_ring_pop(&relay->verdicts, &verdict);
        if (result == SHM_RING_EMPTY) {
            break;
        }
        if (result != SHM_RING_OK) {
            return shm_error_set(error, "its ring of verdicts is corrupt");
        }
        if (shm_login_verdict_check(&verdict, error) != 0) {
            return -1;
        }
        verdict_deliver(relay, dataplane, &verdict);
        taken++;
    }
    return taken;
}

bool login_relay_has_input(const struct dataplane *dataplane)
{
    for (uint32_t i = 0; dataplane->config.authentication.users && i < dataplane->worker_count; i++) {
        if (login_desk_has_question(dataplane->workers[i]->logins)) {
            return true;
        }
    }
    return false;
}

enum login_relay_result login_relay_serve(struct login_relay *relay, struct dataplane *dataplane, bool linked,
                                          uint64_t now, struct shm_error *error)
{
    bool sent = false;
    uint32_t work = 0;
    if (!dataplane->config.authentication.users) {
        return LOGIN_RELAY_IDLE;
    }
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        work += questions_take(relay, dataplane->workers[i]->logins, linked, now, &sent);
    }
    if (linked != relay->linked || now >= relay->next_look) {
        const uint64_t longest = dataplane->config.authentication.timeout_s * UINT64_C(1000000);
        for (uint32_t i = 0; i < dataplane->worker_count; i++) {
            questions_give_up(relay, dataplane->workers[i]->logins,
                              !linked         ? UINT64_MAX
                              : now > longest ? now - longest
                                              : 0);
        }
        relay->linked = linked;
        relay->next_look = now + LOOK_INTERVAL_US;
    }
    const int taken = linked ? verdicts_take(relay, dataplane, error) : 0;
    if (taken < 0) {
        return LOGIN_RELAY_BROKEN;
    }
    if (linked && relay->questions.corrupt > 0) {
        shm_error_set(error, "its ring of questions is corrupt");
        return LOGIN_RELAY_BROKEN;
    }
    return sent ? LOGIN_RELAY_SENT : work + (uint32_t)taken > 0 ? LOGIN_RELAY_WORKED : LOGIN_RELAY_IDLE;
}

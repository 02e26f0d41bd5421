/* Logins: see control/logins.h. */
#include "control/logins.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>

#include "control/jobs.h"
#include "control/log.h"

#define NONCE_SIZE 24u /* characters that the router adds to a client's nonce: 144 random bits */
#define THREADS 2u     /* that check passwords: some 400 a second each */

/* What a slot of the dataplane is used for. */
struct conversation {
    uint64_t login; /* 0: nothing */
    struct scram scram;
    struct scram_secret secret;
};

struct logins {
    struct dataplane_peer *peer;
    struct users *users;
    struct jobs *jobs;
    uint64_t timeout_us;
    uint32_t count;
    struct conversation **conversations; /* by slot; NULL: none yet */
};

/* A password to be checked. */
struct check {
    struct job job;
    struct logins *logins;
    uint64_t deadline;
    uint32_t dataplane; /* which of those taken in has asked */
    bool matches;
    struct shm_login_question question;
    struct scram_secret secret;
};

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

/* A verdict that finds no room is lost: the dataplane gives the login up. */
static void say(struct logins *logins, uint64_t login, enum shm_login_result result, const char *user,
                size_t user_length, const char *data)
{
    struct shm_login_verdict verdict = {.login = login, .result = (uint16_t)result};
    verdict.user_length = (uint16_t)user_length;
    verdict.data_length = (uint16_t)strlen(data);
    if (user_length > 0)
        memcpy(verdict.user, user, user_length);
    memcpy(verdict.data, data, verdict.data_length);
    peer_verdict(logins->peer, &verdict);
}

static void say_no(struct logins *logins, uint64_t login, enum shm_login_result result)
{
    say(logins, login, result, NULL, 0, "");
}

/* ---- passwords --------------------------------------------------------------------------------------------------- */

static void check_work(struct job *job)
{
    struct check *check = (struct check *)job;
    if (loop_now() < check->deadline)
        check->matches = scram_password_matches(&check->secret, check->question.data, check->question.data_length);
}

static void check_done(struct job *job)
{
    struct check *check = (struct check *)job;
    const struct shm_login_question *question = &check->question;
    struct peer_info info;
    peer_describe(check->logins->peer, &info);
    if (info.seen == check->dataplane && loop_now() < check->deadline) {
        if (check->matches)
            say(check->logins, question->login, SHM_LOGIN_ACCEPTED, (const char *)question->name, question->name_length,
                "");
        else
            say_no(check->logins, question->login, SHM_LOGIN_DENIED);
    }
    OPENSSL_cleanse(check, sizeof *check);
    free(check);
}

/* The secret of a user, or one that looks like it. */
static void find_secret(const struct logins *logins, const char *name, size_t length, struct scram_secret *secret)
{
    const struct user *user = users_find(logins->users, name, length);
    if (user)
        *secret = user->secret;
    else
        users_pretend(logins->users, name, length, secret);
}

static void take_password(struct logins *logins, const struct shm_login_question *question)
{
    struct peer_info info;
    struct check *check = calloc(1, sizeof *check);
    if (!check) {
        say_no(logins, question->login, SHM_LOGIN_UNAVAILABLE);
        return;
    }
    peer_describe(logins->peer, &info);
    *check = (struct check){.job = {check_work, check_done, NULL},
                            .logins = logins,
                            .deadline = loop_now() + logins->timeout_us,
                            .dataplane = info.seen,
                            .question = *question};
    find_secret(logins, (const char *)question->name, question->name_length, &check->secret);
    if (!jobs_start(logins->jobs, &check->job)) {
        free(check);
        say_no(logins, question->login, SHM_LOGIN_UNAVAILABLE);
    }
}

/* ---- SCRAM ------------------------------------------------------------------------------------------------------- */

static void conversation_end(struct conversation *conversation)
{
    OPENSSL_cleanse(conversation, sizeof *conversation);
}

/* NULL: the dataplane has no such slot, or memory is out. */
static struct conversation *conversation_at(struct logins *logins, uint64_t login)
{
    uint32_t slot = (uint32_t)login;
    if (slot >= logins->count)
        return NULL;
    if (!logins->conversations[slot])
        logins->conversations[slot] = calloc(1, sizeof **logins->conversations);
    return logins->conversations[slot];
}

static bool make_nonce(char nonce[NONCE_SIZE + 1])
{
    uint8_t bytes[NONCE_SIZE / 4 * 3];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    scram_base64_encode(bytes, sizeof bytes, nonce);
    return true;
}

static void begin(struct logins *logins, const struct shm_login_question *question)
{
    struct conversation *conversation = conversation_at(logins, question->login);
    char nonce[NONCE_SIZE + 1];
    if (!conversation || !make_nonce(nonce)) {
        say_no(logins, question->login, SHM_LOGIN_UNAVAILABLE);
        return;
    }
    conversation_end(conversation);
    if (question->name_length != strlen(SCRAM_METHOD) ||
        memcmp(question->name, SCRAM_METHOD, strlen(SCRAM_METHOD)) != 0) {
        say_no(logins, question->login, SHM_LOGIN_METHOD);
        return;
    }
    struct scram *scram = &conversation->scram;
    if (!scram_begin(scram, question->data, question->data_length)) {
        say_no(logins, question->login, SHM_LOGIN_DENIED);
        return;
    }
    find_secret(logins, scram->user, scram->user_length, &conversation->secret);
    if (!scram_challenge(scram, &conversation->secret, nonce)) {
        say_no(logins, question->login, SHM_LOGIN_DENIED);
        return;
    }
    conversation->login = question->login;
    say(logins, question->login, SHM_LOGIN_CHALLENGE, NULL, 0, scram->first);
}

static void go_on(struct logins *logins, const struct shm_login_question *question)
{
    struct conversation *conversation = conversation_at(logins, question->login);
    char answer[SCRAM_MESSAGE_MAX + 1];
    /* A conversation that another control had begun. */
    if (!conversation || conversation->login != question->login) {
        say_no(logins, question->login, SHM_LOGIN_UNAVAILABLE);
        return;
    }
    const struct scram *scram = &conversation->scram;
    if (scram_finish(scram, &conversation->secret, question->data, question->data_length, answer))
        say(logins, question->login, SHM_LOGIN_ACCEPTED, scram->user, scram->user_length, answer);
    else
        say_no(logins, question->login, SHM_LOGIN_DENIED);
    conversation_end(conversation);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

/* Users added a moment ago can log in, deleted ones can not. */
static void refresh(struct logins *logins)
{
    struct shm_error error;
    if (users_refresh(logins->users, &error) < 0)
        log_line("%s; the users stay as they were", error.text);
}

static void question_came(void *argument, const struct shm_login_question *question)
{
    struct logins *logins = argument;
    if (!logins->users) {
        say_no(logins, question->login, SHM_LOGIN_UNAVAILABLE);
        return;
    }
    if (question->step != SHM_LOGIN_CONTINUE)
        refresh(logins);
    switch (question->step) {
    case SHM_LOGIN_PASSWORD:
        take_password(logins, question);
        break;
    case SHM_LOGIN_BEGIN:
        begin(logins, question);
        break;
    default:
        go_on(logins, question);
    }
}

struct logins *logins_open(struct loop *loop, struct dataplane_peer *peer, struct users *users,
                           const struct shm_authentication_config *config)
{
    struct logins *logins = calloc(1, sizeof *logins);
    if (!logins)
        return NULL;
    *logins = (struct logins){
        .peer = peer, .users = users, .timeout_us = config->timeout_s * UINT64_C(1000000), .count = config->max_logins};
    logins->conversations = calloc(logins->count, sizeof *logins->conversations);
    logins->jobs = users ? jobs_open(loop, THREADS) : NULL;
    if (!logins->conversations || (users && !logins->jobs)) {
        logins_close(logins);
        return NULL;
    }
    peer_set_question_handler(peer, question_came, logins);
    return logins;
}

void logins_close(struct logins *logins)
{
    if (!logins)
        return;
    peer_set_question_handler(logins->peer, NULL, NULL);
    jobs_close(logins->jobs);
    for (uint32_t i = 0; logins->conversations && i < logins->count; i++)
        if (logins->conversations[i]) {
            conversation_end(logins->conversations[i]);
            free(logins->conversations[i]);
        }
    free(logins->conversations);
    free(logins);
}

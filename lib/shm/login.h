/* Logins, over two rings of a link: the dataplane asks whether a client may come in, control answers.
 *
 * Job: the layout of every slot of both rings, and the functions that say whether a slot that came from the peer may be
 * used.
 *
 * Protocol. A question opens a conversation (PASSWORD, BEGIN) or goes on with one (CONTINUE); each gets one verdict
 * with the same `login`. The low half of `login` is the dataplane's slot for it, the high half tells apart those that
 * had the slot one after the other: control needs to remember one conversation for each slot at most, since a new one
 * means that the dataplane has forgotten the last. A verdict for a login that the dataplane does not know any more is
 * dropped by it. Control need not answer: the dataplane gives up after authentication.timeout. A question that goes on
 * with a conversation that control does not know (it was restarted) gets UNAVAILABLE.
 *
 * The dataplane sees the names and passwords that its clients send, and nothing of what they are compared with.
 *
 * Who calls: the dataplane's main lcore and control's main thread. Each copies a slot out of the ring once, calls the
 * check function on the copy and uses only the copy. */
#ifndef POLLUX_SHM_LOGIN_H
#define POLLUX_SHM_LOGIN_H

#include <stdint.h>

#include "lib/shm/error.h"

#define SHM_LOGIN_SLOT_SIZE 2048u /* bytes of a slot in both rings */
#define SHM_LOGIN_SLOTS 256u      /* slots of each ring */
#define SHM_LOGIN_NAME_MAX 256u   /* bytes of a user name or of a method's name */
#define SHM_LOGIN_DATA_MAX 1776u  /* bytes of a password or of authentication data */

enum shm_login_step {
    SHM_LOGIN_PASSWORD = 1, /* name: user, data: password */
    SHM_LOGIN_BEGIN = 2,    /* name: authentication method, data: the client's first */
    SHM_LOGIN_CONTINUE = 3, /* data: the client's answer; no name */
};

struct shm_login_question {
    uint64_t login; /* of the dataplane's choice; never 0 */
    uint16_t step;  /* enum shm_login_step */
    uint16_t name_length;
    uint16_t data_length;
    uint16_t reserved;
    uint8_t name[SHM_LOGIN_NAME_MAX];
    uint8_t data[SHM_LOGIN_DATA_MAX];
};

enum shm_login_result {
    SHM_LOGIN_ACCEPTED = 1,   /* it is `user`; data: the method's last, for the client */
    SHM_LOGIN_CHALLENGE = 2,  /* data: for the client, whose answer goes on with the conversation */
    SHM_LOGIN_DENIED = 3,     /* it is not who it says */
    SHM_LOGIN_METHOD = 4,     /* the authentication method is not known */
    SHM_LOGIN_UNAVAILABLE = 5 /* control can not say now */
};

struct shm_login_verdict {
    uint64_t login;
    uint16_t result; /* enum shm_login_result */
    uint16_t user_length;
    uint16_t data_length;
    uint16_t reserved;
    uint8_t user[SHM_LOGIN_NAME_MAX];
    uint8_t data[SHM_LOGIN_DATA_MAX];
};

_Static_assert(sizeof(struct shm_login_question) == SHM_LOGIN_SLOT_SIZE, "a question fills a slot");
_Static_assert(sizeof(struct shm_login_verdict) == SHM_LOGIN_SLOT_SIZE, "a verdict fills a slot");

/* May this copy of a slot be used? Return 0, or -1 with what is wrong in `error` (which may be NULL). */
int shm_login_question_check(const struct shm_login_question *question, struct shm_error *error);
int shm_login_verdict_check(const struct shm_login_verdict *verdict, struct shm_error *error);

#endif

/*
 * The login desk: where a worker leaves its questions about logins for the housekeeper, which carries them to control
 * and the verdicts back (login_relay.h).
 *
 * A desk has a fixed number of slots, a worker's share of authentication.max-logins. A slot belongs to the worker, but
 * for the time from login_desk_ask until the worker takes the verdict with login_desk_take, when it is the
 * housekeeper's. Two mailboxes, one each way, carry the numbers of slots that change hands; each has room for all, so
 * nothing ever waits for room. The housekeeper brings every slot back, whatever becomes of control.
 */
#ifndef POLLUX_DATAPLANE_LOGIN_DESK_H
#define POLLUX_DATAPLANE_LOGIN_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/doorbell.h"
#include "dataplane/mailbox.h"
#include "lib/shm/config.h"
#include "lib/shm/login.h"

struct login_slot {
    void *owner;         /* worker: who has it; NULL: it has left */
    uint32_t generation; /* worker: how often the slot was given out */
    bool asked;          /* worker: the housekeeper has it */
    uint64_t sent_at;    /* housekeeper: microseconds, when the question went to control; 0: no verdict is due */
    union {              /* whose the slot is */
        struct shm_login_question question;
        struct shm_login_verdict verdict;
    };
};

struct login_desk {
    uint32_t first; /* number of the first slot among those of all workers */
    uint32_t count; /* of slots */
    uint32_t free_count;
    uint32_t *free;           /* worker: numbers of free slots, from 0 */
    struct mailbox *asked;    /* worker -> housekeeper */
    struct mailbox *answered; /* housekeeper -> worker */
    struct doorbell *worker_bell, *housekeeper_bell;
    struct login_slot slots[];
};

#define LOGIN_SLOT_NONE UINT32_MAX

/* Slots of one worker. */
static inline uint32_t login_desk_slots(const struct shm_config *config)
{
    const uint32_t share = config->authentication.max_logins / config->dataplane.workers;
    return share > 0 ? share : 1;
}

/* On the main lcore, before the worker starts and after it has stopped. NULL: no memory. */
struct login_desk *login_desk_create(const struct shm_config *config, uint32_t worker, struct doorbell *worker_bell,
                                     struct doorbell *housekeeper_bell);
void login_desk_destroy(struct login_desk *desk);

/* ---- Worker ---- */

/* A free slot, or LOGIN_SLOT_NONE. `owner` is what login_desk_take gives back. */
uint32_t login_desk_open(struct login_desk *desk, void *owner);

/* The owner needs it no more. */
void login_desk_close(struct login_desk *desk, uint32_t slot);

/* Fills in the question of a slot that is the worker's and hands it over. Name and data are cut by nobody: the caller
 * has made sure that they fit. */
void login_desk_ask(struct login_desk *desk, uint32_t slot, enum shm_login_step step, const uint8_t *name,
                    uint32_t name_length, const uint8_t *data, uint32_t data_length);

/* Has any come back? */
static inline bool login_desk_has_verdict(const struct login_desk *desk)
{
    return mailbox_pending(desk->answered) > 0;
}

/* The owner of the next slot that came back, or NULL. Its verdict is good until the slot is closed or asked with again.
 */
void *login_desk_take(struct login_desk *desk);

/* ---- Housekeeper ---- */

static inline bool login_desk_has_question(const struct login_desk *desk)
{
    return mailbox_pending(desk->asked) > 0;
}

/* Gives a slot back with its verdict filled in. */
void login_desk_answer(struct login_desk *desk, uint32_t slot);

#endif

/*
 * Carrying logins between the workers' desks (login_desk.h) and control (lib/shm/login.h). Every question gets an
 * answer: control's, or that it is not available - at once while there is no control, when control goes, or when it has
 * not answered within authentication.timeout.
 *
 * The housekeeper calls, on the main lcore.
 */
#ifndef POLLUX_DATAPLANE_LOGIN_RELAY_H
#define POLLUX_DATAPLANE_LOGIN_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/dataplane.h"
#include "lib/shm/ring.h"
#include "lib/shm/segment.h"

struct login_relay {
    struct shm_segment question_segment, verdict_segment;
    struct shm_ring_producer questions;
    struct shm_ring_consumer verdicts;
    uint32_t due;       /* questions that control has and has not answered */
    bool linked;        /* at the last round */
    uint64_t next_look; /* microseconds: for questions that control owes the answer to */
};

int login_relay_create(struct login_relay *relay, struct shm_error *error);
void login_relay_destroy(struct login_relay *relay);

/* Fresh rings for a new control. */
int login_relay_reset(struct login_relay *relay, struct shm_error *error);

enum login_relay_result {
    LOGIN_RELAY_IDLE,
    LOGIN_RELAY_WORKED,
    LOGIN_RELAY_SENT,   /* control has to be woken */
    LOGIN_RELAY_BROKEN, /* control does not keep to the protocol: its link is to be closed */
};

/* Is there anything that a worker would have rung for? */
bool login_relay_has_input(const struct dataplane *dataplane);

/* One round. `linked`: there is a control. `error` is set when it is broken. */
enum login_relay_result login_relay_serve(struct login_relay *relay, struct dataplane *dataplane, bool linked,
                                          uint64_t now, struct shm_error *error);

#endif

/* Logins: control's answers to the dataplane's questions who may come in (lib/shm/login.h).
 *
 * Job: keep the conversations under way, check passwords on other threads, take the steps of SCRAM-SHA-256.
 *
 * Bounds: one conversation for each of the dataplane's slots, authentication.max-logins at most; a password that waits
 * longer than authentication.timeout is not checked any more.
 *
 * Who calls: control's event loop; single-threaded. */
#ifndef POLLUX_CONTROL_LOGINS_H
#define POLLUX_CONTROL_LOGINS_H

#include "control/dataplane_peer.h"
#include "control/users.h"

struct logins;

/* `users` and `peer` must live as long; questions of the peer come here from now on. NULL: no memory. */
struct logins *logins_open(struct loop *loop, struct dataplane_peer *peer, struct users *users,
                           const struct shm_authentication_config *config);
void logins_close(struct logins *logins);

#endif

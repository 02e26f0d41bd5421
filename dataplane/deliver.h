/*
 * Delivering: from a publication to one session's connection, inflight window or queue. The worker that owns the
 * session calls.
 */
#ifndef POLLUX_DATAPLANE_DELIVER_H
#define POLLUX_DATAPLANE_DELIVER_H

#include "dataplane/message.h"
#include "dataplane/session.h"

/* How one session is to get a publication: what its matching subscriptions say together. */
struct delivery {
    uint8_t qos; /* the publication's, or the subscription's if that is lower */
    bool retain;
    uint32_t identifiers; /* MQTT 5.0 subscription identifiers */
    const uint32_t *identifier;
};

/*
 * Sends the publication to the session's client, or queues it. Never fails towards the publisher: what a bound costs is
 * counted, for the session and by cause.
 */
void session_deliver(struct worker *worker, struct session *session, struct publication *publication,
                     const struct delivery *delivery);

/* Sends as much of the queue as the window and the connection take. */
void session_flush(struct worker *worker, struct session *session);

/* After a resumed session's CONNACK: sends everything unacknowledged again [MQTT-4.4.0-1], then the queue. */
void session_resend(struct worker *worker, struct session *session);

#endif

/*
 * Retained messages (MQTT 5.0 section 3.3.1.3). Each topic has one home, the worker chosen by the hash of its name,
 * which keeps its retained message in a tree of its own. A new subscription asks the homes of the topics it could
 * match: one for a plain filter, all for a filter with wildcards.
 *
 * A home walks its tree in slices, one per iteration, and stops where the subscriber cannot take more for the moment:
 * paced, so that nobody else waits, and complete, so that nothing is lost.
 *
 * A query is handled after all mails that came with it: a message that was acknowledged to its publisher before the
 * subscriber asked is in the tree by then.
 */
#ifndef POLLUX_DATAPLANE_RETAINED_H
#define POLLUX_DATAPLANE_RETAINED_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/mailbox.h"
#include "dataplane/message.h"
#include "lib/topic/retained.h"

struct worker;
struct session;

/* "Send what matches": from the subscriber's worker to a home. A block of the sender's memory. */
struct retained_query {
    uint64_t session;    /* handle */
    uint32_t identifier; /* subscription identifier, 0: none */
    uint8_t options;     /* of the subscription */
    uint8_t worker;      /* the subscriber's */
    uint16_t filter_length;
    char filter[]; /* without $share */
};

/* A walk in progress, in the home's memory. */
struct retained_walk_job {
    struct retained_walk_job *next;
    struct topic_retained_walk walk;
    struct retained_query query; /* must be last: its filter follows */
};

/* Stores a publication at its home, or clears its topic if the payload is empty [MQTT-3.3.1-6]. */
void retained_store(struct worker *worker, struct publication *publication);

/* The same, sent here by another worker. */
void retained_receive(struct worker *worker, struct message *message);

/* Asks for what a new subscription matches. False: no memory for the question. */
bool retained_request(struct worker *worker, const struct session *session, struct mqtt_span filter, uint8_t options,
                      uint32_t identifier);

/* A question from another worker (or from this one). False: no memory to answer it. */
bool retained_answer(struct worker *worker, const struct retained_query *query);

/* A retained message for a session of this worker. */
void retained_deliver(struct worker *worker, const struct mail *mail);

/* One slice of each walk; once per iteration, after all mails. */
void retained_walk(struct worker *worker);

/* Frees everything; at the end of the worker. */
void retained_clear(struct worker *worker);

#endif

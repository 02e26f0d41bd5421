/*
 * Retained messages (MQTT 5.0 section 3.3.1.3). Each topic has one home, the worker chosen by the hash of its name,
 * which keeps its retained message in a tree of its own. A new subscription asks the homes of the topics it could
 * match: one for a plain filter, all for a filter with wildcards.
 *
 * A home walks its tree in slices, one per iteration, and stops where the subscriber cannot take more for the moment:
 * paced, so that nobody else waits, and complete, so that nothing is lost.
 *
 * A walk begins when every mail has been handled that was under way when the question came: a message that was
 * acknowledged to its publisher before the subscriber asked is in the tree by then.
 *
 * So may be one that was published later, and has reached the subscriber by its subscription: it must not come again.
 * Moments tell them apart. All workers share a count that each new subscription raises when it is live; a message
 * remembers what the count was before it was routed. If it was that of the subscription or more, whoever routed it saw
 * the subscription. A subscription is live on its own worker first, on all others when its SUBACK leaves.
 *
 * A home on another worker cannot see how much the subscriber takes. It sends as many messages as it was granted, then
 * gives the turn back (PAUSE), and the subscriber's worker grants more when its session has room (MORE). One home at a
 * time has a session's turn, so that what is granted fits.
 */
#ifndef POLLUX_DATAPLANE_RETAINED_H
#define POLLUX_DATAPLANE_RETAINED_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/mailbox.h"
#include "dataplane/message.h"
#include "lib/shm/config.h"
#include "lib/topic/retained.h"

struct worker;
struct session;

/* The moment when a subscription was live. */
struct retained_since {
    uint64_t here;       /* for messages that are published on its own worker */
    uint64_t everywhere; /* for those of other workers */
};

/* "Send what matches": from the subscriber's worker to a home. A block of the sender's memory. */
struct retained_query {
    uint64_t session;   /* handle */
    uint64_t publisher; /* the same client as message.h names it */
    struct retained_since since;
    uint32_t identifier; /* subscription identifier, 0: none */
    uint8_t options;     /* of the subscription */
    uint8_t worker;      /* the subscriber's */
    uint16_t filter_length;
    struct retained_ticket *ticket; /* the asking worker's, NULL: the home is that worker */
    char filter[];                  /* without $share */
};

/* The asking worker's end of a walk on another worker. */
struct retained_ticket {
    struct retained_ticket *next;
    uint64_t session; /* handle */
    uint8_t home;
    bool turn;                     /* to be granted more, else the home sends */
    bool holds;                    /* the session's turn */
    struct retained_walk_job *job; /* the home's */
};

/* What PAUSE and MORE carry: both ends of the walk, each meaningful to its own worker. */
struct retained_turn {
    struct retained_ticket *ticket;
    struct retained_walk_job *job;
    uint64_t bytes;  /* MORE: at most so many, and one message that goes beyond */
    uint32_t credit; /* MORE: messages; 0: nobody wants them any more */
    bool over;       /* PAUSE: that was all */
};

/* A walk in progress, in the home's memory. */
struct retained_walk_job {
    struct retained_walk_job *next;
    struct topic_retained_walk walk;
    uint32_t after[SHM_WORKERS_MAX]; /* it begins when so many mails of each other worker were handled */
    uint64_t bytes;                  /* here and below, of a walk for another worker: what may still be sent */
    uint32_t credit;
    bool over;
    bool paused;                 /* and the other worker knows */
    struct retained_query query; /* must be last: its filter follows */
};

/* For a message that is to be retained: asked before it is routed. The worker in the uppermost byte, below it the
 * count. */
uint64_t retained_moment(const struct worker *worker);

/* A new moment: every message that gets it or a later one sees what this worker has subscribed to by now. */
uint64_t retained_moment_next(struct worker *worker);

/* Stores a publication at its home, or clears its topic if the payload is empty [MQTT-3.3.1-6]. */
void retained_store(struct worker *worker, struct publication *publication);

/* The same, sent here by another worker. */
void retained_receive(struct worker *worker, struct message *message);

/* Of the tree, with the worker as `arg`: the message's expiry interval has passed and it is not in the tree any more.
 */
void retained_expired(void *arg, void *message);

/* Asks for what a new subscription matches and was not published since. False: no memory for the question. */
bool retained_request(struct worker *worker, const struct session *session, struct mqtt_span filter, uint8_t options,
                      uint32_t identifier, const struct retained_since *since);

/* A question from another worker (or from this one). False: no memory to answer it. */
bool retained_answer(struct worker *worker, const struct retained_query *query);

/* A retained message for a session of this worker. */
void retained_deliver(struct worker *worker, const struct mail *mail);

/* A home has used up what it was granted. */
void retained_receive_pause(struct worker *worker, const struct retained_turn *turn);

/* At the home: more is granted. */
void retained_receive_more(struct worker *worker, const struct retained_turn *turn);

/* One slice of each walk; once per iteration, after all mails. Returns how many went on. */
uint32_t retained_walk(struct worker *worker);

/* Grants more to the homes whose subscribers have room; once per iteration. */
void retained_grant(struct worker *worker);

/* Frees everything; at the end of the worker. */
void retained_clear(struct worker *worker);

#endif

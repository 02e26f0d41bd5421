/*
 * Routing: from a publication to every session that it matches, on this worker and on the others.
 *
 * The worker that received a message looks its topic up once (lib/topic/cache.h): its own filters, and the set of other
 * workers that have subscribers. To each of those it sends the message once; they match it against their own filters.
 */
#ifndef POLLUX_DATAPLANE_ROUTE_H
#define POLLUX_DATAPLANE_ROUTE_H

#include <stdbool.h>
#include <string.h>

#include "dataplane/message.h"

struct worker;
struct session;
struct topic_route;

/* One session that a routed message matches through more than one filter: what its subscriptions say together. */
struct route_match {
    struct session *session;
    uint8_t qos;
    bool retain;
    uint32_t identifier_count;
    uint32_t identifier_first; /* in worker->route_identifiers */
};

/* How many messages may be routed together, when each mailbox has `slots`: half of them take it. */
uint32_t route_run_max(uint32_t slots);

/* Is there room in every mailbox for all that `count` messages may send? Else the publisher has to wait. */
bool route_has_room(const struct worker *worker, uint32_t count);

enum route_result {
    ROUTE_MATCHED,
    ROUTE_UNMATCHED,
    ROUTE_RESERVED, /* a topic of the router's own: route_is_reserved */
    ROUTE_REFUSED,  /* the topic breaks a bound on levels or length */
    ROUTE_STALLED,  /* no memory was left to match it: again later */
};

/* $SYS/ and what is below it is the router's own: clients read it, they do not publish there (section 4.7.2). */
static inline bool route_is_reserved(struct mqtt_span topic)
{
    return topic.length >= 5 && topic.data[0] == '$' && memcmp(topic.data, "$SYS/", 5) == 0;
}

/*
 * Where a client's message goes, without sending it there: so much its publisher can be told first. `*route` is set for
 * the first two results and good until the next lookup.
 */
enum route_result route_lookup(struct worker *worker, const struct publication *publication,
                               const struct topic_route **route);

/* Sends it there; after route_has_room. */
void route_deliver(struct worker *worker, struct publication *publication, const struct topic_route *route);

/* A message of the router's own (a will): waits for room in mailboxes by itself. Also stores it if it is retained. */
void route_own(struct worker *worker, struct publication *publication);

/* A message that another worker sent here: to this worker's subscribers only. */
void route_received(struct worker *worker, struct publication *publication);

/*
 * A message for one member of a shared subscription group, chosen by another worker to be on this one. `first`: the
 * worker that was asked first; each without a connected member passes the message on.
 */
void route_received_shared(struct worker *worker, struct publication *publication, uint64_t group, uint32_t first);

#endif

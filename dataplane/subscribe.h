/*
 * Subscriptions that are made, and wait to be live. Filters of large packets, and of many clients at once, are handled
 * a slice an iteration, so that messages do not wait for them; the packet stays unread until its last filter is done.
 * A SUBACK leaves only when every worker routes by the subscription: with several
 * workers that is when the housekeeper has put it into the shared topic table. What the packet said waits here
 * meanwhile; then the SUBACK is sent and retained messages follow.
 */
#ifndef POLLUX_DATAPLANE_SUBSCRIBE_H
#define POLLUX_DATAPLANE_SUBSCRIBE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/retained.h"
#include "lib/topic/name.h"

struct worker;

enum {
    SUBSCRIBE_SLICE = 256,   /* filters that a worker subscribes or unsubscribes in an iteration, for all its clients */
    SUBACK_ROOM = 32,        /* bytes of a SUBACK or UNSUBACK beside its reason codes */
    SUBSCRIPTION_SHARED = 2, /* beside "is new" */
};

/* What MAIL_SUBSCRIPTION carries to the housekeeper: group, then filter, in `text`. */
struct subscription_mail {
    uint16_t group_length;
    uint16_t filter_length;
    uint16_t levels;
    bool wildcard;
    bool present; /* the first subscriber came, else the last one left */
    char text[];
};

/* A SUBSCRIBE whose SUBACK was not sent yet, in order; or an UNSUBSCRIBE of which filters are left. */
struct subscribe_pending {
    struct subscribe_pending *next;
    uint64_t connection; /* tcp_connection_id */
    struct retained_since since;
    uint32_t position; /* of the housekeeper's mailbox: live when it was handled */
    uint32_t identifier;
    uint32_t count; /* filters */
    uint32_t done;  /* of them */
    uint32_t filters_length;
    uint32_t filters_done; /* bytes of the filters that are done */
    uint16_t packet_id;
    bool unsubscribes;
    uint8_t bytes[]; /* reason codes, one "is new" for each, the packet's filters */
};

/* Callback of lib/topic: the first subscriber of a filter on this worker came, or the last one left. */
void subscription_presence(void *worker, const struct topic_filter_name *filter, bool present);

/* Sends the SUBACKs whose subscriptions are live; once per iteration. */
void subscribe_progress(struct worker *worker);

#endif

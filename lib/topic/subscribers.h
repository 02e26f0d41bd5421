/*
 * A worker's own subscribers: filter -> sessions of this worker.
 *
 * Job:     subscribe, unsubscribe, and for a topic the dense arrays of members to deliver to.
 * Callers: the worker's session logic and routing. Thread: the worker; nothing here is shared.
 * Owner:   the table owns filters, groups and subscriptions, in the worker's memory region; a session embeds a
 *          struct topic_session and must be left by topic_session_clear before it goes.
 *
 * Cost of one subscription to a filter of its own: 32 B for the subscription, 32 B + text for the filter (its only
 * member lies inside), about 18 B of hash. Further members cost 32 + 16 B. Subscribing and removing are O(1) but for
 * finding the session's earlier subscription, which scans the shorter of the session's list and the filter's members.
 */
#ifndef POLLUX_LIB_TOPIC_SUBSCRIBERS_H
#define POLLUX_LIB_TOPIC_SUBSCRIBERS_H

#include "lib/topic/generation.h"
#include "lib/topic/index.h"

struct mem_region;
struct topic_subscribers;
struct topic_subscription;

/* Subscription options as in the SUBSCRIBE packet (MQTT 5.0 section 3.8.3.1). */
#define TOPIC_OPTION_QOS 0x03
#define TOPIC_OPTION_NO_LOCAL 0x04
#define TOPIC_OPTION_RETAIN_AS_PUBLISHED 0x08
#define TOPIC_OPTION_RETAIN_HANDLING 0x30

/* One subscriber in a dense array: 16 bytes, four to a cache line. */
struct topic_member {
    struct topic_session *session;
    uint64_t packed; /* options, "has an identifier", subscription: read with the functions below */
};

/* The members of a filter or of a group. While there is one, it lies in `one`; otherwise in `many`. */
struct topic_members {
    uint32_t count;
    uint32_t capacity; /* of many; 0: the member lies in one */
    union {
        struct topic_member one;
        struct topic_member *many;
    };
};

/* A filter with ordinary subscribers: what a match finds (payload of a topic_entry). */
struct topic_filter {
    struct topic_members members;
};

/* A filter with shared subscription groups: what a match finds in the second list. */
struct topic_share_filter {
    struct topic_group *groups; /* linked by next */
    uint64_t count;
};

/* A shared subscription group's members on this worker. Who gets a message is the caller's strategy. */
struct topic_group {
    struct topic_group *next;
    uint64_t id;     /* topic_group_id: names the group between workers */
    uint64_t cursor; /* the caller's: round robin position, sticky member, ...; starts at 0 */
    struct topic_entry *entry;
    struct topic_members members;
    uint16_t name_length;
    char name[];
};

/* The session's side: embed it in the session. Members carry its address. */
struct topic_session {
    struct topic_subscription *first;
    uint32_t count; /* subscriptions now: check the limit of filters per client against it */
};

struct topic_subscribers_config {
    struct topic_seed seed;
    struct mem_region *region; /* the worker's */
    uint32_t filters_max;      /* bound on different filters on this worker */
    /*
     * Called when the first subscriber of a filter (or group) has come to this worker, and before the last one's filter
     * goes: the caller sends the shared table an update. The text is valid during the call only.
     */
    void (*presence)(void *arg, const struct topic_filter_name *filter, bool present);
    void *presence_arg;
};

struct topic_subscribe_result {
    enum topic_status status;
    bool replaced; /* the session had this filter: options and identifier were replaced [MQTT-3.8.4-3] */
    bool first;    /* first subscriber of the filter (or group) on this worker: presence was called */
    struct topic_subscription *subscription;
};

struct topic_subscribers *topic_subscribers_create(const struct topic_subscribers_config *config);

/* Frees everything; sessions still linked are left dangling, so clear them first or drop them with the table. */
void topic_subscribers_destroy(struct topic_subscribers *table);

/* `identifier`: 1 .. 268,435,455, or 0 for none. `options`: the byte of the packet. */
struct topic_subscribe_result topic_subscribe(struct topic_subscribers *table, struct topic_session *session,
                                              const struct topic_filter_name *filter, uint8_t options,
                                              uint32_t identifier);

/* TOPIC_OK or TOPIC_NOT_FOUND. */
enum topic_status topic_unsubscribe(struct topic_subscribers *table, struct topic_session *session,
                                    const struct topic_filter_name *filter);

/* Remove one subscription, O(1). */
void topic_subscription_remove(struct topic_subscribers *table, struct topic_session *session,
                               struct topic_subscription *subscription);

/* Remove at most `budget` subscriptions of a session; returns how many are left (call again in the next iteration). */
uint32_t topic_session_clear(struct topic_subscribers *table, struct topic_session *session, uint32_t budget);

/* The session's next subscription after `previous` (NULL: the first). */
struct topic_subscription *topic_session_next(const struct topic_session *session,
                                              const struct topic_subscription *previous);

/* What a subscription is: filter and group as they were given, options, identifier. Text lives as long as it does. */
struct topic_subscription_info {
    struct topic_filter_name filter;
    uint32_t identifier;
    uint8_t options;
};
void topic_subscription_describe(const struct topic_subscription *subscription, struct topic_subscription_info *info);
uint32_t topic_subscription_identifier(const struct topic_subscription *subscription);

/* Members in memory order, for delivery. Valid until the table changes. */
static inline const struct topic_member *topic_members_array(const struct topic_members *members)
{
    return members->capacity == 0 ? &members->one : members->many;
}

static inline uint8_t topic_member_options(const struct topic_member *member)
{
    return (uint8_t)(member->packed >> 56);
}

/* Cheap test, so that fan-out touches the subscription only where an identifier must be sent. */
static inline bool topic_member_has_identifier(const struct topic_member *member)
{
    return (member->packed >> 48) & 1;
}

static inline struct topic_subscription *topic_member_subscription(const struct topic_member *member)
{
    return (struct topic_subscription *)(uintptr_t)(member->packed & 0x0000ffffffffffffull);
}

/*
 * The two searches that find all filters that match a name: `filters` gets entries whose payload is a struct
 * topic_filter, `groups` entries whose payload is a struct topic_share_filter.
 */
void topic_subscribers_search(const struct topic_subscribers *table, struct topic_name *name,
                              struct topic_matches *filters, struct topic_matches *groups,
                              struct topic_search searches[2]);

/* Changes whenever a filter or group that could match topics of this stripe comes or goes (not with each subscriber).
 */
uint64_t topic_subscribers_generation(const struct topic_subscribers *table, unsigned stripe);

/* What decides about topics of this stripe, here. Read the generation before: outline.h. */
topic_outline topic_subscribers_outline(const struct topic_subscribers *table, unsigned stripe);

struct topic_subscribers_stats {
    uint32_t filters;       /* different filters with ordinary subscribers */
    uint32_t share_filters; /* different filters with groups */
    uint32_t groups;
    uint64_t subscriptions; /* ordinary and shared */
};
void topic_subscribers_stats(const struct topic_subscribers *table, struct topic_subscribers_stats *stats);

#endif

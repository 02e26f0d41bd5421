/* From a publication to the sessions it matches. See route.h. */
#include "dataplane/route.h"

#include "dataplane/deliver.h"
#include "dataplane/retained.h"
#include "dataplane/worker.h"

enum { MAILS_PER_MESSAGE = 4 }; /* a publish, a retained message, and shared groups; more wait in memory */

bool route_has_room(const struct worker *worker)
{
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index && !mailbox_has_room(worker->to[other], MAILS_PER_MESSAGE)) {
            return false;
        }
    }
    return true;
}

/* ---- To this worker's sessions ---------------------------------------------------------------------------------- */

static struct session *member_session(const struct topic_member *member)
{
    return (struct session *)(uintptr_t)member->session;
}

/* [MQTT-3.8.3-3] */
/* REQ MQTT-5 [MQTT-3.8.3-3]: No Local: not to the connection that published [test: version5/no_local] */
static bool is_excluded(const struct topic_member *member, const struct publication *publication)
{
    return (topic_member_options(member) & TOPIC_OPTION_NO_LOCAL) != 0 &&
           member_session(member)->handle == publication->publisher;
}

/* REQ MQTT-5 [MQTT-3.8.4-8]: the lower of the two QoS [test: messages/lower_quality_counts] */
/* REQ MQTT-5 [MQTT-4.8.2-3]: with shared subscriptions too [test: conformance/shared_qos] */
/* REQ MQTT-3.1.1 [MQTT-3.8.4-6]: the lower of the two QoS [test: messages/lower_quality_counts] */
static uint8_t member_qos(const struct topic_member *member, const struct publication *publication)
{
    const uint8_t qos = topic_member_options(member) & TOPIC_OPTION_QOS;
    return qos < publication->qos ? qos : publication->qos; /* [MQTT-3.8.4-8] */
}

/* REQ MQTT-5 [MQTT-3.3.1-12]: without Retain As Published the flag is cleared [test: version5/retain_as_published] */
/* REQ MQTT-5 [MQTT-3.3.1-13]: with it the flag is the publisher's [test: version5/retain_as_published] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-9]: the flag is cleared for who was subscribed before [test: messages/retained] */
static bool member_retain(const struct topic_member *member, const struct publication *publication)
{
    /* [MQTT-3.3.1-12], [MQTT-3.3.1-13] */
    return publication->retain && (topic_member_options(member) & TOPIC_OPTION_RETAIN_AS_PUBLISHED) != 0;
}

/* REQ MQTT-5 [MQTT-3.3.4-5]: a share's copy has its own identifier [test: none yet] */
static void member_deliver(struct worker *worker, struct publication *publication, const struct topic_member *member)
{
    uint32_t identifier = 0;
    struct delivery delivery = {.qos = member_qos(member, publication), .retain = member_retain(member, publication)};
    if (topic_member_has_identifier(member)) {
        identifier = topic_subscription_identifier(topic_member_subscription(member));
        delivery.identifiers = 1;
        delivery.identifier = &identifier;
    }
    session_deliver(worker, member_session(member), publication, &delivery);
}

/* The usual case: one filter matched, so no session can match twice. */
static void filter_deliver(struct worker *worker, struct publication *publication, const struct topic_entry *entry)
{
    const struct topic_filter *filter = topic_entry_payload(entry);
    const struct topic_member *members = topic_members_array(&filter->members);
    for (uint32_t i = 0; i < filter->members.count; i++) {
        if (!is_excluded(&members[i], publication)) {
            member_deliver(worker, publication, &members[i]);
        }
    }
}

static struct route_match *match_add(struct worker *worker, struct session *session)
{
    if (worker->route_match_count == worker->route_match_capacity) {
        const uint32_t capacity = worker->route_match_capacity == 0 ? 64 : 2 * worker->route_match_capacity;
        void *grown = mem_resize(worker->memory, worker->route_matches, capacity * sizeof(worker->route_matches[0]));
        if (grown == NULL) {
            return NULL;
        }
        worker->route_matches = grown;
        worker->route_match_capacity = capacity;
    }
    session->route_mark = worker->route_mark;
    session->route_slot = worker->route_match_count;
    struct route_match *match = &worker->route_matches[worker->route_match_count++];
    *match = (struct route_match){.session = session};
    return match;
}

/* First pass over the members of a filter: one match a session, with the highest QoS [MQTT-3.3.4-2]. */
/* REQ MQTT-5 [MQTT-3.3.4-2]: the highest QoS of those that match [test: conformance/overlapping_subscriptions] */
/* REQ MQTT-3.1.1 [MQTT-3.3.5-1]: the highest QoS of those that match [test: conformance/overlapping_subscriptions] */
static void filter_merge(struct worker *worker, const struct publication *publication, const struct topic_entry *entry)
{
    const struct topic_filter *filter = topic_entry_payload(entry);
    const struct topic_member *members = topic_members_array(&filter->members);
    for (uint32_t i = 0; i < filter->members.count; i++) {
        struct session *session = member_session(&members[i]);
        if (is_excluded(&members[i], publication)) {
            continue;
        }
        struct route_match *match = session->route_mark == worker->route_mark
                                        ? &worker->route_matches[session->route_slot]
                                        : match_add(worker, session);
        if (match == NULL) {
            session->dropped++;
            worker->counters.dropped_no_memory++;
            continue;
        }
        const uint8_t qos = member_qos(&members[i], publication);
        match->qos = qos > match->qos ? qos : match->qos;
        match->retain |= member_retain(&members[i], publication);
        match->identifier_count += topic_member_has_identifier(&members[i]);
    }
}

/* Second pass: the identifiers of all subscriptions that matched [MQTT-3.3.4-4], side by side for each session. */
static bool identifiers_make_room(struct worker *worker)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < worker->route_match_count; i++) {
        worker->route_matches[i].identifier_first = total;
        total += worker->route_matches[i].identifier_count;
        worker->route_matches[i].identifier_count = 0;
    }
    if (total > worker->route_identifier_capacity) {
        void *grown = mem_resize(worker->memory, worker->route_identifiers, 2 * total * sizeof(uint32_t));
        if (grown == NULL) {
            return false;
        }
        worker->route_identifiers = grown;
        worker->route_identifier_capacity = 2 * total;
    }
    return total > 0;
}

/* REQ MQTT-5 [MQTT-3.3.4-3]: the identifiers are sent with the message [test: version5/subscription_identifiers] */
/* REQ MQTT-5 [MQTT-3.3.4-4]: all of them with the one copy [test: conformance/overlapping_subscriptions] */
static void filter_collect_identifiers(struct worker *worker, const struct publication *publication,
                                       const struct topic_entry *entry)
{
    const struct topic_filter *filter = topic_entry_payload(entry);
    const struct topic_member *members = topic_members_array(&filter->members);
    for (uint32_t i = 0; i < filter->members.count; i++) {
        const struct session *session = member_session(&members[i]);
        if (topic_member_has_identifier(&members[i]) && !is_excluded(&members[i], publication) &&
            session->route_mark == worker->route_mark) {
            struct route_match *match = &worker->route_matches[session->route_slot];
            worker->route_identifiers[match->identifier_first + match->identifier_count++] =
                topic_subscription_identifier(topic_member_subscription(&members[i]));
        }
    }
}

static void matches_deliver(struct worker *worker, struct publication *publication)
{
    for (uint32_t i = 0; i < worker->route_match_count; i++) {
        const struct route_match *match = &worker->route_matches[i];
        const struct delivery delivery = {
            .qos = match->qos,
            .retain = match->retain,
            .identifiers = match->identifier_count,
            .identifier = &worker->route_identifiers[match->identifier_first],
        };
        session_deliver(worker, match->session, publication, &delivery);
    }
}

/* Several filters matched: a session that matches more than once gets one copy. */
static void filters_deliver_merged(struct worker *worker, struct publication *publication,
                                   const struct topic_route *route)
{
    worker->route_mark++;
    worker->route_match_count = 0;
    for (uint32_t i = 0; i < route->filter_count; i++) {
        filter_merge(worker, publication, route->filters[i]);
    }
    if (identifiers_make_room(worker)) {
        for (uint32_t i = 0; i < route->filter_count; i++) {
            filter_collect_identifiers(worker, publication, route->filters[i]);
        }
    }
    matches_deliver(worker, publication);
}

/* REQ MQTT-3.1.1 [MQTT-3.3.2-3]: what matches, as it came [test: messages/wildcards] */
/* REQ MQTT-3.1.1 [MQTT-4.6.0-5]: every topic is ordered [test: messages/order_kept_per_topic] */
static void route_local(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    if (route->filter_count == 1) {
        filter_deliver(worker, publication, route->filters[0]);
    } else if (route->filter_count > 1) {
        filters_deliver_merged(worker, publication, route);
    }
}

/* ---- Shared subscriptions --------------------------------------------------------------------------------------- */

/* Round robin over the members of this worker; one that is offline is passed over while another is there. */
/* REQ MQTT-5 [MQTT-4.8.2-4], [MQTT-4.8.2-5]: from here on it belongs to that session [test: none yet] */
static void group_deliver(struct worker *worker, struct publication *publication, struct topic_group *group)
{
    const struct topic_member *members = topic_members_array(&group->members);
    const uint32_t count = group->members.count;
    uint32_t chosen = (uint32_t)group->cursor;
    for (uint32_t tried = 0; tried < count; tried++) {
        chosen = chosen + 1 >= count ? 0 : chosen + 1;
        if (member_session(&members[chosen])->client != NULL) {
            break;
        }
    }
    group->cursor = chosen;
    member_deliver(worker, publication, &members[chosen]);
}

static struct topic_group *group_find(const struct topic_route *route, uint64_t id)
{
    for (uint32_t i = 0; i < route->group_count; i++) {
        const struct topic_share_filter *filter = topic_entry_payload(route->groups[i]);
        for (struct topic_group *group = filter->groups; group != NULL; group = group->next) {
            if (group->id == id) {
                return group;
            }
        }
    }
    return NULL;
}

/* Round robin over the workers that have members: the next set bit after the one of the last message. */
static uint32_t share_worker(struct worker *worker, uint64_t workers)
{
    const uint64_t after = workers & ~((UINT64_C(2) << worker->share_last) - 1);
    worker->share_last = (uint32_t)__builtin_ctzll(after != 0 ? after : workers);
    return worker->share_last;
}

/* One worker: all members are its own, and no other table says so. */
static void groups_deliver(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    for (uint32_t i = 0; i < route->group_count; i++) {
        const struct topic_share_filter *filter = topic_entry_payload(route->groups[i]);
        for (struct topic_group *group = filter->groups; group != NULL; group = group->next) {
            group_deliver(worker, publication, group);
        }
    }
}

/* ---- To other workers ------------------------------------------------------------------------------------------- */

static void mail_publication(struct worker *worker, struct publication *publication, uint32_t other,
                             enum mail_type type, uint64_t value)
{
    struct message *message = publication_keep(publication, worker->memory);
    const struct mail mail = {.type = type, .value = value, .block = message};
    if (message == NULL) {
        worker->counters.dropped_no_memory++;
    } else if (!mailbox_post(worker->to[other], worker->memory, mail)) {
        worker->counters.dropped_no_memory++;
        message_release(message, worker->memory);
    } else {
        worker->counters.messages_to_workers++;
    }
}

static void route_remote(struct worker *worker, struct publication *publication, uint64_t workers)
{
    for (uint64_t left = workers & ~(UINT64_C(1) << worker->index); left != 0; left &= left - 1) {
        mail_publication(worker, publication, (uint32_t)__builtin_ctzll(left), MAIL_PUBLISH, 0);
    }
}

static void route_shares(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    for (uint32_t i = 0; i < route->share_count; i++) {
        const uint32_t chosen = share_worker(worker, route->shares[i].workers);
        struct topic_group *group = chosen == worker->index ? group_find(route, route->shares[i].group) : NULL;
        if (group != NULL) {
            group_deliver(worker, publication, group);
        } else if (chosen != worker->index) {
            mail_publication(worker, publication, chosen, MAIL_SHARED, route->shares[i].group);
        }
    }
}

/* ---- The ways in ------------------------------------------------------------------------------------------------ */

static const struct topic_route *route_find(struct worker *worker, const struct publication *publication,
                                            enum topic_status *status)
{
    return topic_cache_route(worker->routes, (const char *)publication->topic.data, publication->topic.length, status);
}

/* REQ MQTT-5 [MQTT-4.5.0-1]: goes to all sessions that match [test: messages/publish_and_receive] */
/* REQ MQTT-5 [MQTT-4.6.0-5]: in the order of its publisher [test: wire/all_in_one_segment] */
/* REQ MQTT-5 [MQTT-4.6.0-6]: for every topic [test: wire/all_in_one_segment] */
/* REQ MQTT-5 [MQTT-4.7.3-4]: topics are compared as they are [test: conformance/dollar_topics] */
/* REQ MQTT-3.1.1 [MQTT-4.5.0-1]: goes to all sessions that match [test: messages/publish_and_receive] */
/* REQ MQTT-3.1.1 [MQTT-4.6.0-6]: every topic is ordered [test: wire/all_in_one_segment] */
static bool route_is_empty(const struct topic_route *route)
{
    return route->workers == 0 && route->filter_count == 0 && route->group_count == 0 && route->share_count == 0;
}

enum route_result route_lookup(struct worker *worker, const struct publication *publication,
                               const struct topic_route **route)
{
    enum topic_status status;
    *route = route_find(worker, publication, &status);
    if (*route == NULL) {
        return ROUTE_REFUSED;
    }
    return route_is_empty(*route) ? ROUTE_UNMATCHED : ROUTE_MATCHED;
}

void route_deliver(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    route_local(worker, publication, route);
    if (worker->count == 1) {
        groups_deliver(worker, publication, route);
    } else {
        route_shares(worker, publication, route);
        route_remote(worker, publication, route->workers);
    }
    if (route_is_empty(route)) {
        worker->counters.messages_unmatched++;
    }
}

void route_own(struct worker *worker, struct publication *publication)
{
    const struct topic_route *route;
    if (publication->retain) {
        retained_store(worker, publication);
    }
    if (route_lookup(worker, publication, &route) == ROUTE_REFUSED) {
        worker->counters.dropped_no_memory++;
    } else {
        route_deliver(worker, publication, route);
    }
}

void route_received(struct worker *worker, struct publication *publication)
{
    enum topic_status status;
    const struct topic_route *route = route_find(worker, publication, &status);
    worker->counters.messages_from_workers++;
    if (route == NULL) {
        worker->counters.dropped_no_memory++;
    } else {
        route_local(worker, publication, route);
    }
}

void route_received_shared(struct worker *worker, struct publication *publication, uint64_t group_id)
{
    enum topic_status status;
    const struct topic_route *route = route_find(worker, publication, &status);
    struct topic_group *group = route == NULL ? NULL : group_find(route, group_id);
    worker->counters.messages_from_workers++;
    if (group != NULL) {
        group_deliver(worker, publication, group);
    } else {
        worker->counters.dropped_shared_gone++;
    }
}

/* From a publication to the sessions it matches. See route.h. */
#include "dataplane/route.h"

#include "dataplane/deliver.h"
#include "dataplane/retained.h"
#include "dataplane/worker.h"

enum { MAILS_PER_MESSAGE = 4 }; /* a publish, a retained message, and shared groups; more wait in memory */

uint32_t route_run_max(uint32_t slots)
{
    return RTE_MIN((uint32_t)RUN_MAX, RTE_MAX(1u, slots / (2 * MAILS_PER_MESSAGE)));
}

bool route_has_room(const struct worker *worker, uint32_t count)
{
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index && !mailbox_has_room(worker->to[other], count * MAILS_PER_MESSAGE)) {
            return false;
        }
    }
    return true;
}

/* ---- To this worker's sessions ---------------------------------------------------------------------------------- */

static struct session *member_session(const struct topic_member *member)
{
    return (struct session *)((char *)member->session - offsetof(struct session, subscriptions));
}

/* [MQTT-3.8.3-3] */
/* REQ MQTT-5 [MQTT-3.8.3-3]: No Local: not to the connection that published [test: version5/no_local] */
static bool is_excluded(const struct topic_member *member, const struct publication *publication)
{
    return (topic_member_options(member) & TOPIC_OPTION_NO_LOCAL) != 0 &&
           member_session(member)->id_hash == publication->publisher;
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

/* REQ MQTT-5 [MQTT-3.3.4-5]: a share's copy has its own identifier [test: reason_codes/copies_have_their_own_identifiers] */
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

/*
 * Asks for the memory of the members behind `at`: the session, then its client, then the connection and where its next
 * byte goes, each in time for the one after it. What a thousand subscribers touch does not fit the nearest cache.
 */
static inline void members_ask_ahead(const struct topic_member *members, uint32_t count, uint32_t at)
{
    enum { SESSION = 12, CLIENT = 8, CONNECTION = 5, TAIL = 2 };
    if (at + SESSION < count) {
        __builtin_prefetch(member_session(&members[at + SESSION]), 1);
    }
    if (at + CLIENT < count) {
        __builtin_prefetch(member_session(&members[at + CLIENT])->client);
    }
    if (at + CONNECTION < count && member_session(&members[at + CONNECTION])->client != NULL) {
        tcp_ask_ahead(member_session(&members[at + CONNECTION])->client->tcp);
    }
    if (at + TAIL < count && member_session(&members[at + TAIL])->client != NULL) {
        tcp_ask_ahead_tail(member_session(&members[at + TAIL])->client->tcp);
    }
}

/* The usual case: one filter matched, so no session can match twice. */
static void filter_deliver(struct worker *worker, struct publication *publication, const struct topic_entry *entry)
{
    const struct topic_filter *filter = topic_entry_payload(entry);
    const struct topic_member *members = topic_members_array(&filter->members);
    for (uint32_t i = 0; i < filter->members.count; i++) {
        members_ask_ahead(members, filter->members.count, i);
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

/* A number below `count` that stays the same for the same hash. */
static uint32_t hash_choose(uint64_t hash, uint32_t count)
{
    return (uint32_t)(((hash >> 32) * count) >> 32);
}

/* What the strategies hash-client and hash-topic go by. */
static uint64_t share_hash(const struct worker *worker, const struct publication *publication)
{
    return worker->config->mqtt.shared_strategy == SHM_SHARED_HASH_CLIENT
               ? publication->publisher * UINT64_C(0x9e3779b97f4a7c15)
               : topic_hash(&worker->dataplane->seed, publication->topic.data, publication->topic.length);
}

/* The first connected member at `start` or behind it; `count` if nobody is there. */
static uint32_t member_connected(const struct topic_member *members, uint32_t count, uint32_t start)
{
    uint32_t at = start < count ? start : 0;
    for (uint32_t tried = 0; tried < count; tried++, at = at + 1 == count ? 0 : at + 1) {
        if (member_session(&members[at])->client != NULL) {
            return at;
        }
    }
    return count;
}

/* The connected member with the fewest messages waiting, `*fewest`; the one behind `start` among equals. */
static uint32_t member_least_backlog(const struct topic_member *members, uint32_t count, uint32_t start,
                                     uint32_t *fewest)
{
    uint32_t best = count, least = UINT32_MAX, at = start < count ? start : 0;
    for (uint32_t tried = 0; tried < count; tried++, at = at + 1 == count ? 0 : at + 1) {
        const struct session *session = member_session(&members[at]);
        const uint32_t backlog = session->queue.count + session->inflight.count;
        if (session->client != NULL && backlog < least) {
            best = at;
            least = backlog;
        }
    }
    *fewest = least;
    return best;
}

/* The same among this worker's members; the other workers learn of it. */
static uint32_t group_least_backlog(struct worker *worker, const struct topic_group *group)
{
    uint32_t fewest;
    const uint32_t chosen = member_least_backlog(topic_members_array(&group->members), group->members.count,
                                                 (uint32_t)group->cursor + 1, &fewest);
    share_backlog_say(&worker->shares, group->id, fewest, worker->now);
    return chosen;
}

/* The connected member of this worker whose turn it is by the configured strategy; the number of members: nobody. */
static uint32_t group_choose(struct worker *worker, const struct publication *publication, struct topic_group *group)
{
    const struct topic_member *members = topic_members_array(&group->members);
    const uint32_t count = group->members.count;
    const uint32_t last = (uint32_t)group->cursor;
    switch (worker->config->mqtt.shared_strategy) {
    case SHM_SHARED_STICKY:
        return member_connected(members, count, last);
    case SHM_SHARED_HASH_CLIENT:
    case SHM_SHARED_HASH_TOPIC:
        return member_connected(members, count, hash_choose(share_hash(worker, publication), count));
    case SHM_SHARED_LEAST_BACKLOG:
        return group_least_backlog(worker, group);
    default:
        return member_connected(members, count, last + 1);
    }
}

/* To a member of this worker. False: none of them is connected. */
/* REQ MQTT-5 [MQTT-4.8.2-4]: from here on it belongs to that session [test: conformance/shared_unacknowledged] */
/* REQ MQTT-5 [MQTT-4.8.2-5]: and to no other [test: conformance/shared_unacknowledged] */
static bool group_deliver(struct worker *worker, struct publication *publication, struct topic_group *group)
{
    const uint32_t chosen = group_choose(worker, publication, group);
    if (chosen == group->members.count) {
        return false;
    }
    group->cursor = chosen;
    member_deliver(worker, publication, &topic_members_array(&group->members)[chosen]);
    return true;
}

/* Nobody of the whole group is connected: the message waits for one whose session is here. */
static void group_deliver_offline(struct worker *worker, struct publication *publication, struct topic_group *group)
{
    const struct topic_member *members = topic_members_array(&group->members);
    for (uint32_t tried = 0; tried < group->members.count; tried++) {
        group->cursor = group->cursor + 1 < group->members.count ? group->cursor + 1 : 0;
        if (!member_session(&members[group->cursor])->ended) {
            member_deliver(worker, publication, &members[group->cursor]);
            return;
        }
    }
    worker->counters.dropped_shared_gone++;
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

/* The next worker that has members, behind `last` and round. */
static uint32_t share_next(uint64_t workers, uint32_t last)
{
    const uint64_t after = workers & ~((UINT64_C(2) << last) - 1);
    return (uint32_t)__builtin_ctzll(after != 0 ? after : workers);
}

/* The worker with the least busy member, as far as is known; the next in turn among equals. */
static uint32_t share_least_backlog(struct worker *worker, const struct topic_share *share, uint32_t last)
{
    uint64_t least = UINT64_MAX;
    uint32_t best = last;
    uint32_t other = share_next(share->workers, last);
    for (int left = __builtin_popcountll(share->workers); left > 0; left--, other = share_next(share->workers, other)) {
        const uint64_t backlog =
            share_backlog_of(&worker->dataplane->workers[other]->shares,
                             &worker->share_guesses[other][share->group % SHARE_PLACES], share->group, worker->now);
        if (backlog < least) {
            least = backlog;
            best = other;
        }
    }
    worker->share_guesses[best][share->group % SHARE_PLACES].sent++;
    return best;
}

/* The worker whose turn it is. */
static uint32_t share_worker(struct worker *worker, const struct publication *publication,
                             const struct topic_share *share)
{
    uint8_t *last = &worker->share_last[share->group % SHARE_PLACES];
    uint64_t workers = share->workers;
    switch (worker->config->mqtt.shared_strategy) {
    case SHM_SHARED_STICKY:
        break;
    case SHM_SHARED_HASH_CLIENT:
    case SHM_SHARED_HASH_TOPIC:
        for (uint32_t skip =
                 hash_choose(share_hash(worker, publication) << 16, (uint32_t)__builtin_popcountll(workers));
             skip > 0; skip--) {
            workers &= workers - 1;
        }
        break;
    case SHM_SHARED_LEAST_BACKLOG:
        *last = (uint8_t)share_least_backlog(worker, share, *last);
        return *last;
    default:
        *last = (uint8_t)share_next(workers, *last);
        return *last;
    }
    return (uint32_t)__builtin_ctzll(workers);
}

/* One worker: all members are its own, and no other table says so. */
static void groups_deliver(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    for (uint32_t i = 0; i < route->group_count; i++) {
        const struct topic_share_filter *filter = topic_entry_payload(route->groups[i]);
        for (struct topic_group *group = filter->groups; group != NULL; group = group->next) {
            if (!group_deliver(worker, publication, group)) {
                group_deliver_offline(worker, publication, group);
            }
        }
    }
}

/* ---- To other workers ------------------------------------------------------------------------------------------- */

static void mail_publication(struct worker *worker, struct publication *publication, uint32_t other,
                             enum mail_type type, uint64_t value, uint8_t small)
{
    struct message *message = publication_keep(publication, worker->memory);
    const struct mail mail = {.type = type, .small = small, .value = value, .block = message};
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
        mail_publication(worker, publication, (uint32_t)__builtin_ctzll(left), MAIL_PUBLISH, 0, 0);
    }
}

/*
 * To a member on this worker, the `first` that was asked or one further round. A worker without a connected member
 * passes the message on; the last one keeps it for a member that is offline.
 */
static void share_deliver(struct worker *worker, struct publication *publication, const struct topic_route *route,
                          const struct topic_share *share, uint32_t first)
{
    struct topic_group *group = group_find(route, share->group);
    if (group != NULL && group_deliver(worker, publication, group)) {
        return;
    }
    const uint32_t next = share_next(share->workers, worker->index);
    /* Round means past the first; the set may have changed on the way, so being past it is enough. */
    const uint32_t asked = (worker->index + worker->count - first) % worker->count;
    const uint32_t ahead = (next + worker->count - first) % worker->count;
    if (next != worker->index && ahead > asked) {
        mail_publication(worker, publication, next, MAIL_SHARED, share->group, (uint8_t)first);
    } else if (group != NULL) {
        group_deliver_offline(worker, publication, group);
    } else {
        worker->counters.dropped_shared_gone++;
    }
}

static void route_shares(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    for (uint32_t i = 0; i < route->share_count; i++) {
        const uint32_t chosen = share_worker(worker, publication, &route->shares[i]);
        if (chosen == worker->index) {
            share_deliver(worker, publication, route, &route->shares[i], chosen);
        } else {
            mail_publication(worker, publication, chosen, MAIL_SHARED, route->shares[i].group, (uint8_t)chosen);
        }
    }
}

/* ---- The ways in ------------------------------------------------------------------------------------------------ */

static const struct topic_route *route_find(struct worker *worker, const struct publication *publication,
                                            enum topic_status *status)
{
    stages_mark(&worker->stages, worker->stages.outer);
    const struct topic_route *route =
        topic_cache_route(worker->routes, (const char *)publication->topic.data, publication->topic.length, status);
    stages_mark(&worker->stages, STAGE_match);
    return route;
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
        return status == TOPIC_NO_MEMORY ? ROUTE_STALLED : ROUTE_REFUSED;
    }
    return route_is_empty(*route) ? ROUTE_UNMATCHED : ROUTE_MATCHED;
}

/* Are this worker's own sessions all that it goes to? */
static bool route_is_local(const struct worker *worker, const struct topic_route *route)
{
    return route->group_count == 0 && route->share_count == 0 &&
           (route->workers & ~(UINT64_C(1) << worker->index)) == 0;
}

/* To one member of each shared subscription, and to other workers. */
static void route_further(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    if (worker->count == 1) {
        groups_deliver(worker, publication, route);
    } else {
        route_shares(worker, publication, route);
        route_remote(worker, publication, route->workers);
    }
}

void route_deliver(struct worker *worker, struct publication *publication, const struct topic_route *route)
{
    stages_mark(&worker->stages, worker->stages.outer);
    route_local(worker, publication, route);
    if (!route_is_local(worker, route)) {
        const uint32_t count = publication_count(publication);
        struct publication *each = publication->run == NULL ? publication : run_unpack(publication);
        for (uint32_t i = 0; i < count; i++) {
            route_further(worker, &each[i], route);
        }
    }
    if (route_is_empty(route)) {
        worker->counters.messages_unmatched += publication_count(publication);
    }
    stages_mark(&worker->stages, STAGE_append);
}

void route_own(struct worker *worker, struct publication *publication)
{
    const struct topic_route *route;
    if (publication->retain) {
        publication->moment = retained_moment(worker);
        retained_store(worker, publication);
    }
    const enum route_result routed = route_lookup(worker, publication, &route);
    if (routed == ROUTE_MATCHED || routed == ROUTE_UNMATCHED) {
        route_deliver(worker, publication, route);
    } else {
        worker->counters.dropped_no_memory++;
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
    stages_mark(&worker->stages, STAGE_append);
}

void route_received_shared(struct worker *worker, struct publication *publication, uint64_t group, uint32_t first)
{
    enum topic_status status;
    const struct topic_route *route = route_find(worker, publication, &status);
    worker->counters.messages_from_workers++;
    for (uint32_t i = 0; route != NULL && i < route->share_count; i++) {
        if (route->shares[i].group == group) {
            share_deliver(worker, publication, route, &route->shares[i], first);
            stages_mark(&worker->stages, STAGE_append);
            return;
        }
    }
    worker->counters.dropped_shared_gone++;
}

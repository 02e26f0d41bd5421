/*
 * A worker's private table: see subscribers.h.
 *
 * Two filter indexes, as in the shared table: ordinary filters (payload: the members) and filters with shared groups
 * (payload: a list of groups, each with members). A subscription is found from its member and its member from it, so
 * either side can go first, in O(1).
 */
#include "lib/topic/subscribers.h"

#include "lib/mem/mem.h"

#include <string.h>

#define ADDRESS_BITS 48
#define IDENTIFIER_BIT (1ull << ADDRESS_BITS)
#define OPTIONS_SHIFT 56

struct topic_subscription {
    struct topic_subscription *next; /* of the session */
    struct topic_subscription *prev;
    void *owner;       /* struct topic_entry of the filter, or struct topic_group */
    uint32_t position; /* of the member in its array */
    uint32_t identifier : 28;
    uint32_t is_shared : 1;
};

_Static_assert(sizeof(struct topic_subscription) == 32, "a subscription is 32 bytes");
_Static_assert(sizeof(struct topic_member) == 16, "four members to a cache line");

struct topic_subscribers {
    struct topic_index *filters;
    struct topic_index *groups;
    struct topic_subscribers_config config;
    uint32_t group_count;
    uint64_t subscription_count;
    struct topic_generations generations;
};

struct topic_subscribers *topic_subscribers_create(const struct topic_subscribers_config *config)
{
    struct topic_subscribers *table = mem_alloc_zero(config->region, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    table->config = *config;
    struct topic_index_config index = {
        .seed = config->seed,
        .allocator = mem_allocator_region(config->region),
        .filters_max = config->filters_max,
        .payload_size = sizeof(struct topic_filter),
    };
    table->filters = topic_index_create(&index);
    index.payload_size = sizeof(struct topic_share_filter);
    table->groups = topic_index_create(&index);
    if (table->filters == NULL || table->groups == NULL) {
        topic_subscribers_destroy(table);
        return NULL;
    }
    return table;
}

/* ---- members ---- */

static struct topic_member *members_at(struct topic_members *members)
{
    return members->capacity == 0 ? &members->one : members->many;
}

/* The second member moves the first out of the filter; the array then doubles. */
static bool members_grow(struct mem_region *region, struct topic_members *members)
{
    uint32_t capacity = members->capacity == 0 ? 4 : members->capacity * 2;
    struct topic_member *many = mem_alloc(region, capacity * sizeof(*many));
    if (many == NULL) {
        return false;
    }
    memcpy(many, members_at(members), members->count * sizeof(*many));
    if (members->capacity > 0) {
        mem_free(region, members->many);
    }
    members->many = many;
    members->capacity = capacity;
    return true;
}

/* Give memory back once an array is three quarters empty. Keeping the larger one when memory is short is harmless. */
static void members_shrink(struct mem_region *region, struct topic_members *members)
{
    if (members->capacity == 0 || members->count > members->capacity / 4) {
        return;
    }
    struct topic_member *many = members->many;
    if (members->count <= 1) {
        struct topic_member one = many[0];
        members->capacity = 0;
        members->one = one;
        mem_free(region, many);
        return;
    }
    uint32_t capacity = members->capacity / 2;
    struct topic_member *smaller = mem_alloc(region, capacity * sizeof(*smaller));
    if (smaller != NULL) {
        memcpy(smaller, many, members->count * sizeof(*smaller));
        mem_free(region, many);
        members->many = smaller;
        members->capacity = capacity;
    }
}

static uint64_t member_pack(const struct topic_subscription *subscription, uint8_t options)
{
    return (uint64_t)(uintptr_t)subscription | (subscription->identifier != 0 ? IDENTIFIER_BIT : 0) |
           (uint64_t)options << OPTIONS_SHIFT;
}

static bool members_add(struct mem_region *region, struct topic_members *members, struct topic_session *session,
                        struct topic_subscription *subscription, uint8_t options)
{
    bool full = members->capacity == 0 ? members->count == 1 : members->count == members->capacity;
    if (full && !members_grow(region, members)) {
        return false;
    }
    subscription->position = members->count;
    members_at(members)[members->count++] = (struct topic_member){session, member_pack(subscription, options)};
    return true;
}

/* The last member takes the place of the one that goes. */
static void members_remove(struct mem_region *region, struct topic_members *members, uint32_t position)
{
    struct topic_member *array = members_at(members);
    uint32_t last = --members->count;
    if (position != last) {
        array[position] = array[last];
        topic_member_subscription(&array[position])->position = position;
    }
    members_shrink(region, members);
}

/* ---- what a subscription belongs to ---- */

static struct topic_entry *subscription_entry(const struct topic_subscription *subscription)
{
    return subscription->is_shared ? ((struct topic_group *)subscription->owner)->entry : subscription->owner;
}

static struct topic_members *entry_members(struct topic_entry *entry)
{
    return &((struct topic_filter *)topic_entry_payload(entry))->members;
}

static struct topic_members *subscription_members(const struct topic_subscription *subscription)
{
    return subscription->is_shared ? &((struct topic_group *)subscription->owner)->members
                                   : entry_members(subscription->owner);
}

static struct topic_filter_name subscription_name(const struct topic_subscription *subscription)
{
    const struct topic_entry *entry = subscription_entry(subscription);
    struct topic_filter_name name = {
        .filter = topic_entry_filter(entry),
        .filter_length = entry->length,
        .levels = 1,
        .wildcard = entry->wildcard,
    };
    for (uint32_t i = 0; i < entry->length; i++) {
        name.levels += name.filter[i] == '/';
    }
    if (subscription->is_shared) {
        const struct topic_group *group = subscription->owner;
        name.group = group->name;
        name.group_length = group->name_length;
    }
    return name;
}

/* A filter or group has come to this worker, or is about to go. */
static void presence_changed(struct topic_subscribers *table, const struct topic_filter_name *filter, bool present)
{
    topic_generations_bump(&table->generations, topic_filter_stripe(&table->config.seed, filter));
    if (table->config.presence != NULL) {
        table->config.presence(table->config.presence_arg, filter, present);
    }
}

/* ---- groups ---- */

static struct topic_group *group_find(struct topic_entry *entry, const struct topic_filter_name *filter)
{
    struct topic_share_filter *shares = topic_entry_payload(entry);
    struct topic_group *group = shares->groups;
    while (group != NULL && (group->name_length != filter->group_length ||
                             memcmp(group->name, filter->group, filter->group_length) != 0)) {
        group = group->next;
    }
    return group;
}

static struct topic_group *group_create(struct topic_subscribers *table, struct topic_entry *entry,
                                        const struct topic_filter_name *filter)
{
    struct topic_group *group = mem_alloc(table->config.region, sizeof(*group) + filter->group_length);
    if (group == NULL) {
        return NULL;
    }
    struct topic_share_filter *shares = topic_entry_payload(entry);
    *group = (struct topic_group){
        .next = shares->groups,
        .id = topic_group_id(&table->config.seed, filter),
        .entry = entry,
        .name_length = filter->group_length,
    };
    memcpy(group->name, filter->group, filter->group_length);
    shares->groups = group;
    shares->count++;
    table->group_count++;
    return group;
}

/* Drop the group, and its filter with the last group. */
static void group_destroy(struct topic_subscribers *table, struct topic_group *group)
{
    struct topic_entry *entry = group->entry;
    struct topic_share_filter *shares = topic_entry_payload(entry);
    struct topic_group **link = &shares->groups;
    while (*link != group) {
        link = &(*link)->next;
    }
    *link = group->next;
    shares->count--;
    table->group_count--;
    mem_free(table->config.region, group);
    if (shares->groups == NULL) {
        topic_index_remove(table->groups, entry);
    }
}

/* ---- subscribe ---- */

/* Where a filter's members are (or will be): the filter, or the group. NULL without memory or room. */
static void *owner_find(struct topic_subscribers *table, const struct topic_filter_name *filter)
{
    if (filter->group_length == 0) {
        return topic_index_find(table->filters, filter);
    }
    struct topic_entry *entry = topic_index_find(table->groups, filter);
    return entry == NULL ? NULL : group_find(entry, filter);
}

static void *owner_create(struct topic_subscribers *table, const struct topic_filter_name *filter,
                          enum topic_status *status)
{
    bool created;
    if (filter->group_length == 0) {
        return topic_index_add(table->filters, filter, &created, status);
    }
    struct topic_entry *entry = topic_index_add(table->groups, filter, &created, status);
    if (entry == NULL) {
        return NULL;
    }
    struct topic_group *group = group_create(table, entry, filter);
    if (group == NULL) {
        *status = TOPIC_NO_MEMORY;
        if (created) {
            topic_index_remove(table->groups, entry);
        }
    }
    return group;
}

/* An owner without members goes. */
static void owner_destroy(struct topic_subscribers *table, void *owner, bool is_shared)
{
    if (is_shared) {
        group_destroy(table, owner);
    } else {
        topic_index_remove(table->filters, owner);
    }
}

static struct topic_members *owner_members(void *owner, bool is_shared)
{
    return is_shared ? &((struct topic_group *)owner)->members : entry_members(owner);
}

/*
 * The session's subscription with this owner: by the session's list or the owner's members, whichever is shorter. A
 * storm of sessions on one filter, and a bridge with 100,000 filters, are then both cheap.
 */
static struct topic_subscription *subscription_find(const struct topic_session *session, void *owner, bool is_shared)
{
    const struct topic_members *members = owner_members(owner, is_shared);
    if (session->count <= members->count) {
        struct topic_subscription *subscription = session->first;
        while (subscription != NULL && subscription->owner != owner) {
            subscription = subscription->next;
        }
        return subscription;
    }
    const struct topic_member *array = topic_members_array(members);
    for (uint32_t i = 0; i < members->count; i++) {
        if (array[i].session == session) {
            return topic_member_subscription(&array[i]);
        }
    }
    return NULL;
}

static void session_link(struct topic_session *session, struct topic_subscription *subscription)
{
    subscription->prev = NULL;
    subscription->next = session->first;
    if (session->first != NULL) {
        session->first->prev = subscription;
    }
    session->first = subscription;
    session->count++;
}

static void session_unlink(struct topic_session *session, struct topic_subscription *subscription)
{
    if (subscription->prev != NULL) {
        subscription->prev->next = subscription->next;
    } else {
        session->first = subscription->next;
    }
    if (subscription->next != NULL) {
        subscription->next->prev = subscription->prev;
    }
    session->count--;
}

static struct topic_subscription *subscription_create(struct topic_subscribers *table, struct topic_session *session,
                                                      void *owner, bool is_shared, uint8_t options, uint32_t identifier)
{
    struct topic_subscription *subscription = mem_alloc(table->config.region, sizeof(*subscription));
    if (subscription == NULL) {
        return NULL;
    }
    *subscription = (struct topic_subscription){.owner = owner, .is_shared = is_shared};
    subscription->identifier = identifier & 0x0fffffffu;
    struct topic_members *members = owner_members(owner, is_shared);
    if (!members_add(table->config.region, members, session, subscription, options)) {
        mem_free(table->config.region, subscription);
        return NULL;
    }
    session_link(session, subscription);
    table->subscription_count++;
    return subscription;
}

struct topic_subscribe_result topic_subscribe(struct topic_subscribers *table, struct topic_session *session,
                                              const struct topic_filter_name *filter, uint8_t options,
                                              uint32_t identifier)
{
    struct topic_subscribe_result result = {.status = TOPIC_OK};
    bool is_shared = filter->group_length > 0;
    void *owner = owner_find(table, filter);
    if (owner != NULL && (result.subscription = subscription_find(session, owner, is_shared)) != NULL) {
        /* REQ MQTT-5 [MQTT-3.8.4-3]: the same filter replaces [test: subscribers/resubscribe_replaces] */
        struct topic_subscription *subscription = result.subscription;
        subscription->identifier = identifier & 0x0fffffffu;
        members_at(subscription_members(subscription))[subscription->position].packed =
            member_pack(subscription, options);
        result.replaced = true;
        return result;
    }
    result.first = owner == NULL;
    if (owner == NULL && (owner = owner_create(table, filter, &result.status)) == NULL) {
        result.first = false;
        return result;
    }
    result.subscription = subscription_create(table, session, owner, is_shared, options, identifier);
    if (result.subscription == NULL) {
        result.status = TOPIC_NO_MEMORY;
        if (result.first) {
            owner_destroy(table, owner, is_shared);
        }
        result.first = false;
    } else if (result.first) {
        presence_changed(table, filter, true);
    }
    return result;
}

/* ---- unsubscribe ---- */

void topic_subscription_remove(struct topic_subscribers *table, struct topic_session *session,
                               struct topic_subscription *subscription)
{
    struct topic_members *members = subscription_members(subscription);
    void *owner = subscription->owner;
    bool is_shared = subscription->is_shared;
    if (members->count == 1) {
        struct topic_filter_name name = subscription_name(subscription);
        presence_changed(table, &name, false);
    }
    members_remove(table->config.region, members, subscription->position);
    session_unlink(session, subscription);
    mem_free(table->config.region, subscription);
    table->subscription_count--;
    if (members->count == 0) {
        owner_destroy(table, owner, is_shared);
    }
}

enum topic_status topic_unsubscribe(struct topic_subscribers *table, struct topic_session *session,
                                    const struct topic_filter_name *filter)
{
    void *owner = owner_find(table, filter);
    struct topic_subscription *subscription =
        owner == NULL ? NULL : subscription_find(session, owner, filter->group_length > 0);
    if (subscription == NULL) {
        return TOPIC_NOT_FOUND;
    }
    topic_subscription_remove(table, session, subscription);
    return TOPIC_OK;
}

uint32_t topic_session_clear(struct topic_subscribers *table, struct topic_session *session, uint32_t budget)
{
    while (session->first != NULL && budget-- > 0) {
        topic_subscription_remove(table, session, session->first);
    }
    return session->count;
}

/* ---- destruction ---- */

static void members_free(struct topic_subscribers *table, struct topic_members *members)
{
    const struct topic_member *array = topic_members_array(members);
    for (uint32_t i = 0; i < members->count; i++) {
        mem_free(table->config.region, topic_member_subscription(&array[i]));
    }
    if (members->capacity > 0) {
        mem_free(table->config.region, members->many);
    }
}

static void filter_free(void *arg, struct topic_entry *entry)
{
    members_free(arg, entry_members(entry));
}

static void groups_free(void *arg, struct topic_entry *entry)
{
    struct topic_subscribers *table = arg;
    struct topic_share_filter *shares = topic_entry_payload(entry);
    for (struct topic_group *group = shares->groups, *next; group != NULL; group = next) {
        next = group->next;
        members_free(table, &group->members);
        mem_free(table->config.region, group);
    }
}

void topic_subscribers_destroy(struct topic_subscribers *table)
{
    if (table == NULL) {
        return;
    }
    if (table->filters != NULL) {
        topic_index_each(table->filters, filter_free, table);
    }
    if (table->groups != NULL) {
        topic_index_each(table->groups, groups_free, table);
    }
    topic_index_destroy(table->filters);
    topic_index_destroy(table->groups);
    mem_free(table->config.region, table);
}

/* ---- looking ---- */

struct topic_subscription *topic_session_next(const struct topic_session *session,
                                              const struct topic_subscription *previous)
{
    return previous == NULL ? session->first : previous->next;
}

uint32_t topic_subscription_identifier(const struct topic_subscription *subscription)
{
    return subscription->identifier;
}

void topic_subscription_describe(const struct topic_subscription *subscription, struct topic_subscription_info *info)
{
    const struct topic_member *member =
        &topic_members_array(subscription_members(subscription))[subscription->position];
    *info = (struct topic_subscription_info){
        .filter = subscription_name(subscription),
        .identifier = subscription->identifier,
        .options = topic_member_options(member),
    };
}

void topic_subscribers_search(const struct topic_subscribers *table, struct topic_name *name,
                              struct topic_matches *filters, struct topic_matches *groups,
                              struct topic_search searches[2])
{
    searches[0] = (struct topic_search){.index = table->filters, .name = name, .matches = filters};
    searches[1] = (struct topic_search){.index = table->groups, .name = name, .matches = groups};
}

topic_outline topic_subscribers_outline(const struct topic_subscribers *table, unsigned stripe)
{
    return topic_outline_join(topic_index_outline(table->filters, stripe), topic_index_outline(table->groups, stripe));
}

uint64_t topic_subscribers_generation(const struct topic_subscribers *table, unsigned stripe)
{
    return topic_generations_read(&table->generations, stripe);
}

void topic_subscribers_stats(const struct topic_subscribers *table, struct topic_subscribers_stats *stats)
{
    *stats = (struct topic_subscribers_stats){
        .filters = topic_index_count(table->filters),
        .share_filters = topic_index_count(table->groups),
        .groups = table->group_count,
        .subscriptions = table->subscription_count,
    };
}

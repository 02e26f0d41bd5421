/* The table of a worker's sessions: by client identifier, by handle, and in order for slices. See session.h. */
#include <stdio.h>
#include <string.h>

#include <rte_hash.h>

#include "dataplane/client_id.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"

struct slot {
    struct session *session; /* NULL: free */
    uint32_t generation;     /* counts the sessions that were here */
    uint32_t next_free;
};

struct session_table {
    struct rte_hash *by_client_id; /* struct client_id_key -> struct session * */
    struct topic_seed seed;
    uint32_t worker;
    uint32_t size;
    uint32_t count;
    uint32_t used; /* slots that ever held a session are below this */
    uint32_t first_free;
    struct slot slots[];
};

#define NO_SLOT UINT32_MAX
#define GENERATION_MASK 0xffffffu

/* Worker, generation and slot in one word; never 0, since generations start at 1. */
static uint64_t handle_make(const struct session_table *table, uint32_t slot)
{
    return (uint64_t)table->worker << 56 | (uint64_t)(table->slots[slot].generation & GENERATION_MASK) << 32 | slot;
}

struct session_table *session_table_create(uint32_t worker, uint32_t max_sessions, const struct topic_seed *seed)
{
    char name[RTE_HASH_NAMESIZE];
    struct session_table *table = calloc(1, sizeof(*table) + max_sessions * sizeof(table->slots[0]));
    if (table == NULL) {
        return NULL;
    }
    snprintf(name, sizeof(name), "sessions-%u", worker);
    const struct rte_hash_parameters parameters = {
        .name = name,
        .entries = max_sessions < 64 ? 64 : max_sessions,
        .key_len = sizeof(struct client_id_key),
        .hash_func = client_id_key_hash,
        .socket_id = SOCKET_ID_ANY,
        .extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
    };
    table->by_client_id = rte_hash_create(&parameters);
    if (table->by_client_id == NULL) {
        free(table);
        return NULL;
    }
    table->seed = *seed;
    table->worker = worker;
    table->size = max_sessions;
    table->first_free = NO_SLOT;
    return table;
}

void session_table_destroy(struct session_table *table)
{
    if (table != NULL) {
        rte_hash_free(table->by_client_id);
        free(table);
    }
}

uint32_t session_count(const struct session_table *table)
{
    return table->count;
}

struct session *session_find_key(const struct session_table *table, const struct client_id_key *key)
{
    void *session;
    return rte_hash_lookup_data(table->by_client_id, key, &session) >= 0 ? session : NULL;
}

struct session *session_find(const struct session_table *table, struct mqtt_span client_id)
{
    const struct client_id_key key = client_id_key(&table->seed, client_id);
    return session_find_key(table, &key);
}

struct session *session_by_handle(const struct session_table *table, uint64_t handle)
{
    const uint32_t slot = (uint32_t)handle;
    const bool alive = handle >> 56 == table->worker && slot < table->used && table->slots[slot].session != NULL &&
                       handle == handle_make(table, slot);
    return alive ? table->slots[slot].session : NULL;
}

struct session *session_next(const struct session_table *table, uint32_t *cursor)
{
    while (*cursor < table->used) {
        struct session *session = table->slots[(*cursor)++].session;
        if (session != NULL) {
            return session;
        }
    }
    return NULL;
}

bool session_table_add(struct session_table *table, struct session *session)
{
    const struct client_id_key key =
        client_id_key(&table->seed, (struct mqtt_span){session->client_id, session->client_id_length});
    uint32_t slot = table->first_free;
    if (slot == NO_SLOT && table->used == table->size) {
        return false;
    }
    if (rte_hash_add_key_data(table->by_client_id, &key, session) != 0) {
        return false;
    }
    if (slot != NO_SLOT) {
        table->first_free = table->slots[slot].next_free;
    } else {
        slot = table->used++;
    }
    table->slots[slot].session = session;
    table->slots[slot].generation++;
    if ((table->slots[slot].generation & GENERATION_MASK) == 0) {
        table->slots[slot].generation++;
    }
    table->count++;
    session->handle = handle_make(table, slot);
    return true;
}

void session_table_remove(struct session_table *table, struct session *session)
{
    const struct client_id_key key =
        client_id_key(&table->seed, (struct mqtt_span){session->client_id, session->client_id_length});
    const uint32_t slot = (uint32_t)session->handle;
    rte_hash_del_key(table->by_client_id, &key);
    table->slots[slot].session = NULL;
    table->slots[slot].next_free = table->first_free;
    table->first_free = slot;
    table->count--;
}

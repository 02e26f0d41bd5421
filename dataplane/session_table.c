/* The table of a worker's sessions: by client identifier, by handle, and in order for slices. See session.h. */
#include <string.h>

#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/hash/hash_table.h"

struct slot {
    struct session *session; /* NULL: free */
    uint32_t generation;     /* counts the sessions that were here */
    uint32_t next_free;
};

struct session_table {
    struct hash_table by_client_id; /* of struct session */
    struct topic_seed seed;
    uint32_t worker;
    uint32_t size;
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

static struct mqtt_span id_of(const struct session *session)
{
    return (struct mqtt_span){session->client_id, session->client_id_length};
}

static uint64_t id_hash(const struct session_table *table, struct mqtt_span client_id)
{
    return topic_hash(&table->seed, client_id.data, client_id.length) | UINT64_C(1) << 63;
}

static uint32_t session_hash(const void *session)
{
    return (uint32_t)((const struct session *)session)->id_hash;
}

static bool session_has_id(const void *session, const void *wanted)
{
    const struct mqtt_span id = id_of(session), *client_id = wanted;
    return id.length == client_id->length && memcmp(id.data, client_id->data, id.length) == 0;
}

struct session_table *session_table_create(uint32_t worker, struct mem_region *memory, uint32_t max_sessions,
                                           const struct topic_seed *seed)
{
    struct session_table *table = calloc(1, sizeof(*table) + max_sessions * sizeof(table->slots[0]));
    const struct hash_table_config config = {
        .allocator = mem_allocator_region(memory), .objects_max = max_sessions, .hash_of = session_hash};
    if (table == NULL || !hash_table_init(&table->by_client_id, &config)) {
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
    free(table); /* the rest goes with the region */
}

uint32_t session_count(const struct session_table *table)
{
    return table->by_client_id.count;
}

struct session *session_find(const struct session_table *table, struct mqtt_span client_id)
{
    return hash_table_find(&table->by_client_id, id_hash(table, client_id), session_has_id, &client_id);
}

struct session *session_by_handle(const struct session_table *table, uint64_t handle)
{
    const uint32_t slot = (uint32_t)handle;
    const bool alive = session_handle_worker(handle) == table->worker && slot < table->used &&
                       table->slots[slot].session != NULL && handle == handle_make(table, slot);
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
    const uint64_t hash = id_hash(table, id_of(session));
    uint32_t slot = table->first_free;
    if (slot == NO_SLOT && table->used == table->size) {
        return false;
    }
    session->id_hash = hash;
    if (!hash_table_add(&table->by_client_id, hash, session)) {
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
    session->handle = handle_make(table, slot);
    return true;
}

void session_table_remove(struct session_table *table, struct session *session)
{
    const uint32_t slot = (uint32_t)session->handle;
    hash_table_remove(&table->by_client_id, id_hash(table, id_of(session)), session);
    table->slots[slot].session = NULL;
    table->slots[slot].next_free = table->first_free;
    table->first_free = slot;
}

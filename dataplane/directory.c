/* Who owns which client identifier. See directory.h. */
#include "dataplane/directory.h"

#include "dataplane/client.h"
#include "dataplane/handlers.h"
#include "dataplane/move.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"
#include "lib/hash/hash_table.h"

struct directory {
    struct hash_table ids; /* of struct entry */
    struct mem_region *memory;
    _Atomic uint32_t *count; /* of entries, in the directories of all workers */
    uint32_t max;            /* for that */
};

struct entry {
    struct client_id_key id;
    uint32_t claims; /* given out and not given back; never 0 */
    uint32_t owner;
};

static uint32_t entry_hash(const void *entry)
{
    return (uint32_t)((const struct entry *)entry)->id.hash[0];
}

static bool entry_has_id(const void *entry, const void *wanted)
{
    const struct client_id_key *id = &((const struct entry *)entry)->id, *key = wanted;
    return id->hash[0] == key->hash[0] && id->hash[1] == key->hash[1];
}

struct directory *directory_create(struct mem_region *memory, uint32_t max_sessions, _Atomic uint32_t *count)
{
    struct directory *directory = mem_alloc(memory, sizeof(*directory));
    const struct hash_table_config config = {
        .allocator = mem_allocator_region(memory), .objects_max = max_sessions, .hash_of = entry_hash};
    if (directory == NULL) {
        return NULL;
    }
    *directory = (struct directory){.memory = memory, .count = count, .max = max_sessions};
    if (!hash_table_init(&directory->ids, &config)) {
        mem_free(memory, directory);
        return NULL;
    }
    return directory;
}

uint32_t directory_count(const struct directory *directory)
{
    return directory->ids.count;
}

/* ---- At the home ------------------------------------------------------------------------------------------------ */

static struct entry *entry_find(const struct directory *directory, const struct client_id_key *id)
{
    return hash_table_find(&directory->ids, id->hash[0], entry_has_id, id);
}

/* An entry more among those of all workers. NULL: there are as many as there may be, or there is no memory. */
static struct entry *entry_create(struct directory *directory, const struct client_id_key *id, uint32_t owner)
{
    struct entry *entry = mem_alloc(directory->memory, sizeof(*entry));
    if (entry == NULL) {
        return NULL;
    }
    *entry = (struct entry){.id = *id, .owner = owner};
    if (atomic_fetch_add_explicit(directory->count, 1, memory_order_relaxed) < directory->max &&
        hash_table_add(&directory->ids, id->hash[0], entry)) {
        return entry;
    }
    atomic_fetch_sub_explicit(directory->count, 1, memory_order_relaxed);
    mem_free(directory->memory, entry);
    return NULL;
}

/* Who owns the identifier from now on? DIRECTORY_NOBODY: the directory is full, and nothing was claimed. */
static uint32_t entry_claim(struct directory *directory, const struct client_id_key *id, uint32_t claimant)
{
    struct entry *entry = entry_find(directory, id);
    if (entry == NULL) {
        entry = entry_create(directory, id, claimant);
    }
    if (entry == NULL) {
        return DIRECTORY_NOBODY;
    }
    entry->claims++;
    return entry->owner;
}

static void entry_disown(struct directory *directory, const struct client_id_key *id, uint32_t claims)
{
    struct entry *entry = entry_find(directory, id);
    if (entry == NULL) {
        return;
    }
    if (entry->claims > claims) {
        entry->claims -= claims;
    } else {
        hash_table_remove(&directory->ids, id->hash[0], entry);
        atomic_fetch_sub_explicit(directory->count, 1, memory_order_relaxed);
        mem_free(directory->memory, entry);
    }
}

/* ---- Between workers -------------------------------------------------------------------------------------------- */

static uint32_t id_home(const struct worker *worker, const struct client_id_key *id)
{
    return (uint32_t)(((id->hash[1] >> 32) * worker->count) >> 32);
}

bool directory_is_home(const struct worker *worker, struct mqtt_span client_id)
{
    const struct client_id_key id = directory_id(worker->dataplane, client_id);
    return id_home(worker, &id) == worker->index;
}

static bool directory_post(struct worker *worker, uint32_t to, enum mail_type type,
                           const struct directory_mail *content)
{
    struct directory_mail *block = mem_alloc(worker->memory, sizeof(*block));
    if (block == NULL) {
        return false;
    }
    *block = *content;
    if (!mailbox_post(worker->to[to], worker->memory, (struct mail){.type = type, .block = block})) {
        mem_free(worker->memory, block);
        return false;
    }
    return true;
}

void directory_disown(struct worker *worker, const struct client_id_key *id, uint32_t claims)
{
    const uint32_t home = id_home(worker, id);
    if (home == worker->index) {
        entry_disown(worker->directory, id, claims);
    } else {
        const struct directory_mail mail = {.id = *id, .claims = claims};
        directory_post(worker, home, MAIL_DISOWN, &mail);
    }
}

/* The claimant knows the owner now. */
static enum directory_answer claim_answered(struct worker *worker, struct client *client,
                                            const struct client_id_key *id, uint32_t owner)
{
    if (owner == DIRECTORY_NOBODY) {
        return DIRECTORY_FULL;
    }
    if (owner == worker->index) {
        client->claim_granted = true;
        return DIRECTORY_GRANTED;
    }
    if (client_move(worker, client, owner, id)) {
        return DIRECTORY_MOVED;
    }
    directory_disown(worker, id, 1);
    return DIRECTORY_BUSY;
}

enum directory_answer directory_claim(struct worker *worker, struct client *client, struct mqtt_span client_id)
{
    const struct client_id_key id = directory_id(worker->dataplane, client_id);
    const uint32_t home = id_home(worker, &id);
    if (home == worker->index) {
        return claim_answered(worker, client, &id, entry_claim(worker->directory, &id, worker->index));
    }
    const struct directory_mail claim = {
        .id = id, .connection = tcp_connection_id(client->tcp), .claimant = (uint8_t)worker->index};
    return directory_post(worker, home, MAIL_CLAIM, &claim) ? DIRECTORY_WAITS : DIRECTORY_BUSY;
}

void directory_receive_claim(struct worker *worker, const struct directory_mail *mail)
{
    struct directory_mail answer = *mail;
    answer.owner = (uint8_t)entry_claim(worker->directory, &mail->id, mail->claimant);
    if (!directory_post(worker, mail->claimant, MAIL_OWNER, &answer) && answer.owner != DIRECTORY_NOBODY) {
        entry_disown(worker->directory, &mail->id, 1); /* the claimant's client times out */
    }
}

void directory_receive_owner(struct worker *worker, const struct directory_mail *mail)
{
    struct tcp_connection *tcp = tcp_connection_find(worker->net, mail->connection);
    struct client *client = tcp == NULL ? NULL : tcp_user(tcp);
    if (client == NULL || client->state != CLIENT_CLAIMING) {
        if (mail->owner != DIRECTORY_NOBODY) {
            directory_disown(worker, &mail->id, 1); /* the client has left meanwhile */
        }
        return;
    }
    client->state = CLIENT_NEW;
    const enum directory_answer answer = claim_answered(worker, client, &mail->id, mail->owner);
    if (answer == DIRECTORY_GRANTED) {
        client_read(worker, client);
    } else if (answer != DIRECTORY_MOVED) {
        connect_refuse_claim(worker, client, answer);
    }
}

void directory_receive_disown(struct worker *worker, const struct directory_mail *mail)
{
    entry_disown(worker->directory, &mail->id, mail->claims);
}

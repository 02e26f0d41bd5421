/* Who owns which client identifier. See directory.h. */
#include "dataplane/directory.h"

#include <stdio.h>
#include <stdlib.h>

#include <rte_hash.h>

#include "dataplane/client.h"
#include "dataplane/move.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"

struct directory {
    struct rte_hash *entries; /* struct client_id_key -> owner and generation in the data word */
    uint32_t generation;      /* the last one given out: unique within this home */
};

/* An entry lies in rte_hash's data word itself: owner in the upper, generation in the lower half. */
struct entry {
    uint32_t generation;
    uint32_t owner;
};

static void *entry_pack(struct entry entry)
{
    return (void *)(uintptr_t)((uint64_t)entry.owner << 32 | entry.generation);
}

static struct entry entry_unpack(const void *data)
{
    return (struct entry){.generation = (uint32_t)(uintptr_t)data, .owner = (uint32_t)((uintptr_t)data >> 32)};
}

struct directory *directory_create(uint32_t worker, uint32_t max_sessions)
{
    char name[RTE_HASH_NAMESIZE];
    struct directory *directory = calloc(1, sizeof(*directory));
    if (directory == NULL) {
        return NULL;
    }
    snprintf(name, sizeof(name), "directory-%u", worker);
    const struct rte_hash_parameters parameters = {
        .name = name,
        .entries = max_sessions < 64 ? 64 : max_sessions,
        .key_len = sizeof(struct client_id_key),
        .hash_func = client_id_key_hash,
        .socket_id = SOCKET_ID_ANY,
        .extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
    };
    directory->entries = rte_hash_create(&parameters);
    if (directory->entries == NULL) {
        free(directory);
        return NULL;
    }
    return directory;
}

void directory_destroy(struct directory *directory)
{
    if (directory != NULL) {
        rte_hash_free(directory->entries);
        free(directory);
    }
}

uint32_t directory_count(const struct directory *directory)
{
    return (uint32_t)rte_hash_count(directory->entries);
}

/* ---- At the home ------------------------------------------------------------------------------------------------ */

/* Who owns the identifier from now on? False: the directory is full. */
static bool entry_claim(struct directory *directory, const struct client_id_key *id, uint32_t claimant,
                        struct entry *entry)
{
    void *data;
    const bool known = rte_hash_lookup_data(directory->entries, id, &data) >= 0;
    entry->owner = known ? entry_unpack(data).owner : claimant;
    entry->generation = ++directory->generation;
    return rte_hash_add_key_data(directory->entries, id, entry_pack(*entry)) == 0;
}

static void entry_disown(struct directory *directory, const struct client_id_key *id, uint32_t generation)
{
    void *data;
    if (rte_hash_lookup_data(directory->entries, id, &data) >= 0 && entry_unpack(data).generation == generation) {
        rte_hash_del_key(directory->entries, id);
    }
}

/* ---- Between workers -------------------------------------------------------------------------------------------- */

static uint32_t id_home(const struct worker *worker, const struct client_id_key *id)
{
    return (uint32_t)(((id->hash[1] >> 32) * worker->count) >> 32);
}

bool directory_is_home(const struct worker *worker, struct mqtt_span client_id)
{
    const struct client_id_key id = client_id_key(&worker->dataplane->seed, client_id);
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

/* The claimant knows the owner now. */
static enum directory_answer claim_answered(struct worker *worker, struct client *client, struct entry entry)
{
    client->claim_generation = entry.generation;
    if (entry.owner == worker->index) {
        client->claim_granted = true;
        return DIRECTORY_GRANTED;
    }
    if (client_move(worker, client, entry.owner)) {
        return DIRECTORY_MOVED;
    }
    return DIRECTORY_FULL;
}

enum directory_answer directory_claim(struct worker *worker, struct client *client, struct mqtt_span client_id)
{
    const struct client_id_key id = client_id_key(&worker->dataplane->seed, client_id);
    const uint32_t home = id_home(worker, &id);
    if (home == worker->index) {
        struct entry entry;
        return entry_claim(worker->directory, &id, worker->index, &entry) ? claim_answered(worker, client, entry)
                                                                          : DIRECTORY_FULL;
    }
    const struct directory_mail claim = {
        .id = id, .connection = tcp_connection_id(client->tcp), .claimant = (uint8_t)worker->index};
    return directory_post(worker, home, MAIL_CLAIM, &claim) ? DIRECTORY_WAITS : DIRECTORY_FULL;
}

void directory_receive_claim(struct worker *worker, const struct directory_mail *mail)
{
    struct entry entry = {.owner = DIRECTORY_NOBODY};
    struct directory_mail answer = *mail;
    if (!entry_claim(worker->directory, &mail->id, mail->claimant, &entry)) {
        entry.owner = DIRECTORY_NOBODY;
    }
    answer.owner = (uint8_t)entry.owner;
    answer.generation = entry.generation;
    directory_post(worker, mail->claimant, MAIL_OWNER, &answer);
}

static void disown_id(struct worker *worker, const struct client_id_key *id, uint32_t generation)
{
    const uint32_t home = id_home(worker, id);
    if (home == worker->index) {
        entry_disown(worker->directory, id, generation);
    } else {
        const struct directory_mail mail = {.id = *id, .generation = generation};
        directory_post(worker, home, MAIL_DISOWN, &mail);
    }
}

void directory_disown(struct worker *worker, struct mqtt_span client_id, uint32_t generation)
{
    const struct client_id_key id = client_id_key(&worker->dataplane->seed, client_id);
    disown_id(worker, &id, generation);
}

void directory_receive_generation(struct worker *worker, const struct directory_mail *mail)
{
    struct session *session = session_find_key(worker->sessions, &mail->id);
    if (session == NULL) {
        disown_id(worker, &mail->id, mail->generation);
    } else if ((int32_t)(mail->generation - session->directory_generation) > 0) {
        session->directory_generation = mail->generation;
    }
}

void directory_receive_owner(struct worker *worker, const struct directory_mail *mail)
{
    struct tcp_connection *tcp = tcp_connection_find(worker->net, mail->connection);
    struct client *client = tcp == NULL ? NULL : tcp_user(tcp);
    const struct entry entry = {.owner = mail->owner, .generation = mail->generation};
    if (client == NULL || client->state != CLIENT_CLAIMING) {
        /* The client left meanwhile; the owner still has to know the generation, to end its entry one day. */
        if (entry.owner == worker->index) {
            directory_receive_generation(worker, mail);
        } else if (entry.owner != DIRECTORY_NOBODY) {
            directory_post(worker, entry.owner, MAIL_GENERATION, mail);
        }
        return;
    }
    client->state = CLIENT_NEW;
    if (entry.owner == DIRECTORY_NOBODY || claim_answered(worker, client, entry) == DIRECTORY_FULL) {
        worker->counters.closed_limit++;
        client_drop(worker, client);
    } else if (client->claim_granted) {
        client_read(worker, client);
    }
}

void directory_receive_disown(struct worker *worker, const struct directory_mail *mail)
{
    entry_disown(worker->directory, &mail->id, mail->generation);
}

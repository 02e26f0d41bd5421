/* Who owns which client identifier. See directory.h. */
#include "dataplane/directory.h"

#include <stdio.h>
#include <stdlib.h>

#include <rte_hash.h>

#include "dataplane/client.h"
#include "dataplane/handlers.h"
#include "dataplane/move.h"
#include "dataplane/session.h"
#include "dataplane/worker.h"

struct directory {
    struct rte_hash *entries; /* struct client_id_key -> owner and claims in the data word */
    _Atomic uint32_t *count;  /* of entries, in the directories of all workers */
    uint32_t max;             /* for that */
};

/* An entry lies in rte_hash's data word itself: owner in the upper, claims in the lower half. */
struct entry {
    uint32_t claims; /* given out and not given back; never 0 */
    uint32_t owner;
};

static void *entry_pack(struct entry entry)
{
    return (void *)(uintptr_t)((uint64_t)entry.owner << 32 | entry.claims);
}

static struct entry entry_unpack(const void *data)
{
    return (struct entry){.claims = (uint32_t)(uintptr_t)data, .owner = (uint32_t)((uintptr_t)data >> 32)};
}

struct directory *directory_create(uint32_t worker, uint32_t max_sessions, _Atomic uint32_t *count)
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
    directory->count = count;
    directory->max = max_sessions;
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

/* Makes an entry count among those of all workers. False: there are as many as there may be. */
static bool entry_count(struct directory *directory)
{
    if (atomic_fetch_add_explicit(directory->count, 1, memory_order_relaxed) < directory->max) {
        return true;
    }
    atomic_fetch_sub_explicit(directory->count, 1, memory_order_relaxed);
    return false;
}

/* Who owns the identifier from now on? DIRECTORY_NOBODY: the directory is full, and nothing was claimed. */
static uint32_t entry_claim(struct directory *directory, const struct client_id_key *id, uint32_t claimant)
{
    void *data;
    struct entry entry = {.owner = claimant};
    const bool is_new = rte_hash_lookup_data(directory->entries, id, &data) < 0;
    if (is_new && !entry_count(directory)) {
        return DIRECTORY_NOBODY;
    }
    if (!is_new) {
        entry = entry_unpack(data);
    }
    entry.claims++;
    if (rte_hash_add_key_data(directory->entries, id, entry_pack(entry)) == 0) {
        return entry.owner;
    }
    atomic_fetch_sub_explicit(directory->count, is_new, memory_order_relaxed);
    return DIRECTORY_NOBODY;
}

static void entry_disown(struct directory *directory, const struct client_id_key *id, uint32_t claims)
{
    void *data;
    if (rte_hash_lookup_data(directory->entries, id, &data) < 0) {
        return;
    }
    struct entry entry = entry_unpack(data);
    if (entry.claims > claims) {
        entry.claims -= claims;
        rte_hash_add_key_data(directory->entries, id, entry_pack(entry));
    } else {
        rte_hash_del_key(directory->entries, id);
        atomic_fetch_sub_explicit(directory->count, 1, memory_order_relaxed);
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

/*
 * The directory: which worker owns the session of a client identifier.
 *
 * Each identifier has a home, the worker chosen by its hash, which keeps one entry for it: the owner and a generation.
 * A session never moves. A CONNECT that arrives on worker C goes like this:
 *
 *      C -> home   CLAIM      "a client with this identifier is here"
 *      home        nobody owns it: C does now. The entry's generation counts up in any case
 *      home -> C   OWNER      the owner, and the generation
 *      C           owns it itself: CONNECT is handled here
 *                  else C -> owner  CONNECTION   the connection with the CONNECT still unread; the owner handles it
 *
 * and when a session ends
 *
 *      owner -> home  DISOWN  with the newest generation that the owner was told; the home forgets the entry only if
 * that is the newest there is. If it is not, a client is on its way to the owner, who will answer for it later.
 *
 * A client that leaves between CLAIM and CONNECTION makes the claimant tell the owner the generation (GENERATION), so
 * that its entry can end too.
 *
 * So at any time at most one worker owns an identifier, every take-over happens between two objects of one thread, and
 * no message is lost or doubled by it, since subscriptions, queues and windows stay where they are.
 *
 * With the claim answered by the same worker, which is always so with one worker, nothing waits.
 */
#ifndef POLLUX_DATAPLANE_DIRECTORY_H
#define POLLUX_DATAPLANE_DIRECTORY_H

#include <stdint.h>

#include "dataplane/client_id.h"
#include "dataplane/mailbox.h"
#include "lib/mqtt/mqtt.h"
#include "lib/topic/name.h"

struct client;
struct worker;
struct directory;

/* What CLAIM, OWNER and DISOWN carry. */
struct directory_mail {
    struct client_id_key id;
    uint64_t connection; /* tcp_connection_id on the claiming worker */
    uint32_t generation;
    uint8_t owner;
    uint8_t claimant;
};

/* The owner in an answer when the directory had no room for the identifier. */
#define DIRECTORY_NOBODY 0xffu

enum directory_answer {
    DIRECTORY_GRANTED, /* this worker owns the identifier; client->claim_generation is set */
    DIRECTORY_WAITS,   /* the answer comes by mail: the client is read again then, or has moved */
    DIRECTORY_MOVED,   /* the connection belongs to another worker now; the client object is gone */
    DIRECTORY_FULL,    /* no memory, or as many identifiers as the bound allows */
};

/* At start-up, on the main lcore; takes memory once. NULL: there is none. */
struct directory *directory_create(uint32_t worker, uint32_t max_sessions);
void directory_destroy(struct directory *directory);

/* Claims the identifier for a client of this worker. */
enum directory_answer directory_claim(struct worker *worker, struct client *client, struct mqtt_span client_id);

/* The session of this identifier has ended here. */
void directory_disown(struct worker *worker, struct mqtt_span client_id, uint32_t generation);

/* Is this worker the home of the identifier? Then a claim that nobody contests is granted at once. */
bool directory_is_home(const struct worker *worker, struct mqtt_span client_id);

/* Mails of the protocol. */
void directory_receive_claim(struct worker *worker, const struct directory_mail *mail);
void directory_receive_owner(struct worker *worker, const struct directory_mail *mail);
void directory_receive_generation(struct worker *worker, const struct directory_mail *mail);
void directory_receive_disown(struct worker *worker, const struct directory_mail *mail);

/* Identifiers in this worker's directory, for the census. */
uint32_t directory_count(const struct directory *directory);

#endif

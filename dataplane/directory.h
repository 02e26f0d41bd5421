/*
 * The directory: which worker owns the session of a client identifier.
 *
 * Each identifier has a home, the worker chosen by its hash, which keeps one entry for it: the owner, and how many
 * claims there are. A session never moves. A CONNECT that arrives on worker C goes like this:
 *
 *      C -> home   CLAIM      "a client with this identifier is here"
 *      home        nobody owns it: C does now. The entry counts one claim more in any case
 *      home -> C   OWNER      the owner; the claim is C's
 *      C           owns it itself: CONNECT is handled here
 *                  else C -> owner  CONNECTION   the connection with the CONNECT still unread, and the claim with it
 *
 * Every claim is given back to the home once, by whoever holds it:
 *
 *      DISOWN  from the owner when the session ends, with all claims that clients have brought to it
 *              from C if the client has left before it could be handed over, from the owner if it cannot be taken
 *
 * and with the last claim the entry goes. So an entry lives as long as there is a session or a client on its way to
 * one, in whatever order mails of different workers arrive. docs/explanation/take-over.md goes through the races.
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
#include "dataplane/dataplane.h"
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
    uint32_t claims;     /* DISOWN: how many are given back */
    uint8_t owner;
    uint8_t claimant;
};

/* The owner in an answer when the directory had no room for the identifier. */
#define DIRECTORY_NOBODY 0xffu

enum directory_answer {
    DIRECTORY_GRANTED, /* this worker owns the identifier, and the client holds a claim to it */
    DIRECTORY_WAITS,   /* the answer comes by mail: the client is read again then, or has moved */
    DIRECTORY_MOVED,   /* the connection belongs to another worker now; the client object is gone */
    DIRECTORY_FULL,    /* as many identifiers as the bound or memory allows (0x97); no claim is held */
    DIRECTORY_BUSY,    /* no memory, or no room in a mailbox (0x89); no claim is held */
};

/*
 * At start-up, on the main lcore. `memory` is the worker's: the directory and all that is in it go with it. `count`:
 * identifiers in the directories of all workers, which `max_sessions` bounds; it outlives them. NULL: there is no
 * memory.
 */
struct directory *directory_create(struct mem_region *memory, uint32_t max_sessions, _Atomic uint32_t *count);

/* Claims the identifier for a client of this worker. */
enum directory_answer directory_claim(struct worker *worker, struct client *client, struct mqtt_span client_id);

/* Gives claims back: of a session that has ended here, or of a client that does not get one. */
void directory_disown(struct worker *worker, const struct client_id_key *id, uint32_t claims);

static inline struct client_id_key directory_id(const struct dataplane *dataplane, struct mqtt_span client_id)
{
    return client_id_key(&dataplane->seed, client_id);
}

/* Is this worker the home of the identifier? Then a claim that nobody contests is granted at once. */
bool directory_is_home(const struct worker *worker, struct mqtt_span client_id);

/* Mails of the protocol. */
void directory_receive_claim(struct worker *worker, const struct directory_mail *mail);
void directory_receive_owner(struct worker *worker, const struct directory_mail *mail);
void directory_receive_disown(struct worker *worker, const struct directory_mail *mail);

/* Identifiers in this worker's directory, for the census. */
uint32_t directory_count(const struct directory *directory);

#endif

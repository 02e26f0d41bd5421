/*
 * Queries: questions of the operator that only a worker can answer (who is connected, what does it hold). The
 * housekeeper puts one request at a time into a worker's slot; the worker answers one page of bounded work within an
 * iteration.
 *
 * `state` is the only shared word: the housekeeper writes the slot while it is QUERY_FREE, the worker while it is
 * QUERY_ASKED, the housekeeper reads it while it is QUERY_ANSWERED.
 */
#ifndef POLLUX_DATAPLANE_QUERY_H
#define POLLUX_DATAPLANE_QUERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/shm/messages.h"

struct worker;

enum { QUERY_PAGE = 32 }; /* records of one answer */

enum query_state { QUERY_FREE, QUERY_ASKED, QUERY_ANSWERED };

struct query_slot {
    _Atomic uint32_t state;
    struct shm_request request;
    uint32_t cursor;                      /* in: where to start; out: where to go on */
    bool more;                            /* out: there is more behind the cursor */
    uint32_t count;                       /* out: records */
    struct shm_reply replies[QUERY_PAGE]; /* out: only the records are set */
};

/* Worker, once per iteration: answers if something was asked. Returns whether there was. */
bool query_answer(struct worker *worker);

/* Worker: is there anything to answer? */
static inline bool query_is_asked(const struct query_slot *slot)
{
    /* Pairs with the release in query_ask. */
    return atomic_load_explicit(&slot->state, memory_order_acquire) == QUERY_ASKED;
}

/* Housekeeper: asks. False: the slot is in use. */
bool query_ask(struct query_slot *slot, const struct shm_request *request, uint32_t cursor);

/* Housekeeper: is the answer there? Then it is read from the slot and query_free is called. */
static inline bool query_is_answered(struct query_slot *slot)
{
    /* Pairs with the release in query_answer. */
    return atomic_load_explicit(&slot->state, memory_order_acquire) == QUERY_ANSWERED;
}

static inline void query_free(struct query_slot *slot)
{
    atomic_store_explicit(&slot->state, QUERY_FREE, memory_order_release);
}

#endif

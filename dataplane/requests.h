/*
 * The operator's requests, as the housekeeper answers them: some from what it can read itself, most by asking one
 * worker after the other (query.h). One page of records at a time (lib/shm/messages.h).
 */
#ifndef POLLUX_DATAPLANE_REQUESTS_H
#define POLLUX_DATAPLANE_REQUESTS_H

#include "dataplane/housekeeper.h"

/* Starts a checked request in a free slot. */
void request_begin(struct housekeeper *housekeeper, struct housekeeper_request *slot,
                   const struct shm_request *request);

/* Control, which waited for it, is gone. A worker that holds it answers all the same, and its slot has to be freed
 * then: go on with request_continue until request.id is 0. */
void request_abandon(struct housekeeper_request *slot);

/* As far as it goes without waiting; frees the slot with the last reply. */
void request_continue(struct housekeeper *housekeeper, struct housekeeper_request *slot, uint64_t now);

#endif

/* Captures: packets from the workers' rings (lib/shm/capture.h) to whoever asked for them, as pcapng.
 *
 * Job: start a capture in the dataplane, take packets out of the rings, put those of all workers in order of time, turn
 * them into pcapng, hand it on in pieces as fast as the reader takes it, and end it: at its bounds, when asked to, when
 * the reader is gone. One capture at a time.
 *
 * A reader that is slow, or control being slow, costs packets (which are counted), never the dataplane's time: what
 * does not fit into the rings is missing.
 *
 * Who calls: control's event loop; single-threaded. */
#ifndef POLLUX_CONTROL_CAPTURE_H
#define POLLUX_CONTROL_CAPTURE_H

#include <jansson.h>

#include "control/dataplane_peer.h"
#include "control/loop.h"
#include "lib/shm/config.h"

struct captures;
struct capture;

/* Where it goes. */
struct capture_reader {
    /* Pieces of the file and figures: packets, bytes, dropped, seconds, data (base64). Takes the reference. */
    void (*piece)(void *argument, json_t *record);
    bool (*full)(void *argument); /* the reader is behind: no more pieces now */
    /* The last call: all is said, the capture is gone. `error` is NULL when it ended as it should. Takes the reference.
     */
    void (*done)(void *argument, json_t *summary, const char *error);
    void *argument;
};

/* The peer and the configuration must live as long. NULL: no memory, no timer. */
struct captures *captures_open(struct loop *loop, struct dataplane_peer *peer, const struct shm_config *config);
void captures_close(struct captures *captures);

/* Start what the request says. NULL with what to do instead; no call to the reader comes before this has returned. */
struct capture *capture_start(struct captures *captures, const json_t *request, const struct capture_reader *reader,
                              struct shm_error *error);

/* End the one that runs: its reader gets the rest. Returns -1 with the reason when there is none. */
int capture_stop(struct captures *captures, struct shm_error *error);

/* The reader is gone: no further call to it. */
void capture_cancel(struct capture *capture);

#endif

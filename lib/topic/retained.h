/*
 * Retained messages: topic -> message, and walks over all topics that match a filter.
 *
 * Job:     keep one opaque message a topic; hand all that match a filter to a subscriber in slices.
 * Callers: the worker (or owner) that holds these topics. Thread: one.
 * Owner:   nodes belong to the tree, in the memory of its allocator; messages belong to the caller: the tree only
 * returns the pointers it was given.
 *
 * A message may have a time when it expires (MQTT 5.0 section 3.3.2.3.3). A timer of the owner's wheel takes it out
 * then, so that it counts against no bound, whether or not anybody looks at its topic again.
 *
 * A walk survives any change between its slices. It holds a reference on the one node where it stands; a node lives as
 * long as it has a message, children or such a reference, so a cursor never dangles. New nodes are put in front of
 * their siblings, where a walk that is among them has been already, so it cannot be led on for ever. Hence: a topic
 * that exists from begin to end of a walk is delivered exactly once; one that comes or goes meanwhile at most once for
 * each time it was set. (A replaced message counts as there throughout: the one current at that moment is delivered.)
 */
#ifndef POLLUX_LIB_TOPIC_RETAINED_H
#define POLLUX_LIB_TOPIC_RETAINED_H

#include "lib/timer/timer.h"
#include "lib/mem/allocator.h"
#include "lib/topic/name.h"

struct topic_retained;
struct topic_retained_node;

struct topic_retained_config {
    struct topic_seed seed;
    struct mem_allocator allocator;
    uint32_t count_max; /* bound on messages */
    uint64_t bytes_max; /* bound on the sum of the sizes given to _set; 0: none */
    /* Times messages; must outlive the tree. NULL: _set is never given a time. The tree binds `timer_kind`. */
    struct timer_wheel *wheel;
    unsigned timer_kind;
    /* From timer_wheel_advance: this message has expired and is the caller's again. */
    void (*expired)(void *arg, void *message);
    void *arg;
};

struct topic_retained_stats {
    uint32_t count; /* messages */
    uint64_t bytes; /* sum of their sizes */
    uint64_t nodes; /* tree nodes, the root not counted */
    uint32_t walks; /* cursors that hold a node now */
};

struct topic_retained *topic_retained_create(const struct topic_retained_config *config);

/* Messages are not touched: take them out first (a walk with filter NULL finds all). No walk may be open. */
void topic_retained_destroy(struct topic_retained *tree);

/*
 * Set or replace the message of a topic; `size` is what it counts against bytes_max, `expires` when it is to be taken
 * out (microseconds of the wheel's time; 0: never). *old gets the message that was replaced or NULL. On TOPIC_FULL and
 * TOPIC_NO_MEMORY nothing has changed. `message` must not be NULL.
 */
enum topic_status topic_retained_set(struct topic_retained *tree, struct topic_name *name, void *message, size_t size,
                                     uint64_t expires, void **old);

/* Take a topic's message out and return it; NULL when there is none. */
void *topic_retained_remove(struct topic_retained *tree, struct topic_name *name);

/* A topic's message, or NULL. */
void *topic_retained_get(const struct topic_retained *tree, struct topic_name *name);

void topic_retained_stats(const struct topic_retained *tree, struct topic_retained_stats *stats);

/* A cursor. The caller embeds it; the filter's text must live as long as the walk. */
struct topic_retained_walk {
    struct topic_retained *tree;
    struct topic_retained_node *node; /* where the walk stands, referenced; NULL: over */
    const char *filter;
    uint16_t filter_length;
    uint16_t depth;  /* levels from the root to node */
    uint16_t levels; /* of the filter, '#' not counted */
    uint8_t subtree; /* the filter ends in '#' */
    uint8_t all;     /* no filter: every topic, '$' topics included */
    uint8_t leaving; /* node and everything below it have been seen */
    uint16_t starts[TOPIC_LEVELS_MAX + 1];
};

/* Begin a walk; filter NULL visits everything, '$' topics included (for expiry, export, shutdown). */
void topic_retained_walk_begin(struct topic_retained_walk *walk, struct topic_retained *tree,
                               const struct topic_filter_name *filter);

/*
 * Visit at most `budget` nodes. `deliver` is called for each message; false from it means "not taken": the walk stops
 * there and offers the same topic again next time. It may set and remove topics of the tree, and may end the walk.
 * Returns true while there is more to visit.
 */
bool topic_retained_walk_next(struct topic_retained_walk *walk, uint32_t budget,
                              bool (*deliver)(void *arg, void *message), void *arg);

/* End a walk early (the session has gone). Harmless on a walk that is over. */
void topic_retained_walk_end(struct topic_retained_walk *walk);

#endif

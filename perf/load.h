/*
 * Publishers and subscribers under load: closed loop and open loop, every message checked.
 *
 * The first bytes of a payload are the stamp, little-endian: number of the publisher (4), sequence number of its
 * message (4), and the time at which it was to be sent (8, ns). So latency counts from when a message was due, however
 * late the generator or the broker's flow control let it go: nothing is omitted that a user would have waited for.
 */
#ifndef PERF_LOAD_H
#define PERF_LOAD_H

#include <stddef.h>
#include <stdint.h>

#define LOAD_STAMP 16u
#define LOAD_PAYLOAD_MAX (16u << 20)

struct worker;

/* A topic from the command line's template: %i becomes `number`, or `wildcard` if that is given. */
void load_topic(const struct worker *worker, uint32_t number, const char *wildcard, char *topic, size_t size);

#endif

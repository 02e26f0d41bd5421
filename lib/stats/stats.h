/* The statistics segment: every figure with its name, unit and help text, readable while the dataplane runs.
 *
 * Job: describe counters once, where they are counted; publish them from each worker now and then; read them from
 * another process without stopping or believing the writer.
 *
 *      struct shm_segment_header | stats_header | definitions[] | block of worker 0 | ... | block of worker n-1 |
 * global
 *
 * A worker counts in private memory with plain additions. Now and then (statistics-interval) it copies its counters
 * into its own block: nobody else writes there, and no cache line is shared between two writers. The global block
 * belongs to the main lcore. Each block carries a generation (odd while it is being written), so a reader gets all
 * values of one publication or tries again.
 *
 * How a library joins in: it lists its counters in an X-macro, which makes the struct and the definitions in one place:
 *
 *      #define TOPIC_COUNTERS(X) \
 *          X(matches, STATS_COUNTER, "messages", "Topics looked up in the index") \
 *          X(entries, STATS_GAUGE, "filters", "Filters in the index now")
 *      struct topic_counters { TOPIC_COUNTERS(STATS_MEMBER) };
 *      static const struct stats_definition topic_definitions[] = {TOPIC_COUNTERS(STATS_DEFINITION)};
 *
 *      start-up:  topic_offset = stats_builder_add(builder, STATS_WORKER, "topic", topic_definitions, n, &error);
 *      worker:    stats_publish_begin(segment, worker);
 *                 stats_publish(segment, worker, topic_offset, (const uint64_t *)&counters, n_words);
 *                 stats_publish_end(segment, worker, now);
 *
 * A library that must not include lib/stats passes its X-macro as (name, unit, help); the dataplane expands it.
 * Names of groups and counters: lower case, digits, underscores. A unit is a plural noun ("messages", "bytes",
 * "nanoseconds"). */
#ifndef POLLUX_STATS_STATS_H
#define POLLUX_STATS_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/shm/segment.h"
#include "lib/stats/histogram.h"

#define STATS_GROUP_SIZE 32u /* bytes, with NUL */
#define STATS_NAME_SIZE 64u
#define STATS_UNIT_SIZE 24u
#define STATS_HELP_SIZE 112u
#define STATS_GROUP_NET "net_" /* how the names of the TCP/IP stack's groups begin */
#define STATS_DEFINITIONS_MAX 4096u
#define STATS_WORDS_MAX (1u << 20) /* 64-bit words of a block */
#define STATS_WORKERS_MAX 64u

enum stats_kind {
    STATS_COUNTER = 1,   /* only grows; readers show rates of it; one word */
    STATS_GAUGE = 2,     /* how many now; one word */
    STATS_HISTOGRAM = 3, /* struct histogram, HISTOGRAM_WORDS words */
};

enum stats_scope {
    STATS_WORKER = 1, /* one value in each worker's block */
    STATS_GLOBAL = 2, /* one value, written by the main lcore */
};

struct stats_definition {
    const char *name;
    enum stats_kind kind;
    const char *unit;
    const char *help;
};

/* For X-macros with rows X(name, kind, unit, help), counters and gauges only. */
#define STATS_MEMBER(name, kind, unit, help) uint64_t name;
#define STATS_DEFINITION(name, kind, unit, help) {#name, kind, unit, help},

/* ---- the writer: dataplane -------------------------------------------------------------------------------------- */

/* Collects definitions at start-up, on the main lcore, with heap memory of its own. */
struct stats_builder;

/* NULL when memory is out. */
struct stats_builder *stats_builder_create(void);

/* Add a group of definitions. Returns the offset, in words, of its first value in the blocks of that scope; values
 * follow each other in the order of the definitions, so a struct of uint64_t (and struct histogram) members matches.
 * Returns -1 with the reason when a name is missing, too long, not lower case, or there already. */
int stats_builder_add(struct stats_builder *builder, enum stats_scope scope, const char *group,
                      const struct stats_definition *definitions, uint32_t count, struct shm_error *error);

/* The writing side of a segment. */
struct stats_segment {
    struct shm_segment segment; /* its fd goes to control in SEGMENTS */
    uint32_t workers;
    uint32_t words[2];    /* of a worker's block, of the global block */
    uint64_t first_block; /* byte offset */
    uint64_t stride;      /* bytes from one worker's block to the next */
};

/* The block number of the main lcore's values, instead of a worker's index. */
#define STATS_BLOCK_GLOBAL UINT32_MAX

/* Create the segment with all that was added and free the builder, also on failure. */
int stats_builder_finish(struct stats_builder *builder, uint32_t workers, struct stats_segment *segment,
                         struct shm_error *error);
void stats_builder_free(struct stats_builder *builder);
void stats_segment_close(struct stats_segment *segment);

/* Publish: begin, any number of groups, end. `block` is the caller's own worker index, or STATS_BLOCK_GLOBAL on the
 * main lcore. `words` counts 64-bit words. Offsets are the caller's own, from stats_builder_add. No system call, no
 * lock; costs a copy. `now` is microseconds, monotonic (CLOCK_MONOTONIC, as all of the dataplane). */
void stats_publish_begin(struct stats_segment *segment, uint32_t block);
void stats_publish(struct stats_segment *segment, uint32_t block, uint32_t offset, const uint64_t *values,
                   uint32_t words);
void stats_publish_end(struct stats_segment *segment, uint32_t block, uint64_t now);

/* ---- the reader: control ---------------------------------------------------------------------------------------- */

/* A definition as copied out of the segment and checked; strings are terminated and printable. */
struct stats_entry {
    char group[STATS_GROUP_SIZE];
    char name[STATS_NAME_SIZE];
    char unit[STATS_UNIT_SIZE];
    char help[STATS_HELP_SIZE];
    enum stats_kind kind;
    enum stats_scope scope;
    uint32_t offset; /* words, within the blocks of its scope */
    uint32_t words;
};

/* Holds a private copy of the definitions and of the last consistent values: what the segment's writer does later can
 * change values only. */
struct stats_reader;

/* Attach read-only. Takes `fd` over in either case. NULL with the reason when anything in it does not add up. */
struct stats_reader *stats_reader_attach(int fd, struct shm_error *error);
void stats_reader_free(struct stats_reader *reader);

uint32_t stats_reader_workers(const struct stats_reader *reader);
uint32_t stats_reader_count(const struct stats_reader *reader);
const struct stats_entry *stats_reader_entry(const struct stats_reader *reader, uint32_t index);
/* The entry of that name, or NULL. */
const struct stats_entry *stats_reader_find(const struct stats_reader *reader, const char *group, const char *name);

/* Copy all blocks out of the segment. A block that stays in the middle of a publication (its writer died there) keeps
 * its former values. Returns the number of blocks that could not be read: 0 is the usual. */
uint32_t stats_reader_refresh(struct stats_reader *reader);

/* Let the segment go and keep the last values: for a dataplane that died. */
void stats_reader_detach(struct stats_reader *reader);

/* When a block was last published, microseconds of CLOCK_MONOTONIC; 0: never. */
uint64_t stats_reader_published(const struct stats_reader *reader, uint32_t block);

/* Values as of the last refresh. A counter or gauge of one worker (or global, `worker` ignored), its sum over all
 * workers, and a histogram of all workers merged. */
uint64_t stats_reader_value(const struct stats_reader *reader, const struct stats_entry *entry, uint32_t worker);
uint64_t stats_reader_sum(const struct stats_reader *reader, const struct stats_entry *entry);
void stats_reader_histogram(const struct stats_reader *reader, const struct stats_entry *entry,
                            struct histogram *merged);
/* A histogram of one worker, as of the last refresh; NULL when the entry is none or the worker is not there. */
const struct histogram *stats_reader_histogram_of(const struct stats_reader *reader, const struct stats_entry *entry,
                                                  uint32_t worker);

#endif

/* What the statistics segment looks like in memory.
 *
 * Private to lib/stats: the builder writes it, the reader checks it. Any change raises SHM_LAYOUT_VERSION. */
#ifndef POLLUX_STATS_LAYOUT_H
#define POLLUX_STATS_LAYOUT_H

#include "lib/stats/stats.h"

/* Follows the shm_segment_header; written once, before the segment is shown to anyone. */
struct stats_header {
    uint32_t definition_count;
    uint32_t workers;
    uint32_t words[2];    /* of a worker's block, of the global block */
    uint64_t first_block; /* bytes from the start of the segment, on a cache line */
    uint64_t stride;      /* bytes from a worker's block to the next; the global one follows the last */
    uint64_t reserved[4];
};

/* One definition; texts end with NUL inside their array. */
struct stats_record {
    char group[STATS_GROUP_SIZE];
    char name[STATS_NAME_SIZE];
    char unit[STATS_UNIT_SIZE];
    char help[STATS_HELP_SIZE];
    uint32_t kind;
    uint32_t scope;
    uint32_t offset; /* words */
    uint32_t words;
};

/* A block of one writer. The generation is odd while the writer is inside. */
struct stats_block {
    uint64_t generation;
    uint64_t published; /* microseconds, monotonic; 0: never */
    uint64_t reserved[6];
    uint64_t values[];
};

_Static_assert(sizeof(struct stats_header) == 64, "the header fills a cache line");
_Static_assert(sizeof(struct stats_record) == 248, "no padding in a record");
_Static_assert(sizeof(struct stats_block) == 64, "values start on a cache line");

/* Index of a scope in the words[2] arrays. */
static inline uint32_t stats_scope_index(enum stats_scope scope)
{
    return scope == STATS_GLOBAL;
}

static inline uint64_t stats_block_size(uint32_t words)
{
    return (sizeof(struct stats_block) + (uint64_t)words * 8 + 63) & ~UINT64_C(63);
}

#endif

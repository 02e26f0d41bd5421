/*
 * Filters and what matches them: the one index that serves the shared and the private tables.
 *
 * Job:     filter -> struct topic_entry with a payload of the caller's size; all entries whose filter matches a topic.
 * Callers: lib/topic's shared.c and subscribers.c; anything else that maps filters (access rules, bridges).
 * Threads: one writer. Any number of concurrent readers, if the retire hook defers freeing until readers have left
 *          (topic_reclaim_retire); a table that only its writer reads may free at once.
 * Owner:   entries belong to the index; a pointer stays good until the filter is removed (for readers of a shared
 * table: until their next quiescent state).
 *
 * Structure
 *   - Filters without wildcard: a hash of the whole filter (SipHash-1-3, 128-bit seed: clients cannot steer it).
 *   - Filters with wildcard: a trie flattened into one hash, (parent, level) -> node. '+' and '#' hang directly on the
 *     node. A match visits the nodes that exist and agree with the topic, no others: at most two ways out of each node
 *     ('+' and the literal), iteratively, with a stack of one slot a level.
 *   - Both hashes grow by linear hashing, one bucket per insertion, in segments of 16 KiB: no insertion ever rehashes
 * the table, and readers see each entry throughout (hash_table.h has the proof). Why not liburcu's cds_lfht: it
 * allocates with malloc, on a resize thread of its own (0.13 has no allocator hook), which a worker must not; and it
 * would need the same calls to be made differently for private tables. One small table serves both.
 *
 * REQ comments stand in index.c beside the lines that meet them.
 */
#ifndef POLLUX_LIB_TOPIC_INDEX_H
#define POLLUX_LIB_TOPIC_INDEX_H

#include "lib/mem/allocator.h"
#include "lib/topic/name.h"
#include "lib/topic/outline.h"

#include <stdbool.h>
#include <stdint.h>

struct topic_index;
struct topic_node;

/* A filter in an index. The payload follows, then the filter's text. 8 bytes. */
struct topic_entry {
    uint32_t hash;    /* low bits of the hash of the filter */
    uint16_t length;  /* bytes of the filter */
    uint8_t payload;  /* bytes of payload / 8 */
    uint8_t wildcard; /* the filter has '+' or '#' */
};

static inline void *topic_entry_payload(const struct topic_entry *entry)
{
    return (void *)(uintptr_t)(entry + 1);
}

static inline const char *topic_entry_filter(const struct topic_entry *entry)
{
    return (const char *)(entry + 1) + (size_t)entry->payload * 8;
}

struct topic_index_config {
    struct topic_seed seed;
    struct mem_allocator allocator;
    /* What to do with an unlinked object. NULL: allocator.free at once (private table). */
    void (*retire)(void *arg, void *object, size_t size);
    void *retire_arg;
    uint32_t filters_max;  /* bound on filters; sizes the directories (about 1 B a filter) */
    uint16_t payload_size; /* bytes, a multiple of 8, up to 2,040; cleared when an entry is made */
};

/* Entries that matched, in no order. Keep one a thread and reuse it: it grows through the allocator and stays. */
struct topic_matches {
    struct topic_entry **entries;
    uint32_t count;
    uint32_t capacity;
    uint32_t visited; /* trie nodes looked at by the last match: the cost that wildcard filters made */
    struct mem_allocator allocator;
};

/* NULL without memory. */
struct topic_index *topic_index_create(const struct topic_index_config *config);

/* No reader may be left. Frees all entries without calling retire. */
void topic_index_destroy(struct topic_index *index);

/* Find the filter or add it; *created says which. NULL with *status TOPIC_FULL or TOPIC_NO_MEMORY. Writer only. */
struct topic_entry *topic_index_add(struct topic_index *index, const struct topic_filter_name *filter, bool *created,
                                    enum topic_status *status);

/* Find a filter, character by character (no matching). Writer or reader. */
struct topic_entry *topic_index_find(const struct topic_index *index, const struct topic_filter_name *filter);

/* Take an entry out and retire it, with the trie nodes that nothing needs any more. Writer only. */
void topic_index_remove(struct topic_index *index, struct topic_entry *entry);

/* Most objects that one add or remove can retire: what a bounded retire hook must have room for. */
uint32_t topic_index_retire_max(const struct topic_index *index);

/* What is to be matched, and where to put what is found. */
struct topic_search {
    const struct topic_index *index;
    struct topic_name *name;       /* prepared with the index's seed */
    struct topic_matches *matches; /* appended to */
    bool complete;                 /* out: false when the list could not grow; what was found so far is in it */
};

/* Searches that one call takes at most. */
#define TOPIC_SEARCHES_MAX 16u

/*
 * Append every entry whose filter matches, in each of the searches. Whoever has several tables to search, or several
 * names, does so in one call: they are walked together, so that memory is waited for once and not once a search.
 */
void topic_index_match(struct topic_search *searches, uint32_t count);

/* What decides about topics of the stripe, here. Any reader. */
topic_outline topic_index_outline(const struct topic_index *index, unsigned stripe);

/* Number of filters, and of those with wildcards. */
uint32_t topic_index_count(const struct topic_index *index);
uint32_t topic_index_wildcards(const struct topic_index *index);

/* Visit all entries (order undefined). `visit` must not change the index. Writer only. */
void topic_index_each(const struct topic_index *index, void (*visit)(void *arg, struct topic_entry *entry), void *arg);

void topic_matches_init(struct topic_matches *matches, struct mem_allocator allocator);
void topic_matches_free(struct topic_matches *matches);
bool topic_matches_append(struct topic_matches *matches, struct topic_entry *entry);

#endif

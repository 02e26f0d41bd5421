/* The reading side of the statistics segment: see stats/stats.h.
 *
 * Everything that decides where to read (counts, offsets, sizes) is copied and checked at attach and taken from the
 * copy for ever after. Values are only figures: a writer that lies about them shows wrong figures and does no other
 * harm. */
#include "lib/stats/stats.h"

#include <stdlib.h>
#include <string.h>

#include "lib/stats/layout.h"

#define COPY_ATTEMPTS 100 /* a publication takes microseconds: more means that its writer is gone or stopped */

struct stats_reader {
    struct shm_segment segment; /* closed after stats_reader_detach */
    struct stats_header header;
    struct stats_entry *entries;
    uint64_t *values;  /* all blocks, worker after worker, the global one last */
    uint64_t *scratch; /* one block */
    uint64_t published[STATS_WORKERS_MAX + 1];
};

static int header_check(const struct stats_header *header, size_t size, struct shm_error *error)
{
    uint64_t definitions_end = sizeof(struct shm_segment_header) + sizeof *header +
                               (uint64_t)header->definition_count * sizeof(struct stats_record);
    bool counts = header->definition_count <= STATS_DEFINITIONS_MAX && header->workers >= 1 &&
                  header->workers <= STATS_WORKERS_MAX && header->words[0] <= STATS_WORDS_MAX &&
                  header->words[1] <= STATS_WORDS_MAX;
    /* The counts bound every term below, so no sum can wrap once first_block itself is bounded. */
    if (!counts || header->first_block % 64 != 0 || header->first_block < definitions_end ||
        header->first_block > size || header->stride != stats_block_size(header->words[0]) ||
        header->first_block + header->workers * header->stride + stats_block_size(header->words[1]) > size)
        return shm_error_set(error, "statistics: the segment's header does not fit its %zu bytes", size);
    return 0;
}

static bool text_valid(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == 0 || length == size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

static int record_check(const struct stats_record *record, const struct stats_header *header, struct shm_error *error)
{
    if (!text_valid(record->group, sizeof record->group) || !text_valid(record->name, sizeof record->name) ||
        !text_valid(record->unit, sizeof record->unit) || !text_valid(record->help, sizeof record->help))
        return shm_error_set(error, "statistics: a definition's text is not terminated or not printable");
    if (record->kind < STATS_COUNTER || record->kind > STATS_HISTOGRAM || record->scope < STATS_WORKER ||
        record->scope > STATS_GLOBAL)
        return shm_error_set(error, "statistics %s.%s: unknown kind or scope", record->group, record->name);
    uint32_t words = header->words[stats_scope_index((enum stats_scope)record->scope)];
    uint32_t expected = record->kind == STATS_HISTOGRAM ? HISTOGRAM_WORDS : 1;
    if (record->words != expected || record->offset > words || record->words > words - record->offset)
        return shm_error_set(error, "statistics %s.%s: its values lie outside of the block", record->group,
                             record->name);
    return 0;
}

/* Each record is copied first and checked in the copy: the writer may change it at any moment. */
static int copy_entries(struct stats_reader *reader, struct shm_error *error)
{
    const struct stats_record *records =
        (const struct stats_record *)((const uint8_t *)reader->segment.base + sizeof(struct shm_segment_header) +
                                      sizeof(struct stats_header));
    for (uint32_t i = 0; i < reader->header.definition_count; i++) {
        struct stats_record record;
        memcpy(&record, &records[i], sizeof record);
        if (record_check(&record, &reader->header, error) != 0)
            return -1;
        struct stats_entry *entry = &reader->entries[i];
        memcpy(entry->group, record.group, sizeof entry->group);
        memcpy(entry->name, record.name, sizeof entry->name);
        memcpy(entry->unit, record.unit, sizeof entry->unit);
        memcpy(entry->help, record.help, sizeof entry->help);
        entry->kind = (enum stats_kind)record.kind;
        entry->scope = (enum stats_scope)record.scope;
        entry->offset = record.offset;
        entry->words = record.words;
    }
    return 0;
}

static int allocate(struct stats_reader *reader, struct shm_error *error)
{
    const struct stats_header *header = &reader->header;
    size_t largest = header->words[0] > header->words[1] ? header->words[0] : header->words[1];
    size_t all = (size_t)header->workers * header->words[0] + header->words[1];
    reader->entries = calloc(header->definition_count + 1, sizeof *reader->entries);
    reader->values = calloc(all + 1, sizeof *reader->values);
    reader->scratch = calloc(largest + 1, sizeof *reader->scratch);
    if (!reader->entries || !reader->values || !reader->scratch)
        return shm_error_set(error, "statistics: no memory for %zu values", all);
    return 0;
}

struct stats_reader *stats_reader_attach(int fd, struct shm_error *error)
{
    struct shm_segment segment;
    size_t minimum = sizeof(struct shm_segment_header) + sizeof(struct stats_header);
    if (shm_segment_attach(&segment, fd, SHM_SEGMENT_STATISTICS, minimum, false, error) != 0)
        return NULL;
    struct stats_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        shm_error_set(error, "statistics: no memory");
        shm_segment_close(&segment);
        return NULL;
    }
    reader->segment = segment;
    memcpy(&reader->header, (const uint8_t *)segment.base + sizeof(struct shm_segment_header), sizeof reader->header);
    if (header_check(&reader->header, segment.size, error) != 0 || allocate(reader, error) != 0 ||
        copy_entries(reader, error) != 0) {
        stats_reader_free(reader);
        return NULL;
    }
    stats_reader_refresh(reader);
    return reader;
}

void stats_reader_free(struct stats_reader *reader)
{
    if (!reader)
        return;
    shm_segment_close(&reader->segment);
    free(reader->entries);
    free(reader->values);
    free(reader->scratch);
    free(reader);
}

void stats_reader_detach(struct stats_reader *reader)
{
    stats_reader_refresh(reader);
    shm_segment_close(&reader->segment);
}

uint32_t stats_reader_workers(const struct stats_reader *reader)
{
    return reader->header.workers;
}

uint32_t stats_reader_count(const struct stats_reader *reader)
{
    return reader->header.definition_count;
}

const struct stats_entry *stats_reader_entry(const struct stats_reader *reader, uint32_t index)
{
    return index < reader->header.definition_count ? &reader->entries[index] : NULL;
}

const struct stats_entry *stats_reader_find(const struct stats_reader *reader, const char *group, const char *name)
{
    for (uint32_t i = 0; i < reader->header.definition_count; i++)
        if (strcmp(reader->entries[i].group, group) == 0 && strcmp(reader->entries[i].name, name) == 0)
            return &reader->entries[i];
    return NULL;
}

/* One attempt at a consistent copy: the generation is even and the same before and after. */
static bool copy_block(const struct stats_block *block, uint64_t *values, uint32_t words, uint64_t *published)
{
    /* Pairs with the release store in stats_publish_end. */
    uint64_t before = __atomic_load_n(&block->generation, __ATOMIC_ACQUIRE);
    if (before & 1)
        return false;
    for (uint32_t i = 0; i < words; i++)
        values[i] = __atomic_load_n(&block->values[i], __ATOMIC_RELAXED);
    *published = __atomic_load_n(&block->published, __ATOMIC_RELAXED);
    /* The loads above stay above: pairs with the release fence in stats_publish_begin. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&block->generation, __ATOMIC_RELAXED) == before;
}

static uint64_t *values_of(const struct stats_reader *reader, uint32_t index)
{
    return reader->values + (size_t)index * reader->header.words[0];
}

/* Copied into scratch memory first, so that a block that never settles keeps its former values. */
static bool refresh_block(struct stats_reader *reader, uint32_t index)
{
    uint32_t words = reader->header.words[index == reader->header.workers];
    const struct stats_block *block =
        (const struct stats_block *)((const uint8_t *)reader->segment.base + reader->header.first_block +
                                     index * reader->header.stride);
    for (uint32_t attempt = 0; attempt < COPY_ATTEMPTS; attempt++) {
        uint64_t published = 0;
        if (!copy_block(block, reader->scratch, words, &published))
            continue;
        memcpy(values_of(reader, index), reader->scratch, words * sizeof(uint64_t));
        reader->published[index] = published;
        return true;
    }
    return false;
}

uint32_t stats_reader_refresh(struct stats_reader *reader)
{
    uint32_t failed = 0;
    if (!reader->segment.base)
        return 0;
    for (uint32_t index = 0; index <= reader->header.workers; index++)
        failed += !refresh_block(reader, index);
    return failed;
}

uint64_t stats_reader_published(const struct stats_reader *reader, uint32_t block)
{
    uint32_t index = block < reader->header.workers ? block : reader->header.workers;
    return reader->published[index];
}

uint64_t stats_reader_value(const struct stats_reader *reader, const struct stats_entry *entry, uint32_t worker)
{
    uint32_t index = entry->scope == STATS_GLOBAL ? reader->header.workers : worker;
    return index <= reader->header.workers ? values_of(reader, index)[entry->offset] : 0;
}

uint64_t stats_reader_sum(const struct stats_reader *reader, const struct stats_entry *entry)
{
    if (entry->scope == STATS_GLOBAL)
        return stats_reader_value(reader, entry, 0);
    uint64_t sum = 0;
    for (uint32_t worker = 0; worker < reader->header.workers; worker++)
        sum += stats_reader_value(reader, entry, worker);
    return sum;
}

void stats_reader_histogram(const struct stats_reader *reader, const struct stats_entry *entry,
                            struct histogram *merged)
{
    memset(merged, 0, sizeof *merged);
    if (entry->kind != STATS_HISTOGRAM)
        return;
    uint32_t first = entry->scope == STATS_GLOBAL ? reader->header.workers : 0;
    uint32_t last = entry->scope == STATS_GLOBAL ? reader->header.workers : reader->header.workers - 1;
    for (uint32_t index = first; index <= last; index++)
        histogram_merge(merged, (const struct histogram *)(values_of(reader, index) + entry->offset));
}

const struct histogram *stats_reader_histogram_of(const struct stats_reader *reader, const struct stats_entry *entry,
                                                  uint32_t worker)
{
    if (entry->kind != STATS_HISTOGRAM || entry->scope != STATS_WORKER || worker >= reader->header.workers)
        return NULL;
    return (const struct histogram *)(values_of(reader, worker) + entry->offset);
}

/* The writing side of the statistics segment: see stats/stats.h. */
#include "lib/stats/stats.h"

#include <stdlib.h>
#include <string.h>

#include "lib/stats/layout.h"

struct stats_builder {
    struct stats_record *records;
    uint32_t count;
    uint32_t room;
    uint32_t words[2];
};

struct stats_builder *stats_builder_create(void)
{
    return calloc(1, sizeof(struct stats_builder));
}

void stats_builder_free(struct stats_builder *builder)
{
    if (!builder)
        return;
    free(builder->records);
    free(builder);
}

/* Copy a text that must be there, fit and be printable; names also lower case. */
static bool text_take(char *to, size_t size, const char *from, bool is_name)
{
    size_t length = from ? strnlen(from, size) : 0;
    if (length == 0 || length == size)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = from[i];
        bool name_character = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (is_name ? !name_character : (c < 0x20 || c > 0x7e))
            return false;
    }
    memcpy(to, from, length);
    return true;
}

/* Names are looked up by readers for years: two of one name would be a riddle. Start-up only, so a linear search. */
static bool taken(const struct stats_builder *builder, const struct stats_record *record)
{
    for (uint32_t i = 0; i < builder->count; i++)
        if (strcmp(builder->records[i].group, record->group) == 0 &&
            strcmp(builder->records[i].name, record->name) == 0)
            return true;
    return false;
}

static bool make_room(struct stats_builder *builder)
{
    if (builder->count < builder->room)
        return true;
    uint32_t room = builder->room ? builder->room * 2 : 64;
    struct stats_record *records = realloc(builder->records, room * sizeof *records);
    if (!records)
        return false;
    builder->records = records;
    builder->room = room;
    return true;
}

static int add_one(struct stats_builder *builder, enum stats_scope scope, const char *group,
                   const struct stats_definition *definition, struct shm_error *error)
{
    struct stats_record record = {.kind = definition->kind, .scope = scope};
    uint32_t *words = &builder->words[stats_scope_index(scope)];
    record.offset = *words;
    record.words = definition->kind == STATS_HISTOGRAM ? HISTOGRAM_WORDS : 1;
    const char *shown = definition->name ? definition->name : "(no name)";
    if (!text_take(record.group, sizeof record.group, group, true) ||
        !text_take(record.name, sizeof record.name, definition->name, true) ||
        !text_take(record.unit, sizeof record.unit, definition->unit, false) ||
        !text_take(record.help, sizeof record.help, definition->help, false))
        return shm_error_set(error, "statistics %s.%s: a text is missing, too long or not plain", group ? group : "",
                             shown);
    if (taken(builder, &record))
        return shm_error_set(error, "statistics %s.%s: defined twice", group, shown);
    if (builder->count == STATS_DEFINITIONS_MAX || *words + record.words > STATS_WORDS_MAX || !make_room(builder))
        return shm_error_set(error, "statistics %s.%s: no room", group, shown);
    builder->records[builder->count++] = record;
    *words += record.words;
    return 0;
}

int stats_builder_add(struct stats_builder *builder, enum stats_scope scope, const char *group,
                      const struct stats_definition *definitions, uint32_t count, struct shm_error *error)
{
    int offset = (int)builder->words[stats_scope_index(scope)];
    for (uint32_t i = 0; i < count; i++)
        if (add_one(builder, scope, group, &definitions[i], error) != 0)
            return -1;
    return offset;
}

/* The order of the parts is the picture in stats/stats.h; each block starts on a cache line of its own. */
static int create_segment(const struct stats_builder *builder, uint32_t workers, struct stats_segment *segment,
                          struct shm_error *error)
{
    if (workers == 0 || workers > STATS_WORKERS_MAX)
        return shm_error_set(error, "statistics: %u workers, allowed are 1..%u", workers, STATS_WORKERS_MAX);
    uint64_t definitions = (uint64_t)builder->count * sizeof(struct stats_record);
    struct stats_header header = {.definition_count = builder->count,
                                  .workers = workers,
                                  .words = {builder->words[0], builder->words[1]},
                                  .stride = stats_block_size(builder->words[0])};
    header.first_block = (sizeof(struct shm_segment_header) + sizeof header + definitions + 63) & ~UINT64_C(63);
    uint64_t size = header.first_block + workers * header.stride + stats_block_size(builder->words[1]);
    if (shm_segment_create(&segment->segment, "pollux-statistics", SHM_SEGMENT_STATISTICS, size, true, error) != 0)
        return -1;
    uint8_t *at = (uint8_t *)segment->segment.base + sizeof(struct shm_segment_header);
    memcpy(at, &header, sizeof header);
    if (definitions)
        memcpy(at + sizeof header, builder->records, definitions);
    segment->workers = workers;
    memcpy(segment->words, header.words, sizeof segment->words);
    segment->first_block = header.first_block;
    segment->stride = header.stride;
    return 0;
}

int stats_builder_finish(struct stats_builder *builder, uint32_t workers, struct stats_segment *segment,
                         struct shm_error *error)
{
    *segment = (struct stats_segment){.segment = SHM_SEGMENT_CLOSED};
    int result = create_segment(builder, workers, segment, error);
    stats_builder_free(builder);
    return result;
}

void stats_segment_close(struct stats_segment *segment)
{
    shm_segment_close(&segment->segment);
}

static struct stats_block *block_of(struct stats_segment *segment, uint32_t block)
{
    uint32_t index = block == STATS_BLOCK_GLOBAL ? segment->workers : block;
    return (struct stats_block *)((uint8_t *)segment->segment.base + segment->first_block + index * segment->stride);
}

void stats_publish_begin(struct stats_segment *segment, uint32_t block)
{
    struct stats_block *to = block_of(segment, block);
    __atomic_store_n(&to->generation, to->generation + 1, __ATOMIC_RELAXED);
    /* No value may be stored before the odd generation is: pairs with the acquire fence in the reader's copy. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

void stats_publish(struct stats_segment *segment, uint32_t block, uint32_t offset, const uint64_t *values,
                   uint32_t words)
{
    uint64_t *to = block_of(segment, block)->values + offset;
    for (uint32_t i = 0; i < words; i++)
        __atomic_store_n(&to[i], values[i], __ATOMIC_RELAXED);
}

void stats_publish_end(struct stats_segment *segment, uint32_t block, uint64_t now)
{
    struct stats_block *to = block_of(segment, block);
    __atomic_store_n(&to->published, now, __ATOMIC_RELAXED);
    /* All values are there once the even generation is: pairs with the acquire load in the reader. */
    __atomic_store_n(&to->generation, to->generation + 1, __ATOMIC_RELEASE);
}

/*
 * Region memory: see mem.h for the contract.
 *
 * Layout of the range: struct mem_region, then one struct mem_page for each page that is handed out, then the pages.
 * A page record has a meaning only at the first page of a block; inner pages of slabs point back to it. Free objects of
 * a slab are linked through their first two bytes, in units of 16 B from the start of the slab.
 */
#include "lib/mem/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define MEM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_ASAN 1
#endif
#endif
#ifdef MEM_ASAN
#include <sanitizer/asan_interface.h>
#define MEM_POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define MEM_UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#define MEM_UNCHECKED __attribute__((no_sanitize("address"), noinline))
#else
#define MEM_POISON(address, size) ((void)0)
#define MEM_UNPOISON(address, size) ((void)0)
#define MEM_UNCHECKED inline
#endif

#define MEM_PAGE_SHIFT 12
#define MEM_ORDERS 33
#define MEM_NONE UINT32_MAX
#define MEM_UNIT 16u
#define MEM_LIST_END UINT16_MAX
#define MEM_PAGES_MIN 16u

enum mem_page_kind {
    MEM_INNER = 0, /* not the first page of anything */
    MEM_FREE,      /* first page of a free block, on the list of its order */
    MEM_BLOCK,     /* first page of an allocated block */
    MEM_SLAB,      /* first page of a slab */
    MEM_SLAB_REST, /* later page of a slab: `next` is its first page */
};

struct mem_page {
    uint32_t prev; /* neighbours on the list of free blocks of an order or of slabs with room of a class */
    uint32_t next;
    uint16_t free_first; /* slab: first free object, in units; MEM_LIST_END: none */
    uint16_t fresh;      /* slab: from this unit on, objects were never handed out */
    uint16_t used;       /* slab: objects handed out */
    uint8_t kind;
    uint8_t order_or_class;
};

struct mem_class {
    uint16_t size;
    uint8_t order;     /* pages of a slab, log2 */
    uint16_t capacity; /* objects in a slab */
    uint16_t limit;    /* unit after the last object */
};

#define MEM_CLASS(bytes, slab_order)                                                                   \
    {                                                                                                  \
        .size = (bytes), .order = (slab_order), .capacity = (MEM_PAGE_SIZE << (slab_order)) / (bytes), \
        .limit = (MEM_PAGE_SIZE << (slab_order)) / (bytes) * ((bytes) / MEM_UNIT)                      \
    }

/* Small objects fill a page; from 320 B on a slab is 16 KiB, so that no class wastes more than a sixteenth of it. */
static const struct mem_class mem_classes[MEM_CLASS_COUNT] = {
    MEM_CLASS(16, 0),  MEM_CLASS(32, 0),   MEM_CLASS(48, 0),   MEM_CLASS(64, 0),   MEM_CLASS(80, 0),
    MEM_CLASS(96, 0),  MEM_CLASS(128, 0),  MEM_CLASS(144, 0),  MEM_CLASS(160, 0),  MEM_CLASS(192, 0),
    MEM_CLASS(256, 0), MEM_CLASS(320, 2),  MEM_CLASS(384, 2),  MEM_CLASS(512, 2),  MEM_CLASS(640, 2),
    MEM_CLASS(768, 2), MEM_CLASS(1024, 2), MEM_CLASS(1280, 2), MEM_CLASS(1536, 2), MEM_CLASS(2048, 2),
};

struct mem_region {
    uint8_t *pages;       /* first page that is handed out */
    struct mem_page *map; /* a record for each */
    uint32_t page_count;
    uint64_t free_orders; /* bit n: there is a free block of 2^n pages */
    uint32_t free_blocks[MEM_ORDERS];
    uint32_t partial[MEM_CLASS_COUNT]; /* slabs with room */
    uint32_t spare[MEM_CLASS_COUNT];   /* an empty slab kept (it is on `partial` too) */
    uint32_t class_objects[MEM_CLASS_COUNT];
    uint32_t class_slabs[MEM_CLASS_COUNT];
    uint8_t class_of[MEM_SLAB_MAX / MEM_UNIT + 1];
    size_t used;
    size_t used_max;
    size_t committed;
    uint64_t blocks;
    uint64_t allocations;
    uint64_t failures;
    uint64_t misuses;
    mem_misuse_handler *misuse;
    void *misuse_arg;
    void *range;
    size_t range_size;
};

static inline uint8_t *page_address(const struct mem_region *region, uint32_t page)
{
    return region->pages + ((size_t)page << MEM_PAGE_SHIFT);
}

/* ---- buddy blocks ---- */

static void block_insert(struct mem_region *region, uint32_t page, unsigned order)
{
    struct mem_page *record = &region->map[page];
    record->kind = MEM_FREE;
    record->order_or_class = (uint8_t)order;
    record->prev = MEM_NONE;
    record->next = region->free_blocks[order];
    if (record->next != MEM_NONE) {
        region->map[record->next].prev = page;
    }
    region->free_blocks[order] = page;
    region->free_orders |= 1ull << order;
}

static void block_unlink(struct mem_region *region, uint32_t page)
{
    struct mem_page *record = &region->map[page];
    unsigned order = record->order_or_class;
    if (record->prev != MEM_NONE) {
        region->map[record->prev].next = record->next;
    } else {
        region->free_blocks[order] = record->next;
    }
    if (record->next != MEM_NONE) {
        region->map[record->next].prev = record->prev;
    }
    if (region->free_blocks[order] == MEM_NONE) {
        region->free_orders &= ~(1ull << order);
    }
    record->kind = MEM_INNER;
}

/* First page of a block of 2^order pages, MEM_NONE when there is none. Larger blocks are split from the low end. */
static uint32_t block_take(struct mem_region *region, unsigned order)
{
    uint64_t fitting = region->free_orders >> order << order;
    if (order >= MEM_ORDERS || fitting == 0) {
        return MEM_NONE;
    }
    unsigned from = (unsigned)__builtin_ctzll(fitting);
    uint32_t page = region->free_blocks[from];
    block_unlink(region, page);
    while (from > order) {
        from--;
        block_insert(region, page + (1u << from), from);
    }
    region->committed += (size_t)MEM_PAGE_SIZE << order;
    return page;
}

static void block_give(struct mem_region *region, uint32_t page, unsigned order)
{
    region->map[page].kind = MEM_INNER;
    region->committed -= (size_t)MEM_PAGE_SIZE << order;
    for (; order + 1 < MEM_ORDERS; order++) {
        uint64_t buddy = page ^ (1ull << order);
        if (buddy + (1ull << order) > region->page_count) {
            break;
        }
        struct mem_page *record = &region->map[buddy];
        if (record->kind != MEM_FREE || record->order_or_class != order) {
            break;
        }
        block_unlink(region, (uint32_t)buddy);
        page &= ~(1u << order);
    }
    block_insert(region, page, order);
}

/* Cut the pages into the largest aligned blocks. */
static void blocks_lay_out(struct mem_region *region)
{
    uint32_t page = 0;
    while (page < region->page_count) {
        unsigned order = page == 0 ? 31 : (unsigned)__builtin_ctz(page);
        while ((1ull << order) > region->page_count - page) {
            order--;
        }
        block_insert(region, page, order);
        page += 1u << order;
    }
}

/* ---- slabs ---- */

static void slab_link(struct mem_region *region, uint32_t slab, unsigned class)
{
    struct mem_page *record = &region->map[slab];
    record->prev = MEM_NONE;
    record->next = region->partial[class];
    if (record->next != MEM_NONE) {
        region->map[record->next].prev = slab;
    }
    region->partial[class] = slab;
}

static void slab_unlink(struct mem_region *region, uint32_t slab, unsigned class)
{
    struct mem_page *record = &region->map[slab];
    if (record->prev != MEM_NONE) {
        region->map[record->prev].next = record->next;
    } else {
        region->partial[class] = record->next;
    }
    if (record->next != MEM_NONE) {
        region->map[record->next].prev = record->prev;
    }
}

static uint32_t slab_create(struct mem_region *region, unsigned class)
{
    unsigned order = mem_classes[class].order;
    uint32_t slab = block_take(region, order);
    if (slab == MEM_NONE) {
        return MEM_NONE;
    }
    region->map[slab] = (struct mem_page){.free_first = MEM_LIST_END, .kind = MEM_SLAB, .order_or_class = class};
    for (uint32_t page = slab + 1; page < slab + (1u << order); page++) {
        region->map[page] = (struct mem_page){.next = slab, .kind = MEM_SLAB_REST};
    }
    slab_link(region, slab, class);
    region->class_slabs[class]++;
    return slab;
}

static void slab_destroy(struct mem_region *region, uint32_t slab, unsigned class)
{
    unsigned order = mem_classes[class].order;
    slab_unlink(region, slab, class);
    for (uint32_t page = slab; page < slab + (1u << order); page++) {
        region->map[page].kind = MEM_INNER;
    }
    region->class_slabs[class]--;
    block_give(region, slab, order);
}

/* Give the spare slabs back: the buddy allocator has nothing left that fits. */
static bool slabs_trim(struct mem_region *region)
{
    bool trimmed = false;
    for (unsigned class = 0; class < MEM_CLASS_COUNT; class ++) {
        if (region->spare[class] != MEM_NONE) {
            slab_destroy(region, region->spare[class], class);
            region->spare[class] = MEM_NONE;
            trimmed = true;
        }
    }
    return trimmed;
}

/* The links live in poisoned memory, so these two are outside the sanitizer's sight. */
static MEM_UNCHECKED uint16_t link_read(const uint8_t *object)
{
    return *(const uint16_t *)object;
}

static MEM_UNCHECKED void link_write(uint8_t *object, uint16_t link)
{
    *(uint16_t *)object = link;
}

static void *slab_alloc(struct mem_region *region, unsigned class)
{
    const struct mem_class *layout = &mem_classes[class];
    uint32_t slab = region->partial[class];
    if (__builtin_expect(slab == MEM_NONE, 0)) {
        slab = slab_create(region, class);
        if (slab == MEM_NONE) {
            slab = slabs_trim(region) ? slab_create(region, class) : MEM_NONE;
        }
        if (slab == MEM_NONE) {
            return NULL;
        }
    }
    struct mem_page *record = &region->map[slab];
    uint8_t *object;
    if (record->free_first != MEM_LIST_END) {
        object = page_address(region, slab) + (size_t)record->free_first * MEM_UNIT;
        record->free_first = link_read(object);
    } else {
        object = page_address(region, slab) + (size_t)record->fresh * MEM_UNIT;
        record->fresh += layout->size / MEM_UNIT;
    }
    if (region->spare[class] == slab) {
        region->spare[class] = MEM_NONE;
    }
    if (++record->used == layout->capacity) {
        slab_unlink(region, slab, class);
    }
    region->class_objects[class]++;
    region->used += layout->size;
    MEM_UNPOISON(object, layout->size);
    return object;
}

static void slab_free(struct mem_region *region, uint32_t slab, uint8_t *object)
{
    struct mem_page *record = &region->map[slab];
    unsigned class = record->order_or_class;
    const struct mem_class *layout = &mem_classes[class];
    link_write(object, record->free_first);
    record->free_first = (uint16_t)((size_t)(object - page_address(region, slab)) / MEM_UNIT);
    MEM_POISON(object, layout->size);
    region->class_objects[class]--;
    region->used -= layout->size;
    if (record->used-- == layout->capacity) {
        slab_link(region, slab, class);
    }
    if (record->used == 0) {
        if (region->spare[class] != MEM_NONE) {
            slab_destroy(region, slab, class);
        } else {
            region->spare[class] = slab;
        }
    }
}

/* ---- finding what a pointer is ---- */

static bool misuse(struct mem_region *region, const char *reason, const void *pointer)
{
    region->misuses++;
    if (region->misuse != NULL) {
        region->misuse(region->misuse_arg, reason, pointer);
    } else {
        assert(!"mem: double free or foreign pointer");
    }
    return false;
}

#ifndef NDEBUG
/* Is the object on its slab's free list? A walk over one slab: builds with assertions only. */
static bool slab_object_is_free(const struct mem_region *region, uint32_t slab, uint16_t unit)
{
    const struct mem_page *record = &region->map[slab];
    if (unit >= record->fresh) {
        return true;
    }
    for (uint16_t at = record->free_first; at != MEM_LIST_END;
         at = link_read(page_address(region, slab) + (size_t)at * MEM_UNIT)) {
        if (at == unit) {
            return true;
        }
    }
    return false;
}
#endif

/* First page of the block or slab that holds the pointer; MEM_NONE when nothing live does. */
static inline uint32_t page_of(const struct mem_region *region, const void *pointer)
{
    size_t offset = (size_t)((const uint8_t *)pointer - region->pages);
    if (offset >= (size_t)region->page_count << MEM_PAGE_SHIFT) {
        return MEM_NONE;
    }
    uint32_t page = (uint32_t)(offset >> MEM_PAGE_SHIFT);
    return region->map[page].kind == MEM_SLAB_REST ? region->map[page].next : page;
}

static const char *slab_pointer_fault(const struct mem_region *region, uint32_t slab, const uint8_t *object)
{
    size_t offset = (size_t)(object - page_address(region, slab));
    if (offset % MEM_UNIT != 0) {
        return "not the start of an object";
    }
#ifndef NDEBUG
    if (offset % mem_classes[region->map[slab].order_or_class].size != 0) {
        return "not the start of an object";
    }
    if (slab_object_is_free(region, slab, (uint16_t)(offset / MEM_UNIT))) {
        return "object is free already";
    }
#endif
    return region->map[slab].used == 0 ? "object is free already" : NULL;
}

/* NULL when the pointer may be freed, the reason otherwise. */
static const char *pointer_fault(const struct mem_region *region, uint32_t page, const void *pointer)
{
    if (page == MEM_NONE) {
        return "pointer outside the region";
    }
    switch (region->map[page].kind) {
    case MEM_SLAB:
        return slab_pointer_fault(region, page, pointer);
    case MEM_BLOCK:
        return pointer == page_address(region, page) ? NULL : "not the start of a block";
    case MEM_FREE:
        return "block is free already";
    default:
        return "not the start of a block";
    }
}

/* ---- public ---- */

static void classes_init(struct mem_region *region)
{
    unsigned class = 0;
    for (unsigned unit = 0; unit <= MEM_SLAB_MAX / MEM_UNIT; unit++) {
        if (unit * MEM_UNIT > mem_classes[class].size) {
            class ++;
        }
        region->class_of[unit] = (uint8_t) class;
    }
    for (class = 0; class < MEM_CLASS_COUNT; class ++) {
        region->partial[class] = MEM_NONE;
        region->spare[class] = MEM_NONE;
    }
}

struct mem_region *mem_region_create(void *base, size_t size)
{
    uintptr_t start = ((uintptr_t)base + MEM_PAGE_SIZE - 1) & ~(uintptr_t)(MEM_PAGE_SIZE - 1);
    uintptr_t end = ((uintptr_t)base + size) & ~(uintptr_t)(MEM_PAGE_SIZE - 1);
    if (base == NULL || end <= start || end < (uintptr_t)base) {
        return NULL;
    }
    size_t total = (end - start) >> MEM_PAGE_SHIFT;
    size_t header = sizeof(struct mem_region) + total * sizeof(struct mem_page);
    size_t header_pages = (header + MEM_PAGE_SIZE - 1) >> MEM_PAGE_SHIFT;
    if (total >= MEM_NONE || total < header_pages + MEM_PAGES_MIN) {
        return NULL;
    }
    struct mem_region *region = (struct mem_region *)start;
    memset(region, 0, header);
    region->range = (void *)start;
    region->range_size = end - start;
    region->map = (struct mem_page *)(region + 1);
    region->pages = (uint8_t *)start + (header_pages << MEM_PAGE_SHIFT);
    region->page_count = (uint32_t)(total - header_pages);
    for (unsigned order = 0; order < MEM_ORDERS; order++) {
        region->free_blocks[order] = MEM_NONE;
    }
    classes_init(region);
    blocks_lay_out(region);
    MEM_POISON(region->pages, (size_t)region->page_count << MEM_PAGE_SHIFT);
    return region;
}

void mem_region_destroy(struct mem_region *region)
{
    if (region != NULL) {
        MEM_UNPOISON(region->range, region->range_size);
    }
}

static void *block_alloc(struct mem_region *region, size_t size)
{
    if (size > (size_t)region->page_count << MEM_PAGE_SHIFT) {
        return NULL;
    }
    size_t pages = (size + MEM_PAGE_SIZE - 1) >> MEM_PAGE_SHIFT;
    unsigned order = pages == 1 ? 0 : 64 - (unsigned)__builtin_clzll(pages - 1);
    uint32_t page = block_take(region, order);
    if (page == MEM_NONE && slabs_trim(region)) {
        page = block_take(region, order);
    }
    if (page == MEM_NONE) {
        return NULL;
    }
    region->map[page] = (struct mem_page){.kind = MEM_BLOCK, .order_or_class = (uint8_t)order};
    region->blocks++;
    region->used += (size_t)MEM_PAGE_SIZE << order;
    MEM_UNPOISON(page_address(region, page), (size_t)MEM_PAGE_SIZE << order);
    return page_address(region, page);
}

void *mem_alloc(struct mem_region *region, size_t size)
{
    if (__builtin_expect(size == 0, 0)) {
        return NULL;
    }
    void *pointer = size <= MEM_SLAB_MAX ? slab_alloc(region, region->class_of[(size + MEM_UNIT - 1) / MEM_UNIT])
                                         : block_alloc(region, size);
    if (__builtin_expect(pointer == NULL, 0)) {
        region->failures++;
        return NULL;
    }
    region->allocations++;
    if (region->used > region->used_max) {
        region->used_max = region->used;
    }
    return pointer;
}

void *mem_alloc_zero(struct mem_region *region, size_t size)
{
    void *pointer = mem_alloc(region, size);
    return pointer == NULL ? NULL : memset(pointer, 0, size);
}

void mem_free(struct mem_region *region, void *pointer)
{
    if (pointer == NULL) {
        return;
    }
    uint32_t page = page_of(region, pointer);
    const char *fault = pointer_fault(region, page, pointer);
    if (__builtin_expect(fault != NULL, 0)) {
        misuse(region, fault, pointer);
        return;
    }
    if (region->map[page].kind == MEM_SLAB) {
        slab_free(region, page, pointer);
        return;
    }
    unsigned order = region->map[page].order_or_class;
    MEM_POISON(pointer, (size_t)MEM_PAGE_SIZE << order);
    region->blocks--;
    region->used -= (size_t)MEM_PAGE_SIZE << order;
    block_give(region, page, order);
}

size_t mem_usable(const struct mem_region *region, const void *pointer)
{
    uint32_t page = page_of(region, pointer);
    if (pointer_fault(region, page, pointer) != NULL) {
        return 0;
    }
    const struct mem_page *record = &region->map[page];
    return record->kind == MEM_SLAB ? mem_classes[record->order_or_class].size
                                    : (size_t)MEM_PAGE_SIZE << record->order_or_class;
}

void *mem_resize(struct mem_region *region, void *pointer, size_t size)
{
    if (pointer == NULL || size == 0) {
        mem_free(region, pointer);
        return mem_alloc(region, size);
    }
    size_t usable = mem_usable(region, pointer);
    if (usable == 0) {
        misuse(region, "resize of what is not a live object", pointer);
        return NULL;
    }
    if (size <= usable && size > usable / 4) {
        return pointer;
    }
    void *moved = mem_alloc(region, size);
    if (moved == NULL) {
        return size <= usable ? pointer : NULL;
    }
    memcpy(moved, pointer, size < usable ? size : usable);
    mem_free(region, pointer);
    return moved;
}

bool mem_contains(const struct mem_region *region, const void *pointer)
{
    return (size_t)((const uint8_t *)pointer - region->pages) < (size_t)region->page_count << MEM_PAGE_SHIFT;
}

void mem_stats(const struct mem_region *region, struct mem_stats *stats)
{
    *stats = (struct mem_stats){
        .capacity = (size_t)region->page_count << MEM_PAGE_SHIFT,
        .used = region->used,
        .used_max = region->used_max,
        .committed = region->committed,
        .objects = region->blocks,
        .allocations = region->allocations,
        .failures = region->failures,
        .misuses = region->misuses,
    };
    if (region->free_orders != 0) {
        stats->largest_free = (size_t)MEM_PAGE_SIZE << (63 - __builtin_clzll(region->free_orders));
    }
    for (unsigned class = 0; class < MEM_CLASS_COUNT; class ++) {
        stats->objects += region->class_objects[class];
        stats->classes[class] = (struct mem_class_stats){
            .size = mem_classes[class].size,
            .objects = region->class_objects[class],
            .slabs = region->class_slabs[class],
        };
    }
}

void mem_region_on_misuse(struct mem_region *region, mem_misuse_handler *handler, void *arg)
{
    region->misuse = handler;
    region->misuse_arg = arg;
}

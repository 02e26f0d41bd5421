/*
 * The two allocators that tables are used with: see allocator.h.
 */
#include "lib/mem/allocator.h"

#include <stdlib.h>

#include "lib/mem/mem.h"

static void *heap_alloc(void *arg, size_t size)
{
    return size % 64 == 0 ? aligned_alloc(64, size) : malloc(size);
}

static void heap_free(void *arg, void *pointer, size_t size)
{
    free(pointer);
}

static void *region_alloc(void *arg, size_t size)
{
    return mem_alloc(arg, size);
}

static void region_free(void *arg, void *pointer, size_t size)
{
    mem_free(arg, pointer);
}

struct mem_allocator mem_allocator_heap(void)
{
    return (struct mem_allocator){.alloc = heap_alloc, .free = heap_free};
}

struct mem_allocator mem_allocator_region(struct mem_region *region)
{
    return (struct mem_allocator){.alloc = region_alloc, .free = region_free, .arg = region};
}

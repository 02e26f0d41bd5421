/*
 * Where a table takes its memory from.
 *
 * Job:     one small interface, so that the same table code runs in a worker's region, in the housekeeper's region or
 *          on the heap.
 * Callers: whoever creates a table. Thread: that of the table's writer; all calls come from there.
 * Owner:   the allocator must outlive the tables made with it; tables copy the struct.
 */
#ifndef POLLUX_LIB_MEM_ALLOCATOR_H
#define POLLUX_LIB_MEM_ALLOCATOR_H

#include <stddef.h>

struct mem_region;

struct mem_allocator {
    void *(*alloc)(void *arg,
                   size_t size); /* not cleared; aligned to 16; 64 when size is a multiple of 64 and a power of two */
    void (*free)(void *arg, void *pointer, size_t size);
    void *arg;
};

/* The C heap. For tools and tests; never for a table that a worker writes to. */
struct mem_allocator mem_allocator_heap(void);

/* A region of lib/mem, owned by the thread that writes the table (a worker, or the housekeeper for the shared table).
 */
struct mem_allocator mem_allocator_region(struct mem_region *region);

#endif

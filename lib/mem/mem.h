/*
 * One thread's bounded memory: buddy blocks and slabs over an address range that the caller gives.
 *
 * Job: serve every allocation of a thread that must not touch the heap (a worker, the housekeeper) out of one range
 * (hugepages or a plain mapping) whose size is the bound that the configuration names. All metadata lies inside the
 * range; nothing here makes a system call, takes a lock or reads a clock.
 *
 * Who calls: any part of the program that runs on the thread which owns the region, and no other thread. Memory that
 * another thread has finished with travels back to its owner first.
 *
 * Who owns the memory: the caller owns the range and unmaps it after the last use of the region; the region owns what
 * is inside.
 *
 * Sizes are bytes. 16 B .. 2 KiB come from slabs (classes in steps of 1.1 to 1.5, listed in mem.c), larger requests
 * from the buddy allocator, rounded up to a power of two times 4 KiB. Alignment: 16 B; a power-of-two class is aligned
 * to its size; from 4 KiB on, 4 KiB. A slab that becomes empty goes back to the buddy allocator (one spare a class is
 * kept, and given back under pressure), so memory shrinks again after a storm.
 *
 * Cost: slab alloc and free O(1), blocks O(log(region / 4 KiB)).
 *
 * Misuse (double free, a pointer that is not the start of a live object) never corrupts the region: it is counted, the
 * call does nothing, and builds with assertions enabled abort unless a handler is set. Under AddressSanitizer free
 * memory is poisoned, so that a use after free is reported where it happens.
 */
#ifndef POLLUX_LIB_MEM_MEM_H
#define POLLUX_LIB_MEM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Granularity of the buddy allocator, bytes. */
#define MEM_PAGE_SIZE 4096u

/* Requests above this are served by the buddy allocator, bytes. */
#define MEM_SLAB_MAX 2048u

/* Number of slab classes. */
#define MEM_CLASS_COUNT 20u

struct mem_region;

struct mem_class_stats {
    uint32_t size;    /* bytes of one object */
    uint32_t objects; /* objects allocated now */
    uint32_t slabs;   /* slabs held for the class, the spare included */
};

struct mem_stats {
    size_t capacity;      /* bytes that can be handed out: the range less metadata */
    size_t used;          /* bytes allocated now, rounded up to class or block size */
    size_t used_max;      /* high water of `used` */
    size_t committed;     /* bytes taken from the buddy allocator: `used` plus the free objects of slabs */
    size_t largest_free;  /* bytes of the largest block that could be allocated now */
    uint64_t objects;     /* slab objects plus blocks allocated now: 0 is what a census at the end of a test expects */
    uint64_t allocations; /* since creation */
    uint64_t failures;    /* allocations refused for lack of memory, since creation */
    uint64_t misuses;     /* wrong frees found and ignored, since creation */
    struct mem_class_stats classes[MEM_CLASS_COUNT];
};

/*
 * Lay a region out over [base, base + size). `base` is aligned up to MEM_PAGE_SIZE. Returns NULL when fewer than 16
 * pages are left after the metadata (16 B a page and one page), or when the range has more than 2^32 - 2 pages. The
 * range's content does not have to be zero; only the metadata is written.
 */
struct mem_region *mem_region_create(void *base, size_t size);

/* Forget the region: unpoisons the whole range. Objects still allocated are the caller's leak (see mem_stats). */
void mem_region_destroy(struct mem_region *region);

/* Memory of at least `size` bytes, not cleared; NULL when there is none (counted) or when size is 0. */
void *mem_alloc(struct mem_region *region, size_t size);

/* As mem_alloc, cleared. Clearing takes about 0.1 us a 4 KiB: mind the size on a poll loop. */
void *mem_alloc_zero(struct mem_region *region, size_t size);

/* Give memory back. NULL is allowed. */
void mem_free(struct mem_region *region, void *pointer);

/* Bytes that may be used at `pointer`: the class or block size. 0 when it is not a live object of the region. */
size_t mem_usable(const struct mem_region *region, const void *pointer);

/*
 * A block of at least `size` bytes with the old content up to the smaller size: the same address when it fits (and at
 * least a quarter of it stays in use), a copy otherwise. NULL when there is no memory: the old block stays valid. As
 * realloc: pointer NULL allocates, size 0 frees.
 */
void *mem_resize(struct mem_region *region, void *pointer, size_t size);

/* True when the address lies in the part of the range that is handed out. */
bool mem_contains(const struct mem_region *region, const void *pointer);

/* A snapshot. O(number of classes). */
void mem_stats(const struct mem_region *region, struct mem_stats *stats);

/*
 * Called on each misuse with a short reason instead of aborting; for tests and for a program that would rather log. The
 * wrong call has no other effect. NULL restores the default.
 */
typedef void mem_misuse_handler(void *arg, const char *reason, const void *pointer);
void mem_region_on_misuse(struct mem_region *region, mem_misuse_handler *handler, void *arg);

#endif

/*
 * What lib/mem costs: ns for alloc and free of slabs and blocks, with the region warm and with many objects live.
 * Usage: bench-mem [rounds]
 */
#include "lib/mem/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define RANGE (512u << 20)
#define LIVE 100000u

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void pair(struct mem_region *region, size_t size, unsigned rounds)
{
    double begin = seconds();
    for (unsigned i = 0; i < rounds; i++) {
        void *p = mem_alloc(region, size);
        __asm__ volatile("" : : "r"(p) : "memory");
        mem_free(region, p);
    }
    printf("alloc+free %8zu B, one at a time      %7.1f ns\n", size, (seconds() - begin) / rounds * 1e9);
}

/* Random objects out of many are replaced: free lists and slabs are as mixed as in a program that runs. */
static void mixed(struct mem_region *region, size_t size, unsigned rounds)
{
    static void *live[LIVE];
    unsigned state = 1;
    for (unsigned i = 0; i < LIVE; i++) {
        live[i] = mem_alloc(region, size);
    }
    double begin = seconds();
    for (unsigned i = 0; i < rounds; i++) {
        state = state * 1664525u + 1013904223u;
        unsigned victim = (unsigned)((uint64_t)state * LIVE >> 32);
        mem_free(region, live[victim]);
        live[victim] = mem_alloc(region, size);
    }
    printf("alloc+free %8zu B, among %u live  %7.1f ns\n", size, LIVE, (seconds() - begin) / rounds * 1e9);
    for (unsigned i = 0; i < LIVE; i++) {
        mem_free(region, live[i]);
    }
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5000000;
    void *range = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(range, RANGE, MADV_HUGEPAGE);
    struct mem_region *region = mem_region_create(range, RANGE);
    size_t sizes[] = {16, 64, 192, 1024, 4096, 65536};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pair(region, sizes[i], rounds);
    }
    mixed(region, 32, rounds);
    mixed(region, 192, rounds);
    return 0;
}

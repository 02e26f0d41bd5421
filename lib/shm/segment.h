/* Shared memory segments: sealed memfds with a header that both ends check.
 *
 * Job: create a segment, pass on nothing but its file descriptor, and attach one that came from a process that is not
 * trusted. The size is sealed (F_SEAL_SHRINK | F_SEAL_GROW), so neither end can make the other fault by truncating it.
 *
 * Who calls: the dataplane's main lcore creates all segments, control attaches them; both at set-up, never on a hot
 * path. Ownership: `struct shm_segment` owns its descriptor and its mapping until shm_segment_close.
 *
 * A segment holds offsets and indices, never addresses: each end maps it where it likes. */
#ifndef POLLUX_SHM_SEGMENT_H
#define POLLUX_SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/shm/error.h"

/* Counts every change to the layout of anything that lib/shm or lib/stats place into shared memory or send over the
 * link. Two programs with different numbers refuse each other in HELLO. */
#define SHM_LAYOUT_VERSION 4u

#define SHM_SEGMENT_MAGIC UINT64_C(0x6d68732d78756c70) /* "plux-shm" as bytes in memory */
#define SHM_SEGMENT_SIZE_MAX (UINT64_C(1) << 30)       /* bytes: what an attaching process maps at most */

/* What a segment is for; part of its header, so that swapped descriptors are refused. */
enum shm_segment_kind {
    SHM_SEGMENT_STATISTICS = 1, /* lib/stats/stats.h; control may only read it */
    SHM_SEGMENT_REQUESTS = 2,   /* shm/ring.h, control -> dataplane */
    SHM_SEGMENT_REPLIES = 3,    /* shm/ring.h, dataplane -> control */
    SHM_SEGMENT_QUESTIONS = 4,  /* shm/ring.h, dataplane -> control: logins (shm/login.h) */
    SHM_SEGMENT_VERDICTS = 5,   /* shm/ring.h, control -> dataplane: what becomes of them */
    SHM_SEGMENT_CAPTURE = 6,    /* shm/capture.h, workers -> control: packets */
};

/* The first cache line of each segment. Written once by the creator. */
struct shm_segment_header {
    uint64_t magic;          /* SHM_SEGMENT_MAGIC */
    uint32_t layout_version; /* SHM_LAYOUT_VERSION */
    uint32_t kind;           /* enum shm_segment_kind */
    uint64_t size;           /* bytes of the whole segment: equals the file's size */
    uint64_t reserved[5];    /* zero */
};

/* One process's view of a segment. */
struct shm_segment {
    void *base;    /* NULL when closed; starts with a shm_segment_header */
    size_t size;   /* bytes mapped: taken from the file's size, never from the header */
    int fd;        /* -1 when closed */
    bool writable; /* this view may write */
};

/* A closed segment: shm_segment_close on it does nothing. */
#define SHM_SEGMENT_CLOSED ((struct shm_segment){.base = NULL, .size = 0, .fd = -1, .writable = false})

/* Create, size, seal and map a segment of at least `size` bytes (rounded up to whole pages, zeroed, all pages present).
 * `name` shows in /proc/PID/maps. With `peer_reads_only`, the kernel refuses every later writable mapping
 * (F_SEAL_FUTURE_WRITE): only the creator's own mapping writes. Returns 0, or -1 with the reason in `error`. */
int shm_segment_create(struct shm_segment *segment, const char *name, enum shm_segment_kind kind, size_t size,
                       bool peer_reads_only, struct shm_error *error);

/* Map a segment that came over the link. Refused: a descriptor without both size seals, a size outside
 * minimum_size..SHM_SEGMENT_SIZE_MAX, a header with another magic, layout version, kind or size. Takes `fd` over in
 * either case: it is closed on refusal. Returns 0, or -1 with the reason in `error`. */
int shm_segment_attach(struct shm_segment *segment, int fd, enum shm_segment_kind kind, size_t minimum_size,
                       bool writable, struct shm_error *error);

/* Unmap and close. The memory itself lives until the last process lets go. */
void shm_segment_close(struct shm_segment *segment);

#endif

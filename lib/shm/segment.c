/* Sealed memfd segments: see shm/segment.h. */
#include "lib/shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) & ~(page - 1);
}

int shm_segment_create(struct shm_segment *segment, const char *name, enum shm_segment_kind kind, size_t size,
                       bool peer_reads_only, struct shm_error *error)
{
    *segment = SHM_SEGMENT_CLOSED;
    if (size < sizeof(struct shm_segment_header) || size > SHM_SEGMENT_SIZE_MAX)
        return shm_error_set(error, "segment %s: %zu bytes are outside of %zu..%llu", name, size,
                             sizeof(struct shm_segment_header), (unsigned long long)SHM_SEGMENT_SIZE_MAX);
    size = whole_pages(size);
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return shm_error_set(error, "segment %s: memfd_create: %s", name, strerror(errno));
    void *base = MAP_FAILED;
    /* The order matters: our own writable mapping has to exist before FUTURE_WRITE forbids new ones. */
    if (ftruncate(fd, (off_t)size) == 0)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    int seals = SIZE_SEALS | (peer_reads_only ? F_SEAL_FUTURE_WRITE : 0) | F_SEAL_SEAL;
    if (base == MAP_FAILED || fcntl(fd, F_ADD_SEALS, seals) != 0) {
        shm_error_set(error, "segment %s: %zu bytes of shared memory: %s", name, size, strerror(errno));
        if (base != MAP_FAILED)
            munmap(base, size);
        close(fd);
        return -1;
    }
    struct shm_segment_header *header = base;
    header->magic = SHM_SEGMENT_MAGIC;
    header->layout_version = SHM_LAYOUT_VERSION;
    header->kind = kind;
    header->size = size;
    *segment = (struct shm_segment){.base = base, .size = size, .fd = fd, .writable = true};
    return 0;
}

/* The checks that need no mapping: a sealed size within bounds, so that no later access can fault. */
static int descriptor_check(int fd, size_t minimum_size, size_t *size, struct shm_error *error)
{
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return shm_error_set(error, "shared segment: the descriptor is not a memfd");
    if ((seals & SIZE_SEALS) != SIZE_SEALS)
        return shm_error_set(error, "shared segment: its size is not sealed");
    struct stat status;
    if (fstat(fd, &status) != 0)
        return shm_error_set(error, "shared segment: fstat: %s", strerror(errno));
    if (minimum_size < sizeof(struct shm_segment_header))
        minimum_size = sizeof(struct shm_segment_header);
    if (status.st_size < (off_t)minimum_size || status.st_size > (off_t)SHM_SEGMENT_SIZE_MAX)
        return shm_error_set(error, "shared segment: %lld bytes are outside of %zu..%llu", (long long)status.st_size,
                             minimum_size, (unsigned long long)SHM_SEGMENT_SIZE_MAX);
    *size = (size_t)status.st_size;
    return 0;
}

static int header_check(const struct shm_segment_header *shared, enum shm_segment_kind kind, size_t size,
                        struct shm_error *error)
{
    struct shm_segment_header header = *shared;
    if (header.magic != SHM_SEGMENT_MAGIC)
        return shm_error_set(error, "shared segment: not one of ours (magic %llx)", (unsigned long long)header.magic);
    if (header.layout_version != SHM_LAYOUT_VERSION)
        return shm_error_set(error, "shared segment: layout version %u, this program has %u", header.layout_version,
                             SHM_LAYOUT_VERSION);
    if (header.kind != (uint32_t)kind)
        return shm_error_set(error, "shared segment: kind %u where %u was expected", header.kind, (unsigned)kind);
    if (header.size != size)
        return shm_error_set(error, "shared segment: claims %llu bytes but has %zu", (unsigned long long)header.size,
                             size);
    return 0;
}

int shm_segment_attach(struct shm_segment *segment, int fd, enum shm_segment_kind kind, size_t minimum_size,
                       bool writable, struct shm_error *error)
{
    *segment = SHM_SEGMENT_CLOSED;
    size_t size = 0;
    if (descriptor_check(fd, minimum_size, &size, error) != 0) {
        close(fd);
        return -1;
    }
    void *base = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        shm_error_set(error, "shared segment: mmap of %zu bytes: %s", size, strerror(errno));
        close(fd);
        return -1;
    }
    *segment = (struct shm_segment){.base = base, .size = size, .fd = fd, .writable = writable};
    if (header_check(base, kind, size, error) != 0) {
        shm_segment_close(segment);
        return -1;
    }
    return 0;
}

void shm_segment_close(struct shm_segment *segment)
{
    if (segment->base)
        munmap(segment->base, segment->size);
    if (segment->fd >= 0)
        close(segment->fd);
    *segment = SHM_SEGMENT_CLOSED;
}

/* Segments: what attaches, and everything that must be refused. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/shm/segment.h"

TestSuite(segment, .timeout = 10);

static struct shm_segment make(bool peer_reads_only)
{
    struct shm_segment segment;
    struct shm_error error = {""};
    cr_assert_eq(shm_segment_create(&segment, "test", SHM_SEGMENT_REPLIES, 5000, peer_reads_only, &error), 0, "%s",
                 error.text);
    return segment;
}

/* Attach a duplicate and expect a refusal whose text contains `reason`. */
static void expect_refused(int fd, enum shm_segment_kind kind, size_t minimum, const char *reason)
{
    struct shm_segment attached;
    struct shm_error error = {""};
    int copy = dup(fd);
    cr_assert_eq(shm_segment_attach(&attached, copy, kind, minimum, false, &error), -1);
    cr_assert(strstr(error.text, reason), "'%s' does not say '%s'", error.text, reason);
    cr_assert_null(attached.base);
    cr_assert_eq(fcntl(copy, F_GETFD), -1, "a refused descriptor is closed");
}

Test(segment, what_one_writes_the_other_reads)
{
    struct shm_segment ours = make(false), theirs;
    struct shm_error error = {""};
    cr_assert_eq(shm_segment_attach(&theirs, dup(ours.fd), SHM_SEGMENT_REPLIES, 5000, true, &error), 0, "%s",
                 error.text);
    cr_assert_eq(theirs.size, ours.size);
    ((char *)ours.base)[4999] = 'x';
    cr_assert_eq(((char *)theirs.base)[4999], 'x');
    shm_segment_close(&theirs);
    shm_segment_close(&ours);
    shm_segment_close(&ours);
}

Test(segment, size_is_sealed)
{
    struct shm_segment segment = make(false);
    cr_assert_neq(ftruncate(segment.fd, 0), 0);
    cr_assert_neq(ftruncate(segment.fd, 1 << 20), 0);
    shm_segment_close(&segment);
}

Test(segment, a_reader_can_not_map_it_writable)
{
    struct shm_segment segment = make(true), attached;
    struct shm_error error;
    cr_assert_eq(mmap(NULL, segment.size, PROT_READ | PROT_WRITE, MAP_SHARED, segment.fd, 0), MAP_FAILED);
    cr_assert_eq(pwrite(segment.fd, "x", 1, 100), -1);
    cr_assert_eq(shm_segment_attach(&attached, dup(segment.fd), SHM_SEGMENT_REPLIES, 0, true, &error), -1);
    cr_assert_eq(shm_segment_attach(&attached, dup(segment.fd), SHM_SEGMENT_REPLIES, 0, false, &error), 0);
    ((char *)segment.base)[200] = 'y';
    cr_assert_eq(((char *)attached.base)[200], 'y');
    shm_segment_close(&attached);
    shm_segment_close(&segment);
}

Test(segment, refuses_what_is_not_a_sealed_memfd)
{
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    expect_refused(pipes[0], SHM_SEGMENT_REPLIES, 0, "not a memfd");
    int unsealed = memfd_create("unsealed", MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(unsealed, 8192), 0);
    expect_refused(unsealed, SHM_SEGMENT_REPLIES, 0, "not sealed");
    int half = memfd_create("half", MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(half, 8192), 0);
    cr_assert_eq(fcntl(half, F_ADD_SEALS, F_SEAL_GROW), 0);
    expect_refused(half, SHM_SEGMENT_REPLIES, 0, "not sealed");
    struct shm_segment attached;
    cr_assert_eq(shm_segment_attach(&attached, -1, SHM_SEGMENT_REPLIES, 0, false, NULL), -1);
}

Test(segment, refuses_wrong_sizes)
{
    int empty = memfd_create("empty", MFD_ALLOW_SEALING);
    cr_assert_eq(fcntl(empty, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
    expect_refused(empty, SHM_SEGMENT_REPLIES, 0, "outside");
    int huge = memfd_create("huge", MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(huge, (off_t)SHM_SEGMENT_SIZE_MAX + 4096), 0);
    cr_assert_eq(fcntl(huge, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
    expect_refused(huge, SHM_SEGMENT_REPLIES, 0, "outside");
    struct shm_segment segment = make(false);
    expect_refused(segment.fd, SHM_SEGMENT_REPLIES, 100000, "outside");
    shm_segment_close(&segment);
}

Test(segment, refuses_a_header_that_lies)
{
    struct shm_segment segment = make(false);
    struct shm_segment_header *header = segment.base;
    expect_refused(segment.fd, SHM_SEGMENT_REQUESTS, 0, "kind");
    header->size = 1 << 20;
    expect_refused(segment.fd, SHM_SEGMENT_REPLIES, 0, "claims");
    header->size = segment.size;
    header->layout_version = SHM_LAYOUT_VERSION + 1;
    expect_refused(segment.fd, SHM_SEGMENT_REPLIES, 0, "layout");
    header->layout_version = SHM_LAYOUT_VERSION;
    header->magic = 0;
    expect_refused(segment.fd, SHM_SEGMENT_REPLIES, 0, "magic");
    shm_segment_close(&segment);
}

/* What the kernel counts for a process: CPU time and resident memory, from /proc. Linux only. */
#ifndef PERF_PROCESS_H
#define PERF_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_MAX 8

/* The processes that make up a broker. */
struct process_list {
    pid_t pid[PROCESS_MAX];
    uint32_t count;
};

/* CPU time of all their threads, in ns; false if one of them is gone. */
bool process_cpu_time(const struct process_list *processes, uint64_t *ns);

/*
 * Resident memory, huge pages included, in bytes; false if one of them is gone. Does not count memory in the kernel,
 * such as socket buffers.
 */
bool process_memory(const struct process_list *processes, uint64_t *bytes);

#endif

/* CPU time and memory of processes, out of /proc. */
#include "perf/process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Fields 14 and 15 of /proc/PID/stat, behind a name that may contain anything but ends at the last ')'. */
static bool cpu_ticks(pid_t pid, uint64_t *ticks)
{
    char path[64], line[1024];
    unsigned long long user, system;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    bool read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    const char *fields = read ? strrchr(line, ')') : NULL;
    if (fields == NULL ||
        sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return false;
    *ticks = user + system;
    return true;
}

bool process_cpu_time(const struct process_list *processes, uint64_t *ns)
{
    *ns = 0;
    for (uint32_t i = 0; i < processes->count; i++) {
        uint64_t ticks;
        if (!cpu_ticks(processes->pid[i], &ticks))
            return false;
        *ns += ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
    }
    return processes->count > 0;
}

/* Lines of /proc/PID/status; huge pages are not part of VmRSS. */
static bool resident_kib(pid_t pid, uint64_t *kib)
{
    char path[64], line[256];
    unsigned long long ordinary = 0, huge = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "VmRSS: %llu", &ordinary);
        sscanf(line, "HugetlbPages: %llu", &huge);
    }
    fclose(file);
    *kib = ordinary + huge;
    return ordinary > 0;
}

bool process_memory(const struct process_list *processes, uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < processes->count; i++) {
        uint64_t kib;
        if (!resident_kib(processes->pid[i], &kib))
            return false;
        *bytes += kib * 1024;
    }
    return processes->count > 0;
}

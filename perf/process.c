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

static bool resident_pages(pid_t pid, uint64_t *pages)
{
    char path[64];
    unsigned long long resident;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    bool read = fscanf(file, "%*u %llu", &resident) == 1;
    fclose(file);
    *pages = resident;
    return read;
}

bool process_memory(const struct process_list *processes, uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < processes->count; i++) {
        uint64_t pages;
        if (!resident_pages(processes->pid[i], &pages))
            return false;
        *bytes += pages * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    return processes->count > 0;
}

/* Starting DPDK. See eal.h. */
#include "dataplane/eal.h"

#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "dataplane/mailbox.h"
#include "lib/net/net.h"

enum { ARGUMENTS_MAX = 48, ARGUMENT_SIZE = 2048 };

struct arguments {
    int count;
    char *values[ARGUMENTS_MAX];
    char text[ARGUMENTS_MAX][ARGUMENT_SIZE];
};

static void argument_add(struct arguments *arguments, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void argument_add(struct arguments *arguments, const char *format, ...)
{
    va_list list;
    if (arguments->count < ARGUMENTS_MAX) {
        char *text = arguments->text[arguments->count];
        va_start(list, format);
        vsnprintf(text, ARGUMENT_SIZE, format, list);
        va_end(list);
        arguments->values[arguments->count++] = text;
    }
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

uint32_t eal_memory_mib(const struct shm_config *config)
{
    const uint64_t buffer = RTE_MBUF_DEFAULT_BUF_SIZE + NET_MBUF_PRIVATE + sizeof(struct rte_mbuf) + 64;
    const uint64_t packets = config->dataplane.packet_buffers * buffer;
    /* From each worker to each: two rings of packets, and a mailbox. */
    const uint64_t pairs = (uint64_t)config->dataplane.workers * config->dataplane.workers;
    const uint64_t between = pairs * (2 * 4096 * sizeof(void *) + mailbox_size(MAILBOX_SLOTS));
    return (uint32_t)((packets + between) >> 20) + 96;
}

static uint64_t hugepages_free_mib(void)
{
    char line[256];
    unsigned long long pages = 0, kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "HugePages_Free: %llu", &pages);
        sscanf(line, "Hugepagesize: %llu", &kib);
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages * kib / 1024;
}

static int memory_arguments(const struct shm_config *config, struct arguments *arguments, struct shm_error *error)
{
    const uint32_t needed = eal_memory_mib(config);
    const uint64_t available = hugepages_free_mib();
    bool huge = config->dataplane.hugepages != SHM_HUGEPAGES_OFF;
    if (config->dataplane.hugepages == SHM_HUGEPAGES_ON && available < needed) {
        return shm_error_set(error,
                             "dataplane.hugepages is 'on', but %llu MiB of hugepages are free and %u MiB are needed: "
                             "reserve them (sysctl vm.nr_hugepages=%u) or set it to 'auto'",
                             (unsigned long long)available, needed, (needed + 1) / 2 + 8);
    }
    if (config->dataplane.hugepages == SHM_HUGEPAGES_AUTO && available < needed) {
        huge = false;
    }
    if (huge) {
        argument_add(arguments, "--in-memory");
        /* One file for all memory, which a vhost-user peer can map in one piece. */
        argument_add(arguments, "--single-file-segments");
    } else {
        argument_add(arguments, "--no-huge");
        argument_add(arguments, "--no-shconf");
        argument_add(arguments, "-m");
        argument_add(arguments, "%u", needed);
    }
    return 0;
}

/* ---- Cores ------------------------------------------------------------------------------------------------------ */

static uint32_t cores_allowed(uint32_t cores[SHM_CORE_MAX + 1])
{
    uint32_t count = 0;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        for (uint32_t core = 0; core <= SHM_CORE_MAX && core < CPU_SETSIZE; core++) {
            if (CPU_ISSET(core, &set)) {
                cores[count++] = core;
            }
        }
    }
    return count;
}

/* DPDK would answer with its own options, of which the operator has said none. */
static int core_check(const char *name, uint32_t core, struct shm_error *error)
{
    char path[64];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/core_id", core);
    return access(path, F_OK) == 0 ? 0 : shm_error_set(error, "%s: this machine has no core %u in use", name, core);
}

static int cores_check(const struct shm_dataplane_config *dataplane, struct shm_error *error)
{
    for (uint32_t i = 0; i < dataplane->core_count; i++) {
        if (core_check("dataplane.cores", dataplane->cores[i], error) != 0) {
            return -1;
        }
    }
    return dataplane->main_core == SHM_CORE_AUTO ? 0 : core_check("dataplane.main-core", dataplane->main_core, error);
}

/* Lcore 0 is the housekeeper's, lcore i + 1 worker i's; which CPU each runs on is the configuration's choice. */
static int core_arguments(const struct shm_config *config, struct arguments *arguments,
                          uint32_t lcores[SHM_WORKERS_MAX], struct shm_error *error)
{
    uint32_t cores[SHM_CORE_MAX + 1];
    char list[ARGUMENT_SIZE];
    const struct shm_dataplane_config *dataplane = &config->dataplane;
    const uint32_t count = cores_allowed(cores);
    if (count == 0) {
        return shm_error_set(error, "no CPU may be used: check taskset and the cgroup's cpuset");
    }
    if (cores_check(dataplane, error) != 0) {
        return -1;
    }
    size_t length = (size_t)snprintf(list, sizeof(list), "0@%u",
                                     dataplane->main_core == SHM_CORE_AUTO ? cores[0] : dataplane->main_core);
    for (uint32_t i = 0; i < dataplane->workers; i++) {
        const uint32_t core = dataplane->core_count > 0 ? dataplane->cores[i] : cores[(i + 1) % count];
        length += (size_t)snprintf(list + length, sizeof(list) - length, ",%u@%u", i + 1, core);
        lcores[i] = i + 1;
    }
    argument_add(arguments, "--lcores");
    argument_add(arguments, "%s", list);
    argument_add(arguments, "--main-lcore");
    argument_add(arguments, "0");
    return 0;
}

/* ---- Devices ---------------------------------------------------------------------------------------------------- */

/* "0000:01:00.0,..." */
static bool is_pci(const char *device)
{
    unsigned domain, bus, slot, function;
    return sscanf(device, "%x:%x:%x.%x", &domain, &bus, &slot, &function) == 4;
}

static void device_arguments(const struct shm_config *config, struct arguments *arguments)
{
    bool pci = false;
    for (uint32_t i = 0; i < config->port_count; i++) {
        if (is_pci(config->ports[i].device)) {
            argument_add(arguments, "-a");
            argument_add(arguments, "%s", config->ports[i].device);
            pci = true;
        }
    }
    if (!pci) {
        argument_add(arguments, "--no-pci");
    }
}

int eal_start(const struct shm_config *config, uint32_t lcores[SHM_WORKERS_MAX], struct shm_error *error)
{
    static struct arguments arguments; /* DPDK keeps pointers into it */
    arguments.count = 0;
    argument_add(&arguments, "pollux-dataplane");
    if (core_arguments(config, &arguments, lcores, error) != 0 || memory_arguments(config, &arguments, error) != 0) {
        return -1;
    }
    device_arguments(config, &arguments);
    argument_add(&arguments, "--iova-mode=va");
    argument_add(&arguments, "--no-telemetry");
    argument_add(&arguments, "--file-prefix=pollux-%d", (int)getpid());
    argument_add(&arguments, "--log-level=*:warning");
    if (rte_eal_init(arguments.count, arguments.values) < 0) {
        return shm_error_set(error, "DPDK does not start: %s; its messages on standard error say why",
                             rte_strerror(rte_errno));
    }
    return 0;
}

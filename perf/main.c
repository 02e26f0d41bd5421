/*
 * pollux-perf: puts load on an MQTT broker and measures what it delivers. Speaks MQTT to any broker and knows nothing
 * of how one works inside.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "perf/device.h"
#include "perf/report.h"
#include "perf/search.h"

#define LINK_PATIENCE 30 /* seconds */
#define STANDARD_DESCRIPTORS 8u

/* As many connections as the kernel lets us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* A broker that can take as many connections as that has its own limit; ours is told before any is opened. */
static void check_descriptors(const struct options *options)
{
    struct rlimit limit;
    if (options->dpdk != NULL || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    for (uint32_t i = 0; i < options->scenarios; i++) {
        const struct scenario *scenario = &options->scenario[i];
        const uint64_t connections = (uint64_t)scenario->publishers + scenario->subscribers + options->stalled;
        if (connections + options->threads + STANDARD_DESCRIPTORS > limit.rlim_cur)
            errx(EXIT_FAILURE, "%s: %llu connections, and %llu open files are allowed: ulimit -n", scenario->name,
                 (unsigned long long)connections, (unsigned long long)limit.rlim_cur);
    }
}

static void on_signal(int number)
{
    run_interrupt();
}

static void catch_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Names of this process, so that two generators on one broker do not meet. */
static void default_names(struct options *options)
{
    static char topic[64], id[64];
    snprintf(topic, sizeof(topic), "pollux-perf/%d/%%i", (int)getpid());
    snprintf(id, sizeof(id), "perf-%d-", (int)getpid());
    options->topic = options->topic != NULL ? options->topic : topic;
    options->id_prefix = options->id_prefix != NULL ? options->id_prefix : id;
}

/* Opens the device and waits for who is to be at its other end: a router may start after its generator. */
static void open_device(struct options *options, struct device *device)
{
    const struct device_config config = {.arguments = options->dpdk, .buffers = options->buffers, .mtu = options->mtu};
    const struct timespec settle = {.tv_nsec = 300000000}; /* the router goes on starting behind its port */
    device_open(device, &config);
    bool up = false;
    for (int second = 0; second < LINK_PATIENCE && !up && !run_is_interrupted(); second++)
        up = device_wait_link(device, 1);
    if (!up) {
        device_close(device);
        if (run_is_interrupted())
            exit(128 + SIGINT);
        errx(EXIT_FAILURE, "%s: nobody at the other end for %d seconds", options->dpdk, LINK_PATIENCE);
    }
    nanosleep(&settle, NULL);
    options->device = device;
}

static int run_all(struct options *options)
{
    static struct result result;
    int status = EXIT_SUCCESS;
    for (uint32_t i = 0; i < options->scenarios && !run_is_interrupted(); i++) {
        struct scenario *scenario = &options->scenario[i];
        if (options->p99_below > 0 && scenario->subscribers > 0)
            search_rate(options, scenario, options->p99_below, &result);
        else
            run_scenario(options, scenario, &result);
        if (result.failure[0] != 0) {
            fprintf(stderr, "pollux-perf: %s on %s: %s\n", scenario->name, options->target, result.failure);
            return run_is_interrupted() ? 128 + SIGINT : EXIT_FAILURE;
        }
        if (options->json)
            report_json(options, scenario, &result);
        else
            report_text(options, scenario, &result);
        fflush(stdout);
        if (!report_is_intact(scenario, &result))
            status = 3;
    }
    return run_is_interrupted() ? 128 + SIGINT : status;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct device device;
    options_parse(&options, argc, argv);
    default_names(&options);
    raise_descriptor_limit();
    check_descriptors(&options);
    catch_signals();
    if (options.dpdk != NULL)
        open_device(&options, &device);
    int status = run_all(&options);
    if (options.dpdk != NULL)
        device_close(&device);
    return status;
}

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

/* As many connections as the kernel lets us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
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
    if (!device_wait_link(device, LINK_PATIENCE))
        errx(EXIT_FAILURE, "%s: nobody at the other end for %d seconds", options->dpdk, LINK_PATIENCE);
    nanosleep(&settle, NULL);
    options->device = device;
}

static int run_all(struct options *options)
{
    static struct result result;
    int status = EXIT_SUCCESS;
    for (uint32_t i = 0; i < options->scenarios; i++) {
        struct scenario *scenario = &options->scenario[i];
        if (options->p99_below > 0 && scenario->subscribers > 0)
            search_rate(options, scenario, options->p99_below, &result);
        else
            run_scenario(options, scenario, &result);
        if (result.failure[0] != 0) {
            fprintf(stderr, "pollux-perf: %s on %s: %s\n", scenario->name, options->target, result.failure);
            return EXIT_FAILURE;
        }
        if (options->json)
            report_json(options, scenario, &result);
        else
            report_text(options, scenario, &result);
        fflush(stdout);
        if (!report_is_intact(scenario, &result))
            status = 3;
    }
    return status;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct device device;
    options_parse(&options, argc, argv);
    default_names(&options);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    if (options.dpdk != NULL)
        open_device(&options, &device);
    int status = run_all(&options);
    if (options.dpdk != NULL)
        device_close(&device);
    return status;
}

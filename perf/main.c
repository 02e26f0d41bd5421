/*
 * pollux-perf: puts load on an MQTT broker and measures what it delivers. Speaks MQTT to any broker and knows nothing
 * of how one works inside.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "perf/report.h"
#include "perf/search.h"

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

int main(int argc, char **argv)
{
    static struct options options;
    static struct result result;
    int status = EXIT_SUCCESS;
    options_parse(&options, argc, argv);
    default_names(&options);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    for (uint32_t i = 0; i < options.scenarios; i++) {
        struct scenario *scenario = &options.scenario[i];
        if (options.p99_below > 0 && scenario->subscribers > 0)
            search_rate(&options, scenario, options.p99_below, &result);
        else
            run_scenario(&options, scenario, &result);
        if (result.failure[0] != 0) {
            fprintf(stderr, "pollux-perf: %s on %s: %s\n", scenario->name, options.target, result.failure);
            return EXIT_FAILURE;
        }
        if (options.json)
            report_json(&options, scenario, &result);
        else
            report_text(&options, scenario, &result);
        fflush(stdout);
        if (!report_is_intact(scenario, &result))
            status = 3;
    }
    return status;
}

/* The program that runs seeds of the router simulation and says how to replay one that fails. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/router/scenario.h"
#include "tests/sim/router/threads.h"

static const struct scenario scenarios[] = {
    {"traffic", "devices publish, subscribe, lose connections and come back", scenario_traffic},
    {"takeover", "connections of the same few client identifiers race from all workers under traffic",
     scenario_takeover},
    {"churn", "sessions begin, end and are taken over without a pause", scenario_churn},
    {"shared", "a shared subscription whose members come and go", scenario_shared},
    {"will", "every way to end a connection, with and without a will delay", scenario_will},
    {"keepalive", "clients that ping and clients that fall silent", scenario_keepalive},
    {"retained", "late subscribers get the last acknowledged value of each topic", scenario_retained},
    {"pressure", "a slow subscriber beside fast ones, with each policy for full queues", scenario_pressure},
    {"malformed", "every malformed packet closes its own connection only", scenario_malformed},
    {"filters", "thousands of filters at once, adversarial ones too, and sessions that end with them",
     scenario_filters},
    {"strategies", "who of a shared subscription gets what, by each strategy", scenario_strategies},
    {"limits", "publishers above a limit of messages or bytes a second, in or out", scenario_limits},
    {"bounds", "levels of overload and the bound on retained messages", scenario_bounds},
    {"expiry", "messages that expire while they are retained or wait for a session", scenario_expiry},
    {"stall", "publishers wait while the worker of their subscriber does nothing", scenario_stall},
    {"collisions", "topics and filters whose hashes are nearly all the same", scenario_collisions},
};

static const uint32_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

struct options {
    unsigned long first, last;
    uint32_t workers, loss, websocket;
    uint16_t traced_port; /* 0: none */
    const char *scenario; /* NULL: each seed its own */
    bool threads;
    bool verbose;
};

static void usage(FILE *to)
{
    fprintf(to,
            "usage: router [--seeds A..B] [--workers N] [--loss PERCENT] [--websocket PERCENT] [--scenario NAME]\n"
            "              [--threads] [--verbose] [--trace PORT] [--list] [--help]\n"
            "  --threads  traffic, takeover, shared and churn run each worker on a thread; such a run does not repeat\n"
            "  --trace    prints the TCP segments of the client with this port, which --verbose tells\n"
            "scenarios (default: all of them, in turn):\n");
    for (uint32_t i = 0; i < scenario_count; i++) {
        fprintf(to, "  %-10s %s\n", scenarios[i].name, scenarios[i].help);
    }
}

static void usage_error(void)
{
    usage(stderr);
    exit(2);
}

static void scenarios_list(void)
{
    for (uint32_t i = 0; i < scenario_count; i++) {
        printf("%s\n", scenarios[i].name);
    }
}

static void seeds_read(struct options *options, const char *text)
{
    const int fields = sscanf(text, "%lu..%lu", &options->first, &options->last);
    if (fields < 1) {
        usage_error();
    }
    options->last = fields == 1 ? options->first : options->last;
}

static void options_read(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {{"seeds", required_argument, NULL, 's'},
                                          {"workers", required_argument, NULL, 'w'},
                                          {"loss", required_argument, NULL, 'l'},
                                          {"scenario", required_argument, NULL, 'c'},
                                          {"threads", no_argument, NULL, 't'},
                                          {"list", no_argument, NULL, 'L'},
                                          {"websocket", required_argument, NULL, 'p'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"trace", required_argument, NULL, 'T'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;
    while ((option = getopt_long(argc, argv, "s:w:l:c:p:tv", names, NULL)) != -1) {
        switch (option) {
        case 's':
            seeds_read(options, optarg);
            break;
        case 'w':
            options->workers = (uint32_t)atoi(optarg);
            break;
        case 'l':
            options->loss = (uint32_t)atoi(optarg);
            break;
        case 'p':
            options->websocket = (uint32_t)atoi(optarg);
            break;
        case 'c':
            options->scenario = optarg;
            break;
        case 't':
            options->threads = true;
            break;
        case 'L':
            scenarios_list();
            exit(0);
        case 'v':
            options->verbose = true;
            break;
        case 'T':
            options->traced_port = (uint16_t)atoi(optarg);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage_error();
        }
    }
    if (options->workers < 1 || options->workers > 8 || options->loss > 50) {
        usage_error();
    }
}

static const struct scenario *scenario_of(const struct options *options, unsigned long seed)
{
    if (options->scenario == NULL) {
        return &scenarios[seed % scenario_count];
    }
    for (uint32_t i = 0; i < scenario_count; i++) {
        if (strcmp(scenarios[i].name, options->scenario) == 0) {
            return &scenarios[i];
        }
    }
    usage_error();
    return NULL;
}

static bool seed_run(const struct options *options, unsigned long seed)
{
    static struct world world;
    const struct scenario *scenario = scenario_of(options, seed);
    world_init(&world, seed, options->workers, options->loss);
    world.traced_port = options->traced_port;
    world.verbose = options->verbose;
    world.wants_threads = options->threads;
    world.websocket_percent = options->websocket;
    scenario->run(&world);
    if (world.failed && options->verbose) {
        scenario_show(&world);
    }
    if (options->verbose) {
        printf("seed %lu, %s: %s, %lu steps, %lu frames\n", seed, scenario->name, world.failed ? "FAILED" : "good",
               (unsigned long)world.steps, (unsigned long)world.frames);
    }
    return world_end(&world);
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 100, .workers = 2, .loss = 5, .websocket = 50};
    unsigned long failures = 0;
    options_read(&options, argc, argv);
    if (options.threads) {
        threads_environment();
    }
    world_environment(options.workers);
    for (unsigned long seed = options.first; seed <= options.last && failures < 10; seed++) {
        if (!seed_run(&options, seed)) {
            failures++;
            printf("FAILED seed %lu: replay with: %s --seeds %lu --workers %u --loss %u --websocket %u --scenario %s "
                   "--verbose\n",
                   seed, argv[0], seed, options.workers, options.loss, options.websocket,
                   scenario_of(&options, seed)->name);
            fflush(stdout);
        }
    }
    printf("%lu seeds, %u workers, loss up to %u %%, %lu failed\n", options.last - options.first + 1, options.workers,
           options.loss, failures);
    return failures != 0;
}

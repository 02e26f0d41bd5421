/* pollux-control: the program.
 *
 * Job: arguments, start-up order, signals. Everything else is in the other files of this folder. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "control/admin.h"
#include "control/log.h"
#include "control/logins.h"
#include "control/reference.h"

#define TICK_US 100000u

static const char usage[] =
    "Usage: pollux-control --config FILE [--run-dir DIR]\n"
    "       pollux-control --check --config FILE\n"
    "\n"
    "Reads the configuration, hands it to pollux-dataplane, and answers polluxctl. Stays in the foreground and logs "
    "to\n"
    "standard error. Started before or after the dataplane; either may be restarted at any time.\n"
    "\n"
    "  -c, --config FILE     the configuration (YAML)\n"
    "  -r, --run-dir DIR     where both programs' sockets are (default " LINK_RUN_DIR_DEFAULT ")\n"
    "      --check           only say whether the configuration is right: exit status 0 or 1\n"
    "      --example-config  print a complete configuration with comments\n"
    "      --reference       print the reference page of all settings (Markdown)\n"
    "  -V, --version         print the version\n"
    "  -h, --help            this text\n"
    "\n"
    "Example: pollux-control --example-config > pollux.yaml; pollux-control --config pollux.yaml\n";

enum { OPTION_CHECK = 256, OPTION_EXAMPLE, OPTION_REFERENCE };

struct arguments {
    const char *config_file;
    const char *run_dir;
    bool check;
};

/* Returns the exit status when the program is done already, else -1. */
static int take_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"run-dir", required_argument, NULL, 'r'},
                                            {"check", no_argument, NULL, OPTION_CHECK},
                                            {"example-config", no_argument, NULL, OPTION_EXAMPLE},
                                            {"reference", no_argument, NULL, OPTION_REFERENCE},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "c:r:Vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config_file = optarg;
            break;
        case 'r':
            arguments->run_dir = optarg;
            break;
        case OPTION_CHECK:
            arguments->check = true;
            break;
        case OPTION_EXAMPLE:
            reference_print_example(stdout);
            return 0;
        case OPTION_REFERENCE:
            reference_print_page(stdout);
            return 0;
        case 'V':
            puts("pollux-control " POLLUX_VERSION " (" POLLUX_BUILD_ID ")");
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs("Try: pollux-control --help\n", stderr);
            return 2;
        }
    }
    if (arguments->config_file && optind == argc)
        return -1;
    fprintf(stderr, "pollux-control: %s\nTry: pollux-control --help\n",
            optind < argc ? "arguments that are not options are not taken" : "needs --config FILE");
    return 2;
}

static int read_config(const char *name, struct control_config *config, struct config_origin *origin)
{
    FILE *input = fopen(name, "r");
    if (!input) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        return -1;
    }
    int result = yaml_config_read(input, name, config, origin, stderr);
    fclose(input);
    return result;
}

/* What the file does not say: a generation that grows from start to start, and secrets that nobody else knows. */
static int complete_config(struct shm_config *config)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    config->generation = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    return getrandom(config->seed, sizeof config->seed, 0) == (ssize_t)sizeof config->seed ? 0 : -1;
}

struct signals {
    struct loop_source source;
    struct loop *loop;
};

/* SIGHUP is what people send to have a configuration read again. Who has that in mind means no harm. */
static void signal_ready(void *argument, uint32_t events)
{
    struct signals *signals = argument;
    struct signalfd_siginfo signal;
    while (read(signals->source.fd, &signal, sizeof signal) == (ssize_t)sizeof signal) {
        if (signal.ssi_signo == SIGHUP) {
            log_line("SIGHUP: the configuration is read at start only; restart both programs to apply another");
            continue;
        }
        log_line("ending on a signal");
        loop_stop(signals->loop);
    }
}

/* Signals come as events, so that nothing is interrupted half-way. */
static int open_signals(struct loop *loop, struct signals *signals)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *signals = (struct signals){{signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), signal_ready, signals}, loop};
    return signals->source.fd < 0 ? -1 : loop_add(loop, &signals->source, EPOLLIN);
}

static void tick(void *argument, uint64_t now)
{
    peer_tick(argument, now);
}

/* The admin socket is there before the first look for a dataplane, so that `wait ready` can be started at once. It is
 * closed before the peer: its commands refer to it. */
static int serve(struct command_context *context)
{
    struct loop loop;
    struct signals signals;
    struct shm_error error = {"no memory"};
    if (loop_open(&loop) != 0 || open_signals(&loop, &signals) != 0) {
        log_line("event loop: %s", strerror(errno));
        return 1;
    }
    context->started = loop_now();
    context->peer = peer_create(&loop, context->run_dir, &context->config->dataplane);
    struct logins *logins =
        context->peer ? logins_open(&loop, context->peer, context->users, &context->config->dataplane.authentication)
                      : NULL;
    context->captures = logins ? captures_open(&loop, context->peer, &context->config->dataplane) : NULL;
    struct admin *admin = context->captures ? admin_open(&loop, context->run_dir, context, &error) : NULL;
    if (!admin) {
        log_line("%s", error.text);
        captures_close(context->captures);
        logins_close(logins);
        peer_free(context->peer);
        return 1;
    }
    log_line("ready; configuration %s, run directory %s", context->config_file, context->run_dir);
    loop_run(&loop, TICK_US, tick, context->peer);
    admin_close(admin);
    captures_close(context->captures);
    logins_close(logins);
    peer_free(context->peer);
    close(signals.source.fd);
    loop_close(&loop);
    return 0;
}

int main(int argc, char **argv)
{
    static struct control_config config;
    static struct config_origin origin;
    struct arguments arguments = {.run_dir = LINK_RUN_DIR_DEFAULT};
    int status = take_arguments(argc, argv, &arguments);
    if (status >= 0)
        return status;
    if (read_config(arguments.config_file, &config, &origin) != 0)
        return 1;
    if (arguments.check) {
        printf("%s: correct\n", arguments.config_file);
        return 0;
    }
    if (complete_config(&config.dataplane) != 0) {
        log_line("no random numbers: %s", strerror(errno));
        return 1;
    }
    struct command_context context = {
        .config = &config, .origin = &origin, .config_file = arguments.config_file, .run_dir = arguments.run_dir};
    prctl(PR_SET_DUMPABLE, 0); /* passwords pass through this memory: no core dump, no ptrace */
    struct shm_error error;
    if (config.users_file[0] && !(context.users = users_open(config.users_file, &error))) {
        log_line("%s", error.text);
        return 1;
    }
    const int result = serve(&context);
    users_close(context.users);
    return result;
}

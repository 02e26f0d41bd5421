/*
 * pollux-dataplane: the only DPDK process of a host. Waits for pollux-control to configure it, starts, and routes until
 * it is told to stop; control may come and go.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "dataplane/dataplane.h"
#include "dataplane/housekeeper.h"
#include "lib/shm/link.h"

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    stop_requested = 1;
}

static void usage(FILE *to)
{
    fprintf(to,
            "Usage: pollux-dataplane [--run-dir DIR]\n"
            "\n"
            "Routes MQTT on DPDK ports. Takes its configuration from pollux-control, which may be started before or\n"
            "after it, and goes on without it once it runs.\n"
            "\n"
            "  --run-dir DIR   where its socket is made (default %s)\n"
            "  --version       print the version\n"
            "  --help          this text\n"
            "\n"
            "Example:\n"
            "  pollux-control --config /etc/pollux/pollux.yaml &\n"
            "  pollux-dataplane &\n"
            "  polluxctl wait ready && polluxctl show ports\n",
            LINK_RUN_DIR_DEFAULT);
}

/* Returns the run directory, or exits. */
static const char *arguments_read(int argc, char **argv)
{
    static const struct option options[] = {{"run-dir", required_argument, NULL, 'r'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *run_dir = LINK_RUN_DIR_DEFAULT;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            run_dir = optarg;
            break;
        case 'v':
            printf("pollux-dataplane %s\n", POLLUX_BUILD_ID);
            exit(0);
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "pollux-dataplane: '%s' is not an option\n", argv[optind]);
        usage(stderr);
        exit(2);
    }
    return run_dir;
}

/* Waits until the socket or the link has news, or a signal came. */
static void wait_for_news(const struct link_listener *listener, const struct link *link)
{
    struct pollfd fds[2] = {{.fd = listener->fd, .events = POLLIN}, {.fd = link->fd, .events = POLLIN}};
    poll(fds, 2, 1000);
}

/*
 * Talks to control until it has sent an acceptable configuration. False: a signal came.
 */
static bool configuration_await(struct link_listener *listener, struct link *link, struct shm_config *config)
{
    struct shm_error error;
    const struct link_hello hello = {.state = LINK_STATE_UNCONFIGURED, .build_id = POLLUX_BUILD_ID};
    while (!stop_requested) {
        wait_for_news(listener, link);
        struct link another = LINK_NONE;
        const bool connected = link->fd >= 0;
        const int accepted = link_accept(listener, connected ? &another : link, connected, &error);
        if (accepted < 0) {
            fprintf(stderr, "pollux-dataplane: %s\n", error.text);
        } else if (accepted > 0) {
            link_send_hello(link, &hello, &error);
        }
        if (link->fd < 0) {
            continue;
        }
        struct link_message message;
        const enum link_result result = link_poll(link, &message, &error);
        if (result == LINK_CLOSED || result == LINK_INVALID) {
            link_close(link);
        } else if (result == LINK_MESSAGE && message.type == LINK_CONFIGURE) {
            if (shm_config_validate(&message.config, &error) == 0) {
                *config = message.config;
                return true;
            }
            link_send_failed(link, error.text, &error);
        } else if (result == LINK_MESSAGE) {
            link_message_close(&message);
        }
    }
    return false;
}

static int run(struct link_listener *listener)
{
    static struct dataplane dataplane;
    static struct housekeeper housekeeper;
    static struct shm_config config;
    struct shm_error error, ignored;
    struct link link = LINK_NONE;
    if (!configuration_await(listener, &link, &config)) {
        link_close(&link);
        return 0;
    }
    if (dataplane_start(&dataplane, &config, &error) != 0) {
        fprintf(stderr, "pollux-dataplane: %s\n", error.text);
        link_send_failed(&link, error.text, &ignored);
        link_close(&link);
        return 1;
    }
    int status = 0;
    if (housekeeper_create(&housekeeper, &dataplane, listener, &link, &error) != 0) {
        fprintf(stderr, "pollux-dataplane: %s\n", error.text);
        status = 1;
    } else {
        fprintf(stderr, "pollux-dataplane: routing, %u workers, %u ports\n", dataplane.worker_count,
                dataplane.port_count);
        housekeeper_run(&housekeeper, &stop_requested);
    }
    housekeeper_destroy(&housekeeper);
    dataplane_stop(&dataplane);
    return status;
}

int main(int argc, char **argv)
{
    struct link_listener listener;
    struct shm_error error;
    const char *run_dir = arguments_read(argc, argv);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);   /* elsewhere it means "read your configuration again"; here that is control's */
    prctl(PR_SET_DUMPABLE, 0); /* memory will hold session keys: no core dump, no ptrace */
    if (link_listen(&listener, run_dir, &error) != 0) {
        fprintf(stderr, "pollux-dataplane: %s\n", error.text);
        return 1;
    }
    const int status = run(&listener);
    link_listener_close(&listener);
    return status;
}

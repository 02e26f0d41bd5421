/* The command line of pollux-perf, and the scenarios it names. */
#ifndef PERF_OPTIONS_H
#define PERF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/net/net.h"
#include "perf/process.h"

struct device;

#define SCENARIOS_MAX 16
#define SOURCES_MAX 256
#define PORTS_MAX 64

/* What a scenario does. */
enum pattern {
    PATTERN_P2P,     /* publishers and subscribers in groups, each with a topic of its own */
    PATTERN_FAN_IN,  /* every publisher a topic of its own, the subscribers have them all by a wildcard */
    PATTERN_FAN_OUT, /* one topic for all */
    PATTERN_SHARED,  /* as fan-in, but the subscribers share one subscription: each message goes to one of them */
    PATTERN_CONNECT, /* connect, disconnect, again */
    PATTERN_IDLE,    /* connect and stay */
    PATTERN_STORM,   /* retained messages, and subscribers that connect for all of them again and again */
};

/* One scenario with all figures settled. */
struct scenario {
    char name[64];
    enum pattern pattern;
    uint32_t publishers; /* connections, for CONNECT (at a time) and IDLE */
    uint32_t subscribers;
    uint32_t payload;  /* bytes */
    uint32_t retained; /* messages, for STORM */
    uint8_t qos;
    uint32_t window; /* undelivered messages that a publisher may have; 0: chosen from the numbers above */
    double rate;     /* messages per second of all publishers together; 0: closed loop. IDLE: connections per second */
};

struct options {
    struct scenario scenario[SCENARIOS_MAX];
    uint32_t scenarios;

    char target[300]; /* "host:port", as printed */
    struct sockaddr_storage address;
    socklen_t address_length;
    uint16_t port[PORTS_MAX];
    uint32_t ports;
    struct sockaddr_storage source[SOURCES_MAX];
    uint32_t sources;

    /* lib/net on a DPDK device instead of kernel sockets. */
    const char *dpdk;            /* device arguments; NULL: kernel sockets */
    const struct device *device; /* the same, opened: the program's to fill in */
    struct net_prefix local[NET_INTERFACE_ADDRESSES];
    uint32_t locals;
    struct net_address gateway;
    uint32_t buffers;
    uint16_t mtu;

    uint8_t version; /* enum mqtt_version */
    const char *topic;
    const char *id_prefix; /* NULL: one of this process */
    const char *user_name;
    const char *password;
    uint16_t keep_alive; /* seconds */
    uint32_t threads;
    uint32_t topics;        /* FAN_IN, SHARED: publishers go through this many topics in turn; 0: one each */
    uint32_t subscriptions; /* of the run beside those that get messages: they match nothing */
    uint32_t stalled;       /* subscribers beside the others that read nothing once the load has begun */
    double duration;        /* seconds, warm-up not included */
    double warmup;          /* seconds */
    double p99_below;       /* us; 0: no search for the highest rate */
    bool json;
    bool details; /* of JSON: the distribution of latency, rates over time */
    bool quiet;
    struct process_list broker;
};

/* Fills in `options`; ends the program with status 2 and a sentence at anything wrong, with 0 after --help. */
void options_parse(struct options *options, int argc, char **argv);

#endif

/* The command line: options, scenarios and their presets, addresses. Everything wrong ends the program here. */
#include "perf/options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/mqtt/mqtt.h"
#include "perf/load.h"

static const char help[] =
    "Usage: pollux-perf [SCENARIO...] [OPTION...]\n"
    "Puts load on an MQTT broker, any broker, and measures what it delivers.\n"
    "\n"
    "Scenarios (default p2p-50). N sets the number of clients; k is a thousand: p2p-2k\n"
    "  p2p[-N]       N publishers, N subscribers, a topic for each pair             (50)\n"
    "  fanin[-N]     N publishers with a topic each -> 1 subscriber with a wildcard (100)\n"
    "  fanout[-N]    1 publisher -> N subscribers                                   (100)\n"
    "  shared[-N]    100 publishers -> N subscribers that share a subscription      (5)\n"
    "  qos1[-N]      p2p with QoS 1                                                 (50)\n"
    "  qos2[-N]      p2p with QoS 2                                                 (50)\n"
    "  big[-SIZE]    10 publishers, 10 subscribers, payload of SIZE bytes           (4k)\n"
    "  devices[-N]   fanin with one message per segment: one at a time per device   (10k)\n"
    "  rtt[-N]       N pairs, one message at a time: the round trip                 (1)\n"
    "  connect[-N]   connect, CONNACK, disconnect, again; N at a time               (100)\n"
    "  idle[-N]      N connections that do nothing: memory of each                  (1k)\n"
    "  retained[-N]  N retained messages; 10 clients connect and subscribe to all   (100k)\n"
    "                of them by a wildcard, again and again: how long they take\n"
    "\n"
    "Broker\n"
    "  -h, --host HOST         (localhost)\n"
    "  -p, --port PORT,...     connect to these ports in turn (1883)\n"
    "  -V, --version VERSION   31, 311 or 5 (311)\n"
    "  -u, --user NAME    -P, --password PASSWORD\n"
    "  --broker-pid PID[,PID]  measure CPU time and memory of these processes\n"
    "\n"
    "Load\n"
    "  -c, --clients N         clients of every scenario, like -N at its name\n"
    "  --publishers N          --subscribers N    one of the two sides\n"
    "  -s, --size BYTES        payload, 16 at least (64)\n"
    "  -q, --qos 0|1|2         (0)\n"
    "  -t, --topic TOPIC       %i in it becomes the number of the topic (pollux-perf/PID/%i)\n"
    "  --topics N              fanin, shared: publishers go through N topics in turn (one each)\n"
    "  --subscriptions N       N more in the broker, of the subscribers together, that match nothing (0)\n"
    "  -i, --id PREFIX         client identifiers: PREFIX and a number (perf-PID-)\n"
    "  --stalled N             N more subscribers, which stop reading when the load begins (0)\n"
    "  -r, --rate N            open loop: N messages a second, of all publishers together;\n"
    "                          idle: N new connections a second\n"
    "  -I, --interval MS       open loop: a message every MS milliseconds from each publisher\n"
    "  --p99-below US          search the highest rate with p99 at most US microseconds\n"
    "  -w, --window N          closed loop: N undelivered messages for each publisher\n"
    "  -T, --threads N         (1)\n"
    "  --source ADDRESS,...    connect from these local addresses in turn (28,000 connections each)\n"
    "  --keep-alive SECONDS    (0, off)\n"
    "\n"
    "Without the kernel: Pollux's own TCP/IP stack on a DPDK device, polled without pause on one CPU\n"
    "  --dpdk DEVICE           net_vhost0,iface=/run/x.sock   net_af_xdp0,iface=eth1   0000:01:00.0   ...\n"
    "  --address IP/PREFIX,... addresses to connect from in turn (32,000 connections each)\n"
    "  --gateway IP            --mtu BYTES  (1500)    --buffers N  packet buffers of 2.3 KiB (65536)\n"
    "\n"
    "Measurement\n"
    "  -d, --duration SECONDS  (5)      --warm-up SECONDS  (1)\n"
    "  --json                  one line of JSON for each scenario\n"
    "  --details               in it also the distribution of latency, and rates over time\n"
    "  --quiet                 no progress\n"
    "  --help\n"
    "\n"
    "Examples\n"
    "  pollux-perf -h 198.18.0.1                        how much 50 pairs get through\n"
    "  pollux-perf rtt fanout-1000 qos1 --json          three scenarios, for a script\n"
    "  pollux-perf fanin-1k -r 50000 -d 30              latency at 50,000 messages a second\n"
    "  pollux-perf fanin-1k --p99-below 1000            the highest rate with p99 below 1 ms\n"
    "  pollux-perf p2p-10 -q 2 -V 5 -s 1024 -T 2\n"
    "  pollux-perf idle-20k --broker-pid $(pidof mosquitto)\n"
    "  pollux-perf fanout-100 --stalled 10              what slow subscribers cost the others\n"
    "\n"
    "Ctrl-C ends the measurement, and what was measured is reported.\n"
    "Exit status: 0 all messages arrived once and in order, 3 some did not, 1 the load could not be put on, 2 usage,\n"
    "130 interrupted.\n";

static _Noreturn void usage_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("pollux-perf: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("; --help says more\n", stderr);
    exit(2);
}

/* ---- Scenarios ---- */

enum meaning { CLIENTS, PUBLISHERS, SUBSCRIBERS, SIZE, RETAINED };

static const struct {
    const char *name;
    enum pattern pattern;
    enum meaning number; /* what "-N" means */
    uint32_t publishers, subscribers, payload;
    uint8_t qos;
    uint32_t window;
} presets[] = {
    {"p2p", PATTERN_P2P, CLIENTS, 50, 50, 64, 0, 0},
    {"fanin", PATTERN_FAN_IN, PUBLISHERS, 100, 1, 64, 0, 0},
    {"fanout", PATTERN_FAN_OUT, SUBSCRIBERS, 1, 100, 64, 0, 0},
    {"shared", PATTERN_SHARED, SUBSCRIBERS, 100, 5, 64, 0, 0},
    {"qos1", PATTERN_P2P, CLIENTS, 50, 50, 64, 1, 0},
    {"qos2", PATTERN_P2P, CLIENTS, 50, 50, 64, 2, 0},
    {"big", PATTERN_P2P, SIZE, 10, 10, 4096, 0, 0},
    {"devices", PATTERN_FAN_IN, PUBLISHERS, 10000, 1, 64, 0, 1},
    {"rtt", PATTERN_P2P, CLIENTS, 1, 1, 64, 0, 1},
    {"connect", PATTERN_CONNECT, PUBLISHERS, 100, 0, 64, 0, 0},
    {"idle", PATTERN_IDLE, PUBLISHERS, 1000, 0, 64, 0, 0},
    {"retained", PATTERN_STORM, RETAINED, 1, 10, 64, 0, 0},
};

#define COUNT_MAX 100000000u /* of anything: more fit no machine */
#define TOPIC_MAX 1000u      /* bytes of -t */
#define ID_PREFIX_MAX 100u   /* bytes of -i */
#define THREADS_MAX 256u

/* "4k" is 4,096 as a size and 4,000 as a number of clients. */
static uint32_t parse_count(const char *text, uint32_t thousand)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end == 'k' || *end == 'K') {
        value *= thousand;
        end++;
    } else if (*end == 'm' || *end == 'M') {
        value *= (unsigned long)thousand * thousand;
        end++;
    }
    if (end == text || *end != 0 || value == 0 || value > COUNT_MAX)
        usage_error("'%s' is not a number from 1 to %u", text, COUNT_MAX);
    return (uint32_t)value;
}

static void set_number(struct scenario *scenario, enum meaning meaning, const char *text)
{
    uint32_t number = parse_count(text, meaning == SIZE ? 1024 : 1000);
    if (meaning == SIZE)
        scenario->payload = number;
    if (meaning == RETAINED)
        scenario->retained = number;
    if (meaning == CLIENTS || meaning == PUBLISHERS)
        scenario->publishers = number;
    if (meaning == CLIENTS || meaning == SUBSCRIBERS)
        scenario->subscribers = number;
}

/* What -c sets where the number at the name is of something else. */
static enum meaning clients_of(enum meaning meaning)
{
    return meaning == SIZE ? CLIENTS : meaning == RETAINED ? SUBSCRIBERS : meaning;
}

static void add_scenario(struct options *options, const char *name, const char *clients)
{
    size_t length = strcspn(name, "-");
    if (options->scenarios == SCENARIOS_MAX)
        usage_error("more than %d scenarios", SCENARIOS_MAX);
    struct scenario *scenario = &options->scenario[options->scenarios++];
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
        if (strlen(presets[i].name) != length || strncmp(name, presets[i].name, length) != 0)
            continue;
        *scenario = (struct scenario){.pattern = presets[i].pattern,
                                      .publishers = presets[i].publishers,
                                      .subscribers = presets[i].subscribers,
                                      .payload = presets[i].payload,
                                      .retained = 100000,
                                      .qos = presets[i].qos,
                                      .window = presets[i].window};
        snprintf(scenario->name, sizeof(scenario->name), "%s", name);
        if (name[length] == '-')
            set_number(scenario, presets[i].number, name + length + 1);
        if (clients != NULL)
            set_number(scenario, clients_of(presets[i].number), clients);
        return;
    }
    usage_error("there is no scenario '%s'", name);
}

/* ---- Options ---- */

/* Whether something listens there; a name may have addresses that the broker does not serve (localhost as ::1). */
static bool accepts(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool accepted = fd >= 0 && connect(fd, address->ai_addr, address->ai_addrlen) == 0;
    if (fd >= 0)
        close(fd);
    return accepted;
}

/* The first address of a name that accepts a connection, or the first one; a single address is not tried. */
static void resolve(const char *host, const char *port, struct sockaddr_storage *address, socklen_t *length)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found, *chosen;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0)
        usage_error("%s port %s: %s", host, port == NULL ? "any" : port, gai_strerror(error));
    for (chosen = found; chosen != NULL && found->ai_next != NULL && !accepts(chosen);)
        chosen = chosen->ai_next;
    if (chosen == NULL)
        chosen = found;
    memcpy(address, chosen->ai_addr, chosen->ai_addrlen);
    *length = chosen->ai_addrlen;
    freeaddrinfo(found);
}

static uint8_t parse_version(const char *text)
{
    static const struct {
        const char *name;
        uint8_t version;
    } names[] = {{"31", MQTT_V31},   {"3.1", MQTT_V31},    {"mqttv31", MQTT_V31},   {"3", MQTT_V31},
                 {"311", MQTT_V311}, {"3.1.1", MQTT_V311}, {"mqttv311", MQTT_V311}, {"4", MQTT_V311},
                 {"5", MQTT_V5},     {"5.0", MQTT_V5},     {"mqttv5", MQTT_V5}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i].name) == 0)
            return names[i].version;
    usage_error("'%s' is no MQTT version: 31, 311 or 5", text);
}

static double parse_positive(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !(value > 0) || value > 1e9)
        usage_error("'%s' is not a number above 0, at most 1,000,000,000", text);
    return value;
}

static uint32_t parse_range(const char *name, const char *text, uint32_t least, uint32_t most)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != 0 || text[0] == '-' || value < least || value > most)
        usage_error("%s: '%s' is not a number from %u to %u", name, text, least, most);
    return (uint32_t)value;
}

static double parse_seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !(value >= 0) || value > 1e6)
        usage_error("'%s' is not a number of seconds", text);
    return value;
}

static void parse_pids(struct process_list *processes, char *list)
{
    for (char *rest, *item = strtok_r(list, ", ", &rest); item != NULL; item = strtok_r(NULL, ", ", &rest)) {
        if (processes->count == PROCESS_MAX)
            usage_error("more than %d processes", PROCESS_MAX);
        processes->pid[processes->count++] = (pid_t)parse_count(item, 1000);
    }
    uint64_t bytes;
    if (!process_memory(processes, &bytes))
        usage_error("--broker-pid: there is no such process");
}

/* "1883,1884" into the list; the first one also becomes the port of the address. */
static void parse_ports(struct options *options, const char *text)
{
    char list[512];
    snprintf(list, sizeof(list), "%s", text);
    for (char *rest, *item = strtok_r(list, ", ", &rest); item != NULL; item = strtok_r(NULL, ", ", &rest)) {
        uint32_t port = parse_count(item, 1000);
        if (port > UINT16_MAX || options->ports == PORTS_MAX)
            usage_error("--port: up to %d ports, each up to %d", PORTS_MAX, UINT16_MAX);
        options->port[options->ports++] = (uint16_t)port;
    }
    if (options->ports == 0)
        usage_error("--port: no port");
}

static void parse_sources(struct options *options, char *list)
{
    socklen_t length;
    for (char *rest, *item = strtok_r(list, ", ", &rest); item != NULL; item = strtok_r(NULL, ", ", &rest)) {
        if (options->sources == SOURCES_MAX)
            usage_error("more than %d source addresses", SOURCES_MAX);
        resolve(item, NULL, &options->source[options->sources++], &length);
    }
}

/* 198.18.0.2/24 or 2001:db8::2/64. */
static void parse_prefix(const char *text, struct net_prefix *prefix)
{
    char address[64];
    uint8_t bytes[16];
    uint32_t ip4;
    const char *slash = strchr(text, '/');
    char *end = NULL;
    unsigned long length = slash != NULL ? strtoul(slash + 1, &end, 10) : 0;
    if (end != NULL && *end != 0)
        length = 0;
    snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
    if (slash != NULL && inet_pton(AF_INET, address, &ip4) == 1 && length >= 1 && length <= 32)
        *prefix = (struct net_prefix){net_address_ip4(ip4), (uint8_t)length};
    else if (slash != NULL && inet_pton(AF_INET6, address, bytes) == 1 && length >= 1 && length <= 128)
        *prefix = (struct net_prefix){net_address_ip6(bytes), (uint8_t)length};
    else
        usage_error("'%s' is no address with prefix length, such as 198.18.0.2/24", text);
}

static void parse_local_addresses(struct options *options, char *list)
{
    for (char *rest, *item = strtok_r(list, ", ", &rest); item != NULL; item = strtok_r(NULL, ", ", &rest)) {
        if (options->locals == NET_INTERFACE_ADDRESSES)
            usage_error("--address: more than %d", NET_INTERFACE_ADDRESSES);
        parse_prefix(item, &options->local[options->locals++]);
    }
}

static void parse_gateway(struct options *options, const char *text)
{
    uint8_t bytes[16];
    uint32_t ip4;
    if (inet_pton(AF_INET, text, &ip4) == 1)
        options->gateway = net_address_ip4(ip4);
    else if (inet_pton(AF_INET6, text, bytes) == 1)
        options->gateway = net_address_ip6(bytes);
    else
        usage_error("--gateway: '%s' is no address, such as 198.18.0.254", text);
}

/* What the command line says about every scenario; -1 and NULL where it says nothing. */
struct overrides {
    const char *host, *port, *clients;
    int32_t publishers, subscribers, size, qos, window;
    double rate, interval;
};

enum {
    LONG_HELP = 256,
    PUBLISHERS_,
    SUBSCRIBERS_,
    BROKER_PID,
    SOURCE,
    KEEP_ALIVE,
    WARM_UP,
    P99_BELOW,
    JSON,
    QUIET,
    DPDK,
    TOPICS,
    SUBSCRIPTIONS,
    STALLED,
    DETAILS,
    ADDRESS,
    GATEWAY,
    MTU,
    BUFFERS
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"version", required_argument, NULL, 'V'},
    {"user", required_argument, NULL, 'u'},
    {"password", required_argument, NULL, 'P'},
    {"broker-pid", required_argument, NULL, BROKER_PID},
    {"clients", required_argument, NULL, 'c'},
    {"publishers", required_argument, NULL, PUBLISHERS_},
    {"subscribers", required_argument, NULL, SUBSCRIBERS_},
    {"size", required_argument, NULL, 's'},
    {"qos", required_argument, NULL, 'q'},
    {"topic", required_argument, NULL, 't'},
    {"id", required_argument, NULL, 'i'},
    {"rate", required_argument, NULL, 'r'},
    {"interval", required_argument, NULL, 'I'},
    {"window", required_argument, NULL, 'w'},
    {"threads", required_argument, NULL, 'T'},
    {"source", required_argument, NULL, SOURCE},
    {"keep-alive", required_argument, NULL, KEEP_ALIVE},
    {"duration", required_argument, NULL, 'd'},
    {"warm-up", required_argument, NULL, WARM_UP},
    {"p99-below", required_argument, NULL, P99_BELOW},
    {"topics", required_argument, NULL, TOPICS},
    {"subscriptions", required_argument, NULL, SUBSCRIPTIONS},
    {"stalled", required_argument, NULL, STALLED},
    {"details", no_argument, NULL, DETAILS},
    {"dpdk", required_argument, NULL, DPDK},
    {"address", required_argument, NULL, ADDRESS},
    {"gateway", required_argument, NULL, GATEWAY},
    {"mtu", required_argument, NULL, MTU},
    {"buffers", required_argument, NULL, BUFFERS},
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, LONG_HELP},
    {NULL, 0, NULL, 0},
};

static bool parse_device_option(struct options *options, int option)
{
    switch (option) {
    case DPDK:
        options->dpdk = optarg;
        return true;
    case ADDRESS:
        parse_local_addresses(options, optarg);
        return true;
    case GATEWAY:
        parse_gateway(options, optarg);
        return true;
    case MTU:
        options->mtu = (uint16_t)parse_range("--mtu", optarg, 576, 9600);
        return true;
    case BUFFERS:
        options->buffers = parse_count(optarg, 1024);
        return true;
    default:
        return false;
    }
}

static void parse_load_option(struct overrides *overrides, int option)
{
    switch (option) {
    case 'c':
        overrides->clients = optarg;
        break;
    case PUBLISHERS_:
        overrides->publishers = (int32_t)parse_count(optarg, 1000);
        break;
    case SUBSCRIBERS_:
        overrides->subscribers = (int32_t)parse_count(optarg, 1000);
        break;
    case 's':
        overrides->size = (int32_t)parse_count(optarg, 1024);
        break;
    case 'q':
        if (optarg[0] < '0' || optarg[0] > '2' || optarg[1] != 0)
            usage_error("'%s' is no QoS: 0, 1 or 2", optarg);
        overrides->qos = optarg[0] - '0';
        break;
    case 'r':
        overrides->rate = parse_positive(optarg);
        break;
    case 'I':
        overrides->interval = parse_positive(optarg);
        break;
    case 'w':
        overrides->window = (int32_t)parse_count(optarg, 1000);
        break;
    default: /* getopt has said what is wrong */
        fputs("Try: pollux-perf --help\n", stderr);
        exit(2);
    }
}

static void parse_option(struct options *options, struct overrides *overrides, int option)
{
    switch (option) {
    case LONG_HELP:
        fputs(help, stdout);
        exit(0);
    case 'h':
        overrides->host = optarg;
        break;
    case 'p':
        overrides->port = optarg;
        break;
    case 'V':
        options->version = parse_version(optarg);
        break;
    case 'u':
        options->user_name = optarg;
        break;
    case 'P':
        options->password = optarg;
        break;
    case 't':
        options->topic = optarg;
        break;
    case 'i':
        options->id_prefix = optarg;
        break;
    case 'T':
        options->threads = parse_range("--threads", optarg, 1, THREADS_MAX);
        break;
    case 'd':
        options->duration = parse_seconds(optarg);
        if (options->duration == 0)
            usage_error("--duration is more than 0 seconds");
        break;
    case WARM_UP:
        options->warmup = parse_seconds(optarg);
        break;
    case P99_BELOW:
        options->p99_below = parse_positive(optarg);
        break;
    case KEEP_ALIVE:
        options->keep_alive = (uint16_t)parse_range("--keep-alive", optarg, 0, UINT16_MAX);
        break;
    case TOPICS:
        options->topics = parse_count(optarg, 1000);
        break;
    case SUBSCRIPTIONS:
        options->subscriptions = parse_count(optarg, 1000);
        break;
    case STALLED:
        options->stalled = parse_count(optarg, 1000);
        break;
    case DETAILS:
        options->details = true;
        break;
    case BROKER_PID:
        parse_pids(&options->broker, optarg);
        break;
    case SOURCE:
        parse_sources(options, optarg);
        break;
    case JSON:
        options->json = true;
        break;
    case QUIET:
        options->quiet = true;
        break;
    default:
        if (!parse_device_option(options, option))
            parse_load_option(overrides, option);
    }
}

static void apply(struct scenario *scenario, const struct overrides *overrides, uint32_t stalled)
{
    if (overrides->publishers > 0)
        scenario->publishers = (uint32_t)overrides->publishers;
    if (overrides->subscribers > 0 && scenario->subscribers > 0)
        scenario->subscribers = (uint32_t)overrides->subscribers;
    if (overrides->size > 0)
        scenario->payload = (uint32_t)overrides->size;
    if (overrides->qos >= 0)
        scenario->qos = (uint8_t)overrides->qos;
    if (overrides->window > 0)
        scenario->window = (uint32_t)overrides->window;
    const bool has_rate = overrides->rate > 0 || overrides->interval > 0;
    if (has_rate && (scenario->pattern == PATTERN_CONNECT || scenario->pattern == PATTERN_STORM))
        usage_error("%s goes as fast as the broker takes it: it has no rate", scenario->name);
    if (overrides->interval > 0 && scenario->pattern == PATTERN_IDLE)
        usage_error("%s has no messages to send at an interval; -r N opens N connections a second", scenario->name);
    scenario->rate = overrides->interval > 0 ? scenario->publishers * 1000 / overrides->interval : overrides->rate;
    if (stalled > 0 && scenario->pattern == PATTERN_SHARED)
        usage_error("--stalled: who does not read would get a share of the messages");
    if (scenario->payload < LOAD_STAMP || scenario->payload > LOAD_PAYLOAD_MAX)
        usage_error("a payload has %u to %u bytes", LOAD_STAMP, LOAD_PAYLOAD_MAX);
}

static void check_texts(const struct options *options)
{
    if (options->topic != NULL && (strlen(options->topic) > TOPIC_MAX || strpbrk(options->topic, "+#") != NULL))
        usage_error("--topic: a name that messages are published to, up to %u bytes, without + and #", TOPIC_MAX);
    if (options->id_prefix != NULL && strlen(options->id_prefix) > ID_PREFIX_MAX)
        usage_error("--id: a prefix has up to %u bytes", ID_PREFIX_MAX);
    if (options->password != NULL && options->user_name == NULL && options->version != MQTT_V5)
        usage_error("--password needs --user before MQTT 5");
}

static void check_device_options(const struct options *options)
{
    if (options->dpdk == NULL) {
        if (options->locals > 0)
            usage_error("--address goes with --dpdk; kernel sockets have --source");
        return;
    }
    if (options->locals == 0)
        usage_error("--dpdk needs --address, such as 198.18.0.2/24");
    if (options->threads > 1 || options->sources > 0)
        usage_error("--dpdk runs on one thread, and --address has its sources");
}

void options_parse(struct options *options, int argc, char **argv)
{
    struct overrides overrides = {
        .host = "localhost", .port = "1883", .publishers = -1, .subscribers = -1, .size = -1, .qos = -1, .window = -1};
    *options =
        (struct options){.version = MQTT_V311, .threads = 1, .duration = 5, .warmup = 1, .buffers = 65536, .mtu = 1500};
    int option;
    while ((option = getopt_long(argc, argv, "h:p:V:u:P:c:s:q:t:i:r:I:w:T:d:", long_options, NULL)) != -1)
        parse_option(options, &overrides, option);
    for (int i = optind; i < argc; i++)
        add_scenario(options, argv[i], overrides.clients);
    if (options->scenarios == 0)
        add_scenario(options, "p2p-50", overrides.clients);
    if (overrides.rate > 0 && overrides.interval > 0)
        usage_error("--rate and --interval say the same thing: one of them");
    if (options->p99_below > 0 && (overrides.rate > 0 || overrides.interval > 0))
        usage_error("--p99-below searches the rate itself: without --rate and --interval");
    check_texts(options);
    for (uint32_t i = 0; i < options->scenarios; i++)
        apply(&options->scenario[i], &overrides, options->stalled);
    check_device_options(options);
    parse_ports(options, overrides.port);
    char port[8];
    snprintf(port, sizeof(port), "%u", options->port[0]);
    resolve(overrides.host, port, &options->address, &options->address_length);
    snprintf(options->target, sizeof(options->target), "%s:%s", overrides.host, overrides.port);
}

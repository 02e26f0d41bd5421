/*
 * pollux-tcp-echo: how fast lib/net is by itself. A server (echo on port 7, discard on port 9: RFC 862, RFC 863) and a
 * client on two devices that are each other's peer, one thread and one CPU each.
 *
 * The client prints one line of JSON. Requests are one byte each, one at a time on a connection. A connection of
 * tcp-connect is opened, carries one byte there and back, and is reset, so that no port stays in TIME-WAIT. bulk fills
 * the send buffers of its connections; memory bandwidth is measured before it, for comparison.
 */
#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "perf/histogram.h"
#include "perf/station.h"

enum { PORT_ECHO = 7, PORT_DISCARD = 9, CONNECTING_AT_ONCE = 256, BULK_PIECE = 64 << 10, MEMORY_BLOCK = 32 << 20 };
enum work { WORK_SERVE, WORK_ECHO, WORK_CONNECT, WORK_BULK };

static const char help[] =
    "Usage: pollux-tcp-echo serve|echo|connect|bulk --dpdk DEVICE --address IP/PREFIX,... [OPTION...]\n"
    "Measures Pollux's TCP/IP stack between two DPDK devices: `serve` at one end, the others at the other.\n"
    "  --dpdk DEVICE            net_vhost0,iface=/run/x.sock at one end, net_virtio_user0,path=/run/x.sock at the "
    "other\n"
    "  --address IP/PREFIX,...  IPv4 addresses of this end; of the client: to connect from, in turn\n"
    "  --host IP                the server\n"
    "  -c N                     connections (echo 1, connect 100, bulk 8)\n"
    "  -d SECONDS               of the measurement (3), after a warm-up of half a second\n"
    "  --buffers N              packet buffers (65536)\n"
    "`serve` ends with SIGTERM.\n";

/* A connection of the client. */
struct request {
    uint64_t since; /* cycles: sent, or began to connect */
};

struct program {
    enum work work;
    const char *dpdk;
    struct net_prefix addresses[NET_INTERFACE_ADDRESSES];
    uint32_t address_count;
    struct net_address host;
    uint32_t connections;
    uint32_t buffers;
    double duration;

    struct station *station;
    struct request *requests;
    uint32_t started, connected;
    bool measuring;
    uint64_t done;  /* requests or connections in the measurement */
    uint64_t bytes; /* bulk: given to TCP in the measurement */
    uint64_t failed;
    uint8_t *piece;
    struct histogram latency; /* cycles */
};

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    stopping = 1;
}

static void ignore(void *arg, struct tcp_connection *connection)
{
}

static uint64_t cycles_of(double seconds)
{
    return (uint64_t)(seconds * (double)rte_get_tsc_hz());
}

/* ---- The server: what it has to know of a connection is the port ---- */

static void server_accepted(void *arg, struct tcp_connection *connection, void *listener_arg)
{
    tcp_set_user(connection, NULL);
}

static void server_readable(void *arg, struct tcp_connection *connection)
{
    const bool discard = tcp_flow(connection)->local_port == PORT_DISCARD;
    const uint8_t *bytes;
    uint32_t length;
    while ((bytes = tcp_peek(connection, &length)) != NULL) {
        size_t used = discard ? length : tcp_send(connection, bytes, length);
        tcp_consume(connection, (uint32_t)used);
        if (used < length)
            return; /* `writable` goes on */
    }
}

static void server_peer_closed(void *arg, struct tcp_connection *connection)
{
    tcp_close(connection);
}

static void server_closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
}

static void serve(struct program *program)
{
    for (int port = PORT_ECHO; port <= PORT_DISCARD; port += PORT_DISCARD - PORT_ECHO)
        if (tcp_listen(program->station->stack, &NET_ADDRESS_ANY, (uint16_t)port, NULL) < 0)
            errx(1, "cannot listen");
    while (!stopping)
        station_poll(program->station);
}

/* ---- The client ---- */

static void begin(struct program *program, uint32_t number)
{
    const uint16_t port = program->work == WORK_BULK ? PORT_DISCARD : PORT_ECHO;
    const struct net_prefix *source = &program->addresses[number % program->address_count];
    struct request *request = &program->requests[number];
    request->since = rte_rdtsc();
    if (tcp_connect(program->station->stack, &source->address, 0, &program->host, port, request) == NULL)
        errx(1, "cannot open connection %u: no port or no room for it", number);
}

static void send_one(struct tcp_connection *connection, struct request *request)
{
    uint8_t *place = tcp_reserve(connection, 1);
    if (place == NULL)
        errx(1, "no packet buffer for a request: raise --buffers");
    *place = 'x';
    tcp_commit(connection, 1);
    request->since = rte_rdtsc();
}

static void fill(struct program *program, struct tcp_connection *connection)
{
    size_t sent;
    do {
        sent = tcp_send(connection, program->piece, BULK_PIECE);
        program->bytes += program->measuring ? sent : 0;
    } while (sent == BULK_PIECE);
}

static void client_connected(void *arg, struct tcp_connection *connection)
{
    struct program *program = arg;
    struct request *request = tcp_user(connection);
    program->connected++;
    if (program->work == WORK_BULK) {
        fill(program, connection);
        return;
    }
    const uint64_t since = request->since;
    send_one(connection, request);
    if (program->work == WORK_CONNECT)
        request->since = since;
}

static void count(struct program *program, const struct request *request)
{
    if (!program->measuring)
        return;
    program->done++;
    histogram_record(&program->latency, rte_rdtsc() - request->since);
}

static void client_readable(void *arg, struct tcp_connection *connection)
{
    struct program *program = arg;
    struct request *request = tcp_user(connection);
    tcp_consume(connection, tcp_readable_bytes(connection));
    count(program, request);
    if (program->work == WORK_CONNECT)
        tcp_abort(connection);
    else
        send_one(connection, request);
}

static void client_writable(void *arg, struct tcp_connection *connection)
{
    fill(arg, connection);
}

static void client_closed(void *arg, struct tcp_connection *connection, enum tcp_close_reason reason)
{
    struct program *program = arg;
    const struct request *request = tcp_user(connection);
    if (program->work != WORK_CONNECT || reason != TCP_CLOSE_ABORTED)
        program->failed++;
    if (program->work == WORK_CONNECT)
        begin(program, (uint32_t)(request - program->requests));
}

static void poll_until(struct program *program, uint64_t end)
{
    while (rte_rdtsc() < end && !stopping)
        station_poll(program->station);
}

static void connect_all(struct program *program)
{
    const uint64_t patience = rte_rdtsc() + cycles_of(30);
    while (program->connected < program->connections) {
        while (program->started < program->connections && program->started - program->connected < CONNECTING_AT_ONCE)
            begin(program, program->started++);
        station_poll(program->station);
        if (rte_rdtsc() > patience || stopping)
            errx(1, "%u of %u connections in 30 seconds", program->connected, program->connections);
    }
}

/* Bytes a second that memcpy() moves between blocks larger than the caches. */
static double memory_bandwidth(void)
{
    uint8_t *from = malloc(MEMORY_BLOCK), *to = malloc(MEMORY_BLOCK);
    uint64_t copied = 0, start, end;
    if (from == NULL || to == NULL)
        abort();
    memset(from, 1, MEMORY_BLOCK);
    memcpy(to, from, MEMORY_BLOCK);
    start = rte_rdtsc();
    do {
        memcpy(to, from, MEMORY_BLOCK);
        __asm__ volatile("" : : "r"(to) : "memory");
        copied += MEMORY_BLOCK;
    } while ((end = rte_rdtsc()) - start < cycles_of(0.2));
    free(from);
    free(to);
    return (double)copied / ((double)(end - start) / (double)rte_get_tsc_hz());
}

static double us(const struct program *program, double share)
{
    return (double)histogram_percentile(&program->latency, share) * 1e6 / (double)rte_get_tsc_hz();
}

static void report(const struct program *program, double seconds, double busy, double memory)
{
    const double rate = (double)program->done / seconds, bytes = (double)program->bytes / seconds;
    printf("{\"connections\":%u", program->connections);
    if (program->work == WORK_BULK)
        printf(",\"bytes_per_s\":%.0f,\"memcpy_bytes_per_s\":%.0f,\"share_of_memcpy\":%.3f", bytes, memory,
               bytes / memory);
    else
        printf(",\"%s\":%.0f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f",
               program->work == WORK_CONNECT ? "connections_per_s" : "requests_per_s", rate, us(program, 0.5),
               us(program, 0.99), us(program, 0.999));
    printf(",\"failed\":%llu,\"generator_busy\":%.3f}\n", (unsigned long long)program->failed, busy);
}

static void measure(struct program *program)
{
    const double memory = program->work == WORK_BULK ? memory_bandwidth() : 0;
    connect_all(program);
    poll_until(program, rte_rdtsc() + cycles_of(0.5));
    const uint64_t start = rte_rdtsc(), busy = program->station->busy;
    program->measuring = true;
    poll_until(program, start + cycles_of(program->duration));
    program->measuring = false;
    const uint64_t took = rte_rdtsc() - start;
    report(program, (double)took / (double)rte_get_tsc_hz(), (double)(program->station->busy - busy) / (double)took,
           memory);
}

/* ---- Command line ---- */

static _Noreturn void usage_error(const char *text)
{
    fprintf(stderr, "pollux-tcp-echo: %s; --help says more\n", text);
    exit(2);
}

static void parse_addresses(struct program *program, char *list)
{
    for (char *rest, *item = strtok_r(list, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest)) {
        uint32_t ip4;
        char *slash = strchr(item, '/');
        if (slash == NULL || program->address_count == NET_INTERFACE_ADDRESSES)
            usage_error("--address: up to 8 of IP/PREFIX");
        *slash = 0;
        if (inet_pton(AF_INET, item, &ip4) != 1)
            usage_error("--address: no IPv4 address");
        program->addresses[program->address_count++] =
            (struct net_prefix){net_address_ip4(ip4), (uint8_t)atoi(slash + 1)};
    }
}

static void parse(struct program *program, int argc, char **argv)
{
    static const struct option options[] = {
        {"dpdk", required_argument, NULL, 'D'}, {"address", required_argument, NULL, 'a'},
        {"host", required_argument, NULL, 'h'}, {"buffers", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'H'},       {NULL, 0, NULL, 0}};
    uint32_t ip4;
    int option;
    while ((option = getopt_long(argc, argv, "c:d:h:", options, NULL)) != -1) {
        switch (option) {
        case 'D':
            program->dpdk = optarg;
            break;
        case 'a':
            parse_addresses(program, optarg);
            break;
        case 'h':
            if (inet_pton(AF_INET, optarg, &ip4) != 1)
                usage_error("--host: no IPv4 address");
            program->host = net_address_ip4(ip4);
            break;
        case 'b':
            program->buffers = (uint32_t)atoi(optarg);
            break;
        case 'c':
            program->connections = (uint32_t)atoi(optarg);
            break;
        case 'd':
            program->duration = atof(optarg);
            break;
        case 'H':
            fputs(help, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind + 1 != argc || program->dpdk == NULL || program->address_count == 0)
        usage_error("one of serve, echo, connect, bulk, and --dpdk and --address");
}

static void choose_work(struct program *program, const char *name)
{
    static const struct {
        const char *name;
        uint32_t connections;
    } works[] = {[WORK_SERVE] = {"serve", 262144},
                 [WORK_ECHO] = {"echo", 1},
                 [WORK_CONNECT] = {"connect", 100},
                 [WORK_BULK] = {"bulk", 8}};
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        if (strcmp(name, works[i].name) != 0)
            continue;
        program->work = (enum work)i;
        program->connections = program->connections > 0 ? program->connections : works[i].connections;
        return;
    }
    usage_error("the first argument is serve, echo, connect or bulk");
}

int main(int argc, char **argv)
{
    static struct program program = {.duration = 3, .buffers = 65536};
    static struct device device;
    const char *reason;
    parse(&program, argc, argv);
    choose_work(&program, argv[optind]);
    const bool server = program.work == WORK_SERVE;
    const struct device_config config = {.arguments = program.dpdk, .buffers = program.buffers, .mtu = 1500};
    device_open(&device, &config);
    const struct station_config station = {
        .device = &device,
        .addresses = program.addresses,
        .address_count = program.address_count,
        .max_connections = program.connections + 4096,
        .send_buffer = 1 << 20,
        .receive_buffer = 1 << 20,
        .callbacks = server ? (struct tcp_callbacks){server_accepted, ignore, server_readable, server_readable,
                                                     server_peer_closed, server_closed}
                            : (struct tcp_callbacks){NULL, client_connected, client_readable, client_writable, ignore,
                                                     client_closed},
        .arg = &program};
    program.requests = calloc(program.connections, sizeof(*program.requests));
    program.piece = calloc(1, BULK_PIECE);
    program.station = station_create(&station, &reason);
    if (program.station == NULL)
        errx(1, "the TCP/IP stack does not start: %s", reason);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    if (!device_wait_link(&device, 30))
        errx(1, "nobody at the other end for 30 seconds");
    if (server)
        serve(&program);
    else
        measure(&program);
    station_destroy(program.station);
    device_close(&device);
    return 0;
}

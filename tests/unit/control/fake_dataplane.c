/* A dataplane that routes nothing: see tests/unit/control/fake_dataplane.h. */
#include "tests/unit/control/fake_dataplane.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "lib/shm/link.h"
#include "lib/shm/login.h"
#include "lib/shm/messages.h"
#include "lib/stats/stats.h"

#define POLL_MS 2
#define COUNTERS(X)                                                 \
    X(messages_in, STATS_COUNTER, "messages", "Publishes received") \
    X(sessions, STATS_GAUGE, "sessions", "Sessions now")

#define RECOVERY(X)                                                     \
    X(tcp_timeouts, STATS_COUNTER, "events", "retransmission timeouts") \
    X(tcp_undone, STATS_COUNTER, "events", "window reductions taken back")

#define STAGES(X)                               \
    X(rx, STATS_COUNTER, "cycles", "Receiving") \
    X(match, STATS_COUNTER, "cycles", "Looking up")
#define RUNTIME(X)                                                       \
    X(busy_cycles, STATS_COUNTER, "cycles", "In iterations with work")   \
    X(idle_cycles, STATS_COUNTER, "cycles", "In iterations without any") \
    X(busy_iterations, STATS_COUNTER, "iterations", "With work")

struct counters {
    COUNTERS(STATS_MEMBER)
    struct histogram loop_time;
    STAGES(STATS_MEMBER)
    RUNTIME(STATS_MEMBER)
    RECOVERY(STATS_MEMBER)
};

struct fake {
    const struct fake_options *options;
    struct link_listener listener;
    struct link link;
    struct link_message message;
    struct shm_config config; /* generation 0: not configured */
    bool kicked[65536];
    struct shm_drain_arguments drain; /* the last one that was no question */
    uint32_t workers;
    uint64_t started, iterations;
    struct stats_segment statistics;
    struct shm_segment request_segment, reply_segment;
    struct shm_ring_consumer requests;
    struct shm_ring_producer replies;
    struct shm_request deferred;                          /* a page that waits for room; id 0: none */
    struct shm_segment question_segment, verdict_segment; /* nobody logs in */
    struct shm_segment capture_segment;
    struct shm_ring_producer captures[SHM_WORKERS_MAX];
    bool capturing;
    uint64_t captured, capture_dropped;
    int reply_event;
};

static uint64_t now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* ---- canned records --------------------------------------------------------------------------------------------- */

static void fill_client(const struct fake *fake, uint64_t index, struct shm_client_record *client)
{
    client->handle = index + 1;
    client->worker = (uint32_t)(index % fake->workers);
    client->flags = index % 4 == 3 ? 0 : SHM_CLIENT_CONNECTED | SHM_CLIENT_CLEAN_START;
    if (client->flags & SHM_CLIENT_CONNECTED) {
        client->peer.address = (struct shm_address){.bytes = {198, 18, 0, 2}, .family = 4};
        client->peer.port = (uint16_t)(10000 + index % 50000);
    }
    client->since_us = 1000000 * (index + 5);
    client->protocol = 3 + index % 3;
    client->keepalive_s = 60;
    client->subscriptions = 2;
    client->queued_messages = (uint32_t)(index * 7919 % 1000);
    client->queued_bytes = client->queued_messages * UINT64_C(100);
    client->messages_in = index;
    client->id_length = (uint16_t)snprintf((char *)client->id, sizeof client->id, "dev-%05u", (unsigned)index);
    client->username_length = (uint16_t)snprintf((char *)client->username, sizeof client->username, "user");
    if (index == 1)
        memcpy(client->id, "\x1b[31m\xffv1", 9); /* what a terminal and a JSON reader must be kept from */
}

static void fill_worker(const struct fake *fake, uint64_t index, struct shm_worker_record *worker)
{
    *worker = (struct shm_worker_record){.worker = (uint32_t)index,
                                         .core = (uint32_t)index + 1,
                                         .interval_us = 1000000,
                                         .iterations = fake->iterations,
                                         .busy_permille = 123,
                                         .sleeping_permille = 800,
                                         .loop_p50_ns = 900,
                                         .loop_p99_ns = 4200,
                                         .loop_p999_ns = 21000,
                                         .loop_max_ns = 90000,
                                         .rx_burst_x100 = 350,
                                         .tx_burst_x100 = 275,
                                         .connections = 3,
                                         .sessions = 4,
                                         .messages_in = 1234567,
                                         .messages_out = 9876543,
                                         .memory_used = 64 << 20,
                                         .memory_size = 256 << 20,
                                         .packet_buffers_free = 30000,
                                         .packet_buffers = 32768,
                                         .cycles_per_second = 2900000000};
}

static void fill_port(const struct fake *fake, uint64_t index, struct shm_port_record *port)
{
    const struct shm_port *config = &fake->config.ports[index];
    memcpy(port->name, config->name, sizeof port->name);
    snprintf(port->driver, sizeof port->driver, "net_fake");
    snprintf(port->device, sizeof port->device, "%.95s", config->device);
    memcpy(port->mac, "\x02\x00\x00\x00\x00\x01", 6);
    port->link = SHM_LINK_UP;
    port->mtu = config->mtu;
    port->rx_queues = port->tx_queues = config->queues;
    port->offloads = SHM_OFFLOAD_RSS | SHM_OFFLOAD_TSO;
    port->address_count = config->address_count;
    memcpy(port->addresses, config->addresses, sizeof port->addresses);
    port->rx_packets = 1000;
    port->rx_bytes = 64000;
}

static void fill_listener(const struct fake *fake, uint64_t index, struct shm_listener_record *listener)
{
    const struct shm_listener *config = &fake->config.listeners[index];
    memcpy(listener->name, config->name, sizeof listener->name);
    listener->local.port = (uint16_t)config->port;
    listener->max_connections = config->max_connections;
    listener->connections = 3;
}

static void fill_connection(const struct fake *fake, uint64_t index, struct shm_connection_record *connection)
{
    connection->local.address = (struct shm_address){.bytes = {198, 18, 0, 1}, .family = 4};
    connection->local.port = 1883;
    connection->remote.address = (struct shm_address){.bytes = {0x20, 1, 0x0d, 0xb8}, .family = 6};
    connection->remote.port = (uint16_t)(40000 + index);
    connection->worker = (uint32_t)(index % fake->workers);
    connection->state = SHM_TCP_ESTABLISHED;
    connection->cwnd = 14480;
    connection->srtt_us = 250;
    connection->client_id_length =
        (uint16_t)snprintf((char *)connection->client_id, SHM_CLIENT_ID_MAX, "dev-%05u", (unsigned)index);
}

static void fill_census(uint64_t index, struct shm_census_record *census)
{
    static const char *const names[] = {"sessions", "connections", "messages"};
    census->worker = index == 2 ? SHM_WORKER_ANY : 0;
    snprintf(census->name, sizeof census->name, "%s", names[index]);
    census->count = index * 10;
}

#define CAPTURE_SLOTS 1024u

/* A packet of each worker, of which the later worker's is the older one, and which takes two slots. One that finds no
 * room is dropped. */
static void capture_packets(struct fake *fake)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    const uint64_t now = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
    for (uint32_t i = 0; i < fake->workers; i++) {
        struct shm_capture_slot slot = {.first = 1,
                                        .length = 1000,
                                        .captured = 600,
                                        .id_length = 5,
                                        .time_ns = now - i * 1000,
                                        .port = 0,
                                        .direction = i % 2 ? SHM_CAPTURE_OUT : SHM_CAPTURE_IN,
                                        .data = "dev-1"};
        if (fake->options->corrupt_capture)
            slot.captured = 70000;
        if (shm_ring_room(&fake->captures[i]) < 2) {
            fake->capture_dropped++;
            continue;
        }
        shm_ring_push(&fake->captures[i], &slot);
        slot.first = 0;
        shm_ring_push(&fake->captures[i], &slot);
        fake->captured++;
    }
}

static void capture(struct fake *fake, const struct shm_capture_arguments *arguments, struct shm_capture_record *record)
{
    fake->capturing = arguments->action == SHM_CAPTURE_START;
    for (uint32_t i = 0; fake->capturing && i < fake->workers; i++) {
        struct shm_segment part;
        fake->captured = fake->capture_dropped = 0;
        shm_capture_part(&fake->capture_segment, i, CAPTURE_SLOTS, &part, NULL);
        shm_ring_reset(&part, CAPTURE_SLOTS, SHM_CAPTURE_SLOT_SIZE, NULL);
        shm_ring_open_producer(&fake->captures[i], &part, CAPTURE_SLOTS, SHM_CAPTURE_SLOT_SIZE, NULL);
    }
    *record = (struct shm_capture_record){
        .workers = fake->workers, .slots = CAPTURE_SLOTS, .packets = fake->captured, .dropped = fake->capture_dropped};
}

/* How many records a request has in all. */
static uint64_t record_count(const struct fake *fake, uint16_t type)
{
    switch (type) {
    case SHM_REQUEST_WORKERS:
        return fake->workers;
    case SHM_REQUEST_PORTS:
        return fake->config.port_count;
    case SHM_REQUEST_LISTENERS:
        return fake->config.listener_count;
    case SHM_REQUEST_CLIENTS:
    case SHM_REQUEST_CONNECTIONS:
        return fake->options->clients;
    case SHM_REQUEST_CENSUS:
        return 3;
    case SHM_REQUEST_KICK:
    case SHM_REQUEST_DRAIN:
    case SHM_REQUEST_CAPTURE:
        return 1;
    default:
        return 0;
    }
}

static uint64_t kick(struct fake *fake, const struct shm_kick_arguments *kick)
{
    for (uint64_t i = 0; i < fake->options->clients && i < 65536; i++) {
        struct shm_client_record client = {0};
        fill_client(fake, i, &client);
        bool meant = kick->handle
                         ? kick->handle == client.handle
                         : kick->id_length == client.id_length && memcmp(kick->id, client.id, kick->id_length) == 0;
        if (meant && !fake->kicked[i]) {
            fake->kicked[i] = true;
            return 1;
        }
    }
    return 0;
}

static void drain(struct fake *fake, const struct shm_drain_arguments *arguments, struct shm_drain_record *record)
{
    if (arguments->action != SHM_DRAIN_SHOW)
        fake->drain = *arguments;
    *record = (struct shm_drain_record){.active = fake->drain.action == SHM_DRAIN_START,
                                        .permanent = fake->drain.permanent,
                                        .rate = fake->drain.rate,
                                        .reference_length = fake->drain.reference_length,
                                        .connected = fake->options->clients};
    memcpy(record->reference, fake->drain.reference, sizeof record->reference);
}

static void fill_record(struct fake *fake, const struct shm_request *request, uint64_t index, struct shm_reply *reply)
{
    switch (request->type) {
    case SHM_REQUEST_WORKERS:
        fill_worker(fake, index, &reply->worker);
        break;
    case SHM_REQUEST_PORTS:
        fill_port(fake, index, &reply->port);
        break;
    case SHM_REQUEST_LISTENERS:
        fill_listener(fake, index, &reply->listener);
        break;
    case SHM_REQUEST_CLIENTS:
        fill_client(fake, index, &reply->client);
        break;
    case SHM_REQUEST_CONNECTIONS:
        fill_connection(fake, index, &reply->connection);
        break;
    case SHM_REQUEST_CENSUS:
        fill_census(index, &reply->census);
        break;
    case SHM_REQUEST_KICK:
        reply->kick.disconnected = kick(fake, &request->kick);
        break;
    case SHM_REQUEST_CAPTURE:
        capture(fake, &request->capture, &reply->capture);
        break;
    case SHM_REQUEST_DRAIN:
        drain(fake, &request->drain, &reply->drain);
        break;
    default:
        break;
    }
}

/* ---- answering -------------------------------------------------------------------------------------------------- */

/* One page; false when the ring has no room for it yet. */
static bool answer(struct fake *fake, const struct shm_request *request)
{
    if (shm_ring_room(&fake->replies) < request->limit + 1)
        return false;
    uint64_t count = record_count(fake, request->type);
    uint64_t index = request->cursor;
    for (uint32_t given = 0; index < count && given < request->limit; given++, index++) {
        struct shm_reply reply = {.id = request->id, .type = request->type, .status = SHM_REPLY_RECORD};
        fill_record(fake, request, index, &reply);
        if (fake->options->corrupt_reply)
            reply.status = 77;
        shm_ring_push(&fake->replies, &reply);
    }
    struct shm_reply end = {.id = request->id, .type = request->type, .status = SHM_REPLY_END};
    end.cursor = index < count ? index : 0;
    shm_ring_push(&fake->replies, &end);
    if (fake->options->corrupt_index)
        __atomic_store_n(&fake->replies.shared->tail, 0x80000000u, __ATOMIC_RELEASE);
    eventfd_write(fake->reply_event, 1);
    return true;
}

static void answer_requests(struct fake *fake)
{
    if (fake->options->mute)
        return;
    if (fake->deferred.id != 0 && !answer(fake, &fake->deferred))
        return;
    fake->deferred.id = 0;
    while (fake->deferred.id == 0 && shm_ring_pop(&fake->requests, &fake->deferred) == SHM_RING_OK)
        if (shm_request_check(&fake->deferred, NULL) != 0 || answer(fake, &fake->deferred))
            fake->deferred.id = 0;
}

/* ---- the link --------------------------------------------------------------------------------------------------- */

static int create_segments(struct fake *fake)
{
    static const struct stats_definition definitions[] = {COUNTERS(STATS_DEFINITION)};
    static const struct stats_definition loop[] = {
        {"loop_time", STATS_HISTOGRAM, "nanoseconds", "Time of an iteration that found work"}};
    static const struct stats_definition stages[] = {STAGES(STATS_DEFINITION)};
    static const struct stats_definition runtime[] = {RUNTIME(STATS_DEFINITION)};
    static const struct stats_definition recovery[] = {RECOVERY(STATS_DEFINITION)};
    struct stats_builder *builder = stats_builder_create();
    if (stats_builder_add(builder, STATS_WORKER, "mqtt", definitions, 2, NULL) != 0 ||
        stats_builder_add(builder, STATS_WORKER, "loop", loop, 1, NULL) != 2 ||
        stats_builder_add(builder, STATS_WORKER, "stages", stages, 2, NULL) < 0 ||
        stats_builder_add(builder, STATS_WORKER, "runtime", runtime, 3, NULL) < 0 ||
        stats_builder_add(builder, STATS_WORKER, STATS_GROUP_NET "recovery", recovery, 2, NULL) < 0 ||
        stats_builder_finish(builder, fake->workers, &fake->statistics, NULL) != 0)
        return -1;
    size_t request_size = shm_ring_segment_size(SHM_REQUEST_SLOTS, SHM_SLOT_SIZE);
    size_t reply_size = shm_ring_segment_size(SHM_REPLY_SLOTS, SHM_SLOT_SIZE);
    fake->reply_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (shm_segment_create(&fake->request_segment, "fake-requests", SHM_SEGMENT_REQUESTS, request_size, false, NULL) !=
        0)
        return -1;
    if (shm_segment_create(&fake->capture_segment, "fake-captures", SHM_SEGMENT_CAPTURE,
                           shm_capture_segment_size(fake->workers, CAPTURE_SLOTS), false, NULL) != 0)
        return -1;
    size_t login_size = shm_ring_segment_size(SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE);
    if (shm_segment_create(&fake->question_segment, "fake-questions", SHM_SEGMENT_QUESTIONS, login_size, false, NULL) !=
            0 ||
        shm_segment_create(&fake->verdict_segment, "fake-verdicts", SHM_SEGMENT_VERDICTS, login_size, false, NULL) != 0)
        return -1;
    return shm_segment_create(&fake->reply_segment, "fake-replies", SHM_SEGMENT_REPLIES, reply_size, false, NULL);
}

static void publish(struct fake *fake)
{
    static struct counters counters;
    fake->iterations++;
    counters.messages_in += 10;
    counters.sessions = fake->options->clients;
    counters.rx += 250;
    counters.match += 750;
    counters.busy_cycles += 1000;
    counters.idle_cycles += 3000;
    counters.busy_iterations++;
    counters.tcp_timeouts = 7;
    histogram_record(&counters.loop_time, 1000);
    for (uint32_t worker = 0; worker < fake->workers; worker++) {
        stats_publish_begin(&fake->statistics, worker);
        stats_publish(&fake->statistics, worker, 0, (const uint64_t *)&counters, sizeof counters / 8);
        stats_publish_end(&fake->statistics, worker, now_us());
    }
}

static void hand_over(struct fake *fake)
{
    shm_ring_reset(&fake->request_segment, SHM_REQUEST_SLOTS, SHM_SLOT_SIZE, NULL);
    shm_ring_reset(&fake->reply_segment, SHM_REPLY_SLOTS, SHM_SLOT_SIZE, NULL);
    shm_ring_open_consumer(&fake->requests, &fake->request_segment, SHM_REQUEST_SLOTS, SHM_SLOT_SIZE, NULL);
    shm_ring_open_producer(&fake->replies, &fake->reply_segment, SHM_REPLY_SLOTS, SHM_SLOT_SIZE, NULL);
    fake->deferred.id = 0;
    shm_ring_reset(&fake->question_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, NULL);
    shm_ring_reset(&fake->verdict_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, NULL);
    struct link_segments segments = {.statistics = fake->statistics.segment.fd,
                                     .requests = fake->request_segment.fd,
                                     .replies = fake->reply_segment.fd,
                                     .questions = fake->question_segment.fd,
                                     .verdicts = fake->verdict_segment.fd,
                                     .captures = fake->capture_segment.fd,
                                     .reply_event = fake->reply_event};
    link_send_segments(&fake->link, &segments, NULL);
}

static void say_hello(struct fake *fake)
{
    struct link_hello hello = {.state = fake->config.generation ? LINK_STATE_RUNNING : LINK_STATE_UNCONFIGURED,
                               .generation = fake->config.generation,
                               .fingerprint = fake->config.fingerprint,
                               .uptime_us = now_us() - fake->started,
                               .build_id = "fake"};
    link_send_hello(&fake->link, &hello, NULL);
}

static void take_config(struct fake *fake)
{
    struct shm_error error;
    if (fake->options->fail || shm_config_validate(&fake->message.config, &error) != 0) {
        link_send_failed(&fake->link, fake->options->fail ? fake->options->fail : error.text, NULL);
        return;
    }
    fake->config = fake->message.config;
    fake->workers = fake->options->workers ? fake->options->workers : fake->config.dataplane.workers;
    if (create_segments(fake) != 0) {
        link_send_failed(&fake->link, "no segments", NULL);
        return;
    }
    link_send_ready(&fake->link, fake->config.generation, NULL);
    hand_over(fake);
}

static void serve_link(struct fake *fake)
{
    switch (link_poll(&fake->link, &fake->message, NULL)) {
    case LINK_NOTHING:
        return;
    case LINK_CLOSED:
    case LINK_INVALID:
        link_close(&fake->link);
        return;
    case LINK_MESSAGE:
        break;
    }
    if (fake->message.type == LINK_HELLO && fake->config.generation)
        hand_over(fake);
    else if (fake->message.type == LINK_CONFIGURE && !fake->config.generation)
        take_config(fake);
    link_message_close(&fake->message);
}

static void send_wrong_layout(struct fake *fake)
{
    /* The header as link.c sends it, then a HELLO whose version is off by one. */
    struct {
        uint32_t magic, type, length;
        struct link_hello hello;
    } __attribute__((packed)) message = {0x706c6e6bu, LINK_HELLO, sizeof(struct link_hello), {SHM_LAYOUT_VERSION + 1}};
    ssize_t sent = write(fake->link.fd, &message, sizeof message);
    (void)sent;
}

static void step(struct fake *fake)
{
    bool busy = fake->link.fd >= 0;
    struct link accepted;
    if (link_accept(&fake->listener, &accepted, busy, NULL) == 1) {
        fake->link = accepted;
        if (fake->options->wrong_layout)
            send_wrong_layout(fake);
        else
            say_hello(fake);
    }
    if (fake->link.fd >= 0)
        serve_link(fake);
    if (fake->config.generation)
        publish(fake);
    if (fake->capturing)
        capture_packets(fake);
    if (fake->link.fd >= 0 && fake->requests.shared)
        answer_requests(fake);
}

static int run(struct fake *fake, int stop_fd, int ready_fd)
{
    struct pollfd waiting = {.fd = stop_fd, .events = POLLIN};
    if (ready_fd >= 0) {
        ssize_t written = write(ready_fd, "r", 1);
        (void)written;
    }
    while (poll(&waiting, 1, POLL_MS) == 0)
        step(fake);
    link_close(&fake->link);
    link_listener_close(&fake->listener);
    return 0;
}

static int listen_and_run(const char *run_dir, const struct fake_options *options, int stop_fd, int ready_fd)
{
    static struct fake fake;
    struct shm_error error;
    memset(&fake, 0, sizeof fake);
    fake.options = options;
    fake.link = LINK_NONE;
    fake.started = now_us();
    if (link_listen(&fake.listener, run_dir, &error) != 0) {
        fprintf(stderr, "fake dataplane: %s\n", error.text);
        return 1;
    }
    return run(&fake, stop_fd, ready_fd);
}

int fake_dataplane_run(const char *run_dir, const struct fake_options *options, int stop_fd)
{
    return listen_and_run(run_dir, options, stop_fd, -1);
}

pid_t fake_dataplane_start(const char *run_dir, const struct fake_options *options)
{
    int ready[2];
    char byte = 0;
    if (pipe(ready) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nobody behind */
        close(ready[0]);
        _exit(listen_and_run(run_dir, options, -1, ready[1]));
    }
    close(ready[1]);
    ssize_t got = read(ready[0], &byte, 1);
    close(ready[0]);
    return pid > 0 && got == 1 ? pid : -1;
}

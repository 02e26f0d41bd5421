/* Captures: see control/capture.h. */
#include "control/capture.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "control/capture_plan.h"
#include "control/pcapng.h"

#define TICK_NS 5000000                 /* between two looks at the rings */
#define HOLD_BACK_NS UINT64_C(10000000) /* packets younger than this wait for those of other workers */
#define PIECE_BYTES 49152u              /* of the file in one piece; whole groups of base64 */
#define TICK_BYTES (1u << 20)           /* of the file in one look, so that others get their turn */
#define REPORT_US 500000u               /* figures come at least so often */
#define NO_INTERFACE UINT32_MAX

enum capture_state {
    CAPTURE_STARTING, /* workers are being told */
    CAPTURE_RUNNING,
    CAPTURE_STOPPING, /* workers are being told */
    CAPTURE_EMPTYING, /* no worker writes any more */
};

/* A network port as one worker sees it. */
struct interface {
    uint32_t number; /* in the file; NO_INTERFACE: no packet of it came yet */
    uint64_t packets, dropped;
};

struct capture {
    struct captures *captures;
    struct capture_reader reader;
    bool detached; /* the reader is gone */
    enum capture_state state;
    struct capture_plan plan;
    uint32_t pending;   /* request at the peer; 0: none */
    uint32_t dataplane; /* which of those taken in it is */
    const char *ended;  /* why; NULL: it is not to end */
    char error[SHM_ERROR_TEXT];
    uint64_t started, reported; /* loop_now() */
    uint64_t started_ns;        /* wall clock */
    uint32_t workers;
    struct shm_capture_reader *readers; /* one for each worker */
    struct interface interfaces[SHM_PORTS_MAX][SHM_WORKERS_MAX];
    uint32_t interface_count;
    struct pcapng file; /* what was not handed on yet */
    uint64_t packets, bytes, dropped;
};

struct captures {
    struct dataplane_peer *peer;
    const struct shm_config *config;
    struct loop *loop;
    struct loop_source timer;
    struct capture *running;
};

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void timer_set(struct captures *captures, bool on)
{
    const struct itimerspec time = {.it_interval.tv_nsec = on ? TICK_NS : 0, .it_value.tv_nsec = on ? TICK_NS : 0};
    timerfd_settime(captures->timer.fd, 0, &time, NULL);
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static json_t *figures(const struct capture *capture)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "packets", (json_int_t)capture->packets, "bytes",
                     (json_int_t)capture->bytes, "dropped", (json_int_t)capture->dropped, "seconds",
                     (json_int_t)((loop_now() - capture->started) / 1000000));
}

static void hand_on_piece(struct capture *capture, const uint8_t *bytes, size_t length)
{
    static unsigned char text[PIECE_BYTES / 3 * 4 + 1];
    json_t *record = figures(capture);
    const int encoded = EVP_EncodeBlock(text, bytes, (int)length);
    json_object_set_new(record, "data", json_stringn((const char *)text, (size_t)encoded));
    capture->reader.piece(capture->reader.argument, record);
}

/* What is in the buffer goes to the reader; if there is nothing, the figures do. */
static void hand_on(struct capture *capture)
{
    size_t at = 0;
    capture->reported = loop_now();
    while (!capture->detached) {
        const size_t left = capture->file.length - at, piece = left < PIECE_BYTES ? left : PIECE_BYTES;
        hand_on_piece(capture, capture->file.bytes + at, piece);
        at += piece;
        if (at == capture->file.length)
            break;
    }
    capture->file.length = 0;
}

/* Block sizes are added up as they are made, so that the file never outgrows its bound. */
static void count_file(struct capture *capture, size_t before)
{
    capture->bytes += capture->file.length - before;
}

static void begin_file(struct capture *capture)
{
    char comment[sizeof capture->plan.filter + 32];
    const size_t before = capture->file.length;
    snprintf(comment, sizeof comment, "filter: %s", capture->plan.filter);
    pcapng_section(&capture->file, "pollux-control " POLLUX_VERSION, comment);
    count_file(capture, before);
    hand_on(capture);
}

/* Described when its first packet comes: control's configuration may not be the one that the dataplane runs. */
static struct interface *interface_of(struct capture *capture, uint32_t port, uint32_t worker)
{
    struct interface *interface = &capture->interfaces[port][worker];
    const struct shm_config *config = capture->captures->config;
    struct peer_info info;
    char name[SHM_NAME_SIZE], description[SHM_DEVICE_SIZE + 32];
    if (interface->number != NO_INTERFACE)
        return interface;
    peer_describe(capture->captures->peer, &info);
    const bool known = info.same_config && port < config->port_count;
    if (known)
        memcpy(name, config->ports[port].name, sizeof name);
    else
        snprintf(name, sizeof name, "port-%u", port);
    snprintf(description, sizeof description, "worker %u%s%s", worker, known ? ", " : "",
             known ? config->ports[port].device : "");
    const size_t before = capture->file.length;
    pcapng_interface(&capture->file, name, description, capture->plan.arguments.snap_length);
    count_file(capture, before);
    interface->number = capture->interface_count++;
    return interface;
}

static void end_file(struct capture *capture)
{
    const uint64_t now = wall_ns();
    uint64_t counted = 0;
    for (uint32_t port = 0; port < SHM_PORTS_MAX; port++)
        for (uint32_t worker = 0; worker < SHM_WORKERS_MAX; worker++)
            counted += capture->interfaces[port][worker].dropped;
    /* Those behind a worker's last packet: nobody knows any more of which port they were. */
    uint64_t rest = capture->dropped > counted ? capture->dropped - counted : 0;
    const size_t before = capture->file.length;
    for (uint32_t port = 0; port < SHM_PORTS_MAX; port++)
        for (uint32_t worker = 0; worker < SHM_WORKERS_MAX; worker++) {
            const struct interface *interface = &capture->interfaces[port][worker];
            if (interface->number == NO_INTERFACE)
                continue;
            const uint64_t dropped = interface->dropped + rest;
            pcapng_statistics(&capture->file, interface->number, capture->started_ns, now, interface->packets + dropped,
                              dropped);
            rest = 0;
        }
    count_file(capture, before);
    hand_on(capture);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void capture_free(struct capture *capture)
{
    struct captures *captures = capture->captures;
    if (captures->running == capture)
        captures->running = NULL;
    timer_set(captures, false);
    peer_cancel(captures->peer, capture->pending);
    pcapng_free(&capture->file);
    free(capture->readers);
    free(capture);
}

/* The capture is freed before the reader hears of it: it may start the next one there. */
static void finish(struct capture *capture)
{
    struct capture_reader reader = capture->reader;
    const bool detached = capture->detached;
    char error[SHM_ERROR_TEXT];
    if (capture->file.length > 0 || capture->bytes > 0)
        end_file(capture);
    json_t *summary = figures(capture);
    json_object_set_new(summary, "ended", json_string(capture->ended ? capture->ended : "error"));
    json_object_set_new(summary, "filter", json_string(capture->plan.filter));
    memcpy(error, capture->error, sizeof error);
    capture_free(capture);
    if (detached)
        json_decref(summary);
    else
        reader.done(reader.argument, summary, error[0] ? error : NULL);
}

static void fail(struct capture *capture, const char *text)
{
    snprintf(capture->error, sizeof capture->error, "%s", text);
    finish(capture);
}

static void reply_came(void *argument, const struct shm_reply *reply);

/* Tell the workers. When that is not possible now, the next look tries again. */
static void stop(struct capture *capture, const char *why)
{
    struct shm_request message = {.type = SHM_REQUEST_CAPTURE, .limit = 1, .capture = {.action = SHM_CAPTURE_STOP}};
    if (!capture->ended)
        capture->ended = why;
    if (capture->state != CAPTURE_RUNNING)
        return;
    capture->pending = peer_request(capture->captures->peer, &message, reply_came, capture, NULL);
    if (capture->pending)
        capture->state = CAPTURE_STOPPING;
}

/* ---- packets ----------------------------------------------------------------------------------------------------- */

/* A client id is MQTT's UTF-8, unless the dataplane is not what it should be. */
static size_t comment_of(const struct shm_capture_reader *reader, char *comment, size_t size)
{
    const uint32_t length = reader->head.id_length;
    if (length == 0)
        return 0;
    json_t *text = json_stringn((const char *)reader->bytes, length);
    int written =
        snprintf(comment, size, "client %.*s", text ? (int)length : 1, text ? (const char *)reader->bytes : "?");
    json_decref(text);
    for (int i = 0; i < written; i++)
        if ((unsigned char)comment[i] < 0x20 || comment[i] == 0x7f)
            comment[i] = '?';
    return (size_t)written;
}

/* False: the file is as large as it may be, or has as many packets. */
static bool write_packet(struct capture *capture, uint32_t worker)
{
    const struct shm_capture_reader *reader = &capture->readers[worker];
    char comment[SHM_CAPTURE_ID_MAX + 16];
    struct interface *interface = interface_of(capture, reader->head.port, worker);
    const size_t before = capture->file.length;
    const struct pcapng_packet packet = {
        .interface = interface->number,
        .time_ns = reader->head.time_ns,
        .bytes = reader->bytes + reader->head.id_length,
        .captured = reader->head.captured,
        .length = reader->head.length,
        .outbound = reader->head.direction == SHM_CAPTURE_OUT,
        .dropped = reader->head.dropped,
        .comment = comment,
        .comment_length = comment_of(reader, comment, sizeof comment),
    };
    const uint64_t statistics = (uint64_t)capture->interface_count * PCAPNG_STATISTICS_SIZE;
    if (capture->bytes + pcapng_packet_size(&packet) + statistics > capture->plan.bytes) {
        stop(capture, "bytes");
        return false;
    }
    pcapng_packet(&capture->file, &packet);
    count_file(capture, before);
    interface->packets++;
    interface->dropped += packet.dropped;
    capture->dropped += capture->state == CAPTURE_EMPTYING ? 0 : packet.dropped;
    if (++capture->packets < capture->plan.packets)
        return true;
    stop(capture, "packets");
    return false;
}

/* Read on until the worker's next packet is whole. False: the dataplane writes nonsense, and is given up. */
static bool read_worker(struct capture *capture, uint32_t worker)
{
    struct shm_capture_reader *reader = &capture->readers[worker];
    struct shm_capture_slot slot;
    struct shm_error error = {"the ring of captured packets is corrupt"};
    while (!reader->whole) {
        const enum shm_ring_result result = peer_capture_pop(capture->captures->peer, worker, &slot);
        if (result == SHM_RING_EMPTY)
            return true;
        if (result == SHM_RING_OK && shm_capture_read(reader, &slot, &error) == 0)
            continue;
        peer_refuse(capture->captures->peer, &error);
        return false;
    }
    return true;
}

/* The worker with the oldest packet; capture->workers: none has any. */
static uint32_t oldest(const struct capture *capture)
{
    uint32_t best = capture->workers;
    for (uint32_t i = 0; i < capture->workers; i++)
        if (capture->readers[i].whole &&
            (best == capture->workers || capture->readers[i].head.time_ns < capture->readers[best].head.time_ns))
            best = i;
    return best;
}

static bool is_full(const struct capture *capture)
{
    return !capture->detached && capture->reader.full(capture->reader.argument);
}

/* Packets up to that time, as many as the reader takes now. False: there may be more. */
static bool drain(struct capture *capture, uint64_t until_ns)
{
    for (uint32_t i = 0; i < capture->workers; i++)
        if (!read_worker(capture, i))
            return true;
    const uint64_t start = capture->bytes;
    while (capture->bytes - start < TICK_BYTES && !is_full(capture)) {
        const uint32_t worker = oldest(capture);
        if (worker == capture->workers || capture->readers[worker].head.time_ns > until_ns)
            return true;
        if (!write_packet(capture, worker))
            return true;
        capture->readers[worker].whole = false;
        if (capture->file.length >= PIECE_BYTES)
            hand_on(capture);
        if (!read_worker(capture, worker))
            return true;
    }
    return false;
}

static bool dataplane_is_gone(const struct capture *capture)
{
    struct peer_info info;
    peer_describe(capture->captures->peer, &info);
    return info.state != PEER_RUNNING || info.seen != capture->dataplane;
}

/* Is it at one of its bounds? What is left in the rings then is not wanted. */
static bool is_complete(const struct capture *capture)
{
    return capture->detached ||
           (capture->ended && (strcmp(capture->ended, "bytes") == 0 || strcmp(capture->ended, "packets") == 0));
}

static void look(struct capture *capture)
{
    const uint64_t now = loop_now();
    if (capture->state == CAPTURE_STARTING)
        return;
    const bool emptying = capture->state == CAPTURE_EMPTYING;
    const bool drained = is_complete(capture) || drain(capture, emptying ? UINT64_MAX : wall_ns() - HOLD_BACK_NS);
    if (dataplane_is_gone(capture)) {
        fail(capture, "the dataplane went away; the capture has what came before");
        return;
    }
    if (capture->file.failed) {
        fail(capture, "no memory for the capture");
        return;
    }
    if (emptying && drained) {
        finish(capture);
        return;
    }
    if (!is_full(capture) && (capture->file.length > 0 || now - capture->reported >= REPORT_US))
        hand_on(capture);
    if (capture->state == CAPTURE_RUNNING &&
        (capture->ended || now - capture->started >= capture->plan.seconds * UINT64_C(1000000)))
        stop(capture, "time");
}

static void timer_ready(void *argument, uint32_t events)
{
    struct captures *captures = argument;
    uint64_t count;
    if (read(captures->timer.fd, &count, sizeof count) > 0 && captures->running)
        look(captures->running);
}

/* ---- the dataplane's answers ------------------------------------------------------------------------------------- */

static void started(struct capture *capture, const struct shm_capture_record *record)
{
    struct shm_error error = {"no memory for the capture"};
    capture->workers = record->workers;
    capture->readers = calloc(record->workers, sizeof *capture->readers);
    if (!capture->readers || peer_capture_open(capture->captures->peer, record, &error) != 0)
        snprintf(capture->error, sizeof capture->error, "%s", error.text);
}

static void reply_came(void *argument, const struct shm_reply *reply)
{
    struct capture *capture = argument;
    if (reply->status == SHM_REPLY_RECORD && capture->state == CAPTURE_STARTING)
        started(capture, &reply->capture);
    else if (reply->status == SHM_REPLY_RECORD)
        capture->dropped = reply->capture.dropped;
    if (reply->status == SHM_REPLY_RECORD)
        return;
    capture->pending = 0;
    if (capture->state == CAPTURE_STOPPING) { /* also with an error: there is nobody left who writes, or will answer */
        capture->state = CAPTURE_EMPTYING;
        return;
    }
    if (reply->status == SHM_REPLY_ERROR)
        snprintf(capture->error, sizeof capture->error, "%s", reply->text);
    if (capture->error[0] || !capture->readers) {
        finish(capture);
        return;
    }
    capture->state = CAPTURE_RUNNING;
    capture->started = loop_now();
    capture->started_ns = wall_ns();
    timer_set(capture->captures, true);
    begin_file(capture);
    if (capture->ended)
        stop(capture, capture->ended);
}

/* ---- the object -------------------------------------------------------------------------------------------------- */

static int refuse_second(const struct capture *running, struct shm_error *error)
{
    return shm_error_set(error,
                         "a capture runs already, since %llu s (%.160s); wait for its end, or end it: polluxctl "
                         "capture --stop",
                         (unsigned long long)((loop_now() - running->started) / 1000000), running->plan.filter);
}

struct capture *capture_start(struct captures *captures, const json_t *request, const struct capture_reader *reader,
                              struct shm_error *error)
{
    struct shm_request message = {.type = SHM_REQUEST_CAPTURE, .limit = 1};
    struct capture_plan plan;
    struct peer_info info;
    if (capture_plan_read(request, &captures->config->capture, &plan, error) != 0)
        return NULL;
    if (captures->running)
        return refuse_second(captures->running, error), NULL;
    struct capture *capture = calloc(1, sizeof *capture);
    if (!capture)
        return shm_error_set(error, "no memory for the capture"), NULL;
    peer_describe(captures->peer, &info);
    *capture = (struct capture){
        .captures = captures, .reader = *reader, .plan = plan, .dataplane = info.seen, .started = loop_now()};
    for (uint32_t port = 0; port < SHM_PORTS_MAX; port++)
        for (uint32_t worker = 0; worker < SHM_WORKERS_MAX; worker++)
            capture->interfaces[port][worker].number = NO_INTERFACE;
    message.capture = plan.arguments;
    capture->pending = peer_request(captures->peer, &message, reply_came, capture, error);
    if (!capture->pending) {
        free(capture);
        return NULL;
    }
    captures->running = capture;
    return capture;
}

int capture_stop(struct captures *captures, struct shm_error *error)
{
    if (!captures->running)
        return shm_error_set(error, "no capture is running");
    stop(captures->running, "stopped");
    return 0;
}

void capture_cancel(struct capture *capture)
{
    capture->detached = true;
    stop(capture, "reader gone");
}

struct captures *captures_open(struct loop *loop, struct dataplane_peer *peer, const struct shm_config *config)
{
    struct captures *captures = calloc(1, sizeof *captures);
    if (!captures)
        return NULL;
    *captures = (struct captures){.peer = peer, .config = config, .loop = loop};
    captures->timer =
        (struct loop_source){timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), timer_ready, captures};
    if (captures->timer.fd < 0 || loop_add(loop, &captures->timer, EPOLLIN) != 0) {
        if (captures->timer.fd >= 0)
            close(captures->timer.fd);
        free(captures);
        return NULL;
    }
    return captures;
}

void captures_close(struct captures *captures)
{
    if (!captures)
        return;
    if (captures->running)
        capture_free(captures->running);
    loop_remove(captures->loop, &captures->timer);
    close(captures->timer.fd);
    free(captures);
}

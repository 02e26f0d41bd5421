/* The dataplane, as control sees it: see control/dataplane_peer.h. */
#include "control/dataplane_peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "control/log.h"

#define RETRY_US 200000u         /* between looks for a dataplane */
#define RETRY_FAILED_US 1000000u /* after one that refused */
#define GREETING_TIMEOUT_US 5000000u
#define REPLIES_AT_ONCE 256u /* taken from the ring before other events get their turn */

struct pending {
    uint32_t id; /* 0: free */
    uint16_t type;
    uint64_t deadline;
    peer_reply_handler handler; /* NULL: cancelled, but the dataplane still owes the end */
    void *argument;
};

struct dataplane_peer {
    struct loop *loop;
    const char *run_dir;
    const struct shm_config *config;
    enum peer_state state;
    struct peer_info info;       /* what is shown; its state is never PEER_GREETING */
    char logged[LINK_TEXT_SIZE]; /* the last failure that was logged: one that repeats is logged once */
    uint64_t next_try;
    uint64_t state_deadline;
    struct link link;
    struct link_message message; /* the last one read */
    struct loop_source link_source;
    struct loop_source event_source; /* the reply eventfd */
    struct shm_segment request_segment;
    struct shm_segment reply_segment;
    struct shm_ring_producer requests;
    struct shm_ring_consumer replies;
    struct shm_segment question_segment;
    struct shm_segment verdict_segment;
    struct shm_ring_consumer questions;
    struct shm_ring_producer verdicts;
    peer_question_handler question_handler; /* NULL: nobody answers */
    void *question_argument;
    struct shm_segment capture_segment;
    struct shm_ring_consumer captures[SHM_WORKERS_MAX];
    uint32_t capture_workers; /* whose rings are open */
    struct stats_reader *statistics;
    uint32_t last_id;
    struct pending pending[PEER_REQUESTS_MAX];
};

const char *peer_state_name(enum peer_state state)
{
    static const char *const names[] = {[PEER_DOWN] = "down",
                                        [PEER_GREETING] = "connecting",
                                        [PEER_STARTING] = "starting",
                                        [PEER_RUNNING] = "running",
                                        [PEER_FAILED] = "failed"};
    return names[state];
}

/* Looking for a dataplane again and again must not disturb what people are told: since when it is down, or why it
 * failed. So only states that last count for `since` and `text`. */
static void set_state(struct dataplane_peer *peer, enum peer_state state, const char *text)
{
    peer->state = state;
    if (state == PEER_GREETING)
        return;
    if (peer->info.state != state)
        peer->info.since = (int64_t)time(NULL);
    peer->info.state = state;
    snprintf(peer->info.text, sizeof peer->info.text, "%s", text);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

/* The entry is freed before the handler runs: the handler may ask for something new and get this very entry. */
static void end_with_error(struct pending *pending, const char *text)
{
    struct shm_reply reply = {.id = pending->id, .type = pending->type, .status = SHM_REPLY_ERROR};
    struct pending ended = *pending;
    snprintf(reply.text, sizeof reply.text, "%s", text);
    pending->id = 0;
    if (ended.handler)
        ended.handler(ended.argument, &reply);
}

static struct pending *find_pending(struct dataplane_peer *peer, uint32_t id)
{
    for (uint32_t i = 0; i < PEER_REQUESTS_MAX; i++)
        if (peer->pending[i].id == id)
            return &peer->pending[i];
    return NULL;
}

uint32_t peer_request(struct dataplane_peer *peer, const struct shm_request *request, peer_reply_handler handler,
                      void *argument, struct shm_error *error)
{
    struct pending *pending = find_pending(peer, 0);
    if (peer->state != PEER_RUNNING)
        return shm_error_set(error, "the dataplane is %s", peer_state_name(peer->info.state)), 0;
    if (!pending)
        return shm_error_set(error, "too many requests at the same time; try again"), 0;
    struct shm_request filled = *request;
    do
        filled.id = ++peer->last_id;
    while (filled.id == 0 || find_pending(peer, filled.id));
    if (shm_request_check(&filled, error) != 0)
        return 0;
    if (shm_ring_push(&peer->requests, &filled) != SHM_RING_OK)
        return shm_error_set(error, "the dataplane does not take requests; it may be stuck"), 0;
    *pending = (struct pending){.id = filled.id,
                                .type = filled.type,
                                .deadline = loop_now() + PEER_TIMEOUT_US,
                                .handler = handler,
                                .argument = argument};
    return filled.id;
}

void peer_cancel(struct dataplane_peer *peer, uint32_t id)
{
    struct pending *pending = id ? find_pending(peer, id) : NULL;
    if (pending)
        pending->handler = NULL;
}

/* Each reply renews the deadline, so a long page is not cut off while it is coming. */
static void expire_requests(struct dataplane_peer *peer, uint64_t now)
{
    for (uint32_t i = 0; i < PEER_REQUESTS_MAX; i++)
        if (peer->pending[i].id != 0 && now >= peer->pending[i].deadline)
            end_with_error(&peer->pending[i], "the dataplane did not answer within 5 s; its main core may be stuck or "
                                              "taken by another program");
}

void peer_set_question_handler(struct dataplane_peer *peer, peer_question_handler handler, void *argument)
{
    peer->question_handler = handler;
    peer->question_argument = argument;
}

bool peer_verdict(struct dataplane_peer *peer, const struct shm_login_verdict *verdict)
{
    return peer->state == PEER_RUNNING && shm_ring_push(&peer->verdicts, verdict) == SHM_RING_OK;
}

int peer_capture_open(struct dataplane_peer *peer, const struct shm_capture_record *record, struct shm_error *error)
{
    peer->capture_workers = 0;
    for (uint32_t i = 0; i < record->workers; i++) {
        struct shm_segment part;
        if (shm_capture_part(&peer->capture_segment, i, record->slots, &part, error) != 0 ||
            shm_ring_open_consumer(&peer->captures[i], &part, record->slots, SHM_CAPTURE_SLOT_SIZE, error) != 0)
            return -1;
    }
    peer->capture_workers = record->workers;
    return 0;
}

enum shm_ring_result peer_capture_pop(struct dataplane_peer *peer, uint32_t worker, struct shm_capture_slot *slot)
{
    return worker < peer->capture_workers ? shm_ring_pop(&peer->captures[worker], slot) : SHM_RING_EMPTY;
}

/* ---- coming and going ------------------------------------------------------------------------------------------ */

/* The one way in which a link ends. Everything of it is gone before the handlers of its requests hear of it, because
 * they may look at this peer. The statistics keep their last values. */
static void drop(struct dataplane_peer *peer, enum peer_state state, const char *text)
{
    if (peer->link.fd < 0)
        return;
    if (strcmp(peer->logged, text) != 0)
        log_line("dataplane (process %u): %s", peer->info.pid, text);
    snprintf(peer->logged, sizeof peer->logged, "%s", state == PEER_FAILED ? text : "");
    loop_remove(peer->loop, &peer->link_source);
    link_close(&peer->link);
    if (peer->event_source.fd >= 0) {
        loop_remove(peer->loop, &peer->event_source);
        close(peer->event_source.fd);
        peer->event_source.fd = -1;
    }
    shm_segment_close(&peer->request_segment);
    shm_segment_close(&peer->reply_segment);
    shm_segment_close(&peer->question_segment);
    shm_segment_close(&peer->verdict_segment);
    shm_segment_close(&peer->capture_segment);
    peer->capture_workers = 0;
    if (peer->statistics)
        stats_reader_detach(peer->statistics);
    set_state(peer, state, text);
    peer->next_try = loop_now() + (state == PEER_FAILED ? RETRY_FAILED_US : RETRY_US);
    for (uint32_t i = 0; i < PEER_REQUESTS_MAX; i++)
        if (peer->pending[i].id != 0)
            end_with_error(&peer->pending[i], "the dataplane went away before it answered");
}

/* A dataplane that breaks the protocol is treated as one that failed: it is asked again, but not in a hurry. */
static void protocol_error(struct dataplane_peer *peer, const struct shm_error *error)
{
    char text[LINK_TEXT_SIZE];
    snprintf(text, sizeof text, "refused: %.*s", (int)(sizeof text - sizeof "refused: "), error->text);
    drop(peer, PEER_FAILED, text);
}

void peer_refuse(struct dataplane_peer *peer, const struct shm_error *error)
{
    protocol_error(peer, error);
}

/* An id that is not known belongs to a request that has timed out; another type under a known id is a lie. Both are
 * ignored: they harm nobody. */
static void take_reply(struct dataplane_peer *peer, const struct shm_reply *reply)
{
    struct pending *pending = reply->id ? find_pending(peer, reply->id) : NULL;
    if (!pending || pending->type != reply->type)
        return; /* its request has timed out */
    struct pending copy = *pending;
    pending->deadline = loop_now() + PEER_TIMEOUT_US;
    if (reply->status != SHM_REPLY_RECORD)
        pending->id = 0;
    if (copy.handler)
        copy.handler(copy.argument, reply);
}

/* Takes up to REPLIES_AT_ONCE replies. False: none is left, or the link has ended. */
static bool take_replies(struct dataplane_peer *peer)
{
    for (uint32_t i = 0; i < REPLIES_AT_ONCE; i++) {
        struct shm_reply reply;
        struct shm_error error;
        enum shm_ring_result result = shm_ring_pop(&peer->replies, &reply);
        if (result == SHM_RING_EMPTY)
            return false;
        if (result == SHM_RING_CORRUPT)
            shm_error_set(&error, "the reply ring is corrupt");
        if (result == SHM_RING_CORRUPT || shm_reply_check(&reply, &error) != 0) {
            protocol_error(peer, &error);
            return false;
        }
        take_reply(peer, &reply);
        /* A handler may have ended the link. */
        if (peer->state != PEER_RUNNING)
            return false;
    }
    return true;
}

/* The same for questions. */
static bool take_questions(struct dataplane_peer *peer)
{
    for (uint32_t i = 0; i < REPLIES_AT_ONCE; i++) {
        struct shm_login_question question;
        struct shm_error error;
        enum shm_ring_result result = shm_ring_pop(&peer->questions, &question);
        if (result == SHM_RING_EMPTY)
            return false;
        if (result == SHM_RING_CORRUPT)
            shm_error_set(&error, "the ring of logins is corrupt");
        if (result == SHM_RING_CORRUPT || shm_login_question_check(&question, &error) != 0) {
            protocol_error(peer, &error);
            return false;
        }
        if (peer->question_handler)
            peer->question_handler(peer->question_argument, &question);
        explicit_bzero(&question, sizeof question);
    }
    return true;
}

static void replies_ready(void *argument, uint32_t events)
{
    struct dataplane_peer *peer = argument;
    uint64_t count;
    ssize_t size = read(peer->event_source.fd, &count, sizeof count);
    (void)size; /* EAGAIN: it was read before */
    bool more = take_replies(peer);
    if (peer->state == PEER_RUNNING)
        more |= take_questions(peer);
    /* More may wait: keep the descriptor readable, so that the loop comes back after others had their turn. */
    count = 1;
    if (more && peer->state == PEER_RUNNING)
        size = write(peer->event_source.fd, &count, sizeof count);
}

/* ---- the handshake --------------------------------------------------------------------------------------------- */

static int take_hello(struct dataplane_peer *peer, const struct link_hello *hello, struct shm_error *error)
{
    peer->info.generation = hello->generation;
    peer->info.same_config = hello->generation != 0 && hello->fingerprint == peer->config->fingerprint;
    peer->info.started = (int64_t)time(NULL) - (int64_t)(hello->uptime_us / 1000000);
    memcpy(peer->info.build_id, hello->build_id, sizeof peer->info.build_id);
    if (hello->state == LINK_STATE_CONTROL)
        return shm_error_set(error, "process %u is not a dataplane", peer->info.pid);
    if (hello->state == LINK_STATE_UNCONFIGURED) {
        if (link_send_configure(&peer->link, peer->config, error) != 0)
            return -1;
        if (peer->logged[0] == '\0')
            log_line("dataplane (process %u): connected, configuration sent", peer->info.pid);
    } else {
        log_line("dataplane (process %u): connected, it is %s already%s", peer->info.pid,
                 hello->state == LINK_STATE_RUNNING ? "running" : "starting",
                 peer->info.same_config ? "" : ", with another configuration: restart it to apply this one");
    }
    /* One that failed keeps saying why until it works. */
    if (peer->logged[0] == '\0')
        set_state(peer, PEER_STARTING, "setting up ports and workers");
    else
        peer->state = PEER_STARTING;
    return 0;
}

static int open_rings(struct dataplane_peer *peer, struct shm_error *error)
{
    if (shm_ring_open_producer(&peer->requests, &peer->request_segment, SHM_REQUEST_SLOTS, SHM_SLOT_SIZE, error) != 0 ||
        shm_ring_open_consumer(&peer->replies, &peer->reply_segment, SHM_REPLY_SLOTS, SHM_SLOT_SIZE, error) != 0 ||
        shm_ring_open_consumer(&peer->questions, &peer->question_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE,
                               error) != 0)
        return -1;
    return shm_ring_open_producer(&peer->verdicts, &peer->verdict_segment, SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE, error);
}

/* A descriptor that was taken over is set to -1 in the message, so that whatever is left there can be closed in one
 * place, also half-way through. */
static int take_segments(struct dataplane_peer *peer, struct link_segments *segments, struct shm_error *error)
{
    if (peer->state != PEER_STARTING)
        return shm_error_set(error, "SEGMENTS out of turn");
    size_t request_size = shm_ring_segment_size(SHM_REQUEST_SLOTS, SHM_SLOT_SIZE);
    size_t reply_size = shm_ring_segment_size(SHM_REPLY_SLOTS, SHM_SLOT_SIZE);
    struct link_segments taken = *segments;
    /* Each attach below takes its descriptor over, whatever becomes of it. */
    segments->statistics = -1;
    struct stats_reader *statistics = stats_reader_attach(taken.statistics, error);
    if (!statistics)
        return -1;
    stats_reader_free(peer->statistics);
    peer->statistics = statistics;
    segments->requests = -1;
    if (shm_segment_attach(&peer->request_segment, taken.requests, SHM_SEGMENT_REQUESTS, request_size, true, error) !=
        0)
        return -1;
    segments->replies = -1;
    if (shm_segment_attach(&peer->reply_segment, taken.replies, SHM_SEGMENT_REPLIES, reply_size, true, error) != 0)
        return -1;
    size_t login_size = shm_ring_segment_size(SHM_LOGIN_SLOTS, SHM_LOGIN_SLOT_SIZE);
    segments->questions = -1;
    if (shm_segment_attach(&peer->question_segment, taken.questions, SHM_SEGMENT_QUESTIONS, login_size, true, error) !=
        0)
        return -1;
    segments->verdicts = -1;
    if (shm_segment_attach(&peer->verdict_segment, taken.verdicts, SHM_SEGMENT_VERDICTS, login_size, true, error) != 0)
        return -1;
    segments->captures = -1;
    if (shm_segment_attach(&peer->capture_segment, taken.captures, SHM_SEGMENT_CAPTURE, shm_ring_segment_size(1, 8),
                           true, error) != 0)
        return -1;
    if (open_rings(peer, error) != 0)
        return -1;
    peer->event_source.fd = taken.reply_event;
    if (loop_add(peer->loop, &peer->event_source, EPOLLIN) != 0) {
        peer->event_source.fd = -1;
        return shm_error_set(error, "the reply event can not be watched: %s", strerror(errno));
    }
    segments->reply_event = -1;
    peer->info.seen++;
    peer->logged[0] = '\0';
    set_state(peer, PEER_RUNNING, "");
    log_line("dataplane (process %u): running", peer->info.pid);
    return 0;
}

static int take_message(struct dataplane_peer *peer, struct shm_error *error)
{
    struct link_message *message = &peer->message;
    switch (message->type) {
    case LINK_HELLO:
        if (peer->state != PEER_GREETING)
            return shm_error_set(error, "HELLO out of turn");
        return take_hello(peer, &message->hello, error);
    case LINK_READY:
        if (peer->state != PEER_STARTING)
            return shm_error_set(error, "READY out of turn");
        peer->info.generation = message->generation;
        peer->info.same_config = message->generation == peer->config->generation;
        return 0;
    case LINK_SEGMENTS:
        return take_segments(peer, &message->segments, error);
    case LINK_FAILED:
        for (char *c = message->text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = ' ';
        return shm_error_set(error, "%s", message->text);
    default:
        return shm_error_set(error, "a message that only control sends");
    }
}

static void link_ready(void *argument, uint32_t events)
{
    struct dataplane_peer *peer = argument;
    struct shm_error error = {""};
    /* One message per event: the loop comes back for the next. */
    switch (link_poll(&peer->link, &peer->message, &error)) {
    case LINK_NOTHING:
        return;
    case LINK_CLOSED:
        drop(peer, PEER_DOWN, "ended");
        return;
    case LINK_INVALID:
        protocol_error(peer, &error);
        return;
    case LINK_MESSAGE:
        break;
    }
    int result = take_message(peer, &error);
    bool refusal = peer->message.type == LINK_FAILED;
    link_message_close(&peer->message);
    if (result != 0 && refusal)
        drop(peer, PEER_FAILED, error.text);
    else if (result != 0)
        protocol_error(peer, &error);
}

/* A dataplane that is not there is the usual case while it restarts: no log line for it, only the state. */
static void try_connect(struct dataplane_peer *peer, uint64_t now)
{
    struct shm_error error;
    struct link_hello hello = {.state = LINK_STATE_CONTROL, .build_id = POLLUX_BUILD_ID};
    peer->next_try = now + RETRY_US;
    if (link_connect(&peer->link, peer->run_dir, &error) != 0) {
        /* What made the last one fail is worth more than that nobody is there any more. */
        if (peer->info.state != PEER_FAILED)
            set_state(peer, PEER_DOWN, error.text);
        return;
    }
    peer->info.pid = peer->link.peer_pid;
    peer->link_source.fd = peer->link.fd;
    peer->state_deadline = now + GREETING_TIMEOUT_US;
    if (link_send_hello(&peer->link, &hello, &error) != 0 || loop_add(peer->loop, &peer->link_source, EPOLLIN) != 0) {
        link_close(&peer->link);
        return;
    }
    set_state(peer, PEER_GREETING, "");
}

void peer_tick(struct dataplane_peer *peer, uint64_t now)
{
    expire_requests(peer, now);
    if (peer->link.fd < 0 && now >= peer->next_try)
        try_connect(peer, now);
    else if (peer->state == PEER_GREETING && now >= peer->state_deadline)
        drop(peer, PEER_DOWN, "did not say HELLO within 5 s");
}

/* ---- the object ------------------------------------------------------------------------------------------------ */

struct dataplane_peer *peer_create(struct loop *loop, const char *run_dir, const struct shm_config *config)
{
    struct dataplane_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    peer->loop = loop;
    peer->run_dir = run_dir;
    peer->config = config;
    peer->link = LINK_NONE;
    peer->request_segment = SHM_SEGMENT_CLOSED;
    peer->reply_segment = SHM_SEGMENT_CLOSED;
    peer->question_segment = SHM_SEGMENT_CLOSED;
    peer->verdict_segment = SHM_SEGMENT_CLOSED;
    peer->capture_segment = SHM_SEGMENT_CLOSED;
    peer->link_source = (struct loop_source){-1, link_ready, peer};
    peer->event_source = (struct loop_source){-1, replies_ready, peer};
    peer->info.since = (int64_t)time(NULL);
    return peer;
}

void peer_free(struct dataplane_peer *peer)
{
    if (!peer)
        return;
    drop(peer, PEER_DOWN, "control ends");
    stats_reader_free(peer->statistics);
    free(peer);
}

void peer_describe(const struct dataplane_peer *peer, struct peer_info *info)
{
    *info = peer->info;
}

struct stats_reader *peer_statistics(struct dataplane_peer *peer)
{
    return peer->statistics;
}

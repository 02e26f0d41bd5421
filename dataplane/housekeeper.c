/* The main lcore's loop. See housekeeper.h. */
#include "dataplane/housekeeper.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

#include "dataplane/idle.h"
#include "dataplane/requests.h"
#include "dataplane/worker.h"
#include "lib/topic/shared.h"

enum {
    UPDATES_PER_BATCH = 64, /* changes of the shared topic table applied at once, per worker */
    RECLAIM_BUDGET = 256,   /* removed objects freed per iteration */
    REQUESTS_PER_ITERATION = 4,
};

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

/* Fresh rings for a new control: what an earlier one left inside is gone. */
static int rings_reset(struct housekeeper *housekeeper, struct shm_error *error)
{
    for (uint32_t i = 0; i < HOUSEKEEPER_REQUESTS; i++) {
        request_abandon(&housekeeper->active[i]);
    }
    if (login_relay_reset(&housekeeper->logins, error) != 0) {
        return -1;
    }
    if (shm_ring_reset(&housekeeper->requests_segment, SHM_REQUEST_SLOTS, SHM_SLOT_SIZE, error) != 0 ||
        shm_ring_reset(&housekeeper->replies_segment, SHM_REPLY_SLOTS, SHM_SLOT_SIZE, error) != 0 ||
        shm_ring_open_consumer(&housekeeper->requests, &housekeeper->requests_segment, SHM_REQUEST_SLOTS, SHM_SLOT_SIZE,
                               error) != 0) {
        return -1;
    }
    return shm_ring_open_producer(&housekeeper->replies, &housekeeper->replies_segment, SHM_REPLY_SLOTS, SHM_SLOT_SIZE,
                                  error);
}

/* The segments of this dataplane to the control that has just been taken in. */
static int segments_send(struct housekeeper *housekeeper, struct shm_error *error)
{
    const struct link_segments segments = {
        .statistics = housekeeper->dataplane->stats.segment.fd,
        .requests = housekeeper->requests_segment.fd,
        .replies = housekeeper->replies_segment.fd,
        .questions = housekeeper->logins.question_segment.fd,
        .verdicts = housekeeper->logins.verdict_segment.fd,
        .captures = housekeeper->dataplane->capture_segment.fd,
        .reply_event = housekeeper->reply_event,
    };
    return rings_reset(housekeeper, error) != 0 ? -1 : link_send_segments(&housekeeper->link, &segments, error);
}

/* What lies between the wall clock and the one of the dataplane. A reading that took long was interrupted, and is worth
 * nothing unless there is no other. */
static void wall_clock_follow(struct dataplane *dataplane)
{
    enum { ATTEMPTS = 4, LONG_NS = 5000 };
    struct timespec wall;
    for (int i = 0; i < ATTEMPTS; i++) {
        const uint64_t before = clock_nanoseconds(&dataplane->clock, rte_rdtsc());
        clock_gettime(CLOCK_REALTIME, &wall);
        const uint64_t after = clock_nanoseconds(&dataplane->clock, rte_rdtsc());
        const uint64_t now = (uint64_t)wall.tv_sec * 1000000000 + (uint64_t)wall.tv_nsec;
        const bool first = atomic_load_explicit(&dataplane->wall_offset_ns, memory_order_relaxed) == 0;
        if (after - before < LONG_NS || first) {
            atomic_store_explicit(&dataplane->wall_offset_ns, now - (before + (after - before) / 2),
                                  memory_order_relaxed);
        }
        if (after - before < LONG_NS) {
            return;
        }
    }
}

int housekeeper_create(struct housekeeper *housekeeper, struct dataplane *dataplane, struct link_listener *listener,
                       struct link *link, struct shm_error *error)
{
    *housekeeper = (struct housekeeper){
        .dataplane = dataplane,
        .listener = listener,
        .link = *link,
        .requests_segment = SHM_SEGMENT_CLOSED,
        .replies_segment = SHM_SEGMENT_CLOSED,
        .reply_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
        .started = clock_microseconds(&dataplane->clock, rte_rdtsc()),
    };
    *link = LINK_NONE;
    wall_clock_follow(dataplane);
    if (login_relay_create(&housekeeper->logins, error) != 0) {
        return -1;
    }
    if (housekeeper->reply_event < 0) {
        return shm_error_set(error, "no event descriptor: %m");
    }
    if (shm_segment_create(&housekeeper->requests_segment, "pollux-requests", SHM_SEGMENT_REQUESTS,
                           shm_ring_segment_size(SHM_REQUEST_SLOTS, SHM_SLOT_SIZE), false, error) != 0 ||
        shm_segment_create(&housekeeper->replies_segment, "pollux-replies", SHM_SEGMENT_REPLIES,
                           shm_ring_segment_size(SHM_REPLY_SLOTS, SHM_SLOT_SIZE), false, error) != 0) {
        return -1;
    }
    if (link_send_ready(&housekeeper->link, dataplane->config.generation, error) != 0) {
        return -1;
    }
    return segments_send(housekeeper, error);
}

void housekeeper_destroy(struct housekeeper *housekeeper)
{
    link_close(&housekeeper->link);
    shm_segment_close(&housekeeper->requests_segment);
    shm_segment_close(&housekeeper->replies_segment);
    login_relay_destroy(&housekeeper->logins);
    if (housekeeper->reply_event >= 0) {
        close(housekeeper->reply_event);
    }
}

/* ---- The link --------------------------------------------------------------------------------------------------- */

static void link_lose(struct housekeeper *housekeeper, const char *why)
{
    fprintf(stderr, "pollux-dataplane: control is gone (%s); routing goes on\n", why);
    atomic_store_explicit(&housekeeper->dataplane->capture_token, 0, memory_order_relaxed);
    link_close(&housekeeper->link);
}

static void link_take_in(struct housekeeper *housekeeper, uint64_t now)
{
    struct shm_error error;
    const struct link_hello hello = {
        .state = LINK_STATE_RUNNING,
        .generation = housekeeper->dataplane->config.generation,
        .fingerprint = housekeeper->dataplane->config.fingerprint,
        .uptime_us = now - housekeeper->started,
        .build_id = POLLUX_BUILD_ID,
    };
    const int result = link_accept(housekeeper->listener, &housekeeper->link, false, &error);
    if (result < 0) {
        fprintf(stderr, "pollux-dataplane: %s\n", error.text);
    } else if (result > 0 && link_send_hello(&housekeeper->link, &hello, &error) != 0) {
        link_lose(housekeeper, error.text);
    }
}

/* Another control has found this dataplane: it gets the segments once it has said HELLO. */
static void link_hear(struct housekeeper *housekeeper)
{
    struct shm_error error = {.text = "it has closed the connection"};
    struct link_message message;
    switch (link_poll(&housekeeper->link, &message, &error)) {
    case LINK_NOTHING:
        break;
    case LINK_MESSAGE:
        if (message.type == LINK_HELLO && segments_send(housekeeper, &error) != 0) {
            link_lose(housekeeper, error.text);
        } else if (message.type == LINK_CONFIGURE) {
            link_send_failed(&housekeeper->link, "this dataplane is configured already", &error);
        }
        link_message_close(&message);
        break;
    default:
        link_lose(housekeeper, error.text);
        break;
    }
}

static void link_serve(struct housekeeper *housekeeper, uint64_t now)
{
    struct shm_error error;
    if (housekeeper->link.fd < 0) {
        link_take_in(housekeeper, now);
        return;
    }
    struct link other = LINK_NONE;
    link_accept(housekeeper->listener, &other, true, &error);
    link_hear(housekeeper);
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static struct housekeeper_request *request_slot(struct housekeeper *housekeeper)
{
    for (uint32_t i = 0; i < HOUSEKEEPER_REQUESTS; i++) {
        if (housekeeper->active[i].request.id == 0) {
            return &housekeeper->active[i];
        }
    }
    return NULL;
}

static uint32_t requests_take(struct housekeeper *housekeeper)
{
    struct shm_error error;
    uint32_t taken = 0;
    struct housekeeper_request *slot;
    while (taken < REQUESTS_PER_ITERATION && (slot = request_slot(housekeeper)) != NULL) {
        struct shm_request request;
        const enum shm_ring_result result = shm_ring_pop(&housekeeper->requests, &request);
        if (result == SHM_RING_EMPTY) {
            break;
        }
        if (result != SHM_RING_OK || shm_request_check(&request, &error) != 0) {
            link_lose(housekeeper, result == SHM_RING_OK ? error.text : "its request ring is corrupt");
            break;
        }
        request_begin(housekeeper, slot, &request);
        taken++;
    }
    return taken;
}

static uint32_t logins_serve(struct housekeeper *housekeeper, uint64_t now)
{
    struct shm_error error;
    switch (login_relay_serve(&housekeeper->logins, housekeeper->dataplane, housekeeper->link.fd >= 0, now, &error)) {
    case LOGIN_RELAY_SENT:
        housekeeper->replied = true;
        return 1;
    case LOGIN_RELAY_WORKED:
        return 1;
    case LOGIN_RELAY_BROKEN:
        link_lose(housekeeper, error.text);
        return 1;
    default:
        return 0;
    }
}

/* Control sleeps until it is told that there is something to read. */
static void control_wake(struct housekeeper *housekeeper)
{
    const uint64_t one = 1;
    if (housekeeper->replied && write(housekeeper->reply_event, &one, sizeof(one)) < 0) {
        /* The counter is full: control is woken already. */
    }
    housekeeper->replied = false;
}

static uint32_t requests_serve(struct housekeeper *housekeeper, uint64_t now)
{
    uint32_t work = 0;
    if (housekeeper->link.fd < 0) {
        return 0;
    }
    work += requests_take(housekeeper);
    for (uint32_t i = 0; i < HOUSEKEEPER_REQUESTS; i++) {
        if (housekeeper->active[i].request.id != 0) {
            request_continue(housekeeper, &housekeeper->active[i], now);
            work++;
        }
    }
    return work;
}

/* ---- The shared topic table ------------------------------------------------------------------------------------- */

static void update_read(struct topic_shared_update *update, const struct subscription_mail *mail, uint32_t worker)
{
    *update = (struct topic_shared_update){
        .filter = {.group = mail->text,
                   .group_length = mail->group_length,
                   .filter = mail->text + mail->group_length,
                   .filter_length = mail->filter_length,
                   .levels = mail->levels,
                   .wildcard = mail->wildcard},
        .worker = (uint8_t)worker,
        .present = mail->present,
    };
}

/* One batch of a worker's changes. What is applied counts as handled, which is what SUBACKs wait for. */
static uint32_t updates_apply(struct dataplane *dataplane, uint32_t worker)
{
    struct topic_shared_update updates[UPDATES_PER_BATCH];
    struct mailbox *mailbox = dataplane->workers[worker]->to_housekeeper;
    uint32_t count = mailbox_pending(mailbox);
    count = count < UPDATES_PER_BATCH ? count : UPDATES_PER_BATCH;
    for (uint32_t i = 0; i < count; i++) {
        update_read(&updates[i], mailbox_at(mailbox, i)->block, worker);
    }
    const uint32_t applied = count == 0 ? 0 : topic_shared_apply(dataplane->shared, updates, count);
    mailbox_done(mailbox, applied);
    if (applied > 0) {
        doorbell_published();
        doorbell_ring(&dataplane->workers[worker]->bell);
    }
    return applied;
}

uint32_t housekeeper_serve_topics(struct dataplane *dataplane, uint64_t now)
{
    uint32_t work = 0;
    if (dataplane->shared == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        work += updates_apply(dataplane, i);
    }
    return work + topic_shared_poll(dataplane->shared, now, RECLAIM_BUDGET);
}

/* ---- The loop --------------------------------------------------------------------------------------------------- */

static bool topics_wait(const struct dataplane *dataplane)
{
    for (uint32_t i = 0; dataplane->shared != NULL && i < dataplane->worker_count; i++) {
        if (mailbox_pending(dataplane->workers[i]->to_housekeeper) > 0) {
            return true;
        }
    }
    return false;
}

/* Sleeps if nothing of the workers waits. Control does not ring. */
static void rest(struct dataplane *dataplane, uint32_t microseconds)
{
    doorbell_arm(&dataplane->housekeeper_bell);
    if (!topics_wait(dataplane) && !login_relay_has_input(dataplane)) {
        doorbell_sleep(&dataplane->housekeeper_bell, microseconds);
    }
    doorbell_disarm(&dataplane->housekeeper_bell);
}

void housekeeper_run(struct housekeeper *housekeeper, const volatile sig_atomic_t *stop)
{
    enum { LINK_INTERVAL_US = 2000, CLOCK_INTERVAL_US = 1000000 };
    struct dataplane *dataplane = housekeeper->dataplane;
    struct idle idle;
    uint64_t next_link = 0, next_clock = 0;
    idle_init(&idle, true);
    while (!*stop) {
        const uint64_t now = clock_microseconds(&dataplane->clock, rte_rdtsc());
        uint32_t work = housekeeper_serve_topics(dataplane, now) + requests_serve(housekeeper, now) +
                        logins_serve(housekeeper, now);
        control_wake(housekeeper);
        if (now >= next_link) {
            next_link = now + LINK_INTERVAL_US;
            link_serve(housekeeper, now);
        }
        if (now >= next_clock) {
            next_clock = now + CLOCK_INTERVAL_US;
            wall_clock_follow(dataplane);
        }
        if (work > 0) {
            idle_work(&idle, now);
            continue;
        }
        const uint32_t longest = housekeeper->logins.due > 0 ? IDLE_SLEEP_MAX_LOOK_US : IDLE_SLEEP_MAX_RUNG_US;
        const uint32_t sleep = idle_sleep_time(&idle, now, UINT64_MAX, longest);
        if (sleep > 0) {
            rest(dataplane, sleep);
        }
    }
}

/*
 * Real threads: three workers and the housekeeper, each on a thread of its own, without packets. For ThreadSanitizer
 * (clang -fsanitize=thread), and as a short stress in every build.
 *
 * What runs: claims of the same few identifiers from all workers, messages at QoS 1 to subscribers on all workers,
 * retained messages set and asked for, subscriptions and sessions that come and go. Packets are left out since the
 * rings of DPDK order memory with barriers that ThreadSanitizer does not see; everything that is Pollux's own between
 * threads is here: mailboxes, the shared topic table, reclamation.
 *
 * At the end: every claim is back, every session gone, and nothing is left in any worker's memory.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/housekeeper.h"
#include "dataplane/worker.h"
#include "lib/topic/shared.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/world.h"

enum { WORKERS = 3, IDENTIFIERS = 5, SESSIONS = 8, ROUNDS = 20000, SETTLE_S = 3 };

static struct world world;
static _Atomic uint32_t finished; /* workers that make nothing new */
static _Atomic bool stop;         /* everything has settled */

struct player {
    struct worker *worker;
    uint64_t random;
    struct session *sessions[SESSIONS];
};

static uint32_t below(struct player *player, uint32_t bound)
{
    uint64_t z = (player->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)((z ^ (z >> 27)) % bound);
}

/* A client that asks who owns its identifier, and has left when the answer comes. The upper half says the home. */
static void claim(struct player *player)
{
    struct worker *worker = player->worker;
    struct directory_mail *mail = mem_alloc(worker->memory, sizeof(*mail));
    const uint64_t number = below(player, IDENTIFIERS);
    const uint32_t home = (uint32_t)(number % WORKERS);
    *mail = (struct directory_mail){.id = {{number, ((UINT64_C(1) << 32) / WORKERS * home + 1000) << 32}},
                                    .connection = UINT64_MAX,
                                    .claimant = (uint8_t)worker->index};
    if (home == worker->index) {
        mem_free(worker->memory, mail);
    } else {
        mailbox_post(worker->to[home], worker->memory, (struct mail){.type = MAIL_CLAIM, .block = mail});
    }
}

static void publish(struct player *player)
{
    char topic[32], payload[64] = "payload";
    struct worker *worker = player->worker;
    const int length = snprintf(topic, sizeof(topic), "t/%u/x", below(player, 6));
    struct publication publication = {
        .topic = {(const uint8_t *)topic, (uint32_t)length},
        .payload = {(const uint8_t *)payload, below(player, 3) == 0 ? 0 : sizeof(payload)},
        .qos = 1,
        .retain = below(player, 4) == 0,
    };
    if (route_has_room(worker, 1)) {
        route_own(worker, &publication);
        publication_release(&publication, worker->memory);
    }
}

static void session_begin(struct player *player, uint32_t slot)
{
    char id[32];
    struct worker *worker = player->worker;
    const int length = snprintf(id, sizeof(id), "player-%u-%u", worker->index, slot);
    player->sessions[slot] = session_create(worker, (struct mqtt_span){(const uint8_t *)id, (uint32_t)length});
}

static void subscribe(struct player *player, struct session *session)
{
    static const char *const filters[] = {"t/1/x", "t/+/x", "t/#", "t/2/+", "#"};
    struct topic_filter_name filter;
    struct worker *worker = player->worker;
    const char *text = filters[below(player, 5)];
    if (topic_filter_parse(&filter, &worker->dataplane->topic_limits, text, strlen(text)) != TOPIC_OK) {
        return;
    }
    if (below(player, 3) == 0) {
        topic_unsubscribe(worker->subscribers, &session->subscriptions, &filter);
    } else {
        topic_subscribe(worker->subscribers, &session->subscriptions, &filter, 1, 0);
        const uint64_t moment = retained_moment_next(worker);
        retained_request(worker, session, (struct mqtt_span){(const uint8_t *)text, (uint32_t)strlen(text)}, 1, 0,
                         &(struct retained_since){moment, moment});
    }
}

static void act(struct player *player)
{
    const uint32_t slot = below(player, SESSIONS);
    switch (below(player, 8)) {
    case 0:
    case 1:
        claim(player);
        break;
    case 2:
    case 3:
    case 4:
        publish(player);
        break;
    case 5:
        if (player->sessions[slot] != NULL) {
            session_end(player->worker, player->sessions[slot]);
            player->sessions[slot] = NULL;
        } else {
            session_begin(player, slot);
        }
        break;
    default:
        if (player->sessions[slot] != NULL) {
            subscribe(player, player->sessions[slot]);
        }
        break;
    }
}

static void retained_end(struct worker *worker)
{
    if (worker->retained_walks == NULL) {
        retained_clear(worker);
    }
}

/* Nothing new; what is under way comes to its end. */
static void settle(struct player *player)
{
    for (uint32_t slot = 0; slot < SESSIONS; slot++) {
        if (player->sessions[slot] != NULL) {
            session_end(player->worker, player->sessions[slot]);
        }
    }
    atomic_fetch_add(&finished, 1);
    while (!atomic_load(&stop)) {
        worker_iterate(player->worker);
    }
}

static void *worker_thread(void *arg)
{
    struct player *player = arg;
    topic_reader_online(player->worker->reader);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        player->worker->now += 10;
        act(player);
        do {
            worker_iterate(player->worker);
        } while (!route_has_room(player->worker, 1) && sched_yield() == 0);
    }
    settle(player);
    topic_reader_offline(player->worker->reader);
    return NULL;
}

static void *housekeeper_thread(void *arg)
{
    uint64_t now = 0;
    while (!atomic_load(&stop)) {
        housekeeper_serve_topics(&world.dataplane, now++);
    }
    return NULL;
}

static bool left_over(const struct worker *worker)
{
    struct topic_subscribers_stats topics;
    topic_subscribers_stats(worker->subscribers, &topics);
    const uint32_t entries = directory_count(worker->directory), sessions = session_count(worker->sessions);
    if (entries + sessions + topics.subscriptions > 0 || worker->retained_tickets != NULL) {
        fprintf(stderr, "worker %u: left over: %u directory entries, %u sessions, %u subscriptions, tickets %d\n",
                worker->index, entries, sessions, (unsigned)topics.subscriptions, worker->retained_tickets != NULL);
        return true;
    }
    return false;
}

int main(void)
{
    static struct player players[WORKERS];
    pthread_t threads[WORKERS], housekeeper;
    world_environment(1);
    world_init(&world, 1, WORKERS, 0);
    world.mailbox_slots = 64;
    world.config.mqtt.max_queued_messages = 20;
    world_begin(&world);
    pthread_create(&housekeeper, NULL, housekeeper_thread, NULL);
    for (uint32_t i = 0; i < WORKERS; i++) {
        players[i] = (struct player){.worker = world.dataplane.workers[i], .random = i};
        pthread_create(&threads[i], NULL, worker_thread, &players[i]);
    }
    while (atomic_load(&finished) < WORKERS) {
        usleep(1000);
    }
    sleep(SETTLE_S);
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(housekeeper, NULL);
    bool failed = false;
    for (uint32_t i = 0; i < WORKERS; i++) {
        retained_end(world.dataplane.workers[i]);
        failed |= left_over(world.dataplane.workers[i]);
        const struct dataplane_counters *counters = &world.dataplane.workers[i]->counters;
        printf("worker %u: %lu messages to others, %lu from them, %lu unmatched, %lu retained sent\n", i,
               (unsigned long)counters->messages_to_workers, (unsigned long)counters->messages_from_workers,
               (unsigned long)counters->messages_unmatched, (unsigned long)counters->retained_sent);
    }
    return failed || !world_end(&world);
}

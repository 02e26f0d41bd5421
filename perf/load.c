/* Publishers and subscribers: who talks to whom, when a message may go, and the check of each that arrives. */
#include "perf/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/run.h"
#include "perf/tracker.h"

#define SECOND 1000000000ull
#define MILLISECOND 1000000ull
#define IDLE_WAIT (10 * MILLISECOND)          /* phases change this late at most */
#define OTHER_THREADS_WAIT (MILLISECOND / 10) /* credit from another thread makes no event here */
#define WINDOW_COPIES 10000u                  /* undelivered copies of all publishers together, unless chosen */
#define WINDOW_BYTES (16u << 20)              /* and their bytes */
#define TOPIC_DIGITS 8                        /* of the topic's number, where it changes with every message */
#define PACKET_IDS 60000u                     /* in flight for one publisher: identifiers come round after 65,535 */

struct stamp {
    uint32_t publisher;
    uint32_t sequence;
    uint64_t due;
};

_Static_assert(sizeof(struct stamp) == LOAD_STAMP, "the stamp is what load.h says");

struct publisher {
    struct client client;
    uint32_t number;       /* among all publishers of the run */
    uint32_t fan;          /* subscribers that get each message */
    uint8_t *packet;       /* ready to send but for identifier and stamp */
    uint32_t length;       /* of the packet */
    uint32_t packet_id_at; /* 0 at QoS 0 */
    uint32_t number_at;    /* of the topic's number, if it changes from message to message; else 0 */
    uint32_t stamp_at;
    uint32_t inflight_limit; /* QoS 1 and 2 */
    uint64_t sent;
    uint64_t acknowledged;
    uint64_t forgiven;      /* copies that nobody waits for any more */
    uint64_t seen_resolved; /* at the last look for stalls */
    uint64_t due;           /* open loop: messages whose time has come */
    struct publisher *next_waking;
    bool waking; /* closed loop: in the list of those that may have credit */
};

struct subscriber {
    struct client client;
    uint32_t group;
    bool stalled;             /* reads nothing of the load */
    struct tracker *trackers; /* of the publishers of the group, in order */
};

struct load {
    struct publisher *publishers;
    struct subscriber *subscribers;
    uint32_t publisher_count, subscriber_count; /* of this worker */
    uint32_t groups;                            /* of the run */
    uint32_t window;
    char *filters; /* one string a subscriber */
    uint64_t next_stall_look, next_look;
    struct publisher *waking; /* closed loop: those that may have credit */

    /* Open loop: the message to come is number `turn` of the worker's publisher `next`. */
    double interval; /* ns between messages of the whole run */
    uint64_t turn;
    uint32_t next;
    bool behind; /* some publisher could not send what is due */

    bool began;
};

/* ---- Who talks to whom ---- */

static uint32_t group_count(const struct scenario *scenario)
{
    if (scenario->pattern != PATTERN_P2P)
        return 1;
    return scenario->publishers < scenario->subscribers ? scenario->publishers : scenario->subscribers;
}

/* How many of `all` numbers have `group` as their remainder. */
static uint32_t members(uint32_t all, uint32_t group, uint32_t groups)
{
    return all / groups + (group < all % groups);
}

/* Every publisher a topic of its own, all of them behind one wildcard. */
static bool is_behind_wildcard(const struct scenario *scenario)
{
    return scenario->pattern == PATTERN_FAN_IN || scenario->pattern == PATTERN_SHARED;
}

void load_topic(const struct worker *worker, uint32_t number, const char *wildcard, char *topic, size_t size)
{
    const char *template = worker->run->options->topic, *place = strstr(template, "%i");
    char text[16];
    /* Of one length, so that another number can be written in its place. */
    snprintf(text, sizeof(text), "%0*u", worker->run->options->topics > 0 ? TOPIC_DIGITS : 1, number);
    const char *middle = wildcard != NULL ? wildcard : text;
    if (place == NULL)
        snprintf(topic, size, "%s/%s", template, middle);
    else
        snprintf(topic, size, "%.*s%s%s", (int)(place - template), template, middle, place + 2);
}

/* ---- Making the clients ---- */

/* Where the number of the topic begins in an encoded PUBLISH. */
static uint32_t topic_number_place(const struct worker *worker, const uint8_t *packet, uint32_t length)
{
    struct mqtt_header header;
    mqtt_header_decode(packet, length, UINT32_MAX, &header);
    const char *template = worker->run->options->topic, *place = strstr(template, "%i");
    return header.length + 2 + (uint32_t)(place != NULL ? (size_t)(place - template) : strlen(template) + 1);
}

static void make_packet(struct worker *worker, struct publisher *publisher)
{
    const struct scenario *scenario = worker->run->scenario;
    char topic[1024];
    bool own = is_behind_wildcard(scenario);
    uint32_t group = publisher->number % ((struct load *)worker->state)->groups;
    load_topic(worker, own ? publisher->number : group, NULL, topic, sizeof(topic));
    uint8_t *payload = calloc(1, scenario->payload);
    const struct mqtt_publish publish = {.qos = scenario->qos,
                                         .packet_id = 1,
                                         .topic = {(const uint8_t *)topic, (uint32_t)strlen(topic)},
                                         .payload = {payload, scenario->payload}};
    publisher->length = (uint32_t)mqtt_publish_size(worker->context.version, &publish);
    publisher->packet = malloc(publisher->length);
    if (payload == NULL || publisher->packet == NULL)
        abort();
    mqtt_publish_encode(publisher->packet, worker->context.version, &publish);
    publisher->stamp_at = publisher->length - scenario->payload;
    if (scenario->qos > 0) /* the identifier lies before the payload, and before an empty property length in 5.0 */
        publisher->packet_id_at = publisher->stamp_at - 2 - (worker->context.version == MQTT_V5);
    if (own && worker->run->options->topics > 0) /* the topic follows the fixed header and its own length */
        publisher->number_at = topic_number_place(worker, publisher->packet, publisher->length);
    free(payload);
}

static void make_publishers(struct worker *worker, struct load *load)
{
    const struct scenario *scenario = worker->run->scenario;
    load->publisher_count = members(scenario->publishers, worker->index, worker->run->worker_count);
    load->publishers = calloc(load->publisher_count + 1, sizeof(*load->publishers));
    for (uint32_t i = 0; load->publishers != NULL && i < load->publisher_count; i++) {
        struct publisher *publisher = &load->publishers[i];
        publisher->number = worker->index + i * worker->run->worker_count;
        publisher->fan = scenario->pattern == PATTERN_SHARED
                             ? 1
                             : members(scenario->subscribers, publisher->number % load->groups, load->groups);
        publisher->client = (struct client){.context = &worker->context, .number = publisher->number};
        make_packet(worker, publisher);
    }
}

/* The filter as a shared subscription of one group. */
static void share(char *filter, size_t size)
{
    static const char prefix[] = "$share/perf/";
    memmove(filter + sizeof(prefix) - 1, filter, size - sizeof(prefix) + 1);
    filter[size - 1] = 0;
    memcpy(filter, prefix, sizeof(prefix) - 1);
}

/* How many of the subscriptions that match nothing belong to subscribers before this one; the stalled have none. */
static uint32_t extra_before(const struct worker *worker, uint32_t subscriber)
{
    const uint32_t all = worker->run->scenario->subscribers;
    return (uint32_t)((uint64_t)worker->run->options->subscriptions * (subscriber < all ? subscriber : all) / all);
}

static void make_subscribers(struct worker *worker, struct load *load)
{
    const struct scenario *scenario = worker->run->scenario;
    const size_t filter_size = 1024;
    const uint32_t all = scenario->subscribers + worker->run->options->stalled; /* these come last */
    load->subscriber_count = members(all, worker->index, worker->run->worker_count);
    load->subscribers = calloc(load->subscriber_count + 1, sizeof(*load->subscribers));
    load->filters = calloc(load->subscriber_count + 1, filter_size);
    for (uint32_t i = 0; load->subscribers != NULL && load->filters != NULL && i < load->subscriber_count; i++) {
        struct subscriber *subscriber = &load->subscribers[i];
        uint32_t number = worker->index + i * worker->run->worker_count;
        char *filter = load->filters + i * filter_size;
        subscriber->group = number % load->groups;
        subscriber->stalled = number >= scenario->subscribers;
        load_topic(worker, subscriber->group, is_behind_wildcard(scenario) ? "+" : NULL, filter, filter_size);
        if (scenario->pattern == PATTERN_SHARED)
            share(filter, filter_size);
        subscriber->trackers =
            calloc(members(scenario->publishers, subscriber->group, load->groups), sizeof(struct tracker));
        subscriber->client = (struct client){.context = &worker->context,
                                             .filter = filter,
                                             .extra_first = extra_before(worker, number),
                                             .extra = extra_before(worker, number + 1) - extra_before(worker, number),
                                             .qos = scenario->qos,
                                             .number = scenario->publishers + number};
        if (subscriber->trackers == NULL)
            abort();
    }
}

static uint32_t window_of(const struct scenario *scenario, uint32_t groups)
{
    if (scenario->window > 0)
        return scenario->window;
    uint32_t copies = WINDOW_BYTES / scenario->payload;
    copies = copies < WINDOW_COPIES ? copies : WINDOW_COPIES;
    uint64_t share = (uint64_t)scenario->publishers * members(scenario->subscribers, 0, groups);
    return copies > share ? (uint32_t)(copies / share) : 1;
}

static void collect_clients(struct worker *worker, struct load *load)
{
    uint32_t n = load->publisher_count + load->subscriber_count;
    worker->clients = calloc(n + 1, sizeof(*worker->clients));
    if (worker->clients == NULL)
        abort();
    for (uint32_t i = 0; i < load->subscriber_count; i++)
        worker->clients[i] = &load->subscribers[i].client;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        worker->clients[load->subscriber_count + i] = &load->publishers[i].client;
    worker->client_count = n;
}

static void ready(struct client *client)
{
    struct worker *worker = client->context->user;
    atomic_fetch_add_explicit(&worker->ready, 1, memory_order_relaxed);
    if (client->filter != NULL)
        return;
    struct publisher *publisher = (struct publisher *)client;
    publisher->inflight_limit = client->receive_maximum < PACKET_IDS ? client->receive_maximum : PACKET_IDS;
}

static void ended(struct client *client, const char *why)
{
    struct worker *worker = client->context->user;
    if (client->filter != NULL && ((struct subscriber *)client)->stalled && worker->phase != PHASE_CONNECT)
        return; /* a broker may end with a subscriber that does not read */
    run_fail(worker->run, "client %s%u: %s", client->context->id_prefix, client->number, why);
}

/* The next step looks whether this one may send: a step that looked at all would cost more than it sends. */
static inline void wake(struct load *load, struct publisher *publisher)
{
    if (publisher->waking)
        return;
    publisher->waking = true;
    publisher->next_waking = load->waking;
    load->waking = publisher;
}

static void wake_all(struct load *load)
{
    for (uint32_t i = 0; i < load->publisher_count; i++)
        wake(load, &load->publishers[i]);
}

static void acknowledged(struct client *client)
{
    struct publisher *publisher = (struct publisher *)client;
    publisher->acknowledged++;
    wake(((struct worker *)client->context->user)->state, publisher);
}

/* ---- Receiving ---- */

static void message(struct client *client, const struct mqtt_publish *publish)
{
    struct subscriber *subscriber = (struct subscriber *)client;
    struct worker *worker = client->context->user;
    struct run *run = worker->run;
    struct load *load = worker->state;
    struct stamp stamp;
    if (client->filter != NULL && subscriber->stalled)
        return; /* what came before it stopped reading */
    if (client->filter == NULL || publish->payload.length != run->scenario->payload) {
        run_fail(run, "a message arrived that is not of this run");
        return;
    }
    memcpy(&stamp, publish->payload.data, sizeof(stamp));
    if (stamp.publisher >= run->scenario->publishers || stamp.publisher % load->groups != subscriber->group) {
        run_fail(run, "a message arrived that is not of this run");
        return;
    }
    uint32_t advance;
    enum tracker_verdict verdict =
        tracker_note(&subscriber->trackers[stamp.publisher / load->groups], stamp.sequence, &advance);
    worker_count_up(&worker->delivered, 1);
    if (verdict == TRACKER_TWICE)
        worker_count_up(&worker->repeated, 1);
    if (verdict == TRACKER_LATE)
        worker_count_up(&worker->overtaken, 1);
    if (run->scenario->pattern == PATTERN_SHARED)
        advance = verdict != TRACKER_TWICE; /* a gap here is what went to the others */
    worker_count_up(&run->resolved[(size_t)worker->index * run->scenario->publishers + stamp.publisher], advance);
    if (run->worker_count == 1)
        wake(load, &load->publishers[stamp.publisher]);
    if (worker->phase == PHASE_MEASURE)
        histogram_record(&worker->latency, worker->now > stamp.due ? worker->now - stamp.due : 0);
}

/* ---- Sending ---- */

/* Copies accounted for by all threads. */
static uint64_t resolved(const struct run *run, const struct publisher *publisher)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < run->worker_count; i++)
        sum += atomic_load_explicit(&run->resolved[(size_t)i * run->scenario->publishers + publisher->number],
                                    memory_order_relaxed);
    return sum;
}

static uint64_t undelivered(const struct run *run, const struct publisher *publisher)
{
    uint64_t copies = publisher->sent * publisher->fan, gone = resolved(run, publisher) + publisher->forgiven;
    return copies > gone ? copies - gone : 0;
}

/* At most what flow control of QoS 1 and 2 and the connection take, of `n` messages. */
static uint64_t sendable(const struct worker *worker, const struct publisher *publisher, uint64_t n)
{
    uint64_t room = worker->context.ops->room(publisher->client.channel) / publisher->length;
    n = n < room ? n : room;
    if (publisher->packet_id_at == 0)
        return n;
    uint64_t inflight = publisher->sent - publisher->acknowledged;
    uint64_t free = inflight < publisher->inflight_limit ? publisher->inflight_limit - inflight : 0;
    return n < free ? n : free;
}

/* When message number `sequence` of the publisher is due in an open loop, ns. */
static uint64_t due_time(const struct worker *worker, const struct publisher *publisher, uint64_t sequence)
{
    const struct load *load = worker->state;
    double turns = (double)sequence * worker->run->scenario->publishers + publisher->number;
    return worker->run->load_start + (uint64_t)(turns * load->interval);
}

/* Publishers go through the topics together: message by message each takes the next but as many as there are of them.
 */
static void write_topic_number(const struct worker *worker, const struct publisher *publisher, uint8_t *digits)
{
    uint64_t turn = publisher->sent * worker->run->scenario->publishers + publisher->number;
    uint32_t number = (uint32_t)(turn % worker->run->options->topics);
    for (int i = TOPIC_DIGITS - 1; i >= 0; i--, number /= 10)
        digits[i] = (uint8_t)('0' + number % 10);
}

/* Writes `n` messages into the send stream. */
static void publish(struct worker *worker, struct publisher *publisher, uint64_t n)
{
    const struct backend_ops *ops = worker->context.ops;
    const bool open_loop = worker->run->scenario->rate > 0;
    struct channel *channel = publisher->client.channel;
    struct stamp stamp = {.publisher = publisher->number, .due = worker->now};
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *dst = ops->reserve(channel, publisher->length);
        memcpy(dst, publisher->packet, publisher->length);
        stamp.sequence = (uint32_t)publisher->sent;
        if (open_loop)
            stamp.due = due_time(worker, publisher, publisher->sent);
        memcpy(dst + publisher->stamp_at, &stamp, sizeof(stamp));
        if (publisher->number_at > 0)
            write_topic_number(worker, publisher, dst + publisher->number_at);
        if (publisher->packet_id_at > 0) {
            uint32_t id = (uint32_t)(publisher->sent % UINT16_MAX) + 1;
            dst[publisher->packet_id_at] = (uint8_t)(id >> 8);
            dst[publisher->packet_id_at + 1] = (uint8_t)id;
        }
        publisher->sent++;
        ops->commit(channel, dst + publisher->length);
    }
    worker_count_up(&worker->sent, n);
    worker_count_up(&worker->expected, n * publisher->fan);
}

/* A publisher whose last messages were all lost would wait for ever: after a second without news it goes on. */
static void forgive_stalled(struct worker *worker, struct load *load)
{
    if (worker->now < load->next_stall_look)
        return;
    load->next_stall_look = worker->now + SECOND;
    for (uint32_t i = 0; i < load->publisher_count; i++) {
        struct publisher *publisher = &load->publishers[i];
        uint64_t news = resolved(worker->run, publisher) + publisher->sent;
        if (news == publisher->seen_resolved)
            publisher->forgiven += undelivered(worker->run, publisher);
        publisher->seen_resolved = news;
    }
    wake_all(load);
}

/* Fills the window of one publisher; false if the connection has no room for it yet. */
static bool fill_window(struct worker *worker, const struct load *load, struct publisher *publisher)
{
    uint64_t waiting = undelivered(worker->run, publisher), limit = (uint64_t)load->window * publisher->fan;
    if (waiting >= limit)
        return true;
    uint64_t wanted = (limit - waiting + publisher->fan - 1) / publisher->fan;
    uint64_t n = sendable(worker, publisher, wanted);
    if (n > 0)
        publish(worker, publisher, n);
    return n == wanted;
}

/* Closed loop: every publisher that may have credit fills its window. */
static uint64_t step_closed(struct worker *worker, struct load *load)
{
    const bool alone = worker->run->worker_count == 1;
    if (worker->now >= load->next_look) { /* at the start, and where other threads give credit */
        load->next_look = alone ? UINT64_MAX : worker->now + OTHER_THREADS_WAIT;
        wake_all(load);
    }
    struct publisher *publisher = load->waking;
    load->waking = NULL;
    while (publisher != NULL) {
        struct publisher *next = publisher->next_waking;
        publisher->waking = false;
        if (!fill_window(worker, load, publisher))
            wake(load, publisher);
        publisher = next;
    }
    forgive_stalled(worker, load);
    if (alone)
        return load->waking != NULL ? MILLISECOND : IDLE_WAIT;
    return OTHER_THREADS_WAIT;
}

static void send_due(struct worker *worker, struct load *load, struct publisher *publisher)
{
    uint64_t n = sendable(worker, publisher, publisher->due - publisher->sent);
    if (n > 0)
        publish(worker, publisher, n);
    if (publisher->sent < publisher->due)
        load->behind = true;
}

/* Those that could not send in time come first, so that the order of each publisher is kept. */
static void catch_up(struct worker *worker, struct load *load)
{
    load->behind = false;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        if (load->publishers[i].sent < load->publishers[i].due)
            send_due(worker, load, &load->publishers[i]);
}

/* Open loop: what is due goes out, in order of time; the return value is how long until the next. */
static uint64_t step_open(struct worker *worker, struct load *load)
{
    if (load->behind)
        catch_up(worker, load);
    for (;;) {
        struct publisher *publisher = &load->publishers[load->next];
        uint64_t time = due_time(worker, publisher, load->turn);
        if (time > worker->now)
            return time - worker->now < IDLE_WAIT ? time - worker->now : IDLE_WAIT;
        publisher->due = load->turn + 1;
        send_due(worker, load, publisher);
        if (++load->next == load->publisher_count) {
            load->next = 0;
            load->turn++;
        }
    }
}

/* The load begins. */
static void stall(struct worker *worker, struct load *load)
{
    load->began = true;
    for (uint32_t i = 0; i < load->subscriber_count; i++)
        if (load->subscribers[i].stalled && load->subscribers[i].client.channel != NULL)
            worker->context.ops->pause(load->subscribers[i].client.channel);
}

static uint64_t load_step(struct worker *worker)
{
    struct load *load = worker->state;
    bool loading = worker->phase == PHASE_WARM_UP || worker->phase == PHASE_MEASURE;
    if (loading && !load->began)
        stall(worker, load);
    if (!loading || load->publisher_count == 0 || atomic_load_explicit(&worker->run->failed, memory_order_relaxed))
        return IDLE_WAIT;
    return worker->run->scenario->rate > 0 ? step_open(worker, load) : step_closed(worker, load);
}

static void load_prepare(struct worker *worker)
{
    const struct scenario *scenario = worker->run->scenario;
    struct load *load = calloc(1, sizeof(*load));
    if (load == NULL)
        abort();
    worker->state = load;
    load->groups = group_count(scenario);
    load->window = window_of(scenario, load->groups);
    load->interval = scenario->rate > 0 ? SECOND / scenario->rate : 0;
    worker->context.ready = ready;
    worker->context.message = message;
    worker->context.acknowledged = acknowledged;
    worker->context.ended = ended;
    make_publishers(worker, load);
    make_subscribers(worker, load);
    if (load->publishers == NULL || load->subscribers == NULL || load->filters == NULL)
        abort();
    collect_clients(worker, load);
}

static void load_finish(struct worker *worker)
{
    struct load *load = worker->state;
    for (uint32_t i = 0; i < load->publisher_count; i++)
        free(load->publishers[i].packet);
    for (uint32_t i = 0; i < load->subscriber_count; i++)
        free(load->subscribers[i].trackers);
    free(load->publishers);
    free(load->subscribers);
    free(load->filters);
    free(load);
    free(worker->clients);
}

const struct activity load_activity = {
    .drains = true, .prepare = load_prepare, .step = load_step, .finish = load_finish};

/* A worker's set-up and its loop. See worker.h. */
#include "dataplane/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_cycles.h>

#include "dataplane/addresses.h"
#include "dataplane/login.h"
#include "dataplane/move.h"
#include "dataplane/statistics.h"
#include "lib/topic/shared.h"

enum {
    SCRATCH_SIZE = 64 * 1024, /* bytes; a larger packet that spans segments gets memory of its own */
    ANSWERS_ROOM = 64 * 1024, /* bytes of a connection's send buffer left to answers when messages have filled theirs */
    TIMER_BUDGET = 1024,      /* timers per iteration: 0.3 ms of retained messages that expire at once */
    MAILS_PER_ITERATION = 512, /* of each other worker */
    FAREWELL_US = 100000,
    OVERLOAD_TIME_US = 1000000, /* how long one slow iteration keeps new clients out */
};

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

/* Takes address space, and the memory too unless that is to wait for its use. NULL: there is none. */
static void *region_map(size_t size, bool at_start)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    madvise(base, size, MADV_HUGEPAGE);
    if (at_start && madvise(base, size, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
        munmap(base, size);
        return NULL;
    } /* EINVAL: a kernel before 5.14, where memory comes with its use */
    return base;
}

static int memory_create(struct worker *worker, struct shm_error *error)
{
    const uint64_t size = worker->config->dataplane.memory_per_worker;
    worker->region_base = region_map(size, worker->config->dataplane.memory_present == SHM_PRESENT_AT_START);
    worker->memory = worker->region_base == NULL ? NULL : mem_region_create(worker->region_base, size);
    /* A packet waits in the receive window until it is whole: one that never fits has to be collected instead. */
    worker->scratch_size = (uint32_t)RTE_MIN((uint64_t)SCRATCH_SIZE, worker->config->tcp.receive_buffer / 2);
    worker->scratch = worker->memory == NULL ? NULL : mem_alloc(worker->memory, worker->scratch_size);
    if (worker->scratch == NULL) {
        return shm_error_set(error, "worker %u: %llu MiB of memory cannot be had; lower dataplane.memory-per-worker",
                             worker->index, (unsigned long long)(size >> 20));
    }
    return 0;
}

static uint32_t offloads_of(const struct port *port)
{
    return (port->rx_checksum ? NET_OFFLOAD_RX_CHECKSUM : 0) |
           (port->tx_ipv4_checksum ? NET_OFFLOAD_TX_IP4_CHECKSUM : 0) |
           (port->tx_tcp_checksum ? NET_OFFLOAD_TX_TCP_CHECKSUM : 0) | (port->tso ? NET_OFFLOAD_TSO : 0);
}

static void interface_describe(const struct port *port, uint32_t index, struct net_interface_config *interface)
{
    *interface = (struct net_interface_config){
        .mtu = (uint16_t)port->config->mtu,
        .port = (uint16_t)index,
        .offloads = offloads_of(port),
        .tso_bytes = port->tso ? 60000 : 0,
        .address_count = port->config->address_count,
        .gateway4 = address_of(&port->config->gateway4),
        .gateway6 = address_of(&port->config->gateway6),
    };
    memcpy(interface->mac, port->mac.addr_bytes, sizeof(interface->mac));
    for (uint32_t i = 0; i < port->config->address_count; i++) {
        interface->addresses[i] = (struct net_prefix){.address = address_of(&port->config->addresses[i]),
                                                      .length = port->config->addresses[i].prefix};
    }
}

static void tcp_describe(const struct shm_tcp_config *tcp, struct net_config *net)
{
    net->max_connections = tcp->max_connections;
    net->max_time_wait = tcp->max_connections;
    net->send_buffer = (uint32_t)tcp->send_buffer + ANSWERS_ROOM;
    net->receive_buffer = (uint32_t)tcp->receive_buffer;
    net->delayed_ack_us = tcp->delayed_ack_ms * UINT64_C(1000);
    net->keepalive_idle_us = tcp->keepalive_time_s * UINT64_C(1000000);
    net->keepalive_interval_us = tcp->keepalive_interval_s * UINT64_C(1000000);
    net->keepalive_probes = tcp->keepalive_probes;
    net->user_timeout_us = tcp->user_timeout_s * UINT64_C(1000000);
    net->time_wait_us = tcp->time_wait_s * UINT64_C(1000000);
    net->max_half_open = tcp->max_half_open;
    net->syn_cookies = (enum net_syn_cookies)tcp->syn_cookies;
    net->max_held_buffers = tcp->max_held_buffers;
    net->ecn = (enum net_ecn)tcp->ecn;
    net->echo_replies = tcp->echo_replies;
    net->hop_limit = (uint8_t)tcp->hop_limit;
    net->dscp = (uint8_t)tcp->dscp;
    net->address_probes = (uint8_t)tcp->address_probes;
    net->user_timeout_option = tcp->user_timeout_option != 0;
    net->user_timeout_limit_us = tcp->user_timeout_limit_s * UINT64_C(1000000);
    net->congestion = tcp->congestion_control == SHM_CONGESTION_NEWRENO ? NET_CONGESTION_NEWRENO : NET_CONGESTION_CUBIC;
}

static int net_create(struct worker *worker, struct shm_error *error)
{
    const char *reason = NULL;
    struct net_config config;
    const struct dataplane *dataplane = worker->dataplane;
    net_config_defaults(&config);
    tcp_describe(&worker->config->tcp, &config);
    config.worker = worker->index;
    config.workers = worker->count;
    memcpy(config.seed, worker->config->seed, sizeof(config.seed));
    config.interface_count = dataplane->port_count;
    for (uint32_t i = 0; i < dataplane->port_count; i++) {
        interface_describe(&dataplane->ports[i], i, &config.interfaces[i]);
    }
    config.pool = dataplane->pool;
    config.wheel = &worker->wheel;
    config.timer_kind = TIMER_KIND_NET;
    memcpy(config.rss_key, port_rss_key, sizeof(config.rss_key));
    config.flow_owner = worker->count > 1 ? exchange_flow_owner : NULL;
    config.redirect = worker->count > 1 ? exchange_redirect : NULL;
    config.transmit = exchange_transmit;
    config.ready = exchange_ready;
    config.callbacks = (struct tcp_callbacks){
        .accepted = client_accepted,
        .readable = client_readable,
        .writable = client_writable,
        .peer_closed = client_peer_closed,
        .closed = client_closed,
        .upcoming = client_upcoming,
    };
    config.arg = worker;
    worker->net = net_stack_create(&config, worker->now, &reason);
    if (worker->net == NULL) {
        return shm_error_set(error, "worker %u: the TCP/IP stack does not start: %s", worker->index, reason);
    }
    worker->send_limit = (uint32_t)worker->config->tcp.send_buffer;
    return 0;
}

/* Topics that the match cache has room for. */
static uint32_t cache_topics(const struct shm_dataplane_config *config)
{
    const uint64_t fitting = config->memory_per_worker / 4 / TOPIC_CACHE_ENTRY;
    return config->match_cache_topics != 0 ? config->match_cache_topics
                                           : (uint32_t)rte_align64prevpow2(RTE_MIN(fitting, UINT64_C(1) << 26));
}

static int topics_create(struct worker *worker, struct shm_error *error)
{
    const struct dataplane *dataplane = worker->dataplane;
    const struct shm_mqtt_config *mqtt = &worker->config->mqtt;
    const struct topic_subscribers_config subscribers = {
        .seed = dataplane->seed,
        .region = worker->memory,
        .filters_max = dataplane->filters_max,
        .presence = subscription_presence,
        .presence_arg = worker,
    };
    const struct topic_retained_config retained = {
        .seed = dataplane->seed,
        .allocator = mem_allocator_region(worker->memory),
        /* The bounds are the router's: each worker keeps its share of the topics. */
        .count_max = (uint32_t)(((uint64_t)mqtt->max_retained_messages + worker->count - 1) / worker->count),
        .bytes_max = (mqtt->max_retained_bytes + worker->count - 1) / worker->count,
        .wheel = &worker->wheel,
        .timer_kind = TIMER_KIND_RETAINED,
        .expired = retained_expired,
        .arg = worker,
    };
    worker->subscribers = topic_subscribers_create(&subscribers);
    worker->retained = topic_retained_create(&retained);
    const struct topic_cache_config cache = {
        .seed = dataplane->seed,
        .limits = dataplane->topic_limits,
        .region = worker->memory,
        .subscribers = worker->subscribers,
        .shared = dataplane->shared,
        .entries = cache_topics(&worker->config->dataplane),
        .large_from = dataplane->look_ahead_from,
    };
    worker->routes = worker->subscribers == NULL ? NULL : topic_cache_create(&cache);
    if (mqtt->shared_strategy == SHM_SHARED_LEAST_BACKLOG) {
        worker->share_guesses = mem_alloc_zero(worker->memory, worker->count * sizeof(worker->share_guesses[0]));
    }
    worker->sessions = session_table_create(worker->index, worker->memory, mqtt->max_sessions, &dataplane->seed);
    worker->directory = directory_create(worker->memory, mqtt->max_sessions, &worker->dataplane->client_ids);
    if (worker->retained == NULL || worker->routes == NULL || worker->sessions == NULL || worker->directory == NULL ||
        (worker->share_guesses == NULL && mqtt->shared_strategy == SHM_SHARED_LEAST_BACKLOG)) {
        return shm_error_set(error, "worker %u: no memory for its tables; raise dataplane.memory-per-worker",
                             worker->index);
    }
    return 0;
}

static int listeners_create(struct worker *worker, struct shm_error *error)
{
    const struct shm_config *config = worker->config;
    worker->listener_count = config->listener_count;
    for (uint32_t i = 0; i < config->listener_count; i++) {
        struct listener *listener = &worker->listeners[i];
        const struct net_address address = address_of(&config->listeners[i].address);
        *listener = (struct listener){.config = &config->listeners[i], .index = i};
        if (tcp_listen(worker->net, &address, (uint16_t)config->listeners[i].port, listener) < 0) {
            return shm_error_set(error, "listener %s: port %u is taken by another listener", config->listeners[i].name,
                                 config->listeners[i].port);
        }
    }
    return 0;
}

int worker_create(struct worker *worker, struct dataplane *dataplane, uint32_t index, uint64_t now,
                  struct shm_error *error)
{
    worker->index = index;
    worker->count = dataplane->worker_count;
    worker->dataplane = dataplane;
    worker->config = &dataplane->config;
    worker->now = now;
    worker->run_max = route_run_max(dataplane->mailbox_slots);
    timer_wheel_init(&worker->wheel, now);
    timer_wheel_bind(&worker->wheel, TIMER_KIND_CLIENT, client_timer, worker);
    timer_wheel_bind(&worker->wheel, TIMER_KIND_SESSION, session_timer, worker);
    timer_wheel_bind(&worker->wheel, TIMER_KIND_LOGIN, login_timer, worker);
    idle_init(&worker->idle, dataplane->config.dataplane.idle == SHM_IDLE_ADAPTIVE);
    if (memory_create(worker, error) != 0 || net_create(worker, error) != 0 || topics_create(worker, error) != 0) {
        return -1;
    }
    if (dataplane->shared != NULL) {
        worker->reader = topic_reader_register(topic_shared_reclaim(dataplane->shared), index);
    }
    if (worker->config->authentication.users &&
        (worker->logins =
             login_desk_create(worker->config, worker->index, &worker->bell, &dataplane->housekeeper_bell)) == NULL) {
        return shm_error_set(error, "worker %u: no memory for its logins; lower authentication.max-logins", index);
    }
    if (index == 0 && worker->config->mqtt.sys_interval_s > 0 && sys_topics_create(worker, error) != 0) {
        return -1;
    }
    return listeners_create(worker, error);
}

void worker_destroy(struct worker *worker)
{
    if (worker->net != NULL) {
        net_stack_destroy(worker->net);
    }
    if (worker->reader != NULL) {
        topic_reader_unregister(worker->reader);
    }
    sys_topics_destroy(worker->sys);
    session_table_destroy(worker->sessions);
    login_desk_destroy(worker->logins);
    if (worker->memory != NULL) {
        mem_region_destroy(worker->memory);
    }
    if (worker->region_base != NULL) {
        munmap(worker->region_base, worker->config->dataplane.memory_per_worker);
    }
}

/* ---- Mails ------------------------------------------------------------------------------------------------------ */

static void publish_received(struct worker *worker, const struct mail *mail)
{
    struct publication publication;
    publication_from_message(&publication, mail->block, false);
    if (mail->type == MAIL_SHARED) {
        route_received_shared(worker, &publication, mail->value, mail->small);
    } else {
        route_received(worker, &publication);
    }
    publication_release(&publication, worker->memory);
}

static void mail_handle(struct worker *worker, const struct mail *mail)
{
    switch (mail->type) {
    case MAIL_PUBLISH:
    case MAIL_SHARED:
        publish_received(worker, mail);
        break;
    case MAIL_RETAIN:
        retained_receive(worker, mail->block);
        break;
    case MAIL_RETAINED_QUERY:
        if (!retained_answer(worker, mail->block)) {
            worker->counters.dropped_no_memory++;
        }
        break;
    case MAIL_RETAINED_MATCH:
        retained_deliver(worker, mail);
        break;
    case MAIL_RETAINED_PAUSE:
        retained_receive_pause(worker, mail->block);
        break;
    case MAIL_RETAINED_MORE:
        retained_receive_more(worker, mail->block);
        break;
    case MAIL_CLAIM:
        directory_receive_claim(worker, mail->block);
        break;
    case MAIL_OWNER:
        directory_receive_owner(worker, mail->block);
        break;
    case MAIL_DISOWN:
        directory_receive_disown(worker, mail->block);
        break;
    case MAIL_CONNECTION:
        client_arrive(worker, mail->block);
        break;
    case MAIL_CONNECTION_END: {
        const struct moved_end *end = mail->block;
        tcp_move_ended(worker->net, &end->flow, end->reason, worker->now);
        break;
    }
    default:
        break;
    }
}

static uint32_t mails_receive(struct worker *worker)
{
    uint32_t handled = 0;
    for (uint32_t other = 0; other < worker->count; other++) {
        struct mailbox *mailbox = worker->from[other];
        if (other == worker->index) {
            continue;
        }
        uint32_t count = mailbox_pending(mailbox);
        count = count < MAILS_PER_ITERATION ? count : MAILS_PER_ITERATION;
        for (uint32_t i = 0; i < count; i++) {
            mail_handle(worker, mailbox_at(mailbox, i));
        }
        mailbox_done(mailbox, count);
        handled += count;
    }
    return handled;
}

static void mails_reclaim(struct worker *worker)
{
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index) {
            mailbox_reclaim(worker->to[other], worker->memory);
        }
    }
    if (worker->to_housekeeper != NULL) {
        mailbox_reclaim(worker->to_housekeeper, worker->memory);
    }
}

/* ---- The loop --------------------------------------------------------------------------------------------------- */

/* What other workers sent. */
static uint32_t mails_exchange(struct worker *worker)
{
    worker->stages.outer = STAGE_mailbox;
    const uint32_t work = mails_receive(worker);
    mails_reclaim(worker);
    stages_mark(&worker->stages, STAGE_mailbox);
    worker->stages.outer = STAGE_decode;
    return work;
}

/* What waited for something, or takes several iterations. */
static uint32_t pending_progress(struct worker *worker)
{
    uint32_t work = 0;
    if (worker->logins != NULL) {
        work += logins_progress(worker);
    }
    if (worker->drain.active) {
        work += drain_progress(worker);
    }
    if (worker->waiting != NULL) {
        clients_retry(worker);
    }
    if (worker->pending_first != NULL) {
        subscribe_progress(worker);
    }
    if (worker->sessions_ended != NULL) {
        work += sessions_end_progress(worker);
    }
    if (worker->retained_walks != NULL) {
        work += retained_walk(worker);
    }
    if (worker->retained_tickets != NULL) {
        retained_grant(worker);
    }
    work += query_answer(worker);
    stages_mark(&worker->stages, STAGE_other);
    return work;
}

uint32_t worker_iterate(struct worker *worker)
{
    struct stages *stages = &worker->stages;
    worker->filters_left = SUBSCRIBE_SLICE;
    uint32_t work = exchange_receive(worker);
    stages_mark(stages, STAGE_rx);
    work += timer_wheel_advance(&worker->wheel, worker->now, TIMER_BUDGET);
    stages_mark(stages, STAGE_timers);
    net_deliver(worker->net, worker->now);
    stages_mark(stages, STAGE_decode);
    if (worker->count > 1) {
        work += mails_exchange(worker);
    }
    work += pending_progress(worker);
    net_output(worker->net, worker->now);
    stages_mark(stages, STAGE_tcp_out);
    work += exchange_send(worker);
    stages_mark(stages, STAGE_tx);
    if (worker->reader != NULL) {
        topic_reader_quiescent(worker->reader);
    }
    return work;
}

/* The loop's bookkeeping of an iteration that took `cycles`. */
static void iteration_count(struct worker *worker, uint32_t work, uint64_t cycles)
{
    worker->runtime.iterations++;
    worker->runtime.last_iteration = worker->now;
    if (work > 0) {
        worker->runtime.busy_iterations++;
        worker->runtime.busy_cycles += cycles;
        histogram_record(&worker->loop_time, (cycles * worker->dataplane->clock.ns_per_2e20) >> 20);
        idle_work(&worker->idle, worker->now);
        if (cycles > worker->dataplane->overload_cycles) {
            worker->busy_until = worker->now + OVERLOAD_TIME_US;
        }
    } else {
        worker->runtime.idle_cycles += cycles;
    }
    if (worker->now >= worker->next_publication) {
        worker->next_publication = worker->now + worker->config->dataplane.statistics_interval_ms * UINT64_C(1000);
        statistics_publish(worker);
    }
}

/* ---- Rest ------------------------------------------------------------------------------------------------------- */

/* Is there anything from the worker `from` that `worker` has not seen yet? */
static bool has_input_from(const struct worker *worker, uint32_t from)
{
    return mailbox_pending(worker->from[from]) > 0 || exchange_has_input(worker, from);
}

/* Is there anything that somebody would have rung for, had the bell been armed earlier? */
static bool has_input(struct worker *worker)
{
    for (uint32_t other = 0; other < worker->count; other++) {
        if (other != worker->index && has_input_from(worker, other)) {
            return true;
        }
    }
    return query_is_asked(&worker->query) || (worker->logins != NULL && login_desk_has_verdict(worker->logins)) ||
           (worker->to_housekeeper != NULL && mailbox_to_reclaim(worker->to_housekeeper));
}

/* Wakes those that sleep and have got something from this worker. */
static void others_wake(const struct worker *worker)
{
    struct dataplane *dataplane = worker->dataplane;
    doorbell_published();
    for (uint32_t other = 0; other < worker->count; other++) {
        struct worker *to = dataplane->workers[other];
        if (other != worker->index && doorbell_is_armed(&to->bell) && has_input_from(to, worker->index)) {
            doorbell_ring(&to->bell);
        }
    }
    if (doorbell_is_armed(&dataplane->housekeeper_bell) && mailbox_pending(worker->to_housekeeper) > 0) {
        doorbell_ring(&dataplane->housekeeper_bell);
    }
}

/* Must it look by itself now and then: at a device's queue, or for room that others make without telling? */
static bool must_look(const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->dataplane->port_count; i++) {
        if (worker->index < worker->dataplane->ports[i].rx_queues) {
            return true;
        }
    }
    return worker->drain.active || worker->waiting != NULL || worker->pending_first != NULL ||
           worker->retained_walks != NULL || worker->retained_tickets != NULL;
}

/* Nothing to do: sleep if the policy says so. Returns the cycle counter after it. */
static uint64_t rest(struct worker *worker, uint64_t cycles)
{
    const uint64_t deadline = RTE_MIN(net_next_deadline(worker->net), worker->next_publication);
    const uint32_t sleep = idle_sleep_time(&worker->idle, worker->now, deadline,
                                           must_look(worker) ? IDLE_SLEEP_MAX_LOOK_US : IDLE_SLEEP_MAX_RUNG_US);
    if (sleep == 0) {
        rte_pause();
        return cycles;
    }
    if (worker->reader != NULL) {
        topic_reader_offline(worker->reader);
    }
    doorbell_arm(&worker->bell);
    if (!has_input(worker)) {
        doorbell_sleep(&worker->bell, sleep);
    }
    doorbell_disarm(&worker->bell);
    if (worker->reader != NULL) {
        topic_reader_online(worker->reader);
    }
    const uint64_t awake = rte_rdtsc();
    worker->runtime.sleep_cycles += awake - cycles;
    return awake;
}

/* The router ends: clients are told (MQTT 5.0: 0x8B), and a moment is left for the packets that say so. */
static void clients_send_away(struct worker *worker)
{
    struct session *session;
    uint32_t cursor = 0;
    while ((session = session_next(worker->sessions, &cursor)) != NULL) {
        if (session->client != NULL) {
            client_disconnect(worker, session->client, MQTT_REASON_SERVER_SHUTTING_DOWN);
        }
    }
}

static bool goes_on(struct worker *worker)
{
    if (!atomic_load_explicit(&worker->dataplane->stop, memory_order_relaxed)) {
        return true;
    }
    if (worker->farewell == 0) {
        worker->farewell = worker->now + FAREWELL_US;
        clients_send_away(worker);
    }
    return worker->now < worker->farewell;
}

int worker_run(void *arg)
{
    struct worker *worker = arg;
    const struct clock *clock = &worker->dataplane->clock;
    uint64_t start = rte_rdtsc();
    if (worker->reader != NULL) {
        topic_reader_online(worker->reader);
    }
    worker->now = clock_microseconds(clock, start);
    stages_init(&worker->stages);
    sys_topics_start(worker);
    while (goes_on(worker)) {
        worker->now = clock_microseconds(clock, start);
        stages_begin(&worker->stages, start);
        const uint32_t work = worker_iterate(worker);
        const uint64_t end = rte_rdtsc();
        stages_end(&worker->stages, work > 0);
        iteration_count(worker, work, end - start);
        if (worker->idle.adaptive && worker->count > 1) {
            others_wake(worker);
        }
        start = work > 0 ? end : rest(worker, end);
    }
    if (worker->reader != NULL) {
        topic_reader_offline(worker->reader);
    }
    return 0;
}

/* The simulated router and its link. See world.h. */
#include "tests/sim/router/world.h"
#include "tests/sim/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "dataplane/housekeeper.h"
#include "dataplane/worker.h"
#include "lib/topic/shared.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/threads.h"
#include "tests/sim/trace.h"

enum {
    POOL_MBUFS = 32767,
    MBUF_ROOM = 2048 + RTE_PKTMBUF_HEADROOM,
    RING_SIZE = 1024,
    MEMORY_PER_WORKER = 96 << 20,
    TIME_BEGIN = 1000000000,
};

struct world_frame {
    uint64_t at;
    uint64_t order; /* first sent, first arrived, at equal times */
    uint32_t length;
    bool to_router;
    uint8_t bytes[];
};

/* Made once, used by one world after the other. */
static struct rte_mempool *router_pool, *client_pool;
static struct rte_ring *rx_rings[SHM_WORKERS_MAX], *tx_rings[SHM_WORKERS_MAX];
static uint16_t device_id;
static uint32_t device_queues;
static unsigned router_missing, client_missing; /* since an earlier seed that failed */

const char *world_pool_operations;

static struct rte_mempool *pool_make(const char *name)
{
    struct rte_mempool *pool = rte_pktmbuf_pool_create_by_ops(name, POOL_MBUFS, 0, NET_MBUF_PRIVATE, MBUF_ROOM,
                                                              SOCKET_ID_ANY, world_pool_operations);
    if (pool == NULL) {
        fprintf(stderr, "no buffer pool: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    return pool;
}

static void device_make(uint32_t queues)
{
    const struct rte_eth_conf conf = {0};
    for (uint32_t i = 0; i < queues; i++) {
        char name[RTE_RING_NAMESIZE];
        snprintf(name, sizeof(name), "world-rx-%u", i);
        rx_rings[i] = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
        snprintf(name, sizeof(name), "world-tx-%u", i);
        tx_rings[i] = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    }
    const int id = rte_eth_from_rings("world", rx_rings, queues, tx_rings, queues, 0);
    if (id < 0 || rte_eth_dev_configure((uint16_t)id, (uint16_t)queues, (uint16_t)queues, &conf) != 0) {
        fprintf(stderr, "no ring device: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    device_id = (uint16_t)id;
    device_queues = queues;
    for (uint16_t i = 0; i < queues; i++) {
        rte_eth_rx_queue_setup(device_id, i, RING_SIZE, 0, NULL, router_pool);
        rte_eth_tx_queue_setup(device_id, i, RING_SIZE, 0, NULL);
    }
    rte_eth_dev_start(device_id);
}

void world_environment(uint32_t workers_max)
{
    char *arguments[] = {"router", "--no-huge", "--no-shconf", "--no-telemetry",    "--no-pci", "-m",
                         "512",    "-l",        "0",           "--log-level=error", NULL};
    if (rte_eal_init(10, arguments) < 0) {
        fprintf(stderr, "EAL does not start: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    router_pool = pool_make("router");
    client_pool = pool_make("clients");
    device_make(workers_max);
}

/* ---- Chance ----------------------------------------------------------------------------------------------------- */

uint64_t world_random(struct world *world)
{
    uint64_t z = (world->random += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t world_below(struct world *world, uint32_t bound)
{
    return bound == 0 ? 0 : (uint32_t)(world_random(world) % bound);
}

bool world_chance(struct world *world, uint32_t percent)
{
    return world_below(world, 100) < percent;
}

static bool happens(struct world *world, uint32_t ppm)
{
    return ppm != 0 && world_below(world, 1000000) < ppm;
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list list;
    world->failed = true;
    fprintf(stderr, "seed %lu at %.6f s: ", (unsigned long)world->seed, (double)(world->now - TIME_BEGIN) / 1e6);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

/* ---- Frames on the way: a binary heap --------------------------------------------------------------------------- */

static bool frame_earlier(const struct world_frame *a, const struct world_frame *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct world *world, struct world_frame *frame)
{
    if (world->heap_count == world->heap_room) {
        world->heap_room = world->heap_room == 0 ? 256 : 2 * world->heap_room;
        world->heap = realloc(world->heap, world->heap_room * sizeof(world->heap[0]));
    }
    uint32_t at = world->heap_count++;
    while (at > 0 && frame_earlier(frame, world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = frame;
}

static struct world_frame *heap_pop(struct world *world)
{
    struct world_frame *top = world->heap[0], *last = world->heap[--world->heap_count];
    uint32_t at = 0, child;
    while ((child = 2 * at + 1) < world->heap_count) {
        if (child + 1 < world->heap_count && frame_earlier(world->heap[child + 1], world->heap[child])) {
            child++;
        }
        if (!frame_earlier(world->heap[child], last)) {
            break;
        }
        world->heap[at] = world->heap[child];
        at = child;
    }
    world->heap[at] = last;
    return top;
}

/* ---- The link --------------------------------------------------------------------------------------------------- */

/* The client's TCP port in a frame of this direction; 0: not TCP. The link carries IPv4 without options only. */
static uint16_t client_port(const uint8_t *frame, uint32_t length, bool to_router)
{
    const uint32_t at = to_router ? 34 : 36;
    const bool tcp = length >= 54 && frame[12] == 0x08 && frame[13] == 0x00 && frame[23] == 6;
    return tcp ? (uint16_t)(frame[at] << 8 | frame[at + 1]) : 0;
}

static bool is_cut(const struct world *world, uint16_t port)
{
    return (world->cut[port / 8] >> (port % 8)) & 1;
}

void world_cut(struct world *world, uint16_t port)
{
    world->cut[port / 8] |= (uint8_t)(1u << (port % 8));
}

static void link_put(struct world *world, const uint8_t *bytes, uint32_t length, bool to_router)
{
    struct world_frame *frame = malloc(sizeof(*frame) + length);
    *frame = (struct world_frame){
        .at = world->now + world->link.delay_us + world_below(world, (uint32_t)world->link.jitter_us + 1),
        .order = world->frames++,
        .length = length,
        .to_router = to_router,
    };
    memcpy(frame->bytes, bytes, length);
    heap_push(world, frame);
}

static void link_send(struct world *world, struct rte_mbuf *mbuf, bool to_router)
{
    static uint8_t buffer[70000];
    const uint8_t *bytes = rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, buffer);
    const uint16_t port = client_port(bytes, mbuf->pkt_len, to_router);
    if (port != 0 && port == world->traced_port) {
        trace_frame(world->now, to_router ? "client>" : "router>", bytes, mbuf->pkt_len);
    }
    if (!is_cut(world, port) && !happens(world, world->link.loss_ppm)) {
        link_put(world, bytes, mbuf->pkt_len, to_router);
        if (happens(world, world->link.duplicate_ppm)) {
            link_put(world, bytes, mbuf->pkt_len, to_router);
        }
    }
    rte_pktmbuf_free(mbuf);
}

static void frame_arrive(struct world *world, struct world_frame *frame)
{
    const uint16_t port = client_port(frame->bytes, frame->length, frame->to_router);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(frame->to_router ? router_pool : client_pool);
    if (mbuf == NULL || is_cut(world, port)) {
        rte_pktmbuf_free(mbuf);
    } else {
        memcpy(rte_pktmbuf_append(mbuf, (uint16_t)frame->length), frame->bytes, frame->length);
        if (!frame->to_router) {
            net_input(world->stack, 0, &mbuf, 1, world->now);
        } else if (rte_ring_sp_enqueue(rx_rings[port % world->queues], mbuf) != 0) {
            rte_pktmbuf_free(mbuf);
        }
    }
    free(frame);
}

static uint32_t port_drain(struct world *world)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->queues; i++) {
        void *mbuf;
        while (rte_ring_sc_dequeue(tx_rings[i], &mbuf) == 0) {
            link_send(world, mbuf, false);
            count++;
        }
    }
    return count;
}

static uint16_t clients_transmit(void *arg, unsigned interface, struct rte_mbuf **mbufs, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        link_send(arg, mbufs[i], true);
    }
    return count;
}

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

struct rte_ring *world_rx_ring(uint32_t queue)
{
    return rx_rings[queue];
}

struct rte_ring *world_tx_ring(uint32_t queue)
{
    return tx_rings[queue];
}

struct net_address world_router_address(void)
{
    return net_address_ip4(rte_cpu_to_be_32(0xc6120001u)); /* 198.18.0.1 */
}

static struct net_address clients_address(void)
{
    return net_address_ip4(rte_cpu_to_be_32(0xc6120002u));
}

static void config_defaults(struct shm_config *config, uint32_t workers)
{
    *config = (struct shm_config){
        .generation = 1,
        .dataplane = {.workers = workers,
                      .core_count = 0,
                      .packet_buffers = POOL_MBUFS,
                      .statistics_interval_ms = 1000,
                      .memory_present = SHM_PRESENT_ON_USE,
                      .memory_per_worker = MEMORY_PER_WORKER},
        .tcp = {.receive_buffer = 65536,
                .send_buffer = 65536,
                .max_connections = 256,
                .keepalive_time_s = 120,
                .keepalive_interval_s = 10,
                .keepalive_probes = 3,
                .user_timeout_s = 60,
                .time_wait_s = 10,
                .delayed_ack_ms = 5,
                .max_half_open = 64,
                .hop_limit = 64,
                .echo_replies = 1000,
                .user_timeout_limit_s = 3600},
        .mqtt = {.max_queued_bytes = 64 << 20,
                 .max_retained_bytes = 16 << 20,
                 .max_packet_size = 1 << 20,
                 .receive_maximum = 20,
                 .max_inflight = 20,
                 .topic_alias_maximum = 10,
                 .max_qos = 2,
                 .retain_available = 1,
                 .wildcard_available = 1,
                 .shared_available = 1,
                 .session_expiry_max_s = UINT32_MAX,
                 .max_queued_messages = 1000000,
                 .max_sessions = 256,
                 .max_subscriptions = 100,
                 .max_topic_levels = 16,
                 .max_topic_length = 1024,
                 .max_retained_messages = 10000,
                 .allow_anonymous = 1,
                 .connect_timeout_s = 30,
                 .overload_memory = 100,
                 .overload_buffers = 100},
        .port_count = 1,
        .listener_count = 2,
        .ports = {{.name = "world",
                   .device = "world",
                   .queues = 1,
                   .mtu = 1500,
                   .address_count = 1,
                   .addresses = {{.bytes = {198, 18, 0, 1}, .family = 4, .prefix = 24}}}},
        .listeners = {{.name = "mqtt", .port = WORLD_PORT, .max_connections = 1000},
                      {.name = "web",
                       .port = WORLD_WEBSOCKET_PORT,
                       .max_connections = 1000,
                       .transport = SHM_TRANSPORT_WEBSOCKET,
                       .max_header_size = 4096,
                       .path = "/mqtt"}},
    };
}

void world_init(struct world *world, uint64_t seed, uint32_t workers, uint32_t loss_percent)
{
    *world = (struct world){
        .seed = seed,
        .random = seed,
        .now = TIME_BEGIN,
        .link = {.delay_us = 50},
        .mailbox_slots = MAILBOX_SLOTS,
        .poll_at = UINT64_MAX,
    };
    world->link.delay_us = 20 + world_below(world, world_chance(world, 50) ? 300 : 20000);
    world->link.jitter_us = world_chance(world, 30) ? 0 : world_below(world, 3000);
    world->link.loss_ppm = world_chance(world, 25) ? 0 : world_below(world, loss_percent * 10000 + 1);
    world->link.duplicate_ppm = world_chance(world, 70) ? 0 : world_below(world, 20000);
    world->queues = 1 + world_below(world, workers);
    world->queues = world->queues < device_queues ? world->queues : device_queues;
    world->freeze_ppm = world_chance(world, 50) ? 0 : world_below(world, 3000);
    world->freeze_us = 1 + world_below(world, 20000);
    config_defaults(&world->config, workers);
    for (uint32_t i = 0; i < sizeof(world->config.seed); i++) {
        world->config.seed[i] = (uint8_t)world_random(world);
    }
}

static void clients_begin(struct world *world)
{
    const char *reason;
    struct net_config config;
    timer_wheel_init(&world->wheel, world->now);
    net_config_defaults(&config);
    config.seed[0] = world_random(world);
    config.seed[1] = world_random(world);
    config.max_connections = 512;
    config.max_half_open = 64;
    config.max_time_wait = 512;
    config.time_wait_us = 2000000;
    config.user_timeout_us = world->config.tcp.user_timeout_s * UINT64_C(1000000);
    config.interface_count = 1;
    config.interfaces[0] = (struct net_interface_config){
        .mac = {2, 0, 0, 0, 0, 2},
        .mtu = (uint16_t)(world_chance(world, 70) ? 1500 : 576 + world_below(world, 900)),
        .address_count = 1,
        .addresses = {{clients_address(), 24}},
    };
    config.pool = client_pool;
    config.wheel = &world->wheel;
    config.transmit = clients_transmit;
    config.callbacks = device_callbacks;
    config.arg = world;
    world->stack = net_stack_create(&config, world->now, &reason);
    if (world->stack == NULL) {
        fprintf(stderr, "no stack for the clients: %s\n", reason);
        exit(2);
    }
}

static uint64_t region_objects(const struct worker *worker)
{
    struct mem_stats stats;
    mem_stats(worker->memory, &stats);
    return stats.objects;
}

void world_begin(struct world *world)
{
    struct shm_error error;
    struct dataplane *dataplane = &world->dataplane;
    world->queues = world->wants_threads ? world->config.dataplane.workers : world->queues;
    dataplane_describe(dataplane, &world->config);
    clock_init(&dataplane->clock);
    dataplane->mailbox_slots = world->mailbox_slots;
    dataplane->look_ahead_from = 0; /* always: what only large routers do is to be seen here too */
    dataplane->seed.weaken = world->weaken;
    dataplane->pool = router_pool;
    dataplane->port_count = 1;
    dataplane->ports[0] = (struct port){
        .config = &dataplane->config.ports[0],
        .id = device_id,
        .rx_queues = (uint16_t)world->queues,
        .tx_queues = (uint16_t)world->queues,
        .mac = {.addr_bytes = {2, 0, 0, 0, 0, 1}},
        .driver = "net_ring",
    };
    if (dataplane_create_workers(dataplane, world->now, &error) != 0) {
        fprintf(stderr, "no router: %s\n", error.text);
        exit(2);
    }
    for (uint32_t i = 0; i < dataplane->worker_count; i++) {
        if (dataplane->workers[i]->reader != NULL) {
            topic_reader_online(dataplane->workers[i]->reader);
        }
        world->memory_objects[i] = region_objects(dataplane->workers[i]);
    }
    clients_begin(world);
}

bool world_end(struct world *world)
{
    void *mbuf;
    threads_end(world);
    devices_free(world);
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        if (world->dataplane.workers[i]->reader != NULL) {
            topic_reader_offline(world->dataplane.workers[i]->reader);
        }
    }
    dataplane_destroy_workers(&world->dataplane);
    net_stack_destroy(world->stack);
    while (world->heap_count > 0) {
        free(heap_pop(world));
    }
    free(world->heap);
    for (uint32_t i = 0; i < device_queues; i++) {
        while (rte_ring_sc_dequeue(rx_rings[i], &mbuf) == 0 || rte_ring_sc_dequeue(tx_rings[i], &mbuf) == 0) {
            rte_pktmbuf_free(mbuf);
        }
    }
    const unsigned router = rte_mempool_in_use_count(router_pool), clients = rte_mempool_in_use_count(client_pool);
    if (!world->failed && (router != router_missing || clients != client_missing)) {
        world_fail(world, "packet buffers missing: %u of the router, %u of the clients", router - router_missing,
                   clients - client_missing);
    }
    router_missing = router;
    client_missing = clients;
    return !world->failed;
}

/* Ports of WebSockets are odd, others even: a port is one connection's, and can be cut. */
uint16_t world_port_for(struct world *world, uint16_t to, uint32_t worker)
{
    struct net_flow flow = {.remote = clients_address(), .local = world_router_address(), .local_port = to};
    do {
        flow.remote_port = (uint16_t)(1024 + 2 * world_below(world, 32000) + (to == WORLD_WEBSOCKET_PORT));
    } while (exchange_flow_owner(world->dataplane.workers[0], net_flow_hash(&flow, port_rss_key)) != worker ||
             is_cut(world, flow.remote_port));
    return flow.remote_port;
}

/* ---- Running ---------------------------------------------------------------------------------------------------- */

static bool worker_is_frozen(struct world *world, uint32_t i)
{
    if (world->frozen_until[i] > world->now) {
        return true;
    }
    if (happens(world, world->freeze_ppm)) {
        world->frozen_until[i] = world->now + world_below(world, (uint32_t)world->freeze_us);
        return true;
    }
    return false;
}

static uint64_t cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static bool worker_step(struct world *world, struct worker *worker)
{
    const uint64_t lag = world->clocks_differ ? 20 * worker->index : 0;
    worker->now = world->now > lag ? world->now - lag : 0;
    if (world->iteration_times == NULL) {
        return worker_iterate(worker) > 0;
    }
    const uint64_t begin = cpu_ns();
    const bool busy = worker_iterate(worker) > 0;
    const uint64_t taken = cpu_ns() - begin;
    histogram_record(world->iteration_times, taken);
    world->iteration_us = taken / 1000 > world->iteration_us ? taken / 1000 : world->iteration_us;
    return busy;
}

/* The workers in a random order, some of them left out. Returns whether any has more to do at once. */
static bool workers_iterate(struct world *world)
{
    bool busy = false;
    const uint32_t count = world->dataplane.worker_count, first = world_below(world, count);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t index = (first + i) % count;
        struct worker *worker = world->dataplane.workers[index];
        if (worker_is_frozen(world, index)) {
            continue;
        }
        if (count > 1 && world_below(world, 8) == 0) {
            busy = true;
            continue;
        }
        busy |= worker_step(world, worker);
        busy |= worker->waiting != NULL || worker->pending_first != NULL;
        devices_observe(world, worker);
        port_drain(world);
    }
    if (world_below(world, 2) == 0) {
        busy |= housekeeper_serve_topics(&world->dataplane, world->now) > 0;
    } else {
        busy |= count > 1 && world_below(world, 2) == 0;
    }
    return busy;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_event(struct world *world)
{
    uint64_t next = earlier(world->poll_at, net_next_deadline(world->stack));
    if (world->heap_count > 0) {
        next = earlier(next, world->heap[0]->at);
    }
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        if (world->frozen_until[i] > world->now) {
            next = earlier(next, world->frozen_until[i]);
        } else {
            next = earlier(next, net_next_deadline(world->dataplane.workers[i]->net));
        }
    }
    return next;
}

/* The half of a step that is not the router's. */
static void clients_step(struct world *world)
{
    world->steps++;
    while (world->heap_count > 0 && world->heap[0]->at <= world->now) {
        frame_arrive(world, heap_pop(world));
    }
    timer_wheel_advance(&world->wheel, world->now, 1000);
    net_deliver(world->stack, world->now);
    if (world->poll != NULL && world->poll_at <= world->now) {
        world->poll_at = UINT64_MAX;
        world->poll(world);
    }
    net_output(world->stack, world->now);
}

/* In real time, while the router runs on threads of its own. */
static void threads_step(struct world *world)
{
    threads_lock(world);
    world->now = threads_now(world);
    clients_step(world);
    port_drain(world);
    threads_unlock(world);
}

static void world_step(struct world *world)
{
    if (world->threads != NULL) {
        threads_step(world);
        return;
    }
    clients_step(world);
    world->iteration_us = 0;
    const bool busy = workers_iterate(world);
    const uint64_t soon =
        world->now + 1 + (world->iteration_times != NULL ? world->iteration_us : world_below(world, 40));
    uint64_t next = next_event(world);
    if (busy || next < soon) {
        next = soon;
    }
    world->now = next == UINT64_MAX ? world->now + 1000000 : next;
}

bool world_run(struct world *world, bool (*done)(struct world *world), uint64_t limit_us)
{
    const uint64_t limit = world->now + limit_us;
    while (!world->failed && !done(world)) {
        if (world->now >= limit) {
            return false;
        }
        world_step(world);
    }
    return !world->failed;
}

void world_run_for(struct world *world, uint64_t us)
{
    const uint64_t limit = world->now + us;
    while (!world->failed && world->now < limit) {
        world_step(world);
    }
}

/* ---- The census ------------------------------------------------------------------------------------------------- */

static void expect_zero(struct world *world, uint32_t worker, const char *what, uint64_t count)
{
    if (count != 0) {
        world_fail(world, "worker %u: left over: %llu %s", worker, (unsigned long long)count, what);
    }
}

static void census_stack(struct world *world, uint32_t worker, const struct net_stack *stack)
{
    struct net_census net;
    net_census(stack, &net);
    expect_zero(world, worker, "connections", net.connections);
    expect_zero(world, worker, "half-open connections", net.half_open);
    expect_zero(world, worker, "TIME-WAIT records", net.time_wait);
    expect_zero(world, worker, "records of moved connections", net.moved);
    expect_zero(world, worker, "buffers of the stack",
                net.send_mbufs + net.receive_mbufs + net.out_of_order_mbufs + net.neighbour_mbufs +
                    net.reassembly_mbufs + net.transmit_mbufs);
}

static void census_worker(struct world *world, struct worker *worker)
{
    struct topic_subscribers_stats topics;
    struct topic_retained_stats retained;
    topic_subscribers_stats(worker->subscribers, &topics);
    topic_retained_stats(worker->retained, &retained);
    const uint32_t i = worker->index;
    census_stack(world, i, worker->net);
    expect_zero(world, i, "clients", worker->clients);
    expect_zero(world, i, "connected clients", worker->connected_clients);
    expect_zero(world, i, "open connections of the listeners", worker->listeners[0].open + worker->listeners[1].open);
    expect_zero(world, i, "sessions", session_count(worker->sessions));
    expect_zero(world, i, "directory entries", directory_count(worker->directory));
    expect_zero(world, i, "subscriptions", topics.subscriptions);
    expect_zero(world, i, "filters", topics.filters + topics.share_filters + topics.groups);
    expect_zero(world, i, "retained messages", retained.count + retained.nodes);
    expect_zero(world, i, "timers", worker->wheel.pending);
    expect_zero(world, i, "walks of retained messages", worker->retained_walks != NULL);
    expect_zero(world, i, "waiting clients", worker->waiting != NULL);
}

/* The match cache keeps scratch space that grows to the largest need: it goes, and with it the objects it begins with.
 */
static void census_memory(struct world *world, struct worker *worker)
{
    /* A chain of colliding objects keeps buckets that a split has emptied until the next removal from it. */
    enum { CACHE_OBJECTS = 3, EMPTY_BUCKETS_MAX = 1024 };
    topic_cache_destroy(worker->routes);
    worker->routes = NULL;
    mem_free(worker->memory, worker->route_matches);
    mem_free(worker->memory, worker->route_identifiers);
    worker->route_matches = NULL;
    worker->route_identifiers = NULL;
    const uint64_t objects = region_objects(worker), begin = world->memory_objects[worker->index] - CACHE_OBJECTS;
    if (objects < begin || objects > begin + (world->weaken != 0 ? EMPTY_BUCKETS_MAX : 0)) {
        world_fail(world, "worker %u: %lld objects more in its memory than at the start", worker->index,
                   (long long)(objects - begin));
    }
}

bool world_census(struct world *world)
{
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        census_worker(world, world->dataplane.workers[i]);
        census_memory(world, world->dataplane.workers[i]);
    }
    if (world->dataplane.shared != NULL) {
        expect_zero(world, 0, "filters of the shared table",
                    topic_shared_count(world->dataplane.shared) + topic_shared_group_filters(world->dataplane.shared));
    }
    census_stack(world, UINT32_MAX, world->stack);
    return !world->failed;
}

/* Captures in virtual time: real workers, frames through real ports and exchange rings, the test in control's place. */
#include <rte_mbuf.h>
#include <string.h>

#include "dataplane/capture.h"
#include "dataplane/worker.h"
#include "tests/sim/router/device.h"
#include "tests/sim/router/scenario.h"
#include "tests/unit/dataplane/support.h"

TestSuite(capture, .timeout = 60);

enum { TOKEN = 7, PACKETS_MAX = 4096 };

static struct world world;
static uint32_t slots;
static struct shm_ring_consumer rings[2];
static struct shm_capture_reader readers[2];

/* A packet as control gets it. */
struct packet {
    uint16_t direction;
    uint32_t length, captured, worker;
    uint64_t dropped, time_ns;
    char id[SHM_CAPTURE_ID_MAX + 1];
    uint16_t source_port, target_port;
    uint8_t flags; /* of TCP */
    uint8_t first; /* byte of the payload; 0: none */
};

static struct packet packets[PACKETS_MAX];
static uint32_t packet_count;

static void router_begin(uint32_t workers, uint32_t queues, uint64_t buffer)
{
    static bool made; /* once for a process */
    struct shm_error error = {""};
    if (!made) {
        world_environment(2);
    }
    made = true;
    world_init(&world, 1, workers, 0);
    world.queues = queues;
    world.link.loss_ppm = world.link.duplicate_ppm = 0;
    world.config.capture = (struct shm_capture_config){.buffer = buffer, .max_snap_length = SHM_CAPTURE_SNAP_MAX};
    world.poll = scenario_poll;
    world_begin(&world);
    cr_assert_eq(capture_create(&world.dataplane, &error), 0, "%s", error.text);
}

static void router_end(void)
{
    capture_destroy(&world.dataplane);
    world_end(&world);
}

static struct shm_capture_record request(const struct shm_capture_arguments *arguments)
{
    struct shm_capture_record sum = {0};
    atomic_store(&world.dataplane.capture_token, arguments->action == SHM_CAPTURE_START ? TOKEN : 0);
    for (uint32_t i = 0; i < world.dataplane.worker_count; i++) {
        struct shm_capture_record record;
        capture_request(world.dataplane.workers[i], arguments, TOKEN, &record);
        cr_assert_eq(shm_capture_record_check(&record, NULL), 0);
        sum.packets += record.packets;
        sum.dropped += record.dropped;
        slots = record.slots;
    }
    return sum;
}

static void start(const char *client, uint32_t direction, uint32_t snap_length)
{
    struct shm_capture_arguments arguments = {
        .action = SHM_CAPTURE_START, .direction = direction, .snap_length = snap_length, .time_s = 3600};
    arguments.id_length = (uint32_t)strlen(client);
    memcpy(arguments.id, client, arguments.id_length);
    request(&arguments);
    for (uint32_t i = 0; i < world.dataplane.worker_count; i++) {
        struct shm_segment part;
        memset(&readers[i], 0, sizeof(readers[i]));
        cr_assert_eq(shm_capture_part(&world.dataplane.capture_segment, i, slots, &part, NULL), 0);
        cr_assert_eq(shm_ring_open_consumer(&rings[i], &part, slots, SHM_CAPTURE_SLOT_SIZE, NULL), 0);
    }
}

static struct shm_capture_record stop(void)
{
    return request(&(struct shm_capture_arguments){.action = SHM_CAPTURE_STOP});
}

static void packet_take(const struct shm_capture_reader *reader, uint32_t worker)
{
    cr_assert_lt(packet_count, PACKETS_MAX);
    struct packet *packet = &packets[packet_count++];
    const uint8_t *bytes = reader->bytes + reader->head.id_length;
    *packet = (struct packet){.direction = reader->head.direction,
                              .length = reader->head.length,
                              .captured = reader->head.captured,
                              .worker = worker,
                              .dropped = reader->head.dropped,
                              .time_ns = reader->head.time_ns};
    memcpy(packet->id, reader->bytes, reader->head.id_length);
    if (packet->captured >= 54 && bytes[12] == 8 && bytes[13] == 0 && bytes[23] == 6) {
        packet->source_port = (uint16_t)(bytes[34] << 8 | bytes[35]);
        packet->target_port = (uint16_t)(bytes[36] << 8 | bytes[37]);
        packet->flags = bytes[47];
        const uint32_t payload = 34 + (bytes[46] >> 4) * 4u, end = 14 + (uint32_t)(bytes[16] << 8 | bytes[17]);
        packet->first = payload < end && payload < packet->captured ? bytes[payload] : 0;
    }
}

/* What is in the rings now. */
static void take(void)
{
    packet_count = 0;
    for (uint32_t i = 0; i < world.dataplane.worker_count; i++) {
        struct shm_capture_slot slot;
        while (shm_ring_pop(&rings[i], &slot) == SHM_RING_OK) {
            struct shm_error error = {""};
            cr_assert_eq(shm_capture_read(&readers[i], &slot, &error), 0, "%s", error.text);
            if (readers[i].whole) {
                readers[i].whole = false;
                packet_take(&readers[i], i);
            }
        }
        cr_assert_eq(readers[i].filled, readers[i].expected, "half a packet");
    }
}

static uint32_t count(uint16_t direction, uint8_t first)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < packet_count; i++) {
        found += packets[i].direction == direction && packets[i].first == first;
    }
    return found;
}

static void device_meet(const char *id, bool wanted)
{
    struct device *device = device_create(&world, id, MQTT_V5);
    device->wanted = wanted;
    world.poll_at = world.now;
    world_run_for(&world, 2000000);
}

Test(capture, off_nothing_is_written)
{
    router_begin(1, 1, 1 << 20);
    cr_expect(!world.dataplane.workers[0]->capturing);
    device_meet("a", true);
    cr_expect_eq(world.dataplane.workers[0]->capture.packets, 0);
    router_end();
}

/* With one queue for two workers half of the packets are received by the one that has no use for them. */
Test(capture, each_packet_once_however_it_finds_its_worker)
{
    for (uint32_t queues = 1; queues <= 2; queues++) {
        router_begin(2, queues, 1 << 20);
        start("", SHM_CAPTURE_BOTH, 2000);
        for (int i = 0; i < 4; i++) {
            char id[16];
            snprintf(id, sizeof(id), "d%d", i);
            device_meet(id, true);
        }
        const struct shm_capture_record record = stop();
        take();
        cr_expect_eq(record.packets, packet_count);
        cr_expect_eq(record.dropped, 0);
        cr_expect_eq(count(SHM_CAPTURE_IN, 0x10), 4, "%u CONNECT with %u queues", count(SHM_CAPTURE_IN, 0x10), queues);
        cr_expect_eq(count(SHM_CAPTURE_OUT, 0x20), 4, "CONNACK");
        for (uint32_t i = 0; i < packet_count; i++) {
            cr_expect_neq(packets[i].direction == SHM_CAPTURE_IN ? packets[i].source_port : packets[i].target_port,
                          WORLD_PORT);
            cr_expect(packets[i].first != 0x10 || packets[i].id[0] == 'd', "a CONNECT tells whose it is");
        }
        router_end();
    }
}

Test(capture, one_client_from_its_connect_to_its_last_segment)
{
    for (uint32_t workers = 1; workers <= 2; workers++) {
        router_begin(workers, 1, 1 << 20);
        device_meet("here", true);
        start("later", SHM_CAPTURE_BOTH, 2000);
        device_meet("other", true);
        device_meet("later", true);
        struct device *later = world.devices[2];
        const uint16_t port = later->current->port;
        later->wanted = false;
        tcp_close(later->current->tcp);
        world_run_for(&world, 2000000);
        stop();
        take();
        cr_assert_gt(packet_count, 3);
        cr_expect_eq(count(SHM_CAPTURE_IN, 0x10), 1, "CONNECT");
        cr_expect_eq(count(SHM_CAPTURE_OUT, 0x20), 1, "CONNACK");
        uint32_t ends = 0;
        for (uint32_t i = 0; i < packet_count; i++) {
            cr_expect_eq(packets[i].direction == SHM_CAPTURE_IN ? packets[i].source_port : packets[i].target_port,
                         port);
            cr_expect_str_eq(packets[i].id, "later");
            ends += packets[i].flags & 1;
        }
        cr_expect_geq(ends, 2, "FIN both ways, although the session is gone");
        router_end();
    }
}

Test(capture, of_a_client_that_is_connected_already)
{
    router_begin(2, 1, 1 << 20);
    device_meet("here", true);
    start("here", SHM_CAPTURE_OUT, 60);
    struct device *here = world.devices[0];
    connection_send(here->current, (const uint8_t *)"\xc0", 2); /* PINGREQ */
    world_run_for(&world, 1000000);
    stop();
    take();
    cr_assert_geq(packet_count, 1);
    for (uint32_t i = 0; i < packet_count; i++) {
        cr_expect_eq(packets[i].direction, SHM_CAPTURE_OUT);
        cr_expect_eq(packets[i].captured, 60, "cut to the snap length");
        cr_expect_gt(packets[i].length, 60);
    }
    router_end();
}

Test(capture, a_full_ring_costs_packets_which_are_counted)
{
    router_begin(1, 1, 1); /* as small as it can be */
    start("", SHM_CAPTURE_BOTH, SHM_CAPTURE_SNAP_MAX);
    for (int i = 0; i < 60; i++) {
        char id[16];
        snprintf(id, sizeof(id), "d%d", i);
        device_meet(id, true);
    }
    const uint64_t dropped = world.dataplane.workers[0]->runtime.capture_dropped;
    cr_assert_gt(dropped, 0);
    take(); /* room again */
    uint32_t taken = packet_count;
    cr_expect_geq(packet_count, slots / 2, "the ring was full");
    device_meet("z", true);
    const struct shm_capture_record record = stop();
    take();
    taken += packet_count;
    cr_assert_gt(packet_count, 0);
    cr_expect_eq(packets[0].dropped, dropped, "the next packet says how many are missing before it");
    cr_expect_eq(packets[1].dropped, 0);
    cr_expect_eq(record.packets, taken);
    cr_expect_eq(record.dropped, dropped);
    cr_expect_eq(world.dataplane.workers[0]->runtime.captured, taken);
    router_end();
}

Test(capture, it_ends_with_control_and_with_its_time)
{
    router_begin(1, 1, 1 << 20);
    struct worker *worker = world.dataplane.workers[0];
    start("", SHM_CAPTURE_BOTH, 100);
    atomic_store(&world.dataplane.capture_token, 0); /* as the main lcore does when control is gone */
    device_meet("a", true);
    cr_expect(!worker->capturing && worker->capture.packets == 0);
    start("", SHM_CAPTURE_BOTH, 100);
    device_meet("b", true);
    cr_expect(worker->capturing && worker->capture.packets > 0);
    worker->capture.ends_at = worker->now + 1000000;
    world_run_for(&world, 2000000);
    device_meet("c", true);
    cr_expect(!worker->capturing);
    router_end();
}

Test(capture, the_configuration_bounds_the_snap_length)
{
    router_begin(1, 1, 1 << 20);
    world.dataplane.config.capture.max_snap_length = 54;
    start("", SHM_CAPTURE_BOTH, SHM_CAPTURE_SNAP_MAX);
    device_meet("a", true);
    stop();
    take();
    cr_assert_gt(packet_count, 5);
    for (uint32_t i = 0; i < packet_count; i++) {
        cr_expect_leq(packets[i].captured, 54);
    }
    router_end();
}

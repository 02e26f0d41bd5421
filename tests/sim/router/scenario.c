/* What scenarios share. See scenario.h. */
#include "tests/sim/router/scenario.h"

#include <stdio.h>

#include "dataplane/session.h"
#include "dataplane/worker.h"

void scenario_poll(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        const uint64_t next = device_poll(world->devices[i]);
        world->poll_at = next < world->poll_at ? next : world->poll_at;
    }
}

static void tcp_show(const char *whose, struct tcp_connection *tcp)
{
    struct tcp_info info;
    tcp_info(tcp, &info);
    fprintf(stderr, "      %s: %s, %u unacknowledged, %u to be sent, window %u, %u readable, rto %u ms, idle %llu ms\n",
            whose, tcp_state_text(info.state), info.unacknowledged, info.send_queued, info.send_window, info.readable,
            info.rto / 1000, (unsigned long long)info.idle_us / 1000);
}

struct search {
    uint16_t port;
    const char *whose;
};

static void tcp_show_if(void *arg, struct tcp_connection *tcp)
{
    const struct search *search = arg;
    if (tcp_flow(tcp)->remote_port == search->port) {
        tcp_show(search->whose, tcp);
    }
}

/* Both ends of a connection, wherever the router's is. */
static void connection_show(const struct world *world, const struct connection *connection)
{
    if (connection->tcp != NULL) {
        tcp_show("client", connection->tcp);
    }
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        char whose[32];
        uint32_t cursor = 0;
        struct search search = {.port = connection->port, .whose = whose};
        snprintf(whose, sizeof(whose), "worker %u", i);
        while (tcp_connections_visit(world->dataplane.workers[i]->net, &cursor, 1000, tcp_show_if, &search)) {
        }
    }
}

static void devices_show(const struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        const struct device *device = world->devices[i];
        uint32_t waiting = 0;
        for (const struct sending *sending = device->first; sending != NULL; sending = sending->next) {
            waiting++;
        }
        fprintf(stderr, "  %s: version %u, %s, %u open, %u of %u in flight, %u received, subscriptions %s\n",
                device->id, device->version, device_is_connected(device) ? "connected" : "not connected",
                device_open_connections(device), device->in_flight, waiting, device->publishes_received,
                device_has_live_subscriptions(device) ? "live" : "not live");
        for (uint32_t c = 0; c < DEVICE_CONNECTIONS; c++) {
            const struct connection *connection = &device->connections[c];
            if (connection->device != NULL) {
                fprintf(stderr, "    port %u: state %u, rank %u%s%s, reason %02x, %u bytes to send, %u unread\n",
                        connection->port, connection->state, connection->rank,
                        connection == device->current ? ", current" : "", connection->ignored ? ", ignored" : "",
                        connection->reason, connection->out.length,
                        connection->tcp == NULL ? 0 : tcp_readable_bytes(connection->tcp));
                connection_show(world, connection);
            }
        }
    }
}

static void sessions_show(const struct world *world)
{
    for (uint32_t i = 0; i < world->dataplane.worker_count; i++) {
        const struct worker *worker = world->dataplane.workers[i];
        const struct session *session;
        uint32_t cursor = 0;
        while ((session = session_next(worker->sessions, &cursor)) != NULL) {
            fprintf(stderr, "  worker %u, %.*s: %s, %u queued, %u in flight, %u of %u outstanding, %u received\n", i,
                    session->client_id_length, session->client_id, session->client == NULL ? "offline" : "online",
                    session->queue.count, session->inflight.count, session->outstanding, session->window,
                    packet_ids_count(session->received));
            if (session->client != NULL) {
                struct tcp_info tcp;
                tcp_info(session->client->tcp, &tcp);
                fprintf(stderr, "    %s, %u unacknowledged, %u to be sent, window %u, %u readable%s%s\n",
                        tcp_state_text(tcp.state), tcp.unacknowledged, tcp.send_queued, tcp.send_window, tcp.readable,
                        session->client->stream != NULL ? ", within a message" : "",
                        session->client->answers_blocked ? ", answers blocked" : "");
            }
        }
    }
}

void scenario_show(const struct world *world)
{
    devices_show(world);
    sessions_show(world);
}

bool scenario_await(struct world *world, bool (*done)(struct world *world), uint64_t limit_us, const char *what)
{
    const bool came = world_run(world, done, limit_us);
    if (!came && !world->failed) {
        world_fail(world, "waited %u s in vain until %s", (unsigned)(limit_us / 1000000), what);
        scenario_show(world);
    }
    return came;
}

bool scenario_all_settled(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        if (world->devices[i]->wanted && !device_is_settled(world->devices[i])) {
            return false;
        }
    }
    return true;
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

static bool all_connected(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        const struct device *device = world->devices[i];
        if (device->wanted && !device_is_connected(device)) {
            return false;
        }
    }
    return true;
}

static bool all_gone(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        for (uint32_t c = 0; c < DEVICE_CONNECTIONS; c++) {
            if (world->devices[i]->connections[c].tcp != NULL) {
                return false;
            }
        }
    }
    return true;
}

/* Whatever is still under way would take the session from the clean connection that follows. */
static void abort_all(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        struct device *device = world->devices[i];
        device->wanted = false;
        device->gone = NULL;
        device->current = NULL;
        for (uint32_t c = 0; c < DEVICE_CONNECTIONS; c++) {
            if (device->connections[c].tcp != NULL) {
                device->connections[c].ignored = true;
                tcp_abort(device->connections[c].tcp);
            }
        }
    }
}

/* Once more with a clean start and no expiry, so that DISCONNECT ends the session in both versions. */
static void leave_begin(struct world *world)
{
    for (uint32_t i = 0; i < world->device_count; i++) {
        struct device *device = world->devices[i];
        device->wanted = true;
        device->clean_start = true;
        device->expiry_s = 0;
        device->has_will = false;
        device->has_session = false;
        device->subscription_count = 0;
        device->gone = NULL;
        device->received_publish = NULL;
        device->read_limit = 0;
    }
}

void scenario_leave(struct world *world)
{
    enum { TIMES_OUT_US = 400 * 1000000 };
    abort_all(world);
    world_run_for(world, TIMES_OUT_US);
    leave_begin(world);
    if (!scenario_await(world, all_connected, 300 * UINT64_C(1000000), "all devices are back for a clean end")) {
        return;
    }
    for (uint32_t i = 0; i < world->device_count; i++) {
        world->devices[i]->wanted = false;
        device_disconnect(world->devices[i], 0);
    }
    /* User timeouts, keepalive probes of connections that vanished, TIME-WAIT, records of moved connections. */
    world_run_for(world, TIMES_OUT_US);
    if (scenario_await(world, all_gone, TIMES_OUT_US, "all connections have ended")) {
        world_run_for(world, 20 * 1000000);
        world_census(world);
    }
}

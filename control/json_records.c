/* Records of the dataplane as JSON: see control/json_records.h. */
#include "control/json_records.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* JSON readers know signed 64 bits at most; no counter of ours gets there in a machine's life. */
static void set_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

static void set_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_from_bytes((const uint8_t *)text, strlen(text)));
}

static void set_bytes(json_t *object, const char *name, const uint8_t *bytes, size_t length)
{
    json_object_set_new(object, name, json_from_bytes(bytes, length));
}

static void set_boolean(json_t *object, const char *name, bool value)
{
    json_object_set_new(object, name, json_boolean(value));
}

json_t *json_from_bytes(const uint8_t *bytes, size_t length)
{
    json_t *string = json_stringn((const char *)bytes, length);
    if (string)
        return string;
    char plain[1024];
    length = length < sizeof plain ? length : sizeof plain;
    for (size_t i = 0; i < length; i++)
        plain[i] = bytes[i] < 0x80 ? (char)bytes[i] : '?';
    return json_stringn(plain, length);
}

static void set_address(json_t *object, const char *name, const struct shm_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address->family != 0)
        inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, text, sizeof text);
    set_text(object, name, text);
}

static void set_mac(json_t *object, const uint8_t mac[6])
{
    char text[18];
    snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    set_text(object, "mac", text);
}

static void set_addresses(json_t *object, const struct shm_address *addresses, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char bare[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 4];
        inet_ntop(addresses[i].family == 6 ? AF_INET6 : AF_INET, addresses[i].bytes, bare, sizeof bare);
        snprintf(text, sizeof text, "%s/%u", bare, addresses[i].prefix);
        json_array_append_new(list, json_string(text));
    }
    json_object_set_new(object, "addresses", list);
}

static void set_offloads(json_t *object, uint32_t offloads)
{
    static const char *const names[] = {
        "rx-checksum", "tx-ip-checksum", "tx-tcp-checksum", "tso", "rss", "multi-segment", "lro", "vlan"};
    json_t *list = json_array();
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (offloads & (1u << i))
            json_array_append_new(list, json_string(names[i]));
    json_object_set_new(object, "offloads", list);
}

/* What MQTT is spoken over. */
static const char *transport_name(uint32_t transport)
{
    return transport == SHM_TRANSPORT_WEBSOCKET ? "websocket" : "tcp";
}

static void fill_client(json_t *object, const struct shm_client_record *client)
{
    char handle[24];
    bool connected = (client->flags & SHM_CLIENT_CONNECTED) != 0;
    snprintf(handle, sizeof handle, "0x%" PRIx64, client->handle);
    set_bytes(object, "id", client->id, client->id_length);
    set_boolean(object, "id-cut", (client->flags & SHM_CLIENT_ID_CUT) != 0);
    set_text(object, "handle", handle);
    set_bytes(object, "username", client->username, client->username_length);
    set_number(object, "worker", client->worker);
    set_text(object, "state", connected ? "connected" : "offline");
    set_number(object, "since-seconds", client->since_us / 1000000);
    set_address(object, "address", &client->peer.address);
    set_number(object, "port", client->peer.port);
    set_text(object, "protocol", client->protocol == 5 ? "5.0" : client->protocol == 4 ? "3.1.1" : "3.1");
    set_text(object, "transport", connected ? transport_name(client->transport) : "");
    set_boolean(object, "clean-start", (client->flags & SHM_CLIENT_CLEAN_START) != 0);
    set_boolean(object, "will", (client->flags & SHM_CLIENT_WILL) != 0);
    set_boolean(object, "limited", (client->flags & SHM_CLIENT_LIMITED) != 0);
    set_number(object, "keepalive-seconds", client->keepalive_s);
    set_number(object, "session-expiry-seconds", client->session_expiry_s);
    set_number(object, "subscriptions", client->subscriptions);
    set_number(object, "inflight-in", client->inflight_in);
    set_number(object, "inflight-out", client->inflight_out);
    set_number(object, "queued-messages", client->queued_messages);
    set_number(object, "queued-bytes", client->queued_bytes);
    set_number(object, "dropped", client->dropped);
    set_number(object, "messages-in", client->messages_in);
    set_number(object, "messages-out", client->messages_out);
    set_number(object, "bytes-in", client->bytes_in);
    set_number(object, "bytes-out", client->bytes_out);
}

static void fill_connection(json_t *object, const struct shm_connection_record *connection)
{
    static const char *const states[] = {"listen",     "syn-sent",   "syn-received", "established",
                                         "fin-wait-1", "fin-wait-2", "close-wait",   "closing",
                                         "last-ack",   "time-wait",  "closed"};
    _Static_assert(sizeof states / sizeof states[0] == SHM_TCP_STATE_MAX + 1, "a name for each state");
    set_address(object, "local-address", &connection->local.address);
    set_number(object, "local-port", connection->local.port);
    set_address(object, "address", &connection->remote.address);
    set_number(object, "port", connection->remote.port);
    set_number(object, "worker", connection->worker);
    set_text(object, "state", states[connection->state]);
    set_text(object, "transport", transport_name(connection->transport));
    set_bytes(object, "client", connection->client_id, connection->client_id_length);
    set_number(object, "since-seconds", connection->since_us / 1000000);
    set_number(object, "cwnd", connection->cwnd);
    set_number(object, "ssthresh", connection->ssthresh);
    set_number(object, "srtt-us", connection->srtt_us);
    set_number(object, "rttvar-us", connection->rttvar_us);
    set_number(object, "rto-us", connection->rto_us);
    set_number(object, "mss", connection->mss);
    set_number(object, "inflight-bytes", connection->inflight);
    set_number(object, "send-window", connection->send_window);
    set_number(object, "receive-window", connection->receive_window);
    set_number(object, "send-queue", connection->send_queue);
    set_number(object, "receive-queue", connection->receive_queue);
    set_number(object, "retransmits", connection->retransmits);
    set_number(object, "bytes-in", connection->bytes_in);
    set_number(object, "bytes-out", connection->bytes_out);
}

static const char *const links[] = {[SHM_LINK_DOWN] = "down", [SHM_LINK_UP] = "up", [SHM_LINK_UNKNOWN] = "unknown"};

static void fill_port(json_t *object, const struct shm_port_record *port)
{
    set_text(object, "name", port->name);
    set_text(object, "driver", port->driver);
    set_text(object, "device", port->device);
    set_mac(object, port->mac);
    set_text(object, "link", links[port->link]);
    set_number(object, "speed-mbps", port->link_speed_mbps);
    set_number(object, "mtu", port->mtu);
    set_number(object, "rx-queues", port->rx_queues);
    set_number(object, "tx-queues", port->tx_queues);
    set_offloads(object, port->offloads);
    set_addresses(object, port->addresses, port->address_count);
    set_number(object, "rx-packets", port->rx_packets);
    set_number(object, "rx-bytes", port->rx_bytes);
    set_number(object, "rx-errors", port->rx_errors);
    set_number(object, "rx-missed", port->rx_missed);
    set_number(object, "rx-no-mbuf", port->rx_no_mbuf);
    set_number(object, "tx-packets", port->tx_packets);
    set_number(object, "tx-bytes", port->tx_bytes);
    set_number(object, "tx-errors", port->tx_errors);
    set_number(object, "tx-dropped", port->tx_dropped);
}

static void fill_listener(json_t *object, const struct shm_listener_record *listener)
{
    set_text(object, "name", listener->name);
    set_address(object, "address", &listener->local.address);
    set_number(object, "port", listener->local.port);
    set_text(object, "protocol", "mqtt");
    set_text(object, "transport", transport_name(listener->transport));
    set_number(object, "max-connections", listener->max_connections);
    set_number(object, "connections", listener->connections);
    set_number(object, "accepted", listener->accepted);
    set_number(object, "refused", listener->refused);
}

static void fill_worker(json_t *object, const struct shm_worker_record *worker)
{
    set_number(object, "worker", worker->worker);
    set_number(object, "core", worker->core);
    set_number(object, "interval-us", worker->interval_us);
    set_number(object, "iterations", worker->iterations);
    set_number(object, "busy-permille", worker->busy_permille);
    set_number(object, "sleeping-permille", worker->sleeping_permille);
    set_number(object, "loop-p50-ns", worker->loop_p50_ns);
    set_number(object, "loop-p99-ns", worker->loop_p99_ns);
    set_number(object, "loop-p999-ns", worker->loop_p999_ns);
    set_number(object, "loop-max-ns", worker->loop_max_ns);
    json_object_set_new(object, "rx-burst", json_real(worker->rx_burst_x100 / 100.0));
    json_object_set_new(object, "tx-burst", json_real(worker->tx_burst_x100 / 100.0));
    set_number(object, "rx-packets", worker->rx_packets);
    set_number(object, "tx-packets", worker->tx_packets);
    set_number(object, "connections", worker->connections);
    set_number(object, "sessions", worker->sessions);
    set_number(object, "messages-in", worker->messages_in);
    set_number(object, "messages-out", worker->messages_out);
    set_number(object, "bytes-in", worker->bytes_in);
    set_number(object, "bytes-out", worker->bytes_out);
    set_number(object, "dropped", worker->dropped);
    set_number(object, "memory-used", worker->memory_used);
    set_number(object, "memory-size", worker->memory_size);
    set_number(object, "packet-buffers-free", worker->packet_buffers_free);
    set_number(object, "packet-buffers", worker->packet_buffers);
    set_number(object, "cycles-per-second", worker->cycles_per_second);
    set_number(object, "last-iteration-us", worker->last_iteration_us);
}

static uint64_t statistic_of(const struct stats_reader *reader, const char *group, const char *name, uint32_t worker)
{
    const struct stats_entry *entry = stats_reader_find(reader, group, name);
    return entry ? stats_reader_value(reader, entry, worker) : 0;
}

/* {"rx": cycles, ...} of the group "stages", in the loop's order. */
static json_t *stages_of(const struct stats_reader *reader, uint32_t worker)
{
    json_t *stages = json_object();
    for (uint32_t i = 0; i < stats_reader_count(reader); i++) {
        const struct stats_entry *entry = stats_reader_entry(reader, i);
        if (strcmp(entry->group, "stages") == 0)
            set_number(stages, entry->name, stats_reader_value(reader, entry, worker));
    }
    return stages;
}

/* [[ns, count], ...]: how many iterations took less than that, and not less than the one before. */
static json_t *loop_times_of(const struct stats_reader *reader, uint32_t worker)
{
    json_t *powers = json_array();
    const struct stats_entry *entry = stats_reader_find(reader, "loop", "loop_time");
    const struct histogram *histogram = entry ? stats_reader_histogram_of(reader, entry, worker) : NULL;
    uint64_t below = 0;
    for (uint32_t power = 0; histogram && power <= HISTOGRAM_VALUE_BITS; power++) {
        uint64_t limit = UINT64_C(1) << power, sum = 0;
        for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && histogram_bucket_floor(i) < limit; i++)
            sum += histogram->buckets[i];
        if (sum > below)
            json_array_append_new(powers, json_pack("[I, I]", (json_int_t)limit, (json_int_t)(sum - below)));
        below = sum;
    }
    return powers;
}

void json_add_timing(json_t *object, const struct stats_reader *reader, uint32_t worker)
{
    uint64_t busy = statistic_of(reader, "runtime", "busy_cycles", worker);
    uint64_t iterations = statistic_of(reader, "runtime", "busy_iterations", worker);
    uint64_t messages =
        statistic_of(reader, "mqtt", "messages_in", worker) + statistic_of(reader, "mqtt", "messages_out", worker);
    set_number(object, "busy-iterations", iterations);
    set_number(object, "busy-cycles", busy);
    set_number(object, "idle-cycles", statistic_of(reader, "runtime", "idle_cycles", worker));
    set_number(object, "sleep-cycles", statistic_of(reader, "runtime", "sleep_cycles", worker));
    set_number(object, "cycles-per-message", messages ? busy / messages : 0);
    json_object_set_new(object, "messages-per-iteration",
                        json_real(iterations ? (double)messages / (double)iterations : 0));
    json_object_set_new(object, "stages", stages_of(reader, worker));
    json_object_set_new(object, "loop-times", loop_times_of(reader, worker));
}

static void fill_census(json_t *object, const struct shm_census_record *census)
{
    if (census->worker == SHM_WORKER_ANY)
        set_text(object, "worker", "all");
    else
        set_number(object, "worker", census->worker);
    set_text(object, "object", census->name);
    set_number(object, "count", census->count);
    set_number(object, "bytes", census->bytes);
}

static void fill_drain(json_t *object, const struct shm_drain_record *drain)
{
    set_text(object, "state", drain->active ? "draining" : "off");
    set_bytes(object, "to", drain->reference, drain->reference_length);
    json_object_set_new(object, "permanent", json_boolean(drain->permanent));
    set_number(object, "rate", drain->rate);
    set_number(object, "since-seconds", drain->since_us / 1000000);
    set_number(object, "disconnected", drain->disconnected);
    set_number(object, "refused", drain->refused);
    set_number(object, "connected", drain->connected);
}

json_t *json_from_reply(const struct shm_reply *reply)
{
    json_t *object = json_object();
    switch (reply->type) {
    case SHM_REQUEST_WORKERS:
        fill_worker(object, &reply->worker);
        break;
    case SHM_REQUEST_PORTS:
        fill_port(object, &reply->port);
        break;
    case SHM_REQUEST_LISTENERS:
        fill_listener(object, &reply->listener);
        break;
    case SHM_REQUEST_CLIENTS:
        fill_client(object, &reply->client);
        break;
    case SHM_REQUEST_CONNECTIONS:
        fill_connection(object, &reply->connection);
        break;
    case SHM_REQUEST_CENSUS:
        fill_census(object, &reply->census);
        break;
    case SHM_REQUEST_DRAIN:
        fill_drain(object, &reply->drain);
        break;
    case SHM_REQUEST_CAPTURE:
        set_number(object, "packets", reply->capture.packets);
        set_number(object, "dropped", reply->capture.dropped);
        break;
    case SHM_REQUEST_KICK:
        set_number(object, "disconnected", reply->kick.disconnected);
        break;
    default:
        break;
    }
    return object;
}

static void fill_histogram(json_t *object, const struct stats_reader *reader, const struct stats_entry *entry,
                           uint32_t worker)
{
    struct histogram merged;
    const struct histogram *one = worker == SHM_WORKER_ANY ? NULL : stats_reader_histogram_of(reader, entry, worker);
    if (one)
        merged = *one;
    else
        stats_reader_histogram(reader, entry, &merged);
    set_number(object, "value", merged.count);
    set_number(object, "mean", merged.count ? merged.sum / merged.count : 0);
    set_number(object, "p50", histogram_percentile(&merged, 5000));
    set_number(object, "p90", histogram_percentile(&merged, 9000));
    set_number(object, "p99", histogram_percentile(&merged, 9900));
    set_number(object, "p999", histogram_percentile(&merged, 9990));
    set_number(object, "max", merged.maximum);
}

json_t *json_from_statistic(const struct stats_reader *reader, const struct stats_entry *entry, uint32_t worker)
{
    static const char *const kinds[] = {
        [STATS_COUNTER] = "counter", [STATS_GAUGE] = "gauge", [STATS_HISTOGRAM] = "histogram"};
    json_t *object = json_object();
    set_text(object, "group", entry->group);
    set_text(object, "name", entry->name);
    set_text(object, "kind", kinds[entry->kind]);
    set_text(object, "unit", entry->unit);
    if (entry->kind == STATS_HISTOGRAM)
        fill_histogram(object, reader, entry, worker);
    else
        set_number(object, "value",
                   worker == SHM_WORKER_ANY ? stats_reader_sum(reader, entry)
                                            : stats_reader_value(reader, entry, worker));
    if (entry->kind != STATS_HISTOGRAM && entry->scope == STATS_WORKER) {
        json_t *workers = json_array();
        for (uint32_t i = 0; i < stats_reader_workers(reader); i++)
            json_array_append_new(workers, json_integer((json_int_t)stats_reader_value(reader, entry, i)));
        json_object_set_new(object, "workers", workers);
    }
    set_text(object, "help", entry->help);
    return object;
}

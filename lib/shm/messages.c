/* Checks of the messages between the processes: see shm/messages.h. */
#include "lib/shm/messages.h"

#include <stdbool.h>
#include <string.h>

/* Terminated within its array and plain printable ASCII. */
static bool text_valid(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

static int worker_check(uint32_t worker, bool any_allowed, struct shm_error *error)
{
    if (worker < SHM_WORKERS_MAX || (any_allowed && worker == SHM_WORKER_ANY))
        return 0;
    return shm_error_set(error, "worker %u is not within 0..%u", worker, SHM_WORKERS_MAX - 1);
}

int shm_address_check(const struct shm_address *address, struct shm_error *error)
{
    if (address->family != 0 && address->family != 4 && address->family != 6)
        return shm_error_set(error, "address family %u", address->family);
    if (address->prefix > (address->family == 6 ? 128 : 32))
        return shm_error_set(error, "prefix length %u of an IPv%u address", address->prefix, address->family);
    return 0;
}

int shm_worker_record_check(const struct shm_worker_record *record, struct shm_error *error)
{
    if (worker_check(record->worker, false, error) != 0)
        return -1;
    if (record->core > SHM_CORE_MAX)
        return shm_error_set(error, "worker %u: core %u", record->worker, record->core);
    if (record->busy_permille > 1000 || record->sleeping_permille > 1000)
        return shm_error_set(error, "worker %u: shares of %u and %u per mille", record->worker, record->busy_permille,
                             record->sleeping_permille);
    return 0;
}

int shm_port_record_check(const struct shm_port_record *record, struct shm_error *error)
{
    if (!text_valid(record->name, sizeof record->name) || !text_valid(record->driver, sizeof record->driver) ||
        !text_valid(record->device, sizeof record->device))
        return shm_error_set(error, "port: a name that is not terminated or not printable");
    if (record->address_count > SHM_PORT_ADDRESSES_MAX)
        return shm_error_set(error, "port %s: %u addresses", record->name, record->address_count);
    if (record->link > SHM_LINK_UNKNOWN || (record->offloads & ~SHM_OFFLOADS_ALL) != 0)
        return shm_error_set(error, "port %s: unknown flags", record->name);
    for (uint32_t i = 0; i < record->address_count; i++)
        if (shm_address_check(&record->addresses[i], error) != 0)
            return -1;
    return 0;
}

int shm_listener_record_check(const struct shm_listener_record *record, struct shm_error *error)
{
    if (!text_valid(record->name, sizeof record->name))
        return shm_error_set(error, "listener: a name that is not terminated or not printable");
    if (record->protocol > SHM_PROTOCOL_MQTT)
        return shm_error_set(error, "listener %s: protocol %u", record->name, record->protocol);
    if (record->transport > SHM_TRANSPORT_WEBSOCKET)
        return shm_error_set(error, "listener %s: transport %u", record->name, record->transport);
    return shm_address_check(&record->local.address, error);
}

int shm_client_record_check(const struct shm_client_record *record, struct shm_error *error)
{
    if (worker_check(record->worker, false, error) != 0)
        return -1;
    if (record->id_length > SHM_CLIENT_ID_MAX || record->username_length > SHM_USERNAME_MAX)
        return shm_error_set(error, "client: lengths %u and %u", record->id_length, record->username_length);
    if ((record->flags & ~SHM_CLIENT_FLAGS_ALL) != 0 || record->handle == 0)
        return shm_error_set(error, "client: flags %x, handle %llx", record->flags, (unsigned long long)record->handle);
    if (record->protocol < 3 || record->protocol > 5)
        return shm_error_set(error, "client: protocol level %u", record->protocol);
    if (record->transport > SHM_TRANSPORT_WEBSOCKET)
        return shm_error_set(error, "client: transport %u", record->transport);
    return shm_address_check(&record->peer.address, error);
}

int shm_connection_record_check(const struct shm_connection_record *record, struct shm_error *error)
{
    if (worker_check(record->worker, false, error) != 0)
        return -1;
    if (record->state > SHM_TCP_STATE_MAX)
        return shm_error_set(error, "connection: state %u", record->state);
    if (record->transport > SHM_TRANSPORT_WEBSOCKET)
        return shm_error_set(error, "connection: transport %u", record->transport);
    if (record->client_id_length > SHM_CLIENT_ID_MAX)
        return shm_error_set(error, "connection: client id of %u bytes", record->client_id_length);
    if (shm_address_check(&record->local.address, error) != 0)
        return -1;
    return shm_address_check(&record->remote.address, error);
}

int shm_census_record_check(const struct shm_census_record *record, struct shm_error *error)
{
    if (!text_valid(record->name, sizeof record->name))
        return shm_error_set(error, "census: a name that is not terminated or not printable");
    return worker_check(record->worker, true, error);
}

/* A server reference is a string of MQTT, and is printed. */
static bool reference_valid(const uint8_t *reference, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (reference[i] < 0x20 || reference[i] > 0x7e)
            return false;
    return true;
}

int shm_drain_record_check(const struct shm_drain_record *record, struct shm_error *error)
{
    if (record->active > 1 || record->permanent > 1 || record->reference_length > SHM_REFERENCE_MAX ||
        !reference_valid(record->reference, record->reference_length))
        return shm_error_set(error, "drain: flags %u and %u, reference of %u bytes", record->active, record->permanent,
                             record->reference_length);
    return 0;
}

static int drain_check(const struct shm_drain_arguments *drain, struct shm_error *error)
{
    if (drain->action > SHM_DRAIN_STOP || drain->permanent > 1)
        return shm_error_set(error, "drain: action %u, permanent %u", drain->action, drain->permanent);
    if (drain->action != SHM_DRAIN_START)
        return 0;
    if (drain->rate == 0 || drain->rate > SHM_DRAIN_RATE_MAX)
        return shm_error_set(error, "the rate is 1..%u clients a second, not %u", SHM_DRAIN_RATE_MAX, drain->rate);
    if (drain->reference_length == 0 || drain->reference_length > SHM_REFERENCE_MAX ||
        !reference_valid(drain->reference, drain->reference_length))
        return shm_error_set(error, "the other server needs 1..%u printable characters", SHM_REFERENCE_MAX);
    return 0;
}

int shm_capture_record_check(const struct shm_capture_record *record, struct shm_error *error)
{
    if (record->workers == 0 || record->workers > SHM_WORKERS_MAX || record->slots == 0 ||
        record->slots > SHM_RING_SLOTS_MAX || (record->slots & (record->slots - 1)) != 0)
        return shm_error_set(error, "capture: %u workers, %u slots", record->workers, record->slots);
    return 0;
}

static int capture_check(const struct shm_capture_arguments *capture, struct shm_error *error)
{
    if (capture->action != SHM_CAPTURE_START && capture->action != SHM_CAPTURE_STOP)
        return shm_error_set(error, "capture: action %u", capture->action);
    if (capture->action == SHM_CAPTURE_STOP)
        return 0;
    if (capture->direction == 0 || capture->direction > SHM_CAPTURE_BOTH || capture->snap_length == 0 ||
        capture->snap_length > SHM_CAPTURE_SNAP_MAX || capture->time_s == 0 || capture->port > UINT16_MAX ||
        capture->id_length > SHM_KICK_ID_MAX)
        return shm_error_set(error, "capture: direction %u, snap length %u, %u s, port %u, client id of %u bytes",
                             capture->direction, capture->snap_length, capture->time_s, capture->port,
                             capture->id_length);
    return shm_address_check(&capture->address, error);
}

int shm_request_check(const struct shm_request *request, struct shm_error *error)
{
    if (request->id == 0 || request->type == 0 || request->type > SHM_REQUEST_TYPE_MAX)
        return shm_error_set(error, "request %u of type %u", request->id, request->type);
    if (request->limit == 0 || request->limit > SHM_PAGE_MAX)
        return shm_error_set(error, "request %u: limit %u is not within 1..%u", request->id, request->limit,
                             SHM_PAGE_MAX);
    switch (request->type) {
    case SHM_REQUEST_CLIENTS:
    case SHM_REQUEST_CONNECTIONS:
        if (request->list.id_prefix_length > SHM_CLIENT_ID_MAX)
            return shm_error_set(error, "request %u: prefix of %u bytes", request->id, request->list.id_prefix_length);
        return worker_check(request->list.worker, true, error);
    case SHM_REQUEST_DRAIN:
        return drain_check(&request->drain, error);
    case SHM_REQUEST_CAPTURE:
        return capture_check(&request->capture, error);
    case SHM_REQUEST_KICK:
        if (request->kick.id_length > SHM_KICK_ID_MAX || (request->kick.id_length == 0 && request->kick.handle == 0))
            return shm_error_set(error, "request %u: client id of %u bytes", request->id, request->kick.id_length);
        return 0;
    default:
        return 0;
    }
}

static int record_check(const struct shm_reply *reply, struct shm_error *error)
{
    switch (reply->type) {
    case SHM_REQUEST_WORKERS:
        return shm_worker_record_check(&reply->worker, error);
    case SHM_REQUEST_PORTS:
        return shm_port_record_check(&reply->port, error);
    case SHM_REQUEST_LISTENERS:
        return shm_listener_record_check(&reply->listener, error);
    case SHM_REQUEST_CLIENTS:
        return shm_client_record_check(&reply->client, error);
    case SHM_REQUEST_CONNECTIONS:
        return shm_connection_record_check(&reply->connection, error);
    case SHM_REQUEST_CENSUS:
        return shm_census_record_check(&reply->census, error);
    case SHM_REQUEST_DRAIN:
        return shm_drain_record_check(&reply->drain, error);
    case SHM_REQUEST_CAPTURE:
        return shm_capture_record_check(&reply->capture, error);
    case SHM_REQUEST_KICK:
        return 0;
    default:
        return shm_error_set(error, "reply %u: type %u has no records", reply->id, reply->type);
    }
}

int shm_reply_check(const struct shm_reply *reply, struct shm_error *error)
{
    if (reply->id == 0 || reply->type == 0 || reply->type > SHM_REQUEST_TYPE_MAX)
        return shm_error_set(error, "reply %u of type %u", reply->id, reply->type);
    switch (reply->status) {
    case SHM_REPLY_RECORD:
        return record_check(reply, error);
    case SHM_REPLY_END:
        return 0;
    case SHM_REPLY_ERROR:
        if (!text_valid(reply->text, sizeof reply->text))
            return shm_error_set(error, "reply %u: an error text that is not terminated or not printable", reply->id);
        return 0;
    default:
        return shm_error_set(error, "reply %u: status %u", reply->id, reply->status);
    }
}

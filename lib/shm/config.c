/* Ranges and checks of the start-up configuration: see shm/config.h. */
#include "lib/shm/config.h"

#include <stdbool.h>
#include <string.h>

#include "lib/shm/capture.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define SECONDS_PER_DAY 86400u

#define FIELD(scope, type, path, member, minimum, maximum)                                                     \
    {                                                                                                          \
        path, scope, (uint32_t)offsetof(type, member), (uint32_t)sizeof(((type *)0)->member), minimum, maximum \
    }
#define ROOT(path, member, minimum, maximum) FIELD(SHM_SCOPE_ROOT, struct shm_config, path, member, minimum, maximum)
#define PORT(path, member, minimum, maximum) FIELD(SHM_SCOPE_PORT, struct shm_port, path, member, minimum, maximum)
#define LISTENER(path, member, minimum, maximum) \
    FIELD(SHM_SCOPE_LISTENER, struct shm_listener, path, member, minimum, maximum)

const struct shm_config_field shm_config_fields[] = {
    ROOT("dataplane.workers", dataplane.workers, 1, SHM_WORKERS_MAX),
    ROOT("dataplane.idle", dataplane.idle, 0, SHM_IDLE_BUSY),
    ROOT("dataplane.hugepages", dataplane.hugepages, 0, SHM_HUGEPAGES_OFF),
    ROOT("dataplane.packet-buffers", dataplane.packet_buffers, 1024, 16777216),
    ROOT("dataplane.memory-per-worker", dataplane.memory_per_worker, 16 * MIB, 1024 * GIB),
    ROOT("dataplane.memory-present", dataplane.memory_present, 0, SHM_PRESENT_ON_USE),
    ROOT("dataplane.match-cache-topics", dataplane.match_cache_topics, 0, 67108864),
    ROOT("dataplane.statistics-interval", dataplane.statistics_interval_ms, 10, 10000),

    PORT("ports.queues", queues, 1, SHM_WORKERS_MAX),
    PORT("ports.mtu", mtu, 576, 9600),

    LISTENER("listeners.port", port, 1, 65535),
    LISTENER("listeners.protocol", protocol, 0, SHM_PROTOCOL_MQTT),
    LISTENER("listeners.max-connections", max_connections, 1, 100000000),
    LISTENER("listeners.transport", transport, 0, SHM_TRANSPORT_WEBSOCKET),
    LISTENER("listeners.max-header-size", max_header_size, 512, 32 * KIB),

    ROOT("tcp.max-connections", tcp.max_connections, 16, 16777216),
    ROOT("tcp.receive-buffer", tcp.receive_buffer, 4 * KIB, 1 * GIB),
    ROOT("tcp.send-buffer", tcp.send_buffer, 4 * KIB, 1 * GIB),
    ROOT("tcp.keepalive-time", tcp.keepalive_time_s, 0, 30 * SECONDS_PER_DAY),
    ROOT("tcp.keepalive-interval", tcp.keepalive_interval_s, 1, SECONDS_PER_DAY),
    ROOT("tcp.keepalive-probes", tcp.keepalive_probes, 1, 100),
    ROOT("tcp.user-timeout", tcp.user_timeout_s, 5, SECONDS_PER_DAY),
    ROOT("tcp.time-wait", tcp.time_wait_s, 1, 240),
    ROOT("tcp.delayed-ack", tcp.delayed_ack_ms, 0, 499),
    ROOT("tcp.congestion-control", tcp.congestion_control, 0, SHM_CONGESTION_NEWRENO),
    ROOT("tcp.syn-cookies", tcp.syn_cookies, 0, SHM_SYN_COOKIES_ALWAYS),
    ROOT("tcp.max-half-open", tcp.max_half_open, 16, 1048576),
    ROOT("tcp.max-held-buffers", tcp.max_held_buffers, 0, 16777216),
    ROOT("tcp.ecn", tcp.ecn, 0, SHM_ECN_ASK),
    ROOT("tcp.echo-replies", tcp.echo_replies, 0, 1000000),
    ROOT("tcp.hop-limit", tcp.hop_limit, 1, 255),
    ROOT("tcp.dscp", tcp.dscp, 0, 63),
    ROOT("tcp.address-probes", tcp.address_probes, 0, 10),
    ROOT("tcp.user-timeout-option", tcp.user_timeout_option, 0, 1),
    ROOT("tcp.user-timeout-limit", tcp.user_timeout_limit_s, 100, 65535),

    ROOT("mqtt.max-packet-size", mqtt.max_packet_size, 256, 268435460),
    ROOT("mqtt.max-qos", mqtt.max_qos, 0, 2),
    ROOT("mqtt.retain-available", mqtt.retain_available, 0, 1),
    ROOT("mqtt.wildcard-available", mqtt.wildcard_available, 0, 1),
    ROOT("mqtt.shared-available", mqtt.shared_available, 0, 1),
    ROOT("mqtt.receive-maximum", mqtt.receive_maximum, 1, 65535),
    ROOT("mqtt.max-inflight", mqtt.max_inflight, 1, 65535),
    ROOT("mqtt.topic-alias-maximum", mqtt.topic_alias_maximum, 0, 65535),
    ROOT("mqtt.payload-format-check", mqtt.payload_format_check, 0, 1),
    ROOT("mqtt.overload-memory", mqtt.overload_memory, 1, 100),
    ROOT("mqtt.overload-buffers", mqtt.overload_buffers, 1, 100),
    ROOT("mqtt.overload-loop", mqtt.overload_loop_ms, 0, 10000),
    ROOT("mqtt.limit-messages-in", mqtt.limit_messages_in, 0, 100000000),
    ROOT("mqtt.limit-messages-out", mqtt.limit_messages_out, 0, 100000000),
    ROOT("mqtt.limit-bytes-in", mqtt.limit_bytes_in, 0, 100 * GIB),
    ROOT("mqtt.limit-bytes-out", mqtt.limit_bytes_out, 0, 100 * GIB),
    ROOT("mqtt.shared-strategy", mqtt.shared_strategy, 0, SHM_SHARED_LEAST_BACKLOG),
    ROOT("mqtt.topic-alias-out", mqtt.topic_alias_out, 0, 256),
    ROOT("mqtt.keepalive-default", mqtt.keepalive_default_s, 0, 65535),
    ROOT("mqtt.keepalive-max", mqtt.keepalive_max_s, 0, 65535),
    ROOT("mqtt.connect-timeout", mqtt.connect_timeout_s, 1, 3600),
    ROOT("mqtt.session-expiry-max", mqtt.session_expiry_max_s, 0, UINT32_MAX),
    ROOT("mqtt.max-queued-messages", mqtt.max_queued_messages, 0, 100000000),
    ROOT("mqtt.max-queued-bytes", mqtt.max_queued_bytes, 0, 64 * GIB),
    ROOT("mqtt.queue-full", mqtt.queue_full, 0, SHM_QUEUE_DISCONNECT),
    ROOT("mqtt.max-sessions", mqtt.max_sessions, 1, 100000000),
    ROOT("mqtt.max-subscriptions", mqtt.max_subscriptions, 1, 10000000),
    ROOT("mqtt.max-topic-levels", mqtt.max_topic_levels, 1, 1024),
    ROOT("mqtt.max-topic-length", mqtt.max_topic_length, 1, 65535),
    ROOT("mqtt.max-retained-messages", mqtt.max_retained_messages, 0, 100000000),
    ROOT("mqtt.max-retained-bytes", mqtt.max_retained_bytes, 0, 1024 * GIB),
    ROOT("mqtt.sys-interval", mqtt.sys_interval_s, 0, 3600),
    ROOT("mqtt.allow-anonymous", mqtt.allow_anonymous, 0, SHM_ANONYMOUS_REFUSED),

    ROOT("authentication.max-logins", authentication.max_logins, 1, 65536),
    ROOT("authentication.timeout", authentication.timeout_s, 1, 600),

    ROOT("capture.buffer", capture.buffer, 128 * KIB, 8 * MIB),
    ROOT("capture.bytes", capture.bytes, 4096, 1024 * GIB),
    ROOT("capture.max-bytes", capture.max_bytes, 4096, 1024 * GIB),
    ROOT("capture.packets", capture.packets, 1, 4000000000),
    ROOT("capture.max-packets", capture.max_packets, 1, 4000000000),
    ROOT("capture.time", capture.time_s, 1, SECONDS_PER_DAY),
    ROOT("capture.max-time", capture.max_time_s, 1, SECONDS_PER_DAY),
    ROOT("capture.snap-length", capture.snap_length, 14, SHM_CAPTURE_SNAP_MAX),
    ROOT("capture.max-snap-length", capture.max_snap_length, 14, SHM_CAPTURE_SNAP_MAX),
};

const size_t shm_config_field_count = sizeof shm_config_fields / sizeof shm_config_fields[0];

const struct shm_config_field *shm_config_field_find(const char *path)
{
    for (size_t i = 0; i < shm_config_field_count; i++)
        if (strcmp(shm_config_fields[i].path, path) == 0)
            return &shm_config_fields[i];
    return NULL;
}

uint64_t shm_config_field_get(const struct shm_config_field *field, const void *base)
{
    const uint8_t *at = (const uint8_t *)base + field->offset;
    uint32_t narrow = 0;
    uint64_t wide = 0;
    if (field->width == sizeof wide) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

void shm_config_field_set(const struct shm_config_field *field, void *base, uint64_t value)
{
    uint8_t *at = (uint8_t *)base + field->offset;
    uint32_t narrow = (uint32_t)value;
    if (field->width == sizeof value)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &narrow, sizeof narrow);
}

uint64_t shm_config_fingerprint(const struct shm_config *config)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    const uint8_t *bytes = (const uint8_t *)config;
    for (size_t i = offsetof(struct shm_config, dataplane); i < sizeof *config; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int fields_check(enum shm_config_scope scope, const void *base, const char *which, struct shm_error *error)
{
    for (size_t i = 0; i < shm_config_field_count; i++) {
        const struct shm_config_field *field = &shm_config_fields[i];
        if (field->scope != scope)
            continue;
        uint64_t value = shm_config_field_get(field, base);
        if (value < field->minimum || value > field->maximum)
            return shm_error_set(error, "%s%s%s: %llu is not within %llu..%llu", which, *which ? ": " : "", field->path,
                                 (unsigned long long)value, (unsigned long long)field->minimum,
                                 (unsigned long long)field->maximum);
    }
    return 0;
}

/* Terminated within its array, not empty, and plain printable ASCII: it ends up in logs, command lines and tables. */
static bool text_valid(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == 0 || length == size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

static bool bytes_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* An address that a host can have: not the unspecified one, not multicast, not the limited broadcast or loopback, and
 * no IPv4 address in IPv6's clothes. */
static bool address_usable(const struct shm_address *address)
{
    const uint8_t *bytes = address->bytes;
    if (address->family == 4)
        return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224;
    const bool mapped = bytes_zero(bytes, 10) && bytes[10] == 0xff && bytes[11] == 0xff;
    return address->family == 6 && bytes[0] != 0xff && !bytes_zero(bytes, 15) && !mapped;
}

/* The first and the last address of an IPv4 network are its number and its broadcast address, but for links of two
 * (RFC 3021). */
static bool names_its_network(const struct shm_address *address)
{
    if (address->family != 4 || address->prefix > 30)
        return false;
    const uint32_t value = (uint32_t)address->bytes[0] << 24 | (uint32_t)address->bytes[1] << 16 |
                           (uint32_t)address->bytes[2] << 8 | address->bytes[3];
    const uint32_t mask = UINT32_MAX >> address->prefix;
    return (value & mask) == 0 || (value & mask) == mask;
}

static bool same_address(const struct shm_address *a, const struct shm_address *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

/* Whole bytes first, then the bits that are left of the prefix. */
static bool same_network(const struct shm_address *local, const struct shm_address *other)
{
    uint32_t bits = local->prefix;
    if (local->family != other->family || memcmp(local->bytes, other->bytes, bits / 8) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00u >> (bits % 8));
    return bits % 8 == 0 || ((local->bytes[bits / 8] ^ other->bytes[bits / 8]) & mask) == 0;
}

/* An IPv6 router is usually known by its link-local address, which is on every network. */
static int gateway_check(const struct shm_port *port, const struct shm_address *gateway, uint8_t family,
                         struct shm_error *error)
{
    if (gateway->family == 0)
        return 0;
    if (gateway->family != family || !address_usable(gateway))
        return shm_error_set(error, "port %s: the gateway is not an IPv%u address of a host", port->name, family);
    for (uint32_t i = 0; i < port->address_count; i++)
        if (same_address(&port->addresses[i], gateway))
            return shm_error_set(error, "port %s: the IPv%u gateway is an address of the port itself", port->name,
                                 family);
    bool link_local = family == 6 && gateway->bytes[0] == 0xfe && (gateway->bytes[1] & 0xc0) == 0x80;
    for (uint32_t i = 0; i < port->address_count; i++)
        if (link_local || same_network(&port->addresses[i], gateway))
            return 0;
    return shm_error_set(error, "port %s: the IPv%u gateway is on none of the networks of the port's addresses",
                         port->name, family);
}

static int port_addresses_check(const struct shm_port *port, struct shm_error *error)
{
    if (port->address_count == 0 || port->address_count > SHM_PORT_ADDRESSES_MAX)
        return shm_error_set(error, "port %s: %u addresses, allowed are 1..%u", port->name, port->address_count,
                             SHM_PORT_ADDRESSES_MAX);
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct shm_address *address = &port->addresses[i];
        if (!address_usable(address))
            return shm_error_set(error, "port %s: address %u is not one that a host can have", port->name, i + 1);
        if (address->prefix == 0 || address->prefix > (address->family == 4 ? 32 : 128))
            return shm_error_set(error, "port %s: address %u: prefix length %u is outside of 1..%u", port->name, i + 1,
                                 address->prefix, address->family == 4 ? 32 : 128);
        if (names_its_network(address))
            return shm_error_set(error, "port %s: address %u is that of its network, or its broadcast address",
                                 port->name, i + 1);
        for (uint32_t j = 0; j < i; j++)
            if (same_address(&port->addresses[j], address))
                return shm_error_set(error, "port %s: addresses %u and %u are the same", port->name, j + 1, i + 1);
        if (address->family == 6 && port->mtu < 1280)
            return shm_error_set(error, "port %s: ports.mtu: IPv6 needs at least 1280 (RFC 8200 section 5), not %u",
                                 port->name, port->mtu);
    }
    return 0;
}

static int port_check(const struct shm_port *port, struct shm_error *error)
{
    if (!text_valid(port->name, sizeof port->name))
        return shm_error_set(error, "ports.name: needs 1..%u printable characters", SHM_NAME_SIZE - 1);
    if (!text_valid(port->device, sizeof port->device))
        return shm_error_set(error, "port %s: ports.device: needs 1..%u printable characters", port->name,
                             SHM_DEVICE_SIZE - 1);
    if (fields_check(SHM_SCOPE_PORT, port, port->name, error) != 0)
        return -1;
    if (port->mac_set > 1 || (port->mac_set && (port->mac[0] & 1 || bytes_zero(port->mac, 6))))
        return shm_error_set(error, "port %s: ports.mac: not the address of one station", port->name);
    if (port_addresses_check(port, error) != 0 || gateway_check(port, &port->gateway4, 4, error) != 0)
        return -1;
    return gateway_check(port, &port->gateway6, 6, error);
}

static bool share_an_address(const struct shm_port *a, const struct shm_port *b)
{
    for (uint32_t i = 0; i < a->address_count; i++)
        for (uint32_t j = 0; j < b->address_count; j++)
            if (same_address(&a->addresses[i], &b->addresses[j]))
                return true;
    return false;
}

static int ports_check(const struct shm_config *config, struct shm_error *error)
{
    if (config->port_count == 0 || config->port_count > SHM_PORTS_MAX)
        return shm_error_set(error, "ports: %u entries, allowed are 1..%u", config->port_count, SHM_PORTS_MAX);
    for (uint32_t i = 0; i < config->port_count; i++) {
        const struct shm_port *port = &config->ports[i];
        if (port_check(port, error) != 0)
            return -1;
        for (uint32_t j = 0; j < i; j++) {
            const struct shm_port *other = &config->ports[j];
            if (strcmp(port->name, other->name) == 0)
                return shm_error_set(error, "ports.name: two ports are called %s", port->name);
            if (strcmp(port->device, other->device) == 0)
                return shm_error_set(error, "ports.device: %s and %s are the same device", other->name, port->name);
            if (share_an_address(port, other))
                return shm_error_set(error, "ports.addresses: %s and %s have an address in common", other->name,
                                     port->name);
        }
    }
    return 0;
}

static bool port_has_address(const struct shm_config *config, const struct shm_address *address)
{
    for (uint32_t i = 0; i < config->port_count; i++)
        for (uint32_t j = 0; j < config->ports[i].address_count; j++)
            if (same_address(&config->ports[i].addresses[j], address))
                return true;
    return false;
}

/* What a WebSocket listener compares a request with. A path without its slash would match no request. */
static int websocket_check(const struct shm_listener *listener, struct shm_error *error)
{
    if (listener->transport != SHM_TRANSPORT_WEBSOCKET)
        return 0;
    if (!text_valid(listener->path, sizeof listener->path) || listener->path[0] != '/' ||
        strpbrk(listener->path, " ?#") != NULL)
        return shm_error_set(error,
                             "listener %s: listeners.path: begins with / and has no space, ? or #, such as /mqtt",
                             listener->name);
    if (listener->origin_count > SHM_ORIGINS_MAX)
        return shm_error_set(error, "listener %s: listeners.origins: %u entries, allowed are 0..%u", listener->name,
                             listener->origin_count, SHM_ORIGINS_MAX);
    for (uint32_t i = 0; i < listener->origin_count; i++) {
        const char *origin = listener->origins[i];
        const char *host = text_valid(origin, SHM_ORIGIN_SIZE) ? strstr(origin, "://") : NULL;
        if (host == NULL || host == origin || host[3] == '\0' || strpbrk(host + 3, " /") != NULL)
            return shm_error_set(error,
                                 "listener %s: listeners.origins: an origin is what browsers send, scheme and host and "
                                 "no path, such as https://example.org",
                                 listener->name);
    }
    return 0;
}

/* A listener on an address that no port has would wait for ever: better refused here. */
static int listener_check(const struct shm_config *config, const struct shm_listener *listener, struct shm_error *error)
{
    if (!text_valid(listener->name, sizeof listener->name))
        return shm_error_set(error, "listeners.name: needs 1..%u printable characters", SHM_NAME_SIZE - 1);
    if (fields_check(SHM_SCOPE_LISTENER, listener, listener->name, error) != 0)
        return -1;
    uint8_t family = listener->address.family;
    if (family != 0 && family != 4 && family != 6)
        return shm_error_set(error, "listener %s: unknown address family %u", listener->name, family);
    if (family != 0 && !port_has_address(config, &listener->address))
        return shm_error_set(error, "listener %s: listeners.address: no port has this address", listener->name);
    return websocket_check(listener, error);
}

static int listeners_check(const struct shm_config *config, struct shm_error *error)
{
    if (config->listener_count == 0 || config->listener_count > SHM_LISTENERS_MAX)
        return shm_error_set(error, "listeners: %u entries, allowed are 1..%u", config->listener_count,
                             SHM_LISTENERS_MAX);
    for (uint32_t i = 0; i < config->listener_count; i++) {
        const struct shm_listener *listener = &config->listeners[i];
        if (listener_check(config, listener, error) != 0)
            return -1;
        for (uint32_t j = 0; j < i; j++) {
            const struct shm_listener *other = &config->listeners[j];
            if (strcmp(listener->name, other->name) == 0)
                return shm_error_set(error, "listeners.name: two listeners are called %s", listener->name);
            bool overlap = listener->address.family == 0 || other->address.family == 0 ||
                           same_address(&listener->address, &other->address);
            if (overlap && listener->port == other->port)
                return shm_error_set(error, "listeners.port: %s and %s both listen on port %u", other->name,
                                     listener->name, listener->port);
        }
    }
    return 0;
}

static int cores_check(const struct shm_dataplane_config *dataplane, struct shm_error *error)
{
    if (dataplane->main_core > SHM_CORE_MAX && dataplane->main_core != SHM_CORE_AUTO)
        return shm_error_set(error, "dataplane.main-core: %u is not within 0..%u", dataplane->main_core, SHM_CORE_MAX);
    if (dataplane->core_count == 0)
        return 0;
    if (dataplane->core_count != dataplane->workers)
        return shm_error_set(error, "dataplane.cores: lists %u cores for %u workers; list one for each, or say auto",
                             dataplane->core_count, dataplane->workers);
    for (uint32_t i = 0; i < dataplane->core_count; i++) {
        if (dataplane->cores[i] > SHM_CORE_MAX)
            return shm_error_set(error, "dataplane.cores: %u is not within 0..%u", dataplane->cores[i], SHM_CORE_MAX);
        for (uint32_t j = 0; j < i; j++)
            if (dataplane->cores[i] == dataplane->cores[j])
                return shm_error_set(error, "dataplane.cores: core %u is listed twice", dataplane->cores[i]);
    }
    return 0;
}

/* A topic is made of it. */
static int response_prefix_check(const char *prefix, struct shm_error *error)
{
    if (prefix[0] == '\0' || (text_valid(prefix, SHM_TOPIC_PREFIX_SIZE) && strpbrk(prefix, "+#") == NULL))
        return 0;
    return shm_error_set(error, "mqtt.response-topic-prefix: needs 1..%u printable characters without + and #",
                         SHM_TOPIC_PREFIX_SIZE - 1);
}

/* A capture that names no bounds must be within those that it can not exceed. */
static int capture_check(const struct shm_capture_config *capture, struct shm_error *error)
{
    static const char *const names[] = {"bytes", "packets", "time", "snap-length"};
    const uint64_t values[] = {capture->bytes, capture->packets, capture->time_s, capture->snap_length};
    const uint64_t bounds[] = {capture->max_bytes, capture->max_packets, capture->max_time_s, capture->max_snap_length};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (values[i] > bounds[i])
            return shm_error_set(error, "capture.%s: %llu is above capture.max-%s (%llu)", names[i],
                                 (unsigned long long)values[i], names[i], (unsigned long long)bounds[i]);
    return 0;
}

int shm_config_validate(const struct shm_config *config, struct shm_error *error)
{
    if (config->generation == 0)
        return shm_error_set(error, "the configuration has no generation");
    if (fields_check(SHM_SCOPE_ROOT, config, "", error) != 0 || cores_check(&config->dataplane, error) != 0)
        return -1;
    if (config->mqtt.keepalive_max_s != 0 && config->mqtt.keepalive_default_s > config->mqtt.keepalive_max_s)
        return shm_error_set(error, "mqtt.keepalive-default: %u is above mqtt.keepalive-max (%u)",
                             config->mqtt.keepalive_default_s, config->mqtt.keepalive_max_s);
    if (response_prefix_check(config->mqtt.response_topic_prefix, error) != 0)
        return -1;
    if (capture_check(&config->capture, error) != 0)
        return -1;
    if (config->authentication.users > 1)
        return shm_error_set(error, "authentication: users is %u, neither 0 nor 1", config->authentication.users);
    if (ports_check(config, error) != 0)
        return -1;
    return listeners_check(config, error);
}

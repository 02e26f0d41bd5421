/* How each listing is shown: see tools/polluxctl/views.h. */
#include "tools/polluxctl/views.h"

#include <stdio.h>
#include <string.h>

#include "tools/polluxctl/format.h"

static const struct view_column client_columns[] = {
    {"CLIENT", "id", VIEW_TEXT, true},
    {"STATE", "state", VIEW_TEXT, false},
    {"ADDRESS", "address", VIEW_ENDPOINT, false},
    {"SINCE", "since-seconds", VIEW_SECONDS, false},
    {"QUEUED", "queued-messages", VIEW_COUNT, false},
    {"QUEUE SIZE", "queued-bytes", VIEW_BYTES, false},
    {"DROPPED", "dropped", VIEW_COUNT, false},
    {"INFLIGHT", "inflight-out", VIEW_COUNT, false},
    {"SUBS", "subscriptions", VIEW_COUNT, false},
    {"IN", "messages-in", VIEW_COUNT, false},
    {"OUT", "messages-out", VIEW_COUNT, false},
    {"WORKER", "worker", VIEW_DECIMAL, false},
    {"MQTT", "protocol", VIEW_TEXT, false},
    {"OVER", "transport", VIEW_TEXT, false},
    {"KEEPALIVE", "keepalive-seconds", VIEW_SECONDS, false},
    {"USER", "username", VIEW_TEXT, true},
};

static const struct view_column connection_columns[] = {
    {"REMOTE", "address", VIEW_ENDPOINT, false},
    {"STATE", "state", VIEW_TEXT, false},
    {"CLIENT", "client", VIEW_TEXT, true},
    {"SINCE", "since-seconds", VIEW_SECONDS, false},
    {"CWND", "cwnd", VIEW_BYTES, false},
    {"SRTT", "srtt-us", VIEW_MICROSECONDS, false},
    {"IN FLIGHT", "inflight-bytes", VIEW_BYTES, false},
    {"SEND QUEUE", "send-queue", VIEW_BYTES, false},
    {"RECV QUEUE", "receive-queue", VIEW_BYTES, false},
    {"RETRANSMITS", "retransmits", VIEW_COUNT, false},
    {"PEER WINDOW", "send-window", VIEW_BYTES, false},
    {"RTO", "rto-us", VIEW_MICROSECONDS, false},
    {"MSS", "mss", VIEW_DECIMAL, false},
    {"WORKER", "worker", VIEW_DECIMAL, false},
    {"LOCAL", "local-address", VIEW_ENDPOINT, false},
    {"OVER", "transport", VIEW_TEXT, false},
};

static const struct view_column runtime_columns[] = {
    {"WORKER", "worker", VIEW_DECIMAL, false},
    {"CORE", "core", VIEW_DECIMAL, false},
    {"BUSY", "busy-permille", VIEW_PERMILLE, false},
    {"ASLEEP", "sleeping-permille", VIEW_PERMILLE, false},
    {"LOOP P50", "loop-p50-ns", VIEW_NANOSECONDS, false},
    {"P99", "loop-p99-ns", VIEW_NANOSECONDS, false},
    {"MAX", "loop-max-ns", VIEW_NANOSECONDS, false},
    {"LAST", "last-iteration-us", VIEW_MICROSECONDS, false},
    {"CONNS", "connections", VIEW_COUNT, false},
    {"SESSIONS", "sessions", VIEW_COUNT, false},
    {"MSGS IN", "messages-in", VIEW_COUNT, false},
    {"MSGS OUT", "messages-out", VIEW_COUNT, false},
    {"DROPPED", "dropped", VIEW_COUNT, false},
    {"MEMORY", "memory-used", VIEW_BYTES, false},
    {"OF", "memory-size", VIEW_BYTES, false},
    {"BUFFERS FREE", "packet-buffers-free", VIEW_COUNT, false},
    {"RX BURST", "rx-burst", VIEW_DECIMAL, false},
    {"TX BURST", "tx-burst", VIEW_DECIMAL, false},
    {"RX PACKETS", "rx-packets", VIEW_COUNT, false},
    {"TX PACKETS", "tx-packets", VIEW_COUNT, false},
    {"ITERATIONS", "iterations", VIEW_COUNT, false},
};

static const struct view_column listener_columns[] = {
    {"LISTENER", "name", VIEW_TEXT, false},
    {"ADDRESS", "address", VIEW_ENDPOINT, false},
    {"PROTOCOL", "protocol", VIEW_TEXT, false},
    {"OVER", "transport", VIEW_TEXT, false},
    {"CONNECTIONS", "connections", VIEW_COUNT, false},
    {"OF", "max-connections", VIEW_COUNT, false},
    {"ACCEPTED", "accepted", VIEW_COUNT, false},
    {"REFUSED", "refused", VIEW_COUNT, false},
};

static const struct view_column port_columns[] = {
    {"port", "name", VIEW_TEXT, false},
    {"driver", "driver", VIEW_TEXT, false},
    {"device", "device", VIEW_TEXT, false},
    {"mac", "mac", VIEW_TEXT, false},
    {"link", "link", VIEW_TEXT, false},
    {"speed", "speed-mbps", VIEW_TEXT, false},
    {"mtu", "mtu", VIEW_TEXT, false},
    {"addresses", "addresses", VIEW_TEXT, false},
    {"rx queues", "rx-queues", VIEW_TEXT, false},
    {"tx queues", "tx-queues", VIEW_TEXT, false},
    {"offloads", "offloads", VIEW_TEXT, false},
    {"rx packets", "rx-packets", VIEW_COUNT, false},
    {"rx bytes", "rx-bytes", VIEW_BYTES, false},
    {"rx errors", "rx-errors", VIEW_COUNT, false},
    {"rx missed", "rx-missed", VIEW_COUNT, false},
    {"rx no buffer", "rx-no-mbuf", VIEW_COUNT, false},
    {"tx packets", "tx-packets", VIEW_COUNT, false},
    {"tx bytes", "tx-bytes", VIEW_BYTES, false},
    {"tx errors", "tx-errors", VIEW_COUNT, false},
    {"tx dropped", "tx-dropped", VIEW_COUNT, false},
};

static const struct view_column census_columns[] = {
    {"WORKER", "worker", VIEW_TEXT, false},
    {"OBJECT", "object", VIEW_TEXT, false},
    {"COUNT", "count", VIEW_COUNT, false},
    {"SIZE", "bytes", VIEW_BYTES, false},
};

static const struct view_column counter_columns[] = {
    {"GROUP", "group", VIEW_TEXT, false}, {"NAME", "name", VIEW_TEXT, false}, {"VALUE", "value", VIEW_STATISTIC, false},
    {"UNIT", "unit", VIEW_TEXT, false},   {"", "help", VIEW_TEXT, true},
};

static const struct view_column change_columns[] = {
    {"GROUP", "group", VIEW_TEXT, false},
    {"NAME", "name", VIEW_TEXT, false},
    {"CHANGE", "change", VIEW_COUNT, false},
    {"PER SECOND", "per-second", VIEW_DECIMAL, false},
    {"SINCE START", "value", VIEW_COUNT, false},
    {"UNIT", "unit", VIEW_TEXT, false},
    {"", "help", VIEW_TEXT, true},
};

static const struct view_column config_columns[] = {
    {"SETTING", "path", VIEW_TEXT, false},
    {"VALUE", "value", VIEW_TEXT, true},
    {"FROM", "source", VIEW_TEXT, true},
};

static const struct view_column version_columns[] = {
    {"pollux-control", "version", VIEW_TEXT, false},
    {"build", "build", VIEW_TEXT, false},
    {"process", "pid", VIEW_TEXT, false},
    {"running for", "uptime-seconds", VIEW_SECONDS, false},
    {"configuration", "config-file", VIEW_TEXT, false},
};

#define COLUMNS(table) table, sizeof table / sizeof table[0]

static const struct view_column user_columns[] = {{"NAME", "name", VIEW_TEXT, true},
                                                  {"METHOD", "method", VIEW_TEXT, false},
                                                  {"ITERATIONS", "iterations", VIEW_COUNT, false}};

static const struct view_column drain_columns[] = {
    {"state", "state", VIEW_TEXT, false},           {"to", "to", VIEW_TEXT, false},
    {"permanent", "permanent", VIEW_TEXT, false},   {"since", "since-seconds", VIEW_SECONDS, false},
    {"rate per second", "rate", VIEW_COUNT, false}, {"disconnected", "disconnected", VIEW_COUNT, false},
    {"refused", "refused", VIEW_COUNT, false},      {"still connected", "connected", VIEW_COUNT, false}};

static const struct view views[] = {
    {"runtime", false, COLUMNS(runtime_columns)},
    {"ports", true, COLUMNS(port_columns)},
    {"clients", false, COLUMNS(client_columns)},
    {"listeners", false, COLUMNS(listener_columns)},
    {"counters", false, COLUMNS(counter_columns)},
    {"tcp", false, COLUMNS(counter_columns)},
    {"changes", false, COLUMNS(change_columns)},
    {"census", false, COLUMNS(census_columns)},
    {"connections", false, COLUMNS(connection_columns)},
    {"config", false, COLUMNS(config_columns)},
    {"version", true, COLUMNS(version_columns)},
    {"users", false, COLUMNS(user_columns)},
    {"drain", true, COLUMNS(drain_columns)},
};

const struct view *view_find(const char *name)
{
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        if (strcmp(views[i].name, name) == 0)
            return &views[i];
    return NULL;
}

struct table_column view_table_column(const struct view_column *column)
{
    const bool number = column->format != VIEW_TEXT && column->format != VIEW_ENDPOINT;
    return (struct table_column){column->title, number, column->elastic};
}

const char *view_value(const json_t *value, char *text, size_t size)
{
    size_t length = 0;
    size_t index;
    const json_t *item;
    text[0] = '\0';
    if (json_is_string(value))
        return format_plain(json_string_value(value), json_string_length(value), text, size);
    if (json_is_integer(value))
        snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, size, "%.1f", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(text, size, "%s", json_is_true(value) ? "yes" : "no");
    json_array_foreach(value, index, item)
    {
        char one[128];
        length += (size_t)snprintf(text + length, size - length, "%s%s", index ? ", " : "",
                                   view_value(item, one, sizeof one));
        if (length >= size)
            break;
    }
    return text;
}

/* "address" has its port in "port", "local-address" in "local-port". */
static const char *endpoint(const json_t *record, const char *field, char *text, size_t size)
{
    char port_field[32], address[64];
    int prefix = (int)(strlen(field) - strlen("address"));
    snprintf(port_field, sizeof port_field, "%.*sport", prefix, field);
    view_value(json_object_get(record, field), address, sizeof address);
    json_int_t port = json_integer_value(json_object_get(record, port_field));
    if (address[0] == '\0' && port == 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address[0] ? address : "*", (int)port);
    return text;
}

static const char *statistic(const json_t *record, uint64_t value, char *text, size_t size)
{
    const char *kind = json_string_value(json_object_get(record, "kind"));
    if (!kind || strcmp(kind, "histogram") != 0)
        return format_count(value, text, size);
    char median[32], high[32], most[32];
    format_count((uint64_t)json_integer_value(json_object_get(record, "p50")), median, sizeof median);
    format_count((uint64_t)json_integer_value(json_object_get(record, "p99")), high, sizeof high);
    format_count((uint64_t)json_integer_value(json_object_get(record, "max")), most, sizeof most);
    snprintf(text, size, "p50 %s, p99 %s, max %s", median, high, most);
    return text;
}

const char *view_cell(const struct view_column *column, const json_t *record, char *text, size_t size)
{
    const json_t *value = json_object_get(record, column->field);
    uint64_t number = (uint64_t)json_integer_value(value);
    if (column->format == VIEW_ENDPOINT)
        return endpoint(record, column->field, text, size);
    if (!json_is_integer(value))
        return view_value(value, text, size);
    switch (column->format) {
    case VIEW_COUNT:
        return format_count(number, text, size);
    case VIEW_BYTES:
        return format_bytes(number, text, size);
    case VIEW_SECONDS:
        return format_duration(number, text, size);
    case VIEW_PERMILLE:
        return format_permille(number, text, size);
    case VIEW_NANOSECONDS:
        return format_nanoseconds(number, text, size);
    case VIEW_MICROSECONDS:
        return format_nanoseconds(number * 1000, text, size);
    case VIEW_STATISTIC:
        return statistic(record, number, text, size);
    default:
        return view_value(value, text, size);
    }
}

/* Parsing and printing the values of each schema type: see control/schema.h. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/schema.h"

/* ---- units ----------------------------------------------------------------------------------------------------- */

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first, so that printing finds the shortest form. */
static const struct unit byte_units[] = {{"TiB", UINT64_C(1) << 40},
                                         {"GiB", UINT64_C(1) << 30},
                                         {"MiB", UINT64_C(1) << 20},
                                         {"KiB", UINT64_C(1) << 10},
                                         {"", 1},
                                         {NULL, 0}};
static const struct unit second_units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {"", 1}, {NULL, 0}};
static const struct unit millisecond_units[] = {{"s", 1000}, {"ms", 1}, {"", 1}, {NULL, 0}};
static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum schema_type type)
{
    switch (type) {
    case SCHEMA_BYTES:
        return byte_units;
    case SCHEMA_SECONDS:
        return second_units;
    case SCHEMA_MILLISECONDS:
        return millisecond_units;
    default:
        return plain_units;
    }
}

/* A decimal number with one of the units directly behind it. */
static bool parse_number(const char *text, const struct unit *units, uint64_t *value)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    for (const struct unit *unit = units; unit->suffix; unit++)
        if (strcmp(end, unit->suffix) == 0)
            return !__builtin_mul_overflow((uint64_t)number, unit->factor, value);
    return false;
}

/* The largest unit that loses nothing: 3600 s are 1h, 3601 s stay 3601s. */
static void format_number(enum schema_type type, uint64_t value, char *text, size_t size)
{
    const struct unit *unit = units_of(type);
    while (value % unit->factor != 0)
        unit++;
    if (value == 0) /* "0s", but a plain "0" where the smallest unit has no name */
        while (unit[1].suffix && (unit[1].suffix[0] || type == SCHEMA_BYTES))
            unit++;
    snprintf(text, size, "%" PRIu64 "%s", value / unit->factor, unit->suffix);
}

/* ---- addresses ------------------------------------------------------------------------------------------------- */

bool schema_parse_address(const char *text, bool with_prefix, struct shm_address *address)
{
    char copy[INET6_ADDRSTRLEN + 8];
    if (strlen(text) >= sizeof copy)
        return false;
    strcpy(copy, text);
    char *slash = strchr(copy, '/');
    if ((slash != NULL) != with_prefix)
        return false;
    uint64_t prefix = 0;
    if (slash) {
        *slash = '\0';
        if (!parse_number(slash + 1, plain_units, &prefix))
            return false;
    }
    struct shm_address parsed = {0};
    if (inet_pton(AF_INET, copy, parsed.bytes) == 1)
        parsed.family = 4;
    else if (inet_pton(AF_INET6, copy, parsed.bytes) == 1)
        parsed.family = 6;
    if (parsed.family == 0 || prefix > (parsed.family == 4 ? 32 : 128))
        return false;
    parsed.prefix = (uint8_t)prefix;
    *address = parsed;
    return true;
}

static void format_address(const struct shm_address *address, bool with_prefix, char *text, size_t size)
{
    char bare[INET6_ADDRSTRLEN] = "any";
    if (address->family != 0)
        inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, bare, sizeof bare);
    if (with_prefix)
        snprintf(text, size, "%s/%u", bare, address->prefix);
    else
        snprintf(text, size, "%s", bare);
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    unsigned bytes[6];
    int end = 0;
    if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
                                     &bytes[4], &bytes[5], &end) != 6)
        return false;
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)bytes[i];
    return end == 17;
}

/* ---- the schema's view ----------------------------------------------------------------------------------------- */

const struct shm_config_field *schema_field(const struct schema_section *section, const struct schema_leaf *leaf)
{
    char path[SCHEMA_PATH_SIZE];
    snprintf(path, sizeof path, "%s.%s", section->name, leaf->name);
    return shm_config_field_find(path);
}

void *schema_base(const struct schema_section *section, struct control_config *config, uint32_t index)
{
    if (strcmp(section->name, "ports") == 0)
        return &config->dataplane.ports[index];
    if (strcmp(section->name, "listeners") == 0)
        return &config->dataplane.listeners[index];
    return config;
}

bool schema_takes_list(const struct schema_leaf *leaf)
{
    return leaf->type == SCHEMA_CORES || leaf->type == SCHEMA_ADDRESSES || leaf->type == SCHEMA_GATEWAYS ||
           leaf->type == SCHEMA_ORIGINS;
}

const char *schema_type_name(enum schema_type type)
{
    static const char *const names[] = {
        [SCHEMA_NUMBER] = "number",
        [SCHEMA_BYTES] = "size",
        [SCHEMA_SECONDS] = "duration",
        [SCHEMA_MILLISECONDS] = "duration",
        [SCHEMA_BOOLEAN] = "true or false",
        [SCHEMA_ENUM] = "choice",
        [SCHEMA_NAME] = "text",
        [SCHEMA_MAC] = "MAC address",
        [SCHEMA_CORE] = "core",
        [SCHEMA_CORES] = "list of cores",
        [SCHEMA_ADDRESS] = "IP address",
        [SCHEMA_ADDRESSES] = "list of IP addresses",
        [SCHEMA_GATEWAYS] = "IP address, or list",
        [SCHEMA_ORIGINS] = "origin, or list",
    };
    return names[type];
}

static void join_names(const char *const *names, char *text, size_t size)
{
    int length = snprintf(text, size, "%s", names[1] ? "one of " : "");
    for (size_t i = 0; names[i] && (size_t)length < size; i++)
        length += snprintf(text + length, size - (size_t)length, "%s%s", i ? ", " : "", names[i]);
}

static void format_range(const struct schema_section *section, const struct schema_leaf *leaf, char *text, size_t size)
{
    char low[24], high[24];
    const struct shm_config_field *field = schema_field(section, leaf);
    uint64_t maximum = field->maximum;
    /* A bound that stands for the word itself would only confuse: 4294967295 s is how "never" is kept. */
    if (leaf->word && leaf->word_value == maximum)
        maximum--;
    format_number(leaf->type, field->minimum, low, sizeof low);
    format_number(leaf->type, maximum, high, sizeof high);
    snprintf(text, size, "%s..%s%s%s", low, high, leaf->word ? ", or " : "", leaf->word ? leaf->word : "");
}

const char *schema_allowed(const struct schema_section *section, const struct schema_leaf *leaf, char *text,
                           size_t size)
{
    switch (leaf->type) {
    case SCHEMA_NUMBER:
    case SCHEMA_BYTES:
    case SCHEMA_SECONDS:
    case SCHEMA_MILLISECONDS:
        format_range(section, leaf, text, size);
        break;
    case SCHEMA_BOOLEAN:
        snprintf(text, size, "true or false");
        break;
    case SCHEMA_ENUM:
        join_names(leaf->names, text, size);
        break;
    case SCHEMA_NAME:
        snprintf(text, size, "1..%u printable characters", leaf->size - 1);
        break;
    case SCHEMA_MAC:
        snprintf(text, size, "six bytes such as 02:00:00:00:00:01");
        break;
    case SCHEMA_CORE:
        snprintf(text, size, "auto, or a core number 0..%u", SHM_CORE_MAX);
        break;
    case SCHEMA_CORES:
        snprintf(text, size, "auto, or a list of core numbers such as [2, 3]");
        break;
    case SCHEMA_ADDRESS:
        snprintf(text, size, "any, or an IPv4 or IPv6 address");
        break;
    case SCHEMA_ADDRESSES:
        snprintf(text, size, "up to %u addresses with prefix length, such as [198.18.0.1/24, \"2001:db8:18::1/64\"]",
                 SHM_PORT_ADDRESSES_MAX);
        break;
    case SCHEMA_GATEWAYS:
        snprintf(text, size, "an IPv4 or IPv6 address without prefix length, or one of each in a list");
        break;
    case SCHEMA_ORIGINS:
        snprintf(text, size, "an origin such as https://example.org, or a list of up to %u", SHM_ORIGINS_MAX);
        break;
    }
    return text;
}

/* ---- parsing --------------------------------------------------------------------------------------------------- */

/* Spellings that YAML 1.1 knows are named, so that nobody wonders whether `yes` meant true. */
static bool parse_boolean(const char *text, uint64_t *value)
{
    *value = strcmp(text, "true") == 0;
    return *value == 1 || strcmp(text, "false") == 0;
}

static bool parse_enum(const char *const *names, const char *text, uint64_t *value)
{
    for (*value = 0; names[*value]; (*value)++)
        if (strcmp(names[*value], text) == 0)
            return true;
    return false;
}

static bool parse_field(const struct schema_section *section, const struct schema_leaf *leaf, const char *text,
                        void *base)
{
    const struct shm_config_field *field = schema_field(section, leaf);
    uint64_t value = 0;
    bool parsed;
    if (leaf->word && strcmp(text, leaf->word) == 0) {
        value = leaf->word_value;
        parsed = true;
    } else if (leaf->type == SCHEMA_BOOLEAN) {
        parsed = parse_boolean(text, &value);
    } else if (leaf->type == SCHEMA_ENUM) {
        parsed = parse_enum(leaf->names, text, &value);
    } else {
        parsed = parse_number(text, units_of(leaf->type), &value);
    }
    if (!parsed || value < field->minimum || value > field->maximum)
        return false;
    shm_config_field_set(field, base, value);
    return true;
}

static bool parse_name(const struct schema_leaf *leaf, const char *text, void *base)
{
    size_t length = strlen(text);
    if (length == 0 || length >= leaf->size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    char *to = (char *)base + leaf->offset;
    memset(to, 0, leaf->size);
    memcpy(to, text, length);
    return true;
}

/* No unit, no sign, no octal: what looks like a core number. */
static bool parse_core(const char *text, uint32_t *core)
{
    uint64_t value = 0;
    if (!parse_number(text, plain_units, &value) || value > SHM_CORE_MAX)
        return false;
    *core = (uint32_t)value;
    return true;
}

static bool parse_cores(const char *text, uint32_t item, struct shm_dataplane_config *dataplane)
{
    if (item == 0 && strcmp(text, "auto") == 0) {
        dataplane->core_count = 0;
        return true;
    }
    if (item >= SHM_WORKERS_MAX || !parse_core(text, &dataplane->cores[item]))
        return false;
    dataplane->core_count = item + 1;
    return true;
}

static bool parse_main_core(const char *text, struct shm_dataplane_config *dataplane)
{
    if (strcmp(text, "auto") != 0)
        return parse_core(text, &dataplane->main_core);
    dataplane->main_core = SHM_CORE_AUTO;
    return true;
}

static bool parse_port_address(const char *text, uint32_t item, struct shm_port *port)
{
    if (item >= SHM_PORT_ADDRESSES_MAX || !schema_parse_address(text, true, &port->addresses[item]))
        return false;
    port->address_count = (uint8_t)(item + 1);
    return true;
}

/* The family of the address says which default route it is; two of one family are a mistake. */
static bool parse_gateway(const char *text, struct shm_port *port)
{
    struct shm_address address = {0};
    if (!schema_parse_address(text, false, &address))
        return false;
    struct shm_address *to = address.family == 4 ? &port->gateway4 : &port->gateway6;
    if (to->family != 0)
        return false;
    *to = address;
    return true;
}

static bool parse_origin(const char *text, uint32_t item, struct shm_listener *listener)
{
    size_t length = strlen(text);
    if (item >= SHM_ORIGINS_MAX || length == 0 || length >= SHM_ORIGIN_SIZE)
        return false;
    memcpy(listener->origins[item], text, length + 1);
    listener->origin_count = item + 1;
    return true;
}

static bool parse_value(const struct schema_section *section, const struct schema_leaf *leaf, const char *text,
                        uint32_t item, void *base)
{
    switch (leaf->type) {
    case SCHEMA_NAME:
        return parse_name(leaf, text, base);
    case SCHEMA_MAC:
        ((struct shm_port *)base)->mac_set = 1;
        return parse_mac(text, ((struct shm_port *)base)->mac);
    case SCHEMA_CORE:
        return parse_main_core(text, &((struct shm_config *)base)->dataplane);
    case SCHEMA_CORES:
        return parse_cores(text, item, &((struct shm_config *)base)->dataplane);
    case SCHEMA_ADDRESS:
        return strcmp(text, "any") == 0 || schema_parse_address(text, false, &((struct shm_listener *)base)->address);
    case SCHEMA_ADDRESSES:
        return parse_port_address(text, item, base);
    case SCHEMA_GATEWAYS:
        return parse_gateway(text, base);
    case SCHEMA_ORIGINS:
        return parse_origin(text, item, base);
    default:
        return parse_field(section, leaf, text, base);
    }
}

int schema_parse(const struct schema_section *section, const struct schema_leaf *leaf, const char *text, uint32_t item,
                 void *base, struct shm_error *error)
{
    if (parse_value(section, leaf, text, item, base))
        return 0;
    char allowed[160];
    return shm_error_set(error, "'%.60s' is not allowed; allowed: %s", text,
                         schema_allowed(section, leaf, allowed, sizeof allowed));
}

void schema_set_defaults(const struct schema_section *section, void *base)
{
    for (uint32_t i = 0; i < section->leaf_count; i++)
        if (section->leaves[i].initial)
            parse_value(section, &section->leaves[i], section->leaves[i].initial, 0, base);
}

/* ---- printing -------------------------------------------------------------------------------------------------- */

static void format_field(const struct schema_section *section, const struct schema_leaf *leaf, const void *base,
                         char *text, size_t size)
{
    uint64_t value = shm_config_field_get(schema_field(section, leaf), base);
    if (leaf->word && value == leaf->word_value)
        snprintf(text, size, "%s", leaf->word);
    else if (leaf->type == SCHEMA_BOOLEAN)
        snprintf(text, size, "%s", value ? "true" : "false");
    else if (leaf->type == SCHEMA_ENUM)
        snprintf(text, size, "%s", leaf->names[value]);
    else
        format_number(leaf->type, value, text, size);
}

static void format_cores(const struct shm_dataplane_config *dataplane, char *text, size_t size)
{
    int length = snprintf(text, size, "%s", dataplane->core_count ? "[" : "auto");
    for (uint32_t i = 0; i < dataplane->core_count && (size_t)length < size; i++)
        length += snprintf(text + length, size - (size_t)length, "%u%s", dataplane->cores[i],
                           i + 1 < dataplane->core_count ? ", " : "]");
}

static void format_addresses(const struct shm_port *port, char *text, size_t size)
{
    int length = snprintf(text, size, "[");
    for (uint32_t i = 0; i < port->address_count && (size_t)length < size; i++) {
        char one[64];
        format_address(&port->addresses[i], true, one, sizeof one);
        length += snprintf(text + length, size - (size_t)length, "%s\"%s\"", i ? ", " : "", one);
    }
    if ((size_t)length < size)
        snprintf(text + length, size - (size_t)length, "]");
}

static void format_gateways(const struct shm_port *port, char *text, size_t size)
{
    char four[64] = "", six[64] = "";
    if (port->gateway4.family)
        format_address(&port->gateway4, false, four, sizeof four);
    if (port->gateway6.family)
        format_address(&port->gateway6, false, six, sizeof six);
    if (four[0] && six[0])
        snprintf(text, size, "[\"%s\", \"%s\"]", four, six);
    else
        snprintf(text, size, "%s%s", four, six);
}

static void format_origins(const struct shm_listener *listener, char *text, size_t size)
{
    int length = snprintf(text, size, "%s", listener->origin_count ? "[" : "");
    for (uint32_t i = 0; i < listener->origin_count && (size_t)length < size; i++)
        length += snprintf(text + length, size - (size_t)length, "\"%s\"%s", listener->origins[i],
                           i + 1 < listener->origin_count ? ", " : "]");
}

const char *schema_format(const struct schema_section *section, const struct schema_leaf *leaf, const void *base,
                          char *text, size_t size)
{
    const struct shm_port *port = base;
    text[0] = '\0';
    switch (leaf->type) {
    case SCHEMA_NAME:
        snprintf(text, size, "%s", (const char *)base + leaf->offset);
        break;
    case SCHEMA_MAC:
        if (port->mac_set)
            snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1], port->mac[2],
                     port->mac[3], port->mac[4], port->mac[5]);
        break;
    case SCHEMA_CORE: {
        uint32_t core = ((const struct shm_config *)base)->dataplane.main_core;
        snprintf(text, size, core == SHM_CORE_AUTO ? "auto" : "%u", core);
        break;
    }
    case SCHEMA_CORES:
        format_cores(&((const struct shm_config *)base)->dataplane, text, size);
        break;
    case SCHEMA_ADDRESS:
        format_address(&((const struct shm_listener *)base)->address, false, text, size);
        break;
    case SCHEMA_ADDRESSES:
        format_addresses(port, text, size);
        break;
    case SCHEMA_GATEWAYS:
        format_gateways(port, text, size);
        break;
    case SCHEMA_ORIGINS:
        format_origins(base, text, size);
        break;
    default:
        format_field(section, leaf, base, text, size);
    }
    return text;
}

/* What a capture is to take: see control/capture_plan.h. */
#include "control/capture_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/schema.h"

#define DATAPLANE_EXTRA_S 5 /* the dataplane ends a capture by itself only when control has not */

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

static const struct schema_section *capture_section(void)
{
    for (size_t i = 0; i < schema_section_count; i++)
        if (strcmp(schema_sections[i].name, "capture") == 0)
            return &schema_sections[i];
    return NULL;
}

static const struct schema_leaf *capture_leaf(const char *name)
{
    const struct schema_section *section = capture_section();
    for (uint32_t i = 0; i < section->leaf_count; i++)
        if (strcmp(section->leaves[i].name, name) == 0)
            return &section->leaves[i];
    return NULL;
}

/* One of the four numbers of a capture: the setting that it has without being said, and the one that bounds it. */
struct bound {
    const char *field; /* of the request, and option of polluxctl */
    const char *leaf;
    const char *maximum_leaf;
};

static const struct bound bounds[] = {
    {"bytes", "bytes", "max-bytes"},
    {"packets", "packets", "max-packets"},
    {"seconds", "time", "max-time"},
    {"snap-length", "snap-length", "max-snap-length"},
};

/* A number, or a text with a unit, by the rules of the setting of that name. */
static int value_read(const struct bound *bound, const json_t *given, struct shm_config *config,
                      struct shm_error *error)
{
    char text[64];
    struct shm_error reason;
    if (json_is_integer(given))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(given));
    else
        snprintf(text, sizeof text, "%.60s", json_is_string(given) ? json_string_value(given) : "?");
    if (schema_parse(capture_section(), capture_leaf(bound->leaf), text, 0, config, &reason) != 0)
        return shm_error_set(error, "--%s: %s", bound->field, reason.text);
    return 0;
}

static int bound_read(const struct bound *bound, const json_t *request, struct shm_config *config, uint64_t *value,
                      struct shm_error *error)
{
    const struct schema_leaf *leaf = capture_leaf(bound->leaf), *maximum_leaf = capture_leaf(bound->maximum_leaf);
    const json_t *given = json_object_get(request, bound->field);
    if (given && value_read(bound, given, config, error) != 0)
        return -1;
    *value = shm_config_field_get(schema_field(capture_section(), leaf), config);
    const uint64_t maximum = shm_config_field_get(schema_field(capture_section(), maximum_leaf), config);
    if (*value <= maximum)
        return 0;
    char asked[32], allowed[32];
    schema_format(capture_section(), leaf, config, asked, sizeof asked);
    schema_format(capture_section(), maximum_leaf, config, allowed, sizeof allowed);
    return shm_error_set(error, "--%s: %s is more than capture.%s of the configuration allows (%s)", bound->field,
                         asked, bound->maximum_leaf, allowed);
}

/* ---- filter ------------------------------------------------------------------------------------------------------ */

static void describe(struct capture_plan *plan, const char *what, const char *value)
{
    const size_t length = strlen(plan->filter);
    snprintf(plan->filter + length, sizeof plan->filter - length, "%s%s %.300s", length ? ", " : "", what, value);
}

static int client_read(const json_t *given, struct capture_plan *plan, struct shm_error *error)
{
    const size_t length = json_string_length(given);
    if (!json_is_string(given) || length == 0 || length > SHM_KICK_ID_MAX)
        return shm_error_set(error, "--client takes a client id of 1 to %u bytes", SHM_KICK_ID_MAX);
    plan->arguments.id_length = (uint32_t)length;
    memcpy(plan->arguments.id, json_string_value(given), length);
    describe(plan, "client", json_string_value(given));
    return 0;
}

static int address_read(const json_t *given, struct capture_plan *plan, struct shm_error *error)
{
    const char *text = json_is_string(given) ? json_string_value(given) : "";
    struct shm_address *address = &plan->arguments.address;
    const bool with_prefix = strchr(text, '/') != NULL;
    if (!schema_parse_address(text, with_prefix, address))
        return shm_error_set(error,
                             "--address: '%.60s' is no address; write one such as 198.18.0.2 or 2001:db8::7, or a "
                             "network such as 198.18.0.0/24",
                             text);
    if (!with_prefix)
        address->prefix = address->family == 4 ? 32 : 128;
    describe(plan, "address", text);
    return 0;
}

static int port_read(const json_t *given, struct capture_plan *plan, struct shm_error *error)
{
    const json_int_t port = json_integer_value(given);
    char text[16];
    if (!json_is_integer(given) || port < 1 || port > UINT16_MAX)
        return shm_error_set(error, "--port takes a TCP port from 1 to 65535");
    plan->arguments.port = (uint32_t)port;
    snprintf(text, sizeof text, "%d", (int)port);
    describe(plan, "port", text);
    return 0;
}

static int direction_read(const json_t *given, struct capture_plan *plan, struct shm_error *error)
{
    static const char *const names[] = {
        [SHM_CAPTURE_IN] = "in", [SHM_CAPTURE_OUT] = "out", [SHM_CAPTURE_BOTH] = "both"};
    const char *text = json_is_string(given) ? json_string_value(given) : "";
    for (uint32_t i = SHM_CAPTURE_IN; i <= SHM_CAPTURE_BOTH; i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        plan->arguments.direction = i;
        if (i != SHM_CAPTURE_BOTH)
            describe(plan, "direction", text);
        return 0;
    }
    return shm_error_set(error, "--direction is in (to the router), out or both, not '%.30s'", text);
}

static int filter_read(const json_t *request, struct capture_plan *plan, struct shm_error *error)
{
    static const struct {
        const char *field;
        int (*read)(const json_t *given, struct capture_plan *plan, struct shm_error *error);
    } parts[] = {
        {"client", client_read}, {"address", address_read}, {"port", port_read}, {"direction", direction_read}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const json_t *given = json_object_get(request, parts[i].field);
        if (given && parts[i].read(given, plan, error) != 0)
            return -1;
    }
    if (plan->filter[0] == '\0')
        snprintf(plan->filter, sizeof plan->filter, "all packets");
    return 0;
}

int capture_plan_read(const json_t *request, const struct shm_capture_config *config, struct capture_plan *plan,
                      struct shm_error *error)
{
    struct shm_config values = {.capture = *config};
    uint64_t read[sizeof bounds / sizeof bounds[0]];
    *plan = (struct capture_plan){.arguments = {.action = SHM_CAPTURE_START, .direction = SHM_CAPTURE_BOTH}};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        if (bound_read(&bounds[i], request, &values, &read[i], error) != 0)
            return -1;
    plan->bytes = read[0];
    plan->packets = read[1];
    plan->seconds = (uint32_t)read[2];
    plan->arguments.snap_length = (uint32_t)read[3];
    plan->arguments.time_s = plan->seconds + DATAPLANE_EXTRA_S;
    return filter_read(request, plan, error);
}

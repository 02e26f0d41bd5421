/* The start-up configuration: what a dataplane must refuse, however it came about. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/shm/config.h"

TestSuite(config, .timeout = 10);

static struct shm_address address4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t prefix)
{
    return (struct shm_address){.bytes = {a, b, c, d}, .family = 4, .prefix = prefix};
}

/* A configuration that is accepted: every number at its minimum. */
static struct shm_config *valid(void)
{
    static struct shm_config config;
    memset(&config, 0, sizeof config);
    config.generation = 1;
    config.port_count = config.listener_count = 1;
    for (size_t i = 0; i < shm_config_field_count; i++) {
        const struct shm_config_field *field = &shm_config_fields[i];
        void *base = field->scope == SHM_SCOPE_PORT       ? (void *)&config.ports[0]
                     : field->scope == SHM_SCOPE_LISTENER ? (void *)&config.listeners[0]
                                                          : (void *)&config;
        shm_config_field_set(field, base, field->minimum);
        cr_assert_eq(shm_config_field_get(field, base), field->minimum);
    }
    config.dataplane.main_core = SHM_CORE_AUTO;
    strcpy(config.ports[0].name, "lan0");
    strcpy(config.ports[0].device, "net_null0");
    config.ports[0].address_count = 1;
    config.ports[0].addresses[0] = address4(198, 18, 0, 1, 24);
    strcpy(config.listeners[0].name, "mqtt");
    return &config;
}

static void expect_refused(const struct shm_config *config, const char *reason)
{
    struct shm_error error = {""};
    cr_assert_eq(shm_config_validate(config, &error), -1, "accepted, but should say '%s'", reason);
    cr_assert(strstr(error.text, reason), "'%s' does not say '%s'", error.text, reason);
}

Test(config, accepts_a_valid_one)
{
    struct shm_error error = {""};
    cr_assert_eq(shm_config_validate(valid(), &error), 0, "%s", error.text);
}

Test(config, refuses_every_number_outside_of_its_range)
{
    for (size_t i = 0; i < shm_config_field_count; i++) {
        const struct shm_config_field *field = &shm_config_fields[i];
        struct shm_config *config = valid();
        void *base = field->scope == SHM_SCOPE_PORT       ? (void *)&config->ports[0]
                     : field->scope == SHM_SCOPE_LISTENER ? (void *)&config->listeners[0]
                                                          : (void *)config;
        uint64_t all_ones = field->width == 8 ? UINT64_MAX : UINT32_MAX;
        if (field->maximum < all_ones) {
            shm_config_field_set(field, base, field->maximum + 1);
            expect_refused(config, field->path);
            shm_config_field_set(field, base, all_ones);
            expect_refused(config, field->path);
        }
        if (field->minimum > 0) {
            shm_config_field_set(field, base, field->minimum - 1);
            expect_refused(config, field->path);
        }
    }
}

Test(config, refuses_counts_and_texts_that_leave_their_arrays)
{
    struct shm_config *config = valid();
    config->port_count = SHM_PORTS_MAX + 1;
    expect_refused(config, "ports");
    config = valid();
    config->listener_count = UINT32_MAX;
    expect_refused(config, "listeners");
    config = valid();
    config->ports[0].address_count = SHM_PORT_ADDRESSES_MAX + 1;
    expect_refused(config, "addresses");
    config = valid();
    config->dataplane.core_count = 65;
    expect_refused(config, "cores");
    config = valid();
    memset(config->ports[0].name, 'x', sizeof config->ports[0].name);
    expect_refused(config, "ports.name");
    config = valid();
    memset(config->ports[0].device, 'x', sizeof config->ports[0].device);
    expect_refused(config, "ports.device");
    config = valid();
    config->listeners[0].name[1] = '\n';
    expect_refused(config, "listeners.name");
    config = valid();
    config->ports[0].name[0] = '\0';
    expect_refused(config, "ports.name");
}

Test(config, refuses_addresses_that_no_host_can_have)
{
    const struct shm_address bad[] = {address4(0, 0, 0, 0, 24),
                                      address4(127, 0, 0, 1, 8),
                                      address4(224, 0, 0, 1, 24),
                                      address4(255, 255, 255, 255, 32),
                                      {.family = 6, .prefix = 64},
                                      {.bytes = {0xff, 2}, .family = 6, .prefix = 64},
                                      {.bytes = {[10] = 0xff, 0xff, 198, 18, 0, 1}, .family = 6, .prefix = 120},
                                      address4(198, 18, 0, 0, 24),
                                      address4(198, 18, 0, 255, 24),
                                      address4(198, 18, 0, 4, 30),
                                      address4(198, 18, 0, 7, 30),
                                      {.family = 9, .prefix = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct shm_config *config = valid();
        config->ports[0].mtu = 1500;
        config->ports[0].addresses[0] = bad[i];
        expect_refused(config, "address 1");
    }
    struct shm_config *config = valid();
    config->ports[0].addresses[0].prefix = 33;
    expect_refused(config, "prefix length");
    config->ports[0].addresses[0] = address4(198, 18, 0, 0, 31);
    cr_assert_eq(shm_config_validate(config, NULL), 0, "a link of two has no broadcast address");
    config->ports[0].address_count = 2;
    config->ports[0].addresses[1] = config->ports[0].addresses[0];
    expect_refused(config, "addresses 1 and 2 are the same");
}

Test(config, refuses_what_does_not_fit_together)
{
    struct shm_config *config = valid();
    config->dataplane.workers = 2;
    config->dataplane.core_count = 1;
    expect_refused(config, "1 cores for 2 workers");
    config->dataplane.core_count = 2;
    config->dataplane.cores[0] = config->dataplane.cores[1] = 3;
    expect_refused(config, "listed twice");
    config = valid();
    config->ports[0].gateway4 = address4(198, 19, 0, 1, 0);
    expect_refused(config, "gateway");
    config->ports[0].gateway4 = address4(198, 18, 0, 1, 0);
    expect_refused(config, "an address of the port itself");
    config->ports[0].gateway4 = address4(198, 18, 0, 254, 0);
    cr_assert_eq(shm_config_validate(config, NULL), 0);
    config->ports[1] = config->ports[0];
    config->port_count = 2;
    expect_refused(config, "two ports are called");
    config->ports[1].name[0] = 'w';
    expect_refused(config, "same device");
    config->ports[1].device[0] = 'm';
    expect_refused(config, "in common");
    config = valid();
    config->listeners[0].address = address4(198, 18, 0, 9, 0);
    expect_refused(config, "no port has this address");
    config->listeners[0].address.family = 0;
    config->listeners[1] = config->listeners[0];
    config->listener_count = 2;
    config->listeners[1].name[0] = 'w';
    expect_refused(config, "both listen on port");
    config = valid();
    config->ports[0].addresses[0] = (struct shm_address){.bytes = {0x20, 1}, .family = 6, .prefix = 64};
    config->ports[0].mtu = 1279;
    expect_refused(config, "1280");
    config = valid();
    config->mqtt.keepalive_max_s = 10;
    config->mqtt.keepalive_default_s = 11;
    expect_refused(config, "keepalive-default");
    config = valid();
    config->listeners[0].transport = SHM_TRANSPORT_WEBSOCKET;
    expect_refused(config, "listeners.path");
    strcpy(config->listeners[0].path, "/mq tt");
    expect_refused(config, "listeners.path");
    strcpy(config->listeners[0].path, "/mqtt");
    cr_assert_eq(shm_config_validate(config, NULL), 0);
    config->listeners[0].origin_count = SHM_ORIGINS_MAX + 1;
    expect_refused(config, "listeners.origins");
    config->listeners[0].origin_count = 1;
    expect_refused(config, "an origin is");
    strcpy(config->listeners[0].origins[0], "https://example.org/page");
    expect_refused(config, "an origin is");
    strcpy(config->listeners[0].origins[0], "https://example.org:8443");
    cr_assert_eq(shm_config_validate(config, NULL), 0);
    config = valid();
    config->generation = 0;
    expect_refused(config, "generation");
}

Test(config, a_gateway_must_share_every_bit_of_the_prefix)
{
    struct shm_config *config = valid();
    config->ports[0].addresses[0] = address4(198, 18, 4, 1, 22); /* 198.18.4.0..198.18.7.255 */
    config->ports[0].gateway4 = address4(198, 18, 7, 254, 0);
    cr_assert_eq(shm_config_validate(config, NULL), 0);
    config->ports[0].gateway4 = address4(198, 18, 8, 1, 0);
    expect_refused(config, "gateway");
    config->ports[0].gateway4 = address4(198, 18, 3, 1, 0);
    expect_refused(config, "gateway");
}

Test(config, fingerprint_tells_configurations_apart_but_not_generations)
{
    struct shm_config *config = valid();
    uint64_t before = shm_config_fingerprint(config);
    config->generation = 99;
    config->seed[0] = 1;
    config->fingerprint = 7;
    cr_assert_eq(shm_config_fingerprint(config), before);
    config->mqtt.max_qos = 2;
    cr_assert_neq(shm_config_fingerprint(config), before);
}

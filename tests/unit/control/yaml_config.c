/* The configuration file: what is taken, and what is said about each mistake. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "control/reference.h"
#include "control/yaml_config.h"

TestSuite(yaml_config, .timeout = 20);

#define PORTS "ports:\n  - {name: lan0, device: net_null0, addresses: [198.18.0.1/24]}\n"
#define LISTENERS "listeners:\n  - name: mqtt\n"
#define BASE PORTS LISTENERS

static struct control_config file_config;
#define config file_config.dataplane
static struct config_origin origin;
static char report[8192];

/* Read a text as file "t"; the messages go to `report`. */
static int read_text(const char *text)
{
    memset(report, 0, sizeof report);
    FILE *input = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    FILE *output = fmemopen(report, sizeof report - 1, "w");
    int result = yaml_config_read(input, "t", &file_config, &origin, output);
    fclose(output);
    fclose(input);
    return result;
}

struct bad {
    const char *text;
    const char *message; /* is part of the report */
};

static const struct bad bad_files[] = {
    {"", "needs sections"},
    {"- a\n", "t:1:1: needs sections"},
    {"ports: [\n", "not valid YAML"},
    {"ports:\n\t- x", "t:2:1: not valid YAML"},
    {BASE "mqtt:\n  max-qos: 3\n", "t:6:12: mqtt.max-qos: '3' is not allowed; allowed: 0..2"},
    {BASE "mqtt:\n  max-qos: two\n", "'two' is not allowed"},
    {BASE "mqtt:\n  max-qos: -1\n", "'-1' is not allowed"},
    {BASE "mqtt:\n  max-qos:\n", "mqtt.max-qos: needs a value; allowed: 0..2"},
    {BASE "mqtt:\n  max-qos: [1]\n", "takes one value, not a list"},
    {BASE "mqtt:\n  max-qos: {a: 1}\n", "needs a value"},
    {BASE "mqtt:\n  max_qos: 1\n", "t:6:3: mqtt.max_qos: there is no such setting; did you mean 'max-qos'?"},
    {BASE "mqtt:\n  packet-size: 1\n", "did you mean 'max-packet-size'?"},
    {BASE "mqtt:\n  zzzzzzzzzzzz: 1\n", "`pollux-control --reference` lists all"},
    {BASE "mqtt:\n  workers: 1\n", "'workers' belongs into section 'dataplane'"},
    {BASE "mqtt:\n  max-qos: 1\n  max-qos: 2\n", "t:7:3: mqtt.max-qos: is set twice, first in line 6"},
    {BASE "mqtt:\n  max-packet-size: 300MB\n", "allowed: 256..268435460"},
    {BASE "mqtt:\n  max-packet-size: 99999999999999999999\n", "is not allowed"},
    {BASE "mqtt:\n  max-queued-bytes: 99999999999TiB\n", "allowed: 0..64GiB"},
    {BASE "mqtt:\n  retain-available: yes\n", "allowed: true or false"},
    {BASE "mqtt:\n  queue-full: drop\n", "allowed: one of drop-new, drop-old, disconnect"},
    {BASE "mqtt:\n  session-expiry-max: 1 h\n", "or never"},
    {BASE "mqtt: 3\n", "t:5:7: mqtt: needs settings of the form 'name: value'"},
    {BASE "mqtt: {}\nmqtt: {}\n", "the section is there twice"},
    {BASE "mqt: {}\n", "t:5:1: mqt: there is no such section; did you mean 'mqtt'?"},
    {BASE "cluster: {}\n", "sections are dataplane, ports, listeners, tcp, mqtt, authentication, capture"},
    {BASE "foo: {}\n", "foo: there is no such section; sections are"},
    {BASE "---\nmqtt:\n  max-qos: 1\n", "t:6:1: a second document"},
    {BASE "...\nmqtt:\n  max-qos: 1\n", "t:6:1: not valid YAML"},
    {BASE "---\n\t- x", "t:6:1: not valid YAML"},
    {BASE "? [a]\n: 1\n", "(not a name)"},
    {BASE "dataplane:\n  cores: [1, x]\n", "'x' is not allowed; allowed: auto, or a list"},
    {BASE "dataplane:\n  cores: []\n", "the list is empty"},
    {BASE "dataplane:\n  cores: [1, 2]\n", "t:6: dataplane.cores: lists 2 cores for 1 workers"},
    {BASE "dataplane:\n  workers: 65\n", "allowed: 1..64"},
    {BASE "dataplane:\n  memory-per-worker: 1MiB\n", "allowed: 16MiB..1TiB"},
    {BASE "dataplane:\n  statistics-interval: 1ms\n", "allowed: 10ms..10s"},
    {PORTS, "listeners: 0 entries"},
    {LISTENERS, "ports: 0 entries"},
    {"ports: {name: a}\n" LISTENERS, "ports: needs a list"},
    {"ports:\n  - lan0\n" LISTENERS, "ports[0]: needs settings"},
    {"ports:\n  - name: lan0\n" LISTENERS, "ports[0].device: is missing"},
    {"ports:\n  - name: lan0\n" LISTENERS, "t:2:5: ports[0].addresses: is missing"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4}\n" LISTENERS, "'1.2.3.4' is not allowed"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4/33}\n" LISTENERS, "'1.2.3.4/33' is not allowed"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4/24, gateway: 1.2.3.1/24}\n" LISTENERS,
     "without prefix length"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4/24, gateway: 1.2.9.1}\n" LISTENERS,
     "t:2: port a: the IPv4 gateway is on none of the networks"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4/24, gateway: [1.2.3.1, 1.2.3.2]}\n" LISTENERS,
     "'1.2.3.2' is not allowed"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4/24, mac: 01:02}\n" LISTENERS, "such as 02:00:00:00:00:01"},
    {"ports:\n  - {name: a, device: b, addresses: 1.2.3.4/24, mac: '01:00:00:00:00:00'}\n" LISTENERS,
     "not the address of one station"},
    {"ports:\n  - {name: '', device: b, addresses: 1.2.3.4/24}\n" LISTENERS, "allowed: 1..31 printable characters"},
    {"ports:\n  - {name: \"a\\0b\", device: b, addresses: 1.2.3.4/24}\n" LISTENERS, "needs a value"},
    {PORTS "listeners:\n  - {name: a, port: 70000}\n", "allowed: 1..65535"},
    {PORTS "listeners:\n  - {name: a, address: 1.1.1.1}\n",
     "t:4: listener a: listeners.address: no port has this address"},
    {PORTS "listeners:\n  - name: a\n  - name: b\n", "both listen on port 1883"},
    {"&a ports: &b\n  - *b\n" LISTENERS, "t:"},
};

Test(yaml_config, every_mistake_is_named_with_its_place)
{
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        cr_assert_eq(read_text(bad_files[i].text), -1, "accepted:\n%s", bad_files[i].text);
        cr_assert(strstr(report, bad_files[i].message), "for\n%s\nit says\n%s\nbut should say\n%s", bad_files[i].text,
                  report, bad_files[i].message);
    }
}

Test(yaml_config, goes_on_after_a_mistake_but_not_for_ever)
{
    char text[20000] = BASE "mqtt:\n";
    cr_assert_eq(read_text(BASE "mqtt:\n  max-qos: 9\n  nonsense: 1\ntcp:\n  keepalive-probes: 0\n"), -1);
    cr_assert(strstr(report, "max-qos") && strstr(report, "nonsense") && strstr(report, "keepalive-probes"));
    for (int i = 0; i < 500; i++)
        strcat(text, "  nonsense: 1\n");
    cr_assert_eq(read_text(text), -1);
    cr_assert(strstr(report, "480 more mistakes"), "%s", report);
}

Test(yaml_config, defaults_fill_what_is_not_said)
{
    cr_assert_eq(read_text(BASE), 0, "%s", report);
    cr_assert_eq(config.dataplane.workers, 1);
    cr_assert_eq(config.dataplane.main_core, SHM_CORE_AUTO);
    cr_assert_eq(config.dataplane.memory_per_worker, UINT64_C(256) << 20);
    cr_assert_eq(config.mqtt.max_packet_size, 1u << 20);
    cr_assert_eq(config.mqtt.session_expiry_max_s, 7 * 86400);
    cr_assert_eq(config.mqtt.allow_anonymous, SHM_ANONYMOUS_AUTO);
    cr_assert_eq(config.tcp.keepalive_time_s, 7200);
    cr_assert_eq(config.ports[0].mtu, 1500);
    cr_assert_eq(config.listeners[0].port, 1883);
    cr_assert_eq(config.listeners[0].address.family, 0);
    cr_assert_eq(origin.lines[4][0][0], 0, "a default has no line");
}

Test(yaml_config, every_type_is_read)
{
    cr_assert_eq(read_text("dataplane: {workers: 2, cores: [2, 3], main-core: 1, idle: busy, hugepages: off,\n"
                           "  memory-per-worker: 1GiB, statistics-interval: 2s}\n"
                           "ports:\n"
                           "  - name: lan0\n"
                           "    device: net_af_xdp0,iface=plx0\n"
                           "    mac: 02:00:00:00:00:2a\n"
                           "    addresses: [198.18.0.1/24, \"2001:db8:18::1/64\"]\n"
                           "    gateway: [198.18.0.254, 'fe80::1']\n"
                           "    mtu: 9000\n"
                           "listeners:\n"
                           "  - {name: a, port: 1884, address: '2001:db8:18::1'}\n"
                           "  - {name: b}\n"
                           "tcp:\n"
                           "mqtt: {keepalive-max: 1h, session-expiry-max: never, queue-full: disconnect,\n"
                           "  retain-available: false, sys-interval: off}\n"),
                 0, "%s", report);
    cr_assert_eq(config.dataplane.core_count, 2);
    cr_assert_eq(config.dataplane.cores[1], 3);
    cr_assert_eq(config.dataplane.main_core, 1);
    cr_assert_eq(config.dataplane.idle, SHM_IDLE_BUSY);
    cr_assert_eq(config.dataplane.hugepages, SHM_HUGEPAGES_OFF);
    cr_assert_eq(config.dataplane.memory_per_worker, UINT64_C(1) << 30);
    cr_assert_eq(config.dataplane.statistics_interval_ms, 2000);
    cr_assert_str_eq(config.ports[0].device, "net_af_xdp0,iface=plx0");
    cr_assert_eq(config.ports[0].mac_set, 1);
    cr_assert_eq(config.ports[0].mac[5], 0x2a);
    cr_assert_eq(config.ports[0].address_count, 2);
    cr_assert_eq(config.ports[0].addresses[1].family, 6);
    cr_assert_eq(config.ports[0].addresses[1].prefix, 64);
    cr_assert_eq(config.ports[0].gateway4.bytes[3], 254);
    cr_assert_eq(config.ports[0].gateway6.bytes[0], 0xfe);
    cr_assert_eq(config.listener_count, 2);
    cr_assert_eq(config.listeners[0].address.family, 6);
    cr_assert_eq(config.mqtt.keepalive_max_s, 3600);
    cr_assert_eq(config.mqtt.session_expiry_max_s, UINT32_MAX);
    cr_assert_eq(config.mqtt.queue_full, SHM_QUEUE_DISCONNECT);
    cr_assert_eq(config.mqtt.retain_available, 0);
    cr_assert_eq(config.mqtt.sys_interval_s, 0);
    cr_assert_eq(origin.lines[1][0][0], 4, "the port's name stands in line 4");
}

Test(yaml_config, the_example_is_accepted_and_equals_the_defaults)
{
    char *text = NULL;
    size_t size = 0;
    FILE *output = open_memstream(&text, &size);
    reference_print_example(output);
    fclose(output);
    cr_assert_eq(read_text(text), 0, "%s", report);
    struct shm_config example = config;
    cr_assert_eq(read_text(PORTS LISTENERS), 0);
    cr_assert_eq(memcmp(&example.mqtt, &config.mqtt, sizeof config.mqtt), 0);
    cr_assert_eq(memcmp(&example.tcp, &config.tcp, sizeof config.tcp), 0);
    cr_assert_eq(memcmp(&example.dataplane, &config.dataplane, sizeof config.dataplane), 0);
    free(text);
}

Test(yaml_config, the_schema_covers_every_number_and_prints_what_it_reads)
{
    char text[1024];
    cr_assert_eq(read_text(BASE), 0);
    for (size_t f = 0; f < shm_config_field_count; f++) {
        bool found = false;
        for (size_t i = 0; i < schema_section_count; i++)
            for (uint32_t j = 0; j < schema_sections[i].leaf_count; j++)
                found |= schema_field(&schema_sections[i], &schema_sections[i].leaves[j]) == &shm_config_fields[f];
        cr_assert(found, "%s is in no section of the schema", shm_config_fields[f].path);
    }
    for (size_t i = 0; i < schema_section_count; i++)
        for (uint32_t j = 0; j < schema_sections[i].leaf_count; j++) {
            const struct schema_leaf *leaf = &schema_sections[i].leaves[j];
            schema_format(&schema_sections[i], leaf, schema_base(&schema_sections[i], &file_config, 0), text,
                          sizeof text);
            if (leaf->initial)
                cr_assert_str_eq(text, leaf->initial, "%s.%s", schema_sections[i].name, leaf->name);
        }
}

/* Run with the path of the committed page: tests/unit/control/meson.build sets it. */
Test(yaml_config, the_committed_reference_page_is_up_to_date)
{
    char *page = NULL;
    size_t size = 0;
    FILE *output = open_memstream(&page, &size);
    reference_print_page(output);
    fclose(output);
    FILE *committed = fopen(CONFIGURATION_PAGE, "r");
    cr_assert(committed, "there is no " CONFIGURATION_PAGE);
    char *text = calloc(1, size + 2);
    size_t length = fread(text, 1, size + 1, committed);
    cr_assert(length == size && memcmp(text, page, size) == 0,
              "run: pollux-control --reference > docs/reference/configuration.md");
    fclose(committed);
    free(text);
    free(page);
}

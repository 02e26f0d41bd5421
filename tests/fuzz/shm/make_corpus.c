/*
 * Writes the seeds of the corpus: make_corpus_shm FOLDER. One accepted input of each kind, for the fuzzer to spoil.
 * Run it again when a layout changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/reference.h"
#include "control/yaml_config.h"
#include "lib/shm/link.h"
#include "lib/shm/login.h"
#include "lib/shm/messages.h"
#include "lib/stats/stats.h"

static const char *folder;

static void write_seed(uint8_t kind, const char *name, const void *bytes, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fputc(kind, file) == EOF || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void write_replies(void)
{
    for (uint16_t type = SHM_REQUEST_WORKERS; type <= SHM_REQUEST_TYPE_MAX; type++) {
        char name[32];
        struct shm_reply reply = {.id = 1, .type = type, .status = SHM_REPLY_RECORD};
        if (type == SHM_REQUEST_CLIENTS)
            reply.client = (struct shm_client_record){
                .handle = 1, .protocol = 5, .id_length = 3, .id = "abc", .peer.address.family = 4};
        if (type == SHM_REQUEST_CAPTURE)
            reply.capture = (struct shm_capture_record){.workers = 2, .slots = 1024};
        if (type == SHM_REQUEST_PORTS) {
            strcpy(reply.port.name, "lan0");
            reply.port.address_count = 1;
            reply.port.addresses[0].family = 6;
        }
        snprintf(name, sizeof name, "reply-%u", type);
        write_seed(0, name, &reply, sizeof reply);
    }
    struct shm_reply error = {.id = 1, .type = SHM_REQUEST_KICK, .status = SHM_REPLY_ERROR, .text = "no"};
    write_seed(0, "reply-error", &error, sizeof error);
}

static void write_requests(void)
{
    struct shm_request list = {.id = 1, .type = SHM_REQUEST_CLIENTS, .limit = 1, .list = {0, 3, "abc"}};
    struct shm_request kick = {.id = 1, .type = SHM_REQUEST_KICK, .limit = 1, .kick = {.id_length = 3, .id = "abc"}};
    struct shm_request drain = {
        .id = 1, .type = SHM_REQUEST_DRAIN, .limit = 1, .drain = {SHM_DRAIN_START, 1, 100, 4, "host"}};
    write_seed(1, "request-drain", &drain, sizeof drain);
    write_seed(1, "request-clients", &list, sizeof list);
    write_seed(1, "request-kick", &kick, sizeof kick);
}

static void write_configs(struct control_config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *output = open_memstream(&text, &size);
    reference_print_example(output);
    fclose(output);
    FILE *input = fmemopen(text, size, "r");
    if (yaml_config_read(input, "example", config, NULL, stderr) != 0)
        exit(EXIT_FAILURE);
    fclose(input);
    write_seed(2, "config", &config->dataplane, sizeof config->dataplane);
    write_seed(3, "yaml-example", text, size);
    static const char small[] = "ports:\n- {name: a, device: b, addresses: [1.2.3.4/8], gateway: 1.2.3.5, mac: "
                                "'02:00:00:00:00:01'}\nlisteners: [{name: m, address: 1.2.3.4}]\n"
                                "dataplane: {cores: [1]}\nmqtt: {max-qos: 1}\n";
    write_seed(3, "yaml-small", small, sizeof small - 1);
    free(text);
}

struct framed {
    uint8_t length[2];
    uint32_t header[3];
    uint8_t payload[sizeof(struct shm_config)];
} __attribute__((packed));

static size_t frame(struct framed *framed, uint32_t type, const void *payload, uint32_t size)
{
    uint32_t header[3] = {0x706c6e6bu, type, size};
    framed->length[0] = (uint8_t)((size + 12) >> 8);
    framed->length[1] = (uint8_t)(size + 12);
    memcpy(framed->header, header, sizeof header);
    memcpy(framed->payload, payload, size);
    return 14 + size;
}

static void write_links(const struct shm_config *config)
{
    static uint8_t stream[2 * sizeof(struct framed)];
    static struct framed framed;
    struct link_hello hello = {SHM_LAYOUT_VERSION, sizeof *config, LINK_STATE_RUNNING, 1, 1, 1, 1, "seed"};
    size_t first = frame(&framed, LINK_HELLO, &hello, sizeof hello);
    memcpy(stream, &framed, first);
    size_t second = frame(&framed, LINK_CONFIGURE, config, sizeof *config);
    memcpy(stream + first, &framed, second);
    write_seed(4, "link-configure", stream, first + second);
    static const char text[LINK_TEXT_SIZE] = "failed";
    second = frame(&framed, LINK_FAILED, text, sizeof text);
    memcpy(stream + first, &framed, second);
    write_seed(4, "link-failed", stream, first + second);
}

static void write_statistics(void)
{
    static const struct stats_definition definitions[] = {{"a", STATS_COUNTER, "things", "First"},
                                                          {"b", STATS_GAUGE, "things", "Second"}};
    struct stats_segment segment;
    struct stats_builder *builder = stats_builder_create();
    stats_builder_add(builder, STATS_WORKER, "group", definitions, 2, NULL);
    stats_builder_add(builder, STATS_GLOBAL, "whole", definitions, 1, NULL);
    if (stats_builder_finish(builder, 2, &segment, NULL) != 0)
        exit(EXIT_FAILURE);
    size_t skip = sizeof(struct shm_segment_header);
    write_seed(5, "statistics", (uint8_t *)segment.segment.base + skip, 2048 - skip);
    stats_segment_close(&segment);
}

static void write_logins(void)
{
    static const char messages[] = "n,,n=user,r=abc\0c=biws,r=abcnonce,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    struct shm_login_question question = {.login = 1, .step = SHM_LOGIN_BEGIN, .data_length = sizeof messages - 1};
    struct shm_login_verdict verdict = {.login = 1, .result = SHM_LOGIN_ACCEPTED, .user_length = 4, .user = "user"};
    memcpy(question.data, messages, sizeof messages - 1);
    write_seed(7, "login-question", &question, sizeof question);
    write_seed(7, "login-verdict", &verdict, sizeof verdict);
}

/* A packet of two slots, and one of one. */
static void write_capture(void)
{
    static struct shm_capture_slot packets[3] = {
        {.first = 1, .length = 700, .captured = 600, .id_length = 5, .direction = SHM_CAPTURE_IN},
        {.first = 0},
        {.first = 1, .length = 60, .captured = 60, .direction = SHM_CAPTURE_OUT}};
    const struct shm_request start = {
        .id = 1,
        .type = SHM_REQUEST_CAPTURE,
        .limit = 1,
        .capture = {.action = SHM_CAPTURE_START, .direction = SHM_CAPTURE_BOTH, .snap_length = 128, .time_s = 60}};
    write_seed(8, "capture", packets, sizeof packets);
    write_seed(1, "request-capture", &start, sizeof start);
}

int main(int argc, char **argv)
{
    static struct control_config config;
    static const uint8_t ring[] = {1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 9, 5, 0, 0, 0, 6, 1, 0, 0, 0};
    if (argc != 2)
        return EXIT_FAILURE;
    folder = argv[1];
    write_replies();
    write_requests();
    write_configs(&config);
    write_links(&config.dataplane);
    write_statistics();
    write_logins();
    write_capture();
    write_seed(6, "ring", ring, sizeof ring);
    return EXIT_SUCCESS;
}

/*
 * Fuzz target of everything that one process takes from another: replies, requests, configurations, link messages, the
 * statistics segment, ring indices; and of the configuration file.
 *
 * The first byte chooses which, the rest is what the peer wrote. Whatever a check accepts is used as the program would
 * use it, so that a check that accepts too much is found by a sanitizer.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/json_records.h"
#include "control/yaml_config.h"
#include "control/scram.h"
#include "lib/shm/link.h"
#include "lib/shm/login.h"
#include "lib/shm/messages.h"
#include "lib/stats/stats.h"
#include "tests/fuzz/fuzz.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Copy what there is into a struct of fixed size, the rest zero. */
static void fill(void *to, size_t room, const uint8_t *data, size_t size)
{
    memset(to, 0, room);
    memcpy(to, data, size < room ? size : room);
}

static void fuzz_reply(const uint8_t *data, size_t size)
{
    struct shm_reply reply;
    struct shm_error error = {""};
    fill(&reply, sizeof reply, data, size);
    if (shm_reply_check(&reply, &error) != 0) {
        require(error.text[0] != '\0' && strnlen(error.text, sizeof error.text) < sizeof error.text);
        return;
    }
    if (reply.status == SHM_REPLY_ERROR)
        require(strnlen(reply.text, sizeof reply.text) < sizeof reply.text);
    if (reply.status != SHM_REPLY_RECORD)
        return;
    json_t *record = json_from_reply(&reply);
    char *text = json_dumps(record, 0);
    require(text != NULL);
    free(text);
    json_decref(record);
}

static void fuzz_request(const uint8_t *data, size_t size)
{
    struct shm_request request;
    fill(&request, sizeof request, data, size);
    if (shm_request_check(&request, NULL) != 0)
        return;
    require(request.limit >= 1 && request.limit <= SHM_PAGE_MAX);
    if (request.type == SHM_REQUEST_CLIENTS)
        require(request.list.id_prefix_length <= sizeof request.list.id_prefix);
    if (request.type == SHM_REQUEST_DRAIN && request.drain.action == SHM_DRAIN_START)
        require(request.drain.rate > 0 && request.drain.reference_length <= SHM_REFERENCE_MAX);
    if (request.type == SHM_REQUEST_KICK)
        require(request.kick.id_length <= sizeof request.kick.id);
}

/* Print every setting of an accepted configuration. */
static void print_config(struct control_config *config)
{
    char text[2048];
    for (size_t i = 0; i < schema_section_count; i++) {
        const struct schema_section *section = &schema_sections[i];
        uint32_t entries = 1;
        if (section->list)
            entries =
                strcmp(section->name, "ports") == 0 ? config->dataplane.port_count : config->dataplane.listener_count;
        for (uint32_t entry = 0; entry < entries; entry++)
            for (uint32_t leaf = 0; leaf < section->leaf_count; leaf++)
                schema_format(section, &section->leaves[leaf], schema_base(section, config, entry), text, sizeof text);
    }
}

static void fuzz_config(const uint8_t *data, size_t size)
{
    static struct control_config config;
    fill(&config.dataplane, sizeof config.dataplane, data, size);
    if (shm_config_validate(&config.dataplane, NULL) == 0)
        print_config(&config);
}

static void fuzz_yaml(const uint8_t *data, size_t size)
{
    static struct control_config config;
    static char report[65536];
    if (size == 0)
        return;
    FILE *input = fmemopen((void *)(uintptr_t)data, size, "r");
    FILE *output = fmemopen(report, sizeof report, "w");
    if (yaml_config_read(input, "fuzz", &config, NULL, output) == 0) {
        require(shm_config_validate(&config.dataplane, NULL) == 0);
        print_config(&config);
    }
    fclose(input);
    fclose(output);
}

/* Two length bytes in front of each message. */
static void fuzz_link(const uint8_t *data, size_t size)
{
    static struct link_message message;
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sockets) != 0)
        return;
    struct link link = {.fd = sockets[0]};
    while (size >= 2) {
        size_t length = (size_t)(data[0] << 8 | data[1]);
        data += 2;
        size -= 2;
        length = length < size ? length : size;
        if (length > 0 && send(sockets[1], data, length, 0) < 0)
            break;
        data += length;
        size -= length;
        enum link_result result = link_poll(&link, &message, NULL);
        if (result == LINK_MESSAGE && message.type == LINK_FAILED)
            require(strnlen(message.text, sizeof message.text) < sizeof message.text);
        if (result == LINK_MESSAGE)
            link_message_close(&message);
    }
    close(sockets[0]);
    close(sockets[1]);
}

/* The bytes become everything behind the segment's header. */
static void fuzz_statistics(const uint8_t *data, size_t size)
{
    struct shm_segment segment;
    if (shm_segment_create(&segment, "fuzz", SHM_SEGMENT_STATISTICS, sizeof(struct shm_segment_header) + size, false,
                           NULL) != 0)
        return;
    memcpy((uint8_t *)segment.base + sizeof(struct shm_segment_header), data, size);
    struct stats_reader *reader = stats_reader_attach(dup(segment.fd), NULL);
    for (uint32_t i = 0; reader && i < stats_reader_count(reader); i++) {
        json_t *value = json_from_statistic(reader, stats_reader_entry(reader, i), SHM_WORKER_ANY);
        require(value != NULL);
        json_decref(value);
    }
    stats_reader_free(reader);
    shm_segment_close(&segment);
}

#define RING_SLOTS 8u
#define RING_SLOT_SIZE 16u

/* Each five bytes: an operation and an index that the peer publishes. */
static void fuzz_ring(const uint8_t *data, size_t size)
{
    struct shm_segment segment;
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    uint8_t slot[RING_SLOT_SIZE] = {0};
    require(shm_segment_create(&segment, "fuzz", SHM_SEGMENT_REQUESTS,
                               shm_ring_segment_size(RING_SLOTS, RING_SLOT_SIZE), false, NULL) == 0);
    require(shm_ring_reset(&segment, RING_SLOTS, RING_SLOT_SIZE, NULL) == 0);
    require(shm_ring_open_producer(&producer, &segment, RING_SLOTS, RING_SLOT_SIZE, NULL) == 0);
    require(shm_ring_open_consumer(&consumer, &segment, RING_SLOTS, RING_SLOT_SIZE, NULL) == 0);
    for (; size >= 5; data += 5, size -= 5) {
        uint32_t index;
        memcpy(&index, data + 1, sizeof index);
        if (data[0] & 1)
            shm_ring_push(&producer, slot);
        if (data[0] & 2)
            shm_ring_pop(&consumer, slot);
        if (data[0] & 4)
            producer.shared->head = index;
        if (data[0] & 8)
            producer.shared->tail = index;
        require(shm_ring_room(&producer) <= RING_SLOTS);
        require(producer.tail - producer.head_seen <= RING_SLOTS);
        require(consumer.tail_seen - consumer.head <= RING_SLOTS);
    }
    shm_segment_close(&segment);
}

/* A question as the dataplane writes it and a verdict as control does; what a client sends goes through SCRAM. */
static void fuzz_login(const uint8_t *data, size_t size)
{
    static struct shm_login_question question;
    static struct shm_login_verdict verdict;
    static struct scram scram;
    static const struct scram_secret secret = {.iterations = SCRAM_ITERATIONS, .salt_length = 16};
    char answer[SCRAM_MESSAGE_MAX + 1];
    fill(&question, sizeof question, data, size);
    fill(&verdict, sizeof verdict, data, size);
    if (shm_login_verdict_check(&verdict, NULL) == 0)
        require(verdict.user_length <= sizeof verdict.user && verdict.data_length <= sizeof verdict.data);
    if (shm_login_question_check(&question, NULL) != 0)
        return;
    require(question.name_length <= sizeof question.name && question.data_length <= sizeof question.data);
    /* The first message up to a zero, the last one behind it. */
    const uint8_t *zero = memchr(question.data, 0, question.data_length);
    size_t first = zero ? (size_t)(zero - question.data) : question.data_length;
    if (!scram_begin(&scram, question.data, first) || !scram_challenge(&scram, &secret, "nonce"))
        return;
    require(scram.user_length == strlen(scram.user) && scram.nonce_length == strcspn(scram.nonce, ","));
    if (zero)
        require(!scram_finish(&scram, &secret, zero + 1, question.data_length - first - 1, answer));
}

/* Slots of captured packets, one behind the other. */
static void fuzz_capture(const uint8_t *data, size_t size)
{
    static struct shm_capture_reader reader;
    static struct shm_capture_slot slot;
    reader.filled = reader.expected = 0;
    reader.whole = false;
    for (; size > 0; data += size < sizeof slot ? size : sizeof slot, size -= size < sizeof slot ? size : sizeof slot) {
        fill(&slot, sizeof slot, data, size);
        if (shm_capture_read(&reader, &slot, NULL) != 0)
            return;
        require(reader.filled <= reader.expected && reader.expected <= sizeof reader.bytes);
        require(reader.head.port < SHM_PORTS_MAX && reader.head.captured <= reader.head.length);
        require(reader.whole == (reader.filled == reader.expected));
        reader.whole = false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(const uint8_t *data, size_t size) = {fuzz_reply, fuzz_request, fuzz_config,
                                                                        fuzz_yaml,  fuzz_link,    fuzz_statistics,
                                                                        fuzz_ring,  fuzz_login,   fuzz_capture};
    if (size > 0)
        targets[data[0] % (sizeof targets / sizeof targets[0])](data + 1, size - 1);
    return 0;
}

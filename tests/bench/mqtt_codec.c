/*
 * ns per packet of the MQTT codec, over a buffer of 1,000 packets that stays in cache: what the codec itself costs.
 * Prints the fastest of several rounds, since everything else on the machine only adds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/mqtt/packets.h"
#include "lib/mqtt/publish.h"

#define PACKETS 1000
#define ROUNDS 300

static uint8_t stream[PACKETS * 256], out[PACKETS * 256];
static size_t stream_length;
static volatile uint64_t sink;

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static struct mqtt_publish message(uint8_t qos, uint32_t payload)
{
    static uint8_t bytes[1024];
    return (struct mqtt_publish){.qos = qos,
                                 .packet_id = qos > 0 ? 1 : 0,
                                 .topic = MQTT_SPAN("pollux/perf/0/1234"),
                                 .payload = {bytes, payload}};
}

static void fill(enum mqtt_version version, const struct mqtt_publish *publish)
{
    uint8_t *end = stream;
    for (int i = 0; i < PACKETS; i++)
        end = mqtt_publish_encode(end, version, publish);
    stream_length = (size_t)(end - stream);
}

static void decode_stream(enum mqtt_version version)
{
    struct mqtt_header header;
    struct mqtt_publish publish;
    uint64_t sum = 0;
    for (size_t at = 0; at < stream_length; at += header.length + header.remaining_length) {
        if (mqtt_header_decode(stream + at, stream_length - at, UINT32_MAX, &header) != MQTT_OK ||
            mqtt_publish_decode(version, MQTT_FROM_CLIENT, &header, stream + at + header.length, &publish) != MQTT_OK)
            exit(EXIT_FAILURE);
        sum += publish.payload.length + publish.topic.length;
    }
    sink += sum;
}

static void encode_whole(enum mqtt_version version, const struct mqtt_publish *publish)
{
    uint8_t *end = out;
    for (int i = 0; i < PACKETS; i++) {
        sink += mqtt_publish_size(version, publish);
        end = mqtt_publish_encode(end, version, publish);
    }
    sink += (uint64_t)(end - out);
}

/* A message to PACKETS subscribers: head of each, tail copied. */
static void encode_split(enum mqtt_version version, const struct mqtt_publish *publish)
{
    const struct mqtt_publish_shared shared = {.topic = publish->topic, .tail = publish->payload};
    struct mqtt_publish_own own = {.qos = publish->qos};
    uint8_t *end = out;
    for (int i = 0; i < PACKETS; i++) {
        own.packet_id = (uint16_t)(i + 1);
        end = mqtt_publish_head_encode(end, version, &shared, &own);
        memcpy(end, shared.tail.data, shared.tail.length);
        end += shared.tail.length;
    }
    sink += (uint64_t)(end - out);
}

static void decode_acks(enum mqtt_version version, const struct mqtt_publish *publish)
{
    struct mqtt_header header;
    struct mqtt_ack ack;
    for (int i = 0; i < PACKETS; i++) {
        mqtt_ack_encode_success(out, MQTT_PUBACK, (uint16_t)(i + 1));
        if (mqtt_header_decode(out, 4, UINT32_MAX, &header) != MQTT_OK ||
            mqtt_ack_decode(version, &header, out + 2, &ack) != MQTT_OK)
            exit(EXIT_FAILURE);
        sink += ack.packet_id;
    }
}

static void decode_publish(enum mqtt_version version, const struct mqtt_publish *publish)
{
    decode_stream(version);
}

static void measure(const char *what, void (*run)(enum mqtt_version, const struct mqtt_publish *),
                    enum mqtt_version version, const struct mqtt_publish *publish)
{
    double best = 1e18;
    fill(version, publish);
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        run(version, publish);
        double took = now_ns() - start;
        best = took < best ? took : best;
    }
    printf("%-52s %8.1f ns/packet\n", what, best / PACKETS);
}

static struct mqtt_publish with_properties(void)
{
    static uint8_t user[64];
    struct mqtt_publish publish = message(1, 64);
    uint8_t *end = mqtt_user_property_append(user, MQTT_SPAN("trace"), MQTT_SPAN("0123456789abcdef"));
    publish.properties.message_expiry_interval = 60;
    publish.properties.user_properties = (struct mqtt_span){user, (uint32_t)(end - user)};
    mqtt_property_set(&publish.properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL);
    mqtt_property_set(&publish.properties, MQTT_PROPERTY_USER_PROPERTY);
    return publish;
}

int main(void)
{
    const struct mqtt_publish qos0 = message(0, 64), qos1 = message(1, 64), rich = with_properties();
    measure("PUBLISH decode, 3.1.1, QoS 0, 64 B", decode_publish, MQTT_V311, &qos0);
    measure("PUBLISH decode, 5.0, QoS 0, 64 B, no properties", decode_publish, MQTT_V5, &qos0);
    measure("PUBLISH decode, 3.1.1, QoS 1, 64 B", decode_publish, MQTT_V311, &qos1);
    measure("PUBLISH decode, 5.0, QoS 1, 64 B, two properties", decode_publish, MQTT_V5, &rich);
    measure("PUBLISH encode, 3.1.1, QoS 0, 64 B", encode_whole, MQTT_V311, &qos0);
    measure("PUBLISH encode, 5.0, QoS 1, 64 B, two properties", encode_whole, MQTT_V5, &rich);
    measure("PUBLISH head and copied tail, 3.1.1, QoS 0, 64 B", encode_split, MQTT_V311, &qos0);
    measure("PUBLISH head and copied tail, 5.0, QoS 1, 64 B", encode_split, MQTT_V5, &qos1);
    measure("PUBACK encode and decode, 5.0", decode_acks, MQTT_V5, &qos0);
    return EXIT_SUCCESS;
}

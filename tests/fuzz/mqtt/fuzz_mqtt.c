/*
 * Fuzz target of the codec: any bytes are a stream of packets.
 *
 * The first byte chooses version (3, 4, 5) and sender, the rest is the stream. Whatever decodes must encode, must
 * decode again from that, and encode to the same bytes; iterating over what was accepted must end where the packet
 * ends. A violation ends the program, which libFuzzer and the corpus replay both report.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mqtt/topic_name.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/mqtt/any_packet.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void filters_walk(const struct any_packet *packet)
{
    struct mqtt_span rest = packet->subscribe.filters, group, filter;
    struct mqtt_subscription subscription;
    uint32_t count = 0;
    if (packet->type == MQTT_SUBSCRIBE)
        for (; mqtt_subscription_next(&rest, &subscription); count++)
            mqtt_topic_share_split(subscription.filter, &group, &filter);
    else
        for (; mqtt_filter_next(&rest, &filter); count++)
            require(mqtt_topic_levels(filter) >= 1);
    require(count == packet->subscribe.filter_count);
}

/* A canonical packet may be longer than the one it came from, but not by more than its lengths and defaults. */
static void encode_again(const struct any_packet *packet, enum mqtt_sender sender, size_t length)
{
    size_t size = any_packet_size(packet), decoded;
    uint8_t *bytes = malloc(size), *twice = malloc(size);
    struct any_packet again;
    require(bytes != NULL && twice != NULL);
    require(size > 0 && size <= length + 8);
    require(any_packet_encode(bytes, packet) == bytes + size);
    require(any_packet_decode(packet->version, sender, bytes, size, &decoded, &again) == MQTT_OK);
    require(decoded == size && any_packet_size(&again) == size);
    any_packet_encode(twice, &again);
    require(memcmp(bytes, twice, size) == 0);
    free(bytes);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum mqtt_version version = MQTT_V31 + data[0] % 3;
    enum mqtt_sender sender = data[0] / 3 % 2 ? MQTT_FROM_SERVER : MQTT_FROM_CLIENT;
    for (size_t at = 1, length; at < size; at += length) {
        struct any_packet packet;
        if (any_packet_decode(version, sender, data + at, size - at, &length, &packet) != MQTT_OK)
            return 0;
        if (packet.type == MQTT_SUBSCRIBE || packet.type == MQTT_UNSUBSCRIBE)
            filters_walk(&packet);
        encode_again(&packet, sender, length);
    }
    return 0;
}

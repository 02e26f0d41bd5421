/* Finding and unpacking runs. See run.h. */
#include "dataplane/run.h"

#include <string.h>

/* Bytes that every packet of a run has in common: fixed header, topic, and no properties. 0: it cannot begin a run. */
static uint32_t common_length(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *packet)
{
    const uint8_t *body = packet + header->length;
    if (header->type != MQTT_PUBLISH || header->flags != 0 || header->padded || header->remaining_length < 2) {
        return 0;
    }
    const uint32_t topic = (uint32_t)body[0] << 8 | body[1];
    const uint32_t properties = version == MQTT_V5 ? 1 : 0;
    if (topic == 0 || 2 + topic + properties > header->remaining_length || (properties > 0 && body[2 + topic] != 0)) {
        return 0;
    }
    return header->length + 2 + topic + properties;
}

uint32_t run_count(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *packet, uint32_t left,
                   uint32_t max)
{
    const uint32_t length = header->length + header->remaining_length;
    if (left < 2 * length || packet[length] != packet[0]) {
        return 1;
    }
    const uint32_t common = common_length(version, header, packet);
    uint32_t count = 1;
    if (common == 0) {
        return 1;
    }
    for (const uint8_t *next = packet + length; count < max; next += length, count++) {
        left -= length;
        if (left < length || memcmp(next, packet, common) != 0) {
            break;
        }
    }
    return count;
}

void run_begin(struct publication_run *run, struct publication *publication, uint32_t count)
{
    if (count > 1) {
        run->count = count;
        run->unpacked = false;
        publication->run = run;
    }
}

struct publication *run_unpack(struct publication *publication)
{
    struct publication_run *run = publication->run;
    if (!run->unpacked) {
        for (uint32_t i = 0; i < run->count; i++) {
            const uint32_t behind = i * publication->packet.length;
            struct publication *one = &run->publications[i];
            *one = *publication;
            one->run = NULL;
            one->packet.data += behind;
            one->payload.data += behind;
        }
        run->unpacked = true;
    }
    return run->publications;
}

void run_end(struct publication *publication, struct mem_region *memory)
{
    struct publication_run *run = publication->run;
    for (uint32_t i = 0; run != NULL && run->unpacked && i < run->count; i++) {
        publication_release(&run->publications[i], memory);
    }
    publication->run = NULL;
}

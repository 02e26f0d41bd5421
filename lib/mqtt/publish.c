/* PUBLISH, section 3.3: decoding beyond the inline path, and both forms of encoding. */
#include "lib/mqtt/publish.h"
#include "lib/mqtt/topic_name.h"
#include "lib/mqtt/wire.h"

#define BIT(name) (UINT64_C(1) << MQTT_PROPERTY_##name)

/* Properties that belong to one subscriber: they go into the head of the split form, the others into the tail. */
#define OWN_PROPERTIES (BIT(TOPIC_ALIAS) | BIT(SUBSCRIPTION_IDENTIFIER) | BIT(MESSAGE_EXPIRY_INTERVAL))

/* REQ MQTT-5 [MQTT-3.3.2-1]: the topic name comes first and is UTF-8 [test: packets/publish] */
/* REQ MQTT-3.1.1 [MQTT-3.3.2-1]: the topic name comes first and is UTF-8 [test: packets/publish] */
static enum mqtt_error topic_check(enum mqtt_version version, const struct mqtt_publish *publish)
{
    if (publish->topic.length == 0 && version == MQTT_V5 &&
        mqtt_property_is_present(&publish->properties, MQTT_PROPERTY_TOPIC_ALIAS))
        return MQTT_OK;
    return mqtt_topic_name_check(publish->topic);
}

/* REQ MQTT-5 [MQTT-2.2.1-2]: at QoS 0 there is no packet identifier [test: packets/publish] */
/* REQ MQTT-5 [MQTT-3.3.4-6]: a client sends no subscription identifier [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-2.3.1-5]: at QoS 0 there is no packet identifier [test: packets/publish] */
enum mqtt_error mqtt_publish_decode_long(enum mqtt_version version, enum mqtt_sender sender,
                                         const struct mqtt_header *header, const uint8_t *body,
                                         struct mqtt_publish *publish)
{
    struct wire_reader reader;
    WIRE_TRY(wire_open(version, header, body, &reader));
    publish->qos = header->flags >> 1 & 3;
    publish->retain = header->flags & 1;
    publish->duplicate = header->flags >> 3;
    publish->packet_id = 0;
    WIRE_TRY(wire_read_binary(&reader, &publish->topic));
    if (publish->qos > 0)
        WIRE_TRY(wire_read_packet_id(&reader, &publish->packet_id));
    WIRE_TRY(wire_read_properties(&reader, version, MQTT_PUBLISH, &publish->properties));
    WIRE_TRY(topic_check(version, publish));
    if (sender == MQTT_FROM_CLIENT && (publish->properties.present & BIT(SUBSCRIPTION_IDENTIFIER)))
        return MQTT_ERROR_SUBSCRIPTION_IDENTIFIER_FROM_CLIENT;
    publish->payload = (struct mqtt_span){reader.at, (uint32_t)wire_left(&reader)};
    return MQTT_OK;
}

/* The first byte's low half. REQ MQTT-5 [MQTT-4.3.1-1]: DUP is 0 at QoS 0 [test: packets/publish] */
static uint8_t flags_of(uint8_t qos, bool retain, bool duplicate)
{
    return (uint8_t)((duplicate && qos > 0) << 3 | qos << 1 | retain);
}

static uint64_t publish_body_size(enum mqtt_version version, const struct mqtt_publish *publish)
{
    uint64_t properties = version == MQTT_V5 ? mqtt_properties_size(&publish->properties) : 0;
    return wire_string_size(publish->topic) + (publish->qos > 0 ? 2 : 0) + wire_properties_size(version, properties) +
           publish->payload.length;
}

size_t mqtt_publish_size(enum mqtt_version version, const struct mqtt_publish *publish)
{
    return wire_packet_size(publish_body_size(version, publish));
}

uint8_t *mqtt_publish_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_publish *publish)
{
    uint8_t flags = flags_of(publish->qos, publish->retain, publish->duplicate);
    dst = wire_write_header(dst, MQTT_PUBLISH, flags, publish_body_size(version, publish));
    dst = wire_write_string(dst, publish->topic);
    if (publish->qos > 0)
        dst = wire_write_two(dst, publish->packet_id);
    dst = wire_write_properties(dst, version, &publish->properties);
    return wire_write_bytes(dst, publish->payload);
}

/* ---- Split form ---- */

uint64_t mqtt_publish_shared_properties_size(enum mqtt_version version, const struct mqtt_publish *publish)
{
    return version == MQTT_V5 ? wire_properties_part_size(&publish->properties, ~OWN_PROPERTIES) : 0;
}

uint8_t *mqtt_publish_shared_properties_encode(uint8_t *dst, const struct mqtt_publish *publish)
{
    return wire_properties_part_encode(dst, &publish->properties, ~OWN_PROPERTIES);
}

static uint32_t own_properties_size(const struct mqtt_publish_own *own)
{
    uint32_t size = (own->has_expiry ? 5 : 0) + (own->topic_alias != 0 ? 3 : 0);
    for (uint32_t i = 0; i < own->identifiers; i++)
        size += 1 + mqtt_varint_size(own->identifier[i]);
    return size;
}

static uint8_t *own_properties_encode(uint8_t *dst, const struct mqtt_publish_own *own)
{
    if (own->has_expiry)
        dst = wire_write_four(wire_write_byte(dst, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL), own->expiry);
    for (uint32_t i = 0; i < own->identifiers; i++)
        dst = mqtt_subscription_identifier_append(dst, own->identifier[i]);
    if (own->topic_alias != 0)
        dst = wire_write_two(wire_write_byte(dst, MQTT_PROPERTY_TOPIC_ALIAS), own->topic_alias);
    return dst;
}

/* Bytes between the fixed header and the tail. */
static uint64_t head_body_size(enum mqtt_version version, const struct mqtt_publish_shared *shared,
                               const struct mqtt_publish_own *own)
{
    uint64_t size = own->topic_omitted ? 2 : wire_string_size(shared->topic);
    size += own->qos > 0 ? 2 : 0;
    if (version != MQTT_V5)
        return size;
    uint32_t properties = own_properties_size(own);
    return size + mqtt_varint_size(properties + shared->properties_length) + properties;
}

size_t mqtt_publish_head_size(enum mqtt_version version, const struct mqtt_publish_shared *shared,
                              const struct mqtt_publish_own *own)
{
    size_t packet = wire_packet_size(head_body_size(version, shared, own) + shared->tail.length);
    return packet == 0 ? 0 : packet - shared->tail.length;
}

uint8_t *mqtt_publish_head_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_publish_shared *shared,
                                  const struct mqtt_publish_own *own)
{
    uint8_t flags = flags_of(own->qos, own->retain, own->duplicate);
    uint64_t body = head_body_size(version, shared, own) + shared->tail.length;
    dst = wire_write_header(dst, MQTT_PUBLISH, flags, body);
    dst = own->topic_omitted ? wire_write_two(dst, 0) : wire_write_string(dst, shared->topic);
    if (own->qos > 0)
        dst = wire_write_two(dst, own->packet_id);
    if (version != MQTT_V5)
        return dst;
    dst = mqtt_varint_encode(dst, own_properties_size(own) + shared->properties_length);
    return own_properties_encode(dst, own);
}

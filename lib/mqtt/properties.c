/* Properties, section 2.2.2: decoding, checking and encoding, all driven by properties.def. */
#include "lib/mqtt/topic_name.h"
#include "lib/mqtt/wire.h"

enum form { BOOLEAN, TWO, FOUR, VARINT, STRING, BINARY, PAIR };

#define IN(type) (1u << MQTT_##type)

/* By identifier. `packets` is 0 where MQTT 5.0 defines no such property. */
static const struct {
    uint16_t packets; /* bit t: allowed in packets of type t */
    uint16_t offset;  /* of the field in struct mqtt_properties */
    uint8_t form;
} forms[64] = {
#define MQTT_PROPERTY(name, field, identifier, form, packets) \
    [identifier] = {packets, offsetof(struct mqtt_properties, field), form},
#include "lib/mqtt/properties.def"
#undef MQTT_PROPERTY
};

static void *field_of(const struct mqtt_properties *properties, unsigned identifier)
{
    return (uint8_t *)(uintptr_t)properties + forms[identifier].offset;
}

/* Reads past one pair of strings, checked. */
static enum mqtt_error read_pair(struct wire_reader *reader)
{
    struct mqtt_span name, value;
    /* REQ MQTT-5 [MQTT-1.5.7-1]: both strings of a pair are UTF-8 strings [test: properties/malformed] */
    WIRE_TRY(wire_read_string(reader, &name));
    return wire_read_string(reader, &value);
}

static enum mqtt_error read_boolean(struct wire_reader *reader, uint8_t *value)
{
    WIRE_TRY(wire_read_byte(reader, value));
    return *value > 1 ? MQTT_ERROR_PROPERTY_NOT_BOOLEAN : MQTT_OK;
}

/* Reads one value into its field. The repeatable ones keep their first number here, and no field for a pair. */
/* REQ MQTT-5 [MQTT-3.3.2-19]: the content type is read as a UTF-8 string [test: malformed/every_case] */
static enum mqtt_error read_value(struct wire_reader *reader, unsigned identifier, bool repeated,
                                  struct mqtt_properties *properties)
{
    void *field = field_of(properties, identifier);
    uint32_t ignored;
    switch (forms[identifier].form) {
    case BOOLEAN:
        return read_boolean(reader, field);
    case TWO:
        return wire_read_two(reader, field);
    case FOUR:
        return wire_read_four(reader, field);
    case VARINT:
        return wire_read_varint(reader, repeated ? &ignored : field);
    case STRING:
        return wire_read_string(reader, field);
    case BINARY:
        return wire_read_binary(reader, field);
    default:
        return read_pair(reader);
    }
}

/* REQ MQTT-5 [MQTT-3.3.2-14]: a response topic has no wildcard [test: properties/malformed] */
/* REQ MQTT-5 [MQTT-3.3.2-13]: a response topic is UTF-8 [test: properties/malformed] */
static enum mqtt_error response_topic_check(struct mqtt_span topic)
{
    if (topic.length == 0)
        return MQTT_ERROR_RESPONSE_TOPIC_EMPTY;
    return mqtt_topic_has_wildcard(topic) ? MQTT_ERROR_RESPONSE_TOPIC_WILDCARD : MQTT_OK;
}

/* What a value of the right form may still not be. */
/* REQ MQTT-5 [MQTT-3.3.2-8]: a topic alias is not zero [test: properties/malformed] */
static enum mqtt_error value_check(unsigned identifier, const struct mqtt_properties *properties)
{
    switch (identifier) {
    case MQTT_PROPERTY_RECEIVE_MAXIMUM:
        return properties->receive_maximum == 0 ? MQTT_ERROR_RECEIVE_MAXIMUM_ZERO : MQTT_OK;
    case MQTT_PROPERTY_MAXIMUM_PACKET_SIZE:
        return properties->maximum_packet_size == 0 ? MQTT_ERROR_MAXIMUM_PACKET_SIZE_ZERO : MQTT_OK;
    case MQTT_PROPERTY_TOPIC_ALIAS:
        return properties->topic_alias == 0 ? MQTT_ERROR_TOPIC_ALIAS_ZERO : MQTT_OK;
    case MQTT_PROPERTY_RESPONSE_TOPIC:
        return response_topic_check(properties->response_topic);
    default:
        return MQTT_OK;
    }
}

/* Extends a span over the repeated occurrences of a property, what lies between them included. */
static void span_extend(struct mqtt_span *span, bool first, const uint8_t *start, const uint8_t *end)
{
    if (first)
        span->data = start;
    span->length = (uint32_t)(end - span->data);
}

/* Keeps where the repeatable properties are. `start` is the identifier of this occurrence, `end` is behind it. */
static enum mqtt_error repeatable_note(unsigned identifier, bool repeated, const uint8_t *start, const uint8_t *end,
                                       struct mqtt_properties *properties)
{
    if (identifier == MQTT_PROPERTY_USER_PROPERTY)
        span_extend(&properties->user_properties, !repeated, start, end);
    if (identifier == MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER) {
        if (start[1] == 0) /* one byte of zero: other forms of zero are padded, and refused before */
            return MQTT_ERROR_SUBSCRIPTION_IDENTIFIER_ZERO;
        span_extend(&properties->subscription_identifiers, !repeated, start, end);
    }
    return MQTT_OK;
}

static bool may_repeat(enum mqtt_type type, unsigned identifier)
{
    return identifier == MQTT_PROPERTY_USER_PROPERTY ||
           (identifier == MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER && type == MQTT_PUBLISH);
}

/* One property, its identifier at reader->at. */
static enum mqtt_error read_property(enum mqtt_type type, struct wire_reader *reader,
                                     struct mqtt_properties *properties)
{
    const uint8_t *start = reader->at++;
    unsigned identifier = *start; /* a variable byte integer by the book, but all defined ones take one byte */
    if (identifier >= 64 || forms[identifier].packets == 0)
        return MQTT_ERROR_PROPERTY_UNKNOWN;
    if (!(forms[identifier].packets >> type & 1))
        return MQTT_ERROR_PROPERTY_NOT_ALLOWED;
    bool repeated = mqtt_property_is_present(properties, identifier);
    if (repeated && !may_repeat(type, identifier))
        return MQTT_ERROR_PROPERTY_DUPLICATE;
    WIRE_TRY(read_value(reader, identifier, repeated, properties));
    WIRE_TRY(value_check(identifier, properties));
    WIRE_TRY(repeatable_note(identifier, repeated, start, reader->at, properties));
    mqtt_property_set(properties, identifier);
    return MQTT_OK;
}

enum mqtt_error mqtt_properties_decode(enum mqtt_type type, const uint8_t *bytes, uint32_t length,
                                       struct mqtt_properties *properties)
{
    struct wire_reader reader = {bytes, bytes + length};
    properties->present = 0;
    while (reader.at < reader.end)
        WIRE_TRY(read_property(type, &reader, properties));
    if (mqtt_property_is_present(properties, MQTT_PROPERTY_AUTHENTICATION_DATA) &&
        !mqtt_property_is_present(properties, MQTT_PROPERTY_AUTHENTICATION_METHOD))
        return MQTT_ERROR_AUTHENTICATION_DATA_ALONE;
    return MQTT_OK;
}

/* ---- Properties that repeat ---- */

/*
 * Takes one property out of bytes that were checked before, without checking it again. False at the end, and at
 * anything that does not fit, so that bytes of a caller's own making cannot lead beyond their end.
 */
static bool occurrence_next(struct wire_reader *reader, unsigned *identifier, struct mqtt_property_value *value)
{
    if (reader->at == reader->end || *reader->at >= 64)
        return false;
    *identifier = *reader->at++;
    *value = (struct mqtt_property_value){.number = 0};
    uint8_t form = forms[*identifier].form;
    uint32_t fixed = form == BOOLEAN ? 1 : form == TWO ? 2 : form == FOUR ? 4 : 0;
    if (form == VARINT)
        return wire_read_varint(reader, &value->number) == MQTT_OK;
    if (form == PAIR)
        return wire_read_binary(reader, &value->name) == MQTT_OK && wire_read_binary(reader, &value->value) == MQTT_OK;
    if (fixed == 0)
        return wire_read_binary(reader, &value->value) == MQTT_OK;
    if (wire_left(reader) < fixed)
        return false;
    reader->at += fixed;
    return true;
}

bool mqtt_property_next(struct mqtt_span *rest, enum mqtt_property property, struct mqtt_property_value *value)
{
    struct wire_reader reader = {rest->data, rest->data + rest->length};
    unsigned identifier;
    while (occurrence_next(&reader, &identifier, value)) {
        *rest = (struct mqtt_span){reader.at, (uint32_t)wire_left(&reader)};
        if (identifier == property)
            return true;
    }
    rest->length = 0;
    return false;
}

uint8_t *mqtt_user_property_append(uint8_t *dst, struct mqtt_span name, struct mqtt_span value)
{
    dst = wire_write_byte(dst, MQTT_PROPERTY_USER_PROPERTY);
    return wire_write_string(wire_write_string(dst, name), value);
}

uint8_t *mqtt_subscription_identifier_append(uint8_t *dst, uint32_t identifier)
{
    return mqtt_varint_encode(wire_write_byte(dst, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER), identifier);
}

static uint64_t user_properties_size(struct mqtt_span rest)
{
    struct mqtt_property_value value;
    uint64_t size = 0;
    while (mqtt_property_next(&rest, MQTT_PROPERTY_USER_PROPERTY, &value))
        size += 5 + (uint64_t)value.name.length + value.value.length;
    return size;
}

/* REQ MQTT-5 [MQTT-3.3.2-18]: user properties keep their order [test: properties/user_properties] */
static uint8_t *user_properties_encode(uint8_t *dst, struct mqtt_span rest)
{
    struct mqtt_property_value value;
    while (mqtt_property_next(&rest, MQTT_PROPERTY_USER_PROPERTY, &value))
        dst = mqtt_user_property_append(dst, value.name, value.value);
    return dst;
}

static uint64_t subscription_identifiers_size(const struct mqtt_properties *properties)
{
    struct mqtt_span rest = properties->subscription_identifiers;
    struct mqtt_property_value value;
    uint64_t size = 0;
    if (rest.length == 0)
        return 1 + mqtt_varint_size(properties->subscription_identifier);
    while (mqtt_property_next(&rest, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, &value))
        size += 1 + mqtt_varint_size(value.number);
    return size;
}

static uint8_t *subscription_identifiers_encode(uint8_t *dst, const struct mqtt_properties *properties)
{
    struct mqtt_span rest = properties->subscription_identifiers;
    struct mqtt_property_value value;
    if (rest.length == 0)
        return mqtt_subscription_identifier_append(dst, properties->subscription_identifier);
    while (mqtt_property_next(&rest, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, &value))
        dst = mqtt_subscription_identifier_append(dst, value.number);
    return dst;
}

/* ---- Encoding ---- */

static uint64_t property_size(const struct mqtt_properties *properties, unsigned identifier)
{
    switch (forms[identifier].form) {
    case BOOLEAN:
        return 2;
    case TWO:
        return 3;
    case FOUR:
        return 5;
    case VARINT:
        return subscription_identifiers_size(properties);
    case STRING:
    case BINARY:
        return 1 + wire_string_size(*(const struct mqtt_span *)field_of(properties, identifier));
    default:
        return user_properties_size(properties->user_properties);
    }
}

static uint8_t *property_encode(uint8_t *dst, const struct mqtt_properties *properties, unsigned identifier)
{
    const void *field = field_of(properties, identifier);
    uint8_t *value = dst + 1;
    switch (forms[identifier].form) {
    case VARINT:
        return subscription_identifiers_encode(dst, properties);
    case PAIR:
        return user_properties_encode(dst, properties->user_properties);
    default:
        *dst = (uint8_t)identifier;
    }
    switch (forms[identifier].form) {
    case BOOLEAN:
        return wire_write_byte(value, *(const uint8_t *)field);
    case TWO:
        return wire_write_two(value, *(const uint16_t *)field);
    case FOUR:
        return wire_write_four(value, *(const uint32_t *)field);
    default:
        return wire_write_string(value, *(const struct mqtt_span *)field);
    }
}

uint64_t wire_properties_part_size(const struct mqtt_properties *properties, uint64_t part)
{
    uint64_t size = 0;
    for (uint64_t left = properties->present & part; left != 0; left &= left - 1)
        size += property_size(properties, (unsigned)__builtin_ctzll(left));
    return size;
}

uint8_t *wire_properties_part_encode(uint8_t *dst, const struct mqtt_properties *properties, uint64_t part)
{
    for (uint64_t left = properties->present & part; left != 0; left &= left - 1)
        dst = property_encode(dst, properties, (unsigned)__builtin_ctzll(left));
    return dst;
}

uint64_t mqtt_properties_size(const struct mqtt_properties *properties)
{
    return wire_properties_part_size(properties, UINT64_MAX);
}

uint8_t *mqtt_properties_encode(uint8_t *dst, const struct mqtt_properties *properties)
{
    return wire_properties_part_encode(dst, properties, UINT64_MAX);
}

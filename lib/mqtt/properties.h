/*
 * Properties of MQTT 5.0 (section 2.2.2): one struct for all of them, used for decoding and for encoding.
 *
 * A field means something only while its bit is in `present`; an absent field is not set to zero, because clearing the
 * whole struct for every packet would cost more than decoding it. Spans point into the bytes that were decoded.
 *
 * To encode: `struct mqtt_properties properties = {0};`, assign fields, and set their bits with mqtt_property_set().
 * Encoders write the present properties in the order of their identifiers, user properties in their own order. A
 * property that the packet may not carry must not be present.
 *
 * Any thread; nothing is allocated.
 */
#ifndef LIB_MQTT_PROPERTIES_H
#define LIB_MQTT_PROPERTIES_H

#include "lib/mqtt/mqtt.h"

/* Identifiers, which are the bit numbers of `present` too: MQTT_PROPERTY_TOPIC_ALIAS = 0x23. */
enum mqtt_property {
#define MQTT_PROPERTY(name, field, identifier, form, packets) MQTT_PROPERTY_##name = identifier,
#include "lib/mqtt/properties.def"
#undef MQTT_PROPERTY
};

struct mqtt_properties {
    uint64_t present; /* bit n: the property with identifier n is there */

    /* PUBLISH and will */
    uint32_t message_expiry_interval;  /* seconds */
    uint16_t topic_alias;              /* 1 and up */
    uint8_t payload_format_indicator;  /* 0 bytes, 1 UTF-8 */
    uint32_t will_delay_interval;      /* seconds */
    struct mqtt_span content_type;     /* UTF-8 */
    struct mqtt_span response_topic;   /* a valid topic name */
    struct mqtt_span correlation_data; /* bytes */

    /* SUBSCRIBE has one at most, PUBLISH from a server may have several. */
    uint32_t subscription_identifier; /* the first, 1 to 268,435,455 */
    /* Decoded: all of them, for mqtt_property_next(). To encode: several, or empty to send the one above. */
    struct mqtt_span subscription_identifiers;

    /* Every packet: all of them, for mqtt_property_next(). */
    struct mqtt_span user_properties;

    /* CONNECT, CONNACK, DISCONNECT, AUTH */
    uint32_t session_expiry_interval; /* seconds, UINT32_MAX never */
    uint32_t maximum_packet_size;     /* bytes, fixed header included, 1 and up */
    uint16_t receive_maximum;         /* messages, 1 and up */
    uint16_t topic_alias_maximum;     /* aliases, 0 none */
    uint16_t server_keep_alive;       /* seconds */
    uint8_t request_problem_information;
    uint8_t request_response_information;
    uint8_t maximum_qos;      /* 0 or 1; absent means 2 */
    uint8_t retain_available; /* here and below: 0 or 1 */
    uint8_t wildcard_subscription_available;
    uint8_t subscription_identifiers_available;
    uint8_t shared_subscription_available;
    struct mqtt_span assigned_client_identifier;
    struct mqtt_span authentication_method;
    struct mqtt_span authentication_data; /* bytes */
    struct mqtt_span response_information;
    struct mqtt_span server_reference;
    struct mqtt_span reason_string;
};

static inline bool mqtt_property_is_present(const struct mqtt_properties *properties, enum mqtt_property property)
{
    return (properties->present >> property) & 1;
}

static inline void mqtt_property_set(struct mqtt_properties *properties, enum mqtt_property property)
{
    properties->present |= UINT64_C(1) << property;
}

static inline void mqtt_property_clear(struct mqtt_properties *properties, enum mqtt_property property)
{
    properties->present &= ~(UINT64_C(1) << property);
}

/* One occurrence of a property that may repeat: a user property (name and value) or a subscription identifier. */
struct mqtt_property_value {
    struct mqtt_span name;
    struct mqtt_span value;
    uint32_t number;
};

/*
 * Takes the next occurrence of `property` (MQTT_PROPERTY_USER_PROPERTY or MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER) out of
 * `rest`, in the order of the packet. Start with a copy of `user_properties` or `subscription_identifiers`, which were
 * checked when they were decoded; other properties between them are passed over. False at the end.
 */
bool mqtt_property_next(struct mqtt_span *rest, enum mqtt_property property, struct mqtt_property_value *value);

/*
 * For callers that make their own: appends one occurrence in wire form at `dst`, returns the byte after it. What was
 * appended, one after the other, is what `user_properties` and `subscription_identifiers` hold.
 * Sizes: 5 + name + value bytes, and up to 5 bytes. Name and value are UTF-8 of at most MQTT_STRING_MAX bytes.
 */
uint8_t *mqtt_user_property_append(uint8_t *dst, struct mqtt_span name, struct mqtt_span value);
uint8_t *mqtt_subscription_identifier_append(uint8_t *dst, uint32_t identifier);

/*
 * Decodes `length` bytes of properties (without their length field) of a packet of `type`; MQTT_WILL for the will's.
 * Checks: known, allowed in this packet, not repeated, value in range, strings well-formed.
 */
enum mqtt_error mqtt_properties_decode(enum mqtt_type type, const uint8_t *bytes, uint32_t length,
                                       struct mqtt_properties *properties);

/* Bytes that the properties take, without their length field; above MQTT_REMAINING_LENGTH_MAX if a string is too long.
 */
uint64_t mqtt_properties_size(const struct mqtt_properties *properties);

/* Writes the properties without their length field; returns the byte after them. */
uint8_t *mqtt_properties_encode(uint8_t *dst, const struct mqtt_properties *properties);

#endif

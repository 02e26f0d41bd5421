/* SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK, sections 3.8 to 3.11. */
#include "lib/mqtt/packets.h"
#include "lib/mqtt/topic_name.h"
#include "lib/mqtt/wire.h"

enum {
    OPTION_QOS = 0x03,
    OPTION_NO_LOCAL = 0x04,
    OPTION_RETAIN_AS_PUBLISHED = 0x08,
    OPTION_RETAIN_HANDLING = 0x30,
    OPTION_RESERVED = 0xc0,
};

/* REQ MQTT-5 [MQTT-3.8.3-5]: reserved bits of the options are 0 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.8.3-4]: reserved bits are 0, QoS is 0, 1 or 2 [test: malformed/every_case] */
static enum mqtt_error options_check(enum mqtt_version version, uint8_t options)
{
    uint8_t reserved = version == MQTT_V5 ? OPTION_RESERVED : (uint8_t)~OPTION_QOS;
    if (options & reserved)
        return MQTT_ERROR_SUBSCRIPTION_OPTIONS_RESERVED;
    if ((options & OPTION_QOS) == OPTION_QOS)
        return MQTT_ERROR_SUBSCRIPTION_QOS_3;
    return (options & OPTION_RETAIN_HANDLING) == OPTION_RETAIN_HANDLING ? MQTT_ERROR_RETAIN_HANDLING_3 : MQTT_OK;
}

/*
 * REQ MQTT-5 [MQTT-3.8.3-4]: no local is not set on a shared subscription [test: malformed/every_case]
 *
 * Before 5.0 `$share/` has no meaning in the protocol. The form is not asked for there; a router that offers shared
 * subscriptions to older clients splits the filter itself and answers what does not split with a failure in SUBACK.
 */
static enum mqtt_error share_check(enum mqtt_version version, struct mqtt_span filter, uint8_t options)
{
    struct mqtt_span group, rest;
    if (version != MQTT_V5)
        return MQTT_OK;
    WIRE_TRY(mqtt_topic_share_split(filter, &group, &rest));
    return group.length > 0 && (options & OPTION_NO_LOCAL) ? MQTT_ERROR_NO_LOCAL_ON_SHARED : MQTT_OK;
}

/* REQ MQTT-5 [MQTT-3.8.3-1]: topic filters are UTF-8 [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.10.3-1]: topic filters are UTF-8 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.8.3-1]: topic filters are UTF-8 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.10.3-1]: topic filters are UTF-8 [test: malformed/every_case] */
static enum mqtt_error read_filter(struct wire_reader *reader, struct mqtt_span *filter)
{
    WIRE_TRY(wire_read_binary(reader, filter));
    return mqtt_topic_filter_check(*filter);
}

static enum mqtt_error read_subscription(struct wire_reader *reader, enum mqtt_version version)
{
    struct mqtt_span filter;
    uint8_t options;
    WIRE_TRY(read_filter(reader, &filter));
    WIRE_TRY(wire_read_byte(reader, &options));
    WIRE_TRY(options_check(version, options));
    return share_check(version, filter, options);
}

/* What SUBSCRIBE and UNSUBSCRIBE have alike: everything before the payload. */
static enum mqtt_error read_front(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                  struct wire_reader *reader, struct mqtt_subscribe *subscribe)
{
    WIRE_TRY(wire_open(version, header, body, reader));
    WIRE_TRY(wire_read_packet_id(reader, &subscribe->packet_id));
    WIRE_TRY(wire_read_properties(reader, version, header->type, &subscribe->properties));
    subscribe->filters = (struct mqtt_span){reader->at, (uint32_t)wire_left(reader)};
    subscribe->filter_count = 0;
    return MQTT_OK;
}

/* REQ MQTT-5 [MQTT-3.8.3-2]: there is at least one topic filter [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.8.3-3]: there is at least one topic filter [test: malformed/every_case] */
enum mqtt_error mqtt_subscribe_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                      struct mqtt_subscribe *subscribe)
{
    struct wire_reader reader;
    WIRE_TRY(read_front(version, header, body, &reader, subscribe));
    if (wire_left(&reader) == 0)
        return MQTT_ERROR_SUBSCRIBE_EMPTY;
    for (; wire_left(&reader) > 0; subscribe->filter_count++)
        WIRE_TRY(read_subscription(&reader, version));
    return MQTT_OK;
}

/* REQ MQTT-5 [MQTT-3.10.3-2]: there is at least one topic filter [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.10.3-2]: there is at least one topic filter [test: malformed/every_case] */
enum mqtt_error mqtt_unsubscribe_decode(enum mqtt_version version, const struct mqtt_header *header,
                                        const uint8_t *body, struct mqtt_subscribe *unsubscribe)
{
    struct wire_reader reader;
    struct mqtt_span filter;
    WIRE_TRY(read_front(version, header, body, &reader, unsubscribe));
    if (wire_left(&reader) == 0)
        return MQTT_ERROR_UNSUBSCRIBE_EMPTY;
    for (; wire_left(&reader) > 0; unsubscribe->filter_count++) {
        WIRE_TRY(read_filter(&reader, &filter));
        WIRE_TRY(share_check(version, filter, 0));
    }
    return MQTT_OK;
}

bool mqtt_filter_next(struct mqtt_span *rest, struct mqtt_span *filter)
{
    struct wire_reader reader = {rest->data, rest->data + rest->length};
    if (wire_read_binary(&reader, filter) != MQTT_OK)
        return false;
    *rest = (struct mqtt_span){reader.at, (uint32_t)wire_left(&reader)};
    return true;
}

bool mqtt_subscription_next(struct mqtt_span *rest, struct mqtt_subscription *subscription)
{
    if (!mqtt_filter_next(rest, &subscription->filter) || rest->length == 0)
        return false;
    uint8_t options = *rest->data;
    *rest = (struct mqtt_span){rest->data + 1, rest->length - 1};
    subscription->qos = options & OPTION_QOS;
    subscription->no_local = options & OPTION_NO_LOCAL;
    subscription->retain_as_published = options & OPTION_RETAIN_AS_PUBLISHED;
    subscription->retain_handling = (options & OPTION_RETAIN_HANDLING) >> 4;
    return true;
}

uint8_t *mqtt_filter_append(uint8_t *dst, struct mqtt_span filter)
{
    return wire_write_string(dst, filter);
}

uint8_t *mqtt_subscription_append(uint8_t *dst, const struct mqtt_subscription *subscription)
{
    uint8_t options = (uint8_t)(subscription->qos | subscription->retain_handling << 4);
    options |= subscription->no_local ? OPTION_NO_LOCAL : 0;
    options |= subscription->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0;
    return wire_write_byte(wire_write_string(dst, subscription->filter), options);
}

static uint64_t subscribe_body_size(enum mqtt_version version, const struct mqtt_subscribe *subscribe)
{
    return 2 + wire_properties_size(version, mqtt_properties_size(&subscribe->properties)) + subscribe->filters.length;
}

static uint8_t *subscribe_encode(uint8_t *dst, enum mqtt_version version, enum mqtt_type type,
                                 const struct mqtt_subscribe *subscribe)
{
    dst = wire_write_header(dst, type, 2, subscribe_body_size(version, subscribe));
    dst = wire_write_two(dst, subscribe->packet_id);
    dst = wire_write_properties(dst, version, &subscribe->properties);
    return wire_write_bytes(dst, subscribe->filters);
}

size_t mqtt_subscribe_size(enum mqtt_version version, const struct mqtt_subscribe *subscribe)
{
    return wire_packet_size(subscribe_body_size(version, subscribe));
}

uint8_t *mqtt_subscribe_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_subscribe *subscribe)
{
    return subscribe_encode(dst, version, MQTT_SUBSCRIBE, subscribe);
}

size_t mqtt_unsubscribe_size(enum mqtt_version version, const struct mqtt_subscribe *unsubscribe)
{
    return wire_packet_size(subscribe_body_size(version, unsubscribe));
}

uint8_t *mqtt_unsubscribe_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_subscribe *unsubscribe)
{
    return subscribe_encode(dst, version, MQTT_UNSUBSCRIBE, unsubscribe);
}

/* ---- SUBACK and UNSUBACK ---- */

/* REQ MQTT-5 [MQTT-3.9.3-2]: reason codes are SUBACK's [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.11.3-2]: reason codes are UNSUBACK's [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.9.3-2]: return codes are 0, 1, 2 and 0x80 [test: malformed/every_case] */
static bool suback_reason_is_allowed(enum mqtt_version version, uint8_t type, uint8_t reason)
{
    if (version != MQTT_V5)
        return reason <= 2 || reason == MQTT_REASON_UNSPECIFIED_ERROR;
    return mqtt_reason_allowed(type, MQTT_FROM_SERVER, reason);
}

static enum mqtt_error read_reasons(enum mqtt_version version, uint8_t type, struct wire_reader *reader,
                                    struct mqtt_span *reasons)
{
    *reasons = (struct mqtt_span){reader->at, (uint32_t)wire_left(reader)};
    if (reasons->length == 0)
        return MQTT_ERROR_ACKNOWLEDGEMENT_EMPTY;
    for (uint32_t at = 0; at < reasons->length; at++)
        if (!suback_reason_is_allowed(version, type, reasons->data[at]))
            return MQTT_ERROR_REASON_NOT_ALLOWED;
    return MQTT_OK;
}

enum mqtt_error mqtt_suback_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                   struct mqtt_suback *suback)
{
    struct wire_reader reader;
    WIRE_TRY(wire_open(version, header, body, &reader));
    WIRE_TRY(wire_read_packet_id(&reader, &suback->packet_id));
    WIRE_TRY(wire_read_properties(&reader, version, header->type, &suback->properties));
    return read_reasons(version, header->type, &reader, &suback->reasons);
}

enum mqtt_error mqtt_unsuback_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                     struct mqtt_suback *unsuback)
{
    if (version == MQTT_V5)
        return mqtt_suback_decode(version, header, body, unsuback);
    struct wire_reader reader;
    WIRE_TRY(wire_open(version, header, body, &reader));
    unsuback->reasons = (struct mqtt_span){NULL, 0};
    unsuback->properties.present = 0;
    WIRE_TRY(wire_read_packet_id(&reader, &unsuback->packet_id));
    return wire_read_end(&reader);
}

static uint64_t suback_body_size(enum mqtt_version version, const struct mqtt_suback *suback)
{
    return 2 + wire_properties_size(version, mqtt_properties_size(&suback->properties)) + suback->reasons.length;
}

size_t mqtt_suback_size(enum mqtt_version version, const struct mqtt_suback *suback)
{
    return wire_packet_size(suback_body_size(version, suback));
}

uint8_t *mqtt_suback_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_suback *suback)
{
    dst = wire_write_header(dst, MQTT_SUBACK, 0, suback_body_size(version, suback));
    dst = wire_write_two(dst, suback->packet_id);
    dst = wire_write_properties(dst, version, &suback->properties);
    return wire_write_bytes(dst, suback->reasons);
}

size_t mqtt_unsuback_size(enum mqtt_version version, const struct mqtt_suback *unsuback)
{
    return version == MQTT_V5 ? mqtt_suback_size(version, unsuback) : MQTT_ACK_SIZE;
}

uint8_t *mqtt_unsuback_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_suback *unsuback)
{
    if (version != MQTT_V5)
        return mqtt_ack_encode_success(dst, MQTT_UNSUBACK, unsuback->packet_id);
    uint8_t *end = mqtt_suback_encode(dst, version, unsuback);
    *dst = MQTT_UNSUBACK << 4;
    return end;
}

/* CONNECT and CONNACK, sections 3.1 and 3.2. */
#include "lib/mqtt/packets.h"
#include "lib/mqtt/topic_name.h"
#include "lib/mqtt/wire.h"

enum {
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_QOS = 0x18,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER_NAME = 0x80,
};

static bool span_is(struct mqtt_span span, struct mqtt_span other)
{
    return span.length == other.length && memcmp(span.data, other.data, span.length) == 0;
}

/* REQ MQTT-5 [MQTT-3.1.2-1]: the protocol name is MQTT [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.1.2-2]: another protocol version gets 0x84 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-1]: the protocol name is MQTT [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-2]: another protocol level gets return code 1 [test: malformed/every_case] */
static enum mqtt_error read_protocol(struct wire_reader *reader, struct mqtt_connect *connect)
{
    struct mqtt_span name;
    uint8_t level;
    connect->version = 0;
    WIRE_TRY(wire_read_binary(reader, &name));
    bool is_mqtt = span_is(name, MQTT_SPAN("MQTT"));
    if (!is_mqtt && !span_is(name, MQTT_SPAN("MQIsdp")))
        return MQTT_ERROR_PROTOCOL_NAME;
    WIRE_TRY(wire_read_byte(reader, &level));
    /* Bridges of some brokers set bit 7 of the level; refused like any unknown level, they come back without it. */
    connect->version = level >= MQTT_V5 && level < 0x80 ? MQTT_V5 : MQTT_V311;
    if (is_mqtt ? level != MQTT_V311 && level != MQTT_V5 : level != MQTT_V31)
        return MQTT_ERROR_PROTOCOL_VERSION;
    connect->version = level;
    return MQTT_OK;
}

/* REQ MQTT-5 [MQTT-3.1.2-3]: the reserved flag is 0 [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.1.2-11]: no will QoS without a will [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.1.2-12]: will QoS is 0, 1 or 2 [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.1.2-13]: no will retain without a will [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-3]: the reserved flag is 0 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-13]: no will QoS without a will [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-14]: will QoS is 0, 1 or 2 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-15]: no will retain without a will [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-22]: no password without a user name [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-11]: no will QoS, no will retain without a will [test: malformed/every_case] */
static enum mqtt_error flags_check(uint8_t version, uint8_t flags)
{
    if (flags & FLAG_RESERVED)
        return MQTT_ERROR_CONNECT_FLAG_RESERVED;
    if ((flags & FLAG_WILL_QOS) == FLAG_WILL_QOS)
        return MQTT_ERROR_WILL_QOS_3;
    if (!(flags & FLAG_WILL) && (flags & FLAG_WILL_QOS))
        return MQTT_ERROR_WILL_QOS_WITHOUT_WILL;
    if (!(flags & FLAG_WILL) && (flags & FLAG_WILL_RETAIN))
        return MQTT_ERROR_WILL_RETAIN_WITHOUT_WILL;
    if (version != MQTT_V5 && (flags & (FLAG_PASSWORD | FLAG_USER_NAME)) == FLAG_PASSWORD)
        return MQTT_ERROR_PASSWORD_WITHOUT_USER_NAME;
    return MQTT_OK;
}

static enum mqtt_error read_flags(struct wire_reader *reader, struct mqtt_connect *connect)
{
    uint8_t flags;
    WIRE_TRY(wire_read_byte(reader, &flags));
    WIRE_TRY(flags_check(connect->version, flags));
    connect->clean_start = flags & FLAG_CLEAN_START;
    connect->has_will = flags & FLAG_WILL;
    connect->will_qos = (flags & FLAG_WILL_QOS) >> 3;
    connect->will_retain = flags & FLAG_WILL_RETAIN;
    connect->has_password = flags & FLAG_PASSWORD;
    connect->has_user_name = flags & FLAG_USER_NAME;
    return MQTT_OK;
}

/*
 * REQ MQTT-3.1.1 [MQTT-3.1.3-8]: an empty client id without clean session is refused [test: malformed/every_case]
 *
 * MQTT 3.1 wants at least one character whatever the flag says. It also wants at most 23, which no server holds to,
 * because clients never did.
 */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-7]: a client that does not is refused [test: wire/empty_client_id] */
static enum mqtt_error client_id_check(const struct mqtt_connect *connect)
{
    if (connect->client_id.length > 0 || connect->version == MQTT_V5)
        return MQTT_OK;
    return connect->version == MQTT_V31 || !connect->clean_start ? MQTT_ERROR_CLIENT_IDENTIFIER_EMPTY : MQTT_OK;
}

/* REQ MQTT-5 [MQTT-3.1.3-11]: the will topic is UTF-8 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-10]: the will topic is UTF-8 [test: malformed/every_case] */
static enum mqtt_error will_topic_check(struct mqtt_span topic)
{
    enum mqtt_error error = mqtt_topic_name_check(topic);
    if (error == MQTT_ERROR_TOPIC_EMPTY)
        return MQTT_ERROR_WILL_TOPIC_EMPTY;
    return error == MQTT_ERROR_TOPIC_WILDCARD ? MQTT_ERROR_WILL_TOPIC_WILDCARD : error;
}

/* REQ MQTT-5 [MQTT-3.1.2-9]: all three are read with the flag [test: packets/connect] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-9]: topic and message are read with the flag [test: packets/connect] */
static enum mqtt_error read_will(struct wire_reader *reader, struct mqtt_connect *connect)
{
    WIRE_TRY(wire_read_properties(reader, connect->version, MQTT_WILL, &connect->will_properties));
    WIRE_TRY(wire_read_binary(reader, &connect->will_topic));
    WIRE_TRY(will_topic_check(connect->will_topic));
    return wire_read_binary(reader, &connect->will_payload);
}

/* REQ MQTT-5 [MQTT-3.1.3-1]: the fields of the payload come in this order [test: packets/connect] */
/* REQ MQTT-5 [MQTT-3.1.3-3]: the client identifier is there, and first [test: packets/connect] */
/* REQ MQTT-5 [MQTT-3.1.3-4]: the client identifier is UTF-8 [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.1.3-12]: the user name is UTF-8 [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.1.2-17]: with its flag, the user name is there [test: packets/connect] */
/* REQ MQTT-5 [MQTT-3.1.2-19]: with its flag, the password is there [test: packets/connect] */
/* REQ MQTT-5 [MQTT-3.1.2-16], [MQTT-3.1.2-18]: unannounced bytes are too many [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-18], [MQTT-3.1.2-20]: unannounced bytes are too many [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.1.2-19], [MQTT-3.1.2-21]: with its flag each is read [test: packets/connect] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-1], [MQTT-3.1.3-3]: in this order, the client id first [test: packets/connect] */
/* REQ MQTT-3.1.1 [MQTT-3.1.3-4], [MQTT-3.1.3-11]: strings are UTF-8 [test: malformed/every_case] */
static enum mqtt_error read_payload(struct wire_reader *reader, struct mqtt_connect *connect)
{
    WIRE_TRY(wire_read_string(reader, &connect->client_id));
    WIRE_TRY(client_id_check(connect));
    if (connect->has_will)
        WIRE_TRY(read_will(reader, connect));
    if (connect->has_user_name)
        WIRE_TRY(wire_read_string(reader, &connect->user_name));
    if (connect->has_password)
        WIRE_TRY(wire_read_binary(reader, &connect->password));
    return wire_read_end(reader);
}

/* REQ MQTT-5 [MQTT-3.1.4-1]: CONNECT conforms to section 3.1, or the connection is closed [test: malformed/every_case]
 */
enum mqtt_error mqtt_connect_decode(const struct mqtt_header *header, const uint8_t *body, struct mqtt_connect *connect)
{
    struct wire_reader reader;
    /* Fields that are not in the packet read as empty, not as what was there before. */
    connect->will_topic = connect->will_payload = (struct mqtt_span){NULL, 0};
    connect->user_name = connect->password = (struct mqtt_span){NULL, 0};
    connect->version = 0;
    WIRE_TRY(wire_open(MQTT_V311, header, body, &reader));
    WIRE_TRY(read_protocol(&reader, connect));
    if (header->padded && connect->version == MQTT_V5)
        return MQTT_ERROR_REMAINING_LENGTH_PADDED;
    WIRE_TRY(read_flags(&reader, connect));
    WIRE_TRY(wire_read_two(&reader, &connect->keep_alive));
    WIRE_TRY(wire_read_properties(&reader, connect->version, MQTT_CONNECT, &connect->properties));
    return read_payload(&reader, connect);
}

static enum mqtt_error find_client_id(struct wire_reader *reader, struct mqtt_span *client_id)
{
    struct mqtt_connect connect;
    uint32_t length;
    uint8_t first;
    WIRE_TRY(wire_read_byte(reader, &first));
    if (first != MQTT_CONNECT << 4)
        return MQTT_ERROR_PROTOCOL_NAME;
    WIRE_TRY(wire_read_varint(reader, &length));
    WIRE_TRY(read_protocol(reader, &connect));
    WIRE_TRY(read_flags(reader, &connect));
    WIRE_TRY(wire_read_two(reader, &connect.keep_alive));
    if (connect.version == MQTT_V5) {
        WIRE_TRY(wire_read_varint(reader, &length));
        if (length > wire_left(reader))
            return MQTT_ERROR_STRING_TRUNCATED;
        reader->at += length;
    }
    return wire_read_binary(reader, client_id);
}

bool mqtt_connect_find_client_id(const uint8_t *bytes, size_t n, struct mqtt_span *client_id)
{
    struct wire_reader reader = {bytes, bytes + n};
    return find_client_id(&reader, client_id) == MQTT_OK;
}

static struct mqtt_span protocol_name(const struct mqtt_connect *connect)
{
    return connect->version == MQTT_V31 ? MQTT_SPAN("MQIsdp") : MQTT_SPAN("MQTT");
}

static uint64_t connect_body_size(const struct mqtt_connect *connect)
{
    uint64_t size = wire_string_size(protocol_name(connect)) + 4; /* level, flags, keep alive */
    size += wire_properties_size(connect->version, mqtt_properties_size(&connect->properties));
    size += wire_string_size(connect->client_id);
    if (connect->has_will)
        size += wire_properties_size(connect->version, mqtt_properties_size(&connect->will_properties)) +
                wire_string_size(connect->will_topic) + wire_string_size(connect->will_payload);
    size += connect->has_user_name ? wire_string_size(connect->user_name) : 0;
    return size + (connect->has_password ? wire_string_size(connect->password) : 0);
}

size_t mqtt_connect_size(const struct mqtt_connect *connect)
{
    return wire_packet_size(connect_body_size(connect));
}

static uint8_t connect_flags(const struct mqtt_connect *connect)
{
    uint8_t flags = connect->clean_start ? FLAG_CLEAN_START : 0;
    if (connect->has_will)
        flags |= (uint8_t)(FLAG_WILL | connect->will_qos << 3 | (connect->will_retain ? FLAG_WILL_RETAIN : 0));
    flags |= connect->has_user_name ? FLAG_USER_NAME : 0;
    return flags | (connect->has_password ? FLAG_PASSWORD : 0);
}

uint8_t *mqtt_connect_encode(uint8_t *dst, const struct mqtt_connect *connect)
{
    enum mqtt_version version = connect->version;
    dst = wire_write_header(dst, MQTT_CONNECT, 0, connect_body_size(connect));
    dst = wire_write_string(dst, protocol_name(connect));
    dst = wire_write_byte(dst, connect->version);
    dst = wire_write_byte(dst, connect_flags(connect));
    dst = wire_write_two(dst, connect->keep_alive);
    dst = wire_write_properties(dst, version, &connect->properties);
    dst = wire_write_string(dst, connect->client_id);
    if (connect->has_will) {
        dst = wire_write_properties(dst, version, &connect->will_properties);
        dst = wire_write_string(wire_write_string(dst, connect->will_topic), connect->will_payload);
    }
    if (connect->has_user_name)
        dst = wire_write_string(dst, connect->user_name);
    return connect->has_password ? wire_write_string(dst, connect->password) : dst;
}

/* ---- CONNACK ---- */

/* REQ MQTT-5 [MQTT-3.2.2-8]: the reason code is one of CONNACK's [test: malformed/every_case] */
static enum mqtt_error connack_reason_check(enum mqtt_version version, uint8_t reason)
{
    if (version != MQTT_V5)
        return reason > 5 ? MQTT_ERROR_RETURN_CODE_RESERVED : MQTT_OK;
    return mqtt_reason_allowed(MQTT_CONNACK, MQTT_FROM_SERVER, reason) ? MQTT_OK : MQTT_ERROR_REASON_NOT_ALLOWED;
}

/* REQ MQTT-5 [MQTT-3.2.2-1]: bits 7 to 1 of the acknowledge flags are 0 [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.2.2-6]: a refusal has no session present [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.2.2-4]: a refusal has no session present [test: malformed/every_case] */
enum mqtt_error mqtt_connack_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                    struct mqtt_connack *connack)
{
    struct wire_reader reader;
    uint8_t flags;
    WIRE_TRY(wire_open(version, header, body, &reader));
    WIRE_TRY(wire_read_byte(&reader, &flags));
    if (flags > 1)
        return MQTT_ERROR_CONNACK_FLAG_RESERVED;
    connack->session_present = flags;
    WIRE_TRY(wire_read_byte(&reader, &connack->reason));
    WIRE_TRY(connack_reason_check(version, connack->reason));
    if (connack->session_present && connack->reason != 0)
        return MQTT_ERROR_SESSION_PRESENT_IN_REFUSAL;
    WIRE_TRY(wire_read_properties(&reader, version, MQTT_CONNACK, &connack->properties));
    return wire_read_end(&reader);
}

static uint64_t connack_body_size(enum mqtt_version version, const struct mqtt_connack *connack)
{
    return 2 + wire_properties_size(version, mqtt_properties_size(&connack->properties));
}

size_t mqtt_connack_size(enum mqtt_version version, const struct mqtt_connack *connack)
{
    return wire_packet_size(connack_body_size(version, connack));
}

uint8_t *mqtt_connack_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_connack *connack)
{
    dst = wire_write_header(dst, MQTT_CONNACK, 0, connack_body_size(version, connack));
    dst = wire_write_byte(dst, version != MQTT_V31 && connack->session_present); /* reserved in MQTT 3.1 */
    dst = wire_write_byte(dst, connack->reason);
    return wire_write_properties(dst, version, &connack->properties);
}

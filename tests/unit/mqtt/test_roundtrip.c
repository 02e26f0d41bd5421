/* Random valid packets: what is encoded decodes to the same, the split form of PUBLISH is the whole one. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/mqtt/any_packet.h"
#include "tests/unit/mqtt/notation.h"

/* xorshift64: the same packets in every run, another seed is another set. */
static uint64_t state;

static uint32_t below(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) * bound >> 32);
}

/* Memory for the strings of one packet. */
static uint8_t arena[1 << 20];
static size_t used;

static struct mqtt_span random_text(uint32_t shortest, uint32_t longest)
{
    static const char *const characters[] = {
        "a", "Z", "0", " ", "/", "-", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\xa1"};
    uint8_t *start = arena + used;
    uint32_t n = shortest + below(longest - shortest + 1);
    while (used + 4 < sizeof(arena) && (uint32_t)(arena + used - start) < n) {
        const char *character = characters[below(below(4) ? 6 : 9)];
        memcpy(arena + used, character, strlen(character));
        used += strlen(character);
    }
    return (struct mqtt_span){start, (uint32_t)(arena + used - start)};
}

static struct mqtt_span random_bytes(uint32_t longest)
{
    uint8_t *start = arena + used;
    uint32_t n = below(longest + 1);
    for (uint32_t i = 0; i < n; i++)
        start[i] = (uint8_t)below(256);
    used += n;
    return (struct mqtt_span){start, n};
}

static uint16_t random_id(void)
{
    return (uint16_t)(1 + below(65535));
}

static struct mqtt_span random_user_properties(void)
{
    struct mqtt_span names[3], values[3];
    uint32_t count = 1 + below(3);
    for (uint32_t i = 0; i < count; i++) {
        names[i] = random_text(0, 10);
        values[i] = random_text(0, 30);
    }
    uint8_t *start = arena + used, *end = start;
    for (uint32_t i = 0; i < count; i++)
        end = mqtt_user_property_append(end, names[i], values[i]);
    used += (size_t)(end - start);
    return (struct mqtt_span){start, (uint32_t)(end - start)};
}

/* Fills in all fields, then keeps some of those that the packet may have. */
static void random_properties(struct mqtt_properties *properties, enum mqtt_type type)
{
    memset(properties, 0, sizeof(*properties));
    properties->message_expiry_interval = below(UINT32_MAX);
    properties->topic_alias = random_id();
    properties->payload_format_indicator = (uint8_t)below(2);
    properties->will_delay_interval = below(UINT32_MAX);
    properties->content_type = random_text(0, 20);
    properties->response_topic = random_text(1, 20);
    properties->correlation_data = random_bytes(20);
    properties->subscription_identifier = 1 + below(MQTT_REMAINING_LENGTH_MAX);
    properties->user_properties = random_user_properties();
    properties->session_expiry_interval = below(UINT32_MAX);
    properties->maximum_packet_size = 1 + below(UINT32_MAX);
    properties->receive_maximum = random_id();
    properties->topic_alias_maximum = (uint16_t)below(65536);
    properties->server_keep_alive = (uint16_t)below(65536);
    properties->maximum_qos = (uint8_t)below(2);
    properties->assigned_client_identifier = random_text(0, 20);
    properties->authentication_method = random_text(0, 20);
    properties->authentication_data = random_bytes(20);
    properties->response_information = random_text(0, 20);
    properties->server_reference = random_text(0, 20);
    properties->reason_string = random_text(0, 20);

#define IN(name) (1u << MQTT_##name)
#define MQTT_PROPERTY(name, field, identifier, form, packets) \
    if (((packets) >> type & 1) && below(2))                  \
        mqtt_property_set(properties, identifier);
#include "lib/mqtt/properties.def"
#undef MQTT_PROPERTY
#undef IN
    if (type == MQTT_AUTH || mqtt_property_is_present(properties, MQTT_PROPERTY_AUTHENTICATION_DATA))
        mqtt_property_set(properties, MQTT_PROPERTY_AUTHENTICATION_METHOD);
}

static uint8_t random_reason(enum mqtt_type type, enum mqtt_sender sender)
{
    uint8_t reason;
    do
        reason = (uint8_t)below(256);
    while (!mqtt_reason_allowed(type, sender, reason));
    return reason;
}

static void random_connect(struct mqtt_connect *connect, enum mqtt_version version)
{
    memset(connect, 0, sizeof(*connect));
    connect->version = (uint8_t)version;
    connect->clean_start = below(2);
    connect->keep_alive = (uint16_t)below(65536);
    connect->client_id = random_text(1, 40);
    connect->has_will = below(2);
    if (connect->has_will) {
        connect->will_qos = (uint8_t)below(3);
        connect->will_retain = below(2);
        connect->will_topic = random_text(1, 40);
        connect->will_payload = random_bytes(100);
        random_properties(&connect->will_properties, MQTT_WILL);
    }
    connect->has_user_name = below(2);
    connect->user_name = connect->has_user_name ? random_text(0, 20) : (struct mqtt_span){0};
    connect->has_password = (connect->has_user_name || version == MQTT_V5) && below(2);
    connect->password = connect->has_password ? random_bytes(20) : (struct mqtt_span){0};
    random_properties(&connect->properties, MQTT_CONNECT);
}

static void random_publish(struct mqtt_publish *publish, enum mqtt_sender sender)
{
    memset(publish, 0, sizeof(*publish));
    publish->qos = (uint8_t)below(3);
    publish->retain = below(2);
    publish->duplicate = publish->qos > 0 && below(2);
    publish->packet_id = publish->qos > 0 ? random_id() : 0;
    publish->topic = random_text(1, 60);
    publish->payload = random_bytes(below(10) ? 300 : 20000);
    random_properties(&publish->properties, MQTT_PUBLISH);
    if (sender == MQTT_FROM_CLIENT)
        mqtt_property_clear(&publish->properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER);
}

static struct mqtt_span random_filters(enum mqtt_version version, bool with_options)
{
    struct mqtt_subscription subscriptions[5];
    uint32_t count = 1 + below(5);
    for (uint32_t i = 0; i < count; i++)
        subscriptions[i] = (struct mqtt_subscription){.filter = random_text(1, 40),
                                                      .qos = (uint8_t)below(3),
                                                      .no_local = version == MQTT_V5 && below(2),
                                                      .retain_as_published = version == MQTT_V5 && below(2),
                                                      .retain_handling = version == MQTT_V5 ? (uint8_t)below(3) : 0};
    uint8_t *start = arena + used, *end = start;
    for (uint32_t i = 0; i < count; i++)
        end = with_options ? mqtt_subscription_append(end, &subscriptions[i])
                           : mqtt_filter_append(end, subscriptions[i].filter);
    used += (size_t)(end - start);
    return (struct mqtt_span){start, (uint32_t)(end - start)};
}

static struct mqtt_span random_reasons(enum mqtt_version version, enum mqtt_type type)
{
    uint8_t *start = arena + used;
    uint32_t n = 1 + below(6);
    for (uint32_t i = 0; i < n; i++)
        start[i] = version == MQTT_V5 ? random_reason(type, MQTT_FROM_SERVER) : (uint8_t)below(3);
    used += n;
    return (struct mqtt_span){start, n};
}

static void random_packet(struct any_packet *packet, enum mqtt_sender sender)
{
    memset(packet, 0, sizeof(*packet));
    used = 0;
    packet->version = MQTT_V31 + below(3);
    packet->type = 1 + below(packet->version == MQTT_V5 ? 15 : 14);
    switch (packet->type) {
    case MQTT_CONNECT:
        random_connect(&packet->connect, packet->version);
        break;
    case MQTT_CONNACK:
        packet->connack.reason =
            packet->version == MQTT_V5 ? random_reason(MQTT_CONNACK, MQTT_FROM_SERVER) : (uint8_t)below(6);
        packet->connack.session_present = packet->connack.reason == 0 && below(2);
        random_properties(&packet->connack.properties, MQTT_CONNACK);
        break;
    case MQTT_PUBLISH:
        random_publish(&packet->publish, sender);
        break;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        packet->subscribe.packet_id = random_id();
        packet->subscribe.filters = random_filters(packet->version, packet->type == MQTT_SUBSCRIBE);
        random_properties(&packet->subscribe.properties, packet->type);
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        packet->suback.packet_id = random_id();
        packet->suback.reasons = random_reasons(packet->version, packet->type);
        random_properties(&packet->suback.properties, packet->type);
        break;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        packet->disconnect.reason = random_reason(packet->type, sender);
        random_properties(&packet->disconnect.properties, packet->type);
        if (sender == MQTT_FROM_SERVER)
            mqtt_property_clear(&packet->disconnect.properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL);
        break;
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    default:
        packet->ack.packet_id = random_id();
        packet->ack.reason = random_reason(packet->type, sender);
        random_properties(&packet->ack.properties, packet->type);
    }
}

static uint8_t bytes[NOTATION_MAX], again[NOTATION_MAX];

/* The encoder is a function of all fields, so equal bytes from the decoded packet mean equal packets. */
Test(roundtrip, random_packets)
{
    state = 0x9e3779b97f4a7c15;
    for (int i = 0; i < 100000; i++) {
        struct any_packet packet, decoded;
        enum mqtt_sender sender = below(2);
        random_packet(&packet, sender);
        size_t length, n = any_packet_size(&packet);
        cr_assert_eq((size_t)(any_packet_encode(bytes, &packet) - bytes), n, "packet %d", i);
        enum mqtt_error error =
            any_packet_decode(packet.version, sender, notation_guarded(bytes, n), n, &length, &decoded);
        cr_assert_eq(error, MQTT_OK, "packet %d, %s: %s", i, mqtt_type_name(packet.type), mqtt_error_text(error));
        cr_assert_eq(length, n);
        cr_assert_eq(any_packet_size(&decoded), n, "packet %d, %s", i, mqtt_type_name(packet.type));
        any_packet_encode(again, &decoded);
        cr_assert_eq(memcmp(bytes, again, n), 0, "packet %d, %s", i, mqtt_type_name(packet.type));
    }
}

/* Fields of the packet as they went in, where encoding twice could hide a field that is lost both times. */
Test(roundtrip, publish_fields)
{
    state = 12345;
    for (int i = 0; i < 10000; i++) {
        struct any_packet packet = {.version = MQTT_V5, .type = MQTT_PUBLISH}, decoded;
        size_t length;
        used = 0;
        random_publish(&packet.publish, MQTT_FROM_SERVER);
        size_t n = (size_t)(any_packet_encode(bytes, &packet) - bytes);
        cr_assert_eq(any_packet_decode(MQTT_V5, MQTT_FROM_SERVER, bytes, n, &length, &decoded), MQTT_OK);
        const struct mqtt_publish *in = &packet.publish, *out = &decoded.publish;
        cr_assert(in->qos == out->qos && in->retain == out->retain && in->duplicate == out->duplicate);
        cr_assert_eq(in->packet_id, out->packet_id);
        cr_assert(in->topic.length == out->topic.length && !memcmp(in->topic.data, out->topic.data, in->topic.length));
        cr_assert(in->payload.length == out->payload.length &&
                  !memcmp(in->payload.data, out->payload.data, in->payload.length));
        cr_assert_eq(in->properties.present, out->properties.present);
        if (mqtt_property_is_present(&in->properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL))
            cr_assert_eq(in->properties.message_expiry_interval, out->properties.message_expiry_interval);
        if (mqtt_property_is_present(&in->properties, MQTT_PROPERTY_TOPIC_ALIAS))
            cr_assert_eq(in->properties.topic_alias, out->properties.topic_alias);
    }
}

/* Head and tail together decode to the message with the subscriber's own properties. */
Test(roundtrip, split_publish)
{
    state = 987654321;
    for (int i = 0; i < 20000; i++) {
        struct mqtt_publish message;
        enum mqtt_version version = MQTT_V311 + below(2);
        used = 0;
        random_publish(&message, MQTT_FROM_CLIENT);

        uint8_t tail[30000];
        struct mqtt_publish_shared shared = {.topic = message.topic};
        shared.properties_length = (uint32_t)mqtt_publish_shared_properties_size(version, &message);
        uint8_t *end = version == MQTT_V5 ? mqtt_publish_shared_properties_encode(tail, &message) : tail;
        cr_assert_eq((uint32_t)(end - tail), shared.properties_length);
        memcpy(end, message.payload.data, message.payload.length);
        shared.tail = (struct mqtt_span){tail, shared.properties_length + message.payload.length};

        const uint32_t identifiers[] = {1 + below(1000), 1 + below(MQTT_REMAINING_LENGTH_MAX)};
        struct mqtt_publish_own own = {.qos = message.qos,
                                       .retain = below(2),
                                       .duplicate = below(2),
                                       .packet_id = random_id(),
                                       .topic_alias = below(2) ? random_id() : 0,
                                       .has_expiry = below(2),
                                       .expiry = below(UINT32_MAX),
                                       .identifiers = below(3),
                                       .identifier = identifiers};
        own.topic_omitted = version == MQTT_V5 && own.topic_alias != 0 && below(2);

        size_t head = mqtt_publish_head_size(version, &shared, &own);
        cr_assert_eq((size_t)(mqtt_publish_head_encode(bytes, version, &shared, &own) - bytes), head);
        memcpy(bytes + head, shared.tail.data, shared.tail.length);

        struct any_packet packet;
        size_t length, n = head + shared.tail.length;
        cr_assert_eq(any_packet_decode(version, MQTT_FROM_SERVER, notation_guarded(bytes, n), n, &length, &packet),
                     MQTT_OK);
        const struct mqtt_publish *out = &packet.publish;
        cr_assert_eq(length, n);
        cr_assert(out->qos == own.qos && out->retain == own.retain && out->duplicate == (own.qos > 0 && own.duplicate));
        cr_assert_eq(out->packet_id, own.qos > 0 ? own.packet_id : 0);
        cr_assert_eq(out->topic.length, own.topic_omitted ? 0 : message.topic.length);
        cr_assert(out->payload.length == message.payload.length &&
                  !memcmp(out->payload.data, message.payload.data, out->payload.length));
        if (version != MQTT_V5)
            continue;
        uint64_t kept = message.properties.present & ~(UINT64_C(1) << MQTT_PROPERTY_TOPIC_ALIAS) &
                        ~(UINT64_C(1) << MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL);
        uint64_t added = (uint64_t)(own.topic_alias != 0) << MQTT_PROPERTY_TOPIC_ALIAS |
                         (uint64_t)own.has_expiry << MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL |
                         (uint64_t)(own.identifiers > 0) << MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER;
        cr_assert_eq(out->properties.present, kept | added);
        cr_assert(!own.has_expiry || out->properties.message_expiry_interval == own.expiry);
        cr_assert(own.topic_alias == 0 || out->properties.topic_alias == own.topic_alias);
    }
}

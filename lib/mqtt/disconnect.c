/* DISCONNECT and AUTH, sections 3.14 and 3.15. */
#include "lib/mqtt/packets.h"
#include "lib/mqtt/wire.h"

/* REQ MQTT-5 [MQTT-3.14.2-1]: the reason code is one of DISCONNECT's [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.15.2-1]: the reason code is one of AUTH's [test: malformed/every_case] */
static enum mqtt_error read_reason(struct wire_reader *reader, uint8_t type, enum mqtt_sender sender, uint8_t *reason)
{
    *reason = MQTT_REASON_SUCCESS;
    if (wire_left(reader) > 0)
        WIRE_TRY(wire_read_byte(reader, reason));
    return mqtt_reason_allowed(type, sender, *reason) ? MQTT_OK : MQTT_ERROR_REASON_NOT_ALLOWED;
}

/* REQ MQTT-5 [MQTT-3.14.2-2]: a server sends no session expiry interval [test: malformed/every_case] */
enum mqtt_error mqtt_disconnect_decode(enum mqtt_version version, enum mqtt_sender sender,
                                       const struct mqtt_header *header, const uint8_t *body,
                                       struct mqtt_disconnect *disconnect)
{
    struct wire_reader reader;
    WIRE_TRY(wire_open(version, header, body, &reader));
    disconnect->reason = MQTT_REASON_NORMAL_DISCONNECTION;
    disconnect->properties.present = 0;
    if (version != MQTT_V5)
        return wire_read_end(&reader);
    WIRE_TRY(read_reason(&reader, MQTT_DISCONNECT, sender, &disconnect->reason));
    if (wire_left(&reader) > 0)
        WIRE_TRY(wire_read_properties(&reader, version, MQTT_DISCONNECT, &disconnect->properties));
    if (sender == MQTT_FROM_SERVER &&
        mqtt_property_is_present(&disconnect->properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL))
        return MQTT_ERROR_SESSION_EXPIRY_FROM_SERVER;
    return wire_read_end(&reader);
}

/* Both packets leave out a reason code of 0x00 that has no properties behind it; DISCONNECT the properties too. */
static uint64_t reason_body_size(const struct mqtt_disconnect *packet, bool length_optional)
{
    if (packet->properties.present == 0 && packet->reason == MQTT_REASON_SUCCESS)
        return 0;
    if (packet->properties.present == 0 && length_optional)
        return 1;
    return 1 + wire_properties_size(MQTT_V5, mqtt_properties_size(&packet->properties));
}

static uint8_t *reason_encode(uint8_t *dst, enum mqtt_type type, uint64_t body, const struct mqtt_disconnect *packet)
{
    dst = wire_write_header(dst, type, 0, body);
    if (body > 0)
        dst = wire_write_byte(dst, packet->reason);
    return body > 1 ? wire_write_properties(dst, MQTT_V5, &packet->properties) : dst;
}

size_t mqtt_disconnect_size(enum mqtt_version version, const struct mqtt_disconnect *disconnect)
{
    return wire_packet_size(version == MQTT_V5 ? reason_body_size(disconnect, true) : 0);
}

uint8_t *mqtt_disconnect_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_disconnect *disconnect)
{
    uint64_t body = version == MQTT_V5 ? reason_body_size(disconnect, true) : 0;
    return reason_encode(dst, MQTT_DISCONNECT, body, disconnect);
}

/*
 * Section 3.15.2.2.2 wants an authentication method always, section 3.15.2.1 allows a server that says success to leave
 * everything out; that short form is accepted.
 */
enum mqtt_error mqtt_auth_decode(enum mqtt_version version, enum mqtt_sender sender, const struct mqtt_header *header,
                                 const uint8_t *body, struct mqtt_disconnect *auth)
{
    struct wire_reader reader;
    if (version != MQTT_V5)
        return MQTT_ERROR_TYPE_RESERVED;
    WIRE_TRY(wire_open(version, header, body, &reader));
    auth->properties.present = 0;
    WIRE_TRY(read_reason(&reader, MQTT_AUTH, sender, &auth->reason));
    if (header->remaining_length == 0)
        return MQTT_OK;
    WIRE_TRY(wire_read_properties(&reader, version, MQTT_AUTH, &auth->properties));
    if (!mqtt_property_is_present(&auth->properties, MQTT_PROPERTY_AUTHENTICATION_METHOD))
        return MQTT_ERROR_AUTHENTICATION_METHOD_MISSING;
    return wire_read_end(&reader);
}

size_t mqtt_auth_size(const struct mqtt_disconnect *auth)
{
    return wire_packet_size(reason_body_size(auth, false));
}

uint8_t *mqtt_auth_encode(uint8_t *dst, const struct mqtt_disconnect *auth)
{
    return reason_encode(dst, MQTT_AUTH, reason_body_size(auth, false), auth);
}

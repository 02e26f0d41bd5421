/* PUBACK, PUBREC, PUBREL, PUBCOMP (sections 3.4 to 3.7), PINGREQ and PINGRESP (3.12, 3.13). */
#include "lib/mqtt/packets.h"
#include "lib/mqtt/wire.h"

/* REQ MQTT-5 [MQTT-3.4.2-1]: the reason code is one of PUBACK's [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.5.2-1]: the reason code is one of PUBREC's [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.6.2-1]: the reason code is one of PUBREL's [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.7.2-1]: the reason code is one of PUBCOMP's [test: malformed/every_case] */
enum mqtt_error mqtt_ack_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                struct mqtt_ack *ack)
{
    struct wire_reader reader;
    WIRE_TRY(wire_open(version, header, body, &reader));
    WIRE_TRY(wire_read_packet_id(&reader, &ack->packet_id));
    ack->reason = MQTT_REASON_SUCCESS;
    ack->properties.present = 0;
    if (version == MQTT_V5 && wire_left(&reader) > 0) {
        WIRE_TRY(wire_read_byte(&reader, &ack->reason));
        /* Both ends may send the same codes in these four. */
        if (!mqtt_reason_allowed(header->type, MQTT_FROM_SERVER, ack->reason))
            return MQTT_ERROR_REASON_NOT_ALLOWED;
        if (wire_left(&reader) > 0)
            WIRE_TRY(wire_read_properties(&reader, version, header->type, &ack->properties));
    }
    return wire_read_end(&reader);
}

/* Success without properties takes the identifier alone, another code without properties leaves their length out. */
static uint64_t ack_body_size(enum mqtt_version version, const struct mqtt_ack *ack)
{
    if (version != MQTT_V5)
        return 2;
    if (ack->properties.present == 0)
        return ack->reason == MQTT_REASON_SUCCESS ? 2 : 3;
    return 3 + wire_properties_size(version, mqtt_properties_size(&ack->properties));
}

size_t mqtt_ack_size(enum mqtt_version version, const struct mqtt_ack *ack)
{
    return wire_packet_size(ack_body_size(version, ack));
}

uint8_t *mqtt_ack_encode(uint8_t *dst, enum mqtt_version version, enum mqtt_type type, const struct mqtt_ack *ack)
{
    uint64_t body = ack_body_size(version, ack);
    dst = wire_write_header(dst, type, type == MQTT_PUBREL ? 2 : 0, body);
    dst = wire_write_two(dst, ack->packet_id);
    if (body > 2)
        dst = wire_write_byte(dst, ack->reason);
    return body > 3 ? wire_write_properties(dst, version, &ack->properties) : dst;
}

enum mqtt_error mqtt_ping_decode(enum mqtt_version version, const struct mqtt_header *header)
{
    if (header->padded && version == MQTT_V5)
        return MQTT_ERROR_REMAINING_LENGTH_PADDED;
    return header->remaining_length == 0 ? MQTT_OK : MQTT_ERROR_TRAILING_BYTES;
}

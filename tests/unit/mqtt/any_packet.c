/* The codec's functions behind one interface, chosen by the type of the packet. */
#include "tests/unit/mqtt/any_packet.h"

static enum mqtt_error body_decode(enum mqtt_version version, enum mqtt_sender sender, const struct mqtt_header *header,
                                   const uint8_t *body, struct any_packet *packet)
{
    switch (packet->type) {
    case MQTT_CONNECT:
        return mqtt_connect_decode(header, body, &packet->connect);
    case MQTT_CONNACK:
        return mqtt_connack_decode(version, header, body, &packet->connack);
    case MQTT_PUBLISH:
        return mqtt_publish_decode(version, sender, header, body, &packet->publish);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return mqtt_ack_decode(version, header, body, &packet->ack);
    case MQTT_SUBSCRIBE:
        return mqtt_subscribe_decode(version, header, body, &packet->subscribe);
    case MQTT_SUBACK:
        return mqtt_suback_decode(version, header, body, &packet->suback);
    case MQTT_UNSUBSCRIBE:
        return mqtt_unsubscribe_decode(version, header, body, &packet->subscribe);
    case MQTT_UNSUBACK:
        return mqtt_unsuback_decode(version, header, body, &packet->suback);
    case MQTT_DISCONNECT:
        return mqtt_disconnect_decode(version, sender, header, body, &packet->disconnect);
    case MQTT_AUTH:
        return mqtt_auth_decode(version, sender, header, body, &packet->disconnect);
    default:
        return mqtt_ping_decode(version, header);
    }
}

enum mqtt_error any_packet_decode(enum mqtt_version version, enum mqtt_sender sender, const uint8_t *bytes, size_t n,
                                  size_t *length, struct any_packet *packet)
{
    struct mqtt_header header;
    enum mqtt_error error = mqtt_header_decode(bytes, n, UINT32_MAX, &header);
    if (error != MQTT_OK)
        return error;
    *length = (size_t)header.length + header.remaining_length;
    if (n < *length)
        return MQTT_INCOMPLETE;
    packet->version = version;
    packet->type = header.type;
    error = body_decode(version, sender, &header, bytes + header.length, packet);
    if (packet->type == MQTT_CONNECT)
        packet->version = packet->connect.version;
    return error;
}

size_t any_packet_size(const struct any_packet *packet)
{
    switch (packet->type) {
    case MQTT_CONNECT:
        return mqtt_connect_size(&packet->connect);
    case MQTT_CONNACK:
        return mqtt_connack_size(packet->version, &packet->connack);
    case MQTT_PUBLISH:
        return mqtt_publish_size(packet->version, &packet->publish);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return mqtt_ack_size(packet->version, &packet->ack);
    case MQTT_SUBSCRIBE:
        return mqtt_subscribe_size(packet->version, &packet->subscribe);
    case MQTT_SUBACK:
        return mqtt_suback_size(packet->version, &packet->suback);
    case MQTT_UNSUBSCRIBE:
        return mqtt_unsubscribe_size(packet->version, &packet->subscribe);
    case MQTT_UNSUBACK:
        return mqtt_unsuback_size(packet->version, &packet->suback);
    case MQTT_DISCONNECT:
        return mqtt_disconnect_size(packet->version, &packet->disconnect);
    case MQTT_AUTH:
        return mqtt_auth_size(&packet->disconnect);
    default:
        return MQTT_PING_SIZE;
    }
}

uint8_t *any_packet_encode(uint8_t *dst, const struct any_packet *packet)
{
    switch (packet->type) {
    case MQTT_CONNECT:
        return mqtt_connect_encode(dst, &packet->connect);
    case MQTT_CONNACK:
        return mqtt_connack_encode(dst, packet->version, &packet->connack);
    case MQTT_PUBLISH:
        return mqtt_publish_encode(dst, packet->version, &packet->publish);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return mqtt_ack_encode(dst, packet->version, packet->type, &packet->ack);
    case MQTT_SUBSCRIBE:
        return mqtt_subscribe_encode(dst, packet->version, &packet->subscribe);
    case MQTT_SUBACK:
        return mqtt_suback_encode(dst, packet->version, &packet->suback);
    case MQTT_UNSUBSCRIBE:
        return mqtt_unsubscribe_encode(dst, packet->version, &packet->subscribe);
    case MQTT_UNSUBACK:
        return mqtt_unsuback_encode(dst, packet->version, &packet->suback);
    case MQTT_DISCONNECT:
        return mqtt_disconnect_encode(dst, packet->version, &packet->disconnect);
    case MQTT_AUTH:
        return mqtt_auth_encode(dst, &packet->disconnect);
    default:
        return mqtt_ping_encode(dst, packet->type);
    }
}

/* The fixed header, section 2.1: everything that the inline path of mqtt_header_decode() leaves. */
#include "lib/mqtt/mqtt.h"

/* REQ MQTT-5 [MQTT-3.3.1-4]: a PUBLISH does not have both QoS bits set [test: malformed/every_case] */
/* REQ MQTT-5 [MQTT-3.3.1-2]: DUP is not set at QoS 0 [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-4]: a PUBLISH does not have both QoS bits set [test: malformed/every_case] */
/* REQ MQTT-3.1.1 [MQTT-3.3.1-2]: DUP is not set at QoS 0 [test: malformed/every_case] */
static enum mqtt_error publish_flags_check(uint8_t flags)
{
    if ((flags & 0x06) == 0x06)
        return MQTT_ERROR_PUBLISH_QOS_3;
    return (flags & 0x0e) == 0x08 ? MQTT_ERROR_PUBLISH_DUP_AT_QOS_0 : MQTT_OK;
}

/* REQ MQTT-5 [MQTT-2.1.3-1]: reserved flags have the value listed [test: header/reserved_flags] */
/* REQ MQTT-5 [MQTT-3.6.1-1]: the flags of PUBREL are 0010 [test: header/reserved_flags] */
/* REQ MQTT-5 [MQTT-3.8.1-1]: the flags of SUBSCRIBE are 0010 [test: header/reserved_flags] */
/* REQ MQTT-5 [MQTT-3.10.1-1]: the flags of UNSUBSCRIBE are 0010 [test: header/reserved_flags] */
/* REQ MQTT-5 [MQTT-3.14.1-1]: the flags of DISCONNECT are 0000 [test: header/reserved_flags] */
/* REQ MQTT-5 [MQTT-3.15.1-1]: the flags of AUTH are 0000 [test: header/reserved_flags] */
/* REQ MQTT-3.1.1 [MQTT-2.2.2-1]: reserved flags have the value listed [test: header/reserved_flags] */
/* REQ MQTT-3.1.1 [MQTT-2.2.2-2]: invalid flags close the connection [test: header/reserved_flags] */
/* REQ MQTT-3.1.1 [MQTT-3.6.1-1]: the flags of PUBREL are 0010 [test: header/reserved_flags] */
/* REQ MQTT-3.1.1 [MQTT-3.8.1-1]: the flags of SUBSCRIBE are 0010 [test: header/reserved_flags] */
/* REQ MQTT-3.1.1 [MQTT-3.10.1-1]: the flags of UNSUBSCRIBE are 0010 [test: header/reserved_flags] */
/* REQ MQTT-3.1.1 [MQTT-3.14.1-1]: the flags of DISCONNECT are 0000 [test: header/reserved_flags] */
static enum mqtt_error flags_check(uint8_t type, uint8_t flags)
{
    switch (type) {
    case MQTT_WILL:
        return MQTT_ERROR_TYPE_RESERVED;
    case MQTT_PUBLISH:
        return publish_flags_check(flags);
    case MQTT_PUBREL:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        /* In MQTT 3.1 these are QoS 1 packets that may have DUP. The body decoders know the version and refuse it
         * in the others. */
        return (flags & 0x07) == 0x02 ? MQTT_OK : MQTT_ERROR_FLAGS_RESERVED;
    default:
        return flags == 0 ? MQTT_OK : MQTT_ERROR_FLAGS_RESERVED;
    }
}

/* REQ MQTT-5 [MQTT-3.2.2-15]: a client that exceeds it is closed [test: header/maximum_packet_size] */
enum mqtt_error mqtt_header_decode_long(const uint8_t *bytes, size_t n, uint32_t max_packet_size,
                                        struct mqtt_header *header)
{
    if (n == 0)
        return MQTT_INCOMPLETE;
    enum mqtt_error error = flags_check(bytes[0] >> 4, bytes[0] & 0x0f);
    if (error != MQTT_OK)
        return error;

    uint32_t value = 0;
    for (uint8_t at = 1; at < MQTT_HEADER_MAX; at++) {
        if (at >= n)
            return MQTT_INCOMPLETE;
        value |= (uint32_t)(bytes[at] & 0x7f) << 7 * (at - 1);
        if (bytes[at] < 0x80) {
            *header = (struct mqtt_header){.type = bytes[0] >> 4,
                                           .flags = bytes[0] & 0x0f,
                                           .length = (uint8_t)(at + 1),
                                           .padded = bytes[at] == 0 && at > 1,
                                           .remaining_length = value};
            return value + at + 1u > max_packet_size ? MQTT_ERROR_PACKET_TOO_LARGE : MQTT_OK;
        }
    }
    return MQTT_ERROR_REMAINING_LENGTH_TOO_LONG;
}

/* Names and texts of errors, reason codes and packet types, and the tables that come from the .def files. */
#include "lib/mqtt/mqtt.h"

static const struct {
    const char *name;
    const char *text;
    const char *reference;
    uint8_t reason;
} errors[MQTT_ERROR_COUNT] = {
    [MQTT_OK] = {"OK", "nothing is wrong", "", MQTT_REASON_SUCCESS},
    [MQTT_INCOMPLETE] = {"INCOMPLETE", "more bytes are needed", "", MQTT_REASON_SUCCESS},
#define MQTT_ERROR(name, reason, text, reference) [MQTT_ERROR_##name] = {#name, text, reference, MQTT_REASON_##reason},
#include "lib/mqtt/errors.def"
#undef MQTT_ERROR
};

/* Bit t: a client may send the code in a packet of type t; bit 16 + t: a server may. */
#define CLIENT(type) (UINT32_C(1) << MQTT_##type)
#define SERVER(type) (UINT32_C(1) << (16 + MQTT_##type))
#define IN(type) (CLIENT(type) | SERVER(type))

static const struct {
    const char *text;
    uint32_t packets;
} reasons[256] = {
#define MQTT_REASON(name, value, text, packets) [value] = {text, packets},
#include "lib/mqtt/reasons.def"
#undef MQTT_REASON
};

uint8_t mqtt_error_reason(enum mqtt_error error)
{
    return error < MQTT_ERROR_COUNT ? errors[error].reason : MQTT_REASON_UNSPECIFIED_ERROR;
}

const char *mqtt_error_name(enum mqtt_error error)
{
    return error < MQTT_ERROR_COUNT ? errors[error].name : "UNKNOWN";
}

const char *mqtt_error_text(enum mqtt_error error)
{
    return error < MQTT_ERROR_COUNT ? errors[error].text : "unknown error";
}

const char *mqtt_error_reference(enum mqtt_error error)
{
    return error < MQTT_ERROR_COUNT ? errors[error].reference : "";
}

const char *mqtt_reason_text(uint8_t reason)
{
    return reasons[reason].text != NULL ? reasons[reason].text : "Unknown reason code";
}

bool mqtt_reason_allowed(enum mqtt_type type, enum mqtt_sender sender, uint8_t reason)
{
    return reasons[reason].packets >> (type + (sender == MQTT_FROM_SERVER ? 16 : 0)) & 1;
}

const char *mqtt_type_name(enum mqtt_type type)
{
    static const char *const names[] = {"WILL",    "CONNECT",  "CONNACK",    "PUBLISH", "PUBACK",      "PUBREC",
                                        "PUBREL",  "PUBCOMP",  "SUBSCRIBE",  "SUBACK",  "UNSUBSCRIBE", "UNSUBACK",
                                        "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"};
    return (unsigned)type < sizeof(names) / sizeof(names[0]) ? names[type] : "UNKNOWN";
}

uint8_t mqtt_reason_to_return_code(uint8_t reason)
{
    switch (reason) {
    case MQTT_REASON_SUCCESS:
        return 0;
    case MQTT_REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return 1;
    case MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID:
        return 2;
    case MQTT_REASON_BAD_USER_NAME_OR_PASSWORD:
        return 4;
    case MQTT_REASON_NOT_AUTHORIZED:
    case MQTT_REASON_BANNED:
    case MQTT_REASON_BAD_AUTHENTICATION_METHOD:
        return 5;
    default:
        return 3; /* server unavailable: the one code that says nothing about the client */
    }
}

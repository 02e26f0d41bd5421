/*
 * Every MQTT control packet but PUBLISH (which is in publish.h): structs, decoders, encoders.
 *
 * Each packet has three functions of the same shape:
 *   decode  takes the header that mqtt_header_decode() filled and its `remaining_length` bytes of body; returns MQTT_OK
 *           or what is wrong, with the struct undefined then (but see mqtt_connect_decode).
 *   size    bytes of the whole packet, fixed header included; 0 if it has no encoding (longer than the format allows).
 *   encode  writes exactly `size` bytes and returns the byte after them.
 * Fields that MQTT 3.1 and 3.1.1 do not have (reason codes, properties) come out as 0 there, and are not written.
 *
 * Both ends are here: a router decodes CONNECT and encodes CONNACK, a bridge and the tests do the reverse.
 * Any thread; the caller owns all memory.
 */
#ifndef LIB_MQTT_PACKETS_H
#define LIB_MQTT_PACKETS_H

#include "lib/mqtt/mqtt.h"
#include "lib/mqtt/properties.h"

/* ---- CONNECT, section 3.1 ---- */

struct mqtt_connect {
    uint8_t version;  /* enum mqtt_version */
    bool clean_start; /* "clean session" before 5.0 */
    bool has_will;
    bool has_user_name;
    bool has_password;
    uint8_t will_qos;
    bool will_retain;
    uint16_t keep_alive;        /* seconds, 0 off */
    struct mqtt_span client_id; /* may be empty: the server assigns one */
    struct mqtt_span will_topic;
    struct mqtt_span will_payload;
    struct mqtt_span user_name;
    struct mqtt_span password; /* bytes */
    struct mqtt_properties properties;
    struct mqtt_properties will_properties; /* defined only with `has_will` */
};

/*
 * At an error `version` tells how to answer: the version of the packet where it is known, else MQTT_V311 for a level
 * below 5 and MQTT_V5 for one above; 0 if the packet did not get as far as a protocol name, where nothing is answered.
 */
enum mqtt_error mqtt_connect_decode(const struct mqtt_header *header, const uint8_t *body,
                                    struct mqtt_connect *connect);

/* For onlookers: the client identifier of a CONNECT that the `n` bytes begin with; they need not be all of it. False:
 * they do not begin with one, or it is not among them. */
bool mqtt_connect_find_client_id(const uint8_t *bytes, size_t n, struct mqtt_span *client_id);
size_t mqtt_connect_size(const struct mqtt_connect *connect);
uint8_t *mqtt_connect_encode(uint8_t *dst, const struct mqtt_connect *connect);

/* ---- CONNACK, section 3.2 ---- */

struct mqtt_connack {
    bool session_present;
    uint8_t reason; /* enum mqtt_reason in 5.0, return code 0 to 5 before */
    struct mqtt_properties properties;
};

enum mqtt_error mqtt_connack_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                    struct mqtt_connack *connack);
size_t mqtt_connack_size(enum mqtt_version version, const struct mqtt_connack *connack);
uint8_t *mqtt_connack_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_connack *connack);

/* ---- PUBACK, PUBREC, PUBREL, PUBCOMP, sections 3.4 to 3.7 ---- */

struct mqtt_ack {
    uint16_t packet_id;
    uint8_t reason;
    struct mqtt_properties properties;
};

/* header->type says which of the four. */
enum mqtt_error mqtt_ack_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                struct mqtt_ack *ack);
size_t mqtt_ack_size(enum mqtt_version version, const struct mqtt_ack *ack);
uint8_t *mqtt_ack_encode(uint8_t *dst, enum mqtt_version version, enum mqtt_type type, const struct mqtt_ack *ack);

/* The four bytes of an acknowledgement that says success, the same in every version. */
#define MQTT_ACK_SIZE 4u
static inline uint8_t *mqtt_ack_encode_success(uint8_t *dst, enum mqtt_type type, uint16_t packet_id)
{
    dst[0] = (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0));
    dst[1] = 2;
    dst[2] = (uint8_t)(packet_id >> 8);
    dst[3] = (uint8_t)packet_id;
    return dst + MQTT_ACK_SIZE;
}

/* ---- SUBSCRIBE, section 3.8, and UNSUBSCRIBE, section 3.10 ---- */

struct mqtt_subscription {
    struct mqtt_span filter; /* with `$share/<group>/`, if it has one: mqtt_topic_share_split() */
    uint8_t qos;             /* maximum QoS asked for */
    bool no_local;           /* here and below: MQTT 5.0, false and 0 before */
    bool retain_as_published;
    uint8_t retain_handling; /* 0 send retained, 1 only if new, 2 do not send */
};

/* A SUBSCRIBE is checked in full before anything is taken out of it: walk `filters` with mqtt_subscription_next(). */
struct mqtt_subscribe {
    uint16_t packet_id;
    uint32_t filter_count;    /* 1 and up */
    struct mqtt_span filters; /* the payload, wire form */
    struct mqtt_properties properties;
};

enum mqtt_error mqtt_subscribe_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                      struct mqtt_subscribe *subscribe);

/* Takes the next subscription out of `rest`, a copy of the decoded `filters`. False at the end. */
bool mqtt_subscription_next(struct mqtt_span *rest, struct mqtt_subscription *subscription);

/* To make a payload: appends one subscription in wire form (3 + filter bytes), returns the byte after it. */
uint8_t *mqtt_subscription_append(uint8_t *dst, const struct mqtt_subscription *subscription);

/* `filters` is a payload made with mqtt_subscription_append(); `filter_count` is not looked at. */
size_t mqtt_subscribe_size(enum mqtt_version version, const struct mqtt_subscribe *subscribe);
uint8_t *mqtt_subscribe_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_subscribe *subscribe);

/* UNSUBSCRIBE has the same struct; its payload is plain filters, walked and made with the two functions below. */
enum mqtt_error mqtt_unsubscribe_decode(enum mqtt_version version, const struct mqtt_header *header,
                                        const uint8_t *body, struct mqtt_subscribe *unsubscribe);
bool mqtt_filter_next(struct mqtt_span *rest, struct mqtt_span *filter);
uint8_t *mqtt_filter_append(uint8_t *dst, struct mqtt_span filter);
size_t mqtt_unsubscribe_size(enum mqtt_version version, const struct mqtt_subscribe *unsubscribe);
uint8_t *mqtt_unsubscribe_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_subscribe *unsubscribe);

/* ---- SUBACK, section 3.9, and UNSUBACK, section 3.11 ---- */

struct mqtt_suback {
    uint16_t packet_id;
    struct mqtt_span reasons; /* one byte for each filter, in order; none in an UNSUBACK before 5.0 */
    struct mqtt_properties properties;
};

enum mqtt_error mqtt_suback_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                   struct mqtt_suback *suback);
size_t mqtt_suback_size(enum mqtt_version version, const struct mqtt_suback *suback);
uint8_t *mqtt_suback_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_suback *suback);

enum mqtt_error mqtt_unsuback_decode(enum mqtt_version version, const struct mqtt_header *header, const uint8_t *body,
                                     struct mqtt_suback *unsuback);
size_t mqtt_unsuback_size(enum mqtt_version version, const struct mqtt_suback *unsuback);
uint8_t *mqtt_unsuback_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_suback *unsuback);

/* ---- PINGREQ and PINGRESP, sections 3.12 and 3.13 ---- */

/* Both, by header->type. There is no body to read. */
enum mqtt_error mqtt_ping_decode(enum mqtt_version version, const struct mqtt_header *header);

#define MQTT_PING_SIZE 2u
static inline uint8_t *mqtt_ping_encode(uint8_t *dst, enum mqtt_type type)
{
    dst[0] = (uint8_t)(type << 4);
    dst[1] = 0;
    return dst + MQTT_PING_SIZE;
}

/* ---- DISCONNECT, section 3.14, and AUTH, section 3.15 ---- */

struct mqtt_disconnect {
    uint8_t reason; /* MQTT 5.0 */
    struct mqtt_properties properties;
};

enum mqtt_error mqtt_disconnect_decode(enum mqtt_version version, enum mqtt_sender sender,
                                       const struct mqtt_header *header, const uint8_t *body,
                                       struct mqtt_disconnect *disconnect);
size_t mqtt_disconnect_size(enum mqtt_version version, const struct mqtt_disconnect *disconnect);
uint8_t *mqtt_disconnect_encode(uint8_t *dst, enum mqtt_version version, const struct mqtt_disconnect *disconnect);

/* AUTH exists in MQTT 5.0 only; before, its type is reserved. Same struct as DISCONNECT. */
enum mqtt_error mqtt_auth_decode(enum mqtt_version version, enum mqtt_sender sender, const struct mqtt_header *header,
                                 const uint8_t *body, struct mqtt_disconnect *auth);
size_t mqtt_auth_size(const struct mqtt_disconnect *auth);
uint8_t *mqtt_auth_encode(uint8_t *dst, const struct mqtt_disconnect *auth);

#endif

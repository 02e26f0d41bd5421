/*
 * Messages: published application messages, kept.
 *
 * A PUBLISH that can be copied to its subscribers at once never becomes one of these. A message is made when something
 * has to outlive the packet: a subscriber's queue or inflight window, a retained topic, a will, another worker.
 *
 * Ownership: a message lives in the memory region of the worker that made it and is immutable from then on. Its
 * reference count is plain: only the owner's thread touches it. Another worker sees a message only while it handles the
 * mailbox entry that carries it (mailbox.h) and copies it into a message of its own when it has to keep it.
 */
#ifndef POLLUX_DATAPLANE_MESSAGE_H
#define POLLUX_DATAPLANE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mem/mem.h"
#include "lib/mqtt/mqtt.h"

struct message {
    uint32_t references;
    uint16_t topic_length;
    uint8_t qos;
    bool retain;
    uint32_t properties_length; /* encoded MQTT 5 properties that travel with the message, without expiry and alias */
    uint32_t payload_length;
    uint64_t expires;   /* microseconds, 0: never [MQTT-3.3.2-5] */
    uint64_t publisher; /* client identifier of the publisher, hashed, for No Local; 0: the router itself */
    uint64_t moment;    /* of a retained message: which subscriptions it has reached by itself (retained.h) */
    uint8_t bytes[];    /* topic, properties, payload */
};

/*
 * A message on its way through the router: spans into the received packet, or into a kept message. Valid only while
 * the packet is handled; publication_keep makes what must outlive it.
 */
struct publication {
    struct mqtt_span topic;
    struct mqtt_span properties; /* as in struct message */
    struct mqtt_span payload;
    uint64_t expires;
    uint64_t publisher;
    uint64_t moment;
    uint8_t qos;
    bool retain;
    uint16_t packet_id_offset;   /* in `packet`, 0 for QoS 0 */
    bool packet_is_v5;           /* `packet` is in MQTT 5 form */
    struct mqtt_span packet;     /* a whole PUBLISH that can be copied as it is, .data NULL: none */
    struct message *kept;        /* made by publication_keep, one reference held by the publication */
    struct publication_run *run; /* NULL, or the messages that it stands for, of which it is the first (run.h) */
};

/* Drops the reference that publication_keep left in `publication`. */
void publication_release(struct publication *publication, struct mem_region *memory);

/*
 * A kept message with the content of `publication`, with one reference for the caller; made once and shared after that.
 * NULL: the region is full.
 */
struct message *publication_keep(struct publication *publication, struct mem_region *memory);

/*
 * The publication that `message` stands for; end it with publication_release. `own`: the message lives in this worker's
 * region and may be kept by reference; else what is kept is a copy.
 */
void publication_from_message(struct publication *publication, struct message *message, bool own);

static inline struct message *message_reference(struct message *message)
{
    message->references++;
    return message;
}

void message_release(struct message *message, struct mem_region *memory);

static inline uint32_t message_length(const struct message *message)
{
    return message->topic_length + message->properties_length + message->payload_length;
}

static inline struct mqtt_span message_topic(const struct message *message)
{
    return (struct mqtt_span){message->bytes, message->topic_length};
}

static inline struct mqtt_span message_payload(const struct message *message)
{
    return (struct mqtt_span){message->bytes + message->topic_length + message->properties_length,
                              message->payload_length};
}

#endif

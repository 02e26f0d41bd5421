/* Making, sharing and freeing kept messages. See message.h. */
#include "dataplane/message.h"

#include <string.h>

struct message *publication_keep(struct publication *publication, struct mem_region *memory)
{
    if (publication->kept == NULL) {
        const uint32_t length =
            publication->topic.length + publication->properties.length + publication->payload.length;
        struct message *message = mem_alloc(memory, sizeof(*message) + length);
        if (message == NULL) {
            return NULL;
        }
        *message = (struct message){
            .references = 1, /* the publication's own, publication_release drops it */
            .topic_length = (uint16_t)publication->topic.length,
            .qos = publication->qos,
            .retain = publication->retain,
            .properties_length = publication->properties.length,
            .payload_length = publication->payload.length,
            .expires = publication->expires,
            .publisher = publication->publisher,
            .moment = publication->moment,
        };
        uint8_t *end = mempcpy(message->bytes, publication->topic.data, publication->topic.length);
        if (publication->properties.length > 0) {
            end = mempcpy(end, publication->properties.data, publication->properties.length);
        }
        if (publication->payload.length > 0) {
            memcpy(end, publication->payload.data, publication->payload.length);
        }
        publication->kept = message;
    }
    return message_reference(publication->kept);
}

void publication_release(struct publication *publication, struct mem_region *memory)
{
    if (publication->kept != NULL) {
        message_release(publication->kept, memory);
        publication->kept = NULL;
    }
}

void publication_from_message(struct publication *publication, struct message *message, bool own)
{
    *publication = (struct publication){
        .topic = message_topic(message),
        .properties = {message->bytes + message->topic_length, message->properties_length},
        .payload = message_payload(message),
        .expires = message->expires,
        .publisher = message->publisher,
        .moment = message->moment,
        .qos = message->qos,
        .retain = message->retain,
        .kept = own ? message_reference(message) : NULL,
    };
}

void message_release(struct message *message, struct mem_region *memory)
{
    if (--message->references == 0) {
        mem_free(memory, message);
    }
}

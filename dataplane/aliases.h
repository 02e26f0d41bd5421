/*
 * Topic aliases that the router uses towards a client that allows them (MQTT 5.0 section 3.3.2.3.4): the topics sent
 * last to this client, least recently used replaced. A client without aliases pays for a NULL pointer.
 *
 * The worker that owns the client calls; memory is from its region, bounded by ALIASES_MAX topics of a client, none
 * longer than ALIAS_TOPIC_MAX.
 */
#ifndef POLLUX_DATAPLANE_ALIASES_H
#define POLLUX_DATAPLANE_ALIASES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/mem/mem.h"
#include "lib/mqtt/mqtt.h"

enum {
    ALIASES_MAX = 256,      /* aliases of a client */
    ALIAS_TOPIC_MIN = 5,    /* bytes: a shorter topic takes less than its alias */
    ALIAS_TOPIC_MAX = 1024, /* bytes: longer topics are sent in full */
};

/* One alias: number n is entries[n - 1]. */
struct alias {
    uint32_t hash;      /* of the topic, 0: free */
    uint32_t last_used; /* the table's clock at its last use */
    struct mqtt_span topic;
};

struct alias_table {
    uint32_t count;
    uint32_t clock; /* counts uses */
    struct alias entries[];
};

/* The alias to send with a message. `number` 0: none. */
struct alias_choice {
    uint16_t number;
    bool known;    /* the client knows it: the topic can be left out */
    uint32_t hash; /* here and below: for alias_confirm */
    uint8_t *copy;
};

/* `count`: 1 to ALIASES_MAX. NULL: the region is full, and the client gets no aliases. */
struct alias_table *alias_table_create(struct mem_region *memory, uint32_t count);
void alias_table_free(struct alias_table *table, struct mem_region *memory);

/* Chooses for a message with this topic. Nothing changes before alias_confirm, which has to follow. */
struct alias_choice alias_choose(struct alias_table *table, struct mem_region *memory, struct mqtt_span topic);

/* `sent`: the message is in the send stream, so the client will know the alias; else the choice is forgotten. */
void alias_confirm(struct alias_table *table, struct mem_region *memory, const struct alias_choice *choice,
                   uint32_t topic_length, bool sent);

#endif

/*
 * Client identifiers as fixed-size keys: 128 seeded bits that stand for the identifier where it is not kept itself. A
 * client cannot steer them, and two different identifiers do not meet in practice. Any thread.
 */
#ifndef POLLUX_DATAPLANE_CLIENT_ID_H
#define POLLUX_DATAPLANE_CLIENT_ID_H

#include <stdint.h>

#include "lib/mqtt/mqtt.h"
#include "lib/topic/name.h"

struct client_id_key {
    uint64_t hash[2];
};

static inline struct client_id_key client_id_key(const struct topic_seed *seed, struct mqtt_span client_id)
{
    const struct topic_seed second = {{seed->key[1], ~seed->key[0]}};
    return (struct client_id_key){
        {topic_hash(seed, client_id.data, client_id.length), topic_hash(&second, client_id.data, client_id.length)}};
}

#endif

/*
 * The ledger: what was published and what arrived, and whether the two agree. An independent model of what MQTT
 * promises: it knows nothing of the router.
 *
 * A stream is what one device publishes on one topic at one QoS; its messages are numbered from 1. Each payload carries
 * its stream, number and length, and a pattern up to that length.
 */
#ifndef TESTS_SIM_ROUTER_LEDGER_H
#define TESTS_SIM_ROUTER_LEDGER_H

#include "tests/sim/router/world.h"

enum { LEDGER_DEVICES = 24, LEDGER_TOPICS = 6, LEDGER_MESSAGES = 2048, LEDGER_STREAMS = LEDGER_TOPICS * 3 };

/* Start of every payload. */
struct ledger_mark {
    uint32_t magic;
    uint32_t number;
    uint32_t length; /* of the payload */
    uint16_t publisher;
    uint8_t topic;
    uint8_t qos;
};

/* What one receiver (or one shared subscription group) has got of one stream. */
struct ledger_seen {
    uint32_t from; /* first number that is promised; 0: none is */
    uint32_t last; /* highest number that came for the first time */
    uint8_t count[LEDGER_MESSAGES];
};

struct ledger {
    uint32_t published[LEDGER_DEVICES][LEDGER_STREAMS];
    struct ledger_seen *seen[LEDGER_DEVICES][LEDGER_DEVICES][LEDGER_STREAMS]; /* receiver, publisher, stream */
    uint32_t received;
};

static inline uint32_t ledger_stream(uint32_t topic, uint32_t qos)
{
    return topic * 3 + qos;
}

/* Fills a payload of `length` bytes, at least sizeof(struct ledger_mark), for the stream's next message. */
void ledger_publish(struct ledger *ledger, uint32_t publisher, uint32_t topic, uint32_t qos, uint8_t *payload,
                    uint32_t length);

/* From now on every new message of the stream is promised to the receiver. */
void ledger_promise(struct ledger *ledger, uint32_t receiver, uint32_t publisher, uint32_t topic, uint32_t qos);

/* Takes every promise back. */
void ledger_promise_nothing(struct ledger *ledger);

/*
 * A payload has arrived. `once`: the same message may not come twice (QoS 0 and 2). `ordered`: messages come for the
 * first time in the order of their numbers. Fails the world when something is wrong. Returns the mark.
 */
struct ledger_mark ledger_receive(struct world *world, struct ledger *ledger, uint32_t receiver, const uint8_t *payload,
                                  uint32_t length, bool once, bool ordered);

/* Has everything promised to the receiver arrived? `qos_from`: streams below this QoS do not count. */
bool ledger_is_complete(const struct ledger *ledger, uint32_t receiver, uint32_t qos_from);

/* Fails the world with each stream of which something is missing. */
void ledger_explain(struct world *world, const struct ledger *ledger, uint32_t receiver, uint32_t qos_from);

void ledger_free(struct ledger *ledger);

#endif

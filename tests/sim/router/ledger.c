/* What was published and what arrived. See ledger.h. */
#include "tests/sim/router/ledger.h"

#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x504c5558 };

static uint8_t pattern(const struct ledger_mark *mark, uint32_t at)
{
    return (uint8_t)(mark->number * 7 + mark->publisher * 31 + at * 13 + (at >> 8));
}

void ledger_publish(struct ledger *ledger, uint32_t publisher, uint32_t topic, uint32_t qos, uint8_t *payload,
                    uint32_t length)
{
    const struct ledger_mark mark = {
        .magic = MAGIC,
        .number = ++ledger->published[publisher][ledger_stream(topic, qos)],
        .length = length,
        .publisher = (uint16_t)publisher,
        .topic = (uint8_t)topic,
        .qos = (uint8_t)qos,
    };
    memcpy(payload, &mark, sizeof(mark));
    for (uint32_t i = sizeof(mark); i < length; i++) {
        payload[i] = pattern(&mark, i);
    }
}

static struct ledger_seen *seen_of(struct ledger *ledger, uint32_t receiver, uint32_t publisher, uint32_t stream)
{
    struct ledger_seen **seen = &ledger->seen[receiver][publisher][stream];
    if (*seen == NULL) {
        *seen = calloc(1, sizeof(**seen));
    }
    return *seen;
}

void ledger_promise(struct ledger *ledger, uint32_t receiver, uint32_t publisher, uint32_t topic, uint32_t qos)
{
    const uint32_t stream = ledger_stream(topic, qos);
    seen_of(ledger, receiver, publisher, stream)->from = ledger->published[publisher][stream] + 1;
}

void ledger_promise_nothing(struct ledger *ledger)
{
    for (uint32_t receiver = 0; receiver < LEDGER_DEVICES; receiver++) {
        for (uint32_t publisher = 0; publisher < LEDGER_DEVICES; publisher++) {
            for (uint32_t stream = 0; stream < LEDGER_STREAMS; stream++) {
                if (ledger->seen[receiver][publisher][stream] != NULL) {
                    ledger->seen[receiver][publisher][stream]->from = 0;
                }
            }
        }
    }
}

static bool is_sound(const struct ledger *ledger, const struct ledger_mark *mark, const uint8_t *payload,
                     uint32_t length)
{
    bool sound = mark->magic == MAGIC && mark->length == length && mark->publisher < LEDGER_DEVICES &&
                 mark->topic < LEDGER_TOPICS && mark->qos < 3 && mark->number < LEDGER_MESSAGES && mark->number > 0 &&
                 mark->number <= ledger->published[mark->publisher][ledger_stream(mark->topic, mark->qos)];
    for (uint32_t i = sizeof(*mark); i < length && sound; i++) {
        sound = payload[i] == pattern(mark, i);
    }
    return sound;
}

struct ledger_mark ledger_receive(struct world *world, struct ledger *ledger, uint32_t receiver, const uint8_t *payload,
                                  uint32_t length, bool once, bool ordered)
{
    struct ledger_mark mark = {0};
    if (length >= sizeof(mark)) {
        memcpy(&mark, payload, sizeof(mark));
    }
    if (!is_sound(ledger, &mark, payload, length)) {
        world_fail(world, "device %u: a payload of %u bytes that nobody published", receiver, length);
        return mark;
    }
    struct ledger_seen *seen = seen_of(ledger, receiver, mark.publisher, ledger_stream(mark.topic, mark.qos));
    ledger->received++;
    seen->count[mark.number] += seen->count[mark.number] < UINT8_MAX;
    if (seen->count[mark.number] > 1) {
        if (once) {
            world_fail(world, "device %u: message %u of device %u on topic %u at QoS %u came twice", receiver,
                       mark.number, mark.publisher, mark.topic, mark.qos);
        }
    } else if (mark.number > seen->last) {
        seen->last = mark.number;
    } else if (ordered) {
        world_fail(world, "device %u: message %u of device %u on topic %u at QoS %u came after %u", receiver,
                   mark.number, mark.publisher, mark.topic, mark.qos, seen->last);
    }
    return mark;
}

/* The first promised message that is missing; 0: none. */
static uint32_t first_missing(const struct ledger *ledger, uint32_t receiver, uint32_t publisher, uint32_t stream)
{
    const struct ledger_seen *seen = ledger->seen[receiver][publisher][stream];
    if (seen == NULL || seen->from == 0) {
        return 0;
    }
    for (uint32_t number = seen->from; number <= ledger->published[publisher][stream]; number++) {
        if (seen->count[number] == 0) {
            return number;
        }
    }
    return 0;
}

bool ledger_is_complete(const struct ledger *ledger, uint32_t receiver, uint32_t qos_from)
{
    for (uint32_t publisher = 0; publisher < LEDGER_DEVICES; publisher++) {
        for (uint32_t stream = 0; stream < LEDGER_STREAMS; stream++) {
            if (stream % 3 >= qos_from && first_missing(ledger, receiver, publisher, stream) != 0) {
                return false;
            }
        }
    }
    return true;
}

void ledger_explain(struct world *world, const struct ledger *ledger, uint32_t receiver, uint32_t qos_from)
{
    for (uint32_t publisher = 0; publisher < LEDGER_DEVICES; publisher++) {
        for (uint32_t stream = 0; stream < LEDGER_STREAMS; stream++) {
            const uint32_t missing = first_missing(ledger, receiver, publisher, stream);
            if (stream % 3 >= qos_from && missing != 0) {
                world_fail(world, "device %u: message %u of %u that device %u published on topic %u at QoS %u is lost",
                           receiver, missing, ledger->published[publisher][stream], publisher, stream / 3, stream % 3);
            }
        }
    }
}

void ledger_free(struct ledger *ledger)
{
    for (uint32_t receiver = 0; receiver < LEDGER_DEVICES; receiver++) {
        for (uint32_t publisher = 0; publisher < LEDGER_DEVICES; publisher++) {
            for (uint32_t stream = 0; stream < LEDGER_STREAMS; stream++) {
                free(ledger->seen[receiver][publisher][stream]);
            }
        }
    }
}

/*
 * Follows the sequence numbers of one publisher at one subscriber, and says of every message whether it came in order,
 * late or twice. 16 bytes a pair, for one thread.
 */
#ifndef PERF_TRACKER_H
#define PERF_TRACKER_H

#include <stdint.h>

struct tracker {
    uint64_t seen; /* bit n: number next - 1 - n has arrived */
    uint32_t next; /* the number after the highest that has arrived */
};

enum tracker_verdict {
    TRACKER_IN_ORDER, /* the next one, or one behind a gap */
    TRACKER_LATE,     /* fills a gap: it was overtaken */
    TRACKER_TWICE,    /* has arrived before, or is too old (64 numbers) to tell */
};

/* `advance` becomes by how much `next` moved: 1 without a gap, more behind one, 0 for late and double messages. */
static inline enum tracker_verdict tracker_note(struct tracker *tracker, uint32_t number, uint32_t *advance)
{
    int32_t ahead = (int32_t)(number - tracker->next);
    if (ahead >= 0) {
        *advance = (uint32_t)ahead + 1;
        tracker->seen = (ahead < 63 ? tracker->seen << *advance : 0) | 1;
        tracker->next = number + 1;
        return TRACKER_IN_ORDER;
    }
    *advance = 0;
    uint32_t behind = ~(uint32_t)ahead; /* -1 is bit 0 */
    if (behind >= 64 || (tracker->seen >> behind & 1))
        return TRACKER_TWICE;
    tracker->seen |= UINT64_C(1) << behind;
    return TRACKER_LATE;
}

#endif

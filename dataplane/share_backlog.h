/*
 * How busy the members of shared subscription groups are on other workers, for the strategy least-backlog.
 *
 * Each worker says for each group what the least busy of its connected members had waiting when it last chose among
 * them: one word, with the time, that only it writes and the others read. A reader adds what it has sent there itself
 * since. What was said more than BACKLOG_GOOD_FOR ago counts as nothing waiting, so that a worker which was busy is
 * asked again; a group that is in use is never that old. Groups that share a place (of WORKER_SHARES) share the figure,
 * which makes choices worse, not wrong.
 *
 * Threads: _say on the worker that owns the board, _of on any other. Memory: inside struct worker.
 */
#ifndef POLLUX_DATAPLANE_SHARE_BACKLOG_H
#define POLLUX_DATAPLANE_SHARE_BACKLOG_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    SHARE_PLACES = 64,         /* groups that are told apart; others share a place */
    BACKLOG_GOOD_FOR = 500000, /* microseconds */
};

/* What a worker says. */
struct share_board {
    _Atomic uint64_t said[SHARE_PLACES]; /* microseconds, low half; messages waiting */
};

/* What another worker makes of it. */
struct share_guess {
    uint64_t said;
    uint32_t sent; /* there since then */
};

static inline void share_backlog_say(struct share_board *board, uint64_t group, uint32_t backlog, uint64_t now)
{
    atomic_store_explicit(&board->said[group % SHARE_PLACES], (now & UINT32_MAX) << 32 | backlog, memory_order_relaxed);
}

static inline uint64_t share_backlog_of(const struct share_board *board, struct share_guess *guess, uint64_t group,
                                        uint64_t now)
{
    const uint64_t said = atomic_load_explicit(&board->said[group % SHARE_PLACES], memory_order_relaxed);
    if (said != guess->said) {
        *guess = (struct share_guess){.said = said};
    }
    const uint32_t age = (uint32_t)now - (uint32_t)(said >> 32);
    /* Another worker's clock may be read a little later than this one's. */
    return (int32_t)age > BACKLOG_GOOD_FOR ? guess->sent : (said & UINT32_MAX) + guess->sent;
}

#endif

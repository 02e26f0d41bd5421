/*
 * Mailboxes: what one worker tells another. One ring for each ordered pair of workers, a single producer and a single
 * consumer, no lock and no atomic read-modify-write.
 *
 * Ownership: a mail may carry a block of the sender's memory. The receiver may read it, never write it, until it has
 * handled the mail; to keep it longer, it copies. The sender gets the block back by looking how far the receiver came
 * (mailbox_reclaim), so nothing has to be sent back and no reference count is shared between threads.
 *
 * Bounds: a ring holds as many mails as it was made for. Messages between clients are sent only if there is room in
 * every mailbox they go to (mailbox_has_room); else the publisher's connection is not read for the moment, and TCP
 * slows the client down. Mails of the router's own protocols (directory.h, retained.h) wait in the sender's memory
 * instead (mailbox_post), in order.
 */
#ifndef POLLUX_DATAPLANE_MAILBOX_H
#define POLLUX_DATAPLANE_MAILBOX_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/mem/mem.h"

#define MAILBOX_SLOTS 8192u /* of the mailboxes between workers */

enum mail_type {
    MAIL_NONE,
    MAIL_PUBLISH,        /* block: struct message. Route it to the receiver's subscribers */
    MAIL_SHARED,         /* block: struct message, value: group, small: worker asked first. For one member of it */
    MAIL_RETAIN,         /* block: struct message. Store it, or clear its topic if the payload is empty */
    MAIL_RETAINED_QUERY, /* block: struct retained_query. Send what matches */
    MAIL_RETAINED_PAUSE, /* block: struct retained_turn. The home has sent what it may, or everything */
    MAIL_RETAINED_MORE,  /* block: struct retained_turn. It may send as many more */
    MAIL_RETAINED_MATCH, /* block: struct message, value: session handle, number and small: how. Deliver it */
    MAIL_CLAIM,          /* block: struct directory_mail. Who owns this client id? */
    MAIL_OWNER,          /* block: struct directory_mail. This worker does */
    MAIL_DISOWN,         /* block: struct directory_mail. These claims are given back */
    MAIL_CONNECTION,     /* block: struct moved_client. Go on with this connection */
    MAIL_CONNECTION_END, /* block: struct moved_end. A connection that was handed over has ended */
    MAIL_SUBSCRIPTION,   /* block: struct subscription_mail. To the housekeeper: for the shared topic table */
};

struct mail {
    uint8_t type;
    uint8_t small;
    uint16_t reserved;
    uint32_t number;
    uint64_t value;
    void *block;
};

struct mail_waiting {
    struct mail_waiting *next;
    struct mail mail;
};

struct mailbox {
    /* Set by mailbox_init. */
    alignas(64) uint32_t mask; /* slots - 1 */
    /* Written by the sender. */
    alignas(64) _Atomic uint32_t head;
    uint32_t reclaimed; /* mails whose blocks the sender has back */
    uint32_t posted;    /* mails sent, those that wait included */
    struct mail_waiting *waiting_first, *waiting_last;
    /* Written by the receiver. */
    alignas(64) _Atomic uint32_t tail;
    /* Written by the sender, read by the receiver. */
    alignas(64) struct mail slots[];
};

/* Bytes of a mailbox with `slots` mails, a power of two. */
static inline size_t mailbox_size(uint32_t slots)
{
    return sizeof(struct mailbox) + slots * sizeof(struct mail);
}

/* Before either side uses it: an empty mailbox in memory of mailbox_size(slots) bytes, aligned to 64. */
void mailbox_init(struct mailbox *mailbox, uint32_t slots);

/* Sender: is there room for `count` more mails? */
static inline bool mailbox_has_room(struct mailbox *mailbox, uint32_t count)
{
    const uint32_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    return mailbox->waiting_first == NULL && head - mailbox->reclaimed + count <= mailbox->mask + 1;
}

/* Sender: appends a mail. The caller has made sure that there is room. */
static inline void mailbox_put(struct mailbox *mailbox, struct mail mail)
{
    const uint32_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    mailbox->slots[head & mailbox->mask] = mail;
    mailbox->posted++;
    /* Pairs with the acquire in mailbox_pending: the receiver sees the slot and the block behind it. */
    atomic_store_explicit(&mailbox->head, head + 1, memory_order_release);
}

/* Sender: appends a mail, or lets it wait in `memory` until there is room. False: `memory` is full, nothing was sent.
 */
bool mailbox_post(struct mailbox *mailbox, struct mem_region *memory, struct mail mail);

/*
 * Sender, once per iteration: gives back the blocks of all mails that were handled since the last call, and moves
 * waiting mails into the ring.
 */
void mailbox_reclaim(struct mailbox *mailbox, struct mem_region *memory);

/* Receiver: how many mails the sender has ever put in, those included that it put in before anything seen of it yet. */
static inline uint32_t mailbox_written(struct mailbox *mailbox)
{
    /* Pairs with the release in mailbox_put. */
    return atomic_load_explicit(&mailbox->head, memory_order_acquire);
}

/* Receiver: were so many of them handled? */
static inline bool mailbox_was_read(struct mailbox *mailbox, uint32_t written)
{
    return (int32_t)(atomic_load_explicit(&mailbox->tail, memory_order_relaxed) - written) >= 0;
}

/* Receiver: how many mails wait. */
static inline uint32_t mailbox_pending(struct mailbox *mailbox)
{
    /* Pairs with the release in mailbox_put. */
    return atomic_load_explicit(&mailbox->head, memory_order_acquire) -
           atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
}

/* Receiver: a mail that waits, `index` below mailbox_pending; 0 is the oldest. Valid until mailbox_done. */
static inline const struct mail *mailbox_at(const struct mailbox *mailbox, uint32_t index)
{
    return &mailbox->slots[(atomic_load_explicit(&mailbox->tail, memory_order_relaxed) + index) & mailbox->mask];
}

/* Receiver: the oldest `count` mails were handled; their blocks belong to the sender again. */
static inline void mailbox_done(struct mailbox *mailbox, uint32_t count)
{
    const uint32_t tail = atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
    /* Pairs with the acquire in mailbox_reclaim: the receiver's reads come before the sender's reuse. */
    atomic_store_explicit(&mailbox->tail, tail + count, memory_order_release);
}

/* Sender: was anything handled since the last mailbox_reclaim? */
static inline bool mailbox_to_reclaim(const struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->tail, memory_order_relaxed) != mailbox->reclaimed;
}

/* Sender: was the mail handled after which `posted` had this value? As of the last mailbox_reclaim. */
static inline bool mailbox_was_handled(const struct mailbox *mailbox, uint32_t posted)
{
    return (int32_t)(mailbox->reclaimed - posted) >= 0;
}

#endif

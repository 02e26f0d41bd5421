/*
 * A first-in, first-out queue of connections by their index, each in it at most once (a flag of the connection says
 * so). Being an array and not a list through the connections, it can be read ahead: with many connections each is
 * several cache lines of memory that take long to come. Private to lib/net (stack.h); the stack's thread.
 */
#ifndef LIB_NET_CONNECTION_QUEUE_H
#define LIB_NET_CONNECTION_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct connection_queue {
    uint32_t *indexes; /* a ring; as much of it is used, and resident, as connections have waited at once */
    uint32_t mask;
    uint32_t head;
    uint32_t tail;
};

static inline uint32_t connection_queue_size(uint32_t connections)
{
    return connections <= 1 ? 1 : UINT32_C(1) << (32 - __builtin_clz(connections - 1));
}

static inline uint32_t connection_queue_count(const struct connection_queue *queue)
{
    return queue->tail - queue->head;
}

static inline void connection_queue_push(struct connection_queue *queue, uint32_t index)
{
    if (queue->head == queue->tail)
        queue->head = queue->tail = 0;
    queue->indexes[queue->tail++ & queue->mask] = index;
}

static inline uint32_t connection_queue_pop(struct connection_queue *queue)
{
    return queue->indexes[queue->head++ & queue->mask];
}

/* The n-th from now, which is there. */
static inline uint32_t connection_queue_at(const struct connection_queue *queue, uint32_t n)
{
    return queue->indexes[(queue->head + n) & queue->mask];
}

#endif

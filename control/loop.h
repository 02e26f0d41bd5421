/* The event loop of pollux-control: epoll, one thread.
 *
 * Job: call back who waits for a descriptor, and everyone who wants to know that time passes.
 *
 * Ownership: a loop_source belongs to its user and stays in place until loop_remove. A handler may remove, and free,
 * any source, its own included: only one event is taken from the kernel at a time, so none is left over for it. */
#ifndef POLLUX_CONTROL_LOOP_H
#define POLLUX_CONTROL_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop {
    int epoll;
    bool stopping;
};

struct loop_source {
    int fd;
    void (*ready)(void *argument, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, ... */
    void *argument;
};

int loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Watch source->fd. Returns 0, or -1 with errno. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_change(struct loop *loop, struct loop_source *source, uint32_t events);
void loop_remove(struct loop *loop, struct loop_source *source);

/* Run until loop_stop. `tick` is called with the time at least every `tick_us` microseconds. */
void loop_run(struct loop *loop, uint64_t tick_us, void (*tick)(void *argument, uint64_t now), void *argument);
void loop_stop(struct loop *loop);

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t loop_now(void);

#endif

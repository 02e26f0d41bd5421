/* The event loop: see control/loop.h. */
#include "control/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

int loop_open(struct loop *loop)
{
    loop->stopping = false;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll < 0 ? -1 : 0;
}

void loop_close(struct loop *loop)
{
    if (loop->epoll >= 0)
        close(loop->epoll);
    loop->epoll = -1;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event);
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
}

uint64_t loop_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

void loop_run(struct loop *loop, uint64_t tick_us, void (*tick)(void *argument, uint64_t now), void *argument)
{
    uint64_t next_tick = 0;
    while (!loop->stopping) {
        uint64_t now = loop_now();
        if (now >= next_tick) {
            tick(argument, now);
            next_tick = now + tick_us;
        }
        struct epoll_event event;
        int count = epoll_wait(loop->epoll, &event, 1, (int)((next_tick - now + 999) / 1000));
        if (count == 1) {
            struct loop_source *source = event.data.ptr;
            source->ready(source->argument, event.events);
        } else if (count < 0 && errno != EINTR) {
            return;
        }
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

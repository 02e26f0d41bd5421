/* Slow work aside: see control/jobs.h. */
#include "control/jobs.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS_MAX 16u

struct queue {
    struct job *first, **last;
};

struct jobs {
    struct loop *loop;
    struct loop_source source; /* eventfd: some are finished */
    pthread_mutex_t lock;      /* of all below */
    pthread_cond_t begun;
    struct queue waiting, finished;
    uint32_t count; /* waiting or under way */
    bool ending;
    uint32_t thread_count;
    pthread_t threads[THREADS_MAX];
};

static void queue_put(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct job *queue_take(struct queue *queue)
{
    struct job *job = queue->first;
    if (job && !(queue->first = job->next))
        queue->last = &queue->first;
    return job;
}

static void *thread_run(void *argument)
{
    struct jobs *jobs = argument;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        struct job *job = NULL;
        while (!jobs->ending && !(job = queue_take(&jobs->waiting)))
            pthread_cond_wait(&jobs->begun, &jobs->lock);
        if (jobs->ending)
            break;
        pthread_mutex_unlock(&jobs->lock);
        job->work(job);
        pthread_mutex_lock(&jobs->lock);
        queue_put(&jobs->finished, job);
        eventfd_write(jobs->source.fd, 1);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

/* One at a time: a `done` may start the next. */
static void finished_ready(void *argument, uint32_t events)
{
    struct jobs *jobs = argument;
    eventfd_t count;
    struct job *job;
    eventfd_read(jobs->source.fd, &count);
    do {
        pthread_mutex_lock(&jobs->lock);
        job = queue_take(&jobs->finished);
        jobs->count -= job != NULL;
        pthread_mutex_unlock(&jobs->lock);
        if (job)
            job->done(job);
    } while (job);
}

/* Signals are the event loop's. */
static void threads_start(struct jobs *jobs, uint32_t threads)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (jobs->thread_count < threads && jobs->thread_count < THREADS_MAX &&
           pthread_create(&jobs->threads[jobs->thread_count], NULL, thread_run, jobs) == 0)
        jobs->thread_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct jobs *jobs_open(struct loop *loop, uint32_t threads)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    if (!jobs)
        return NULL;
    jobs->loop = loop;
    jobs->waiting.last = &jobs->waiting.first;
    jobs->finished.last = &jobs->finished.first;
    jobs->source = (struct loop_source){eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), finished_ready, jobs};
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->begun, NULL);
    threads_start(jobs, threads);
    if (jobs->source.fd >= 0 && jobs->thread_count > 0 && loop_add(loop, &jobs->source, EPOLLIN) == 0)
        return jobs;
    jobs_close(jobs);
    return NULL;
}

bool jobs_start(struct jobs *jobs, struct job *job)
{
    pthread_mutex_lock(&jobs->lock);
    bool taken = jobs->count < JOBS_MAX;
    if (taken) {
        jobs->count++;
        queue_put(&jobs->waiting, job);
        pthread_cond_signal(&jobs->begun);
    }
    pthread_mutex_unlock(&jobs->lock);
    return taken;
}

void jobs_close(struct jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->ending = true;
    pthread_cond_broadcast(&jobs->begun);
    pthread_mutex_unlock(&jobs->lock);
    for (uint32_t i = 0; i < jobs->thread_count; i++)
        pthread_join(jobs->threads[i], NULL);
    if (jobs->source.fd >= 0) {
        loop_remove(jobs->loop, &jobs->source);
        close(jobs->source.fd);
    }
    pthread_mutex_destroy(&jobs->lock);
    pthread_cond_destroy(&jobs->begun);
    free(jobs);
}

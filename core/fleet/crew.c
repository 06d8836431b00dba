#include "fleet/crew.h"

#include "base/error.h"
#include "base/io.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define MOMENT_MS 100           /* a login in the same building takes 30; one around the world may hold up the next for so long, not more */

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct crew_job *first, **last;
    size_t waiting, idle, threads, few, most;
    int64_t stuck_since_ms;         /* since when there is work that nobody is free for; 0: there is none */
    bool ending;
    pthread_t thread[];
};

static struct crew_job *take(struct crew *c)
{
    struct crew_job *job = c->first;
    c->first = job->next;
    if (!c->first)
        c->last = &c->first;
    c->waiting--;
    c->stuck_since_ms = c->waiting > c->idle ? clock_ms() : 0;
    return job;
}

static void *labour(void *arg)
{
    struct crew *c = arg;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->first && !c->ending) {
            c->idle++;
            pthread_cond_wait(&c->work, &c->lock);
            c->idle--;
        }
        if (!c->first)
            break;
        struct crew_job *job = take(c);
        pthread_mutex_unlock(&c->lock);
        job->work(job);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* With the lock. */
static int add_thread(struct crew *c)
{
    int rc = thread_start(&c->thread[c->threads], labour, c);
    c->threads += rc == 0;
    return rc;
}

int crew_start(struct crew **out, size_t few, size_t most, struct ssx_error *err)
{
    struct crew *c = calloc(1, sizeof *c + most * sizeof c->thread[0]);
    if (!c)
        return error_set(err, SSX_ERROR_SYSTEM, "can't start threads: out of memory");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    c->last = &c->first;
    c->few = few;
    c->most = most;
    int rc = add_thread(c); /* one at least, or nothing would ever be done */
    if (rc) {
        crew_end(c);
        errno = rc;
        return error_system(err, "can't start threads");
    }
    *out = c;
    return 0;
}

void crew_give(struct crew *c, struct crew_job *job)
{
    pthread_mutex_lock(&c->lock);
    job->next = NULL;
    *c->last = job;
    c->last = &job->next;
    c->waiting++;
    if (c->waiting > c->idle && c->threads < c->few)
        add_thread(c); /* where it can't be, those that there are do it */
    if (c->waiting > c->idle && !c->stuck_since_ms)
        c->stuck_since_ms = clock_ms();
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
}

void crew_hurry(struct crew *c)
{
    pthread_mutex_lock(&c->lock);
    bool late = c->stuck_since_ms && c->waiting > c->idle && clock_ms() - c->stuck_since_ms >= MOMENT_MS;
    if (late && c->threads < c->most)
        add_thread(c);
    pthread_mutex_unlock(&c->lock);
}

size_t crew_waiting(struct crew *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->waiting;
    pthread_mutex_unlock(&c->lock);
    return n;
}

void crew_end(struct crew *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->threads; i++)
        pthread_join(c->thread[i], NULL);
    pthread_cond_destroy(&c->work);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

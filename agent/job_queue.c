#include "job_queue.h"

#include "job.h"

static void leave(struct job *j)
{
    struct job_queue *from = j->queue;
    if (!from)
        return;
    *(j->ahead ? &j->ahead->behind : &from->first) = j->behind;
    *(j->behind ? &j->behind->ahead : &from->last) = j->ahead;
    j->ahead = j->behind = NULL;
    j->queue = NULL;
    from->n--;
}

static void enter(struct job_queue *to, struct job *j, struct job *ahead)
{
    leave(j);
    if (!to)
        return;
    struct job *behind = ahead ? ahead->behind : to->first;
    j->ahead = ahead;
    j->behind = behind;
    *(ahead ? &ahead->behind : &to->first) = j;
    *(behind ? &behind->ahead : &to->last) = j;
    j->queue = to;
    to->n++;
}

void job_queue_add(struct job_queue *to, struct job *j)
{
    leave(j);
    enter(to, j, to ? to->last : NULL);
}

void job_queue_add_first(struct job_queue *to, struct job *j) { enter(to, j, NULL); }

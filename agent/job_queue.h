/* A line of jobs: first come, first served. A job stands in one at most, and knows which. */
#ifndef AGENT_JOB_QUEUE_H
#define AGENT_JOB_QUEUE_H
#include <stddef.h>

struct job;
struct job_queue { struct job *first, *last; size_t n; };

/* From where it stands to the end of this one, or to its front; NULL: it stands nowhere then. */
void job_queue_add(struct job_queue *to, struct job *j);
void job_queue_add_first(struct job_queue *to, struct job *j);

#endif

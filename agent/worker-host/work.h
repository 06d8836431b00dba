/* The work of one call in whatever process it has: its order from the control socket, the state decoded, the worker
 * run, its answer encoded. */
#ifndef WORKER_HOST_WORK_H
#define WORKER_HOST_WORK_H
#include "worker.h"

/* Takes the next CALL and its STATE frames from the control socket, by way of `in`; the state is put together in
 * `state`. Leaves when the agent has gone. */
void order_read(struct call_context *call, struct buf *in, struct buf *state);

/* Decodes the state, runs the worker, adds what it gives back to `answer` and fills in *end, whose texts live as long
 * as the call. */
void call_work(const struct worker *worker, struct call_context *call, const struct buf *state, struct buf *answer,
               struct message_end *end);

/* What this process and the children it waited for took, since `since` (NULL: ever), which is brought up to date. */
struct usage { uint64_t user_us, sys_us; };
void call_usage(struct message_end *end, struct usage *since);

#endif

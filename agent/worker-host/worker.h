/* The loaded plugin, and what a call's process needs of it. */
#ifndef WORKER_HOST_WORKER_H
#define WORKER_HOST_WORKER_H
#include "host_protocol.h"
#include "services.h"

#include "base/buf.h"
#include "wire/message.h"

#include <sshexec/worker.h>

struct worker {
    const char *type;
    const struct ssx_plugin *plugin;
    int (*run)(struct ssx_call *, const void *state, void *result);
    const struct ssx_schema *item;     /* what its items are; NULL: not declared */
    bool returns_state;
};

/* What goes with the descriptors to the process. */
struct process_order { char temp[96]; uint32_t lane; };

/* The whole life of a process, forked ahead: waits on its socket for one process_order with the descriptors, runs the worker, reports on the control socket, and
 * leaves. End of file on the socket: leaves at once. */
_Noreturn void call_process(const struct worker *worker, int socket);

/* A lane's: one call after the other, until the agent closes the control socket (lane.c). */
_Noreturn void lane_process(const struct worker *worker, struct lane_page *page, const char *temp);

/* Takes the next CALL and its STATE frames from the control socket, by way of `in`; the state is put together in `state`. Leaves when the agent has gone. */
void order_read(struct call_context *call, struct buf *in, struct buf *state);

/* Decodes the state, runs the worker, adds what it gives back to `answer` and fills in *end, whose texts live as long as the call. */
void call_work(const struct worker *worker, struct call_context *call, const struct buf *state, struct buf *answer, struct message_end *end);

/* What this process and the children it waited for took, since `since` (NULL: ever), which is brought up to date. */
struct usage { uint64_t user_us, sys_us; };
void call_usage(struct message_end *end, struct usage *since);

#endif

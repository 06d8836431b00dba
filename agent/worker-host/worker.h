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

/* The whole life of a process, forked ahead: waits on its socket for one process_order with the descriptors, runs the
 * worker, reports on the control socket, and leaves. End of file on the socket: leaves at once. */
_Noreturn void call_process(const struct worker *worker, int socket);

/* A lane's: one call after the other, until the agent closes the control socket (lane.c). */
_Noreturn void lane_process(const struct worker *worker, struct lane_page *page, const char *temp);

#endif

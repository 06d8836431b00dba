/* The loaded plugin, and what a call's process needs of it. */
#ifndef WORKER_HOST_WORKER_H
#define WORKER_HOST_WORKER_H
#include <sshexec/worker.h>

struct worker {
    const char *type;
    const struct ssx_plugin *plugin;
    int (*run)(struct ssx_call *, const void *state, void *result);
    const struct ssx_schema *item;     /* what its items are; NULL: not declared */
    bool returns_state;
};

/* The whole life of a call's process, forked ahead: waits on its socket for one host_request with the call's descriptors and the name of its temporary
 * directory, runs the worker, reports on the control socket, and leaves. End of file on the socket: leaves at once. */
_Noreturn void call_process(const struct worker *worker, int socket);

/* What goes with the descriptors to the call's process. */
struct call_order { char temp[256]; };

#endif

/* A process that a session started beside the worker hosts of its calls, and watches in its loop: the runner, which
 * reaps and kills what nobody owns, finds those that are listed here to be somebody's. */
#ifndef AGENT_CHILD_H
#define AGENT_CHILD_H
#include <stdbool.h>
#include <sys/types.h>

/* Zeroed: none. It stays where it is while it is listed. */
struct child {
    struct child *next, **list;        /* list: where it stands, borrowed; NULL: nowhere */
    pid_t pid;
    bool dead;                         /* reaped, with this status */
    int status;
};

void child_watch(struct child **list, struct child *c, pid_t pid);

/* Notes that a process was reaped, where it is one of these; whether a living one is. */
void child_reaped(struct child *list, pid_t pid, int status);
bool child_is_listed(const struct child *list, pid_t pid);

/* Sends it a signal, unless that is 0; waits until it has gone, and takes it from its list. Returns its status; of
 * none, 0. */
int child_end(struct child *c, int signal_number);

#endif

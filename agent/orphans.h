/* Processes whose parent died come to the nearest subreaper: the call's process, then the worker host, then the agent.
 * Each of these knows which children it forked itself; any other belongs to a call that has ended and is killed. */
#ifndef AGENT_ORPHANS_H
#define AGENT_ORPHANS_H
#include <stdbool.h>
#include <sys/types.h>

/* Makes this process a subreaper. Children that it has already (those of a shell that it replaced) are none of its
 * business: they are never killed. */
void orphans_adopt(void);

/* SIGKILL to each child of this process that `is_ours` (NULL: none is) does not claim. Their own children come here
 * next, with a SIGCHLD: call again after each. Returns how many were found. */
int orphans_kill(bool (*is_ours)(void *user, pid_t pid), void *user);

#endif

#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

void child_watch(struct child **list, struct child *c, pid_t pid)
{
    *c = (struct child){.next = *list, .list = list, .pid = pid};
    *list = c;
}

static struct child *find(struct child *list, pid_t pid)
{
    while (list && (list->pid != pid || list->dead))
        list = list->next;
    return list;
}

void child_reaped(struct child *list, pid_t pid, int status)
{
    struct child *c = find(list, pid);
    if (c) {
        c->dead = true;
        c->status = status;
    }
}

bool child_is_listed(const struct child *list, pid_t pid) { return find((struct child *)list, pid) != NULL; }

int child_end(struct child *c, int signal_number)
{
    if (!c->list)
        return 0;
    if (!c->dead && signal_number) /* not yet reaped, so the number is still its own */
        kill(c->pid, signal_number);
    while (!c->dead && waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
        ;
    for (struct child **link = c->list; *link; link = &(*link)->next)
        if (*link == c) {
            *link = c->next;
            break;
        }
    c->list = NULL;
    return c->status;
}

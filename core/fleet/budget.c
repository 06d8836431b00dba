#include "fleet/budget.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

#define EACH 6  /* of a session through a child: its three pipes, its pidfd, two timers. One through libssh has 3, or 4 behind a bastion */
#define OWN 160 /* for all else: an epoll and an event a pump, logins under way (name services, keys, the ssh-agent), what the program opens meanwhile */

static size_t open_now(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

size_t budget_sessions(size_t wanted, size_t more)
{
    struct rlimit limit;
    size_t each = EACH + more;
    if (wanted == 0)
        wanted = 1;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return wanted;
    rlim_t used = open_now() + OWN;
    rlim_t need = used + (rlim_t)wanted * each;
    if (limit.rlim_cur < need && limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {need < limit.rlim_max ? need : limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    if (need <= limit.rlim_cur)
        return wanted;
    return limit.rlim_cur > used + each ? (size_t)((limit.rlim_cur - used) / each) : 1;
}

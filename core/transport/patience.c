#include "transport/patience.h"

#include "base/error.h"
#include "base/io.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct patience patience_for(int timeout_ms, int interrupt_fd)
{
    return (struct patience){clock_ms() + timeout_ms, interrupt_fd};
}

int patience_left(const struct patience *p)
{
    int64_t left = p->deadline_ms - clock_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

int patience_poll(const struct patience *p, struct pollfd *fds, size_t n, struct ssx_error *err)
{
    struct pollfd all[PATIENCE_FDS + 1];
    if (n > PATIENCE_FDS)
        return error_set(err, SSX_ERROR_SYSTEM, "can't wait for %zu descriptors at once", n);
    if (n)
        memcpy(all, fds, n * sizeof *fds);
    all[n] = (struct pollfd){p->interrupt_fd > 0 ? p->interrupt_fd : -1, POLLIN, 0};
    int ready;
    do {
        ready = poll(all, (nfds_t)n + 1, patience_left(p));
    } while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return error_system(err, "can't wait for a connection");
    if (all[n].revents)
        return error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
    if (n)
        memcpy(fds, all, n * sizeof *fds);
    return ready > 0;
}

int patience_sleep(const struct patience *p, int ms, struct ssx_error *err)
{
    struct patience nap = patience_for(ms, p->interrupt_fd);
    if (nap.deadline_ms > p->deadline_ms)
        nap.deadline_ms = p->deadline_ms;
    return patience_poll(&nap, NULL, 0, err);
}

#include "transport/turn.h"

#include "base/error.h"
#include "base/io.h"

#include <sys/eventfd.h>
#include <unistd.h>

int turn_init(struct turn *t, struct ssx_error *err)
{
    t->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    return t->fd < 0 ? error_system(err, "can't make a lock") : 0;
}

void turn_dispose(struct turn *t) { fd_close(&t->fd); }

/* read and write, not eventfd_read and eventfd_write: the thread sanitizer sees through these that one thread comes
 * after the other. */
int turn_take(struct turn *t, const struct patience *patience, struct ssx_error *err)
{
    uint64_t one;
    for (;;) {
        if (read(t->fd, &one, sizeof one) == (ssize_t)sizeof one)
            return 1;
        int ready = patience_poll(patience, &(struct pollfd){t->fd, POLLIN, 0}, 1, err);
        if (ready <= 0)
            return ready;
    }
}

void turn_give(struct turn *t)
{
    const uint64_t one = 1;
    if (write(t->fd, &one, sizeof one) < 0)
        return; /* can't be: it held 0 */
}

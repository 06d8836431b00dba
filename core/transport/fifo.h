/* A named pipe that is nobody else's: made in a private directory, opened at both ends by its name, and its name gone
 * again at once. */
#ifndef TRANSPORT_FIFO_H
#define TRANSPORT_FIFO_H
#include <sys/types.h>

/* Makes a fifo in a new directory (0700) below $XDG_RUNTIME_DIR, $TMPDIR or /tmp, opens it, and removes both. Neither
 * open can block, so there is nothing to wait for. A short-lived process does it, which finishes even where this one is
 * killed half-way. *reader blocks, *writer does not; both close on exec. Returns 0, or -1 with errno; no name is left
 * either way. */
int fifo_open(int *reader, int *writer);

/* As write, but a reader that has gone away is EPIPE and never a SIGPIPE, whatever the process does with that
 * signal. */
ssize_t fifo_write(int fd, const void *bytes, size_t n);

#endif

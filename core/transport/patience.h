/* How long a blocking step may take: until a deadline, or until a descriptor becomes readable because the user gives
 * up. */
#ifndef TRANSPORT_PATIENCE_H
#define TRANSPORT_PATIENCE_H
#include <sshexec/error.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>

struct patience {
    int64_t deadline_ms; /* of clock_ms */
    int interrupt_fd;    /* 0 or less: none (0 would be stdin, which nobody interrupts with) */
};

#define PATIENCE_FDS 8 /* the most descriptors that one wait takes */

struct patience patience_for(int timeout_ms, int interrupt_fd);

/* Milliseconds to the deadline, never negative. */
int patience_left(const struct patience *p);

/* Polls. Returns 1 when one of fds is ready, 0 when the deadline passed, -1 with err (SSX_ERROR_INTERRUPTED) when the
 * user gave up.
 */
int patience_poll(const struct patience *p, struct pollfd *fds, size_t n, struct ssx_error *err);

/* Sleeps for `ms`, or until the deadline if that is sooner. Returns 0, or -1 with err when the user gave up. */
int patience_sleep(const struct patience *p, int ms, struct ssx_error *err);

#endif

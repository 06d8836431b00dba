/* Sending and receiving a packet together with descriptors (SCM_RIGHTS). */
#ifndef WORKER_HOST_PASSING_H
#define WORKER_HOST_PASSING_H
#include <stddef.h>
#include <sys/types.h>

#define PASSING_MAX 5

/* Returns 0, or -1 with errno. The descriptors stay the caller's. */
int passing_send(int socket, const void *packet, size_t n, const int *fds, size_t count);

/* Reads one packet of at most n bytes; fds that came with it are close-on-exec, -1 where fewer than count came. Returns
 * its length, 0 at end of file, -1 with errno. */
ssize_t passing_receive(int socket, void *packet, size_t n, int *fds, size_t count);

#endif

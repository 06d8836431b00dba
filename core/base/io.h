/* Descriptors and clocks: the few system calls that every room needs, done right once. */
#ifndef BASE_IO_H
#define BASE_IO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds and microseconds of CLOCK_MONOTONIC. */
int64_t clock_ms(void);
int64_t clock_us(void);

int fd_set_nonblocking(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Closes *fd unless it is -1, and sets it to -1. Keeps errno. */
void fd_close(int *fd);

/* 0, 1 and 2 are the process's own or nobody's: what is opened next must not become one of them. One that is closed
 * becomes a descriptor that can be neither read from (0) nor written to (1, 2). To be called first. Returns 0 or -1
 * with errno. */
int fd_hold_standard(void);

/* Writes all of it to a blocking descriptor, through EINTR and short writes. Returns 0, or -1 with errno. */
int fd_write_all(int fd, const void *bytes, size_t n);

#endif

/* fstat and fstatat as system calls: glibc 2.33 gave the functions new symbols, and a plugin that asks for those runs
 * on no older node. */
#ifndef FILES_STATUS_H
#define FILES_STATUS_H
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "the kernel's struct stat is libc's on 64-bit machines only");

/* Both return 0, or -1 with errno. */
static inline int status_of(int fd, struct stat *out) { return (int)syscall(SYS_fstat, fd, out); }
static inline int status_at(int dir, const char *name, struct stat *out, int flags)
{
    return (int)syscall(SYS_newfstatat, dir, name, out, flags);
}

#endif

/* Whole files and directories, and whether what they hold may be trusted. */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <sys/types.h>

/* Adds up to `limit` bytes of a file to out. A longer file is an error that names the limit. Returns 0 or -1. */
int file_read(struct buf *out, const char *path, size_t limit, struct ssx_error *err);

/* The same from a descriptor, to its end; `name` is for messages. */
int fd_read_all(struct buf *out, int fd, size_t limit, const char *name, struct ssx_error *err);

/* Replaces path with these bytes by way of a temporary file beside it: fsync, rename. Nobody sees a part of it. */
int file_write_atomic(const char *path, const void *bytes, size_t n, mode_t mode, struct ssx_error *err);

/* Makes a directory and those above it, mode 0700 each. Existing ones are left as they are. Returns 0 or -1. */
int dir_make(const char *path, struct ssx_error *err);

/* Whether nobody but root and this user could have put the file there or can change it: the file and each directory up
 * to / belong to root or to this user, and none is writable by group or others (save a sticky directory). Symbolic
 * links are resolved first. What is dlopened or executed passes this. Returns 0, or -1 with err naming the path at
 * fault. After pdsh's mod.c. */
int path_is_trusted(const char *path, struct ssx_error *err);

#endif

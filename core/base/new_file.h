/* A file that is written piece by piece and takes its name, in place of one that may be there, only when it is
 * whole. */
#ifndef BASE_NEW_FILE_H
#define BASE_NEW_FILE_H
#include <sshexec/error.h>
#include <limits.h>
#include <sys/types.h>

struct new_file { int fd; char path[PATH_MAX], temp[PATH_MAX]; };

/* Makes the temporary file beside path. Returns 0 (then exactly one of the two below follows), or -1 with err. */
int new_file_open(struct new_file *out, const char *path, struct ssx_error *err);

/* Gives it the mode, syncs it and renames it to its path. Returns 0, or -1 with err, the file removed. */
int new_file_keep(struct new_file *f, mode_t mode, struct ssx_error *err);

/* Removes it. */
void new_file_drop(struct new_file *f);

#endif

/* Errors in the tree's convention (<sshexec/error.h>), for code that runs in plugins too and so has no core/base. */
#ifndef FILES_FAIL_H
#define FILES_FAIL_H
#include <sshexec/error.h>

/* Sets err unless it holds an error already: the first one counts. Returns -1. */
int fail(struct ssx_error *err, enum ssx_error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": strerror(errno)" behind it and SSX_ERROR_SYSTEM. Returns -1. */
int fail_errno(struct ssx_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

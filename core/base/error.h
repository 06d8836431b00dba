/* Filling in a struct ssx_error; the convention stands in <sshexec/error.h>. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H
#include <sshexec/error.h>

/* Sets err (may be NULL) unless it holds an error already. Keeps errno. Always returns -1, so that
 * `return error_set(err, ...)` is the way out of a function. Bytes that could drive a terminal are escaped. */
int error_set(struct ssx_error *err, enum ssx_error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same, with ": strerror(errno)" behind it, and SSX_ERROR_SYSTEM as the code. */
int error_system(struct ssx_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "text: " before the message that err holds; no effect on an empty one. Returns -1. */
int error_prefix(struct ssx_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

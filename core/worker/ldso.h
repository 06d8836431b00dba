/* What this host's dynamic linker would find: shared libraries by name, looked for where ld.so looks, without running
 * it. */
#ifndef WORKER_LDSO_H
#define WORKER_LDSO_H
#include <sshexec/error.h>
#include <stdbool.h>

/* Whether a library of this name, for this machine, stands in a directory of `first` (colon-separated, absolute; NULL:
 * none), LD_LIBRARY_PATH, /etc/ld.so.conf and what that includes, or the usual directories. Subdirectories for
 * processor variants (glibc-hwcaps) are not looked at: what is only there is not found. */
bool ldso_has_library(const char *name, const char *first);

/* Whether a directory of a plugin's RPATH is safe to search: it and all above it are trusted (base/io.h), or, where it
 * doesn't exist, nobody else could make it. Returns 0, or -1 with err naming the path at fault. */
int ldso_directory_is_safe(const char *directory, struct ssx_error *err);

#endif

/* The content-addressed objects of a node: DIR/objects/SHA256. An object is written to a file without a name, synced, gets its name, and is never changed after that.
 * Whoever uses one hashes it again. */
#ifndef BUNDLE_STORE_H
#define BUNDLE_STORE_H
#include "base/digest.h"

#include <limits.h>
#include <sys/types.h>

struct store { char dir[PATH_MAX]; }; /* ""; no store: has nothing, takes nothing */

/* The store in $XDG_CACHE_HOME/sshexec or ~/.cache/sshexec, or in dir where that isn't NULL ("": none). Makes nothing yet. */
void store_open(struct store *s, const char *dir);

/* The path of an object, whether it is there or not. Returns out. */
const char *store_path(const struct store *s, const struct digest *digest, char *out, size_t size);

/* Opens an object read-only. Returns a descriptor, or -1 with errno. */
int store_object(const struct store *s, const struct digest *digest);

/* Removes an object that is not what its name says. */
void store_discard(const struct store *s, const struct digest *digest);

/* Stores what can be read from fd, from its start, under this digest, which the caller has checked; the directories are made. Returns 0, or
 * -1 with err and nothing left behind. */
int store_put(const struct store *s, const struct digest *digest, int fd, struct ssx_error *err);

#endif

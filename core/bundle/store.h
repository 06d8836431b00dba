/* The content-addressed objects of a node: DIR/objects/SHA256. An object is written to a file without a name, synced,
 * gets its name, and is never changed after that (its time says when it was last used). Whoever uses one hashes it
 * again. DIR/lock has a byte for each object: who uses an object holds a read lock on its byte, who removes it a write
 * lock (tend.h). The kernel drops the locks of whoever dies, and they hold between nodes that share a home on NFS. */
#ifndef BUNDLE_STORE_H
#define BUNDLE_STORE_H
#include "base/digest.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct store {
    char dir[PATH_MAX];                  /* ""; no store: has nothing, takes nothing */
    int lock_fd;                         /* -1: not open yet */
};

/* The store in $XDG_CACHE_HOME/sshexec or ~/.cache/sshexec, or in dir where that isn't NULL ("": none). Makes nothing
 * yet. */
void store_open(struct store *s, const char *dir);
void store_close(struct store *s);

/* The path of an object, whether it is there or not. Returns out. */
const char *store_path(const struct store *s, const struct digest *digest, char *out, size_t size);

/* Opens an object read-only. From now on, there or not, nobody removes it until s is closed. Returns a descriptor, or
 * -1 with errno. */
int store_object(struct store *s, const struct digest *digest);

/* Removes an object that is not what its name says. */
void store_discard(const struct store *s, const struct digest *digest);

/* Bytes of all objects. */
uint64_t store_size(const struct store *s);

/* Stores what can be read from fd, from its start, under this digest, which the caller has checked; the directories are
 * made. Held as by store_object. Returns 0, or -1 with err and nothing left behind. */
int store_put(struct store *s, const struct digest *digest, int fd, struct ssx_error *err);

/* A lock on an object's byte, until s is closed or unlocked: type as of fcntl (F_RDLCK, F_WRLCK, F_UNLCK). Doesn't wait
 * for longer than the removal of a file takes. Returns 0, or -1 with errno: EAGAIN where another has it. */
int store_lock(struct store *s, const struct digest *digest, short type);

/* The same on the byte that stands for the generations (generation.h). Doesn't wait at all: another one may have it for
 * as long as it hashes all objects. */
int store_lock_generations(struct store *s, short type);

/* Whether another one uses the object now. */
bool store_is_held(struct store *s, const struct digest *digest);

#endif

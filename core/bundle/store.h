/* The content-addressed objects of a node: DIR/objects/SHA256. An object is written to a temporary file, checked, synced and renamed, and never changed after that.
 * Whoever uses one hashes it again. */
#ifndef BUNDLE_STORE_H
#define BUNDLE_STORE_H
#include "base/digest.h"

#include <limits.h>
#include <stdbool.h>
#include <sodium/crypto_hash_sha256.h>
#include <sys/types.h>

struct store { char dir[PATH_MAX]; }; /* ""; no store: has nothing, takes nothing */

/* The store in $XDG_CACHE_HOME/sshexec or ~/.cache/sshexec, or in dir where that isn't NULL. Makes nothing yet. */
void store_open(struct store *s, const char *dir);

/* The path of an object, whether it is there or not. Returns out. */
const char *store_path(const struct store *s, const struct digest *digest, char *out, size_t size);

/* Opens an object read-only. Returns a descriptor, or -1 with errno. */
int store_object(const struct store *s, const struct digest *digest);

/* Removes an object that is not what its name says. */
void store_discard(const struct store *s, const struct digest *digest);

/* An object on its way in. A zeroed one, or one that ended, is idle. */
struct store_write {
    int fd;
    char temp[PATH_MAX];
    struct digest digest;
    uint64_t left;
    crypto_hash_sha256_state hash;
    bool open;
};

/* Each returns 0, or -1 with err; store_begin makes the directories, store_end checks size and digest before the name appears. After -1 the write is idle and its file gone. */
int store_begin(struct store_write *w, const struct store *s, const struct digest *digest, uint64_t size, struct ssx_error *err);
int store_add(struct store_write *w, const void *bytes, size_t n, struct ssx_error *err);
int store_end(struct store_write *w, const struct store *s, struct ssx_error *err);
void store_abort(struct store_write *w);

#endif

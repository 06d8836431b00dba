/* An object on its way in: kept in memory (not in the heap) until it is whole and found to be what was announced. Needs
 * no disk, so that a plugin can run on a node that has nowhere to keep it. */
#ifndef BUNDLE_UPLOAD_H
#define BUNDLE_UPLOAD_H
#include "base/digest.h"

#include <sodium/crypto_hash_sha256.h>
#include <stdbool.h>

/* A zeroed one, or one that ended, is idle. */
struct upload {
    bool open;
    int fd;
    struct digest digest;
    uint64_t size, left;
    uint64_t *counted;                   /* bytes, as announced, of all that are open; borrowed */
    crypto_hash_sha256_state hash;
};

/* Each returns 0, or -1 with err (SSX_ERROR_PROTOCOL: not what was announced); after -1 the upload is idle. upload_end
 * gives a sealed descriptor, which is the caller's, at offset 0. *counted is size more from the beginning to the
 * end. */
int upload_begin(struct upload *u, const struct digest *digest, uint64_t size, uint64_t *counted,
                 struct ssx_error *err);
int upload_add(struct upload *u, const void *bytes, size_t n, struct ssx_error *err);
int upload_end(struct upload *u, int *fd, struct ssx_error *err);
void upload_abort(struct upload *u);

#endif

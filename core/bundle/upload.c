#include "bundle/upload.h"

#include "base/error.h"
#include "base/io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void close_upload(struct upload *u)
{
    *u->counted -= u->size;
    u->open = false;
}

void upload_abort(struct upload *u)
{
    if (!u->open)
        return;
    fd_close(&u->fd);
    close_upload(u);
}

int upload_begin(struct upload *u, const struct digest *digest, uint64_t size, uint64_t *counted,
                 struct ssx_error *err)
{
    u->fd = memfd_create("object", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (u->fd < 0)
        return error_system(err, "can't take the plugin");
    u->open = true;
    u->digest = *digest;
    u->size = u->left = size;
    u->counted = counted;
    *counted += size;
    crypto_hash_sha256_init(&u->hash);
    return 0;
}

int upload_add(struct upload *u, const void *bytes, size_t n, struct ssx_error *err)
{
    if (n > u->left) {
        error_set(err, SSX_ERROR_PROTOCOL, "the plugin is larger than announced");
    } else if (fd_write_all(u->fd, bytes, n)) {
        error_system(err, "can't take the plugin");
    } else {
        crypto_hash_sha256_update(&u->hash, bytes, n);
        u->left -= n;
        return 0;
    }
    upload_abort(u);
    return -1;
}

int upload_end(struct upload *u, int *fd, struct ssx_error *err)
{
    struct digest is;
    crypto_hash_sha256_final(&u->hash, is.bytes);
    if (u->left || !digest_equal(&is, &u->digest)) {
        upload_abort(u);
        return error_set(err, SSX_ERROR_PROTOCOL, "the plugin that arrived is not the one announced");
    }
    fcntl(u->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    lseek(u->fd, 0, SEEK_SET);
    *fd = u->fd;
    close_upload(u);
    return 0;
}

#include "bundle/store.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void store_open(struct store *s, const char *dir)
{
    if (dir)
        snprintf(s->dir, sizeof s->dir, "%s", dir);
    else if (!install_xdg_dir(s->dir, sizeof s->dir, "XDG_CACHE_HOME", ".cache"))
        s->dir[0] = 0;
}

const char *store_path(const struct store *s, const struct digest *digest, char *out, size_t size)
{
    char hex[DIGEST_HEX + 1];
    digest_hex(hex, digest);
    snprintf(out, size, "%s/objects/%s", s->dir, hex);
    return out;
}

int store_object(const struct store *s, const struct digest *digest)
{
    char path[PATH_MAX + 128];
    if (!s->dir[0]) {
        errno = ENOENT;
        return -1;
    }
    return open(store_path(s, digest, path, sizeof path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

void store_discard(const struct store *s, const struct digest *digest)
{
    char path[PATH_MAX + 128];
    if (s->dir[0])
        unlink(store_path(s, digest, path, sizeof path));
}

void store_abort(struct store_write *w)
{
    if (!w->open)
        return;
    close(w->fd);
    unlink(w->temp);
    w->open = false;
}

int store_begin(struct store_write *w, const struct store *s, const struct digest *digest, uint64_t size, struct ssx_error *err)
{
    char objects[PATH_MAX];
    if (!s->dir[0])
        return error_set(err, SSX_ERROR_SYSTEM, "there is nowhere to store plugins: neither XDG_CACHE_HOME nor HOME is set");
    if ((size_t)snprintf(objects, sizeof objects, "%s/objects", s->dir) >= sizeof objects - 32)
        return error_set(err, SSX_ERROR_SYSTEM, "the store's name is too long");
    if (dir_make(objects, err) || path_is_trusted(objects, err))
        return error_prefix(err, "can't store the plugin");
    snprintf(w->temp, sizeof w->temp, "%.*s/.in-XXXXXX", PATH_MAX - 16, objects);
    w->fd = mkostemp(w->temp, O_CLOEXEC);
    if (w->fd < 0)
        return error_system(err, "can't store the plugin in %s", objects);
    w->open = true;
    w->digest = *digest;
    w->left = size;
    crypto_hash_sha256_init(&w->hash);
    return 0;
}

int store_add(struct store_write *w, const void *bytes, size_t n, struct ssx_error *err)
{
    if (n > w->left) {
        error_set(err, SSX_ERROR_PROTOCOL, "the plugin is larger than announced");
    } else if (fd_write_all(w->fd, bytes, n)) {
        error_system(err, "can't store the plugin in %.*s", (int)(strrchr(w->temp, '/') - w->temp), w->temp);
    } else {
        crypto_hash_sha256_update(&w->hash, bytes, n);
        w->left -= n;
        return 0;
    }
    store_abort(w);
    return -1;
}

int store_end(struct store_write *w, const struct store *s, struct ssx_error *err)
{
    char path[PATH_MAX + 128];
    struct digest is;
    crypto_hash_sha256_final(&w->hash, is.bytes);
    if (w->left || !digest_equal(&is, &w->digest))
        error_set(err, SSX_ERROR_PROTOCOL, "the plugin that arrived is not the one announced");
    else if (fchmod(w->fd, 0500) || fsync(w->fd) || rename(w->temp, store_path(s, &w->digest, path, sizeof path)))
        error_system(err, "can't store the plugin in %s", s->dir);
    else {
        close(w->fd);
        w->open = false;
        return 0;
    }
    store_abort(w);
    return -1;
}

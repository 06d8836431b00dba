#include "bundle/store.h"

#include "base/error.h"
#include "base/file.h"
#include "base/install.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

/* The rest of fd into the temporary file, and that under its name. */
static int fill(int from, int to, const char *temp, const char *path)
{
    unsigned char block[32 << 10];
    off_t at = 0;
    for (ssize_t n; (n = pread(from, block, sizeof block, at)) != 0; at += n)
        if (n < 0 || fd_write_all(to, block, (size_t)n))
            return -1;
    return fchmod(to, 0500) || fsync(to) || rename(temp, path) ? -1 : 0;
}

int store_put(const struct store *s, const struct digest *digest, int fd, struct ssx_error *err)
{
    char objects[PATH_MAX], temp[PATH_MAX + 16], path[PATH_MAX + 128];
    if (!s->dir[0])
        return error_set(err, SSX_ERROR_SYSTEM, "there is nowhere to store plugins");
    if ((size_t)snprintf(objects, sizeof objects, "%s/objects", s->dir) >= sizeof objects - 32)
        return error_set(err, SSX_ERROR_SYSTEM, "the store's name is too long");
    if (dir_make(objects, err) || path_is_trusted(objects, err))
        return error_prefix(err, "can't store the plugin");
    snprintf(temp, sizeof temp, "%s/.in-XXXXXX", objects);
    int to = mkostemp(temp, O_CLOEXEC);
    if (to < 0)
        return error_system(err, "can't store the plugin in %s", objects);
    int rc = fill(fd, to, temp, store_path(s, digest, path, sizeof path));
    if (rc) {
        error_system(err, "can't store the plugin in %s", objects);
        unlink(temp);
    }
    fd_close(&to);
    return rc;
}

#include "bundle/store.h"

#include "base/error.h"
#include "base/file.h"
#include "base/install.h"
#include "base/io.h"

#include <dirent.h>
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
    s->lock_fd = -1;
}

void store_close(struct store *s) { fd_close(&s->lock_fd); }

const char *store_path(const struct store *s, const struct digest *digest, char *out, size_t size)
{
    char hex[DIGEST_HEX + 1];
    digest_hex(hex, digest);
    snprintf(out, size, "%s/objects/%s", s->dir, hex);
    return out;
}

/* Where nothing can be written, nothing can be removed either: a read lock is all that is needed there. */
static int open_lock(struct store *s)
{
    char path[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/lock", s->dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0 && (errno == EROFS || errno == EACCES))
        s->lock_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return s->lock_fd < 0 ? -1 : 0;
}

/* The object's byte; a file's bytes have numbers of 63 bits. */
static struct flock lock_of(const struct digest *digest, short type)
{
    uint64_t place = 0;
    for (size_t i = 0; i < 8; i++)
        place = place << 8 | digest->bytes[i];
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(place >> 2), .l_len = 1};
}

/* A write lock where the file could only be opened for reading: fcntl says EBADF, which tells nobody anything. */
static int say_why_read_only(const struct store *s)
{
    char path[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/lock", s->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        errno = ESTALE; /* no longer so; a lock is of the file as it was opened */
    fd_close(&fd);
    return -1;
}

static int take_lock(struct store *s, struct flock lock, bool wait)
{
    int rc;
    if (s->lock_fd < 0 && open_lock(s))
        return -1;
    do
        rc = fcntl(s->lock_fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
    while (rc && errno == EINTR);
    return rc && errno == EBADF ? say_why_read_only(s) : rc;
}

int store_lock(struct store *s, const struct digest *digest, short type)
{
    return take_lock(s, lock_of(digest, type), type == F_RDLCK);
}

int store_lock_generations(struct store *s, short type)
{
    /* behind those of all objects */
    const struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)1 << 62, .l_len = 1};
    return take_lock(s, lock, false);
}

bool store_is_held(struct store *s, const struct digest *digest)
{
    struct flock lock = lock_of(digest, F_WRLCK);
    return (s->lock_fd >= 0 || open_lock(s) == 0) && fcntl(s->lock_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_RDLCK;
}

int store_object(struct store *s, const struct digest *digest)
{
    char path[PATH_MAX + 128];
    if (!s->dir[0]) {
        errno = ENOENT;
        return -1;
    }
    store_lock(s, digest, F_RDLCK); /* without it we still read what we have opened, whole */
    int fd = open(store_path(s, digest, path, sizeof path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        futimens(fd, NULL);
    return fd;
}

void store_discard(const struct store *s, const struct digest *digest)
{
    char path[PATH_MAX + 128];
    if (s->dir[0])
        unlink(store_path(s, digest, path, sizeof path));
}

uint64_t store_size(const struct store *s)
{
    char path[PATH_MAX + 16];
    struct stat st;
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "%s/objects", s->dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        bytes += fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (d)
        closedir(d);
    return bytes;
}

static int copy(int from, int to)
{
    unsigned char block[32 << 10];
    off_t at = 0;
    for (ssize_t n; (n = pread(from, block, sizeof block, at)) != 0; at += n)
        if (n < 0 || fd_write_all(to, block, (size_t)n))
            return -1;
    return fchmod(to, 0500) || fsync(to) ? -1 : 0;
}

/* A file without a name until it is whole: whatever kills us, nothing is left. An object that has come in meanwhile is
 * the same one. */
static int put_nameless(int from, const char *objects, const char *path)
{
    char self[64];
    int to = open(objects, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (to < 0)
        return -1;
    snprintf(self, sizeof self, "/proc/self/fd/%d", to);
    int rc = copy(from, to) || (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) && errno != EEXIST) ? -1 : 0;
    fd_close(&to);
    return rc;
}

/* The same where a file system has no such files (NFS). */
static int put_renamed(int from, const char *objects, const char *path)
{
    char temp[PATH_MAX + 16];
    snprintf(temp, sizeof temp, "%s/.in-XXXXXX", objects);
    int to = mkostemp(temp, O_CLOEXEC);
    if (to < 0)
        return -1;
    int rc = copy(from, to) || rename(temp, path) ? -1 : 0;
    if (rc)
        unlink(temp);
    fd_close(&to);
    return rc;
}

int store_put(struct store *s, const struct digest *digest, int fd, struct ssx_error *err)
{
    char objects[PATH_MAX], path[PATH_MAX + 128];
    if (!s->dir[0])
        return error_set(err, SSX_ERROR_SYSTEM, "there is nowhere to store plugins");
    if ((size_t)snprintf(objects, sizeof objects, "%s/objects", s->dir) >= sizeof objects - 32)
        return error_set(err, SSX_ERROR_SYSTEM, "the store's name is too long");
    if (dir_make(objects, err) || path_is_trusted(objects, err))
        return error_prefix(err, "can't store the plugin");
    store_path(s, digest, path, sizeof path);
    store_lock(s, digest, F_RDLCK);
    int rc = put_nameless(fd, objects, path);
    if (rc && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        rc = put_renamed(fd, objects, path);
    return rc ? error_system(err, "can't store the plugin in %s", objects) : 0;
}

#include "base/file.h"

#include "base/error.h"
#include "base/io.h"
#include "base/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fd_read_all(struct buf *out, int fd, size_t limit, const char *name, struct ssx_error *err)
{
    size_t had = buf_length(out);
    for (;;) {
        unsigned char *at = buf_reserve(out, 16 << 10);
        if (!at)
            return error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", name);
        ssize_t n = read(fd, at, 16 << 10);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_system(err, "can't read %s", name);
        if (n == 0)
            return 0;
        out->end += (size_t)n;
        if (buf_length(out) - had > limit)
            return error_set(err, SSX_ERROR_REFUSED, "%s is larger than the limit of %zu bytes", name, limit);
    }
}

int file_read(struct buf *out, const char *path, size_t limit, struct ssx_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_system(err, "can't read %s", path);
    int rc = fd_read_all(out, fd, limit, path, err);
    fd_close(&fd);
    return rc;
}

int file_write_atomic(const char *path, const void *bytes, size_t n, mode_t mode, struct ssx_error *err)
{
    struct new_file f;
    if (new_file_open(&f, path, err))
        return -1;
    if (fd_write_all(f.fd, bytes, n) == 0)
        return new_file_keep(&f, mode, err);
    error_system(err, "can't write %s", path);
    new_file_drop(&f);
    return -1;
}

int dir_make(const char *path, struct ssx_error *err)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return error_set(err, SSX_ERROR_SYSTEM, "can't make the directory %s: the name is too long", path);
    for (char *slash = part; slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = 0;
        if (mkdir(part, 0700) && errno != EEXIST)
            return error_system(err, "can't make the directory %s", part);
        if (slash)
            *slash = '/';
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return error_set(err, SSX_ERROR_SYSTEM, "%s is not a directory", path);
    return 0;
}

int path_is_trusted(const char *path, struct ssx_error *err)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return error_system(err, "can't use %s", path);
    for (;;) {
        struct stat st;
        const char *part = real[0] ? real : "/";
        if (stat(part, &st))
            return error_system(err, "can't use %s", part);
        if (st.st_uid != 0 && st.st_uid != geteuid())
            return error_set(err, SSX_ERROR_REFUSED, "won't use %s: %s belongs to uid %u, neither root nor you", path,
                             part, (unsigned)st.st_uid);
        if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX)))
            return error_set(err, SSX_ERROR_REFUSED, "won't use %s: %s is writable by others (chmod go-w %s)", path, part, part);
        char *slash = strrchr(real, '/');
        if (!slash || !real[0])
            return 0;
        *slash = 0;
    }
}

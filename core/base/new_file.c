#include "base/new_file.h"

#include "base/error.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int new_file_open(struct new_file *out, const char *path, struct ssx_error *err)
{
    if ((size_t)snprintf(out->path, sizeof out->path, "%s", path) >= sizeof out->path ||
        (size_t)snprintf(out->temp, sizeof out->temp, "%s.XXXXXX", path) >= sizeof out->temp)
        return error_set(err, SSX_ERROR_SYSTEM, "can't write %s: the name is too long", path);
    out->fd = mkostemp(out->temp, O_CLOEXEC);
    return out->fd < 0 ? error_system(err, "can't write %s", path) : 0;
}

int new_file_keep(struct new_file *f, mode_t mode, struct ssx_error *err)
{
    if (fchmod(f->fd, mode) || fsync(f->fd) || rename(f->temp, f->path)) {
        error_system(err, "can't write %s", f->path);
        new_file_drop(f);
        return -1;
    }
    fd_close(&f->fd);
    return 0;
}

void new_file_drop(struct new_file *f)
{
    fd_close(&f->fd);
    unlink(f->temp);
}

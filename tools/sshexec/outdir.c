#include "outdir.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

int outdir_open(struct outdir *o, const char *path, size_t hosts, struct ssx_error *err)
{
    *o = (struct outdir){.fd = -1, .begun = calloc(hosts + 1, sizeof *o->begun), .path = path};
    if (!o->begun)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu hosts", hosts);
    if (dir_make(path, err))
        return error_prefix(err, "--outdir");
    o->fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return o->fd < 0 ? error_system(err, "can't open the directory %s", path) : 0;
}

void outdir_close(struct outdir *o)
{
    fd_close(&o->fd);
    free(o->begun);
}

void outdir_name(char out[NAME_MAX + 1], const char *name)
{
    size_t n = 0;
    for (size_t i = 0; name[i] && n + 3 < NAME_MAX; i++) {
        unsigned char c = (unsigned char)name[i];
        bool plain = c > 0x20 && c < 0x7f && c != '/' && c != '%' && (i || c != '.');
        n += (size_t)snprintf(out + n, NAME_MAX + 1 - n, plain ? "%c" : "%%%02X", c);
    }
    out[n] = 0;
}

int outdir_write(struct outdir *o, size_t host, const char *name, const void *bytes, size_t n, struct ssx_error *err)
{
    char file[NAME_MAX + 1];
    if (!n && o->begun[host])
        return 0;
    outdir_name(file, name);
    int fd = openat(
        o->fd, file,
        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_APPEND | (o->begun[host] ? 0 : O_TRUNC), 0666);
    int rc = fd < 0 || fd_write_all(fd, bytes, n) ? error_system(err, "can't write %s/%s", o->path, file) : 0;
    o->begun[host] = true;
    fd_close(&fd);
    return rc;
}

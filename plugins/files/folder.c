#include "folder.h"

#include "fail.h"
#include "status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFTOVERS_MAX 4096

char *folder_path(const struct folder *f, const char *name, char *out)
{
    const struct folder *line[DEPTH_MAX + 1];
    size_t n = 0, used = 0;
    for (; f && n <= DEPTH_MAX; f = f->up)
        line[n++] = f;
    out[0] = '\0';
    for (bool last = false; !last && used < PATH_BYTES - 1;) {
        const char *part = n ? line[--n]->name : name;
        last = part == name;
        int more = part ? snprintf(out + used, PATH_BYTES - used, "%s%s", used && out[used - 1] != '/' ? "/" : "", part) : 0;
        used += more > 0 ? (size_t)more : 0;
    }
    return out;
}

/* Takes over fd. */
static struct folder *folder_new(struct folder *up, const char *name, int fd, struct ssx_error *err)
{
    struct folder *f = calloc(1, sizeof *f);
    if (!f || !(f->name = strdup(name))) {
        fail(err, SSX_ERROR_SYSTEM, "out of memory");
        free(f);
        close(fd);
        return NULL;
    }
    f->fd = fd;
    f->refs = 1;
    f->up = up;
    if (up) {
        up->refs++;
        f->depth = up->depth + 1;
    }
    return f;
}

struct folder *folder_open(const char *path, bool make, struct ssx_error *err)
{
    if (make && mkdir(path, 0777) && errno != EEXIST) {
        fail_errno(err, "can't make the directory %s", path);
        return NULL;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fail_errno(err, "can't enter %s", path);
        return NULL;
    }
    return folder_new(NULL, path, fd, err);
}

/* One that its owner can't write to, as one that a finished transfer left, is opened to him until it is left again. */
static void let_owner_in(int fd)
{
    struct stat st;
    if (status_of(fd, &st) == 0 && (st.st_mode & S_IRWXU) != S_IRWXU && st.st_uid == geteuid())
        fchmod(fd, (st.st_mode & MODE_BITS) | S_IRWXU);
}

struct folder *folder_enter(struct folder *up, const struct entry *e, bool *made, struct ssx_error *err)
{
    char path[PATH_BYTES];
    *made = mkdirat(up->fd, e->name, 0700) == 0;
    if (!*made && errno != EEXIST) {
        fail_errno(err, "can't make the directory %s", folder_path(up, e->name, path));
        return NULL;
    }
    int fd = openat(up->fd, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) {
        fail(err, SSX_ERROR_SYSTEM, "%s is there, and is no directory", folder_path(up, e->name, path));
        return NULL;
    }
    if (fd < 0) {
        fail_errno(err, "can't enter %s", folder_path(up, e->name, path));
        return NULL;
    }
    let_owner_in(fd);
    up->changed |= *made;
    struct folder *f = folder_new(up, e->name, fd, err);
    if (f) {
        f->mode = e->mode;
        f->mtime = e->mtime;
        f->nanoseconds = e->nanoseconds;
    }
    return f;
}

static int folder_finish(struct folder *f, struct ssx_error *err)
{
    char path[PATH_BYTES];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = f->mtime, .tv_nsec = f->nanoseconds}};
    /* In this order, for the disk: the first of several directories then writes out the names in all, and the others
     * find nothing to do. */
    if (f->changed && fsync(f->fd))
        return fail_errno(err, "can't write %s to disk", folder_path(f, NULL, path));
    if (f->up && (fchmod(f->fd, f->mode & MODE_BITS) || futimens(f->fd, times)))
        return fail_errno(err, "can't set mode and time of %s", folder_path(f, NULL, path));
    return 0;
}

int folder_release(struct folder *f, bool finished, struct ssx_error *err)
{
    int rc = 0;
    while (f && --f->refs == 0) {
        struct folder *up = f->up;
        if (finished && folder_finish(f, err))
            rc = -1;
        close(f->fd);
        for (size_t i = 0; i < f->leftover_count; i++)
            free(f->leftovers[i]);
        free(f->leftovers);
        free(f->name);
        free(f);
        f = up;
    }
    return rc;
}

void folder_scan(struct folder *f)
{
    int fd = f->scanned ? -1 : openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    f->scanned = true;
    if (!list) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *d; f->leftover_count < LEFTOVERS_MAX && (d = readdir(list));) {
        if (strncmp(d->d_name, PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) != 0)
            continue;
        char **longer = realloc(f->leftovers, (f->leftover_count + 1) * sizeof *longer), *name = longer ? strdup(d->d_name) : NULL;
        if (longer)
            f->leftovers = longer;
        if (!name)
            break;
        f->leftovers[f->leftover_count++] = name;
    }
    closedir(list);
}

int folder_link(struct folder *f, const char *name, const struct entry *e, struct ssx_error *err)
{
    char path[PATH_BYTES];
    static const char partial[] = PARTIAL_PREFIX "link"; /* there only for as long as two system calls take */
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = e->mtime, .tv_nsec = e->nanoseconds}};
    if (symlinkat(e->target, f->fd, partial) && (errno != EEXIST || unlinkat(f->fd, partial, 0) || symlinkat(e->target, f->fd, partial)))
        return fail_errno(err, "can't make the link %s", folder_path(f, name, path));
    utimensat(f->fd, partial, times, AT_SYMLINK_NOFOLLOW); /* some file systems keep no times of links */
    if (renameat(f->fd, partial, f->fd, name)) {
        fail_errno(err, "can't put the link %s in its place", folder_path(f, name, path));
        unlinkat(f->fd, partial, 0);
        return -1;
    }
    f->changed = true;
    return 0;
}

#include "giver.h"

#include "fail.h"
#include "status.h"
#include "stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file that was announced. It stays open, so that what is sent is what was announced. */
struct announced {
    int fd;
    uint64_t size;
    char *path;
    uint64_t offset;             /* from where it is to be sent */
    struct sha256 digest;        /* of what lies before */
};

struct giver {
    struct stream *stream;
    const struct observer *observer;
    struct ssx_error *err;
    char path[PATH_BYTES];       /* of what is looked at, for messages */
    size_t path_n;
    unsigned depth;
    struct announced batch[BATCH_FILES];
    size_t count, entered;       /* files and directories since the last A */
    uint64_t given, problems;
};

/* --- what can't be given --- */

static void problem(struct giver *g, const char *path, const char *why)
{
    char text[PATH_BYTES + 256];
    snprintf(text, sizeof text, "%s: %s; not sent", path, why);
    g->observer->warn(g->observer->user, text);
    g->problems++;
}

static void path_push(struct giver *g, const char *name)
{
    bool slash = g->path_n && g->path[g->path_n - 1] != '/';
    int n = snprintf(g->path + g->path_n, sizeof g->path - g->path_n, "%s%s", slash ? "/" : "", name);
    size_t room = sizeof g->path - 1 - g->path_n;
    g->path_n += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room;
}

static void path_pop(struct giver *g, size_t n)
{
    g->path_n = n;
    g->path[n] = '\0';
}

/* --- the bodies of a batch --- */

/* What the taker has counts only where its digest is ours: then the bytes behind it are all that travels. */
static int take_offer(struct giver *g, struct record *r, size_t *next)
{
    unsigned char theirs[SHA256_SIZE], ours[SHA256_SIZE], *bytes = stream_chunk(g->stream, g->err);
    uint32_t index = 0;
    uint64_t have = 0;
    struct sha256 digest;
    if (!bytes)
        return -1;
    if (record_u32(r, &index) || record_u64(r, &have) || record_bytes(r, theirs, sizeof theirs) || index < *next || index >= g->count ||
        have > g->batch[index].size)
        return stream_refuse(r, g->err);
    *next = index + 1;
    sha256_start(&digest);
    for (ssize_t n; digest.n < have; sha256_add(&digest, bytes, (size_t)n)) {
        uint64_t left = have - digest.n;
        n = pread(g->batch[index].fd, bytes, left < STREAM_PIECE ? (size_t)left : STREAM_PIECE, (off_t)digest.n);
        if (n <= 0)
            return 0;
    }
    sha256_digest(&digest, ours);
    if (memcmp(ours, theirs, sizeof ours) == 0) {
        g->batch[index].digest = digest;
        g->batch[index].offset = have;
    }
    return 0;
}

static int take_offers(struct giver *g)
{
    struct record r;
    size_t next = 0;
    if (stream_put(g->stream, RECORD_ASK, NULL, 0, NULL, 0, g->err) || stream_flush(g->stream, g->err))
        return -1;
    while (stream_next(g->stream, &r, g->err) == 0) {
        if (r.kind == RECORD_GO)
            return 0;
        if (r.kind != RECORD_HAVE)
            return stream_refuse(&r, g->err);
        if (take_offer(g, &r, &next))
            return -1;
    }
    return -1;
}

/* Nothing comes while bodies go, but for the news that the taker has failed. */
static int hear_complaints(struct giver *g)
{
    struct record r;
    if (!stream_has_input(g->stream))
        return 0;
    return stream_next(g->stream, &r, g->err) ? -1 : stream_refuse(&r, g->err);
}

/* Returns 0, also where the file turned out shorter than announced (*whole is then false), or -1. */
static int give_bytes(struct giver *g, struct announced *a, bool *whole)
{
    *whole = true;
    while (a->digest.n < a->size) {
        unsigned char *at = stream_chunk(g->stream, g->err);
        uint64_t left = a->size - a->digest.n;
        if (!at || hear_complaints(g))
            return -1;
        ssize_t n = pread(a->fd, at, left < STREAM_PIECE ? (size_t)left : STREAM_PIECE, (off_t)a->digest.n);
        if (n <= 0) {
            problem(g, a->path, n ? strerror(errno) : "it became shorter while it was read");
            *whole = false;
            return stream_put(g->stream, RECORD_NO_TOTAL, NULL, 0, NULL, 0, g->err);
        }
        sha256_add(&a->digest, at, (size_t)n);
        if (stream_put_chunk(g->stream, (size_t)n, g->err))
            return -1;
        if (a->size > STREAM_PIECE)
            g->observer->progress(g->observer->user, a->digest.n, a->size, a->path);
    }
    return 0;
}

static int give_body(struct giver *g, struct announced *a)
{
    struct transferred t = {.name = a->path, .size = a->size, .bytes = a->size - a->offset};
    unsigned char offset[8];
    bool whole;
    put_u64(offset, a->offset);
    if (stream_put(g->stream, RECORD_BODY, offset, sizeof offset, NULL, 0, g->err) || give_bytes(g, a, &whole))
        return -1;
    if (!whole)
        return 0;
    sha256_digest(&a->digest, t.digest);
    g->observer->file(g->observer->user, &t);
    g->observer->progress(g->observer->user, ++g->given, 0, a->path);
    return stream_put(g->stream, RECORD_TOTAL, t.digest, sizeof t.digest, NULL, 0, g->err);
}

static void batch_drop(struct giver *g)
{
    for (size_t i = 0; i < g->count; i++) {
        close(g->batch[i].fd);
        free(g->batch[i].path);
    }
    g->count = g->entered = 0;
}

static int give_batch(struct giver *g)
{
    int rc = take_offers(g);
    for (size_t i = 0; rc == 0 && i < g->count; i++)
        rc = give_body(g, &g->batch[i]);
    batch_drop(g);
    return rc;
}

/* --- the walk --- */

static void entry_fill(struct entry *e, const struct stat *st, const char *name)
{
    *e = (struct entry){.mode = st->st_mode & MODE_BITS, .mtime = st->st_mtim.tv_sec, .nanoseconds = (uint32_t)st->st_mtim.tv_nsec,
                        .size = (uint64_t)st->st_size};
    snprintf(e->name, sizeof e->name, "%s", name);
}

/* Files of /proc and the like say that they are empty, and are not. */
static bool hides_its_size(int fd, const struct stat *st)
{
    char byte;
    return st->st_size == 0 && st->st_blocks == 0 && pread(fd, &byte, 1, 0) > 0;
}

/* Announces an open file, which this takes over. */
static int give_file(struct giver *g, int fd, const struct stat *st, const char *name)
{
    struct entry e;
    char *path = strdup(g->path);
    if (!path || hides_its_size(fd, st)) {
        problem(g, g->path, path ? "it hides its size, as the kernel's own files do" : "out of memory");
        free(path);
        close(fd);
        return 0;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    g->batch[g->count] = (struct announced){.fd = fd, .size = (uint64_t)st->st_size, .path = path};
    sha256_start(&g->batch[g->count++].digest);
    entry_fill(&e, st, name);
    if (stream_put_entry(g->stream, RECORD_FILE, &e, g->err))
        return -1;
    return g->count == BATCH_FILES ? give_batch(g) : 0;
}

static int give_link(struct giver *g, int dir, const struct stat *st, const char *name)
{
    struct entry e;
    entry_fill(&e, st, name);
    ssize_t n = readlinkat(dir, name, e.target, PATH_BYTES);
    if (n <= 0 || n == PATH_BYTES) {
        problem(g, g->path, n < 0 ? strerror(errno) : "its target is too long");
        return 0;
    }
    e.target[n] = '\0';
    return stream_put_entry(g->stream, RECORD_LINK, &e, g->err);
}

static int give_contents(struct giver *g, int fd);

static int give_directory(struct giver *g, int fd, const struct stat *st, const char *name)
{
    struct entry e;
    entry_fill(&e, st, name);
    if (g->depth == DEPTH_MAX) {
        problem(g, g->path, "too many directories below each other");
        close(fd);
        return 0;
    }
    if (stream_put_entry(g->stream, RECORD_DIRECTORY, &e, g->err)) {
        close(fd);
        return -1;
    }
    g->depth++;
    g->entered++;
    int rc = give_contents(g, fd);
    g->depth--;
    if (rc == 0)
        rc = stream_put(g->stream, RECORD_UP, NULL, 0, NULL, 0, g->err);
    return rc == 0 && g->entered == BATCH_DIRECTORIES ? give_batch(g) : rc;
}

/* One name of a directory, or a path that was asked for (follow). Opening doesn't block on a fifo, nor follow a link
 * that wasn't there a moment ago. */
static int give_name(struct giver *g, int dir, const char *path, const char *name, bool follow)
{
    struct stat st;
    if (status_at(dir, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW)) {
        problem(g, g->path, strerror(errno));
        return 0;
    }
    if (S_ISLNK(st.st_mode))
        return give_link(g, dir, &st, name);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        problem(g, g->path, "neither a file nor a directory nor a link");
        return 0;
    }
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0 || status_of(fd, &st)) {
        problem(g, g->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return 0;
    }
    return S_ISDIR(st.st_mode) ? give_directory(g, fd, &st, name) : give_file(g, fd, &st, name);
}

/* All that is in a directory, which this takes over. What a cut transfer left there is no part of it. */
static int give_contents(struct giver *g, int fd)
{
    size_t n = g->path_n;
    int rc = 0;
    DIR *list = fdopendir(fd);
    if (!list) {
        problem(g, g->path, strerror(errno));
        close(fd);
        return 0;
    }
    for (struct dirent *d; rc == 0 && (d = readdir(list));) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || strncmp(d->d_name, PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) == 0)
            continue;
        path_push(g, d->d_name);
        rc = give_name(g, fd, d->d_name, d->d_name, false);
        path_pop(g, n);
    }
    closedir(list);
    return rc;
}

const char *giver_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 ? name : NULL;
}

static int give_path(struct giver *g, const char *path)
{
    const char *name = giver_name(path);
    path_pop(g, 0);
    path_push(g, path);
    if (name)
        return give_name(g, AT_FDCWD, path, name, true);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        problem(g, path, strerror(errno));
        return 0;
    }
    return give_contents(g, fd);
}

/* --- the conversation --- */

/* The target is a directory where several things go there, or one that is a directory itself: whatever the target is
 * now, so that a transfer that was cut goes on when the same words are said again. A directory is worth making the
 * target for. */
static int start(struct giver *g, const char *const *paths, size_t count)
{
    unsigned char head[sizeof STREAM_MAGIC + 1] = STREAM_MAGIC;
    struct stat st;
    unsigned flags = count > 1 ? START_DIRECTORY : 0;
    for (size_t i = 0; i < count; i++) {
        if (status_at(AT_FDCWD, paths[i], &st, 0)) {
            if (count == 1) /* nothing else to do: nothing happens at the other end */
                return fail_errno(g->err, "can't read %s", paths[i]);
        } else if (S_ISDIR(st.st_mode)) {
            flags |= START_DIRECTORY | START_MAKE;
        }
    }
    head[sizeof head - 2] = STREAM_VERSION;
    head[sizeof head - 1] = (unsigned char)flags;
    return stream_put(g->stream, RECORD_START, head, sizeof head, NULL, 0, g->err);
}

static int finish(struct giver *g, struct tally *tally)
{
    unsigned char problems[8];
    struct record r;
    put_u64(problems, g->problems);
    if (give_batch(g) || stream_put(g->stream, RECORD_END, problems, sizeof problems, NULL, 0, g->err) || stream_flush(g->stream, g->err))
        return -1;
    return stream_expect(g->stream, RECORD_KEPT, &r, g->err) ? -1 : record_tally(&r, tally, g->err);
}

int giver_run(int in, int out, const char *const *paths, size_t count, const struct observer *observer, struct tally *tally,
              struct ssx_error *err)
{
    struct giver *g = calloc(1, sizeof *g);
    int rc = -1;
    if (g && (g->stream = stream_new(in, out, observer))) {
        g->observer = observer;
        g->err = err;
        rc = start(g, paths, count);
        for (size_t i = 0; rc == 0 && i < count; i++)
            rc = give_path(g, paths[i]);
        if (rc == 0)
            rc = finish(g, tally);
        if (rc)
            stream_fail(g->stream, err);
        batch_drop(g);
        free(g->stream);
    } else {
        fail(err, SSX_ERROR_SYSTEM, "out of memory");
    }
    free(g);
    return rc;
}

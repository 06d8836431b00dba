#include "fleet/spool.h"

#include "base/error.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE (64u << 10)

struct extent { off_t at; size_t n; };

struct spool {
    size_t memory, held;             /* what may be in memory, and is */
    struct spooled *first;           /* those that have any of it */
    int fd;
    off_t end;
};

int spool_new(struct spool **out, size_t memory)
{
    *out = calloc(1, sizeof **out);
    if (*out)
        **out = (struct spool){.memory = memory, .fd = -1};
    return *out ? 0 : -1;
}

void spool_free(struct spool *s)
{
    if (s)
        fd_close(&s->fd);
    free(s);
}

/* --- what is in memory --- */

static void join(struct spool *s, struct spooled *o)
{
    o->before = NULL;
    o->next = s->first;
    if (s->first)
        s->first->before = o;
    s->first = o;
}

static void leave(struct spool *s, struct spooled *o)
{
    *(o->before ? &o->before->next : &s->first) = o->next;
    if (o->next)
        o->next->before = o->before;
    s->held -= buf_length(&o->rest);
    buf_free(&o->rest);
}

/* --- the file --- */

static int open_file(struct spool *s, struct ssx_error *err)
{
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = "/var/tmp"; /* /tmp may be memory */
    s->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return s->fd < 0 ? error_system(err, "can't keep outputs in a file in %s (TMPDIR names another place)", dir) : 0;
}

static int write_at(struct spool *s, const unsigned char *bytes, size_t n, struct ssx_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t wrote = pwrite(s->fd, bytes + done, n - done, s->end + (off_t)done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return error_system(err, "can't keep outputs in a temporary file");
        done += (size_t)wrote;
    }
    return 0;
}

static int put_away(struct spool *s, struct spooled *o, struct ssx_error *err)
{
    struct extent extent = {s->end, buf_length(&o->rest)};
    if (write_at(s, buf_data(&o->rest), extent.n, err))
        return -1;
    if (buf_add(&o->extents, &extent, sizeof extent))
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    s->end += (off_t)extent.n;
    leave(s, o);
    return 0;
}

int spool_add(struct spool *s, struct spooled *o, const void *bytes, size_t n, struct ssx_error *err)
{
    bool first = !buf_length(&o->rest);
    if (buf_add(&o->rest, bytes, n))
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    if (first && n)
        join(s, o);
    o->size += n;
    s->held += n;
    if (s->held <= s->memory)
        return 0;
    if (s->fd < 0 && open_file(s, err))
        return -1;
    while (s->first)
        if (put_away(s, s->first, err))
            return -1;
    return 0;
}

static int read_extent(struct spool *s, const struct extent *e, int (*visit)(void *ctx, const void *bytes, size_t n),
                       void *ctx, struct ssx_error *err)
{
    unsigned char piece[PIECE];
    for (size_t done = 0; done < e->n;) {
        ssize_t n = pread(s->fd, piece, e->n - done < sizeof piece ? e->n - done : sizeof piece, e->at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_system(err, "can't read outputs back from a temporary file");
        int rc = visit(ctx, piece, (size_t)n);
        if (rc)
            return rc;
        done += (size_t)n;
    }
    return 0;
}

int spool_read(struct spool *s, const struct spooled *o, int (*visit)(void *ctx, const void *bytes, size_t n),
               void *ctx, struct ssx_error *err)
{
    const struct extent *extents = (const void *)buf_data(&o->extents);
    int rc = 0;
    for (size_t i = 0; !rc && i < buf_length(&o->extents) / sizeof *extents; i++)
        rc = read_extent(s, &extents[i], visit, ctx, err);
    return rc || !buf_length(&o->rest) ? rc : visit(ctx, buf_data(&o->rest), buf_length(&o->rest));
}

void spool_drop(struct spool *s, struct spooled *o)
{
    const struct extent *extents = (const void *)buf_data(&o->extents);
    for (size_t i = 0; i < buf_length(&o->extents) / sizeof *extents; i++)
        fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, extents[i].at, (off_t)extents[i].n);
    if (buf_length(&o->rest))
        leave(s, o);
    buf_free(&o->extents);
    *o = (struct spooled){0};
}

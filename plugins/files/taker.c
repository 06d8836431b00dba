#include "taker.h"

#include "fail.h"
#include "partial.h"
#include "status.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct taker {
    struct stream *stream;
    const struct observer *observer;
    struct tally *tally;
    struct ssx_error *err;
    struct folder *here;           /* what names now stand in */
    char *new_name;                /* of the one thing that comes; NULL: things keep their names */
    struct partial batch[BATCH_FILES];
    size_t count, entered;         /* files and directories since the last A */
};

/* --- where things go --- */

static bool is_directory(const char *path)
{
    struct stat st;
    return status_at(AT_FDCWD, path, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

/* path as the directory above, and a name in it. */
static int open_above(struct taker *t, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *above = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    t->new_name = strdup(name);
    if (above && t->new_name)
        t->here = folder_open(above, false, t->err);
    else
        fail(t->err, SSX_ERROR_SYSTEM, "out of memory");
    free(above);
    return t->here ? 0 : -1;
}

static int start(struct taker *t, const char *path)
{
    char magic[sizeof STREAM_MAGIC - 1];
    uint8_t version = 0, flags = 0;
    struct record r;
    if (stream_next(t->stream, &r, t->err))
        return -1;
    if (r.kind != RECORD_START || record_bytes(&r, magic, sizeof magic) || memcmp(magic, STREAM_MAGIC, sizeof magic) != 0 || record_u8(&r, &version) ||
        record_u8(&r, &flags))
        return stream_refuse(&r, t->err);
    if (version != STREAM_VERSION)
        return fail(t->err, SSX_ERROR_PROTOCOL, "the files come in a stream of version %d, this end knows version %d", version, STREAM_VERSION);
    if (!*path)
        return fail(t->err, SSX_ERROR_USAGE, "no path to put anything at");
    if (!(flags & START_DIRECTORY) && path[strlen(path) - 1] != '/' && !is_directory(path))
        return open_above(t, path);
    t->here = folder_open(path, flags & START_MAKE, t->err);
    return t->here ? 0 : -1;
}

/* The name of what comes, for here. */
static const char *placed_name(const struct taker *t, const struct entry *e)
{
    return t->new_name && !t->here->up ? t->new_name : e->name;
}

/* --- entries --- */

static int take_directory(struct taker *t, const struct entry *e)
{
    bool made;
    if (t->here->depth == DEPTH_MAX || t->entered == BATCH_DIRECTORIES || t->new_name)
        return fail(t->err, SSX_ERROR_PROTOCOL, "refused: too many directories");
    struct folder *f = folder_enter(t->here, e, &made, t->err);
    if (!f)
        return -1;
    folder_release(t->here, false, t->err); /* the new one has a reference */
    t->here = f;
    t->entered++;
    t->tally->directories += made;
    return 0;
}

static int leave_directory(struct taker *t)
{
    struct folder *left = t->here;
    if (!left->up)
        return fail(t->err, SSX_ERROR_PROTOCOL, "refused: a way out of the target");
    t->here = left->up;
    t->here->refs++;
    return folder_release(left, true, t->err);
}

static int take_file(struct taker *t, const struct entry *e)
{
    if (t->count == BATCH_FILES || (t->new_name && t->count))
        return fail(t->err, SSX_ERROR_PROTOCOL, "refused: too many files at once");
    return partial_init(&t->batch[t->count++], t->here, placed_name(t, e), e, t->err);
}

static int take_entry(struct taker *t, struct record *r)
{
    struct entry e;
    if (record_entry(r, &e, t->err))
        return -1;
    if (r->kind == RECORD_DIRECTORY)
        return take_directory(t, &e);
    if (r->kind == RECORD_FILE)
        return take_file(t, &e);
    t->tally->links++;
    return folder_link(t->here, placed_name(t, &e), &e, t->err);
}

/* --- a batch of files --- */

static int say_what_there_is(struct taker *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct partial *p = &t->batch[i];
        unsigned char bytes[12 + SHA256_SIZE];
        if (partial_find(p, t->err))
            return -1;
        if (!p->digest.n && !p->in_place)
            continue;
        sha256_digest(&p->digest, put_u64(put_u32(bytes, (uint32_t)i), p->digest.n));
        if (stream_put(t->stream, RECORD_HAVE, bytes, sizeof bytes, NULL, 0, t->err))
            return -1;
    }
    return stream_put(t->stream, RECORD_GO, NULL, 0, NULL, 0, t->err) || stream_flush(t->stream, t->err) ? -1 : 0;
}

static int count_file(struct taker *t, struct partial *p, uint64_t offset, const unsigned char *digest)
{
    char path[PATH_BYTES];
    struct transferred done = {.name = folder_path(p->folder, p->name, path), .size = p->size, .bytes = p->size - offset};
    memcpy(done.digest, digest, sizeof done.digest);
    *(p->in_place ? &t->tally->skipped : &t->tally->files) += 1;
    t->tally->kept += offset;
    t->observer->file(t->observer->user, &done);
    t->observer->progress(t->observer->user, t->tally->files + t->tally->skipped, 0, done.name);
    return 0;
}

static int take_chunk(struct taker *t, struct partial *p, const struct record *r)
{
    char path[PATH_BYTES];
    if (!r->n || p->in_place || partial_write(p, r->at, r->n, t->err))
        return r->n && !p->in_place ? -1 : stream_refuse(r, t->err);
    t->tally->bytes += r->n;
    if (p->size > STREAM_PIECE)
        t->observer->progress(t->observer->user, p->digest.n, p->size, folder_path(p->folder, p->name, path));
    return 0;
}

/* The bytes of one file, and then its digest. *keep: whether what there is of it is worth keeping after a failure. */
static int take_body(struct taker *t, struct partial *p, bool *keep)
{
    unsigned char digest[SHA256_SIZE];
    uint64_t offset;
    struct record r;
    *keep = true;
    if (stream_expect(t->stream, RECORD_BODY, &r, t->err))
        return -1;
    if (record_u64(&r, &offset))
        return stream_refuse(&r, t->err);
    if (partial_begin(p, offset, t->err))
        return -1;
    while (stream_next(t->stream, &r, t->err) == 0) {
        *keep = false;
        if (r.kind == RECORD_NO_TOTAL)
            return 0;
        if (r.kind == RECORD_TOTAL)
            return record_bytes(&r, digest, sizeof digest) ? stream_refuse(&r, t->err)
                                                           : partial_finish(p, digest, t->err) || count_file(t, p, offset, digest) ? -1 : 0;
        if (r.kind != RECORD_CHUNK)
            return stream_refuse(&r, t->err);
        if (take_chunk(t, p, &r))
            return -1;
        *keep = true;
    }
    *keep = t->stream->cut;
    return -1;
}

static int take_batch(struct taker *t)
{
    int rc = say_what_there_is(t);
    for (size_t i = 0; i < t->count; i++) {
        bool keep = true;
        if (rc == 0)
            rc = take_body(t, &t->batch[i], &keep);
        if (partial_dispose(&t->batch[i], keep, rc == 0, t->err))
            rc = -1;
    }
    t->count = t->entered = 0;
    return rc;
}

/* --- the conversation --- */

static int finish(struct taker *t, struct record *r)
{
    struct folder *top = t->here;
    if (record_u64(r, &t->tally->problems) || top->up || t->count)
        return stream_refuse(r, t->err);
    t->here = NULL;
    if (folder_release(top, true, t->err))
        return -1;
    return stream_put_tally(t->stream, t->tally, t->err) || stream_flush(t->stream, t->err) ? -1 : 0;
}

static int converse(struct taker *t, const char *path)
{
    struct record r;
    if (start(t, path))
        return -1;
    for (int rc = 0; rc == 0;) {
        if (stream_next(t->stream, &r, t->err))
            return -1;
        switch (r.kind) {
        case RECORD_DIRECTORY: case RECORD_FILE: case RECORD_LINK: rc = take_entry(t, &r); break;
        case RECORD_UP: rc = leave_directory(t); break;
        case RECORD_ASK: rc = take_batch(t); break;
        case RECORD_END: return finish(t, &r);
        default: return stream_refuse(&r, t->err);
        }
    }
    return -1;
}

static void taker_free(struct taker *t)
{
    struct ssx_error ignored = {0};
    for (size_t i = 0; i < t->count; i++)
        partial_dispose(&t->batch[i], true, false, &ignored);
    folder_release(t->here, false, &ignored);
    free(t->new_name);
    free(t->stream);
    free(t);
}

int taker_run(int in, int out, const char *path, const struct observer *observer, struct tally *tally, struct ssx_error *err)
{
    struct taker *t = calloc(1, sizeof *t);
    if (!t || !(t->stream = stream_new(in, out, observer))) {
        free(t);
        return fail(err, SSX_ERROR_SYSTEM, "out of memory");
    }
    t->observer = observer;
    t->tally = tally;
    t->err = err;
    *tally = (struct tally){0};
    int rc = converse(t, path);
    if (rc)
        stream_fail(t->stream, err);
    taker_free(t);
    return rc;
}

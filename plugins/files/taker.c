#include "taker.h"

#include "fail.h"
#include "giver.h"
#include "partial.h"
#include "status.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_BYTES (16u << 20) /* of files that wait for their names */

struct taker {
    struct stream *stream;
    const struct observer *observer;
    struct tally *tally;
    struct ssx_error *err;
    const struct asked *asked;     /* NULL: whatever the giver gives */
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
    if (r.kind != RECORD_START || record_bytes(&r, magic, sizeof magic) || memcmp(magic, STREAM_MAGIC, sizeof magic) != 0 ||
        record_u8(&r, &version) || record_u8(&r, &flags))
        return stream_refuse(&r, t->err);
    if (version != STREAM_VERSION)
        return fail(t->err, SSX_ERROR_PROTOCOL, "the files come in a stream of version %d, this end knows version %d",
                    version, STREAM_VERSION);
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

/* Whether it stands for what was asked. Where that was a file to put in a home directory, a giver could else send a
 * .ssh to go there; or, for the one file that was asked for, a link through which the next transfer writes. "~" goes by
 * a name that only the far end knows. */
static bool is_asked_for(const struct taker *t, enum record_kind kind, const struct entry *e)
{
    bool found = !t->asked || t->here->up;
    for (size_t i = 0; !found && i < t->asked->count; i++) {
        const char *name = giver_name(t->asked->paths[i]);
        found = !name || (kind != RECORD_LINK && (strcmp(name, "~") == 0 || strcmp(name, e->name) == 0));
    }
    return found;
}

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
    if (!is_asked_for(t, r->kind, &e))
        return fail(t->err, SSX_ERROR_PROTOCOL, "refused: %s \"%.100s\" was not asked for",
                    r->kind == RECORD_LINK ? "a link" : "what comes as", e.name);
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

static int take_chunk(struct taker *t, struct partial *p, const struct record *r)
{
    char path[PATH_BYTES];
    if (!r->n || p->in_place || partial_write(p, r->at, r->n, t->err))
        return r->n && !p->in_place ? -1 : stream_refuse(r, t->err);
    t->tally->bytes += r->n;
    p->sent += r->n;
    if (p->size > STREAM_PIECE)
        t->observer->progress(t->observer->user, p->digest.n, p->size, folder_path(p->folder, p->name, path));
    return 0;
}

/* What comes for one file until its digest does, or the giver can't go on with it. */
static int take_bytes(struct taker *t, struct partial *p)
{
    unsigned char digest[SHA256_SIZE];
    struct record r;
    while (stream_next(t->stream, &r, t->err) == 0) {
        if (r.kind == RECORD_TOTAL)
            return record_bytes(&r, digest, sizeof digest) ? stream_refuse(&r, t->err) : partial_check(p, digest, t->err);
        p->spoilt = r.kind == RECORD_NO_TOTAL;
        if (p->spoilt)
            return 0;
        if (r.kind != RECORD_CHUNK)
            return stream_refuse(&r, t->err);
        if (take_chunk(t, p, &r))
            return -1;
    }
    return -1;
}

static int take_body(struct taker *t, struct partial *p)
{
    uint64_t offset;
    struct record r;
    if (stream_expect(t->stream, RECORD_BODY, &r, t->err))
        return -1;
    if (record_u64(&r, &offset))
        return stream_refuse(&r, t->err);
    if (partial_begin(p, offset, t->err))
        return -1;
    t->tally->kept += offset;
    int rc = take_bytes(t, p);
    p->spoilt |= rc && !t->stream->cut;
    return rc;
}

static void count_file(struct taker *t, const struct partial *p)
{
    char path[PATH_BYTES];
    struct transferred done = {.name = folder_path(p->folder, p->name, path), .size = p->size, .bytes = p->sent};
    sha256_digest(&p->digest, done.digest);
    *(p->in_place ? &t->tally->skipped : &t->tally->files) += 1;
    t->observer->file(t->observer->user, &done);
    t->observer->progress(t->observer->user, t->tally->files + t->tally->skipped, 0, done.name);
}

static int place(struct taker *t, size_t from, size_t to, struct ssx_error *err)
{
    if (partial_place(t->batch + from, to - from, err))
        return -1;
    for (size_t i = from; i < to; i++)
        if (t->batch[i].whole)
            count_file(t, &t->batch[i]);
    return 0;
}

/* Small files get their names together, a large one as soon as it is there. After a failure, those that are whole still
 * do. */
static int take_bodies(struct taker *t)
{
    size_t placed = 0;
    uint64_t bytes = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->count; i++) {
        struct ssx_error ignored = {0};
        rc = take_body(t, &t->batch[i]);
        bytes += t->batch[i].sent;
        if (rc == 0 && bytes < PLACE_BYTES && i + 1 < t->count)
            continue;
        if (place(t, placed, i + 1, rc ? &ignored : t->err))
            rc = -1;
        placed = i + 1;
        bytes = 0;
    }
    return rc;
}

static int take_batch(struct taker *t)
{
    int rc = say_what_there_is(t) || take_bodies(t) ? -1 : 0;
    for (size_t i = 0; i < t->count; i++)
        if (partial_dispose(&t->batch[i], rc == 0, t->err))
            rc = -1;
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
        partial_dispose(&t->batch[i], false, &ignored);
    folder_release(t->here, false, &ignored);
    free(t->new_name);
    free(t->stream);
    free(t);
}

int taker_run(int in, int out, const char *path, const struct asked *asked, const struct observer *observer,
              struct tally *tally, struct ssx_error *err)
{
    struct taker *t = calloc(1, sizeof *t);
    if (!t || !(t->stream = stream_new(in, out, observer))) {
        free(t);
        return fail(err, SSX_ERROR_SYSTEM, "out of memory");
    }
    t->asked = asked;
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

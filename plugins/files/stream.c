#include "stream.h"

#include "fail.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stream *stream_new(int in, int out, const struct observer *observer)
{
    struct stream *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    s->in = in;
    s->out = out;
    s->observer = observer;
    s->start = s->end = s->waiting = 0;
    s->cut = false;
    return s;
}

/* --- writing --- */

static int cut_off(struct stream *s, const char *why, struct ssx_error *err)
{
    s->cut = true;
    return fail(err, SSX_ERROR_SYSTEM, "%s", why);
}

static int write_all(struct stream *s, const unsigned char *at, size_t n, struct ssx_error *err)
{
    while (n) {
        if (s->observer->stopped(s->observer->user))
            return cut_off(s, "stopped", err);
        ssize_t wrote = write(s->out, at, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return cut_off(s, "the other end of the transfer has gone", err);
        at += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

int stream_flush(struct stream *s, struct ssx_error *err)
{
    size_t n = s->waiting;
    s->waiting = 0;
    return n ? write_all(s, s->output, n, err) : 0;
}

static void put_header(unsigned char *at, enum record_kind kind, size_t n)
{
    at[0] = (unsigned char)kind;
    put_u32(at + 1, (uint32_t)n);
}

int stream_put(struct stream *s, enum record_kind kind, const void *head, size_t head_n, const void *tail, size_t tail_n,
               struct ssx_error *err)
{
    if (sizeof s->output - s->waiting < STREAM_HEADER + head_n + tail_n && stream_flush(s, err))
        return -1;
    unsigned char *at = s->output + s->waiting;
    put_header(at, kind, head_n + tail_n);
    if (head_n)
        memcpy(at + STREAM_HEADER, head, head_n);
    if (tail_n)
        memcpy(at + STREAM_HEADER + head_n, tail, tail_n);
    s->waiting += STREAM_HEADER + head_n + tail_n;
    return 0;
}

unsigned char *stream_chunk(struct stream *s, struct ssx_error *err)
{
    return stream_flush(s, err) ? NULL : s->output + STREAM_HEADER;
}

int stream_put_chunk(struct stream *s, size_t n, struct ssx_error *err)
{
    put_header(s->output, RECORD_CHUNK, n);
    return write_all(s, s->output, STREAM_HEADER + n, err);
}

void stream_fail(struct stream *s, const struct ssx_error *why)
{
    struct ssx_error ignored = {0};
    if (s->cut)
        return;
    if (stream_put(s, RECORD_FAILED, NULL, 0, why->text, strlen(why->text), &ignored) == 0)
        stream_flush(s, &ignored);
}

/* --- reading --- */

static int read_more(struct stream *s, struct ssx_error *err)
{
    if (s->start && s->end) {
        memmove(s->input, s->input + s->start, s->end - s->start);
        s->end -= s->start;
        s->start = 0;
    }
    while (!s->observer->stopped(s->observer->user)) {
        ssize_t n = read(s->in, s->input + s->end, sizeof s->input - s->end);
        if (n > 0) {
            s->end += (size_t)n;
            return 0;
        }
        if (n == 0 || errno != EINTR)
            return cut_off(s, "the other end of the transfer has gone", err);
    }
    return cut_off(s, "stopped", err);
}

static int need(struct stream *s, size_t n, struct ssx_error *err)
{
    while (s->end - s->start < n)
        if (read_more(s, err))
            return -1;
    return 0;
}

static int told(struct stream *s, const struct record *r, struct ssx_error *err)
{
    s->cut = true; /* it listens no more */
    return fail(err, SSX_ERROR_SYSTEM, "at the other end: %.*s", (int)r->n, (const char *)r->at);
}

int stream_next(struct stream *s, struct record *out, struct ssx_error *err)
{
    if (need(s, STREAM_HEADER, err))
        return -1;
    struct record header = {.at = s->input + s->start + 1, .n = 4};
    uint32_t n = 0;
    out->kind = (enum record_kind)s->input[s->start];
    record_u32(&header, &n);
    if (n > (out->kind == RECORD_CHUNK ? STREAM_PIECE : STREAM_RECORD))
        return fail(err, SSX_ERROR_PROTOCOL, "not a stream of files: a record of %u bytes", (unsigned)n);
    if (need(s, STREAM_HEADER + n, err))
        return -1;
    out->at = s->input + s->start + STREAM_HEADER;
    out->n = n;
    s->start += STREAM_HEADER + n;
    if (s->start == s->end)
        s->start = s->end = 0;
    return out->kind == RECORD_FAILED ? told(s, out, err) : 0;
}

int stream_expect(struct stream *s, enum record_kind kind, struct record *out, struct ssx_error *err)
{
    if (stream_next(s, out, err))
        return -1;
    return out->kind == kind ? 0 : stream_refuse(out, err);
}

bool stream_has_input(const struct stream *s)
{
    struct pollfd fd = {.fd = s->in, .events = POLLIN};
    return s->end > s->start || poll(&fd, 1, 0) > 0;
}

int stream_refuse(const struct record *r, struct ssx_error *err)
{
    bool printable = r->kind > ' ' && r->kind < 127;
    return fail(err, SSX_ERROR_PROTOCOL, "not a stream of files: a record '%c' (%d) out of turn or malformed",
                printable ? r->kind : '?', r->kind);
}

/* --- fields --- */

int record_bytes(struct record *r, void *out, size_t n)
{
    if (r->n < n)
        return -1;
    memcpy(out, r->at, n);
    r->at += n;
    r->n -= n;
    return 0;
}

static int record_uint(struct record *r, size_t size, uint64_t *out)
{
    unsigned char bytes[8];
    if (record_bytes(r, bytes, size))
        return -1;
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out = *out << 8 | bytes[i];
    return 0;
}

int record_u64(struct record *r, uint64_t *out) { return record_uint(r, 8, out); }

int record_u32(struct record *r, uint32_t *out)
{
    uint64_t wide = 0;
    int rc = record_uint(r, 4, &wide);
    *out = (uint32_t)wide;
    return rc;
}

int record_u8(struct record *r, uint8_t *out) { return record_bytes(r, out, 1); }

unsigned char *put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *at++ = (unsigned char)(value >> (24 - 8 * i));
    return at;
}

unsigned char *put_u64(unsigned char *at, uint64_t value)
{
    return put_u32(put_u32(at, (uint32_t)(value >> 32)), (uint32_t)value);
}

/* --- entries and tallies --- */

int stream_put_entry(struct stream *s, enum record_kind kind, const struct entry *e, struct ssx_error *err)
{
    unsigned char head[32 + NAME_BYTES], *at = put_u32(put_u64(put_u32(head, e->mode), (uint64_t)e->mtime), e->nanoseconds);
    size_t n = strlen(e->name);
    if (kind == RECORD_FILE)
        at = put_u64(at, e->size);
    if (kind != RECORD_LINK)
        return stream_put(s, kind, head, (size_t)(at - head), e->name, n, err);
    *at++ = (unsigned char)n;
    memcpy(at, e->name, n);
    return stream_put(s, kind, head, (size_t)(at + n - head), e->target, strlen(e->target), err);
}

/* n bytes of text, NUL-ended. */
static int take_text(struct record *r, char *out, size_t n, size_t room)
{
    if (!n || n > room || n > r->n || memchr(r->at, 0, n))
        return -1;
    record_bytes(r, out, n);
    out[n] = '\0';
    return 0;
}

static bool is_name(const char *name) { return !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0; }

int record_entry(struct record *r, struct entry *out, struct ssx_error *err)
{
    uint64_t mtime = 0;
    uint8_t n = 0;
    bool bad = record_u32(r, &out->mode) || record_u64(r, &mtime) || record_u32(r, &out->nanoseconds) || out->nanoseconds > 999999999;
    out->mtime = (int64_t)mtime;
    out->size = 0;
    out->target[0] = '\0';
    if (r->kind == RECORD_FILE)
        bad = bad || record_u64(r, &out->size) || out->size > INT64_MAX;
    if (r->kind == RECORD_LINK)
        bad = bad || record_u8(r, &n) || take_text(r, out->name, n, NAME_BYTES) || take_text(r, out->target, r->n, PATH_BYTES);
    else
        bad = bad || take_text(r, out->name, r->n, NAME_BYTES);
    if (bad)
        return stream_refuse(r, err);
    return is_name(out->name) ? 0 : fail(err, SSX_ERROR_PROTOCOL, "refused: \"%s\" can't be the name of a file", out->name);
}

static uint64_t *tally_numbers(struct tally *t, size_t i)
{
    uint64_t *all[] = {&t->files, &t->skipped, &t->directories, &t->links, &t->bytes, &t->kept, &t->problems};
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

int stream_put_tally(struct stream *s, const struct tally *t, struct ssx_error *err)
{
    unsigned char bytes[64], *at = bytes;
    struct tally copy = *t;
    for (size_t i = 0; tally_numbers(&copy, i); i++)
        at = put_u64(at, *tally_numbers(&copy, i));
    return stream_put(s, RECORD_KEPT, bytes, (size_t)(at - bytes), NULL, 0, err);
}

int record_tally(struct record *r, struct tally *out, struct ssx_error *err)
{
    for (size_t i = 0; tally_numbers(out, i); i++)
        if (record_u64(r, tally_numbers(out, i)))
            return stream_refuse(r, err);
    return 0;
}

#include "wire/workload.h"

#include "base/error.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PREFIX 4
#define READ_STEP 65536u /* memory is taken as bytes come, not as a length promises */

/* --- writing --- */

static void put_options(msgpack_packer *p, const struct workload *w)
{
    size_t count = (w->timeout_ms != 0) + (size_t)w->has_digest;
    if (!count)
        return;
    msgpack_pack_map(p, count);
    if (w->timeout_ms) {
        pack_text(p, "timeout_ms");
        msgpack_pack_uint64(p, w->timeout_ms);
    }
    if (w->has_digest) {
        pack_text(p, "digest");
        msgpack_pack_bin_with_body(p, w->digest.bytes, DIGEST_SIZE);
    }
}

int workload_encode(struct buf *out, const struct workload *w, enum workload_form form, struct ssx_error *err)
{
    struct buf body = {0};
    msgpack_packer p = packer(&body);
    int rc = 0;
    msgpack_pack_array(&p, w->timeout_ms || w->has_digest ? 3 : 2);
    msgpack_pack_str_with_body(&p, w->type.at, w->type.n);
    buf_add(&body, w->state.at, w->state.n);
    put_options(&p, w);
    size_t n = buf_length(&body);
    unsigned char prefix[PREFIX] = {0, (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
    if (body.failed)
        rc = error_set(err, SSX_ERROR_REFUSED, "can't make the workload: out of memory");
    else if (n > WORKLOAD_MAX)
        rc = error_set(err, SSX_ERROR_REFUSED, "the workload is larger than the limit of %u bytes", WORKLOAD_MAX);
    else if ((form == WORKLOAD_PREFIXED && buf_add(out, prefix, PREFIX)) || buf_add(out, buf_data(&body), n))
        rc = error_set(err, SSX_ERROR_REFUSED, "can't make the workload: out of memory");
    buf_free(&body);
    return rc;
}

/* --- decoding --- */

static int bad(struct ssx_error *err, const char *why) { return error_set(err, SSX_ERROR_REFUSED, "this is not a workload: %s", why); }

static int take_type(struct value_reader *r, struct span *out)
{
    const char *at;
    if (value_take_str(r, &at, &out->n))
        return -1;
    out->at = at;
    return 0;
}

/* A state's limits are its own, whatever it is wrapped in. */
static int take_state(struct value_reader *r, struct span *out, struct ssx_error *err)
{
    out->at = r->at;
    if (value_skip(r))
        return bad(err, "its state is cut off or not msgpack");
    out->n = (size_t)(r->at - (const unsigned char *)out->at);
    if (value_scan(out->at, out->n, err)) {
        error_prefix(err, "the workload's state");
        if (err)
            err->code = SSX_ERROR_REFUSED;
        return -1;
    }
    return 0;
}

static int take_digest(struct value_reader *r, struct workload *w)
{
    const unsigned char *at;
    size_t n;
    if (value_take_bin(r, &at, &n) || n != DIGEST_SIZE)
        return -1;
    memcpy(w->digest.bytes, at, DIGEST_SIZE);
    w->has_digest = true;
    return 0;
}

/* There is nobody to agree with on what an option means: one that isn't known here is refused. */
static int take_options(struct value_reader *r, struct workload *w, struct ssx_error *err)
{
    size_t pairs;
    struct value key;
    if (value_take_map(r, &pairs))
        return bad(err, "its options are not a map");
    for (; pairs; pairs--) {
        int rc = -1;
        if (value_next(r, &key) || key.kind != VALUE_STR)
            return bad(err, "the name of an option is not text");
        if (value_is_text(&key, "timeout_ms"))
            rc = value_take_uint(r, TIMEOUT_MS_MAX, &w->timeout_ms);
        else if (value_is_text(&key, "digest"))
            rc = take_digest(r, w);
        else
            return error_set(err, SSX_ERROR_REFUSED, "the workload has an option that this version doesn't know: %.*s",
                             key.n > 64 ? 64 : (int)key.n, (const char *)key.at);
        if (rc)
            return error_set(err, SSX_ERROR_REFUSED, "the workload's option %.*s has no value that it could have",
                             (int)key.n, (const char *)key.at);
    }
    return 0;
}

int workload_decode(struct workload *out, const void *bytes, size_t n, struct ssx_error *err)
{
    struct value_reader r = value_reader(bytes, n);
    size_t count;
    memset(out, 0, sizeof *out);
    if (n > WORKLOAD_MAX)
        return bad(err, "it is too large");
    if (value_take_array(&r, &count) || count < 2 || count > 3)
        return bad(err, "it is no array [type, state] or [type, state, options], or it is cut off");
    if (take_type(&r, &out->type))
        return bad(err, "its type is cut off or not text");
    if (take_state(&r, &out->state, err) || (count == 3 && take_options(&r, out, err)))
        return -1;
    return r.at == r.end ? 0 : bad(err, "something stands behind its end");
}

/* --- reading --- */

/* Up to n bytes. Returns how many came before the end of the file, -1 with err. */
static long read_up_to(struct buf *out, int fd, size_t n, const char *name, struct ssx_error *err)
{
    size_t got = 0;
    while (got < n) {
        size_t step = n - got < READ_STEP ? n - got : READ_STEP;
        unsigned char *at = buf_reserve(out, step);
        if (!at)
            return error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", name);
        ssize_t now = read(fd, at, step);
        if (now < 0 && errno == EINTR)
            continue;
        if (now < 0)
            return error_system(err, "can't read %s", name);
        if (now == 0)
            break;
        out->end += (size_t)now;
        got += (size_t)now;
    }
    return (long)got;
}

static int read_prefixed(struct buf *out, int fd, const char *name, struct ssx_error *err)
{
    struct buf prefix = {0};
    long got = read_up_to(&prefix, fd, PREFIX - 1, name, err), n = 0;
    for (long i = 0; i < got; i++)
        n = n << 8 | buf_data(&prefix)[i];
    buf_free(&prefix);
    if (got == PREFIX - 1)
        got = read_up_to(out, fd, (size_t)n, name, err);
    else if (got >= 0)
        return error_set(err, SSX_ERROR_REFUSED, "the workload on %s is cut off in its length", name);
    if (got >= 0 && got < n)
        return error_set(err, SSX_ERROR_REFUSED, "the workload on %s is cut off after %ld of %ld bytes", name, got, n);
    return got < 0 ? -1 : 0;
}

static int read_bare(struct buf *out, int fd, unsigned char first, const char *name, struct ssx_error *err)
{
    if (buf_add(out, &first, 1))
        return error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", name);
    long got = read_up_to(out, fd, WORKLOAD_MAX, name, err);
    return got < WORKLOAD_MAX
               ? (got < 0 ? -1 : 0)
               : error_set(err, SSX_ERROR_REFUSED, "the workload on %s is larger than the limit of %u bytes", name,
                           WORKLOAD_MAX);
}

int workload_read(struct buf *out, enum workload_form *form, int fd, const char *name, struct ssx_error *err)
{
    struct buf start = {0};
    long got = read_up_to(&start, fd, 1, name, err);
    unsigned char first = got == 1 ? *buf_data(&start) : 0;
    buf_free(&start);
    *form = first ? WORKLOAD_BARE : WORKLOAD_PREFIXED;
    if (got < 0)
        return -1;
    if (got == 0)
        return error_set(err, SSX_ERROR_REFUSED, "there is no workload on %s: it is empty", name);
    if (first == 0)
        return read_prefixed(out, fd, name, err);
    if (first == 0x92 || first == 0x93 || first == 0xdc || first == 0xdd)
        return read_bare(out, fd, first, name, err);
    return error_set(err, SSX_ERROR_REFUSED,
                     "what is on %s is not a workload: it starts with the byte 0x%02x (sshexec encode makes workloads)",
                     name, first);
}

#include "bundle/archive.h"

#include "base/error.h"
#include "base/io.h"
#include "bundle/libarchive.h"
#include "bundle/signature.h"
#include "bundle/zstream.h"

#include <fcntl.h>
#include <limits.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u
#define PIECE (64u << 10)
#define TAIL_MAX (20u << 10)  /* zeros behind the last member: two blocks, and what other programs fill up to their own unit */
#define HEADERS_MAX (16u << 10) /* of the manifest and the signature, with what other programs put before them */

/* An object on its way through: how much of it is to come, and the digest so far. */
struct passing { const struct variant *variant; uint64_t left; crypto_hash_sha256_state hash; };

static void passing_begin(struct passing *p, const struct variant *v)
{
    *p = (struct passing){.variant = v, .left = v->size};
    crypto_hash_sha256_init(&p->hash);
}

static void passing_add(struct passing *p, const void *bytes, size_t n)
{
    crypto_hash_sha256_update(&p->hash, bytes, n);
    p->left -= n;
}

static int passing_end(struct passing *p, struct ssx_error *err)
{
    struct digest is;
    char hex[DIGEST_HEX + 1];
    crypto_hash_sha256_final(&p->hash, is.bytes);
    digest_hex(hex, &p->variant->digest);
    return digest_equal(&is, &p->variant->digest) ? 0 : error_set(err, SSX_ERROR_REFUSED, "the object %s is not what its digest says", hex);
}

/* --- reading --- */

struct bundle {
    const struct libarchive *lib;
    char *path;
    int fd;
    struct zreader zstd;
    const unsigned char *ahead;        /* what zstd gave and libarchive has not asked for yet */
    size_t ahead_size;
    struct archive *tar;
    struct archive_entry *entry;       /* of the next member; borrowed from tar. NULL: there is none */
    struct ssx_error below;            /* what zstd complained about, for libarchive doesn't know it */
    struct manifest manifest;
    struct buf text, signature;
    size_t variant;                    /* the next one */
    struct passing passing;            /* variant NULL: no object is open */
    unsigned char piece[PIECE];
};

/* Makes sure that something is ahead. Returns 1, 0 at the end, -1 with err. */
static int look_ahead(struct bundle *b, struct ssx_error *err)
{
    const void *piece;
    if (b->ahead_size)
        return 1;
    ptrdiff_t n = zreader_next(&b->zstd, &piece, err);
    b->ahead = piece;
    b->ahead_size = n > 0 ? (size_t)n : 0;
    return n > 0 ? 1 : (int)n;
}

/* Block by block, so that libarchive never holds what lies behind the last member: that is judged here. */
static la_ssize_t feed(struct archive *tar, void *user, const void **piece)
{
    struct bundle *b = user;
    (void)tar;
    int rc = look_ahead(b, &b->below);
    if (rc <= 0)
        return rc;
    size_t n = b->ahead_size < BLOCK ? b->ahead_size : BLOCK;
    *piece = b->ahead;
    b->ahead += n;
    b->ahead_size -= n;
    return (la_ssize_t)n;
}

static int complain(struct bundle *b, struct ssx_error *err)
{
    const char *why = b->lib->archive_error_string(b->tar);
    if (b->below.code)
        return error_set(err, b->below.code, "%s", b->below.text);
    return error_set(err, SSX_ERROR_REFUSED, "it is damaged (tar: %s)", why ? why : "unknown");
}

/* Steps to the next member. */
static int step(struct bundle *b, struct ssx_error *err)
{
    int rc = b->lib->archive_read_next_header(b->tar, &b->entry);
    if (rc == ARCHIVE_EOF)
        b->entry = NULL;
    return rc == ARCHIVE_OK || (rc == ARCHIVE_EOF && !b->below.code) ? 0 : complain(b, err);
}

static bool is_named(const struct bundle *b, const char *name)
{
    const char *is = b->entry ? b->lib->archive_entry_pathname(b->entry) : NULL;
    return is && strcmp(is, name) == 0;
}

static int expect_member(struct bundle *b, const char *name, struct ssx_error *err)
{
    const char *is = b->entry ? b->lib->archive_entry_pathname(b->entry) : NULL;
    if (!b->entry)
        return error_set(err, SSX_ERROR_REFUSED, "it is cut short: it has no %s", name);
    if (!is_named(b, name))
        return error_set(err, SSX_ERROR_REFUSED, "it holds \"%.200s\" where %s should be", is ? is : "?", name);
    if (b->lib->archive_entry_filetype(b->entry) != AE_IFREG || b->lib->archive_entry_hardlink(b->entry) ||
        b->lib->archive_entry_symlink(b->entry) ||
        b->lib->archive_entry_sparse_count(b->entry) || !b->lib->archive_entry_size_is_set(b->entry))
        return error_set(err, SSX_ERROR_REFUSED, "its member %s is no plain file", name);
    return 0;
}

static la_ssize_t read_member(struct bundle *b, struct ssx_error *err)
{
    la_ssize_t n = b->lib->archive_read_data(b->tar, b->piece, sizeof b->piece);
    return n < 0 ? complain(b, err) : n;
}

/* A small member as a whole. */
static int take_member(struct bundle *b, struct buf *out, const char *name, size_t limit, struct ssx_error *err)
{
    if (expect_member(b, name, err))
        return -1;
    int64_t size = b->lib->archive_entry_size(b->entry);
    if (size <= 0 || size > (int64_t)limit)
        return error_set(err, SSX_ERROR_REFUSED, "its %s has %lld bytes; it may have 1 to %zu", name, (long long)size, limit);
    la_ssize_t n;
    while ((n = read_member(b, err)) > 0)
        if (buf_length(out) + (size_t)n > (size_t)size || buf_add(out, b->piece, (size_t)n))
            return error_set(err, SSX_ERROR_REFUSED, "its %s is longer than it says", name);
    return n < 0 ? -1 : buf_length(out) == (size_t)size ? 0 : error_set(err, SSX_ERROR_REFUSED, "it is cut short in its %s", name);
}

/* What all of its objects take in the tar, beside what was read already: a bundle is as long as its manifest says. */
static uint64_t objects_size(const struct manifest *m)
{
    uint64_t size = TAIL_MAX;
    for (size_t i = 0; i < m->variant_count; i++)
        size += BLOCK + (m->variants[i].size + BLOCK - 1) / BLOCK * BLOCK;
    return size;
}

static int read_head(struct bundle *b, struct ssx_error *err)
{
    if (step(b, err) || take_member(b, &b->text, BUNDLE_MANIFEST, MANIFEST_MAX, err) ||
        manifest_parse(&b->manifest, buf_data(&b->text), buf_length(&b->text), err))
        return -1;
    b->zstd.left += objects_size(&b->manifest);
    if (step(b, err))
        return -1;
    if (!is_named(b, BUNDLE_SIGNATURE))
        return 0;
    return take_member(b, &b->signature, BUNDLE_SIGNATURE, SIGNATURE_MAX, err) || step(b, err) ? -1 : 0;
}

static int open_file(struct bundle *b, struct ssx_error *err)
{
    b->fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (b->fd < 0)
        return error_system(err, "can't read it");
    if (zreader_open(&b->zstd, b->fd, HEADERS_MAX + MANIFEST_MAX + SIGNATURE_MAX, err))
        return -1;
    b->tar = b->lib->archive_read_new();
    if (!b->tar || b->lib->archive_read_support_format_tar(b->tar))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    return b->lib->archive_read_open(b->tar, b, NULL, feed, NULL) == ARCHIVE_OK ? 0 : complain(b, err);
}

int bundle_open(struct bundle **out, const char *path, struct ssx_error *err)
{
    struct bundle *b = calloc(1, sizeof *b);
    if (!b || !(b->path = strdup(path))) {
        free(b);
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    }
    b->fd = -1;
    b->lib = libarchive_load(err);
    if (b->lib && open_file(b, err) == 0 && read_head(b, err) == 0) {
        *out = b;
        return 0;
    }
    if (b->lib)
        error_prefix(err, "%s", path);
    bundle_close(b);
    return -1;
}

const struct manifest *bundle_manifest(const struct bundle *b) { return &b->manifest; }
const struct buf *bundle_manifest_text(const struct bundle *b) { return &b->text; }
const struct buf *bundle_signature(const struct bundle *b) { return &b->signature; }

/* Behind the last member there are zeros, to the end of the frame and of the file. */
static int expect_tail(struct bundle *b, struct ssx_error *err)
{
    int rc;
    if (b->entry) {
        const char *is = b->lib->archive_entry_pathname(b->entry);
        return error_set(err, SSX_ERROR_REFUSED, "it holds \"%.200s\", which its manifest doesn't name", is ? is : "?");
    }
    while ((rc = look_ahead(b, err)) > 0)
        for (; b->ahead_size; b->ahead++, b->ahead_size--)
            if (*b->ahead)
                return error_set(err, SSX_ERROR_REFUSED, "it is damaged: something follows its last member");
    return rc;
}

static int begin_object(struct bundle *b, const struct variant *v, struct ssx_error *err)
{
    char name[sizeof BUNDLE_OBJECTS + DIGEST_HEX] = BUNDLE_OBJECTS;
    digest_hex(name + strlen(BUNDLE_OBJECTS), &v->digest);
    if (expect_member(b, name, err))
        return -1;
    if (b->lib->archive_entry_size(b->entry) != (int64_t)v->size)
        return error_set(err, SSX_ERROR_REFUSED, "its %s has %lld bytes, its manifest says %llu", name,
                         (long long)b->lib->archive_entry_size(b->entry), (unsigned long long)v->size);
    passing_begin(&b->passing, v);
    return 0;
}

ptrdiff_t bundle_read(struct bundle *b, const void **piece, struct ssx_error *err)
{
    if (!b->passing.variant)
        return 0;
    la_ssize_t n = read_member(b, err);
    if (n > 0 && (uint64_t)n <= b->passing.left) {
        passing_add(&b->passing, b->piece, (size_t)n);
        *piece = b->piece;
        return n;
    }
    int rc = n < 0 ? -1 : n > 0 || b->passing.left ? error_set(err, SSX_ERROR_REFUSED, "it is damaged: an object is not as long as it says")
        : passing_end(&b->passing, err);
    if (rc == 0)
        rc = step(b, err);
    b->passing.variant = NULL;
    return rc == 0 ? 0 : error_prefix(err, "%s", b->path);
}

int bundle_next(struct bundle *b, const struct variant **out, struct ssx_error *err)
{
    const void *piece;
    ptrdiff_t n;
    while ((n = bundle_read(b, &piece, err)) > 0)
        ;
    if (n < 0)
        return -1;
    bool more = b->variant < b->manifest.variant_count;
    if (more ? begin_object(b, &b->manifest.variants[b->variant], err) : expect_tail(b, err))
        return error_prefix(err, "%s", b->path);
    if (more)
        *out = &b->manifest.variants[b->variant++];
    return more;
}

void bundle_close(struct bundle *b)
{
    if (!b)
        return;
    if (b->tar)
        b->lib->archive_read_free(b->tar);
    zreader_close(&b->zstd);
    fd_close(&b->fd);
    manifest_dispose(&b->manifest);
    buf_free(&b->text);
    buf_free(&b->signature);
    free(b->path);
    free(b);
}

/* --- writing --- */

struct bundle_writer {
    const struct libarchive *lib;
    struct zwriter zstd;
    struct archive *tar;
    struct ssx_error below;
    const struct manifest *manifest;
    size_t variant;                    /* the next one */
    struct passing passing;            /* variant NULL: none is open */
};

static la_ssize_t drain(struct archive *tar, void *user, const void *bytes, size_t n)
{
    struct bundle_writer *w = user;
    (void)tar;
    return zwriter_add(&w->zstd, bytes, n, &w->below) ? -1 : (la_ssize_t)n;
}

static int writing_failed(struct bundle_writer *w, struct ssx_error *err)
{
    const char *why = w->lib->archive_error_string(w->tar);
    return w->below.code ? error_set(err, w->below.code, "%s", w->below.text)
        : error_set(err, SSX_ERROR_SYSTEM, "can't write it (tar: %s)", why ? why : "unknown");
}

/* A header that depends on name and size alone. */
static int add_header(struct bundle_writer *w, const char *name, uint64_t size, struct ssx_error *err)
{
    struct archive_entry *e = w->lib->archive_entry_new();
    if (!e)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    w->lib->archive_entry_set_pathname(e, name);
    w->lib->archive_entry_set_filetype(e, AE_IFREG);
    w->lib->archive_entry_set_perm(e, 0644);
    w->lib->archive_entry_set_mtime(e, 0, 0);
    w->lib->archive_entry_set_size(e, (la_int64_t)size);
    int rc = w->lib->archive_write_header(w->tar, e) == ARCHIVE_OK ? 0 : writing_failed(w, err);
    w->lib->archive_entry_free(e);
    return rc;
}

static int add_bytes(struct bundle_writer *w, const void *bytes, size_t n, struct ssx_error *err)
{
    return w->lib->archive_write_data(w->tar, bytes, n) == (la_ssize_t)n ? 0 : writing_failed(w, err);
}

static int add_member(struct bundle_writer *w, const char *name, const struct buf *text, struct ssx_error *err)
{
    return buf_length(text) == 0 ? 0 : add_header(w, name, buf_length(text), err) || add_bytes(w, buf_data(text), buf_length(text), err)
        ? -1 : 0;
}

/* Whole blocks and nothing behind them: how much is written at once must not show in the file. */
static int open_tar(struct bundle_writer *w, int fd, struct ssx_error *err)
{
    if (zwriter_open(&w->zstd, fd, err))
        return -1;
    w->tar = w->lib->archive_write_new();
    if (!w->tar)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    if (w->lib->archive_write_set_format_ustar(w->tar) || w->lib->archive_write_set_bytes_per_block(w->tar, BLOCK) ||
        w->lib->archive_write_set_bytes_in_last_block(w->tar, BLOCK) ||
        w->lib->archive_write_open(w->tar, w, NULL, drain, NULL))
        return writing_failed(w, err);
    return 0;
}

int bundle_writer_open(struct bundle_writer **out, int fd, const struct manifest *m, const struct buf *text, const struct buf *signature,
                       struct ssx_error *err)
{
    struct bundle_writer *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    w->manifest = m;
    w->lib = libarchive_load(err);
    if (w->lib && open_tar(w, fd, err) == 0 && add_member(w, BUNDLE_MANIFEST, text, err) == 0 &&
        add_member(w, BUNDLE_SIGNATURE, signature, err) == 0) {
        *out = w;
        return 0;
    }
    bundle_writer_close(w);
    return -1;
}

static int next_object(struct bundle_writer *w, struct ssx_error *err)
{
    char name[sizeof BUNDLE_OBJECTS + DIGEST_HEX] = BUNDLE_OBJECTS;
    if (w->variant == w->manifest->variant_count)
        return error_set(err, SSX_ERROR_REFUSED, "there are more objects than the manifest names");
    const struct variant *v = &w->manifest->variants[w->variant++];
    digest_hex(name + strlen(BUNDLE_OBJECTS), &v->digest);
    passing_begin(&w->passing, v);
    return add_header(w, name, v->size, err);
}

int bundle_writer_add(struct bundle_writer *w, const void *bytes, size_t n, struct ssx_error *err)
{
    for (const unsigned char *at = bytes; n;) {
        if (!w->passing.variant && next_object(w, err))
            return -1;
        size_t piece = n < w->passing.left ? n : (size_t)w->passing.left;
        if (add_bytes(w, at, piece, err))
            return -1;
        passing_add(&w->passing, at, piece);
        if (!w->passing.left && passing_end(&w->passing, err))
            return -1;
        if (!w->passing.left)
            w->passing.variant = NULL;
        at += piece;
        n -= piece;
    }
    return 0;
}

int bundle_writer_end(struct bundle_writer *w, struct ssx_error *err)
{
    if (w->passing.variant || w->variant < w->manifest->variant_count)
        return error_set(err, SSX_ERROR_REFUSED, "an object is shorter than the manifest says, or missing");
    return w->lib->archive_write_close(w->tar) == ARCHIVE_OK ? zwriter_end(&w->zstd, err) : writing_failed(w, err);
}

void bundle_writer_close(struct bundle_writer *w)
{
    if (!w)
        return;
    if (w->tar)
        w->lib->archive_write_free(w->tar); /* what it still writes goes to a file that is dropped */
    zwriter_close(&w->zstd);
    free(w);
}

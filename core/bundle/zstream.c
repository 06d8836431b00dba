#include "bundle/zstream.h"

#include "base/error.h"
#include "base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd_errors.h>

#define PIECE (64u << 10)

/* --- reading --- */

int zreader_open(struct zreader *r, int fd, uint64_t limit, struct ssx_error *err)
{
    *r = (struct zreader){.fd = fd, .left = limit, .ctx = ZSTD_createDCtx(), .in = malloc(PIECE), .out = malloc(PIECE)};
    if (r->ctx && r->in && r->out && !ZSTD_isError(ZSTD_DCtx_setParameter(r->ctx, ZSTD_d_windowLogMax, ZSTREAM_WINDOW_LOG))) {
        r->input.src = r->in;
        return 0;
    }
    zreader_close(r);
    return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
}

/* Fills the input. Returns 1, 0 at the end of the file, -1 with err. */
static int fill(struct zreader *r, struct ssx_error *err)
{
    ssize_t n;
    do
        n = read(r->fd, r->in, PIECE);
    while (n < 0 && errno == EINTR);
    r->input.size = n > 0 ? (size_t)n : 0;
    r->input.pos = 0;
    return n < 0 ? error_system(err, "can't read it") : n > 0;
}

/* The frame has ended: so must the file. */
static int expect_end(struct zreader *r, struct ssx_error *err)
{
    int rc = r->input.pos < r->input.size ? 1 : fill(r, err);
    return rc > 0 ? error_set(err, SSX_ERROR_REFUSED, "it is damaged: something follows its end") : rc;
}

static int complain(size_t code, struct ssx_error *err)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_prefix_unknown)
        return error_set(err, SSX_ERROR_REFUSED, "it is no bundle, for it is not compressed with zstd");
    return error_set(err, SSX_ERROR_REFUSED, "it is damaged (zstd: %s)", ZSTD_getErrorName(code));
}

ptrdiff_t zreader_next(struct zreader *r, const void **piece, struct ssx_error *err)
{
    ZSTD_outBuffer output = {r->out, PIECE, 0};
    while (!r->ended && output.pos == 0) {
        int rc = r->input.pos < r->input.size ? 1 : fill(r, err);
        if (rc <= 0)
            return rc < 0 ? -1 : error_set(err, SSX_ERROR_REFUSED, "it is cut short");
        size_t code = ZSTD_decompressStream(r->ctx, &output, &r->input);
        if (ZSTD_isError(code))
            return complain(code, err);
        r->ended = code == 0;
    }
    if (output.pos > r->left)
        return error_set(err, SSX_ERROR_REFUSED, "it is damaged: it unpacks to more than it should");
    r->left -= output.pos;
    *piece = r->out;
    return output.pos ? (ptrdiff_t)output.pos : expect_end(r, err);
}

void zreader_close(struct zreader *r)
{
    ZSTD_freeDCtx(r->ctx);
    free(r->in);
    free(r->out);
    memset(r, 0, sizeof *r);
}

/* --- writing --- */

int zwriter_open(struct zwriter *w, int fd, struct ssx_error *err)
{
    *w = (struct zwriter){.fd = fd, .ctx = ZSTD_createCCtx(), .out = malloc(PIECE)};
    if (w->ctx && w->out && !ZSTD_isError(ZSTD_CCtx_setParameter(w->ctx, ZSTD_c_compressionLevel, ZSTREAM_LEVEL)) &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(w->ctx, ZSTD_c_windowLog, ZSTREAM_WINDOW_LOG)) &&
            !ZSTD_isError(ZSTD_CCtx_setParameter(w->ctx, ZSTD_c_checksumFlag, 1)))
        return 0;
    zwriter_close(w);
    return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
}

static int compress(struct zwriter *w, ZSTD_inBuffer *input, ZSTD_EndDirective how, struct ssx_error *err)
{
    for (;;) {
        ZSTD_outBuffer output = {w->out, PIECE, 0};
        size_t left = ZSTD_compressStream2(w->ctx, &output, input, how);
        if (ZSTD_isError(left))
            return error_set(err, SSX_ERROR_SYSTEM, "can't compress it (zstd: %s)", ZSTD_getErrorName(left));
        if (fd_write_all(w->fd, w->out, output.pos))
            return error_system(err, "can't write it");
        if (how == ZSTD_e_end ? left == 0 : input->pos == input->size)
            return 0;
    }
}

int zwriter_add(struct zwriter *w, const void *bytes, size_t n, struct ssx_error *err)
{
    return compress(w, &(ZSTD_inBuffer){bytes, n, 0}, ZSTD_e_continue, err);
}

int zwriter_end(struct zwriter *w, struct ssx_error *err) { return compress(w, &(ZSTD_inBuffer){NULL, 0, 0}, ZSTD_e_end, err); }

void zwriter_close(struct zwriter *w)
{
    ZSTD_freeCCtx(w->ctx);
    free(w->out);
    memset(w, 0, sizeof *w);
}

/* One zstd frame in a file, read or written piece by piece: nothing before it, nothing behind it, bounded in memory and
 * in what may come out. */
#ifndef BUNDLE_ZSTREAM_H
#define BUNDLE_ZSTREAM_H
#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

#define ZSTREAM_WINDOW_LOG 23        /* 8 MiB: what a reader sets aside, whatever the frame asks for */
#define ZSTREAM_LEVEL 12

struct zreader {
    int fd;                          /* borrowed */
    ZSTD_DCtx *ctx;
    unsigned char *in, *out;
    ZSTD_inBuffer input;
    uint64_t left;                   /* bytes that may still come out; the owner may raise it */
    bool ended;                      /* the frame has */
};

/* limit: of the bytes that come out. Returns 0, or -1 with err. */
int zreader_open(struct zreader *r, int fd, uint64_t limit, struct ssx_error *err);

/* The next piece, valid until the next call. Returns its length; 0 once the frame has ended, sound by its checksum, and
 * the file with it;
 * -1 with err. */
ptrdiff_t zreader_next(struct zreader *r, const void **piece, struct ssx_error *err);

void zreader_close(struct zreader *r);

struct zwriter { int fd; ZSTD_CCtx *ctx; unsigned char *out; };

/* Each returns 0, or -1 with err. The same bytes in give the same bytes out, for one version of libzstd. zwriter_end
 * writes what is left; zwriter_close only frees. */
int zwriter_open(struct zwriter *w, int fd, struct ssx_error *err);
int zwriter_add(struct zwriter *w, const void *bytes, size_t n, struct ssx_error *err);
int zwriter_end(struct zwriter *w, struct ssx_error *err);
void zwriter_close(struct zwriter *w);

#endif

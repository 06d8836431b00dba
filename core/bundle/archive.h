/* A bundle's file (sdk/BUNDLE.md, section 1): a tar in zstd that holds a manifest, perhaps its signature, and the
 * objects that the manifest names, each once and in its order. Read and written from front to back, in bounded memory;
 * nothing is written to a disk here but the bundle itself. The sender's business: agents see objects only. */
#ifndef BUNDLE_ARCHIVE_H
#define BUNDLE_ARCHIVE_H
#include "bundle/manifest.h"

struct bundle;

/* Opens a bundle and reads its manifest and its signature; hostile bytes. Returns 0 (the caller calls bundle_close), or
 * -1 with err (SSX_ERROR_REFUSED where the file is to blame). */
int bundle_open(struct bundle **out, const char *path, struct ssx_error *err);

/* What was read; borrowed from b. The signature's text is empty where it isn't signed. Whether it holds is not judged
 * here. */
const struct manifest *bundle_manifest(const struct bundle *b);
const struct buf *bundle_manifest_text(const struct bundle *b);
const struct buf *bundle_signature(const struct bundle *b);

/* The next object: which variant it is (borrowed from the manifest). What of the object before wasn't read is read and
 * checked now. Returns 1, 0 at the end (every object that the manifest names was there, sound, and nothing else), or -1
 * with err. */
int bundle_next(struct bundle *b, const struct variant **out, struct ssx_error *err);

/* The next piece of that object, valid until the next call. Returns its length; 0 at its end, once its digest is found
 * to be what the manifest says; -1 with err. Until then nothing that came may be used. */
ptrdiff_t bundle_read(struct bundle *b, const void **piece, struct ssx_error *err);

void bundle_close(struct bundle *b);

/* Reads a bundle to its end, each object whole, and hands it to `visit` once its digest is known to be right; a return
 * of -1 (with err) ends it, and so does interrupt_fd (-1: none) once it is readable, as SSX_ERROR_INTERRUPTED. path is
 * for messages. Returns 0 or -1. */
typedef int bundle_visit(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n,
                         struct ssx_error *err);
int bundle_each(struct bundle *b, const char *path, int interrupt_fd, bundle_visit *visit, void *user,
                struct ssx_error *err);

struct bundle_writer;

/* Writes the manifest's text, and the signature's where n isn't 0, to fd. Objects follow, in the manifest's order (m is
 * borrowed): for each, bundle_writer_add with all of its bytes. bundle_writer_end checks that nothing is missing. Each
 * returns 0, or -1 with err; an object that is not what the manifest says is refused. */
int bundle_writer_open(struct bundle_writer **out, int fd, const struct manifest *m, const struct buf *text, const struct buf *signature,
                       struct ssx_error *err);
int bundle_writer_add(struct bundle_writer *w, const void *bytes, size_t n, struct ssx_error *err);
int bundle_writer_end(struct bundle_writer *w, struct ssx_error *err);
void bundle_writer_close(struct bundle_writer *w);

#define BUNDLE_MANIFEST "manifest"          /* the members' names */
#define BUNDLE_SIGNATURE "manifest.sig"     /* as ssh-keygen -Y sign calls what it makes of a file "manifest" */
#define BUNDLE_OBJECTS "objects/"

#endif

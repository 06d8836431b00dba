/* The generations of a node's store: which object serves each type. DIR/generations/N is a text file that is never
 * changed (sdk/BUNDLE.md, section 5), DIR/current a symbolic link to the one in force, replaced by one rename;
 * DIR/generations/ready-DIGEST is a bundle that was prepared there and waits to be switched to. */
#ifndef BUNDLE_GENERATION_H
#define BUNDLE_GENERATION_H
#include "base/buf.h"
#include "bundle/manifest.h"
#include "bundle/store.h"

#define GENERATION_SIGNER 256            /* room for who signed a bundle */
#define GENERATION_SAID 128              /* room for who deployed, as the sender says */
#define GENERATIONS_KEPT 10              /* the newest, and the one in force */

/* What a line says of a bundle, and of a type of it. */
struct generation_bundle {
    char name[TYPE_NAME_MAX + 1], version[MANIFEST_VERSION_MAX + 1], signer[GENERATION_SIGNER]; /* signer "": nobody whom this node knows */
    uint64_t serial;
    struct digest manifest;
};
struct generation_type { char name[TYPE_NAME_MAX + 1], version[MANIFEST_VERSION_MAX + 1]; struct digest object; };

/* When a generation was made, and by whom, as the sender said: nobody checked it. "": it said nothing. */
struct generation_by { uint64_t made_s; char said[GENERATION_SAID]; };

/* Whether these bytes can be such a name (user@host): printable, without a blank, and not too long. */
bool generation_is_name(const char *at, size_t n);

/* Returns whether a text says so; those of before 0.1 don't. */
bool generation_made_by(const struct buf *text, struct generation_by *out);

/* Reads a text's lines: *at is where (begin with generation_begin), *b the bundle that stands above. Returns 1 for a
 * type, 2 for a bundle, 0 at the end, -1 for a line that is none. */
const char *generation_begin(const struct buf *text);
int generation_next(const char **at, struct generation_bundle *b, struct generation_type *t);

/* Adds the text of one bundle to a text, which begins with it where it is empty. */
int generation_add_bundle(struct buf *text, const struct generation_bundle *b);
int generation_add_type(struct buf *text, const struct generation_type *t);

/* The number of the generation in force; 0: none. */
unsigned generation_current(const struct store *s);

/* Adds the text of a generation to out, with a NUL behind it; of 0, which is none, only the NUL. Returns 0, or -1 with
 * err: it isn't there, or isn't trusted, or is damaged. */
int generation_load(struct buf *out, const struct store *s, unsigned number, struct ssx_error *err);

/* The type in a generation's text. Returns whether it is there. */
bool generation_find(const struct buf *text, const char *type, struct generation_bundle *b, struct generation_type *t);
bool generation_find_bundle(const struct buf *text, const char *name, struct generation_bundle *b);

/* What `now` becomes with a bundle (next, the text of one; both with a NUL behind them) put in: other bundles stay.
 * Returns 0, or -1 with err (SSX_ERROR_REFUSED): a type of another bundle would come twice, or a smaller serial than
 * that of the bundle that is replaced, unless downgrade is set. */
int generation_compose(struct buf *out, const struct buf *now, const struct buf *next, bool downgrade, struct ssx_error *err);

/* The three below change something, for which they lock the generations. Each returns 0, or -1 with err; or 1 where
 * another one has the lock: nothing was done, and the caller asks again a little later. */

/* Keeps the text of a bundle (a NUL behind it), prepared, under its manifest's digest. */
int generation_prepare(struct store *s, const struct digest *manifest, const struct buf *text, struct ssx_error *err);

/* Makes a generation with the bundle that was prepared, which says that `by` made it now (a name as
 * above, or ""), and puts it in force: *number. Nothing is made where it is in force already.
 * After -1 the old one is in force, whole. */
int generation_switch(struct store *s, const struct digest *manifest, const char *by, bool downgrade, unsigned *number,
                      struct ssx_error *err);

/* Puts an older one (to 0: the one before) in force: *number. check (may be NULL) may object to its text. */
int generation_roll_back(struct store *s, unsigned to, unsigned *number,
                         int (*check)(void *user, const struct buf *text, struct ssx_error *err), void *user, struct ssx_error *err);

/* The numbers there are, in their order: unsigned, added to out. Returns 0 or -1. */
int generation_list(struct buf *out, const struct store *s, struct ssx_error *err);

#endif

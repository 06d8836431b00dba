/* The subcommands of `sshexec bundle`, and the words that they take. */
#ifndef SSHEXEC_BUNDLE_H
#define SSHEXEC_BUNDLE_H
#include "bundle/archive.h"
#include "bundle/signature.h"

#include <stdbool.h>

struct bundle_words {
    const char *output, *name, *version, *serial, *changelog;  /* create; output: sign as well */
    const char *signers, *identity;                            /* verify, extract */
    const char *key, *signature;                               /* sign */
    const char *directory;                                     /* extract */
    bool json;                                                 /* show, verify */
    int interrupt_fd;                                          /* of interrupt_watch */
    char **files;                                              /* the words behind the options */
    int count;
};

/* Each returns an exit code; what went wrong was said, unless it is -1: then err says it. */
int bundle_create(const struct bundle_words *w, struct ssx_error *err);
int bundle_show(const struct bundle_words *w, struct ssx_error *err);
int bundle_verify(const struct bundle_words *w, struct ssx_error *err);
int bundle_extract(const struct bundle_words *w, struct ssx_error *err);
int bundle_sign(const struct bundle_words *w, struct ssx_error *err);

/* file_read, for a file that the user named: one that can't be read is a matter of usage. */
int bundle_read_file(struct buf *out, const char *path, size_t limit, struct ssx_error *err);

/* Who signed a bundle, as far as was asked. */
struct bundle_signer { bool is_signed; char kind[16], key[SIGNATURE_KEY_NAME], principals[256]; };

/* Judges the signature of an open bundle: over its manifest, and by somebody whom the file `signers` allows (NULL: by whatever key). One
 * that isn't signed passes only without `signers`. Returns 0, or -1 with err. */
int bundle_judge_signature(struct bundle_signer *out, const struct bundle *b, const char *path, const char *signers, const char *identity,
                           struct ssx_error *err);

/* Reads a bundle to its end, each object whole, and hands it to `visit` once its digest is known to be right; a return of -1 (with err)
 * ends it. Returns 0 or -1. */
typedef int bundle_visit(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err);
int bundle_each(struct bundle *b, const char *path, bundle_visit *visit, void *user, struct ssx_error *err);

#endif

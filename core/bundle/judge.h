/* Who signed a bundle, and whether that is somebody who may. */
#ifndef BUNDLE_JUDGE_H
#define BUNDLE_JUDGE_H
#include "bundle/archive.h"
#include "bundle/signature.h"

/* file_read, for a file that the user named: one that can't be read is a matter of usage. */
int bundle_read_file(struct buf *out, const char *path, size_t limit, struct ssx_error *err);

/* Who signed a bundle, as far as was asked. */
struct bundle_signer { bool is_signed; char kind[16], key[SIGNATURE_KEY_NAME], principals[256]; };

/* Judges the signature of an open bundle: over its manifest, and by somebody whom the file `signers` allows (NULL: by
 * whatever key). One that isn't signed passes only without `signers`. Returns 0, or -1 with err. */
int bundle_judge_signature(struct bundle_signer *out, const struct bundle *b, const char *path, const char *signers,
                           const char *identity, struct ssx_error *err);

#endif

#include "bundle/judge.h"

#include "base/error.h"
#include "base/file.h"
#include "bundle/signers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int bundle_read_file(struct buf *out, const char *path, size_t limit, struct ssx_error *err)
{
    if (file_read(out, path, limit, err) == 0)
        return 0;
    if (err->code == SSX_ERROR_SYSTEM)
        err->code = SSX_ERROR_USAGE;
    return -1;
}

int bundle_judge_signature(struct bundle_signer *out, const struct bundle *b, const char *path, const char *signers,
                           const char *identity, struct ssx_error *err)
{
    struct signature s;
    struct buf allowed = {0};
    const struct buf *text = bundle_signature(b), *manifest = bundle_manifest_text(b);
    memset(out, 0, sizeof *out);
    if (!buf_length(text))
        return signers ? error_set(err, SSX_ERROR_REFUSED, "%s is not signed", path) : 0;
    if (signature_read(&s, buf_data(text), buf_length(text), err))
        return error_prefix(err, "%s", path);
    int rc = signature_verify(&s, buf_data(manifest), buf_length(manifest), err);
    if (rc == 0 && signers && (rc = bundle_read_file(&allowed, signers, SIGNERS_MAX, err)) == 0)
        rc = signers_check(out->principals, (const char *)buf_data(&allowed), buf_length(&allowed), signers, &s, identity,
                           time(NULL), err);
    out->is_signed = true;
    signature_key_name(&s, out->key);
    snprintf(out->kind, sizeof out->kind, "%s", signature_key_kind(&s));
    buf_free(&allowed);
    signature_dispose(&s);
    return rc == 0 ? 0 : error_prefix(err, "%s", path);
}

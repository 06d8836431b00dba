#include "bundle/signature.h"

#include "base/base64.h"
#include "base/digest.h"
#include "base/error.h"

#include <sodium/crypto_hash_sha512.h>
#include <sodium/crypto_sign_ed25519.h>
#include <stdio.h>
#include <string.h>

#define BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define END "-----END SSH SIGNATURE-----"
#define MAGIC "SSHSIG"
#define VERSION 1
#define PLAIN "ssh-ed25519"
#define SECURITY_KEY "sk-ssh-ed25519@openssh.com"
#define TOUCHED 1 /* of the flags: user presence */

static int damaged(struct ssx_error *err) { return error_set(err, SSX_ERROR_REFUSED, "the signature is damaged"); }

/* The bytes between the armour's lines. */
static int unarmour(struct buf *out, const char *text, size_t n, struct ssx_error *err)
{
    struct buf plain = {0};
    if (n > SIGNATURE_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the signature has more than %u bytes", SIGNATURE_MAX);
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n < strlen(BEGIN END) || memcmp(text, BEGIN, strlen(BEGIN)) || memcmp(text + n - strlen(END), END, strlen(END)))
        return error_set(err, SSX_ERROR_REFUSED, "the signature is none of OpenSSH's (\"" "-----BEGIN SSH SIGNATURE-----\")");
    const char *end = text + n - strlen(END);
    for (const char *at = text + strlen(BEGIN); at < end; at++)
        if (*at != '\n' && *at != '\r')
            buf_add(&plain, at, 1);
    int rc = plain.failed || base64_decode(out, (const char *)buf_data(&plain), buf_length(&plain)) ? damaged(err) : 0;
    buf_free(&plain);
    return rc;
}

/* Names a type of key or signature that is not one of ours: hostile text, so only its known forms. */
static int refuse_type(const struct ssh_string *type, struct ssx_error *err)
{
    static const struct { const char *part, *what; } known[] = {
        {"-cert-", "a certificate"}, {"rsa", "an RSA key"}, {"ecdsa", "an ECDSA key"}, {"dss", "a DSA key"}, {"webauthn", "a WebAuthn key"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (memmem(type->at, type->n, known[i].part, strlen(known[i].part)))
            return error_set(
                err, SSX_ERROR_REFUSED,
                "the signature is made with %s (%.*s); sign with an ed25519 key, or one on a security key (ed25519-sk)",
                known[i].what, type->n < 64 ? (int)type->n : 64, (const char *)type->at);
    return error_set(
        err, SSX_ERROR_REFUSED,
        "the signature is made with a key of the type %.*s; sign with an ed25519 key, or one on a security key (ed25519-sk)",
        type->n < 64 ? (int)type->n : 64, (const char *)type->at);
}

static int take_key(struct signature *s, struct ssx_error *err)
{
    struct ssh_string from = s->key, type;
    if (ssh_string_take(&type, &from))
        return damaged(err);
    bool on_key = ssh_string_is(&type, SECURITY_KEY);
    if (!on_key && !ssh_string_is(&type, PLAIN))
        return refuse_type(&type, err);
    if (ssh_string_take(&s->point, &from) || s->point.n != crypto_sign_ed25519_PUBLICKEYBYTES ||
        (on_key && ssh_string_take(&s->application, &from)) || from.n)
        return damaged(err);
    return 0;
}

static int take_signature(struct signature *s, struct ssh_string from, struct ssx_error *err)
{
    struct ssh_string type;
    if (ssh_string_take(&type, &from))
        return damaged(err);
    if (!ssh_string_is(&type, s->application.at ? SECURITY_KEY : PLAIN))
        return refuse_type(&type, err);
    if (ssh_string_take(&s->signature, &from) || s->signature.n != crypto_sign_ed25519_BYTES)
        return damaged(err);
    if (s->application.at) {
        if (!from.n)
            return damaged(err);
        s->flags = *from.at;
        from = (struct ssh_string){from.at + 1, from.n - 1};
        if (ssh_u32_take(&s->counter, &from))
            return damaged(err);
    }
    return from.n ? damaged(err) : 0;
}

static int take_all(struct signature *s, struct ssx_error *err)
{
    struct ssh_string from = {buf_data(&s->blob), buf_length(&s->blob)}, namespace, reserved, signature;
    uint32_t version;
    if (from.n < strlen(MAGIC) || memcmp(from.at, MAGIC, strlen(MAGIC)))
        return damaged(err);
    from = (struct ssh_string){from.at + strlen(MAGIC), from.n - strlen(MAGIC)};
    if (ssh_u32_take(&version, &from))
        return damaged(err);
    if (version != VERSION)
        return error_set(err, SSX_ERROR_REFUSED, "the signature has the version %u of its format; this sshexec knows %d", (unsigned)version,
                         VERSION);
    if (ssh_string_take(&s->key, &from) || ssh_string_take(&namespace, &from) || ssh_string_take(&reserved, &from) ||
        ssh_string_take(&s->hash, &from) ||
        ssh_string_take(&signature, &from) || from.n)
        return damaged(err);
    if (!ssh_string_is(&namespace, SIGNATURE_NAMESPACE))
        return error_set(err, SSX_ERROR_REFUSED,
                         "the signature was made for the namespace %.*s, not for " SIGNATURE_NAMESPACE
                         " (ssh-keygen -Y sign -n " SIGNATURE_NAMESPACE ")",
                         namespace.n < 64 ? (int)namespace.n : 64, (const char *)namespace.at);
    if (!ssh_string_is(&s->hash, "sha512") && !ssh_string_is(&s->hash, "sha256"))
        return error_set(err, SSX_ERROR_REFUSED, "the signature is over a %.*s, neither sha512 nor sha256",
                         s->hash.n < 64 ? (int)s->hash.n : 64, (const char *)s->hash.at);
    if (reserved.n)
        return error_set(err, SSX_ERROR_REFUSED, "the signature has something in its reserved field, which this sshexec doesn't know");
    return take_key(s, err) || take_signature(s, signature, err) ? -1 : 0;
}

int signature_read(struct signature *out, const void *text, size_t n, struct ssx_error *err)
{
    memset(out, 0, sizeof *out);
    if (unarmour(&out->blob, text, n, err) == 0 && take_all(out, err) == 0)
        return 0;
    signature_dispose(out);
    return -1;
}

/* What the key signed: the preamble, and the hash of the message. */
static int add_signed(struct buf *out, const struct signature *s, const void *message, size_t n)
{
    unsigned char hash[crypto_hash_sha512_BYTES];
    struct digest digest;
    bool wide = ssh_string_is(&s->hash, "sha512");
    if (wide) {
        crypto_hash_sha512(hash, message, n);
    } else {
        digest_of(&digest, message, n);
        memcpy(hash, digest.bytes, DIGEST_SIZE);
    }
    return buf_add_text(out, MAGIC) || ssh_string_add(out, SIGNATURE_NAMESPACE, strlen(SIGNATURE_NAMESPACE)) ||
        ssh_string_add(out, "", 0) ||
           ssh_string_add(out, s->hash.at, s->hash.n) || ssh_string_add(out, hash, wide ? sizeof hash : DIGEST_SIZE);
}

/* What an authenticator signs in place of that (PROTOCOL.u2f of OpenSSH): hash of the application, flags, counter, hash
 * of what was to be signed. */
static int wrap_signed(struct buf *out, const struct signature *s)
{
    struct digest application, inner;
    digest_of(&application, s->application.at, s->application.n);
    digest_of(&inner, buf_data(out), buf_length(out));
    buf_consume(out, buf_length(out));
    return buf_add(out, application.bytes, DIGEST_SIZE) || buf_add(out, &s->flags, 1) || ssh_u32_add(out, s->counter) ||
        buf_add(out, inner.bytes, DIGEST_SIZE);
}

int signature_verify(const struct signature *s, const void *message, size_t n, struct ssx_error *err)
{
    struct buf bytes = {0};
    int rc = 0;
    if (add_signed(&bytes, s, message, n) || (s->application.at && wrap_signed(&bytes, s)))
        rc = error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    else if (crypto_sign_ed25519_verify_detached(s->signature.at, buf_data(&bytes), buf_length(&bytes), s->point.at))
        rc = error_set(
            err, SSX_ERROR_REFUSED,
            "the signature is not over this manifest: one of the two was changed, or they don't belong together");
    else if (s->application.at && !(s->flags & TOUCHED))
        rc = error_set(err, SSX_ERROR_REFUSED, "the signature was made without anybody touching the security key");
    buf_free(&bytes);
    return rc;
}

void signature_key_name(const struct signature *s, char out[SIGNATURE_KEY_NAME])
{
    struct digest digest;
    struct buf text = {0};
    digest_of(&digest, s->key.at, s->key.n);
    base64_encode(&text, digest.bytes, DIGEST_SIZE);
    size_t n = buf_length(&text);
    while (n && buf_data(&text)[n - 1] == '=') /* ssh-keygen shows no padding */
        n--;
    snprintf(out, SIGNATURE_KEY_NAME, "SHA256:%.*s", (int)n, n ? (const char *)buf_data(&text) : "");
    buf_free(&text);
}

const char *signature_key_kind(const struct signature *s) { return s->application.at ? "ED25519-SK" : "ED25519"; }

void signature_dispose(struct signature *s)
{
    buf_free(&s->blob);
    memset(s, 0, sizeof *s);
}

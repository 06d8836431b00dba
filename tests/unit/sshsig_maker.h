/* Makes signatures in OpenSSH's format as ssh-keygen does, and as a security key would, part by part, so that tests can
 * get each part wrong. */
#ifndef TESTS_SSHSIG_MAKER_H
#define TESTS_SSHSIG_MAKER_H
#include "base/base64.h"
#include "base/ssh_string.h"

#include <sodium.h>
#include <string.h>

struct sshsig {
    const char *type;                 /* NULL: "ssh-ed25519" */
    const char *application;          /* not NULL: of a security key */
    const char *namespace, *hash;     /* NULL: "sshexec-bundle", "sha512" */
    const char *reserved, *signature_type, *magic;
    unsigned version;                 /* 0: 1 */
    unsigned char flags;
    unsigned counter;
    size_t drop;                      /* cuts so many bytes off the end */
    const char *extra;                /* behind the end */
    unsigned char seed;               /* of the key */
};

static inline const char *or_else(const char *text, const char *fallback) { return text ? text : fallback; }

static inline void sshsig_key(struct buf *out, const struct sshsig *s, unsigned char secret[64])
{
    unsigned char seed[32], public[32];
    memset(seed, s->seed, sizeof seed);
    crypto_sign_ed25519_seed_keypair(public, secret, seed);
    const char *type = or_else(s->type, s->application ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519");
    ssh_string_add(out, type, strlen(type));
    ssh_string_add(out, public, sizeof public);
    if (s->application)
        ssh_string_add(out, s->application, strlen(s->application));
}

/* The parts that are signed, in front of the hash. */
static inline void sshsig_preamble(struct buf *out, const struct sshsig *s)
{
    const char *namespace = or_else(s->namespace, "sshexec-bundle"), *reserved = or_else(s->reserved, ""),
        *hash = or_else(s->hash, "sha512");
    ssh_string_add(out, namespace, strlen(namespace));
    ssh_string_add(out, reserved, strlen(reserved));
    ssh_string_add(out, hash, strlen(hash));
}

static inline void sshsig_sign(struct buf *out, const struct sshsig *s, const unsigned char secret[64], const void *message, size_t n)
{
    unsigned char hash[64], signature[64];
    struct buf what = {0}, outer = {0};
    int narrow = strcmp(or_else(s->hash, "sha512"), "sha256") == 0;
    buf_add_text(&what, "SSHSIG");
    sshsig_preamble(&what, s);
    if (narrow)
        crypto_hash_sha256(hash, message, n);
    else
        crypto_hash_sha512(hash, message, n);
    ssh_string_add(&what, hash, narrow ? 32 : 64);
    if (s->application) {
        crypto_hash_sha256(hash, (const unsigned char *)s->application, strlen(s->application));
        buf_add(&outer, hash, 32);
        buf_add(&outer, &s->flags, 1);
        ssh_u32_add(&outer, s->counter);
        crypto_hash_sha256(hash, buf_data(&what), buf_length(&what));
        buf_add(&outer, hash, 32);
    }
    const struct buf *signed_bytes = s->application ? &outer : &what;
    crypto_sign_ed25519_detached(signature, NULL, buf_data(signed_bytes), buf_length(signed_bytes), secret);
    const char *type = or_else(s->signature_type, s->application ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519");
    ssh_string_add(out, type, strlen(type));
    ssh_string_add(out, signature, sizeof signature);
    if (s->application) {
        buf_add(out, &s->flags, 1);
        ssh_u32_add(out, s->counter);
    }
    buf_free(&what);
    buf_free(&outer);
}

static inline void sshsig_armour(struct buf *out, const struct buf *blob)
{
    struct buf text = {0};
    base64_encode(&text, buf_data(blob), buf_length(blob));
    buf_add_text(out, "-----BEGIN SSH SIGNATURE-----\n");
    for (size_t at = 0, n; at < buf_length(&text); at += n) {
        n = buf_length(&text) - at < 70 ? buf_length(&text) - at : 70;
        buf_add(out, buf_data(&text) + at, n);
        buf_add(out, "\n", 1);
    }
    buf_add_text(out, "-----END SSH SIGNATURE-----\n");
    buf_free(&text);
}

/* The armoured signature over a message, added to out. */
static inline void sshsig_make(struct buf *out, const struct sshsig *s, const void *message, size_t n)
{
    struct buf blob = {0}, key = {0}, signature = {0};
    unsigned char secret[64];
    sshsig_key(&key, s, secret);
    sshsig_sign(&signature, s, secret, message, n);
    buf_add_text(&blob, or_else(s->magic, "SSHSIG"));
    ssh_u32_add(&blob, s->version ? s->version : 1);
    ssh_string_add(&blob, buf_data(&key), buf_length(&key));
    sshsig_preamble(&blob, s);
    ssh_string_add(&blob, buf_data(&signature), buf_length(&signature));
    if (s->extra)
        buf_add_text(&blob, s->extra);
    blob.end -= s->drop;
    sshsig_armour(out, &blob);
    buf_free(&blob);
    buf_free(&key);
    buf_free(&signature);
}

/* The public key as a line of a .pub file has it: type and base64; with a NUL. */
static inline void sshsig_public(struct buf *out, const struct sshsig *s)
{
    struct buf key = {0};
    unsigned char secret[64];
    sshsig_key(&key, s, secret);
    buf_printf(out, "%s ", or_else(s->type, s->application ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519"));
    base64_encode(out, buf_data(&key), buf_length(&key));
    buf_add(out, "", 1);
    buf_free(&key);
}

#endif

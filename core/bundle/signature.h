/* A signature in OpenSSH's format (SSHSIG; PROTOCOL.sshsig of OpenSSH): what `ssh-keygen -Y sign -n sshexec-bundle`
 * makes and `-Y verify` takes. ed25519 keys, in a file or on a security key; all others are refused by name. Whose the
 * key is, signers.h knows. */
#ifndef BUNDLE_SIGNATURE_H
#define BUNDLE_SIGNATURE_H
#include "base/buf.h"
#include "base/ssh_string.h"

#include <sshexec/error.h>

#define SIGNATURE_NAMESPACE "sshexec-bundle" /* so that a signature made for anything else (git, mail) is none here */
#define SIGNATURE_MAX (16u << 10)            /* bytes of armoured text */
#define SIGNATURE_KEY_NAME 64                /* "SHA256:..." with its NUL */

struct signature {
    struct buf blob;                  /* owned; the others point into it */
    struct ssh_string key;            /* the public key, as on the wire */
    struct ssh_string point;          /* of it: 32 bytes */
    struct ssh_string application;    /* security keys: "ssh:"; at NULL: none */
    struct ssh_string hash;           /* "sha512", "sha256" */
    struct ssh_string signature;      /* 64 bytes */
    unsigned char flags;              /* security keys: what the authenticator saw */
    uint32_t counter;
};

/* Reads the armoured text; hostile bytes. Returns 0 (the caller owns *out), or -1 with err (SSX_ERROR_REFUSED):
 * damaged, made for another namespace, or with a key of another type, which is named. */
int signature_read(struct signature *out, const void *text, size_t n, struct ssx_error *err);

/* Whether it was made over exactly these bytes, with the private half of its key; and, with a security key, by somebody
 * who touched it. Returns 0, or -1 with err (SSX_ERROR_REFUSED). */
int signature_verify(const struct signature *s, const void *message, size_t n, struct ssx_error *err);

/* The key's fingerprint as ssh-keygen -l shows it, "SHA256:..."; and what kind of key it is: "ED25519",
 * "ED25519-SK". */
void signature_key_name(const struct signature *s, char out[SIGNATURE_KEY_NAME]);
const char *signature_key_kind(const struct signature *s);

void signature_dispose(struct signature *s);

#endif

/* SHA-256 in pieces, for both ends of a transfer: plugins link nothing, so it is here. With the processor's own
 * instructions where it has them, for a plain one would cost as much as the encryption of the link. */
#ifndef FILES_SHA256_H
#define FILES_SHA256_H
#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

/* May be copied: the copy goes on by itself. */
struct sha256 {
    uint32_t h[8];
    uint64_t n;                  /* bytes so far */
    unsigned char block[64];     /* the last n % 64 of them */
};

void sha256_start(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *bytes, size_t n);

/* The digest of what was added so far; s itself can go on. */
void sha256_digest(const struct sha256 *s, unsigned char out[SHA256_SIZE]);

#endif

/* SHA-256, the name of an object everywhere: in the store, in frames, in bundles. libsodium does the work. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H
#include <sshexec/error.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32
#define DIGEST_HEX (2 * DIGEST_SIZE) /* without its NUL */

struct digest { uint8_t bytes[DIGEST_SIZE]; };

void digest_of(struct digest *out, const void *bytes, size_t n);

/* Of what can be read from fd, from its current offset to its end. Returns 0, or -1 with err set. */
int digest_of_fd(struct digest *out, int fd, struct ssx_error *err);

int digest_equal(const struct digest *a, const struct digest *b);

/* out: DIGEST_HEX + 1 bytes. */
void digest_hex(char *out, const struct digest *digest);

#endif

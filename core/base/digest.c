#include "base/digest.h"

#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <sodium/crypto_hash_sha256.h>
#include <string.h>
#include <unistd.h>

_Static_assert(DIGEST_SIZE == crypto_hash_sha256_BYTES, "SHA-256");

void digest_of(struct digest *out, const void *bytes, size_t n) { crypto_hash_sha256(out->bytes, bytes, n); }

int digest_of_fd(struct digest *out, int fd, struct ssx_error *err)
{
    crypto_hash_sha256_state state;
    unsigned char block[64 << 10];
    crypto_hash_sha256_init(&state);
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_system(err, "can't read the file to hash it");
        if (n == 0)
            break;
        crypto_hash_sha256_update(&state, block, (unsigned long long)n);
    }
    crypto_hash_sha256_final(&state, out->bytes);
    return 0;
}

int digest_equal(const struct digest *a, const struct digest *b) { return memcmp(a, b, sizeof *a) == 0; }

void digest_hex(char *out, const struct digest *digest) { text_hex(out, digest->bytes, DIGEST_SIZE); }

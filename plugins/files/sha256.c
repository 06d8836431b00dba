#include "sha256.h"

#include <stdbool.h>
#include <string.h>

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

typedef void compress_fn(uint32_t *h, const unsigned char *at, size_t blocks);

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

/* The 64 words of a block: its own 16, and what follows from them. */
static void expand(uint32_t *w, const unsigned char *at)
{
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)at[4 * i] << 24 | (uint32_t)at[4 * i + 1] << 16 | (uint32_t)at[4 * i + 2] << 8 | at[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
}

static void compress_plain(uint32_t *h, const unsigned char *at, size_t blocks)
{
    uint32_t w[64];
    for (; blocks; blocks--, at += 64) {
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
        expand(w, at);
        for (int i = 0; i < 64; i++) {
            uint32_t t1 = last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
            uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            last = g; g = f; f = e; e = d + t1;
            d = c; c = b; b = a; a = t1 + t2;
        }
        h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += last;
    }
}

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

/* The instructions work on the state as ABEF and CDGH, four rounds at a time; w holds the last 16 words of the
 * schedule. */
__attribute__((target("sha,sse4.1"))) static void compress_block(__m128i *abef, __m128i *cdgh, const unsigned char *at)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i w[4], first = *abef, second = *cdgh;
    for (int i = 0; i < 4; i++)
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(at + 16 * i)), big_endian);
    for (int i = 0; i < 16; i++) {
        __m128i now = w[i % 4], k = _mm_add_epi32(now, _mm_loadu_si128((const __m128i *)(const void *)(round_constants + 4 * i)));
        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, k);
        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(k, 0x0e));
        __m128i seven_back = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
        __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(i + 1) % 4]), seven_back);
        w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
    }
    *abef = _mm_add_epi32(*abef, first);
    *cdgh = _mm_add_epi32(*cdgh, second);
}

__attribute__((target("sha,sse4.1"))) static void compress_sha_ni(uint32_t *h, const unsigned char *at, size_t blocks)
{
    __m128i abef = _mm_set_epi32((int)h[0], (int)h[1], (int)h[4], (int)h[5]);
    __m128i cdgh = _mm_set_epi32((int)h[2], (int)h[3], (int)h[6], (int)h[7]);
    uint32_t words[4];
    for (; blocks; blocks--, at += 64)
        compress_block(&abef, &cdgh, at);
    _mm_storeu_si128((__m128i *)(void *)words, abef);
    h[0] = words[3]; h[1] = words[2]; h[4] = words[1]; h[5] = words[0];
    _mm_storeu_si128((__m128i *)(void *)words, cdgh);
    h[2] = words[3]; h[3] = words[2]; h[6] = words[1]; h[7] = words[0];
}

static compress_fn *compress_best(void)
{
    unsigned a, b, c, d, e, f, g;
    bool sse = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
    return sse && __get_cpuid_count(7, 0, &e, &f, &g, &d) && (f & bit_SHA) ? compress_sha_ni : compress_plain;
}
#else
static compress_fn *compress_best(void) { return compress_plain; }
#endif

static compress_fn *best;

static void compress(uint32_t *h, const unsigned char *at, size_t blocks)
{
    if (!best)
        best = compress_best();
    best(h, at, blocks);
}

void sha256_start(struct sha256 *s)
{
    static const uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(s, 0, sizeof *s);
    memcpy(s->h, h, sizeof h);
}

void sha256_add(struct sha256 *s, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    size_t held = s->n % 64, room = 64 - held;
    s->n += n;
    if (held && n >= room) {
        memcpy(s->block + held, at, room);
        compress(s->h, s->block, 1);
        at += room;
        n -= room;
        held = 0;
    }
    if (n >= 64) {
        compress(s->h, at, n / 64);
        at += n / 64 * 64;
        n %= 64;
    }
    if (n)
        memcpy(s->block + held, at, n);
}

void sha256_digest(const struct sha256 *s, unsigned char out[SHA256_SIZE])
{
    struct sha256 end = *s;
    unsigned char padding[72] = {0x80};
    size_t zeros = (119 - s->n % 64) % 64 + 1; /* the mark among them: the length then ends a block */
    for (int i = 0; i < 8; i++)
        padding[zeros + (size_t)i] = (unsigned char)(s->n << 3 >> (56 - 8 * i));
    sha256_add(&end, padding, zeros + 8);
    for (int i = 0; i < 32; i++)
        out[i] = (unsigned char)(end.h[i / 4] >> (24 - 8 * (i % 4)));
}

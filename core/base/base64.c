#include "base/base64.h"

#include <stdint.h>

int base64_encode(struct buf *out, const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    unsigned char *to = buf_reserve(out, n / 3 * 4 + 4);
    if (!to)
        return -1;
    const unsigned char *start = to;
    for (; n >= 3; n -= 3, p += 3) {
        *to++ = (unsigned char)digits[p[0] >> 2];
        *to++ = (unsigned char)digits[(p[0] & 3) << 4 | p[1] >> 4];
        *to++ = (unsigned char)digits[(p[1] & 15) << 2 | p[2] >> 6];
        *to++ = (unsigned char)digits[p[2] & 63];
    }
    if (n) {
        unsigned second = n > 1 ? p[1] : 0;
        *to++ = (unsigned char)digits[p[0] >> 2];
        *to++ = (unsigned char)digits[(p[0] & 3u) << 4 | second >> 4];
        *to++ = n > 1 ? (unsigned char)digits[(second & 15) << 2] : '=';
        *to++ = '=';
    }
    out->end += (size_t)(to - start);
    return 0;
}

/* The six bits of a digit; 64 for any other character. */
static uint32_t digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

int base64_decode(struct buf *out, const char *text, size_t n)
{
    if (n % 4)
        return -1;
    size_t padding = !n || text[n - 1] != '=' ? 0 : text[n - 2] != '=' ? 1 : 2;
    unsigned char *to = buf_reserve(out, n / 4 * 3);
    if (!to)
        return -1;
    for (size_t i = 0; i < n; i += 4) {
        size_t pad = i + 4 == n ? padding : 0;
        uint32_t a = digit(text[i]), b = digit(text[i + 1]);
        uint32_t c = pad < 2 ? digit(text[i + 2]) : 0, d = pad < 1 ? digit(text[i + 3]) : 0;
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        if ((a | b | c | d) & 64 || (pad == 1 && bits & 0xff) || (pad == 2 && bits & 0xffff))
            return -1;
        *to++ = (unsigned char)(bits >> 16);
        *to++ = (unsigned char)(bits >> 8);
        *to++ = (unsigned char)bits;
    }
    out->end += n / 4 * 3 - padding;
    return 0;
}

#include "wire/json_form.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BILLION 1000000000u

static bool is_text(const char *text, size_t n, const char *wanted) { return n == strlen(wanted) && memcmp(text, wanted, n) == 0; }

enum json_form form_named(const char *key, size_t n)
{
    static const char *const names[] = {
        [FORM_BIN] = "$bin", [FORM_STR] = "$str", [FORM_F32] = "$f32", [FORM_FLOAT] = "$float",
        [FORM_TIME] = "$time", [FORM_EXT] = "$ext", [FORM_MAP] = "$map",
    };
    for (int form = FORM_MAP; n && *key == '$' && form > FORM_NONE; form--)
        if (is_text(key, n, names[form]))
            return (enum json_form)form;
    return FORM_NONE;
}

/* IEEE 754: the exponent's bits all set, then the mantissa; its top bit set in the usual (quiet) NaN. */
static uint64_t infinity(unsigned width) { return width == 64 ? UINT64_C(0x7ff) << 52 : UINT64_C(0xff) << 23; }
static uint64_t quiet(unsigned width) { return infinity(width) | UINT64_C(1) << (width == 64 ? 51 : 22); }
static uint64_t sign(unsigned width) { return UINT64_C(1) << (width - 1); }

void form_float_print(char out[FORM_TEXT], uint64_t bits, unsigned width)
{
    if (bits == quiet(width))
        snprintf(out, FORM_TEXT, "nan");
    else if ((bits & ~sign(width)) == infinity(width))
        snprintf(out, FORM_TEXT, "%sinf", bits & sign(width) ? "-" : "");
    else
        snprintf(out, FORM_TEXT, "nan:%0*" PRIx64, (int)(width / 4), bits);
}

int form_float_parse(uint64_t *bits, unsigned width, const char *text, size_t n)
{
    char hex[17];
    unsigned char bytes[8];
    size_t digits = width / 4;
    *bits = is_text(text, n, "nan") ? quiet(width) : is_text(text, n, "inf") ? infinity(width)
          : is_text(text, n, "-inf") ? infinity(width) | sign(width) : 0;
    if (*bits)
        return 0;
    if (n != 4 + digits || memcmp(text, "nan:", 4) != 0)
        return -1;
    memcpy(hex, text + 4, digits);
    hex[digits] = 0;
    if (text_unhex(bytes, digits / 2, hex))
        return -1;
    for (size_t i = 0; i < digits / 2; i++)
        *bits = *bits << 8 | bytes[i];
    return (*bits & ~sign(width)) > infinity(width) ? 0 : -1;
}

static void put_big_endian(unsigned char *out, uint64_t u, size_t n)
{
    for (; n--; u >>= 8)
        out[n] = (unsigned char)u;
}

static uint64_t get_big_endian(const unsigned char *p, size_t n)
{
    uint64_t u = 0;
    for (size_t i = 0; i < n; i++)
        u = u << 8 | p[i];
    return u;
}

/* The msgpack specification, "Timestamp extension type": 32 bits of seconds; 30 of nanoseconds and 34 of seconds; 32
 * and 64. */
static size_t time_pack(unsigned char out[12], int64_t seconds, uint32_t nanoseconds)
{
    if (seconds < 0 || seconds >> 34) {
        put_big_endian(out, nanoseconds, 4);
        put_big_endian(out + 4, (uint64_t)seconds, 8);
        return 12;
    }
    uint64_t both = (uint64_t)nanoseconds << 34 | (uint64_t)seconds;
    size_t n = both >> 32 ? 8 : 4;
    put_big_endian(out, both, n);
    return n;
}

bool form_time_print(char out[FORM_TEXT], const unsigned char *bytes, size_t n)
{
    if (n != 4 && n != 8 && n != 12)
        return false;
    uint64_t both = n == 12 ? 0 : get_big_endian(bytes, n);
    int64_t seconds = n == 12 ? (int64_t)get_big_endian(bytes + 4, 8) : (int64_t)(both & ((UINT64_C(1) << 34) - 1));
    uint32_t nanoseconds = n == 12 ? (uint32_t)get_big_endian(bytes, 4) : (uint32_t)(both >> 34);
    unsigned char again[12];
    if (nanoseconds >= BILLION || time_pack(again, seconds, nanoseconds) != n)
        return false;
    bool negative = seconds < 0; /* -1 s and 0.7e9 ns are -0.3 s */
    uint64_t whole = negative ? -(uint64_t)seconds - (nanoseconds != 0) : (uint64_t)seconds;
    uint32_t fraction = negative && nanoseconds ? BILLION - nanoseconds : nanoseconds;
    snprintf(out, FORM_TEXT, "%s%" PRIu64 ".%09" PRIu32, negative ? "-" : "", whole, fraction);
    return true;
}

/* Digits up to the end or the first other character. Returns how many; 0 also where the number takes more than 64
 * bits. */
static size_t take_digits(uint64_t *out, const char *text, size_t n)
{
    size_t i = 0;
    for (*out = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(*out, 10u, out) || __builtin_add_overflow(*out, (uint64_t)(text[i] - '0'), out))
            return 0;
    return i;
}

size_t form_time_parse(unsigned char out[12], const char *text, size_t n)
{
    bool negative = n && *text == '-';
    uint64_t whole, fraction = 0;
    text += negative;
    n -= negative;
    size_t digits = take_digits(&whole, text, n), decimals = digits < n ? n - digits - 1 : 0;
    if (!digits || (digits < n && (text[digits] != '.' || !decimals || decimals > 9)))
        return 0;
    if (decimals && take_digits(&fraction, text + digits + 1, decimals) != decimals)
        return 0;
    for (; decimals && decimals < 9; decimals++)
        fraction *= 10;
    bool borrow = negative && fraction; /* nanoseconds count upward from the second before */
    if (whole > (uint64_t)INT64_MAX + negative - borrow)
        return 0;
    uint64_t seconds = negative ? -(whole + borrow) : whole;
    return time_pack(out, (int64_t)seconds, (uint32_t)(borrow ? BILLION - fraction : fraction));
}

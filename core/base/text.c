#include "base/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3629, section 4. */
size_t text_utf8_length(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

size_t text_escape(char *out, size_t size, const char *text, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        const unsigned char *p = (const unsigned char *)text + i;
        char one[8];
        size_t take = text_utf8_length(text + i, n - i), put;
        bool control = take == 1 && (*p < 0x20 || *p == 0x7f);
        bool c1 = take == 2 && p[0] == 0xc2 && p[1] < 0xa0; /* U+0080 to U+009F: control characters too */
        if (*p == '\n' || *p == '\t')
            put = (size_t)snprintf(one, sizeof one, "\\%c", *p == '\n' ? 'n' : 't');
        else if (!take || control || c1)
            put = (size_t)snprintf(one, sizeof one, "\\x%02x", *p), take = 1;
        else
            memcpy(one, p, take), put = take;
        if (used + put + 1 > size)
            break;
        memcpy(out + used, one, put);
        used += put;
        i += take;
    }
    if (size)
        out[used] = 0;
    return used;
}

size_t text_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX || m > MAX)
        return SIZE_MAX;
    uint8_t row[3][MAX + 1]; /* the two rows before, and the one being made */
    for (size_t j = 0; j <= m; j++)
        row[0][j] = (uint8_t)j;
    for (size_t i = 1; i <= n; i++) {
        uint8_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = (uint8_t)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1u < best)
                best = last[j] + 1u;
            if (now[j - 1] + 1u < best)
                best = now[j - 1] + 1u;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1u < best)
                best = before[j - 2] + 1u;
            now[j] = (uint8_t)best;
        }
    }
    return row[n % 3][m];
}

bool text_is_near(const char *word, const char *candidate)
{
    size_t n = strlen(word);
    return text_distance(word, candidate) <= (n <= 2 ? 1 : n <= 5 ? 2 : 3) || (n >= 3 && strncmp(word, candidate, n) == 0);
}

bool text_is_utf8(const char *text, size_t n)
{
    for (size_t i = 0, step; i < n; i += step)
        if (!(step = text_utf8_length(text + i, n - i)))
            return false;
    return true;
}

void text_hex(char *out, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int text_unhex(void *out, size_t n, const char *hex)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++) {
        int high = digit(hex[2 * i]), low = high < 0 ? -1 : digit(hex[2 * i + 1]);
        if (low < 0)
            return -1;
        p[i] = (unsigned char)(high << 4 | low);
    }
    return hex[2 * n] ? -1 : 0;
}

bool text_is_type_name(const char *name)
{
    if (*name < 'a' || *name > 'z')
        return false;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return !name[n] && n <= TYPE_NAME_MAX;
}

int64_t text_size(const char *text)
{
    static const struct {
        const char *suffix;
        int64_t bytes;
    } units[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1LL << 40}};
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return -1;
    long long number = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!errno && strcmp(end, units[i].suffix) == 0 && number <= INT64_MAX / units[i].bytes)
            return number * units[i].bytes;
    return -1;
}

long text_duration(const char *text)
{
    static const struct {
        const char *suffix;
        long ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end = NULL;
    errno = 0;
    double number = *text && strchr(".0123456789", *text) ? strtod(text, &end) : -1; /* strtod takes blanks, signs, inf */
    if (errno || end == text || !(number >= 0) || number > 1e9)
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].suffix) == 0)
            return number > 0 && number * (double)units[i].ms < 1 ? 1 : (long)(number * (double)units[i].ms);
    return -1;
}

char *text_trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n && strchr(" \t\r", text[n - 1]))
        text[--n] = 0;
    return text;
}

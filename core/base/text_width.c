/* How wide text is on a terminal. The C library's wcwidth depends on the locale of whoever runs us; this doesn't. */
#include "base/text.h"

struct range { uint32_t first, last; };

/* Marks that go above or below the character before them, and what is not seen at all (Unicode's Mn, Me and Cf, the
 * blocks in use). */
static const struct range narrow[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x2064},
    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef},
};

/* East Asian wide and full-width characters, and emoji. */
static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},   {0x2614, 0x2615},
    {0x2648, 0x2653},   {0x26bd, 0x26be},   {0x2705, 0x2705},   {0x270a, 0x270b},   {0x2728, 0x2728},
    {0x274c, 0x274c},   {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},   {0x2b1b, 0x2b1c},
    {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},
    {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
    {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x2fffd},
    {0x30000, 0x3fffd},
};

static bool is_in(const struct range *ranges, size_t count, uint32_t c)
{
    size_t i = 0;
    while (i < count && c > ranges[i].last)
        i++;
    return i < count && c >= ranges[i].first;
}

static uint32_t character(const unsigned char *p, size_t length)
{
    uint32_t c = length == 1 ? p[0] : p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

size_t text_cut(const char *text, size_t n, size_t width_max, size_t *width)
{
    size_t at = 0, all = 0;
    while (at < n) {
        size_t length = text_utf8_length(text + at, n - at);
        length = length ? length : 1;
        uint32_t c = character((const unsigned char *)text + at, length);
        size_t one = c < 0x300                                          ? 1
                     : is_in(narrow, sizeof narrow / sizeof *narrow, c) ? 0
                     : is_in(wide, sizeof wide / sizeof *wide, c)       ? 2
                                                                        : 1;
        if (one > width_max - all)
            break;
        all += one;
        at += length;
    }
    if (width)
        *width = all;
    return at;
}

size_t text_width(const char *text, size_t n)
{
    size_t width;
    text_cut(text, n, SIZE_MAX, &width);
    return width;
}

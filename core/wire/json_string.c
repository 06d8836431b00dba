#include "wire/json_string.h"

#include "base/text.h"
#include "wire/json.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static int take_hex(const char *at, const char *end, uint32_t *out)
{
    char digits[5] = {0};
    unsigned char bytes[2];
    if (end - at < 4)
        return -1;
    memcpy(digits, at, 4);
    if (text_unhex(bytes, 2, digits))
        return -1;
    *out = (uint32_t)bytes[0] << 8 | bytes[1];
    return 0;
}

/* \uXXXX, or two of them that make one character beyond U+FFFF. Returns the length of the escape, 0 if it is none. */
static size_t take_unicode(const char *at, const char *end, uint32_t *out)
{
    uint32_t low;
    if (take_hex(at + 2, end, out) || (*out >= 0xdc00 && *out < 0xe000))
        return 0;
    if (*out < 0xd800 || *out >= 0xe000)
        return 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u' || take_hex(at + 8, end, &low) || low < 0xdc00 || low >= 0xe000)
        return 0;
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

static size_t take_escape(const char *at, const char *end, uint32_t *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (end - at < 2)
        return 0;
    if (at[1] == 'u')
        return take_unicode(at, end, out);
    const char *name = memchr(names, at[1], sizeof names - 1);
    if (!name)
        return 0;
    *out = (unsigned char)values[name - names];
    return 2;
}

static size_t utf8_size(uint32_t code) { return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4; }

static size_t put_utf8(char *out, uint32_t code)
{
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = utf8_size(code);
    for (size_t i = n; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(marks[n] | code);
    return n;
}

static bool is_plain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

const char *string_scan(struct json_string *out, const char *at, const char *end)
{
    out->bad = at;
    out->at = ++at;
    out->n = 0;
    for (;;) {
        const char *run = at;
        while (at < end && is_plain(*at))
            at++;
        out->n += (size_t)(at - run);
        if (at == end)
            return "a string is not closed";
        if (*at == '"')
            break;
        uint32_t code;
        size_t step = *at == '\\' ? take_escape(at, end, &code) : text_utf8_length(at, (size_t)(end - at));
        const char *problem = *at == '\\' ? (step ? NULL : "not an escape (or half of a surrogate pair)")
            : !step                       ? "bytes that are not UTF-8"
            : (unsigned char)*at < 0x20   ? "a control character in a string must be escaped"
                                          : NULL;
        if (problem) {
            out->bad = at;
            return problem;
        }
        out->n += *at == '\\' ? utf8_size(code) : step;
        at += step;
    }
    out->end = at;
    return NULL;
}

void string_decode(char *out, const struct json_string *s)
{
    for (const char *at = s->at; at < s->end;) {
        const char *escape = memchr(at, '\\', (size_t)(s->end - at));
        size_t run = (size_t)((escape ? escape : s->end) - at);
        memcpy(out, at, run);
        out += run;
        at += run;
        uint32_t code;
        if (escape) {
            at += take_escape(at, s->end, &code);
            out += put_utf8(out, code);
        }
    }
}

static int add_control(struct buf *out, unsigned char code)
{
    char text[] = "\\u00..";
    text_hex(text + 4, &code, 1);
    return buf_add(out, text, 6);
}

/* Control characters beyond what RFC 8259 wants (DEL, U+0080 to U+009F) are escaped too: they could drive a
 * terminal. */
int json_add_string(struct buf *out, const char *text, size_t n)
{
    static const char named[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    int rc = buf_add_text(out, "\"");
    for (size_t i = 0; i < n && !rc;) {
        size_t run = i;
        while (run < n && is_plain(text[run]))
            run++;
        if (run > i) {
            rc = buf_add(out, text + i, run - i);
            i = run;
            continue;
        }
        size_t step = text_utf8_length(text + i, n - i);
        const unsigned char *p = (const unsigned char *)text + i;
        const char *name = memchr(named, text[i], sizeof named - 1);
        if (name)
            rc = buf_add(out, (char[]){'\\', names[name - named]}, 2);
        else if (!step)
            rc = buf_add_text(out, "\xef\xbf\xbd");
        else if (step == 1 || (step == 2 && p[0] == 0xc2 && p[1] < 0xa0))
            rc = add_control(out, p[step - 1]);
        else
            rc = buf_add(out, p, step);
        i += step ? step : 1;
    }
    return rc ? rc : buf_add_text(out, "\"");
}

#include "wire/json_reader.h"

#include "base/error.h"

#include <string.h>

int reader_fail(struct json_reader *r, const char *where, const char *problem)
{
    size_t line = 1, column = 1;
    for (const char *c = r->text; c < where; c++) {
        if (*c == '\n')
            line++, column = 1;
        else if (((unsigned char)*c & 0xc0) != 0x80)
            column++;
    }
    return error_set(r->err, SSX_ERROR_USAGE, "bad JSON at line %zu, column %zu: %s", line, column, problem);
}

char reader_peek(struct json_reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
    return r->at < r->end ? *r->at : 0;
}

bool reader_take(struct json_reader *r, char c)
{
    if (reader_peek(r) != c)
        return false;
    r->at++;
    return true;
}

int reader_expect(struct json_reader *r, char c, const char *problem) { return reader_take(r, c) ? 0 : reader_fail(r, r->at, problem); }

int reader_take_string(struct json_reader *r, struct json_string *out)
{
    const char *problem = string_scan(out, r->at, r->end);
    if (problem)
        return reader_fail(r, out->bad, problem);
    r->at = out->end + 1;
    return 0;
}

static bool is_digit(const struct json_reader *r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

static int take_digits(struct json_reader *r)
{
    if (!is_digit(r))
        return reader_fail(r, r->at, "a number lacks a digit");
    while (is_digit(r))
        r->at++;
    return 0;
}

static bool take_one(struct json_reader *r, const char *set)
{
    if (r->at == r->end || !*r->at || !strchr(set, *r->at))
        return false;
    r->at++;
    return true;
}

/* RFC 8259, section 6. */
int reader_take_number(struct json_reader *r, bool *whole)
{
    *whole = true;
    take_one(r, "-");
    if (!take_one(r, "0") && take_digits(r))
        return -1;
    if (is_digit(r))
        return reader_fail(r, r->at, "a number starts with 0");
    if (take_one(r, ".")) {
        *whole = false;
        if (take_digits(r))
            return -1;
    }
    if (take_one(r, "eE")) {
        *whole = false;
        take_one(r, "+-");
        return take_digits(r);
    }
    return 0;
}

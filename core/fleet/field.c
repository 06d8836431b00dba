#include "fleet/field.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/value.h"
#include "worker/schema.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* --- does the schema have it? --- */

static int no_parts(const char *path, size_t n, struct ssx_error *err)
{
    return error_set(err, SSX_ERROR_USAGE, "field %.*s has no parts of its own, so there is no %s", (int)n, path, path);
}

/* Steps into lists, whose parts are their elements' numbers. Returns where the path goes on, or NULL with err. */
static const char *step_into(const struct schema_type **type, const char *path, const char *at, struct ssx_error *err)
{
    const struct schema_type *t = *type;
    while (t->kind == SCHEMA_OPT || (t->kind == SCHEMA_LIST && *at)) {
        if (t->kind == SCHEMA_LIST) {
            size_t digits = strspn(at + 1, "0123456789");
            if (!digits || (at[1 + digits] && at[1 + digits] != '.')) {
                error_set(err, SSX_ERROR_USAGE, "field %.*s is a list: %.*s.0 is its first element", (int)(at - path),
                          path, (int)(at - path), path);
                return NULL;
            }
            at += 1 + digits;
        }
        t = t->element;
    }
    *type = t;
    return at;
}

int field_check(const struct descriptor *d, const struct schema_struct *s, const char *path, struct ssx_error *err)
{
    for (const char *part = path;; part++) {
        char where[256];
        size_t n = strcspn(part, ".");
        snprintf(where, sizeof where, "%s%.*s", part > path ? "field " : "", part > path ? (int)(part - path - 1) : 0, path);
        const struct schema_field *f = schema_field_find(s, part, n);
        if (!f)
            return schema_unknown_field(d, s, where, part, n, err);
        const struct schema_type *t = &f->type;
        bool secret = t->secret;
        part = step_into(&t, path, part + n, err);
        if (!part)
            return -1;
        if (secret || t->secret)
            return error_set(err, SSX_ERROR_USAGE, "field %s is secret", path);
        if (!*part || t->kind == SCHEMA_ANY)
            return 0;
        if (t->kind != SCHEMA_STRUCT)
            return no_parts(path, (size_t)(part - path), err);
        s = t->structure;
    }
}

/* --- finding it in a value --- */

/* Steps to the value of a key. */
static bool find_key(struct value_reader *r, size_t pairs, const char *name, size_t n)
{
    struct value v;
    for (; pairs; pairs--) {
        struct value_reader key = *r;
        if (value_skip(r))
            return false;
        if (value_next(&key, &v) == 0 && v.kind == VALUE_STR && v.n == n && memcmp(v.at, name, n) == 0)
            return true;
        if (value_skip(r))
            return false;
    }
    return false;
}

static bool find_element(struct value_reader *r, size_t count, const char *name, size_t n)
{
    char *end;
    unsigned long index = isdigit((unsigned char)*name) ? strtoul(name, &end, 10) : count;
    if (index >= count || end != name + n)
        return false;
    for (; index; index--)
        if (value_skip(r))
            return false;
    return true;
}

int field_find(const void *value, size_t n, const char *path, const void **at, size_t *size)
{
    struct value_reader r = value_reader(value, n), start;
    struct value v;
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, ".");
        bool found = value_next(&r, &v) == 0 && (v.kind == VALUE_MAP     ? find_key(&r, v.n, part, length)
                                                 : v.kind == VALUE_ARRAY && find_element(&r, v.n, part, length));
        if (!found)
            return -1;
        part += length;
        if (!*part)
            break;
    }
    start = r;
    if (value_next(&r, &v) || v.kind == VALUE_NIL)
        return -1;
    r = start;
    value_skip(&r);
    *at = start.at;
    *size = (size_t)(r.at - start.at);
    return 0;
}

/* --- what it is --- */

static bool token(const void *at, size_t n, struct value *v)
{
    struct value_reader r = value_reader(at, n);
    return n && value_next(&r, v) == 0;
}

bool field_number(const void *at, size_t n, long double *out, bool *integer)
{
    struct value v;
    if (!token(at, n, &v))
        return false;
    *integer = v.kind == VALUE_UINT || v.kind == VALUE_INT;
    switch (v.kind) {
    case VALUE_UINT: *out = (long double)v.u; return true;
    case VALUE_INT: *out = (long double)v.i; return true;
    case VALUE_F32: case VALUE_F64: *out = (long double)v.f; return true;
    default: return false;
    }
}

void field_number_text(struct buf *out, long double number, bool integer)
{
    char text[64];
    for (int digits = 15; !integer && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)number);
        if (strtod(text, NULL) == (double)number)
            break;
    }
    if (integer)
        snprintf(text, sizeof text, "%.0Lf", number);
    buf_add_text(out, text);
}

static int add_escaped(struct buf *out, const void *text, size_t n)
{
    char *room = (char *)buf_reserve(out, 4 * n + 1); /* \xHH for each byte at worst */
    if (room)
        out->end += text_escape(room, 4 * n + 1, text, n);
    return room ? 0 : -1;
}

int field_text(struct buf *out, const void *at, size_t n)
{
    struct value v;
    long double number;
    bool integer;
    if (!token(at, n, &v))
        return buf_add_text(out, "-");
    if (field_number(at, n, &number, &integer))
        field_number_text(out, number, integer);
    else if (v.kind == VALUE_BOOL)
        buf_add_text(out, v.boolean ? "yes" : "no");
    else if (v.kind == VALUE_STR)
        add_escaped(out, v.n ? (const char *)v.at : "\"\"", v.n ? v.n : 2);
    else
        json_from_msgpack(out, at, n, NULL);
    return out->failed ? -1 : 0;
}

static int rank(const void *at, size_t n, long double *number)
{
    struct value v;
    bool integer;
    if (!token(at, n, &v))
        return 3;
    return field_number(at, n, number, &integer) && *number == *number ? 0
           : v.kind == VALUE_STR                                       ? 1
                                                                       : 2; /* NaN has no place among numbers */
}

int field_compare(const void *a, size_t an, const void *b, size_t bn)
{
    long double x = 0, y = 0;
    struct value v = {0}, w = {0};
    int ra = rank(a, an, &x), rb = rank(b, bn, &y);
    if (ra != rb)
        return ra - rb;
    if (ra == 0)
        return (x > y) - (x < y);
    const void *p = a, *q = b;
    if (ra == 1 && token(a, an, &v) && token(b, bn, &w)) {
        p = v.at, an = v.n;
        q = w.at, bn = w.n;
    }
    size_t shorter = an < bn ? an : bn;
    int rc = shorter ? memcmp(p, q, shorter) : 0;
    return rc ? rc : (an > bn) - (an < bn);
}

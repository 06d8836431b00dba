#include "wire/value.h"

#include "base/error.h"

#include <string.h>

static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t u = 0;
    for (size_t i = 0; i < n; i++)
        u = u << 8 | p[i];
    return u;
}

/* Takes n bytes as a big-endian number. */
static int take_number(struct value_reader *r, size_t n, uint64_t *out)
{
    if ((size_t)(r->end - r->at) < n)
        return -1;
    *out = big_endian(r->at, n);
    r->at += n;
    return 0;
}

static int take_bytes(struct value_reader *r, struct value *out, enum value_kind kind, uint64_t n)
{
    if ((uint64_t)(r->end - r->at) < n)
        return -1;
    out->kind = kind;
    out->at = r->at;
    out->n = (size_t)n;
    r->at += n;
    return 0;
}

/* An element takes a byte at least, so a count above the bytes left is a lie. */
static int take_count(struct value_reader *r, struct value *out, enum value_kind kind, uint64_t n)
{
    uint64_t left = (uint64_t)(r->end - r->at);
    if (n > (kind == VALUE_MAP ? left / 2 : left))
        return -1;
    out->kind = kind;
    out->n = (size_t)n;
    return 0;
}

static int take_signed(struct value_reader *r, struct value *out, size_t n)
{
    uint64_t u;
    if (take_number(r, n, &u))
        return -1;
    unsigned shift = 64 - 8 * (unsigned)n;
    int64_t i = (int64_t)(u << shift) >> shift;
    out->kind = i < 0 ? VALUE_INT : VALUE_UINT;
    if (i < 0)
        out->i = i;
    else
        out->u = (uint64_t)i;
    return 0;
}

static int take_float(struct value_reader *r, struct value *out, size_t n)
{
    uint64_t u;
    if (take_number(r, n, &u))
        return -1;
    if (n == 4) {
        uint32_t bits = (uint32_t)u;
        float f;
        memcpy(&f, &bits, sizeof f);
        out->f = (double)f;
    } else {
        memcpy(&out->f, &u, sizeof out->f);
    }
    out->kind = n == 4 ? VALUE_F32 : VALUE_F64;
    return 0;
}

static int take_ext(struct value_reader *r, struct value *out, uint64_t n)
{
    uint64_t type;
    if (take_number(r, 1, &type))
        return -1;
    out->ext = (int8_t)(uint8_t)type;
    return take_bytes(r, out, VALUE_EXT, n);
}

/* The byte codes are those of the msgpack specification, "Formats". */
int value_next(struct value_reader *r, struct value *out)
{
    uint64_t u;
    if (r->at == r->end)
        return -1;
    unsigned code = *r->at++;
    out->at = NULL;
    out->n = 0;
    if (code < 0x80 || code >= 0xe0) {
        out->kind = code < 0x80 ? VALUE_UINT : VALUE_INT;
        if (code < 0x80)
            out->u = code;
        else
            out->i = (int)code - 0x100;
        return 0;
    }
    if (code < 0x90)
        return take_count(r, out, VALUE_MAP, code & 0x0f);
    if (code < 0xa0)
        return take_count(r, out, VALUE_ARRAY, code & 0x0f);
    if (code < 0xc0)
        return take_bytes(r, out, VALUE_STR, code & 0x1f);
    switch (code) {
    case 0xc0: out->kind = VALUE_NIL; return 0;
    case 0xc2: case 0xc3: out->kind = VALUE_BOOL; out->boolean = code == 0xc3; return 0;
    case 0xc4: case 0xc5: case 0xc6: return take_number(r, (size_t)1 << (code - 0xc4), &u) ? -1 : take_bytes(r, out, VALUE_BIN, u);
    case 0xc7: case 0xc8: case 0xc9: return take_number(r, (size_t)1 << (code - 0xc7), &u) ? -1 : take_ext(r, out, u);
    case 0xca: return take_float(r, out, 4);
    case 0xcb: return take_float(r, out, 8);
    case 0xcc: case 0xcd: case 0xce: case 0xcf: out->kind = VALUE_UINT; return take_number(r, (size_t)1 << (code - 0xcc), &out->u);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return take_signed(r, out, (size_t)1 << (code - 0xd0));
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return take_ext(r, out, (uint64_t)1 << (code - 0xd4));
    case 0xd9: case 0xda: case 0xdb: return take_number(r, (size_t)1 << (code - 0xd9), &u) ? -1 : take_bytes(r, out, VALUE_STR, u);
    case 0xdc: case 0xdd: return take_number(r, (size_t)2 << (code - 0xdc), &u) ? -1 : take_count(r, out, VALUE_ARRAY, u);
    case 0xde: case 0xdf: return take_number(r, (size_t)2 << (code - 0xde), &u) ? -1 : take_count(r, out, VALUE_MAP, u);
    default: return -1; /* 0xc1 was never given a meaning */
    }
}

static uint64_t elements(const struct value *v)
{
    return v->kind == VALUE_ARRAY ? v->n : v->kind == VALUE_MAP ? 2 * (uint64_t)v->n : 0;
}

int value_skip(struct value_reader *r)
{
    struct value v;
    for (uint64_t left = 1; left; left--) {
        if (value_next(r, &v))
            return -1;
        left += elements(&v); /* no overflow: each count was checked against the bytes left */
    }
    return 0;
}

int value_take_uint(struct value_reader *r, uint64_t max, uint64_t *out)
{
    struct value v;
    if (value_next(r, &v) || v.kind != VALUE_UINT || v.u > max)
        return -1;
    *out = v.u;
    return 0;
}

int value_take_bool(struct value_reader *r, bool *out)
{
    struct value v;
    if (value_next(r, &v) || v.kind != VALUE_BOOL)
        return -1;
    *out = v.boolean;
    return 0;
}

static int take_header(struct value_reader *r, enum value_kind kind, size_t *out)
{
    struct value v;
    if (value_next(r, &v) || v.kind != kind)
        return -1;
    *out = v.n;
    return 0;
}

int value_take_array(struct value_reader *r, size_t *count) { return take_header(r, VALUE_ARRAY, count); }
int value_take_map(struct value_reader *r, size_t *pairs) { return take_header(r, VALUE_MAP, pairs); }

int value_take_str(struct value_reader *r, const char **at, size_t *n)
{
    struct value v;
    if (value_next(r, &v) || v.kind != VALUE_STR || memchr(v.at, 0, v.n))
        return -1;
    *at = (const char *)v.at;
    *n = v.n;
    return 0;
}

int value_take_bin(struct value_reader *r, const unsigned char **at, size_t *n)
{
    struct value v;
    if (value_next(r, &v) || v.kind != VALUE_BIN)
        return -1;
    *at = v.at;
    *n = v.n;
    return 0;
}

int value_scan(const void *bytes, size_t n, struct ssx_error *err)
{
    struct value_reader r = value_reader(bytes, n);
    uint64_t left[VALUE_DEPTH_MAX + 1] = {1}; /* how many values are still to come at each level */
    uint64_t seen = 0;
    size_t depth = 0;
    while (depth || left[0]) {
        struct value v;
        size_t offset = n - (size_t)(r.end - r.at);
        if (value_next(&r, &v))
            return error_set(err, SSX_ERROR_PROTOCOL, "not a msgpack value: bad or cut off at byte %zu of %zu", offset, n);
        left[depth]--;
        if (v.kind == VALUE_ARRAY || v.kind == VALUE_MAP) {
            seen += elements(&v);
            if (seen > VALUE_ELEMENTS_MAX)
                return error_set(err, SSX_ERROR_PROTOCOL, "the value has more than %d elements", VALUE_ELEMENTS_MAX);
            if (depth == VALUE_DEPTH_MAX)
                return error_set(err, SSX_ERROR_PROTOCOL, "the value is nested deeper than %d levels", VALUE_DEPTH_MAX);
            left[++depth] = elements(&v);
        }
        while (depth && !left[depth])
            depth--;
    }
    if (r.at != r.end)
        return error_set(err, SSX_ERROR_PROTOCOL, "%zu bytes too many behind the msgpack value", (size_t)(r.end - r.at));
    return 0;
}

const char *value_kind_name(enum value_kind kind)
{
    static const char *const names[] = {
        [VALUE_NIL] = "nil", [VALUE_BOOL] = "a bool", [VALUE_UINT] = "an integer", [VALUE_INT] = "a negative integer",
        [VALUE_F32] = "a float", [VALUE_F64] = "a float", [VALUE_STR] = "text", [VALUE_BIN] = "binary data",
        [VALUE_ARRAY] = "a list", [VALUE_MAP] = "a map", [VALUE_EXT] = "an extension value",
    };
    return names[kind];
}

#include "worker/schema.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    SHOWN_MAX = 60,          /* bytes of a value that a message quotes */
    FILLED_MAX = 100 * 1000, /* defaults that schema_fill adds: a hostile schema's structs multiply */
};

/* A place in a value: the way up to its root, whose text is the caller's. */
struct place { const struct place *up; const char *name; size_t n, index; };

struct check {
    const struct descriptor *d;
    struct ssx_error *err;
    bool secret; /* inside a secret: values aren't quoted */
};

static void place_text(struct buf *out, const struct place *p)
{
    if (!p->up) {
        buf_add(out, p->name, p->n);
        return;
    }
    place_text(out, p->up);
    if (!p->name)
        buf_printf(out, "[%zu]", p->index);
    else
        buf_printf(out, "%s%.*s", p->up->up || p->up->n ? "." : "field ", (int)p->n, p->name);
}

/* "field disk.size: " before what is wrong there. */
static int misfit(const struct check *c, const struct place *p, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int misfit(const struct check *c, const struct place *p, const char *format, ...)
{
    char why[SSX_ERROR_TEXT];
    struct buf where = {0};
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    place_text(&where, p);
    buf_add(&where, "", 1);
    error_set(c->err, SSX_ERROR_REFUSED, "%.300s: %s",
              where.failed || buf_length(&where) == 1 ? "the state" : (const char *)buf_data(&where), why);
    buf_free(&where);
    return -1;
}

/* What stands there, for a message: a scalar's JSON, or what kind of thing it is. */
static void quote(const struct check *c, struct value_reader at, char out[SHOWN_MAX + 8])
{
    struct value v;
    struct value_reader end = at;
    struct buf json = {0};
    if (value_next(&end, &v) || c->secret || v.kind == VALUE_ARRAY || v.kind == VALUE_MAP || v.n > 4096 ||
        json_from_msgpack(&json, at.at, (size_t)(end.at - at.at), NULL))
        snprintf(out, SHOWN_MAX + 8, "%s", c->secret ? "this value" : value_kind_name(v.kind));
    else
        snprintf(out, SHOWN_MAX + 8, "%.*s%s", (int)(buf_length(&json) > SHOWN_MAX ? SHOWN_MAX : buf_length(&json)),
                 (const char *)buf_data(&json), buf_length(&json) > SHOWN_MAX ? "..." : "");
    buf_free(&json);
}

static int wrong_kind(const struct check *c, const struct place *p, const struct schema_type *t, struct value_reader at)
{
    char wanted[256], got[SHOWN_MAX + 8];
    quote(c, at, got);
    return misfit(c, p, "%s is wanted, not %s", schema_type_describe(t, wanted, sizeof wanted), got);
}

int schema_unknown_field(const struct descriptor *d, const struct schema_struct *s, const char *where, const char *name,
                         size_t n, struct ssx_error *err)
{
    char shown[SHOWN_MAX + 4], word[SHOWN_MAX + 4];
    struct buf text = {0};
    bool near = false;
    snprintf(word, sizeof word, "%.*s", (int)(n > SHOWN_MAX ? SHOWN_MAX : n), name);
    text_escape(shown, sizeof shown, name, n);
    if (*where)
        buf_printf(&text, "%s: ", where);
    if (*where || !d)
        buf_printf(&text, "struct %s%s", s->name, d ? " of " : "");
    if (d)
        buf_printf(&text, "%s %s (schema %s)", d->type, d->version, d->schema_digest);
    buf_printf(&text, " has no field '%s'", shown);
    for (size_t i = 0; i < s->count; i++)
        if (n <= SHOWN_MAX && text_is_near(word, s->fields[i].name)) {
            buf_printf(&text, "%s%s", near ? " or " : "; did you mean ", s->fields[i].name);
            near = true;
        }
    if (near)
        buf_add_text(&text, "?");
    for (size_t i = 0; !near && i < s->count; i++)
        buf_printf(&text, "%s%s", i ? ", " : "; its fields are ", s->fields[i].name);
    if (!s->count)
        buf_add_text(&text, "; it takes none");
    buf_add(&text, "", 1);
    error_set(err, SSX_ERROR_REFUSED, "%s", text.failed ? "there is no such field" : (const char *)buf_data(&text));
    buf_free(&text);
    return -1;
}

/* --- does it fit? --- */

static int check_value(struct check *c, const struct place *p, const struct schema_type *t, struct value_reader *r);

static int check_integer(const struct check *c, const struct place *p, const struct schema_type *t,
                         const struct value *v, struct value_reader at)
{
    char got[SHOWN_MAX + 8], wanted[256];
    if (v->kind != VALUE_UINT && v->kind != VALUE_INT)
        return wrong_kind(c, p, t, at);
    bool fits;
    if (t->kind == SCHEMA_UINT)
        fits = v->kind == VALUE_UINT && v->u >= (uint64_t)t->low && v->u <= t->high;
    else if (v->kind == VALUE_INT)
        fits = v->i >= t->low && v->i <= (int64_t)t->high;
    else
        fits = v->u <= INT64_MAX && (int64_t)v->u >= t->low && (int64_t)v->u <= (int64_t)t->high;
    if (fits)
        return 0;
    quote(c, at, got);
    return misfit(c, p, "%s is out of range for %s", got, schema_type_describe(t, wanted, sizeof wanted));
}

static int check_float(const struct check *c, const struct place *p, const struct schema_type *t, const struct value *v,
                       struct value_reader at)
{
    char got[SHOWN_MAX + 8], wanted[256];
    double f = v->kind == VALUE_UINT ? (double)v->u : v->kind == VALUE_INT ? (double)v->i : v->f;
    if (v->kind != VALUE_UINT && v->kind != VALUE_INT && v->kind != VALUE_F32 && v->kind != VALUE_F64)
        return wrong_kind(c, p, t, at);
    bool limited = t->float_low > -INFINITY || t->float_high < INFINITY;
    if (!limited || (f >= t->float_low && f <= t->float_high)) /* a NaN is in no range */
        return 0;
    quote(c, at, got);
    return misfit(c, p, "%s is out of range for %s", got, schema_type_describe(t, wanted, sizeof wanted));
}

static int check_bytes(const struct check *c, const struct place *p, const struct schema_type *t, const struct value *v,
                       struct value_reader at)
{
    if (v->kind != VALUE_STR && (t->kind != SCHEMA_BIN || v->kind != VALUE_BIN))
        return wrong_kind(c, p, t, at);
    if (v->n > t->high)
        return misfit(c, p, "%zu bytes are too many, %llu is the most", v->n, (unsigned long long)t->high);
    if (t->kind == SCHEMA_STR && memchr(v->at, 0, v->n))
        return misfit(c, p, "a str can't hold a NUL byte");
    return 0;
}

static int check_enum(const struct check *c, const struct place *p, const struct schema_type *t, const struct value *v,
                      struct value_reader at)
{
    char got[SHOWN_MAX + 8], wanted[512];
    for (size_t i = 0; i < t->enumeration->count; i++)
        if (value_is_text(v, t->enumeration->values[i]))
            return 0;
    quote(c, at, got);
    return misfit(c, p, "%s is none of %s", got,
                  schema_type_describe(t, wanted, sizeof wanted) + strlen(t->secret ? "secret enum " : "enum "));
}

static int check_required(const struct check *c, const struct place *p, const struct schema_struct *s, const bool *seen)
{
    char wanted[256];
    for (size_t i = 0; i < s->count; i++)
        if (s->fields[i].required && !seen[i]) {
            struct place at = {p, s->fields[i].name, strlen(s->fields[i].name), 0};
            return misfit(c, &at, "it is required and was not given (%s: %s)",
                          schema_type_describe(&s->fields[i].type, wanted, sizeof wanted), s->fields[i].doc);
        }
    return 0;
}

/* The pairs of a map whose header was taken. */
static int check_fields(struct check *c, const struct place *p, const struct schema_struct *s, size_t pairs, struct value_reader *r)
{
    bool seen[DESCRIPTOR_FIELDS_MAX] = {false};
    for (; pairs; pairs--) {
        struct value key;
        if (value_next(r, &key) || key.kind != VALUE_STR)
            return misfit(c, p, "a field's name is not text");
        const struct schema_field *f = schema_field_find(s, (const char *)key.at, key.n);
        if (!f) {
            struct buf where = {0};
            if (p->up)
                place_text(&where, p);
            buf_add(&where, "", 1);
            schema_unknown_field(c->d, s, where.failed ? "" : (const char *)buf_data(&where), (const char *)key.at, key.n, c->err);
            buf_free(&where);
            return -1;
        }
        struct place at = {p, f->name, strlen(f->name), 0};
        if (check_value(c, &at, &f->type, r))
            return -1;
        seen[f - s->fields] = true;
    }
    return check_required(c, p, s, seen);
}

static int check_list(struct check *c, const struct place *p, const struct schema_type *t, size_t count, struct value_reader *r)
{
    for (size_t i = 0; i < count; i++) {
        struct place at = {p, NULL, 0, i};
        if (check_value(c, &at, t->element, r))
            return -1;
    }
    return 0;
}

static int check_inner(struct check *c, const struct place *p, const struct schema_type *t, struct value_reader *r)
{
    struct value_reader at = *r;
    struct value v;
    if (value_next(r, &v))
        return misfit(c, p, "the value ends too early");
    switch (t->kind) {
    case SCHEMA_BOOL: return v.kind == VALUE_BOOL ? 0 : wrong_kind(c, p, t, at);
    case SCHEMA_INT: case SCHEMA_UINT: return check_integer(c, p, t, &v, at);
    case SCHEMA_FLOAT: return check_float(c, p, t, &v, at);
    case SCHEMA_STR: case SCHEMA_BIN: return check_bytes(c, p, t, &v, at);
    case SCHEMA_ENUM: return check_enum(c, p, t, &v, at);
    case SCHEMA_STRUCT: return v.kind == VALUE_MAP ? check_fields(c, p, t->structure, v.n, r) : wrong_kind(c, p, t, at);
    case SCHEMA_LIST: return v.kind == VALUE_ARRAY ? check_list(c, p, t, v.n, r) : wrong_kind(c, p, t, at);
    case SCHEMA_OPT:
        if (v.kind == VALUE_NIL)
            return 0;
        *r = at;
        return check_value(c, p, t->element, r);
    case SCHEMA_ANY: break;
    }
    *r = at;
    return value_skip(r);
}

static int check_value(struct check *c, const struct place *p, const struct schema_type *t, struct value_reader *r)
{
    bool outside = c->secret;
    c->secret |= t->secret;
    int rc = check_inner(c, p, t, r);
    c->secret = outside;
    return rc;
}

int schema_check(const struct descriptor *d, const struct schema_type *t, const char *where, const void *value,
                 size_t n, struct ssx_error *err)
{
    struct check c = {d, err, false};
    struct place root = {NULL, where, strlen(where), 0};
    struct value_reader r = value_reader(value, n);
    return check_value(&c, &root, t, &r);
}

int state_check(const struct descriptor *d, const struct schema_struct *s, const void *value, size_t n, struct ssx_error *err)
{
    struct check c = {d, err, false};
    struct place root = {NULL, "", 0, 0};
    struct value_reader r = value_reader(value, n);
    struct value v;
    if (value_next(&r, &v) || v.kind != VALUE_MAP)
        return error_set(err, SSX_ERROR_REFUSED, "%s %s wants a map from field names to values, not %s", d->type, d->version,
                         n ? value_kind_name(v.kind) : "nothing");
    return check_fields(&c, &root, s, v.n, &r);
}

/* --- canonical form --- */

/* Where each field's value stands (the last one counts), at NULL: absent. r is behind the map's header. */
static void find_fields(const struct schema_struct *s, size_t pairs, struct value_reader *r, struct value_reader *found)
{
    for (; pairs; pairs--) {
        struct value_reader key = *r;
        struct value name;
        if (value_skip(r))
            return;
        const struct schema_field *f =
            value_next(&key, &name) == 0 && name.kind == VALUE_STR ? schema_field_find(s, (const char *)name.at, name.n) : NULL;
        if (f)
            found[f - s->fields] = *r;
        if (value_skip(r))
            return;
    }
}

static void pack_value(struct buf *out, const struct schema_type *t, struct value_reader *r);

static void pack_fields(struct buf *out, const struct schema_struct *s, size_t pairs, struct value_reader *r)
{
    struct value_reader found[DESCRIPTOR_FIELDS_MAX] = {{NULL, NULL}};
    struct buf fields = {0}, one = {0};
    size_t count = 0;
    find_fields(s, pairs, r, found);
    for (size_t i = 0; i < s->count; i++) {
        const struct schema_field *f = &s->fields[i];
        size_t n = buf_length(&f->default_value);
        if (!found[i].at)
            continue;
        buf_consume(&one, buf_length(&one));
        pack_value(&one, &f->type, &found[i]);
        if (n && n == buf_length(&one) && memcmp(buf_data(&one), buf_data(&f->default_value), n) == 0)
            continue;
        msgpack_packer p = packer(&fields);
        pack_text(&p, f->name);
        buf_add(&fields, buf_data(&one), buf_length(&one));
        count++;
    }
    msgpack_packer p = packer(out);
    msgpack_pack_map(&p, count);
    if (count)
        buf_add(out, buf_data(&fields), buf_length(&fields));
    out->failed |= fields.failed | one.failed;
    buf_free(&fields);
    buf_free(&one);
}

static void pack_value(struct buf *out, const struct schema_type *t, struct value_reader *r)
{
    msgpack_packer p = packer(out);
    struct value_reader at = *r;
    struct value v;
    if (value_next(r, &v))
        return;
    switch (t->kind) {
    case SCHEMA_INT: case SCHEMA_UINT:
        v.kind == VALUE_UINT ? msgpack_pack_uint64(&p, v.u) : msgpack_pack_int64(&p, v.i);
        return;
    case SCHEMA_FLOAT: msgpack_pack_double(&p, v.kind == VALUE_UINT ? (double)v.u : v.kind == VALUE_INT ? (double)v.i : v.f); return;
    case SCHEMA_STR: case SCHEMA_ENUM: msgpack_pack_str_with_body(&p, v.at, v.n); return;
    case SCHEMA_BIN: msgpack_pack_bin_with_body(&p, v.at, v.n); return;
    case SCHEMA_STRUCT: pack_fields(out, t->structure, v.n, r); return;
    case SCHEMA_LIST:
        msgpack_pack_array(&p, v.n);
        for (size_t i = 0; i < v.n; i++)
            pack_value(out, t->element, r);
        return;
    case SCHEMA_OPT:
        if (v.kind != VALUE_NIL) {
            *r = at;
            pack_value(out, t->element, r);
            return;
        }
        break;
    case SCHEMA_BOOL: case SCHEMA_ANY: break;
    }
    *r = at;
    value_skip(r);
    buf_add(out, at.at, (size_t)(r->at - at.at));
}

int schema_pack(struct buf *out, const struct schema_type *t, const void *value, size_t n)
{
    struct value_reader r = value_reader(value, n);
    pack_value(out, t, &r);
    return out->failed ? -1 : 0;
}

int schema_pack_struct(struct buf *out, const struct schema_struct *s, const void *value, size_t n)
{
    struct schema_type t = {.kind = SCHEMA_STRUCT, .name = "struct", .structure = s};
    return schema_pack(out, &t, value, n);
}

void schema_pack_empty(struct buf *out, const struct schema_type *t)
{
    msgpack_packer p = packer(out);
    switch (t->kind) {
    case SCHEMA_BOOL: msgpack_pack_false(&p); return;
    case SCHEMA_INT: case SCHEMA_UINT: msgpack_pack_uint64(&p, 0); return;
    case SCHEMA_FLOAT: msgpack_pack_double(&p, 0); return;
    case SCHEMA_STR: msgpack_pack_str(&p, 0); return;
    case SCHEMA_BIN: msgpack_pack_bin(&p, 0); return;
    case SCHEMA_ENUM: pack_text(&p, t->enumeration->values[0]); return;
    case SCHEMA_STRUCT: msgpack_pack_map(&p, 0); return;
    case SCHEMA_LIST: msgpack_pack_array(&p, 0); return;
    case SCHEMA_ANY: case SCHEMA_OPT: msgpack_pack_nil(&p); return;
    }
}

/* --- full form --- */

struct fill { const char *secret; size_t left; /* of FILLED_MAX */ };

static void fill_value(struct fill *f, struct buf *out, const struct schema_type *t, struct value_reader *r);

static bool is_secret(const struct schema_type *t)
{
    for (; t; t = t->element)
        if (t->secret)
            return true;
    return false;
}

/* Adds name and value of one field; returns how many pairs that were. */
static size_t fill_field(struct fill *f, struct buf *out, const struct schema_field *field, struct value_reader r)
{
    if (!r.at && buf_length(&field->default_value) && f->left) {
        r = value_reader(buf_data(&field->default_value), buf_length(&field->default_value));
        f->left--;
    }
    bool secret = is_secret(&field->type);
    if (!r.at || (secret && !f->secret))
        return 0;
    msgpack_packer p = packer(out);
    pack_text(&p, field->name);
    if (secret)
        pack_text(&p, f->secret);
    else
        fill_value(f, out, &field->type, &r);
    return 1;
}

/* Adds the pairs of a map that the schema doesn't name; returns how many. */
static size_t fill_others(struct buf *out, const struct schema_struct *s, size_t pairs, struct value_reader r)
{
    size_t count = 0;
    for (; pairs; pairs--) {
        struct value_reader at = r, key = r;
        struct value name;
        if (value_next(&key, &name) || value_skip(&r) || value_skip(&r))
            break;
        if (name.kind == VALUE_STR && schema_field_find(s, (const char *)name.at, name.n))
            continue;
        buf_add(out, at.at, (size_t)(r.at - at.at));
        count++;
    }
    return count;
}

static void fill_struct(struct fill *f, struct buf *out, const struct schema_struct *s, size_t pairs, struct value_reader *r)
{
    struct value_reader found[DESCRIPTOR_FIELDS_MAX] = {{NULL, NULL}}, start = *r;
    struct buf fields = {0};
    size_t count = 0;
    find_fields(s, pairs, r, found);
    for (size_t i = 0; i < s->count; i++)
        count += fill_field(f, &fields, &s->fields[i], found[i]);
    count += fill_others(&fields, s, pairs, start);
    msgpack_packer p = packer(out);
    msgpack_pack_map(&p, count);
    if (count)
        buf_add(out, buf_data(&fields), buf_length(&fields));
    out->failed |= fields.failed;
    buf_free(&fields);
}

static void fill_value(struct fill *f, struct buf *out, const struct schema_type *t, struct value_reader *r)
{
    msgpack_packer p = packer(out);
    struct value_reader at = *r;
    struct value v;
    if (value_next(r, &v))
        return;
    while (t->kind == SCHEMA_OPT)
        t = t->element;
    if (t->kind == SCHEMA_STRUCT && v.kind == VALUE_MAP) {
        fill_struct(f, out, t->structure, v.n, r);
    } else if (t->kind == SCHEMA_LIST && v.kind == VALUE_ARRAY) {
        msgpack_pack_array(&p, v.n);
        for (size_t i = 0; i < v.n; i++)
            fill_value(f, out, t->element, r);
    } else if (t->kind == SCHEMA_BIN && v.kind == VALUE_STR) {
        msgpack_pack_bin_with_body(&p, v.at, v.n);
    } else {
        *r = at;
        value_skip(r);
        buf_add(out, at.at, (size_t)(r->at - at.at));
    }
}

int schema_fill(struct buf *out, const struct schema_struct *s, const char *secret, const void *value, size_t n)
{
    struct fill f = {secret, FILLED_MAX};
    struct schema_type whole = {.kind = s ? SCHEMA_STRUCT : SCHEMA_ANY, .name = "struct", .structure = s};
    struct value_reader r = value_reader(value, n);
    fill_value(&f, out, &whole, &r);
    return out->failed ? -1 : 0;
}

#include "worker/codec.h"

#include "base/error.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 256 /* ABI.md, section 2 */
#define PATH_TEXT 512  /* longer paths are cut */
#define NAME_SHOWN 64  /* so much of a name that is none; no name of ours is longer */
#define COLD __attribute__((cold, noinline)) /* keeps the buffers of messages, and their stack guards, out of the common path */

/* ---- where in the struct we are, for messages ---- */

struct place {
    const struct place *up;      /* NULL: the whole */
    const char *name;            /* of the field, or of the whole's struct; NULL: an element */
    const struct ssx_type *type; /* of the field; else NULL */
    size_t index;                /* of the element */
    unsigned depth;              /* how many maps and arrays are around it */
};

static struct place place_of_field(const struct place *up, const struct ssx_field *f)
{
    return (struct place){.up = up, .name = f->name, .type = f->type, .depth = up->depth + 1};
}

/* The next field of the same struct. */
static inline void place_move(struct place *at, const struct ssx_field *f)
{
    at->name = f->name;
    at->type = f->type;
}

static struct place place_of_element(const struct place *up) { return (struct place){.up = up, .depth = up->depth + 1}; }

static size_t place_write(char *out, size_t size, const struct place *at)
{
    if (!at->up)
        return 0;
    size_t used = place_write(out, size, at->up);
    int n = at->name ? snprintf(out + used, size - used, used ? ".%s" : "%s", at->name)
                     : snprintf(out + used, size - used, "[%zu]", at->index);
    return n < 0 || (size_t)n >= size - used ? size - 1 : used + (size_t)n;
}

static bool place_is_secret(const struct place *at)
{
    for (; at; at = at->up)
        for (const struct ssx_type *t = at->type; t; t++) {
            if (t->kind == SSX_KIND_SECRET)
                return true;
            if (t->kind != SSX_KIND_LIST && t->kind != SSX_KIND_OPT)
                break;
        }
    return false;
}

COLD __attribute__((format(printf, 3, 4))) static int refuse(struct ssx_error *err, const struct place *at, const char *format, ...)
{
    char path[PATH_TEXT] = "", text[SSX_ERROR_TEXT];
    if (!err)
        return -1;
    place_write(path, sizeof path, at);
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return error_set(err, SSX_ERROR_REFUSED, "%s%s: %s", at->up ? "field " : "", at->up ? path : at->name, text);
}

COLD static int no_memory(struct ssx_error *err, const struct place *at)
{
    char path[PATH_TEXT] = "";
    place_write(path, sizeof path, at);
    return error_set(err, SSX_ERROR_SYSTEM, "no memory for %s%s", at->up ? "field " : "", at->up ? path : at->name);
}

static int refuse_depth(struct ssx_error *err, const struct place *at)
{
    return refuse(err, at, "nested deeper than %d levels", VALUE_DEPTH_MAX);
}

/* ---- what both directions check ---- */

static int refuse_range(struct ssx_error *err, const struct place *at, const struct ssx_type *t, const char *value)
{
    char low[32], high[32];
    if (t->kind == SSX_KIND_INT) {
        snprintf(low, sizeof low, "%" PRId64, t->lo);
        snprintf(high, sizeof high, "%" PRId64, (int64_t)t->hi);
    } else if (t->kind == SSX_KIND_UINT) {
        snprintf(low, sizeof low, "%" PRIu64, (uint64_t)t->lo);
        snprintf(high, sizeof high, "%" PRIu64, t->hi);
    } else {
        snprintf(low, sizeof low, "%g", t->flo);
        snprintf(high, sizeof high, "%g", t->fhi);
    }
    return refuse(err, at, "%s is not in %s..%s", place_is_secret(at) ? "the value" : value, low, high);
}

COLD static int refuse_int(struct ssx_error *err, const struct place *at, const struct ssx_type *t, int64_t i)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, i);
    return refuse_range(err, at, t, text);
}

COLD static int refuse_uint(struct ssx_error *err, const struct place *at, const struct ssx_type *t, uint64_t u)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, u);
    return refuse_range(err, at, t, text);
}

COLD static int refuse_f64(struct ssx_error *err, const struct place *at, const struct ssx_type *t, double f)
{
    char text[32];
    snprintf(text, sizeof text, "%g", f);
    return refuse_range(err, at, t, text);
}

/* Text that is none of an enum's names; those are listed, cut where the list gets long. */
COLD static int refuse_name(struct ssx_error *err, const struct place *at, const struct ssx_type *t, const char *name, size_t n)
{
    char names[256];
    size_t used = 0;
    for (uint64_t i = 0; i <= t->hi && used < sizeof names; i++) {
        int wrote = snprintf(names + used, sizeof names - used, i ? ", %s" : "%s", t->names[i]);
        used += wrote < 0 ? sizeof names : (size_t)wrote;
    }
    if (place_is_secret(at))
        return refuse(err, at, "the value is none of %s", names);
    return refuse(err, at, "\"%.*s\" is none of %s", (int)(n < NAME_SHOWN ? n : NAME_SHOWN), name, names);
}

static int check_int(const struct ssx_type *t, int64_t i, const struct place *at, struct ssx_error *err)
{
    return i >= t->lo && i <= (int64_t)t->hi ? 0 : refuse_int(err, at, t, i);
}

static int check_uint(const struct ssx_type *t, uint64_t u, const struct place *at, struct ssx_error *err)
{
    return u >= (uint64_t)t->lo && u <= t->hi ? 0 : refuse_uint(err, at, t, u);
}

static int check_f64(const struct ssx_type *t, double f, const struct place *at, struct ssx_error *err)
{
    bool unbounded = t->flo == -__builtin_inf() && t->fhi == __builtin_inf(); /* takes NaN too */
    return unbounded || (f >= t->flo && f <= t->fhi) ? 0 : refuse_f64(err, at, t, f);
}

static int check_length(const struct ssx_type *t, size_t n, const struct place *at, struct ssx_error *err)
{
    return n <= t->hi ? 0 : refuse(err, at, "%zu bytes are too long, at most %" PRIu64 " are allowed", n, t->hi);
}

struct layout { size_t size, align; };

/* Of the C object that the chain from t on describes. An opt's value stands behind a bool, so its own alignment is its
 * offset. */
static struct layout layout_of(const struct ssx_type *t)
{
    if (t->kind == SSX_KIND_SECRET)
        return layout_of(t + 1);
    if (t->kind != SSX_KIND_OPT)
        return (struct layout){t->size, t->align};
    struct layout value = layout_of(t + 1);
    return (struct layout){value.align + value.size, value.align};
}

/* ---- msgpack -> struct ---- */

struct decoder {
    struct value_reader in;
    codec_alloc *alloc;
    void *user;
    struct ssx_error *err;
};

static int decode_value(struct decoder *d, const struct ssx_type *t, void *out, const struct place *at);

static int next_token(struct decoder *d, struct value *v, const struct place *at)
{
    return value_next(&d->in, v) ? refuse(d->err, at, "cut off or not msgpack") : 0;
}

static int wrong_kind(struct decoder *d, const struct value *v, const char *wanted, const struct place *at)
{
    return refuse(d->err, at, "wanted %s, got %s", wanted, value_kind_name(v->kind));
}

static int decode_bool(struct decoder *d, const struct value *v, void *out, const struct place *at)
{
    if (v->kind != VALUE_BOOL)
        return wrong_kind(d, v, "true or false", at);
    *(bool *)out = v->boolean;
    return 0;
}

static int decode_int(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    if (v->kind != VALUE_INT && v->kind != VALUE_UINT)
        return wrong_kind(d, v, "an integer", at);
    if (v->kind == VALUE_UINT && v->u > INT64_MAX)
        return refuse_uint(d->err, at, t, v->u);
    int64_t i = v->kind == VALUE_INT ? v->i : (int64_t)v->u;
    if (check_int(t, i, at, d->err))
        return -1;
    if (t->size == sizeof(int32_t))
        *(int32_t *)out = (int32_t)i;
    else
        *(int64_t *)out = i;
    return 0;
}

static int decode_uint(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    if (v->kind == VALUE_INT)
        return refuse_int(d->err, at, t, v->i);
    if (v->kind != VALUE_UINT)
        return wrong_kind(d, v, "an integer", at);
    if (check_uint(t, v->u, at, d->err))
        return -1;
    if (t->size == sizeof(uint32_t))
        *(uint32_t *)out = (uint32_t)v->u;
    else
        *(uint64_t *)out = v->u;
    return 0;
}

static int decode_f64(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    double f;
    switch (v->kind) {
    case VALUE_F32: case VALUE_F64: f = v->f; break;
    case VALUE_UINT: f = (double)v->u; break;
    case VALUE_INT: f = (double)v->i; break;
    default: return wrong_kind(d, v, "a number", at);
    }
    *(double *)out = f;
    return check_f64(t, f, at, d->err);
}

static int decode_str(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    if (v->kind != VALUE_STR)
        return wrong_kind(d, v, "text", at);
    if (check_length(t, v->n, at, d->err))
        return -1;
    if (memchr(v->at, 0, v->n))
        return refuse(d->err, at, "text must not hold a NUL byte");
    char *text = d->alloc(d->user, v->n + 1);
    if (!text)
        return no_memory(d->err, at);
    memcpy(text, v->at, v->n);
    text[v->n] = '\0';
    *(const char **)out = text;
    return 0;
}

/* A copy of n bytes as a bin or an any, which look the same in C. */
static int copy_bytes(struct decoder *d, const void *bytes, size_t n, void *out, const struct place *at)
{
    void *copy = NULL;
    if (n) {
        copy = d->alloc(d->user, n);
        if (!copy)
            return no_memory(d->err, at);
        memcpy(copy, bytes, n);
    }
    memcpy(out, &(struct ssx_bin){copy, n}, sizeof(struct ssx_bin));
    return 0;
}

static int decode_bin(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    if (v->kind != VALUE_BIN && v->kind != VALUE_STR)
        return wrong_kind(d, v, "binary data", at);
    return check_length(t, v->n, at, d->err) ? -1 : copy_bytes(d, v->at, v->n, out, at);
}

static int decode_any(struct decoder *d, void *out, const struct place *at)
{
    const unsigned char *start = d->in.at;
    if (value_skip(&d->in) || value_scan(start, (size_t)(d->in.at - start), NULL))
        return refuse(d->err, at, "cut off, not msgpack, or over the limits of a value");
    return copy_bytes(d, start, (size_t)(d->in.at - start), out, at);
}

static int decode_enum(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    if (v->kind != VALUE_STR)
        return wrong_kind(d, v, "text", at);
    for (uint64_t i = 0; i <= t->hi; i++)
        if (value_is_text(v, t->names[i])) {
            *(unsigned *)out = (unsigned)i;
            return 0;
        }
    return refuse_name(d->err, at, t, (const char *)v->at, v->n);
}

static int decode_list(struct decoder *d, const struct ssx_type *t, const struct value *v, void *out, const struct place *at)
{
    if (v->kind != VALUE_ARRAY)
        return wrong_kind(d, v, "a list", at);
    size_t stride = layout_of(t + 1).size;
    struct ssx_list list = {NULL, v->n, 0};
    struct place element = place_of_element(at);
    if (element.depth > VALUE_DEPTH_MAX)
        return refuse_depth(d->err, at);
    if (list.n && list.n <= SIZE_MAX / stride)
        list.at = d->alloc(d->user, list.n * stride);
    if (list.n && !list.at)
        return no_memory(d->err, at);
    for (; element.index < list.n; element.index++)
        if (decode_value(d, t + 1, (char *)list.at + element.index * stride, &element))
            return -1;
    memcpy(out, &list, sizeof list);
    return 0;
}

static int decode_opt(struct decoder *d, const struct ssx_type *t, void *out, const struct place *at)
{
    struct layout value = layout_of(t + 1);
    struct value_reader ahead = d->in;
    struct value v;
    memset(out, 0, value.align + value.size);
    if (next_token(d, &v, at))
        return -1;
    if (v.kind == VALUE_NIL)
        return 0;
    d->in = ahead;
    *(bool *)out = true;
    return decode_value(d, t + 1, (char *)out + value.align, at);
}

/* A sender writes the fields in the order of the list as a rule, so `expected` is nearly always it. */
static const struct ssx_field *find_field(const struct ssx_schema *s, const struct value *key, const struct ssx_field *expected)
{
    if (!s->count)
        return NULL; /* there is no table then */
    const struct ssx_field *end = s->fields + s->count;
    if (expected < end && expected->name_length == key->n && !memcmp(expected->name, key->at, key->n))
        return expected;
    for (const struct ssx_field *f = s->fields; f < end; f++)
        if (f->name_length == key->n && !memcmp(f->name, key->at, key->n))
            return f;
    return NULL;
}

COLD static int unknown_field(struct decoder *d, const struct ssx_schema *s, const struct value *key, const struct place *at)
{
    char name[NAME_SHOWN + 1];
    size_t n = key->n < NAME_SHOWN ? key->n : NAME_SHOWN;
    memcpy(name, key->at, n);
    name[n] = '\0';
    struct ssx_field field = {.name = name};
    struct place place = place_of_field(at, &field);
    return refuse(d->err, &place, "%s has no such field", s->name);
}

static int check_required(struct decoder *d, const struct ssx_schema *s, const uint64_t *seen, const struct place *at)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->fields[i].required && !(seen[i / 64] >> i % 64 & 1)) {
            struct place field = place_of_field(at, &s->fields[i]);
            return refuse(d->err, &field, "required, but missing");
        }
    return 0;
}

static int decode_struct(struct decoder *d, const struct ssx_schema *s, const struct value *v, void *out, const struct place *at)
{
    uint64_t seen[FIELDS_MAX / 64] = {0};
    const struct ssx_field *f = s->fields;
    if (v->kind != VALUE_MAP)
        return wrong_kind(d, v, "a map of fields", at);
    if (at->depth >= VALUE_DEPTH_MAX)
        return refuse_depth(d->err, at);
    if (s->count > FIELDS_MAX)
        return refuse(d->err, at, "%s has more than %d fields", s->name, FIELDS_MAX);
    struct place field = {.up = at, .depth = at->depth + 1};
    s->defaults(out);
    for (size_t left = v->n; left; left--) {
        struct value key;
        if (next_token(d, &key, at))
            return -1;
        if (key.kind != VALUE_STR)
            return refuse(d->err, at, "wanted the name of a field, got %s", value_kind_name(key.kind));
        f = find_field(s, &key, f);
        if (!f)
            return unknown_field(d, s, &key, at);
        place_move(&field, f);
        if (decode_value(d, f->type, (char *)out + f->offset, &field))
            return -1;
        size_t i = (size_t)(f++ - s->fields);
        seen[i / 64] |= (uint64_t)1 << i % 64;
    }
    return check_required(d, s, seen, at);
}

static int decode_value(struct decoder *d, const struct ssx_type *t, void *out, const struct place *at)
{
    struct value v;
    switch (t->kind) { /* those that don't begin with one token of their own */
    case SSX_KIND_SECRET: return decode_value(d, t + 1, out, at);
    case SSX_KIND_OPT: return decode_opt(d, t, out, at);
    case SSX_KIND_ANY: return decode_any(d, out, at);
    }
    if (next_token(d, &v, at))
        return -1;
    switch (t->kind) {
    case SSX_KIND_BOOL: return decode_bool(d, &v, out, at);
    case SSX_KIND_INT: return decode_int(d, t, &v, out, at);
    case SSX_KIND_UINT: return decode_uint(d, t, &v, out, at);
    case SSX_KIND_F64: return decode_f64(d, t, &v, out, at);
    case SSX_KIND_STR: return decode_str(d, t, &v, out, at);
    case SSX_KIND_BIN: return decode_bin(d, t, &v, out, at);
    case SSX_KIND_ENUM: return decode_enum(d, t, &v, out, at);
    case SSX_KIND_STRUCT: return decode_struct(d, t->schema(), &v, out, at);
    case SSX_KIND_LIST: return decode_list(d, t, &v, out, at);
    default: return refuse(d->err, at, "the plugin's table has a kind %u that this host doesn't know", t->kind);
    }
}

int codec_decode(const struct ssx_schema *schema, void *out, const void *msgpack, size_t n, codec_alloc *alloc, void *user,
                 struct ssx_error *err)
{
    struct decoder d = {.in = value_reader(msgpack, n), .alloc = alloc, .user = user, .err = err};
    struct place whole = {.name = schema->name};
    struct value v;
    if (next_token(&d, &v, &whole) || decode_struct(&d, schema, &v, out, &whole))
        return -1;
    if (d.in.at != d.in.end)
        return refuse(err, &whole, "%zu bytes too many behind the map", (size_t)(d.in.end - d.in.at));
    return 0;
}

/* ---- struct -> msgpack ---- */

struct encoder {
    struct buf *out;
    struct ssx_error *err;
    uint64_t elements;  /* so far; of `any` values as one each */
    bool omit_defaults;
    bool has_any;       /* a part was not made here: the whole is to be scanned */
};

static int encode_value(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at);

static int encode_bool(struct encoder *e, const void *in)
{
    msgpack_packer p = packer(e->out);
    return *(const unsigned char *)in ? msgpack_pack_true(&p) : msgpack_pack_false(&p);
}

static int encode_int(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    int64_t i = t->size == sizeof(int32_t) ? *(const int32_t *)in : *(const int64_t *)in;
    return check_int(t, i, at, e->err) ? -1 : msgpack_pack_int64(&p, i);
}

static int encode_uint(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    uint64_t u = t->size == sizeof(uint32_t) ? *(const uint32_t *)in : *(const uint64_t *)in;
    return check_uint(t, u, at, e->err) ? -1 : msgpack_pack_uint64(&p, u);
}

static int encode_f64(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    double f = *(const double *)in;
    return check_f64(t, f, at, e->err) ? -1 : msgpack_pack_double(&p, f);
}

static int encode_str(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    const char *text = *(const char *const *)in;
    size_t n = text ? strlen(text) : 0;
    return check_length(t, n, at, e->err) ? -1 : msgpack_pack_str_with_body(&p, text ? text : "", n);
}

static int encode_bin(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    const struct ssx_bin *bin = in;
    if (bin->n && !bin->at)
        return refuse(e->err, at, "%zu bytes at NULL", bin->n);
    return check_length(t, bin->n, at, e->err) ? -1 : msgpack_pack_bin_with_body(&p, bin->n ? bin->at : "", bin->n);
}

static int encode_any(struct encoder *e, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    const struct ssx_any *any = in;
    if (!any->n)
        return msgpack_pack_nil(&p);
    if (!any->at || value_scan(any->at, any->n, NULL))
        return refuse(e->err, at, "not one msgpack value within the limits");
    e->has_any = true;
    return buf_add(e->out, any->at, any->n);
}

static int encode_enum(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    unsigned value = *(const unsigned *)in;
    if (value > t->hi)
        return refuse(e->err, at, "the number %u is none of the enum's %" PRIu64 " values", value, t->hi + 1);
    pack_text(&p, t->names[value]);
    return 0;
}

static int encode_list(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    struct ssx_list list;
    memcpy(&list, in, sizeof list);
    size_t stride = layout_of(t + 1).size;
    struct place element = place_of_element(at);
    if (list.n && !list.at)
        return refuse(e->err, at, "%zu elements at NULL", list.n);
    e->elements += list.n;
    if (list.n > VALUE_ELEMENTS_MAX || e->elements > VALUE_ELEMENTS_MAX)
        return refuse(e->err, at, "more than %d elements in all", VALUE_ELEMENTS_MAX);
    if (element.depth > VALUE_DEPTH_MAX)
        return refuse_depth(e->err, at);
    msgpack_pack_array(&p, list.n);
    for (; element.index < list.n; element.index++)
        if (encode_value(e, t + 1, (const char *)list.at + element.index * stride, &element))
            return -1;
    return 0;
}

static int encode_opt(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    msgpack_packer p = packer(e->out);
    if (!*(const unsigned char *)in) /* not as a bool: a careless worker may have left something else than 0 or 1 */
        return msgpack_pack_nil(&p);
    return encode_value(e, t + 1, (const char *)in + layout_of(t + 1).align, at);
}

/* Whether two values of a field are encoded alike. What can't be encoded is like nothing. */
static bool same_value(const struct ssx_field *f, const void *a, const void *b, const struct place *at)
{
    struct buf both = {0};
    struct encoder e = {.out = &both};
    bool same = false;
    if (!encode_value(&e, f->type, (const char *)a + f->offset, at)) {
        size_t n = buf_length(&both);
        same = !encode_value(&e, f->type, (const char *)b + f->offset, at) && !both.failed && buf_length(&both) == 2 * n
            && !memcmp(buf_data(&both), buf_data(&both) + n, n);
    }
    buf_free(&both);
    return same;
}

/* Which fields are to be sent, as bits; returns how many, -1: no memory. */
static int fields_to_send(struct encoder *e, const struct ssx_schema *s, const void *in, uint64_t *send, const struct place *at)
{
    if (!e->omit_defaults) {
        memset(send, 0xff, FIELDS_MAX / 8);
        return (int)s->count;
    }
    struct buf memory = {0};
    void *defaults = buf_reserve(&memory, s->size);
    if (!defaults)
        return no_memory(e->err, at);
    s->defaults(defaults);
    int count = 0;
    memset(send, 0, FIELDS_MAX / 8);
    for (size_t i = 0; i < s->count; i++) {
        struct place field = place_of_field(at, &s->fields[i]);
        if (s->fields[i].required || !same_value(&s->fields[i], in, defaults, &field)) {
            send[i / 64] |= (uint64_t)1 << i % 64;
            count++;
        }
    }
    buf_free(&memory);
    return count;
}

static int encode_struct(struct encoder *e, const struct ssx_schema *s, const void *in, const struct place *at)
{
    uint64_t send[FIELDS_MAX / 64];
    msgpack_packer p = packer(e->out);
    if (at->depth >= VALUE_DEPTH_MAX)
        return refuse_depth(e->err, at);
    if (s->count > FIELDS_MAX)
        return refuse(e->err, at, "%s has more than %d fields", s->name, FIELDS_MAX);
    int count = fields_to_send(e, s, in, send, at);
    if (count < 0)
        return -1;
    e->elements += 2 * (unsigned)count;
    if (e->elements > VALUE_ELEMENTS_MAX)
        return refuse(e->err, at, "more than %d elements in all", VALUE_ELEMENTS_MAX);
    msgpack_pack_map(&p, (size_t)count);
    struct place field = {.up = at, .depth = at->depth + 1};
    for (size_t i = 0; i < s->count; i++) {
        const struct ssx_field *f = &s->fields[i];
        if (!(send[i / 64] >> i % 64 & 1))
            continue;
        place_move(&field, f);
        msgpack_pack_str_with_body(&p, f->name, f->name_length);
        if (encode_value(e, f->type, (const char *)in + f->offset, &field))
            return -1;
    }
    return 0;
}

/* Returns 0, or -1 with err, or -1 for running out of memory, which shows in the buffer as well. */
static int encode_value(struct encoder *e, const struct ssx_type *t, const void *in, const struct place *at)
{
    switch (t->kind) {
    case SSX_KIND_BOOL: return encode_bool(e, in);
    case SSX_KIND_INT: return encode_int(e, t, in, at);
    case SSX_KIND_UINT: return encode_uint(e, t, in, at);
    case SSX_KIND_F64: return encode_f64(e, t, in, at);
    case SSX_KIND_STR: return encode_str(e, t, in, at);
    case SSX_KIND_BIN: return encode_bin(e, t, in, at);
    case SSX_KIND_ANY: return encode_any(e, in, at);
    case SSX_KIND_ENUM: return encode_enum(e, t, in, at);
    case SSX_KIND_STRUCT: return encode_struct(e, t->schema(), in, at);
    case SSX_KIND_LIST: return encode_list(e, t, in, at);
    case SSX_KIND_OPT: return encode_opt(e, t, in, at);
    case SSX_KIND_SECRET: return encode_value(e, t + 1, in, at);
    default: return refuse(e->err, at, "the plugin's table has a kind %u that this host doesn't know", t->kind);
    }
}

/* The limits that a receiver holds a whole value to. */
static int check_whole(struct encoder *e, const unsigned char *value, size_t n, const struct place *whole)
{
    if (n > VALUE_SIZE_MAX)
        return refuse(e->err, whole, "%zu bytes, more than the %u that a value may have", n, VALUE_SIZE_MAX);
    if (e->has_any && value_scan(value, n, NULL))
        return refuse(e->err, whole, "nested deeper than %d levels or more than %d elements", VALUE_DEPTH_MAX, VALUE_ELEMENTS_MAX);
    return 0;
}

int codec_encode(const struct ssx_schema *schema, const void *in, struct buf *out, bool omit_defaults, struct ssx_error *err)
{
    struct encoder e = {.out = out, .err = err, .omit_defaults = omit_defaults};
    struct place whole = {.name = schema->name};
    size_t before = buf_length(out);
    int failed = encode_struct(&e, schema, in, &whole);
    if (out->failed)
        failed = no_memory(err, &whole);
    else if (!failed)
        failed = check_whole(&e, buf_data(out) + before, buf_length(out) - before, &whole);
    if (failed)
        out->end = out->start + before;
    return failed ? -1 : 0;
}

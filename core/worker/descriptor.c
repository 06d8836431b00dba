#include "worker/descriptor.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/value.h"
#include "worker/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 64 };

/* What parsing needs beside the tree. */
struct parser {
    struct descriptor *d;
    struct schema_struct *open_struct; /* whose fields the next lines are */
    struct schema_enum *open_enum;
    size_t line_number, line_at, line_length;
    const char *line;
    struct buf map;                    /* the line as msgpack */
    char *default_text;                /* a default that isn't JSON, cut out of the line */
    struct ssx_error *err;
};

static int fault(const struct parser *p, const char *why)
{
    return error_set(p->err, SSX_ERROR_REFUSED, "line %zu of the descriptor is bad: %s: %.200s", p->line_number, why, p->line);
}

static int no_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "can't read the descriptor: out of memory"); }

/* --- the keys of a line --- */

/* The value of a key of the map that r stands at; false where it has none. */
static bool find_key(struct value_reader r, const char *key, struct value_reader *out)
{
    size_t pairs;
    bool found = false;
    if (value_take_map(&r, &pairs))
        return false;
    for (; pairs; pairs--) {
        struct value_reader at = r;
        struct value name;
        if (value_next(&at, &name) == 0 && value_is_text(&name, key)) {
            *out = at;
            found = true;
        }
        if (value_skip(&r) || value_skip(&r))
            return false;
    }
    return found;
}

static struct value_reader line_reader(const struct parser *p) { return value_reader(buf_data(&p->map), buf_length(&p->map)); }

static bool line_has(const struct parser *p, const char *key)
{
    struct value_reader r;
    return find_key(line_reader(p), key, &r);
}

static char *copy_text(const char *at, size_t n)
{
    char *text = malloc(n + 1);
    if (text) {
        memcpy(text, at, n);
        text[n] = 0;
    }
    return text;
}

/* A text of the line, allocated. */
static int line_text(struct parser *p, const char *key, char **out)
{
    struct value_reader r;
    const char *at;
    size_t n;
    char why[64];
    snprintf(why, sizeof why, "it has no text \"%s\"", key);
    if (!find_key(line_reader(p), key, &r) || value_take_str(&r, &at, &n))
        return fault(p, why);
    return (*out = copy_text(at, n)) ? 0 : no_memory(p->err);
}

static bool is_name(const char *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool digit = at[i] >= '0' && at[i] <= '9';
        if (!(at[i] == '_' || (at[i] >= 'a' && at[i] <= 'z') || (at[i] >= 'A' && at[i] <= 'Z') || (digit && i)))
            return false;
    }
    return n > 0 && n <= NAME_MAX_LENGTH;
}

/* A name of the line, allocated: [A-Za-z_][A-Za-z0-9_]{0,63}. */
static int line_name(struct parser *p, const char *key, char **out)
{
    if (line_text(p, key, out))
        return -1;
    return is_name(*out, strlen(*out)) ? 0 : fault(p, "a name has letters, digits and _, 64 at most, and starts with no digit");
}

/* --- types --- */

struct scalar { const char *name; enum schema_kind kind; int64_t low; uint64_t high; };
static const struct scalar scalars[] = {
    {"bool", SCHEMA_BOOL, 0, 1},
    {"i32", SCHEMA_INT, INT32_MIN, INT32_MAX}, {"i64", SCHEMA_INT, INT64_MIN, INT64_MAX},
    {"u32", SCHEMA_UINT, 0, UINT32_MAX},       {"u64", SCHEMA_UINT, 0, UINT64_MAX},
    {"f64", SCHEMA_FLOAT, 0, 0},
    {"str", SCHEMA_STR, 0, UINT32_MAX},        {"bin", SCHEMA_BIN, 0, UINT32_MAX},
    {"any", SCHEMA_ANY, 0, 0},
};

static const struct scalar *find_scalar(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (strlen(scalars[i].name) == n && memcmp(scalars[i].name, name, n) == 0)
            return &scalars[i];
    return NULL;
}

static void set_scalar(struct schema_type *t, const struct scalar *s)
{
    t->kind = s->kind;
    t->name = s->name;
    t->low = s->low;
    t->high = s->high;
    t->float_low = -INFINITY;
    t->float_high = INFINITY;
}

/* A bound of an integer range, inside what the kind can hold. */
static bool take_bound(struct value_reader *r, const struct scalar *s, uint64_t *out)
{
    struct value v;
    if (value_next(r, &v) || (v.kind != VALUE_UINT && v.kind != VALUE_INT))
        return false;
    *out = v.kind == VALUE_UINT ? v.u : (uint64_t)v.i;
    if (s->kind == SCHEMA_UINT)
        return v.kind == VALUE_UINT && v.u <= s->high;
    return v.kind == VALUE_INT ? v.i >= s->low : v.u <= s->high;
}

static bool take_float_bound(struct value_reader *r, double *out)
{
    struct value v;
    if (value_next(r, &v))
        return false;
    switch (v.kind) {
    case VALUE_UINT: *out = (double)v.u; return true;
    case VALUE_INT: *out = (double)v.i; return true;
    case VALUE_F32: case VALUE_F64: *out = v.f; return v.f == v.f;
    default: return false;
    }
}

/* {"i32":[lo,hi]}, {"f64":[lo,hi]}, {"str":N}, {"bin":N} */
static int parse_limits(struct parser *p, struct schema_type *t, const struct scalar *s, struct value_reader r)
{
    size_t count;
    uint64_t low, high;
    set_scalar(t, s);
    switch (s->kind) {
    case SCHEMA_STR: case SCHEMA_BIN:
        return value_take_uint(&r, UINT32_MAX, &t->high) ? fault(p, "the longest length is not a number below 2^32") : 0;
    case SCHEMA_INT: case SCHEMA_UINT:
        if (value_take_array(&r, &count) || count != 2 || !take_bound(&r, s, &low) || !take_bound(&r, s, &high))
            return fault(p, "a range is two integers that the kind can hold");
        t->low = (int64_t)low;
        t->high = high;
        return (s->kind == SCHEMA_INT ? t->low <= (int64_t)high : low <= high) ? 0 : fault(p, "the range is empty");
    case SCHEMA_FLOAT:
        if (value_take_array(&r, &count) || count != 2 || !take_float_bound(&r, &t->float_low) || !take_float_bound(&r, &t->float_high))
            return fault(p, "a range is two numbers");
        return t->float_low <= t->float_high ? 0 : fault(p, "the range is empty");
    default: return fault(p, "this kind has no limits");
    }
}

/* Only what stands in an earlier note can be named, so no struct can hold itself. */
static int parse_reference(struct parser *p, struct schema_type *t, bool structure, struct value_reader r)
{
    const struct descriptor *d = p->d;
    struct value v;
    if (value_next(&r, &v) || v.kind != VALUE_STR)
        return fault(p, "the type's name is not text");
    t->name = structure ? "struct" : "enum";
    t->kind = structure ? SCHEMA_STRUCT : SCHEMA_ENUM;
    for (size_t i = 0; structure && i < d->struct_count; i++)
        if (&d->structs[i] != p->open_struct && value_is_text(&v, d->structs[i].name))
            t->structure = &d->structs[i];
    for (size_t i = 0; !structure && i < d->enum_count; i++)
        if (d->enums[i].count && value_is_text(&v, d->enums[i].name))
            t->enumeration = &d->enums[i];
    return t->structure || t->enumeration ? 0 : fault(p, "its type stands in no earlier note");
}

static int parse_type(struct parser *p, struct schema_type *t, struct value_reader r, unsigned level);

static int parse_element(struct parser *p, struct schema_type *t, enum schema_kind kind, struct value_reader r, unsigned level)
{
    t->kind = kind;
    t->name = kind == SCHEMA_LIST ? "list" : "opt";
    if (!(t->element = calloc(1, sizeof *t->element)))
        return no_memory(p->err);
    return parse_type(p, t->element, r, level + 1);
}

/* {"secret":T}, {"rest":T}: marks on the type that they hold. */
static int parse_mark(struct parser *p, struct schema_type *t, bool rest, struct value_reader r, unsigned level)
{
    if (parse_type(p, t, r, level + 1))
        return -1;
    if (rest && (t->kind != SCHEMA_LIST || level))
        return fault(p, "only a field that is a list can be the rest");
    t->rest |= rest;
    t->secret |= !rest;
    return 0;
}

static int parse_type(struct parser *p, struct schema_type *t, struct value_reader r, unsigned level)
{
    struct value v;
    const struct scalar *s;
    if (level >= DESCRIPTOR_LEVELS_MAX)
        return fault(p, "its type has more than 16 levels");
    if (value_next(&r, &v))
        return fault(p, "it has no type");
    if (v.kind == VALUE_STR && (s = find_scalar((const char *)v.at, v.n))) {
        set_scalar(t, s);
        return 0;
    }
    if (v.kind != VALUE_MAP || v.n != 1 || value_next(&r, &v) || v.kind != VALUE_STR)
        return fault(p, "its type is none that this ABI knows");
    if ((s = find_scalar((const char *)v.at, v.n)))
        return parse_limits(p, t, s, r);
    if (value_is_text(&v, "enum") || value_is_text(&v, "struct"))
        return parse_reference(p, t, value_is_text(&v, "struct"), r);
    if (value_is_text(&v, "list") || value_is_text(&v, "opt"))
        return parse_element(p, t, value_is_text(&v, "list") ? SCHEMA_LIST : SCHEMA_OPT, r, level);
    if (value_is_text(&v, "secret") || value_is_text(&v, "rest"))
        return parse_mark(p, t, value_is_text(&v, "rest"), r, level);
    return fault(p, "its type is none that this ABI knows");
}

static unsigned type_levels(const struct schema_type *t)
{
    unsigned below = t->element ? type_levels(t->element) : t->structure ? t->structure->levels : 0;
    return below + 1;
}

bool schema_type_is_secret(const struct schema_type *t)
{
    bool secret = t->secret;
    for (; t->element; secret |= t->secret)
        t = t->element;
    return secret || (t->structure && t->structure->secret);
}

/* --- fields --- */

/* The default of a field, as far as it can be known. */
static int parse_default(struct parser *p, struct schema_field *f)
{
    struct value_reader r, end;
    struct value v;
    f->default_text = p->default_text;
    p->default_text = NULL;
    if (f->default_text)
        return 0;
    if (!find_key(line_reader(p), "default", &r))
        return fault(p, "it is neither required nor has a default");
    end = r;
    value_skip(&end);
    size_t n = (size_t)(end.at - r.at);
    struct value_reader start = r;
    if (value_next(&r, &v))
        return fault(p, "its default can't be read");
    if (v.kind == VALUE_NIL)
        schema_pack_empty(&f->default_value, &f->type);
    else if (schema_check(NULL, &f->type, f->name, start.at, n, NULL) == 0)
        schema_pack(&f->default_value, &f->type, start.at, n);
    else {
        struct buf text = {0};
        json_from_msgpack(&text, start.at, n, NULL);
        buf_add(&text, "", 1);
        f->default_text = text.failed ? NULL : copy_text((const char *)buf_data(&text), buf_length(&text) - 1);
        buf_free(&text);
        return f->default_text ? 0 : no_memory(p->err);
    }
    return f->default_value.failed ? no_memory(p->err) : 0;
}

static struct schema_field *new_field(struct parser *p)
{
    struct schema_struct *s = p->open_struct;
    if ((s->count & (s->count - 1)) == 0) { /* room is doubled at each power of two */
        struct schema_field *more = realloc(s->fields, (s->count ? 2 * s->count : 1) * sizeof *more);
        if (!more)
            return NULL;
        s->fields = more;
    }
    struct schema_field *f = &s->fields[s->count++];
    *f = (struct schema_field){0};
    return f;
}

static int parse_field(struct parser *p)
{
    struct schema_struct *s = p->open_struct;
    struct value_reader r;
    if (!s)
        return fault(p, "a field stands behind no struct");
    if (s->count == DESCRIPTOR_FIELDS_MAX)
        return fault(p, "a struct has 256 fields at most");
    struct schema_field *f = new_field(p);
    if (!f)
        return no_memory(p->err);
    if (line_name(p, "field", &f->name) || (line_has(p, "doc") && line_text(p, "doc", &f->doc)))
        return -1;
    if (!f->doc && !(f->doc = copy_text("", 0)))
        return no_memory(p->err);
    if (schema_field_find(s, f->name, strlen(f->name)) != f)
        return fault(p, "the struct has a field of that name already");
    if (!find_key(line_reader(p), "type", &r))
        return fault(p, "it has no type");
    if (parse_type(p, &f->type, r, 0))
        return -1;
    unsigned levels = type_levels(&f->type) + 1;
    if (levels > DESCRIPTOR_LEVELS_MAX)
        return fault(p, "its type has more than 16 levels");
    if (levels > s->levels)
        s->levels = levels;
    s->secret |= schema_type_is_secret(&f->type);
    if (find_key(line_reader(p), "required", &r) && value_take_bool(&r, &f->required))
        return fault(p, "\"required\" is not a bool");
    return f->required ? 0 : parse_default(p, f);
}

static int parse_value(struct parser *p)
{
    struct schema_enum *e = p->open_enum;
    if (!e)
        return fault(p, "a value stands behind no enum");
    if (e->count == DESCRIPTOR_FIELDS_MAX)
        return fault(p, "an enum has 256 values at most");
    if ((e->count & (e->count - 1)) == 0) {
        char **more = realloc(e->values, (e->count ? 2 * e->count : 1) * sizeof *more);
        if (!more)
            return no_memory(p->err);
        e->values = more;
    }
    e->values[e->count] = NULL;
    if (line_name(p, "value", &e->values[e->count++]))
        return -1;
    for (size_t i = 0; i + 1 < e->count; i++)
        if (strcmp(e->values[i], e->values[e->count - 1]) == 0)
            return fault(p, "the enum has a value of that name already");
    return 0;
}

/* --- heads --- */

static int parse_struct(struct parser *p)
{
    struct descriptor *d = p->d;
    struct schema_struct *s = p->open_struct = &d->structs[d->struct_count++];
    s->lines.at = p->line_at;
    s->levels = 1;
    if (line_name(p, "struct", &s->name))
        return -1;
    for (size_t i = 0; i + 1 < d->struct_count; i++)
        if (strcmp(d->structs[i].name, s->name) == 0)
            return fault(
                p,
                "there is a struct of that name already (one source file of a plugin carries the notes, the others define SSX_NO_NOTES)");
    return 0;
}

static int parse_enum(struct parser *p)
{
    struct descriptor *d = p->d;
    struct schema_enum *e = p->open_enum = &d->enums[d->enum_count++];
    e->lines.at = p->line_at;
    if (line_name(p, "enum", &e->name))
        return -1;
    for (size_t i = 0; i + 1 < d->enum_count; i++)
        if (strcmp(d->enums[i].name, e->name) == 0)
            return fault(
                p,
                "there is an enum of that name already (one source file of a plugin carries the notes, the others define SSX_NO_NOTES)");
    return 0;
}

struct trait { const char *word; uint32_t bit; };
static const struct trait traits[] = {
    {"SSX_IDEMPOTENT", TRAIT_IDEMPOTENT},     {"SSX_REUSABLE", TRAIT_REUSABLE},         {"SSX_TAKES_INPUT", TRAIT_TAKES_INPUT},
    {"SSX_SHOWS_OUTPUT", TRAIT_SHOWS_OUTPUT}, {"SSX_SHOWS_RESULT", TRAIT_SHOWS_RESULT}, {"SSX_SANDBOX_NONE", TRAIT_SANDBOX_NONE},
    {"SSX_RETURNS_STATE", TRAIT_RETURNS_STATE}, {"0", 0},
};

static uint32_t trait_bit(const char *word, size_t n, bool *known)
{
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++)
        if (strlen(traits[i].word) == n && memcmp(traits[i].word, word, n) == 0) {
            *known = true;
            return traits[i].bit;
        }
    *known = false;
    return 0;
}

/* "SSX_IDEMPOTENT | SSX_REUSABLE": the C expression that the plugin gave, or "0". */
static int parse_traits(struct parser *p)
{
    char *text = NULL;
    static const char between[] = " \t|()";
    if (!line_has(p, "traits"))
        return 0;
    if (line_text(p, "traits", &text)) {
        free(text);
        return -1;
    }
    for (const char *at = text + strspn(text, between); *at; at += strspn(at, between)) {
        bool known;
        size_t n = strcspn(at, between);
        p->d->traits |= trait_bit(at, n, &known);
        if (!known && !p->d->unknown_trait)
            p->d->unknown_trait = copy_text(at, n);
        at += n;
    }
    free(text);
    return 0;
}

static const struct schema_struct *find_struct(const struct descriptor *d, const struct value *name)
{
    for (size_t i = 0; i < d->struct_count; i++)
        if (value_is_text(name, d->structs[i].name))
            return &d->structs[i];
    return NULL;
}

static bool line_struct(const struct parser *p, const char *key, const struct schema_struct **out)
{
    struct value_reader r;
    struct value v;
    return find_key(line_reader(p), key, &r) && value_next(&r, &v) == 0 && v.kind == VALUE_STR && (*out = find_struct(p->d, &v));
}

/* "abi":[major,minor] */
static bool map_abi(struct value_reader map, unsigned *major, unsigned *minor)
{
    struct value_reader r;
    size_t count;
    uint64_t a, b;
    if (!find_key(map, "abi", &r) || value_take_array(&r, &count) || count != 2 || value_take_uint(&r, UINT16_MAX, &a) ||
        value_take_uint(&r, UINT16_MAX, &b))
        return false;
    *major = (unsigned)a;
    *minor = (unsigned)b;
    return true;
}

static int parse_worker(struct parser *p)
{
    struct descriptor *d = p->d;
    if (d->type)
        return fault(p, "there is a worker already; a plugin holds one");
    if (line_text(p, "worker", &d->type) || line_text(p, "version", &d->version) || (line_has(p, "doc") && line_text(p, "doc", &d->doc)))
        return -1;
    if (!d->doc && !(d->doc = copy_text("", 0)))
        return no_memory(p->err);
    if (!text_is_type_name(d->type))
        return fault(p, "a worker's name has lower-case letters, digits, - and _, 64 at most, and starts with a letter");
    if (!map_abi(line_reader(p), &d->abi_major, &d->abi_minor))
        return fault(p, "it has no \"abi\":[major,minor]");
    if (!line_struct(p, "state", &d->state) || !line_struct(p, "result", &d->result))
        return fault(p, "its state or result stands in no earlier note");
    if (line_has(p, "items") && !line_struct(p, "items", &d->items))
        return fault(p, "the struct of its items stands in no earlier note");
    return parse_traits(p);
}

/* --- lines --- */

/* A field's default is C source; where that is no JSON, the line can still be read without it. The text between
 * "default": and the doc is cut out into p->default_text. Returns false where the line has no such place. */
static bool cut_default(struct parser *p, char **line)
{
    static const char key[] = "\"default\":", doc[] = ",\"doc\":";
    const char *start = strstr(p->line, key), *stop = start ? strstr(start, doc) : NULL;
    if (!stop)
        return false;
    start += strlen(key);
    size_t size = p->line_length + sizeof "null";
    p->default_text = copy_text(start, (size_t)(stop - start));
    *line = malloc(size);
    if (*line)
        snprintf(*line, size, "%.*snull%s", (int)(start - p->line), p->line, stop);
    return *line && p->default_text;
}

/* The line as msgpack in p->map. */
static int read_line(struct parser *p)
{
    struct ssx_error why = {0};
    char *mended = NULL;
    p->map.start = p->map.end = 0;
    free(p->default_text);
    p->default_text = NULL;
    int rc = json_to_msgpack(&p->map, p->line, p->line_length, &why);
    if (rc && cut_default(p, &mended))
        rc = json_to_msgpack(&p->map, mended, strlen(mended), NULL);
    free(mended);
    return rc ? fault(p, why.text) : 0;
}

static void close_notes(struct parser *p, size_t end)
{
    if (p->open_struct)
        p->open_struct->lines.n = end - p->open_struct->lines.at;
    if (p->open_enum)
        p->open_enum->lines.n = end - p->open_enum->lines.at;
    p->open_struct = NULL;
    p->open_enum = NULL;
}

static int parse_line(struct parser *p)
{
    if (read_line(p))
        return -1;
    if (line_has(p, "field"))
        return parse_field(p);
    if (line_has(p, "value"))
        return parse_value(p);
    close_notes(p, p->line_at);
    if (line_has(p, "struct"))
        return parse_struct(p);
    if (line_has(p, "enum"))
        return parse_enum(p);
    if (line_has(p, "worker"))
        return parse_worker(p);
    return fault(p, "it is no field, value, struct, enum or worker");
}

/* --- the digest --- */

static void mark_used(const struct descriptor *d, const struct schema_struct *s, bool *structs, bool *enums);

static void mark_type(const struct descriptor *d, const struct schema_type *t, bool *structs, bool *enums)
{
    for (; t; t = t->element) {
        if (t->structure)
            mark_used(d, t->structure, structs, enums);
        if (t->enumeration)
            enums[t->enumeration - d->enums] = true;
    }
}

static void mark_used(const struct descriptor *d, const struct schema_struct *s, bool *structs, bool *enums)
{
    if (structs[s - d->structs])
        return;
    structs[s - d->structs] = true;
    for (size_t i = 0; i < s->count; i++)
        mark_type(d, &s->fields[i].type, structs, enums);
}

/* Over the lines, with their NULs, of the structs and enums in use, in the order of the notes. */
static int make_digest(struct descriptor *d)
{
    size_t lines = d->struct_count + d->enum_count;
    bool *used = calloc(lines + 1, sizeof *used), *enums = used + d->struct_count;
    struct buf text = {0};
    if (!used)
        return -1;
    mark_used(d, d->state, used, enums);
    mark_used(d, d->result, used, enums);
    if (d->items)
        mark_used(d, d->items, used, enums);
    for (size_t s = 0, e = 0; s < d->struct_count || e < d->enum_count;) {
        bool structure = e == d->enum_count || (s < d->struct_count && d->structs[s].lines.at < d->enums[e].lines.at);
        struct schema_lines l = structure ? d->structs[s].lines : d->enums[e].lines;
        if (structure ? used[s] : enums[e])
            buf_add(&text, buf_data(&d->note) + l.at, l.n);
        structure ? s++ : e++;
    }
    struct digest digest;
    digest_of(&digest, buf_data(&text), buf_length(&text));
    text_hex(d->schema_digest, digest.bytes, 8);
    free(used);
    int rc = text.failed ? -1 : 0;
    buf_free(&text);
    return rc;
}

/* --- the whole --- */

static int parse_lines(struct parser *p)
{
    struct descriptor *d = p->d;
    const char *text = (const char *)buf_data(&d->note);
    size_t n = buf_length(&d->note);
    for (size_t at = 0; at < n; at += p->line_length + 1) {
        p->line = text + at;
        p->line_at = at;
        p->line_length = strlen(p->line);
        p->line_number++;
        if (p->line_length && parse_line(p))
            return -1;
    }
    close_notes(p, n);
    if (!d->type)
        return error_set(p->err, SSX_ERROR_REFUSED, "the descriptor names no worker");
    for (size_t i = 0; i < d->enum_count; i++)
        if (d->enums[i].count == 0)
            return error_set(p->err, SSX_ERROR_REFUSED, "the descriptor is bad: enum %s has no values", d->enums[i].name);
    return make_digest(d) ? no_memory(p->err) : 0;
}

int descriptor_parse(struct descriptor *out, const void *note, size_t n, struct ssx_error *err)
{
    struct parser p = {.d = out, .err = err};
    size_t lines = 0;
    *out = (struct descriptor){0};
    if (n > DESCRIPTOR_NOTE_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the descriptor is larger than the limit of %u bytes", DESCRIPTOR_NOTE_MAX);
    for (size_t i = 0; i < n; i++)
        lines += ((const char *)note)[i] == 0;
    if (n == 0 || ((const char *)note)[n - 1])
        return error_set(err, SSX_ERROR_REFUSED, "the descriptor is %s", n ? "cut short: its last line has no end" : "empty");
    if (lines > DESCRIPTOR_LINES_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the descriptor has more lines than the limit of %d", DESCRIPTOR_LINES_MAX);
    /* types point at structs and enums, so these arrays never move: no more of either than there are lines */
    out->structs = calloc(lines, sizeof *out->structs);
    out->enums = calloc(lines, sizeof *out->enums);
    int rc = !out->structs || !out->enums || buf_add(&out->note, note, n) ? no_memory(err) : parse_lines(&p);
    buf_free(&p.map);
    free(p.default_text);
    if (rc)
        descriptor_dispose(out);
    return rc;
}

int descriptor_abi(const void *note, size_t n, unsigned *major, unsigned *minor)
{
    const char *text = note, *end = text + n;
    static const char head[] = "{\"worker\":";
    for (const char *stop; text < end && (stop = memchr(text, 0, (size_t)(end - text))); text = stop + 1) {
        struct buf map = {0};
        if (strncmp(text, head, strlen(head)) != 0)
            continue;
        bool found = json_to_msgpack(&map, text, (size_t)(stop - text), NULL) == 0 &&
                     map_abi(value_reader(buf_data(&map), buf_length(&map)), major, minor);
        buf_free(&map);
        if (found)
            return 0;
    }
    return -1;
}

static void dispose_struct(struct schema_struct *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct schema_field *f = &s->fields[i];
        for (struct schema_type *t = f->type.element, *next; t; t = next) {
            next = t->element;
            free(t);
        }
        free(f->name);
        free(f->doc);
        free(f->default_text);
        buf_free(&f->default_value);
    }
    free(s->fields);
    free(s->name);
}

void descriptor_dispose(struct descriptor *d)
{
    for (size_t i = 0; i < d->struct_count; i++)
        dispose_struct(&d->structs[i]);
    for (size_t i = 0; i < d->enum_count; i++) {
        for (size_t j = 0; j < d->enums[i].count; j++)
            free(d->enums[i].values[j]);
        free(d->enums[i].values);
        free(d->enums[i].name);
    }
    free(d->structs);
    free(d->enums);
    free(d->type);
    free(d->version);
    free(d->doc);
    free(d->unknown_trait);
    buf_free(&d->note);
    *d = (struct descriptor){0};
}

/* --- judging --- */

static int check_default(const struct schema_struct *s, const struct schema_field *f, struct ssx_error *err)
{
    const struct schema_type *t = &f->type;
    char where[2 * NAME_MAX_LENGTH + 32];
    snprintf(where, sizeof where, "the default of %s.%s", s->name, f->name);
    struct buf value = {0};
    if (f->default_text && json_to_msgpack(&value, f->default_text, strlen(f->default_text), NULL)) {
        buf_free(&value);
        return error_set(err, SSX_ERROR_REFUSED, "%s is no literal: %s; write the value itself, as JSON would", where, f->default_text);
    }
    const struct buf *at = f->default_text ? &value : &f->default_value;
    int rc = schema_check(NULL, t, where, buf_data(at), buf_length(at), err);
    buf_free(&value);
    if (rc == 0 && (t->kind == SCHEMA_LIST || t->kind == SCHEMA_STRUCT) && buf_length(&f->default_value) > 1)
        return error_set(err, SSX_ERROR_REFUSED, "%s is not empty; a list or a struct has no other default", where);
    return rc;
}

static int check_struct(const struct schema_struct *s, struct ssx_error *err)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->fields[i].required && check_default(s, &s->fields[i], err))
            return -1;
    return 0;
}

static int check_docs(const struct descriptor *d, struct ssx_error *err)
{
    if (!*d->doc)
        return error_set(err, SSX_ERROR_REFUSED, "the worker %s has no doc: say in a few words what it does", d->type);
    for (size_t i = 0; i < d->struct_count; i++)
        for (size_t f = 0; f < d->structs[i].count; f++)
            if (!*d->structs[i].fields[f].doc)
                return error_set(err, SSX_ERROR_REFUSED, "%s.%s has no doc: say in a few words what it is",
                                 d->structs[i].name, d->structs[i].fields[f].name);
    return 0;
}

int descriptor_check(const struct descriptor *d, struct ssx_error *err)
{
    size_t rests = 0;
    if (d->unknown_trait)
        return error_set(err, SSX_ERROR_REFUSED, "%s is no trait; write out the SSX_ words, joined by |", d->unknown_trait);
    for (size_t i = 0; i < d->struct_count; i++)
        if (check_struct(&d->structs[i], err))
            return -1;
    for (size_t i = 0; i < d->state->count; i++)
        rests += d->state->fields[i].type.rest;
    if (rests > 1)
        return error_set(err, SSX_ERROR_REFUSED,
                         "the state %s has %zu rest fields; one at most can take the words after --", d->state->name,
                         rests);
    for (size_t i = 0; i < d->struct_count; i++)
        if (&d->structs[i] != d->state && schema_field_rest(&d->structs[i]))
            return error_set(err, SSX_ERROR_REFUSED, "%s.%s is a rest field, but %s is not the state; only the state has words after --",
                             d->structs[i].name, schema_field_rest(&d->structs[i])->name, d->structs[i].name);
    return check_docs(d, err);
}

const struct schema_field *schema_field_find(const struct schema_struct *s, const char *name, size_t n)
{
    for (size_t i = 0; i < s->count; i++)
        if (strlen(s->fields[i].name) == n && memcmp(s->fields[i].name, name, n) == 0)
            return &s->fields[i];
    return NULL;
}

const struct schema_field *schema_field_rest(const struct schema_struct *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->fields[i].type.rest)
            return &s->fields[i];
    return NULL;
}

/* --- words for a type --- */

static bool is_full_range(const struct schema_type *t)
{
    const struct scalar *s = find_scalar(t->name, strlen(t->name));
    return s && s->low == t->low && s->high == t->high;
}

static void describe_limits(struct buf *out, const struct schema_type *t)
{
    switch (t->kind) {
    case SCHEMA_INT: buf_printf(out, " %lld..%lld", (long long)t->low, (long long)t->high); break;
    case SCHEMA_UINT: buf_printf(out, " %llu..%llu", (unsigned long long)t->low, (unsigned long long)t->high); break;
    case SCHEMA_STR: case SCHEMA_BIN: buf_printf(out, " of at most %llu bytes", (unsigned long long)t->high); break;
    default: break;
    }
}

static void describe(struct buf *out, const struct schema_type *t)
{
    if (t->secret)
        buf_add_text(out, "secret ");
    switch (t->kind) {
    case SCHEMA_ENUM:
        for (size_t i = 0; i < t->enumeration->count; i++)
            buf_printf(out, "%s%s", i ? "|" : "enum ", t->enumeration->values[i]);
        break;
    case SCHEMA_STRUCT: buf_printf(out, "struct %s", t->structure->name); break;
    case SCHEMA_LIST: case SCHEMA_OPT:
        buf_add_text(out, t->kind == SCHEMA_LIST ? "list of " : "optional ");
        describe(out, t->element);
        break;
    case SCHEMA_FLOAT:
        buf_add_text(out, t->name);
        if (t->float_low > -INFINITY || t->float_high < INFINITY)
            buf_printf(out, " %g..%g", t->float_low, t->float_high);
        break;
    default:
        buf_add_text(out, t->name);
        if (!is_full_range(t))
            describe_limits(out, t);
    }
}

char *schema_type_describe(const struct schema_type *t, char *out, size_t size)
{
    struct buf text = {0};
    describe(&text, t);
    buf_add(&text, "", 1);
    snprintf(out, size, "%s", text.failed ? t->name : (const char *)buf_data(&text));
    buf_free(&text);
    return out;
}

#include "worker/state.h"

#include "base/error.h"
#include "wire/json.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node;

/* What was given for one field. */
struct slot {
    enum { ABSENT, WHOLE, ELEMENTS, NESTED } form;
    bool from_base;      /* what is given later replaces it */
    struct buf bytes;    /* WHOLE: the value; ELEMENTS: those of a list, without their header */
    size_t count;        /* ELEMENTS: how many */
    struct node *nested; /* NESTED: a struct, given field by field */
};

/* A struct in the making: one slot for each field. */
struct node { const struct schema_struct *s; struct slot slots[]; };

struct state_builder { const struct descriptor *d; struct node *root; };

static struct node *node_new(const struct schema_struct *s)
{
    struct node *node = calloc(1, sizeof *node + s->count * sizeof *node->slots);
    if (node)
        node->s = s;
    return node;
}

static void node_free(struct node *node)
{
    for (size_t i = 0; node && i < node->s->count; i++) {
        buf_free(&node->slots[i].bytes);
        node_free(node->slots[i].nested);
    }
    free(node);
}

static void slot_clear(struct slot *slot)
{
    buf_free(&slot->bytes);
    node_free(slot->nested);
    *slot = (struct slot){.form = ABSENT};
}

struct state_builder *state_builder_new(const struct descriptor *d)
{
    struct state_builder *b = calloc(1, sizeof *b);
    if (!b || !(b->root = node_new(d->state))) {
        free(b);
        return NULL;
    }
    b->d = d;
    return b;
}

void state_builder_free(struct state_builder *b)
{
    if (b)
        node_free(b->root);
    free(b);
}

static int no_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "can't make the state: out of memory"); }

/* --- where a value goes --- */

/* A field found by its path, and what a word for it is typed by. */
struct target {
    const char *name;               /* the path, as given */
    const struct schema_field *field;
    struct slot *slot;
    struct schema_type leaf;        /* of one word: the field's type, or that of a list's elements, without opt; borrowed insides */
    bool list;
};

static void find_leaf(struct target *t)
{
    const struct schema_type *type = &t->field->type;
    bool secret = type->secret;
    while (type->kind == SCHEMA_OPT || (type->kind == SCHEMA_LIST && !t->list)) {
        t->list |= type->kind == SCHEMA_LIST;
        type = type->element;
        secret |= type->secret;
    }
    t->leaf = *type;
    t->leaf.secret = secret; /* also where the mark stands outside: a message must not quote it */
}

/* Spreads the pairs of a map over a node's slots. `where` is the node's path. */
static int node_spread(const struct state_builder *b, struct node *node, const char *where, struct value_reader r, struct ssx_error *err)
{
    struct value v;
    if (value_next(&r, &v) || v.kind != VALUE_MAP)
        return error_set(err, SSX_ERROR_REFUSED, "%s wants a map from field names to values, not %s", *where ? where : b->d->type,
                         value_kind_name(v.kind));
    for (size_t pairs = v.n; pairs; pairs--) {
        if (value_next(&r, &v) || v.kind != VALUE_STR)
            return error_set(err, SSX_ERROR_REFUSED, "%s: a field's name is not text", *where ? where : b->d->type);
        const struct schema_field *f = schema_field_find(node->s, (const char *)v.at, v.n);
        if (!f)
            return schema_unknown_field(b->d, node->s, where, (const char *)v.at, v.n, err);
        struct value_reader start = r;
        struct slot *slot = &node->slots[f - node->s->fields];
        slot_clear(slot);
        slot->form = WHOLE;
        slot->from_base = true;
        if (value_skip(&r) || buf_add(&slot->bytes, start.at, (size_t)(r.at - start.at)))
            return no_memory(err);
    }
    return 0;
}

/* Turns a slot into a struct that is given field by field; what it held becomes the base of that. */
static int slot_nest(const struct state_builder *b, struct slot *slot, const struct schema_struct *s, const char *where,
                     struct ssx_error *err)
{
    if (slot->form == NESTED)
        return 0;
    struct node *node = node_new(s);
    if (!node)
        return no_memory(err);
    bool nothing = slot->form == ABSENT || (buf_length(&slot->bytes) == 1 &&
                                            buf_data(&slot->bytes)[0] == 0xc0); /* nil: an opt that isn't set */
    if (!nothing && node_spread(b, node, where, value_reader(buf_data(&slot->bytes), buf_length(&slot->bytes)), err)) {
        node_free(node);
        return -1;
    }
    slot_clear(slot);
    slot->form = NESTED;
    slot->nested = node;
    return 0;
}

/* Finds the slot of a path, making nested structs on the way. */
static int find_target(const struct state_builder *b, struct target *out, const char *name, struct ssx_error *err)
{
    struct node *node = b->root;
    *out = (struct target){.name = name};
    char where[SSX_ERROR_TEXT] = "";
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, ".");
        out->field = schema_field_find(node->s, part, n);
        if (!out->field)
            return schema_unknown_field(b->d, node->s, where, part, n, err);
        out->slot = &node->slots[out->field - node->s->fields];
        part += n;
        if (!*part)
            break;
        snprintf(where, sizeof where, "field %.*s", (int)(part - name), name);
        const struct schema_type *t = &out->field->type;
        while (t->kind == SCHEMA_OPT)
            t = t->element;
        if (t->kind != SCHEMA_STRUCT)
            return error_set(err, SSX_ERROR_REFUSED, "%s has no fields of its own, so there is no %s", where, name);
        if (slot_nest(b, out->slot, t->structure, where, err))
            return -1;
        node = out->slot->nested;
    }
    find_leaf(out);
    return 0;
}

/* Empties what the base gave; complains of what was given by an earlier word. */
static int slot_claim(struct target *t, bool append, struct ssx_error *err)
{
    if (t->slot->from_base)
        slot_clear(t->slot);
    if (t->slot->form == ABSENT || (append && t->slot->form == ELEMENTS))
        return 0;
    return error_set(err, SSX_ERROR_USAGE, "field %s is given twice; only a list can be given more than once", t->name);
}

static int put_elements(struct target *t, const void *bytes, size_t n, size_t count, struct ssx_error *err)
{
    if (slot_claim(t, true, err))
        return -1;
    t->slot->form = ELEMENTS;
    t->slot->count += count;
    return buf_add(&t->slot->bytes, bytes, n) ? no_memory(err) : 0;
}

static int put_whole(struct target *t, const void *bytes, size_t n, struct ssx_error *err)
{
    if (slot_claim(t, false, err))
        return -1;
    t->slot->form = WHOLE;
    return buf_add(&t->slot->bytes, bytes, n) ? no_memory(err) : 0;
}

/* --- from text --- */

static int unreadable(const struct target *t, const char *text, const char *what, struct ssx_error *err)
{
    char wanted[256];
    schema_type_describe(&t->leaf, wanted, sizeof wanted);
    if (t->leaf.secret)
        return error_set(err, SSX_ERROR_REFUSED, "field %s: what was given is not %s (%s)", t->name, what, wanted);
    return error_set(err, SSX_ERROR_REFUSED, "field %s: '%.60s' is not %s (%s)", t->name, text, what, wanted);
}

static int text_to_bool(struct buf *out, const struct target *t, const char *text, struct ssx_error *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "0", "1"};
    msgpack_packer p = packer(out);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0)
            return i % 2 ? msgpack_pack_true(&p) : msgpack_pack_false(&p);
    return unreadable(t, text, "true or false", err);
}

static int text_to_integer(struct buf *out, const struct target *t, const char *text, struct ssx_error *err)
{
    const char *at = text + (*text == '-' || *text == '+');
    bool hex = at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    uint64_t u = 0;
    at += hex ? 2 : 0;
    size_t n = strspn(at, digits);
    if (n && at[n] && strspn(at + n, "kKMGTPi") == strlen(at + n))
        return unreadable(t, text, "an integer: suffixes aren't known, write all digits", err);
    if (n == 0 || at[n])
        return unreadable(t, text, "an integer", err);
    for (; *at; at++) {
        uint64_t digit = *at <= '9' ? (uint64_t)(*at - '0') : (uint64_t)((*at | 0x20) - 'a' + 10);
        if (__builtin_mul_overflow(u, hex ? 16 : 10, &u) || __builtin_add_overflow(u, digit, &u))
            return unreadable(t, text, "an integer of 64 bits", err);
    }
    if (*text == '-' && u > (uint64_t)INT64_MAX + 1)
        return unreadable(t, text, "an integer of 64 bits", err);
    msgpack_packer p = packer(out);
    return *text == '-' ? msgpack_pack_int64(&p, (int64_t)(0 - u)) : msgpack_pack_uint64(&p, u);
}

static int text_to_float(struct buf *out, const struct target *t, const char *text, struct ssx_error *err)
{
    char *end;
    bool word = strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0 || strcmp(text, "nan") == 0;
    if (!*text || (!word && text[strspn(text, "0123456789+-.eE")])) /* strtod takes more: white space, hexadecimal, words */
        return unreadable(t, text, "a number", err);
    double value = strtod(text, &end);
    if (*end)
        return unreadable(t, text, "a number", err);
    if (!word && isinf(value))
        return unreadable(t, text, "a number that a double can hold", err);
    msgpack_packer p = packer(out);
    return msgpack_pack_double(&p, value);
}

/* Adds what one word means. Text that holds a NUL only passes where bytes are wanted. */
static int text_to_value(struct buf *out, const struct target *t, const char *text, size_t n, struct ssx_error *err)
{
    msgpack_packer p = packer(out);
    bool whole = strlen(text) == n;
    switch (t->leaf.kind) {
    case SCHEMA_BOOL: return whole ? text_to_bool(out, t, text, err) : unreadable(t, text, "true or false", err);
    case SCHEMA_INT: case SCHEMA_UINT: return whole ? text_to_integer(out, t, text, err) : unreadable(t, text, "an integer", err);
    case SCHEMA_FLOAT: return whole ? text_to_float(out, t, text, err) : unreadable(t, text, "a number", err);
    case SCHEMA_BIN: return msgpack_pack_bin_with_body(&p, text, n);
    case SCHEMA_STR: case SCHEMA_ANY: case SCHEMA_ENUM: return msgpack_pack_str_with_body(&p, text, n);
    case SCHEMA_STRUCT: case SCHEMA_LIST: case SCHEMA_OPT: break;
    }
    if (t->leaf.kind == SCHEMA_STRUCT && !t->list && t->leaf.structure->count)
        return error_set(err, SSX_ERROR_REFUSED,
                         "field %s is a struct; give its fields as %s.%s=..., or all as %s:='{...}'", t->name, t->name,
                         t->leaf.structure->fields[0].name, t->name);
    return error_set(err, SSX_ERROR_REFUSED, "field %s can't be given as text; give JSON as %s:='%s'", t->name, t->name,
                     t->list ? "[...]" : "{...}");
}

static int put_text(const struct state_builder *b, struct target *t, const char *text, size_t n, struct ssx_error *err)
{
    char *copy = malloc(n + 1);
    char where[SSX_ERROR_TEXT];
    struct buf value = {0};
    if (!copy)
        return no_memory(err);
    memcpy(copy, text, n);
    copy[n] = 0;
    if (t->list)
        snprintf(where, sizeof where, "field %s[%zu]", t->name, t->slot->form == ELEMENTS && !t->slot->from_base ? t->slot->count : 0);
    else
        snprintf(where, sizeof where, "field %s", t->name);
    int rc = text_to_value(&value, t, copy, n, err);
    if (rc == 0)
        rc = value.failed ? no_memory(err) : schema_check(b->d, &t->leaf, where, buf_data(&value), buf_length(&value), err);
    if (rc == 0)
        rc = t->list ? put_elements(t, buf_data(&value), buf_length(&value), 1, err)
                     : put_whole(t, buf_data(&value), buf_length(&value), err);
    buf_free(&value);
    free(copy);
    return rc;
}

int state_builder_text(struct state_builder *b, const char *name, const char *text, size_t n, struct ssx_error *err)
{
    struct target t;
    return find_target(b, &t, name, err) ? -1 : put_text(b, &t, text, n, err);
}

int state_builder_rest(struct state_builder *b, const char *text, struct ssx_error *err)
{
    const struct schema_field *f = schema_field_rest(b->d->state);
    if (!f)
        return error_set(err, SSX_ERROR_USAGE, "%s takes no words after --", b->d->type);
    return state_builder_text(b, f->name, text, strlen(text), err);
}

/* --- whole values --- */

int state_builder_base(struct state_builder *b, const void *value, size_t n, struct ssx_error *err)
{
    return node_spread(b, b->root, "", value_reader(value, n), err);
}

int state_builder_json(struct state_builder *b, const char *name, const char *json, size_t n, struct ssx_error *err)
{
    struct target t;
    struct buf value = {0};
    struct value v;
    if (find_target(b, &t, name, err))
        return -1;
    if (json_to_msgpack(&value, json, n, err)) {
        buf_free(&value);
        return error_prefix(err, "field %s", name);
    }
    struct value_reader r = value_reader(buf_data(&value), buf_length(&value));
    int rc;
    if (t.list && value_next(&r, &v) == 0 && v.kind == VALUE_ARRAY)
        rc = put_elements(&t, r.at, (size_t)(r.end - r.at), v.n, err);
    else
        rc = put_whole(&t, buf_data(&value), buf_length(&value), err);
    buf_free(&value);
    return rc;
}

/* --- the state --- */

static void pack_node(struct buf *out, const struct node *node);

static void pack_slot(struct buf *out, const struct slot *slot)
{
    msgpack_packer p = packer(out);
    if (slot->form == ELEMENTS)
        msgpack_pack_array(&p, slot->count);
    if (slot->form == NESTED)
        pack_node(out, slot->nested);
    else
        buf_add(out, buf_data(&slot->bytes), buf_length(&slot->bytes));
}

static void pack_node(struct buf *out, const struct node *node)
{
    msgpack_packer p = packer(out);
    size_t count = 0;
    for (size_t i = 0; i < node->s->count; i++)
        count += node->slots[i].form != ABSENT;
    msgpack_pack_map(&p, count);
    for (size_t i = 0; i < node->s->count; i++) {
        if (node->slots[i].form == ABSENT)
            continue;
        pack_text(&p, node->s->fields[i].name);
        pack_slot(out, &node->slots[i]);
    }
}

/* The limits that the wire sets for every value. */
static int check_size(const struct state_builder *b, const struct buf *raw, struct ssx_error *err)
{
    struct ssx_error why = {0};
    if (raw->failed)
        return no_memory(err);
    if (buf_length(raw) > VALUE_SIZE_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the state for %s has %zu bytes, %u is the limit", b->d->type,
                         buf_length(raw), VALUE_SIZE_MAX);
    if (value_scan(buf_data(raw), buf_length(raw), &why))
        return error_set(err, SSX_ERROR_REFUSED, "the state for %s can't be sent: %s", b->d->type, why.text);
    return 0;
}

int state_builder_finish(struct state_builder *b, struct buf *out, struct ssx_error *err)
{
    struct buf raw = {0};
    pack_node(&raw, b->root);
    int rc = check_size(b, &raw, err);
    if (rc == 0)
        rc = state_check(b->d, b->d->state, buf_data(&raw), buf_length(&raw), err);
    if (rc == 0 && schema_pack_struct(out, b->d->state, buf_data(&raw), buf_length(&raw)))
        rc = no_memory(err);
    buf_free(&raw);
    return rc;
}

/* --- one field with one more word --- */

static int slot_copy(struct slot *out, const struct slot *slot);

static struct node *node_copy(const struct node *node)
{
    struct node *copy = node_new(node->s);
    for (size_t i = 0; copy && i < node->s->count; i++)
        if (slot_copy(&copy->slots[i], &node->slots[i])) {
            node_free(copy);
            return NULL;
        }
    return copy;
}

static int slot_copy(struct slot *out, const struct slot *slot)
{
    *out = (struct slot){.form = slot->form, .from_base = slot->from_base, .count = slot->count};
    if (slot->nested && !(out->nested = node_copy(slot->nested)))
        return -1;
    return buf_add(&out->bytes, buf_data(&slot->bytes), buf_length(&slot->bytes));
}

static int add_field(const struct state_builder *b, const struct schema_field *f, const struct slot *slot,
                     struct buf *out, struct ssx_error *err)
{
    char where[SSX_ERROR_TEXT];
    struct buf raw = {0};
    msgpack_packer p = packer(out);
    snprintf(where, sizeof where, "field %s", f->name);
    pack_slot(&raw, slot);
    int rc = check_size(b, &raw, err);
    if (rc == 0)
        rc = schema_check(b->d, &f->type, where, buf_data(&raw), buf_length(&raw), err);
    msgpack_pack_map(&p, 1);
    pack_text(&p, f->name);
    if (rc == 0 && schema_pack(out, &f->type, buf_data(&raw), buf_length(&raw)))
        rc = no_memory(err);
    buf_free(&raw);
    return rc;
}

int state_builder_try(struct state_builder *b, const char *name, bool json, const char *text, size_t n, struct buf *out,
                      struct ssx_error *err)
{
    size_t length = strcspn(name, ".");
    struct slot before;
    const struct schema_field *f = schema_field_find(b->root->s, name, length);
    if (!f)
        return schema_unknown_field(b->d, b->root->s, "", name, length, err);
    struct slot *slot = &b->root->slots[f - b->root->s->fields];
    int rc = slot_copy(&before, slot) ? no_memory(err) : 0;
    if (rc == 0)
        rc = json ? state_builder_json(b, name, text, n, err) : state_builder_text(b, name, text, n, err);
    if (rc == 0)
        rc = add_field(b, f, slot, out, err);
    slot_clear(slot);
    *slot = before;
    return rc;
}

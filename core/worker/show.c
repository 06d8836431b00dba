#include "worker/show.h"

#include "base/text.h"
#include "wire/json.h"
#include "wire/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INLINE_MAX = 72,    /* columns of a list on one line */
    TABLE_MAX = 160,    /* columns of a table; a wider one is shown as blocks */
    TABLE_COLUMNS = 32,
    HEX_MAX = 16,       /* longest binary data that is shown itself */
    INDENT = 2,
};

/* --- one line --- */

static size_t width_since(const struct buf *b, size_t start)
{
    return b->failed ? 0 : text_width((const char *)buf_data(b) + start, buf_length(b) - start);
}

static void add_spaces(struct buf *out, size_t n)
{
    for (; n; n--)
        buf_add(out, " ", 1);
}

static void add_escaped(struct buf *out, const void *text, size_t n)
{
    char *at = (char *)buf_reserve(out, 4 * n + 1); /* \xHH for each byte at worst */
    if (at)
        out->end += text_escape(at, 4 * n + 1, text, n);
}

/* The shortest digits that read back as the same double. */
static void add_float(struct buf *out, double f)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        if (strtod(text, NULL) == f)
            break;
    }
    buf_add_text(out, text);
}

static void add_binary(struct buf *out, const struct value *v)
{
    char hex[2 * HEX_MAX + 1];
    if (v->n == 0 || v->n > HEX_MAX) {
        buf_printf(out, "(%zu bytes)", v->n);
        return;
    }
    text_hex(hex, v->at, v->n);
    buf_printf(out, "(%zu byte%s: %s)", v->n, v->n == 1 ? "" : "s", hex);
}

/* Adds a scalar and steps over it; false, and nothing done, where it is none that fits on a line. */
static bool add_scalar(struct buf *out, struct value_reader *r)
{
    struct value_reader at = *r;
    struct value v;
    if (value_next(&at, &v))
        return false;
    switch (v.kind) {
    case VALUE_NIL: buf_add_text(out, "-"); break;
    case VALUE_BOOL: buf_add_text(out, v.boolean ? "yes" : "no"); break;
    case VALUE_UINT: buf_printf(out, "%llu", (unsigned long long)v.u); break;
    case VALUE_INT: buf_printf(out, "%lld", (long long)v.i); break;
    case VALUE_F32: case VALUE_F64: add_float(out, v.f); break;
    case VALUE_STR:
        if (memchr(v.at, '\n', v.n))
            return false;
        if (v.n == 0)
            buf_add_text(out, "\"\"");
        add_escaped(out, v.at, v.n);
        break;
    case VALUE_BIN: add_binary(out, &v); break;
    case VALUE_EXT: json_from_msgpack(out, r->at, (size_t)(at.at - r->at), NULL); break;
    case VALUE_ARRAY: case VALUE_MAP: return false;
    }
    *r = at;
    return true;
}

/* Adds the elements of a list with commas between; false where that would be long or unclear. */
static bool add_short_list(struct buf *out, struct value_reader *r, size_t count)
{
    size_t start = buf_length(out);
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_text(out, ", ");
        size_t element = buf_length(out);
        if (!add_scalar(out, r) || width_since(out, start) > INLINE_MAX ||
            (!out->failed && memmem(buf_data(out) + element, buf_length(out) - element, ", ", 2)))
            return false;
    }
    return true;
}

/* Adds a value that fits on one line and steps over it; else false, and nothing done. */
static bool add_inline(struct buf *out, struct value_reader *r)
{
    struct value_reader at = *r;
    struct value v;
    size_t start = buf_length(out);
    if (add_scalar(out, r))
        return true;
    if (value_next(&at, &v))
        return false;
    bool empty = (v.kind == VALUE_ARRAY || v.kind == VALUE_MAP) && v.n == 0;
    if (empty)
        buf_add_text(out, "-");
    if (empty || (v.kind == VALUE_ARRAY && add_short_list(out, &at, v.n))) {
        *r = at;
        return true;
    }
    if (!out->failed)
        out->end = out->start + start;
    return false;
}

/* --- blocks --- */

static void show_block(struct buf *out, size_t indent, struct value_reader *r);

/* A key: text, or the JSON of what else it is. */
static void add_key(struct buf *out, struct value_reader *r)
{
    struct value_reader at = *r;
    struct value v;
    if (value_next(r, &v) == 0 && v.kind == VALUE_STR) {
        add_escaped(out, v.at, v.n);
        return;
    }
    *r = at;
    value_skip(r);
    json_from_msgpack(out, at.at, (size_t)(r->at - at.at), NULL);
}

/* The widest name of a map among those whose values stand beside it. */
static size_t names_width(struct value_reader r, size_t pairs)
{
    struct buf text = {0};
    size_t widest = 0;
    for (; pairs; pairs--) {
        buf_consume(&text, buf_length(&text));
        add_key(&text, &r);
        size_t width = width_since(&text, 0);
        if (!add_inline(&text, &r))
            value_skip(&r);
        else if (width > widest)
            widest = width;
    }
    buf_free(&text);
    return widest;
}

static void show_map(struct buf *out, size_t indent, struct value_reader *r, size_t pairs)
{
    size_t widest = names_width(*r, pairs);
    for (; pairs && !out->failed; pairs--) {
        add_spaces(out, indent);
        size_t name = buf_length(out);
        add_key(out, r);
        size_t end = buf_length(out), width = width_since(out, name);
        add_spaces(out, (width < widest ? widest - width : 0) + 2);
        if (add_inline(out, r)) {
            buf_add_text(out, "\n");
            continue;
        }
        if (!out->failed)
            out->end = out->start + end; /* no blanks at a line's end */
        buf_add_text(out, "\n");
        show_block(out, indent + INDENT, r);
    }
}

/* Text of several lines, line by line. */
static void show_text(struct buf *out, size_t indent, const char *text, size_t n)
{
    while (n) {
        const char *newline = memchr(text, '\n', n);
        size_t line = newline ? (size_t)(newline - text) : n;
        add_spaces(out, indent);
        add_escaped(out, text, line);
        buf_add_text(out, "\n");
        line += newline != NULL;
        text += line;
        n -= line;
    }
}

/* --- tables --- */

struct column { const unsigned char *name; size_t n, width; bool number; };
struct table { size_t count; struct column columns[TABLE_COLUMNS]; };

/* Takes the next row's header and says whether it has the table's columns, in their order; the first row makes them. */
static bool row_fits(struct table *t, struct value_reader r, bool first)
{
    struct value v;
    if (value_next(&r, &v) || v.kind != VALUE_MAP || v.n == 0 || v.n > TABLE_COLUMNS || (!first && v.n != t->count))
        return false;
    t->count = v.n;
    for (size_t i = 0; i < t->count; i++) {
        struct column *c = &t->columns[i];
        if (value_next(&r, &v) || v.kind != VALUE_STR)
            return false;
        if (first)
            *c = (struct column){v.at, v.n, text_width((const char *)v.at, v.n), true};
        if (c->n != v.n || memcmp(c->name, v.at, v.n) != 0 || !text_is_utf8((const char *)v.at, v.n) || value_skip(&r))
            return false;
    }
    return true;
}

/* Steps over one row, widening the columns. */
static bool measure_row(struct table *t, struct value_reader *r, struct buf *scratch)
{
    struct value v;
    value_next(r, &v);
    for (size_t i = 0; i < t->count; i++) {
        struct value_reader peek;
        struct column *c = &t->columns[i];
        value_skip(r);
        peek = *r;
        buf_consume(scratch, buf_length(scratch));
        if (value_next(&peek, &v) || !add_inline(scratch, r))
            return false;
        size_t width = width_since(scratch, 0);
        c->width = width > c->width ? width : c->width;
        c->number &= v.kind == VALUE_UINT || v.kind == VALUE_INT || v.kind == VALUE_F32 || v.kind == VALUE_F64 || v.kind == VALUE_NIL;
    }
    return true;
}

/* Whether a list is a table: all its elements are maps with the same keys, each value fits on a line, and the whole on
 * a screen. */
static bool measure(struct table *t, struct value_reader r, size_t rows, size_t indent)
{
    struct buf scratch = {0};
    bool fits = rows > 0;
    for (size_t i = 0; fits && i < rows; i++)
        fits = row_fits(t, r, i == 0) && measure_row(t, &r, &scratch);
    size_t width = indent;
    for (size_t i = 0; fits && i < t->count; i++)
        width += t->columns[i].width + 2;
    fits = fits && !scratch.failed && width <= TABLE_MAX;
    buf_free(&scratch);
    return fits;
}

/* Puts what stands behind `start` into its column: numbers to the right, all else to the left. */
static void align_cell(struct buf *out, const struct table *t, size_t i, size_t start)
{
    const struct column *c = &t->columns[i];
    size_t width = width_since(out, start), n = buf_length(out) - start, pad = width < c->width ? c->width - width : 0;
    bool last = i + 1 == t->count;
    if (!c->number && last)
        return;
    add_spaces(out, pad);
    if (c->number && !out->failed) {
        unsigned char *at = buf_data(out) + start;
        memmove(at + pad, at, n);
        memset(at, ' ', pad);
    }
    if (!last)
        add_spaces(out, 2);
}

static void show_table(struct buf *out, size_t indent, const struct table *t, struct value_reader *r, size_t rows)
{
    struct value v;
    add_spaces(out, indent);
    for (size_t i = 0; i < t->count; i++) {
        size_t start = buf_length(out);
        add_escaped(out, t->columns[i].name, t->columns[i].n);
        align_cell(out, t, i, start);
    }
    buf_add_text(out, "\n");
    for (; rows; rows--) {
        value_next(r, &v);
        add_spaces(out, indent);
        for (size_t i = 0; i < t->count; i++) {
            value_skip(r);
            size_t start = buf_length(out);
            add_inline(out, r);
            align_cell(out, t, i, start);
        }
        buf_add_text(out, "\n");
    }
}

/* One element a line, or blocks behind dashes. */
static void show_elements(struct buf *out, size_t indent, struct value_reader *r, size_t count)
{
    for (; count && !out->failed; count--) {
        size_t start = buf_length(out);
        add_spaces(out, indent);
        if (add_inline(out, r)) {
            buf_add_text(out, "\n");
            continue;
        }
        if (!out->failed)
            out->end = out->start + start;
        show_block(out, indent + INDENT, r);
        if (!out->failed && buf_length(out) > start + indent)
            buf_data(out)[start + indent] = '-'; /* on the block's first line, in its indent */
    }
}

/* A value that didn't fit beside its name, on lines of its own. */
static void show_block(struct buf *out, size_t indent, struct value_reader *r)
{
    struct table t = {.count = 0};
    struct value v;
    if (value_next(r, &v))
        return;
    if (v.kind == VALUE_STR)
        show_text(out, indent, (const char *)v.at, v.n);
    else if (v.kind == VALUE_MAP)
        show_map(out, indent, r, v.n);
    else if (measure(&t, *r, v.n, indent))
        show_table(out, indent, &t, r, v.n);
    else
        show_elements(out, indent, r, v.n);
}

int value_show(struct buf *out, const struct schema_struct *s, const void *value, size_t n)
{
    struct buf full = {0};
    struct value v;
    if (schema_fill(&full, s, "(secret)", value, n) || !buf_length(&full)) {
        buf_free(&full);
        return -1;
    }
    struct value_reader r = value_reader(buf_data(&full), buf_length(&full)), peek = r;
    if (value_next(&peek, &v) == 0 && v.kind == VALUE_MAP)
        show_block(out, 0, &r); /* a map without fields shows nothing */
    else if (add_inline(out, &r))
        buf_add_text(out, "\n");
    else
        show_block(out, 0, &r);
    buf_free(&full);
    return out->failed ? -1 : 0;
}

int value_show_json(struct buf *out, const struct schema_struct *s, const void *value, size_t n)
{
    struct buf full = {0};
    int rc = schema_fill(&full, s, NULL, value, n) || !buf_length(&full)
                 ? -1
                 : json_from_msgpack(out, buf_data(&full), buf_length(&full), NULL);
    buf_free(&full);
    return rc;
}

#include "base/base64.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/json_form.h"
#include "wire/json_number.h"
#include "wire/map_keys.h"
#include "wire/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Below, running out of memory shows in out->failed, and is looked at once, at the end. The value was scanned, so that
 * reading it can't fail. */

static void print_value(struct buf *out, struct value_reader *r);

static void print_integer(struct buf *out, const struct value *v)
{
    char text[24];
    int n = v->kind == VALUE_UINT ? snprintf(text, sizeof text, "%" PRIu64, v->u) : snprintf(text, sizeof text, "%" PRId64, v->i);
    buf_add(out, text, (size_t)n);
}

static void print_base64(struct buf *out, const struct value *v)
{
    buf_add_text(out, "\"");
    base64_encode(out, v->at, v->n);
    buf_add_text(out, "\"");
}

static void print_bytes(struct buf *out, const char *form, const struct value *v)
{
    buf_printf(out, "{\"%s\":", form);
    print_base64(out, v);
    buf_add_text(out, "}");
}

/* The float that ends at `end`; its bits are taken from there, for a NaN's don't survive a conversion. */
static void print_float(struct buf *out, const struct value *v, const unsigned char *end)
{
    unsigned width = v->kind == VALUE_F32 ? 32 : 64;
    char text[NUMBER_TEXT > FORM_TEXT ? NUMBER_TEXT : FORM_TEXT];
    uint64_t bits = 0;
    for (const unsigned char *p = end - width / 8; p < end; p++)
        bits = bits << 8 | *p;
    if (!isfinite(v->f)) {
        form_float_print(text, bits, width);
        buf_printf(out, "{\"%s\":\"%s\"}", width == 32 ? "$f32" : "$float", text);
    } else if (width == 32) {
        number_print_float(text, (float)v->f);
        buf_printf(out, "{\"$f32\":%s}", text);
    } else {
        number_print_double(text, v->f);
        buf_add_text(out, text);
    }
}

static void print_ext(struct buf *out, const struct value *v)
{
    char text[FORM_TEXT];
    if (v->ext == FORM_TIME_TYPE && form_time_print(text, v->at, v->n)) {
        buf_printf(out, "{\"$time\":\"%s\"}", text);
        return;
    }
    buf_printf(out, "{\"$ext\":[%d,", v->ext);
    print_base64(out, v);
    buf_add_text(out, "]}");
}

static void print_array(struct buf *out, struct value_reader *r, size_t count)
{
    buf_add_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_text(out, ",");
        print_value(out, r);
    }
    buf_add_text(out, "]");
}

static void print_object(struct buf *out, struct value_reader *r, size_t pairs)
{
    buf_add_text(out, "{");
    for (size_t i = 0; i < pairs; i++) {
        if (i)
            buf_add_text(out, ",");
        print_value(out, r);
        buf_add_text(out, ":");
        print_value(out, r);
    }
    buf_add_text(out, "}");
}

static void print_map_form(struct buf *out, struct value_reader *r, size_t pairs)
{
    buf_add_text(out, "{\"$map\":[");
    for (size_t i = 0; i < pairs; i++) {
        buf_add_text(out, i ? ",[" : "[");
        print_value(out, r);
        buf_add_text(out, ",");
        print_value(out, r);
        buf_add_text(out, "]");
    }
    buf_add_text(out, "]}");
}

/* Whether the only key of a map would make a form of it. */
static bool reads_as_form(struct value_reader r)
{
    struct value key;
    return !value_next(&r, &key) && key.kind == VALUE_STR && form_named((const char *)key.at, key.n) != FORM_NONE;
}

static void print_map(struct buf *out, struct value_reader *r, size_t pairs)
{
    int object = pairs == 1 && reads_as_form(*r) ? 0 : map_is_object(r->at, (size_t)(r->end - r->at), pairs);
    if (object < 0)
        out->failed = true;
    else if (object)
        print_object(out, r, pairs);
    else
        print_map_form(out, r, pairs);
}

static void print_value(struct buf *out, struct value_reader *r)
{
    struct value v;
    if (out->failed || value_next(r, &v))
        return;
    switch (v.kind) {
    case VALUE_NIL: buf_add_text(out, "null"); break;
    case VALUE_BOOL: buf_add_text(out, v.boolean ? "true" : "false"); break;
    case VALUE_UINT: case VALUE_INT: print_integer(out, &v); break;
    case VALUE_F32: case VALUE_F64: print_float(out, &v, r->at); break;
    case VALUE_STR:
        if (text_is_utf8((const char *)v.at, v.n))
            json_add_string(out, (const char *)v.at, v.n);
        else
            print_bytes(out, "$str", &v);
        break;
    case VALUE_BIN: print_bytes(out, "$bin", &v); break;
    case VALUE_ARRAY: print_array(out, r, v.n); break;
    case VALUE_MAP: print_map(out, r, v.n); break;
    case VALUE_EXT: print_ext(out, &v); break;
    }
}

int json_from_msgpack(struct buf *out, const void *value, size_t n, struct ssx_error *err)
{
    struct value_reader r = value_reader(value, n);
    size_t base = buf_length(out);
    if (value_scan(value, n, err))
        return -1;
    print_value(out, &r);
    if (!out->failed)
        return 0;
    out->end = out->start + base;
    return error_set(err, SSX_ERROR_SYSTEM, "can't print JSON: out of memory");
}

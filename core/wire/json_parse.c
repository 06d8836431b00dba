#include "base/base64.h"
#include "base/error.h"
#include "wire/json.h"
#include "wire/json_form.h"
#include "wire/json_number.h"
#include "wire/json_reader.h"
#include "wire/json_string.h"
#include "wire/map_keys.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <string.h>

struct parser {
    struct json_reader in;
    struct buf *out;
    msgpack_packer pack;
    size_t base;       /* the length of out before */
    size_t depth;      /* of the msgpack value, which the forms make less than that of the text */
    uint64_t elements;
};

_Static_assert(VALUE_DEPTH_MAX == 28 && VALUE_ELEMENTS_MAX == 1000000 && VALUE_SIZE_MAX == 16777215, "messages below name these limits");

static int parse_value(struct parser *p);

/* Below, parse_ and take_ functions start at the first character of what they are named for; they return 0, or
 * something else with the error set. */

static int fail_memory(struct parser *p) { return error_set(p->in.err, SSX_ERROR_SYSTEM, "can't parse JSON: out of memory"); }

/* Containers: the header is a byte at first, and grows when the count is known. */

static int open_container(struct parser *p, const char *where, size_t *mark)
{
    if (p->depth == VALUE_DEPTH_MAX)
        return reader_fail(&p->in, where, "the value is nested too deeply (28 levels are allowed)");
    p->depth++;
    *mark = buf_length(p->out);
    return buf_add(p->out, "", 1) ? fail_memory(p) : 0;
}

static int count_elements(struct parser *p, unsigned n)
{
    p->elements += n;
    return p->elements > VALUE_ELEMENTS_MAX ? reader_fail(&p->in, p->in.at, "the value has too many elements (1000000 are allowed)") : 0;
}

/* The bytes are those of the msgpack specification, "Formats". */
static size_t make_header(unsigned char header[5], bool map, size_t count)
{
    if (count < 16) {
        header[0] = (unsigned char)((map ? 0x80 : 0x90) | count);
        return 1;
    }
    bool wide = count > 0xffff;
    header[0] = (unsigned char)((map ? 0xde : 0xdc) + wide);
    for (size_t i = wide ? 4 : 2; i > 0; i--, count >>= 8)
        header[i] = (unsigned char)count;
    return wide ? 5 : 3;
}

static int close_container(struct parser *p, bool map, size_t mark, size_t count)
{
    unsigned char header[5];
    size_t n = make_header(header, map, count);
    if (!buf_reserve(p->out, n - 1))
        return fail_memory(p);
    unsigned char *at = buf_data(p->out) + mark;
    if (n > 1)
        memmove(at + n, at + 1, buf_length(p->out) - mark - 1);
    memcpy(at, header, n);
    p->out->end += n - 1;
    p->depth--;
    return 0;
}

static int drop_repeated_keys(struct parser *p, size_t mark, size_t *count)
{
    size_t n = buf_length(p->out) - mark - 1;
    if (*count > 1 && map_drop_repeated(buf_data(p->out) + mark + 1, &n, count))
        return fail_memory(p);
    p->out->end = p->out->start + mark + 1 + n;
    return 0;
}

/* Scalars. */

static int parse_string(struct parser *p)
{
    struct json_string s;
    if (reader_take_string(&p->in, &s))
        return -1;
    msgpack_pack_str(&p->pack, s.n);
    unsigned char *to = buf_reserve(p->out, s.n);
    if (!to)
        return fail_memory(p);
    string_decode((char *)to, &s);
    p->out->end += s.n;
    return 0;
}

/* Packs the integer of this text if 64 bits hold it. -0 is none: it would lose its sign. */
static bool pack_integer(struct parser *p, const char *at, const char *end)
{
    bool negative = *at == '-';
    uint64_t u = 0;
    for (at += negative; at < end; at++)
        if (__builtin_mul_overflow(u, 10u, &u) || __builtin_add_overflow(u, (uint64_t)(*at - '0'), &u))
            return false;
    if (negative && (!u || u > (uint64_t)INT64_MAX + 1))
        return false;
    if (negative)
        msgpack_pack_int64(&p->pack, (int64_t)-u);
    else
        msgpack_pack_uint64(&p->pack, u);
    return true;
}

static int parse_number(struct parser *p)
{
    const char *start = p->in.at;
    bool whole;
    double number;
    if (reader_take_number(&p->in, &whole))
        return -1;
    if (whole && pack_integer(p, start, p->in.at))
        return 0;
    if (number_parse_double(&number, start, (size_t)(p->in.at - start)))
        return reader_fail(&p->in, start, "the number is too large for a float");
    msgpack_pack_double(&p->pack, number);
    return 0;
}

/* true, false, null: the text up to the next character that can't belong to such a word. */
static int parse_word(struct parser *p)
{
    const char *start = p->in.at;
    while (p->in.at < p->in.end && *p->in.at >= 'a' && *p->in.at <= 'z')
        p->in.at++;
    size_t n = (size_t)(p->in.at - start);
    if (n == 4 && memcmp(start, "true", 4) == 0)
        msgpack_pack_true(&p->pack);
    else if (n == 5 && memcmp(start, "false", 5) == 0)
        msgpack_pack_false(&p->pack);
    else if (n == 4 && memcmp(start, "null", 4) == 0)
        msgpack_pack_nil(&p->pack);
    else
        return reader_fail(&p->in, start, "expected a value");
    return 0;
}

/* Forms: objects of one key that stand for what JSON lacks. */

/* Whether the object's member whose value starts at `at` is the last one. Judges no more of the text than that. */
static bool is_last_member(const char *at, const char *end)
{
    struct json_string s;
    for (size_t open = 0; at < end; at++) {
        if (*at == '"') {
            if (string_scan(&s, at, end))
                return false;
            at = s.end;
        } else if (*at == '{' || *at == '[') {
            open++;
        } else if (!open && (*at == ',' || *at == '}' || *at == ']')) {
            return *at == '}';
        } else if (*at == '}' || *at == ']') {
            open--;
        }
    }
    return false;
}

/* Looks, right behind '{', for a form's key that is the only one. If it is there, steps up to its value. The look ahead
 * makes a value in n levels of forms cost n times its length, and levels are few. */
static enum json_form take_form(struct json_reader *r)
{
    struct json_reader ahead = *r;
    struct json_string key;
    char name[FORM_NAME_MAX];
    if (reader_peek(&ahead) != '"' || string_scan(&key, ahead.at, ahead.end) || key.n > sizeof name)
        return FORM_NONE;
    string_decode(name, &key);
    enum json_form form = form_named(name, key.n);
    ahead.at = key.end + 1;
    if (form == FORM_NONE || !reader_take(&ahead, ':') || !is_last_member(ahead.at, ahead.end))
        return FORM_NONE;
    reader_peek(&ahead);
    r->at = ahead.at;
    return form;
}

static int take_form_string(struct parser *p, struct json_string *s)
{
    if (reader_peek(&p->in) != '"')
        return reader_fail(&p->in, p->in.at, "this special form wants a string (wire/json.h lists the forms)");
    return reader_take_string(&p->in, s);
}

/* Short text, copied out of its escapes; text that doesn't fit is none that a form knows. */
static size_t take_form_text(struct parser *p, char out[FORM_TEXT])
{
    struct json_string s;
    if (take_form_string(p, &s) || s.n >= FORM_TEXT)
        return 0;
    string_decode(out, &s);
    return s.n;
}

static int take_base64(struct parser *p, struct buf *bytes)
{
    struct json_string s;
    struct buf text = {0};
    if (take_form_string(p, &s))
        return -1;
    char *to = (char *)buf_reserve(&text, s.n);
    if (!to)
        return fail_memory(p);
    string_decode(to, &s);
    int rc = base64_decode(bytes, to, s.n);
    buf_free(&text);
    return !rc ? 0 : bytes->failed ? fail_memory(p) : reader_fail(&p->in, s.at, "not base64 (the standard alphabet, padded with =)");
}

static int parse_bytes(struct parser *p, enum json_form form)
{
    struct buf bytes = {0};
    int rc = take_base64(p, &bytes);
    if (!rc && form == FORM_BIN)
        msgpack_pack_bin_with_body(&p->pack, buf_data(&bytes), buf_length(&bytes));
    else if (!rc)
        msgpack_pack_str_with_body(&p->pack, buf_data(&bytes), buf_length(&bytes));
    buf_free(&bytes);
    return rc;
}

/* By its bits: a signalling NaN doesn't survive a C float everywhere. */
static void pack_float_bits(struct parser *p, uint64_t bits, unsigned width)
{
    unsigned char bytes[9] = {width == 64 ? 0xcb : 0xca};
    for (size_t i = width / 8; i > 0; i--, bits >>= 8)
        bytes[i] = (unsigned char)bits;
    buf_add(p->out, bytes, 1 + width / 8);
}

static int parse_special_float(struct parser *p, unsigned width)
{
    const char *where = p->in.at;
    char text[FORM_TEXT];
    uint64_t bits;
    size_t n = take_form_text(p, text);
    if (!n || form_float_parse(&bits, width, text, n))
        return reader_fail(&p->in, where, width == 64 ? "not \"nan\", \"inf\", \"-inf\" or \"nan:\" and the 16 hexadecimal digits of one"
                                          : "not \"nan\", \"inf\", \"-inf\" or \"nan:\" and the 8 hexadecimal digits of one");
    pack_float_bits(p, bits, width);
    return 0;
}

static int parse_float32(struct parser *p)
{
    const char *start = p->in.at;
    bool whole;
    float number;
    if (*start == '"')
        return parse_special_float(p, 32);
    if (reader_take_number(&p->in, &whole))
        return -1;
    if (number_parse_float(&number, start, (size_t)(p->in.at - start)))
        return reader_fail(&p->in, start, "the number is too large for a float32");
    msgpack_pack_float(&p->pack, number);
    return 0;
}

static int parse_time(struct parser *p)
{
    const char *where = p->in.at;
    char text[FORM_TEXT];
    unsigned char bytes[12];
    size_t n = take_form_text(p, text), length = n ? form_time_parse(bytes, text, n) : 0;
    if (!length)
        return reader_fail(&p->in, where, "not a time (seconds since 1970 as a decimal in quotes, nine decimals at most)");
    msgpack_pack_ext_with_body(&p->pack, bytes, length, FORM_TIME_TYPE);
    return 0;
}

static int take_ext_type(struct parser *p, int8_t *type)
{
    bool whole;
    double number;
    reader_peek(&p->in);
    const char *start = p->in.at;
    if (reader_take_number(&p->in, &whole))
        return -1;
    if (!whole || number_parse_double(&number, start, (size_t)(p->in.at - start)) || number < INT8_MIN || number > INT8_MAX)
        return reader_fail(&p->in, start, "an extension's type is an integer from -128 to 127");
    *type = (int8_t)number;
    return 0;
}

static int parse_ext(struct parser *p)
{
    struct buf bytes = {0};
    int8_t type = 0;
    int rc = reader_expect(&p->in, '[', "expected [type,\"base64\"]") || take_ext_type(p, &type)
          || reader_expect(&p->in, ',', "expected , and base64") || take_base64(p, &bytes) || reader_expect(&p->in, ']', "expected ]");
    if (!rc)
        msgpack_pack_ext_with_body(&p->pack, buf_data(&bytes), buf_length(&bytes), type);
    buf_free(&bytes);
    return rc ? -1 : 0;
}

static int parse_pair(struct parser *p)
{
    return reader_expect(&p->in, '[', "expected [key,value]") || parse_value(p) || reader_expect(&p->in, ',', "expected , and a value")
        || parse_value(p) || reader_expect(&p->in, ']', "expected ]") || count_elements(p, 2);
}

static int parse_map(struct parser *p, const char *where)
{
    size_t mark, count = 0;
    if (open_container(p, where, &mark) || reader_expect(&p->in, '[', "expected [[key,value],...]"))
        return -1;
    if (reader_take(&p->in, ']'))
        return close_container(p, true, mark, 0);
    do {
        if (parse_pair(p))
            return -1;
        count++;
    } while (reader_take(&p->in, ','));
    return reader_expect(&p->in, ']', "expected , or ]") ? -1 : close_container(p, true, mark, count);
}

static int parse_form(struct parser *p, enum json_form form, const char *where)
{
    int rc = form == FORM_F32 ? parse_float32(p)
           : form == FORM_FLOAT ? parse_special_float(p, 64)
           : form == FORM_TIME ? parse_time(p)
           : form == FORM_EXT ? parse_ext(p)
           : form == FORM_MAP ? parse_map(p, where)
           : parse_bytes(p, form);
    return rc ? -1 : reader_expect(&p->in, '}', "expected }");
}

/* Containers of JSON. */

static int parse_member(struct parser *p)
{
    if (reader_peek(&p->in) != '"')
        return reader_fail(&p->in, p->in.at, "expected a key in double quotes");
    return parse_string(p) || reader_expect(&p->in, ':', "expected :") || parse_value(p) || count_elements(p, 2);
}

static int parse_object(struct parser *p)
{
    const char *where = p->in.at++;
    size_t mark, count = 0;
    enum json_form form = take_form(&p->in);
    if (form != FORM_NONE)
        return parse_form(p, form, where);
    if (open_container(p, where, &mark))
        return -1;
    if (reader_take(&p->in, '}'))
        return close_container(p, true, mark, 0);
    do {
        if (parse_member(p))
            return -1;
        count++;
    } while (reader_take(&p->in, ','));
    if (reader_expect(&p->in, '}', "expected , or }") || drop_repeated_keys(p, mark, &count))
        return -1;
    return close_container(p, true, mark, count);
}

static int parse_array(struct parser *p)
{
    size_t mark, count = 0;
    if (open_container(p, p->in.at++, &mark))
        return -1;
    if (reader_take(&p->in, ']'))
        return close_container(p, false, mark, 0);
    do {
        if (parse_value(p) || count_elements(p, 1))
            return -1;
        count++;
    } while (reader_take(&p->in, ','));
    return reader_expect(&p->in, ']', "expected , or ]") ? -1 : close_container(p, false, mark, count);
}

static int parse_value(struct parser *p)
{
    char c = reader_peek(&p->in);
    int rc = c == '{' ? parse_object(p)
           : c == '[' ? parse_array(p)
           : c == '"' ? parse_string(p)
           : c == '-' || (c >= '0' && c <= '9') ? parse_number(p)
           : parse_word(p);
    if (rc)
        return -1;
    if (p->out->failed)
        return fail_memory(p);
    if (buf_length(p->out) - p->base > VALUE_SIZE_MAX)
        return reader_fail(&p->in, p->in.at, "the value is too large (16777215 bytes of msgpack are allowed)");
    return 0;
}

int json_to_msgpack(struct buf *out, const char *text, size_t n, struct ssx_error *err)
{
    struct parser p = {.in = {text, text, text + n, err}, .out = out, .pack = packer(out), .base = buf_length(out)};
    int rc = parse_value(&p);
    reader_peek(&p.in);
    if (!rc && p.in.at != p.in.end)
        rc = reader_fail(&p.in, p.in.at, "expected nothing behind the value");
    if (rc)
        out->end = out->start + p.base;
    return rc ? -1 : 0;
}

/* Reading msgpack: every format's bytes, hostile counts and lengths, and agreement with msgpack-c's own unpacker. */
#include "random_value.h"
#include "wire/value.h"

#include <msgpack/unpack.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BYTES(s) s, sizeof(s) - 1

static struct value only_token(const char *bytes, size_t n)
{
    struct value_reader r = value_reader(bytes, n);
    struct value v;
    assert_int_equal(value_next(&r, &v), 0);
    assert_ptr_equal(r.at, r.end);
    return v;
}

static void integers_of_every_width_are_read(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t n; uint64_t u;
    } positive[] = {
        {BYTES("\x00"), 0},
        {BYTES("\x7f"), 127},
        {BYTES("\xcc\xff"), 255},
        {BYTES("\xcd\xff\xfe"), 65534},
        {BYTES("\xce\xff\xff\xff\xff"), UINT32_MAX},
        {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX},
        {BYTES("\xcc\x01"), 1},
        {BYTES("\xd0\x7f"), 127},
        {BYTES("\xd1\x7f\xff"), 32767},
        {BYTES("\xd2\x00\x00\x00\x05"), 5},
        {BYTES("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX},
    };
    static const struct { const char *bytes; size_t n; int64_t i;
    } negative[] = {
        {BYTES("\xff"), -1},
        {BYTES("\xe0"), -32},
        {BYTES("\xd0\x80"), -128},
        {BYTES("\xd1\x80\x00"), -32768},
        {BYTES("\xd2\x80\x00\x00\x00"), INT32_MIN},
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN},
        {BYTES("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), -1},
    };
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++) {
        struct value v = only_token(positive[i].bytes, positive[i].n);
        assert_int_equal(v.kind, VALUE_UINT);
        assert_true(v.u == positive[i].u);
    }
    for (size_t i = 0; i < sizeof negative / sizeof *negative; i++) {
        struct value v = only_token(negative[i].bytes, negative[i].n);
        assert_int_equal(v.kind, VALUE_INT);
        assert_true(v.i == negative[i].i);
    }
}

static void other_scalars_are_read(void **state)
{
    (void)state;
    assert_int_equal(only_token(BYTES("\xc0")).kind, VALUE_NIL);
    assert_true(only_token(BYTES("\xc3")).boolean);
    assert_false(only_token(BYTES("\xc2")).boolean);
    assert_int_equal(only_token(BYTES("\xc2")).kind, VALUE_BOOL);
    assert_true(only_token(BYTES("\xca\x3f\xc0\x00\x00")).f == 1.5);
    assert_int_equal(only_token(BYTES("\xca\x3f\xc0\x00\x00")).kind, VALUE_F32);
    assert_true(only_token(BYTES("\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00")).f == -1.5);
    assert_int_equal(only_token(BYTES("\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00")).kind, VALUE_F64);
}

static void text_bytes_and_extensions_are_borrowed(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t n; enum value_kind kind; const char *text; int ext;
    } cases[] = {
        {BYTES("\xa0"), VALUE_STR, "", 0},
        {BYTES("\xa3"
               "abc"),
         VALUE_STR, "abc", 0},
        {BYTES("\xd9\x01x"), VALUE_STR, "x", 0},
        {BYTES("\xda\x00\x01x"), VALUE_STR, "x", 0},
        {BYTES("\xdb\x00\x00\x00\x02xy"), VALUE_STR, "xy", 0},
        {BYTES("\xc4\x01z"), VALUE_BIN, "z", 0},
        {BYTES("\xc5\x00\x01z"), VALUE_BIN, "z", 0},
        {BYTES("\xc6\x00\x00\x00\x01z"), VALUE_BIN, "z", 0},
        {BYTES("\xd4\x05q"), VALUE_EXT, "q", 5},
        {BYTES("\xd5\xffqr"), VALUE_EXT, "qr", -1},
        {BYTES("\xd6\x80"
               "1234"),
         VALUE_EXT, "1234", -128},
        {BYTES("\xd7\x01"
               "12345678"),
         VALUE_EXT, "12345678", 1},
        {BYTES("\xd8\x01"
               "1234567812345678"),
         VALUE_EXT, "1234567812345678", 1},
        {BYTES("\xc7\x00\x07"), VALUE_EXT, "", 7},
        {BYTES("\xc8\x00\x01\x07m"), VALUE_EXT, "m", 7},
        {BYTES("\xc9\x00\x00\x00\x01\x07m"), VALUE_EXT, "m", 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct value v = only_token(cases[i].bytes, cases[i].n);
        assert_int_equal(v.kind, cases[i].kind);
        assert_int_equal(v.n, strlen(cases[i].text));
        assert_memory_equal(v.at, cases[i].text, v.n);
        assert_ptr_equal(v.at, (const unsigned char *)cases[i].bytes + cases[i].n - v.n);
        if (v.kind == VALUE_EXT)
            assert_int_equal(v.ext, cases[i].ext);
    }
}

static void whole_values_are_skipped(void **state)
{
    (void)state;
    static const unsigned char bytes[] = "\x82\xa1" "a\x93\x01\x02\x90\xa1" "b\x81\xc0\xc4\x02zz\x2a";
    struct value_reader r = value_reader(bytes, sizeof bytes - 1);
    uint64_t last;
    assert_int_equal(value_skip(&r), 0);
    assert_int_equal(value_take_uint(&r, 100, &last), 0);
    assert_int_equal(last, 42);
    assert_int_equal(value_skip(&r), -1);
}

static void takers_refuse_what_is_not_wanted(void **state)
{
    (void)state;
    uint64_t u;
    bool yes;
    size_t n;
    const char *text;
    const unsigned char *at;
#define READER(s) &(struct value_reader){(const unsigned char *)(s), (const unsigned char *)(s) + sizeof(s) - 1}
    assert_int_equal(value_take_uint(READER("\xcc\xc8"), 200, &u), 0);
    assert_int_equal(u, 200);
    assert_int_equal(value_take_uint(READER("\xcc\xc9"), 200, &u), -1);
    assert_int_equal(value_take_uint(READER("\xff"), UINT64_MAX, &u), -1);
    assert_int_equal(value_take_uint(READER("\xa1" "1"), UINT64_MAX, &u), -1);
    assert_int_equal(value_take_bool(READER("\xc3"), &yes), 0);
    assert_true(yes);
    assert_int_equal(value_take_bool(READER("\x01"), &yes), -1);
    assert_int_equal(value_take_array(READER("\x92\x01\x02"), &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(value_take_array(READER("\x80"), &n), -1);
    assert_int_equal(value_take_map(READER("\x81\x01\x02"), &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(value_take_map(READER("\x90"), &n), -1);
    assert_int_equal(value_take_str(READER("\xa2hi"), &text, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(value_take_str(READER("\xa2h\0"), &text, &n), -1);
    assert_int_equal(value_take_str(READER("\xc4\x01h"), &text, &n), -1);
    assert_int_equal(value_take_bin(READER("\xc4\x01h"), &at, &n), 0);
    assert_int_equal(value_take_bin(READER("\xa1h"), &at, &n), -1);
#undef READER
    struct value v = only_token(BYTES("\xa2hi"));
    assert_true(value_is_text(&v, "hi"));
    assert_false(value_is_text(&v, "h"));
    assert_false(value_is_text(&v, "hix"));
}

static int scan(const void *bytes, size_t n, struct ssx_error *err)
{
    unsigned char *copy = malloc(n ? n : 1); /* exactly its size: the address sanitizer sees a read behind its end */
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    int rc = value_scan(copy, n, err);
    free(copy);
    return rc;
}

static void broken_values_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t n; const char *error; } cases[] = {
        {BYTES(""), "not a msgpack value: bad or cut off at byte 0 of 0"},
        {BYTES("\xc1"), "not a msgpack value: bad or cut off at byte 0 of 1"},
        {BYTES("\x92\x01"), "not a msgpack value: bad or cut off at byte 0 of 2"},
        {BYTES("\x92\x01\xc1"), "not a msgpack value: bad or cut off at byte 2 of 3"},
        {BYTES("\x92\x91\x01"), "not a msgpack value: bad or cut off at byte 3 of 3"},
        {BYTES("\x81\x01"), "not a msgpack value: bad or cut off at byte 0 of 2"},
        {BYTES("\xa2" "a"), "not a msgpack value: bad or cut off at byte 0 of 2"},
        {BYTES("\xdb\xff\xff\xff\xff" "a"), "not a msgpack value: bad or cut off at byte 0 of 6"},
        {BYTES("\xc6\x80\x00\x00\x00"), "not a msgpack value: bad or cut off at byte 0 of 5"},
        {BYTES("\xdd\xff\xff\xff\xff\x01\x02"), "not a msgpack value: bad or cut off at byte 0 of 7"},
        {BYTES("\xdf\x80\x00\x00\x00\x01\x02"), "not a msgpack value: bad or cut off at byte 0 of 7"},
        {BYTES("\xcd\x01"), "not a msgpack value: bad or cut off at byte 0 of 2"},
        {BYTES("\xc7\x01"), "not a msgpack value: bad or cut off at byte 0 of 2"},
        {BYTES("\xd8\x01" "123456781234567"), "not a msgpack value: bad or cut off at byte 0 of 17"},
        {BYTES("\x01\x02"), "1 bytes too many behind the msgpack value"},
        {BYTES("\x91\x01\xc0\xc0"), "2 bytes too many behind the msgpack value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ssx_error err = {0};
        assert_int_equal(scan(cases[i].bytes, cases[i].n, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_PROTOCOL);
        assert_string_equal(err.text, cases[i].error);
    }
}

/* `levels` containers, one inside the other: lists of one, or maps of one pair. */
static int scan_nested(unsigned char header, size_t levels)
{
    struct buf b = {0};
    struct ssx_error err = {0};
    for (size_t i = 0; i < levels; i++)
        buf_add(&b, header == 0x81 ? (const void *)"\x81\x01" : "\x91", header == 0x81 ? 2 : 1);
    buf_add(&b, "\x01", 1);
    int rc = scan(buf_data(&b), buf_length(&b), &err);
    if (rc)
        assert_string_equal(err.text, "the value is nested deeper than 28 levels");
    buf_free(&b);
    return rc;
}

static void depth_is_limited(void **state)
{
    (void)state;
    assert_int_equal(scan_nested(0x91, VALUE_DEPTH_MAX), 0);
    assert_int_equal(scan_nested(0x91, VALUE_DEPTH_MAX + 1), -1);
    assert_int_equal(scan_nested(0x81, VALUE_DEPTH_MAX), 0);
    assert_int_equal(scan_nested(0x81, VALUE_DEPTH_MAX + 1), -1);
    assert_int_equal(scan_nested(0x91, 100000), -1);
}

static int scan_list(unsigned elements)
{
    struct buf b = {0};
    struct ssx_error err = {0};
    msgpack_packer pack = packer(&b);
    msgpack_pack_array(&pack, elements);
    for (unsigned i = 0; i < elements; i++)
        msgpack_pack_nil(&pack);
    int rc = scan(buf_data(&b), buf_length(&b), &err);
    if (rc)
        assert_string_equal(err.text, "the value has more than 1000000 elements");
    buf_free(&b);
    return rc;
}

static void elements_are_limited(void **state)
{
    (void)state;
    assert_int_equal(scan_list(VALUE_ELEMENTS_MAX), 0);
    assert_int_equal(scan_list(VALUE_ELEMENTS_MAX + 1), -1);
}

/* msgpack-c borrows too, but points nowhere in particular for no bytes. */
static bool same_bytes(const struct value *v, const char *at, size_t n) { return v->n == n && (!n || v->at == (const unsigned char *)at); }

/* Whether the next value is what msgpack-c made of it. */
static bool same(struct value_reader *r, const msgpack_object *o)
{
    struct value v;
    if (value_next(r, &v))
        return false;
    switch (o->type) {
    case MSGPACK_OBJECT_NIL: return v.kind == VALUE_NIL;
    case MSGPACK_OBJECT_BOOLEAN: return v.kind == VALUE_BOOL && v.boolean == o->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER: return v.kind == VALUE_UINT && v.u == o->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return v.kind == VALUE_INT && v.i == o->via.i64;
    case MSGPACK_OBJECT_FLOAT32: return v.kind == VALUE_F32 && (v.f == o->via.f64 || (v.f != v.f && o->via.f64 != o->via.f64));
    case MSGPACK_OBJECT_FLOAT64: return v.kind == VALUE_F64 && memcmp(&v.f, &o->via.f64, 8) == 0;
    case MSGPACK_OBJECT_STR: return v.kind == VALUE_STR && same_bytes(&v, o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN: return v.kind == VALUE_BIN && same_bytes(&v, o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_EXT: return v.kind == VALUE_EXT && v.ext == o->via.ext.type && same_bytes(&v, o->via.ext.ptr, o->via.ext.size);
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < o->via.array.size; i++)
            if (v.kind != VALUE_ARRAY || !same(r, &o->via.array.ptr[i]))
                return false;
        return v.kind == VALUE_ARRAY && v.n == o->via.array.size;
    case MSGPACK_OBJECT_MAP:
        for (uint32_t i = 0; i < o->via.map.size; i++)
            if (v.kind != VALUE_MAP || !same(r, &o->via.map.ptr[i].key) || !same(r, &o->via.map.ptr[i].val))
                return false;
        return v.kind == VALUE_MAP && v.n == o->via.map.size;
    default: return false;
    }
}

/* Scans, and lets msgpack-c judge. Returns whether both accept, and sees that they agree. */
static bool agree(const struct buf *b)
{
    const unsigned char *bytes = buf_data(b);
    size_t n = buf_length(b), offset = 0;
    bool ours = !scan(bytes, n, NULL);
    if (!ours && (memchr(bytes, 0xdd, n) || memchr(bytes, 0xdf, n)))
        return false; /* msgpack-c may reserve gigabytes for such a header before it looks further */
    msgpack_zone *zone = msgpack_zone_new(2048);
    msgpack_object object;
    assert_non_null(zone);
    msgpack_unpack_return rc = msgpack_unpack((const char *)bytes, n, &offset, zone, &object);
    assert_int_equal(ours, rc == MSGPACK_UNPACK_SUCCESS);
    if (ours) {
        struct value_reader r = value_reader(bytes, n);
        assert_true(same(&r, &object));
        assert_ptr_equal(r.at, r.end);
        r = value_reader(bytes, n);
        assert_int_equal(value_skip(&r), 0);
        assert_ptr_equal(r.at, r.end);
    }
    msgpack_zone_free(zone);
    return ours;
}

static void msgpack_c_agrees_on_random_values(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int i = 0; i < 5000; i++) {
        struct buf b = {0};
        random_value(&b, &seed);
        assert_true(agree(&b));
        buf_free(&b);
    }
}

static void msgpack_c_agrees_on_mutated_values(void **state)
{
    (void)state;
    uint64_t seed = 12;
    size_t accepted = 0;
    for (int i = 0; i < 40000; i++) {
        struct buf b = {0};
        random_value(&b, &seed);
        random_mutation(&b, &seed);
        accepted += agree(&b);
        buf_free(&b);
    }
    assert_in_range(accepted, 1000, 39000); /* both verdicts were met */
}

/* Short runs of any bytes reach every format code. */
static void msgpack_c_agrees_on_random_bytes(void **state)
{
    (void)state;
    uint64_t seed = 13;
    for (int i = 0; i < 100000; i++) {
        struct buf b = {0};
        size_t n = 1 + random_below(&seed, 12);
        uint64_t random[2] = {random_next(&seed), random_next(&seed)};
        buf_add(&b, random, n);
        agree(&b);
        buf_free(&b);
    }
}

static void kinds_have_names(void **state)
{
    (void)state;
    for (int kind = VALUE_NIL; kind <= VALUE_EXT; kind++)
        assert_true(strlen(value_kind_name((enum value_kind)kind)) > 2);
    assert_string_equal(value_kind_name(VALUE_STR), "text");
    assert_string_equal(value_kind_name(VALUE_UINT), "an integer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width_are_read),
        cmocka_unit_test(other_scalars_are_read),
        cmocka_unit_test(text_bytes_and_extensions_are_borrowed),
        cmocka_unit_test(whole_values_are_skipped),
        cmocka_unit_test(takers_refuse_what_is_not_wanted),
        cmocka_unit_test(broken_values_are_refused_with_a_reason),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(elements_are_limited),
        cmocka_unit_test(msgpack_c_agrees_on_random_values),
        cmocka_unit_test(msgpack_c_agrees_on_mutated_values),
        cmocka_unit_test(msgpack_c_agrees_on_random_bytes),
        cmocka_unit_test(kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

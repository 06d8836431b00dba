/* JSON <-> msgpack: what is accepted and refused (RFC 8259, in the spirit of JSONTestSuite), what it becomes, and that
 * nothing is lost. */
#include "base/buf.h"
#include "random_value.h"
#include "wire/json.h"
#include "wire/value.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct text { const char *at; size_t n; };
#define T(s) {s, sizeof(s) - 1} /* literals may hold NUL */

static const struct text accepted[] = {
    /* white space and plain values */
    T("null"),
    T("true"),
    T("false"),
    T(" null "),
    T("\t\r\n null\r\n"),
    T("0"),
    T("\"\""),
    T("[]"),
    T("{}"),
    T(" [ ] "),
    T(" { } "),
    T("[\n]"),
    T("[1\n]"),
    T("\"asd\""),
    T(" [] \n"),
    T("[null]"),
    T("[null,1,\"1\",{}]"),
    T("[1,null,null,null,2]"),
    T("[[]   ]"),
    T("[\"\"]"),
    T(" [1]"),
    T("[2] "),
    T("{\"a\":[]}"),
    T("{\"\":0}"),
    T("{\"a\":\"b\",\"c\":\"d\"}"),
    T("{\"asd\":\"sdf\"}"),
    T("{\n\"a\": \"b\"\n}"),
    T("{\"a\" : 1 , \"b\" : 2 }"),
    T("{\"min\":-1.0e+28,\"max\":1.0e+28}"),
    T("{\"foo\\u0000bar\":42}"),
    T("{\"x\":[{\"id\":\"xx\"}],\"id\":\"yy\"}"),
    T("{\"title\":\"\\u041f\\u043e\"}"),
    T("{\"a\":\"b\",\"a\":\"c\"}"),
    T("{\"a\":\"b\",\"a\":\"b\"}"),
    T("[[[[[[[[[[1]]]]]]]]]]"),
    T("[\"a\"]"),
    T("[{},[],{}]"),
    /* numbers */
    T("[123e65]"),
    T("[0e+1]"),
    T("[0e1]"),
    T("[ 4]"),
    T("[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]"),
    T("[20e1]"),
    T("[-0]"),
    T("[-123]"),
    T("[-1]"),
    T("[1E22]"),
    T("[1E-2]"),
    T("[1E+2]"),
    T("[123e45]"),
    T("[123.456e78]"),
    T("[1e-2]"),
    T("[1e+2]"),
    T("[123]"),
    T("[123.456789]"),
    T("-0.1"),
    T("18446744073709551615"),
    T("18446744073709551616"),
    T("-9223372036854775808"),
    T("-9223372036854775809"),
    T("100000000000000000000000000000000"),
    T("1e-999"),
    T("0.4e-00669999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999"),
    T("5e-324"),
    T("1.7976931348623157e308"),
    T("0.0"),
    T("-0.0"),
    T("-0e0"),
    T("0E0"),
    T("0.10"),
    T("10.0"),
    T("1e0"),
    T("1e00001"),
    /* strings */
    T("[\"\\u0060\\u012a\\u12AB\"]"),
    T("[\"\\uD801\\udc37\"]"),
    T("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
    T("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    T("[\"\\\\u0000\"]"),
    T("[\"\\\"\"]"),
    T("[\"a/*b*/c/*d//e\"]"),
    T("[\"\\\\a\"]"),
    T("[\"\\\\n\"]"),
    T("[\"\\u0012\"]"),
    T("[\"\\uFFFF\"]"),
    T("[ \"asd\"]"),
    T("[\"\\uDBFF\\uDFFF\"]"),
    T("[\"new\\u00A0line\"]"),
    T("[\"\xf4\x8f\xbf\xbf\"]"),
    T("[\"\xef\xbf\xbf\"]"),
    T("[\"\\u0000\"]"),
    T("[\"\\u002c\"]"),
    T("[\"\xcf\x80\"]"),
    T("[\"\xf0\x9b\xbf\xbf\"]"),
    T("[\"asd \"]"),
    T("\" \""),
    T("[\"\\uD834\\uDd1e\"]"),
    T("[\"\\u0821\"]"),
    T("[\"\\u0123\"]"),
    T("[\"\xe2\x80\xa8\"]"),
    T("[\"\xe2\x80\xa9\"]"),
    T("[\"\\u0061\\u30af\\u30EA\\u30b9\"]"),
    T("[\"new\\u000Aline\"]"),
    T("[\"\x7f\"]"),
    T("[\"\\uA66D\"]"),
    T("[\"\xe2\x8d\x82\xe3\x88\xb4\xe2\x8d\x82\"]"),
    T("[\"\\u0022\"]"),
    T("[\"\\u005C\"]"),
    T("[\"a\x7f\x61\"]"),
    T("[\"\\uFDD0\"]"),
    T("[\"\\uFFFE\"]"),
    T("[\"\\uD83F\\uDFFE\"]"),
    T("[\"\\u200B\"]"),
    T("[\"\\u2064\"]"),
    T("[\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\"]"),
    T("\"\xc2\x80\""),
    /* forms, and what only looks like one */
    T("{\"$bin\":\"\"}"),
    T("{\"$bin\":\"AAEC\"}"),
    T("{ \"$bin\" : \"AA==\" }"),
    T("{\"\\u0024bin\":\"AAA=\"}"),
    T("{\"$bin\":\"\\/\\/\\/\\/\"}"),
    T("{\"$str\":\"/w==\"}"),
    T("{\"$f32\":1}"),
    T("{\"$f32\":-0.5e1}"),
    T("{\"$f32\":\"nan\"}"),
    T("{\"$f32\":\"nan:7fa00000\"}"),
    T("{\"$float\":\"inf\"}"),
    T("{\"$float\":\"nan:FFF0000000000001\"}"),
    T("{\"$time\":\"0\"}"),
    T("{\"$time\":\"-1.5\"}"),
    T("{\"$time\":\"9223372036854775807.999999999\"}"),
    T("{\"$time\":\"-9223372036854775808\"}"),
    T("{\"$ext\":[-128,\"\"]}"),
    T("{\"$ext\":[ 127 , \"AA==\" ]}"),
    T("{\"$map\":[]}"),
    T("{\"$map\":[[1,2],[{\"$map\":[[null,null]]},[]]]}"),
    T("{\"$map\":[[1,2],[1,3]]}"),
    T("{\"$bin\":\"%%%\",\"x\":1}"),
    T("{\"x\":1,\"$bin\":5}"),
    T("{\"$bin\":5,\"$bin\":6}"),
    T("{\"$bi\":5}"),
    T("{\"$binx\":5}"),
    T("{\"$\":5}"),
    T("{\"$ref\":\"#\"}"),
    T("{\"$map\":{},\"a\":[\"}\"]}"),
};

static const struct text refused[] = {
    /* structure */
    T(""),
    T(" "),
    T("\n"),
    T("[1 true]"),
    T("[a\xe5]"),
    T("[\"\": 1]"),
    T("[\"\"],"),
    T("[,1]"),
    T("[1,,2]"),
    T("[\"x\",,]"),
    T("[\"x\"]]"),
    T("[\"\",]"),
    T("[\"x\""),
    T("[x"),
    T("[3[4]]"),
    T("[\xff]"),
    T("[1:2]"),
    T("[,]"),
    T("[-]"),
    T("[   , \"\"]"),
    T("[\"a\",\n4\n,1,"),
    T("[1,]"),
    T("[1,,]"),
    T("[\"\va\"\\f]"),
    T("[*]"),
    T("[\"\""),
    T("[1,"),
    T("[1,\n1\n,1"),
    T("[{}"),
    T("[fals]"),
    T("[nul]"),
    T("[tru]"),
    T("nulll"),
    T("True"),
    T("NULL"),
    T("nul"),
    T("truefalse"),
    T("1]"),
    T("{]"),
    T("[}"),
    T("<.>"),
    T("[<null>]"),
    T("aa"),
    T("[\"a\""),
    T("[\xe2\x81\xa0]"),
    T("\xef\xbb\xbf{}"),
    T("\xef\xbb\xbf"),
    T("\xe5"),
    T("[1]x"),
    T("[][]"),
    T("]"),
    T("*"),
    T("{\"a\":true}\"x\""),
    T("{\"a\":/*c*/\"b\"}"),
    T("{\"a\":\"b\"}/**/"),
    T("{\"a\":\"b\"}//"),
    T("{\"a\":\"b\"}#"),
    T("[\f]"),
    T("[\v]"),
    T("\xc2\xa0[]"),
    T("\0"),
    T("[]\0"),
    T("123\0"),
    T("[\0]"),
    T("[True]"),
    T("{\"a\":\"b\"}#{}"),
    T("{\"asd\":\"asd\""),
    T("\xc3\xa5"),
    T("[[[["),
    T("{\"a\":{\"b\":"),
    T("1 2"),
    T("'a'"),
    T("\\u0031"),
    T("undefined"),
    T("@"),
    T("[\\n]"),
    T("[\"a\"\\n]"),
    T("a\"b\""),
    /* objects */
    T("[\"x\", truth]"),
    T("{[: \"x\"}"),
    T("{\"x\", null}"),
    T("{\"x\"::\"b\"}"),
    T("{\xf0\x9f\x87\xa8}"),
    T("{\"a\":\"a\" 123}"),
    T("{key: 'value'}"),
    T("{\"a\" b}"),
    T("{:\"b\"}"),
    T("{\"a\" \"b\"}"),
    T("{\"a\":"),
    T("{\"a\""),
    T("{\"a"),
    T("{"),
    T("{1:1}"),
    T("{9999E9999:1}"),
    T("{null:null,null:null}"),
    T("{\"id\":0,,,,,}"),
    T("{'a':0}"),
    T("{\"id\":0,}"),
    T("{\"a\":\"b\",,\"c\":\"d\"}"),
    T("{a: \"b\"}"),
    T("{\"a\":\"a"),
    T("{ \"foo\" : \"bar\", \"a\" }"),
    T("{,}"),
    T("{\"a\":1 \"b\":2}"),
    /* numbers */
    T("[-1-1]"),
    T("[++1234]"),
    T("[+1]"),
    T("[+Inf]"),
    T("[-01]"),
    T("[-1.0.]"),
    T("[-2.]"),
    T("[-NaN]"),
    T("[.-1]"),
    T("[.2e-3]"),
    T("[0.1.2]"),
    T("[0.3e+]"),
    T("[0.3e]"),
    T("[0.e1]"),
    T("[0E+]"),
    T("[0E]"),
    T("[0e+]"),
    T("[0e]"),
    T("[1.0e+]"),
    T("[1.0e-]"),
    T("[1.0e]"),
    T("[1 000.0]"),
    T("[1eE2]"),
    T("[2.e+3]"),
    T("[2.e-3]"),
    T("[2.e3]"),
    T("[9.e+]"),
    T("[Inf]"),
    T("[NaN]"),
    T("[\xef\xbc\x91]"),
    T("[1+2]"),
    T("[0x1]"),
    T("[0x42]"),
    T("[Infinity]"),
    T("[0e+-1]"),
    T("[-123.123foo]"),
    T("[123\xe5]"),
    T("[1e1\xe5]"),
    T("[-Infinity]"),
    T("[-foo]"),
    T("[- 1]"),
    T("[-012]"),
    T("[-.123]"),
    T("[1.]"),
    T("[.123]"),
    T("[1.2a-3]"),
    T("[1.8011670033376514H-308]"),
    T("[012]"),
    T("00"),
    T("1e1000"),
    T("-1e400"),
    T("1e"),
    T("-"),
    T("1.e5"),
    T("0.1e1.5"),
    /* strings */
    T("[\"\\uD800\\\"]"),
    T("[\"\\uD800\\u\"]"),
    T("[\"\\uD800\\u1\"]"),
    T("[\"\\uD800\\u1x\"]"),
    T("[\xc3\xa9]"),
    T("[\"\\\0\"]"),
    T("[\"\\x00\"]"),
    T("[\"\\\\\\\"]"),
    T("[\"\\\t\"]"),
    T("[\"\\\xf0\x9f\x8c\x80\"]"),
    T("[\"\\\"]"),
    T("[\"\\u00A\"]"),
    T("[\"\\uD834\\uDd\"]"),
    T("[\"\\ud800\\udc0\"]"),
    T("[\"\\a\"]"),
    T("[\"\\uqqqq\"]"),
    T("[\"\\\xe5\"]"),
    T("[\\u0020\"asd\"]"),
    T("\""),
    T("['single']"),
    T("abc"),
    T("[\"\\"),
    T("[\"a\0a\"]"),
    T("[\"new\nline\"]"),
    T("[\"\t\"]"),
    T("\"\\UA66D\""),
    T("\"\x1f\""),
    T("\"\\u 123\""),
    T("\"\\u+123\""),
    T("\"\\u0x12\""),
    T("[\"\\uDADA\"]"),
    T("[\"\\uD888\\u1234\"]"),
    T("[\"\\uDC00\"]"),
    T("[\"\\uDd1ea\"]"),
    T("[\"\\ud800\"]"),
    T("[\"\\ud800abc\"]"),
    T("[\"\\uDd1e\\uD834\"]"),
    T("[\"\\uD800\\uD800\\n\"]"),
    T("[\"\xff\"]"),
    T("[\"\xe6\x97\xa5\xd1\x88\xfa\"]"),
    T("[\"\xc0\xaf\"]"),
    T("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"),
    T("[\"\xe0\xff\"]"),
    T("[\"\x81\"]"),
    T("[\"\xf4\xbf\xbf\xbf\"]"),
    T("[\"\xed\xa0\x80\"]"),
    T("[\"\xe0\x80\x80\"]"),
    T("[\"\xf0\x80\x80\x80\"]"),
    T("[\"\xc3\"]"),
    T("\"\xf0\x9f\x98\""),
    T("{\"\xff\":1}"),
    /* forms */
    T("{\"$bin\":\"%%%\"}"),
    T("{\"$bin\":\"A\"}"),
    T("{\"$bin\":\"AA\"}"),
    T("{\"$bin\":\"AA=\"}"),
    T("{\"$bin\":\"A===\"}"),
    T("{\"$bin\":\"AB==\"}"),
    T("{\"$bin\":\"AAB=\"}"),
    T("{\"$bin\":\"AA==AAAA\"}"),
    T("{\"$bin\":\"AAA \"}"),
    T("{\"$bin\":\"AA_-\"}"),
    T("{\"$bin\":5}"),
    T("{\"$bin\":null}"),
    T("{\"$bin\":[\"AA==\"]}"),
    T("{\"$str\":{}}"),
    T("{\"$str\":\"a\"}"),
    T("{\"$f32\":\"x\"}"),
    T("{\"$f32\":1e39}"),
    T("{\"$f32\":\"nan:7f800000\"}"),
    T("{\"$f32\":[]}"),
    T("{\"$f32\":01}"),
    T("{\"$f32\":}"),
    T("{\"$float\":1.5}"),
    T("{\"$float\":\"NaN\"}"),
    T("{\"$float\":\"nan:0000000000000000\"}"),
    T("{\"$float\":\"nan:7ff0000000000000\"}"),
    T("{\"$float\":\"nan:7ff8\"}"),
    T("{\"$float\":\"inf \"}"),
    T("{\"$float\":\"\"}"),
    T("{\"$time\":1}"),
    T("{\"$time\":\"\"}"),
    T("{\"$time\":\"1.\"}"),
    T("{\"$time\":\".5\"}"),
    T("{\"$time\":\"1.0000000000\"}"),
    T("{\"$time\":\"+1\"}"),
    T("{\"$time\":\"--1\"}"),
    T("{\"$time\":\"9223372036854775808\"}"),
    T("{\"$time\":\"-9223372036854775808.1\"}"),
    T("{\"$time\":\"1e5\"}"),
    T("{\"$time\":\"99999999999999999999999\"}"),
    T("{\"$time\":\"1.5x\"}"),
    T("{\"$time\":\"0000000000000000000000000000000000000000000000000000\"}"),
    T("{\"$ext\":[128,\"\"]}"),
    T("{\"$ext\":[-129,\"\"]}"),
    T("{\"$ext\":[1.0,\"\"]}"),
    T("{\"$ext\":[1]}"),
    T("{\"$ext\":[1,\"\",2]}"),
    T("{\"$ext\":{}}"),
    T("{\"$ext\":[1,\"!\"]}"),
    T("{\"$ext\":[\"1\",\"\"]}"),
    T("{\"$map\":{}}"),
    T("{\"$map\":1}"),
    T("{\"$map\":[1]}"),
    T("{\"$map\":[[1]]}"),
    T("{\"$map\":[[1,2,3]]}"),
    T("{\"$map\":[[1,2],]}"),
    T("{\"$map\":[[]]}"),
    T("{\"$map\":[[1,2]}"),
    T("{\"$bin\":\"AAAA\",}"),
    T("{\"$bin\"}"),
    T("{\"$bin\":\"AAAA\"x}"),
    T("{\"$bin\":\"AAAA\"]"),
    T("{\"$bin\":"),
    T("{\"$bin\":\"AAAA\""),
};
#undef T

/* A copy of exactly its size, so that the address sanitizer sees a read behind its end. */
static int parse(struct buf *out, const char *text, size_t n, struct ssx_error *err)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    int rc = json_to_msgpack(out, copy, n, err);
    free(copy);
    return rc;
}

static void well_formed_texts_are_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        struct buf out = {0};
        struct ssx_error err = {0};
        if (parse(&out, accepted[i].at, accepted[i].n, &err))
            fail_msg("refused %s: %s", accepted[i].at, err.text);
        assert_int_equal(value_scan(buf_data(&out), buf_length(&out), &err), 0);
        buf_free(&out);
    }
}

static void malformed_texts_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct buf out = {0};
        struct ssx_error err = {0};
        buf_add_text(&out, "kept");
        if (!parse(&out, refused[i].at, refused[i].n, &err))
            fail_msg("accepted %s", refused[i].at);
        assert_int_equal(err.code, SSX_ERROR_USAGE);
        assert_non_null(strstr(err.text, "bad JSON at line "));
        assert_int_equal(buf_length(&out), 4);
        buf_free(&out);
    }
}

static const struct { const char *json, *msgpack; size_t n; const char *back; /* NULL: the same */
} golden[] = {
#define G(json, msgpack, back) {json, msgpack, sizeof(msgpack) - 1, back}
    G("null", "\xc0", NULL),
    G("true", "\xc3", NULL),
    G("false", "\xc2", NULL),
    G("0", "\x00", NULL),
    G("127", "\x7f", NULL),
    G("128", "\xcc\x80", NULL),
    G("255", "\xcc\xff", NULL),
    G("256", "\xcd\x01\x00", NULL),
    G("65536", "\xce\x00\x01\x00\x00", NULL),
    G("4294967296", "\xcf\x00\x00\x00\x01\x00\x00\x00\x00", NULL),
    G("9223372036854775808", "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", NULL),
    G("18446744073709551615", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", NULL),
    G("-1", "\xff", NULL),
    G("-32", "\xe0", NULL),
    G("-33", "\xd0\xdf", NULL),
    G("-128", "\xd0\x80", NULL),
    G("-129", "\xd1\xff\x7f", NULL),
    G("-32769", "\xd2\xff\xff\x7f\xff", NULL),
    G("-2147483649", "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", NULL),
    G("-9223372036854775808", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", NULL),
    G("18446744073709551616", "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00", "1.8446744073709552e+19"),
    G("-0", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "-0.0"),
    G("-0.0", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00", NULL),
    G("0.0", "\xcb\x00\x00\x00\x00\x00\x00\x00\x00", NULL),
    G("1.0", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", NULL),
    G("1e0", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "1.0"),
    G("0.1", "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", NULL),
    G("1e+22", "\xcb\x44\x80\xf0\xcf\x06\x4d\xd5\x92", NULL),
    G("0.30000000000000004", "\xcb\x3f\xd3\x33\x33\x33\x33\x33\x34", NULL),
    G("\"\"", "\xa0", NULL),
    G("\"a\\u0000b\"",
      "\xa3"
      "a\0b",
      NULL),
    G("\"\\u0041\\/\"",
      "\xa2"
      "A/",
      "\"A/\""),
    G("\"\\ud83d\\ude00\"", "\xa4\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""),
    G("\"\\\"\\\\\\b\\f\\n\\r\\t\\u001b\"", "\xa8\"\\\b\f\n\r\t\x1b", NULL),
    G("\"\x7f\xc2\x9b\"", "\xa3\x7f\xc2\x9b", "\"\\u007f\\u009b\""),
    G(" [ 1 , [ ] , { } ] ", "\x93\x01\x90\x80", "[1,[],{}]"),
    G("{\"a\":1,\"b\":[2]}",
      "\x82\xa1"
      "a\x01\xa1"
      "b\x91\x02",
      NULL),
    G("[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14]", "\x9f\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e", NULL),
    G("[[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1],2]", "\x92\xdc\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02", NULL),
    G("{\"a\":1,\"b\":2,\"a\":3}",
      "\x82\xa1"
      "b\x02\xa1"
      "a\x03",
      "{\"b\":2,\"a\":3}"),
    G("{\"a\":1,\"\\u0061\":{\"x\":1,\"x\":2}}",
      "\x81\xa1"
      "a\x81\xa1"
      "x\x02",
      "{\"a\":{\"x\":2}}"),
    G("{\"$bin\":\"AAH/\"}", "\xc4\x03\x00\x01\xff", NULL),
    G("{\"$str\":\"/w==\"}", "\xa1\xff", NULL),
    G("{\"$str\":\"YQ==\"}",
      "\xa1"
      "a",
      "\"a\""),
    G("{\"$f32\":1.5}", "\xca\x3f\xc0\x00\x00", NULL),
    G("{\"$f32\":0.1}", "\xca\x3d\xcc\xcc\xcd", NULL),
    G("{\"$f32\":-0.0}", "\xca\x80\x00\x00\x00", NULL),
    G("{\"$f32\":\"nan\"}", "\xca\x7f\xc0\x00\x00", NULL),
    G("{\"$f32\":\"nan:7fa00001\"}", "\xca\x7f\xa0\x00\x01", NULL),
    G("{\"$f32\":\"-inf\"}", "\xca\xff\x80\x00\x00", NULL),
    G("{\"$float\":\"nan\"}", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", NULL),
    G("{\"$float\":\"inf\"}", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", NULL),
    G("{\"$float\":\"-inf\"}", "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", NULL),
    G("{\"$float\":\"nan:fff0000000000001\"}", "\xcb\xff\xf0\x00\x00\x00\x00\x00\x01", NULL),
    G("{\"$time\":\"1.000000000\"}", "\xd6\xff\x00\x00\x00\x01", NULL),
    G("{\"$time\":\"4294967296\"}", "\xd7\xff\x00\x00\x00\x01\x00\x00\x00\x00", "{\"$time\":\"4294967296.000000000\"}"),
    G("{\"$time\":\"1.5\"}", "\xd7\xff\x77\x35\x94\x00\x00\x00\x00\x01", "{\"$time\":\"1.500000000\"}"),
    G("{\"$time\":\"-0.500000000\"}", "\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xff", NULL),
    G("{\"$time\":\"-9223372036854775807.500000000\"}", "\xc7\x0c\xff\x1d\xcd\x65\x00\x80\x00\x00\x00\x00\x00\x00\x00",
      NULL),
    G("{\"$time\":\"-9223372036854775808.000000000\"}", "\xc7\x0c\xff\0\0\0\0\x80\x00\x00\x00\x00\x00\x00\x00", NULL),
    G("{\"$ext\":[5,\"AQ==\"]}", "\xd4\x05\x01", NULL),
    G("{\"$ext\":[5,\"\"]}", "\xc7\x00\x05", NULL),
    G("{\"$ext\":[-1,\"AA==\"]}", "\xd4\xff\x00", NULL),
    G("{\"$ext\":[-1,\"AAAAAAAAAAE=\"]}", "\xd7\xff\0\0\0\0\0\0\0\x01", NULL),
    G("{\"$map\":[[1,2]]}", "\x81\x01\x02", NULL),
    G("{\"$map\":[[\"a\",1],[\"a\",2]]}",
      "\x82\xa1"
      "a\x01\xa1"
      "a\x02",
      NULL),
    G("{\"$map\":[[\"$bin\",\"AAAA\"]]}",
      "\x81\xa4$bin\xa4"
      "AAAA",
      NULL),
    G("{\"$map\":[[{\"$str\":\"/w==\"},1]]}", "\x81\xa1\xff\x01", NULL),
    G("{\"$map\":[[\"a\",1]]}",
      "\x81\xa1"
      "a\x01",
      "{\"a\":1}"),
    G("{\"$bin\":\"%\",\"b\":1}",
      "\x82\xa4$bin\xa1%\xa1"
      "b\x01",
      NULL),
    G("{\"$map\":[[\"$map\",[[1,2]]]]}", "\x81\xa4$map\x91\x92\x01\x02", NULL),
    G("{\"$ref\":1}", "\x81\xa4$ref\x01", NULL),
    G("{\"$map\":[]}", "\x80", "{}"),
    G("{\"$bin\":1,\"$bin\":2}", "\x81\xa4$bin\x02", "{\"$map\":[[\"$bin\",2]]}"),
#undef G
};

static void print(struct buf *out, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    if (json_from_msgpack(out, bytes, n, &err))
        fail_msg("%s", err.text);
}

static bool holds(const struct buf *b, const void *bytes, size_t n)
{
    return buf_length(b) == n && (!n || memcmp(buf_data(b), bytes, n) == 0);
}

static void values_have_their_golden_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct buf bytes = {0}, text = {0};
        struct ssx_error err = {0};
        const char *back = golden[i].back ? golden[i].back : golden[i].json;
        if (parse(&bytes, golden[i].json, strlen(golden[i].json), &err))
            fail_msg("refused %s: %s", golden[i].json, err.text);
        if (!holds(&bytes, golden[i].msgpack, golden[i].n))
            fail_msg("%s became other bytes", golden[i].json);
        print(&text, golden[i].msgpack, golden[i].n);
        if (!holds(&text, back, strlen(back)))
            fail_msg("%s came back as %.*s", golden[i].json, (int)buf_length(&text), (char *)buf_data(&text));
        buf_free(&bytes);
        buf_free(&text);
    }
}

static void assert_returns(const struct buf *value, struct buf *text)
{
    struct buf again = {0};
    struct ssx_error err = {0};
    print(text, buf_data(value), buf_length(value));
    if (parse(&again, (char *)buf_data(text), buf_length(text), &err))
        fail_msg("%.*s: %s", (int)buf_length(text), (char *)buf_data(text), err.text);
    if (!holds(&again, buf_data(value), buf_length(value)))
        fail_msg("%.*s did not give the same bytes", (int)buf_length(text), (char *)buf_data(text));
    buf_free(&again);
}

static void random_values_return_byte_for_byte(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        struct buf value = {0}, text = {0};
        random_value(&value, &seed);
        assert_returns(&value, &text);
        buf_free(&value);
        buf_free(&text);
    }
}

/* Whatever bytes: refused, or a value whose JSON reads as a value whose JSON is the same. */
static void mutated_msgpack_is_refused_or_stable(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int i = 0; i < 20000; i++) {
        struct buf value = {0}, text = {0}, again = {0}, second = {0};
        struct ssx_error err = {0};
        random_value(&value, &seed);
        random_mutation(&value, &seed);
        if (json_from_msgpack(&text, buf_data(&value), buf_length(&value), &err)) {
            assert_int_equal(err.code, SSX_ERROR_PROTOCOL);
            assert_int_equal(buf_length(&text), 0);
        } else {
            if (parse(&again, (char *)buf_data(&text), buf_length(&text), &err))
                fail_msg("%.*s: %s", (int)buf_length(&text), (char *)buf_data(&text), err.text);
            print(&second, buf_data(&again), buf_length(&again));
            assert_true(holds(&second, buf_data(&text), buf_length(&text)));
        }
        buf_free(&value);
        buf_free(&text);
        buf_free(&again);
        buf_free(&second);
    }
}

static void mutated_texts_are_refused_or_valid(void **state)
{
    (void)state;
    uint64_t seed = 3;
    size_t valid = 0;
    for (int i = 0; i < 20000; i++) {
        struct buf value = {0}, text = {0}, out = {0};
        struct ssx_error err = {0};
        random_value(&value, &seed);
        print(&text, buf_data(&value), buf_length(&value));
        random_mutation(&text, &seed);
        buf_free(&value);
        if (parse(&out, (char *)buf_data(&text), buf_length(&text), &err)) {
            assert_int_equal(err.code, SSX_ERROR_USAGE);
            assert_int_equal(buf_length(&out), 0);
        } else {
            valid++;
            assert_int_equal(value_scan(buf_data(&out), buf_length(&out), &err), 0);
            print(&value, buf_data(&out), buf_length(&out));
        }
        buf_free(&value);
        buf_free(&text);
        buf_free(&out);
    }
    assert_in_range(valid, 100, 19900); /* both outcomes were met */
}

static void doubles_return_exactly(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_next(&seed);
        unsigned char bytes[9] = {0xcb};
        struct buf value = {0}, text = {0};
        for (size_t j = 0; j < 8; j++)
            bytes[1 + j] = (unsigned char)(bits >> (56 - 8 * j));
        buf_add(&value, bytes, sizeof bytes);
        assert_returns(&value, &text);
        buf_free(&value);
        buf_free(&text);
    }
}

/* A program's locale must not leak into the text. Where no such locale is installed there is nothing to see, and the
 * test only passes. */
static void numbers_ignore_the_locale(void **state)
{
    (void)state;
    static const char *const comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "pl_PL.UTF-8"};
    for (size_t i = 0; i < sizeof comma / sizeof *comma && !setlocale(LC_ALL, comma[i]); i++)
        ;
    struct buf bytes = {0}, text = {0};
    assert_int_equal(parse(&bytes, "[1.5,{\"$f32\":2.5}]", 18, NULL), 0);
    print(&text, buf_data(&bytes), buf_length(&bytes));
    setlocale(LC_ALL, "C");
    assert_true(holds(&text, "[1.5,{\"$f32\":2.5}]", 18));
    buf_free(&bytes);
    buf_free(&text);
}

static void errors_tell_line_and_column(void **state)
{
    (void)state;
    static const struct { const char *text, *error; } cases[] = {
        {"", "bad JSON at line 1, column 1: expected a value"},
        {"{\"a\": 1,\n \"b\" 2}", "bad JSON at line 2, column 6: expected :"},
        {"[\"\xc3\xa9\xe2\x82\xac\", x]", "bad JSON at line 1, column 8: expected a value"},
        {"\n\n[1, 01]", "bad JSON at line 3, column 6: a number starts with 0"},
        {"{\"k\":{\"$bin\":\"%%%%\"}}", "bad JSON at line 1, column 15: not base64 (the standard alphabet, padded with =)"},
        {"[\"abc", "bad JSON at line 1, column 2: a string is not closed"},
        {"[\"ab\\q\"]", "bad JSON at line 1, column 5: not an escape (or half of a surrogate pair)"},
        {"1 2", "bad JSON at line 1, column 3: expected nothing behind the value"},
        {"1e999", "bad JSON at line 1, column 1: the number is too large for a float"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        struct ssx_error err = {0};
        assert_int_equal(parse(&out, cases[i].text, strlen(cases[i].text), &err), -1);
        assert_string_equal(err.text, cases[i].error);
        buf_free(&out);
    }
}

static void repeat(struct buf *out, const char *text, size_t times)
{
    while (times--)
        buf_add_text(out, text);
}

static int parse_nested(const char *open, const char *leaf, const char *close, size_t levels)
{
    struct buf text = {0}, out = {0};
    struct ssx_error err = {0};
    repeat(&text, open, levels);
    buf_add_text(&text, leaf);
    repeat(&text, close, levels);
    int rc = parse(&out, (char *)buf_data(&text), buf_length(&text), &err);
    if (!rc) {
        struct buf back = {0};
        print(&back, buf_data(&out), buf_length(&out));
        assert_true(holds(&back, buf_data(&text), buf_length(&text)));
        buf_free(&back);
    } else if (levels < 1000) {
        assert_non_null(strstr(err.text, "nested too deeply"));
    }
    buf_free(&text);
    buf_free(&out);
    return rc;
}

/* The depth is that of the msgpack value: a form counts as what it stands for. */
static void depth_is_limited_to_28_levels_of_msgpack(void **state)
{
    (void)state;
    assert_int_equal(parse_nested("[", "1", "]", VALUE_DEPTH_MAX), 0);
    assert_int_equal(parse_nested("[", "1", "]", VALUE_DEPTH_MAX + 1), -1);
    assert_int_equal(parse_nested("{\"a\":", "1", "}", VALUE_DEPTH_MAX), 0);
    assert_int_equal(parse_nested("{\"a\":", "1", "}", VALUE_DEPTH_MAX + 1), -1);
    assert_int_equal(parse_nested("[", "{\"$bin\":\"\"}", "]", VALUE_DEPTH_MAX), 0);
    assert_int_equal(parse_nested("[", "{\"$ext\":[1,\"\"]}", "]", VALUE_DEPTH_MAX), 0);
    assert_int_equal(parse_nested("{\"$map\":[[1,", "{\"$f32\":1.5}", "]]}", VALUE_DEPTH_MAX), 0);
    assert_int_equal(parse_nested("{\"$map\":[[", "1", ",1]]}", VALUE_DEPTH_MAX), 0);
    assert_int_equal(parse_nested("{\"$map\":[[", "1", ",1]]}", VALUE_DEPTH_MAX + 1), -1);
    assert_int_equal(parse_nested("[", "", "", 1000000), -1);
    assert_int_equal(parse_nested("{\"$map\":[[", "", "", 500000), -1);
}

static int parse_list(const char *open, const char *element, const char *close, size_t count, struct ssx_error *err)
{
    struct buf text = {0}, out = {0};
    buf_add_text(&text, open);
    repeat(&text, element, count);
    buf_add_text(&text, close);
    int rc = json_to_msgpack(&out, (char *)buf_data(&text), buf_length(&text), err);
    if (!rc)
        assert_int_equal(value_scan(buf_data(&out), buf_length(&out), err), 0);
    buf_free(&text);
    buf_free(&out);
    return rc;
}

static void elements_and_size_are_limited(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    assert_int_equal(parse_list("[", "1,", "1]", VALUE_ELEMENTS_MAX - 1, &err), 0);
    assert_int_equal(parse_list("[", "1,", "1]", VALUE_ELEMENTS_MAX, &err), -1);
    assert_non_null(strstr(err.text, "too many elements"));
    memset(&err, 0, sizeof err);
    assert_int_equal(parse_list("{", "\"a\":1,", "\"a\":1}", VALUE_ELEMENTS_MAX / 2, &err), -1);
    assert_non_null(strstr(err.text, "too many elements"));
    memset(&err, 0, sizeof err);
    assert_int_equal(parse_list("\"", "a", "\"", VALUE_SIZE_MAX - 5, &err), 0);
    assert_int_equal(parse_list("\"", "a", "\"", VALUE_SIZE_MAX - 4, &err), -1);
    assert_non_null(strstr(err.text, "too large"));
}

/* Headers of every width: 15, 16, 65,535 and 65,536 elements, one inside the other. */
static void counts_of_every_width_return(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 15, 16, 17, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct buf value = {0}, text = {0};
        msgpack_packer pack = packer(&value);
        msgpack_pack_array(&pack, 2);
        msgpack_pack_array(&pack, counts[i]);
        for (size_t j = 0; j < counts[i]; j++)
            msgpack_pack_nil(&pack);
        msgpack_pack_map(&pack, counts[i]);
        for (size_t j = 0; j < counts[i]; j++) {
            char key[24];
            snprintf(key, sizeof key, "k%zu", j);
            pack_text(&pack, key);
            msgpack_pack_uint64(&pack, j);
        }
        assert_returns(&value, &text);
        buf_free(&value);
        buf_free(&text);
    }
}

/* 200,000 members, each key several times: quadratic work would take minutes. */
static void the_last_of_many_repeated_keys_wins(void **state)
{
    (void)state;
    enum { MEMBERS = 200000, KEYS = 30000 };
    struct buf text = {0}, out = {0};
    for (unsigned i = 0; i < MEMBERS; i++)
        buf_printf(&text, "%s\"%u\":%u", i ? "," : "{", i % KEYS, i);
    buf_add_text(&text, "}");
    assert_int_equal(parse(&out, (char *)buf_data(&text), buf_length(&text), NULL), 0);
    struct value_reader r = value_reader(buf_data(&out), buf_length(&out));
    size_t pairs;
    assert_int_equal(value_take_map(&r, &pairs), 0);
    assert_int_equal(pairs, KEYS);
    for (unsigned i = MEMBERS - KEYS; i < MEMBERS; i++) {
        const char *key;
        size_t n;
        uint64_t number;
        char wanted[16];
        assert_int_equal(value_take_str(&r, &key, &n), 0);
        assert_int_equal(value_take_uint(&r, UINT64_MAX, &number), 0);
        assert_int_equal(number, i);
        snprintf(wanted, sizeof wanted, "%u", i % KEYS);
        assert_int_equal(n, strlen(wanted));
        assert_memory_equal(key, wanted, n);
    }
    assert_ptr_equal(r.at, r.end);
    buf_free(&text);
    buf_free(&out);
}

static void malformed_msgpack_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {{"", 0},
                 {"\xc1", 1},
                 {"\x92\x01", 2},
                 {"\x01\x01", 2},
                 {"\xdd\xff\xff\xff\xff", 5},
                 {"\xa2"
                  "a",
                  2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        struct ssx_error err = {0};
        assert_int_equal(json_from_msgpack(&out, cases[i].bytes, cases[i].n, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_PROTOCOL);
        assert_int_equal(buf_length(&out), 0);
        buf_free(&out);
    }
}

static void strings_for_people_replace_bad_bytes(void **state)
{
    (void)state;
    struct buf out = {0};
    json_add_string(&out, "a\xff\"\x1b[\xc3\xa9\0z\xe2\x82", 11);
    const char *wanted = "\"a\xef\xbf\xbd\\\"\\u001b[\xc3\xa9\\u0000z\xef\xbf\xbd\xef\xbf\xbd\"";
    assert_true(holds(&out, wanted, strlen(wanted)));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_texts_are_accepted),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(values_have_their_golden_form),
        cmocka_unit_test(random_values_return_byte_for_byte),
        cmocka_unit_test(mutated_msgpack_is_refused_or_stable),
        cmocka_unit_test(mutated_texts_are_refused_or_valid),
        cmocka_unit_test(doubles_return_exactly),
        cmocka_unit_test(numbers_ignore_the_locale),
        cmocka_unit_test(errors_tell_line_and_column),
        cmocka_unit_test(depth_is_limited_to_28_levels_of_msgpack),
        cmocka_unit_test(elements_and_size_are_limited),
        cmocka_unit_test(counts_of_every_width_return),
        cmocka_unit_test(the_last_of_many_repeated_keys_wins),
        cmocka_unit_test(malformed_msgpack_is_refused),
        cmocka_unit_test(strings_for_people_replace_bad_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

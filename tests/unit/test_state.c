/* States from words, and values against a schema: what is accepted, the bytes that come out, and what a user reads for
 * each mistake. */
#include "base/text.h"
#include "wire/json.h"
#include "wire/value.h"
#include "worker/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char note[] =
    "{\"enum\":\"color\"}\0{\"value\":\"red\"}\0{\"value\":\"green\"}\0"
    "{\"struct\":\"disk\"}\0"
    "{\"field\":\"mount\",\"type\":\"str\",\"required\":true,\"doc\":\"where it is mounted\"}\0"
    "{\"field\":\"size\",\"type\":\"u64\",\"default\":7,\"doc\":\"\"}\0"
    "{\"struct\":\"in\"}\0"
    "{\"field\":\"name\",\"type\":{\"str\":8},\"default\":\"world\",\"doc\":\"\"}\0"
    "{\"field\":\"times\",\"type\":{\"i32\":[-3,100]},\"default\":1,\"doc\":\"\"}\0"
    "{\"field\":\"big\",\"type\":\"u64\",\"default\":0,\"doc\":\"\"}\0"
    "{\"field\":\"wide\",\"type\":\"i64\",\"default\":0,\"doc\":\"\"}\0"
    "{\"field\":\"share\",\"type\":{\"f64\":[0,1]},\"default\":1,\"doc\":\"\"}\0"
    "{\"field\":\"free\",\"type\":{\"opt\":\"f64\"},\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"on\",\"type\":\"bool\",\"default\":false,\"doc\":\"\"}\0"
    "{\"field\":\"paint\",\"type\":{\"enum\":\"color\"},\"default\":\"green\",\"doc\":\"\"}\0"
    "{\"field\":\"blob\",\"type\":\"bin\",\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"what\",\"type\":\"any\",\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"disk\",\"type\":{\"opt\":{\"struct\":\"disk\"}},\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"disks\",\"type\":{\"list\":{\"struct\":\"disk\"}},\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"marks\",\"type\":{\"list\":{\"i32\":[0,9]}},\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"pin\",\"type\":{\"secret\":{\"opt\":\"u32\"}},\"default\":null,\"doc\":\"\"}\0"
    "{\"field\":\"words\",\"type\":{\"rest\":{\"list\":\"str\"}},\"default\":null,\"doc\":\"\"}\0"
    "{\"worker\":\"w\",\"version\":\"1.2\",\"abi\":[1,0],\"state\":\"in\",\"result\":\"disk\",\"traits\":\"0\",\"doc\":\"\"}";

static struct descriptor d;

static int set_up(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    return descriptor_parse(&d, note, sizeof note, &err);
}

static int tear_down(void **state)
{
    (void)state;
    descriptor_dispose(&d);
    return 0;
}

/* Words as a command line has them: name=text, name:=json, or after "--" more for the rest. */
static int give(struct state_builder *b, const char *const *words, struct ssx_error *err)
{
    bool rest = false;
    for (; *words; words++) {
        char name[64];
        const char *equal = strchr(*words, '=');
        if (rest || strcmp(*words, "--") == 0) {
            if (rest && state_builder_rest(b, *words, err))
                return -1;
            rest = true;
            continue;
        }
        bool json = equal[-1] == ':';
        snprintf(name, sizeof name, "%.*s", (int)(equal - *words - json), *words);
        if ((json ? state_builder_json : state_builder_text)(b, name, equal + 1, strlen(equal + 1), err))
            return -1;
    }
    return 0;
}

/* The state as JSON, or the error's text. */
static char *build(const char *const *words)
{
    struct ssx_error err = {0};
    struct buf value = {0}, json = {0};
    struct state_builder *b = state_builder_new(&d);
    assert_non_null(b);
    if (give(b, words, &err) || state_builder_finish(b, &value, &err)) {
        buf_add_text(&json, err.text);
    } else {
        assert_int_equal(state_check(&d, d.state, buf_data(&value), buf_length(&value), NULL), 0);
        assert_int_equal(json_from_msgpack(&json, buf_data(&value), buf_length(&value), NULL), 0);
    }
    state_builder_free(b);
    buf_free(&value);
    buf_add(&json, "", 1);
    return (char *)buf_data(&json);
}

#define assert_built(wanted, ...)                                            \
    do {                                                                     \
        char *built = build((const char *const[]){__VA_ARGS__, NULL});       \
        assert_string_equal(built, wanted);                                  \
        free(built);                                                         \
    } while (0)

static void test_typing(void **state)
{
    (void)state;
    assert_built("{\"name\":\"Ada\",\"times\":3}", "times=3", "name=Ada");
    assert_built("{\"times\":-3,\"big\":18446744073709551615,\"wide\":-9223372036854775808}", "times=-3",
                 "big=0xffffFFFFffffffff", "wide=-9223372036854775808");
    assert_built("{\"times\":16,\"big\":10}", "times=0x10", "big=010");
    assert_built("{\"share\":0.25,\"free\":{\"$float\":\"-inf\"}}", "share=2.5e-1", "free=-inf");
    assert_built("{\"share\":0.0,\"free\":3.0}", "share=0", "free=3");
    assert_built("{\"on\":true,\"paint\":\"red\"}", "on=yes", "paint=red");
    assert_built("{\"blob\":{\"$bin\":\"YWI=\"},\"what\":\"5\"}", "blob=ab", "what=5");
    assert_built("{\"what\":{\"a\":[1,null]}}", "what:={\"a\":[1,null]}");
    assert_built("{\"pin\":1234}", "pin=1234");
}

static void test_defaults_stay_at_home(void **state)
{
    (void)state;
    assert_built("{}", "name=world", "times=1", "share=1", "on=false", "paint=green", "blob=", "what:=null", "disk:=null", "marks:=[]");
    assert_built("{\"disk\":{\"mount\":\"/\"},\"disks\":[{\"mount\":\"/a\"},{\"mount\":\"/b\",\"size\":8}]}",
                 "disk:={\"size\":7,\"mount\":\"/\"}",
                 "disks:=[{\"mount\":\"/a\",\"size\":7},{\"size\":8,\"mount\":\"/b\"}]");
}

static void test_lists_and_paths(void **state)
{
    (void)state;
    assert_built("{\"marks\":[1,2,3,4]}", "marks=1", "marks:=[2,3]", "marks=4");
    assert_built("{\"words\":[\"a\",\"-b\",\"\"]}", "words=a", "--", "-b", "");
    assert_built("{\"disk\":{\"mount\":\"/x\",\"size\":5}}", "disk.size=5", "disk.mount=/x");
    assert_built("{\"disk\":{\"mount\":\"/x\",\"size\":5}}", "disk:={\"mount\":\"/\",\"size\":5}", "disk.mount=/x");
}

static void test_base(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    struct buf base = {0}, value = {0}, json = {0};
    static const char text[] = "{\"name\":\"Bob\",\"marks\":[1],\"disk\":{\"mount\":\"/\",\"size\":9}}";
    struct state_builder *b = state_builder_new(&d);
    assert_int_equal(json_to_msgpack(&base, text, strlen(text), NULL), 0);
    assert_int_equal(state_builder_base(b, buf_data(&base), buf_length(&base), &err), 0);
    const char *words[] = {"name=Ada", "marks=2", "marks=3", "disk.mount=/y", NULL};
    assert_int_equal(give(b, words, &err), 0);
    assert_int_equal(state_builder_finish(b, &value, &err), 0);
    assert_int_equal(json_from_msgpack(&json, buf_data(&value), buf_length(&value), NULL), 0);
    buf_add(&json, "", 1);
    assert_string_equal((char *)buf_data(&json), "{\"name\":\"Ada\",\"disk\":{\"mount\":\"/y\",\"size\":9},\"marks\":[2,3]}");
    assert_int_equal(state_builder_base(b, "\xa1x", 2, &err), -1);
    assert_string_equal(err.text, "w wants a map from field names to values, not text");
    state_builder_free(b);
    buf_free(&base);
    buf_free(&value);
    buf_free(&json);
}

static void test_mistakes(void **state)
{
    (void)state;
    char unknown[256];
    snprintf(unknown, sizeof unknown, "w 1.2 (schema %s) has no field 'nmae'; did you mean name?", d.schema_digest);
    assert_built(unknown, "nmae=x");
    snprintf(unknown, sizeof unknown,
             "field disk: struct disk of w 1.2 (schema %s) has no field 'zzzzzzzzz'; its fields are mount, size",
             d.schema_digest);
    assert_built(unknown, "disk.zzzzzzzzz=x");
    assert_built(unknown, "disk:={\"mount\":\"/\",\"zzzzzzzzz\":1}");
    assert_built("field name has no fields of its own, so there is no name.x", "name.x=1");
    assert_built("field name is given twice; only a list can be given more than once", "name=a", "name=b");
    assert_built("field name: 9 bytes are too many, 8 is the most", "name=123456789");
    assert_built("field times: 101 is out of range for i32 -3..100", "times=101");
    assert_built("field times: 'x' is not an integer (i32 -3..100)", "times=x");
    assert_built("field times: '' is not an integer (i32 -3..100)", "times=");
    assert_built("field times: '5k' is not an integer: suffixes aren't known, write all digits (i32 -3..100)", "times=5k");
    assert_built("field big: '18446744073709551616' is not an integer of 64 bits (u64)", "big=18446744073709551616");
    assert_built("field big: -1 is out of range for u64", "big=-1");
    assert_built("field wide: '-9223372036854775809' is not an integer of 64 bits (i64)", "wide=-9223372036854775809");
    assert_built("field share: 1.5 is out of range for f64 0..1", "share=1.5");
    assert_built("field share: {\"$float\":\"nan\"} is out of range for f64 0..1", "share=nan");
    assert_built("field share: '0x1' is not a number (f64 0..1)", "share=0x1");
    assert_built("field on: 'maybe' is not true or false (bool)", "on=maybe");
    assert_built("field paint: \"blue\" is none of red|green", "paint=blue");
    assert_built("field marks[1]: 10 is out of range for i32 0..9", "marks=1", "marks=10");
    assert_built("field disk is a struct; give its fields as disk.mount=..., or all as disk:='{...}'", "disk=x");
    assert_built("field disks can't be given as text; give JSON as disks:='[...]'", "disks=x");
    assert_built("field disk.mount: it is required and was not given (str: where it is mounted)", "disk.size=5");
    assert_built("field disks[1].mount: it is required and was not given (str: where it is mounted)", "disks:=[{\"mount\":\"a\"},{}]");
    assert_built("field disks: list of struct disk is wanted, not 5", "disks:=5");
    assert_built("field name: str of at most 8 bytes is wanted, not null", "name:=null");
    assert_built("field name: bad JSON at line 1, column 1: expected a value", "name:=x");
}

/* A secret is named, never quoted. */
static void test_secrets(void **state)
{
    (void)state;
    assert_built("field pin: what was given is not an integer (secret u32)", "pin=hunter2");
    assert_built("field pin: this value is out of range for secret u32", "pin=4294967296");
    assert_built("field pin: u32 is wanted, not this value", "pin:=\"hunter2\"");
}

static void test_strange_bytes(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    struct state_builder *b = state_builder_new(&d);
    assert_int_equal(state_builder_text(b, "name", "a\0b", 3, &err), -1);
    assert_string_equal(err.text, "field name: a str can't hold a NUL byte");
    err.code = SSX_ERROR_NONE;
    assert_int_equal(state_builder_text(b, "times", "1\0b", 3, &err), -1);
    assert_string_equal(err.text, "field times: '1' is not an integer (i32 -3..100)");
    assert_int_equal(state_builder_text(b, "blob", "a\0b", 3, NULL), 0);
    state_builder_free(b);
}

/* The golden bytes of a state: they are what every agent has to understand. */
static void test_bytes(void **state)
{
    (void)state;
    struct buf value = {0};
    struct state_builder *b = state_builder_new(&d);
    const char *words[] = {"times=100", "name=Ada", "free=1", "marks=1", "marks=2", "blob=x", NULL};
    char hex[2 * 100 + 1];
    assert_int_equal(give(b, words, NULL), 0);
    assert_int_equal(state_builder_finish(b, &value, NULL), 0);
    assert_true(buf_length(&value) <= 100);
    text_hex(hex, buf_data(&value), buf_length(&value));
    assert_string_equal(hex, "85a46e616d65a3416461a574696d657364a466726565cb3ff0000000000000a4626c6f62c40178a56d61726b73920102");
    state_builder_free(b);
    buf_free(&value);
}

/* Random well-formed values: fit or refused, and what fits has one canonical form that fits as well. */
static void test_mutations(void **state)
{
    (void)state;
    static const char json[] =
        "{\"name\":\"Ada\",\"times\":3,\"big\":99,\"share\":0.5,\"free\":2,\"on\":true,\"paint\":\"red\",\"what\":[1,{\"a\":2}],"
        "\"disk\":{\"mount\":\"/\"},\"disks\":[{\"mount\":\"/a\",\"size\":1}],\"marks\":[1,2,3],\"pin\":7,\"words\":[\"x\"]}";
    struct buf base = {0};
    unsigned fit = 0;
    assert_int_equal(json_to_msgpack(&base, json, strlen(json), NULL), 0);
    size_t n = buf_length(&base);
    srandom(5);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned char *copy = malloc(n);
        struct buf once = {0}, twice = {0};
        struct ssx_error err = {0};
        memcpy(copy, buf_data(&base), n);
        for (long hits = 1 + random() % 2; hits; hits--)
            copy[(size_t)random() % n] = (unsigned char)random();
        if (value_scan(copy, n, NULL) == 0 && state_check(&d, d.state, copy, n, &err) == 0) {
            fit++;
            assert_int_equal(schema_pack_struct(&once, d.state, copy, n), 0);
            assert_int_equal(state_check(&d, d.state, buf_data(&once), buf_length(&once), NULL), 0);
            assert_int_equal(schema_pack_struct(&twice, d.state, buf_data(&once), buf_length(&once)), 0);
            assert_int_equal(buf_length(&once), buf_length(&twice));
            assert_memory_equal(buf_data(&once), buf_data(&twice), buf_length(&once));
        }
        buf_free(&once);
        buf_free(&twice);
        free(copy);
    }
    assert_true(fit > 500);
    buf_free(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typing),          cmocka_unit_test(test_defaults_stay_at_home),
        cmocka_unit_test(test_lists_and_paths), cmocka_unit_test(test_base),
        cmocka_unit_test(test_mistakes),        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_strange_bytes),   cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

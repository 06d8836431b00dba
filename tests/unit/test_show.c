/* Values for people: the exact text on a terminal, and the exact JSON. */
#include "wire/json.h"
#include "wire/value.h"
#include "worker/show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char note[] =
    "{\"struct\":\"cpu\"}\0"
    "{\"field\":\"model\",\"type\":\"str\",\"required\":true}\0"
    "{\"field\":\"cores\",\"type\":\"u32\",\"default\":1}\0"
    "{\"struct\":\"disk\"}\0"
    "{\"field\":\"mount\",\"type\":\"str\",\"required\":true}\0"
    "{\"field\":\"size\",\"type\":\"u64\",\"default\":0}\0"
    "{\"field\":\"type\",\"type\":{\"opt\":\"str\"},\"default\":null}\0"
    "{\"struct\":\"facts\"}\0"
    "{\"field\":\"hostname\",\"type\":\"str\",\"required\":true}\0"
    "{\"field\":\"cpu\",\"type\":{\"struct\":\"cpu\"},\"required\":true}\0"
    "{\"field\":\"load\",\"type\":\"f64\",\"default\":0}\0"
    "{\"field\":\"virtual\",\"type\":\"bool\",\"default\":false}\0"
    "{\"field\":\"token\",\"type\":{\"secret\":\"str\"},\"default\":\"t\"}\0"
    "{\"field\":\"keys\",\"type\":{\"list\":{\"secret\":\"str\"}},\"default\":null}\0"
    "{\"field\":\"addresses\",\"type\":{\"list\":\"str\"},\"default\":null}\0"
    "{\"field\":\"disks\",\"type\":{\"list\":{\"struct\":\"disk\"}},\"default\":null}\0"
    "{\"field\":\"id\",\"type\":\"bin\",\"default\":null}\0"
    "{\"field\":\"extra\",\"type\":\"any\",\"default\":null}\0"
    "{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,0],\"state\":\"cpu\",\"result\":\"facts\",\"traits\":\"0\"}";

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

typedef int show_function(struct buf *, const struct schema_struct *, const void *, size_t);

static void assert_shown(show_function *show, const struct schema_struct *s, const char *json, const char *wanted)
{
    struct buf value = {0}, text = {0};
    struct ssx_error err = {0};
    if (json_to_msgpack(&value, json, strlen(json), &err))
        fail_msg("%s", err.text);
    assert_int_equal(show(&text, s, buf_data(&value), buf_length(&value)), 0);
    buf_add(&text, "", 1);
    assert_string_equal((char *)buf_data(&text), wanted);
    buf_free(&value);
    buf_free(&text);
}

static void test_a_result(void **state)
{
    (void)state;
    assert_shown(value_show, d.result,
                 "{\"hostname\":\"node1\",\"cpu\":{\"model\":\"EPYC\",\"cores\":64},\"load\":0.1,\"addresses\":[\"10.0.0.1\",\"fe80::1\"],"
                 "\"disks\":[{\"mount\":\"/\",\"size\":512,\"type\":\"ext4\"},{\"mount\":\"/h\xc3\xb6me\",\"size\":102400}],"
                 "\"id\":{\"$bin\":\"3q2+7w==\"},\"token\":\"hunter2\",\"keys\":[\"hunter3\"]}",
                 "hostname   node1\n"
                 "cpu\n"
                 "  model  EPYC\n"
                 "  cores  64\n"
                 "load       0.1\n"
                 "virtual    no\n"
                 "token      (secret)\n"
                 "keys       (secret)\n"
                 "addresses  10.0.0.1, fe80::1\n"
                 "disks\n"
                 "  mount    size  type\n"
                 "  /         512  ext4\n"
                 "  /h\xc3\xb6me  102400  -\n"
                 "id         (4 bytes: deadbeef)\n"
                 "extra      -\n");
}

static void test_lists(void **state)
{
    (void)state;
    assert_shown(value_show, NULL, "{\"a\":[\"x, y\",\"z\"],\"empty\":[],\"none\":{},\"text\":\"\"}",
                 "a\n  x, y\n  z\nempty  -\nnone   -\ntext   \"\"\n");
    assert_shown(value_show, NULL, "[1,-2,true,null]", "1, -2, yes, -\n");
    assert_shown(value_show, NULL, "[[1,2],{\"a\":1,\"b\":{\"c\":2}},3]",
                 "1, 2\n"
                 "- a  1\n"
                 "  b\n"
                 "    c  2\n"
                 "3\n");
    assert_shown(value_show, NULL, "{\"long\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"]}",
                 "long\n"
                 "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
                 "  bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n");
}

/* Elements that differ in their keys, or hold more than a line each, are no table. */
static void test_blocks(void **state)
{
    (void)state;
    assert_shown(value_show, NULL, "{\"n\":[{\"a\":1,\"bb\":2},{\"a\":3}]}", "n\n  - a   1\n    bb  2\n  - a  3\n");
    assert_shown(value_show, NULL, "{\"n\":[{\"a\":\"1\\n2\"}]}", "n\n  - a\n      1\n      2\n");
}

static void test_terminal_safety(void **state)
{
    (void)state;
    assert_shown(value_show, NULL, "{\"a\\u001b[2J\":\"\\u001b]0;x\\u0007\",\"t\":\"a\\tb\",\"m\":\"one\\n\\u001btwo\\n\"}",
                 "a\\x1b[2J  \\x1b]0;x\\x07\nt         a\\tb\nm\n  one\n  \\x1btwo\n");
}

static void test_json(void **state)
{
    (void)state;
    assert_shown(
        value_show_json, d.result,
        "{\"cpu\":{\"model\":\"m\"},\"hostname\":\"h\",\"token\":\"hunter2\",\"keys\":[\"hunter3\"],\"more\":1}",
        "{\"hostname\":\"h\",\"cpu\":{\"model\":\"m\",\"cores\":1},\"load\":0.0,\"virtual\":false,\"addresses\":[],\"disks\":[],"
        "\"id\":{\"$bin\":\"\"},\"extra\":null,\"more\":1}");
    assert_shown(value_show_json, NULL, "{\"a\":[1,{\"$f32\":1.5}]}", "{\"a\":[1,{\"$f32\":1.5}]}");
}

/* What doesn't fit the schema is shown by its own shape. */
static void test_misfits(void **state)
{
    (void)state;
    assert_shown(value_show, d.result, "5", "5\n");
    assert_shown(value_show, d.state, "{\"model\":[1],\"odd\":2}", "model  1\ncores  1\nodd    2\n");
    assert_shown(value_show, NULL, "{}", "");
}

static void test_mutations(void **state)
{
    (void)state;
    static const char json[] =
        "{\"hostname\":\"n\",\"cpu\":{\"model\":\"E\",\"cores\":6},\"load\":0.1,\"addresses\":[\"1\",\"f\"],\"disks\":[{\"mount\":\"/\","
        "\"size\":5},{\"mount\":\"/h\"}],\"extra\":[{\"a\":1,\"b\":2},{\"a\":3,\"b\":[]}]}";
    struct buf base = {0};
    assert_int_equal(json_to_msgpack(&base, json, strlen(json), NULL), 0);
    size_t n = buf_length(&base);
    srandom(6);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned char *copy = malloc(n);
        struct buf text = {0};
        memcpy(copy, buf_data(&base), n);
        for (long hits = 1 + random() % 3; hits; hits--)
            copy[(size_t)random() % n] = (unsigned char)random();
        if (value_scan(copy, n, NULL) == 0) {
            assert_int_equal(value_show(&text, i % 2 ? d.result : NULL, copy, n), 0);
            for (size_t at = 0; at < buf_length(&text); at++)
                assert_true(buf_data(&text)[at] == '\n' || buf_data(&text)[at] >= ' ');
            assert_int_equal(value_show_json(&text, i % 2 ? d.result : NULL, copy, n), 0);
        }
        buf_free(&text);
        free(copy);
    }
    buf_free(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_result),        cmocka_unit_test(test_lists), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_terminal_safety), cmocka_unit_test(test_json),  cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

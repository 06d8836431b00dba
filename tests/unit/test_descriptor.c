/* Descriptors: what is read from a note, what is refused with which words, what `describe --check` complains of. */
#include "wire/json.h"
#include "wire/value.h"
#include "worker/descriptor.h"

#include <sshexec/worker.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The ABI's numbers stand here and in the plugins' header. */
_Static_assert(DESCRIPTOR_ABI_MAJOR == SSX_ABI_MAJOR && DESCRIPTOR_ABI_MINOR == SSX_ABI_MINOR, "ABI version");
_Static_assert(TRAIT_IDEMPOTENT == SSX_IDEMPOTENT && TRAIT_REUSABLE == SSX_REUSABLE && TRAIT_TAKES_INPUT == SSX_TAKES_INPUT, "traits");
_Static_assert(TRAIT_SHOWS_OUTPUT == SSX_SHOWS_OUTPUT && TRAIT_SHOWS_RESULT == SSX_SHOWS_RESULT &&
                   TRAIT_SANDBOX_NONE == SSX_SANDBOX_NONE,
               "traits");
_Static_assert(TRAIT_RETURNS_STATE == SSX_RETURNS_STATE, "traits");

/* One note text of every kind; \n stands for the NUL at each line's end. */
static const char golden[] =
    "{\"enum\":\"fstype\"}\n"
    "{\"value\":\"ext4\"}\n"
    "{\"value\":\"xfs\"}\n"
    "{\"struct\":\"disk\"}\n"
    "{\"field\":\"mount\",\"type\":\"str\",\"required\":true,\"doc\":\"where it is mounted\"}\n"
    "{\"field\":\"size\",\"type\":\"u64\",\"default\":0,\"doc\":\"bytes\"}\n"
    "{\"field\":\"type\",\"type\":{\"enum\":\"fstype\"},\"default\":\"xfs\",\"doc\":\"file system\"}\n"
    "{\"struct\":\"unused\"}\n"
    "{\"struct\":\"all\"}\n"
    "{\"field\":\"on\",\"type\":\"bool\",\"default\":true,\"doc\":\"d\"}\n"
    "{\"field\":\"small\",\"type\":{\"i32\":[-5,100]},\"default\":-1,\"doc\":\"d\"}\n"
    "{\"field\":\"big\",\"type\":{\"u64\":[1,18446744073709551615]},\"default\":18446744073709551615,\"doc\":\"d\"}\n"
    "{\"field\":\"share\",\"type\":{\"f64\":[0,1.5]},\"default\":1,\"doc\":\"d\"}\n"
    "{\"field\":\"any_f\",\"type\":\"f64\",\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"label\",\"type\":{\"str\":64},\"default\":\"x\",\"doc\":\"d\"}\n"
    "{\"field\":\"blob\",\"type\":{\"bin\":9},\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"what\",\"type\":\"any\",\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"kind\",\"type\":{\"enum\":\"fstype\"},\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"disk\",\"type\":{\"opt\":{\"struct\":\"disk\"}},\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"disks\",\"type\":{\"list\":{\"struct\":\"disk\"}},\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"pin\",\"type\":{\"secret\":{\"opt\":\"i64\"}},\"default\":null,\"doc\":\"d\"}\n"
    "{\"field\":\"words\",\"type\":{\"rest\":{\"list\":{\"str\":4}}},\"default\":null,\"doc\":\"only these\"}\n"
    "{\"worker\":\"disks\",\"version\":\"1.2\",\"abi\":[1,0],\"state\":\"all\",\"result\":\"disk\",\"items\":\"disk\",\"traits\":\"SSX_IDEMPOTENT | SSX_SHOWS_RESULT\",\"doc\":\"what\"}\n";

/* Note text from lines ended by \n. The caller frees it. */
static char *note_of(const char *lines, size_t *n)
{
    char *note = malloc(strlen(lines) + 1);
    assert_non_null(note);
    strcpy(note, lines);
    *n = strlen(lines);
    for (size_t i = 0; i < *n; i++)
        if (note[i] == '\n')
            note[i] = 0;
    return note;
}

static int parse(struct descriptor *out, const char *lines, struct ssx_error *err)
{
    size_t n;
    char *note = note_of(lines, &n);
    int rc = descriptor_parse(out, note, n, err);
    free(note);
    return rc;
}

static struct descriptor parse_golden(void)
{
    struct descriptor d;
    struct ssx_error err = {0};
    if (parse(&d, golden, &err))
        fail_msg("%s", err.text);
    return d;
}

static void assert_default(const struct schema_field *f, const char *json)
{
    struct buf text = {0};
    assert_int_equal(json_from_msgpack(&text, buf_data(&f->default_value), buf_length(&f->default_value), NULL), 0);
    buf_add(&text, "", 1);
    assert_string_equal((char *)buf_data(&text), json);
    buf_free(&text);
}

static void test_worker(void **state)
{
    (void)state;
    struct descriptor d = parse_golden();
    assert_string_equal(d.type, "disks");
    assert_string_equal(d.version, "1.2");
    assert_string_equal(d.doc, "what");
    assert_int_equal(d.abi_major, 1);
    assert_int_equal(d.abi_minor, 0);
    assert_int_equal(d.traits, TRAIT_IDEMPOTENT | TRAIT_SHOWS_RESULT);
    assert_int_equal(d.struct_count, 3);
    assert_int_equal(d.enum_count, 1);
    assert_string_equal(d.state->name, "all");
    assert_string_equal(d.result->name, "disk");
    assert_int_equal(buf_length(&d.note), strlen(golden));
    struct ssx_error err = {0};
    if (descriptor_check(&d, &err))
        fail_msg("%s", err.text);
    descriptor_dispose(&d);
}

/* ABI 1.1: items of a declared type. They are a part of the schema, so of its digest. */
static void test_items(void **state)
{
    (void)state;
    static const char structs[] =
        "{\"struct\":\"item\"}\n{\"field\":\"n\",\"type\":\"u32\",\"required\":true,\"doc\":\"d\"}\n{\"struct\":\"s\"}\n";
    static const char *const workers[] = {
        "{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,1],\"state\":\"s\",\"result\":\"s\",\"items\":\"item\",\"traits\":\"SSX_RETURNS_STATE\"}\n",
        "{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,1],\"state\":\"s\",\"result\":\"s\",\"traits\":\"0\"}\n",
        "{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,1],\"state\":\"s\",\"result\":\"s\",\"items\":\"thing\",\"traits\":\"0\"}\n",
    };
    struct descriptor d[3];
    for (size_t i = 0; i < 3; i++) {
        char lines[512];
        struct ssx_error err = {0};
        snprintf(lines, sizeof lines, "%s%s", structs, workers[i]);
        int rc = parse(&d[i], lines, &err);
        assert_int_equal(rc, i == 2 ? -1 : 0);
        assert_true(rc == 0 || strstr(err.text, "the struct of its items stands in no earlier note"));
    }
    assert_string_equal(d[0].items->name, "item");
    assert_int_equal(d[0].traits, TRAIT_RETURNS_STATE);
    assert_null(d[1].items);
    assert_string_not_equal(d[0].schema_digest, d[1].schema_digest);
    descriptor_dispose(&d[0]);
    descriptor_dispose(&d[1]);
}

static void test_fields(void **state)
{
    (void)state;
    static const struct { const char *name, *type, *json; } wanted[] = {
        {"on", "bool", "true"},
        {"small", "i32 -5..100", "-1"},
        {"big", "u64 1..18446744073709551615", "18446744073709551615"},
        {"share", "f64 0..1.5", "1.0"},
        {"any_f", "f64", "0.0"},
        {"label", "str of at most 64 bytes", "\"x\""},
        {"blob", "bin of at most 9 bytes", "{\"$bin\":\"\"}"},
        {"what", "any", "null"},
        {"kind", "enum ext4|xfs", "\"ext4\""},
        {"disk", "optional struct disk", "null"},
        {"disks", "list of struct disk", "[]"},
        {"pin", "secret optional i64", "null"},
        {"words", "list of str of at most 4 bytes", "[]"},
    };
    struct descriptor d = parse_golden();
    char text[256];
    assert_int_equal(d.state->count, sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < d.state->count; i++) {
        const struct schema_field *f = schema_field_find(d.state, wanted[i].name, strlen(wanted[i].name));
        assert_ptr_equal(f, &d.state->fields[i]);
        assert_string_equal(schema_type_describe(&f->type, text, sizeof text), wanted[i].type);
        assert_default(f, wanted[i].json);
        assert_false(f->required);
    }
    assert_null(schema_field_find(d.state, "o", 1));
    assert_string_equal(schema_field_rest(d.state)->name, "words");
    assert_null(schema_field_rest(d.result));
    assert_true(d.result->fields[0].required);
    assert_string_equal(d.result->fields[0].doc, "where it is mounted");
    descriptor_dispose(&d);
}

/* The digest covers the lines in use, and no others. */
static void test_digest(void **state)
{
    (void)state;
    struct descriptor d = parse_golden(), other;
    char *lines = strdup(golden);
    assert_string_equal(d.schema_digest, "d53326c781e29a8f");
    memcpy(strstr(lines, "unused"), "UNUSED", 6);
    memcpy(strstr(lines, "1.2"), "1.3", 3);
    assert_int_equal(parse(&other, lines, NULL), 0);
    assert_string_equal(other.schema_digest, d.schema_digest);
    descriptor_dispose(&other);
    memcpy(strstr(lines, "ext4"), "EXT4", 4);
    assert_int_equal(parse(&other, lines, NULL), 0);
    assert_string_not_equal(other.schema_digest, d.schema_digest);
    descriptor_dispose(&other);
    free(lines);
    descriptor_dispose(&d);
}

#define WORKER_LINE "{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,0],\"state\":\"s\",\"result\":\"s\",\"traits\":\"0\",\"doc\":\"\"}\n"
#define FIELD(type, rest) "{\"struct\":\"s\"}\n{\"field\":\"f\",\"type\":" type "," rest ",\"doc\":\"d\"}\n"

static void assert_refused(const char *lines, const char *part)
{
    struct descriptor d;
    struct ssx_error err = {0};
    assert_int_equal(parse(&d, lines, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    if (!strstr(err.text, part))
        fail_msg("wanted '%s' in '%s'", part, err.text);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused("", "the descriptor is empty");
    assert_refused("{\"struct\":\"s\"}", "cut short");
    assert_refused("{\"struct\":\"s\"}\n", "names no worker");
    assert_refused(WORKER_LINE, "line 1 of the descriptor is bad: its state or result stands in no earlier note: {\"worker\"");
    assert_refused("{\"struct\":\"s\"}\n" WORKER_LINE WORKER_LINE, "line 3 of the descriptor is bad: there is a worker already");
    assert_refused("{\"struct\":\"s\"}\n{\"struct\":\"s\"}\n", "line 2 of the descriptor is bad: there is a struct of that name already");
    assert_refused("{\"struct\":\"9\"}\n", "a name has letters");
    assert_refused("{\"field\":\"f\",\"type\":\"str\",\"required\":true}\n", "a field stands behind no struct");
    assert_refused("{\"struct\":\"s\"}\n{\"value\":\"v\"}\n", "a value stands behind no enum");
    assert_refused("{\"enum\":\"e\"}\n{\"value\":\"v\"}\n{\"value\":\"v\"}\n",
                   "line 3 of the descriptor is bad: the enum has a value of that name already");
    assert_refused(FIELD("\"str\"", "\"required\":true") "{\"field\":\"f\",\"type\":\"str\",\"required\":true}\n",
                   "has a field of that name already");
    assert_refused(FIELD("\"str\"", "\"x\":1"), "it is neither required nor has a default");
    assert_refused(FIELD("\"i33\"", "\"required\":true"), "its type is none that this ABI knows");
    assert_refused(FIELD("{\"i32\":[5,1]}", "\"required\":true"), "the range is empty");
    assert_refused(FIELD("{\"i32\":[0,4294967296]}", "\"required\":true"), "a range is two integers that the kind can hold");
    assert_refused(FIELD("{\"i32\":[1,MAX]}", "\"default\":1"), "line 2 of the descriptor is bad: bad JSON at line 1");
    assert_refused(FIELD("{\"struct\":\"s\"}", "\"required\":true"), "its type stands in no earlier note");
    assert_refused(FIELD("{\"rest\":\"str\"}", "\"required\":true"), "only a field that is a list can be the rest");
    assert_refused(FIELD("{\"list\":{\"rest\":{\"list\":\"str\"}}}", "\"required\":true"), "only a field that is a list can be the rest");
    assert_refused("{\"enum\":\"e\"}\n" FIELD("{\"enum\":\"e\"}", "\"required\":true"), "its type stands in no earlier note");
    assert_refused("[1]\n", "it is no field, value, struct, enum or worker");
    assert_refused(
        "{\"struct\":\"s\"}\n{\"worker\":\"W\",\"version\":\"1\",\"abi\":[1,0],\"state\":\"s\",\"result\":\"s\"}\n",
        "a worker's name has");
}

static void test_levels(void **state)
{
    (void)state;
    struct buf lines = {0};
    for (int i = 0; i < 17; i++) { /* each struct holds the one before it */
        buf_printf(&lines, "{\"struct\":\"s%d\"}\n", i);
        if (i)
            buf_printf(&lines, "{\"field\":\"f\",\"type\":{\"struct\":\"s%d\"},\"default\":null}\n", i - 1);
    }
    buf_add(&lines, "", 1);
    assert_refused((char *)buf_data(&lines), "more than 16 levels");
    buf_free(&lines);
    buf_add_text(&lines, "{\"struct\":\"s\"}\n{\"field\":\"f\",\"type\":");
    for (int i = 0; i < 17; i++)
        buf_add_text(&lines, "{\"list\":");
    buf_add_text(&lines, "\"str\"");
    for (int i = 0; i < 17; i++)
        buf_add_text(&lines, "}");
    buf_add(&lines, ",\"required\":true}\n", 19);
    assert_refused((char *)buf_data(&lines), "more than 16 levels");
    buf_free(&lines);
}

static void test_limits(void **state)
{
    (void)state;
    struct buf lines = {0};
    struct descriptor d;
    struct ssx_error err = {0};
    for (int i = 0; i < 257; i++)
        buf_printf(&lines, "%s{\"field\":\"f%d\",\"type\":\"str\",\"required\":true}\n", i ? "" : "{\"struct\":\"s\"}\n", i);
    buf_add(&lines, "", 1);
    assert_refused((char *)buf_data(&lines), "a struct has 256 fields at most");
    buf_free(&lines);
    char *much = calloc(1, DESCRIPTOR_NOTE_MAX + 1);
    assert_int_equal(descriptor_parse(&d, much, DESCRIPTOR_NOTE_MAX + 1, &err), -1);
    assert_string_equal(err.text, "the descriptor is larger than the limit of 262144 bytes");
    err.code = SSX_ERROR_NONE;
    assert_int_equal(descriptor_parse(&d, much, DESCRIPTOR_LINES_MAX + 1, &err), -1);
    assert_string_equal(err.text, "the descriptor has more lines than the limit of 4096");
    free(much);
}

/* What the preprocessor lets through: the plugin works, the author is told. */
static void assert_complaint(const char *lines, const char *message)
{
    struct descriptor d;
    struct ssx_error err = {0};
    if (parse(&d, lines, &err))
        fail_msg("%s", err.text);
    assert_int_equal(descriptor_check(&d, &err), -1);
    assert_string_equal(err.text, message);
    descriptor_dispose(&d);
}

static void test_check(void **state)
{
    (void)state;
    assert_complaint(FIELD("\"i32\"", "\"default\":INT_MAX") WORKER_LINE,
                     "the default of s.f is no literal: INT_MAX; write the value itself, as JSON would");
    assert_complaint(FIELD("\"i32\"", "\"default\":\"a\" \"b\"") WORKER_LINE,
                     "the default of s.f is no literal: \"a\" \"b\"; write the value itself, as JSON would");
    assert_complaint(FIELD("{\"i32\":[1,9]}", "\"default\":10") WORKER_LINE, "the default of s.f: 10 is out of range for i32 1..9");
    assert_complaint(FIELD("{\"i32\":[1,9]}", "\"default\":null") WORKER_LINE, "the default of s.f: 0 is out of range for i32 1..9");
    assert_complaint(FIELD("{\"str\":2}", "\"default\":\"abc\"") WORKER_LINE, "the default of s.f: 3 bytes are too many, 2 is the most");
    assert_complaint(FIELD("\"bool\"", "\"default\":1") WORKER_LINE, "the default of s.f: bool is wanted, not 1");
    assert_complaint(FIELD("{\"list\":\"u32\"}", "\"default\":[1]") WORKER_LINE,
                     "the default of s.f is not empty; a list or a struct has no other default");
    assert_complaint("{\"struct\":\"r\"}\n{\"field\":\"x\",\"type\":\"str\",\"required\":true,\"doc\":\"d\"}\n" FIELD(
                         "{\"struct\":\"r\"}", "\"default\":null") WORKER_LINE,
                     "the default of s.f.x: it is required and was not given (str: d)");
    assert_complaint(
        "{\"struct\":\"s\"}\n{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,0],\"state\":\"s\",\"result\":\"s\",\"traits\":\"(SSX_REUSABLE|MINE)\"}\n",
        "MINE is no trait; write out the SSX_ words, joined by |");
    assert_complaint(
        "{\"struct\":\"r\"}\n{\"field\":\"f\",\"type\":{\"rest\":{\"list\":\"str\"}},\"default\":null}\n{\"struct\":\"s\"}\n" WORKER_LINE,
        "r.f is a rest field, but r is not the state; only the state has words after --");
    assert_complaint("{\"struct\":\"s\"}\n{\"field\":\"f\",\"type\":{\"rest\":{\"list\":\"str\"}},\"default\":null}\n"
                     "{\"field\":\"g\",\"type\":{\"rest\":{\"list\":\"str\"}},\"default\":null}\n" WORKER_LINE,
                     "the state s has 2 rest fields; one at most can take the words after --");
    assert_complaint("{\"struct\":\"s\"}\n" WORKER_LINE, "the worker w has no doc: say in a few words what it does");
    assert_complaint(
        "{\"struct\":\"s\"}\n{\"field\":\"f\",\"type\":\"i32\",\"default\":1}\n{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,0],\"state\":\"s\",\"result\":\"s\",\"doc\":\"d\"}\n",
        "s.f has no doc: say in a few words what it is");
}

static void test_abi(void **state)
{
    (void)state;
    size_t n;
    unsigned major = 0, minor = 0;
    char *note = note_of("{\"novel\"\n{\"worker\":\"w\",\"abi\":[3,4]}\n", &n);
    assert_int_equal(descriptor_abi(note, n, &major, &minor), 0);
    assert_int_equal(major, 3);
    assert_int_equal(minor, 4);
    assert_int_equal(descriptor_abi(note, 9, &major, &minor), -1);
    free(note);
}

/* Parsed or refused with a message; what was parsed can be judged and described. */
static void test_mutations(void **state)
{
    (void)state;
    size_t n;
    unsigned parsed = 0;
    char *note = note_of(golden, &n);
    static const char bytes[] = "{}[]\",:0919eE-+.\\u\0nstrift";
    srandom(4);
    for (unsigned i = 0; i < 20000; i++) {
        size_t cut = i % 16 == 0 ? (size_t)random() % (n + 1) : n;
        char *copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, note, cut);
        for (long hits = 1 + random() % 2; cut && hits; hits--)
            copy[(size_t)random() % cut] = random() % 4 ? bytes[(size_t)random() % (sizeof bytes - 1)] : (char)random();
        struct descriptor d;
        struct ssx_error err = {0};
        if (descriptor_parse(&d, copy, cut, &err) == 0) {
            char text[64];
            parsed++;
            descriptor_check(&d, NULL);
            for (size_t f = 0; f < d.state->count; f++)
                schema_type_describe(&d.state->fields[f].type, text, sizeof text);
            descriptor_dispose(&d);
        } else {
            assert_true(err.text[0]);
        }
        free(copy);
    }
    assert_true(parsed > 500);
    free(note);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker),    cmocka_unit_test(test_items),    cmocka_unit_test(test_fields),
        cmocka_unit_test(test_digest),    cmocka_unit_test(test_refusals), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_check),    cmocka_unit_test(test_abi),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A bundle's manifest: one text for one content, hostile text refused with its line, the variant for a node, no way
 * back past a serial. */
#include "bundle/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define HEAD "sshexec-bundle 1\nname web\nversion 1.4\nserial 14\n"
#define HELLO "type hello 1.0 0123456789abcdef\n"
#define GOLDEN HEAD "type facts 2.0 00000000000000ff\nvariant x86_64 any 7 " C "\n" HELLO "variant aarch64 glibc-2.17 5 " A "\nvariant x86_64 glibc-2.34 6 " B "\n" \
    "changelog Runs on arm64, too.\nchangelog\nchangelog \t- also: caf\xc3\xa9\n"

static int parse(struct manifest *m, const char *text, struct ssx_error *err) { return manifest_parse(m, text, strlen(text), err); }

static void assert_refused(const char *text, size_t n, const char *part)
{
    struct manifest m;
    struct ssx_error err = {0};
    char *copy = malloc(n ? n : 1); /* exactly that long, so that a sanitizer sees a step too far */
    memcpy(copy, text, n);
    if (manifest_parse(&m, copy, n, &err) == 0)
        fail_msg("taken: %.*s", (int)n, text);
    free(copy);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, part);
}

static void refused(const char *text, const char *part) { assert_refused(text, strlen(text), part); }

static struct variant variant(const char *arch, const char *libc, int fill)
{
    struct variant v = {.size = 1};
    snprintf(v.arch, sizeof v.arch, "%s", arch);
    snprintf(v.libc, sizeof v.libc, "%s", libc);
    memset(v.digest.bytes, fill, DIGEST_SIZE);
    return v;
}

static struct manifest_type type(const char *name)
{
    struct manifest_type t = {.version = "1.0", .schema = "0123456789abcdef"};
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

/* --- tests --- */

static void a_manifest_says_what_it_holds(void **state)
{
    (void)state;
    struct manifest m;
    assert_int_equal(parse(&m, GOLDEN, NULL), 0);
    assert_string_equal(m.name, "web");
    assert_string_equal(m.version, "1.4");
    assert_int_equal(m.serial, 14);
    assert_int_equal(m.type_count, 2);
    assert_int_equal(m.variant_count, 3);
    assert_string_equal(m.types[1].name, "hello");
    assert_string_equal(m.types[1].schema, "0123456789abcdef");
    assert_true(m.types[1].first == 1 && m.types[1].count == 2);
    assert_string_equal(m.variants[2].libc, "glibc-2.34");
    assert_int_equal(m.variants[2].size, 6);
    assert_int_equal(m.variants[2].digest.bytes[31], 0xbb);
    assert_ptr_equal(manifest_type_of(&m, &m.variants[0]), &m.types[0]);
    assert_ptr_equal(manifest_type_of(&m, &m.variants[2]), &m.types[1]);
    static const char changelog[] = "Runs on arm64, too.\n\n\t- also: caf\xc3\xa9\n";
    assert_int_equal(buf_length(&m.changelog), sizeof changelog - 1);
    assert_memory_equal(buf_data(&m.changelog), changelog, sizeof changelog - 1);
    manifest_dispose(&m);
}

static void one_content_has_one_text(void **state)
{
    (void)state;
    static const struct { const char *type, *arch, *libc; int fill; } parts[] = {
        {"hello", "x86_64", "glibc-2.34", 1}, {"facts", "x86_64", "any", 2}, {"hello", "aarch64", "glibc-2.17", 3},
            {"zoo", "x86_64", "musl", 4}, {"hello", "x86_64", "glibc-2.17", 5},
    };
    struct buf first = {0}, other = {0};
    for (size_t turn = 0; turn < 5; turn++) {
        struct manifest m = {.name = "web", .version = "1", .serial = 0};
        struct buf *text = turn ? &other : &first;
        for (size_t i = 0; i < 5; i++) {
            size_t at = (i * 2 + turn) % 5; /* another order each time */
            struct manifest_type t = type(parts[at].type);
            struct variant v = variant(parts[at].arch, parts[at].libc, parts[at].fill);
            assert_int_equal(manifest_add(&m, &t, &v, NULL), 0);
        }
        buf_free(&other);
        assert_int_equal(manifest_format(text, &m, NULL), 0);
        assert_int_equal(buf_length(text), buf_length(&first));
        assert_memory_equal(buf_data(text), buf_data(&first), buf_length(&first));
        manifest_dispose(&m);
    }
    struct manifest again;
    assert_int_equal(manifest_parse(&again, buf_data(&first), buf_length(&first), NULL), 0);
    assert_int_equal(again.types[1].count, 3);
    manifest_dispose(&again);
    buf_free(&first);
    buf_free(&other);
}

static void other_forms_of_the_same_are_refused(void **state)
{
    (void)state;
    refused(HEAD HELLO "variant x86_64  any 7 " A "\n", "line 6");
    refused(HEAD HELLO "variant x86_64 any 07 " A "\n", "line 6");
    refused(HEAD HELLO "variant x86_64 any +7 " A "\n", "line 6");
    refused(HEAD HELLO "variant x86_64 any 7 " A " \n", "line 6");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\r\n", "line 6");
    refused(HEAD HELLO "variant x86_64 any 7 AA" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" "\n", "line 6");
    refused(HEAD HELLO "variant x86_64 any 7 " A, "line 6");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\n\n", "line 7");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\n# a comment\n", "line 7");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\nchangelog \n", "line 7");
    refused("sshexec-bundle 1\nversion 1.4\nname web\nserial 14\n" HELLO "variant x86_64 any 7 " A "\n", "line 2");
    refused(HEAD "serial 14\n" HELLO "variant x86_64 any 7 " A "\n", "line 5");
    refused(HEAD "changelog x\n" HELLO "variant x86_64 any 7 " A "\n", "line 5");
    refused("sshexec-bundle 1\nname web\nversion 1.4\n" HELLO "variant x86_64 any 7 " A "\n", "line 4"); /* no serial */
}

static void what_breaks_a_rule_is_named(void **state)
{
    (void)state;
    struct manifest m;
    assert_int_equal(manifest_parse(&m, NULL, 0, NULL), -1); /* an OFFER's that has none */
    refused("", "does not begin with");
    refused("sshexec-bundle 2\n", "or of a newer one");
    refused(HEAD, "0 types");
    refused(HEAD HELLO, "no variant");
    refused(HEAD "variant x86_64 any 7 " A "\n", "line 5");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\nvariant x86_64 any 8 " B "\n", "two variants of hello for x86_64 any");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\nvariant aarch64 any 8 " B "\n", "not in their order");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\n" HELLO "variant x86_64 any 8 " B "\n", "hello comes twice");
    refused(HEAD HELLO "variant aarch64 any 7 " A "\nvariant x86_64 any 7 " A "\n", "the same object");
    refused(HEAD HELLO "variant x86_64 any 0 " A "\n", "0 bytes");
    refused(HEAD HELLO "variant x86_64 any 268435457 " A "\n", "268435457 bytes");
    refused(HEAD HELLO "variant x86_64 any 9223372036854775808 " A "\n", "9223372036854775808 bytes");
    refused(HEAD HELLO "variant x86_64 any 18446744073709551617 " A "\n", "line 6");
    refused(HEAD HELLO "variant x86_64 glibc 7 " A "\n", "is no machine");
    refused(HEAD HELLO "variant x86_64 glibc-2..3 7 " A "\n", "is no machine");
    refused(HEAD HELLO "variant ../x any 7 " A "\n", "is no machine");
    refused(HEAD "type ../hello 1.0 0123456789abcdef\nvariant x86_64 any 7 " A "\n", "is no name");
    refused(HEAD "type hello 1/0 0123456789abcdef\nvariant x86_64 any 7 " A "\n", "is no name");
    refused(HEAD "type hello 1.0 0123\nvariant x86_64 any 7 " A "\n", "is no name");
    refused("sshexec-bundle 1\nname Web\nversion 1.4\nserial 14\n" HELLO "variant x86_64 any 7 " A "\n", "no bundle's name");
    refused("sshexec-bundle 1\nname web\nversion .4\nserial 14\n" HELLO "variant x86_64 any 7 " A "\n", "is no version");
    refused("sshexec-bundle 1\nname web\nversion 1.4\nserial 9223372036854775808\n" HELLO "variant x86_64 any 7 " A "\n",
            "serial is larger");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\nchangelog \x1b[2J\n", "control character");
    refused(HEAD HELLO "variant x86_64 any 7 " A "\nchangelog \xff\n", "UTF-8");
    static const char nul[] = HEAD HELLO "variant x86_64 any 7 " A "\0\n";
    assert_refused(nul, sizeof nul - 1, "line 6");
    static const char nul_in_log[] = HEAD HELLO "variant x86_64 any 7 " A "\nchangelog a\0b\n";
    assert_refused(nul_in_log, sizeof nul_in_log - 1, "control character");
}

static void nothing_grows_beyond_its_limit(void **state)
{
    (void)state;
    struct buf text = {0};
    buf_add_text(&text, HEAD);
    for (unsigned i = 0; i < MANIFEST_TYPES_MAX + 1; i++)
        buf_printf(&text, "type t%06u 1 0123456789abcdef\nvariant x86_64 any 1 %064x\n", i, i);
    assert_refused((char *)buf_data(&text), buf_length(&text), "line");
    buf_free(&text);
    buf_add_text(&text, HEAD HELLO);
    for (unsigned i = 0; i < MANIFEST_VARIANTS_MAX + 1; i++)
        buf_printf(&text, "variant a%06u any 1 %064x\n", i, i);
    assert_refused((char *)buf_data(&text), buf_length(&text), "line");
    buf_free(&text);
    buf_add_text(&text, HEAD HELLO);
    for (unsigned i = 0; i < 5; i++)
        buf_printf(&text, "variant a%u any 268435456 %064x\n", i, i);
    assert_refused((char *)buf_data(&text), buf_length(&text), "bytes together");
    buf_free(&text);
    buf_add_text(&text, HEAD HELLO "variant x86_64 any 1 " A "\n");
    while (buf_length(&text) < MANIFEST_MAX + 10)
        buf_add_text(&text, "changelog 012345678901234567890123456789\n");
    assert_refused((char *)buf_data(&text), buf_length(&text), "the limit is");
    text.end = text.start + MANIFEST_MAX - 100;
    while (buf_data(&text)[buf_length(&text) - 1] != '\n')
        text.end--;
    assert_refused((char *)buf_data(&text), buf_length(&text), "its changelog has");
    buf_free(&text);
}

/* Whatever is done to a manifest: it is refused, or it is another one that is in its one form. */
static void no_change_of_a_byte_does_harm(void **state)
{
    (void)state;
    char text[sizeof GOLDEN];
    for (size_t at = 0; at < sizeof GOLDEN - 1; at++)
        for (unsigned value = 0; value < 256; value++) {
            struct manifest m;
            struct buf again = {0};
            memcpy(text, GOLDEN, sizeof text);
            text[at] = (char)value;
            if (manifest_parse(&m, text, sizeof text - 1, NULL))
                continue;
            assert_int_equal(manifest_format(&again, &m, NULL), 0);
            assert_int_equal(buf_length(&again), sizeof text - 1);
            assert_memory_equal(buf_data(&again), text, sizeof text - 1);
            buf_free(&again);
            manifest_dispose(&m);
        }
    for (size_t n = 0; n < sizeof GOLDEN - 1; n++) {
        struct manifest m;
        char *cut = malloc(n ? n : 1);
        memcpy(cut, GOLDEN, n);
        if (manifest_parse(&m, cut, n, NULL) == 0) { /* whole lines of the changelog can be missing: then it is another one */
            assert_int_equal(cut[n - 1], '\n');
            manifest_dispose(&m);
        }
        free(cut);
    }
}

static void variants_of_a_type_agree(void **state)
{
    (void)state;
    struct manifest m = {.name = "web", .version = "1"};
    struct manifest_type t = type("hello");
    struct variant a = variant("x86_64", "any", 1), b = variant("aarch64", "any", 2);
    struct ssx_error err = {0};
    assert_int_equal(manifest_add(&m, &t, &a, &err), 0);
    strcpy(t.version, "1.1");
    assert_int_equal(manifest_add(&m, &t, &b, &err), -1);
    assert_non_null(strstr(err.text, "hello 1.1"));
    manifest_dispose(&m);
}

static void choose(const char *arch, const char *libc, const char *wanted)
{
    static const char *const libcs[] = {"glibc-2.17", "glibc-2.34", "glibc-2.4", "any", "musl"};
    struct manifest m = {.name = "web", .version = "1"};
    struct manifest_type t = type("hello");
    struct ssx_error err = {0};
    for (size_t i = 0; i < 5; i++) {
        struct variant v = variant(i == 3 ? "riscv64" : i == 4 ? "armv7l" : "x86_64", libcs[i], (int)i);
        assert_int_equal(manifest_add(&m, &t, &v, NULL), 0);
    }
    const struct variant *v = manifest_choose(&m, "web-1.ssx", "hello", arch, libc, &err);
    if (v)
        assert_string_equal(v->libc, wanted);
    else if (!strstr(err.text, wanted))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, wanted);
    assert_int_equal(v ? 0 : SSX_ERROR_REFUSED, err.code);
    manifest_dispose(&m);
}

static void a_node_gets_the_variant_that_fits_it(void **state)
{
    (void)state;
    choose("x86_64", "glibc 2.36", "glibc-2.34");
    choose("x86_64", "glibc 2.34", "glibc-2.34");
    choose("x86_64", "glibc 2.33", "glibc-2.17");
    choose("x86_64", "glibc 2.5", "glibc-2.4");
    choose("x86_64", "", "glibc-2.4");
    choose("riscv64", "glibc 2.36", "any");
    choose("riscv64", "musl", "any");
    choose("riscv64", "", "any");
    choose("armv7l", "musl", "musl");
    choose("armv7l", "glibc 2.36", "no armv7l variant of hello in web-1.ssx for glibc 2.36");
    choose("x86_64", "musl", "no x86_64 variant of hello in web-1.ssx for musl");
    choose("x86_64", "glibc 2.3", "no x86_64 variant of hello in web-1.ssx for glibc 2.3");
    choose("aarch64", "glibc 2.36", "no aarch64 variant of hello in web-1.ssx");
}

static void an_unknown_type_is_named(void **state)
{
    (void)state;
    struct manifest m;
    struct ssx_error err = {0};
    assert_int_equal(parse(&m, GOLDEN, NULL), 0);
    assert_null(manifest_choose(&m, "web.ssx", "helo", "x86_64", "", &err));
    assert_int_equal(err.code, SSX_ERROR_UNKNOWN_TYPE);
    assert_string_equal(err.text, "no type helo in web.ssx");
    manifest_dispose(&m);
}

static void an_older_serial_is_a_way_back(void **state)
{
    (void)state;
    struct manifest now = {.name = "web", .version = "1.4", .serial = 14}, next = {.name = "web", .version = "1.3", .serial = 13};
    struct ssx_error err = {0};
    assert_int_equal(manifest_check_serial(&now, &next, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    assert_string_equal(err.text, "web 1.3 has the serial 13, older than the 14 of 1.4, which is there");
    next.serial = 0; /* none was given: then nobody can tell that it is newer */
    assert_int_equal(manifest_check_serial(&now, &next, NULL), -1);
    next.serial = 14;
    assert_int_equal(manifest_check_serial(&now, &next, NULL), 0);
    next.serial = MANIFEST_SERIAL_MAX;
    assert_int_equal(manifest_check_serial(&now, &next, NULL), 0);
    next = (struct manifest){.name = "db", .version = "1", .serial = 1};
    assert_int_equal(manifest_check_serial(&now, &next, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_says_what_it_holds),
        cmocka_unit_test(one_content_has_one_text),
        cmocka_unit_test(other_forms_of_the_same_are_refused),
        cmocka_unit_test(what_breaks_a_rule_is_named),
        cmocka_unit_test(nothing_grows_beyond_its_limit),
        cmocka_unit_test(no_change_of_a_byte_does_harm),
        cmocka_unit_test(variants_of_a_type_agree),
        cmocka_unit_test(a_node_gets_the_variant_that_fits_it),
        cmocka_unit_test(an_unknown_type_is_named),
        cmocka_unit_test(an_older_serial_is_a_way_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Generations: one bundle takes the place of the one of its name, others stay; nothing but whole generations comes into
 * force, and damaged text is refused. */
#include "base/file.h"
#include "base/tree.h"
#include "bundle/generation.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static char top[64];
static struct store store;

static int set_up(void **state)
{
    (void)state;
    char dir[96];
    strcpy(top, "/tmp/test_generation.XXXXXX");
    snprintf(dir, sizeof dir, "%s/store", mkdtemp(top) ? top : "");
    store_open(&store, dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_close(&store);
    return tree_remove(top);
}

static struct digest digest_of_text(const char *text)
{
    struct digest d;
    digest_of(&d, text, strlen(text));
    return d;
}

/* A bundle of one type, whose object and manifest are digests of the version. */
static void make(struct buf *out, const char *name, const char *version, uint64_t serial, const char *type)
{
    struct generation_bundle b = {.serial = serial, .manifest = digest_of_text(version)};
    struct generation_type t = {.object = digest_of_text(version)};
    snprintf(b.name, sizeof b.name, "%s", name);
    snprintf(b.version, sizeof b.version, "%s", version);
    snprintf(b.signer, sizeof b.signer, "%s", serial > 1 ? "ada@example.org, bob" : "");
    snprintf(t.name, sizeof t.name, "%s", type);
    snprintf(t.version, sizeof t.version, "1.0");
    assert_int_equal(generation_add_bundle(out, &b) | generation_add_type(out, &t) | buf_add(out, "", 1), 0);
}

static int deploy(const char *name, const char *version, uint64_t serial, const char *type, bool downgrade, unsigned *number,
                  struct ssx_error *err)
{
    struct buf text = {0};
    struct digest manifest = digest_of_text(version);
    make(&text, name, version, serial, type);
    int rc = generation_prepare(&store, &manifest, &text, err) ||
                     generation_switch(&store, &manifest, "ada@laptop", downgrade, number, err)
                 ? -1
                 : 0;
    buf_free(&text);
    return rc;
}

/* Which version of which bundle has the type now; "": none. */
static const char *has(const char *type)
{
    static char out[512];
    struct buf text = {0};
    struct generation_bundle b;
    struct generation_type t;
    assert_int_equal(generation_load(&text, &store, generation_current(&store), NULL), 0);
    out[0] = 0;
    if (generation_find(&text, type, &b, &t))
        snprintf(out, sizeof out, "%s %s %s", b.name, b.version, b.signer);
    buf_free(&text);
    return out;
}

static void test_switching(void **state)
{
    (void)state;
    unsigned number = 9;
    struct ssx_error err = {0}, older = {0}, twice = {0};
    assert_int_equal(generation_current(&store), 0);
    assert_string_equal(has("hello"), "");
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, &err), 0);
    assert_int_equal(number, 1);
    assert_int_equal(deploy("db", "2.0", 7, "query", false, &number, &err), 0);
    assert_int_equal(deploy("web", "1.1", 2, "hello", false, &number, &err), 0);
    assert_int_equal(number, 3);
    assert_int_equal(generation_current(&store), 3);
    assert_string_equal(has("hello"), "web 1.1 ada@example.org, bob");
    assert_string_equal(has("query"), "db 2.0 ada@example.org, bob");
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, &older), -1);
    assert_non_null(strstr(older.text, "web 1.0 has the serial 1, older than the 2 of 1.1"));
    assert_int_equal(deploy("other", "5", 1, "query", false, &number, &twice), -1);
    assert_non_null(strstr(twice.text, "holds the type query, which the node has from the bundle db 2.0"));
    assert_string_equal(has("hello"), "web 1.1 ada@example.org, bob");
    assert_int_equal(deploy("web", "1.0", 1, "hello", true, &number, &err), 0);
    assert_string_equal(has("hello"), "web 1.0 ");
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, &err), 0); /* as another sender of the same bundle */
    assert_int_equal(number, 4);
}

static int object_to(void *user, const struct buf *text, struct ssx_error *err)
{
    (void)text;
    (void)err;
    return *(int *)user;
}

static void test_rolling_back(void **state)
{
    (void)state;
    unsigned number;
    int yes = 0, no = -1;
    struct ssx_error none = {0}, first = {0}, missing = {0};
    assert_int_equal(generation_roll_back(&store, 0, &number, NULL, NULL, &none), -1);
    assert_string_equal(none.text, "nothing was deployed");
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, NULL) | deploy("web", "1.1", 2, "hello", false, &number, NULL), 0);
    assert_int_equal(generation_roll_back(&store, 0, &number, object_to, &no, NULL), -1);
    assert_int_equal(generation_current(&store), 2);
    assert_int_equal(generation_roll_back(&store, 0, &number, object_to, &yes, NULL), 0);
    assert_int_equal(number, 1);
    assert_string_equal(has("hello"), "web 1.0 ");
    assert_int_equal(generation_roll_back(&store, 0, &number, NULL, NULL, &first), -1);
    assert_string_equal(first.text, "there is no generation before 1");
    assert_int_equal(generation_roll_back(&store, 2, &number, NULL, NULL, NULL), 0);
    assert_string_equal(has("hello"), "web 1.1 ada@example.org, bob");
    assert_int_equal(generation_roll_back(&store, 3, &number, NULL, NULL, &missing), -1);
    assert_string_equal(missing.text, "there is no generation 3");
}

static void test_old_ones_go(void **state)
{
    (void)state;
    struct buf numbers = {0};
    char version[16];
    unsigned number;
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, NULL), 0);
    for (int i = 1; i < 20; i++) {
        snprintf(version, sizeof version, "1.%d", i);
        assert_int_equal(deploy("web", version, 1, "hello", false, &number, NULL), 0);
    }
    assert_int_equal(generation_list(&numbers, &store, NULL), 0);
    const unsigned *at = (const unsigned *)(const void *)buf_data(&numbers);
    assert_int_equal(buf_length(&numbers) / sizeof *at, GENERATIONS_KEPT);
    assert_int_equal(at[0], 11);
    assert_int_equal(at[GENERATIONS_KEPT - 1], 20);
    buf_free(&numbers);
}

static void write_text(const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/generations/%s", store.dir, name);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

/* The format of BUNDLE.md, section 5, byte for byte; what an agent of before the line `by` wrote is read, too. */
static void test_golden(void **state)
{
    (void)state;
    static const char head[] = "sshexec-generation 1\n", tail[] =
        "bundle web 1.1 2 b4f58fbd1c4ea0a5a1c3ac04b4a6d2a3b9a8bb0d1d1d1d1d1d1d1d1d1d1d1d1d ada@example.org, bob\n"
        "type hello 1.0 b4f58fbd1c4ea0a5a1c3ac04b4a6d2a3b9a8bb0d1d1d1d1d1d1d1d1d1d1d1d1d\n";
    static const struct { const char *line; bool says; uint64_t made_s; const char *said; } cases[] = {
        {"", false, 0, ""}, {"by 1764062000 ada@laptop\n", true, 1764062000, "ada@laptop"}, {"by 1764062000 -\n", true, 1764062000, ""}};
    unsigned number;
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, NULL), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        struct generation_by by = {.said = ""};
        struct generation_bundle b;
        struct generation_type t;
        char text[512];
        snprintf(text, sizeof text, "%s%s%s", head, cases[i].line, tail);
        write_text("1", text);
        assert_int_equal(generation_load(&out, &store, 1, NULL), 0);
        assert_int_equal(generation_made_by(&out, &by), cases[i].says);
        assert_true(by.made_s == cases[i].made_s && strcmp(by.said, cases[i].said) == 0);
        assert_true(generation_find(&out, "hello", &b, &t) && b.serial == 2 && strcmp(b.signer, "ada@example.org, bob") == 0);
        buf_free(&out);
    }
}

static void test_who_made_it_is_written_down(void **state)
{
    (void)state;
    struct buf out = {0};
    struct generation_by by;
    char expected[128];
    unsigned number;
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, NULL) | deploy("db", "2.0", 1, "query", false, &number, NULL), 0);
    assert_int_equal(generation_load(&out, &store, 2, NULL), 0);
    assert_true(generation_made_by(&out, &by) && strcmp(by.said, "ada@laptop") == 0 && by.made_s + 600 > (uint64_t)time(NULL));
    snprintf(expected, sizeof expected, "sshexec-generation 1\nby %llu ada@laptop\nbundle db 2.0 1 ", (unsigned long long)by.made_s);
    assert_int_equal(strncmp((const char *)buf_data(&out), expected, strlen(expected)), 0);
    assert_null(strstr((const char *)buf_data(&out) + strlen(expected), "\nby ")); /* that of the generation before is not kept */
    buf_free(&out);
}

/* What isn't whole, or isn't ours, is said, and nothing comes into force by way of it. */
static void test_damaged(void **state)
{
    (void)state;
    static const char digest[] = "5a13d2d86e6d21cbd891669bf1445b3958f4b69577165db5fca93cd984c1288d";
    static const char *const bad[] = {"",
                                      "sshexec-generation 1",
                                      "sshexec-generation 2\n",
                                      "sshexec-generation 1\nbundle web 1.0 1 %s",
                                      "sshexec-generation 1\nby 1 a b\nbundle web 1.0 1 %s -\n",
                                      "sshexec-generation 1\nby x ada\nbundle web 1.0 1 %s -\n",
                                      "sshexec-generation 1\nby 1 \033[2J\nbundle web 1.0 1 %s -\n",
                                      "sshexec-generation 1\nbundle web 1.0 1 %s -\nby 1 ada\n",
                                      "sshexec-generation 1\nbundle web 1.0 x %s -\n",
                                      "sshexec-generation 1\nbundle web 1.0 1 12 -\n",
                                      "sshexec-generation 1\nbundle web 1.0 1 %s -\ntype hello 1.0\n",
                                      "sshexec-generation 1\nbundle web 1.0 1 %s -\ntype He 1.0 %s\n",
                                      "sshexec-generation 1\nbundle web 1.0 1 %s -\nrm -rf\n"};
    unsigned number;
    char text[512];
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, NULL) | deploy("web", "1.1", 1, "hello", false, &number, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ssx_error err = {0};
        struct buf out = {0};
        snprintf(text, sizeof text, bad[i], digest, digest);
        write_text("1", text);
        assert_int_equal(generation_load(&out, &store, 1, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_REFUSED);
        assert_int_equal(generation_roll_back(&store, 0, &number, NULL, NULL, NULL), -1);
        assert_int_equal(generation_current(&store), 2);
        buf_free(&out);
    }
}

static void test_a_link_elsewhere_is_none(void **state)
{
    (void)state;
    static const char *const to[] = {"generations/", "generations/0", "generations/x", "/etc/passwd", "generations/1/../1",
                                     "generations/99999999999"};
    unsigned number;
    char path[PATH_MAX + 64];
    assert_int_equal(deploy("web", "1.0", 1, "hello", false, &number, NULL), 0);
    snprintf(path, sizeof path, "%s/current", store.dir);
    for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
        assert_int_equal(unlink(path) | symlink(to[i], path), 0);
        assert_int_equal(generation_current(&store), 0);
    }
    assert_int_equal(deploy("web", "1.1", 2, "hello", false, &number, NULL), 0);
    assert_int_equal(generation_current(&store), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_switching, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rolling_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_ones_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_golden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_made_it_is_written_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_link_elsewhere_is_none, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

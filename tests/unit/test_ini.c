/* The INI grammar: what is read from a file, and that each complaint names the file and the line. */
#include "base/buf.h"
#include "base/error.h"
#include "base/ini.h"
#include "random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Writes what is visited as lines "line section.key=value"; refuses the key "bad". */
static int visit(void *user, const char *section, const char *key, const char *value, unsigned line, struct ssx_error *err)
{
    if (strcmp(key, "bad") == 0)
        return error_set(err, SSX_ERROR_USAGE, "unknown key \"%s\"", key);
    return buf_printf(user, "%u %s.%s=%s\n", line, section, key, value);
}

static int read_text(struct buf *seen, const char *text, size_t n, struct ssx_error *err)
{
    char *copy = malloc(n + 1); /* no more, so that a sanitizer sees a step past its end */
    assert_non_null(copy);
    memcpy(copy, text, n);
    copy[n] = 0;
    int rc = ini_read(copy, n, "sshexec.conf", visit, seen, err);
    free(copy);
    return rc;
}

static void assert_reads(const char *text, const char *wanted)
{
    struct buf seen = {0};
    struct ssx_error err = {0};
    if (read_text(&seen, text, strlen(text), &err))
        fail_msg("%s", err.text);
    buf_add(&seen, "", 1);
    assert_string_equal((char *)buf_data(&seen), wanted);
    buf_free(&seen);
}

static void assert_complains(const char *text, size_t n, const char *wanted)
{
    struct buf seen = {0};
    struct ssx_error err = {0};
    assert_int_equal(read_text(&seen, text, n, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_USAGE);
    assert_string_equal(err.text, wanted);
    buf_free(&seen);
}

static void keys_sections_and_comments_are_told_apart(void **state)
{
    (void)state;
    assert_reads("", "");
    assert_reads("\n\n# a = b\n; c = d\n  # e = f\n", "");
    assert_reads("a = b", "1 .a=b\n");
    assert_reads("a=b\r\n\tc\t=\td\t\r\n", "1 .a=b\n2 .c=d\n");
    assert_reads("a = b # not a comment; nor this\n", "1 .a=b # not a comment; nor this\n");
    assert_reads("a = b = c\nd =\n", "1 .a=b = c\n2 .d=\n");
    assert_reads("x=0\n[one]\nx = 1\n\n[ two words ]\nx = 2\nx = 3\n[]\nx = 4\n",
                 "1 .x=0\n3 one.x=1\n6 two words.x=2\n7 two words.x=3\n9 .x=4\n");
}

static void complaints_name_the_file_and_the_line(void **state)
{
    (void)state;
#define C(text, wanted) assert_complains(text, sizeof(text) - 1, wanted)
    C("a = b\n\nnonsense\n", "sshexec.conf:3: \"nonsense\" is not key = value");
    C("= b", "sshexec.conf:1: \"= b\" is not key = value");
    C("[open\na = b\n", "sshexec.conf:1: a heading without its ]");
    C("[one]\n\nbad = 1\na = b\n", "sshexec.conf:3: unknown key \"bad\"");
    C("\x1b[2J\n", "sshexec.conf:1: \"\\x1b[2J\" is not key = value");
    C("a = b\0c\n", "sshexec.conf holds a NUL byte: it is not a text file");
}

static void damaged_files_are_read_or_refused(void **state)
{
    (void)state;
    static const char text[] = "# comment\nuser = ada\n[host node*]\nport = 2222\n  key=value with = in it \r\n[x]\n;end\n";
    uint64_t seed = 3;
    for (int round = 0; round < 20000; round++) {
        struct buf b = {0}, seen = {0};
        struct ssx_error err = {0};
        buf_add(&b, text, sizeof text - 1);
        random_mutation(&b, &seed);
        int rc = read_text(&seen, (char *)buf_data(&b), buf_length(&b), &err);
        assert_int_equal(rc != 0, err.text[0] != 0);
        buf_free(&b);
        buf_free(&seen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_sections_and_comments_are_told_apart),
        cmocka_unit_test(complaints_name_the_file_and_the_line),
        cmocka_unit_test(damaged_files_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

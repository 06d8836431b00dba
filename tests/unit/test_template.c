/* Transport templates: a line taken apart as a shell would, without one; what each % becomes; what can't be one. */
#include "base/buf.h"
#include "transport/quote.h"
#include "transport/target.h"
#include "transport/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct template_values values = {"node1", "2222", "ada", "exec /bin/sh -c 'a \"b\" $c'"};

/* The argv in brackets: [word][word]. */
static const char *expand(const char *text, const struct template_values *v)
{
    static char line[2048];
    struct words words = {0};
    struct ssx_error err = {0};
    size_t n = 0;
    line[0] = 0;
    if (template_expand(&words, text, v, &err)) {
        assert_int_equal(err.code, SSX_ERROR_USAGE);
        snprintf(line, sizeof line, "%s", err.text);
    } else {
        for (size_t i = 0; i < words.n; i++)
            n += (size_t)snprintf(line + n, sizeof line - n, "[%s]", words.at[i]);
    }
    words_free(&words);
    return line;
}

static void recipes(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"docker exec -i %h %c", "[docker][exec][-i][node1][/bin/sh][-c][exec /bin/sh -c 'a \"b\" $c']"},
        {"srun -u -N1 -w %h %c", "[srun][-u][-N1][-w][node1][/bin/sh][-c][exec /bin/sh -c 'a \"b\" $c']"},
        {"x --at=%u@%h:%p 100%% %c", "[x][--at=ada@node1:2222][100%][/bin/sh][-c][exec /bin/sh -c 'a \"b\" $c']"},
        {"ssh %h \"exec sh -c %c\"", "[ssh][node1][exec sh -c 'exec /bin/sh -c '\"'\"'a \"b\" $c'\"'\"'']"},
        {" \t'%c'\t", "[/bin/sh][-c][exec /bin/sh -c 'a \"b\" $c']"},
        {"a\\ b 'c d\\' \"e \\\" \\\\ \\n\" '' f'g'\"h\" %%c %c",
         "[a b][c d\\][e \" \\ \\n][][fgh][%c][/bin/sh][-c][exec /bin/sh -c 'a \"b\" $c']"},
        {"$HOME `x` ; | %c", "[$HOME][`x`][;][|][/bin/sh][-c][exec /bin/sh -c 'a \"b\" $c']"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(expand(rows[i][0], &values), rows[i][1]);
}

static void complaints(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"docker exec -i %h", "no %c"},
        {"", "no %c"},
        {"%%c", "no %c"},
        {"a 'b %c", "' quote is not closed"},
        {"a \"%c", "\" quote is not closed"},
        {"%c \\", "backslash"},
        {"%x %c", "%x means nothing"},
        {"%c a%", "means nothing"},
    };
    struct ssx_error err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_non_null(strstr(expand(rows[i][0], &values), rows[i][1]));
        assert_int_equal(template_check(rows[i][0], NULL), -1);
    }
    assert_int_equal(template_check("a %h %p %u %c", &err), 0);
}

static void values_that_are_missing_or_look_like_options(void **state)
{
    (void)state;
    const struct template_values none = {"", NULL, "-oProxyCommand=x", "c"};
    assert_non_null(strstr(expand("a %h %c", &none), "%h needs a host"));
    assert_non_null(strstr(expand("a %p %c", &none), "-p"));
    assert_non_null(strstr(expand("a %u %c", &none), "option"));
    assert_string_equal(expand("a %c", &none), "[a][/bin/sh][-c][c]");
}

static void parts_of_a_target(void **state)
{
    (void)state;
    struct target_parts p;
    struct ssx_error err = {0};
    struct transport_target t = {.host = "ada@node1:2222", .port = "1"};
    assert_int_equal(target_split(&p, &t, &err), 0);
    assert_string_equal(p.host, "node1");
    assert_string_equal(p.port, "2222");
    assert_string_equal(p.user, "ada");
    t = (struct transport_target){.host = "eve@[fe80::1]", .port = "1", .login = "bob"};
    assert_int_equal(target_split(&p, &t, &err), 0);
    assert_string_equal(p.host, "fe80::1");
    assert_string_equal(p.port, "1");
    assert_string_equal(p.user, "bob");
    t = (struct transport_target){0};
    assert_int_equal(target_split(&p, &t, &err), 0);
    assert_string_equal(p.host, "");
    t.host = "-oProxyCommand=x";
    assert_int_equal(target_split(&p, &t, &err), -1);
}

/* Whatever is quoted comes out of a shell as it went in; and a template never reads past its end. */
static void any_text(void **state)
{
    (void)state;
    static const char letters[] = "ab %hupcx'\"\\%$ \t%%c";
    unsigned seed = 7;
    for (int i = 0; i < 20000; i++) {
        char text[24];
        size_t n = (size_t)(seed = seed * 1103515245 + 12345) >> 16 & 15;
        for (size_t k = 0; k < n; k++)
            text[k] = letters[((seed = seed * 1103515245 + 12345) >> 16) % (sizeof letters - 1)];
        text[n] = 0;
        char *exact = strdup(text); /* so that a sanitizer sees the end */
        struct words words = {0};
        struct ssx_error err = {0};
        int rc = template_expand(&words, exact, &values, &err);
        assert_true(rc == 0 ? words.n > 0 && !err.code : err.code == SSX_ERROR_USAGE);
        assert_int_equal(template_check(exact, NULL), rc);
        words_free(&words);
        free(exact);
    }
}

static void quoted_for_a_shell(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "plain", "it's", "''", "a $b `c` \"d\" *"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf line = {0};
        char got[64] = "";
        buf_add_text(&line, "printf %s ");
        shell_quote(&line, texts[i]);
        buf_add(&line, "", 1);
        FILE *f = popen((const char *)buf_data(&line), "r");
        assert_non_null(f);
        got[fread(got, 1, sizeof got - 1, f)] = 0;
        assert_int_equal(pclose(f), 0);
        assert_string_equal(got, texts[i]);
        buf_free(&line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipes), cmocka_unit_test(complaints), cmocka_unit_test(values_that_are_missing_or_look_like_options),
        cmocka_unit_test(parts_of_a_target), cmocka_unit_test(any_text), cmocka_unit_test(quoted_for_a_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* allowed_signers: which lines let a key sign a bundle, when, and for whom, as ssh-keygen(1) says; what is wrong with
 * the others is named. */
#include "bundle/signers.h"
#include "sshsig_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW 1700000000 /* 2023-11-14 22:13:20 UTC */

static struct signature ours;
static char key[128], other[128]; /* "ssh-ed25519 AAAA..." */

static int set_up(void **state)
{
    (void)state;
    struct buf text = {0}, line = {0};
    if (sodium_init() < 0)
        return -1;
    sshsig_make(&text, &(struct sshsig){.seed = 1}, "m", 1);
    sshsig_public(&line, &(struct sshsig){.seed = 1});
    snprintf(key, sizeof key, "%s", (char *)buf_data(&line));
    buf_free(&line);
    sshsig_public(&line, &(struct sshsig){.seed = 2});
    snprintf(other, sizeof other, "%s", (char *)buf_data(&line));
    int rc = signature_read(&ours, buf_data(&text), buf_length(&text), NULL);
    buf_free(&text);
    buf_free(&line);
    return rc;
}

static int tear_down(void **state)
{
    (void)state;
    signature_dispose(&ours);
    return 0;
}

/* A lone @ stands for the key, % for another one. */
static void expand(struct buf *out, const char *pattern)
{
    for (const char *c = pattern; *c; c++)
        if (*c == '@' && (c == pattern || strchr(" \t", c[-1])))
            buf_add_text(out, key);
        else if (*c == '%')
            buf_add_text(out, other);
        else
            buf_add(out, c, 1);
}

static int check(const char *pattern, const char *identity, time_t now, char principals[SIGNERS_PRINCIPALS], struct ssx_error *err)
{
    struct buf text = {0};
    expand(&text, pattern);
    char *copy = malloc(buf_length(&text) + 1); /* exactly that long */
    memcpy(copy, buf_length(&text) ? (char *)buf_data(&text) : "", buf_length(&text));
    int rc = signers_check(principals, copy, buf_length(&text), "signers", &ours, identity, now, err);
    free(copy);
    buf_free(&text);
    return rc;
}

static void taken(const char *pattern, const char *identity)
{
    char principals[SIGNERS_PRINCIPALS];
    struct ssx_error err = {0};
    if (check(pattern, identity, NOW, principals, &err))
        fail_msg("%s: %s", pattern, err.text);
}

static void refused(const char *pattern, const char *identity, enum ssx_error_code code, const char *part)
{
    char principals[SIGNERS_PRINCIPALS];
    struct ssx_error err = {0};
    if (check(pattern, identity, NOW, principals, &err) == 0)
        fail_msg("taken: %s", pattern);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, part);
    assert_int_equal(err.code, code);
}

/* --- tests --- */

static void a_line_with_the_key_lets_it_sign(void **state)
{
    (void)state;
    char principals[SIGNERS_PRINCIPALS];
    taken("ada @\n", NULL);
    taken("ada @", NULL);
    taken("ada @ a comment\r\n", NULL);
    taken("# comment\n\n  \t\nbob %\nada\t@\n", "ada");
    assert_int_equal(check("bob %\nada,*.example.org @\n", NULL, NOW, principals, NULL), 0);
    assert_string_equal(principals, "ada,*.example.org");
}

static void without_its_line_a_key_may_not_sign(void **state)
{
    (void)state;
    refused("", NULL, SSX_ERROR_REFUSED, "signers has no line with the key that signed it, ED25519 SHA256:");
    refused("bob %\n", NULL, SSX_ERROR_REFUSED, "no line with the key");
    refused("# ada @\n", NULL, SSX_ERROR_REFUSED, "no line with the key");
}

static void principals_are_patterns(void **state)
{
    (void)state;
    taken("ada@example.org @\n", "ada@example.org");
    taken("*@example.org @\n", "ada@example.org");
    taken("bob,a?a @\n", "ada");
    taken("\"ada\" @\n", "ada");
    refused("*@example.org @\n", "ada@example.com", SSX_ERROR_REFUSED,
            "signers:1: the key is there for *@example.org, not for ada@example.com");
    refused("*,!ada @\n", "ada", SSX_ERROR_REFUSED, "not for ada");
    refused("Ada @\n", "ada", SSX_ERROR_REFUSED, "not for ada");
    taken("*,!ada @\n", "bob");
    taken("bob @\nada @\n", "ada");
}

static void namespaces_limit_what_a_key_signs(void **state)
{
    (void)state;
    taken("ada namespaces=\"sshexec-bundle\" @\n", NULL);
    taken("ada namespaces=\"git,sshexec-*\" @\n", NULL);
    taken("ada NAMESPACES=\"git,sshexec-bundle\" @\n", NULL);
    refused("ada namespaces=\"git,file\" @\n", NULL, SSX_ERROR_REFUSED, "for namespaces=\"git,file\" only");
    refused("ada namespaces=\"*,!sshexec-bundle\" @\n", NULL, SSX_ERROR_REFUSED, "only");
    refused("ada namespaces=\"\" @\n", NULL, SSX_ERROR_REFUSED, "only");
}

static void a_key_is_valid_from_and_until(void **state)
{
    (void)state;
    taken("ada valid-after=\"20231114221320Z\" @\n", NULL);
    taken("ada valid-before=\"20231114221320Z\" @\n", NULL);
    taken("ada valid-after=\"20230101\",valid-before=\"20240101\" @\n", NULL);
    taken("ada valid-after=\"202311142213z\",namespaces=\"sshexec-bundle\",valid-before=\"20231115UTC\" @\n", NULL);
    refused("ada valid-before=\"20231114221319Z\" @\n", NULL, SSX_ERROR_REFUSED,
            "signers:1: the key has expired, it was valid until 2023-11-14 22:13:19 UTC");
    refused("ada valid-after=\"20231114221321Z\" @\n", NULL, SSX_ERROR_REFUSED, "the key is not valid before 2023-11-14 22:13:21 UTC");
    refused("bob %\nada valid-before=\"20000101\" @\n", NULL, SSX_ERROR_REFUSED, "signers:2: the key has expired");
    taken("ada valid-before=\"20000101\" @\nada @\n", NULL); /* another line lets it */
}

static void times_are_local_unless_they_say_utc(void **state)
{
    (void)state;
    static const struct { const char *zone, *text; time_t time; } cases[] = {
        {"UTC0", "20231114221320", NOW}, {"CET-1", "20231114231320", NOW}, {"EST5", "20231114171320", NOW},
            {"EST5", "20231114221320Z", NOW}, {"CET-1", "20231114Z", 1699920000},
        {"CET-1", "20231114", 1699916400}, {"CET-1", "202311142213utc", NOW - 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        time_t is;
        setenv("TZ", cases[i].zone, 1);
        tzset();
        assert_int_equal(signers_time(&is, cases[i].text), 0);
        assert_int_equal(is, cases[i].time);
    }
    static const char *const bad[] = {"", "2023", "2023111", "202311144", "20231314", "20230230", "20231132", "20231114246000",
        "2023111422132x", "20231114 2213", "-2023111", "Z", "20231114ZZ", "19700101Z",
                                      "19600101"};
    setenv("TZ", "UTC0", 1);
    tzset();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        time_t is;
        if (signers_time(&is, bad[i]) == 0)
            fail_msg("taken: %s", bad[i]);
    }
}

static void authorities_are_refused_by_name(void **state)
{
    (void)state;
    refused("*.example.org cert-authority @\n", NULL, SSX_ERROR_REFUSED, "cert-authority");
    refused("*.example.org namespaces=\"sshexec-bundle\",cert-authority @\n", NULL, SSX_ERROR_REFUSED, "cert-authority");
    taken("*.example.org cert-authority %\nada @\n", NULL);
}

static void a_line_that_can_t_be_read_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "ada\n", "ada ssh-ed25519\n", "\"ada @\n", "ada namespaces=git @\n", "ada namespaces @\n", "ada namespaces=\"a\" \n",
            "ada namespaces=\"a\",namespaces=\"b\" @\n", "ada unknown @\n", "ada ,cert-authority @\n",
        "ada cert-authority, @\n", "ada cert-authoritynamespaces=\"a\" @\n", "ada valid-after=\"tomorrow\" @\n",
            "ada valid-after=\"20240101\",valid-before=\"20230101\" @\n", "ada namespaces=\"a @\n",
        "ada ssh-ed25519 AAAA\n", "ada ssh-rsa AAAAC3NzaC1lZDI1NTE5\n", "ada ssh-ed25519 %%%\n",
            "ada valid-before=\"20240101\",valid-before=\"20250101\" @\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf text = {0};
        buf_add_text(&text, "ada @\n"); /* even behind one that holds */
        buf_add_text(&text, bad[i]);
        buf_add(&text, "", 1);
        refused((char *)buf_data(&text), NULL, SSX_ERROR_USAGE, "signers:2: ");
        buf_free(&text);
    }
}

static void hostile_files_do_no_harm(void **state)
{
    (void)state;
    char principals[SIGNERS_PRINCIPALS];
    struct buf text = {0};
    expand(&text, "ada,bob namespaces=\"sshexec-\\\"x\",valid-after=\"20230101Z\",cert-authority @ c\n\"x y\" @\n");
    for (size_t at = 0; at < buf_length(&text); at++)
        for (unsigned value = 0; value < 256; value += 3) {
            char *copy = malloc(buf_length(&text));
            memcpy(copy, buf_data(&text), buf_length(&text));
            copy[at] = (char)value;
            signers_check(principals, copy, buf_length(&text), "signers", &ours, "ada", NOW, NULL);
            signers_check(principals, copy, at, "signers", &ours, NULL, NOW, NULL);
            free(copy);
        }
    buf_free(&text);
    for (size_t i = 0; i < 20000; i++)
        buf_add(&text, "a", 1);
    struct ssx_error err = {0};
    assert_int_equal(signers_check(principals, (char *)buf_data(&text), buf_length(&text), "signers", &ours, NULL, NOW, &err), -1);
    assert_non_null(strstr(err.text, "too long"));
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_with_the_key_lets_it_sign),
        cmocka_unit_test(without_its_line_a_key_may_not_sign),
        cmocka_unit_test(principals_are_patterns),
        cmocka_unit_test(namespaces_limit_what_a_key_signs),
        cmocka_unit_test(a_key_is_valid_from_and_until),
        cmocka_unit_test(times_are_local_unless_they_say_utc),
        cmocka_unit_test(authorities_are_refused_by_name),
        cmocka_unit_test(a_line_that_can_t_be_read_is_an_error),
        cmocka_unit_test(hostile_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

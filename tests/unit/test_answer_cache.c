/* Kept answers of ssh -G: they come back while all that they were made from is unchanged, and not a moment longer. */
#include "base/file.h"
#include "base/tree.h"
#include "transport/answer_cache.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[4][PATH_MAX];
    static int turn;
    char *out = path[turn++ % 4];
    snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return out;
}

static void write_text(const char *name, const char *text) { assert_int_equal(file_write_atomic(in_dir(name), text, strlen(text), 0600, NULL), 0); }

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ssx-answers-XXXXXX");
    assert_non_null(mkdtemp(dir));
    setenv("XDG_CACHE_HOME", in_dir("cache"), 1);
    mkdir(in_dir("conf.d"), 0700);
    write_text("config", "Host *\n  User ada\nInclude conf.d/*.conf\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return tree_remove(dir);
}

static struct words question(const char *host)
{
    struct words w = {0};
    words_add(&w, "ssh");
    words_add(&w, "-G");
    words_add(&w, host);
    return w;
}

/* Files of this moment are too fresh to be trusted; a question asked ten seconds from now sees settled ones. */
static void keep(const char *host, time_t asked)
{
    struct words w = question(host);
    struct buf answer = {0}, baseline = {0};
    buf_add(&answer, "user ada\n", 10);
    buf_add(&baseline, "user root\n", 11);
    answer_cache_put(&w, in_dir("config"), asked, &answer, &baseline);
    words_free(&w);
    buf_free(&answer);
    buf_free(&baseline);
}

static int is_kept(const char *host)
{
    struct words w = question(host);
    struct buf answer = {0}, baseline = {0};
    int rc = answer_cache_get(&w, &answer, &baseline);
    if (rc == 0) {
        assert_string_equal((char *)buf_data(&answer), "user ada\n");
        assert_string_equal((char *)buf_data(&baseline), "user root\n");
    }
    words_free(&w);
    buf_free(&answer);
    buf_free(&baseline);
    return rc == 0;
}

static time_t later(void) { return time(NULL) + 10; }

static void test_an_answer_comes_back_for_its_question_only(void **state)
{
    (void)state;
    write_text("config", "Host *\n  User ada\n");
    assert_false(is_kept("node1"));
    keep("node1", later());
    assert_true(is_kept("node1"));
    assert_false(is_kept("node2"));
}

static void test_a_changed_file_ends_it(void **state)
{
    (void)state;
    write_text("config", "Host *\n  User ada\n");
    keep("node1", later());
    write_text("config", "Host *\n  User bob\n");
    assert_false(is_kept("node1"));
}

static void test_a_fresh_file_is_not_trusted(void **state)
{
    (void)state;
    keep("node1", time(NULL));
    assert_false(is_kept("node1"));
}

/* Relative patterns of a -F file mean ~/.ssh, so absolute ones are used here. */
static void include_conf_d(void)
{
    char text[PATH_MAX + 64];
    snprintf(text, sizeof text, "Include %s/*.conf\n", in_dir("conf.d"));
    write_text("config", text);
}

static void test_included_files_count(void **state)
{
    (void)state;
    include_conf_d();
    write_text("conf.d/a.conf", "User ada\n");
    keep("node1", later());
    assert_true(is_kept("node1"));
    write_text("conf.d/a.conf", "User eve\n");
    assert_false(is_kept("node1"));
    keep("node1", later());
    write_text("conf.d/new.conf", "Port 7\n");
    assert_false(is_kept("node1"));
}

static void test_what_depends_on_more_than_files_is_never_kept(void **state)
{
    static const char *const configs[] = {
        "Match exec \"true\"\n  User eve\n", "Match host node1 exec true\n", "Match !localnetwork 10.0.0.0/8\n", "Match canonical\n", "Match final\n",
        "CanonicalizeHostname yes\n", "canonicalizehostname=yes\n", "UserKnownHostsFile ${HOME}/kh\n", "Include = x\n", "Include ~other/conf\n",
        "Include /tmp/*/conf\n", "Match exec=true\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        write_text("config", configs[i]);
        keep("node1", later());
        if (is_kept("node1"))
            fail_msg("kept: %s", configs[i]);
    }
    write_text("config", "Match host node1 user ada\n  Port 7\nMatch all\n");
    keep("node1", later());
    assert_true(is_kept("node1"));
}

static void test_a_damaged_or_foreign_file_is_ignored(void **state)
{
    char command[PATH_MAX + 64];
    (void)state;
    write_text("config", "User ada\n");
    keep("node1", later());
    assert_true(is_kept("node1"));
    snprintf(command, sizeof command, "chmod 644 %s/cache/sshexec/ssh-G/*", dir);
    assert_int_equal(system(command), 0);
    assert_false(is_kept("node1"));
    snprintf(command, sizeof command, "chmod 600 %s/cache/sshexec/ssh-G/*; truncate -s -1 %s/cache/sshexec/ssh-G/*", dir, dir);
    assert_int_equal(system(command), 0);
    assert_false(is_kept("node1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_answer_comes_back_for_its_question_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_changed_file_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_fresh_file_is_not_trusted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_included_files_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_depends_on_more_than_files_is_never_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_or_foreign_file_is_ignored, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

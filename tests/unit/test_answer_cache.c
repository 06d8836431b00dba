/* Kept answers of ssh -G: they come back while all that they were made from is unchanged, and not a moment longer. */
#include "base/file.h"
#include "base/tree.h"
#include "transport/answer_cache.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

static void write_text(const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(in_dir(name), text, strlen(text), 0600, NULL), 0);
}

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

/* Each is something that ssh reads otherwise than a simple reader would think, or that depends on more than files. */
static void test_what_depends_on_more_than_files_is_never_kept(void **state)
{
    static const char *const configs[] = {
        "Match exec \"true\"\n  User eve\n",
        "Match host node1 exec true\n",
        "Match !localnetwork 10.0.0.0/8\n",
        "Match canonical\n",
        "Match final\n",
        "CanonicalizeHostname yes\n",
        "canonicalizehostname=yes\n",
        "UserKnownHostsFile ${HOME}/kh\n",
        "Include = x\n",
        "Include ~other/conf\n",
        "Include /tmp/*/conf\n",
        "Match exec=true\n",
        "=Include /tmp/x\n",
        "\"Include\" /tmp/x\n",
        "Include '/tmp/x'\n",
        "Include /tmp/a\\ b\n",
        "Include \"/tmp/x\"\n",
        "Include=/tmp/x\n",
        "Include =/tmp/x\n",
        "Match user \"a b\" exec true\n",
        "=Match exec true\n",
        "Match sessiontype shell\n",
        "Match command x*\n",
        "Match version *9*\n",
        "Match\texec true\n",
        "\"match\" exec true\n",
        "Include /tmp/%h\n",
        "Include ~\n",
        "Host x\n  Include /tmp/*/x\n",
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

static void test_bytes_behind_a_nul_are_not_overlooked(void **state)
{
    static const char text[] = "User ada\n# \0\nInclude /tmp/x\n";
    (void)state;
    assert_int_equal(file_write_atomic(in_dir("config"), text, sizeof text - 1, 0600, NULL), 0);
    keep("node1", later());
    assert_false(is_kept("node1"));
}

/* What the clock of a coarse or foreign file system says does not count: times are put back here, as far as they can
 * be. */
static void test_the_same_size_and_time_do_not_hide_a_change(void **state)
{
    struct stat before;
    (void)state;
    write_text("config", "User ada\n");
    assert_int_equal(stat(in_dir("config"), &before), 0);
    keep("node1", later());
    int fd = open(in_dir("config"), O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "User eve\n", 9, 0) == 9 && futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}) == 0);
    close(fd);
    assert_false(is_kept("node1"));
    write_text("config", "User ada\n"); /* another file, the same text: the same answer */
    assert_true(is_kept("node1"));
    assert_int_equal(chmod(in_dir("config"), 0666), 0); /* ssh refuses it now */
    assert_false(is_kept("node1"));
}

static void test_pipes_are_left_alone(void **state)
{
    (void)state;
    unlink(in_dir("config"));
    assert_int_equal(mkfifo(in_dir("config"), 0600), 0);
    keep("node1", later()); /* must not wait for a writer */
    assert_false(is_kept("node1"));
}

static void test_long_files_and_endless_includes_are_not_kept(void **state)
{
    char *text = malloc(2 << 20);
    (void)state;
    assert_non_null(text);
    memset(text, '\n', 2 << 20);
    text[(2 << 20) - 1] = 0;
    write_text("config", text);
    keep("node1", later());
    assert_false(is_kept("node1"));
    snprintf(text, 2 << 20, "Include %s %s\n", in_dir("config"), in_dir("config"));
    write_text("config", text);
    keep("node1", later());
    assert_false(is_kept("node1"));
    free(text);
}

/* ssh leaves ~/ in an Include to glob(3), which asks $HOME. */
static void test_home_of_an_include_is_the_environments(void **state)
{
    char home[PATH_MAX];
    (void)state;
    snprintf(home, sizeof home, "%s", getenv("HOME") ? getenv("HOME") : "");
    setenv("HOME", dir, 1);
    write_text("config", "Include ~/conf.d/*.conf\n");
    write_text("conf.d/a.conf", "User ada\n");
    keep("node1", later());
    assert_true(is_kept("node1"));
    setenv("HOME", in_dir("elsewhere"), 1);
    assert_false(is_kept("node1"));
    setenv("HOME", dir, 1);
    assert_true(is_kept("node1"));
    write_text("conf.d/a.conf", "User eve\n");
    assert_false(is_kept("node1"));
    setenv("HOME", home, 1);
}

/* A wrapper may read any file; and what an ssh found earlier in PATH would say was never asked. */
static void test_another_ssh_has_other_answers(void **state)
{
    static const char script[] = "#!/bin/sh\nexec /usr/bin/ssh \"$@\"\n";
    char path[PATH_MAX], own[3 * PATH_MAX];
    (void)state;
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    snprintf(own, sizeof own, "%s:%s", in_dir("bin"), path);
    write_text("config", "User ada\n");
    keep("node1", later());
    setenv("PATH", own, 1);
    assert_true(is_kept("node1"));
    mkdir(in_dir("bin"), 0700);
    assert_int_equal(file_write_atomic(in_dir("bin/ssh"), script, strlen(script), 0700, NULL), 0);
    assert_false(is_kept("node1"));
    keep("node1", later());
    assert_false(is_kept("node1"));
    setenv("PATH", path, 1);
    assert_true(is_kept("node1"));
}

static void test_a_relative_file_is_of_its_directory(void **state)
{
    struct words w = question("node1");
    struct buf answer = {0}, baseline = {0};
    char before[PATH_MAX];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    write_text("config", "User ada\n");
    write_text("conf.d/config", "User ada\n");
    buf_add(&answer, "user ada\n", 10);
    buf_add(&baseline, "user root\n", 11);
    assert_int_equal(chdir(dir), 0);
    answer_cache_put(&w, "config", later(), &answer, &baseline);
    assert_true(is_kept("node1"));
    assert_int_equal(chdir("conf.d"), 0);
    assert_false(is_kept("node1"));
    assert_int_equal(chdir(before), 0);
    words_free(&w);
    buf_free(&answer);
    buf_free(&baseline);
}

static void test_options_that_look_further_are_not_kept(void **state)
{
    static const char *const options[] = {"CanonicalizeHostname=yes", "UserKnownHostsFile=${HOME}/kh"};
    (void)state;
    write_text("config", "User ada\n");
    for (size_t i = 0; i < 2; i++) {
        struct words w = question("node1");
        struct buf answer = {0}, baseline = {0};
        words_add(&w, "-o");
        words_add(&w, options[i]);
        buf_add(&answer, "user ada\n", 10);
        buf_add(&baseline, "user root\n", 11);
        answer_cache_put(&w, in_dir("config"), later(), &answer, &baseline);
        buf_consume(&answer, buf_length(&answer));
        assert_int_equal(answer_cache_get(&w, &answer, &baseline), -1);
        words_free(&w);
        buf_free(&answer);
        buf_free(&baseline);
    }
}

/* Only one file a slot, whoever writes and however often; a reader never gets a mixture. */
static void test_many_who_write_at_once(void **state)
{
    char command[PATH_MAX + 64];
    (void)state;
    write_text("config", "User ada\n");
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) {
            for (int j = 0; j < 50; j++) {
                keep("node1", later());
                is_kept("node1");
            }
            _exit(0);
        }
    }
    for (int i = 0, status; i < 4; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_true(is_kept("node1"));
    snprintf(command, sizeof command, "test $(ls -A %s/cache/sshexec/ssh-G | wc -l) = 1", dir);
    assert_int_equal(system(command), 0);
}

static void test_a_directory_that_others_write_to_is_not_used(void **state)
{
    (void)state;
    write_text("config", "User ada\n");
    keep("node1", later());
    assert_int_equal(chmod(in_dir("cache/sshexec/ssh-G"), 0777), 0);
    assert_false(is_kept("node1"));
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
        cmocka_unit_test_setup_teardown(test_bytes_behind_a_nul_are_not_overlooked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_same_size_and_time_do_not_hide_a_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pipes_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_files_and_endless_includes_are_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_home_of_an_include_is_the_environments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_ssh_has_other_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_relative_file_is_of_its_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_options_that_look_further_are_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_who_write_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_directory_that_others_write_to_is_not_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_or_foreign_file_is_ignored, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

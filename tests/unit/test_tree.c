/* Removing trees that were made to resist: deep, without permissions, with links out of them, large. */
#include "base/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NOBODY 65534

static char top[64], tree[96];

/* Into an empty directory, which becomes the working directory: names below are relative to it. */
static int set_up(void **state)
{
    (void)state;
    strcpy(top, "/tmp/test_tree.XXXXXX");
    snprintf(tree, sizeof tree, "%s/tree", mkdtemp(top) ? top : "");
    return chmod(top, 0777) || mkdir(tree, 0777) || chmod(tree, 0777) || chdir(top);
}

static int tear_down(void **state)
{
    (void)state;
    return chdir("/") || tree_remove(top);
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void assert_gone(void)
{
    struct stat st;
    assert_int_equal(tree_remove(tree), 0);
    assert_int_equal(lstat(tree, &st), -1);
    assert_int_equal(errno, ENOENT);
}

/* Runs a test without root's power over permissions. */
static void as_nobody(void (*test)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(NOBODY) || setuid(NOBODY)))
            _exit(99);
        test();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- tests --- */

static void what_is_not_there_is_gone(void **state)
{
    (void)state;
    assert_gone();
    assert_int_equal(tree_remove(tree), 0);
}

static void a_deep_tree_needs_neither_stack_nor_descriptors(void **state)
{
    (void)state;
    int at = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int depth = 0; depth < 2000; depth++) {
        assert_int_equal(mkdirat(at, "d", 0700), 0);
        int file = openat(at, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(file >= 0 && below >= 0);
        close(file);
        close(at);
        at = below;
    }
    close(at);
    assert_gone();
}

static void a_large_directory_is_emptied(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++) {
        char path[128];
        snprintf(path, sizeof path, "tree/%d", i);
        make_file(path);
    }
    assert_gone();
}

static void many_directories_are_emptied(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        char path[128];
        snprintf(path, sizeof path, "tree/%d", i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "tree/%d/below", i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "tree/%d/below/.lifted-%d", i, i); /* a name that is used while moving */
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "tree/.lifted-%d", i);
        make_file(path);
    }
    assert_gone();
}

static void links_are_removed_and_what_they_name_survives(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(mkdir("outside", 0500), 0);
    make_file("precious");
    assert_int_equal(mkdir("tree/d", 0700), 0);
    assert_true(symlink("../outside", "tree/dir") == 0 && symlink("../../outside", "tree/d/dir") == 0 &&
                symlink("../precious", "tree/file") == 0);
    assert_true(symlink("nowhere", "tree/broken") == 0 && symlink("..", "tree/d/up") == 0 &&
                link("precious", "tree/hard") == 0 && mkfifo("tree/d/fifo", 0600) == 0);
    assert_gone();
    assert_true(stat("outside", &st) == 0 && (st.st_mode & 07777) == 0500);
    assert_true(stat("precious", &st) == 0 && st.st_nlink == 1);
}

static void a_link_is_no_tree(void **state)
{
    (void)state;
    assert_int_equal(symlink("tree", "link"), 0);
    make_file("tree/precious");
    assert_int_equal(tree_remove("link"), -1);
    assert_int_equal(access("tree/precious", F_OK), 0);
    assert_int_equal(tree_remove("tree/precious"), -1); /* nor is a file */
    assert_int_equal(access("tree/precious", F_OK), 0);
}

static void remove_without_permissions(void)
{
    static const char *const closed[] = {"box/a/b/c", "box/a/b", "box/a", "box/empty", "box"};
    static const mode_t modes[] = {0, 0500, 0555, 0, 0};
    assert_true(mkdir("box", 0700) == 0 && mkdir("box/empty", 0700) == 0 && mkdir("box/a", 0700) == 0 &&
                mkdir("box/a/b", 0700) == 0 && mkdir("box/a/b/c", 0700) == 0);
    make_file("box/a/b/c/file");
    make_file("box/a/b/file");
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        assert_int_equal(chmod(closed[i], modes[i]), 0);
    assert_int_equal(tree_remove("box"), 0);
    assert_int_equal(access("box", F_OK), -1);
}

static void directories_without_permissions_are_opened_first(void **state)
{
    (void)state;
    as_nobody(remove_without_permissions);
}

static void remove_what_belongs_to_root(void)
{
    assert_int_equal(mkdir("tree/mine", 0700), 0);
    assert_int_equal(tree_remove("tree"), -1);
    assert_int_equal(access("tree/theirs/file", F_OK), 0);
    assert_int_equal(access("tree/mine", F_OK), -1);
}

static void what_can_not_be_removed_is_left_and_told(void **state)
{
    (void)state;
    if (geteuid()) /* needs two users */
        skip();
    assert_true(mkdir("tree/theirs", 0755) == 0);
    make_file("tree/theirs/file");
    as_nobody(remove_what_belongs_to_root);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_there_is_gone),
        TEST(a_deep_tree_needs_neither_stack_nor_descriptors),
        TEST(a_large_directory_is_emptied),
        TEST(many_directories_are_emptied),
        TEST(links_are_removed_and_what_they_name_survives),
        TEST(a_link_is_no_tree),
        TEST(directories_without_permissions_are_opened_first),
        TEST(what_can_not_be_removed_is_left_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The store: only whole objects of the right digest ever get a name, and what fails leaves nothing behind. Also where a
 * node keeps its things. */
#include "base/install.h"
#include "base/tree.h"
#include "bundle/store.h"
#include "bundle/upload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NOBODY 65534

static char top[64];
static struct store store;
static unsigned char object[100000];
static struct digest object_digest;

static int set_up(void **state)
{
    (void)state;
    char dir[96];
    strcpy(top, "/tmp/test_store.XXXXXX");
    snprintf(dir, sizeof dir, "%s/store", mkdtemp(top) ? top : "");
    store_open(&store, dir);
    for (size_t i = 0; i < sizeof object; i++)
        object[i] = (unsigned char)(i * 7 >> 2);
    digest_of(&object_digest, object, sizeof object);
    return chmod(top, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    store_close(&store);
    return tree_remove(top);
}

static size_t files_in_store(void)
{
    char objects[PATH_MAX + 16];
    size_t n = 0;
    snprintf(objects, sizeof objects, "%s/objects", store.dir);
    DIR *dir = opendir(objects);
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(dir);
    return n;
}

/* Uploads n bytes in pieces, and stores them. Returns 0 or -1. */
static int put(const struct digest *digest, uint64_t announced, const unsigned char *bytes, size_t n, struct ssx_error *err)
{
    struct upload u = {0};
    uint64_t counted = 1;
    int fd, rc;
    assert_int_equal(upload_begin(&u, digest, announced, &counted, err), 0);
    for (size_t at = 0, piece; at < n; at += piece) {
        piece = n - at < 33333 ? n - at : 33333;
        assert_int_equal(counted, 1 + announced);
        if (upload_add(&u, bytes + at, piece, err)) {
            assert_true(!u.open && counted == 1);
            return -1;
        }
    }
    if (upload_end(&u, &fd, err) == 0) {
        rc = store_put(&store, digest, fd, err);
        close(fd);
    } else {
        rc = -1;
    }
    assert_false(u.open);
    upload_abort(&u); /* idle: no effect */
    assert_int_equal(counted, 1);
    return rc;
}

static void assert_refused(const struct digest *digest, uint64_t announced, const unsigned char *bytes, size_t n,
                           enum ssx_error_code code, const char *part)
{
    struct ssx_error err = {0};
    assert_int_equal(put(digest, announced, bytes, n, &err), -1);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, part);
    assert_int_equal(files_in_store(), 0);
}

/* --- tests --- */

static void an_object_is_kept_under_its_digest(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    struct stat st;
    struct digest again;
    char path[PATH_MAX + 128];
    assert_int_equal(store_object(&store, &object_digest), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(put(&object_digest, sizeof object, object, sizeof object, &err), 0);
    int fd = store_object(&store, &object_digest);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_true(st.st_size == sizeof object && (st.st_mode & 07777) == 0500);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(digest_of_fd(&again, fd, &err), 0);
    assert_true(digest_equal(&again, &object_digest));
    close(fd);
    assert_int_equal(files_in_store(), 1);
    assert_int_equal(put(&object_digest, sizeof object, object, sizeof object, &err), 0); /* once more: two senders at once */
    assert_int_equal(files_in_store(), 1);
    assert_int_equal(access(store_path(&store, &object_digest, path, sizeof path), F_OK), 0);
    store_discard(&store, &object_digest);
    assert_int_equal(files_in_store(), 0);
}

static void an_empty_object_is_one_too(void **state)
{
    (void)state;
    struct digest empty;
    digest_of(&empty, "", 0);
    assert_int_equal(put(&empty, 0, object, 0, NULL), 0);
    assert_int_equal(files_in_store(), 1);
}

static void a_wrong_size_or_digest_leaves_nothing(void **state)
{
    (void)state;
    struct digest other = object_digest;
    other.bytes[31] ^= 1;
    assert_refused(&other, sizeof object, object, sizeof object, SSX_ERROR_PROTOCOL, "is not the one announced");
    assert_refused(&object_digest, sizeof object, object, sizeof object - 1, SSX_ERROR_PROTOCOL, "is not the one announced");
    assert_refused(&object_digest, sizeof object - 1, object, sizeof object, SSX_ERROR_PROTOCOL, "larger than announced");
    assert_refused(&object_digest, sizeof object, object + 1, sizeof object - 1, SSX_ERROR_PROTOCOL, "is not the one announced");
    assert_refused(&object_digest, UINT64_MAX, object, sizeof object, SSX_ERROR_PROTOCOL, "is not the one announced");
}

static void an_upload_is_sealed(void **state)
{
    (void)state;
    uint64_t counted = 0;
    struct upload u = {0};
    int fd;
    unsigned char back[10];
    assert_int_equal(upload_begin(&u, &object_digest, sizeof object, &counted, NULL), 0);
    assert_int_equal(upload_add(&u, object, sizeof object, NULL), 0);
    assert_int_equal(upload_end(&u, &fd, NULL), 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(read(fd, back, sizeof back), sizeof back);
    assert_memory_equal(back, object, sizeof back);
    close(fd);
}

static void directories_are_private(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(put(&object_digest, sizeof object, object, sizeof object, NULL), 0);
    assert_true(stat(store.dir, &st) == 0 && (st.st_mode & 07777) == 0700);
}

static void a_directory_that_others_may_change_is_not_used(void **state)
{
    (void)state;
    char objects[PATH_MAX + 16];
    snprintf(objects, sizeof objects, "%s/objects", store.dir);
    assert_true(mkdir(store.dir, 0700) == 0 && mkdir(objects, 0700) == 0 && chmod(objects, 0770) == 0);
    assert_refused(&object_digest, sizeof object, object, sizeof object, SSX_ERROR_REFUSED, "is writable by others");
}

static void a_store_that_is_no_directory_says_so(void **state)
{
    (void)state;
    store_open(&store, "/dev/null/store");
    assert_refused(&object_digest, sizeof object, object, sizeof object, SSX_ERROR_SYSTEM, "Not a directory");
    memset(store.dir, 'x', sizeof store.dir - 1);
    store.dir[0] = '/';
    assert_refused(&object_digest, sizeof object, object, sizeof object, SSX_ERROR_SYSTEM, "too long");
}

static void no_store_has_nothing_and_takes_nothing(void **state)
{
    (void)state;
    store = (struct store){"", -1};
    assert_int_equal(store_object(&store, &object_digest), -1);
    store_discard(&store, &object_digest);
    assert_refused(&object_digest, sizeof object, object, sizeof object, SSX_ERROR_SYSTEM, "nowhere to store plugins");
}

/* In a process of its own, which may spoil itself. */
static void apart(void (*test)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        test();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void store_where_nobody_may_write(void)
{
    if (geteuid() == 0 && (setgid(NOBODY) || setuid(NOBODY)))
        _exit(99);
    if (access(top, W_OK))
        assert_refused(&object_digest, sizeof object, object, sizeof object, SSX_ERROR_SYSTEM, "Permission denied");
}

static void store_on_a_full_disk(void)
{
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){65536, 65536}))
        _exit(99);
    assert_refused(&object_digest, sizeof object, object, sizeof object, SSX_ERROR_SYSTEM, "File too large");
}

static void an_unwritable_or_full_place_leaves_nothing(void **state)
{
    (void)state;
    apart(store_on_a_full_disk);
    apart(store_where_nobody_may_write);
}

static void a_link_is_not_an_object(void **state)
{
    (void)state;
    char path[PATH_MAX + 128];
    assert_int_equal(put(&object_digest, sizeof object, object, sizeof object, NULL), 0);
    store_discard(&store, &object_digest);
    assert_int_equal(symlink("/etc/passwd", store_path(&store, &object_digest, path, sizeof path)), 0);
    assert_int_equal(store_object(&store, &object_digest), -1);
}

static void a_node_keeps_its_things_where_xdg_says(void **state)
{
    (void)state;
    static const struct { const char *variable, *home, *dir;
    } cases[] = {
        {"/var/cache", "/home/ada", "/var/cache/sshexec"},
        {NULL, "/home/ada", "/home/ada/.cache/sshexec"},
        {"", "/home/ada", "/home/ada/.cache/sshexec"},
        {"relative", "/home/ada", "/home/ada/.cache/sshexec"},
        {"/var/cache", NULL, "/var/cache/sshexec"},
        {NULL, NULL, NULL},
        {"relative", "", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[PATH_MAX];
        (void)(cases[i].variable ? setenv("XDG_CACHE_HOME", cases[i].variable, 1) : unsetenv("XDG_CACHE_HOME"));
        (void)(cases[i].home ? setenv("HOME", cases[i].home, 1) : unsetenv("HOME"));
        const char *dir = install_xdg_dir(out, sizeof out, "XDG_CACHE_HOME", ".cache");
        store_open(&store, NULL);
        if (cases[i].dir) {
            assert_string_equal(dir, cases[i].dir);
            assert_string_equal(store.dir, cases[i].dir);
        } else {
            assert_null(dir);
            assert_string_equal(store.dir, "");
        }
    }
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_object_is_kept_under_its_digest),
        TEST(an_empty_object_is_one_too),
        TEST(a_wrong_size_or_digest_leaves_nothing),
        TEST(an_upload_is_sealed),
        TEST(directories_are_private),
        TEST(a_directory_that_others_may_change_is_not_used),
        TEST(a_store_that_is_no_directory_says_so),
        TEST(no_store_has_nothing_and_takes_nothing),
        TEST(an_unwritable_or_full_place_leaves_nothing),
        TEST(a_link_is_not_an_object),
        TEST(a_node_keeps_its_things_where_xdg_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The registry: which directories, in which order, and what a user reads for a name that isn't there. */
#include "base/file.h"
#include "worker/elf.h"
#include "worker/registry.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char root[200]; /* a temporary directory of this test, trusted */

static char *in_root(char *out, const char *path)
{
    snprintf(out, PATH_MAX, "%.200s/%s", root, path);
    return out;
}

static void make_file(const char *path, mode_t mode)
{
    char whole[PATH_MAX], directory[PATH_MAX];
    in_root(whole, path);
    strcpy(directory, whole);
    *strrchr(directory, '/') = 0;
    assert_int_equal(dir_make(directory, NULL), 0);
    int fd = open(whole, O_CREAT | O_WRONLY, mode);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    char made[] = "/tmp/test_registry.XXXXXX", resolved[PATH_MAX];
    if (!mkdtemp(made) || !realpath(made, resolved) || strlen(resolved) >= sizeof root)
        return -1;
    strcpy(root, resolved);
    make_file("a/hello.so", 0644);
    make_file("a/NOTATYPE.so", 0644);
    make_file("a/readme.txt", 0644);
    make_file("b/hello.so", 0644);
    make_file("b/helio.so", 0644);
    make_file("b/open.so", 0666);
    make_file("data/sshexec/plugins/mine.so", 0644);
    make_file("home/.local/share/sshexec/plugins/homely.so", 0644);
    make_file("sys/facts.so", 0644);
    char path[PATH_MAX];
    unsetenv("SSHEXEC_PLUGIN_PATH");
    setenv("HOME", in_root(path, "home"), 1);
    setenv("XDG_DATA_HOME", in_root(path, "data"), 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* Opens with directories a and b as the path. */
static struct registry open_all(void)
{
    char path[2 * PATH_MAX], system_path[PATH_MAX];
    struct registry r;
    snprintf(path, sizeof path, ":%s/a::%s/b/:", root, root);
    assert_int_equal(registry_open(&r, path, in_root(system_path, "sys"), NULL), 0);
    return r;
}

static void assert_found(const struct registry *r, const char *type, const char *path)
{
    char *found, wanted[PATH_MAX];
    struct ssx_error err = {0};
    if (registry_find(r, type, &found, &err))
        fail_msg("%s", err.text);
    assert_string_equal(found, in_root(wanted, path));
    free(found);
}

static void assert_not_found(const struct registry *r, const char *type, enum ssx_error_code code, const char *message)
{
    char *found;
    struct ssx_error err = {0};
    assert_int_equal(registry_find(r, type, &found, &err), -1);
    assert_null(found);
    assert_int_equal(err.code, code);
    assert_string_equal(err.text, message);
}

static void test_order(void **state)
{
    (void)state;
    struct registry r = open_all();
    assert_int_equal(r.count, 4);
    assert_found(&r, "hello", "a/hello.so");
    assert_found(&r, "helio", "b/helio.so");
    assert_found(&r, "mine", "data/sshexec/plugins/mine.so");
    assert_found(&r, "facts", "sys/facts.so");
    registry_close(&r);
}

/* A folder for a machine counts on such machines first, and for others where they are asked for. */
static void test_machines(void **state)
{
    (void)state;
    struct registry r = open_all();
    const char *own = elf_machine_name(elf_own_machine()), *other = strcmp(own, "aarch64") ? "aarch64" : "x86_64";
    char path[300], message[PATH_MAX], *found;
    struct ssx_error err = {0};
    snprintf(path, sizeof path, "a/%s/hello.so", own);
    make_file(path, 0644);
    assert_found(&r, "hello", path);
    in_root(message, path);
    assert_int_equal(unlink(message), 0);
    snprintf(path, sizeof path, "b/%s/only.so", own);
    make_file(path, 0644);
    assert_found(&r, "only", path);
    in_root(message, path);
    assert_int_equal(unlink(message), 0);
    snprintf(path, sizeof path, "b/%s/hello.so", other); /* not beside the one that a/ has */
    make_file(path, 0644);
    assert_int_equal(registry_find_for(&r, "hello", other, &found, &err), 0);
    assert_null(found);
    snprintf(path, sizeof path, "a/%s/hello.so", other);
    make_file(path, 0644);
    assert_int_equal(registry_find_for(&r, "hello", other, &found, &err), 0);
    assert_string_equal(found, in_root(message, path));
    free(found);
    assert_found(&r, "hello", "a/hello.so");
    assert_int_equal(chmod(message, 0666), 0);
    assert_int_equal(registry_find_for(&r, "hello", other, &found, &err), -1);
    assert_null(found);
    assert_non_null(strstr(err.text, "is writable by others"));
    assert_int_equal(registry_find_for(&r, "nosuch", other, &found, &err), 0);
    assert_null(found);
    registry_close(&r);
}

static void test_environment(void **state)
{
    (void)state;
    struct registry r;
    char path[PATH_MAX];
    setenv("SSHEXEC_PLUGIN_PATH", in_root(path, "b"), 1);
    setenv("XDG_DATA_HOME", "relative", 1); /* as good as unset */
    assert_int_equal(registry_open(&r, NULL, NULL, NULL), 0);
    unsetenv("SSHEXEC_PLUGIN_PATH");
    setenv("XDG_DATA_HOME", in_root(path, "data"), 1);
    assert_int_equal(r.count, 2);
    assert_found(&r, "hello", "b/hello.so");
    assert_found(&r, "homely", "home/.local/share/sshexec/plugins/homely.so");
    registry_close(&r);
}

static void test_unknown(void **state)
{
    (void)state;
    struct registry r = open_all();
    char message[5 * PATH_MAX];
    assert_not_found(&r, "hallo", SSX_ERROR_UNKNOWN_TYPE, "unknown type hallo; did you mean helio, hello?");
    snprintf(message, sizeof message,
             "unknown type zzzzzzzz: there is no zzzzzzzz.so in %s/a, %s/b/, %s/data/sshexec/plugins, %s/sys", root,
             root, root, root);
    assert_not_found(&r, "zzzzzzzz", SSX_ERROR_UNKNOWN_TYPE, message);
    assert_not_found(
        &r, "../hello", SSX_ERROR_UNKNOWN_TYPE,
        "'../hello' is no type's name: lower-case letters, digits, - and _, 64 at most, a letter first; a plugin file is named with a slash, as "
        "./hello.so");
    snprintf(
        message, sizeof message,
        "can't use the plugin of type open: won't use %s/b/open.so: %s/b/open.so is writable by others (chmod go-w %s/b/open.so)",
        root, root, root);
    assert_not_found(&r, "open", SSX_ERROR_REFUSED, message);
    registry_close(&r);
}

static int collect(void *user, const char *type, const char *path)
{
    char *text = user;
    snprintf(text + strlen(text), 1000 - strlen(text), "%s=%s ", type, path + strlen(root));
    return strcmp(type, "homely") == 0 ? 7 : 0;
}

static void test_each(void **state)
{
    (void)state;
    struct registry r = open_all();
    char text[1000] = "";
    assert_int_equal(registry_each(&r, collect, text), 0);
    assert_string_equal(
        text,
        "facts=/sys/facts.so helio=/b/helio.so hello=/a/hello.so mine=/data/sshexec/plugins/mine.so open=/b/open.so ");
    registry_close(&r);
    unsetenv("XDG_DATA_HOME");
    r = open_all();
    *text = 0;
    assert_int_equal(registry_each(&r, collect, text), 7);
    assert_string_equal(
        text,
        "facts=/sys/facts.so helio=/b/helio.so hello=/a/hello.so homely=/home/.local/share/sshexec/plugins/homely.so ");
    registry_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_machines), cmocka_unit_test(test_environment),
        cmocka_unit_test(test_unknown), cmocka_unit_test(test_each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

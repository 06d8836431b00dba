/* The named pipe of --transport fifo: private, gone at once, and a reader that dies is an error and no signal. */
#include "base/io.h"
#include "base/tree.h"
#include "transport/fifo.h"
#include "transport/spawn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test-fifo-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return !mkdtemp(dir) || setenv("XDG_RUNTIME_DIR", dir, 1);
}

static int remove_dir(void **state)
{
    (void)state;
    return tree_remove(dir);
}

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n == 2;
}

static void opens_and_leaves_nothing(void **state)
{
    (void)state;
    int reader, writer;
    struct stat st;
    char got[8] = "";
    sigset_t before, after;
    sigprocmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(fifo_open(&reader, &writer), 0);
    sigprocmask(SIG_SETMASK, NULL, &after);
    assert_memory_equal(&before, &after, 8); /* the kernel fills in 64 signals */
    assert_true(is_empty(dir));
    assert_int_equal(fstat(reader, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(fcntl(reader, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(writer, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(reader, F_GETFD) & fcntl(writer, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fifo_write(writer, "abc", 3), 3);
    fd_close(&writer);
    assert_int_equal(read(reader, got, sizeof got), 3);
    assert_int_equal(read(reader, got, sizeof got), 0);
    fd_close(&reader);
}

static void goes_elsewhere_where_it_must(void **state)
{
    (void)state;
    int reader, writer;
    setenv("XDG_RUNTIME_DIR", "/proc/nowhere", 1);
    setenv("TMPDIR", "relative", 1);
    assert_int_equal(fifo_open(&reader, &writer), 0);
    fd_close(&reader);
    fd_close(&writer);
    unsetenv("TMPDIR");
    setenv("XDG_RUNTIME_DIR", dir, 1);
}

static volatile sig_atomic_t pipes;
static void count(int number)
{
    (void)number;
    pipes = pipes + 1;
}

static void a_dead_reader_is_no_signal(void **state)
{
    (void)state;
    int reader, writer;
    sigset_t set, pending;
    signal(SIGPIPE, count);
    assert_int_equal(fifo_open(&reader, &writer), 0);
    fd_close(&reader);
    assert_int_equal(fifo_write(writer, "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(pipes, 0);
    /* one that somebody else has sent meanwhile stays theirs */
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    assert_int_equal(fifo_write(writer, "x", 1), -1);
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGPIPE));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    assert_int_equal(pipes, 1);
    signal(SIGPIPE, SIG_DFL);
    fd_close(&writer);
}

/* The far program, with a fifo as its stdin: what it says, until its end. */
static struct transport *start(const char *script)
{
    struct transport *t = NULL;
    struct ssx_error err = {0};
    const char *argv[] = {"sh", "-c", script, NULL};
    assert_int_equal(spawn_open_how(&t, "fifo", argv, SPAWN_FIFO, &err), 0);
    assert_true(is_empty(dir));
    return t;
}

static void as_stdin_of_a_child(void **state)
{
    (void)state;
    char got[64] = "";
    size_t n = 0;
    struct pollfd fds[TRANSPORT_FDS];
    struct transport *t = start("test -p /dev/stdin && exec cat");
    assert_int_equal(transport_write(t, "through a name", 14, NULL), 14);
    transport_close_write(t);
    for (ssize_t more; (more = transport_read(t, TRANSPORT_STDOUT, got + n, sizeof got - 1 - n, NULL));)
        if (more == TRANSPORT_AGAIN)
            assert_true(poll(fds, (nfds_t)transport_poll(t, false, fds), 10000) > 0);
        else
            n += (size_t)more;
    assert_string_equal(got, "through a name");
    transport_free(t);
}

static void as_stdin_of_a_child_that_leaves(void **state)
{
    (void)state;
    struct transport *t = start("exit 0");
    struct ssx_error err = {0};
    int64_t deadline = clock_ms() + 10000;
    signal(SIGPIPE, SIG_DFL); /* which would end this test */
    while (transport_write(t, "x", 1, &err) > 0 && clock_ms() < deadline)
        usleep(1000);
    assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
    transport_free(t);
}

static void as_stdin_of_a_child_that_does_not_read(void **state)
{
    (void)state;
    static char much[1 << 20];
    struct transport *t = start("exec sleep 100");
    ssize_t n = transport_write(t, much, sizeof much, NULL);
    assert_true(n > 0 && n < (ssize_t)sizeof much);
    assert_int_equal(transport_write(t, much, sizeof much, NULL), TRANSPORT_AGAIN);
    transport_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_leaves_nothing),        cmocka_unit_test(goes_elsewhere_where_it_must),
        cmocka_unit_test(a_dead_reader_is_no_signal),      cmocka_unit_test(as_stdin_of_a_child),
        cmocka_unit_test(as_stdin_of_a_child_that_leaves), cmocka_unit_test(as_stdin_of_a_child_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

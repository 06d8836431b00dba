/* The transport that is a child process: bytes both ways, its end, its status, and nothing left behind. */
#include "base/io.h"
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
#include <sys/wait.h>
#include <unistd.h>

static int count_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int fds_before;

static int before(void **state)
{
    (void)state;
    fds_before = count_fds();
    return 0;
}

/* Each test has freed its transports: no descriptor and no child of theirs is left. */
static int after(void **state)
{
    (void)state;
    return count_fds() != fds_before || waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD;
}

static struct transport *start(const char *script)
{
    struct transport *t = NULL;
    struct ssx_error err = {0};
    const char *argv[] = {"sh", "-c", script, NULL};
    assert_int_equal(spawn_open(&t, "local", argv, &err), 0);
    return t;
}

static void wait_for(struct transport *t, bool want_write)
{
    struct pollfd fds[TRANSPORT_FDS];
    size_t n = transport_poll(t, want_write, fds);
    assert_true(n <= TRANSPORT_FDS);
    assert_true(poll(fds, (nfds_t)n, 10000) > 0);
}

/* Reads one stream to its end; returns how much. What fits is kept. */
static size_t read_all(struct transport *t, enum transport_stream stream, char *out, size_t size)
{
    size_t total = 0;
    for (;;) {
        char bytes[65536];
        ssize_t n = transport_read(t, stream, bytes, sizeof bytes, NULL);
        assert_true(n >= 0 || n == TRANSPORT_AGAIN);
        if (n == 0)
            return total;
        if (n == TRANSPORT_AGAIN) {
            wait_for(t, false);
            continue;
        }
        for (ssize_t i = 0; i < n; i++, total++)
            if (total < size)
                out[total] = bytes[i];
    }
}

static int status_of(struct transport *t)
{
    while (transport_exit_status(t) < 0)
        wait_for(t, false);
    return transport_exit_status(t);
}

static void echo_and_status(void **state)
{
    (void)state;
    char out[64] = "", err[64] = "";
    struct transport *t = start("cat; echo apart >&2; exit 7");
    assert_string_equal(transport_name(t), "local");
    assert_int_equal(transport_write(t, "hello", 5, NULL), 5);
    transport_close_write(t);
    assert_int_equal(read_all(t, TRANSPORT_STDOUT, out, sizeof out - 1), 5);
    assert_int_equal(read_all(t, TRANSPORT_STDERR, err, sizeof err - 1), 6);
    assert_string_equal(out, "hello");
    assert_string_equal(err, "apart\n");
    assert_int_equal(status_of(t), 7);
    assert_int_equal(transport_read(t, TRANSPORT_STDOUT, out, 1, NULL), 0);
    transport_free(t);
}

static void killed_by_a_signal(void **state)
{
    (void)state;
    struct transport *t = start("kill -9 $$");
    assert_int_equal(read_all(t, TRANSPORT_STDOUT, NULL, 0), 0);
    assert_int_equal(status_of(t), 128 + SIGKILL);
    transport_free(t);
}

/* A megabyte each way through a program that echoes: neither side may wait for the other for ever. */
static void bulk(void **state)
{
    (void)state;
    static char data[1 << 20];
    size_t sent = 0, got = 0;
    struct transport *t = start("exec cat");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 251);
    while (got < sizeof data) {
        char bytes[4096];
        ssize_t n = sent < sizeof data ? transport_write(t, data + sent, sizeof data - sent, NULL) : 0;
        assert_true(n >= 0 || n == TRANSPORT_AGAIN);
        sent += n > 0 ? (size_t)n : 0;
        while ((n = transport_read(t, TRANSPORT_STDOUT, bytes, sizeof bytes, NULL)) > 0) {
            assert_memory_equal(bytes, data + got, (size_t)n);
            got += (size_t)n;
        }
        assert_int_equal(n, TRANSPORT_AGAIN);
        if (got < sizeof data)
            wait_for(t, sent < sizeof data);
    }
    transport_free(t);
}

static void a_dead_reader_is_an_error(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    struct transport *t = start("exit 0");
    assert_int_equal(status_of(t), 0);
    assert_int_equal(transport_write(t, "x", 1, &err), -1); /* a SIGPIPE would end this program here */
    assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
    assert_string_equal(err.text, "can't write to local: it has closed its input or ended");
    transport_free(t);
}

static void a_full_pipe_does_not_block(void **state)
{
    (void)state;
    static const char zeros[1 << 20];
    struct transport *t = start("exec sleep 100");
    ssize_t n;
    int64_t begin = clock_ms();
    while ((n = transport_write(t, zeros, sizeof zeros, NULL)) > 0)
        ;
    assert_int_equal(n, TRANSPORT_AGAIN);
    assert_int_equal(transport_read(t, TRANSPORT_STDOUT, (char[1]){0}, 1, NULL), TRANSPORT_AGAIN);
    assert_true(clock_ms() - begin < 1000);
    transport_free(t);
    assert_true(clock_ms() - begin < 1500);
}

static void cannot_start(void **state)
{
    (void)state;
    struct transport *t;
    struct ssx_error err = {0};
    const char *argv[] = {"/nonexistent/agent", NULL};
    assert_int_equal(spawn_open(&t, "local", argv, &err), -1);
    assert_string_equal(err.text, "can't start /nonexistent/agent: No such file or directory");
}

static void stubborn_child_is_killed(void **state)
{
    (void)state;
    struct transport *t = start("trap '' TERM HUP PIPE; echo up; while :; do sleep 1; done");
    char up[3];
    while (transport_read(t, TRANSPORT_STDOUT, up, sizeof up, NULL) == TRANSPORT_AGAIN)
        wait_for(t, false);
    int64_t begin = clock_ms();
    transport_free(t);
    int64_t took = clock_ms() - begin;
    assert_in_range(took, 1100, 2500);
}

/* Its own session (no Ctrl-C from our terminal), no descriptor but 0 1 2, signals at their defaults though ours are
 * not. */
static void what_a_child_inherits(void **state)
{
    (void)state;
    char out[256] = "";
    int mine = open("/dev/null", O_RDONLY); /* without close-on-exec it would be inherited: that is its owner's fault */
    fd_set_cloexec(mine, true);
    signal(SIGINT, SIG_IGN);
    struct transport *t = start("ls /proc/$$/fd; ps -o sid= -p $$ | tr -d ' \\n'; echo \" $$\"");
    read_all(t, TRANSPORT_STDOUT, out, sizeof out - 1);
    transport_free(t);
    char session[64], pid[64], ignored[64] = "";
    assert_memory_equal(out, "0\n1\n2\n", 6); /* by ls alone: behind a pipe, the shell holds that too for a moment */
    assert_int_equal(sscanf(out + 6, "%63s %63s", session, pid), 2);
    assert_string_equal(session, pid);
    t = start("exec awk '/SigIgn/ {print $2}' /proc/self/status"); /* not of a shell, which has signals of its own in hand */
    signal(SIGINT, SIG_DFL);
    read_all(t, TRANSPORT_STDOUT, ignored, sizeof ignored - 1);
    transport_free(t);
    close(mine);
    assert_int_equal(strtoul(ignored, NULL, 16) & (1ul << (SIGINT - 1)), 0);
}

/* A program that was started with its stdio closed gets 0, 1, 2 for the pipes themselves. */
static void with_stdio_closed(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (!pid) {
        char out[8] = "";
        close(0);
        close(1);
        close(2);
        struct transport *t = NULL;
        const char *argv[] = {"cat", NULL};
        if (spawn_open(&t, "local", argv, NULL) || transport_write(t, "ok", 2, NULL) != 2)
            _exit(1);
        transport_close_write(t);
        for (;;) {
            ssize_t n = transport_read(t, TRANSPORT_STDOUT, out, sizeof out, NULL);
            if (n != TRANSPORT_AGAIN)
                _exit(n == 2 && !memcmp(out, "ok", 2) ? 0 : 2);
            usleep(1000);
        }
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(echo_and_status, before, after),
        cmocka_unit_test_setup_teardown(killed_by_a_signal, before, after),
        cmocka_unit_test_setup_teardown(bulk, before, after),
        cmocka_unit_test_setup_teardown(a_dead_reader_is_an_error, before, after),
        cmocka_unit_test_setup_teardown(a_full_pipe_does_not_block, before, after),
        cmocka_unit_test_setup_teardown(cannot_start, before, after),
        cmocka_unit_test_setup_teardown(stubborn_child_is_killed, before, after),
        cmocka_unit_test_setup_teardown(what_a_child_inherits, before, after),
        cmocka_unit_test_setup_teardown(with_stdio_closed, before, after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The bootstrap's shell line, run for real in the shells of this machine, with a script in place of the agent: it finds, asks, stores by digest, or says in one line why it can't. */
#include "base/digest.h"
#include "base/file.h"
#include "base/io.h"
#include "base/tree.h"
#include "client/bootstrap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NONCE "0123456789abcdef0123456789abcdef"
#define GREETING "sshexec 1 " NONCE "\n"
#define NOBODY 65534

/* --- a host --- */

static char top[64], home[96], agents[160];
static struct buf agent_bytes, bad_agent_bytes;
static struct agent_image agent, bad_agent;

/* A program that says that it runs and then gives back what it is sent; large, so that it doesn't arrive in one piece. */
static void make_agent(struct buf *bytes, struct agent_image *image, const char *version)
{
    struct digest digest;
    buf_printf(bytes, "#!/bin/sh\ntest \"$1\" = --version && { %s; }\necho \"agent, $# words\"\nexec cat\n", version);
    while (buf_length(bytes) < 300000)
        buf_add_text(bytes, "# what follows is not text, but may be: \1\2\377\n");
    digest_of(&digest, buf_data(bytes), buf_length(bytes));
    *image = (struct agent_image){.bytes = buf_data(bytes), .size = buf_length(bytes), .machine = "x86_64"};
    digest_hex(image->digest, &digest);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(top, "/tmp/test_bootstrap.XXXXXX");
    if (!mkdtemp(top) || chmod(top, 0755))
        return -1;
    snprintf(home, sizeof home, "%s/ho me", top); /* a name that wants quoting */
    snprintf(agents, sizeof agents, "%s/.cache/sshexec/agents", home);
    make_agent(&agent_bytes, &agent, "exit 0");
    make_agent(&bad_agent_bytes, &bad_agent, "echo no such loader >&2; exit 1");
    return mkdir(home, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&agent_bytes);
    buf_free(&bad_agent_bytes);
    return tree_remove(top);
}

static void empty_home(void)
{
    assert_int_equal(tree_remove(home), 0);
    assert_int_equal(mkdir(home, 0755), 0);
}

/* What can be wrong with a host. */
struct host {
    const char *home;        /* NULL: the one above */
    const char *path;
    bool no_forks;           /* a fork fails */
    bool nobody;             /* not root */
    size_t file_limit;       /* a write beyond it fails, as on a full disk */
};

/* fork, vfork, clone and clone3 fail with EPERM. */
static void forbid_forks(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 3, 0),
#ifdef SYS_fork
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fork, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vfork, 1, 0),
#endif
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
#ifndef SYS_fork /* two steps fewer to the end */
    filter[1].jt = 2;
    filter[2].jt = 1;
#endif
    struct sock_fprog program = {COUNT(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(99);
}

static _Noreturn void become(const struct host *h, const char *const *argv)
{
    char home_is[PATH_MAX], path_is[PATH_MAX];
    char *env[] = {home_is, path_is, NULL};
    snprintf(home_is, sizeof home_is, "HOME=%s", h->home ? h->home : home);
    snprintf(path_is, sizeof path_is, "PATH=%s", h->path ? h->path : "/usr/bin:/bin");
    if (h->file_limit) {
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){h->file_limit, h->file_limit}))
            _exit(99);
    }
    if (h->nobody && geteuid() == 0 && (setgid(NOBODY) || setuid(NOBODY)))
        _exit(99);
    if (h->no_forks)
        forbid_forks();
    execve(argv[0], (char *const *)argv, env);
    _exit(98);
}

struct shell { pid_t pid; int in, out; };

static struct shell run(const struct host *h, const char *const *argv)
{
    struct shell s;
    int in[2], out[2];
    assert_true(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    s.pid = fork();
    assert_true(s.pid >= 0);
    if (s.pid == 0) {
        alarm(60);
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
        become(h, argv);
    }
    close(in[0]);
    close(out[1]);
    s.in = in[1];
    s.out = out[0];
    return s;
}

static void tell(const struct shell *s, const void *bytes, size_t n) { (void)!fd_write_all(s->in, bytes, n); } /* a shell that gave up doesn't read: fine */

/* Reads a line, or to the end of what comes. */
static const char *answer(const struct shell *s)
{
    static char line[1024];
    size_t n = 0;
    while (n < sizeof line - 1 && read(s->out, line + n, 1) == 1 && line[n++] != '\n')
        ;
    line[n] = 0;
    return line;
}

static int finish(struct shell *s)
{
    int status;
    fd_close(&s->in);
    assert_string_equal(answer(s), "");
    fd_close(&s->out);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* The shell line; its script alone if `script`. Valid until the next call. */
static const char *line_of(const struct agent_image *image, bool script)
{
    static struct buf line;
    buf_free(&line);
    assert_int_equal(bootstrap_command(&line, image), 0);
    char *text = (char *)buf_data(&line), *first = strchr(text, '\'');
    if (!script)
        return text;
    *strrchr(text, '\'') = 0;
    return first + 1;
}

/* --- dialogues --- */

/* The whole of an upload, and the agent's first words. */
static void store_agent(const struct host *h, const char *const *argv)
{
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    const char *need = answer(&s);
    if (strncmp(need, "sshexec-need 1 " NONCE " Linux ", 54))
        fail_msg("%s answers: %s", argv[0], need);
    tell(&s, agent.bytes, agent.size);
    tell(&s, GREETING "frames\n", strlen(GREETING) + 7);
    assert_string_equal(answer(&s), "agent, 0 words\n");
    assert_string_equal(answer(&s), GREETING);
    assert_string_equal(answer(&s), "frames\n");
    assert_int_equal(finish(&s), 0);
}

static void use_stored_agent(const struct host *h, const char *const *argv)
{
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    assert_string_equal(answer(&s), "agent, 0 words\n");
    assert_string_equal(answer(&s), GREETING); /* not read by a shell */
    assert_int_equal(finish(&s), 0);
}

/* The agent is there, whole, for its owner alone, and nothing else is. */
static void assert_stored(void)
{
    char path[PATH_MAX];
    struct stat st;
    struct digest digest;
    char hex[DIGEST_HEX + 1];
    size_t others = 0;
    snprintf(path, sizeof path, "%s/%s", agents, agent.digest);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(digest_of_fd(&digest, fd, NULL), 0);
    digest_hex(hex, &digest);
    assert_string_equal(hex, agent.digest);
    close(fd);
    DIR *dir = opendir(agents);
    for (struct dirent *e; (e = readdir(dir));)
        others += e->d_name[0] != '.' && strcmp(e->d_name, agent.digest);
    closedir(dir);
    assert_int_equal(others, 0);
    assert_true(stat(agents, &st) == 0 && (st.st_mode & 077) == 0);
}

static void assert_nothing_stored(void)
{
    DIR *dir = opendir(agents);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        assert_true(e->d_name[0] == '.');
    closedir(dir);
}

/* Sends these bytes as the agent, none if NULL, and expects one line that gives this reason. */
static void fail_to_store(const struct host *h, const struct agent_image *image, const void *bytes, size_t n, const char *reason)
{
    const char *argv[] = {"/bin/sh", "-c", line_of(image, false), NULL};
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    if (bytes) {
        assert_non_null(strstr(answer(&s), "sshexec-need"));
        tell(&s, bytes, n);
        fd_close(&s.in);
    }
    const char *line = answer(&s);
    assert_int_equal(strncmp(line, "sshexec-fail 1 " NONCE " ", 48), 0);
    if (!strstr(line + 48, reason))
        fail_msg("\"%s\" doesn't say \"%s\"", line, reason);
    assert_int_equal(finish(&s), 1);
}

/* --- tests --- */

static void the_line_survives_any_shell(void **state)
{
    (void)state;
    const char *script = line_of(&agent, true);
    assert_int_equal(strcspn(script, "'\\\n!"), strlen(script));
    assert_non_null(strstr(script, agent.digest));
    assert_int_equal(strncmp(line_of(&agent, false), "exec /bin/sh -c '", 17), 0);
}

static void every_login_shell_stores_and_finds_the_agent(void **state)
{
    (void)state;
    static const char *const shells[] = {"/bin/sh", "/bin/dash", "/bin/bash", "/usr/bin/zsh", "/bin/mksh", "/bin/tcsh", "/usr/bin/fish"};
    size_t tried = 0;
    for (size_t i = 0; i < COUNT(shells); i++) {
        const char *argv[] = {shells[i], "-c", line_of(&agent, false), NULL};
        struct host h = {0};
        if (access(shells[i], X_OK))
            continue;
        empty_home();
        store_agent(&h, argv);
        assert_stored();
        use_stored_agent(&h, argv);
        tried++;
    }
    assert_true(tried >= 2);
}

static void every_posix_shell_runs_the_script(void **state)
{
    (void)state;
    static const struct { const char *shell, *applet; } shells[] = {{"/bin/sh", NULL}, {"/bin/dash", NULL}, {"/bin/bash", NULL}, {"/bin/mksh", NULL}, {"/bin/busybox", "sh"}};
    for (size_t i = 0; i < COUNT(shells); i++) {
        const char *script = line_of(&agent, true);
        const char *plain[] = {shells[i].shell, "-c", script, NULL}, *applet[] = {shells[i].shell, shells[i].applet, "-c", script, NULL};
        const char *const *argv = shells[i].applet ? applet : plain;
        struct host h = {0};
        if (access(shells[i].shell, X_OK))
            continue;
        empty_home();
        store_agent(&h, argv);
        assert_stored();
        use_stored_agent(&h, argv);
    }
}

static void a_stored_agent_starts_without_a_fork(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
    struct host plain = {0}, forkless = {.no_forks = true};
    empty_home();
    store_agent(&plain, argv);
    use_stored_agent(&forkless, argv);
    empty_home();
    struct shell s = run(&forkless, argv); /* the other way does fork: the filter works */
    tell(&s, GREETING, strlen(GREETING));
    assert_null(strstr(answer(&s), "sshexec-need 1 " NONCE " Linux"));
    fd_close(&s.in);
    while (*answer(&s))
        ;
    assert_int_not_equal(finish(&s), 0);
}

static void another_cache_directory_is_used_where_one_is_set(void **state)
{
    (void)state;
    char command[PATH_MAX], cache[PATH_MAX];
    struct host h = {0};
    struct buf line = {0};
    empty_home();
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s/cache", home);
    assert_int_equal(bootstrap_command(&line, &agent), 0);
    const char *argv[] = {"/usr/bin/env", cache, "/bin/sh", "-c", (const char *)buf_data(&line), NULL};
    store_agent(&h, argv);
    snprintf(command, sizeof command, "%s/cache/sshexec/agents/%s", home, agent.digest);
    assert_int_equal(access(command, X_OK), 0);
    buf_free(&line);
}

static void what_can_not_be_stored_is_said_in_one_line(void **state)
{
    (void)state;
    char closed[PATH_MAX];
    struct host no_directory = {.home = "/dev/null"}, unwritable = {.nobody = true}, full = {.file_limit = 65536}, plain = {0};
    empty_home();
    fail_to_store(&no_directory, &agent, NULL, 0, "Not a directory");
    if (geteuid() == 0) /* the home is root's */
        fail_to_store(&unwritable, &agent, NULL, 0, "Permission denied");
    fail_to_store(&full, &agent, agent.bytes, agent.size, "File too large");
    assert_nothing_stored();
    fail_to_store(&plain, &agent, agent.bytes, agent.size - 1, "is not what was sent");
    assert_nothing_stored();
    fail_to_store(&plain, &agent, bad_agent.bytes, bad_agent.size, "is not what was sent");
    assert_nothing_stored();
    fail_to_store(&plain, &bad_agent, bad_agent.bytes, bad_agent.size, "can not run it: no such loader");
    assert_nothing_stored();
    snprintf(closed, sizeof closed, "%s", agents);
    assert_int_equal(chmod(closed, 0500), 0);
    if (geteuid()) /* root may write anywhere */
        fail_to_store(&plain, &agent, NULL, 0, "is not writable");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_survives_any_shell),
        cmocka_unit_test(every_login_shell_stores_and_finds_the_agent),
        cmocka_unit_test(every_posix_shell_runs_the_script),
        cmocka_unit_test(a_stored_agent_starts_without_a_fork),
        cmocka_unit_test(another_cache_directory_is_used_where_one_is_set),
        cmocka_unit_test(what_can_not_be_stored_is_said_in_one_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

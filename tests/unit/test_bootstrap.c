/* The bootstrap's shell line, run for real in the shells of this machine, with a script in place of the agent: it
 * finds, asks, stores by digest, or says in one line why it can't. */
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

static char top[64], home[96], store[128], agents[160], user[64], in_shm[96], in_tmp[96];
static struct buf agent_bytes, agent_packed, bad_agent_bytes, bad_agent_packed, arm_agent_bytes, arm_agent_packed;
static struct agent_image agent, bad_agent, arm_agent;

static void pack(struct buf *out, const struct buf *bytes)
{
    char path[PATH_MAX], command[PATH_MAX + 32], block[4096];
    snprintf(path, sizeof path, "%s/image", top);
    assert_int_equal(file_write_atomic(path, buf_data(bytes), buf_length(bytes), 0600, NULL), 0);
    snprintf(command, sizeof command, "gzip -nc <%s", path);
    FILE *f = popen(command, "r");
    for (size_t n; f && (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(out, block, n);
    assert_true(f && pclose(f) == 0);
    unlink(path);
}

/* A program that says how it was started and then gives back what it is sent; large, so that it doesn't arrive in one
 * piece. */
static void make_agent(struct buf *bytes, struct buf *packed, struct agent_image *image, const char *version)
{
    struct digest digest;
    buf_printf(bytes, "#!/bin/sh\ntest \"$1\" = --version && { %s; }\necho \"agent $# $1 $2\"\numask\nexec cat\n", version);
    for (unsigned i = 0; buf_length(bytes) < 300000; i++)
        buf_printf(bytes, "# what follows is not text, but may be: \1\2\377 %u\n", i * 2654435761u);
    digest_of(&digest, buf_data(bytes), buf_length(bytes));
    pack(packed, bytes);
    *image = (struct agent_image){.bytes = buf_data(bytes),
                                  .size = buf_length(bytes),
                                  .packed = buf_data(packed),
                                  .packed_size = buf_length(packed),
                                  .machine = "x86_64"};
    digest_hex(image->digest, &digest);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(top, "/tmp/test_bootstrap.XXXXXX");
    if (!mkdtemp(top) || chmod(top, 0755))
        return -1;
    snprintf(home, sizeof home, "%s/ho me", top); /* a name that wants quoting */
    snprintf(store, sizeof store, "%s/.cache/sshexec", home);
    snprintf(agents, sizeof agents, "%s/agents", store);
    snprintf(user, sizeof user, "test%s", strrchr(top, '.') + 1); /* so that the places in shared directories are this run's own */
    snprintf(in_shm, sizeof in_shm, "/dev/shm/sshexec-%s", user);
    snprintf(in_tmp, sizeof in_tmp, "/tmp/sshexec-%s", user);
    make_agent(&agent_bytes, &agent_packed, &agent, "exit 0");
    make_agent(&arm_agent_bytes, &arm_agent_packed, &arm_agent, "exit 0; }; test \"$1\" = --store && { echo for arm");
    strcpy(arm_agent.machine, "aarch64");
    make_agent(&bad_agent_bytes, &bad_agent_packed, &bad_agent, "echo FATAL: kernel too old >&2; exit 1");
    return mkdir(home, 0755);
}

static void empty_shared_places(void)
{
    const char *const places[] = {in_shm, in_tmp};
    for (size_t i = 0; i < COUNT(places); i++)
        if (unlink(places[i]))
            tree_remove(places[i]);
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&agent_bytes);
    buf_free(&agent_packed);
    buf_free(&arm_agent_bytes);
    buf_free(&arm_agent_packed);
    buf_free(&bad_agent_bytes);
    buf_free(&bad_agent_packed);
    empty_shared_places();
    return tree_remove(top);
}

static void empty_home(void)
{
    assert_int_equal(tree_remove(home), 0);
    assert_int_equal(mkdir(home, 0755), 0);
    empty_shared_places();
}

/* Files stand where the places in shared directories would be. */
static void block_shared_places(void)
{
    assert_int_equal(file_write_atomic(in_shm, "", 0, 0600, NULL), 0);
    assert_int_equal(file_write_atomic(in_tmp, "", 0, 0600, NULL), 0);
}

/* What can be wrong with a host. */
struct host {
    const char *home;        /* NULL: the one above; "": not set */
    const char *variable;    /* one more, NAME=VALUE */
    const char *path;
    mode_t umask;
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
    char home_is[PATH_MAX], path_is[PATH_MAX], user_is[80];
    char *env[] = {path_is, user_is, home_is, h->variable ? (char *)h->variable : NULL, NULL};
    if (h->home && !*h->home)
        env[2] = (char *)"NO_HOME=1";
    snprintf(user_is, sizeof user_is, "LOGNAME=%s", user);
    snprintf(home_is, sizeof home_is, "HOME=%s", h->home ? h->home : home);
    snprintf(path_is, sizeof path_is, "PATH=%s", h->path ? h->path : "/usr/bin:/bin");
    umask(h->umask ? h->umask : 022);
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

static void tell(const struct shell *s, const void *bytes, size_t n)
{
    (void)!fd_write_all(s->in, bytes, n);
} /* a shell that gave up doesn't read: fine */

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
static const char *line_in(const struct agent_image *image, enum bootstrap_mode mode, bool script)
{
    static struct buf line;
    buf_free(&line);
    assert_int_equal(bootstrap_command(&line, image, mode), 0);
    char *text = (char *)buf_data(&line), *first = strchr(text, '\'');
    if (!script)
        return text;
    *strrchr(text, '\'') = 0;
    return first + 1;
}

static const char *line_of(const struct agent_image *image, bool script) { return line_in(image, BOOTSTRAP_CACHE, script); }

/* --- dialogues --- */

/* What the agent says first: its arguments, and the umask that it was started with. */
static void expect_agent(const struct shell *s, const char *arguments, mode_t mask)
{
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "agent %s\n", arguments);
    assert_string_equal(answer(s), line);
    snprintf(line, sizeof line, "%04o\n", mask ? mask : 022);
    assert_string_equal(answer(s), line);
}

static const char *store_arguments(const char *dir)
{
    static char text[PATH_MAX + 32];
    snprintf(text, sizeof text, "2 --store %s", dir);
    return text;
}

/* The host asks for the agent and is sent it in the encoding that it named. */
static void upload(const struct shell *s, const struct agent_image *image, const char *who)
{
    tell(s, GREETING, strlen(GREETING));
    const char *need = answer(s);
    if (strncmp(need, "sshexec-need 1 " NONCE " Linux ", 54))
        fail_msg("%s answers: %s", who, need);
    bool gzip = strstr(need, " gzip\n");
    tell(s, gzip ? image->packed : image->bytes, gzip ? image->packed_size : image->size);
}

/* The whole of an upload, and the agent's first words. */
static void store_agent_in(const struct host *h, const char *const *argv, const char *arguments)
{
    struct shell s = run(h, argv);
    upload(&s, &agent, argv[0]);
    tell(&s, GREETING "frames\n", strlen(GREETING) + 7);
    expect_agent(&s, arguments, h->umask);
    assert_string_equal(answer(&s), GREETING);
    assert_string_equal(answer(&s), "frames\n");
    assert_int_equal(finish(&s), 0);
}

static void store_agent(const struct host *h, const char *const *argv) { store_agent_in(h, argv, store_arguments(store)); }

static void use_stored_agent(const struct host *h, const char *const *argv)
{
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    expect_agent(&s, store_arguments(store), h->umask);
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
        others += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, agent.digest);
    closedir(dir);
    assert_int_equal(others, 0);
    assert_true(stat(agents, &st) == 0 && (st.st_mode & 077) == 0);
}

/* Not even a directory is left of it. */
static void assert_nothing_left(void)
{
    DIR *dir = opendir(home);
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            fail_msg("%s is left in the home", e->d_name);
    closedir(dir);
    struct stat st;
    assert_true(stat(in_shm, &st) || S_ISREG(st.st_mode));
    assert_true(stat(in_tmp, &st) || S_ISREG(st.st_mode));
}

/* Expects one line that gives this reason, and the end. */
static void expect_failure(struct shell *s, const char *reason)
{
    const char *line = answer(s);
    if (strncmp(line, "sshexec-fail 1 " NONCE " ", 48))
        fail_msg("\"%s\" is no failure", line);
    if (!strstr(line + 48, reason))
        fail_msg("\"%s\" doesn't say \"%s\"", line, reason);
    assert_int_equal(finish(s), 1);
}

static void fail_to_start(const struct host *h, enum bootstrap_mode mode, const char *reason)
{
    const char *argv[] = {"/bin/sh", "-c", line_in(&agent, mode, false), NULL};
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    expect_failure(&s, reason);
}

/* Sends these bytes as the agent and expects this reason. */
static void fail_to_store(const struct host *h, const struct agent_image *image, const void *bytes, size_t n, const char *reason)
{
    const char *argv[] = {"/bin/sh", "-c", line_of(image, false), NULL};
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    assert_non_null(strstr(answer(&s), " gzip\n"));
    tell(&s, bytes, n);
    fd_close(&s.in);
    expect_failure(&s, reason);
}

/* --- tests --- */

static void the_line_survives_any_shell(void **state)
{
    (void)state;
    static const enum bootstrap_mode modes[] = {BOOTSTRAP_CACHE, BOOTSTRAP_NEVER, BOOTSTRAP_EPHEMERAL};
    for (size_t i = 0; i < COUNT(modes); i++) {
        const char *script = line_in(&agent, modes[i], true);
        assert_int_equal(strcspn(script, "'\\\n!"), strlen(script));
        assert_non_null(strstr(script, agent.digest));
        assert_int_equal(strncmp(line_in(&agent, modes[i], false), "exec /bin/sh -c '", 17), 0);
    }
    struct buf clean = {0};
    assert_int_equal(bootstrap_clean_command(&clean, NONCE), 0);
    assert_int_equal(strcspn((const char *)buf_data(&clean) + 17, "'"), buf_length(&clean) - 17 - 2);
    assert_null(strpbrk((const char *)buf_data(&clean), "\\\n!"));
    buf_free(&clean);
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

/* In a directory of its own in the PATH: a uname whose -m is this. */
static const char *path_with_uname(const char *machine)
{
    static char path[96];
    char directory[76], file[84], text[128];
    snprintf(directory, sizeof directory, "%s/machine", top);
    snprintf(file, sizeof file, "%s/uname", directory);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", directory);
    assert_true(mkdir(directory, 0755) == 0 || errno == EEXIST);
    int n = snprintf(text, sizeof text, "#!/bin/sh\ntest \"$1\" = -m && echo %s || echo Linux\n", machine);
    assert_int_equal(file_write_atomic(file, text, (size_t)n, 0755, NULL), 0);
    return path;
}

static void expect_arm_agent(const struct host *h, const char *const *argv, bool known)
{
    struct shell s = run(h, argv);
    if (!known)
        upload(&s, &arm_agent, argv[0]);
    tell(&s, GREETING, strlen(GREETING));
    assert_string_equal(answer(&s), "for arm\n");
    expect_agent(&s, store_arguments(store), h->umask);
    assert_string_equal(answer(&s), GREETING);
    assert_int_equal(finish(&s), 0);
}

/* Each host gets, keeps and later finds the one for its machine: also where two of them share a home. */
static void a_host_keeps_the_agent_for_its_machine(void **state)
{
    (void)state;
    static const char *const shells[] = {"/bin/sh", "/bin/bash", "/usr/bin/zsh", "/bin/tcsh", "/usr/bin/fish"};
    struct agent_image both = agent, arm = arm_agent, flawed = {.machine = "riscv64", .flaw = "of another version"};
    both.next = &arm;
    arm.next = &flawed;
    for (size_t i = 0; i < COUNT(shells); i++) {
        const char *argv[] = {shells[i], "-c", line_of(&both, false), NULL};
        struct host h = {.path = path_with_uname("aarch64")};
        if (access(shells[i], X_OK))
            continue;
        empty_home();
        expect_arm_agent(&h, argv, false);
        expect_arm_agent(&h, argv, true);
        path_with_uname("x86_64");
        store_agent(&h, argv);
        use_stored_agent(&h, argv);
    }
    struct host h = {.path = path_with_uname("riscv64")};
    const char *argv[] = {"/bin/sh", "-c", line_of(&both, false), NULL};
    struct shell s = run(&h, argv);
    tell(&s, GREETING, strlen(GREETING));
    assert_string_equal(answer(&s), "sshexec-need 1 " NONCE " Linux riscv64 gzip\n"); /* the sender knows what to say to that */
    fd_close(&s.in);
    while (*answer(&s))
        ;
    assert_int_not_equal(finish(&s), 0);
}

/* Its home is shared with a machine that has that one. */
static void the_agent_of_another_machine_is_not_started(void **state)
{
    (void)state;
    struct agent_image other = agent;
    struct host h = {0};
    const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
    empty_home();
    store_agent(&h, argv);
    snprintf(other.machine, sizeof other.machine, "riscv64");
    argv[2] = line_of(&other, false);
    struct shell s = run(&h, argv);
    tell(&s, GREETING, strlen(GREETING));
    assert_non_null(strstr(answer(&s), "sshexec-need 1 " NONCE " Linux "));
    fd_close(&s.in);
    while (*answer(&s))
        ;
    assert_int_not_equal(finish(&s), 0);
}

static void every_posix_shell_runs_the_script(void **state)
{
    (void)state;
    static const struct {
        const char *shell, *applet;
    } shells[] = {
        {"/bin/sh", NULL}, {"/bin/dash", NULL}, {"/bin/bash", NULL}, {"/bin/mksh", NULL}, {"/bin/busybox", "sh"}};
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
    if (access("/proc/sys/kernel/arch", R_OK))
        skip(); /* before Linux 6.1 */
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

static bool is_stored_in(const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/agents/%s", dir, agent.digest);
    return stat(path, &st) == 0 && (st.st_mode & 07777) == 0700;
}

static void store_with(const struct host *h, const char *dir)
{
    const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
    store_agent_in(h, argv, store_arguments(dir));
    assert_true(is_stored_in(dir));
    struct shell s = run(h, argv);
    tell(&s, GREETING, strlen(GREETING));
    expect_agent(&s, store_arguments(dir), h->umask);
    assert_string_equal(answer(&s), GREETING);
    assert_int_equal(finish(&s), 0);
}

static void places_are_tried_in_order(void **state)
{
    (void)state;
    char cache[PATH_MAX], dir[PATH_MAX];
    struct host no_home = {.home = ""}, unusable = {.home = "/dev/null"}, relative = {.variable = "XDG_CACHE_HOME=here"};
    struct host set = {.variable = cache};
    empty_home();
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s/cache", home);
    snprintf(dir, sizeof dir, "%s/cache/sshexec", home);
    store_with(&set, dir);
    empty_home();
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=/dev/null/cache");
    store_with(&set, store);
    empty_home();
    store_with(&relative, store); /* not absolute: ignored, as XDG's specification says */
    empty_home();
    unusable.variable = cache;
    snprintf(cache, sizeof cache, "XDG_RUNTIME_DIR=%s/run", home);
    snprintf(dir, sizeof dir, "%s/run/sshexec", home);
    store_with(&unusable, dir);
    empty_home();
    unusable.variable = NULL;
    store_with(&unusable, in_shm);
    empty_home();
    store_with(&no_home, in_shm);
    empty_home();
    assert_int_equal(file_write_atomic(in_shm, "", 0, 0600, NULL), 0);
    store_with(&no_home, in_tmp);
    empty_home();
}

static void a_place_that_is_not_ours_is_never_used(void **state)
{
    (void)state;
    struct host h = {.home = "/dev/null"}, homely = {0};
    char mine[PATH_MAX], planted[PATH_MAX];
    struct stat st;
    empty_home();
    snprintf(mine, sizeof mine, "%s/mine", home); /* our own directory, but another chose it */
    assert_true(mkdir(mine, 0700) == 0 && symlink(mine, in_shm) == 0);
    store_with(&h, in_tmp);
    assert_true(rmdir(mine) == 0); /* it is empty */
    empty_home();
    assert_true(mkdir(in_shm, 0777) == 0 && chmod(in_shm, 0777) == 0);
    if (geteuid() == 0) { /* another user's, with a program that stands where our agent would */
        snprintf(planted, sizeof planted, "%s/agents", in_shm);
        assert_true(mkdir(planted, 0777) == 0);
        snprintf(planted, sizeof planted, "%s/agents/%s", in_shm, agent.digest);
        assert_int_equal(file_write_atomic(planted, "#!/bin/sh\necho pwned\n", 21, 0755, NULL), 0);
        assert_true(chown(in_shm, NOBODY, NOBODY) == 0);
        store_with(&h, in_tmp);
        assert_true(chown(planted, NOBODY, NOBODY) == 0 && chown(in_shm, 0, 0) == 0); /* the file is another's */
        tree_remove(in_tmp);
        struct shell s = run(&h, (const char *[]){"/bin/sh", "-c", line_of(&agent, false), NULL});
        tell(&s, GREETING, strlen(GREETING));
        assert_non_null(strstr(answer(&s), "sshexec-need"));
        fd_close(&s.in);
        assert_non_null(strstr(answer(&s), "sshexec-fail"));
        finish(&s);
        tree_remove(in_shm);
        assert_true(mkdir(in_shm, 0777) == 0 && chown(in_shm, NOBODY, NOBODY) == 0 &&
                    chmod(in_shm, 0777) == 0); /* empty: nothing is put into it */
        store_with(&h, in_tmp);
        assert_true(rmdir(in_shm) == 0);
    }
    empty_home();
    assert_int_equal(stat(in_shm, &st), -1);
    store_with(&homely, store);
}

static void an_odd_umask_changes_neither_the_store_nor_is_it_changed(void **state)
{
    (void)state;
    static const mode_t masks[] = {0777, 0277, 002, 077};
    for (size_t i = 0; i < COUNT(masks); i++) {
        struct host h = {.umask = masks[i]};
        const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
        empty_home();
        store_agent(&h, argv);
        assert_stored();
        use_stored_agent(&h, argv);
    }
}

static void a_host_without_gzip_gets_the_agent_as_it_is(void **state)
{
    (void)state;
    static const char *const tools[] = {"cat", "chmod", "dd", "find", "head", "id", "mkdir", "mv", "rm", "rmdir", "sha256sum", "uname"};
    char bin[PATH_MAX], link[PATH_MAX + 32], target[PATH_MAX];
    empty_home();
    snprintf(bin, sizeof bin, "%s/bin", top);
    assert_int_equal(mkdir(bin, 0755), 0);
    for (int greedy = 0; greedy < 2; greedy++) {
        struct host h = {.path = bin};
        const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
        for (size_t i = 0; i < COUNT(tools); i++) {
            snprintf(link, sizeof link, "%s/%s", bin, tools[i]);
            snprintf(target, sizeof target, "/usr/bin/%s", tools[i]);
            unlink(link);
            assert_int_equal(symlink(target, link), 0);
        }
        snprintf(link, sizeof link, "%s/head", bin);
        if (greedy) { /* it reads more than it prints */
            static const char script[] =
                "#!/bin/sh\nif test $# = 3; then exec /usr/bin/head \"$@\"; fi; /usr/bin/head \"$@\"; cat >/dev/null\n";
            assert_int_equal(file_write_atomic(link, script, sizeof script - 1, 0755, NULL), 0);
        }
        empty_home();
        struct shell s = run(&h, argv);
        tell(&s, GREETING, strlen(GREETING));
        assert_non_null(strstr(answer(&s), " plain\n"));
        tell(&s, agent.bytes, agent.size);
        tell(&s, GREETING, strlen(GREETING));
        expect_agent(&s, store_arguments(store), 0);
        assert_string_equal(answer(&s), GREETING);
        assert_int_equal(finish(&s), 0);
        assert_stored();
    }
    tree_remove(bin);
}

static void what_can_not_be_stored_is_said_in_one_line(void **state)
{
    (void)state;
    struct host no_directory = {.home = "/dev/null"}, unwritable = {.nobody = true}, full = {.file_limit = 65536},
                plain = {0}, homeless = {.home = ""};
    empty_home();
    block_shared_places();
    fail_to_start(&no_directory, BOOTSTRAP_CACHE, "/dev/null/.cache/sshexec (Not a directory), /dev/shm/sshexec-");
    fail_to_start(&no_directory, BOOTSTRAP_CACHE, "(File exists), /tmp/sshexec-");
    fail_to_start(&homeless, BOOTSTRAP_CACHE, "/dev/shm/sshexec-");
    if (geteuid() == 0) /* the home is root's */
        fail_to_start(&unwritable, BOOTSTRAP_CACHE, "/.cache/sshexec (Permission denied)");
    fail_to_start(&full, BOOTSTRAP_CACHE, "/.cache/sshexec (File too large)");
    assert_nothing_left();
    fail_to_store(&plain, &agent, agent.packed, agent.packed_size - 1, "unexpected end of file");
    assert_nothing_left();
    fail_to_store(&plain, &agent, bad_agent.packed, agent.packed_size, "");
    assert_nothing_left();
    fail_to_store(&plain, &agent, agent.bytes, agent.packed_size, "not in gzip format");
    assert_nothing_left();
    fail_to_store(&plain, &bad_agent, bad_agent.packed, bad_agent.packed_size, "FATAL: kernel too old");
    assert_nothing_left();
}

/* Every process of an upload is killed, at many moments; the others leave nothing but a whole agent. */
static void a_killed_upload_leaves_nothing(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
    struct host h = {0};
    for (unsigned i = 0; i < 24; i++) {
        empty_home();
        struct shell s = run(&h, argv);
        tell(&s, GREETING, strlen(GREETING));
        assert_non_null(strstr(answer(&s), " gzip\n"));
        tell(&s, agent.packed, agent.packed_size * (i % 8) / 8);
        usleep(1000 * (i % 5));
        kill(s.pid, i < 8 ? SIGKILL : i < 16 ? SIGTERM : SIGHUP);
        fd_close(&s.in);
        while (*answer(&s)) /* until the last process has closed it */
            ;
        fd_close(&s.out);
        waitpid(s.pid, NULL, 0);
        assert_nothing_left();
    }
}

static void never_uses_what_is_there_and_brings_nothing(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", NULL, NULL};
    char bin[PATH_MAX], path[PATH_MAX + 32];
    struct host h = {0}, with_agent = {.path = path};
    empty_home();
    fail_to_start(&h, BOOTSTRAP_NEVER, "--no-bootstrap");
    assert_nothing_left();
    argv[2] = line_of(&agent, false);
    store_agent(&h, argv);
    argv[2] = line_in(&agent, BOOTSTRAP_NEVER, false);
    use_stored_agent(&h, argv);
    empty_home();
    snprintf(bin, sizeof bin, "%s/sshexec-agent", home);
    snprintf(path, sizeof path, "/usr/bin:/bin:%s", home);
    assert_int_equal(file_write_atomic(bin, agent.bytes, agent.size, 0755, NULL), 0);
    struct shell s = run(&with_agent, argv);
    tell(&s, GREETING, strlen(GREETING));
    expect_agent(&s, "0  ", 0);
    assert_string_equal(answer(&s), GREETING);
    assert_int_equal(finish(&s), 0);
}

static size_t count_temps(const char *where)
{
    size_t count = 0;
    DIR *dir = opendir(where);
    for (struct dirent *e; dir && (e = readdir(dir));)
        count += strncmp(e->d_name, ".sshexec-" NONCE, 41) == 0;
    if (dir)
        closedir(dir);
    return count;
}

static void an_ephemeral_agent_has_no_name(void **state)
{
    (void)state;
    char run_dir[PATH_MAX];
    struct host h = {.variable = run_dir};
    const char *argv[] = {"/bin/sh", "-c", line_in(&agent, BOOTSTRAP_EPHEMERAL, false), NULL};
    empty_home();
    snprintf(run_dir, sizeof run_dir, "XDG_RUNTIME_DIR=%s", home);
    struct shell s = run(&h, argv);
    tell(&s, GREETING, strlen(GREETING));
    assert_non_null(strstr(answer(&s), " gzip\n"));
    assert_nothing_left(); /* not even while it arrives */
    tell(&s, agent.packed, agent.packed_size);
    tell(&s, GREETING, strlen(GREETING));
    expect_agent(&s, "1 --ephemeral ", 0);
    assert_nothing_left();
    assert_int_equal(count_temps("/dev/shm") + count_temps("/tmp"), 0);
    assert_string_equal(answer(&s), GREETING);
    assert_int_equal(finish(&s), 0);
    s = run(&h, argv);
    upload(&s, &bad_agent, "sh"); /* not what was announced */
    fd_close(&s.in);
    while (*answer(&s))
        ;
    assert_int_equal(finish(&s), 1);
    assert_nothing_left();
}

static void a_changed_greeting_is_told(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
    struct host h = {0};
    empty_home();
    struct shell s = run(&h, argv);
    tell(&s, "sshexec 1 " NONCE "\r\n", 44);
    expect_failure(&s, "changes bytes");
    assert_nothing_left();
}

static void clean_removes_what_was_stored_and_nothing_else(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", line_of(&agent, false), NULL};
    char path[PATH_MAX], expected[PATH_MAX + 64];
    struct buf line = {0};
    struct host h = {0};
    empty_home();
    store_agent(&h, argv);
    snprintf(path, sizeof path, "%s/answers", store); /* this host's own, as a sender */
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
    assert_true(symlink(home, in_shm) == 0);
    char temp[PATH_MAX], used[PATH_MAX], tmpdir[PATH_MAX + 8];
    snprintf(temp, sizeof temp, "%s/sshexec-0123456789abcdef", home); /* of a worker whose host was killed */
    snprintf(used, sizeof used, "%s/sshexec-fedcba9876543210", home); /* of one that runs */
    snprintf(tmpdir, sizeof tmpdir, "TMPDIR=%s", home);
    assert_true(mkdir(temp, 0700) == 0 && mkdir(used, 0700) == 0);
    struct shell worker = run(&h, (const char *[]){"/bin/sh", "-c", "read x", used, NULL});
    h.variable = tmpdir;
    assert_int_equal(bootstrap_clean_command(&line, NONCE), 0);
    const char *clean[] = {"/bin/sh", "-c", (const char *)buf_data(&line), NULL};
    struct shell s = run(&h, clean);
    snprintf(expected, sizeof expected, "sshexec-clean 1 " NONCE " gone %s\n", agents);
    assert_string_equal(answer(&s), expected);
    snprintf(expected, sizeof expected, "sshexec-clean 1 " NONCE " gone %s\n", temp);
    assert_string_equal(answer(&s), expected);
    assert_string_equal(answer(&s), "sshexec-clean 1 " NONCE " done\n");
    assert_int_equal(finish(&s), 0);
    finish(&worker);
    assert_true(access(used, F_OK) == 0 && rmdir(used) == 0);
    assert_int_equal(access(agents, F_OK), -1);
    assert_int_equal(unlink(path), 0);
    s = run(&h, clean);
    assert_string_equal(answer(&s), "sshexec-clean 1 " NONCE " done\n");
    assert_int_equal(finish(&s), 0);
    assert_int_equal(access(store, F_OK), -1);
    buf_free(&line);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_survives_any_shell),
        cmocka_unit_test(every_login_shell_stores_and_finds_the_agent),
        cmocka_unit_test(a_host_keeps_the_agent_for_its_machine), cmocka_unit_test(the_agent_of_another_machine_is_not_started),
        cmocka_unit_test(every_posix_shell_runs_the_script),
        cmocka_unit_test(a_stored_agent_starts_without_a_fork),
        cmocka_unit_test(places_are_tried_in_order),
        cmocka_unit_test(a_place_that_is_not_ours_is_never_used),
        cmocka_unit_test(an_odd_umask_changes_neither_the_store_nor_is_it_changed),
        cmocka_unit_test(a_host_without_gzip_gets_the_agent_as_it_is),
        cmocka_unit_test(what_can_not_be_stored_is_said_in_one_line),
        cmocka_unit_test(a_killed_upload_leaves_nothing),
        cmocka_unit_test(never_uses_what_is_there_and_brings_nothing),
        cmocka_unit_test(an_ephemeral_agent_has_no_name),
        cmocka_unit_test(a_changed_greeting_is_told),
        cmocka_unit_test(clean_removes_what_was_stored_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

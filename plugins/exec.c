/* exec: runs a command. The command has the caller's stdin, stdout and stderr themselves, nothing is copied; its exit
 * status is the call's code. */
#include <sshexec/worker.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXEC(F)                                                                                   \
    F(rest(list(str)), argv, empty,       "the program and its arguments, run without a shell")   \
    F(str,             cmd,  default(""), "in place of argv: a command line for /bin/sh -c")      \
    F(str,             cwd,  default(""), "the directory to run it in; empty: the agent's")       \
    F(list(str),       env,  empty,       "NAME=value pairs to add to the environment")
SSX_STRUCT(exec, EXEC)

#define EXEC_RESULT(F)                                                                            \
    F(i32, status,      required, "exit status; 128 + the signal's number where one killed it")   \
    F(i32, signal,      required, "number of the signal that killed it, or 0")                    \
    F(str, signal_name, required, "that signal's name, as SIGKILL")                               \
    F(u64, wall_us,     required, "microseconds from start to end")                               \
    F(u64, user_us,     required, "microseconds of CPU in user mode, with waited-for children")   \
    F(u64, sys_us,      required, "microseconds of CPU in the kernel, with waited-for children")  \
    F(u64, max_rss_kb,  required, "the most memory it had resident, in KiB")
SSX_STRUCT(exec_result, EXEC_RESULT)

/* What can go wrong before the command runs; shells and env(1) use the same two. */
enum { CANNOT_EXECUTE = 126, NOT_FOUND = 127, BAD_STATE = 2, SETUP_FAILED = 125 };

static const char *signal_name(int number)
{
    static const struct { int number; const char *name; } table[] = {
#define NAMED(s) { s, #s }
        NAMED(SIGHUP), NAMED(SIGINT), NAMED(SIGQUIT), NAMED(SIGILL), NAMED(SIGTRAP), NAMED(SIGABRT), NAMED(SIGBUS),
        NAMED(SIGFPE), NAMED(SIGKILL), NAMED(SIGUSR1), NAMED(SIGSEGV), NAMED(SIGUSR2), NAMED(SIGPIPE), NAMED(SIGALRM),
        NAMED(SIGTERM), NAMED(SIGXCPU), NAMED(SIGXFSZ), NAMED(SIGVTALRM), NAMED(SIGPROF), NAMED(SIGIO), NAMED(SIGSYS),
#undef NAMED
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].number == number)
            return table[i].name;
    return "unnamed";
}

/* The words for execvp: argv as it came, or a shell with cmd. */
static char **command_words(struct ssx_call *call, const struct exec *in)
{
    const char *shell[] = { "/bin/sh", "-c", in->cmd };
    const char *const *from = in->argv.n ? (const char *const *)in->argv.at : shell;
    size_t n = in->argv.n ? in->argv.n : 3;
    char **words = ssx_alloc(call, (n + 1) * sizeof *words);
    memcpy(words, from, n * sizeof *words);
    return words;
}

/* Directory and environment are set here in the worker, not in the child: the process is this call's alone, and an
 * error is told where it happens. */
static int prepare(struct ssx_call *call, const struct exec *in)
{
    if ((in->argv.n > 0) == (*in->cmd != '\0'))
        return ssx_fail(call, BAD_STATE, "exec wants either argv (words after --) or cmd, and got %s", in->argv.n ? "both" : "neither");
    for (size_t i = 0; i < in->env.n; i++) {
        const char *pair = in->env.at[i], *equals = strchr(pair, '=');
        if (!equals || equals == pair)
            return ssx_fail(call, BAD_STATE, "env[%zu] is not of the form NAME=value", i);
        if (putenv((char *)pair) != 0)
            return ssx_fail(call, SETUP_FAILED, "can't set the environment: %s", strerror(errno));
    }
    if (*in->cwd && chdir(in->cwd) != 0)
        return ssx_fail(call, SETUP_FAILED, "can't enter %s: %s", in->cwd, strerror(errno));
    return 0;
}

/* Signals go to the call's whole process group. The command is to decide what they mean: on a cancel it has its grace
 * period to clean up in, and the worker lives on to report how it ended. Called once the command has been forked, so
 * that it misses none. */
static void leave_signals_to_the_command(void)
{
    static const int group[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM };
    for (size_t i = 0; i < sizeof group / sizeof *group; i++)
        signal(group[i], SIG_IGN);
}

/* In the child: never returns. Every disposition goes back to its default, those too that this process began with. */
static void become(char **words, int report)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(words[0], words);
    int why = errno;
    while (write(report, &why, sizeof why) < 0 && errno == EINTR)
        ;
    _exit(NOT_FOUND);
}

/* Starts the command; returns its pid, or -1 and *why: errno of what failed. The close-on-exec pipe tells a failed exec
 * from a command that exits with 127. */
static pid_t start(char **words, int *why)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        *why = errno;
        return -1;
    }
    pid_t pid = fork();
    *why = errno;
    if (pid == 0)
        become(words, report[1]);
    leave_signals_to_the_command();
    close(report[1]);
    ssize_t got = 0;
    while (pid > 0 && (got = read(report[0], why, sizeof *why)) < 0 && errno == EINTR)
        ;
    close(report[0]);
    if (got == (ssize_t)sizeof *why) {
        waitpid(pid, NULL, 0);
        return -1;
    }
    return pid;
}

static uint64_t microseconds(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Waits for the command and tells how it went. */
static int finish(struct ssx_call *call, pid_t pid, uint64_t started, struct exec_result *out)
{
    int status;
    struct rusage used;
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR)
            return ssx_fail(call, SETUP_FAILED, "can't wait for the command: %s", strerror(errno));
    out->wall_us = now_us() - started;
    out->user_us = microseconds(used.ru_utime);
    out->sys_us = microseconds(used.ru_stime);
    out->max_rss_kb = (uint64_t)used.ru_maxrss;
    if (!WIFSIGNALED(status))
        return out->status = WEXITSTATUS(status);
    out->signal = WTERMSIG(status);
    out->signal_name = signal_name(out->signal);
    out->status = 128 + out->signal;
    return ssx_fail(call, out->status, "the command was killed by signal %d (%s)", out->signal, out->signal_name);
}

static int exec_run(struct ssx_call *call, const struct exec *in, struct exec_result *out)
{
    int bad = prepare(call, in);
    if (bad)
        return out->status = bad;
    char **words = command_words(call, in);
    uint64_t started = now_us();
    int why;
    pid_t pid = start(words, &why);
    if (pid < 0) {
        out->status = why == ENOENT ? NOT_FOUND : CANNOT_EXECUTE;
        bool is_line = why == ENOENT && strpbrk(words[0], " |;&<>$*");
        return ssx_fail(call, out->status, "can't run %s: %s%s", words[0], strerror(why),
                        is_line ? " (a line for the shell is cmd='...')" : "");
    }
    return finish(call, pid, started, out);
}

SSX_WORKER("exec", "1.0", "runs a command, with or without a shell", exec, exec_result,
           SSX_TAKES_INPUT | SSX_SHOWS_OUTPUT | SSX_SANDBOX_NONE, exec_run)

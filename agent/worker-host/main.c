/* sshexec-worker-host: loads one plugin under protection and forks a process for each call of it.
 *
 * The agent starts it with the descriptors and arguments of host_protocol.h. One process is always forked ahead, so
 * that a call finds its process ready. */
#include "host_protocol.h"
#include "load.h"
#include "orphans.h"
#include "passing.h"
#include "sandbox.h"

#include "base/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX 256 /* more than the agent opens at once */

#define TEMP_PATH 96     /* the agent's name for the root, and a number */
#define TEMPS_MAX 8      /* empty directories that are kept for calls to come */

struct child { uint32_t process; pid_t pid; unsigned temp; };

struct host {
    struct worker worker;
    const char *temp;
    struct child children[CHILDREN_MAX];
    size_t count;
    pid_t spare;
    int spare_socket;
    unsigned temps, free_temps[TEMPS_MAX]; /* directories made so far, each has its number; those that nobody uses */
    size_t free_count;
    int signals;
    pid_t self;
};

int main(int argc, char **argv);

static void report(const struct host_report *r)
{
    while (send(HOST_SOCKET_FD, r, sizeof *r, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static _Noreturn void fail(const char *reason, const char *text)
{
    struct host_report r = {.op = HOST_FAILED};
    snprintf(r.reason, sizeof r.reason, "%s", reason);
    snprintf(r.text, sizeof r.text, "%s", text);
    report(&r);
    _exit(1);
}

static bool is_ours(void *user, pid_t pid)
{
    const struct host *h = user;
    for (size_t i = 0; i < h->count; i++)
        if (h->children[i].pid == pid)
            return true;
    return pid == h->spare;
}

/* Forks the process for the next call. */
static void fork_spare(struct host *h)
{
    int pair[2];
    if (h->spare > 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != h->self)
            _exit(1);
        close(HOST_SOCKET_FD);
        close(h->signals);
        close(pair[0]);
        call_process(&h->worker, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return;
    }
    h->spare = pid;
    h->spare_socket = pair[0];
}

/* --- temporary directories: making one takes longer than a small call does --- */

static void temp_path(const struct host *h, unsigned temp, char *out, size_t size)
{
    snprintf(out, size, "%s/%u", h->temp, temp);
}

static void make_temp(struct host *h)
{
    char path[TEMP_PATH];
    if (!h->temp[0] || h->free_count)
        return;
    temp_path(h, ++h->temps, path, sizeof path);
    if (mkdir(path, 0700) == 0)
        h->free_temps[h->free_count++] = h->temps;
}

/* Returns the number of one, 0 for none. */
static unsigned take_temp(struct host *h)
{
    make_temp(h);
    return h->free_count ? h->free_temps[--h->free_count] : 0;
}

/* Whether it is as it was made, or can be made so. */
static bool is_untouched(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t entries = 0;
    if (!dir)
        return false;
    while (entries < 3 && readdir(dir))
        entries++;
    bool same = entries == 2 && fchmod(fd, 0700) == 0;
    closedir(dir);
    return same;
}

static void give_temp_back(struct host *h, unsigned temp)
{
    char path[TEMP_PATH];
    if (!temp)
        return;
    temp_path(h, temp, path, sizeof path);
    if (h->free_count < TEMPS_MAX && is_untouched(path))
        h->free_temps[h->free_count++] = temp;
    else
        tree_remove(path);
}

/* --- processes --- */

/* The spare may have been killed by a call beside: then another one gets the order. */
static int hand_over(struct host *h, const struct process_order *order, const int *fds)
{
    for (int tries = 0; tries < 2; tries++) {
        fork_spare(h);
        if (h->spare <= 0)
            return -1;
        if (passing_send(h->spare_socket, order, sizeof *order, fds, order->lane ? HOST_FDS : HOST_FDS - 1) == 0)
            return 0;
        int why = errno;
        kill(h->spare, SIGKILL);
        waitpid(h->spare, NULL, 0);
        close(h->spare_socket);
        h->spare = 0;
        errno = why;
    }
    return -1;
}

static void start_process(struct host *h, const struct host_request *request, const int *fds)
{
    struct process_order order = {.lane = request->lane};
    unsigned temp = take_temp(h);
    if (temp)
        temp_path(h, temp, order.temp, sizeof order.temp);
    if (h->count == CHILDREN_MAX || hand_over(h, &order, fds)) {
        struct host_report r = {.op = HOST_ENDED, .process = request->process, .status = SIGKILL};
        snprintf(r.text, sizeof r.text, "can't fork a process for the call: %s", strerror(errno));
        report(&r);
        give_temp_back(h, temp);
        return;
    }
    close(h->spare_socket);
    h->children[h->count++] = (struct child){request->process, h->spare, temp};
    h->spare = 0;
}

static void signal_process(const struct host *h, uint32_t process, int signal_number)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->children[i].process == process && (kill(-h->children[i].pid, signal_number) || signal_number == SIGKILL))
            kill(h->children[i].pid, signal_number); /* where it has no group of its own yet, or has left it */
}

struct ended { struct child child; int status; struct rusage usage; };

static void report_end(const struct ended *e)
{
    struct host_report r = {.op = HOST_ENDED, .process = e->child.process, .status = e->status};
    r.user_us = (uint64_t)e->usage.ru_utime.tv_sec * 1000000 + (uint64_t)e->usage.ru_utime.tv_usec;
    r.sys_us = (uint64_t)e->usage.ru_stime.tv_sec * 1000000 + (uint64_t)e->usage.ru_stime.tv_usec;
    r.rss_kb = (uint64_t)e->usage.ru_maxrss;
    report(&r);
}

/* Takes the next process that has ended. Returns whether it was one of a call. */
static bool take_ended(struct host *h, struct ended *out, pid_t pid)
{
    if (pid == h->spare) {
        close(h->spare_socket);
        h->spare = 0; /* forked anew for the next call */
    }
    for (size_t i = 0; i < h->count; i++)
        if (h->children[i].pid == pid) {
            out->child = h->children[i];
            h->children[i] = h->children[--h->count];
            return true;
        }
    return false;
}

/* Of each call that has ended, what it left is killed before its end is reported. */
static void reap(struct host *h)
{
    static struct ended ended[CHILDREN_MAX];
    size_t n = 0;
    for (pid_t pid; n < CHILDREN_MAX && (pid = wait4(-1, &ended[n].status, WNOHANG, &ended[n].usage)) > 0;)
        n += take_ended(h, &ended[n], pid);
    orphans_kill(is_ours, h);
    for (size_t i = 0; i < n; i++)
        report_end(&ended[i]);
    for (size_t i = 0; i < n; i++)
        give_temp_back(h, ended[i].child.temp);
}

/* The agent has gone: nothing of the calls stays. */
static _Noreturn void leave(struct host *h)
{
    for (size_t i = 0; i < h->count; i++)
        signal_process(h, h->children[i].process, SIGKILL);
    h->count = 0;
    if (h->spare > 0)
        kill(h->spare, SIGKILL);
    h->spare = 0;
    for (int tries = 0; tries < 100 && (orphans_kill(is_ours, h) || waitpid(-1, NULL, WNOHANG) >= 0); tries++) {
        poll(NULL, 0, 5); /* until the last child is reaped, half a second at most */
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    if (h->temp[0])
        tree_remove(h->temp);
    _exit(0);
}

static _Noreturn void serve(struct host *h)
{
    struct pollfd fds[] = {{.fd = HOST_SOCKET_FD, .events = POLLIN}, {.fd = h->signals, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            leave(h);
        if (fds[1].revents) {
            struct signalfd_siginfo info;
            while (read(h->signals, &info, sizeof info) < 0 && errno == EINTR)
                ;
            reap(h);
        }
        if (fds[0].revents) {
            struct host_request request;
            int passed[HOST_FDS];
            if (passing_receive(HOST_SOCKET_FD, &request, sizeof request, passed, HOST_FDS) != sizeof request)
                leave(h);
            if (request.op == HOST_RUN) {
                start_process(h, &request, passed);
            } else {
                signal_process(h, request.process, request.signal);
                report(&(struct host_report){.op = HOST_SIGNALLED, .process = request.process});
            }
            for (int i = 0; i < HOST_FDS; i++)
                if (passed[i] >= 0)
                    close(passed[i]);
            fork_spare(h); /* now that it can't inherit the call's pipes */
            make_temp(h);
        }
    }
}

static void load(struct worker *w)
{
    char path[32];
    struct load_refusal why;
    snprintf(path, sizeof path, "/proc/self/fd/%d", HOST_PLUGIN_FD);
    if (worker_load(w, path, &why))
        fail(why.reason, why.text);
    close(HOST_PLUGIN_FD);
}

/* A signal the loader's code raises must not be blocked for it; SIGCHLD alone is, for the signalfd. */
static int block_child_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void die_with_agent(bool on)
{
    struct pollfd agent = {.fd = HOST_SOCKET_FD};
    prctl(PR_SET_PDEATHSIG, on ? SIGKILL : 0);
    if (on && poll(&agent, 1, 0) > 0) /* it had gone before */
        _exit(1);
}

static void make_temp_root(struct host *h, char *text, size_t size)
{
    if (h->temp[0] && mkdir(h->temp, 0700))
        h->temp = "";
    if (h->temp[0])
        snprintf(text + strlen(text), size - strlen(text), " tmpdir");
}

/* The plugin's own word on whether it can work here. What it says meanwhile goes nowhere, and must not reach the agent
 * as a report. */
static _Noreturn void prove(struct host *h, const struct host_report *ready)
{
    static struct call_context call;
    char text[sizeof call.message + 64];
    int socket = fcntl(HOST_SOCKET_FD, F_DUPFD_CLOEXEC, 10), nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup3(nowhere, HOST_SOCKET_FD, O_CLOEXEC);
    call_context_init(&call, h->temp, h->worker.item);
    if (h->temp[0])
        setenv("TMPDIR", h->temp, 1);
    int code = h->worker.plugin->selftest ? h->worker.plugin->selftest(&call.call) : 0;
    dup3(socket, HOST_SOCKET_FD, O_CLOEXEC);
    if (h->temp[0])
        tree_remove(h->temp);
    snprintf(text, sizeof text, "its selftest returned %d%s%s", code, call.message[0] ? ": " : "", call.message);
    if (code)
        fail("selftest", text);
    report(ready);
    _exit(0);
}

int main(int argc, char **argv)
{
    static struct host h; /* large, and there is one */
    struct host_report ready = {.op = HOST_READY};
    if (argc != 4 && argc != 5)
        _exit(1);
    h.worker.type = argv[2];
    h.temp = argv[3];
    h.self = getpid();
    close(HOST_PROGRAM_FD); /* open where musl's loader was given it */
    fcntl(HOST_SOCKET_FD, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_NAME, "sshexec-host"); /* else that of the descriptor that it was started from */
    die_with_agent(true); /* a constructor may never return */
    sandbox_apply(argv[1], ready.text, sizeof ready.text);
    setenv("SSHEXEC_TYPE", h.worker.type, 1);
    orphans_adopt();
    h.signals = block_child_signal();
    load(&h.worker);
    if (argc == 4)
        die_with_agent(false); /* from here on there is something to clean up: see leave() */
    if (argc == 4 || h.worker.plugin->selftest)
        make_temp_root(&h, ready.text, sizeof ready.text);
    else
        h.temp = "";
    if (argc == 5)
        prove(&h, &ready);
    report(&ready);
    fork_spare(&h);
    make_temp(&h);
    serve(&h);
}

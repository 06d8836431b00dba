#include "near_halves.h"

#include "base/error.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPES_BYTES (32u << 20) /* of all pipes: half of what the kernel lets a user have (pipe-user-pages-soft) */
#define PIPE_LEAST (64u << 10)  /* what a pipe has anyway */
#define PIPE_MOST (1u << 20)    /* as much as a call may have under way */

/* What the forking process says of one that has ended; written at once. */
struct report {
    uint64_t host;
    bool complete;
};

struct near_halves {
    int orders, reports; /* a socket that takes descriptors for a host; a pipe of struct report */
    pid_t forker;
    size_t count, pipe_bytes;
    unsigned char *states; /* enum near_half of each host */
};

/* --- in the process that forks --- */

struct forker {
    int orders, reports, ended; /* ended: a signalfd of SIGCHLD */
    near_half_fn *run;
    void *user;
    struct child {
        pid_t pid;
        size_t host;
    } *children;
    size_t count, capacity;
};

/* Returns 1 with a host and its descriptors, 0 at the end. */
static int take_order(const struct forker *f, uint64_t *host, int fds[2])
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec iov = {host, sizeof *host};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(f->orders, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    const struct cmsghdr *c = n == sizeof *host ? CMSG_FIRSTHDR(&m) : NULL;
    if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return 0;
    memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
    return 1;
}

static void say(const struct forker *f, size_t host, bool complete)
{
    struct report r = {host, complete};
    (void)!write(f->reports, &r, sizeof r);
}

static _Noreturn void be_near_half(struct forker *f, size_t host, int fds[2])
{
    fd_close(&f->orders);
    fd_close(&f->reports);
    fd_close(&f->ended);
    _exit(f->run(f->user, host, fds[0], fds[1]) ? 0 : 1);
}

/* One that can't be begun has ended. */
static void begin(struct forker *f, size_t host, int fds[2])
{
    size_t more = f->capacity ? 2 * f->capacity : 64;
    struct child *children =
        f->count < f->capacity ? f->children : realloc(f->children, more * sizeof *children);
    if (children && f->count == f->capacity)
        f->capacity = more;
    f->children = children ? children : f->children;
    pid_t pid = children ? fork() : -1;
    if (pid == 0)
        be_near_half(f, host, fds);
    if (pid > 0)
        f->children[f->count++] = (struct child){pid, host};
    else
        say(f, host, false);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

static void reap(struct forker *f)
{
    struct signalfd_siginfo info;
    int status;
    (void)!read(f->ended, &info, sizeof info);
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (size_t i = 0; i < f->count; i++)
            if (f->children[i].pid == pid) {
                say(f, f->children[i].host, WIFEXITED(status) && WEXITSTATUS(status) == 0);
                f->children[i] = f->children[--f->count];
                break;
            }
}

/* The terminal's signals are not for them: far halves are to hear of a failure here. */
static _Noreturn void be_forker(struct forker *f)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGCHLD, SIG_DFL);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    f->ended = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd fds[] = {{f->orders, POLLIN, 0}, {f->ended, POLLIN, 0}};
    for (;;) {
        uint64_t host;
        int ends[2];
        poll(fds, 2, -1);
        if (fds[1].revents)
            reap(f);
        if (fds[0].revents && !take_order(f, &host, ends))
            _exit(0);
        if (fds[0].revents)
            begin(f, host, ends);
    }
}

/* --- here --- */

static size_t pipe_bytes(size_t at_once)
{
    size_t each = PIPES_BYTES / (2 * (at_once ? at_once : 1));
    return each < PIPE_MOST ? each : PIPE_MOST;
}

static int start(struct near_halves *n, near_half_fn *run, void *user, struct ssx_error *err)
{
    int orders[2], reports[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders))
        return error_system(err, "can't start a transfer");
    n->orders = orders[0];
    if (pipe2(reports, O_CLOEXEC) == 0) {
        n->reports = reports[0];
        n->forker = fork();
    }
    if (n->forker == 0) {
        struct forker f = {.orders = orders[1], .reports = reports[1], .run = run, .user = user};
        fd_close(&n->orders);
        fd_close(&n->reports);
        be_forker(&f);
    }
    int error = errno;
    fd_close(&orders[1]);
    if (n->reports >= 0)
        fd_close(&reports[1]);
    errno = error;
    return n->forker < 0 || fd_set_nonblocking(n->reports, true) ? error_system(err, "can't start a transfer") : 0;
}

int near_halves_open(struct near_halves **out, near_half_fn *run, void *user, size_t hosts, size_t at_once,
                     struct ssx_error *err)
{
    struct near_halves *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu hosts", hosts);
    *n = (struct near_halves){.orders = -1, .reports = -1, .forker = -1, .count = hosts, .states = calloc(hosts, 1)};
    n->pipe_bytes = pipe_bytes(at_once < hosts ? at_once : hosts);
    if (!n->states || start(n, run, user, err)) {
        near_halves_close(n);
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu hosts", hosts);
    }
    *out = n;
    return 0;
}

/* fds: its input and its output. Returns 0, or -1 with errno. */
static int order(const struct near_halves *n, size_t host, const int fds[2])
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {.bytes = {0}};
    uint64_t number = host;
    struct iovec iov = {&number, sizeof number};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
    ssize_t sent;
    do
        sent = sendmsg(n->orders, &m, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

/* A pipe, as large as there is room for one. */
static int make_pipe(const struct near_halves *n, int fds[2])
{
    if (pipe2(fds, O_CLOEXEC))
        return -1;
    if (n->pipe_bytes > PIPE_LEAST)
        fcntl(fds[0], F_SETPIPE_SZ, (int)n->pipe_bytes);
    return 0;
}

int near_halves_begin(struct near_halves *n, size_t host, int *from, int *to, struct ssx_error *err)
{
    int down[2] = {-1, -1}, up[2] = {-1, -1};
    int rc = make_pipe(n, down) || make_pipe(n, up) || order(n, host, (const int[]){down[0], up[1]}) ? -1 : 0;
    if (rc) {
        error_system(err, "can't start a transfer");
        fd_close(&down[1]);
        fd_close(&up[0]);
    } else {
        n->states[host] = NEAR_HALF_RUNS;
        *from = up[0];
        *to = down[1];
    }
    fd_close(&down[0]);
    fd_close(&up[1]);
    return rc;
}

int near_halves_fd(const struct near_halves *n) { return n->reports; }

void near_halves_look(struct near_halves *n)
{
    struct report r;
    ssize_t got;
    while ((got = read(n->reports, &r, sizeof r)) == sizeof r)
        n->states[r.host] = r.complete ? NEAR_HALF_COMPLETE : NEAR_HALF_CUT;
    if (got < 0)
        return;
    fd_close(&n->reports); /* whoever would say so was killed: what runs is known to nobody */
    for (size_t i = 0; i < n->count; i++)
        if (n->states[i] == NEAR_HALF_RUNS)
            n->states[i] = NEAR_HALF_CUT;
}

enum near_half near_halves_state(const struct near_halves *n, size_t host) { return n->states[host]; }

void near_halves_close(struct near_halves *n)
{
    if (!n)
        return;
    fd_close(&n->orders);
    fd_close(&n->reports);
    while (n->forker > 0 && waitpid(n->forker, NULL, 0) < 0 && errno == EINTR)
        ;
    free(n->states);
    free(n);
}

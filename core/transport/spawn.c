#include "transport/spawn.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEAVE_MS 200 /* from end of file to SIGTERM */
#define TERM_MS 1000 /* from SIGTERM to SIGKILL */
#define DEAF_MS 2000 /* from a closed stdin to giving up: what was said before may still be under way */

extern char **environ;

struct spawn {
    struct transport base;
    struct transport_backend backend; /* a copy, for the name */
    pid_t pid;                        /* 0 once reaped */
    int in, out, err;                 /* -1 once closed or ended */
    int deaf;                         /* a timer that runs since the child closed its stdin; -1 as long as it hasn't */
    int pidfd;                        /* readable when the child has ended; -1 on an old kernel */
    int status;                       /* -1 until known */
    bool asking;                      /* in our session and process group */
    bool fifo;                        /* `in` is one; else a socket */
};

/* The child's three ends: in, out, err. */
struct ends { int fd[3]; };

static struct spawn *self(struct transport *t) { return (struct spawn *)t; }

/* Whether the child has ended; takes its status then. */
static bool reap(struct spawn *s, int flags)
{
    int status;
    pid_t pid;
    if (!s->pid)
        return true;
    do {
        pid = waitpid(s->pid, &status, flags);
    } while (pid < 0 && errno == EINTR);
    if (!pid)
        return false;
    if (pid > 0)
        s->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    s->pid = 0;
    return true;
}

static bool reap_within(struct spawn *s, int ms)
{
    int64_t deadline = clock_ms() + ms;
    while (!reap(s, WNOHANG)) {
        int64_t left = deadline - clock_ms();
        if (left <= 0)
            return false;
        struct pollfd ended = {s->pidfd, POLLIN, 0};
        poll(&ended, 1, s->pidfd >= 0 || left < 10 ? (int)left : 10);
    }
    return true;
}

static bool hears_us(const struct spawn *s)
{
    struct pollfd in = {s->in, 0, 0};
    return s->in < 0 || poll(&in, 1, 0) <= 0 || !(in.revents & (POLLERR | POLLHUP));
}

/* When there is nothing to read: a child that can't be spoken to, and says nothing, would be waited for in vain. */
static ssize_t nothing_to_read(struct spawn *s, struct ssx_error *err)
{
    static const struct itimerspec when = {.it_value = {DEAF_MS / 1000, DEAF_MS % 1000 * 1000000L}};
    uint64_t expired;
    if (s->deaf < 0 && !hears_us(s)) {
        s->deaf = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (s->deaf < 0 || timerfd_settime(s->deaf, 0, &when, NULL))
            return error_system(err, "can't watch %s", s->backend.name);
    }
    if (s->deaf >= 0 && read(s->deaf, &expired, sizeof expired) > 0)
        return error_set(err, SSX_ERROR_UNREACHABLE, "%s has closed its input, and says nothing more", s->backend.name);
    return TRANSPORT_AGAIN;
}

static ssize_t spawn_read(struct transport *t, enum transport_stream stream, void *out, size_t n, struct ssx_error *err)
{
    int *fd = stream == TRANSPORT_STDOUT ? &self(t)->out : &self(t)->err;
    if (*fd < 0)
        return 0;
    ssize_t got;
    do {
        got = read(*fd, out, n);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return stream == TRANSPORT_STDOUT ? nothing_to_read(self(t), err) : TRANSPORT_AGAIN;
    if (got < 0)
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't read from %s: read error %d", t->backend->name, errno);
    if (got == 0 && n > 0)
        fd_close(fd);
    return got;
}

static ssize_t spawn_write(struct transport *t, const void *bytes, size_t n, struct ssx_error *err)
{
    struct spawn *s = self(t);
    ssize_t sent;
    if (s->in < 0)
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't write to %s: its input is closed", t->backend->name);
    do {
        sent = s->fifo ? fifo_write(s->in, bytes, n) : send(s->in, bytes, n, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return TRANSPORT_AGAIN;
    if (sent < 0)
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't write to %s: it has closed its input or ended", t->backend->name);
    return sent;
}

static void spawn_close_write(struct transport *t)
{
    fd_close(&self(t)->in);
    fd_close(&self(t)->deaf);
}

static size_t spawn_poll(struct transport *t, bool want_write, struct pollfd *out)
{
    struct spawn *s = self(t);
    size_t n = 0;
    if (s->out >= 0)
        out[n++] = (struct pollfd){s->out, POLLIN, 0};
    if (s->err >= 0)
        out[n++] = (struct pollfd){s->err, POLLIN, 0};
    if (s->deaf >= 0)
        out[n++] = (struct pollfd){s->deaf, POLLIN, 0};
    else if (s->in >= 0 && (want_write || s->out >= 0)) /* if only to notice that it is closed */
        out[n++] = (struct pollfd){s->in, want_write ? POLLOUT : 0, 0};
    if (s->out < 0 && s->pid && s->pidfd >= 0)
        out[n++] = (struct pollfd){s->pidfd, POLLIN, 0};
    return n;
}

static int spawn_exit_status(struct transport *t)
{
    reap(self(t), WNOHANG);
    return self(t)->status;
}

static void spawn_free(struct transport *t)
{
    struct spawn *s = self(t);
    fd_close(&s->in);
    fd_close(&s->out);
    fd_close(&s->err);
    if (!reap_within(s, LEAVE_MS)) {
        kill(s->asking ? s->pid : -s->pid, SIGTERM);
        if (!reap_within(s, TERM_MS) &&
            !kill(s->asking ? s->pid : -s->pid, SIGKILL)) /* a sudo is not ours to kill, and not to be waited for */
            reap(s, 0);
    }
    fd_close(&s->pidfd);
    fd_close(&s->deaf);
    free(s);
}

static const struct transport_backend backend = {
    NULL, spawn_read, spawn_write, spawn_close_write, spawn_poll, spawn_exit_status, spawn_free,
};

/* A socket, for only a socket can be written to without SIGPIPE and without touching the process's signals. */
static int make_stdin(struct spawn *s, struct ends *child)
{
    int in[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in))
        return -1;
    s->in = in[0];
    child->fd[0] = in[1];
    shutdown(s->in, SHUT_RD); /* one way only, or a child that writes to its stdin would fill a queue that nobody reads */
    return fd_set_nonblocking(s->in, true);
}

static int make_pipes(struct spawn *s, struct ends *child)
{
    int out[2], err[2];
    if (s->fifo ? fifo_open(&child->fd[0], &s->in) : make_stdin(s, child))
        return -1;
    if (pipe2(out, O_CLOEXEC))
        return -1;
    s->out = out[0];
    child->fd[1] = out[1];
    if (pipe2(err, O_CLOEXEC))
        return -1;
    s->err = err[0];
    child->fd[2] = err[1];
    return fd_set_nonblocking(s->out, true) || fd_set_nonblocking(s->err, true) ? -1 : 0;
}

/* Where our own 0, 1 or 2 was closed, an end may have got that number; dup2 in the child would then overwrite it. */
static int move_above_stdio(struct ends *child)
{
    for (int i = 0; i < 3; i++) {
        if (child->fd[i] > 2)
            continue;
        int moved = fcntl(child->fd[i], F_DUPFD_CLOEXEC, 3);
        if (moved < 0)
            return -1;
        close(child->fd[i]);
        child->fd[i] = moved;
    }
    return 0;
}

/* Returns 0 or the error number. */
static int start(struct spawn *s, const struct ends *child, const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all, blocked;
    sigfillset(&all);
    sigemptyset(&blocked);
    if (s->asking) {
        sigaddset(&blocked, SIGINT);
        sigaddset(&blocked, SIGQUIT);
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setsigmask(&attr, &blocked);
    posix_spawnattr_setflags(&attr, (short)((s->asking ? 0 : POSIX_SPAWN_SETSID) | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK));
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i++)
        rc = posix_spawn_file_actions_adddup2(&actions, child->fd[i], i);
    if (!rc) /* ours close on exec anyway; what our own parent left open does not */
        rc = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!rc)
        rc = posix_spawnp(&s->pid, argv[0], &actions, &attr, (char *const *)(const void *)argv, environ);
    if (rc)
        s->pid = 0;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int spawn_open_how(struct transport **out, const char *name, const char *const *argv, unsigned how, struct ssx_error *err)
{
    struct spawn *s = calloc(1, sizeof *s);
    struct ends child = {{-1, -1, -1}};
    if (!s)
        return error_set(err, SSX_ERROR_SYSTEM, "can't start %s: out of memory", argv[0]);
    s->backend = backend;
    s->backend.name = name;
    s->base.backend = &s->backend;
    s->in = s->out = s->err = s->deaf = s->pidfd = s->status = -1;
    s->asking = how & SPAWN_ASKING;
    s->fifo = how & SPAWN_FIFO;
    int rc = make_pipes(s, &child) || move_above_stdio(&child) ? errno : start(s, &child, argv);
    for (int i = 0; i < 3; i++)
        fd_close(&child.fd[i]);
    if (rc) {
        errno = rc;
        error_system(err, "can't start %s%s", argv[0], s->fifo && s->in < 0 ? ": no fifo in XDG_RUNTIME_DIR, TMPDIR or /tmp" : "");
        spawn_free(&s->base);
        return -1;
    }
    s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    *out = &s->base;
    return 0;
}

int spawn_open(struct transport **out, const char *name, const char *const *argv, struct ssx_error *err)
{
    return spawn_open_how(out, name, argv, 0, err);
}

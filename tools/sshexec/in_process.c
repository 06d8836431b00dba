#include "in_process.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"
#include "base/tree.h"
#include "transport/words.h"
#include "wire/value.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTENER_FD 3 /* where sshexec-worker-run has it */

struct conversation {
    struct in_process *p;
    int listener, fd, process;         /* fd: the connection of the run that goes on, or -1; process: a pidfd */
    struct buf in, value;              /* what came and is no whole frame yet; the pieces of one value */
};

/* --- the program --- */

/* An address that the kernel picks, in no file system. Returns the descriptor, or -1. */
static int open_listener(struct ssx_error *err)
{
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any.sun_family) == 0 && listen(fd, 4) == 0)
        return fd;
    error_system(err, "can't make a socket for the worker");
    fd_close(&fd);
    return -1;
}

static int add_program(struct words *argv, const struct in_process *p, const char *temp, struct ssx_error *err)
{
    char program[PATH_MAX];
    const struct descriptor *d = &p->type->plugin.descriptor;
    char *plugin = realpath(p->type->plugin.path, NULL);
    if (!plugin || access(install_worker_run(program, sizeof program), X_OK)) {
        error_system(err, "can't start %s", plugin ? program : p->type->plugin.path);
        free(plugin);
        return -1;
    }
    const char *const words[] = {program, plugin, d->traits & TRAIT_SANDBOX_NONE ? "none" : "default", d->type, temp, p->what};
    for (size_t i = 0; p->tool[i]; i++)
        words_add(argv, p->tool[i]);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        words_add(argv, words[i]);
    free(plugin);
    return argv->failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

static pid_t start(const struct words *argv, int listener, struct ssx_error *err)
{
    int failure[2];
    int why = 0;
    if (pipe2(failure, O_CLOEXEC))
        return error_system(err, "can't start %s", argv->at[0]);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGQUIT, SIG_DFL);
        if (listener == LISTENER_FD ? fd_set_cloexec(listener, false) == 0 : dup2(listener, LISTENER_FD) >= 0)
            execvp(argv->at[0], argv->at);
        (void)!fd_write_all(failure[1], &errno, sizeof errno);
        _exit(EXIT_FAILURE);
    }
    close(failure[1]);
    if (pid > 0 && read(failure[0], &why, sizeof why) == sizeof why)
        waitpid(pid, NULL, 0);
    close(failure[0]);
    if (pid > 0 && why == 0)
        return pid;
    errno = why ? why : errno;
    return why == ENOENT ? error_set(err, SSX_ERROR_USAGE, "%s is not on this machine: install it, or run without it", argv->at[0])
                         : error_system(err, "can't start %s", argv->at[0]);
}

/* --- its messages --- */

static void deliver(struct conversation *c, struct message *m)
{
    struct buf *value = &c->value;
    if (m->kind == MESSAGE_RESULT || m->kind == MESSAGE_ITEM || m->kind == MESSAGE_STATE) {
        if (buf_length(value) + m->data.bytes.n > VALUE_SIZE_MAX || buf_add(value, m->data.bytes.at, m->data.bytes.n) || m->data.more)
            return;
        m->data.bytes = (struct span){buf_data(value), buf_length(value)};
        if (value_scan(m->data.bytes.at, m->data.bytes.n, NULL) == 0)
            (void)!c->p->take(c->p->user, m);
        buf_free(value);
        return;
    }
    c->p->ended |= m->kind == MESSAGE_END;
    (void)!c->p->take(c->p->user, m);
}

/* The plugin could have written to the socket as well: what isn't a frame ends the conversation. */
static void take_frames(struct conversation *c)
{
    struct message m;
    for (long length; (length = frame_length(buf_data(&c->in), buf_length(&c->in), FRAME_MAX, NULL)) != 0;
         buf_consume(&c->in, (size_t)length)) {
        if (length < 0 || message_decode(&m, buf_data(&c->in), (size_t)length, FROM_AGENT, NULL)) {
            fd_close(&c->fd);
            buf_free(&c->in);
            return;
        }
        deliver(c, &m);
    }
}

/* Returns whether more may come. */
static bool read_some(struct conversation *c)
{
    unsigned char *at = buf_reserve(&c->in, DATA_MAX);
    ssize_t n = at ? read(c->fd, at, DATA_MAX) : 0;
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0) {
        fd_close(&c->fd);
        return false;
    }
    c->in.end += (size_t)n;
    take_frames(c);
    return c->fd >= 0;
}

static int send_all(int fd, const struct buf *bytes)
{
    const unsigned char *at = buf_data(bytes);
    for (size_t left = buf_length(bytes); left;) {
        ssize_t n = send(fd, at, left, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        left -= (size_t)n;
    }
    return 0;
}

/* The call, for a run that has begun; it reads all of it before the worker starts. */
static void give_order(struct conversation *c)
{
    struct buf out = {0};
    const unsigned char *at = buf_data(c->p->state);
    size_t whole = buf_length(c->p->state), n = whole < DATA_MAX ? whole : DATA_MAX;
    struct message_call call = {.type = span_text(c->p->type->plugin.descriptor.type),
                                .state_size = whole,
                                .state = {at, n},
                                .timeout_ms = (uint64_t)c->p->timeout_ms};
    message_encode(&out, &(struct message){.kind = MESSAGE_CALL, .id = 1, .call = call}, FROM_SENDER);
    for (size_t done = n; done < whole; done += n) {
        n = whole - done < DATA_MAX ? whole - done : DATA_MAX;
        message_encode(&out,
                       &(struct message){
                           .kind = MESSAGE_STATE, .id = 1, .data = {.bytes = {at + done, n}, .more = done + n < whole}},
                       FROM_SENDER);
    }
    if (out.failed || send_all(c->fd, &out))
        fd_close(&c->fd);
    buf_free(&out);
}

/* Only this user's processes: anybody could connect to the address. */
static void accept_run(struct conversation *c)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid()))
        fd_close(&fd);
    if (fd < 0)
        return;
    fd_close(&c->fd);
    buf_free(&c->in);
    buf_free(&c->value);
    c->fd = fd;
    give_order(c);
}

static void converse(struct conversation *c)
{
    struct pollfd fds[3];
    do {
        fds[0] = (struct pollfd){.fd = c->process, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = c->listener, .events = POLLIN};
        fds[2] = (struct pollfd){.fd = c->fd, .events = POLLIN};
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[2].revents)
            read_some(c);
        if (fds[1].revents)
            accept_run(c);
    } while (!fds[0].revents);
    struct pollfd rest = {.fd = c->fd, .events = POLLIN};
    while (rest.fd >= 0 && poll(&rest, 1, 0) > 0 && read_some(c)) /* what it said last */
        ;
}

static int run(struct in_process *p, const char *temp, struct ssx_error *err)
{
    struct conversation c = {.p = p, .listener = open_listener(err), .fd = -1, .process = -1};
    struct words argv = {0};
    void (*on_interrupt)(int) = signal(SIGINT, SIG_IGN), (*on_quit)(int) = signal(SIGQUIT, SIG_IGN);
    pid_t pid = c.listener < 0 || add_program(&argv, p, temp, err) ? -1 : start(&argv, c.listener, err);
    int rc = pid < 0 ? -1 : 0;
    if (rc == 0 && (c.process = (int)syscall(SYS_pidfd_open, pid, 0)) < 0)
        rc = error_system(err, "can't watch %s", argv.at[0]);
    if (rc == 0)
        converse(&c);
    else if (pid > 0)
        kill(pid, SIGKILL);
    while (pid > 0 && waitpid(pid, &p->status, 0) < 0 && errno == EINTR)
        ;
    signal(SIGINT, on_interrupt);
    signal(SIGQUIT, on_quit);
    fd_close(&c.process);
    fd_close(&c.listener);
    fd_close(&c.fd);
    buf_free(&c.in);
    buf_free(&c.value);
    words_free(&argv);
    return rc;
}

int in_process_run(struct in_process *p, struct ssx_error *err)
{
    char temp[PATH_MAX];
    const char *given = getenv("TMPDIR");
    p->ended = false;
    p->status = 0;
    snprintf(temp, sizeof temp, "%s/sshexec-test.XXXXXX", given && *given == '/' ? given : "/tmp");
    if (!mkdtemp(temp))
        return error_system(err, "can't make a temporary directory %s", temp);
    int rc = run(p, temp, err);
    tree_remove(temp);
    return rc;
}

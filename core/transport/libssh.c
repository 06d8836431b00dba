#include "transport/libssh.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/attempt.h"
#include "transport/bastion.h"
#include "transport/tunnel.h"

#include <libssh/callbacks.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

/* libssh takes as much as the peer's window allows (2 MiB) into its memory; so little at a time keeps that small and a
 * channel's siblings moving. */
#define WRITE_MAX (64u << 10)
#define ALIVE_MAX_S 86400

struct libssh {
    struct transport base;
    ssh_session session;
    struct bastion *bastion; /* held; NULL: none */
    struct passage *passage; /* through it */
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    int status;   /* -1 until known */
    int awake_fd; /* always readable; made when first needed: bytes wait in libssh's memory, where poll can't see them */
    bool ended[2];
};

static struct libssh *self(struct transport *t) { return (struct libssh *)t; }

static int broken(struct libssh *s, struct ssx_error *err)
{
    const char *why = ssh_get_error(s->session);
    if (passage_explain(s->passage, err))
        return -1;
    return error_set(err, SSX_ERROR_UNREACHABLE, "the connection broke: %s", *why ? why : "closed by the host");
}

static bool is_broken(const struct libssh *s)
{
    return (ssh_get_status(s->session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) || ssh_get_fd(s->session) < 0;
}

static ssize_t libssh_read(struct transport *t, enum transport_stream stream, void *out, size_t n, struct ssx_error *err)
{
    struct libssh *s = self(t);
    if (s->ended[stream])
        return 0;
    int got = ssh_channel_read_nonblocking(s->channel, out, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n, stream == TRANSPORT_STDERR);
    if (got > 0)
        return got;
    if (got == SSH_EOF || (got == 0 && ssh_channel_is_eof(s->channel))) {
        s->ended[stream] = true;
        return 0;
    }
    if (got == 0 || got == SSH_AGAIN)
        return is_broken(s) ? broken(s, err) : TRANSPORT_AGAIN;
    return broken(s, err);
}

static ssize_t libssh_write(struct transport *t, const void *bytes, size_t n, struct ssx_error *err)
{
    struct libssh *s = self(t);
    if (ssh_get_status(s->session) & SSH_WRITE_PENDING)
        ssh_blocking_flush(s->session, 0); /* does not block, at 0: one round of sending and receiving */
    else if (!ssh_channel_window_size(s->channel))
        ssh_channel_poll(s->channel, 0); /* the peer's new window may have come */
    if (is_broken(s))
        return broken(s, err);
    if (ssh_channel_is_closed(s->channel) || !ssh_channel_is_open(s->channel))
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't write: the program at the other end has gone");
    if ((ssh_get_status(s->session) & SSH_WRITE_PENDING) || !ssh_channel_window_size(s->channel))
        return TRANSPORT_AGAIN;
    int wrote = ssh_channel_write(s->channel, bytes, n > WRITE_MAX ? WRITE_MAX : (uint32_t)n);
    if (wrote == SSH_ERROR)
        return broken(s, err);
    return wrote > 0 ? wrote : TRANSPORT_AGAIN;
}

static void libssh_close_write(struct transport *t) { ssh_channel_send_eof(self(t)->channel); }

/* Whether libssh holds bytes, or an end, that the owner has not read yet. Looking makes libssh read the socket, so the
 * first stream is looked at again after the second. */
static bool holds_something(struct libssh *s)
{
    static const enum transport_stream order[] = {TRANSPORT_STDOUT, TRANSPORT_STDERR, TRANSPORT_STDOUT};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (!s->ended[order[i]] && ssh_channel_poll(s->channel, order[i] == TRANSPORT_STDERR) != 0)
            return true;
    return false;
}

static struct pollfd awake(struct libssh *s)
{
    if (s->awake_fd < 0)
        s->awake_fd = eventfd(1, EFD_CLOEXEC);
    if (s->awake_fd < 0) /* out of descriptors: the socket is writable nearly always */
        return (struct pollfd){ssh_get_fd(s->session), POLLIN | POLLOUT, 0};
    return (struct pollfd){s->awake_fd, POLLIN, 0};
}

static size_t libssh_poll(struct transport *t, bool want_write, struct pollfd *out)
{
    struct libssh *s = self(t);
    bool holds = holds_something(s);
    bool pending = ssh_get_status(s->session) & SSH_WRITE_PENDING;
    bool writable = want_write && ssh_channel_window_size(s->channel); /* without a window, what is waited for comes in */
    size_t n = 0;
    out[n++] = (struct pollfd){ssh_get_fd(s->session), (short)(POLLIN | (pending || writable ? POLLOUT : 0)), 0};
    if (holds || is_broken(s))
        out[n++] = awake(s);
    return n;
}

static int libssh_exit_status(struct transport *t)
{
    struct libssh *s = self(t);
    if (s->status < 0)
        ssh_channel_get_exit_status(s->channel); /* for its side effect: it reads on after the end of the streams, and calls back */
    return s->status;
}

static void libssh_free(struct transport *t)
{
    struct libssh *s = self(t);
    int fd = ssh_get_fd(s->session);
    if (fd >= 0)
        fd_set_nonblocking(fd, true);
    ssh_remove_channel_callbacks(s->channel, &s->callbacks);
    ssh_channel_free(s->channel);
    login_end(s->session);
    passage_close(s->passage);
    if (s->bastion)
        bastion_release(s->bastion);
    fd_close(&s->awake_fd);
    free(s);
}

static const struct transport_backend backend = {
    "libssh", libssh_read, libssh_write, libssh_close_write, libssh_poll, libssh_exit_status, libssh_free,
};

static void on_exit_status(ssh_session session, ssh_channel channel, int status, void *ctx)
{
    (void)session, (void)channel;
    ((struct libssh *)ctx)->status = status & 0xff;
}

static void on_exit_signal(ssh_session session, ssh_channel channel, const char *name, int core, const char *message,
                           const char *language, void *ctx)
{
    static const struct { const char *name; int number; } signals[] = { /* RFC 4254, 6.10 */
        {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE}, {"HUP", SIGHUP}, {"ILL", SIGILL}, {"INT", SIGINT},
        {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
        {"USR2", SIGUSR2}, {"BUS@openssh.com", SIGBUS}, {"SYS@openssh.com", SIGSYS}, {"TRAP@openssh.com", SIGTRAP},
        {"XCPU@openssh.com", SIGXCPU}, {"XFSZ@openssh.com", SIGXFSZ},
    };
    (void)session, (void)channel, (void)core, (void)message, (void)language;
    struct libssh *s = ctx;
    s->status = 255; /* killed by something unheard of */
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (!strcmp(name, signals[i].name))
            s->status = 128 + signals[i].number;
}

static int open_channel(struct libssh *s, struct login *l, const char *command, struct ssx_error *err)
{
    int rc;
    login_step(l);
    while ((rc = ssh_channel_open_session(s->channel)) == SSH_AGAIN)
        if (login_wait(l, "opening a channel", err))
            return -1;
    if (rc != SSH_OK)
        return error_set(err, SSX_ERROR_UNREACHABLE, "%s opens no channel: %s", l->config->hostname, ssh_get_error(l->session));
    while ((rc = ssh_channel_request_exec(s->channel, command)) == SSH_AGAIN)
        if (login_wait(l, "starting a command", err))
            return -1;
    if (rc != SSH_OK)
        return error_set(err, SSX_ERROR_UNREACHABLE, "%s runs no command: %s", l->config->hostname, ssh_get_error(l->session));
    return 0;
}

int libssh_exec(struct transport **out, struct login *l, const char *command, struct ssx_error *err)
{
    struct libssh *s = calloc(1, sizeof *s);
    ssh_channel channel = s ? ssh_channel_new(l->session) : NULL;
    if (!channel) {
        free(s);
        return error_set(err, SSX_ERROR_SYSTEM, "can't open a channel to %s: out of memory", l->config->hostname);
    }
    *s =
        (struct libssh){.base = {&backend, (l->config->alive_s < ALIVE_MAX_S ? l->config->alive_s : ALIVE_MAX_S) * 1000,
                                 l->config->alive_max},
                        .session = l->session,
                        .bastion = l->bastion,
                        .passage = l->passage,
                        .channel = channel,
                        .status = -1,
                        .awake_fd = -1};
    if (s->bastion)
        bastion_hold(s->bastion);
    s->callbacks = (struct ssh_channel_callbacks_struct){.userdata = s, .channel_exit_status_function = on_exit_status,
                                                         .channel_exit_signal_function = on_exit_signal};
    ssh_callbacks_init(&s->callbacks);
    ssh_set_channel_callbacks(channel, &s->callbacks);
    int64_t began = clock_us();
    int rc = open_channel(s, l, command, err);
    if (l->target->attempt)
        l->target->attempt->start_us = clock_us() - began;
    if (rc)
        passage_explain(s->passage, err);
    l->session = NULL;
    l->passage = NULL;
    if (rc)
        libssh_free(&s->base);
    else
        *out = &s->base;
    return rc;
}

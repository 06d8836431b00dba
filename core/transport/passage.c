#include "transport/passage.h"

#include "base/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CHANNELS_FROM 42   /* libssh's numbers begin behind it; were that to change, refusals would come without their reasons */
#define PROHIBITED 1       /* RFC 4254, 5.1 */
#define HELD_MAX (4u << 20) /* far more than libssh's window: a server that does not keep to it is broken */

static bool is_pending(const struct passage *p) { return ssh_get_status(p->tunnel->session) & SSH_WRITE_PENDING; }

/* Closes our end of the pair. */
static void shut(struct passage *p)
{
    if (p->fd >= 0)
        epoll_ctl(p->tunnel->epoll, EPOLL_CTL_DEL, p->fd,
                  NULL); /* closing is not enough while a child between fork and exec holds a copy */
    fd_close(&p->fd);
}

static void forget_channel(struct passage *p)
{
    if (!p->channel)
        return;
    ssh_remove_channel_callbacks(p->channel, &p->callbacks);
    ssh_channel_free(p->channel);
    p->channel = NULL;
}

void passage_end(struct passage *p)
{
    shut(p);
    forget_channel(p);
    p->stage = PASSAGE_GONE;
}

void passage_free(struct passage *p)
{
    fd_close(&p->fd);
    buf_free(&p->up);
    buf_free(&p->down);
    free(p->host);
    free(p);
}

/* --- what libssh tells; nothing of libssh's may be called from here --- */

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t n, int is_stderr, void *ctx)
{
    (void)session, (void)channel, (void)data;
    if (!is_stderr)
        ((struct passage *)ctx)->held = n; /* all that it holds, what came before included */
    return 0;
}

static void on_eof(ssh_session session, ssh_channel channel, void *ctx)
{
    (void)session, (void)channel;
    ((struct passage *)ctx)->far_ended = true;
}

static void on_close(ssh_session session, ssh_channel channel, void *ctx)
{
    (void)session, (void)channel;
    ((struct passage *)ctx)->far_ended = ((struct passage *)ctx)->far_closed = true;
}

void passage_take_refusal(struct tunnel *t, const char *text)
{
    unsigned number, code;
    int at = 0;
    const char *refusal = strstr(text, "Channel opening failure: ");
    if (!refusal || sscanf(refusal, "Channel opening failure: channel %u error (%u) %n", &number, &code, &at) != 2 || !at)
        return;
    struct passage *p = t->passages;
    while (p && (p->stage != PASSAGE_OPENING || p->number != number))
        p = p->next;
    if (p && code == PROHIBITED)
        snprintf(
            p->refused, sizeof p->refused,
            "the bastion %s does not forward to %s port %d: %s (AllowTcpForwarding, PermitOpen or the key's options there forbid it)",
            t->name, p->host, p->port, refusal + at);
    else if (p)
        snprintf(p->refused, sizeof p->refused, "the bastion %s can't connect to %s port %d: %s", t->name, p->host, p->port, refusal + at);
}

/* --- opening --- */

static void answer(struct passage *p, const char *byte)
{
    if (send(p->fd, byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
        p->ended = true; /* nobody waits for it any more */
}

static bool refuse(struct passage *p)
{
    if (!p->refused[0])
        snprintf(p->refused, sizeof p->refused, "the bastion %s can't connect to %s port %d: it does not say why",
                 p->tunnel->name, p->host, p->port);
    answer(p, PASSAGE_REFUSED);
    passage_end(p);
    return true;
}

static void make_channel(struct passage *p)
{
    struct tunnel *t = p->tunnel;
    p->channel = ssh_channel_new(t->session);
    if (!p->channel) {
        snprintf(p->refused, sizeof p->refused, "can't open a channel at the bastion %s: out of memory", t->name);
        return;
    }
    p->callbacks = (struct ssh_channel_callbacks_struct){.userdata = p,
                                                         .channel_data_function = on_data,
                                                         .channel_eof_function = on_eof,
                                                         .channel_close_function = on_close};
    ssh_callbacks_init(&p->callbacks);
    ssh_set_channel_callbacks(p->channel, &p->callbacks);
    p->number = CHANNELS_FROM + ++t->channels;
    p->stage = PASSAGE_OPENING;
}

/* Returns as ssh_channel_open_forward; SSH_AGAIN also where nothing has come since it was looked at last. */
static int ask(struct passage *p)
{
    struct tunnel *t = p->tunnel;
    if (p->stage == PASSAGE_OPENING && p->asked_at == t->heard.in_bytes)
        return SSH_AGAIN;
    if (p->stage == PASSAGE_ASKED)
        make_channel(p);
    p->asked_at = t->heard.in_bytes;
    return p->channel ? ssh_channel_open_forward(p->channel, p->host, p->port, "127.0.0.1", 65535)
                      : SSH_ERROR; /* as ssh -W says whom it is for */
}

static bool open_channel(struct passage *p)
{
    struct tunnel *t = p->tunnel;
    int rc = ask(p);
    if (rc == SSH_AGAIN)
        return false;
    if (rc != SSH_OK)
        return refuse(p);
    pthread_mutex_lock(&t->lock);
    t->served = true;
    pthread_mutex_unlock(&t->lock);
    answer(p, PASSAGE_OPEN);
    p->stage = PASSAGE_FLOWING;
    return true;
}

/* --- moving --- */

/* What our end has; more than the server's window takes stays there. Returns how much is in the tunnel's piece. */
static size_t read_end(struct passage *p)
{
    struct tunnel *t = p->tunnel;
    size_t window = ssh_channel_window_size(p->channel);
    if (!p->readable || p->ended || !window)
        return 0;
    ssize_t n = recv(p->fd, t->piece, window < sizeof t->piece ? window : sizeof t->piece, MSG_DONTWAIT);
    if (n > 0)
        return (size_t)n;
    p->readable = false;
    p->ended = n == 0 || (errno != EAGAIN && errno != EINTR);
    return 0;
}

/* libssh takes less than it is given while keys are exchanged anew. */
static bool give(struct passage *p, const unsigned char *bytes, size_t n, size_t *took)
{
    int wrote = ssh_channel_write(p->channel, bytes, (uint32_t)n);
    *took = wrote > 0 ? (size_t)wrote : 0;
    if (wrote < 0)
        p->far_ended = p->far_closed = true;
    return wrote > 0;
}

static bool move_up(struct passage *p)
{
    size_t took;
    if (p->far_closed || is_pending(p))
        return false;
    if (buf_length(&p->up)) {
        if (!ssh_channel_window_size(p->channel) || !give(p, buf_data(&p->up), buf_length(&p->up), &took))
            return false;
        buf_consume(&p->up, took);
        return true;
    }
    size_t n = read_end(p);
    if (!n)
        return false;
    give(p, p->tunnel->piece, n, &took);
    if (took < n && buf_add(&p->up, p->tunnel->piece + took, n - took))
        p->ended = true;
    return true;
}

/* All that libssh holds, and only once all before is gone: with each read, however small, it opens its window anew, and
 * would hold ever more. */
static bool take_held(struct passage *p)
{
    if (buf_length(&p->down) || !p->held)
        return false;
    unsigned char *at = p->held <= HELD_MAX ? buf_reserve(&p->down, p->held) : NULL;
    int n = at ? ssh_channel_read_nonblocking(p->channel, at, (uint32_t)p->held, 0) : -1;
    if (n <= 0) {
        p->ended = true;
        return false;
    }
    p->down.end += (size_t)n;
    p->held -= (size_t)n;
    return true;
}

static bool move_down(struct passage *p)
{
    bool took = take_held(p);
    if (!buf_length(&p->down) || !p->writable)
        return took;
    ssize_t n = send(p->fd, buf_data(&p->down), buf_length(&p->down), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        p->writable = false;
        p->ended |= errno != EAGAIN && errno != EINTR;
        return took;
    }
    buf_consume(&p->down, (size_t)n);
    return true;
}

/* Our end is a libssh session's, which never closes one direction alone. */
static bool has_finished(const struct passage *p)
{
    if (p->ended)
        return !buf_length(&p->up) || p->far_closed;
    return p->far_ended && !p->held && !buf_length(&p->down);
}

static bool flow(struct passage *p)
{
    bool down = move_down(p), up = move_up(p);
    if (!has_finished(p))
        return up || down;
    shut(p);
    p->stage = PASSAGE_CLOSING;
    return true;
}

/* libssh sends no CLOSE where the EOF before it had to wait, and says so only by its answer. */
static bool close_channel(struct passage *p)
{
    if (is_pending(p) || ssh_channel_close(p->channel) == SSH_AGAIN)
        return false;
    passage_end(p);
    return true;
}

bool passage_move(struct passage *p)
{
    switch (p->stage) {
    case PASSAGE_ASKED: case PASSAGE_OPENING: return open_channel(p);
    case PASSAGE_FLOWING: return flow(p);
    case PASSAGE_CLOSING: return close_channel(p);
    default: return false;
    }
}

#include "sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static void break_off(struct sink *s, int failure)
{
    s->fd = -1;
    s->failure = failure;
    buf_free(&s->queue);
}

void sink_add(struct sink *s, const void *bytes, size_t n)
{
    if (s->fd >= 0 && buf_add(&s->queue, bytes, n))
        break_off(s, ENOMEM);
}

short sink_events(const struct sink *s) { return buf_length(&s->queue) ? POLLOUT : 0; }

/* A socket is told not to wait; a pipe that is writable takes PIPE_BUF bytes without. */
static ssize_t write_some(int fd, const void *bytes, size_t n)
{
    ssize_t wrote = send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return wrote < 0 && errno == ENOTSOCK ? write(fd, bytes, n < PIPE_BUF ? n : PIPE_BUF) : wrote;
}

void sink_handle(struct sink *s, short revents)
{
    if (s->fd < 0)
        return;
    if (revents & POLLOUT && buf_length(&s->queue)) {
        ssize_t n = write_some(s->fd, buf_data(&s->queue), buf_length(&s->queue));
        if (n >= 0)
            buf_consume(&s->queue, (size_t)n);
        else if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            break_off(s, errno);
    } else if (revents & POLLNVAL) {
        break_off(s, EBADF);
    } else if (revents & (POLLERR | POLLHUP)) {
        break_off(s, EPIPE);
    }
}

void sink_drain(struct sink *s)
{
    while (s->fd >= 0 && buf_length(&s->queue)) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};
        if (poll(&p, 1, -1) > 0)
            sink_handle(s, p.revents);
    }
    buf_free(&s->queue);
}

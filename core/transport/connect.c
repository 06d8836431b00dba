#include "transport/connect.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRIES_MAX PATIENCE_FDS /* addresses under way at once; more wait for one of them to fail */
#define STAGGER_MS 250         /* RFC 8305: the head start of each address before the next */

/* The addresses of one host, in the order of trying, and the attempts under way. */
struct race {
    const struct connect_wish *wish;
    const struct addrinfo *bind;
    const struct addrinfo *order[64];
    size_t count, next;
    struct pollfd running[TRIES_MAX];
    size_t running_count;
    int first_error; /* of the address that was tried first: the preferred one, so the one to report */
};

/* Families take turns, beginning with that of the first: getaddrinfo has sorted them by preference already. */
static void order_addresses(struct race *r, const struct addrinfo *list)
{
    const struct addrinfo *first = list, *second = list;
    int family = list->ai_family;
    while (r->count < sizeof r->order / sizeof *r->order) {
        while (first && first->ai_family != family)
            first = first->ai_next;
        while (second && second->ai_family == family)
            second = second->ai_next;
        if (!first && !second)
            return;
        if (first) {
            r->order[r->count++] = first;
            first = first->ai_next;
        }
        if (second && r->count < sizeof r->order / sizeof *r->order) {
            r->order[r->count++] = second;
            second = second->ai_next;
        }
    }
}

static int open_socket(const struct race *r, const struct addrinfo *to)
{
    static const int on = 1;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (r->wish->keepalive)
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    const struct addrinfo *from = r->bind;
    while (from && from->ai_family != to->ai_family)
        from = from->ai_next;
    if (r->bind && (!from || bind(fd, from->ai_addr, from->ai_addrlen))) {
        if (!from)
            errno = EADDRNOTAVAIL;
        fd_close(&fd);
    }
    return fd;
}

static void note_error(struct race *r, int error)
{
    if (!r->first_error)
        r->first_error = error;
}

/* Starts on the next address. Returns a socket that is connected already, or -1. */
static int start_next(struct race *r)
{
    const struct addrinfo *to = r->order[r->next++];
    int fd = open_socket(r, to);
    if (fd >= 0 && !connect(fd, to->ai_addr, to->ai_addrlen))
        return fd;
    if (fd < 0 || errno != EINPROGRESS) {
        note_error(r, errno);
        fd_close(&fd);
        return -1;
    }
    r->running[r->running_count++] = (struct pollfd){fd, POLLOUT, 0};
    return -1;
}

/* Looks at those that poll named. Returns one that is connected, taken out of the race, or -1. */
static int find_winner(struct race *r)
{
    for (size_t i = 0; i < r->running_count;) {
        int error = 0, fd = r->running[i].fd;
        socklen_t size = sizeof error;
        if (!r->running[i].revents) {
            i++;
            continue;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
            error = errno;
        r->running[i] = r->running[--r->running_count];
        if (!error)
            return fd;
        note_error(r, error);
        close(fd);
    }
    return -1;
}

/* Until somebody answers, all have failed, or the patience ends. Returns the socket, or -1 with err, or -1 and
 * r->first_error. */
static int run(struct race *r, const struct patience *patience, struct ssx_error *err)
{
    int64_t next_start = 0;
    for (;;) {
        bool more = r->next < r->count && r->running_count < TRIES_MAX;
        if (more && (clock_ms() >= next_start || !r->running_count)) {
            int fd = start_next(r);
            if (fd >= 0)
                return fd;
            next_start = clock_ms() + STAGGER_MS;
            continue;
        }
        if (!r->running_count)
            return -1;
        struct patience turn = *patience;
        if (more && next_start < turn.deadline_ms)
            turn.deadline_ms = next_start;
        int ready = patience_poll(&turn, r->running, r->running_count, err);
        if (ready < 0)
            return -1;
        if (!ready && clock_ms() >= patience->deadline_ms) {
            r->first_error = ETIMEDOUT;
            return -1;
        }
        int fd = ready ? find_winner(r) : -1;
        if (fd >= 0)
            return fd;
    }
}

static int explain(const struct race *r, struct ssx_error *err)
{
    const char *host = r->wish->host;
    int port = r->wish->port;
    switch (r->first_error) {
    case ECONNREFUSED:
        return error_set(err, SSX_ERROR_UNREACHABLE,
                         "can't connect to %s port %d: connection refused (does sshd run there, on that port?)", host, port);
    case ETIMEDOUT:
        return error_set(err, SSX_ERROR_UNREACHABLE,
                         "can't connect to %s port %d: timed out, nothing answers (is it up, and does a firewall let you through?)",
                         host, port);
    case EHOSTUNREACH: case ENETUNREACH:
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't connect to %s port %d: no route to the host", host, port);
    default:
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't connect to %s port %d: %s", host, port, strerror(r->first_error));
    }
}

static int connect_any(struct race *r, const struct patience *patience, struct ssx_error *err)
{
    int fd = run(r, patience, err);
    for (size_t i = 0; i < r->running_count; i++)
        close(r->running[i].fd);
    if (fd < 0)
        explain(r, err); /* an interruption stands in err already */
    return fd;
}

int connect_tcp(const struct connect_wish *wish, const struct patience *patience, struct ssx_error *err)
{
    struct addrinfo *to = NULL, *from = NULL;
    int fd = -1;
    int64_t began = clock_us();
    int rc = resolve(&to, wish->host, wish->port, wish->family, patience, err);
    if (wish->resolve_us)
        *wish->resolve_us = clock_us() - began;
    if (rc)
        return -1;
    if (!wish->bind_address[0] || !resolve(&from, wish->bind_address, 0, wish->family, patience, err)) {
        struct race race = {.wish = wish, .bind = from};
        order_addresses(&race, to);
        fd = connect_any(&race, patience, err);
    }
    freeaddrinfo(to);
    if (from)
        freeaddrinfo(from);
    return fd;
}

void connect_quickack(int fd)
{
    static const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

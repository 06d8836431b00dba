#include "transport/resolve.h"

#include "base/error.h"
#include "base/io.h"
#include "base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Belongs to the asker and to the thread; whoever lets go last frees it. */
struct question {
    atomic_int holders;
    atomic_bool done; /* rc and found are there */
    int done_fd;      /* readable then */
    char *host;
    char port[8];
    struct addrinfo hints;
    int rc;
    struct addrinfo *found;
};

static void let_go(struct question *q)
{
    if (atomic_fetch_sub(&q->holders, 1) > 1)
        return;
    if (q->found)
        freeaddrinfo(q->found);
    fd_close(&q->done_fd);
    free(q->host);
    free(q);
}

static void *answer(void *arg)
{
    struct question *q = arg;
    q->rc = getaddrinfo(q->host, q->port, &q->hints, &q->found);
    atomic_store(&q->done, true);
    eventfd_write(q->done_fd, 1);
    let_go(q);
    return NULL;
}

static int explain(const char *host, int rc, struct ssx_error *err)
{
    if (rc == EAI_NONAME || rc == EAI_NODATA)
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't find the host %s: no such name", host);
    if (rc == EAI_AGAIN)
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't find the host %s: the name server does not answer, try again later",
                         host);
    return error_set(err, SSX_ERROR_UNREACHABLE, "can't find the host %s: %s", host,
                     rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
}

static int start(struct question *q)
{
    pthread_t thread;
    int rc = thread_start(&thread, answer, q);
    if (rc == 0)
        pthread_detach(thread);
    return rc;
}

static struct question *make_question(const char *host, const char *port, const struct addrinfo *hints)
{
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    atomic_init(&q->holders, 1);
    atomic_init(&q->done, false);
    q->hints = *hints;
    snprintf(q->port, sizeof q->port, "%s", port);
    q->host = strdup(host);
    q->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->host && q->done_fd >= 0)
        return q;
    let_go(q);
    return NULL;
}

static int ask(struct addrinfo **out, struct question *q, const struct patience *patience, struct ssx_error *err)
{
    struct pollfd done = {q->done_fd, POLLIN, 0};
    atomic_fetch_add(&q->holders, 1);
    int rc = start(q);
    if (rc) {
        atomic_fetch_sub(&q->holders, 1);
        errno = rc;
        return error_system(err, "can't look up %s", q->host);
    }
    int ready = patience_poll(patience, &done, 1, err);
    if (ready < 0)
        return -1;
    if (!ready || !atomic_load(&q->done))
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't find the host %s: the name server did not answer in time", q->host);
    if (q->rc)
        return explain(q->host, q->rc, err);
    *out = q->found;
    q->found = NULL;
    return 0;
}

int resolve(struct addrinfo **out, const char *host, int port, int family, const struct patience *patience, struct ssx_error *err)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char digits[8];
    snprintf(digits, sizeof digits, "%d", port);
    if (!getaddrinfo(host, digits, &hints, out))
        return 0;
    hints.ai_flags = AI_NUMERICSERV;
    struct question *q = make_question(host, digits, &hints);
    if (!q)
        return error_system(err, "can't look up %s", host);
    int rc = ask(out, q, patience, err);
    let_go(q);
    return rc;
}

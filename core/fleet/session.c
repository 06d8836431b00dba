#include "fleet/session.h"

#include "base/error.h"
#include "base/io.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(SSX_WINDOW == CLIENT_WINDOW, "what the header promises is what the client grants");

#define ROUNDS 16 /* pieces of at most 64 KiB read in one step, so that a flood leaves other sessions of an event loop their turn */

/* --- moving --- */

static void fail(struct ssx_session *s, struct ssx_error *why)
{
    link_explain(&s->link, why);
    s->error = *why;
    link_fail(&s->link, why->text);
}

/* Returns how many messages there were. */
static size_t take_messages(struct ssx_session *s)
{
    struct message m;
    struct ssx_error why = {0};
    size_t count = 0;
    for (int rc; (rc = client_next(s->link.client, &m, &why)) != 0; count++) {
        if (rc < 0) {
            fail(s, &why);
        } else if (m.kind == MESSAGE_HELLO) {
            s->hello = true;
            s->calls_max = m.hello.calls ? (size_t)m.hello.calls : SIZE_MAX; /* not said: then it has no limit of its own */
            s->in_callback = true;
            link_answered(&s->link);
            s->in_callback = false;
        } else if (run_take(s, &m, &why)) {
            fail(s, &why);
        }
    }
    return count;
}

static size_t outgoing(const struct ssx_session *s)
{
    size_t n;
    client_outgoing(s->link.client, &n);
    return n;
}

/* What is waited for, if anything is. */
struct goal { bool (*done)(const void *what); const void *what; };

static bool is_done(const struct goal *g) { return g->done && g->done(g->what); }

/* Moves until nothing moves any more or the goal is reached; *more: there may be something left, for it was enough for
 * one step. Returns whether anything moved. */
static bool move(struct ssx_session *s, const struct goal *goal, bool *more)
{
    struct ssx_error why = {0};
    bool moved = take_messages(s) > 0;
    moved |= queue_advance(s);
    *more = true;
    for (int i = 0; i < ROUNDS && !s->link.ended && !is_done(goal); i++) {
        size_t before = outgoing(s);
        s->in_callback = true; /* on_stderr may be called */
        int rc = link_step(&s->link, true, &why);
        s->in_callback = false;
        if (rc < 0)
            fail(s, &why);
        bool came = take_messages(s) > 0;
        came |= queue_advance(s);
        moved |= came || rc != 0 || outgoing(s) != before;
        *more = came || rc != 0;
        if (!*more)
            break;
    }
    return moved;
}

static struct pollfd interruption(const struct ssx_session *s)
{
    return (struct pollfd){.fd = s->o.interrupt_fd > 0 ? s->o.interrupt_fd : -1, .events = POLLIN};
}

static int interrupted(struct ssx_error *err) { return error_set(err, SSX_ERROR_INTERRUPTED, "interrupted"); }

/* Without waiting, for a host that leaves nothing to wait for. */
static bool is_interrupted(const struct ssx_session *s)
{
    struct pollfd fd = interruption(s);
    return fd.fd >= 0 && poll(&fd, 1, 0) > 0;
}

/* Waits for the link or for the one who may interrupt. Returns 0 or -1 with err. */
static int wait_for_link(struct ssx_session *s, int timeout_ms, struct ssx_error *err)
{
    struct pollfd fds[TRANSPORT_FDS + 1];
    size_t n = link_poll(&s->link, true, fds);
    fds[n] = interruption(s);
    if (poll(fds, n + 1, timeout_ms) < 0 && errno != EINTR)
        return error_system(err, "can't wait for the host");
    return fds[n].revents ? interrupted(err) : 0;
}

static int left_until(int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void watch(struct ssx_session *s);

static int until(struct ssx_session *s, const struct goal *goal, int timeout_ms, struct ssx_error *err)
{
    int64_t deadline = clock_ms() + timeout_ms;
    for (bool more; !is_done(goal);) {
        if (goal->done && timeout_ms && is_interrupted(s))
            return interrupted(err);
        bool moved = move(s, goal, &more);
        if (is_done(goal) || (!goal->done && moved))
            break;
        if (s->link.ended)
            return error_set(err, s->error.code, "%s", s->error.text);
        int left = timeout_ms < 0 ? -1 : left_until(deadline);
        if (!left)
            return SSX_AGAIN;
        if (!more && wait_for_link(s, left, err))
            return -1;
    }
    return 0;
}

int session_until(struct ssx_session *s, bool (*done)(const void *), const void *what, int timeout_ms, struct ssx_error *err)
{
    if (s->in_callback)
        return error_set(err, SSX_ERROR_USAGE, "can't wait in a callback: what is waited for comes after it has returned");
    const struct goal goal = {done, what};
    int rc = until(s, &goal, timeout_ms, err);
    watch(s);
    return rc;
}

int ssx_session_step(struct ssx_session *session, int timeout_ms, struct ssx_error *err)
{
    if (session->link.ended && !session->in_callback)
        return error_set(err, session->error.code, "%s", session->error.text);
    return session_until(session, NULL, NULL, timeout_ms, err);
}

static bool none_is_open(const void *session) { return ((const struct ssx_session *)session)->running == 0; }

int ssx_session_wait(struct ssx_session *session, int timeout_ms, struct ssx_error *err)
{
    return session_until(session, none_is_open, session, timeout_ms, err);
}

size_t ssx_session_running(const struct ssx_session *session) { return session->running; }

const char *ssx_session_transport(const struct ssx_session *session) { return transport_name(session->link.transport); }

/* --- one descriptor for somebody else's loop --- */

static void watch_one(int epoll_fd, const struct pollfd *fd)
{
    struct epoll_event event = {.events = (fd->events & POLLIN ? EPOLLIN : 0u) | (fd->events & POLLOUT ? EPOLLOUT : 0u)};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd->fd, &event) && errno == ENOENT) /* also where a number came to mean another descriptor */
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd->fd, &event);
}

static bool is_among(int fd, const struct pollfd *fds, size_t n)
{
    while (n && fds[n - 1].fd != fd)
        n--;
    return n > 0;
}

/* What to poll for changes with each step: bytes may wait in libssh's memory, where only an eventfd of the transport
 * tells of them. */
static void watch(struct ssx_session *s)
{
    struct pollfd wanted[TRANSPORT_FDS + 1];
    s->armed = false;
    if (s->epoll_fd < 0)
        return;
    size_t n = link_poll(&s->link, true, wanted);
    if (s->cancelled_waiting && s->awake_fd < 0)
        s->awake_fd = eventfd(1, EFD_CLOEXEC);
    if (s->cancelled_waiting && s->awake_fd >= 0)
        wanted[n++] = (struct pollfd){s->awake_fd, POLLIN, 0};
    for (size_t i = 0; i < s->watched_count; i++)
        if (!is_among(s->watched[i].fd, wanted, n))
            epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->watched[i].fd, NULL);
    for (size_t i = 0; i < n; i++)
        watch_one(s->epoll_fd, &wanted[i]);
    memcpy(s->watched, wanted, n * sizeof *wanted);
    s->watched_count = n;
}

int ssx_session_fd(struct ssx_session *session)
{
    if (session->epoll_fd < 0)
        session->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!session->in_callback)
        watch(session);
    return session->epoll_fd;
}

void session_queued(struct ssx_session *s)
{
    if (s->in_callback || s->armed) /* the step that calls back sends it, or watches for it */
        return;
    watch(s);
    s->armed = true;
}

/* --- the end --- */

static void types_free(struct known_type *t)
{
    for (struct known_type *next; t; t = next) {
        next = t->next;
        if (t->here)
            type_close(&t->type);
        free(t->word);
        free(t);
    }
}

void ssx_session_close(struct ssx_session *session)
{
    if (!session)
        return;
    for (struct ssx_run *run = session->runs, *next; run; run = next) {
        next = run->next;
        run_abandon(run);
    }
    if (session->link.client)
        link_close(&session->link);
    agents_close(&session->agent);
    types_free(session->types);
    fd_close(&session->epoll_fd);
    fd_close(&session->awake_fd);
    buf_free(&session->text);
    free(session->open);
    free(session->plugin_path);
    free(session);
}

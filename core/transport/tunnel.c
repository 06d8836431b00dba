#include "transport/tunnel.h"

#include "base/error.h"
#include "base/io.h"
#include "base/thread.h"
#include "transport/connect.h"
#include "transport/login.h"
#include "transport/passage.h"

#include <errno.h>
#include <libssh/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALIVE_MAX_S 86400
#define EVENTS 128   /* taken from the kernel at once */
#define ROUNDS 64    /* of libssh's reading, 4 KiB each, before what came is passed on */
#define LEAVE_MS 500 /* for what was handed in, once nobody is interested in an answer: what a closed TCP connection would still have sent */

static bool is_broken(const struct tunnel *t)
{
    return t->confused || t->silent || (ssh_get_status(t->session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) || ssh_get_fd(t->session) < 0;
}

static void wake(struct tunnel *t)
{
    const uint64_t one = 1;
    if (write(t->wake, &one, sizeof one) < 0)
        return; /* it is awake as it is */
}

/* --- the thread --- */

/* Has libssh read what has come. Returns whether there may be more. */
static bool hear(struct tunnel *t)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t before = t->heard.in_bytes;
        int rc = ssh_channel_poll(t->ear, 0);
        t->confused |= rc > 0 || rc == SSH_EOF;
        if (rc || t->heard.in_bytes == before)
            return false;
    }
    return true;
}

/* Those who have asked meanwhile. Returns whether the tunnel is to end. */
static bool take_asked(struct tunnel *t)
{
    uint64_t count;
    if (read(t->wake, &count, sizeof count) < 0 && errno != EAGAIN)
        return true;
    pthread_mutex_lock(&t->lock);
    struct passage *list = t->asked;
    bool ending = t->ending;
    t->asked = NULL;
    t->asked_end = &t->asked;
    pthread_mutex_unlock(&t->lock);
    for (struct passage *p = list, *next; p; p = next) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.ptr = p}};
        next = p->next;
        p->next = t->passages;
        t->passages = p;
        p->readable = p->writable = true;
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, p->fd, &event);
    }
    return ending;
}

/* The thread is done with it. */
static void let_go(struct tunnel *t, struct passage *p)
{
    passage_end(p);
    pthread_mutex_lock(&t->lock);
    p->over = true;
    bool left = p->left;
    pthread_mutex_unlock(&t->lock);
    if (left)
        passage_free(p);
}

/* Those that moved stand at the end next time: where the connection takes less than all of them have, they take
 * turns. */
static bool move_all(struct tunnel *t)
{
    struct passage *moved = NULL, **end = &moved, **at = &t->passages;
    bool any = false;
    for (struct passage *p; (p = *at);) {
        bool did = passage_move(p);
        any |= did;
        if (!did) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        if (p->stage == PASSAGE_GONE) {
            let_go(t, p);
        } else {
            *end = p;
            end = &p->next;
        }
    }
    *end = NULL;
    *at = moved;
    return any;
}

/* The session's socket is watched for writing only while libssh holds something. */
static void watch_session(struct tunnel *t)
{
    bool pending = ssh_get_status(t->session) & SSH_WRITE_PENDING;
    struct epoll_event event = {.events = EPOLLIN | (pending ? EPOLLOUT : 0u), .data = {.ptr = t}};
    if (pending != t->wants_out)
        epoll_ctl(t->epoll, EPOLL_CTL_MOD, ssh_get_fd(t->session), &event);
    t->wants_out = pending;
}

/* sshd leaves Nagle on in a session without a shell: it would wait for our acknowledgement before each small packet. */
static void wait(struct tunnel *t, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    watch_session(t);
    connect_quickack(ssh_get_fd(t->session));
    int n = epoll_wait(t->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct passage *p = events[i].data.ptr;
        if (!p || events[i].data.ptr == (void *)t)
            continue;
        p->readable |= (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
        p->writable |= (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    }
}

/* ServerAliveInterval and ServerAliveCountMax. Returns how long it is until there is something to do, in ms; -1:
 * nothing ever. */
static int watch_life(struct tunnel *t)
{
    int64_t now = clock_ms();
    if (!t->alive_ms)
        return -1;
    if (t->heard.in_bytes != t->heard_before) {
        t->heard_before = t->heard.in_bytes;
        t->heard_ms = now;
        t->questions = 0;
    }
    int64_t due = t->heard_ms + (int64_t)t->alive_ms * (t->questions + 1);
    if (now < due)
        return (int)(due - now);
    t->silent = t->questions++ >= t->alive_max;
    ssh_send_keepalive(t->session); /* it may only take note of the answer to the one before */
    ssh_send_keepalive(t->session);
    return t->alive_ms;
}

/* First the reason, then the ends: whoever sees its end asks for the reason. */
static void lose(struct tunnel *t)
{
    const char *why = ssh_get_error(t->session);
    pthread_mutex_lock(&t->lock);
    t->lost = true;
    if (t->silent)
        snprintf(t->why, sizeof t->why, "no sign of life for %g s (ServerAliveInterval)", (double)(clock_ms() - t->heard_ms) / 1000);
    else
        snprintf(t->why, sizeof t->why, "%s",
                 t->confused ? "it speaks of channels that are not open"
                 : *why      ? why
                             : "closed at the other end");
    pthread_mutex_unlock(&t->lock);
}

static _Thread_local struct tunnel *mine;

static void on_error(int level, const char *function, const char *text, void *user)
{
    (void)level, (void)function, (void)user;
    if (mine)
        passage_take_refusal(mine, text);
}

/* libssh logs its errors as they happen, and has a level and a callback for each thread. */
static void listen_to_errors(struct tunnel *t)
{
    mine = t;
    ssh_set_log_callback(on_error);
    ssh_set_log_level(SSH_LOG_WARN);
}

static void *run(void *arg)
{
    struct tunnel *t = arg;
    int64_t leave_ms = 0;
    listen_to_errors(t);
    while (!is_broken(t)) {
        bool ending = take_asked(t);
        bool more = hear(t);
        bool moved = move_all(t);
        int64_t now = ending ? clock_ms() : 0;
        if (ending && !leave_ms)
            leave_ms = now + LEAVE_MS;
        if (ending && (!t->passages || now >= leave_ms))
            break;
        int life_ms = watch_life(t);
        if (!is_broken(t))
            wait(t, more || moved ? 0 : ending ? (int)(leave_ms - now) : life_ms);
    }
    if (is_broken(t))
        lose(t);
    take_asked(t);
    for (struct passage *p; (p = t->passages);) {
        t->passages = p->next;
        let_go(t, p);
    }
    return NULL;
}

/* --- starting and ending --- */

static void discard(struct tunnel *t)
{
    login_end(t->session); /* with it all its channels */
    fd_close(&t->epoll);
    fd_close(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->name);
    free(t);
}

/* Returns 0 or an errno. */
static int set_up(struct tunnel *t, const char *name)
{
    struct epoll_event session = {.events = EPOLLIN, .data = {.ptr = t}}, asked = {.events = EPOLLIN};
    t->name = strdup(name);
    t->ear = ssh_channel_new(t->session);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!t->name || !t->ear)
        return ENOMEM;
    if (t->epoll < 0 || t->wake < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->wake, &asked) ||
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, ssh_get_fd(t->session), &session))
        return errno;
    ssh_set_counters(t->session, &t->heard, NULL);
    t->heard_ms = clock_ms();
    return thread_start(&t->thread, run, t);
}

int tunnel_start(struct tunnel **out, ssh_session session, const char *name, int alive_s, int alive_max, struct ssx_error *err)
{
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t) {
        login_end(session);
        return error_set(err, SSX_ERROR_SYSTEM, "can't go through the bastion %s: out of memory", name);
    }
    t->session = session;
    t->alive_ms = (alive_s < ALIVE_MAX_S ? alive_s : ALIVE_MAX_S) * 1000;
    t->alive_max = alive_max;
    t->asked_end = &t->asked;
    pthread_mutex_init(&t->lock, NULL);
    int rc = set_up(t, name);
    if (rc) {
        discard(t);
        errno = rc;
        return error_system(err, "can't go through the bastion %s", name);
    }
    *out = t;
    return 0;
}

void tunnel_end(struct tunnel *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->ending = true;
    pthread_mutex_unlock(&t->lock);
    wake(t);
    pthread_join(t->thread, NULL);
    discard(t);
}

bool tunnel_is_lost(struct tunnel *t, bool *served)
{
    pthread_mutex_lock(&t->lock);
    bool lost = t->lost;
    if (served)
        *served = t->served;
    pthread_mutex_unlock(&t->lock);
    return lost;
}

/* --- passages, in the threads of those who ask --- */

bool passage_explain(struct passage *p, struct ssx_error *err)
{
    char why[sizeof p->tunnel->why];
    if (!p || !tunnel_is_lost(p->tunnel, NULL))
        return false;
    pthread_mutex_lock(&p->tunnel->lock);
    snprintf(why, sizeof why, "%s", p->tunnel->why);
    pthread_mutex_unlock(&p->tunnel->lock);
    if (err)
        *err = (struct ssx_error){0};
    error_set(err, SSX_ERROR_UNREACHABLE, "the connection to the bastion %s was lost: %s", p->tunnel->name, why);
    return true;
}

void passage_close(struct passage *p)
{
    if (!p)
        return;
    pthread_mutex_t *lock = &p->tunnel->lock;
    pthread_mutex_lock(lock);
    p->left = true;
    bool over = p->over;
    pthread_mutex_unlock(lock);
    if (over)
        passage_free(p);
}

static struct passage *make_passage(struct tunnel *t, const char *host, int port, int *fd)
{
    int pair[2];
    struct passage *p = calloc(1, sizeof *p);
    char *name = strdup(host);
    if (!p || !name || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair)) {
        free(name);
        free(p);
        return NULL;
    }
    p->tunnel = t;
    p->host = name;
    p->port = port;
    p->fd = pair[0];
    *fd = pair[1];
    return p;
}

/* Hands it to the thread, which is the one to free it where it is left too early. A tunnel that is lost takes
 * nobody. */
static void hand_in(struct tunnel *t, struct passage *p)
{
    pthread_mutex_lock(&t->lock);
    if (t->lost) {
        p->over = true;
        fd_close(&p->fd);
    } else {
        *t->asked_end = p;
        t->asked_end = &p->next;
    }
    pthread_mutex_unlock(&t->lock);
    wake(t);
}

static int await_answer(struct passage *p, int fd, const struct patience *patience, struct ssx_error *err)
{
    char answer;
    int ready = patience_poll(patience, &(struct pollfd){fd, POLLIN, 0}, 1, err);
    if (ready < 0)
        return -1;
    if (!ready)
        return error_set(err, SSX_ERROR_UNREACHABLE, "the bastion %s did not connect us to %s port %d in time",
                         p->tunnel->name, p->host, p->port);
    if (recv(fd, &answer, 1, 0) != 1) {
        passage_explain(p, err);
        return error_set(err, SSX_ERROR_UNREACHABLE, "the bastion %s has gone", p->tunnel->name);
    }
    return answer == *PASSAGE_OPEN ? 0 : error_set(err, SSX_ERROR_UNREACHABLE, "%s", p->refused);
}

int passage_open(struct passage **out, int *fd, struct tunnel *t, const char *host, int port,
                 const struct patience *patience, struct ssx_error *err)
{
    struct passage *p = make_passage(t, host, port, fd);
    if (!p)
        return error_system(err, "can't go through the bastion %s", t->name);
    hand_in(t, p);
    if (await_answer(p, *fd, patience, err)) {
        fd_close(fd);
        passage_close(p);
        return -1;
    }
    *out = p;
    return 0;
}

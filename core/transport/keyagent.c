#include "transport/keyagent.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/io.h"
#include "base/ssh_string.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* draft-miller-ssh-agent */
#define AGENT_FAILURE 5
#define AGENT_REQUEST_IDENTITIES 11
#define AGENT_IDENTITIES_ANSWER 12
#define AGENT_SIGN_REQUEST 13
#define MESSAGE_MAX (256u << 10) /* OpenSSH's own limit */
#define KEYS_MAX 2048

/* --- messages --- */

/* Waits until fd is ready for `events`; an end of watch_fd (-1: none) counts as not ready any more. Returns 0 or -1. */
static int await(int fd, short events, int watch_fd, const struct patience *patience, struct ssx_error *err)
{
    struct pollfd fds[] = {{fd, events, 0}, {watch_fd, POLLRDHUP, 0}};
    return patience_poll(patience, fds, 2, err) == 1 && !fds[1].revents ? 0 : -1;
}

static int send_all(int fd, int watch_fd, const struct buf *bytes, const struct patience *patience, struct ssx_error *err)
{
    for (size_t sent = 0; sent < buf_length(bytes);) {
        ssize_t n = send(fd, buf_data(bytes) + sent, buf_length(bytes) - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if ((errno != EAGAIN && errno != EINTR) || await(fd, POLLOUT, watch_fd, patience, err))
            return -1;
    }
    return 0;
}

static int receive(int fd, int watch_fd, void *out, size_t size, const struct patience *patience, struct ssx_error *err)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, (char *)out + got, size - got, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR) || await(fd, POLLIN, watch_fd, patience, err))
            return -1;
    }
    return 0;
}

/* One message, its length in front, as it came. */
static int receive_message(int fd, int watch_fd, struct buf *out, const struct patience *patience, struct ssx_error *err)
{
    unsigned char head[4];
    buf_consume(out, buf_length(out));
    if (receive(fd, watch_fd, head, sizeof head, patience, err))
        return -1;
    uint32_t n;
    if (ssh_u32_take(&n, &(struct ssh_string){head, sizeof head}) || !n || n > MESSAGE_MAX || buf_add(out, head, sizeof head))
        return -1;
    unsigned char *at = buf_reserve(out, n);
    if (!at || receive(fd, watch_fd, at, n, patience, err))
        return -1;
    out->end += n;
    return 0;
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address))
        fd_close(&fd);
    return fd;
}

/* --- listing --- */

static int take_key(struct keyagent_key *out, struct ssh_string *from)
{
    struct ssh_string blob, comment, type, inside;
    if (ssh_string_take(&blob, from) || ssh_string_take(&comment, from))
        return -1;
    inside = blob;
    if (ssh_string_take(&type, &inside) || type.n >= sizeof out->type)
        return -1;
    memcpy(out->type, type.at, type.n);
    out->size = blob.n;
    out->blob = malloc(blob.n);
    out->comment = strndup((const char *)comment.at, comment.n);
    if (out->blob)
        memcpy(out->blob, blob.at, blob.n);
    return out->blob && out->comment ? 0 : -1;
}

static int take_keys(struct keyagent *a, const struct buf *message)
{
    struct ssh_string rest = {buf_data(message) + 5, buf_length(message) - 5}; /* behind the length and the kind */
    uint32_t count;
    if (rest.at[-1] != AGENT_IDENTITIES_ANSWER || ssh_u32_take(&count, &rest) || count > KEYS_MAX)
        return -1;
    a->keys = calloc(count ? count : 1, sizeof *a->keys);
    if (!a->keys)
        return -1;
    while (a->count < count)
        if (take_key(&a->keys[a->count++], &rest))
            return -1;
    return 0;
}

int keyagent_list(struct keyagent *out, const char *path, const struct patience *patience, struct ssx_error *err)
{
    struct buf message = {0};
    struct ssx_error stop = {0};
    *out = (struct keyagent){0};
    int fd = dial(path);
    if (fd < 0)
        return 0;
    ssh_u32_add(&message, 1);
    buf_add(&message, &(unsigned char){AGENT_REQUEST_IDENTITIES}, 1);
    int rc = message.failed || send_all(fd, -1, &message, patience, &stop) || receive_message(fd, -1, &message, patience, &stop) ||
             take_keys(out, &message);
    fd_close(&fd);
    buf_free(&message);
    if (rc)
        keyagent_dispose(out);
    else
        snprintf(out->path, sizeof out->path, "%s", path);
    return stop.code ? error_set(err, stop.code, "%s", stop.text) : 0;
}

void keyagent_dispose(struct keyagent *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->keys[i].blob);
        free(a->keys[i].comment);
    }
    free(a->keys);
    *a = (struct keyagent){0};
}

/* --- the relay --- */

struct keyagent_relay {
    const struct keyagent *agent;
    struct patience patience;
    atomic_size_t shown;
    int fd; /* our end */
    pthread_t thread;
};

static void answer_failure(struct buf *out)
{
    buf_consume(out, buf_length(out));
    ssh_u32_add(out, 1);
    buf_add(out, &(unsigned char){AGENT_FAILURE}, 1);
}

static void answer_list(struct keyagent_relay *r, struct buf *out)
{
    const struct keyagent_key *key = &r->agent->keys[atomic_load(&r->shown)];
    size_t comment = strlen(key->comment);
    buf_consume(out, buf_length(out));
    ssh_u32_add(out, (uint32_t)(1 + 4 + 4 + key->size + 4 + comment));
    buf_add(out, &(unsigned char){AGENT_IDENTITIES_ANSWER}, 1);
    ssh_u32_add(out, 1);
    ssh_string_add(out, key->blob, key->size);
    ssh_string_add(out, key->comment, comment);
}

/* The agent may ask its user first, so this can take long; libssh hanging up ends it. */
static void answer_signed(struct keyagent_relay *r, struct buf *message)
{
    int fd = dial(r->agent->path);
    if (fd < 0 || send_all(fd, r->fd, message, &r->patience, NULL) || receive_message(fd, r->fd, message, &r->patience, NULL))
        answer_failure(message);
    fd_close(&fd);
}

static void *relay(void *arg)
{
    struct keyagent_relay *r = arg;
    struct buf message = {0};
    while (!receive_message(r->fd, -1, &message, &r->patience, NULL)) {
        unsigned char kind = buf_data(&message)[4];
        if (kind == AGENT_REQUEST_IDENTITIES)
            answer_list(r, &message);
        else if (kind == AGENT_SIGN_REQUEST)
            answer_signed(r, &message);
        else
            answer_failure(&message);
        if (message.failed || send_all(r->fd, -1, &message, &r->patience, NULL))
            break;
    }
    shutdown(r->fd, SHUT_RDWR); /* wakes libssh, should it wait for us */
    buf_free(&message);
    return NULL;
}

int keyagent_relay_start(struct keyagent_relay **out, int *client_fd, const struct keyagent *agent, struct patience patience,
                         struct ssx_error *err)
{
    int pair[2];
    struct keyagent_relay *r = calloc(1, sizeof *r);
    if (!r || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        free(r);
        return error_system(err, "can't talk to the ssh-agent");
    }
    r->agent = agent;
    r->patience = patience;
    r->fd = pair[0];
    atomic_init(&r->shown, 0);
    int rc = thread_start(&r->thread, relay, r);
    if (rc) {
        close(pair[0]);
        close(pair[1]);
        free(r);
        errno = rc;
        return error_system(err, "can't talk to the ssh-agent");
    }
    *out = r;
    *client_fd = pair[1];
    return 0;
}

void keyagent_relay_show(struct keyagent_relay *r, size_t key) { atomic_store(&r->shown, key); }

void keyagent_relay_stop(struct keyagent_relay *r)
{
    if (!r)
        return;
    shutdown(r->fd, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->fd);
    free(r);
}

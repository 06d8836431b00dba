#include "fleet/link.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/route.h"
#include "transport/told.h"

#include <limits.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PIECE (64u << 10) /* of one read; FACTS: no more than this at once through libssh */

#define EARLY_MAX (64u << 10)

#define SILENCE_MS 60000  /* before the agent answers; a slow host may unpack it meanwhile */
#define LEASE_SIGNS 3
#define GRACE_MS 120000   /* the same where ssh or sudo may be asking the user for something: as sshd's LoginGraceTime */

/* The timer begins, or begins anew; every: and again and again. */
static void arm(struct link *l, int ms, bool every)
{
    struct timespec after = {ms / 1000, ms % 1000 * 1000000L};
    struct itimerspec when = {.it_value = after};
    if (every)
        when.it_interval = after;
    if (l->timer >= 0)
        timerfd_settime(l->timer, 0, &when, NULL);
}

/* A lease is kept by a sign of life three times in its length. */
static void take_lease(struct link *l, int64_t lease_ms)
{
    int third = lease_ms / LEASE_SIGNS < INT_MAX ? (int)(lease_ms / LEASE_SIGNS) : INT_MAX;
    l->alive_ms = transport_alive(l->transport, &l->alive_max);
    l->leased = lease_ms > 0;
    if (!l->leased)
        return;
    client_want_lease(l->client, (uint64_t)lease_ms);
    if (!l->alive_ms || third <= l->alive_ms) {
        l->alive_ms = third ? third : 1;
        l->alive_max = LEASE_SIGNS - 1;
    }
}

static int start(struct link *l, const struct agent_image *agent, const struct transport_target *target, struct ssx_error *err)
{
    int least = target->ask ? GRACE_MS : 0;
    l->patience_ms = target->connect_timeout_ms ? target->connect_timeout_ms : SILENCE_MS;
    if (l->patience_ms < least && target->mode != TRANSPORT_LIBSSH)
        l->patience_ms = least;
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    l->client = l->timer < 0 ? NULL : client_new(agent);
    arm(l, l->patience_ms, false);
    if (l->client) {
        take_lease(l, target->lease_ms);
        return 0;
    }
    error_system(err, "can't start a session");
    fd_close(&l->timer);
    transport_free(l->transport);
    l->transport = NULL;
    return -1;
}

int link_open_local(struct link *out, const struct transport_target *target, const char *const *argv, struct ssx_error *err)
{
    memset(out, 0, sizeof *out);
    out->timer = -1;
    return transport_open_local(&out->transport, target, argv, err) ? -1 : start(out, NULL, target, err);
}

int link_open_host(struct link *out, const struct transport_target *target, const struct agent_image *agent,
                   enum bootstrap_mode mode, struct ssx_error *err)
{
    struct buf command = {0};
    memset(out, 0, sizeof *out);
    out->timer = -1;
    int rc = bootstrap_command(&command, agent, mode) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory")
                                                : transport_open(&out->transport, target, (const char *)buf_data(&command), err);
    buf_free(&command);
    return rc ? -1 : start(out, agent, target, err);
}

size_t link_poll(struct link *l, bool read, struct pollfd *out)
{
    size_t waiting;
    if (l->ended)
        return 0;
    bool write = client_outgoing(l->client, &waiting) != NULL;
    size_t n = read || write ? transport_poll(l->transport, write, out) : 0;
    if (l->timer >= 0)
        out[n++] = (struct pollfd){l->timer, POLLIN, 0};
    return n;
}

void link_fail(struct link *l, const char *why)
{
    if (!l->ended)
        client_lost(l->client, why);
    l->ended = true;
}

/* Returns 1 when some of it went out, 0 when not, -1 with why. */
static int send_waiting(struct link *l, struct ssx_error *why)
{
    size_t n;
    int moved = 0;
    for (const void *at; (at = client_outgoing(l->client, &n)); moved = 1) {
        ssize_t wrote = transport_write(l->transport, at, n < PIECE ? n : PIECE, why);
        if (wrote == TRANSPORT_AGAIN || wrote == 0)
            return moved;
        if (wrote < 0)
            return -1;
        client_sent(l->client, (size_t)wrote);
    }
    return moved;
}

/* Before the agent answers, stderr may hold the reason why it never will; after that it is passed through. */
static void take_stderr(struct link *l, const void *bytes, size_t n)
{
    if (!l->answered && buf_length(&l->early) + n <= EARLY_MAX)
        buf_add(&l->early, bytes, n);
    else if (l->answered && l->on_stderr)
        l->on_stderr(l->user, bytes, n);
}

static void read_stderr(struct link *l)
{
    char bytes[4096];
    ssize_t n;
    while ((n = transport_read(l->transport, TRANSPORT_STDERR, bytes, sizeof bytes, NULL)) > 0)
        take_stderr(l, bytes, (size_t)n);
}

void link_answered(struct link *l)
{
    l->answered = true;
    if (buf_length(&l->early))
        take_stderr(l, buf_data(&l->early), buf_length(&l->early));
    buf_free(&l->early);
}

void link_explain(const struct link *l, struct ssx_error *err)
{
    if (!l->answered)
        told_explain(err, (const char *)buf_data(&l->early), buf_length(&l->early));
}

static bool has_expired(const struct link *l)
{
    uint64_t times;
    return read(l->timer, &times, sizeof times) > 0;
}

/* Nobody waits for ever for an agent: what runs at the far end may never say a word, or close anything. */
static int await_agent(struct link *l, bool heard, struct ssx_error *err)
{
    if (heard)
        arm(l, l->patience_ms, false);
    else if (has_expired(l))
        return error_set(err, SSX_ERROR_UNREACHABLE, "no agent answered, and nothing else moved for %g s", l->patience_ms / 1000.0);
    return 0;
}

/* Gives and asks for signs of life. While nothing is read, nothing can be heard. What waits to be sent is a sign
 * itself, once it goes. */
static int keep_alive(struct link *l, bool heard, bool reads, struct ssx_error *err)
{
    size_t waiting;
    l->heard |= heard;
    if (!has_expired(l))
        return 0;
    l->unheard = l->heard || !reads ? 0 : l->unheard + 1;
    l->heard = false;
    if (l->unheard > l->alive_max)
        return error_set(err, SSX_ERROR_UNREACHABLE, "the host has given no sign of life for %g s", l->unheard * (l->alive_ms / 1000.0));
    if ((l->leased || l->unheard) && !client_outgoing(l->client, &waiting))
        client_ping(l->client);
    return 0;
}

static int check_time(struct link *l, bool heard, bool reads, struct ssx_error *err)
{
    if (l->timer < 0)
        return 0;
    if (l->watched)
        return keep_alive(l, heard, reads, err);
    if (!client_is_ready(l->client))
        return await_agent(l, heard, err);
    l->watched = true;
    if (l->alive_ms)
        arm(l, l->alive_ms, true);
    else
        fd_close(&l->timer);
    return 0;
}

/* A link that can't be written to any more may still hold what the agent said before it went. */
int link_step(struct link *l, bool read, struct ssx_error *err)
{
    static _Thread_local unsigned char bytes[PIECE];
    struct ssx_error why = {0};
    size_t waiting;
    if (l->ended)
        return 0;
    int sent = send_waiting(l, &why);
    bool broken = sent < 0;
    read_stderr(l);
    ssize_t n = read || broken ? transport_read(l->transport, TRANSPORT_STDOUT, bytes, sizeof bytes, &why) : TRANSPORT_AGAIN;
    if (n > 0)
        return check_time(l, true, read, err) || client_receive(l->client, bytes, (size_t)n, err) ? -1 : 1;
    if (n == TRANSPORT_AGAIN && !broken)
        return check_time(l, sent > 0 && (!l->watched || client_outgoing(l->client, &waiting)), read,
                          err); /* a question's going out is no answer to it */
    read_stderr(l);
    if (n == 0 && !broken)
        return client_ended(l->client, err);
    return error_set(err, why.code, "%s", why.text);
}

void link_close(struct link *l)
{
    transport_free(l->transport);
    client_free(l->client);
    if (l->client)
        fd_close(&l->timer);
    buf_free(&l->early);
    memset(l, 0, sizeof *l);
}

#include "fleet/link.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/route.h"
#include "transport/told.h"

#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PIECE (64u << 10) /* of one read; FACTS: no more than this at once through libssh */

#define EARLY_MAX (64u << 10)

#define SILENCE_MS 60000  /* before the agent answers; a slow host may unpack it meanwhile */
#define GRACE_MS 120000   /* the same where ssh or sudo may be asking the user for something: as sshd's LoginGraceTime */

/* The far side's time to say something begins, or begins anew. */
static void rearm(struct link *l)
{
    struct itimerspec when = {.it_value = {l->patience_ms / 1000, l->patience_ms % 1000 * 1000000L}};
    if (l->timer >= 0)
        timerfd_settime(l->timer, 0, &when, NULL);
}

static int start(struct link *l, const struct agent_image *agent, const struct transport_target *target, struct ssx_error *err)
{
    int least = target->ask ? GRACE_MS : 0;
    l->patience_ms = target->connect_timeout_ms ? target->connect_timeout_ms : SILENCE_MS;
    if (l->patience_ms < least && target->mode != TRANSPORT_LIBSSH)
        l->patience_ms = least;
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    l->client = l->timer < 0 ? NULL : client_new(agent);
    rearm(l);
    if (l->client)
        return 0;
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

int link_open_host(struct link *out, const struct transport_target *target, const struct agent_image *agent, enum bootstrap_mode mode, struct ssx_error *err)
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

/* Nobody waits for ever for an agent: what runs at the far end may never say a word, or close anything. */
static int check_silence(struct link *l, bool heard, struct ssx_error *err)
{
    uint64_t expired;
    if (l->timer < 0)
        return 0;
    if (client_is_ready(l->client))
        fd_close(&l->timer);
    else if (heard)
        rearm(l);
    else if (read(l->timer, &expired, sizeof expired) > 0)
        return error_set(err, SSX_ERROR_UNREACHABLE, "no agent answered, and nothing else moved for %g s", l->patience_ms / 1000.0);
    return 0;
}

/* A link that can't be written to any more may still hold what the agent said before it went. */
int link_step(struct link *l, bool read, struct ssx_error *err)
{
    static _Thread_local unsigned char bytes[PIECE];
    struct ssx_error why = {0};
    if (l->ended)
        return 0;
    int sent = send_waiting(l, &why);
    bool broken = sent < 0;
    read_stderr(l);
    ssize_t n = read || broken ? transport_read(l->transport, TRANSPORT_STDOUT, bytes, sizeof bytes, &why) : TRANSPORT_AGAIN;
    if (n > 0)
        return check_silence(l, true, err) || client_receive(l->client, bytes, (size_t)n, err) ? -1 : 1;
    if (n == TRANSPORT_AGAIN && !broken)
        return check_silence(l, sent > 0, err);
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

#include "fleet/link.h"

#include "base/error.h"
#include "transport/route.h"
#include "transport/spawn.h"

#include <string.h>

#define PIECE (64u << 10) /* of one read; FACTS: no more than this at once through libssh */

static int start(struct link *out, const struct agent_image *agent, struct ssx_error *err)
{
    out->client = client_new(agent);
    if (out->client)
        return 0;
    transport_free(out->transport);
    out->transport = NULL;
    return error_set(err, SSX_ERROR_SYSTEM, "can't start a session: out of memory");
}

int link_open_local(struct link *out, const char *const *argv, struct ssx_error *err)
{
    memset(out, 0, sizeof *out);
    return spawn_open(&out->transport, "local", argv, err) ? -1 : start(out, NULL, err);
}

int link_open_host(struct link *out, const struct transport_target *target, const struct agent_image *agent, enum bootstrap_mode mode, struct ssx_error *err)
{
    struct buf command = {0};
    memset(out, 0, sizeof *out);
    int rc = bootstrap_command(&command, agent, mode) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory")
                                                : transport_open(&out->transport, target, (const char *)buf_data(&command), err);
    buf_free(&command);
    return rc ? -1 : start(out, agent, err);
}

size_t link_poll(struct link *l, bool read, struct pollfd *out)
{
    size_t waiting;
    if (l->ended)
        return 0;
    bool write = client_outgoing(l->client, &waiting) != NULL;
    return read || write ? transport_poll(l->transport, write, out) : 0;
}

void link_fail(struct link *l, const char *why)
{
    if (!l->ended)
        client_lost(l->client, why);
    l->ended = true;
}

static int send_waiting(struct link *l, struct ssx_error *why)
{
    size_t n;
    for (const void *at; (at = client_outgoing(l->client, &n));) {
        ssize_t wrote = transport_write(l->transport, at, n < PIECE ? n : PIECE, why);
        if (wrote == TRANSPORT_AGAIN || wrote == 0)
            return 0;
        if (wrote < 0)
            return -1;
        client_sent(l->client, (size_t)wrote);
    }
    return 0;
}

static void read_stderr(struct link *l)
{
    char bytes[4096];
    ssize_t n;
    while ((n = transport_read(l->transport, TRANSPORT_STDERR, bytes, sizeof bytes, NULL)) > 0)
        if (l->on_stderr)
            l->on_stderr(l->user, bytes, (size_t)n);
}

/* A link that can't be written to any more may still hold what the agent said before it went. */
int link_step(struct link *l, bool read, struct ssx_error *err)
{
    static _Thread_local unsigned char bytes[PIECE];
    struct ssx_error why = {0};
    if (l->ended)
        return 0;
    bool broken = send_waiting(l, &why) < 0;
    read_stderr(l);
    ssize_t n = read || broken ? transport_read(l->transport, TRANSPORT_STDOUT, bytes, sizeof bytes, &why) : TRANSPORT_AGAIN;
    if (n > 0)
        return client_receive(l->client, bytes, (size_t)n, err) ? -1 : 1;
    if (n == TRANSPORT_AGAIN && !broken)
        return 0;
    read_stderr(l);
    if (n == 0 && !broken)
        return client_ended(l->client, err);
    return error_set(err, why.code, "%s", why.text);
}

void link_close(struct link *l)
{
    transport_free(l->transport);
    client_free(l->client);
    memset(l, 0, sizeof *l);
}

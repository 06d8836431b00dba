/* The ssh-agent: which keys it holds, and a relay that lets libssh use one of them.
 *
 * libssh offers every key of an agent and blocks on its socket. So it never sees the agent: it talks to a relay of
 * ours, a thread behind a socket pair, which shows it exactly one key, passes signing requests on, and gives up when
 * the patience ends. */
#ifndef TRANSPORT_KEYAGENT_H
#define TRANSPORT_KEYAGENT_H
#include "transport/patience.h"

#include <stddef.h>

struct keyagent_key {
    unsigned char *blob; /* the public key, as on the wire */
    size_t size;
    char type[64];
    char *comment;
};

struct keyagent {
    char path[108]; /* its socket; "" where there is none */
    struct keyagent_key *keys;
    size_t count;
};

/* Which keys the agent at `path` holds. No agent there, or one that talks nonsense, is none (count 0, path ""); -1 only
 * for an interruption or memory. */
int keyagent_list(struct keyagent *out, const char *path, const struct patience *patience, struct ssx_error *err);
void keyagent_dispose(struct keyagent *a);

struct keyagent_relay;

/* *client_fd is libssh's end, which becomes the caller's to close. `agent` must outlive the relay. Returns 0 or -1. */
int keyagent_relay_start(struct keyagent_relay **out, int *client_fd, const struct keyagent *agent, struct patience patience,
                         struct ssx_error *err);

/* Which key it shows from now on. */
void keyagent_relay_show(struct keyagent_relay *r, size_t key);

/* Ends the thread, also one that waits for the agent's answer. NULL is fine. */
void keyagent_relay_stop(struct keyagent_relay *r);

#endif

/* A libssh session from nothing to logged in: connection, key exchange, host key, authentication. libssh runs non-blocking all the
 * way, our own poll does the waiting, so that a deadline and the user's interruption count at every step. */
#ifndef TRANSPORT_LOGIN_H
#define TRANSPORT_LOGIN_H
#include "transport/host_key.h"
#include "transport/offers.h"
#include "transport/patience.h"

#include <libssh/libssh.h>

struct login {
    const struct transport_target *target;
    const struct ssh_config *config;
    const struct host_keys *keys;
    const struct keyagent *agent;
    const struct offers *offers;
    int timeout_ms;           /* for each step: connecting, key exchange, each key, opening the channel */
    struct patience patience; /* of the step under way */
    ssh_session session;      /* NULL until login_open; then the caller's to login_end, whatever it returned */
    bool worth_retrying;      /* the server hung up before its greeting (MaxStartups does that): nothing was tried yet */
};

/* Whether libssh knows an algorithm of each list that the user chose, and so on; else why not. */
bool login_can_honour(const struct ssh_config *config, const struct host_keys *keys, char *reason, size_t size);

/* Returns 0 when logged in, or -1 with err. */
int login_open(struct login *l, struct ssx_error *err);

/* Says goodbye, frees the session and closes its socket. */
void login_end(ssh_session session);

/* Whether the connection has ended. libssh may go on answering SSH_AGAIN for ever then. */
bool login_is_over(const struct login *l);

/* For the steps themselves: begin one; wait until libssh can go on, `doing` says in an error what took too long. */
void login_step(struct login *l);
int login_wait(struct login *l, const char *doing, struct ssx_error *err);

#endif

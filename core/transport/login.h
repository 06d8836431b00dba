/* A libssh session from nothing to logged in: connection, key exchange, host key, authentication. libssh runs
 * non-blocking all the way, our own poll does the waiting, so that a deadline and the user's interruption count at
 * every step. */
#ifndef TRANSPORT_LOGIN_H
#define TRANSPORT_LOGIN_H
#include "transport/host_key.h"
#include "transport/offers.h"
#include "transport/patience.h"

#include <libssh/libssh.h>

struct bastion;
struct passage;

struct login {
    const struct transport_target *target;
    const struct ssh_config *config;
    const struct host_keys *keys;
    const struct keyagent *agent;
    const struct offers *offers;
    struct bastion *bastion;  /* borrowed: the way there; NULL: directly */
    int64_t limit_ms;         /* of clock_ms: when the last step must have ended; 0: only timeout_ms counts */
    int timeout_ms;           /* for each step: connecting, key exchange, each key, opening the channel */
    struct patience patience; /* of the step under way */
    ssh_session session;      /* NULL until login_open; then the caller's, whatever it returned: to login_drop, or to keep with */
    struct passage *passage;  /* its way through the bastion: NULL without one, to be closed after the session's end */
    bool worth_retrying;      /* the server hung up before its greeting (MaxStartups does that): nothing was tried yet */
};

/* Whether libssh knows an algorithm of each list that the user chose, and so on; else why not. */
bool login_can_honour(const struct ssh_config *config, const struct host_keys *keys, char *reason, size_t size);

/* Returns 0 when logged in, or -1 with err. */
int login_open(struct login *l, struct ssx_error *err);

/* The same, and a few times again, after a pause, where that is worth it. */
int login_open_again(struct login *l, struct ssx_error *err);

/* Ends the session and closes its passage, as far as there are any. */
void login_drop(struct login *l);

/* Says goodbye, frees the session and closes its socket. */
void login_end(ssh_session session);

/* Whether the connection has ended. libssh may go on answering SSH_AGAIN for ever then. */
bool login_is_over(const struct login *l);

/* For the steps themselves: begin one; wait until libssh can go on, `doing` says in an error what took too long. */
void login_step(struct login *l);
int login_wait(struct login *l, const char *doing, struct ssx_error *err);

#endif

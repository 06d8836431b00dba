/* Starting the far program as another user, by sudo: with no password (-n), or with one that is asked for once and
 * given to sudo alone.
 *
 * Where there is somebody to ask, sudo reads the password from its stdin (-S) and prompts with a nonce on stderr. The
 * password is sent only when that very prompt has been seen, and nothing else is sent before the program behind sudo
 * has said, with the nonce, that it is there: whatever sudo is set up to do, no byte of the session can be taken for a
 * password, and no password for a byte of the session. */
#ifndef TRANSPORT_BECOME_H
#define TRANSPORT_BECOME_H
#include "base/buf.h"
#include "transport/target.h"
#include "transport/transport.h"

struct become {
    const char *user; /* borrowed */
    bool asking;
    char nonce[33];
};

/* Whether a name can be a user for sudo: no option, nothing that a shell would read otherwise. "#1000" is an id. */
bool become_user_is_valid(const char *user);

/* How to become target->become; asking where target->ask is set. */
void become_init(struct become *b, const struct transport_target *target);

/* The shell line (NUL-ended) that runs the shell line `command` as that user, in that user's home directory. Returns 0
 * or -1. */
int become_line(struct buf *out, const struct become *b, const char *command);

/* The same for an argv of this machine. */
void become_argv(struct words *out, const struct become *b, const char *const *argv);

/* What has to be said before the far program is there: nothing, or the conversation with sudo. Blocks, two minutes at
 * most, only until target->interrupt_fd is readable. Returns 0, or -1 with err: UNREACHABLE (sudo's own words where it
 * said any), INTERRUPTED, SYSTEM. */
int become_settle(const struct become *b, struct transport *t, const struct transport_target *target, struct ssx_error *err);

/* Makes a clearer message of sudo's own about a password that nobody could give. Returns whether it was one. */
bool become_explain(struct ssx_error *err, const char *told, size_t n);

#endif

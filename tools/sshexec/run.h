/* One call through an agent, from the words on: what `sshexec run` does, and `sshexec test` too. */
#ifndef SSHEXEC_RUN_H
#define SSHEXEC_RUN_H
#include "base/buf.h"
#include "fleet/types.h"
#include "settings.h"
#include "wire/message.h"

#include <stdbool.h>

/* Sees each message of the call before it is shown. */
typedef void run_observer(void *user, const struct message *m);

/* Calls the type on this machine with a checked state, reports as `sshexec run` does, and returns its exit code. Once a process. */
int run_here(const struct settings *s, const struct type *type, const struct buf *state, bool input, run_observer *observe, void *user);

#endif

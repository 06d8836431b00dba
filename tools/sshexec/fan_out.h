/* One call of one type on many hosts, through <sshexec/fleet.h>. */
#ifndef SSHEXEC_FAN_OUT_H
#define SSHEXEC_FAN_OUT_H
#include "settings.h"
#include "types.h"

#include "base/buf.h"

/* Runs it on the hosts that the settings name, with this state. name: of the type, as it was given; input: each worker gets our stdin. Returns the exit code. */
int fan_out(const struct settings *s, const struct type *type, const char *name, const struct buf *state, bool input);

#endif

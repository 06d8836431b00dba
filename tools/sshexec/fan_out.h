/* One call of one type on many hosts, through <sshexec/fleet.h>. */
#ifndef SSHEXEC_FAN_OUT_H
#define SSHEXEC_FAN_OUT_H
#include "fan_hosts.h"
#include "types.h"
#include "words.h"

/* Runs it on these hosts, with the state of these words, which may differ by host. name: of the type, as it was
 * given. Returns the exit code. */
int fan_out(const struct settings *s, const struct fan_hosts *hosts, const struct type *type, const char *name,
            const struct word_list *words);

#endif

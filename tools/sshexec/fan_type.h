/* A type that this sender doesn't know, for a run on many hosts: the first of them that has its plugin describes it. */
#ifndef SSHEXEC_FAN_TYPE_H
#define SSHEXEC_FAN_TYPE_H
#include "fan_hosts.h"
#include "types.h"

/* Asks them, some at a time, until one has answered. out gets the descriptor and no image; the caller calls type_close.
 * unknown: why there is none here. Returns the exit code; what went wrong was said on stderr. (Another host may have
 * another version: it refuses what it doesn't know, naming both.) */
int fan_type_open(struct type *out, const struct settings *s, const struct fan_hosts *hosts, const char *name,
                  const struct ssx_error *unknown);

#endif

/* The hosts of a run: what -w, -x, -g, -X, -a, --hostfile and --rerun come to. */
#ifndef SSHEXEC_FAN_HOSTS_H
#define SSHEXEC_FAN_HOSTS_H
#include "settings.h"

/* Zeroed: none. */
struct fan_hosts { char **names; size_t count, capacity; };

/* Finds them. Returns 0, or -1 with err (none is left, too); fan_hosts_free in both cases. */
int fan_hosts_find(struct fan_hosts *h, const struct settings *s, struct ssx_error *err);
void fan_hosts_free(struct fan_hosts *h);

#endif

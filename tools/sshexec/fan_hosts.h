/* The hosts of a run: what -w, -x, -g, -X, -a, --hostfile and --rerun come to. */
#ifndef SSHEXEC_FAN_HOSTS_H
#define SSHEXEC_FAN_HOSTS_H
#include "settings.h"

/* Zeroed: none. */
struct fan_hosts { char **names; size_t count, capacity; };

/* Whether a word that stands where a host may is a set of them: node[1-3], a,b, @group, a!b. ([::1]:22 and user@[::1]
 * are none.) */
bool fan_hosts_is_set(const char *host);

/* Finds them. command: for messages. Returns 0, or -1 with err (none is left, too); fan_hosts_free in both cases. */
int fan_hosts_find(struct fan_hosts *h, const struct settings *s, const char *command, struct ssx_error *err);
void fan_hosts_free(struct fan_hosts *h);

#endif

/* What was gathered, shown at the end: under the names of those who said it (-b), host by host (-L), or as it differs
 * from what most of them said (--diff). */
#ifndef SSHEXEC_FAN_GROUPS_H
#define SSHEXEC_FAN_GROUPS_H
#include "fan_show.h"

/* Returns 0; -1 where stdout can't be written to, or with err. */
int fan_groups_show(struct fan_show *f, struct ssx_error *err);

#endif

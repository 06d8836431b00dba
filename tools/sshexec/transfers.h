/* A transfer with many hosts at once: the plugin on each of them, and a near half for each of those that are under way.
 */
#ifndef SSHEXEC_TRANSFERS_H
#define SSHEXEC_TRANSFERS_H
#include "transfer.h"

/* The whole of it, with the hosts that the settings name. Returns the exit code; what went wrong was said on stderr. */
int transfers_run(const struct transfer *t, const struct settings *s);

#endif

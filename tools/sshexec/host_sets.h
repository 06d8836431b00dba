/* The hosts that -w, -g, -a, --hostfile, -x and -X come to. */
#ifndef SSHEXEC_HOST_SETS_H
#define SSHEXEC_HOST_SETS_H
#include "fleet/hostset_parse.h"

#define OPTION_HOSTFILE 256

/* included minus excluded; built as the options come, which is when their groups are resolved. */
struct host_sets { struct hostset *included, *excluded; struct host_scope scope; bool any; };

/* groups is borrowed until host_sets_dispose, which is due in any case. Returns 0 or -1. */
int host_sets_init(struct host_sets *s, const struct groups_options *groups, struct ssx_error *err);

/* One option: its letter ('w', 'x', 'g', 'X', 'a') or OPTION_HOSTFILE. Returns 0, or -1 with err. */
int host_sets_take(struct host_sets *s, int option, const char *value, struct ssx_error *err);

/* The hosts of an earlier run, as rerun_hosts. Returns 0, or -1 with err. */
int host_sets_rerun(struct host_sets *s, const char *which, const char *record, struct ssx_error *err);

/* included becomes the hosts, at least one of them. command: for the message. Returns 0, or -1 with err. */
int host_sets_finish(struct host_sets *s, const char *command, struct ssx_error *err);

void host_sets_dispose(struct host_sets *s);

#endif

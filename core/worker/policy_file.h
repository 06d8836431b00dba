/* A node's policy as files: /etc/sshexec/agent.conf, which is root's, and the user's own agent.conf in
 * ~/.config/sshexec. Lines of policy.h's keys, no headings. */
#ifndef WORKER_POLICY_FILE_H
#define WORKER_POLICY_FILE_H
#include "worker/policy.h"

#define POLICY_FILES 2
#define POLICY_SYSTEM_FILE "/etc/sshexec/agent.conf"

/* Reads those that there are, and puts them behind p: all of them have to permit. files is filled in, and freed by the
 * caller (policy_free). Returns 0, or -1 with err: one can't be read, isn't trusted, or says what isn't understood.
 * Nothing may be done then. */
int policy_read_files(struct policy *p, struct policy files[POLICY_FILES], struct ssx_error *err);

#endif

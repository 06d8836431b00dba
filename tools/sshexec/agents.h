/* The agent that this sshexec was built with, to be sent to hosts that have none. */
#ifndef SSHEXEC_AGENTS_H
#define SSHEXEC_AGENTS_H
#include "client/bootstrap.h"

/* Maps the agent's file, plain and packed. Returns 0 or -1. Lives as long as the process. */
int own_agent_open(struct agent_image *out, struct ssx_error *err);

#endif

/* The agent of this installation with those for other machines, or another one, as images that a host may be sent. */
#ifndef FLEET_AGENTS_H
#define FLEET_AGENTS_H
#include "client/bootstrap.h"

/* The agent at `path` and its packed form, path.gz. own: it must be the one that this sshexec was built with, whose
 * digest is known, and behind it (out->next) come those for other machines, in the directory `agents` beside it:
 * agents/MACHINE/sshexec-agent, .gz, and .id, a line with version, digest and both sizes. One of them that is of no use
 * has its flaw. Without own, the agent is read whole to know it. Returns 0 (the caller calls agents_close), or -1 with
 * err. */
int agents_open(struct agent_image *out, const char *path, bool own, struct ssx_error *err);

/* An image that was never opened (zeroed) is fine. */
void agents_close(struct agent_image *image);

#endif

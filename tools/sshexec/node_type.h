/* A type that this sender doesn't know: the node that has its plugin describes it, in the session that will call it. */
#ifndef SSHEXEC_NODE_TYPE_H
#define SSHEXEC_NODE_TYPE_H
#include "reach.h"
#include "types.h"

/* Asks the node for its plugin of that name. out gets the descriptor and no image; the caller calls type_close. unknown: why there is none here. Returns the exit code; what went
 * wrong was said on stderr. */
int node_type_open(struct type *out, struct reach *r, const struct settings *s, const char *host, const char *name, int interrupt_fd,
                   const struct ssx_error *unknown);

#endif

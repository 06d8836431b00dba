/* A type that this sender doesn't know: the node that has its plugin describes it, in the session that will call it. */
#ifndef SSHEXEC_NODE_TYPE_H
#define SSHEXEC_NODE_TYPE_H
#include "reach.h"
#include "types.h"

/* What one node answers to DESCRIBE, for whoever asks it. */
struct node_answer {
    struct type *type;               /* gets the descriptor */
    const char *name, *host;
    bool found;
    struct ssx_error err;            /* it has one that can't be used */
};

/* Takes what a node says of a plugin: its descriptor's note, or the problem that it has in place of one. Of several the
 * first counts, which is the one that a call would run. */
void node_answer_take(struct node_answer *a, struct span note, struct span problem);
static inline bool node_answered(const struct node_answer *a) { return a->found || a->err.code; }

/* Asks the node for its plugin of that name. out gets the descriptor and no image; the caller calls type_close.
 * unknown: why there is none here. Returns the exit code; what went wrong was said on stderr. */
int node_type_open(struct type *out, struct reach *r, const struct settings *s, const char *host, const char *name, int interrupt_fd,
                   const struct ssx_error *unknown);

#endif

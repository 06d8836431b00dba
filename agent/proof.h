/* Whether a plugin loads on this node and its selftest, where it has one, passes: a worker host of its own tries it,
 * while the session's loop goes on and looks in. Ten seconds at most. */
#ifndef AGENT_PROOF_H
#define AGENT_PROOF_H
#include "child.h"
#include "host.h"

#define PROOF_REASON 16                /* room for the word for END */

/* Zeroed: none is under way. */
struct proof {
    struct host *host;
    struct child child;                /* the same process, for the runner */
    int64_t until_ms;
};

/* Starts one. Returns 0, or -1 with err and reason. The image is held until it ends. */
int proof_begin(struct proof *p, struct child **children, struct image *image, char reason[PROOF_REASON], struct ssx_error *err);

/* Looks what became of it. Returns 0 for nothing yet (a report comes on p->host->socket, until p->until_ms), 1 where it
 * holds, -1 with err and reason. Once it is over, or to be, the caller calls proof_end, which leaves no process. */
int proof_look(struct proof *p, char reason[PROOF_REASON], struct ssx_error *err);
void proof_end(struct proof *p);

#endif

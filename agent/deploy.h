/* What a sender's OFFER asks (PROTOCOL.md): bundles are prepared on this node and put in force, older generations put back. Nothing is in
 * force before all of it is there, was checked, and loads; then one rename is all that happens. */
#ifndef AGENT_DEPLOY_H
#define AGENT_DEPLOY_H
#include "plugins.h"

#include "base/buf.h"

struct deploy;

/* Adds an OFFER to those under way, or answers it at once. What it has to say goes to out; plugins and out are borrowed. */
void deploy_add(struct deploy **all, struct plugins *plugins, const struct message *m, struct buf *out);

/* Takes a CHUNK or CANCEL; one for an id that has ended is passed over. Returns 0, or -1 with err where the protocol was broken. */
int deploy_take(struct deploy **all, const struct message *m, struct ssx_error *err);

/* Whether one of them has something to do that needs no sender; one step of it. A plugin's selftest is waited for. */
bool deploy_is_busy(const struct deploy *all);
void deploy_step(struct deploy **all);

size_t deploy_count(const struct deploy *all);
void deploy_clear(struct deploy **all);

#endif

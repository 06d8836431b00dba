/* What a sender's OFFER asks (PROTOCOL.md): bundles are prepared on this node and put in force, older generations put
 * back. Nothing is in force before all of it is there, was checked, and loads; then one rename is all that happens.
 * What may take seconds (ssh-keygen judging a signature, a plugin that loads and tests itself) are children that the
 * session's loop looks in on, as on its jobs: meanwhile it answers PING, serves other calls, and a CANCEL ends them at
 * once. The same while another session has the store's generations locked. Objects that came while one is tested wait
 * in memory, so that only so many are asked for at a time. */
#ifndef AGENT_DEPLOY_H
#define AGENT_DEPLOY_H
#include "child.h"
#include "plugins.h"

#include "base/buf.h"

#define DEPLOYS_MAX 4           /* bundles that are open at once in a session */

struct deploy;

/* Adds an OFFER to those under way, or answers it at once. What it has to say goes to out; the children that it starts
 * (ssh-keygen, the host of a plugin that proves itself) are listed in children. plugins, children and out are
 * borrowed. */
void deploy_add(struct deploy **all, struct plugins *plugins, struct child **children, const struct message *m, struct buf *out);

/* Takes a CHUNK or CANCEL; one for an id that has ended is passed over. Returns 0, or -1 with err where the protocol
 * was broken. */
int deploy_take(struct deploy **all, const struct message *m, struct ssx_error *err);

/* Whether one of them has something to do at once; else when the next has (INT64_MAX: no matter), or as soon as one of
 * these descriptors can be read (returns how many they are). */
bool deploy_is_busy(const struct deploy *all);
int64_t deploy_next_ms(const struct deploy *all);
size_t deploy_fds(const struct deploy *all, int out[DEPLOYS_MAX]);

/* A step of each. Waits for none of their children. */
void deploy_step(struct deploy **all);

size_t deploy_count(const struct deploy *all);
void deploy_clear(struct deploy **all);

#endif

/* One conversation with a sender on two descriptors: PROTOCOL.md from the agent's side. */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H
#include "plugins.h"

/* Greets, serves until the sender leaves, and ends all that was started. Returns the exit code: 0, or 1 where the
 * sender broke the protocol or never greeted. */
int session_serve(struct plugins *plugins, int in, int out);

#endif

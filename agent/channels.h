/* The agent's ends of what a process of a call has: its control socket and its pipes. */
#ifndef AGENT_CHANNELS_H
#define AGENT_CHANNELS_H
#include "host_protocol.h"

#include <stdbool.h>

struct channels { int control, input, output, error; }; /* -1: closed, or none; ours don't block */

#define CHANNELS_NONE ((struct channels){-1, -1, -1, -1})

/* Makes them; `others` gets the process's ends, but for HOST_FD_PAGE. input: its stdin is a pipe, else /dev/null.
 * Returns 0, or -1 with errno; both sides are the caller's to close in either case. */
int channels_open(struct channels *c, int others[HOST_FDS], bool input);

void channels_close(struct channels *c);

#endif

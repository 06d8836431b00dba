/* Looking after a node's store: what it holds, whether that is sound, and what of it may go. Run by the agent (sshexec-agent --tend), in
 * the place where the store is. */
#ifndef BUNDLE_TEND_H
#define BUNDLE_TEND_H
#include "bundle/store.h"

#include <sshexec/error.h>
#include <stdbool.h>

/* Does what the words say, and prints a line for each object on stdout: "STATE DIGEST SIZE IDLE USE TYPE VERSION", IDLE in seconds since it
 * was last used, USE one of - generation call
 * (what keeps it from being removed), TYPE and VERSION - where it is no plugin. STATE is one of kept damaged removed. Then "end".
 *   list              shows them
 *   verify            hashes each anew
 *   verify-remove     the same, and removes those that are damaged
 *   gc:SECONDS:BYTES  removes what was not used for SECONDS, then the longest unused until BYTES are left at most; never what a generation
 * or a running session uses. Either may be empty: no limit
 *   gc-dry:...        says what that would remove
 * Generations are the files below DIR/generations: an object whose digest stands in one of them is in use. One that can't be read keeps gc
 * from removing anything.
 * Returns 0, or -1 with err. */
int store_tend(struct store *s, const char *words, struct ssx_error *err);

#endif

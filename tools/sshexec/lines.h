/* What a host says, as whole lines with its name in front: those of several hosts never mix within one. */
#ifndef SSHEXEC_LINES_H
#define SSHEXEC_LINES_H
#include "base/buf.h"

#include <stdbool.h>

#define LINE_LONGEST (64u << 10) /* a longer one is broken there: what waits for its end is kept in memory */

/* The start of a line whose end has not come yet. Zeroed: nothing. for_terminal: lines are made printable
 * (base/printable.h), for else a host could write over the name in front of them, or move the cursor to another's. */
struct lines { struct buf rest; bool for_terminal; };

/* Adds the lines that are whole with these bytes to out, "NAME: " in front of each; name NULL: nothing. Returns 0, or
 * -1 without memory. */
int lines_add(struct lines *l, struct buf *out, const char *name, const void *bytes, size_t n);

/* Adds what is left, its line ended. */
int lines_end(struct lines *l, struct buf *out, const char *name);

#endif

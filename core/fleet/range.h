/* What stands in the brackets of node[01-10,12,20-40/2]: lists of numbers and ranges, with the digits that touch the
 * brackets from outside. */
#ifndef FLEET_RANGE_H
#define FLEET_RANGE_H
#include "fleet/indexes.h"

#include <sshexec/error.h>

/* Text of an expression; not NUL-ended. */
struct span { const char *at; size_t n; };

/* Adds what the text stands for to out, and leaves it normalised. lead and trail: the digits right before and behind
 * the brackets, as in rack1[0-9]5; they become part of each number. Returns 0, or -1 with err and *at, the place in
 * text that it is about. */
int range_parse(struct indexes *out, struct span text, struct span lead, struct span trail, size_t *at, struct ssx_error *err);

#endif

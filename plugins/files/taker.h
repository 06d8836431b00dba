/* The half of a transfer that gets the files: says what it has, and puts the rest in place. */
#ifndef FILES_TAKER_H
#define FILES_TAKER_H
#include "transfer.h"

#include <sshexec/error.h>
#include <stddef.h>

/* The paths that a giver was asked for, when it isn't trusted to keep to them. */
struct asked { const char *const *paths; size_t count; };

/* Takes what a giver on `in` and `out` sends. Where path is a directory, ends in "/", or several things come, they go
 * into it under their own names; else path is the new name of the one that comes. Trusts nothing that comes: with
 * `asked`, only what goes under the name of one of those paths is put at the top, and no link (anything may be where
 * one of them stands for its contents). NULL: whatever comes. Returns 0 once all is in place and the giver knows
 * (tally->problems tells what it couldn't give); else -1 with err: what was finished before stays, and of a file that
 * was cut the partial file (partial.h). */
int taker_run(int in, int out, const char *path, const struct asked *asked, const struct observer *observer,
              struct tally *tally, struct ssx_error *err);

#endif

/* The half of a transfer that has the files: walks them, and sends what the taker doesn't have. */
#ifndef FILES_GIVER_H
#define FILES_GIVER_H
#include "transfer.h"

#include <sshexec/error.h>
#include <stddef.h>

/* Gives these paths, in answer to a taker on `in` and `out`. A path that ends in "/" stands for what is in that
 * directory, any other for itself; a path that is a link is followed, links below a directory are links. What can't be
 * given (unreadable, a device, a socket) is warned of and counted, and the rest goes on. Returns 0 once the taker has
 * said that all is in place, *tally being what it did; else -1 with err. */
int giver_run(int in, int out, const char *const *paths, size_t count, const struct observer *observer, struct tally *tally,
              struct ssx_error *err);

/* The name under which a path goes; NULL: it stands for its contents, for it ends in "/", or has no name of its own.
 * Points into path. */
const char *giver_name(const char *path);

#endif

/* The hosts of a run that is over, by how they ended: those of `--rerun failed`. */
#ifndef FLEET_RERUN_H
#define FLEET_RERUN_H
#include "fleet/hostset.h"

/* Adds the hosts of a record (records_find's name; NULL: the newest) that ended as one of the words says, which have commas between
 * them: ok; unreachable (nothing was sent); lost (it may have run, and so may what the record has no end of); failed (any other end);
 * all; or an outcome's own word, such as timeout. Returns 0, or -1 with err (USAGE: no such record or word, or no host ended so). */
int rerun_hosts(struct hostset *out, const char *words, const char *record, struct ssx_error *err);

#endif

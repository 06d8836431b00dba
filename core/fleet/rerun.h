/* The hosts of a run that is over, by how they ended: those of `--rerun failed`. */
#ifndef FLEET_RERUN_H
#define FLEET_RERUN_H
#include "base/buf.h"
#include "fleet/hostset.h"
#include "wire/message.h"

/* Adds the hosts of a record (records_find's name; NULL: the newest) that ended as one of the words says, which have
 * commas between them: ok; unreachable (nothing was sent); lost (it may have run, and so may what the record has no end
 * of); failed (any other end); all; or an outcome's own word, such as timeout. Returns 0, or -1 with err (USAGE: no
 * such record or word, or no host ended so). */
int rerun_hosts(struct hostset *out, const char *words, const char *record, struct ssx_error *err);

/* The lines of the items of such a run that ended so, dealt again: *texts is theirs (the caller frees it, and bytes,
 * which holds them). Returns 0, or -1 with err (USAGE: as above; it dealt none, or secret ones). */
int rerun_items(struct span **texts, size_t *count, struct buf *bytes, const char *words, const char *record, struct ssx_error *err);

#endif

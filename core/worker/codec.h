/* C struct <-> msgpack, by the tables that the lists of <sshexec/worker.h> make. The worker host's half of a schema: no
 * descriptor, no tree, nothing but libc behind it. */
#ifndef WORKER_CODEC_H
#define WORKER_CODEC_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <sshexec/worker.h>

/* Memory for what a decoded struct points to: n bytes, aligned for any type, content free, living as long as the
 * struct; NULL: no more. A list of small maps can ask for many times its own size, so this is where a limit belongs. */
typedef void *codec_alloc(void *user, size_t n);

/* Fills *out (schema->size bytes) with the defaults, then with the fields of the map. `msgpack` may be any bytes,
 * scanned or not; nothing of *out points into them. A key that comes twice: both are checked, the last one counts.
 * Returns 0; or -1 with err: SSX_ERROR_REFUSED names the field by its path ("also[2]", "disk.size"), what stands there
 * and what is wanted (a secret's value isn't shown), SSX_ERROR_SYSTEM: no memory. After a failure *out is not to be
 * used. */
int codec_decode(const struct ssx_schema *schema, void *out, const void *msgpack, size_t n, codec_alloc *alloc, void *user,
                 struct ssx_error *err);

/* Adds the struct to out as a map: every field, or with omit_defaults only those that are required or differ from their
 * default, at every level. NULL for a str is "". Returns 0; or -1 with err, out as it was: SSX_ERROR_REFUSED where a
 * field is out of its range or the whole over the limits of a value (wire/value.h), SSX_ERROR_SYSTEM: no memory. */
int codec_encode(const struct ssx_schema *schema, const void *in, struct buf *out, bool omit_defaults, struct ssx_error *err);

#endif

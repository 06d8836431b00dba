/* Outputs of many, kept until they are shown: in memory up to a bound, beyond it in a file without a name, in TMPDIR or
 * /var/tmp. */
#ifndef FLEET_SPOOL_H
#define FLEET_SPOOL_H
#include "base/buf.h"

#include <stdint.h>
#include <sshexec/error.h>

struct spool;

/* One output: bytes that are in the file, in order, then those in memory. Zeroed: nothing. It stays where it is while
 * it holds anything. */
struct spooled {
    struct buf extents;
    struct buf rest;
    uint64_t size;
    struct spooled *next, *before;   /* of those that have something in memory */
};

/* memory: bytes of all outputs together. Returns 0, or -1 without memory. */
int spool_new(struct spool **out, size_t memory);

/* Closes the file; outputs were dropped before. NULL is fine. */
void spool_free(struct spool *s);

/* Adds n bytes to an output. Returns 0, or -1 with err (SYSTEM): no memory, or no room in the file. */
int spool_add(struct spool *s, struct spooled *o, const void *bytes, size_t n, struct ssx_error *err);

/* An output piece by piece. visit ends it by returning other than 0. Returns 0, what visit returned, or -1 with err
 * where the file can't be read. */
int spool_read(struct spool *s, const struct spooled *o, int (*visit)(void *ctx, const void *bytes, size_t n),
               void *ctx, struct ssx_error *err);

/* Forgets an output; it is empty then. Where the file system can't give the room in the file back, that is free at the
 * end. */
void spool_drop(struct spool *s, struct spooled *o);

#endif

/* A workload: one call as bytes that need no session to travel, for pipes, fifos and files (PROTOCOL.md, "A
 * workload"). */
#ifndef WIRE_WORKLOAD_H
#define WIRE_WORKLOAD_H
#include "wire/message.h"

#define WORKLOAD_MAX 16777215u /* of its msgpack: the length's first byte is then 0, which tells the two forms apart */

enum workload_form { WORKLOAD_PREFIXED, WORKLOAD_BARE };

struct workload {
    struct span type;         /* borrowed, as is state */
    struct span state;        /* one msgpack value */
    uint64_t timeout_ms;      /* 0: none */
    bool has_digest;          /* only this plugin will do */
    struct digest digest;
};

/* Adds a workload to out. Returns 0, or -1 with err (SSX_ERROR_REFUSED) where it is over WORKLOAD_MAX or memory ran
 * out. */
int workload_encode(struct buf *out, const struct workload *w, enum workload_form form, struct ssx_error *err);

/* Decodes the msgpack of a workload, hostile bytes; *out borrows from it. Returns 0, or -1 with err
 * (SSX_ERROR_REFUSED). What the type's name and the state mean is for others to judge. */
int workload_decode(struct workload *out, const void *bytes, size_t n, struct ssx_error *err);

/* Adds the msgpack of the one workload that fd holds to out, of whichever form. Of the prefixed form nothing behind it
 * is read; the bare one is read to the end of the file. `name` is for messages. Returns 0, or -1 with err:
 * SSX_ERROR_SYSTEM where fd can't be read, SSX_ERROR_REFUSED for what can't be a workload. */
int workload_read(struct buf *out, enum workload_form *form, int fd, const char *name, struct ssx_error *err);

#endif

/* --state-out: where the state goes that a call gives back, as msgpack, or as JSON where the file's name ends in .json. */
#ifndef SSHEXEC_STATE_OUT_H
#define SSHEXEC_STATE_OUT_H
#include "worker/descriptor.h"

#include <sshexec/error.h>

/* Before the call: whether this type gives a state back, and whether it can go to `path` ("-": stdout, which is then
 * the state's alone: not with `json`, and no terminal). Returns 0, or -1 with err (SSX_ERROR_USAGE). */
int state_out_check(const char *path, bool json, const struct descriptor *d, struct ssx_error *err);

/* Writes the state that came, n bytes of scanned msgpack from a host, if it fits the type's. A file is replaced whole
 * (mode 0600: it holds secret fields too; JSON leaves those out), anything else that has the name is written to.
 * Returns 0, or -1 with err: SSX_ERROR_PROTOCOL for a state that doesn't fit or didn't come (n == 0),
 * SSX_ERROR_SYSTEM. */
int state_out_write(const char *path, const struct descriptor *d, const void *state, size_t n, struct ssx_error *err);

#endif

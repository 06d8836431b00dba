/* What hosts said, kept until it can be shown together: hosts that said the same, byte for byte (by SHA-256), form a
 * group, whose output is kept once.
 *
 * Memory is bounded: once outputs take GATHER_MEMORY, they go to a file without a name, in TMPDIR or /var/tmp; beside
 * that a host costs some 100 bytes, and 8 a group it is in. */
#ifndef FLEET_GATHER_H
#define FLEET_GATHER_H
#include <sshexec/error.h>
#include <stddef.h>
#include <stdint.h>

#define GATHER_MEMORY (32u << 20)

struct gather;

/* For hosts numbered from 0 to count - 1. memory: GATHER_MEMORY, or less in tests. Returns 0 or -1. */
int gather_new(struct gather **out, size_t count, size_t memory, struct ssx_error *err);
void gather_free(struct gather *g);

/* The host said n bytes more. Returns 0, or -1 with err (SYSTEM): no memory, or no room in the file. */
int gather_add(struct gather *g, size_t host, const void *bytes, size_t n, struct ssx_error *err);

/* The host will say no more: it joins its group. Hosts that are never ended are in none. Returns 0 or -1. */
int gather_end(struct gather *g, size_t host, struct ssx_error *err);

struct gather_group { const size_t *hosts; size_t count; uint64_t size; }; /* numbers in ascending order, borrowed; bytes of the output */

/* What the host has said until now is dropped: it will be said again. */
void gather_forget(struct gather *g, size_t host);

/* The groups as they are now, the largest first, among those of a size by their first host. *groups is borrowed until
 * the next call of gather_*. Returns 0 or -1. */
int gather_groups(struct gather *g, const struct gather_group **groups, size_t *count, struct ssx_error *err);

/* The output of a group (of the last gather_groups), piece by piece. visit ends it by returning other than 0. Returns
 * 0, what visit returned, or -1 with err where the file can't be read. */
int gather_output(struct gather *g, size_t group, int (*visit)(void *ctx, const void *bytes, size_t n), void *ctx, struct ssx_error *err);

#endif

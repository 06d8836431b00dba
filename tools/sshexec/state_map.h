/* --state-map: a state for each host. */
#ifndef SSHEXEC_STATE_MAP_H
#define SSHEXEC_STATE_MAP_H
#include "base/buf.h"

#include <sshexec/error.h>

struct state_map { struct map_entry { char *host; size_t at, n; } *entries; size_t count; struct buf values; };

/* Reads a file that is one JSON object, from hosts to states, or has lines of a host and its state in JSON (# begins a
 * comment line). "-": stdin. Returns 0 or -1; state_map_free in both cases. */
int state_map_read(struct state_map *m, const char *path, struct ssx_error *err);
void state_map_free(struct state_map *m);

/* The host's state, one msgpack value; NULL: there is none. Where a host comes twice the last one counts. */
const void *state_map_find(const struct state_map *m, const char *host, size_t *n);

#endif

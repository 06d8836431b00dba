/* What is dealt over hosts: maps of fields, each of which makes a state of that of the host it comes to. */
#ifndef FLEET_ITEMS_H
#define FLEET_ITEMS_H
#include "base/buf.h"

#include <sshexec/error.h>

struct items { struct buf bytes; size_t *ends, count, capacity; }; /* one behind the other; where each ends. Zeroed: none */

/* Adds one, a msgpack map of n bytes. Returns 0, or -1 with err (REFUSED: it is none; SYSTEM). */
int items_add(struct items *items, const void *fields, size_t n, struct ssx_error *err);
void items_free(struct items *items);

/* Adds the state of an item on a host to out: the fields of the host's own state (a scanned value), those that the item
 * has replaced by its. Returns 0, or -1 with err (REFUSED: the host's state is no map; SYSTEM). */
int items_state(struct buf *out, const struct items *items, size_t item, const void *state, size_t n, struct ssx_error *err);

#endif

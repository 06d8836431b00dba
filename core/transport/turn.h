/* One at a time, for work that blocks: a lock whose wait ends with the patience, be it the deadline or the user. */
#ifndef TRANSPORT_TURN_H
#define TRANSPORT_TURN_H
#include "transport/patience.h"

struct turn { int fd; /* an eventfd that holds 1 while it is nobody's turn */ };

/* Returns 0, or -1 with err (SYSTEM). */
int turn_init(struct turn *t, struct ssx_error *err);
void turn_dispose(struct turn *t);

/* Waits until it is the caller's. Returns 1, 0 when the deadline passed first, -1 with err (INTERRUPTED) when the user
 * gave up. From any thread. */
int turn_take(struct turn *t, const struct patience *patience, struct ssx_error *err);
void turn_give(struct turn *t);

#endif

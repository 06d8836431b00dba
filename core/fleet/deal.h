/* Items dealt over hosts: which is next, and what becomes of one whose host could not finish it. It only counts; the
 * engine asks it. */
#ifndef FLEET_DEAL_H
#define FLEET_DEAL_H
#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

#define DEAL_HOSTS_MAX 3 /* hosts that may fail under one item: one that kills whatever it comes to must not take a whole fleet down */

struct deal;

/* count items, numbered from 0; at_once: how many may be out. idempotent: one that may have run is dealt again. Returns
 * 0 or -1. */
int deal_new(struct deal **out, size_t count, size_t at_once, bool idempotent, struct ssx_error *err);
void deal_free(struct deal *d);

/* The item to begin with now: the first of those that were given back, else the next in order. Returns whether there is
 * one; it is out then. */
bool deal_next(struct deal *d, size_t *item);

/* Whether an item that is out may be dealt again after its host ended it so, or died under it: as UNREACHABLE (it was
 * never sent) always, as REFUSED (nothing ran) or LOST (it may have run; if that does no harm) where DEAL_HOSTS_MAX
 * hosts have not failed under it. */
bool deal_may_return(const struct deal *d, size_t item, enum ssx_outcome outcome);

/* Gives it back for that reason, where deal_may_return says so. */
void deal_return(struct deal *d, size_t item, enum ssx_outcome outcome);

/* It has ended. */
void deal_end(struct deal *d, size_t item);

/* How many wait, how many are out, how many have ended. */
struct deal_count { size_t waiting, out, ended; };
struct deal_count deal_count(const struct deal *d);

/* How many hosts have failed under it. */
unsigned deal_failed_under(const struct deal *d, size_t item);

/* Whether it has ended. */
bool deal_has_ended(const struct deal *d, size_t item);

#endif

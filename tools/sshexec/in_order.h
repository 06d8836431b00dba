/* -k: what is said of items, held back until all items before them have ended. */
#ifndef SSHEXEC_IN_ORDER_H
#define SSHEXEC_IN_ORDER_H
#include "fleet/spool.h"

struct in_order;

/* For items numbered from 0 to count - 1. Returns 0, or -1 with err. */
int in_order_new(struct in_order **out, size_t count, struct ssx_error *err);
void in_order_free(struct in_order *o); /* NULL is fine */

/* n bytes more of an item. Returns 0, or -1 with err (SYSTEM). */
int in_order_add(struct in_order *o, size_t item, const void *bytes, size_t n, struct ssx_error *err);

/* What was said of it is dropped: it will be said again. */
void in_order_forget(struct in_order *o, size_t item);

/* It has ended. visit gets what it has been waited for, piece by piece; it ends that by returning other than 0. Returns
 * 0, what visit returned, or -1 with err. */
int in_order_end(struct in_order *o, size_t item, int (*visit)(void *ctx, const void *bytes, size_t n), void *ctx, struct ssx_error *err);

#endif
